//! Threads that do what the reactor must not wait for.
//!
//! Four pools, so that none starves another: reads (as many as there are processors), writes, administration, and
//! maintenance that was asked for; the threads of the last two live only as long as there is work.
//!
//! 1. A task that was taken is done, or dropped by [`Pool::clear`]. So one is taken only if there is a thread: the
//!    first of reads and writes is there from the start, and administration is refused if the system has none to give.
//! 2. A task of writes may wait for what another one does, as for a lock that its transaction holds. So whoever may have
//!    one has a thread reserved ([`Pool::reserve`]), and there are never fewer threads than reservations.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Stack of a worker, in bytes: nothing in the daemon recurses deeper than a value nests.
const STACK_BYTES: usize = 1 << 20;

/// A thread that may leave does so when it had nothing to do for so long.
const THREAD_IDLE: Duration = Duration::from_secs(10);

type Task = Box<dyn FnOnce() + Send>;

/// What a thread does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// It stays.
    Stays,
    /// It leaves after a while, unless it is the only one or reserved.
    Lingers,
    /// It leaves.
    Leaves,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    idle: usize,
    threads: usize,
    /// Threads that have to be there.
    reserved: usize,
    is_closed: bool,
}

impl Queue {
    /// Whether a thread more than is needed is there.
    fn may_be_fewer(&self) -> bool {
        self.threads > self.reserved.max(1)
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    /// A task runs outside the lock, so a panic in one leaves the queue whole (and ends the process anyway).
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, when_idle: Idle) {
        let mut queue = self.lock();
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                drop(queue);
                task();
                queue = self.lock();
                continue;
            }
            if queue.is_closed || when_idle == Idle::Leaves {
                break;
            }
            let is_over;
            (queue, is_over) = self.wait(queue, when_idle);
            if is_over && queue.tasks.is_empty() && queue.may_be_fewer() {
                break;
            }
        }
        queue.threads -= 1;
    }

    /// Waits for something to do; the answer is whether it has waited for long.
    fn wait<'q>(&self, mut queue: MutexGuard<'q, Queue>, when_idle: Idle) -> (MutexGuard<'q, Queue>, bool) {
        queue.idle += 1;
        let mut is_over = false;
        // The last one does not wake in vain.
        if when_idle == Idle::Lingers && queue.threads > 1 {
            let woken = self.changed.wait_timeout(queue, THREAD_IDLE).unwrap_or_else(PoisonError::into_inner);
            (queue, is_over) = (woken.0, woken.1.timed_out());
        } else {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.idle -= 1;
        (queue, is_over)
    }
}

/// Some threads and what they have to do.
pub(crate) struct Pool {
    name: &'static str,
    threads_max: usize,
    when_idle: Idle,
    stack_bytes: usize,
    shared: Arc<Shared>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool whose threads are started as they are needed, and stay.
    pub(crate) fn new(name: &'static str, threads_max: usize) -> Pool {
        let shared = Arc::new(Shared::default());
        Pool {
            name,
            threads_max: threads_max.max(1),
            when_idle: Idle::Stays,
            stack_bytes: STACK_BYTES,
            shared,
            handles: Mutex::default(),
        }
    }

    /// A pool whose threads leave when there was nothing to do for a while, all but the first.
    pub(crate) fn lingering(name: &'static str, threads_max: usize) -> Pool {
        Pool { when_idle: Idle::Lingers, ..Pool::new(name, threads_max) }
    }

    /// A pool whose threads leave when there is nothing to do.
    pub(crate) fn fleeting(name: &'static str, threads_max: usize) -> Pool {
        Pool { when_idle: Idle::Leaves, ..Pool::new(name, threads_max) }
    }

    /// A pool that the system gives no threads.
    #[cfg(test)]
    pub(crate) fn without_threads(name: &'static str) -> Pool {
        // No address space has room for such a stack.
        Pool { stack_bytes: 1 << 60, ..Pool::fleeting(name, 1) }
    }

