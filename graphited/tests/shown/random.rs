//! Chance that a seed repeats.

use std::time::UNIX_EPOCH;

/// The generator "splitmix64": a seed gives the same choices whatever library is at hand.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something happens that happens so many times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A place in a list of so many.
    pub(crate) fn place(&mut self, of: usize) -> usize {
        usize::try_from(self.below(of as u64)).unwrap()
    }
}

/// The seed that `GRAPHITE_SEED` gives, or one that is new each time. Whoever uses it prints it.
pub(crate) fn seed() -> u64 {
    match std::env::var("GRAPHITE_SEED") {
        Ok(text) => text.parse().expect("GRAPHITE_SEED is a number"),
        Err(_) => {
            UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() ^ u64::from(since.subsec_nanos()) << 32)
        }
    }
}
