//! The lock manager: who may read or change what until its transaction ends.
//!
//! It knows names and modes, never nodes. Locks protect meaning; bytes are safe without them, see `turn`.

mod error;
#[allow(dead_code, reason = "queues and escalation build on it")]
mod mode;
#[allow(dead_code, reason = "queues and escalation build on it")]
mod name;
mod owner;
mod picture;

pub use error::{Deadlock, DeadlockMember, LockError};
pub use mode::LockMode;
pub use name::{LockName, SpaceId};
pub use owner::{LockCanceller, LockOwner, Taken};
pub use picture::{LockCounters, LockEntry, LockPicture, LockWait};

use rustc_hash::FxHashMap;

use crate::clock::{Clock, RealClock};
use crate::sync::{Arc, AtomicU64, Condvar, Mutex, Ordering};

/// Who holds locks: a transaction. Later ones have greater numbers, so the greatest is the youngest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub u64);

/// How a lock manager is set up.
#[derive(Clone, Debug)]
pub struct LockOptions {
    /// Parts that the table of locks is split into, so that threads seldom meet there; a power of two.
    pub shards: usize,
    /// Slots, or keys, that one owner may hold on one page; when it holds more, they become one lock on the page if that is
    /// free at once.
    pub page_children_max: u32,
    /// Pages that one owner may hold in one space, likewise.
    pub space_children_max: u32,
    /// Where time comes from.
    pub clock: std::sync::Arc<dyn Clock>,
}

impl Default for LockOptions {
    fn default() -> Self {
        LockOptions {
            shards: 64,
            page_children_max: 128,
            space_children_max: 2000,
            clock: std::sync::Arc::new(RealClock::default()),
        }
    }
}

/// Grants locks to owners. A clone is the same manager.
#[derive(Clone, Debug)]
pub struct LockManager {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: LockOptions,
    next_owner: AtomicU64,
    held: Mutex<FxHashMap<LockName, Vec<Grant>>>,
    released: Condvar,
}

#[derive(Debug)]
struct Grant {
    owner: OwnerId,
    tag: u64,
    mode: LockMode,
}

impl LockManager {
    /// An empty table.
    pub fn new(options: LockOptions) -> LockManager {
        LockManager {
            inner: Arc::new(Inner {
                options,
                next_owner: AtomicU64::new(1),
                held: Mutex::default(),
                released: Condvar::new(),
            }),
        }
    }

    /// A new owner, younger than all before. `tag` is what the floor above knows it by.
    pub fn owner(&self, tag: u64) -> LockOwner {
        let id = OwnerId(self.inner.next_owner.fetch_add(1, Ordering::Relaxed));
        LockOwner::new(self.inner.clone(), id, tag)
    }

    /// For monitors.
    pub fn picture(&self) -> LockPicture {
        let mut picture = LockPicture { now: self.inner.options.clock.now(), ..LockPicture::default() };
        for (&name, grants) in self.inner.held.lock().iter() {
            picture.locks.extend(grants.iter().map(|grant| LockEntry {
                name,
                mode: grant.mode,
                granted: true,
                owner: grant.owner,
                tag: grant.tag,
                since: picture.now,
            }));
        }
        picture
    }

    /// What happened since it was made.
    pub fn counters(&self) -> LockCounters {
        LockCounters::default()
    }
}
