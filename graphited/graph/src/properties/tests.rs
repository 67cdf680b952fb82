//! Property records against a map, golden bytes, long values, damage.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use graphite_store::{MemPager, PageWriter, STATE_PAGE};
use proptest::prelude::*;

use super::*;
use crate::apply::{self, Spaces};
use crate::space::SpaceMap;
use crate::value::any::any_storable;
use crate::write_set::{EdgeEnds, WriteSet};
use crate::{EdgeId, LabelSetId, NodeId, TypeId, edges, nodes};

const EDGE_9: Owner = Owner::Edge(EdgeSlot(9));

fn write(w: &mut MemPager, old: Option<Location>, properties: &[(u32, Value)]) -> Option<Location> {
    let properties: Vec<(KeyId, Value)> =
        properties.iter().map(|(key, value)| (KeyId(*key), value.clone())).collect();
    write_properties(w, &mut SpaceMap::records(), EDGE_9, old, &properties).unwrap()
}

fn raw(w: &MemPager, at: Location) -> &[u8] {
    record::get(w.page(at.page).unwrap(), at.slot).unwrap()
}

/// Puts bytes where a record belongs.
fn plant(w: &mut MemPager, bytes: &[u8]) -> Location {
    SpaceMap::records().insert(w, bytes, None).unwrap()
}

fn overflow_pages(w: &MemPager, at: Location) -> Vec<PageNo> {
    let mut pages = Vec::new();
    check_properties(w, at, EDGE_9, &mut |page| pages.push(page)).unwrap();
    pages
}

#[test]
fn golden_record() {
    let mut w = MemPager::default();
    let at = write(&mut w, None, &[(1, Value::Int(7)), (300, Value::from("ab"))]).unwrap();
    assert_eq!(raw(&w, at), [1, 9, 0, 0, 0, 0, 0, 1, 0x87, 0xac, 2, 5, 2, b'a', b'b']);
    let owner = Owner::Node(NodeSlot(0x0102_0304_0506));
    let at =
        write_properties(&mut w, &mut SpaceMap::records(), owner, None, &[(KeyId(0), Value::Bool(true))]);
    let at = at.unwrap().unwrap();
    assert_eq!(raw(&w, at), [0, 6, 5, 4, 3, 2, 1, 0, 2]);
    assert_eq!(read_owner(&w, at).unwrap(), owner);
}

#[test]
fn golden_long_value() {
    let mut w = MemPager::default();
    let at = write(&mut w, None, &[(2, Value::Bytes(vec![7; 9000]))]).unwrap();
    let pages = overflow_pages(&w, at);
    let first = pages[0].0.to_le_bytes();
    assert_eq!(raw(&w, at), [1, 9, 0, 0, 0, 0, 0, 2, 14, 0xab, 0x46, first[0], first[1], first[2], first[3]]);
    let page = w.page(pages[0]).unwrap();
    assert_eq!(page.kind(), PageKind::Overflow);
    assert_eq!(page.body()[..4], pages[1].0.to_le_bytes());
    assert_eq!(page.body()[4..12], [0xe0, 0x1f, 0, 0, 6, 0xa8, 0x46, 7]);
    let last = w.page(pages[1]).unwrap();
    assert_eq!(last.body()[..8], [0, 0, 0, 0, 0x4b, 3, 0, 0]);
    assert_eq!(pages.len(), 2);
}

#[test]
fn an_edge_with_a_small_number_costs_little() {
    let mut w = MemPager::default();
    for (number, bytes) in [(5, 9), (100, 9), (1000, 11), (-1, 10), (1_000_000, 12)] {
        let at = write(&mut w, None, &[(3, Value::Int(number))]).unwrap();
        assert_eq!(raw(&w, at).len(), bytes, "{number}");
    }
}

