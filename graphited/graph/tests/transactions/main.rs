//! Random transactions against a model: what a transaction sees before its commit, what snapshots see after it, what
//! a rolled back or failed statement leaves (nothing), and what another life of the database finds.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod spills;

use std::collections::{BTreeMap, BTreeSet};

use common::{Model, ModelEdge, ModelNode, assert_shows, open, settle};
use graphite_graph::{
    Direction, EdgeId, Error, GraphDb, KeyId, LabelId, NodeId, Snapshot, Transaction, TypeId, Value, View,
    WRITE_SET_MEMORY_BYTES,
};
use graphite_store::disk::SimDisk;
use proptest::prelude::*;

const LABELS: u32 = 4;

#[derive(Clone, Debug)]
enum Op {
    CreateNode(Vec<u8>, Vec<(u8, Value)>),
    DeleteNode(usize, bool),
    SetNodeProperty(usize, u8, Value),
    ReplaceNodeProperties(usize, Vec<(u8, Value)>),
    AddLabel(usize, u8),
    RemoveLabel(usize, u8),
    CreateEdge(usize, u8, usize, Vec<(u8, Value)>),
    /// Many edges from one node to others: makes hubs.
    Fan(usize, u8, usize),
    DeleteEdge(usize),
    SetEdgeProperty(usize, u8, Value),
    ReplaceEdgeProperties(usize, Vec<(u8, Value)>),
    /// Everything since the last one is a statement.
    NextStatement,
}

#[derive(Clone, Debug)]
enum End {
    Commit,
    Rollback,
    FailStatement,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        3 => any::<i64>().prop_map(Value::Int),
        2 => ".{0,12}".prop_map(Value::String),
        1 => any::<f64>().prop_map(Value::Float),
        1 => (900usize..3000).prop_map(|len| Value::String("длинно".repeat(len / 6))),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        1 => proptest::collection::vec(".{0,5}".prop_map(Value::String), 0..4).prop_map(Value::List),
        1 => (any::<i64>(), ".{1,9}").prop_map(|(seconds, zone)| {
            Value::DateTime { seconds, nanos: 1, offset: -3600, zone: Some(zone) }
        }),
    ]
}

fn properties() -> impl Strategy<Value = Vec<(u8, Value)>> {
    proptest::collection::btree_map(0u8..4, value(), 0..4).prop_map(|map| map.into_iter().collect())
}

