//! The map against a model of records, its packing, its growth, hints that are wrong, damage.

use std::collections::{BTreeMap, BTreeSet};

use graphite_store::{MemPager, STATE_PAGE};
use proptest::prelude::*;

use super::*;

/// Proves that the map owns itself and exactly the pages that have records, and that those are all pages.
fn check_all(w: &MemPager, space: &SpaceMap, records: &BTreeMap<(PageNo, u16), Vec<u8>>) {
    let (mut all, mut known) = (BTreeSet::from([STATE_PAGE]), BTreeSet::new());
    let (mut own, mut know) = (|page| assert!(all.insert(page)), |page| assert!(known.insert(page)));
    space.visit(w, &mut own, &mut know, &mut |error| panic!("{error}")).unwrap();
    let used: BTreeSet<PageNo> = records.keys().map(|(page, _)| *page).collect();
    assert_eq!(known, used);
    all.extend(known);
    assert_eq!(all, w.page_numbers().collect());
    for ((page, slot), bytes) in records {
        assert_eq!(record::get(w.page(*page).unwrap(), *slot), Some(&bytes[..]));
    }
    let count: usize = used.iter().map(|page| record::slots(w.page(*page).unwrap()).count()).sum();
    assert_eq!(count, records.len());
}

fn known_pages(w: &MemPager, space: &SpaceMap) -> usize {
    let mut known = 0;
    space.visit(w, &mut |_| {}, &mut |_| known += 1, &mut |error| panic!("{error}")).unwrap();
    known
}

#[test]
fn golden_map_page() {
    let mut w = MemPager::default();
    let mut space = SpaceMap::records();
    let at = space.insert(&mut w, &[7; 100], None).unwrap();
    let root = w.state(state::RECORD_SPACE_ROOT).unwrap();
    assert_eq!(root >> 32, 1, "height");
    let map = w.page(PageNo(root as u32)).unwrap();
    assert_eq!(map.kind(), PageKind::SpaceMap);
    assert_eq!(map.body()[..8], [0; 8]);
    let classes: Vec<(usize, u8)> =
        map.body()[8..].iter().copied().enumerate().filter(|(_, class)| *class != 0).collect();
    assert_eq!(classes, [(at.page.0 as usize, 16)], "an empty page when it was made");
    assert_eq!(w.state(state::ADJACENCY_SPACE_ROOT).unwrap(), 0);
}

#[test]
fn many_inserts_fill_page_after_page() {
    let mut w = MemPager::default();
    let mut space = SpaceMap::records();
    let mut pages = Vec::new();
    for index in 0..50_000_u32 {
        pages.push(space.insert(&mut w, &[index as u8; 30], None).unwrap().page);
    }
    pages.dedup();
    assert_eq!(pages.len(), known_pages(&w, &space), "a page is left for good when it is full");
    let ideal = (50_000 * 34_usize).div_ceil(record::RECORD_BYTES_MAX - SLACK_BYTES);
    assert!(pages.len() <= ideal + 1, "{} pages where {ideal} would do", pages.len());
}

#[test]
fn small_records_fill_what_large_ones_leave() {
    let mut w = MemPager::default();
    let mut space = SpaceMap::adjacency();
    let mut bytes = 0;
    for index in 0..20_000_usize {
        let len = if index % 10 == 0 { 1900 } else { 20 + index % 97 };
        bytes += len + 4;
        space.insert(&mut w, &vec![1; len], None).unwrap();
    }
    let (pages, ideal) = (known_pages(&w, &space), bytes.div_ceil(record::RECORD_BYTES_MAX - SLACK_BYTES));
    assert!(pages * 100 <= ideal * 105, "{pages} pages where {ideal} would do");
}