#[test]
fn nulls_are_left_out_and_a_record_of_nothing_goes() {
    let mut w = MemPager::default();
    assert_eq!(write(&mut w, None, &[(1, Value::Null)]), None);
    let at = write(&mut w, None, &[(1, Value::Null), (2, Value::Int(1))]).unwrap();
    assert_eq!(read_properties(&w, at).unwrap(), [(KeyId(2), Value::Int(1))]);
    assert_eq!(read_property(&w, at, KeyId(1)).unwrap(), None);
    assert_eq!(read_property(&w, at, KeyId(2)).unwrap(), Some(Value::Int(1)));
    assert_eq!(read_property(&w, at, KeyId(3)).unwrap(), None);
    let used = w.pages_used();
    assert_eq!(write(&mut w, Some(at), &[(2, Value::Null)]), None);
    assert_eq!(w.pages_used(), used - 1, "its page went with the last record");
}

#[test]
fn a_change_that_fits_stays_in_place() {
    let mut w = MemPager::default();
    let at = write(&mut w, None, &[(1, Value::from("some text"))]).unwrap();
    assert_eq!(write(&mut w, Some(at), &[(1, Value::from("some longer text"))]), Some(at));
    assert_eq!(read_property(&w, at, KeyId(1)).unwrap(), Some(Value::from("some longer text")));
}

#[test]
fn a_long_value_that_does_not_change_keeps_its_pages() {
    let mut w = MemPager::default();
    let text = Value::String("long".repeat(10_000));
    let at = write(&mut w, None, &[(1, text.clone()), (2, Value::Int(1))]).unwrap();
    let pages = overflow_pages(&w, at);
    assert_eq!(pages.len(), 5);
    let at = write(&mut w, Some(at), &[(1, text.clone()), (2, Value::Int(2))]).unwrap();
    assert_eq!(overflow_pages(&w, at), pages);
    assert_eq!(read_property(&w, at, KeyId(1)).unwrap(), Some(text));
    // The same length and other bytes: a chain of its own, and the old one is freed.
    let other = Value::String("gnol".repeat(10_000));
    let used = w.pages_used();
    let at = write(&mut w, Some(at), &[(1, other.clone())]).unwrap();
    assert_eq!(read_properties(&w, at).unwrap(), [(KeyId(1), other)]);
    assert_eq!(w.pages_used(), used);
    delete_properties(&mut w, &mut SpaceMap::records(), at).unwrap();
    assert_eq!(w.pages_used(), 2, "the state page and the free-space map");
}

/// A pager that remembers what is looked at and what is changed.
#[derive(Default)]
struct WatchedPager {
    pager: MemPager,
    touched: RefCell<Vec<PageNo>>,
}

impl PageReader for WatchedPager {
    type Ref<'a> = &'a Page;
    fn page(&self, number: PageNo) -> graphite_store::Result<&Page> {
        self.touched.borrow_mut().push(number);
        self.pager.page(number)
    }
}

impl PageWriter for WatchedPager {
    fn page_mut(&mut self, number: PageNo) -> graphite_store::Result<&mut Page> {
        self.touched.borrow_mut().push(number);
        self.pager.page_mut(number)
    }
    fn allocate(&mut self, kind: PageKind) -> graphite_store::Result<PageNo> {
        self.pager.allocate(kind)
    }
    fn free(&mut self, number: PageNo) -> graphite_store::Result<()> {
        self.pager.free(number)
    }
}

