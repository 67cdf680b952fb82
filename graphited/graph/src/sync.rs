//! The one door to the locks of a commit, so that a model checker can stand behind it.
//!
//! Each of them may be held, or slept on, while its thread comes to the store, whose locks are modelled where these are: a
//! thread that slept at one that Shuttle does not know would hold up all others. Counters and settings nobody waits for, and
//! so they are the usual ones everywhere.
//!
//! Built with `--cfg shuttle`, as the package in `shuttle/` does, threads are tasks that Shuttle switches between at each of
//! these and within the store. (The tests within the crate know nothing of Shuttle, so for them the door is the usual one
//! wherever they are built.)

#[cfg(all(shuttle, not(test)))]
use shuttle::sync as primitives;
#[cfg(any(not(shuttle), test))]
use std::sync as primitives;

pub(crate) use primitives::{Condvar, Mutex, MutexGuard, RwLock};
// What a lock says of a thread that panicked is the same behind both doors.
pub(crate) use std::sync::PoisonError;
