//! Threads that do what the reactor must not wait for.
//!
//! Three pools, so that none starves another: reads (as many as there are processors), writes (one runs, one may be
//! leading a sync), and administration, whose threads live only as long as there is work.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Stack of a worker, in bytes: nothing in the daemon recurses deeper than a value nests.
const STACK_BYTES: usize = 1 << 20;

type Task = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    idle: usize,
    threads: usize,
    is_closed: bool,
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

    fn run(&self, leaves_when_idle: bool) {
        let mut queue = self.lock();
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                drop(queue);
                task();
                queue = self.lock();
                continue;
            }
            if queue.is_closed || leaves_when_idle {
                queue.threads -= 1;
                return;
            }
            queue.idle += 1;
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }
}

/// Some threads and what they have to do.
pub(crate) struct Pool {
    name: &'static str,
    threads_max: usize,
    leaves_when_idle: bool,
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
            leaves_when_idle: false,
            shared,
            handles: Mutex::default(),
        }
    }

    /// A pool whose threads leave when there is nothing to do.
    pub(crate) fn fleeting(name: &'static str, threads_max: usize) -> Pool {
        Pool { leaves_when_idle: true, ..Pool::new(name, threads_max) }
    }

    /// Has a task done.
    pub(crate) fn give(&self, task: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.lock();
        queue.tasks.push_back(Box::new(task));
        if queue.idle >= queue.tasks.len() {
            drop(queue);
            self.shared.changed.notify_one();
        } else if queue.threads < self.threads_max {
            queue.threads += 1;
            drop(queue);
            self.start_thread();
        } else if queue.idle > 0 {
            drop(queue);
            self.shared.changed.notify_one();
        }
    }

    fn start_thread(&self) {
        let (shared, leaves) = (self.shared.clone(), self.leaves_when_idle);
        let started = thread::Builder::new()
            .name(self.name.to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || shared.run(leaves));
        match started {
            Ok(handle) => {
                let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
                handles.retain(|handle| !handle.is_finished());
                handles.push(handle);
            }
            Err(error) => {
                let left = {
                    let mut queue = self.shared.lock();
                    queue.threads -= 1;
                    queue.threads
                };
                // With another thread the task is done later; without one nobody would ever do it.
                assert!(left > 0, "the system refused the only thread of the pool {}: {error}", self.name);
                tracing::error!(pool = self.name, %error, "the system refused a thread");
            }
        }
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
        for pool in [Pool::new("test", 3), Pool::fleeting("test", 2)] {
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
}
