//! How these tests work: every change is made to an adjacency and to a `BTreeSet` of keys, and then everything
//! that can be asked is asked of both. Small limits make high trees of few edges; the standard ones are crossed
//! by larger batches. A pager that counts shows how many pages one change touches.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::ControlFlow::{self, Break, Continue};

use graphite_store::{MemPager, Page, PageWriter};
use proptest::prelude::*;

use super::write::{Limits, apply_within};
use super::*;
use crate::space::SpaceMap;

const OWNER: Owner = Owner { slot: NodeSlot(77), side: Side::Out };
const TINY: Limits = Limits { small_bytes: 100, shrink_bytes: 50, leaf_bytes: 120, inner_children: 4 };

/// A pager that counts what is looked at and what is changed.
#[derive(Default)]
struct CountingPager {
    pager: MemPager,
    touched: Cell<u64>,
}

impl PageReader for CountingPager {
    type Ref<'a> = &'a Page;
    fn page(&self, number: PageNo) -> graphite_store::Result<&Page> {
        self.touched.set(self.touched.get() + 1);
        self.pager.page(number)
    }
}

impl PageWriter for CountingPager {
    fn page_mut(&mut self, number: PageNo) -> graphite_store::Result<&mut Page> {
        self.touched.set(self.touched.get() + 1);
        self.pager.page_mut(number)
    }
    fn allocate(&mut self, kind: PageKind) -> graphite_store::Result<PageNo> {
        self.pager.allocate(kind)
    }
    fn free(&mut self, number: PageNo) -> graphite_store::Result<()> {
        self.pager.free(number)
    }
}

/// One adjacency beside its model.
struct Pair {
    w: CountingPager,
    space: SpaceMap,
    location: Option<Location>,
    model: BTreeSet<Key>,
    limits: Limits,
}

fn key(type_: u32, neighbour: u64, edge: u64) -> Key {
    (TypeId(type_), Entry { neighbour: NodeSlot(neighbour), edge: EdgeSlot(edge) })
}

impl Pair {
    fn new(limits: Limits) -> Pair {
        let (w, space) = (CountingPager::default(), SpaceMap::adjacency());
        Pair { w, space, location: None, model: BTreeSet::new(), limits }
    }

    fn of(keys: impl IntoIterator<Item = Key>) -> Pair {
        let mut pair = Pair::new(Limits::STANDARD);
        pair.toggle(keys);
        pair
    }

    /// Removes the keys that are there and adds those that are not.
    fn toggle(&mut self, keys: impl IntoIterator<Item = Key>) {
        let keys: BTreeSet<Key> = keys.into_iter().collect();
        let (removed, added): (Vec<Key>, Vec<Key>) =
            keys.into_iter().partition(|key| self.model.contains(key));
        self.try_apply(&removed, &added).unwrap();
        self.model.retain(|key| removed.binary_search(key).is_err());
        self.model.extend(added);
    }

    fn try_apply(&mut self, removed: &[Key], added: &[Key]) -> Result<()> {
        let (w, space) = (&mut self.w, &mut self.space);
        self.location = apply_within(self.limits, w, space, OWNER, self.location, removed, added)?;
        Ok(())
    }

    fn location(&self) -> Location {
        self.location.expect("it has entries")
    }

    fn groups(&self, types: Option<&[TypeId]>) -> Vec<Key> {
        let mut found = Vec::new();
        let end =
            for_each_group(&self.w, OWNER, self.location(), types, |type_, entries| -> ControlFlow<()> {
                assert_eq!(entries.neighbours().len(), entries.len());
                found.extend(entries.iter().map(|entry| (type_, entry)));
                Continue(())
            });
        assert_eq!(end.unwrap(), Continue(()));
        found
    }

    fn scan(&self, types: Option<&[TypeId]>, step: usize) -> Vec<Key> {
        let mut found: Vec<Key> = Vec::new();
        loop {
            let before = found.len();
            let after = found.last().copied();
            scan_from(&self.w, OWNER, self.location(), types, after, step, &mut found).unwrap();
            if found.len() < before + step {
                return found;
            }
        }
    }

    fn between(&self, types: Option<&[TypeId]>, neighbour: u64) -> Vec<Key> {
        let mut found = Vec::new();
        let end = find(&self.w, OWNER, self.location(), types, NodeSlot(neighbour), |type_, edge| {
            found.push((type_, Entry { neighbour: NodeSlot(neighbour), edge }));
            Continue::<()>(())
        });
        assert!(end.unwrap().is_continue());
        found
    }

