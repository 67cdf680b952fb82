//! Undoing a statement, against a write set that never ran it.

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
#[derive(Clone)]
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

proptest! {
    #[test]
    fn undo_gives_the_write_set_of_the_mark(
        before in proptest::collection::vec(op(), 0..40),
        statement in proptest::collection::vec(op(), 0..40),
    ) {
        let (mut set, mut there) = (WriteSet::default(), There::new());
        let (mut never, mut there_never) = (WriteSet::default(), There::new());
        for op in &before {
            there.run(&mut set, op);
            there_never.run(&mut never, op);
        }
        set.mark();
        prop_assert_eq!(&set, &never);
        for op in &statement {
            there.run(&mut set, op);
        }
        set.undo_to_mark();
        prop_assert_eq!(&set, &never);

        // All the way back, nothing is left.
        let (mut set, mut there) = (WriteSet::default(), There::new());
        before.iter().for_each(|op| there.run(&mut set, op));
        set.undo_to_mark();
        prop_assert!(set.is_empty());
        prop_assert_eq!(&set, &WriteSet::default());
    }
}
