//! The one door to locks, atomics and threads, so that a model checker can stand behind it.
//!
//! A thread that panics while it holds a lock leaves the lock poisoned; whoever comes next panics too. Going on
//! with half-changed state would be worse: the process ends, and recovery starts from what is durable.
//!
//! Built with `--cfg shuttle`, as the package in `shuttle/` does, threads are tasks that Shuttle switches between at each
//! lock, atomic, wait, and look at a page's cell. Time is then nobody's: a timer comes back at some moment, or, if it is a
//! long one, never, so that a lost wake-up is a deadlock that Shuttle reports. (The tests within the crate know nothing of
//! Shuttle, so for them the door is the usual one wherever they are built.)

#[cfg(all(shuttle, not(test)))]
use shuttle::sync as primitives;
#[cfg(any(not(shuttle), test))]
use std::sync as primitives;

use std::sync::{LockResult, PoisonError, TryLockError};

use arc_swap::{ArcSwapOption, AsRaw, Guard};

#[cfg(all(shuttle, not(test)))]
pub(crate) use shuttle::thread;
#[cfg(any(not(shuttle), test))]
pub(crate) use std::thread;

#[cfg(all(shuttle, not(test)))]
mod modelled;

#[cfg(all(shuttle, not(test)))]
pub(crate) use modelled::{MutexGuard, wait, wait_timeout};
#[cfg(any(not(shuttle), test))]
pub(crate) use std::sync::MutexGuard;

pub(crate) use primitives::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
// Nobody waits at these: what initialises a cell is a few steps of its own, and pointers are only hints.
pub(crate) use std::sync::atomic::AtomicPtr;
pub(crate) use std::sync::{Arc, OnceLock};

/// A mutex whose poison is a panic.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(primitives::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(primitives::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        guard(self, not_poisoned(self.0.lock()))
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = match self.0.try_lock() {
            Ok(held) => held,
            Err(TryLockError::WouldBlock) => return None,
            Err(TryLockError::Poisoned(error)) => not_poisoned(Err(error)),
        };
        Some(guard(self, held))
    }
}

#[cfg(all(shuttle, not(test)))]
use modelled::guard;

#[cfg(any(not(shuttle), test))]
fn guard<'a, T>(_mutex: &'a Mutex<T>, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    guard
}

/// A condition variable that makes no system call when nobody waits: each commit tells, and seldom does anybody listen.
///
/// Nobody is missed, for a waiter counts itself while it holds the lock under which it looked, and whoever tells has
/// held that lock to change what is looked at.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    condition: primitives::Condvar,
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
#[cfg(any(not(shuttle), test))]
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
#[cfg(any(not(shuttle), test))]
pub(crate) fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition.waiting.fetch_add(1, Ordering::SeqCst);
    let guard = not_poisoned(condition.condition.wait(guard));
    condition.waiting.fetch_sub(1, Ordering::SeqCst);
    guard
}

fn not_poisoned<G>(result: LockResult<G>) -> G {
    result.unwrap_or_else(|_: PoisonError<G>| panic!("another thread panicked while it held this lock"))
}

/// A cell that holds a shared value or nothing, and is read without a lock.
#[derive(Debug)]
pub(crate) struct ArcCell<T>(ArcSwapOption<T>);

impl<T> ArcCell<T> {
    pub(crate) fn empty() -> ArcCell<T> {
        ArcCell(ArcSwapOption::empty())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.load().is_none()
    }

    #[inline]
    pub(crate) fn load(&self) -> Guard<Option<Arc<T>>> {
        let_others_in();
        self.0.load()
    }

    pub(crate) fn store(&self, value: Option<Arc<T>>) {
        let_others_in();
        self.0.store(value);
    }

    pub(crate) fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        let_others_in();
        self.0.swap(value)
    }

    /// Puts `new` there if `current` is; returns what was there.
    pub(crate) fn compare_and_swap(
        &self,
        current: impl AsRaw<T>,
        new: Option<Arc<T>>,
    ) -> Guard<Option<Arc<T>>> {
        let_others_in();
        self.0.compare_and_swap(current, new)
    }
}

/// Where one thread may overtake another, and nothing that Shuttle knows of happens.
#[inline]
fn let_others_in() {
    #[cfg(all(shuttle, not(test)))]
    thread::yield_now();
}

/// That `work` is not done while `guard` is held, and is then. Whoever takes no lock is done long before.
#[cfg(test)]
pub(crate) fn assert_waits_for<G>(guard: G, work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let work = scope.spawn(work);
        // Time for it to get done without the lock. Too short, and the test sees less; never more.
        thread::sleep(std::time::Duration::from_millis(100));
        let waits = !work.is_finished();
        drop(guard);
        work.join().expect("it comes through");
        assert!(waits, "it did not wait for the lock");
    });
}
