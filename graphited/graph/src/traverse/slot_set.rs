//! A level of a traversal: a set of node slots that is a list while it is small and a bitmap when it is large.

use std::ops::ControlFlow;

use rustc_hash::FxHashSet;

use super::{EDGES_PER_ASK, Follow, go_on};
use crate::view::View;
use crate::{Error, NodeSlot, Result};

/// A list shorter than this is sorted rather than made a bitmap.
const LIST_MAX: usize = 64;
/// How many bitmap words are read in the time that one list element is sorted.
const WORDS_PER_SORTED: usize = 32;

/// A set of node slots that is filled first and read, in order, later.
#[derive(Clone, Debug)]
pub(super) struct SlotSet {
    /// While `bits` is empty: what was put in, in any order and with duplicates.
    list: Vec<NodeSlot>,
    /// A bit for each slot; whole words, so that they can be read as such.
    bits: Vec<u8>,
    /// Slots past the bitmap: of nodes that others have made since the end was asked for, and what a damaged entry says.
    far: FxHashSet<NodeSlot>,
    slots_end: usize,
}

/// Bits are set byte by byte: entries are sorted, so bits of one word often come one after another, and each would have
/// to wait for the one before.
#[inline]
fn set(bits: &mut [u8], far: &mut FxHashSet<NodeSlot>, slot: NodeSlot) {
    match bits.get_mut((slot.0 >> 3) as usize) {
        Some(byte) => *byte |= 1 << (slot.0 & 7),
        None => {
            far.insert(slot);
        }
    }
}

/// The bitmap word by word.
fn words(bits: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bits.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word))
}

impl SlotSet {
    /// An empty set of slots below `slots_end`.
    pub(super) fn new(slots_end: u64) -> SlotSet {
        let slots_end = usize::try_from(slots_end).unwrap_or(usize::MAX);
        SlotSet { list: Vec::new(), bits: Vec::new(), far: FxHashSet::default(), slots_end }
    }

    fn is_bitmap(&self) -> bool {
        !self.bits.is_empty()
    }

    /// Number of words that a bitmap has.
    fn words(&self) -> usize {
        self.slots_end / 64 + 1
    }

    /// How many members a list may have: more of them are dearer to sort than a bitmap is to fill and to read.
    fn list_max(&self) -> usize {
        LIST_MAX.max(self.words() / WORDS_PER_SORTED)
    }

    /// Becomes a bitmap if so many members are too many for a list.
    pub(super) fn expect(&mut self, count: usize) {
        if !self.is_bitmap() && count > self.list_max() {
            self.become_bitmap();
        }
    }

    fn become_bitmap(&mut self) {
        self.bits = vec![0; self.words() * 8];
        for slot in std::mem::take(&mut self.list) {
            set(&mut self.bits, &mut self.far, slot);
        }
    }

    /// Adds every neighbour of the nodes in `frontier`. Returns how many edges were looked at since `budget` was asked.
    ///
    /// # Errors
    /// Of the store, and [`Error::Interrupted`].
    pub(super) fn add_neighbours<V: View>(
        &mut self,
        view: &V,
        frontier: &[NodeSlot],
        follow: Follow<'_>,
        budget: &mut dyn FnMut(u64) -> bool,
    ) -> Result<u64> {
        let Follow { direction, types } = follow;
        let (mut edges, mut rest) = (0, frontier);
        if !self.is_bitmap() {
            // The list never grows past what it may hold, so that it stays in a few pages of memory.
            let list_max = self.list_max();
            let (list, mut full_at) = (&mut self.list, None);
            let before = list.len();
            let _ = view.for_each_run(frontier, direction, types, |index, entries| {
                if list.len() + entries.len() > list_max {
                    full_at = Some(index);
                    return ControlFlow::Break(());
                }
                list.extend(entries.neighbours());
                ControlFlow::Continue(())
            })?;
            edges = (self.list.len() - before) as u64;
            // The node that would overfill it is visited once more, for a set forgets what it was told twice.
            rest = full_at.map_or(&[], |index| &frontier[index..]);
            if full_at.is_some() {
                self.become_bitmap();
            }
        }
        if !rest.is_empty() {
            let (bits, far) = (self.bits.as_mut_slice(), &mut self.far);
            let flow = view.for_each_run(rest, direction, types, |_, entries| {
                entries.neighbours().for_each(|slot| set(bits, far, slot));
                edges += entries.len() as u64;
                if edges < EDGES_PER_ASK {
                    return ControlFlow::Continue(());
                }
                go_on(budget, &mut edges)
            })?;
            if flow.is_break() {
                return Err(Error::Interrupted);
            }
        }
        Ok(edges)
    }

