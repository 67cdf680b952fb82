//! What operators read: one consistent graph, whoever shows it.
//!
//! A [`View`] is implemented by `Snapshot` (the newest durable state, never changing) and by `Transaction` (the
//! newest applied state with the transaction's own changes laid over it). Operators are generic over it, so
//! that both are static dispatch.
//!
//! Names: every question about a node takes anything that is a [`NodeName`]: a [`NodeId`], whose generation has
//! to fit (a stale id is "not found"), or a [`NodeSlot`] that this view itself gave out (by an expansion, a scan),
//! which within one view names at most one node and costs no comparison. The same for edges.
//!
//! Invariants:
//! 1. Every batch is bounded by its `max` and by [`SCAN_PAGES_MAX`], and resumes by a value that holds no page, so
//!    a cursor can rest between two batches for as long as it likes.
//! 2. Neighbours come sorted by direction (out, then in), type, neighbour slot, edge slot. With
//!    [`Direction::Both`] a loop comes once, as outgoing.
//! 3. What does not exist is `None`, zero or empty, never an error.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::adjacency::Entries;
use crate::catalog::Catalog;
use crate::locks::ReadIntent;
use crate::{
    Direction, EdgeId, EdgeSlot, Error, KeyId, LabelId, LabelSetId, NodeId, NodeSlot, Result, TypeId, Value,
};

/// Table pages that one scan batch looks at, at most, however few rows it finds.
pub const SCAN_PAGES_MAX: u64 = 64;

/// Names a node: its id, or its slot in the view that gave it out.
pub trait NodeName: Copy {
    /// Where the node is.
    fn slot(self) -> NodeSlot;
    /// Whether the user of the slot with this generation is the one that is meant.
    fn is_of(self, generation: u16) -> bool;
}

impl NodeName for NodeId {
    #[inline]
    fn slot(self) -> NodeSlot {
        NodeId::slot(self)
    }
    #[inline]
    fn is_of(self, generation: u16) -> bool {
        self.generation() == generation
    }
}

impl NodeName for NodeSlot {
    #[inline]
    fn slot(self) -> NodeSlot {
        self
    }
    #[inline]
    fn is_of(self, _generation: u16) -> bool {
        true
    }
}

/// Names an edge: its id, or its slot in the view that gave it out.
pub trait EdgeName: Copy {
    /// Where the edge is.
    fn slot(self) -> EdgeSlot;
    /// Whether the user of the slot with this generation is the one that is meant.
    fn is_of(self, generation: u16) -> bool;
}

impl EdgeName for EdgeId {
    #[inline]
    fn slot(self) -> EdgeSlot {
        EdgeId::slot(self)
    }
    #[inline]
    fn is_of(self, generation: u16) -> bool {
        self.generation() == generation
    }
}

impl EdgeName for EdgeSlot {
    #[inline]
    fn slot(self) -> EdgeSlot {
        self
    }
    #[inline]
    fn is_of(self, _generation: u16) -> bool {
        true
    }
}

/// A node with everything that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its public name.
    pub id: NodeId,
    /// Its labels, sorted.
    pub labels: Vec<LabelId>,
    /// Its properties, sorted by key; none is null.
    pub properties: Vec<(KeyId, Value)>,
}

/// A node without its properties: what its slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeHead {
    /// Its public name.
    pub id: NodeId,
    /// Its labels.
    pub label_set: LabelSetId,
}

/// An edge with everything that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Its public name.
    pub id: EdgeId,
    /// Its type.
    pub type_: TypeId,
    /// Where it starts.
    pub start: NodeId,
    /// Where it ends.
    pub end: NodeId,
    /// Its properties, sorted by key; none is null.
    pub properties: Vec<(KeyId, Value)>,
}

/// An edge without its properties: what its slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeHead {
    /// Its public name.
    pub id: EdgeId,
    /// Its type.
    pub type_: TypeId,
    /// Where it starts.
    pub start: NodeSlot,
    /// Where it ends.
    pub end: NodeSlot,
}

/// One step away from a node. The last one of a batch is where the next batch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// [`Direction::Out`] if the edge starts at the node asked about, else [`Direction::In`].
    pub direction: Direction,
    /// The edge's type.
    pub type_: TypeId,
    /// The node at the other end.
    pub node: NodeSlot,
    /// The edge.
    pub edge: EdgeSlot,
}

