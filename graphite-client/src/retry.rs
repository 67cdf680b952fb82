//! How often, and after which pauses, a transaction is run again that failed for a reason which passes.
//!
//! Pauses grow with each try, so that a daemon with more work than it can do is asked less and less; and each is
//! shortened by chance, so that clients that stood in each other's way do not meet again at the same instant.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use crate::error::Result;

/// Tries of one transaction, the first among them, unless a policy says otherwise.
const TRIES_MAX: u32 = 50;
/// Time after which no further try is begun, unless a policy says otherwise.
const TOTAL_MAX: Duration = Duration::from_secs(30);
/// The pause before the second try is at most this, unless a policy says otherwise.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// No pause is longer, unless a policy says otherwise.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How [`Client::transaction`](crate::Client::transaction) and [`Client::snapshot`](crate::Client::snapshot) try
/// again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often the transaction is run at most, the first time among them; 1 for never again.
    pub tries_max: u32,
    /// Time from the first try's beginning after which no further try is begun. A try that runs is not cut short.
    pub total_max: Duration,
    /// The pause after the first try is at most this. It doubles with each try.
    pub pause_min: Duration,
    /// No pause is longer.
    pub pause_max: Duration,
}

impl Default for RetryPolicy {
    /// Fifty tries within half a minute, with pauses from a millisecond to a quarter of a second.
    fn default() -> RetryPolicy {
        RetryPolicy { tries_max: TRIES_MAX, total_max: TOTAL_MAX, pause_min: PAUSE_MIN, pause_max: PAUSE_MAX }
    }
}

impl RetryPolicy {
    /// One try and no other.
    pub fn never() -> RetryPolicy {
        RetryPolicy { tries_max: 1, ..RetryPolicy::default() }
    }

    /// The pause after so many tries that failed within `elapsed`; `None` if there is to be no other try. `chance`
    /// shortens it, 0 by half and the greatest number not at all.
    fn pause(&self, tries: u32, elapsed: Duration, chance: u64) -> Option<Duration> {
        if tries >= self.tries_max {
            return None;
        }
        let doubled = 1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        let whole = self.pause_min.saturating_mul(doubled).min(self.pause_max);
        let pause = whole - (whole / 2).mul_f64(1.0 - chance as f64 / u64::MAX as f64);
        (elapsed.saturating_add(pause) < self.total_max).then_some(pause)
    }

    /// Tries until it succeeds, fails for a reason that does not pass, or was tried enough.
    pub(crate) fn run<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let mut tries = 0;
        loop {
            let error = match attempt() {
                Err(error) if error.is_retryable() && !error.is_no_connection() => error,
                result => return result,
            };
            tries += 1;
            match self.pause(tries, began.elapsed(), chance()) {
                Some(pause) => std::thread::sleep(pause),
                None => return Err(error),
            }
        }
    }
}

/// A number that other processes and threads do not draw at the same time.
fn chance() -> u64 {
    // Each state has keys of its own, which the system gave.
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use graphite_protocol::{ErrorCode, WireError};

    fn error(code: ErrorCode) -> Error {
        WireError::new(code, "").into()
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_chance_takes_at_most_half() {
        let policy = RetryPolicy { tries_max: 100, ..RetryPolicy::default() };
        let pause = |tries, chance| policy.pause(tries, Duration::ZERO, chance).unwrap();
        for (tries, ms) in [(1, 1), (2, 2), (3, 4), (8, 128), (9, 250), (40, 250), (99, 250)] {
            let whole = Duration::from_millis(ms);
            assert_eq!(pause(tries, u64::MAX), whole, "{tries}");
            assert_eq!(pause(tries, 0), whole / 2, "{tries}");
            assert!((whole / 2..=whole).contains(&pause(tries, chance())));
        }
    }

    #[test]
    fn tries_and_time_end() {
        let policy =
            RetryPolicy { tries_max: 3, total_max: Duration::from_secs(1), ..RetryPolicy::default() };
        assert!(policy.pause(2, Duration::from_millis(900), 0).is_some());
        assert_eq!(policy.pause(3, Duration::ZERO, 0), None);
        assert_eq!(policy.pause(1, Duration::from_secs(1), 0), None);
        assert_eq!(RetryPolicy::never().pause(1, Duration::ZERO, 0), None);
        let long = RetryPolicy { pause_min: Duration::MAX, pause_max: Duration::MAX, ..policy };
        assert_eq!(long.pause(1, Duration::MAX, u64::MAX), None);
    }

    /// How often something is tried that fails so each time.
    fn tries(policy: &RetryPolicy, code: ErrorCode) -> u32 {
        let mut tries = 0;
        let result: Result<()> = policy.run(|| {
            tries += 1;
            Err(error(code.clone()))
        });
        assert_eq!(result.unwrap_err().code(), Some(&code), "the last error is told");
        tries
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        let policy =
            RetryPolicy { tries_max: 4, pause_max: Duration::from_micros(1), ..RetryPolicy::default() };
        // That one has an error of its own.
        for code in ErrorCode::ALL.iter().filter(|code| **code != ErrorCode::VersionMismatch) {
            let leaves = matches!(code, ErrorCode::ShuttingDown | ErrorCode::TooManySessions);
            let expected = if code.retryable() && !leaves { 4 } else { 1 };
            assert_eq!(tries(&policy, code.clone()), expected, "{code}");
        }
        assert_eq!(tries(&RetryPolicy::never(), ErrorCode::Deadlock), 1);
        let mut left = 3;
        let result = policy.run(|| {
            left -= 1;
            if left > 0 { Err(error(ErrorCode::Deadlock)) } else { Ok("done") }
        });
        assert_eq!((result.unwrap(), left), ("done", 0));
    }
}
