//! A write set against a list of what is there: random changes are made to both. And random values against budgets of
//! memory, with the file of those past it on a simulated disk.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use graphite_store::clock::SimClock;
use graphite_store::disk::SimDisk;
use graphite_store::{Store, StoreOptions};
use proptest::prelude::*;

use super::kept::Kept;
use super::*;
use crate::value::any::any_storable;
use crate::{EdgeId, TypeId, value_codec};

/// Nodes and edges that exist before the write set: edge `n` goes from node `n` to node `(n + 1) % NODES`.
const NODES: u64 = 5;

#[derive(Clone, Debug)]
enum Op {
    CreateNode,
    DeleteNode(usize),
    Labels(usize, u32),
    Property(usize, u32, Option<i64>),
    Replace(usize, u32),
    CreateEdge(usize, usize),
    DeleteEdge(usize),
    EdgeProperty(usize, u32, Option<i64>),
    ReplaceEdge(usize, u32),
}

fn op() -> impl Strategy<Value = Op> {
    let at = || 0usize..64;
    prop_oneof![
        Just(Op::CreateNode),
        at().prop_map(Op::DeleteNode),
        (at(), 0u32..3).prop_map(|(n, l)| Op::Labels(n, l)),
        (at(), 0u32..3, any::<Option<i64>>()).prop_map(|(n, k, v)| Op::Property(n, k, v)),
        (at(), 0u32..3).prop_map(|(n, k)| Op::Replace(n, k)),
        (at(), at()).prop_map(|(s, e)| Op::CreateEdge(s, e)),
        at().prop_map(Op::DeleteEdge),
        (at(), 0u32..3, any::<Option<i64>>()).prop_map(|(e, k, v)| Op::EdgeProperty(e, k, v)),
        (at(), 0u32..3).prop_map(|(e, k)| Op::ReplaceEdge(e, k)),
    ]
}

/// What is there, and which slot is the next: what a transaction asks its view and its pools.
struct There {
    nodes: Vec<NodeId>,
    edges: Vec<EdgeEnds>,
    next: u64,
}

impl There {
    fn new() -> There {
        let node = |slot: u64| NodeId::new(NodeSlot(slot % NODES), 1);
        let edge = |slot| {
            let id = EdgeId::new(EdgeSlot(slot), 1);
            EdgeEnds { id, type_: TypeId(0), start: node(slot), end: node(slot + 1) }
        };
        There { nodes: (0..NODES).map(node).collect(), edges: (0..NODES).map(edge).collect(), next: NODES }
    }

    fn run(&mut self, set: &mut WriteSet, op: &Op) {
        let value = |value: &Option<i64>| value.map_or(Value::Null, Value::Int);
        let node = |at: usize| self.nodes.get(at % self.nodes.len().max(1)).copied();
        let edge = |at: usize| self.edges.get(at % self.edges.len().max(1)).copied();
        match *op {
            Op::CreateNode => {
                let id = NodeId::new(NodeSlot(self.next), 0);
                let with = [(KeyId(0), Value::Int(1)), (KeyId(1), Value::Null)];
                set.create_node(id, LabelSetId(1), &with).unwrap();
                self.nodes.push(id);
                self.next += 1;
            }
            Op::DeleteNode(at) => {
                let Some(id) = node(at) else { return };
                for edge in self.edges.extract_if(.., |edge| edge.start == id || edge.end == id) {
                    set.delete_edge(edge);
                }
                set.delete_node(id);
                self.nodes.retain(|other| *other != id);
            }
            Op::Labels(at, labels) => {
                node(at).into_iter().for_each(|id| set.set_labels(id, LabelSetId(labels)));
            }
            Op::Property(at, key, ref to) => {
                let set_it = |id| set.set_node_property(id, KeyId(key), value(to)).unwrap();
                node(at).into_iter().for_each(set_it);
            }
            Op::Replace(at, key) => {
                let with = [(KeyId(key), Value::Bool(true))];
                node(at).into_iter().for_each(|id| set.replace_node_properties(id, &with).unwrap());
            }
            Op::CreateEdge(start, end) => {
                let (Some(start), Some(end)) = (node(start), node(end)) else { return };
                let id = EdgeId::new(EdgeSlot(self.next), 0);
                let edge = EdgeEnds { id, type_: TypeId(1), start, end };
                set.create_edge(edge, &[(KeyId(2), Value::Int(3))]).unwrap();
                self.edges.push(edge);
                self.next += 1;
            }
            Op::DeleteEdge(at) => {
                let Some(gone) = edge(at) else { return };
                set.delete_edge(gone);
                self.edges.retain(|other| *other != gone);
            }
            Op::EdgeProperty(at, key, ref to) => {
                let set_it = |edge| set.set_edge_property(edge, KeyId(key), value(to)).unwrap();
                edge(at).into_iter().for_each(set_it);
            }
            Op::ReplaceEdge(at, key) => {
                let with = [(KeyId(key), Value::Bool(true))];
                edge(at).into_iter().for_each(|edge| set.replace_edge_properties(edge, &with).unwrap());
            }
        }
    }
}