/// A node and an edge, each with a value of 1 MiB: setting, adding and removing a small one beside it looks at no page
/// of the long one's chain, and at few pages at all.
#[test]
fn a_small_property_beside_a_long_one_costs_no_more_than_the_small_one() {
    const TOUCHED_MAX: usize = 16;
    let (mut w, mut spaces) = (WatchedPager::default(), Spaces::default());
    let long = Value::Bytes(vec![5; 1 << 20]);
    let node = NodeId::new(NodeSlot(3), 0);
    let edge = EdgeEnds { id: EdgeId::new(EdgeSlot(4), 0), type_: TypeId(0), start: node, end: node };
    let mut set = WriteSet::default();
    let properties = [(KeyId(1), Value::Int(1)), (KeyId(2), long.clone())];
    set.create_node(node, LabelSetId(0), &properties).unwrap();
    set.create_edge(edge, &properties).unwrap();
    apply::apply(&mut w, &mut spaces, &set).unwrap();

    let owners = [Owner::Node(node.slot()), Owner::Edge(edge.id.slot())];
    let place = |w: &WatchedPager, owner: Owner| match owner {
        Owner::Node(slot) => nodes::read_node(w, slot).unwrap().unwrap().properties.unwrap(),
        Owner::Edge(slot) => edges::read_edge(w, slot).unwrap().unwrap().properties.unwrap(),
    };
    let chain = |w: &WatchedPager, owner| {
        let mut pages = BTreeSet::new();
        check_properties(w, place(w, owner), owner, &mut |page| assert!(pages.insert(page))).unwrap();
        pages
    };
    for (key, value) in [(1, Value::Int(2)), (0, Value::from("first")), (9, Value::Int(3)), (1, Value::Null)]
    {
        for owner in owners {
            let before = chain(&w, owner);
            assert_eq!(before.len(), 129);
            let mut set = WriteSet::default();
            match owner {
                Owner::Node(_) => set.set_node_property(node, KeyId(key), value.clone()).unwrap(),
                Owner::Edge(_) => set.set_edge_property(edge, KeyId(key), value.clone()).unwrap(),
            }
            w.touched.borrow_mut().clear();
            apply::apply(&mut w, &mut spaces, &set).unwrap();
            let touched = w.touched.take();
            assert!(touched.iter().all(|page| !before.contains(page)), "{owner:?}, key {key}");
            assert!(touched.len() <= TOUCHED_MAX, "{} pages touched", touched.len());
            assert_eq!(chain(&w, owner), before);
        }
    }
    for owner in owners {
        let expected =
            [(KeyId(0), Value::from("first")), (KeyId(2), long.clone()), (KeyId(9), Value::Int(3))];
        assert_eq!(read_properties(&w, place(&w, owner)).unwrap(), expected);
    }
}

#[test]
fn properties_that_fit_no_page_go_to_a_chain_together() {
    let mut w = MemPager::default();
    let long = Value::from("y".repeat(5000));
    let mut properties: Vec<(u32, Value)> = (0..3000).map(|key| (key, Value::from("some words"))).collect();
    properties.push((5000, long.clone()));
    let at = write(&mut w, None, &properties).unwrap();
    assert_eq!(raw(&w, at)[0], 0x81);
    assert_eq!(overflow_pages(&w, at).len(), 7, "six for the pairs, one for the long value");
    assert_eq!(read_properties(&w, at).unwrap().len(), 3001);
    assert_eq!(read_property(&w, at, KeyId(2999)).unwrap(), Some(Value::from("some words")));
    assert_eq!(read_property(&w, at, KeyId(5000)).unwrap(), Some(long));
    let at = write(&mut w, Some(at), &properties[..3]).unwrap();
    assert_eq!(raw(&w, at)[0], 1);
    assert!(overflow_pages(&w, at).is_empty());
    assert_eq!(w.pages_used(), 3, "the state page, the free-space map, a record page");
}

#[test]
fn what_no_property_can_hold_is_refused() {
    let longest = VALUE_BYTES_MAX - 5;
    assert!(check_value(&Value::Bytes(vec![0; longest])).is_ok());
    let too_long = Value::Bytes(vec![0; longest + 1]);
    assert!(matches!(check_value(&too_long), Err(Error::TooLong { .. })));
    assert!(matches!(check_value(&Value::Map(BTreeMap::new())), Err(Error::UnsupportedValue(_))));
    let mut w = MemPager::default();
    let properties = [(KeyId(1), too_long)];
    assert!(write_properties(&mut w, &mut SpaceMap::records(), EDGE_9, None, &properties).is_err());
    let at = write(&mut w, None, &[(1, Value::Bytes(vec![3; longest]))]).unwrap();
    assert_eq!(read_property(&w, at, KeyId(1)).unwrap(), Some(Value::Bytes(vec![3; longest])));
}

