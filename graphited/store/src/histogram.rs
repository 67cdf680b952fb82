//! Spans of time, counted by their length, by several threads at once and without a lock.
//!
//! 1. A bucket is at most a quarter longer than it begins: below 4 µs each microsecond has its own, above that each
//!    doubling has four. So a percentile is right within a quarter, from one microsecond to a minute, in 105 numbers.
//! 2. Numbers only grow. Whoever looks while others count may see one number with a span and another without it.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// Bits of a length, below its highest, that tell its bucket.
const FINE_BITS: u32 = 2;
/// Buckets of a doubling.
const FINE: usize = 1 << FINE_BITS;
/// The last bucket holds all that is longer: from 2^26 µs on, 67 s.
const BUCKETS: usize = 25 * FINE + 1;

/// A histogram.
#[derive(Debug)]
pub(crate) struct Latencies {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
    max_us: AtomicU64,
}

/// What a histogram has counted, for the monitor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyCounts {
    /// How many there were.
    pub count: u64,
    /// All of them together, in microseconds.
    pub sum_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
    /// For each bucket that is not empty, shortest first, what its spans are shorter than, in microseconds, and how many
    /// there were.
    pub buckets: Vec<(u64, u64)>,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_us: AtomicU64::new(0),
            max_us: AtomicU64::new(0),
        }
    }
}

impl Latencies {
    /// Counts one.
    pub(crate) fn add(&self, span: Duration) {
        let us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> LatencyCounts {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).enumerate();
        let buckets: Vec<(u64, u64)> =
            counts.filter(|(_, count)| *count > 0).map(|(index, count)| (end_us(index), count)).collect();
        LatencyCounts {
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum_us: self.sum_us.load(Ordering::Relaxed),
            max_us: self.max_us.load(Ordering::Relaxed),
            buckets,
        }
    }
}

/// The bucket of a length.
fn bucket(us: u64) -> usize {
    if us < FINE as u64 {
        return usize::try_from(us).expect("below four");
    }
    let shift = us.ilog2() - FINE_BITS;
    let fine = usize::try_from((us >> shift) - FINE as u64).expect("the two bits below the highest");
    let doubling = usize::try_from(shift).expect("below 64") + 1;
    (doubling * FINE + fine).min(BUCKETS - 1)
}

/// What lengths of a bucket are shorter than.
fn end_us(bucket: usize) -> u64 {
    if bucket == BUCKETS - 1 {
        return u64::MAX;
    }
    let next = bucket + 1;
    if next < FINE { next as u64 } else { ((FINE + next % FINE) as u64) << (next / FINE - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each length is below the end of its bucket, and not below that of the one before.
    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for us in (0..10_000).chain((4..70).map(|bits| 1_u64.checked_shl(bits).map_or(u64::MAX, |us| us - 1)))
        {
            let at = bucket(us);
            assert!(us < end_us(at) || at == BUCKETS - 1, "{us}");
            assert!(at == 0 || us >= end_us(at - 1), "{us}");
            if at < BUCKETS - 1 && us >= 4 {
                let start = end_us(at - 1);
                assert!(end_us(at) - start <= start.div_ceil(4), "{us}: {start}");
            }
        }
    }

    #[test]
    fn what_is_counted_is_told() {
        let latencies = Latencies::default();
        assert_eq!(latencies.counts(), LatencyCounts::default());
        for us in [3, 100, 101, 1_000_000_000] {
            latencies.add(Duration::from_micros(us));
        }
        let counts = latencies.counts();
        assert_eq!((counts.count, counts.sum_us, counts.max_us), (4, 1_000_000_204, 1_000_000_000));
        assert_eq!(counts.buckets, [(4, 1), (112, 2), (u64::MAX, 1)]);
    }
}