/// Asserts that the write set says what made `now` of the graph of the beginning, and nothing else.
fn assert_leads_to(set: &WriteSet, now: &There) {
    let before = There::new();
    let is_old = |slot: u64| slot < NODES;
    let nodes_with = |fate| -> BTreeSet<NodeId> {
        set.nodes.values().filter(|change| change.fate == fate).map(|change| change.id).collect()
    };
    let edges_with = |fate| -> BTreeSet<EdgeId> {
        set.edges.values().filter(|change| change.fate == fate).map(|change| change.id).collect()
    };
    let (new_nodes, kept): (Vec<NodeId>, _) = now.nodes.iter().partition(|id| !is_old(id.slot().0));
    assert_eq!(nodes_with(Fate::Created), new_nodes.iter().copied().collect());
    assert_eq!(
        nodes_with(Fate::Deleted),
        before.nodes.iter().copied().filter(|id| !kept.contains(id)).collect()
    );
    let (new_edges, kept): (Vec<EdgeEnds>, Vec<EdgeEnds>) =
        now.edges.iter().partition(|edge| !is_old(edge.id.slot().0));
    let gone: Vec<EdgeEnds> = before.edges.into_iter().filter(|edge| !kept.contains(edge)).collect();
    assert_eq!(edges_with(Fate::Created), new_edges.iter().map(|edge| edge.id).collect());
    assert_eq!(edges_with(Fate::Deleted), gone.iter().map(|edge| edge.id).collect());
    assert_eq!(set.nodes_delta(), now.nodes.len() as i64 - NODES as i64);
    assert_eq!(set.edges_delta(), now.edges.len() as i64 - NODES as i64);

    let out = |edges: &[EdgeEnds]| -> BTreeSet<(NodeSlot, TypeId, Entry)> {
        let entry = |edge: &EdgeEnds| Entry { neighbour: edge.end.slot(), edge: edge.id.slot() };
        edges.iter().map(|edge| (edge.start.slot(), edge.type_, entry(edge))).collect()
    };
    let in_ = |edges: &[EdgeEnds]| -> BTreeSet<(NodeSlot, TypeId, Entry)> {
        let entry = |edge: &EdgeEnds| Entry { neighbour: edge.start.slot(), edge: edge.id.slot() };
        edges.iter().map(|edge| (edge.end.slot(), edge.type_, entry(edge))).collect()
    };
    let said = |of: fn(&NodeChange) -> &BTreeSet<(TypeId, Entry)>| -> BTreeSet<(NodeSlot, TypeId, Entry)> {
        set.nodes
            .iter()
            .flat_map(|(slot, change)| of(change).iter().map(|(type_, entry)| (*slot, *type_, *entry)))
            .collect()
    };
    assert_eq!(said(|change| &change.out.added), out(&new_edges));
    assert_eq!(said(|change| &change.in_.added), in_(&new_edges));
    assert_eq!(said(|change| &change.out.removed), out(&gone));
    assert_eq!(said(|change| &change.in_.removed), in_(&gone));

    assert!(!set.nodes.values().any(NodeChange::is_empty));
    let is_idle = |edge: &EdgeChange| edge.fate == Fate::Changed && edge.properties.is_empty();
    assert!(!set.edges.values().any(is_idle));
}

proptest! {
    #[test]
    fn a_write_set_says_what_was_done(ops in proptest::collection::vec(op(), 0..60)) {
        let (mut set, mut there) = (WriteSet::default(), There::new());
        for op in &ops {
            there.run(&mut set, op);
            assert_leads_to(&set, &there);
        }
    }

    /// What is made and goes again, with all that was done to it, leaves an empty write set.
    #[test]
    fn what_was_created_and_deleted_leaves_no_trace(ops in proptest::collection::vec(op(), 0..60)) {
        let (mut set, mut there) = (WriteSet::default(), There { nodes: vec![], edges: vec![], next: NODES });
        ops.iter().for_each(|op| there.run(&mut set, op));
        while !there.nodes.is_empty() {
            there.run(&mut set, &Op::DeleteNode(0));
        }
        prop_assert!(set.is_empty(), "{:?}", set);
        prop_assert_eq!((set.nodes_delta(), set.edges_delta()), (0, 0));
    }
}

