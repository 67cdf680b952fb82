//! What a power cut leaves of what was not synced: the choice, apart from its consequences.
//!
//! Every unsynced change asks a [`Chooser`] once. The same [`Outcome`] over the same changes gives the same
//! answers, for the order of asking is fixed and the only chance is a generator seeded by the outcome.

/// Bytes that a disk writes wholly or not at all.
pub(super) const SECTOR_BYTES: usize = 512;

/// What becomes of unsynced changes when the power goes.
///
/// "Last" is the newest unsynced operation on the whole disk, with everything that belongs to it: the bytes of
/// a write, and the length if it grew the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing unsynced is there any more.
    LoseAll,
    /// Everything is there, as if the kernel had just written it back.
    KeepAll,
    /// Only the newest change is there: the disk reordered.
    LoseAllButLast,
    /// Only the newest change is lost.
    KeepAllButLast,
    /// Each change survives, vanishes or tears by itself, by this seed. Seeds also differ in how much survives
    /// on the whole, so that some lose little and some keep little.
    Random(u64),
}

/// How sure an unsynced change is of its future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The next sync makes it durable.
    Dirty,
    /// A failed sync dropped it: the cache shows it, no later sync writes it, the disk may or may not have it.
    Dropped,
    /// It survives, but stands behind a change that may not, and so is not yet folded into what is below both.
    Durable,
}

/// What becomes of the bytes of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Lost,
    /// Each sector is to be asked for by [`Chooser::keeps_sector`].
    Torn,
}

/// Answers for one power cut.
pub(super) struct Chooser {
    outcome: Outcome,
    /// Sequence number of the newest unsynced change.
    last: Option<u64>,
    random: SplitMix64,
    /// Out of eight changes, how many survive in the mean.
    kept_of_8: u64,
}

impl Chooser {
    pub(super) fn new(outcome: Outcome, last: Option<u64>) -> Chooser {
        let seed = if let Outcome::Random(seed) = outcome { seed } else { 0 };
        let mut random = SplitMix64(seed);
        let kept_of_8 = [1, 4, 4, 7][(random.next() % 4) as usize];
        Chooser { outcome, last, random, kept_of_8 }
    }

    /// Whether a change that cannot tear (a length, a name) survives.
    pub(super) fn keeps(&mut self, standing: Standing, sequence: u64) -> bool {
        if standing == Standing::Durable {
            return true;
        }
        match self.outcome {
            Outcome::LoseAll => false,
            Outcome::KeepAll => true,
            Outcome::LoseAllButLast => self.last == Some(sequence),
            Outcome::KeepAllButLast => self.last != Some(sequence),
            Outcome::Random(_) => self.random.next() % 8 < self.kept_of_8,
        }
    }

    /// What becomes of the bytes of a write.
    pub(super) fn fate(&mut self, standing: Standing, sequence: u64) -> Fate {
        let random = matches!(self.outcome, Outcome::Random(_)) && standing != Standing::Durable;
        if random && self.random.next().is_multiple_of(3) {
            Fate::Torn
        } else if self.keeps(standing, sequence) {
            Fate::Kept
        } else {
            Fate::Lost
        }
    }

    /// Whether the next sector of a torn write survives.
    pub(super) fn keeps_sector(&mut self) -> bool {
        self.random.next().is_multiple_of(2)
    }
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): small, and good from any seed.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first values for seed 1234567, as published with the reference implementation.
    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = SplitMix64(1_234_567);
        let first = [random.next(), random.next(), random.next()];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn what_is_durable_is_kept_whatever_the_outcome() {
        for outcome in
            [Outcome::LoseAll, Outcome::LoseAllButLast, Outcome::KeepAllButLast, Outcome::Random(3)]
        {
            let mut chooser = Chooser::new(outcome, Some(5));
            for _ in 0..100 {
                assert!(chooser.keeps(Standing::Durable, 5));
                assert_eq!(chooser.fate(Standing::Durable, 5), Fate::Kept);
            }
        }
    }
}
