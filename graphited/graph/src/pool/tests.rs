//! The pool against a model: which slots are used, leased, and what generations each had.

use std::collections::{BTreeMap, BTreeSet};

use graphite_store::MemPager;
use proptest::prelude::*;

use super::*;
use crate::nodes::{NODES_PER_PAGE, NodeRecord, free_node, put_node, put_nodes, read_node};
use crate::{LabelSetId, NodeSlot};

fn node(generation: u16) -> NodeRecord {
    NodeRecord {
        label_set: LabelSetId(0),
        generation,
        properties: None,
        out: None,
        in_: None,
        out_degree: 0,
        in_degree: 0,
    }
}

impl<T: Table> SlotPool<T> {
    /// One slot.
    fn take(&mut self, w: &MemPager) -> Result<(T::Slot, u16)> {
        let mut taken = Vec::new();
        self.take_some(1, &mut taken, || Borrowed(w))?;
        Ok(taken.pop().expect("one slot at least"))
    }
}

/// Pages that somebody else owns.
struct Borrowed<'a>(&'a MemPager);

impl PageReader for Borrowed<'_> {
    type Ref<'r>
        = &'r graphite_store::Page
    where
        Self: 'r;

    fn page(&self, number: graphite_store::PageNo) -> graphite_store::Result<&graphite_store::Page> {
        self.0.page(number)
    }
}

#[test]
fn slots_are_leased_some_at_a_time_and_of_one_page() {
    let w = MemPager::default();
    let mut pool = NodePool::new();
    let mut taken = Vec::new();
    for count in [1, 3, 200, 200, 1] {
        pool.take_some(count, &mut taken, || Borrowed(&w)).unwrap();
    }
    // The lowest of each lease last; the fourth found no more on its page.
    let slots: Vec<u64> = taken.iter().map(|(slot, _)| slot.0).collect();
    let end = NODES_PER_PAGE as u64;
    let expected = [(0..1), (1..4), (4..204), (204..end), (end..end + 1)];
    assert_eq!(slots, expected.into_iter().flat_map(|range| range.rev()).collect::<Vec<_>>());
}

#[test]
fn a_page_that_is_skipped_is_found_again_when_a_lease_ends() {
    let w = MemPager::default();
    let mut pool = NodePool::new();
    let (first, _) = pool.take(&w).unwrap();
    pool.skip_page(first);
    let (second, _) = pool.take(&w).unwrap();
    assert_eq!(second, NodeSlot(NODES_PER_PAGE as u64));
    pool.give_back(second);
    // What is open comes first, and then the page that was left.
    for slot in (1..NODES_PER_PAGE as u64).map(|slot| slot + NODES_PER_PAGE as u64) {
        assert_eq!(pool.take(&w).unwrap().0, NodeSlot(slot));
    }
    assert_eq!(pool.take(&w).unwrap().0, NodeSlot(1));
}

#[test]
fn a_new_table_gives_slots_in_order() {
    let w = MemPager::default();
    let mut pool = NodePool::new();
    for slot in 0..1000 {
        assert_eq!(pool.take(&w).unwrap(), (NodeSlot(slot), 0));
    }
}

#[test]
fn slots_given_back_are_taken_again_lowest_page_first() {
    let w = MemPager::default();
    let mut pool = NodePool::new();
    for _ in 0..1000 {
        pool.take(&w).unwrap();
    }
    pool.give_back(NodeSlot(300));
    pool.give_back(NodeSlot(5));
    // What the open page still has comes first, then the lowest page.
    let taken: Vec<u64> = (0..18).map(|_| pool.take(&w).unwrap().0.0).collect();
    assert_eq!(taken[..16], (1000..1016).collect::<Vec<_>>());
    assert_eq!(taken[16..], [5, 300]);
    assert_eq!(pool.take(&w).unwrap().0, NodeSlot(1016));
}

