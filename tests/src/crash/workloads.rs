//! The scripts. Each is short, and each brings other pages to the disk.

use graphite_graph::import::{Column, EdgeBatch, Imported, NodeBatch};
use graphite_graph::{EdgeId, KeyId, LabelId, NodeId, NodeSlot, Result, TypeId, Value};

use super::picture::TOKENS;
use super::{Recorder, Workload};

const KEY: KeyId = KeyId(0);
const OTHER_KEY: KeyId = KeyId(1);
const LABEL: LabelId = LabelId(0);
const TYPE: TypeId = TypeId(0);

/// Room for everything that a script makes.
const ROOMY: Workload = Workload { name: "", cache_bytes: 8 << 20, wal_bytes: 1 << 20, script: |_| Ok(()) };
/// The log is recycled, and pages go to the file long before a checkpoint asks for it.
const NARROW: Workload = Workload { cache_bytes: 512 << 10, wal_bytes: 256 << 10, ..ROOMY };

/// A small graph with a page of each kind, each commit of which is acknowledged before the next.
pub(crate) const SOME_OF_ALL: Workload = Workload { name: "some of all", script: some_of_all, ..ROOMY };

/// All workloads.
pub fn all() -> Vec<Workload> {
    vec![
        Workload { name: "creation", ..ROOMY },
        Workload { name: "nodes", script: nodes, ..ROOMY },
        Workload { name: "edges", script: edges, ..ROOMY },
        Workload { name: "hub", script: hub, ..ROOMY },
        Workload { name: "overflow", script: overflow, ..ROOMY },
        Workload { name: "dictionaries", script: dictionaries, ..ROOMY },
        Workload { name: "tokens", script: tokens, ..ROOMY },
        Workload { name: "imports", script: imports, ..ROOMY },
        Workload { name: "checkpoints", script: checkpoints, ..ROOMY },
        Workload { name: "recycling", script: recycling, ..NARROW },
        Workload { name: "reuse", script: reuse, wal_bytes: 512 << 10, ..NARROW },
    ]
}

/// What a database goes on with that was recovered in the midst of any of them.
pub(super) fn further(r: &mut Recorder) -> Result<()> {
    let key = r.change(|db| db.key_id_or_create("further"))?;
    let value = text(r, 3_000);
    let node = r.commit(|tx| tx.create_node(&[], &[(key, value)]))?;
    r.sync()?;
    let value = text(r, 9_000);
    r.commit(|tx| tx.set_node_property(node, key, value))?;
    r.checkpoint()?;
    r.commit(|tx| tx.delete_node(node, true))?;
    r.sync()
}

fn names(r: &mut Recorder) -> Result<()> {
    r.change(|db| db.label_id_or_create("Person"))?;
    r.change(|db| db.type_id_or_create("KNOWS"))?;
    r.change(|db| db.key_id_or_create("name"))?;
    r.change(|db| db.key_id_or_create("since"))?;
    r.sync()
}

fn text(r: &mut Recorder, len: u64) -> Value {
    let letter = char::from(b'a' + u8::try_from(r.random.below(26)).expect("a letter"));
    Value::String(std::iter::repeat_n(letter, usize::try_from(len).expect("short")).collect())
}

fn some_nodes(r: &mut Recorder, count: u64) -> Result<Vec<NodeId>> {
    r.commit(|tx| {
        let node = |number| {
            let number = Value::Int(i64::try_from(number).expect("few"));
            tx.create_node(&[LABEL], &[(KEY, number)])
        };
        (0..count).map(node).collect()
    })
}

/// Creates, changes and deletes.
fn nodes(r: &mut Recorder) -> Result<()> {
    names(r)?;
    let mut known: Vec<NodeId> = Vec::new();
    for number in 0..24 {
        match r.random.below(6) {
            0 if known.len() > 2 => {
                let gone = known.swap_remove(0);
                r.commit(|tx| tx.delete_node(gone, true))?;
            }
            1 if !known.is_empty() => {
                let (node, value) = (*r.random.pick(&known), text(r, 40));
                r.commit(|tx| tx.set_node_property(node, OTHER_KEY, value))?;
            }
            2 if !known.is_empty() => {
                let node = *r.random.pick(&known);
                r.commit(|tx| tx.remove_label(node, LABEL))?;
            }
            _ => {
                let len = r.random.below(300);
                let value = text(r, len);
                let both = [(KEY, Value::Int(number)), (OTHER_KEY, value)];
                known.push(r.commit(|tx| tx.create_node(&[LABEL], &both))?);
            }
        }
        r.sync_sometimes()?;
    }
    r.sync()
}

