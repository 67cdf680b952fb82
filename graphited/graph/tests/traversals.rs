//! Traversals against a search that keeps sets and nothing else, over small dense and sparse random graphs.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::{DIRECTIONS, Model, ModelEdge, ModelNode, open, settle};
use graphite_graph::traverse::{Follow, Path, khop, khop_count, shortest_path, walk_end_count, walk_ends};
use graphite_graph::{Direction, Error, NodeId, NodeSlot, TypeId, View};
use graphite_store::disk::SimDisk;
use proptest::prelude::*;

const TYPE_FILTERS: [Option<&[TypeId]>; 3] = [None, Some(&[TypeId(1)]), Some(&[TypeId(0), TypeId(1)])];

fn step(model: &Model, from: &BTreeSet<NodeSlot>, follow: Follow<'_>) -> BTreeSet<NodeSlot> {
    let there = model.nodes.keys().filter(|id| from.contains(&id.slot()));
    there.flat_map(|id| model.neighbours(*id, follow.direction, follow.types)).map(|step| step.2).collect()
}

fn distances(model: &Model, starts: &BTreeSet<NodeSlot>, follow: Follow<'_>) -> BTreeMap<NodeSlot, u32> {
    let mut distance: BTreeMap<NodeSlot, u32> = starts.iter().map(|slot| (*slot, 0)).collect();
    let mut queue: VecDeque<NodeSlot> = starts.iter().copied().collect();
    while let Some(slot) = queue.pop_front() {
        let next = distance[&slot] + 1;
        for to in step(model, &[slot].into(), follow) {
            distance.entry(to).or_insert_with(|| {
                queue.push_back(to);
                next
            });
        }
    }
    distance
}

fn assert_is_path(model: &Model, path: &Path, follow: Follow<'_>) {
    assert_eq!(path.nodes.len(), path.edges.len() + 1);
    for (at, edge) in path.edges.iter().enumerate() {
        let from = model.nodes.keys().find(|id| id.slot() == path.nodes[at]).unwrap();
        let steps = model.neighbours(*from, follow.direction, follow.types);
        assert!(steps.iter().any(|step| (step.2, step.3) == (path.nodes[at + 1], *edge)));
    }
}