/// A store for write sets that spill.
fn store(disk: &SimDisk) -> Store {
    let options = StoreOptions { create: true, wal_bytes: 1 << 20, ..StoreOptions::default() };
    Store::open(Arc::new(disk.clone()), Arc::new(SimClock::default()), Path::new("/graph"), options).unwrap()
}

/// One of few nodes and edges, gets a value, or this one alone.
fn set_one(set: &mut WriteSet, of: u64, key: u32, value: &Value, is_alone: bool) {
    let (node, edge) = (NodeId::new(NodeSlot(of), 0), EdgeId::new(EdgeSlot(of), 0));
    let ends = EdgeEnds { id: edge, type_: TypeId(0), start: node, end: node };
    match (of.is_multiple_of(2), is_alone) {
        (true, true) => set.replace_node_properties(node, &[(KeyId(key), value.clone())]),
        (true, false) => set.set_node_property(node, KeyId(key), value.clone()),
        (false, true) => set.replace_edge_properties(ends, &[(KeyId(key), value.clone())]),
        (false, false) => set.set_edge_property(ends, KeyId(key), value.clone()),
    }
    .unwrap();
}

fn all_changes(set: &WriteSet) -> impl Iterator<Item = &PropertyChanges> {
    let nodes = set.nodes.values().map(|change| &change.properties);
    nodes.chain(set.edges.values().map(|change| &change.properties))
}

/// What a view would show, as bytes, for NaN is not equal to itself.
fn shown(set: &WriteSet) -> Vec<Vec<(KeyId, Vec<u8>)>> {
    let encoded = |(key, value): (KeyId, Value)| {
        let mut bytes = Vec::new();
        value_codec::encode(&value, &mut bytes).unwrap();
        (key, bytes)
    };
    all_changes(set).map(|of| of.over(Vec::new()).unwrap().into_iter().map(encoded).collect()).collect()
}

proptest! {
    /// Two write sets get the same values, one with room for little or nothing: both say the same, and what the one has
    /// in memory stays within its room after each change.
    #[test]
    fn values_past_the_budget_are_read_as_they_were_set(
        changes in proptest::collection::vec((0u64..6, 0u32..3, any_storable(), any::<bool>()), 0..60),
        memory_bytes_max in prop_oneof![Just(0u64), 0u64..400],
    ) {
        let store = store(&SimDisk::new());
        let (mut plain, mut spilling) = (WriteSet::default(), WriteSet::spilling(&store, memory_bytes_max));
        for (of, key, value, is_alone) in &changes {
            set_one(&mut plain, *of, *key, value, *is_alone);
            set_one(&mut spilling, *of, *key, value, *is_alone);
            let here = |kept: &Kept| match kept {
                Kept::Here(value) => value_bytes(value) - size_of::<Value>() as u64,
                Kept::Spilled(_) => 0,
            };
            let in_memory: u64 = all_changes(&spilling).flat_map(|of| of.values.values().map(here)).sum();
            prop_assert!(in_memory <= spilling.memory_bytes() && spilling.memory_bytes() <= memory_bytes_max);
        }
        prop_assert_eq!(shown(&spilling), shown(&plain));
        prop_assert_eq!(spilling.bytes(), plain.bytes());
        prop_assert_eq!(spilling.images_bytes_max(), plain.images_bytes_max());
    }
}

/// What does not fit is not half there: neither a property, nor what it would belong to.
#[test]
fn a_value_that_cannot_be_kept_changes_nothing() {
    let disk = SimDisk::new();
    let mut set = WriteSet::spilling(&store(&disk), 4);
    let node = NodeId::new(NodeSlot(0), 0);
    let ends = EdgeEnds { id: EdgeId::new(EdgeSlot(0), 0), type_: TypeId(0), start: node, end: node };
    let properties = [(KeyId(0), Value::from("here")), (KeyId(1), Value::from("not here"))];
    disk.set_capacity(Some(disk.used()));
    let is_full = |outcome: Result<()>| {
        assert!(matches!(outcome, Err(crate::Error::Store(graphite_store::Error::DiskFull { .. }))));
    };
    is_full(set.create_node(node, LabelSetId(0), &properties));
    is_full(set.create_edge(ends, &properties));
    is_full(set.set_node_property(node, KeyId(0), Value::from("long")));
    is_full(set.set_edge_property(ends, KeyId(0), Value::from("long")));
    is_full(set.replace_node_properties(node, &properties));
    is_full(set.replace_edge_properties(ends, &properties));
    assert!(set.is_empty());
    assert_eq!((set.nodes_delta(), set.edges_delta()), (0, 0));
    set.create_node(node, LabelSetId(0), &[(KeyId(0), Value::Int(7))]).unwrap();
}