    /// Adds one slot to a set that is still a list.
    pub(super) fn push(&mut self, slot: NodeSlot) {
        debug_assert!(!self.is_bitmap());
        self.list.push(slot);
    }

    /// Ends the filling.
    pub(super) fn finish(&mut self) {
        self.expect(self.list.len());
        self.list.sort_unstable();
        self.list.dedup();
    }

    /// After `finish`.
    fn contains(&self, slot: NodeSlot) -> bool {
        match self.bits.get((slot.0 >> 3) as usize) {
            Some(byte) => byte >> (slot.0 & 7) & 1 == 1,
            None => self.list.binary_search(&slot).is_ok() || self.far.contains(&slot),
        }
    }

    /// After `finish`.
    pub(super) fn count(&self) -> u64 {
        let bits: u64 = words(&self.bits).map(|word| u64::from(word.count_ones())).sum();
        bits + self.list.len() as u64 + self.far.len() as u64
    }

    /// After `finish`: all members in order.
    pub(super) fn sorted(&self) -> Vec<NodeSlot> {
        if !self.is_bitmap() {
            return self.list.clone();
        }
        let mut all = Vec::new();
        for (index, word) in words(&self.bits).enumerate() {
            let mut rest = word;
            while rest != 0 {
                all.push(NodeSlot(index as u64 * 64 + u64::from(rest.trailing_zeros())));
                rest &= rest - 1;
            }
        }
        let near = all.len();
        all.extend(&self.far);
        all[near..].sort_unstable();
        all
    }

    /// Removes every member of `other`; both are finished.
    pub(super) fn subtract(&mut self, other: &SlotSet) {
        self.list.retain(|&slot| !other.contains(slot));
        self.far.retain(|&slot| !other.contains(slot));
        if other.is_bitmap() {
            for (byte, theirs) in self.bits.iter_mut().zip(&other.bits) {
                *byte &= !theirs;
            }
            return;
        }
        for slot in &other.list {
            if let Some(byte) = self.bits.get_mut((slot.0 >> 3) as usize) {
                *byte &= !(1 << (slot.0 & 7));
            }
        }
    }

    /// Adds every member of `other`; both are finished.
    pub(super) fn unite(&mut self, other: &SlotSet) {
        if !self.is_bitmap() {
            self.list.extend(other.sorted());
            return self.finish();
        }
        self.far.extend(&other.far);
        for (byte, theirs) in self.bits.iter_mut().zip(&other.bits) {
            *byte |= theirs;
        }
        for &slot in &other.list {
            set(&mut self.bits, &mut self.far, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Slots around the end of a table of 1,000: few of them stay a list, many become a bitmap, and those past the
    /// end must not be lost.
    fn slots() -> impl Strategy<Value = Vec<NodeSlot>> {
        let some = |range| proptest::collection::vec((0u64..1200).prop_map(NodeSlot), range);
        prop_oneof![some(0..20), some(0..400)]
    }

    fn set_of(slots: &[NodeSlot]) -> (SlotSet, BTreeSet<NodeSlot>) {
        let mut set = SlotSet::new(1000);
        slots.iter().for_each(|slot| set.push(*slot));
        set.finish();
        (set, slots.iter().copied().collect())
    }

    fn assert_is(set: &SlotSet, model: &BTreeSet<NodeSlot>) {
        assert_eq!(set.sorted(), model.iter().copied().collect::<Vec<_>>());
        assert_eq!(set.count(), model.len() as u64);
        for slot in (0..1300).map(NodeSlot) {
            assert_eq!(set.contains(slot), model.contains(&slot));
        }
    }

    proptest! {
        #[test]
        fn a_slot_set_is_a_set(one in slots(), two in slots()) {
            let ((a, in_a), (b, in_b)) = (set_of(&one), set_of(&two));
            assert_is(&a, &in_a);
            prop_assert_eq!(a.is_bitmap(), one.len() > LIST_MAX);
            let mut less = a.clone();
            less.subtract(&b);
            assert_is(&less, &in_a.difference(&in_b).copied().collect());
            let mut more = a.clone();
            more.unite(&b);
            assert_is(&more, &in_a.union(&in_b).copied().collect());
            more.subtract(&a);
            assert_is(&more, &in_b.difference(&in_a).copied().collect());
        }
    }
}