    /// Starts the first thread of a pool whose threads stay, after which it takes every task.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn start(&self) -> io::Result<()> {
        self.start_thread(&mut self.shared.lock())
    }

    /// Sees to it that there is one thread more that a task can have whatever the others wait for, until
    /// [`Pool::release`].
    ///
    /// # Errors
    /// The system's, which has no thread to give: nothing is reserved.
    pub(crate) fn reserve(&self) -> io::Result<()> {
        let mut queue = self.shared.lock();
        debug_assert!(queue.reserved < self.threads_max, "no more can be reserved than there may be threads");
        if queue.threads <= queue.reserved {
            self.start_thread(&mut queue)?;
        }
        queue.reserved += 1;
        Ok(())
    }

    /// Takes a reservation back.
    pub(crate) fn release(&self) {
        let mut queue = self.shared.lock();
        debug_assert!(queue.reserved > 0, "each reservation is taken back once");
        queue.reserved = queue.reserved.saturating_sub(1);
    }

    /// Has a task done.
    pub(crate) fn give(&self, task: impl FnOnce() + Send + 'static) {
        if let Err(error) = self.try_give(task) {
            panic!("the system refused the only thread of the pool {}, which has one: {error}", self.name);
        }
    }

    /// Has a task done, or drops it if there is no thread that would ever do it.
    ///
    /// # Errors
    /// The system's, which has no thread to give.
    pub(crate) fn try_give(&self, task: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut queue = self.shared.lock();
        queue.tasks.push_back(Box::new(task));
        if queue.idle >= queue.tasks.len() {
            drop(queue);
            self.shared.changed.notify_one();
        } else if queue.threads < self.threads_max {
            // Within the lock, so that the task is still the last if it has to be taken back.
            if let Err(error) = self.start_thread(&mut queue) {
                tracing::error!(pool = self.name, %error, "the system refused a thread");
                // With another thread the task is done later.
                if queue.threads == 0 {
                    let refused = queue.tasks.pop_back();
                    drop(queue);
                    drop(refused);
                    return Err(error);
                }
                drop(queue);
                self.shared.changed.notify_one();
            }
        } else if queue.idle > 0 {
            drop(queue);
            self.shared.changed.notify_one();
        }
        Ok(())
    }

    fn start_thread(&self, queue: &mut Queue) -> io::Result<()> {
        let (shared, when_idle) = (self.shared.clone(), self.when_idle);
        let handle = thread::Builder::new()
            .name(self.name.to_owned())
            .stack_size(self.stack_bytes)
            .spawn(move || shared.run(when_idle))?;
        queue.threads += 1;
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|handle| !handle.is_finished());
        handles.push(handle);
        Ok(())
    }

    /// Drops the tasks that are not begun.
    pub(crate) fn clear(&self) {
        let dropped = std::mem::take(&mut self.shared.lock().tasks);
        // Outside of the lock, for what they hold may be a long time in dropping.
        drop(dropped);
    }

    /// Ends the threads when all tasks are done, and waits for them.
    pub(crate) fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        let handles = std::mem::take(&mut *self.handles.lock().unwrap_or_else(PoisonError::into_inner));
        for handle in handles {
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_is_done_once_before_the_pool_is_closed() {
        for pool in [Pool::new("test", 3), Pool::fleeting("test", 2), Pool::lingering("test", 3)] {
            let done = Arc::new(AtomicUsize::new(0));
            for _ in 0..1000 {
                let done = done.clone();
                pool.give(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
            pool.close();
            assert_eq!(done.load(Ordering::Relaxed), 1000);
            assert_eq!(pool.shared.lock().threads, 0);
        }
    }

    #[test]
    fn tasks_that_are_not_begun_can_be_dropped() {
        let pool = Pool::fleeting("test", 1);
        let done = Arc::new(AtomicUsize::new(0));
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let first = barrier.clone();
        pool.give(move || {
            first.wait();
            first.wait();
        });
        barrier.wait();
        for _ in 0..10 {
            let done = done.clone();
            pool.give(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        pool.clear();
        barrier.wait();
        pool.close();
        assert_eq!(done.load(Ordering::Relaxed), 0);
    }

    /// A task that waits for another one gets a thread beside it.
    #[test]
    fn tasks_run_beside_each_other() {
        let pool = Pool::new("test", 2);
        let barrier = Arc::new(std::sync::Barrier::new(2));
        for _ in 0..2 {
            let barrier = barrier.clone();
            pool.give(move || {
                barrier.wait();
            });
        }
        pool.close();
    }

    /// Tasks that wait for the last one do not keep it from a thread, as long as each has one reserved.
    #[test]
    fn who_has_reserved_a_thread_has_one() {
        let pool = Pool::lingering("test", 8);
        pool.start().unwrap();
        let barrier = Arc::new(std::sync::Barrier::new(8));
        (0..8).for_each(|_| pool.reserve().unwrap());
        assert_eq!(pool.shared.lock().threads, 8);
        for _ in 0..8 {
            let barrier = barrier.clone();
            pool.give(move || {
                barrier.wait();
            });
        }
        pool.close();
        (0..8).for_each(|_| pool.release());
        assert_eq!(pool.shared.lock().reserved, 0);
    }

    #[test]
    fn a_reservation_that_the_system_refuses_is_none() {
        let mut pool = Pool::lingering("test", 2);
        pool.start().unwrap();
        pool.reserve().unwrap();
        pool.stack_bytes = 1 << 60;
        assert!(pool.reserve().is_err());
        assert_eq!(pool.shared.lock().reserved, 1);
        pool.close();
    }

    #[test]
    fn threads_leave_while_there_are_more_than_are_reserved() {
        let queue = |threads, reserved| Queue { threads, reserved, ..Queue::default() };
        assert!(queue(2, 0).may_be_fewer() && queue(2, 1).may_be_fewer());
        assert!(!queue(1, 0).may_be_fewer(), "one stays");
        assert!(!queue(2, 2).may_be_fewer());
    }

    #[test]
    fn a_task_that_nobody_would_do_is_refused() {
        let pool = Pool::without_threads("test");
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let done = done.clone();
            let task = move || {
                done.fetch_add(1, Ordering::Relaxed);
            };
            assert!(pool.try_give(task).is_err());
        }
        assert!(pool.start().is_err());
        let queue = pool.shared.lock();
        assert_eq!((queue.tasks.len(), queue.threads), (0, 0));
        assert_eq!(Arc::strong_count(&done), 1, "what was refused is dropped");
    }

    /// One thread is enough, however many the pool may have.
    #[test]
    fn a_refused_thread_leaves_its_task_to_the_others() {
        let mut pool = Pool::new("test", 3);
        pool.start().unwrap();
        pool.stack_bytes = 1 << 60;
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let done = done.clone();
            pool.give(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        pool.close();
        assert_eq!(done.load(Ordering::Relaxed), 100);
    }
}
