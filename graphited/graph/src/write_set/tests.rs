//! A write set against a list of what is there: random changes are made to both.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{EdgeId, TypeId};

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
                set.create_node(id, LabelSetId(1), &[(KeyId(0), Value::Int(1)), (KeyId(1), Value::Null)]);
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
                node(at).into_iter().for_each(|id| set.set_node_property(id, KeyId(key), value(to)));
            }
            Op::Replace(at, key) => {
                let with = [(KeyId(key), Value::Bool(true))];
                node(at).into_iter().for_each(|id| set.replace_node_properties(id, &with));
            }
            Op::CreateEdge(start, end) => {
                let (Some(start), Some(end)) = (node(start), node(end)) else { return };
                let id = EdgeId::new(EdgeSlot(self.next), 0);
                let edge = EdgeEnds { id, type_: TypeId(1), start, end };
                set.create_edge(edge, &[(KeyId(2), Value::Int(3))]);
                self.edges.push(edge);
                self.next += 1;
            }
            Op::DeleteEdge(at) => {
                let Some(gone) = edge(at) else { return };
                set.delete_edge(gone);
                self.edges.retain(|other| *other != gone);
            }
            Op::EdgeProperty(at, key, ref to) => {
                edge(at).into_iter().for_each(|edge| set.set_edge_property(edge, KeyId(key), value(to)));
            }
            Op::ReplaceEdge(at, key) => {
                let with = [(KeyId(key), Value::Bool(true))];
                edge(at).into_iter().for_each(|edge| set.replace_edge_properties(edge, &with));
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
