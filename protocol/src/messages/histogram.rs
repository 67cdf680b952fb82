//! How long something took, counted by how long: few numbers, from which a monitor tells percentiles, and of two
//! pictures what happened between them.

use crate::decode::Decoder;
use crate::decode_error::DecodeError;
use crate::encode::Encoder;
use crate::wire::{Wire, message};

message! { reply "a histogram",
    /// Spans of time. All numbers only grow, from the daemon's start on.
    #[derive(Default, Eq, serde::Serialize)]
    pub struct Histogram {
        /// How many there were.
        pub count: u64 = 0,
        /// All of them together, in microseconds.
        pub sum_us: u64 = 0,
        /// The longest, in microseconds.
        pub max_us: u64 = 0,
        /// How many were how long: those that are not empty, shortest first.
        pub buckets: Vec<HistogramBucket> = Vec::new(),
    }
}

/// Spans of about the same length; on the wire `[below_us, count]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct HistogramBucket {
    /// They are shorter than this, in microseconds, and not shorter than those of the bucket before.
    pub below_us: u64,
    /// How many there were.
    pub count: u64,
}

impl Wire for HistogramBucket {
    fn write(&self, out: &mut Encoder<'_>) {
        out.list(2);
        out.uint(self.below_us);
        out.uint(self.count);
    }

    fn read(from: &mut Decoder<'_>) -> Result<HistogramBucket, DecodeError> {
        from.list_of(2, "a bucket: [below_us, count]")?;
        let bucket = HistogramBucket { below_us: from.u64()?, count: from.u64()? };
        from.leave();
        Ok(bucket)
    }
}

impl Histogram {
    /// What was counted since `earlier`, an older state of the same histogram. The longest is that of all time, for
    /// which of them it was is not known. After a restart of the daemon nothing sensible can be told, and all of it is.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        if earlier.count > self.count {
            return self.clone();
        }
        let before = |below_us| {
            let found = earlier.buckets.iter().find(|bucket| bucket.below_us == below_us);
            found.map_or(0, |bucket| bucket.count)
        };
        let buckets = self.buckets.iter().map(|bucket| HistogramBucket {
            below_us: bucket.below_us,
            count: bucket.count.saturating_sub(before(bucket.below_us)),
        });
        Histogram {
            count: self.count - earlier.count,
            sum_us: self.sum_us.saturating_sub(earlier.sum_us),
            max_us: self.max_us,
            buckets: buckets.filter(|bucket| bucket.count > 0).collect(),
        }
    }

    /// A length, in microseconds, that so many of a thousand do not pass: 990 for the 99th percentile. It is the end of
    /// a bucket, and never more than the longest; `None` if nothing was counted.
    pub fn per_mille_us(&self, per_mille: u64) -> Option<u64> {
        // The buckets themselves, for the daemon counts while it is looked at.
        let total: u64 = self.buckets.iter().fold(0, |sum, bucket| sum.saturating_add(bucket.count));
        if total == 0 {
            return None;
        }
        let wanted = (u128::from(total) * u128::from(per_mille.min(1000))).div_ceil(1000).max(1);
        let mut seen = 0;
        for bucket in &self.buckets {
            seen += u128::from(bucket.count);
            if seen >= wanted {
                return Some(bucket.below_us.min(self.max_us));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: &[(u64, u64)], max_us: u64) -> Histogram {
        let buckets: Vec<HistogramBucket> =
            buckets.iter().map(|&(below_us, count)| HistogramBucket { below_us, count }).collect();
        let count = buckets.iter().map(|bucket| bucket.count).sum();
        Histogram { count, sum_us: count * 10, max_us, buckets }
    }

    #[test]
    fn percentiles_are_ends_of_buckets_and_not_past_the_longest() {
        let found = histogram(&[(16, 90), (128, 9), (4096, 1)], 3000);
        assert_eq!(found.per_mille_us(500), Some(16));
        assert_eq!(found.per_mille_us(900), Some(16));
        assert_eq!(found.per_mille_us(990), Some(128));
        assert_eq!(found.per_mille_us(1000), Some(3000));
        assert_eq!(found.per_mille_us(0), Some(16));
        assert_eq!(Histogram::default().per_mille_us(990), None);
        let absurd = histogram(&[], 0);
        let absurd =
            Histogram { buckets: vec![HistogramBucket { below_us: 1, count: u64::MAX }; 2], ..absurd };
        assert_eq!(absurd.per_mille_us(1000), Some(0));
    }

    #[test]
    fn two_states_tell_what_was_between_them() {
        let (before, after) = (histogram(&[(16, 90)], 12), histogram(&[(16, 95), (128, 3)], 100));
        let between = after.since(&before);
        assert_eq!(between, histogram(&[(16, 5), (128, 3)], 100));
        assert_eq!(before.since(&after), before, "of another life");
    }
}
