//! Random histories of concurrent transactions against a serial run of the same.
//!
//! Everything that a transaction asked and was told is recorded. The committed ones are then run again, one after another
//! in the order of their commits, on a model that is too simple to be wrong: each must be told the same, and the graph
//! must be the same in the end. Several of one group are in any order, for their locks exclude each other; one that only
//! read stands behind the newest state that it saw.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use common::{Random, begin, commit_together, open, settle, try_open};
use graphite_graph::{
    Direction, EdgeId, Error, GraphDb, KeyId, LabelId, NodeId, ReadIntent, Transaction, TypeId, Value, View,
};
use graphite_store::Lsn;
use graphite_store::disk::{LastOp, Outcome, SimDisk};

const KEY: KeyId = KeyId(0);
const LABELS: usize = 2;
const TYPES: usize = 2;

/// One thing that a transaction did.
#[derive(Clone, Debug)]
enum Op {
    Get(NodeId),
    Put(NodeId, i64),
    Create(Option<LabelId>, i64),
    Delete(NodeId, bool),
    AddLabel(NodeId, LabelId),
    RemoveLabel(NodeId, LabelId),
    Link(NodeId, TypeId, NodeId),
    Unlink(EdgeId),
    Degree(NodeId),
    Neighbours(NodeId),
    ScanLabel(LabelId),
    ScanType(TypeId),
    Counts,
}

/// What it was told.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Value(Option<i64>),
    Done,
    NotFound,
    HasEdges,
    Changed(bool),
    Node(NodeId),
    Edge(EdgeId),
    Number(u64),
    Nodes(BTreeSet<NodeId>),
    Edges(BTreeSet<EdgeId>),
    Steps(BTreeSet<(u64, u64)>),
}

fn int(value: Value) -> i64 {
    match value {
        Value::Int(number) => number,
        other => panic!("{other:?}"),
    }
}

