//! The check of a graph whose pages contradict each other, though each of them has the checksum of its bytes: turns of
//! the store write what no transaction would. Each contradiction has to be named by its record or page.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::open;
use graphite_graph::check::Place;
use graphite_graph::edges::{put_edge, read_edge};
use graphite_graph::import::{EdgeBatch, NodeBatch};
use graphite_graph::nodes::{put_node, read_node};
use graphite_graph::{EdgeSlot, GraphDb, LabelSetId, NodeId, NodeSlot, TypeId, state};
use graphite_store::disk::SimDisk;
use graphite_store::{PAGE_BODY_BYTES, PageKind, PageNo, PageReader, PageWriter};

/// Ten nodes in a ring.
fn ring() -> GraphDb {
    let db = open(&SimDisk::new());
    let type_ = db.type_id_or_create("next").unwrap();
    db.type_id_or_create("other").unwrap();
    let id = |number: u64| NodeId::new(NodeSlot(number % 10), 0);
    let nodes = NodeBatch { label_sets: vec![LabelSetId(0); 10], columns: Vec::new() };
    let edges = EdgeBatch {
        starts: (0..10).map(id).collect(),
        ends: (1..11).map(id).collect(),
        types: vec![type_; 10],
        columns: Vec::new(),
    };
    db.import().nodes(b"nodes", 0, nodes).unwrap();
    db.import().edges(b"edges", 0, edges).unwrap();
    db.store().flush().unwrap();
    assert!(db.check().unwrap().is_sound());
    db
}

/// Makes a change that no transaction would, and gives what the check then says.
fn after(db: &GraphDb, change: impl FnOnce(&mut graphite_store::Turn<'_>)) -> Vec<String> {
    let mut turn = db.store().turn().unwrap();
    change(&mut turn);
    turn.commit().unwrap();
    db.store().flush().unwrap();
    db.check().unwrap().problems.iter().map(ToString::to_string).collect()
}

#[test]
fn an_edge_that_its_ends_know_otherwise_is_named_with_both_of_them() {
    let db = ring();
    let problems = after(&db, |turn| {
        let mut edge = read_edge(turn, EdgeSlot(3)).unwrap().unwrap();
        edge.type_ = TypeId(1);
        put_edge(turn, EdgeSlot(3), &edge).unwrap();
    });
    let expected = [
        "outgoing adjacency of node slot 3: its entry for edge slot 3 is no such edge",
        "incoming adjacency of node slot 4: its entry for edge slot 3 is no such edge",
        "edge slot 3 is not in the outgoing adjacency of node slot 3",
        "edge slot 3 is not in the incoming adjacency of node slot 4",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn a_degree_and_a_counter_that_are_wrong_are_named() {
    let db = ring();
    let problems = after(&db, |turn| {
        let mut node = read_node(turn, NodeSlot(7)).unwrap().unwrap();
        node.in_degree += 1;
        put_node(turn, NodeSlot(7), &node).unwrap();
        turn.set_state(state::EDGE_COUNT, 11).unwrap();
    });
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("10 edges, and their counter says 11"), "{problems:?}");
    assert!(problems[1].contains("incoming adjacency of node slot 7: 1 entries"), "{problems:?}");
}

#[test]
fn a_problem_says_which_record_it_concerns() {
    let db = ring();
    after(&db, |turn| {
        let mut node = read_node(turn, NodeSlot(7)).unwrap().unwrap();
        node.in_degree += 1;
        put_node(turn, NodeSlot(7), &node).unwrap();
    });
    let problems = db.check().unwrap().problems;
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(problem.record.as_deref(), Some("incoming adjacency of node slot 7"));
    assert_eq!((problem.place, problem.lsn), (Place::Database, None));
}

#[test]
fn a_page_that_nobody_has_and_one_that_is_had_while_free_are_named() {
    let db = ring();
    let mut lost = None;
    let problems = after(&db, |turn| lost = Some(turn.allocate(PageKind::Record).unwrap()));
    let lost = lost.unwrap();
    assert_eq!(problems, [format!("{lost}: it is marked as used, and nothing has it")]);

    let db = ring();
    let mut freed = None;
    let problems = after(&db, |turn| {
        let page = graphite_graph::nodes::place_of_page(turn, 0).unwrap().unwrap();
        turn.free(page).unwrap();
        freed = Some(page);
    });
    let why = format!("{}: it is marked as free, and the node table has it", freed.unwrap());
    assert!(problems.contains(&why), "{problems:?}");
}

/// Two entries of the state point at one tree.
#[test]
fn a_page_with_two_owners_is_named_with_both() {
    let db = ring();
    let problems = after(&db, |turn| {
        let root = turn.state(state::CATALOG_ROOT).unwrap();
        turn.set_state(state::TOKEN_ROOT, root).unwrap();
    });
    let two = "it has two owners: the catalog and the commit tokens";
    assert!(problems.iter().any(|problem| problem.contains(two)), "{problems:?}");
}

/// A class is a hint: what no page can have is damage of the map, and what another page could have is not.
#[test]
fn a_class_of_free_space_that_no_page_has_is_not_called_sound() {
    let db = ring();
    let mut map = None;
    let mut set = |class: u8| {
        after(&db, |turn| {
            let root = turn.state(state::ADJACENCY_SPACE_ROOT).unwrap() & 0xffff_ffff;
            let root = PageNo(u32::try_from(root).unwrap());
            let classes = turn.page_mut(root).unwrap().range_mut(8..PAGE_BODY_BYTES);
            *classes.iter_mut().find(|class| **class != 0).unwrap() = class;
            map = Some(root);
        })
    };
    let found = [17, 0xff].map(&mut set);
    assert!(set(1).is_empty() && set(16).is_empty());
    let map = map.unwrap();
    for problems in found {
        assert_eq!(problems, [format!("{map}: a class of free space is out of range")]);
    }
}

/// Everything was met, though a hint in a map is wrong.
#[test]
fn a_class_out_of_range_hides_no_page_without_an_owner() {
    let db = ring();
    let mut lost = None;
    let problems = after(&db, |turn| {
        let root = turn.state(state::ADJACENCY_SPACE_ROOT).unwrap() & 0xffff_ffff;
        let root = PageNo(u32::try_from(root).unwrap());
        let classes = turn.page_mut(root).unwrap().range_mut(8..PAGE_BODY_BYTES);
        *classes.iter_mut().find(|class| **class != 0).unwrap() = 0xff;
        lost = Some(turn.allocate(PageKind::Record).unwrap());
    });
    let unowned = format!("{}: it is marked as used, and nothing has it", lost.unwrap());
    assert!(problems.len() == 2 && problems.contains(&unowned), "{problems:?}");
}
