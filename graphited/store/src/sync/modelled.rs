//! What differs under the model checker: a guard knows its mutex, so that a timer can let go of it and take it again.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use shuttle::sync;

use super::{Condvar, Mutex, Ordering, not_poisoned, thread};

/// Timers that are longer never run out.
const TIMER_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    guard: sync::MutexGuard<'a, T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

pub(super) fn guard<'a, T>(mutex: &'a Mutex<T>, guard: sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    MutexGuard { mutex, guard }
}

pub(crate) fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    let MutexGuard { mutex, guard } = guard;
    condition.waiting.fetch_add(1, Ordering::SeqCst);
    let guard = not_poisoned(condition.condition.wait(guard));
    condition.waiting.fetch_sub(1, Ordering::SeqCst);
    MutexGuard { mutex, guard }
}

/// A timer runs out as soon as everybody else had a chance to go on, or never.
pub(crate) fn wait_timeout<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Duration,
) -> MutexGuard<'a, T> {
    if timeout > TIMER_MAX {
        return wait(condition, guard);
    }
    let MutexGuard { mutex, guard } = guard;
    drop(guard);
    thread::yield_now();
    mutex.lock()
}