/// Does it in a transaction; `None` if a lock was not to be had.
fn run(tx: &mut Transaction, op: &Op) -> Option<Answer> {
    let told: graphite_graph::Result<Answer> = match *op {
        Op::Get(node) => tx.property(node, KEY).map(|value| Answer::Value(value.map(int))),
        Op::Put(node, value) => tx.set_node_property(node, KEY, Value::Int(value)).map(|()| Answer::Done),
        Op::Create(label, value) => {
            tx.create_node(label.as_slice(), &[(KEY, Value::Int(value))]).map(Answer::Node)
        }
        Op::Delete(node, detach) => tx.delete_node(node, detach).map(|()| Answer::Done),
        Op::AddLabel(node, label) => tx.add_label(node, label).map(Answer::Changed),
        Op::RemoveLabel(node, label) => tx.remove_label(node, label).map(Answer::Changed),
        Op::Link(start, type_, end) => tx.create_edge(start, type_, end, &[]).map(Answer::Edge),
        Op::Unlink(edge) => tx.delete_edge(edge).map(|()| Answer::Done),
        Op::Degree(node) => tx.degree(node, Direction::Out, None).map(Answer::Number),
        Op::Neighbours(node) => {
            let steps = tx.neighbours(node, Direction::Out, None, None, 10_000);
            steps.map(|steps| Answer::Steps(steps.iter().map(|step| (step.node.0, step.edge.0)).collect()))
        }
        Op::ScanLabel(label) => {
            let scan = tx.scan_nodes(None, Some(label), 10_000);
            scan.map(|scan| Answer::Nodes(scan.found.iter().map(|head| head.id).collect()))
        }
        Op::ScanType(type_) => {
            let scan = tx.scan_edges(None, Some(type_), 10_000);
            scan.map(|scan| Answer::Edges(scan.found.iter().map(|head| head.id).collect()))
        }
        Op::Counts => tx.node_count().and_then(|nodes| Ok(Answer::Number(nodes * 1000 + tx.edge_count()?))),
    };
    match told {
        Ok(answer) => Some(answer),
        Err(Error::NodeNotFound(_) | Error::EdgeNotFound(_)) => Some(Answer::NotFound),
        Err(Error::NodeHasEdges { .. }) => Some(Answer::HasEdges),
        Err(Error::Lock(_)) => None,
        Err(error) => panic!("{op:?}: {error}"),
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    nodes: BTreeMap<NodeId, (BTreeSet<LabelId>, i64)>,
    edges: BTreeMap<EdgeId, (NodeId, TypeId, NodeId)>,
}

impl Model {
    fn steps(&self, node: NodeId) -> BTreeSet<(u64, u64)> {
        let out = self.edges.iter().filter(|(_, (start, ..))| *start == node);
        out.map(|(edge, (.., end))| (end.slot().0, edge.slot().0)).collect()
    }

    /// Does it; what is created gets the id that it got then.
    fn run(&mut self, op: &Op, then: &Answer) -> Answer {
        match *op {
            Op::Get(node) => Answer::Value(self.nodes.get(&node).map(|(_, value)| *value)),
            Op::Put(node, value) => match self.nodes.get_mut(&node) {
                Some(node) => {
                    node.1 = value;
                    Answer::Done
                }
                None => Answer::NotFound,
            },
            Op::Create(label, value) => match then {
                &Answer::Node(id) if !self.nodes.contains_key(&id) => {
                    self.nodes.insert(id, (label.into_iter().collect(), value));
                    Answer::Node(id)
                }
                _ => Answer::NotFound,
            },
            Op::Delete(node, detach) => {
                let edges =
                    self.edges.values().filter(|(start, _, end)| *start == node || *end == node).count();
                if !self.nodes.contains_key(&node) {
                    return Answer::NotFound;
                }
                if edges > 0 && !detach {
                    return Answer::HasEdges;
                }
                self.nodes.remove(&node);
                self.edges.retain(|_, (start, _, end)| *start != node && *end != node);
                Answer::Done
            }
            Op::AddLabel(node, label) => match self.nodes.get_mut(&node) {
                Some((labels, _)) => Answer::Changed(labels.insert(label)),
                None => Answer::NotFound,
            },
            Op::RemoveLabel(node, label) => match self.nodes.get_mut(&node) {
                Some((labels, _)) => Answer::Changed(labels.remove(&label)),
                None => Answer::NotFound,
            },
            Op::Link(start, type_, end) => match then {
                _ if !self.nodes.contains_key(&start) || !self.nodes.contains_key(&end) => Answer::NotFound,
                &Answer::Edge(id) if !self.edges.contains_key(&id) => {
                    self.edges.insert(id, (start, type_, end));
                    Answer::Edge(id)
                }
                _ => Answer::HasEdges,
            },
            Op::Unlink(edge) => self.edges.remove(&edge).map_or(Answer::NotFound, |_| Answer::Done),
            Op::Degree(node) => Answer::Number(self.steps(node).len() as u64),
            Op::Neighbours(node) => Answer::Steps(self.steps(node)),
            Op::ScanLabel(label) => {
                let with = self.nodes.iter().filter(|(_, (labels, _))| labels.contains(&label));
                Answer::Nodes(with.map(|(id, _)| *id).collect())
            }
            Op::ScanType(type_) => {
                let of = self.edges.iter().filter(|(_, (_, of, _))| *of == type_);
                Answer::Edges(of.map(|(id, _)| *id).collect())
            }
            Op::Counts => Answer::Number(self.nodes.len() as u64 * 1000 + self.edges.len() as u64),
        }
    }
}

/// A transaction that committed.
struct Committed {
    lsn: Lsn,
    only_read: bool,
    done: Vec<(Op, Answer)>,
}

/// What is known of the graph to those who pick what to do next: ids, stale ones among them.
#[derive(Default)]
struct Known {
    nodes: Vec<NodeId>,
    edges: Vec<EdgeId>,
}

impl Known {
    fn learn(&mut self, done: &[(Op, Answer)]) {
        for (_, answer) in done {
            match answer {
                Answer::Node(id) => self.nodes.push(*id),
                Answer::Edge(id) => self.edges.push(*id),
                _ => {}
            }
        }
    }

    /// Mostly one of the newest, so that transactions meet.
    fn pick<T: Copy>(random: &mut Random, all: &[T], own: &[T]) -> Option<T> {
        if !own.is_empty() && random.below(4) == 0 {
            return Some(own[random.below(own.len())]);
        }
        let window = if random.below(8) == 0 { all.len() } else { all.len().min(8) };
        (window > 0).then(|| all[all.len() - 1 - random.below(window)])
    }

    fn next_op(&self, random: &mut Random, done: &[(Op, Answer)]) -> Op {
        let mut own = Known::default();
        own.learn(done);
        let label = LabelId(random.below(LABELS) as u32);
        let type_ = TypeId(random.below(TYPES) as u32);
        let value = random.below(1_000_000) as i64;
        let kind = random.below(24);
        let node = Known::pick(random, &self.nodes, &own.nodes);
        let other = Known::pick(random, &self.nodes, &own.nodes);
        let edge = Known::pick(random, &self.edges, &own.edges);
        match (kind, node, other, edge) {
            (0..=3, Some(node), ..) => Op::Get(node),
            (4..=7, Some(node), ..) => Op::Put(node, value),
            (8, Some(node), ..) => Op::Delete(node, true),
            (9, Some(node), ..) => Op::Delete(node, false),
            (10, Some(node), ..) => Op::AddLabel(node, label),
            (11, Some(node), ..) => Op::RemoveLabel(node, label),
            (12..=14, Some(node), Some(other), _) => Op::Link(node, type_, other),
            (15, _, _, Some(edge)) => Op::Unlink(edge),
            (16, Some(node), ..) => Op::Degree(node),
            (17, Some(node), ..) => Op::Neighbours(node),
            (18, ..) => Op::ScanLabel(label),
            (19, ..) => Op::ScanType(type_),
            (20, ..) => Op::Counts,
            _ => Op::Create((value % 2 == 0).then_some(label), value),
        }
    }
}

fn new_db() -> GraphDb {
    let db = open(&SimDisk::new());
    db.key_id_or_create("key").unwrap();
    db.label_ids_or_create(&["A", "B"]).unwrap();
    db.type_ids_or_create(&["T", "U"]).unwrap();
    db
}

fn end(tx: Transaction, done: Vec<(Op, Answer)>) -> Committed {
    let only_read = tx.is_unchanged();
    Committed { lsn: tx.commit().unwrap().lsn, only_read, done }
}

/// Transactions of `writers` interleaved at random on one thread; one that would have to wait is rolled back.
fn interleave(db: &GraphDb, seed: u64, writers: usize, steps: usize) -> Vec<Committed> {
    let mut random = Random(seed);
    let mut known = Known::default();
    let mut committed = Vec::new();
    let mut open: Vec<(Transaction, Vec<(Op, Answer)>)> = Vec::new();
    for _ in 0..steps {
        if open.len() < writers {
            open.push((begin(db), Vec::new()));
        }
        let at = random.below(open.len());
        let (tx, done) = &mut open[at];
        match random.below(12) {
            0 | 1 => {
                let (tx, done) = open.swap_remove(at);
                known.learn(&done);
                committed.push(end(tx, done));
            }
            2 if random.below(3) == 0 => drop(open.swap_remove(at)),
            2 => tx.begin_statement().unwrap(),
            3 => {
                tx.set_read_intent(if random.below(2) == 0 { ReadIntent::Share } else { ReadIntent::Update })
            }
            _ => {
                let op = known.next_op(&mut random, done);
                match run(tx, &op) {
                    Some(answer) => done.push((op, answer)),
                    None => drop(open.swap_remove(at)),
                }
            }
        }
    }
    committed.extend(open.into_iter().map(|(tx, done)| end(tx, done)));
    committed
}

/// Runs what was committed again, one after another; returns the graph, or what was told differently.
fn serial(mut committed: Vec<Committed>) -> Result<Model, String> {
    committed.sort_by_key(|one| (one.lsn, one.only_read));
    let mut model = Model::default();
    for one in &committed {
        for (op, then) in &one.done {
            let now = model.run(op, then);
            if now != *then {
                return Err(format!("at {}: {op:?} was told {then:?}, and is told {now:?}", one.lsn));
            }
        }
    }
    Ok(model)
}

fn graph_of(db: &GraphDb) -> Model {
    let view = db.snapshot().unwrap();
    let mut model = Model::default();
    for head in view.scan_nodes(None, None, 1_000_000).unwrap().found {
        let value = int(view.property(head.id, KEY).unwrap().unwrap());
        model.nodes.insert(head.id, (view.labels_of(head).unwrap().into_iter().collect(), value));
    }
    for head in view.scan_edges(None, None, 1_000_000).unwrap().found {
        let end_of = |slot| view.node_by_slot(slot).unwrap().unwrap();
        model.edges.insert(head.id, (end_of(head.start), head.type_, end_of(head.end)));
    }
    model
}

fn assert_serializable(db: &GraphDb, committed: Vec<Committed>) {
    let model = serial(committed).unwrap();
    settle(db);
    assert_eq!(graph_of(db), model);
    let report = db.check().unwrap();
    assert_eq!(report.problems, Vec::new());
    assert_eq!((report.nodes, report.edges), (model.nodes.len() as u64, model.edges.len() as u64));
    assert_eq!(db.locks().picture().locks.len(), 0, "nothing stays locked");
}

#[test]
fn interleaved_transactions_are_serializable() {
    let (mut all, mut refused) = (0, 0);
    for seed in 0..150 {
        let db = new_db();
        let committed = interleave(&db, seed, 2 + seed as usize % 4, 400);
        all += committed.len();
        refused += usize::from(db.locks().counters().timeouts > 0);
        assert_serializable(&db, committed);
    }
    assert!(all > 3000, "{all} commits");
    assert!(refused > 100, "in {refused} runs somebody was in the way: else this proves nothing");
}

/// The same histories are found to be wrong if reads take no locks: else the checker would prove nothing.
#[test]
fn without_locks_of_reads_histories_are_found_that_are_not_serializable() {
    let mut wrong = 0;
    for seed in 0..40 {
        let db = new_db();
        db.lock_reads(false);
        let committed = interleave(&db, seed, 4, 400);
        wrong += usize::from(serial(committed).is_err());
    }
    assert!(wrong > 5, "only {wrong} of 40");
}

/// Threads wait for each other, deadlock, and commit in groups.
#[test]
fn transactions_of_many_threads_are_serializable() {
    for seed in 0..4 {
        let db = new_db();
        let known = Mutex::new(Known::default());
        let committed = Mutex::new(Vec::new());
        let work = |thread: u64| {
            let mut random = Random(seed << 32 | thread);
            for _ in 0..150 {
                let mut tx = db.begin().unwrap();
                let mut done = Vec::new();
                let complete = (0..1 + random.below(7)).all(|_| {
                    let op = known.lock().unwrap().next_op(&mut random, &done);
                    if random.below(3) == 0 {
                        std::thread::yield_now();
                    }
                    let answer = run(&mut tx, &op);
                    answer.map(|answer| done.push((op, answer))).is_some()
                });
                if complete {
                    let one = end(tx, done);
                    known.lock().unwrap().learn(&one.done);
                    committed.lock().unwrap().push(one);
                }
            }
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let work = &work;
                scope.spawn(move || work(thread));
            }
        });
        let committed = committed.into_inner().unwrap();
        assert!(committed.len() > 200, "{} commits", committed.len());
        assert_serializable(&db, committed);
    }
}