#[test]
fn a_freed_slot_comes_back_with_its_next_generation() {
    let mut w = MemPager::default();
    let mut pool = NodePool::new();
    for _ in 0..NODES_PER_PAGE {
        let (slot, generation) = pool.take(&w).unwrap();
        put_node(&mut w, slot, &node(generation)).unwrap();
        pool.used(slot);
    }
    free_node(&mut w, NodeSlot(7)).unwrap();
    pool.freed(NodeSlot(7));
    assert_eq!(pool.take(&w).unwrap(), (NodeSlot(7), 1));
    assert_eq!(pool.take(&w).unwrap(), (NodeSlot(NODES_PER_PAGE as u64), 0));
}

#[test]
fn a_pool_of_a_reopened_database_finds_the_free_slots() {
    let mut w = MemPager::default();
    put_nodes(&mut w, NodeSlot(0), &[node(0); 600]).unwrap();
    free_node(&mut w, NodeSlot(300)).unwrap();
    let mut pool = NodePool::new();
    assert_eq!(pool.take(&w).unwrap(), (NodeSlot(300), 1));
    assert_eq!(pool.take(&w).unwrap(), (NodeSlot(600), 0));
}

#[test]
fn fresh_ranges_start_at_a_page_and_are_not_shared() {
    let per_page = NODES_PER_PAGE as u64;
    let mut w = MemPager::default();
    let mut pool = NodePool::new();
    assert_eq!(pool.take(&w).unwrap().0, NodeSlot(0));
    let first = pool.take_fresh_range(&w, 600).unwrap();
    assert_eq!(first, NodeSlot(per_page));
    assert_eq!(pool.take_fresh_range(&w, 1).unwrap(), NodeSlot(4 * per_page));
    for slot in (1..per_page).chain(5 * per_page..5 * per_page + 3) {
        assert_eq!(pool.take(&w).unwrap().0, NodeSlot(slot), "around the ranges");
    }
    put_nodes(&mut w, first, &[node(0); 600]).unwrap();
    pool.end_fresh_range(first);
    // The rest of the page that is open, and then what the range left over.
    for slot in (5 * per_page + 3..6 * per_page).chain(per_page + 600..4 * per_page) {
        assert_eq!(pool.take(&w).unwrap().0, NodeSlot(slot));
    }
    // A range that was never written is free as a whole.
    pool.end_fresh_range(NodeSlot(4 * per_page));
    assert_eq!(pool.take(&w).unwrap().0, NodeSlot(4 * per_page));
}

#[test]
fn the_table_has_an_end() {
    let w = MemPager::default();
    let mut pool = NodePool::new();
    assert!(pool.take_fresh_range(&w, u64::MAX).is_err());
    let all = (1_u64 << 32) * NODES_PER_PAGE as u64;
    assert_eq!(pool.take_fresh_range(&w, all).unwrap(), NodeSlot(0));
    assert!(matches!(pool.take(&w), Err(crate::Error::TooMany { .. })));
    assert!(pool.take_fresh_range(&w, 1).is_err());
}

#[derive(Clone, Debug)]
enum Op {
    Take(usize),
    Put(prop::sample::Index),
    GiveBack(prop::sample::Index),
    Free(prop::sample::Index, usize),
    Range { count: u64, put: usize },
    EndRange,
    Reopen,
}

fn any_op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => prop_oneof![1..8_usize, 200..300_usize].prop_map(Op::Take),
        4 => index().prop_map(Op::Put),
        2 => index().prop_map(Op::GiveBack),
        4 => (index(), prop_oneof![1..8_usize, 200..600_usize]).prop_map(|(index, count)| Op::Free(index, count)),
        1 => (1..600_u64, 0..600_usize).prop_map(|(count, put)| Op::Range { count, put }),
        1 => Just(Op::EndRange),
        1 => Just(Op::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    w: MemPager,
    pool: NodePool,
    used: BTreeSet<u64>,
    leased: BTreeMap<u64, u16>,
    ranges: Vec<(u64, u64)>,
    /// The last generation that a slot's user had.
    had: BTreeMap<u64, u16>,
}

