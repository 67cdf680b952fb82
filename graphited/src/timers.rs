//! Deadlines of the sessions and of the daemon, in the order in which they come.
//!
//! A session has at most one deadline of each kind. Nothing ticks: the reactor sleeps until the first deadline, and
//! for ever if there is none.

use std::collections::BTreeMap;
use std::time::Instant;

use rustc_hash::FxHashMap;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// The connection has to have said hello.
    Hello,
    /// The statement has to be done.
    Statement,
    /// The session has to be admitted to write.
    Admission,
    /// The transaction has to hear from its client.
    IdleTransaction,
    /// The session has to hear from its client.
    Idle,
    /// The client has to have read something.
    Stall,
    /// Cursors that rest are looked through.
    Cursors,
    /// The session is due to be sent a picture.
    Watch,
    /// Of the daemon: nobody has been there for a while.
    IdleExit,
    /// Of the daemon: accept again after the system had no room.
    Accept,
    /// Of the daemon: statements have had time to end.
    Shutdown,
}

/// Stands in for a session where the deadline is the daemon's.
pub(crate) const DAEMON: u64 = 0;

/// All deadlines.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    in_order: BTreeMap<(Instant, u64, Kind), ()>,
    at: FxHashMap<(u64, Kind), Instant>,
}

impl Timers {
    /// Sets a deadline, in place of the one that was there.
    pub(crate) fn set(&mut self, session: u64, kind: Kind, at: Instant) {
        if let Some(before) = self.at.insert((session, kind), at) {
            self.in_order.remove(&(before, session, kind));
        }
        self.in_order.insert((at, session, kind), ());
    }

    /// Takes a deadline away, if it is there.
    pub(crate) fn clear(&mut self, session: u64, kind: Kind) {
        if let Some(before) = self.at.remove(&(session, kind)) {
            self.in_order.remove(&(before, session, kind));
        }
    }

    /// Takes away all deadlines of a session.
    pub(crate) fn clear_all(&mut self, session: u64) {
        use Kind::{Admission, Cursors, Hello, Idle, IdleTransaction, Stall, Statement, Watch};
        for kind in [Hello, Statement, Admission, IdleTransaction, Idle, Stall, Cursors, Watch] {
            self.clear(session, kind);
        }
    }

    /// Whether there is such a deadline.
    pub(crate) fn has(&self, session: u64, kind: Kind) -> bool {
        self.at.contains_key(&(session, kind))
    }

    /// When the next deadline is.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.in_order.first_key_value().map(|((at, _, _), ())| *at)
    }

    /// Takes a deadline that has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(u64, Kind)> {
        let (&(at, session, kind), ()) = self.in_order.first_key_value()?;
        if at > now {
            return None;
        }
        self.clear(session, kind);
        Some((session, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_come_in_order_and_once() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.set(7, Kind::Idle, at(3));
        timers.set(7, Kind::Admission, at(1));
        timers.set(8, Kind::Admission, at(2));
        timers.set(7, Kind::Admission, at(5));
        timers.set(9, Kind::Stall, at(1));
        timers.clear_all(9);
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.pop(at(1)), None);
        assert_eq!(timers.pop(at(9)), Some((8, Kind::Admission)));
        assert_eq!(timers.pop(at(9)), Some((7, Kind::Idle)));
        assert_eq!(timers.pop(at(9)), Some((7, Kind::Admission)));
        assert_eq!(timers.pop(at(9)), None);
        assert!(timers.at.is_empty());
    }
}