#[test]
fn damage_is_an_error() {
    let good = [1, 9, 0, 0, 0, 0, 0];
    let pairs: [&[u8]; 8] = [
        &[1],
        &[1, 15],
        &[1, 14],
        &[1, 14, 0, 9, 0, 0, 0],
        &[1, 14, 5, 0, 0, 0, 0],
        &[1, 14, 5, 77, 77, 0, 0],
        &[1, 14, 0xff, 0xff, 0xff, 0xff, 0x7f, 9, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0x7f, 0],
    ];
    for pairs in pairs {
        let mut w = MemPager::default();
        let at = plant(&mut w, &[&good[..], pairs].concat());
        assert!(read_properties(&w, at).is_err(), "{pairs:?}");
        assert!(check_properties(&w, at, EDGE_9, &mut |_| {}).is_err(), "{pairs:?}");
        assert!(write_properties(&mut w, &mut SpaceMap::records(), EDGE_9, Some(at), &[]).is_err());
    }
    let set_8 = |w: &mut MemPager, at| {
        let values = [(KeyId(8), &Value::Int(1))];
        change_properties(w, &mut SpaceMap::records(), EDGE_9, Some(at), Others::Stay, values)
    };
    for pairs in [&[1][..], &[1, 15], &[1, 14], &[1, 14, 0, 9, 0, 0, 0], &[5, 1, 4, 1], &[5, 1, 5, 1]] {
        let mut w = MemPager::default();
        let at = plant(&mut w, &[&good[..], pairs].concat());
        assert!(set_8(&mut w, at).is_err(), "{pairs:?}");
    }
    let mut w = MemPager::default();
    for bytes in [&[][..], &[1, 2, 3], &[2, 9, 0, 0, 0, 0, 0], &[0x81, 9, 0, 0, 0, 0, 0]] {
        let at = plant(&mut w, bytes);
        assert!(read_properties(&w, at).is_err(), "{bytes:?}");
    }
    let at = plant(&mut w, &[1, 9, 0, 0, 0, 0, 0, 5, 1, 4, 1]);
    assert!(check_properties(&w, at, EDGE_9, &mut |_| {}).is_err(), "keys fall");
    let at = plant(&mut w, &[1, 8, 0, 0, 0, 0, 0, 5, 1]);
    assert!(check_properties(&w, at, EDGE_9, &mut |_| {}).is_err(), "another's");
    assert!(read_properties(&w, Location { slot: 99, ..at }).is_err());
    assert!(read_properties(&w, Location { page: STATE_PAGE, slot: 0 }).is_err());
}

#[test]
fn a_chain_that_runs_in_a_circle_ends() {
    let mut w = MemPager::default();
    let at = write(&mut w, None, &[(1, Value::Bytes(vec![1; 50_000]))]).unwrap();
    let pages = overflow_pages(&w, at);
    let first = pages[0].0.to_le_bytes();
    w.page_mut(pages[2]).unwrap().body_mut()[..4].copy_from_slice(&first);
    assert!(read_properties(&w, at).is_err());
    assert!(delete_properties(&mut w, &mut SpaceMap::records(), at).is_err());
}