#[test]
fn a_record_goes_near_if_there_is_room() {
    let mut w = MemPager::default();
    let mut space = SpaceMap::records();
    let first = space.insert(&mut w, &[1; 3900], None).unwrap();
    let mut last = first;
    for _ in 0..40 {
        last = space.insert(&mut w, &[2; 3900], None).unwrap();
    }
    space.remove(&mut w, Location { page: first.page, slot: 1 }).unwrap();
    assert_ne!(last.page, first.page);
    let near = space.insert(&mut w, &[3; 50], Some(first.page)).unwrap();
    assert_eq!(near.page, first.page);
    // A full page: the closest with room is taken, and nothing that is far away.
    let full = PageNo(first.page.0 + 2);
    let near = space.insert(&mut w, &[3; 3000], Some(full)).unwrap();
    assert_eq!(near.page, first.page);
    // What the hint names need not be a page of the map at all.
    space.insert(&mut w, &[3; 50], Some(PageNo(77_777_777))).unwrap();
    space.insert(&mut w, &[3; 50], Some(STATE_PAGE)).unwrap();
}

#[test]
fn a_record_of_no_bytes_does_not_go_to_a_full_page() {
    let mut w = MemPager::default();
    let mut space = SpaceMap::records();
    let full = space.insert(&mut w, &[1; record::RECORD_BYTES_MAX], None).unwrap();
    let empty = space.insert(&mut w, &[], Some(full.page)).unwrap();
    assert_ne!(empty.page, full.page);
    assert_eq!(record::get(w.page(empty.page).unwrap(), empty.slot), Some(&[][..]));
}

#[test]
fn freed_room_is_found_after_a_restart() {
    let mut w = MemPager::default();
    let mut space = SpaceMap::records();
    let all: Vec<Location> = (0..4000).map(|_| space.insert(&mut w, &[1; 100], None).unwrap()).collect();
    for at in all.iter().filter(|at| at.slot % 2 == 0) {
        space.remove(&mut w, *at).unwrap();
    }
    let pages = known_pages(&w, &space);
    let mut space = SpaceMap::records();
    for _ in 0..1700 {
        space.insert(&mut w, &[2; 100], None).unwrap();
    }
    assert_eq!(known_pages(&w, &space), pages, "half of the room was free");
}

#[test]
fn a_reopened_database_goes_on_filling_the_same_page() {
    let mut w = MemPager::default();
    for _ in 0..50 {
        SpaceMap::records().insert(&mut w, &[1; 20], None).unwrap();
    }
    assert_eq!(known_pages(&w, &SpaceMap::records()), 1);
}

#[test]
fn the_map_grows_a_level() {
    let mut w = MemPager::default();
    let mut space = SpaceMap::records();
    let mut records = BTreeMap::new();
    for index in 0..map::LEAF_PAGES + 20 {
        let bytes = vec![index as u8; record::RECORD_BYTES_MAX];
        let at = space.insert(&mut w, &bytes, None).unwrap();
        records.insert((at.page, at.slot), bytes);
    }
    assert_eq!(w.state(state::RECORD_SPACE_ROOT).unwrap() >> 32, 2, "height");
    check_all(&w, &space, &records);
    for (page, slot) in records.into_keys() {
        space.remove(&mut w, Location { page, slot }).unwrap();
    }
    check_all(&w, &space, &BTreeMap::new());
    assert_eq!(w.pages_used(), 1 + 3, "the state page, the map's root and two leaves");
}

/// A turn that is dropped takes its pages with it and leaves the hints: here those of another database.
#[test]
fn hints_of_a_dropped_turn_do_no_harm() {
    let mut dropped = MemPager::default();
    let mut space = SpaceMap::records();
    for _ in 0..1000 {
        space.insert(&mut dropped, &[1; 100], None).unwrap();
    }
    let mut w = MemPager::default();
    // Where the hints say that record pages are there are pages of other kinds, or none.
    let others: Vec<PageNo> = (0..6).map(|_| w.allocate(PageKind::Nodes).unwrap()).collect();
    let mut records = BTreeMap::new();
    for index in 0..1000_usize {
        let bytes = vec![index as u8; 100];
        let at = space.insert(&mut w, &bytes, None).unwrap();
        assert!(!others.contains(&at.page));
        records.insert((at.page, at.slot), bytes);
    }
    for page in others {
        w.free(page).unwrap();
    }
    check_all(&w, &space, &records);
}