impl Model {
    fn take(&mut self) {
        let (slot, generation) = self.pool.take(&self.w).unwrap();
        let slot = slot.0;
        assert!(!self.used.contains(&slot), "{slot} is used");
        assert!(self.leased.insert(slot, generation).is_none(), "{slot} is leased");
        assert!(
            !self.ranges.iter().any(|(first, end)| (first..end).contains(&&slot)),
            "{slot} is in a range"
        );
        assert!(
            self.had.get(&slot).is_none_or(|had| generation > *had),
            "{slot} had generation {generation}"
        );
    }

    fn put(&mut self, slot: u64, generation: u16) {
        put_node(&mut self.w, NodeSlot(slot), &node(generation)).unwrap();
        self.used.insert(slot);
        self.had.insert(slot, generation);
    }

    /// Commits half of the leases, as a transaction's end does.
    fn put_leased(&mut self, which: prop::sample::Index) {
        let count = self.leased.len().div_ceil(2);
        let start = which.index(self.leased.len().max(1));
        let chosen: Vec<(u64, u16)> = self
            .leased
            .iter()
            .skip(start)
            .take(count)
            .map(|(slot, generation)| (*slot, *generation))
            .collect();
        for (slot, generation) in chosen {
            self.leased.remove(&slot);
            self.put(slot, generation);
            self.pool.used(NodeSlot(slot));
        }
    }

    fn range(&mut self, count: u64, put: usize) {
        let first = self.pool.take_fresh_range(&self.w, count).unwrap().0;
        let end = first + count.next_multiple_of(NODES_PER_PAGE as u64);
        assert_eq!(first % NODES_PER_PAGE as u64, 0);
        assert!(self.had.range(first..end).next().is_none(), "never used");
        assert!(self.leased.range(first..end).next().is_none(), "not leased");
        assert!(self.ranges.iter().all(|(from, to)| end <= *from || first >= *to), "ranges do not overlap");
        self.ranges.push((first, end));
        (first..first + count).take(put).for_each(|slot| self.put(slot, 0));
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Take(count) => (0..count).for_each(|_| self.take()),
            Op::Put(which) => self.put_leased(which),
            Op::GiveBack(which) => {
                let slot = self.leased.keys().nth(which.index(self.leased.len().max(1))).copied();
                if let Some(slot) = slot {
                    self.leased.remove(&slot);
                    self.pool.give_back(NodeSlot(slot));
                }
            }
            Op::Free(which, count) => {
                let start = which.index(self.used.len().max(1));
                let gone: Vec<u64> = self.used.iter().skip(start).take(count).copied().collect();
                for slot in gone {
                    self.used.remove(&slot);
                    free_node(&mut self.w, NodeSlot(slot)).unwrap();
                    self.pool.freed(NodeSlot(slot));
                }
            }
            Op::Range { count, put } => self.range(count, put),
            Op::EndRange => {
                if let Some((first, _)) = self.ranges.pop() {
                    self.pool.end_fresh_range(NodeSlot(first));
                }
            }
            Op::Reopen => {
                self.pool = NodePool::new();
                self.leased.clear();
                self.ranges.clear();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_slot_is_given_twice(ops in prop::collection::vec(any_op(), 1..60)) {
        let mut model = Model::default();
        ops.into_iter().for_each(|op| model.apply(op));
        for slot in &model.used {
            prop_assert_eq!(read_node(&model.w, NodeSlot(*slot)).unwrap(), Some(node(model.had[slot])));
        }
        // Nothing is lost: with all leases ended, every slot below the highest one is used or comes again.
        let highest = model.had.last_key_value().map_or(0, |(slot, _)| *slot);
        let leased = std::mem::take(&mut model.leased);
        leased.into_keys().for_each(|slot| model.pool.give_back(NodeSlot(slot)));
        std::mem::take(&mut model.ranges).iter().for_each(|(first, _)| model.pool.end_fresh_range(NodeSlot(*first)));
        let free = (0..highest).filter(|slot| !model.used.contains(slot)).count();
        // The page that was open when the leases ended may lie beyond the highest slot.
        (0..free + NODES_PER_PAGE).for_each(|_| model.take());
        let missing = (0..highest).find(|slot| !model.used.contains(slot) && !model.leased.contains_key(slot));
        prop_assert_eq!(missing, None);
    }
}
