//! What a transaction sees: each question goes to the overlay of its write set over the newest applied pages.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Transaction;
use crate::catalog::Catalog;
use crate::view::{EdgeHead, EdgeName, Neighbour, NodeHead, NodeName, Scan, View};
use crate::{Direction, EdgeSlot, KeyId, LabelId, NodeSlot, Result, TypeId, Value};

impl View for Transaction {
    fn catalog(&self) -> Arc<Catalog> {
        self.db.catalog()
    }

    fn node_count(&self) -> Result<u64> {
        self.with_view(|view| view.node_count())
    }

    fn edge_count(&self) -> Result<u64> {
        self.with_view(|view| view.edge_count())
    }

    fn node_head(&self, node: impl NodeName) -> Result<Option<NodeHead>> {
        self.with_view(|view| view.node_head(node))
    }

    fn properties(&self, node: impl NodeName) -> Result<Option<Vec<(KeyId, Value)>>> {
        self.with_view(|view| view.properties(node))
    }

    fn property(&self, node: impl NodeName, key: KeyId) -> Result<Option<Value>> {
        self.with_view(|view| view.property(node, key))
    }

    fn edge_head(&self, edge: impl EdgeName) -> Result<Option<EdgeHead>> {
        self.with_view(|view| view.edge_head(edge))
    }

    fn edge_properties(&self, edge: impl EdgeName) -> Result<Option<Vec<(KeyId, Value)>>> {
        self.with_view(|view| view.edge_properties(edge))
    }

    fn edge_property(&self, edge: impl EdgeName, key: KeyId) -> Result<Option<Value>> {
        self.with_view(|view| view.edge_property(edge, key))
    }

    fn degree(&self, node: impl NodeName, direction: Direction, types: Option<&[TypeId]>) -> Result<u64> {
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
        self.with_view(|view| view.neighbours(node, direction, types, after, max))
    }

    fn for_each_neighbour(
        &self,
        from: &[NodeSlot],
        direction: Direction,
        types: Option<&[TypeId]>,
        visit: impl FnMut(usize, NodeSlot, EdgeSlot) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        self.with_view(|view| view.for_each_neighbour(from, direction, types, visit))
    }

    fn scan_nodes(
        &self,
        after: Option<NodeSlot>,
        label: Option<LabelId>,
        max: usize,
    ) -> Result<Scan<NodeHead, NodeSlot>> {
        self.with_view(|view| view.scan_nodes(after, label, max))
    }

    fn scan_edges(
        &self,
        after: Option<EdgeSlot>,
        type_: Option<TypeId>,
        max: usize,
    ) -> Result<Scan<EdgeHead, EdgeSlot>> {
        self.with_view(|view| view.scan_edges(after, type_, max))
    }

    fn node_slots_end(&self) -> Result<u64> {
        self.with_view(|view| view.node_slots_end())
    }
}
