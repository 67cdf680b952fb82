//! The one door to locks and atomics, so that a model checker can stand behind it.
//!
//! A thread that panics while it holds a lock leaves the lock poisoned; whoever comes next panics too. Going on
//! with half-changed state would be worse: the process ends, and recovery starts from what is durable.

use std::sync::{self, LockResult, PoisonError};

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Arc, MutexGuard, OnceLock};

/// A mutex whose poison is a panic.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        not_poisoned(self.0.lock())
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(sync::TryLockError::WouldBlock) => None,
            Err(sync::TryLockError::Poisoned(error)) => Some(not_poisoned(Err(error))),
        }
    }
}

/// A condition variable that makes no system call when nobody waits: each commit tells, and seldom does anybody listen.
///
/// Nobody is missed, for a waiter counts itself while it holds the lock under which it looked, and whoever tells has
/// held that lock to change what is looked at.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    condition: sync::Condvar,
    waiting: AtomicUsize,
}

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar::default()
    }

    pub(crate) fn notify_one(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.condition.notify_one();
        }
    }

    pub(crate) fn notify_all(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.condition.notify_all();
        }
    }
}

/// Waits on a condition, with the poison rule of [`Mutex`]. It may come back at any time, so whoever waits looks again at
/// what it waits for, and at its clock.
pub(crate) fn wait_timeout<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: std::time::Duration,
) -> MutexGuard<'a, T> {
    condition.waiting.fetch_add(1, Ordering::SeqCst);
    let guard = not_poisoned(condition.condition.wait_timeout(guard, timeout)).0;
    condition.waiting.fetch_sub(1, Ordering::SeqCst);
    guard
}

/// Like [`wait_timeout`], without a timer.
pub(crate) fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition.waiting.fetch_add(1, Ordering::SeqCst);
    let guard = not_poisoned(condition.condition.wait(guard));
    condition.waiting.fetch_sub(1, Ordering::SeqCst);
    guard
}

fn not_poisoned<G>(result: LockResult<G>) -> G {
    result.unwrap_or_else(|_: PoisonError<G>| panic!("another thread panicked while it held this lock"))
}
