//! Chance that a seed repeats.

use std::time::{Duration, UNIX_EPOCH};

/// The generator "splitmix64": a seed gives the same choices whatever library is at hand.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// One that begins at a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// Whether something happens that happens so many times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = self.below(from.len() as u64);
        &from[usize::try_from(place).expect("a place in memory")]
    }

    /// A time below a bound.
    pub fn duration(&mut self, below: Duration) -> Duration {
        let bound = u64::try_from(below.as_nanos()).expect("a test takes less than centuries");
        Duration::from_nanos(self.below(bound))
    }
}

/// The seed that `GRAPHITE_SEED` gives, or one that is new each time. Whoever uses it prints it.
///
/// # Panics
/// If the variable holds no number.
pub fn seed() -> u64 {
    match std::env::var("GRAPHITE_SEED") {
        Ok(text) => text.parse().expect("GRAPHITE_SEED is a number"),
        Err(_) => {
            UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() ^ u64::from(since.subsec_nanos()) << 32)
        }
    }
}