    /// Asks everything of both.
    fn verify(&self) {
        let Some(location) = self.location else {
            assert!(self.model.is_empty());
            assert_eq!(self.pages_in_use(), 0);
            return;
        };
        assert_eq!(check(&self.w, OWNER, location).unwrap(), self.model.len() as u64);
        let types: BTreeSet<TypeId> = self.model.iter().map(|key| key.0).collect();
        let mut asked: Vec<Option<Vec<TypeId>>> =
            vec![None, Some(vec![TypeId(0), TypeId(65_535), TypeId(0)])];
        asked.extend(types.iter().take(4).map(|type_| Some(vec![TypeId(type_.0 + 1), *type_])));
        let neighbours: BTreeSet<u64> =
            self.model.iter().step_by(self.model.len() / 16 + 1).map(|key| key.1.neighbour.0).collect();
        for types in asked {
            let types = types.as_deref();
            let wanted = |key: &&Key| types.is_none_or(|types| types.contains(&key.0));
            let expected: Vec<Key> = self.model.iter().filter(wanted).copied().collect();
            assert_eq!(self.groups(types), expected);
            assert_eq!(self.scan(types, 7 + self.model.len() / 1000), expected);
            assert_eq!(count(&self.w, OWNER, location, types).unwrap(), expected.len() as u64);
            for neighbour in neighbours.iter().copied().chain([u64::from(u32::MAX)]) {
                let expected: Vec<Key> =
                    expected.iter().filter(|key| key.1.neighbour.0 == neighbour).copied().collect();
                assert_eq!(self.between(types, neighbour), expected);
            }
        }
        let mut pages = Vec::new();
        for_each_page(&self.w, OWNER, location, |page| pages.push(page)).unwrap();
        assert_eq!(pages.len() + usize::from(!location.is_tree()), self.pages_in_use());
    }

    /// Pages that hold adjacency.
    fn pages_in_use(&self) -> usize {
        let kinds = [PageKind::Adjacency, PageKind::HubLeaf, PageKind::HubInner];
        let is_ours = |page: &PageNo| kinds.contains(&self.w.page(*page).unwrap().kind());
        self.w.pager.page_numbers().filter(is_ours).count()
    }

    fn is_corrupt(&mut self, removed: &[Key], added: &[Key]) -> bool {
        matches!(self.try_apply(removed, added), Err(Error::Corrupt { .. }))
    }
}