/// Edges and loops come and go, and nodes with all of theirs.
fn edges(r: &mut Recorder) -> Result<()> {
    names(r)?;
    let mut nodes = some_nodes(r, 12)?;
    let mut known: Vec<EdgeId> = Vec::new();
    for number in 0..30 {
        match r.random.below(8) {
            0 if nodes.len() > 4 => {
                let gone = nodes.swap_remove(1);
                r.commit(|tx| tx.delete_node(gone, true))?;
                known.clear();
            }
            1 if !known.is_empty() => {
                let gone = known.swap_remove(0);
                r.commit(|tx| tx.delete_edge(gone))?;
            }
            2 if !known.is_empty() => {
                let (edge, value) = (known[0], text(r, 20));
                r.commit(|tx| tx.set_edge_property(edge, KEY, value))?;
            }
            _ => {
                let (start, end) = (*r.random.pick(&nodes), *r.random.pick(&nodes));
                known.push(
                    r.commit(|tx| tx.create_edge(start, TYPE, end, &[(OTHER_KEY, Value::Int(number))]))?,
                );
            }
        }
        r.sync_sometimes()?;
    }
    r.sync()
}

/// One node gets so many edges that its adjacency becomes a tree, and loses most of them.
fn hub(r: &mut Recorder) -> Result<()> {
    names(r)?;
    let nodes = some_nodes(r, 6)?;
    let mut known: Vec<EdgeId> = Vec::new();
    for round in 0..14 {
        let made: Result<Vec<EdgeId>> = r.commit(|tx| {
            let edge = |at: usize| tx.create_edge(nodes[0], TYPE, nodes[at % nodes.len()], &[]);
            (0..60 + round * 30).map(edge).collect()
        });
        known.extend(made?);
        r.sync_sometimes()?;
    }
    while known.len() > 300 {
        let gone = known.split_off(known.len().saturating_sub(700));
        r.commit(|tx| gone.iter().try_for_each(|edge| tx.delete_edge(*edge)))?;
        r.sync_sometimes()?;
    }
    r.commit(|tx| tx.delete_node(nodes[0], true))?;
    r.sync()
}

/// Values that are longer than a page.
fn overflow(r: &mut Recorder) -> Result<()> {
    names(r)?;
    let nodes = some_nodes(r, 4)?;
    for _ in 0..16 {
        let len = [0, 100, 5_000, 9_000, 30_000][usize::try_from(r.random.below(5)).expect("small")];
        let (node, value) = (*r.random.pick(&nodes), text(r, len));
        let value = if len == 0 { Value::Null } else { value };
        r.commit(|tx| tx.set_node_property(node, KEY, value))?;
        r.sync_sometimes()?;
    }
    r.commit(|tx| tx.delete_node(nodes[0], true))?;
    r.sync()
}

/// Names of each kind, some of them long, and sets of labels.
fn dictionaries(r: &mut Recorder) -> Result<()> {
    for number in 0..12 {
        let name = format!("имя {number}").repeat(if number % 5 == 4 { 12 } else { 1 });
        r.change(|db| db.label_id_or_create(&name))?;
        r.change(|db| db.type_id_or_create(&name))?;
        r.sync_sometimes()?;
        r.change(|db| db.key_id_or_create(&name))?;
        let labels = [LabelId(number), LabelId(number / 2)];
        let labels = if number == 0 { &labels[..1] } else { &labels[..] };
        let properties = [(KeyId(number), Value::Bool(true))];
        r.commit(|tx| tx.create_node(labels, &properties))?;
        r.sync_sometimes()?;
    }
    r.sync()
}

/// Commits that can be asked for.
fn tokens(r: &mut Recorder) -> Result<()> {
    names(r)?;
    for token in TOKENS {
        r.commit_with_token(token, |tx| tx.create_node(&[LABEL], &[]).map(|_| ()))?;
        r.sync_sometimes()?;
    }
    r.sync()
}

fn columns(r: &mut Recorder, rows: usize) -> Vec<Column> {
    let values = (0..rows).map(|_| text(r, 30)).collect();
    vec![Column { key: KEY, values }]
}