#[test]
fn damage_is_an_error() {
    let mut w = MemPager::default();
    let mut space = SpaceMap::records();
    let at = space.insert(&mut w, &[1; 100], None).unwrap();
    assert!(space.remove(&mut w, Location { slot: 9, ..at }).is_err());
    assert!(space.replace(&mut w, Location { slot: 9, ..at }, &[1]).is_err());
    assert!(space.remove(&mut w, Location { page: STATE_PAGE, slot: 0 }).is_err(), "another kind of page");
    let root = PageNo(w.state(state::RECORD_SPACE_ROOT).unwrap() as u32);
    w.page_mut(root).unwrap().body_mut()[8 + at.page.0 as usize] = 0;
    SpaceMap::records().insert(&mut w, &[1; 100], None).unwrap();
    space.insert(&mut w, &[1; 100], Some(at.page)).unwrap();
    assert!(SpaceMap::records().note(&mut w, at.page).is_err(), "the map lost the page");
    w.page_mut(root).unwrap().body_mut()[0] = 1;
    assert!(SpaceMap::records().insert(&mut w, &[1; 100], None).is_err(), "another level");
    w.set_state(state::RECORD_SPACE_ROOT, 9 << 32 | 1).unwrap();
    assert!(SpaceMap::records().insert(&mut w, &[1; 100], None).is_err(), "nine levels");
}

#[derive(Clone, Debug)]
enum Op {
    Insert { len: usize, near: bool },
    Replace { which: prop::sample::Index, len: usize },
    Remove { which: prop::sample::Index },
    Forget,
}

fn any_op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![6 => 0..120_usize, 2 => 500..3000_usize, 1 => 7900..=record::RECORD_BYTES_MAX];
    prop_oneof![
        6 => (len(), any::<bool>()).prop_map(|(len, near)| Op::Insert { len, near }),
        3 => (any::<prop::sample::Index>(), len()).prop_map(|(which, len)| Op::Replace { which, len }),
        4 => any::<prop::sample::Index>().prop_map(|which| Op::Remove { which }),
        1 => Just(Op::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn keeps_every_record_and_owns_every_page(ops in prop::collection::vec(any_op(), 1..150)) {
        let mut w = MemPager::default();
        let mut space = SpaceMap::adjacency();
        let mut model: BTreeMap<(PageNo, u16), Vec<u8>> = BTreeMap::new();
        for (mark, op) in ops.into_iter().enumerate() {
            let pick = |which: prop::sample::Index| {
                let key = model.keys().nth(which.index(model.len().max(1))).copied();
                key.map(|(page, slot)| Location { page, slot })
            };
            match op {
                Op::Insert { len, near } => {
                    let near = model.keys().next().map(|(page, _)| *page).filter(|_| near);
                    let at = space.insert(&mut w, &vec![mark as u8; len], near).unwrap();
                    prop_assert!(model.insert((at.page, at.slot), vec![mark as u8; len]).is_none());
                }
                Op::Replace { which, len } => {
                    let Some(at) = pick(which) else { continue };
                    let to = space.replace(&mut w, at, &vec![mark as u8; len]).unwrap();
                    model.remove(&(at.page, at.slot));
                    prop_assert!(model.insert((to.page, to.slot), vec![mark as u8; len]).is_none());
                }
                Op::Remove { which } => {
                    let Some(at) = pick(which) else { continue };
                    space.remove(&mut w, at).unwrap();
                    model.remove(&(at.page, at.slot));
                }
                Op::Forget => space.forget(),
            }
        }
        check_all(&w, &space, &model);
        for (page, slot) in model.into_keys() {
            space.remove(&mut w, Location { page, slot }).unwrap();
        }
        check_all(&w, &space, &BTreeMap::new());
    }
}