/// Numbers that look random and are the same in each run.
fn mix(number: u64) -> u64 {
    let number = (number ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (number ^ (number >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (number >> 31)
}

#[test]
fn golden_block() {
    let pair = Pair::of([key(3, 0x0102, 9), key(3, 5, 0x0708), key(3, 5, 1), key(258, 77, 4)]);
    let location = pair.location();
    let block = record::get(pair.w.page(location.page).unwrap(), location.slot).unwrap();
    #[rustfmt::skip]
    assert_eq!(block, [
        77, 0, 0, 0, 0, 0, 2, 0,
        3, 0, 3, 0,
        5, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0,
        5, 0, 0, 0, 0, 0, 8, 7, 0, 0, 0, 0,
        2, 1, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0,
        2, 1, 1, 0,
        77, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0,
    ]);
    pair.verify();
}

#[test]
fn a_block_that_grows_stays_where_it_is_for_a_while_and_gives_slack_back() {
    let mut pair = Pair::of([key(1, 0, 0)]);
    let bytes = |pair: &Pair| {
        let location = pair.location();
        record::get(pair.w.page(location.page).unwrap(), location.slot).unwrap().len()
    };
    assert_eq!(bytes(&pair), 24, "none at first");
    let sizes: BTreeSet<usize> = (1..100)
        .map(|n| {
            pair.toggle([key(1, mix(n) % 1000, n)]);
            pair.verify();
            bytes(&pair)
        })
        .collect();
    assert!(sizes.len() <= 20, "{sizes:?}");
    pair.toggle(pair.model.iter().skip(3).copied().collect::<Vec<_>>());
    pair.verify();
    assert_eq!(bytes(&pair), 12 + 3 * ENTRY_BYTES);
}

#[test]
fn no_entries_need_no_place() {
    let mut pair = Pair::new(Limits::STANDARD);
    pair.try_apply(&[], &[]).unwrap();
    assert_eq!(pair.location, None);
    pair.toggle([key(1, 2, 3)]);
    pair.verify();
    pair.toggle([key(1, 2, 3)]);
    pair.verify();
    assert_eq!(pair.location, None);
}

#[test]
fn small_becomes_hub_and_small_again_with_room_between() {
    let entries = (SMALL_BYTES_MAX - 12) / ENTRY_BYTES;
    let mut pair = Pair::of((0..entries as u64).map(|n| key(1, n, n)));
    assert!(!pair.location().is_tree());
    let last = key(1, 1 << 40, 0);
    pair.toggle([last]);
    assert!(pair.location().is_tree());
    pair.verify();
    pair.toggle([last]);
    assert!(pair.location().is_tree(), "one edge less does not move it back");
    let shrunk = (SHRINK_BYTES - 12) / ENTRY_BYTES;
    pair.toggle((shrunk as u64..entries as u64).map(|n| key(1, n, n)));
    assert!(!pair.location().is_tree());
    pair.verify();
}

/// Whoever asks a hub something looks at no page twice, the root included, whose level nobody knows beforehand.
#[test]
fn a_question_looks_at_a_hubs_root_once() {
    for edges in [400, 5000] {
        let pair = Pair::of((0..edges).map(|n| key(1, n, n)));
        assert!(pair.location().is_tree());
        let touched_by = |ask: &dyn Fn()| {
            let before = pair.w.touched.get();
            ask();
            pair.w.touched.get() - before
        };
        let mut pages = 0;
        for_each_page(&pair.w, OWNER, pair.location(), |_| pages += 1).unwrap();
        assert_eq!(pages == 1, edges == 400, "one root is a leaf, and one is not");
        assert_eq!(touched_by(&|| assert_eq!(pair.groups(None).len() as u64, edges)), pages);
        let check = || assert_eq!(check(&pair.w, OWNER, pair.location()).unwrap(), edges);
        assert_eq!(touched_by(&check), pages);
        let count = |types| assert_eq!(count(&pair.w, OWNER, pair.location(), types).unwrap(), edges);
        assert_eq!(touched_by(&|| count(None)), 1);
        let leaves = if pages == 1 { 0 } else { 2 };
        assert_eq!(touched_by(&|| count(Some(&[TypeId(1)]))), 1 + leaves, "the first and the last leaf");
    }
}

#[test]
fn what_contradicts_the_entries_is_corrupt() {
    for edges in [10, 5000] {
        let mut pair = Pair::of((0..edges).map(|n| key(1, 2 * n, n)));
        assert!(pair.is_corrupt(&[], &[key(1, 6, 3)]), "added twice");
        assert!(pair.is_corrupt(&[key(1, 7, 3)], &[]), "removed without being there");
        assert!(pair.is_corrupt(&[key(2, 6, 3)], &[]), "another type");
        assert!(pair.is_corrupt(&[], &[key(1, 9, 1), key(1, 7, 1)]), "out of order");
        assert!(pair.is_corrupt(&[], &[key(1, 9, 1), key(1, 9, 1)]), "twice in one list");
        assert!(pair.is_corrupt(&[], &[key(1, 1 << 48, 1)]), "out of range");
        assert!(pair.is_corrupt(&[], &[key(1 << 16, 1, 1)]), "out of range");
        pair.verify();
        pair.try_apply(&[key(1, 6, 3)], &[key(1, 6, 3)]).unwrap();
        pair.verify();
    }
}

#[test]
fn every_page_of_another_owner_is_refused() {
    for edges in [10, 300, 5000] {
        let mut pair = Pair::of((0..edges).map(|n| key(1, n, n)));
        let location = pair.location();
        for other in [Owner { side: Side::In, ..OWNER }, Owner { slot: NodeSlot(78), ..OWNER }] {
            let visit = |_: TypeId, _: Entries<'_>| Break(());
            assert!(matches!(
                for_each_group(&pair.w, other, location, None, visit),
                Err(Error::Corrupt { .. })
            ));
            assert!(matches!(count(&pair.w, other, location, None), Err(Error::Corrupt { .. })));
            assert!(matches!(check(&pair.w, other, location), Err(Error::Corrupt { .. })));
            let destroyed = destroy(&mut pair.w, &mut pair.space, other, location);
            assert!(matches!(destroyed, Err(Error::Corrupt { .. })));
        }
        let mut pages = Vec::new();
        for_each_page(&pair.w, OWNER, location, |page| pages.push(page)).unwrap();
        for page in pages {
            let kind = pair.w.page(page).unwrap().kind();
            let side = if kind == PageKind::HubLeaf { 15 } else { 7 };
            pair.w.page_mut(page).unwrap().body_mut()[side] ^= 0x80;
            assert!(matches!(check(&pair.w, OWNER, location), Err(Error::Corrupt { .. })), "{page} {kind:?}");
            pair.w.page_mut(page).unwrap().body_mut()[side] ^= 0x80;
        }
        pair.verify();
        destroy(&mut pair.w, &mut pair.space, OWNER, location).unwrap();
        assert_eq!(pair.pages_in_use(), 0);
    }
}

#[test]
fn a_wrong_count_is_found() {
    let mut pair = Pair::of((0..5000).map(|n| key(1, n, n)));
    let root = pair.location().page;
    pair.w.page_mut(root).unwrap().body_mut()[16 + 18] ^= 1;
    assert!(matches!(check(&pair.w, OWNER, pair.location()), Err(Error::Corrupt { .. })));
}

#[test]
fn breaks_end_visits() {
    for edges in [10, 5000] {
        let pair = Pair::of((0..edges).map(|n| key((n % 3) as u32, n / 7, n)));
        let mut calls = 0;
        let end = for_each_group(&pair.w, OWNER, pair.location(), None, |_, _| {
            calls += 1;
            if calls == 2 { Break("enough") } else { Continue(()) }
        });
        assert_eq!((end.unwrap(), calls), (Break("enough"), 2));
        let end = find(&pair.w, OWNER, pair.location(), None, NodeSlot(1), |type_, _| Break(type_));
        assert_eq!(end.unwrap(), Break(TypeId(0)));
    }
}

#[test]
fn appended_edges_fill_their_pages() {
    let mut pair = Pair::new(Limits::STANDARD);
    for n in 0..20_000 {
        pair.try_apply(&[], &[key(1, n, n)]).unwrap();
        pair.model.insert(key(1, n, n));
    }
    pair.verify();
    assert!(pair.pages_in_use() <= 20_000 / 679 + 3, "{} pages", pair.pages_in_use());
}

#[test]
fn a_batch_beyond_any_group_is_cut() {
    let mut pair = Pair::of((0..200_000).map(|n| key(u32::from(n > 150_000), n, n)));
    pair.verify();
    assert!(pair.pages_in_use() <= 200_000 / 679 * 5 / 4, "{} pages", pair.pages_in_use());
    let touched = pair.w.touched.get();
    assert_eq!(count(&pair.w, OWNER, pair.location(), Some(&[TypeId(1)])).unwrap(), 49_999);
    assert!(pair.w.touched.get() - touched <= 7);
    pair.toggle((0..200_000).map(|n| key(u32::from(n > 150_000), n, n)));
    pair.verify();
}

/// One node, a million edges in random order, in batches and then one by one, and all of them taken out again.
#[test]
fn a_million_edges_on_one_node_stay_logarithmic() {
    const EDGES: u64 = 1_000_000;
    const SINGLES: u64 = 50_000;
    let edge = |n: u64| key((mix(n) % 3) as u32, mix(n) >> 40, n);
    let mut pair = Pair::new(Limits::STANDARD);
    for batch in 0..95 {
        let mut added: Vec<Key> = (batch * 10_000..(batch + 1) * 10_000).map(edge).collect();
        added.sort_unstable();
        pair.try_apply(&[], &added).unwrap();
    }
    let (mut most, before) = (0, pair.w.touched.get());
    for n in EDGES - SINGLES..EDGES {
        let touched = pair.w.touched.get();
        pair.try_apply(&[], &[edge(n)]).unwrap();
        most = most.max(pair.w.touched.get() - touched);
    }
    let mean = (pair.w.touched.get() - before) / SINGLES;
    assert!(mean <= 10 && most <= 30, "pages touched by one insertion: {mean} in the mean, {most} at most");
    pair.model = (0..EDGES).map(edge).collect();
    pair.verify();
    assert!(pair.pages_in_use() < 1_000_000 / 679 * 2, "{} pages", pair.pages_in_use());

    let before = pair.w.touched.get();
    for n in 0..SINGLES {
        pair.try_apply(&[edge(n)], &[]).unwrap();
    }
    assert!((pair.w.touched.get() - before) / SINGLES <= 10);
    for batch in SINGLES / 10_000..100 {
        let mut removed: Vec<Key> = (batch * 10_000..(batch + 1) * 10_000).map(edge).collect();
        removed.sort_unstable();
        pair.try_apply(&removed, &[]).unwrap();
        assert!(batch % 10 != 9 || pair.location.is_none() || check(&pair.w, OWNER, pair.location()).is_ok());
    }
    assert_eq!(pair.location, None);
    assert_eq!(pair.pages_in_use(), 0);
}

/// Batches of keys to toggle. Narrow ranges make parallel edges, and keys that come and go.
fn batches(largest: usize, neighbours: u64) -> impl Strategy<Value = Vec<Vec<Key>>> {
    let types = prop_oneof![4 => Just(1_u32), 2 => 0..4_u32, 1 => Just(65_535_u32)];
    let keys =
        (types, 0..neighbours, 0..4_u64).prop_map(|(type_, neighbour, edge)| key(type_, neighbour, edge));
    let batch = prop_oneof![
        1 => prop::collection::vec(keys.clone(), 0..3),
        1 => prop::collection::vec(keys.clone(), 0..largest / 10),
        1 => prop::collection::vec(keys, largest / 2..largest),
    ];
    prop::collection::vec(batch, 1..12)
}

/// Toggles batches, and then takes everything out in two ways of cutting.
fn run(limits: Limits, batches: Vec<Vec<Key>>, cut: usize) {
    let mut pair = Pair::new(limits);
    for batch in batches {
        pair.toggle(batch);
        pair.verify();
    }
    while !pair.model.is_empty() {
        let scattered: Vec<Key> = pair.model.iter().step_by(cut).copied().collect();
        pair.toggle(scattered);
        pair.verify();
        let run: Vec<Key> = pair.model.iter().take(pair.model.len() / cut).copied().collect();
        pair.toggle(run);
        pair.verify();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn high_trees_are_as_the_model(batches in batches(300, 200), cut in 2..9_usize) {
        run(TINY, batches, cut);
    }

    #[test]
    fn real_trees_are_as_the_model(batches in batches(3000, 3000), cut in 2..5_usize) {
        run(Limits::STANDARD, batches, cut);
    }

    #[test]
    fn small_blocks_are_as_the_model(batches in batches(30, 20), cut in 2..5_usize) {
        run(Limits::STANDARD, batches, cut);
    }

    /// Whatever the pages say, there is an answer or an error: no panic, and no walk without end.
    #[test]
    fn damage_never_panics(
        edges in prop_oneof![Just(5_u64), Just(40), Just(400)],
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..140_usize, any::<u8>()), 1..4),
        change in 0..500_u64,
    ) {
        let mut pair = Pair::new(TINY);
        pair.toggle((0..edges).map(|n| key((n / 100) as u32, n, n)));
        let location = pair.location();
        let mut pages = vec![location.page];
        for_each_page(&pair.w, OWNER, location, |page| pages.push(page)).unwrap();
        for (page, at, byte) in damage {
            let page = pair.w.page_mut(*page.get(&pages)).unwrap();
            let at = if location.is_tree() { at } else { page.body().len() - 1 - at };
            page.body_mut()[at] = byte;
        }
        let is_sound = check(&pair.w, OWNER, location).is_ok();
        let mut visited = 0;
        let visit = |_: TypeId, entries: Entries<'_>| {
            visited += entries.len();
            Continue::<()>(())
        };
        let visit = for_each_group(&pair.w, OWNER, location, None, visit);
        prop_assert!(visit.is_ok() || !is_sound);
        prop_assert!(visited < 100 * 400);
        let _ = count(&pair.w, OWNER, location, Some(&[TypeId(1)]));
        let _ = find(&pair.w, OWNER, location, None, NodeSlot(change), |_, _| Continue::<()>(()));
        let mut found = Vec::new();
        let _ = scan_from(&pair.w, OWNER, location, None, Some(key(1, 150, 0)), 20, &mut found);
        let _ = pair.try_apply(&[], &[key(1, change, 1000)]);
        let _ = pair.try_apply(&[key((change / 100) as u32, change, change)], &[]);
        if let Some(location) = pair.location {
            let _ = destroy(&mut pair.w, &mut pair.space, OWNER, location);
        }
    }
}
