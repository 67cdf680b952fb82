//! What monitors see of the locks.

use std::sync::Arc;
use std::time::Duration;

use super::error::Deadlock;
use super::head::Request;
use super::mode::LockMode;
use super::name::LockName;
use super::owner::OwnerId;
use super::table::NameHead;

/// Who holds what, and who waits for whom. Each name is shown as it was at one moment, not all names at the same one.
#[derive(Clone, Debug, Default)]
pub struct LockPicture {
    /// The time on the clock of [`LockOptions`](super::LockOptions) when it was made; `since` is on the same clock.
    pub now: Duration,
    /// Everything held or awaited.
    pub locks: Vec<LockEntry>,
    /// Everybody who waits.
    pub waits: Vec<LockWait>,
    /// The last deadlocks, oldest first.
    pub deadlocks: Vec<Arc<Deadlock>>,
}

impl LockPicture {
    /// Adds one name as it is now.
    pub(super) fn add(&mut self, name: LockName, head: &NameHead) {
        self.locks.extend(head.granted().iter().map(|grant| LockEntry {
            name,
            mode: grant.mode,
            granted: true,
            owner: grant.owner,
            tag: grant.tag,
            since: grant.since,
        }));
        for request in head.waiting() {
            let &Request { owner, tag, mode, since, .. } = request;
            self.locks.push(LockEntry { name, mode, granted: false, owner, tag, since });
            let blocked_by = head.blockers(owner).map(|(_, tag)| tag).collect();
            self.waits.push(LockWait { owner, tag, name, mode, blocked_by, since });
        }
    }
}

/// A lock that is held or awaited.
#[derive(Clone, Copy, Debug)]
pub struct LockEntry {
    /// On what.
    pub name: LockName,
    /// In which mode it is held, or will be.
    pub mode: LockMode,
    /// Whether it is held. An owner that waits for a stronger mode has two entries.
    pub granted: bool,
    /// Whose.
    pub owner: OwnerId,
    /// What the floor above knows the owner by.
    pub tag: u64,
    /// When it was first asked for. As the clock is not asked for each lock, one that was granted at once may show a somewhat
    /// earlier moment of the same statement.
    pub since: Duration,
}

/// Somebody who waits.
#[derive(Clone, Debug)]
pub struct LockWait {
    /// Who.
    pub owner: OwnerId,
    /// What the floor above knows it by.
    pub tag: u64,
    /// For what.
    pub name: LockName,
    /// The mode that it will then have.
    pub mode: LockMode,
    /// The tags of those it waits for: holders, and waiters that come before it.
    pub blocked_by: Vec<u64>,
    /// When the wait began.
    pub since: Duration,
}

/// What happened since the manager was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockCounters {
    /// Locks that had to be waited for.
    pub waits: u64,
    /// Deadlocks found.
    pub deadlocks: u64,
    /// Waits that took too long.
    pub timeouts: u64,
    /// Times that many locks became one on the name above.
    pub escalations: u64,
}
