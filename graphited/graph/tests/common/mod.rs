//! What the tests of the facade share: a database on a simulated disk, a model of a graph that is too simple to be
//! wrong, and the comparison of a view with it.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use graphite_graph::{
    CommitResult, Direction, EdgeId, EdgeSlot, Error, GraphDb, KeyId, LabelId, NodeId, NodeSlot, Result,
    Transaction, TypeId, Value, View,
};
use graphite_store::StoreOptions;
use graphite_store::clock::SimClock;
use graphite_store::disk::SimDisk;
use graphite_store::locks::LockError;

pub(crate) const DIRECTIONS: [Direction; 3] = [Direction::Out, Direction::In, Direction::Both];

/// Opens, or makes, the database of a simulated disk.
pub(crate) fn open(disk: &SimDisk) -> GraphDb {
    try_open(disk).unwrap()
}

/// The same of a disk that may be dying.
pub(crate) fn try_open(disk: &SimDisk) -> Result<GraphDb> {
    try_open_with(disk, CACHE_BYTES)
}

/// A cache in which everything has room.
pub(crate) const CACHE_BYTES: usize = 32 << 20;
/// A cache so small that no batch of an import may change what it concerns in place.
pub(crate) const TINY_CACHE_BYTES: usize = 512 << 10;

/// The same with a cache of so many bytes.
pub(crate) fn try_open_with(disk: &SimDisk, cache_bytes: usize) -> Result<GraphDb> {
    let options = StoreOptions { create: true, cache_bytes, wal_bytes: 8 << 20, ..StoreOptions::default() };
    GraphDb::open(Arc::new(disk.clone()), Arc::new(SimClock::default()), Path::new("/graph"), options)
}

/// Waits until everything committed so far is in snapshots.
pub(crate) fn settle(db: &GraphDb) {
    db.store().wait_visible(db.store().applied_lsn()).unwrap();
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ModelNode {
    pub(crate) labels: BTreeSet<LabelId>,
    pub(crate) properties: BTreeMap<KeyId, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelEdge {
    pub(crate) type_: TypeId,
    pub(crate) start: NodeId,
    pub(crate) end: NodeId,
    pub(crate) properties: BTreeMap<KeyId, Value>,
}

/// A graph as two maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) nodes: BTreeMap<NodeId, ModelNode>,
    pub(crate) edges: BTreeMap<EdgeId, ModelEdge>,
}

pub(crate) type Step = (u8, TypeId, NodeSlot, EdgeSlot);

impl Model {
    /// What `View::neighbours` shows, sorted as it is shown.
    pub(crate) fn neighbours(
        &self,
        node: NodeId,
        direction: Direction,
        types: Option<&[TypeId]>,
    ) -> Vec<Step> {
        let mut found = Vec::new();
        for (id, edge) in &self.edges {
            if types.is_some_and(|types| !types.contains(&edge.type_)) {
                continue;
            }
            if edge.start == node && direction != Direction::In {
                found.push((0, edge.type_, edge.end.slot(), id.slot()));
            }
            let is_shown_loop = edge.start == node && direction == Direction::Both;
            if edge.end == node && direction != Direction::Out && !is_shown_loop {
                found.push((1, edge.type_, edge.start.slot(), id.slot()));
            }
        }
        found.sort_unstable();
        found
    }

    pub(crate) fn delete_node(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.edges.retain(|_, edge| edge.start != node && edge.end != node);
    }
}

fn side(direction: Direction) -> u8 {
    u8::from(direction == Direction::In)
}

/// Reads all neighbours in batches of `max`.
pub(crate) fn neighbours_in_batches<V: View>(
    view: &V,
    node: NodeId,
    direction: Direction,
    types: Option<&[TypeId]>,
    max: usize,
) -> Vec<Step> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let batch = view.neighbours(node, direction, types, after, max).unwrap();
        assert!(batch.len() <= max);
        all.extend(batch.iter().map(|step| (side(step.direction), step.type_, step.node, step.edge)));
        after = batch.last().copied();
        if batch.len() < max {
            return all;
        }
    }
}

fn compare_nodes<V: View>(view: &V, model: &Model, batch: usize) {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let scan = view.scan_nodes(after, None, batch).unwrap();
        assert!(scan.found.len() <= batch);
        found.extend(scan.found.iter().map(|head| head.id));
        after = scan.resume;
        if after.is_none() {
            break;
        }
    }
    assert!(found.is_sorted_by_key(|id| id.slot()));
    assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), model.nodes.keys().copied().collect());
    assert_eq!(found.len(), model.nodes.len());
    assert_eq!(view.node_count().unwrap(), model.nodes.len() as u64);
    for (&id, expected) in &model.nodes {
        let node = view.node(id).unwrap().expect("the model has it");
        assert_eq!(node.id, id);
        assert_eq!(node.labels, expected.labels.iter().copied().collect::<Vec<_>>());
        assert_eq!(node.properties, expected.properties.clone().into_iter().collect::<Vec<_>>());
        for key in 0..4 {
            let value = expected.properties.get(&KeyId(key)).cloned().unwrap_or(Value::Null);
            assert_eq!(view.property(id, KeyId(key)).unwrap(), Some(value));
        }
    }
}

