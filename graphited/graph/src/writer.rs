//! The writer's turn: one write transaction at a time, first come, first served.
//!
//! Invariants:
//! 1. At most one [`WriterTurn`] of a queue exists.
//! 2. A turn that is free goes to whoever has waited longest; nobody who did not wait gets past a waiter.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Error, Result};

#[derive(Debug, Default)]
struct Queue {
    is_busy: bool,
    next_ticket: u64,
    waiting: VecDeque<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Who writes and who waits to.
#[derive(Debug, Default)]
pub(crate) struct WriterQueue {
    shared: Arc<Shared>,
}

/// The right to write. Passed on when dropped.
#[derive(Debug)]
pub struct WriterTurn {
    shared: Arc<Shared>,
}

impl Shared {
    /// The queue is whole at every moment, so a thread that panicked while it held the lock broke nothing.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriterQueue {
    /// The turn, if nobody has it and nobody waits.
    pub(crate) fn try_take(&self) -> Result<WriterTurn> {
        let mut queue = self.shared.lock();
        if queue.is_busy || !queue.waiting.is_empty() {
            return Err(Error::Busy);
        }
        queue.is_busy = true;
        Ok(WriterTurn { shared: self.shared.clone() })
    }

    /// Waits for the turn for at most `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> Result<WriterTurn> {
        let mut queue = self.shared.lock();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.push_back(ticket);
        let is_not_mine = |queue: &mut Queue| queue.is_busy || queue.waiting.front() != Some(&ticket);
        let waited = self.shared.changed.wait_timeout_while(queue, limit, is_not_mine);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_mine = !is_not_mine(&mut queue);
        queue.waiting.retain(|waiting| *waiting != ticket);
        if is_mine {
            queue.is_busy = true;
            return Ok(WriterTurn { shared: self.shared.clone() });
        }
        // Whoever is first now may not have been when it looked last.
        self.shared.changed.notify_all();
        Err(Error::Busy)
    }

    /// Whether somebody has the turn, and how many wait for it.
    pub(crate) fn status(&self) -> (bool, usize) {
        let queue = self.shared.lock();
        (queue.is_busy, queue.waiting.len())
    }
}

impl Drop for WriterTurn {
    fn drop(&mut self) {
        let somebody_waits = {
            let mut queue = self.shared.lock();
            queue.is_busy = false;
            !queue.waiting.is_empty()
        };
        // Telling nobody would be a system call for each commit.
        if somebody_waits {
            self.shared.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_in_order() {
        let queue = Arc::new(WriterQueue::default());
        let turn = queue.try_take().unwrap();
        assert!(matches!(queue.try_take(), Err(Error::Busy)));
        assert!(matches!(queue.wait(Duration::from_millis(1)), Err(Error::Busy)));
        assert_eq!(queue.status(), (true, 0), "who gave up does not wait any more");

        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiters = Vec::new();
        for waiter in 0..3 {
            let (queue_of_waiter, order) = (queue.clone(), order.clone());
            waiters.push(std::thread::spawn(move || {
                let turn = queue_of_waiter.wait(Duration::from_secs(60)).unwrap();
                order.lock().unwrap().push(waiter);
                drop(turn);
            }));
            while queue.status().1 <= waiter {
                std::thread::yield_now();
            }
        }
        drop(turn);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
        assert_eq!(queue.status(), (false, 0));
        assert!(queue.try_take().is_ok());
    }

    #[test]
    fn nobody_gets_past_a_waiter() {
        let queue = Arc::new(WriterQueue::default());
        let turn = queue.try_take().unwrap();
        let waiter = {
            let queue = queue.clone();
            std::thread::spawn(move || queue.wait(Duration::from_secs(60)).map(drop))
        };
        while queue.status().1 == 0 {
            std::thread::yield_now();
        }
        // Both under one lock: the turn is free, and the waiter has not taken it yet.
        queue.shared.lock().is_busy = false;
        assert!(queue.try_take().is_err() || queue.status().1 == 0);
        drop(turn);
        waiter.join().unwrap().unwrap();
    }
}