/// One batch of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan<T, S> {
    /// What was found, in slot order. May be empty though the scan goes on.
    pub found: Vec<T>,
    /// Where to go on (pass it as `after`); `None` at the end.
    pub resume: Option<S>,
}

/// One consistent graph.
pub trait View {
    /// Names of labels, types and keys: at least those that this view can meet.
    fn catalog(&self) -> Arc<Catalog>;

    /// The label of this name, if anything can have it. Where nodes may get it while this view is there it is made if
    /// there is none: whoever looks for it and finds nothing has to have something to lock.
    ///
    /// # Errors
    /// Of the store.
    fn label_named(&self, name: &str) -> Result<Option<LabelId>> {
        Ok(self.catalog().label_id(name))
    }

    /// As [`View::label_named`], the type of edges of this name.
    ///
    /// # Errors
    /// Of the store.
    fn type_named(&self, name: &str) -> Result<Option<TypeId>> {
        Ok(self.catalog().type_id(name))
    }

    /// As [`View::label_named`], the key of properties of this name.
    ///
    /// # Errors
    /// Of the store.
    fn key_named(&self, name: &str) -> Result<Option<KeyId>> {
        Ok(self.catalog().key_id(name))
    }

    /// Number of nodes.
    ///
    /// # Errors
    /// Of the store, as for all functions of this trait.
    fn node_count(&self) -> Result<u64>;

    /// Number of edges.
    ///
    /// # Errors
    /// Of the store.
    fn edge_count(&self) -> Result<u64>;

    /// A node's slot: its public id and labels.
    ///
    /// # Errors
    /// Of the store.
    fn node_head(&self, node: impl NodeName) -> Result<Option<NodeHead>>;

    /// A node's properties, sorted by key. `None` if there is no such node.
    ///
    /// # Errors
    /// Of the store.
    fn properties(&self, node: impl NodeName) -> Result<Option<Vec<(KeyId, Value)>>>;

    /// One property of a node; [`Value::Null`] if it has none of that key, `None` if there is no such node.
    ///
    /// # Errors
    /// Of the store.
    fn property(&self, node: impl NodeName, key: KeyId) -> Result<Option<Value>>;

    /// An edge's slot: its public id, type and ends.
    ///
    /// # Errors
    /// Of the store.
    fn edge_head(&self, edge: impl EdgeName) -> Result<Option<EdgeHead>>;

    /// An edge's properties, sorted by key. `None` if there is no such edge.
    ///
    /// # Errors
    /// Of the store.
    fn edge_properties(&self, edge: impl EdgeName) -> Result<Option<Vec<(KeyId, Value)>>>;

    /// One property of an edge; [`Value::Null`] if it has none of that key, `None` if there is no such edge.
    ///
    /// # Errors
    /// Of the store.
    fn edge_property(&self, edge: impl EdgeName, key: KeyId) -> Result<Option<Value>>;

    /// Number of a node's edges, of some types or all; with [`Direction::Both`] a loop counts once.
    ///
    /// # Errors
    /// Of the store.
    fn degree(&self, node: impl NodeName, direction: Direction, types: Option<&[TypeId]>) -> Result<u64>;

    /// The next at most `max` neighbours after `after`; fewer than `max` only at the end.
    ///
    /// # Errors
    /// Of the store.
    fn neighbours(
        &self,
        node: impl NodeName,
        direction: Direction,
        types: Option<&[TypeId]>,
        after: Option<Neighbour>,
        max: usize,
    ) -> Result<Vec<Neighbour>>;