fn op() -> impl Strategy<Value = Op> {
    let some = any::<usize>;
    prop_oneof![
        8 => (proptest::collection::vec(0u8..4, 0..3), properties()).prop_map(|(l, p)| Op::CreateNode(l, p)),
        3 => (some(), any::<bool>()).prop_map(|(n, detach)| Op::DeleteNode(n, detach)),
        3 => (some(), 0u8..4, value()).prop_map(|(n, k, v)| Op::SetNodeProperty(n, k, v)),
        1 => (some(), properties()).prop_map(|(n, p)| Op::ReplaceNodeProperties(n, p)),
        2 => (some(), 0u8..4).prop_map(|(n, l)| Op::AddLabel(n, l)),
        2 => (some(), 0u8..4).prop_map(|(n, l)| Op::RemoveLabel(n, l)),
        12 => (some(), 0u8..3, some(), properties()).prop_map(|(s, t, e, p)| Op::CreateEdge(s, t, e, p)),
        1 => (some(), 0u8..3, 100usize..260).prop_map(|(s, t, n)| Op::Fan(s, t, n)),
        4 => some().prop_map(Op::DeleteEdge),
        2 => (some(), 0u8..4, value()).prop_map(|(e, k, v)| Op::SetEdgeProperty(e, k, v)),
        1 => (some(), properties()).prop_map(|(e, p)| Op::ReplaceEdgeProperties(e, p)),
        2 => Just(Op::NextStatement),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![5 => Just(End::Commit), 1 => Just(End::Rollback), 1 => Just(End::FailStatement)]
}

/// Picks one of all ids ever made, stale ones among them; mostly one of the newest.
fn pick<T: Copy>(ids: &[T], at: usize) -> Option<T> {
    if ids.is_empty() {
        return None;
    }
    let window = if at.is_multiple_of(4) { ids.len() } else { ids.len().min(8) };
    Some(ids[ids.len() - 1 - (at / 4) % window])
}

fn keyed(properties: &[(u8, Value)]) -> Vec<(KeyId, Value)> {
    properties.iter().map(|(key, value)| (KeyId(u32::from(*key)), value.clone())).collect()
}

fn stored(properties: &[(u8, Value)]) -> BTreeMap<KeyId, Value> {
    keyed(properties).into_iter().filter(|(_, value)| !value.is_null()).collect()
}

/// The database and the model side by side.
struct Pair {
    db: GraphDb,
    model: Model,
    nodes: Vec<NodeId>,
    edges: Vec<EdgeId>,
}

impl Pair {
    fn new(disk: &SimDisk) -> Pair {
        let db = open(disk);
        for number in 0..LABELS {
            assert_eq!(db.label_id_or_create(&format!("Étiquette {number}")).unwrap(), LabelId(number));
            assert_eq!(db.key_id_or_create(&format!("ключ {number}")).unwrap(), KeyId(number));
        }
        for number in 0..3 {
            assert_eq!(db.type_id_or_create(&format!("関係 {number}")).unwrap(), TypeId(number));
        }
        Pair { db, model: Model::default(), nodes: Vec::new(), edges: Vec::new() }
    }

    fn create_edge(
        &mut self,
        tx: &mut Transaction,
        start: NodeId,
        type_: u8,
        end: NodeId,
        with: &[(u8, Value)],
    ) {
        let type_ = TypeId(u32::from(type_));
        match tx.create_edge(start, type_, end, &keyed(with)) {
            Ok(id) => {
                let edge = ModelEdge { type_, start, end, properties: stored(with) };
                assert!(self.model.nodes.contains_key(&start) && self.model.nodes.contains_key(&end));
                assert!(self.model.edges.insert(id, edge).is_none());
                self.edges.push(id);
            }
            Err(Error::NodeNotFound(id)) => assert!(!self.model.nodes.contains_key(&id)),
            Err(error) => panic!("{error}"),
        }
    }

    fn node_op(&mut self, tx: &mut Transaction, op: &Op, node: NodeId) {
        let is_there = self.model.nodes.contains_key(&node);
        let result = match op {
            Op::DeleteNode(_, detach) => {
                let edges = self.model.neighbours(node, Direction::Both, None).len() as u64;
                match tx.delete_node(node, *detach) {
                    Err(Error::NodeHasEdges { node: other, edges: found }) => {
                        assert!(!detach && other == node && found == edges && edges > 0);
                        return;
                    }
                    other => other.inspect(|()| assert!(*detach || edges == 0)),
                }
            }
            Op::SetNodeProperty(_, key, value) => {
                tx.set_node_property(node, KeyId(u32::from(*key)), value.clone())
            }
            Op::ReplaceNodeProperties(_, with) => tx.replace_node_properties(node, &keyed(with)),
            Op::AddLabel(_, label) => tx.add_label(node, LabelId(u32::from(*label))).map(|added| {
                assert_ne!(added, self.model.nodes[&node].labels.contains(&LabelId(u32::from(*label))));
            }),
            Op::RemoveLabel(_, label) => tx.remove_label(node, LabelId(u32::from(*label))).map(|removed| {
                assert_eq!(removed, self.model.nodes[&node].labels.contains(&LabelId(u32::from(*label))));
            }),
            _ => unreachable!(),
        };
        match result {
            Ok(()) => assert!(is_there),
            Err(Error::NodeNotFound(id)) => return assert!(id == node && !is_there),
            Err(error) => panic!("{error}"),
        }
        let in_model = self.model.nodes.get_mut(&node).unwrap();
        match op {
            Op::DeleteNode(..) => self.model.delete_node(node),
            Op::SetNodeProperty(_, key, value) => set(&mut in_model.properties, *key, value),
            Op::ReplaceNodeProperties(_, with) => in_model.properties = stored(with),
            Op::AddLabel(_, label) => {
                in_model.labels.insert(LabelId(u32::from(*label)));
            }
            Op::RemoveLabel(_, label) => {
                in_model.labels.remove(&LabelId(u32::from(*label)));
            }
            _ => unreachable!(),
        }
    }

    fn edge_op(&mut self, tx: &mut Transaction, op: &Op, edge: EdgeId) {
        let is_there = self.model.edges.contains_key(&edge);
        let result = match op {
            Op::DeleteEdge(_) => tx.delete_edge(edge),
            Op::SetEdgeProperty(_, key, value) => {
                tx.set_edge_property(edge, KeyId(u32::from(*key)), value.clone())
            }
            Op::ReplaceEdgeProperties(_, with) => tx.replace_edge_properties(edge, &keyed(with)),
            _ => unreachable!(),
        };
        match result {
            Ok(()) => assert!(is_there),
            Err(Error::EdgeNotFound(id)) => return assert!(id == edge && !is_there),
            Err(error) => panic!("{error}"),
        }
        let in_model = self.model.edges.get_mut(&edge).unwrap();
        match op {
            Op::DeleteEdge(_) => {
                self.model.edges.remove(&edge);
            }
            Op::SetEdgeProperty(_, key, value) => set(&mut in_model.properties, *key, value),
            Op::ReplaceEdgeProperties(_, with) => in_model.properties = stored(with),
            _ => unreachable!(),
        }
    }

    fn run(&mut self, tx: &mut Transaction, op: &Op) {
        match op {
            Op::CreateNode(labels, with) => {
                let labels: Vec<LabelId> = labels.iter().map(|label| LabelId(u32::from(*label))).collect();
                let id = tx.create_node(&labels, &keyed(with)).unwrap();
                let node = ModelNode { labels: labels.into_iter().collect(), properties: stored(with) };
                assert!(self.model.nodes.insert(id, node).is_none(), "an id is never used twice at a time");
                self.nodes.push(id);
            }
            Op::CreateEdge(start, type_, end, with) => {
                if let (Some(start), Some(end)) = (pick(&self.nodes, *start), pick(&self.nodes, *end)) {
                    self.create_edge(tx, start, *type_, end, with);
                }
            }
            Op::Fan(start, type_, count) => {
                let there: Vec<NodeId> = self.model.nodes.keys().copied().collect();
                if let Some(start) = pick(&there, *start) {
                    for number in 0..*count {
                        self.create_edge(tx, start, *type_, there[number % there.len()], &[]);
                    }
                }
            }
            Op::DeleteNode(at, _)
            | Op::SetNodeProperty(at, ..)
            | Op::ReplaceNodeProperties(at, _)
            | Op::AddLabel(at, _)
            | Op::RemoveLabel(at, _) => {
                if let Some(node) = pick(&self.nodes, *at) {
                    self.node_op(tx, op, node);
                }
            }
            Op::DeleteEdge(at) | Op::SetEdgeProperty(at, ..) | Op::ReplaceEdgeProperties(at, _) => {
                if let Some(edge) = pick(&self.edges, *at) {
                    self.edge_op(tx, op, edge);
                }
            }
            Op::NextStatement => tx.begin_statement().unwrap(),
        }
    }

    /// Everything that was ever made and is no longer in the model is not found.
    fn assert_stale_ids_are_gone(&self, view: &impl View) {
        for &id in self.nodes.iter().filter(|id| !self.model.nodes.contains_key(id)) {
            assert_eq!(view.node_head(id).unwrap(), None);
            assert_eq!(view.property(id, KeyId(0)).unwrap(), None);
            assert_eq!(view.degree(id, Direction::Both, None).unwrap(), 0);
        }
        for &id in self.edges.iter().filter(|id| !self.model.edges.contains_key(id)) {
            assert_eq!(view.edge_head(id).unwrap(), None);
        }
    }

    /// One transaction; the model goes back with it if it does not commit.
    fn transaction(&mut self, ops: &[Op], end: &End) {
        let before = self.model.clone();
        let mut tx = self.db.begin().unwrap();
        for op in ops {
            self.run(&mut tx, op);
        }
        assert_shows(&tx, &self.model, LABELS);
        self.assert_stale_ids_are_gone(&tx);
        match end {
            End::Commit => {
                let unchanged = tx.is_unchanged();
                let applied = self.db.store().applied_lsn();
                let lsn = tx.commit().unwrap().lsn;
                assert!(!unchanged || lsn == applied, "a transaction that did nothing writes nothing");
                assert!(
                    self.model == before || lsn > applied,
                    "what changed the graph has its place in the log"
                );
                assert_eq!(lsn, self.db.store().applied_lsn());
            }
            End::Rollback => {
                drop(tx);
                self.model = before;
            }
            End::FailStatement => {
                tx.fail_statement();
                assert!(matches!(tx.node_count(), Err(Error::TransactionFailed)));
                assert!(matches!(tx.create_node(&[], &[]), Err(Error::TransactionFailed)));
                assert!(matches!(tx.begin_statement(), Err(Error::TransactionFailed)));
                assert!(matches!(tx.commit(), Err(Error::TransactionFailed)));
                self.model = before;
            }
        }
        settle(&self.db);
    }

    fn assert_sound(&self) {
        let report = self.db.check().unwrap();
        assert_eq!(report.problems, Vec::new());
        assert_eq!(
            (report.nodes, report.edges),
            (self.model.nodes.len() as u64, self.model.edges.len() as u64)
        );
    }
}

fn set(properties: &mut BTreeMap<KeyId, Value>, key: u8, value: &Value) {
    let key = KeyId(u32::from(key));
    if value.is_null() {
        properties.remove(&key);
    } else {
        properties.insert(key, value.clone());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Each transaction is compared with the model before its end; then a fresh snapshot is, and the snapshot from
    /// before the transaction still shows what it showed. At the end the database is closed and opened anew. In two of
    /// three runs values are spilled, all of them or those past a few.
    #[test]
    fn transactions_do_what_the_model_does(
        transactions in proptest::collection::vec((proptest::collection::vec(op(), 0..30), end()), 1..8),
        memory_bytes in prop_oneof![Just(0), 0u64..5000, Just(WRITE_SET_MEMORY_BYTES)],
    ) {
        let disk = SimDisk::new();
        let mut pair = Pair::new(&disk);
        pair.db.set_write_set_memory_bytes(memory_bytes);
        let mut old: Option<(Snapshot, Model)> = None;
        for (ops, end) in &transactions {
            pair.transaction(ops, end);
            let snapshot = pair.db.snapshot().unwrap();
            assert_shows(&snapshot, &pair.model, LABELS);
            pair.assert_stale_ids_are_gone(&snapshot);
            if let Some((snapshot, model)) = &old {
                assert_shows(snapshot, model, LABELS);
            }
            old = Some((snapshot, pair.model.clone()));
        }
        pair.assert_sound();
        drop(old);
        pair.db.store().close().unwrap();
        pair.db = open(&SimDisk::new());
        pair.db = open(&disk);
        assert_shows(&pair.db.snapshot().unwrap(), &pair.model, LABELS);
        pair.assert_sound();
        // And life goes on.
        pair.transaction(&[Op::CreateNode(vec![0], vec![(0, Value::Int(1))])], &End::Commit);
        assert_shows(&pair.db.snapshot().unwrap(), &pair.model, LABELS);
    }

    /// All that was made is deleted, node by node: nothing is left but the tables' and maps' own pages.
    #[test]
    fn deleting_everything_leaves_nothing(ops in proptest::collection::vec(op(), 0..40)) {
        let mut pair = Pair::new(&SimDisk::new());
        pair.transaction(&ops, &End::Commit);
        let mut tx = pair.db.begin().unwrap();
        for &node in pair.model.nodes.keys() {
            tx.delete_node(node, true).unwrap();
        }
        tx.commit().unwrap();
        settle(&pair.db);
        pair.model = Model::default();
        assert_shows(&pair.db.snapshot().unwrap(), &pair.model, LABELS);
        pair.assert_sound();
    }
}

#[test]
fn a_hub_is_detached_in_one_transaction() {
    let db = open(&SimDisk::new());
    let type_ = db.type_id_or_create("T").unwrap();
    let mut tx = db.begin().unwrap();
    let hub = tx.create_node(&[], &[]).unwrap();
    let others: Vec<NodeId> = (0..3000).map(|_| tx.create_node(&[], &[]).unwrap()).collect();
    for &other in &others {
        tx.create_edge(hub, type_, other, &[]).unwrap();
        tx.create_edge(other, type_, hub, &[]).unwrap();
    }
    tx.create_edge(hub, type_, hub, &[]).unwrap();
    assert_eq!(tx.degree(hub, Direction::Both, None).unwrap(), 6001);
    tx.commit().unwrap();

    let mut tx = db.begin().unwrap();
    assert!(matches!(tx.delete_node(hub, false), Err(Error::NodeHasEdges { edges: 6001, .. })));
    tx.delete_node(hub, true).unwrap();
    assert_eq!(tx.summary().edges_deleted, 6001);
    assert_eq!(tx.edge_count().unwrap(), 0);
    assert_eq!(tx.degree(others[7], Direction::Both, None).unwrap(), 0);
    tx.commit().unwrap();
    settle(&db);
    let snapshot = db.snapshot().unwrap();
    assert_eq!((snapshot.node_count().unwrap(), snapshot.edge_count().unwrap()), (3000, 0));
    assert!(db.check().unwrap().is_sound());
}

#[test]
fn a_check_that_is_told_to_stop_says_nothing_of_the_graph() {
    let db = open(&SimDisk::new());
    let stop = std::sync::atomic::AtomicBool::new(false);
    assert!(db.check_until(&stop).unwrap().is_sound());
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(db.check_until(&stop), Err(Error::Interrupted)));
}

/// A statement may have something to say and nothing to change.
#[test]
fn a_commit_that_leaves_everything_as_it_was_writes_nothing() {
    let db = open(&SimDisk::new());
    let mut tx = db.begin().unwrap();
    let node = tx.create_node(&[], &[]).unwrap();
    let created = tx.commit().unwrap().lsn;
    let mut tx = db.begin().unwrap();
    tx.replace_node_properties(node, &[]).unwrap();
    assert_eq!(tx.commit().unwrap().lsn, created);
    settle(&db);
    assert!(db.snapshot().unwrap().node_exists(node).unwrap());
}

#[test]
fn a_stale_id_is_not_found_when_its_slot_is_used_again() {
    let db = open(&SimDisk::new());
    let type_ = db.type_id_or_create("T").unwrap();
    let (mut nodes, mut edges) = (BTreeSet::new(), BTreeSet::new());
    let mut last: Option<(NodeId, EdgeId)> = None;
    for _ in 0..400 {
        let mut tx = db.begin().unwrap();
        if let Some((node, _)) = last {
            tx.delete_node(node, true).unwrap();
        }
        tx.commit().unwrap();
        let mut tx = db.begin().unwrap();
        let node = tx.create_node(&[], &[]).unwrap();
        let edge = tx.create_edge(node, type_, node, &[]).unwrap();
        tx.commit().unwrap();
        assert!(nodes.insert(node) && edges.insert(edge), "an id names one node or edge, ever");
        last = Some((node, edge));
    }
    settle(&db);
    let snapshot = db.snapshot().unwrap();
    let slots: BTreeSet<u64> = nodes.iter().map(|id| id.slot().0).collect();
    assert!(slots.len() < nodes.len(), "slots are used again");
    let (node, edge) = last.unwrap();
    for id in nodes {
        assert_eq!(snapshot.node_exists(id).unwrap(), id == node);
    }
    for id in edges {
        assert_eq!(snapshot.edge_head(id).unwrap().is_some(), id == edge);
    }
}

#[test]
fn readers_do_not_wait_and_see_what_is_committed() {
    let db = open(&SimDisk::new());
    let mut tx = db.begin().unwrap();
    let node = tx.create_node(&[], &[]).unwrap();
    assert!(!db.snapshot().unwrap().node_exists(node).unwrap(), "nobody sees what is not committed");
    let tx = std::thread::spawn(move || tx).join().unwrap();
    let commit = tx.commit().unwrap();
    assert_eq!(commit.summary.nodes_created, 1);
    db.store().wait_visible(commit.lsn).unwrap();
    assert!(db.snapshot().unwrap().node_exists(node).unwrap());
}

#[test]
fn names_made_in_a_transaction_are_known_to_it_and_stay() {
    let db = open(&SimDisk::new());
    let mut tx = db.begin().unwrap();
    assert_eq!(tx.node_count().unwrap(), 0);
    let label = db.label_id_or_create("Новая 標籤 🚀").unwrap();
    let node = tx.create_node(&[label], &[]).unwrap();
    assert_eq!(tx.labels(node).unwrap(), Some(vec![label]));
    assert_eq!(tx.scan_nodes(None, Some(label), 10).unwrap().found.len(), 1);
    drop(tx);
    assert_eq!(db.catalog().label_name(label), Some("Новая 標籤 🚀"));
    assert_eq!(db.label_id_or_create("Новая 標籤 🚀").unwrap(), label);
    assert!(matches!(db.label_id_or_create(""), Err(Error::EmptyName { .. })));
}

/// A commit that is refused changes nothing: neither the graph, nor what the next commit does.
#[test]
fn a_refused_commit_changes_nothing() {
    let disk = SimDisk::new();
    let mut pair = Pair::new(&disk);
    let ops: Vec<Op> = (0..20)
        .flat_map(|n| [Op::CreateNode(vec![1], vec![(0, Value::Int(n))]), Op::Fan(0, 0, 20)])
        .collect();
    pair.transaction(&ops, &End::Commit);
    let before = pair.model.clone();
    settle(&pair.db);

    // Too much for one group: it is either refused at a statement or at the commit.
    let mut tx = pair.db.begin().unwrap();
    let mut outcome = Ok(());
    for _ in 0..2000 {
        let value = Value::String("x".repeat(8000));
        outcome = tx.create_node(&[], &[(KeyId(1), value)]).map(drop);
        if outcome.is_err() {
            break;
        }
    }
    let outcome = outcome.and_then(|()| tx.commit().map(drop));
    assert!(matches!(outcome, Err(Error::Store(graphite_store::Error::TooLarge { .. }))), "{outcome:?}");
    assert_shows(&pair.db.snapshot().unwrap(), &before, LABELS);

    // A disk that is full refuses growth, and what was there stays as it was.
    disk.set_capacity(Some(disk.used() + 8192));
    let mut refused = 0;
    for _ in 0..6 {
        let mut tx = pair.db.begin().unwrap();
        let value = Value::String("y".repeat(500_000));
        let node = tx.create_node(&[], &[(KeyId(1), value)]).unwrap();
        match tx.commit() {
            Ok(_) => {
                let mut tx = pair.db.begin().unwrap();
                tx.delete_node(node, false).unwrap();
                tx.commit().unwrap();
            }
            Err(Error::Store(error)) if error.is_disk_full() => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    disk.set_capacity(None);
    settle(&pair.db);
    assert_shows(&pair.db.snapshot().unwrap(), &before, LABELS);
    pair.assert_sound();
    pair.transaction(&[Op::CreateNode(vec![], vec![]), Op::Fan(0, 1, 150)], &End::Commit);
    assert_shows(&pair.db.snapshot().unwrap(), &pair.model, LABELS);
    pair.assert_sound();
    assert!(refused > 0, "the disk was never full: the test proves nothing");
}
