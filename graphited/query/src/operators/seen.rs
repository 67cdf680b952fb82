//! Slots that were met before: a set that starts small and becomes a bitmap.

use rustc_hash::FxHashSet;

/// A hash set shorter than this stays one.
const HASHED_MIN: usize = 1024;
/// Bytes that an entry of the hash set takes, about: eight, a control byte, and room to grow.
const HASHED_BYTES: usize = 16;

/// A set of slot numbers.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hashed: FxHashSet<u64>,
    words: Vec<u64>,
}

impl Seen {
    /// Adds a slot; returns whether it was not there. Slots are numbered below `slots_end`, but for a few.
    #[inline]
    pub(super) fn insert(&mut self, slot: u64, slots_end: u64) -> bool {
        if let Some(word) = self.words.get_mut((slot >> 6) as usize) {
            let bit = 1 << (slot & 63);
            let is_new = *word & bit == 0;
            *word |= bit;
            return is_new;
        }
        let is_new = self.hashed.insert(slot);
        if is_new && self.hashed.len() > HASHED_MIN {
            self.settle(slots_end);
        }
        is_new
    }

    /// Becomes a bitmap once that is smaller.
    #[cold]
    fn settle(&mut self, slots_end: u64) {
        let words = usize::try_from(slots_end / 64 + 1).unwrap_or(usize::MAX);
        if words.saturating_mul(8) > self.hashed.len().saturating_mul(HASHED_BYTES)
            || words <= self.words.len()
        {
            return;
        }
        self.words.resize(words, 0);
        let words = &mut self.words;
        self.hashed.retain(|slot| match words.get_mut((slot >> 6) as usize) {
            Some(word) => {
                *word |= 1 << (slot & 63);
                false
            }
            None => true,
        });
        self.hashed.shrink_to_fit();
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> u64 {
        (self.hashed.len() * HASHED_BYTES + self.words.len() * 8) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_set_whatever_its_form() {
        for slots_end in [0, 100, 40_000, u64::MAX] {
            let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
            let mut slot = 1u64;
            for _ in 0..6000 {
                slot = slot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let slot = (slot >> 33) % 30_000;
                assert_eq!(seen.insert(slot, slots_end), model.insert(slot));
            }
            assert!(seen.bytes() > 0);
        }
    }

    #[test]
    fn a_dense_set_is_small() {
        let mut seen = Seen::default();
        (0..100_000).for_each(|slot| assert!(seen.insert(slot, 100_000)));
        assert!(seen.bytes() < 20_000, "{} bytes", seen.bytes());
        (0..100_000).for_each(|slot| assert!(!seen.insert(slot, 100_000)));
    }
}
