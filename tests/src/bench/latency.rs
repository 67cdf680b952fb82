//! Latencies of one round.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Longest latency that is told from longer ones, in ns.
const NANOSECONDS_MAX: u64 = 600_000_000_000;

/// How long things took, to three digits.
#[derive(Debug)]
pub(crate) struct Latencies {
    nanoseconds: Histogram<u64>,
    sum: Duration,
}

impl Latencies {
    pub(crate) fn new() -> Latencies {
        let nanoseconds = Histogram::new_with_bounds(1, NANOSECONDS_MAX, 3).expect("these are valid bounds");
        Latencies { nanoseconds, sum: Duration::ZERO }
    }

    /// Does it, and notes how long it took.
    pub(crate) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = work();
        self.note(began.elapsed());
        result
    }

    fn note(&mut self, took: Duration) {
        self.sum += took;
        self.nanoseconds.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Seconds that so many of a hundred stay below.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        self.nanoseconds.value_at_percentile(percent) as f64 * 1e-9
    }

    /// Seconds that all of it took.
    pub(crate) fn seconds(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// In seconds, and exact.
    pub(crate) fn mean(&self) -> f64 {
        self.seconds() / self.nanoseconds.len() as f64
    }

    /// How many in a second, one after the other.
    pub(crate) fn rate(&self) -> f64 {
        1.0 / self.mean()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_have_three_digits_and_the_mean_is_exact() {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|micros| latencies.note(Duration::from_micros(micros)));
        for (percent, micros) in [(50.0, 500.0), (99.0, 990.0), (100.0, 1000.0)] {
            assert!((latencies.percentile(percent) * 1e6 / micros - 1.0).abs() < 2e-3, "{percent}");
        }
        assert!((latencies.mean() - 500.5e-6).abs() < 1e-12);
        assert!((latencies.rate() * latencies.mean() - 1.0).abs() < 1e-12);
        assert_eq!(latencies.time(|| 7), 7);
        assert_eq!(latencies.nanoseconds.len(), 1001);
    }
}