fn any_properties() -> impl Strategy<Value = BTreeMap<u32, Value>> {
    let text = |lens| prop::collection::vec(any::<u8>(), lens).prop_map(Value::Bytes);
    let value = prop_oneof![12 => any_storable(), 2 => text(300..3000), 1 => text(3990..4010), 1 => text(8000..20_000)];
    prop::collection::btree_map(prop_oneof![0..6_u32, 100..300_u32], value, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Five owners write over each other's pages; each has what it wrote last, and every page has its owner.
    #[test]
    fn every_owner_reads_what_it_wrote(
        writes in prop::collection::vec(
            (0..5_usize, any::<bool>(), prop::option::weighted(0.85, any_properties())),
            1..40,
        )
    ) {
        let mut w = MemPager::default();
        let mut space = SpaceMap::records();
        let owner = |index: usize| match index % 2 {
            0 => Owner::Node(NodeSlot(index as u64)),
            _ => Owner::Edge(EdgeSlot(index as u64)),
        };
        let mut places = [None; 5];
        let mut model: [Vec<(KeyId, Value)>; 5] = Default::default();
        for (index, others_stay, properties) in writes {
            match properties {
                Some(properties) if others_stay => {
                    let values = properties.iter().map(|(key, value)| (KeyId(*key), value));
                    places[index] =
                        change_properties(&mut w, &mut space, owner(index), places[index], Others::Stay, values)
                            .unwrap();
                    model[index].retain(|(key, _)| !properties.contains_key(&key.0));
                    let not_null = properties.into_iter().filter(|(_, value)| !value.is_null());
                    model[index].extend(not_null.map(|(key, value)| (KeyId(key), value)));
                    model[index].sort_by_key(|(key, _)| *key);
                }
                Some(properties) => {
                    let all: Vec<(KeyId, Value)> =
                        properties.into_iter().map(|(key, value)| (KeyId(key), value)).collect();
                    places[index] = write_properties(&mut w, &mut space, owner(index), places[index], &all).unwrap();
                    model[index] = all.into_iter().filter(|(_, value)| !value.is_null()).collect();
                }
                None => {
                    if let Some(at) = places[index].take() {
                        delete_properties(&mut w, &mut space, at).unwrap();
                    }
                    model[index].clear();
                }
            }
        }
        let mut owned = BTreeSet::from([STATE_PAGE]);
        let mut known = BTreeSet::new();
        let (mut own, mut know) = (|page| assert!(owned.insert(page)), |page| assert!(known.insert(page)));
        space.visit(&w, &mut own, &mut know, &mut |error| panic!("{error}")).unwrap();
        prop_assert_eq!(&known, &places.iter().flatten().map(|at| at.page).collect::<BTreeSet<_>>());
        for (index, place) in places.iter().enumerate() {
            let Some(at) = *place else {
                prop_assert!(model[index].is_empty());
                continue;
            };
            prop_assert_eq!(read_owner(&w, at).unwrap(), owner(index));
            prop_assert_eq!(&read_properties(&w, at).unwrap(), &model[index]);
            for (key, value) in &model[index] {
                prop_assert_eq!(&read_property(&w, at, *key).unwrap(), &Some(value.clone()));
            }
            prop_assert_eq!(read_property(&w, at, KeyId(50)).unwrap(), None);
            check_properties(&w, at, owner(index), &mut |page| assert!(owned.insert(page))).unwrap();
        }
        owned.extend(known);
        prop_assert_eq!(owned, w.page_numbers().collect::<BTreeSet<_>>());
    }

    #[test]
    fn random_records_never_panic(bytes in prop::collection::vec(prop_oneof![0..20_u8, any::<u8>()], 0..60)) {
        let mut w = MemPager::default();
        let at = plant(&mut w, &bytes);
        let _ = read_owner(&w, at);
        let _ = check_properties(&w, at, EDGE_9, &mut |_| {});
        let read = read_properties(&w, at);
        let deleted = delete_properties(&mut w, &mut SpaceMap::records(), at);
        prop_assert!(read.is_err() || deleted.is_ok());

        let mut w = MemPager::default();
        let at = plant(&mut w, &bytes);
        let values = [(KeyId(3), &Value::Int(4))];
        let space = &mut SpaceMap::records();
        if let Ok(changed) = change_properties(&mut w, space, EDGE_9, Some(at), Others::Stay, values) {
            prop_assert_eq!(read_property(&w, changed.unwrap(), KeyId(3)).unwrap(), Some(Value::Int(4)));
        }
    }
}
