//! Who may write at the moment: so many sessions at a time, the others first come, first served. Whoever waits holds
//! no lock and no thread.
//!
//! 1. A session that is admitted stays so until its transaction has ended. Locks are held by admitted sessions only.
//! 2. A place that is given up goes to whoever has waited longest; nobody who did not wait gets past a waiter.
//! 3. What waits is the whole job with its session's state, so that whoever gives a place up can have it run, and
//!    whoever takes it out of the queue (a timeout, a cancellation, a client that is gone) has everything in hand.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The places and the queue; `J` is what waits.
#[derive(Debug)]
pub(crate) struct Admission<J> {
    places: usize,
    queue: Mutex<Queue<J>>,
}

#[derive(Debug)]
struct Queue<J> {
    /// A session is in here twice while what it had open is still being rolled back and it writes anew.
    admitted: Vec<u64>,
    /// Empty while a place is free.
    waiting: VecDeque<(u64, J)>,
}

impl<J> Admission<J> {
    /// With so many places.
    pub(crate) fn new(places: usize) -> Admission<J> {
        let queue = Queue { admitted: Vec::new(), waiting: VecDeque::new() };
        Admission { places: places.max(1), queue: Mutex::new(queue) }
    }

    /// The queue is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, Queue<J>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits the session, if a place is free.
    pub(crate) fn try_enter(&self, session: u64) -> bool {
        let mut queue = self.lock();
        let is_free = queue.admitted.len() < self.places;
        if is_free {
            queue.admitted.push(session);
        }
        is_free
    }

    /// Gives the job back if its session is admitted now; keeps it until then if not.
    pub(crate) fn enter(&self, session: u64, job: J) -> Option<J> {
        let mut queue = self.lock();
        if queue.admitted.len() < self.places {
            queue.admitted.push(session);
            return Some(job);
        }
        queue.waiting.push_back((session, job));
        None
    }

    /// The session gives its place up; returns the job whose session has it now.
    #[must_use]
    pub(crate) fn leave(&self, session: u64) -> Option<J> {
        let mut queue = self.lock();
        let place = queue.admitted.iter().position(|admitted| *admitted == session);
        debug_assert!(place.is_some(), "only who has a place gives it up");
        queue.admitted.swap_remove(place?);
        let (next, job) = queue.waiting.pop_front()?;
        queue.admitted.push(next);
        Some(job)
    }

    /// Takes the session's job out, if it still waits.
    #[must_use]
    pub(crate) fn withdraw(&self, session: u64) -> Option<J> {
        let mut queue = self.lock();
        let index = queue.waiting.iter().position(|(waiting, _)| *waiting == session)?;
        queue.waiting.remove(index).map(|(_, job)| job)
    }

    /// Who is admitted, in no order, and who waits for that, the next one first.
    pub(crate) fn look(&self) -> (Vec<u64>, Vec<u64>) {
        let queue = self.lock();
        let waiting = queue.waiting.iter().map(|(session, _)| *session);
        (queue.admitted.clone(), waiting.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_in_order() {
        let admission = Admission::new(1);
        assert!(admission.try_enter(1));
        assert!(!admission.try_enter(2));
        for (session, job) in [(2, "b"), (3, "c"), (4, "d")] {
            assert_eq!(admission.enter(session, job), None);
        }
        assert_eq!(admission.withdraw(3), Some("c"));
        assert_eq!(admission.withdraw(3), None);
        assert_eq!(admission.look(), (vec![1], vec![2, 4]));
        assert_eq!(admission.leave(1), Some("b"));
        assert_eq!(admission.withdraw(2), None, "who is admitted does not wait for it");
        assert!(!admission.try_enter(5), "nobody gets past a waiter");
        assert_eq!(admission.leave(2), Some("d"));
        assert_eq!(admission.leave(4), None);
        assert_eq!(admission.look(), (vec![], vec![]));
        assert_eq!(admission.enter(6, "e"), Some("e"));
    }

    #[test]
    fn a_session_may_enter_anew_before_it_has_left() {
        let admission = Admission::<()>::new(2);
        assert!(admission.try_enter(1) && admission.try_enter(1));
        assert!(!admission.try_enter(2));
        assert_eq!(admission.leave(1), None);
        assert_eq!(admission.look().0, [1]);
    }

    #[test]
    fn so_many_are_admitted_and_any_of_them_may_leave_first() {
        let admission = Admission::new(2);
        assert_eq!(admission.enter(1, "a"), Some("a"));
        assert!(admission.try_enter(2));
        assert_eq!(admission.enter(3, "c"), None);
        assert_eq!(admission.enter(4, "d"), None);
        assert_eq!(admission.leave(2), Some("c"));
        assert_eq!(admission.leave(3), Some("d"));
        assert_eq!(admission.leave(4), None);
        assert!(admission.try_enter(5));
        assert!(!admission.try_enter(6));
        let (mut admitted, waiting) = admission.look();
        admitted.sort_unstable();
        assert_eq!((admitted, waiting), (vec![1, 5], vec![]));
    }
}
