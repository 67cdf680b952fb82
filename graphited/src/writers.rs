//! Writers take turns, first come, first served; whoever waits holds no thread.
//!
//! 1. At most one session has the turn. It keeps it until its transaction has ended.
//! 2. The turn that is given up goes to whoever has waited longest; nobody who did not wait gets past a waiter.
//! 3. What waits is the whole job with its session's state, so that whoever gives the turn up can have it run, and
//!    whoever takes it out of the queue (a timeout, a cancellation, a client that is gone) has everything in hand.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The queue; `J` is what waits.
#[derive(Debug)]
pub(crate) struct Writers<J> {
    queue: Mutex<Queue<J>>,
}

#[derive(Debug)]
struct Queue<J> {
    holder: Option<u64>,
    waiting: VecDeque<(u64, J)>,
}

impl<J> Default for Writers<J> {
    fn default() -> Writers<J> {
        Writers { queue: Mutex::new(Queue { holder: None, waiting: VecDeque::new() }) }
    }
}

impl<J> Writers<J> {
    /// The queue is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, Queue<J>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the session the turn, if it is free.
    pub(crate) fn try_enter(&self, session: u64) -> bool {
        let mut queue = self.lock();
        let is_free = queue.holder.is_none();
        if is_free {
            queue.holder = Some(session);
        }
        is_free
    }

    /// Gives the job back if its session has the turn now; keeps it until then if not.
    pub(crate) fn enter(&self, session: u64, job: J) -> Option<J> {
        let mut queue = self.lock();
        if queue.holder.is_none() {
            queue.holder = Some(session);
            return Some(job);
        }
        queue.waiting.push_back((session, job));
        None
    }

    /// The session gives the turn up; returns the job whose session has it now.
    #[must_use]
    pub(crate) fn leave(&self, session: u64) -> Option<J> {
        let mut queue = self.lock();
        debug_assert_eq!(queue.holder, Some(session), "only who has the turn gives it up");
        let (next, job) = match queue.waiting.pop_front() {
            Some((next, job)) => (Some(next), Some(job)),
            None => (None, None),
        };
        queue.holder = next;
        job
    }

    /// Takes the session's job out, if it still waits.
    #[must_use]
    pub(crate) fn withdraw(&self, session: u64) -> Option<J> {
        let mut queue = self.lock();
        let index = queue.waiting.iter().position(|(waiting, _)| *waiting == session)?;
        queue.waiting.remove(index).map(|(_, job)| job)
    }

    /// Who has the turn, and who waits for it, the next one first.
    pub(crate) fn look(&self) -> (Option<u64>, Vec<u64>) {
        let queue = self.lock();
        (queue.holder, queue.waiting.iter().map(|(session, _)| *session).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_in_order() {
        let writers = Writers::default();
        assert!(writers.try_enter(1));
        assert!(!writers.try_enter(2));
        for (session, job) in [(2, "b"), (3, "c"), (4, "d")] {
            assert_eq!(writers.enter(session, job), None);
        }
        assert_eq!(writers.withdraw(3), Some("c"));
        assert_eq!(writers.withdraw(3), None);
        assert_eq!(writers.look(), (Some(1), vec![2, 4]));
        assert_eq!(writers.leave(1), Some("b"));
        assert_eq!(writers.withdraw(2), None, "who has the turn does not wait for it");
        assert!(!writers.try_enter(5), "nobody gets past a waiter");
        assert_eq!(writers.leave(2), Some("d"));
        assert_eq!(writers.leave(4), None);
        assert_eq!(writers.look(), (None, vec![]));
        assert_eq!(writers.enter(6, "e"), Some("e"));
    }
}
