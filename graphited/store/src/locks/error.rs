//! Why a lock was not got, and what is told of a deadlock.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::mode::LockMode;
use super::name::LockName;
use super::owner::OwnerId;

/// A lock was not got. Everything that the owner held before, it still holds.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LockError {
    /// The owner was the youngest of those who waited for each other.
    #[error("deadlock: {} transactions waited for each other, and this is the youngest; run it again", .0.cycle.len())]
    Deadlock(Arc<Deadlock>),
    /// Somebody else kept the lock for longer than this owner waits.
    #[error("waited {waited:?} for a lock ({}) on {name}; run it again, or raise the lock timeout", mode.as_str())]
    Timeout {
        /// What was waited for.
        name: LockName,
        /// In which mode.
        mode: LockMode,
        /// How long.
        waited: Duration,
    },
    /// The wait was cancelled from elsewhere.
    #[error("the wait for a lock was cancelled")]
    Cancelled,
}

/// Several owners that waited for each other, in a circle.
#[derive(Clone, Debug)]
pub struct Deadlock {
    /// When it was found.
    pub at: SystemTime,
    /// Each waits for the next one, the last for the first.
    pub cycle: Vec<DeadlockMember>,
    /// Whose wait was ended: the youngest.
    pub victim: OwnerId,
}

/// One of those who wait for each other.
#[derive(Clone, Debug)]
pub struct DeadlockMember {
    /// Who.
    pub owner: OwnerId,
    /// What the floor above knows it by.
    pub tag: u64,
    /// What it waits for.
    pub waits_for: LockName,
    /// The mode that it would then hold it in.
    pub mode: LockMode,
    /// What it was doing.
    pub statement: Arc<str>,
}