    /// Visits the neighbours of each node in `from`, run by run: the fast path of expansions. `visit` gets the position
    /// in `from` and entries of one type and direction, never none, and may end the whole visit by `Break`. Nodes are
    /// visited in the order of `from`; sorted ones make the best use of pages. Within a node the order is that of
    /// [`View::neighbours`]. Nodes that do not exist have no neighbours. Returns whether the visit ran to its end.
    ///
    /// # Errors
    /// Of the store.
    fn for_each_run(
        &self,
        from: &[NodeSlot],
        direction: Direction,
        types: Option<&[TypeId]>,
        visit: impl FnMut(usize, Entries<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>>;

    /// Visits every neighbour of each node in `from`: as [`View::for_each_run`], one by one.
    ///
    /// # Errors
    /// Of the store.
    fn for_each_neighbour(
        &self,
        from: &[NodeSlot],
        direction: Direction,
        types: Option<&[TypeId]>,
        mut visit: impl FnMut(usize, NodeSlot, EdgeSlot) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        self.for_each_run(from, direction, types, |index, entries| {
            entries.iter().try_for_each(|entry| visit(index, entry.neighbour, entry.edge))
        })
    }

    /// At most `max` nodes after slot `after`, in slot order, with the label if one is given.
    ///
    /// # Errors
    /// Of the store.
    fn scan_nodes(
        &self,
        after: Option<NodeSlot>,
        label: Option<LabelId>,
        max: usize,
    ) -> Result<Scan<NodeHead, NodeSlot>>;

    /// At most `max` edges after slot `after`, in slot order, of the type if one is given.
    ///
    /// # Errors
    /// Of the store.
    fn scan_edges(
        &self,
        after: Option<EdgeSlot>,
        type_: Option<TypeId>,
        max: usize,
    ) -> Result<Scan<EdgeHead, EdgeSlot>>;

    /// A slot number that no node of this view reaches: the size of a bitmap over nodes.
    ///
    /// # Errors
    /// Of the store.
    fn node_slots_end(&self) -> Result<u64>;

    /// What is read from now on is read for this; returns what it was for before. It makes a difference to a transaction
    /// only.
    #[inline]
    fn intend(&self, intent: ReadIntent) -> ReadIntent {
        let _ = intent;
        ReadIntent::Share
    }

    /// Whether there is such a node.
    ///
    /// # Errors
    /// Of the store.
    fn node_exists(&self, node: impl NodeName) -> Result<bool> {
        Ok(self.node_head(node)?.is_some())
    }

    /// The public id of the node in a slot.
    ///
    /// # Errors
    /// Of the store.
    fn node_by_slot(&self, slot: NodeSlot) -> Result<Option<NodeId>> {
        Ok(self.node_head(slot)?.map(|head| head.id))
    }

    /// The public id of the edge in a slot.
    ///
    /// # Errors
    /// Of the store.
    fn edge_by_slot(&self, slot: EdgeSlot) -> Result<Option<EdgeId>> {
        Ok(self.edge_head(slot)?.map(|head| head.id))
    }

    /// The labels of a node that this view showed, sorted.
    ///
    /// # Errors
    /// `UnknownLabels` if the catalog does not know them.
    fn labels_of(&self, head: NodeHead) -> Result<Vec<LabelId>> {
        match self.catalog().labels_of(head.label_set) {
            Some(labels) => Ok(labels.to_vec()),
            None => Err(Error::UnknownLabels { node: head.id }),
        }
    }

    /// A node's labels, sorted. `None` if there is no such node.
    ///
    /// # Errors
    /// Of the store.
    fn labels(&self, node: impl NodeName) -> Result<Option<Vec<LabelId>>> {
        let Some(head) = self.node_head(node)? else { return Ok(None) };
        self.labels_of(head).map(Some)
    }

    /// A node with labels and properties.
    ///
    /// # Errors
    /// Of the store.
    fn node(&self, node: impl NodeName) -> Result<Option<Node>> {
        let Some(head) = self.node_head(node)? else { return Ok(None) };
        let labels = self.labels_of(head)?;
        let properties = self.properties(node)?.unwrap_or_default();
        Ok(Some(Node { id: head.id, labels, properties }))
    }

    /// An edge with ends and properties.
    ///
    /// # Errors
    /// Of the store, and `Corrupt` if an end does not exist.
    fn edge(&self, edge: impl EdgeName) -> Result<Option<Edge>> {
        let Some(head) = self.edge_head(edge)? else { return Ok(None) };
        let properties = self.edge_properties(edge)?.unwrap_or_default();
        let (Some(start), Some(end)) = (self.node_by_slot(head.start)?, self.node_by_slot(head.end)?) else {
            return Err(Error::DanglingEdge { edge: head.id });
        };
        Ok(Some(Edge { id: head.id, type_: head.type_, start, end, properties }))
    }
}
