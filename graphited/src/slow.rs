//! The last statements that took long.
//!
//! 1. Only statements that a worker runs are looked at: what the reactor answers out of memory takes a fraction of a
//!    millisecond, and asking the clock for each would cost the fastest of them more than it tells.
//! 2. The time is from when the daemon took the statement up, its earlier requests done, to when its answer was made. It
//!    includes waiting to be let write and waiting for locks, and not the sync that the answer may wait for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use graphite_protocol::ErrorCode;

use crate::people::Person;

/// Statements that are kept.
const KEPT_MAX: usize = 64;

/// A statement that took long.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    /// When it ended.
    pub at: SystemTime,
    /// Whose it was.
    pub session: u64,
    /// Who that is, if it is known.
    pub person: Option<Arc<Person>>,
    /// In which transaction.
    pub transaction: Option<u64>,
    /// What it was, in a line.
    pub text: Arc<str>,
    /// How long it took.
    pub took: Duration,
    /// How long of that it waited for locks.
    pub waited: Duration,
    /// Rows of its answer, those left to be fetched not counted; `None` if there was no answer.
    pub rows: Option<u64>,
    /// The error that it ended with.
    pub error: Option<ErrorCode>,
}

/// Those that are kept.
#[derive(Debug)]
pub(crate) struct SlowStatements {
    /// From this on a statement is slow; none is if there is no such time.
    threshold: Option<Duration>,
    kept: Mutex<VecDeque<Slow>>,
    ever: AtomicU64,
}

impl SlowStatements {
    /// None yet.
    pub(crate) fn new(threshold_ms: Option<u64>) -> SlowStatements {
        SlowStatements {
            threshold: threshold_ms.map(Duration::from_millis),
            kept: Mutex::default(),
            ever: AtomicU64::new(0),
        }
    }

    /// Whether a statement that took so long is kept.
    pub(crate) fn is_slow(&self, took: Duration) -> bool {
        self.threshold.is_some_and(|threshold| took >= threshold)
    }

    /// Keeps one, and forgets the oldest if there are many.
    pub(crate) fn keep(&self, statement: Slow) {
        self.ever.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_back();
        }
        kept.push_front(statement);
    }

    /// Those that are kept, newest first, and how many there ever were.
    pub(crate) fn look(&self) -> (Vec<Slow>, u64) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.iter().cloned().collect(), self.ever.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_kept_newest_first() {
        let slow = SlowStatements::new(Some(5));
        assert!(!slow.is_slow(Duration::from_millis(4)) && slow.is_slow(Duration::from_millis(5)));
        assert!(SlowStatements::new(Some(0)).is_slow(Duration::ZERO));
        assert!(!SlowStatements::new(None).is_slow(Duration::from_secs(1000)));
        for session in 0..100 {
            slow.keep(Slow {
                at: SystemTime::UNIX_EPOCH,
                session,
                person: None,
                transaction: None,
                text: "".into(),
                took: Duration::ZERO,
                waited: Duration::ZERO,
                rows: None,
                error: None,
            });
        }
        let (kept, ever) = slow.look();
        assert_eq!((kept.len(), kept[0].session, kept[KEPT_MAX - 1].session, ever), (KEPT_MAX, 99, 36, 100));
    }
}