/// Batches that go past the log, and what remembers them.
fn imports(r: &mut Recorder) -> Result<()> {
    const NAME: &[u8] = b"social";
    names(r)?;
    let mut ids: Vec<NodeId> = Vec::new();
    let label_set = r.change(|db| db.label_set_or_create(&[LABEL]))?;
    for batch in 0..2 {
        let rows = NodeBatch { label_sets: vec![label_set; 120], columns: columns(r, 120) };
        let (made, _) = r.import(|import| import.nodes(NAME, batch, rows))?;
        let first = match made {
            Imported::Nodes { first, .. } => first,
            Imported::Edges { .. } => unreachable!("nodes were imported"),
        };
        ids.extend((0..120).map(|row| NodeId::new(NodeSlot(first.0 + row), 0)));
        r.sync_sometimes()?;
    }
    for batch in 2..6 {
        let mut ends = || (0..200).map(|_| *r.random.pick(&ids)).collect::<Vec<NodeId>>();
        let (starts, ends) = (ends(), ends());
        let rows = EdgeBatch { starts, ends, types: vec![TYPE; 200], columns: columns(r, 200) };
        r.import(|import| import.edges(NAME, batch, rows))?;
        r.sync_sometimes()?;
    }
    r.import(|import| import.end(NAME))?;
    r.sync_sometimes()?;
    r.commit(|tx| tx.delete_node(ids[0], true))?;
    r.sync()
}

/// Some of everything, with checkpoints in between.
fn checkpoints(r: &mut Recorder) -> Result<()> {
    names(r)?;
    let nodes = some_nodes(r, 10)?;
    for round in 0..20 {
        let (start, end) = (*r.random.pick(&nodes), *r.random.pick(&nodes));
        let value = text(r, 200);
        r.commit(|tx| {
            tx.create_edge(start, TYPE, end, &[])?;
            tx.set_node_property(start, OTHER_KEY, value)
        })?;
        r.sync_sometimes()?;
        if round % 4 == 3 {
            r.checkpoint()?;
        }
    }
    r.sync()
}

/// More is logged than the log holds.
fn recycling(r: &mut Recorder) -> Result<()> {
    names(r)?;
    let nodes = some_nodes(r, 10)?;
    for _ in 0..40 {
        let (node, value) = (*r.random.pick(&nodes), text(r, 7_000));
        let other = text(r, 7_500);
        r.commit(|tx| {
            tx.set_node_property(node, KEY, value)?;
            tx.create_node(&[LABEL], &[(OTHER_KEY, other)]).map(|_| ())
        })?;
        r.sync_sometimes()?;
    }
    r.sync()
}

/// Pages are given back and taken again, under a cache that is too small for all of them.
fn reuse(r: &mut Recorder) -> Result<()> {
    names(r)?;
    let mut alive: Vec<Vec<NodeId>> = Vec::new();
    for round in 0..20 {
        let values: Vec<Value> = (0..3).map(|_| text(r, 4_000)).collect();
        alive.push(
            r.commit(|tx| values.into_iter().map(|value| tx.create_node(&[], &[(KEY, value)])).collect())?,
        );
        r.sync_sometimes()?;
        if round % 3 == 2 {
            let gone = alive.swap_remove(0);
            r.commit(|tx| gone.iter().try_for_each(|node| tx.delete_node(*node, true)))?;
            r.sync_sometimes()?;
        }
        if round % 5 == 4 {
            r.checkpoint()?;
        }
    }
    r.sync()
}

fn some_of_all(r: &mut Recorder) -> Result<()> {
    names(r)?;
    let nodes = some_nodes(r, 8)?;
    r.sync()?;
    let (short, long) = (text(r, 50), text(r, 9_000));
    r.commit_with_token(TOKENS[0], |tx| {
        tx.set_node_property(nodes[1], OTHER_KEY, short)?;
        tx.set_node_property(nodes[2], OTHER_KEY, long)
    })?;
    r.sync()?;
    r.commit(|tx| {
        (0..1200).try_for_each(|at| tx.create_edge(nodes[0], TYPE, nodes[at % 8], &[]).map(|_| ()))
    })?;
    r.sync()?;
    r.commit(|tx| tx.create_edge(nodes[3], TYPE, nodes[4], &[(KEY, Value::Int(1))]).map(|_| ()))?;
    r.sync()?;
    let label_set = r.change(|db| db.label_set_or_create(&[LABEL]))?;
    let rows = NodeBatch { label_sets: vec![label_set; 10], columns: columns(r, 10) };
    r.import(|import| import.nodes(b"some", 0, rows))?;
    r.sync()?;
    r.commit(|tx| tx.create_node(&[LABEL], &[]).map(|_| ()))?;
    r.sync()
}
