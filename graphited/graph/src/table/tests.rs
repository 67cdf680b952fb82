//! Tables against a map, golden bytes, growth of the directory, generations, damage.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use graphite_store::{MemPager, PAGE_HEADER_BYTES, STATE_PAGE};
use proptest::prelude::*;

use super::*;
use crate::edges::{
    EDGES_PER_PAGE, EdgeRecord, check_edges, edge_pages, put_edge, put_edges, read_edge, read_edge_slot,
};
use crate::location::Location;
use crate::nodes::{
    NODES_PER_PAGE, NodeReader, NodeRecord, check_nodes, free_node, node_pages, put_node, put_nodes,
    read_node, read_node_slot, visit_nodes_in_page,
};
use crate::{EdgeSlot, LabelSetId, NodeSlot, TypeId};

fn node(generation: u16, mark: u32) -> NodeRecord {
    NodeRecord {
        label_set: LabelSetId(mark),
        generation,
        properties: None,
        out: None,
        in_: None,
        out_degree: mark,
        in_degree: 0,
    }
}

/// Proves the node table, and that it owns every page but the state page. Gives the number of nodes.
fn check_all(w: &MemPager) -> u64 {
    let mut owned = BTreeSet::from([STATE_PAGE]);
    let count = check_nodes(w, &mut |page| assert!(owned.insert(page), "{page} twice"), &mut |error| {
        panic!("{error}")
    });
    assert_eq!(owned, w.page_numbers().collect());
    count
}

/// Counts page accesses.
struct Counting<'a> {
    pages: &'a MemPager,
    reads: Cell<usize>,
}

impl PageReader for Counting<'_> {
    type Ref<'a>
        = &'a Page
    where
        Self: 'a;

    fn page(&self, number: PageNo) -> graphite_store::Result<&Page> {
        self.reads.set(self.reads.get() + 1);
        self.pages.page(number)
    }
}

#[test]
fn golden_node_slot() {
    let mut w = MemPager::default();
    let record = NodeRecord {
        label_set: LabelSetId(0x0102_0303),
        generation: 0x0506,
        properties: Some(Location { page: PageNo(0x1112_1314), slot: 0x1516 }),
        out: Some(Location { page: PageNo(0x2122_2324), slot: 0x2526 }),
        in_: None,
        out_degree: 0x3132_3334,
        in_degree: 0x4142_4344,
    };
    put_node(&mut w, NodeSlot(2), &record).unwrap();
    let page = w.page(entry_of::<crate::nodes::Nodes, _>(&w, 0).unwrap().page.unwrap()).unwrap();
    let bytes = page.bytes();
    assert_eq!(bytes[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + 8], [0, 0, 0, 0, 1, 0, 0, 0]);
    #[rustfmt::skip]
    assert_eq!(bytes[64 + 2 * 32..64 + 3 * 32], [
        4, 3, 2, 1, 6, 5, 0x14, 0x13, 0x12, 0x11, 0x16, 0x15, 0x24, 0x23, 0x22, 0x21, 0x26, 0x25, 0, 0, 0, 0, 0, 0,
        0x34, 0x33, 0x32, 0x31, 0x44, 0x43, 0x42, 0x41,
    ]);
    assert_eq!(read_node(&w, NodeSlot(2)).unwrap(), Some(record));
}

#[test]
fn golden_edge_slot() {
    let mut w = MemPager::default();
    let record = EdgeRecord {
        start: NodeSlot(0x0102_0304_0506),
        end: NodeSlot(0x1112_1314_1516),
        type_: TypeId(0x2122),
        generation: 0x3132,
        properties: Some(Location { page: PageNo(0x4142_4344), slot: 0x4546 }),
    };
    let slot = EdgeSlot(EDGES_PER_PAGE as u64 + 1);
    put_edge(&mut w, slot, &record).unwrap();
    let page = w.page(entry_of::<crate::edges::Edges, _>(&w, 1).unwrap().page.unwrap()).unwrap();
    let bytes = page.bytes();
    assert_eq!(bytes[PAGE_HEADER_BYTES..PAGE_HEADER_BYTES + 8], [1, 0, 0, 0, 1, 0, 0, 0]);
    #[rustfmt::skip]
    assert_eq!(bytes[64 + 24..64 + 48], [
        6, 5, 4, 3, 2, 1, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0x22, 0x21, 0x32, 0x31,
        0x44, 0x43, 0x42, 0x41, 0x46, 0x45, 1, 0,
    ]);
    assert_eq!(read_edge(&w, slot).unwrap(), Some(record));
    assert_eq!(edge_pages(&w).unwrap(), 2);
}