fn assert_traverses<V: View>(view: &V, model: &Model, starts: &[NodeSlot]) {
    let goes_on = &mut |_| true;
    let start_set: BTreeSet<NodeSlot> =
        starts.iter().copied().filter(|slot| model.nodes.keys().any(|id| id.slot() == *slot)).collect();
    for direction in DIRECTIONS {
        for types in TYPE_FILTERS {
            let follow = Follow { direction, types };
            let distance = distances(model, &start_set, follow);
            for (min, max) in [(0, 0), (0, 2), (1, 1), (1, 3), (2, 2), (2, 50), (3, 2)] {
                let expected: Vec<NodeSlot> = distance
                    .iter()
                    .filter(|(_, d)| (min..=max).contains(*d))
                    .map(|(slot, _)| *slot)
                    .collect();
                assert_eq!(khop(view, starts, follow, min, max, goes_on).unwrap(), expected);
                let count = khop_count(view, starts, follow, min, max, goes_on).unwrap();
                assert_eq!(count, expected.len() as u64);
            }
            let mut ends = start_set.clone();
            for steps in 0..4 {
                let found = walk_ends(view, starts, follow, steps, goes_on).unwrap();
                assert_eq!(found, ends.iter().copied().collect::<Vec<_>>());
                assert_eq!(walk_end_count(view, starts, follow, steps, goes_on).unwrap(), ends.len() as u64);
                ends = step(model, &ends, follow);
            }
            let Some(&from) = start_set.first() else { continue };
            let distance = distances(model, &[from].into(), follow);
            for to in model.nodes.keys().map(|id| id.slot()) {
                for max in [0, 1, 2, 100] {
                    let path = shortest_path(view, from, to, follow, max, goes_on).unwrap();
                    let expected = distance.get(&to).copied().filter(|hops| *hops <= max);
                    assert_eq!(path.as_ref().map(|path| path.edges.len() as u32), expected);
                    if let Some(path) = path {
                        assert_eq!((path.nodes[0], path.nodes[path.nodes.len() - 1]), (from, to));
                        assert_is_path(model, &path, follow);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// The same graph as a transaction sees it (half of it in pages, half in the write set) and as a snapshot does.
    #[test]
    fn traversals_find_what_a_plain_search_finds(
        nodes in 1usize..120,
        edges in proptest::collection::vec((any::<usize>(), 0u32..2, any::<usize>()), 0..250),
        starts in proptest::collection::vec(0u64..130, 0..4),
    ) {
        let db = open(&SimDisk::new());
        for number in 0..2 {
            db.type_id_or_create(&format!("T{number}")).unwrap();
        }
        let mut model = Model::default();
        let mut ids = Vec::new();
        for half in 0..2 {
            let mut tx = db.begin().unwrap();
            for _ in 0..nodes.div_ceil(2) {
                let id = tx.create_node(&[], &[]).unwrap();
                model.nodes.insert(id, ModelNode::default());
                ids.push(id);
            }
            for (start, type_, end) in edges.iter().skip(half).step_by(2) {
                let (start, type_, end) = (ids[start % ids.len()], TypeId(*type_), ids[end % ids.len()]);
                let id = tx.create_edge(start, type_, end, &[]).unwrap();
                model.edges.insert(id, ModelEdge { type_, start, end, properties: BTreeMap::new() });
            }
            let starts: Vec<NodeSlot> = starts.iter().map(|slot| NodeSlot(*slot)).collect();
            assert_traverses(&tx, &model, &starts);
            tx.commit().unwrap();
            settle(&db);
            assert_traverses(&db.snapshot().unwrap(), &model, &starts);
        }
    }
}

/// Enough nodes for levels to become bitmaps: a grid, where distances are known.
#[test]
fn large_levels_are_bitmaps_and_still_right() {
    const SIDE: u64 = 60;
    let db = open(&SimDisk::new());
    let type_ = db.type_id_or_create("T").unwrap();
    let mut tx = db.begin().unwrap();
    let ids: Vec<NodeId> = (0..SIDE * SIDE).map(|_| tx.create_node(&[], &[]).unwrap()).collect();
    let at = |x: u64, y: u64| ids[(y * SIDE + x) as usize];
    for y in 0..SIDE {
        for x in 0..SIDE {
            if x + 1 < SIDE {
                tx.create_edge(at(x, y), type_, at(x + 1, y), &[]).unwrap();
            }
            if y + 1 < SIDE {
                tx.create_edge(at(x, y), type_, at(x, y + 1), &[]).unwrap();
            }
        }
    }
    tx.commit().unwrap();
    settle(&db);
    let view = db.snapshot().unwrap();
    let out = Follow { direction: Direction::Out, types: None };
    // From two opposite corners, so that lists and bitmaps meet.
    let starts = [at(0, 0).slot()];
    for hops in [5u64, 30, 59, 80, 118] {
        let expected = (0..SIDE * SIDE).filter(|n| n % SIDE + n / SIDE <= hops).count() as u64;
        assert_eq!(khop_count(&view, &starts, out, 0, hops as u32, &mut |_| true).unwrap(), expected);
        let ring = (0..SIDE * SIDE).filter(|n| n % SIDE + n / SIDE == hops).count() as u64;
        assert_eq!(khop_count(&view, &starts, out, hops as u32, hops as u32, &mut |_| true).unwrap(), ring);
        assert_eq!(walk_end_count(&view, &starts, out, hops as u32, &mut |_| true).unwrap(), ring);
    }
    let both = Follow { direction: Direction::Both, types: None };
    let all: Vec<NodeSlot> = ids.iter().map(|id| id.slot()).collect();
    assert_eq!(khop(&view, &all, both, 0, 1, &mut |_| true).unwrap(), {
        let mut all = all.clone();
        all.sort_unstable();
        all
    });
    assert_eq!(khop_count(&view, &all, both, 1, 3, &mut |_| true).unwrap(), 0);
    let path = shortest_path(&view, at(3, 4).slot(), at(50, 41).slot(), both, 1000, &mut |_| true).unwrap();
    assert_eq!(path.unwrap().edges.len(), 47 + 37);

    // Whoever says stop is obeyed, soon.
    let mut asked = 0;
    let stopped = walk_ends(&view, &all, both, 3, &mut |_| {
        asked += 1;
        asked < 4
    });
    assert!(matches!(stopped, Err(Error::Interrupted)));
    assert_eq!(asked, 4);
    let mut edges = 0;
    walk_ends(&view, &all, both, 1, &mut |more| {
        edges += more;
        true
    })
    .unwrap();
    assert!(edges > 0, "the budget is told how many edges were looked at");
}

/// A level that is a list before a node with many neighbours and a bitmap behind it: nothing is lost on the way, be it
/// small enough for a block or a hub with pages of its own.
#[test]
fn a_level_may_become_a_bitmap_within_a_node() {
    for leaves in [40, 200, 3000] {
        let db = open(&SimDisk::new());
        let type_ = db.type_id_or_create("T").unwrap();
        let mut tx = db.begin().unwrap();
        let mut nodes =
            |count: usize| -> Vec<NodeId> { (0..count).map(|_| tx.create_node(&[], &[]).unwrap()).collect() };
        let (root, middle, ends) = (nodes(1)[0], nodes(4), nodes(leaves));
        for &node in &middle {
            tx.create_edge(root, type_, node, &[]).unwrap();
        }
        // The first and the last have one leaf each; the third has all, some of them twice.
        tx.create_edge(middle[0], type_, ends[1], &[]).unwrap();
        tx.create_edge(middle[1], type_, root, &[]).unwrap();
        ends.iter().chain(&ends[..10]).for_each(|&leaf| {
            tx.create_edge(middle[2], type_, leaf, &[]).unwrap();
        });
        tx.create_edge(middle[3], type_, middle[0], &[]).unwrap();
        tx.commit().unwrap();
        settle(&db);
        let view = db.snapshot().unwrap();
        let out = Follow { direction: Direction::Out, types: None };
        let mut expected: Vec<NodeSlot> =
            ends.iter().chain([&root, &middle[0]]).map(|id| id.slot()).collect();
        expected.sort_unstable();
        let starts = [root.slot()];
        assert_eq!(walk_ends(&view, &starts, out, 2, &mut |_| true).unwrap(), expected);
        let count = walk_end_count(&view, &starts, out, 2, &mut |_| true).unwrap();
        assert_eq!(count, expected.len() as u64);
    }
}