fn compare_labels<V: View>(view: &V, model: &Model, labels: u32) {
    for label in (0..labels).map(LabelId) {
        let expected: BTreeSet<NodeId> =
            model.nodes.iter().filter(|(_, node)| node.labels.contains(&label)).map(|(&id, _)| id).collect();
        let (mut found, mut after) = (BTreeSet::new(), None);
        loop {
            let scan = view.scan_nodes(after, Some(label), 7).unwrap();
            found.extend(scan.found.iter().map(|head| head.id));
            after = scan.resume;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected);
    }
}

fn compare_edges<V: View>(view: &V, model: &Model) {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let scan = view.scan_edges(after, None, 5).unwrap();
        found.extend(scan.found.iter().map(|head| head.id));
        after = scan.resume;
        if after.is_none() {
            break;
        }
    }
    assert!(found.is_sorted_by_key(|id| id.slot()));
    assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), model.edges.keys().copied().collect());
    assert_eq!(view.edge_count().unwrap(), model.edges.len() as u64);
    for (&id, expected) in &model.edges {
        let edge = view.edge(id).unwrap().expect("the model has it");
        assert_eq!((edge.id, edge.type_), (id, expected.type_));
        assert_eq!((edge.start, edge.end), (expected.start, expected.end));
        assert_eq!(edge.properties, expected.properties.clone().into_iter().collect::<Vec<_>>());
        let one = view.edge_property(id, KeyId(0)).unwrap();
        assert_eq!(one, Some(expected.properties.get(&KeyId(0)).cloned().unwrap_or(Value::Null)));
    }
}

fn compare_adjacency<V: View>(view: &V, model: &Model, node: NodeId) {
    let some: [Option<&[TypeId]>; 4] = [None, Some(&[TypeId(0)]), Some(&[TypeId(2), TypeId(1)]), Some(&[])];
    for direction in DIRECTIONS {
        for types in some {
            let expected = model.neighbours(node, direction, types);
            assert_eq!(view.degree(node, direction, types).unwrap(), expected.len() as u64);
            for max in [3, 1000] {
                assert_eq!(neighbours_in_batches(view, node, direction, types, max), expected);
            }
            let mut visited = Vec::new();
            let flow = view
                .for_each_neighbour(&[node.slot()], direction, types, |index, neighbour, edge| {
                    assert_eq!(index, 0);
                    visited.push((neighbour, edge));
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert!(flow.is_continue());
            assert_eq!(visited, expected.iter().map(|step| (step.2, step.3)).collect::<Vec<_>>());
        }
    }
}

/// Asserts that a view shows exactly the model's graph.
pub(crate) fn assert_shows<V: View>(view: &V, model: &Model, labels: u32) {
    compare_nodes(view, model, 3);
    compare_nodes(view, model, 100);
    compare_labels(view, model, labels);
    compare_edges(view, model);
    for &node in model.nodes.keys() {
        compare_adjacency(view, model, node);
    }
}

/// A transaction that waits for nobody: a lock that is not free is an error at once. Several of them interleaved on one
/// thread show what would wait for what.
pub(crate) fn begin(db: &GraphDb) -> Transaction {
    let mut tx = db.begin().unwrap();
    tx.set_lock_timeout(Some(Duration::ZERO));
    tx
}

/// Asserts that an operation would have waited for a lock.
#[track_caller]
pub(crate) fn assert_waits<T: std::fmt::Debug>(outcome: Result<T>) {
    match outcome {
        Err(Error::Lock(LockError::Timeout { .. })) => {}
        other => panic!("it did not wait: {other:?}"),
    }
}

/// Commits some transactions as one group, some with tokens: each on a thread of its own, while the applier is kept from
/// them. Verdicts are in the order of the transactions.
pub(crate) fn commit_together(
    db: &GraphDb,
    all: Vec<(Transaction, Option<Vec<u8>>)>,
) -> Result<Vec<Result<CommitResult>>> {
    let count = all.len();
    let turn = db.store().turn()?;
    let commit = |(transaction, token): (Transaction, Option<Vec<u8>>)| match token {
        Some(token) => transaction.commit_with_token(&token),
        None => transaction.commit(),
    };
    let threads: Vec<_> =
        all.into_iter().map(|commit_of| std::thread::spawn(move || commit(commit_of))).collect();
    while db.commit_counts().waiting < count {
        std::thread::yield_now();
    }
    drop(turn);
    Ok(threads.into_iter().map(|thread| thread.join().unwrap()).collect())
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}