#[test]
fn golden_directory_page() {
    let mut w = MemPager::default();
    put_node(&mut w, NodeSlot(0), &node(0, 0)).unwrap();
    free_node(&mut w, NodeSlot(0)).unwrap();
    let nodes = vec![node(0, 0); NODES_PER_PAGE];
    put_nodes(&mut w, NodeSlot(NODES_PER_PAGE as u64), &nodes).unwrap();
    let root = w.state(state_root()).unwrap();
    assert_eq!(root >> 32, 1, "height");
    let page = w.page(PageNo(root as u32)).unwrap();
    let table = entry_of::<crate::nodes::Nodes, _>(&w, 1).unwrap().page.unwrap().0.to_le_bytes();
    assert_eq!(page.kind(), PageKind::Directory);
    assert_eq!(page.body()[..8], [0, 0, 1, 0, 0, 0, 0, 0], "level 0, one full entry");
    assert_eq!(page.body()[8..16], [0, 0, 0, 0, 0, 0, 1, 0], "freed, floor 1");
    assert_eq!(page.body()[16..24], [table[0], table[1], table[2], table[3], 1, 0, 0, 0], "full");
}

fn state_root() -> usize {
    <crate::nodes::Nodes as Table>::ROOT
}

#[test]
fn three_hundred_thousand_nodes_cross_a_directory_page() {
    const COUNT: u64 = 300_000;
    let mut w = MemPager::default();
    for first in (0..COUNT).step_by(1000) {
        let nodes: Vec<NodeRecord> = (first..first + 1000).map(|slot| node(0, slot as u32)).collect();
        put_nodes(&mut w, NodeSlot(first), &nodes).unwrap();
    }
    assert_eq!(check_all(&w), COUNT);
    assert_eq!(node_pages(&w).unwrap(), COUNT.div_ceil(NODES_PER_PAGE as u64));
    assert_eq!(w.state(state_root()).unwrap() >> 32, 2, "height");
    assert_eq!(find_open::<crate::nodes::Nodes, _>(&w, 0).unwrap(), COUNT / NODES_PER_PAGE as u64);
    let mut reader = NodeReader::new(&w);
    for slot in 0..COUNT {
        assert_eq!(reader.read(NodeSlot(slot)).unwrap().unwrap().out_degree, slot as u32);
    }
    assert_eq!(reader.read(NodeSlot(COUNT)).unwrap(), None);
    assert_eq!(reader.read(NodeSlot(1 << 47)).unwrap(), None);
    let mut seen = 0;
    for page in 0..node_pages(&w).unwrap() {
        visit_nodes_in_page(&w, page, |slot, record| {
            assert_eq!((slot.0, record.out_degree), (seen, seen as u32));
            seen += 1;
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(seen, COUNT);
    // One hole in a full part is found from every page before it, and the page after it is open next.
    free_node(&mut w, NodeSlot(500 * NODES_PER_PAGE as u64)).unwrap();
    assert_eq!(find_open::<crate::nodes::Nodes, _>(&w, 3).unwrap(), 500);
    assert_eq!(find_open::<crate::nodes::Nodes, _>(&w, 501).unwrap(), COUNT / NODES_PER_PAGE as u64);
    assert_eq!(check_all(&w), COUNT - 1);
    for slot in (0..COUNT).filter(|slot| *slot != 500 * NODES_PER_PAGE as u64) {
        free_node(&mut w, NodeSlot(slot)).unwrap();
    }
    assert_eq!(check_all(&w), 0);
    assert_eq!(w.pages_used(), 1 + 3, "the state page and three directory pages");
    assert_eq!(read_node_slot(&w, NodeSlot(7)).unwrap(), SlotState::Free { generation: 1 });
}

#[test]
fn a_small_table_costs_one_directory_page_and_one_table_page_a_read() {
    let mut w = MemPager::default();
    let nodes = vec![node(0, 1); 250_000];
    put_nodes(&mut w, NodeSlot(0), &nodes).unwrap();
    let counting = Counting { pages: &w, reads: Cell::new(0) };
    assert!(read_node(&counting, NodeSlot(249_999)).unwrap().is_some());
    assert_eq!(counting.reads.get(), 3, "the state page, a directory page, a table page");
    counting.reads.set(0);
    let mut reader = NodeReader::new(&counting);
    for slot in (0..250_000).step_by(5) {
        assert!(reader.read(NodeSlot(slot)).unwrap().is_some());
    }
    assert_eq!(counting.reads.get(), 2 + 250_000_usize.div_ceil(NODES_PER_PAGE), "one for each table page");
}

#[test]
fn far_slots_need_few_pages_and_the_table_has_an_end() {
    let mut w = MemPager::default();
    put_node(&mut w, NodeSlot(3), &node(0, 1)).unwrap();
    let last = (u64::from(u32::MAX) + 1) * NODES_PER_PAGE as u64 - 1;
    for slot in [300_000_000, last, 70_000_000_000] {
        put_node(&mut w, NodeSlot(slot), &node(0, 2)).unwrap();
        assert_eq!(read_node(&w, NodeSlot(slot)).unwrap(), Some(node(0, 2)));
    }
    assert_eq!(read_node(&w, NodeSlot(3)).unwrap(), Some(node(0, 1)));
    assert_eq!(check_all(&w), 4);
    assert_eq!(node_pages(&w).unwrap(), u64::from(u32::MAX) + 1);
    assert!(w.pages_used() < 20);
    assert!(matches!(put_node(&mut w, NodeSlot(last + 1), &node(0, 2)), Err(Error::TooMany { .. })));
    assert_eq!(read_node(&w, NodeSlot((1 << 48) - 1)).unwrap(), None);
}

#[test]
fn a_generation_comes_once() {
    let mut w = MemPager::default();
    put_node(&mut w, NodeSlot(0), &node(0, 1)).unwrap();
    for generation in 0..5 {
        put_node(&mut w, NodeSlot(1), &node(generation, 1)).unwrap();
        free_node(&mut w, NodeSlot(1)).unwrap();
        assert_eq!(read_node_slot(&w, NodeSlot(1)).unwrap(), SlotState::Free { generation: generation + 1 });
    }
    // The page goes with its last node, and its floor covers the slot that was used most.
    free_node(&mut w, NodeSlot(0)).unwrap();
    for slot in [0, 1, 253] {
        assert_eq!(read_node_slot(&w, NodeSlot(slot)).unwrap(), SlotState::Free { generation: 5 });
    }
    put_node(&mut w, NodeSlot(9), &node(5, 1)).unwrap();
    assert_eq!(read_node_slot(&w, NodeSlot(1)).unwrap(), SlotState::Free { generation: 5 });
    assert_eq!(read_node_slot(&w, NodeSlot(254)).unwrap(), SlotState::Free { generation: 0 });
    assert_eq!(check_all(&w), 1);
}

#[test]
fn a_slot_retires_at_its_last_generation() {
    let mut w = MemPager::default();
    let others: Vec<NodeRecord> = (1..254).map(|mark| node(0, mark)).collect();
    put_nodes(&mut w, NodeSlot(1), &others).unwrap();
    put_node(&mut w, NodeSlot(0), &node(32_766, 0)).unwrap();
    free_node(&mut w, NodeSlot(0)).unwrap();
    assert_eq!(read_node_slot(&w, NodeSlot(0)).unwrap(), SlotState::Retired);
    assert_eq!(read_node(&w, NodeSlot(0)).unwrap(), None);
    assert_eq!(find_open::<crate::nodes::Nodes, _>(&w, 0).unwrap(), 1, "a retired slot leaves no room");
    assert!(put_node(&mut w, NodeSlot(0), &node(32_767, 0)).is_err());
    assert!(put_node(&mut w, NodeSlot(0), &node(0, 0)).is_err());
    assert_eq!(check_all(&w), 253);
}

/// The directory has one floor for all slots of a page that is gone. The others may have been handed out by then, and whoever
/// has one was refused its commit.
#[test]
fn a_slot_that_retires_takes_no_other_with_it() {
    let mut w = MemPager::default();
    put_node(&mut w, NodeSlot(0), &node(32_766, 0)).unwrap();
    free_node(&mut w, NodeSlot(0)).unwrap();
    assert_eq!(read_node_slot(&w, NodeSlot(0)).unwrap(), SlotState::Retired);
    assert_eq!(find_open::<crate::nodes::Nodes, _>(&w, 0).unwrap(), 0);
    assert_eq!(check_all(&w), 0);
    put_node(&mut w, NodeSlot(5), &node(7, 0)).unwrap();
    free_node(&mut w, NodeSlot(5)).unwrap();
    assert_eq!(read_node_slot(&w, NodeSlot(5)).unwrap(), SlotState::Free { generation: 8 });
    // The page goes with the last slot that is not retired.
    for slot in 1..254 {
        assert!(entry_of::<crate::nodes::Nodes, _>(&w, 0).unwrap().page.is_some());
        put_node(&mut w, NodeSlot(slot), &node(32_766, 0)).unwrap();
        free_node(&mut w, NodeSlot(slot)).unwrap();
    }
    assert!(entry_of::<crate::nodes::Nodes, _>(&w, 0).unwrap().page.is_none());
    assert_eq!(read_node_slot(&w, NodeSlot(5)).unwrap(), SlotState::Retired);
    assert_eq!(find_open::<crate::nodes::Nodes, _>(&w, 0).unwrap(), 1);
    assert_eq!(check_all(&w), 0);
    assert!(put_node(&mut w, NodeSlot(5), &node(7, 0)).is_err());
}

#[test]
fn a_slot_is_not_written_over_or_freed_twice() {
    let mut w = MemPager::default();
    put_node(&mut w, NodeSlot(0), &node(3, 1)).unwrap();
    assert!(matches!(put_node(&mut w, NodeSlot(0), &node(4, 1)), Err(Error::Corrupt { .. })));
    put_node(&mut w, NodeSlot(0), &node(3, 9)).unwrap();
    assert_eq!(read_node(&w, NodeSlot(0)).unwrap(), Some(node(3, 9)));
    assert!(matches!(free_node(&mut w, NodeSlot(1)), Err(Error::Corrupt { .. })));
    assert!(matches!(free_node(&mut w, NodeSlot(1000)), Err(Error::Corrupt { .. })));
}

#[test]
fn the_two_tables_do_not_mix() {
    let mut w = MemPager::default();
    put_node(&mut w, NodeSlot(0), &node(0, 1)).unwrap();
    let edge = EdgeRecord {
        start: NodeSlot(0),
        end: NodeSlot(0),
        type_: TypeId(65_534),
        generation: 0,
        properties: None,
    };
    put_edges(&mut w, EdgeSlot(0), &[edge; 400]).unwrap();
    let mut edge_pages = BTreeSet::new();
    let count = check_edges(&w, &mut |page| assert!(edge_pages.insert(page)), &mut |error| panic!("{error}"));
    assert_eq!((count, edge_pages.len()), (400, 3));
    assert_eq!(read_edge_slot(&w, EdgeSlot(400)).unwrap(), SlotState::Free { generation: 0 });
    let too_many = EdgeRecord { type_: TypeId(65_536), ..edge };
    assert!(matches!(put_edge(&mut w, EdgeSlot(500), &too_many), Err(Error::TooMany { .. })));
}

/// Damages one thing at a time; each is an error of the read or a problem of the check, and nothing panics.
#[test]
fn damage_is_reported() {
    let damages: [fn(&mut MemPager, PageNo, PageNo); 8] = [
        |w, _, _| w.set_state(state_root(), 0xffff_ffff_ffff_ffff).unwrap(),
        |w, _, _| w.set_state(state_root(), 7).unwrap(),
        |w, directory, _| w.page_mut(directory).unwrap().body_mut()[LEVEL] = 1,
        |w, directory, _| w.page_mut(directory).unwrap().body_mut()[FIRST] = 1,
        |w, directory, _| w.page_mut(directory).unwrap().body_mut()[ENTRIES..ENTRIES + 4].fill(0xff),
        |w, directory, _| {
            let raw = directory.0.to_le_bytes();
            w.page_mut(directory).unwrap().body_mut()[ENTRIES..ENTRIES + 4].copy_from_slice(&raw);
        },
        |w, _, table| w.page_mut(table).unwrap().body_mut()[LOGICAL] = 1,
        |w, _, table| w.page_mut(table).unwrap().set_kind(PageKind::Edges),
    ];
    for (which, damage) in damages.into_iter().enumerate() {
        let mut w = MemPager::default();
        put_node(&mut w, NodeSlot(0), &node(0, 1)).unwrap();
        let directory = Root::read::<crate::nodes::Nodes, _>(&w).unwrap().unwrap().page;
        let table = entry_of::<crate::nodes::Nodes, _>(&w, 0).unwrap().page.unwrap();
        damage(&mut w, directory, table);
        assert!(read_node(&w, NodeSlot(0)).is_err(), "damage {which}");
        assert!(NodeReader::new(&w).read(NodeSlot(0)).is_err(), "damage {which}");
        assert!(put_node(&mut w, NodeSlot(0), &node(0, 2)).is_err(), "damage {which}");
        let mut problems = 0;
        check_nodes(&w, &mut |_| {}, &mut |_| problems += 1);
        assert!(problems > 0, "damage {which}");
    }
    let miscounts: [fn(&mut MemPager, PageNo, PageNo); 5] = [
        |w, directory, _| w.page_mut(directory).unwrap().body_mut()[FULL_ENTRIES] = 1,
        |w, directory, _| w.page_mut(directory).unwrap().body_mut()[ENTRIES + 4] = 1,
        |w, _, table| w.page_mut(table).unwrap().body_mut()[USED] = 2,
        |w, _, table| w.page_mut(table).unwrap().body_mut()[RETIRED] = 1,
        |w, _, _| w.set_state(<crate::nodes::Nodes as Table>::PAGES, 0).unwrap(),
    ];
    for (which, damage) in miscounts.into_iter().enumerate() {
        let mut w = MemPager::default();
        put_node(&mut w, NodeSlot(0), &node(0, 1)).unwrap();
        let directory = Root::read::<crate::nodes::Nodes, _>(&w).unwrap().unwrap().page;
        let table = entry_of::<crate::nodes::Nodes, _>(&w, 0).unwrap().page.unwrap();
        damage(&mut w, directory, table);
        let mut problems = 0;
        check_nodes(&w, &mut |_| {}, &mut |_| problems += 1);
        assert!(problems > 0, "miscount {which}");
    }
}

/// A table whose page 0 has a used slot, a free one and a retired one, whose page 1 is gone and has left its floor, and
/// whose page 2 was made anew above its floor; `record` makes a record of a generation.
fn with_generations<T: Table>(record: impl Fn(u16) -> T::Record) -> MemPager {
    let mut w = MemPager::default();
    let mut put = |slot: u64, generation| {
        put_run::<T, _>(&mut w, T::slot(slot), &[record(generation)]).unwrap();
        T::slot(slot)
    };
    let page = T::SLOTS as u64;
    let slots = [put(0, 0), put(1, 0), put(2, GENERATION_RETIRED - 1), put(page, 6), put(2 * page, 6)];
    slots[1..].iter().for_each(|slot| free_slot::<T, _>(&mut w, *slot).unwrap());
    put_run::<T, _>(&mut w, T::slot(2 * page), &[record(7)]).unwrap();
    w
}

fn generations_out_of_range_are_problems<T: Table>(record: impl Fn(u16) -> T::Record) {
    let w = with_generations::<T>(&record);
    let problems = |w: &MemPager| {
        let mut problems = Vec::new();
        check::<T, _>(w, &mut |_| {}, &mut |error| problems.push(error.to_string()));
        problems
    };
    assert_eq!(problems(&w), Vec::<String>::new());
    let directory = Root::read::<T, _>(&w).unwrap().unwrap().page;
    let table = |logical| entry_of::<T, _>(&w, logical).unwrap().page.unwrap();
    let generation = |index| slot_offset::<T>(index) + T::GENERATION;
    let floor = |logical: usize| ENTRIES + logical * ENTRY_BYTES + 6;
    for (page, at, value, why) in [
        (table(0), generation(0), 0x7fff, "a slot's generation is out of range"),
        (table(0), generation(0), 0xffff, "a slot's generation is out of range"),
        (table(0), generation(2), 0x8000, "a slot's generation is out of range"),
        (table(0), generation(2), 0xffff, "a slot's generation is out of range"),
        (table(2), generation(1), 0x7fff, "the counts of used or retired slots are wrong"),
        (directory, floor(1), 0x7fff, "an entry says full of what has room, or the other way round"),
        (directory, floor(1), 0x8000, "the floor of an entry is out of range"),
        (directory, floor(2), 0x8000, "the floor of an entry is out of range"),
        (directory, floor(3), 0xffff, "the floor of an entry is out of range"),
    ] {
        let mut w = with_generations::<T>(&record);
        put_u16(w.page_mut(page).unwrap(), at, value);
        let expected = Error::Corrupt { page, why }.to_string();
        assert_eq!(problems(&w), [expected], "{} {value:#x} at {at}", T::NAME);
    }
}

#[test]
fn a_generation_out_of_range_is_not_called_sound() {
    generations_out_of_range_are_problems::<crate::nodes::Nodes>(|generation| node(generation, 1));
    generations_out_of_range_are_problems::<crate::edges::Edges>(|generation| EdgeRecord {
        start: NodeSlot(0),
        end: NodeSlot(0),
        type_: TypeId(0),
        generation,
        properties: None,
    });
}

#[derive(Clone, Debug)]
enum Op {
    /// A run of new nodes, where the slots are free.
    Put {
        first: u64,
        count: u64,
    },
    Change {
        first: u64,
        count: u64,
        mark: u32,
    },
    Free {
        first: u64,
        count: u64,
    },
}

fn any_op() -> impl Strategy<Value = Op> {
    // Slots around a few page borders, one of them beyond a directory page.
    let first = prop_oneof![0..300_u64, 500..1100_u64, 259_000..259_700_u64];
    let count = prop_oneof![4 => 1..20_u64, 1 => 200..600_u64];
    prop_oneof![
        3 => (first.clone(), count.clone()).prop_map(|(first, count)| Op::Put { first, count }),
        1 => (first.clone(), count.clone(), any::<u32>().prop_map(|mark| mark >> 1))
            .prop_map(|(first, count, mark)| Op::Change { first, count, mark }),
        2 => (first, count).prop_map(|(first, count)| Op::Free { first, count }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The model: the used slots, and of every slot the generations that it had.
    #[test]
    fn behaves_like_a_map(ops in prop::collection::vec(any_op(), 1..60)) {
        let mut w = MemPager::default();
        let mut model: BTreeMap<u64, NodeRecord> = BTreeMap::new();
        let mut had: BTreeMap<u64, u16> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Put { first, count } => {
                    let end = model.range(first..first + count).next().map_or(first + count, |(slot, _)| *slot);
                    let mut records = Vec::new();
                    for slot in first..end {
                        let SlotState::Free { generation } = read_node_slot(&w, NodeSlot(slot)).unwrap() else {
                            panic!("slot {slot} is not free");
                        };
                        prop_assert!(had.get(&slot).is_none_or(|had| generation > *had), "slot {}", slot);
                        had.insert(slot, generation);
                        records.push(node(generation, slot as u32));
                        model.insert(slot, node(generation, slot as u32));
                    }
                    put_nodes(&mut w, NodeSlot(first), &records).unwrap();
                }
                Op::Change { first, count, mark } => {
                    for (slot, record) in model.range_mut(first..first + count) {
                        *record = node(record.generation, mark);
                        put_node(&mut w, NodeSlot(*slot), record).unwrap();
                    }
                }
                Op::Free { first, count } => {
                    let gone: Vec<u64> = model.range(first..first + count).map(|(slot, _)| *slot).collect();
                    for slot in gone {
                        model.remove(&slot);
                        free_node(&mut w, NodeSlot(slot)).unwrap();
                    }
                }
            }
        }
        prop_assert_eq!(check_all(&w), model.len() as u64);
        let mut found = BTreeMap::new();
        let mut reader = NodeReader::new(&w);
        for page in 0..node_pages(&w).unwrap() {
            visit_nodes_in_page(&w, page, |slot, record| {
                assert_eq!(reader.read(slot)?, Some(record));
                assert_eq!(read_node(&w, slot)?, Some(record));
                found.insert(slot.0, record);
                Ok(())
            }).unwrap();
        }
        prop_assert_eq!(found, model);
    }
}
