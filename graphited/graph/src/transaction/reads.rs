//! What a transaction sees: each question takes its locks and goes to the overlay of its write set over the newest
//! applied pages.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use graphite_store::locks::{LockMode, LockName};

use super::Transaction;
use crate::adjacency::Entries;
use crate::catalog::Catalog;
use crate::locks::{EDGE_SPACE, NODE_SPACE, ReadIntent, edge_lock, label_lock, node_lock, type_lock};
use crate::view::{Edge, EdgeHead, EdgeName, Neighbour, Node, NodeHead, NodeName, Scan, View};
use crate::{Direction, EdgeSlot, Error, KeyId, LabelId, NodeSlot, Result, TypeId, Value};

/// Nodes that are locked before the neighbours of the first are shown: whoever looks may have enough of them soon.
const LOCKED_AHEAD: usize = 64;

impl Transaction {
    fn look(&self, name: LockName, mode: Option<LockMode>) -> Result<()> {
        mode.map_or_else(|| self.check_failed(), |mode| self.lock(name, mode))
    }

    /// Locks a node that is looked at, or the slot where it is not.
    fn look_at_node(&self, node: impl NodeName) -> Result<()> {
        self.look(node_lock(node.slot()), self.holdings.locks.mode_of_look())
    }

    /// Locks an edge that is looked at, or the slot where it is not.
    fn look_at_edge(&self, edge: impl EdgeName) -> Result<()> {
        self.look(edge_lock(edge.slot()), self.holdings.locks.mode_of_look())
    }

    /// Locks a table against whoever adds to it, takes from it or changes what is in it.
    fn look_at_table(&self, table: LockName) -> Result<()> {
        self.look(table, self.holdings.locks.mode_of_table_scan())
    }
}

/// The name that was looked for, or nothing if it is one that nothing can ever have.
fn unless_impossible<T>(named: Result<T>) -> Result<Option<T>> {
    match named {
        Ok(id) => Ok(Some(id)),
        Err(Error::EmptyName { .. } | Error::TooLong { .. } | Error::TooMany { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl View for Transaction {
    fn catalog(&self) -> Arc<Catalog> {
        self.db.catalog()
    }

    fn label_named(&self, name: &str) -> Result<Option<LabelId>> {
        unless_impossible(self.db.label_id_or_create(name))
    }

    fn type_named(&self, name: &str) -> Result<Option<TypeId>> {
        unless_impossible(self.db.type_id_or_create(name))
    }

    fn key_named(&self, name: &str) -> Result<Option<KeyId>> {
        unless_impossible(self.db.key_id_or_create(name))
    }

    fn intend(&self, intent: ReadIntent) -> ReadIntent {
        self.holdings.locks.set_intent(intent)
    }

    fn node_count(&self) -> Result<u64> {
        self.look_at_table(LockName::Space(NODE_SPACE))?;
        self.with_view(|view| view.node_count())
    }

    fn edge_count(&self) -> Result<u64> {
        self.look_at_table(LockName::Space(EDGE_SPACE))?;
        self.with_view(|view| view.edge_count())
    }

    fn node_head(&self, node: impl NodeName) -> Result<Option<NodeHead>> {
        self.look_at_node(node)?;
        self.with_view(|view| view.node_head(node))
    }

    fn node(&self, node: impl NodeName) -> Result<Option<Node>> {
        self.look_at_node(node)?;
        self.with_view(|view| view.node(node))
    }

    fn properties(&self, node: impl NodeName) -> Result<Option<Vec<(KeyId, Value)>>> {
        self.look_at_node(node)?;
        self.with_view(|view| view.properties(node))
    }

    fn property(&self, node: impl NodeName, key: KeyId) -> Result<Option<Value>> {
        self.look_at_node(node)?;
        self.with_view(|view| view.property(node, key))
    }

    fn edge_head(&self, edge: impl EdgeName) -> Result<Option<EdgeHead>> {
        self.look_at_edge(edge)?;
        self.with_view(|view| view.edge_head(edge))
    }

    /// The ids of its ends stay as they are while it is there, so these need no locks.
    fn edge(&self, edge: impl EdgeName) -> Result<Option<Edge>> {
        self.look_at_edge(edge)?;
        self.with_view(|view| view.edge(edge))
    }

    fn edge_properties(&self, edge: impl EdgeName) -> Result<Option<Vec<(KeyId, Value)>>> {
        self.look_at_edge(edge)?;
        self.with_view(|view| view.edge_properties(edge))
    }

    fn edge_property(&self, edge: impl EdgeName, key: KeyId) -> Result<Option<Value>> {
        self.look_at_edge(edge)?;
        self.with_view(|view| view.edge_property(edge, key))
    }

    fn degree(&self, node: impl NodeName, direction: Direction, types: Option<&[TypeId]>) -> Result<u64> {
        self.look_at_node(node)?;
        self.with_view(|view| view.degree(node, direction, types))
    }

    fn neighbours(
        &self,
        node: impl NodeName,
        direction: Direction,
        types: Option<&[TypeId]>,
        after: Option<Neighbour>,
        max: usize,
    ) -> Result<Vec<Neighbour>> {
        self.look_at_node(node)?;
        self.with_view(|view| view.neighbours(node, direction, types, after, max))
    }

    fn for_each_run(
        &self,
        from: &[NodeSlot],
        direction: Direction,
        types: Option<&[TypeId]>,
        mut visit: impl FnMut(usize, Entries<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        for (part, some) in from.chunks(LOCKED_AHEAD).enumerate() {
            some.iter().try_for_each(|slot| self.look_at_node(*slot))?;
            let first = part * LOCKED_AHEAD;
            let is_begun = Cell::new(false);
            let mut ask = || {
                let visit = |index, entries: Entries<'_>| {
                    is_begun.set(true);
                    visit(first + index, entries)
                };
                self.with_view_once(|view| view.for_each_run(some, direction, types, visit))
            };
            let mut flow = ask();
            if matches!(flow, Err(Error::Store(graphite_store::Error::SnapshotTooOld))) && !is_begun.get() {
                self.rest();
                flow = ask();
            }
            if flow.as_ref().is_ok_and(ControlFlow::is_break) || flow.is_err() {
                return flow;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn scan_nodes(
        &self,
        after: Option<NodeSlot>,
        label: Option<LabelId>,
        max: usize,
    ) -> Result<Scan<NodeHead, NodeSlot>> {
        match label {
            Some(label) => self.look(label_lock(label), self.holdings.locks.mode_of_scan())?,
            None => self.look_at_table(LockName::Space(NODE_SPACE))?,
        }
        self.with_view(|view| view.scan_nodes(after, label, max))
    }

    fn scan_edges(
        &self,
        after: Option<EdgeSlot>,
        type_: Option<TypeId>,
        max: usize,
    ) -> Result<Scan<EdgeHead, EdgeSlot>> {
        match type_ {
            Some(type_) => self.look(type_lock(type_), self.holdings.locks.mode_of_scan())?,
            None => self.look_at_table(LockName::Space(EDGE_SPACE))?,
        }
        self.with_view(|view| view.scan_edges(after, type_, max))
    }

    /// Not locked: it may be passed by the time it is used, which costs whoever uses it a little speed.
    fn node_slots_end(&self) -> Result<u64> {
        self.with_view(|view| view.node_slots_end())
    }
}