const WRITERS: usize = 3;

/// Groups of several commits: each writer puts the group's number onto its own node, and makes an edge. Returns how many
/// groups were acknowledged before the disk died.
fn write_groups(db: &GraphDb, nodes: &[NodeId], groups: i64) -> i64 {
    let mut acknowledged = 0;
    for group in 1..=groups {
        let write = |at: usize| {
            let mut tx = begin(db);
            tx.set_node_property(nodes[at], KEY, Value::Int(group))?;
            tx.create_edge(nodes[at], TypeId(0), nodes[at], &[])?;
            Ok((tx, Some(format!("{group} of {at}").into_bytes())))
        };
        let all: Result<Vec<_>, Error> = (0..WRITERS).map(write).collect();
        let Ok(verdicts) = all.and_then(|all| commit_together(db, all)) else { return acknowledged };
        let Ok(commits) = verdicts.into_iter().collect::<Result<Vec<_>, Error>>() else {
            return acknowledged;
        };
        if group % 2 == 0 {
            if db.store().wait_visible(commits[0].lsn).is_err() {
                return acknowledged;
            }
            acknowledged = group;
        }
    }
    acknowledged
}

/// The power goes at every disk operation in turn. In the next life there are all groups up to some one, each whole, and
/// all that were acknowledged; and tokens tell which commits happened.
#[test]
fn groups_of_several_commits_survive_a_power_cut_whole_or_not_at_all() {
    const GROUPS: i64 = 6;
    let prepared = SimDisk::new();
    let db = open(&prepared);
    db.key_id_or_create("key").unwrap();
    db.type_id_or_create("T").unwrap();
    let mut tx = begin(&db);
    let nodes: Vec<NodeId> =
        (0..WRITERS).map(|_| tx.create_node(&[], &[(KEY, Value::Int(0))]).unwrap()).collect();
    tx.commit().unwrap();
    settle(&db);
    drop(db);
    let whole = prepared.fork();
    let before = whole.ops();
    let db = open(&whole);
    assert_eq!(write_groups(&db, &nodes, GROUPS), GROUPS);
    drop(db);
    let ops = whole.ops() - before;
    let (mut cut_short, mut lost) = (0, 0);
    for op in 0..ops {
        for last in [LastOp::NotApplied, LastOp::Applied] {
            let disk = prepared.fork();
            disk.crash_after(disk.ops() + op, last);
            let acknowledged = try_open(&disk).map_or(0, |db| write_groups(&db, &nodes, GROUPS));
            let db = open(&disk.power_cut(Outcome::Random(op)));
            let view = db.snapshot().unwrap();
            let values = nodes.iter().map(|node| int(view.property(*node, KEY).unwrap().unwrap()));
            let values: BTreeSet<i64> = values.collect();
            assert_eq!(values.len(), 1, "a group is there as a whole: {values:?} after operation {op}");
            let survived = *values.first().unwrap();
            assert!(survived >= acknowledged, "{acknowledged} were acknowledged, {survived} are there");
            assert_eq!(view.edge_count().unwrap(), survived as u64 * WRITERS as u64);
            for (group, at) in (1..=GROUPS).flat_map(|group| (0..WRITERS).map(move |at| (group, at))) {
                let status = db.commit_status(format!("{group} of {at}").as_bytes()).unwrap();
                assert_eq!(status.is_some(), group <= survived, "{group} of {at}");
            }
            assert_eq!(db.check().unwrap().problems, Vec::new());
            cut_short += usize::from(survived < GROUPS);
            lost += usize::from(survived > acknowledged);
        }
    }
    assert!(
        cut_short > 5 && lost > 0,
        "{cut_short} runs were cut short, {lost} had more than was acknowledged"
    );
}

/// A commit that is not durable yet is not known by its token, and a token alone is something to commit.
#[test]
fn a_token_is_known_once_its_commit_is_visible() {
    let db = new_db();
    settle(&db);
    let tx = begin(&db);
    let lsn = tx.commit_with_token("мой коммит".as_bytes()).unwrap().lsn;
    assert!(lsn > db.store().visible_lsn());
    assert_eq!(db.commit_status("мой коммит".as_bytes()).unwrap(), None);
    db.store().wait_visible(lsn).unwrap();
    assert!(db.commit_status("мой коммит".as_bytes()).unwrap().is_some_and(|at| at >= lsn));
    assert_eq!(db.commit_status(b"another").unwrap(), None);
    assert!(matches!(db.commit_status(b""), Err(Error::EmptyName { .. })));
    assert!(matches!(begin(&db).commit_with_token(&[1; 33]), Err(Error::TooLong { .. })));
    let mut tx = begin(&db);
    tx.create_node(&[], &[]).unwrap();
    tx.fail_statement();
    assert!(matches!(tx.commit_with_token(b"another"), Err(Error::TransactionFailed)));
    settle(&db);
    assert_eq!(db.commit_status(b"another").unwrap(), None);
    assert!(db.check().unwrap().is_sound());
}
