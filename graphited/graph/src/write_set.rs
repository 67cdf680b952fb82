//! The write set: everything that a transaction has changed, and no page number.
//!
//! Invariants:
//! 1. An edge that is created or deleted here is in the adjacency changes of both its ends; a loop is in both
//!    lists of its one node.
//! 2. Nothing is both added and removed: what was created here and deleted again has left no trace, and a slot
//!    is never used twice within one write set.
//! 3. A changed entry holds at least one change, so that an empty write set is an empty commit.
//!
//! Values past a budget are in a file (`kept`), which is gone with the write set; all else is in memory, and bounded by
//! what a transaction may write to the log. A change whose values could not be kept was not made.
//!
//! There is no way back to an earlier moment: whoever has a statement that failed forgets the whole write set.
//! The write set checks nothing about the graph: whether a node exists is asked, by its owner, of the view that
//! lays the write set over the newest state.

mod changes;
mod kept;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use self::changes::EdgeEnds;
pub(crate) use self::changes::{AdjacencyChange, EdgeChange, Fate, NodeChange, PropertyChanges};
pub use self::kept::WRITE_SET_MEMORY_BYTES;
use self::kept::{Keeper, value_bytes};
use graphite_store::{PAGE_BYTES, Store};

use crate::adjacency::Entry;
use crate::{EdgeSlot, KeyId, LabelSetId, NodeId, NodeSlot, Result, Value};

/// Bytes that a changed node or edge counts for in [`WriteSet::bytes`], whatever is changed.
const CHANGE_BYTES: u64 = 96;

/// Pages that a changed node concerns: of the table, its properties, and its adjacency before and after on both sides.
const NODE_PAGES_MAX: usize = 6;
/// Pages that a changed edge concerns: of the table, and its properties.
const EDGE_PAGES_MAX: usize = 2;
/// The state page, and a page of each map of free space.
const STATE_PAGES: usize = 3;

/// Everything that a transaction has changed. The default one keeps all values in memory.
///
/// All that take values fail as the store does where a file of spilled values cannot be made or written, and have changed
/// nothing then.
#[derive(Debug, Default)]
pub struct WriteSet {
    pub(crate) nodes: BTreeMap<NodeSlot, NodeChange>,
    pub(crate) edges: BTreeMap<EdgeSlot, EdgeChange>,
    nodes_delta: i64,
    edges_delta: i64,
    bytes: u64,
    keeper: Keeper,
}

impl WriteSet {
    /// An empty one, that has values past so many bytes in a file beside the store's log.
    pub fn spilling(store: &Store, memory_bytes_max: u64) -> WriteSet {
        WriteSet { keeper: Keeper::spilling(store, memory_bytes_max), ..WriteSet::default() }
    }

    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.edges.is_empty()
    }

    /// About how many bytes all changes since the beginning took, those included that are no longer to be seen.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the values that were kept in memory since the beginning, those included that are no longer to be seen.
    pub fn memory_bytes(&self) -> u64 {
        self.keeper.memory_bytes()
    }

    /// Bytes of the pages that applying it may change, about the most of them: what is counted before a group takes it.
    pub(crate) fn images_bytes_max(&self) -> u64 {
        let pages = self.nodes.len() * NODE_PAGES_MAX + self.edges.len() * EDGE_PAGES_MAX + STATE_PAGES;
        (pages * PAGE_BYTES) as u64 + self.bytes
    }

    /// By how much the number of nodes changes.
    pub(crate) fn nodes_delta(&self) -> i64 {
        self.nodes_delta
    }

    /// By how much the number of edges changes.
    pub(crate) fn edges_delta(&self) -> i64 {
        self.edges_delta
    }

    /// Adds a node. Its slot must be a leased one.
    ///
    /// # Errors
    /// Of the store, see [`WriteSet`].
    pub fn create_node(
        &mut self,
        id: NodeId,
        label_set: LabelSetId,
        properties: PropertiesIn<'_>,
    ) -> Result<()> {
        let change = NodeChange {
            id,
            fate: Fate::Created,
            label_set: Some(label_set),
            properties: self.new_properties(properties)?,
            out: AdjacencyChange::default(),
            in_: AdjacencyChange::default(),
        };
        let before = self.nodes.insert(id.slot(), change);
        debug_assert!(before.is_none(), "a slot is used once in a write set");
        self.nodes_delta += 1;
        self.bytes += CHANGE_BYTES;
        Ok(())
    }

    /// Removes a node, whose edges have to be removed before.
    pub fn delete_node(&mut self, id: NodeId) {
        let slot = id.slot();
        self.nodes_delta -= 1;
        let change = self.node_entry(id);
        if change.fate == Fate::Created {
            debug_assert!(change.out.is_empty() && change.in_.is_empty());
            self.nodes.remove(&slot);
        } else {
            change.fate = Fate::Deleted;
        }
    }

    /// Gives a node other labels.
    pub fn set_labels(&mut self, id: NodeId, label_set: LabelSetId) {
        self.node_entry(id).label_set = Some(label_set);
    }

    /// Sets a property of a node; null removes it.
    ///
    /// # Errors
    /// Of the store, see [`WriteSet`].
    pub fn set_node_property(&mut self, id: NodeId, key: KeyId, value: Value) -> Result<()> {
        let bytes = value_bytes(&value);
        let kept = self.keeper.keep(Cow::Owned(value))?;
        self.bytes += bytes;
        self.node_entry(id).properties.values.insert(key, kept);
        Ok(())
    }

    /// Replaces all properties of a node.
    ///
    /// # Errors
    /// Of the store, see [`WriteSet`].
    pub fn replace_node_properties(&mut self, id: NodeId, properties: PropertiesIn<'_>) -> Result<()> {
        let new = self.new_properties(properties)?;
        self.node_entry(id).properties = new;
        Ok(())
    }

    /// Adds an edge. Its slot must be a leased one.
    ///
    /// # Errors
    /// Of the store, see [`WriteSet`].
    pub fn create_edge(&mut self, edge: EdgeEnds, properties: PropertiesIn<'_>) -> Result<()> {
        let EdgeEnds { id, type_, start, end } = edge;
        let properties = self.new_properties(properties)?;
        let before = self
            .edges
            .insert(id.slot(), EdgeChange { id, fate: Fate::Created, type_, start, end, properties });
        debug_assert!(before.is_none(), "a slot is used once in a write set");
        self.link(edge);
        self.bytes += CHANGE_BYTES;
        Ok(())
    }

    /// Removes an edge.
    pub fn delete_edge(&mut self, edge: EdgeEnds) {
        let slot = edge.id.slot();
        self.unlink(edge);
        let change = self.edge_entry(edge);
        if change.fate == Fate::Created {
            self.edges.remove(&slot);
        } else {
            change.fate = Fate::Deleted;
        }
    }

    /// Sets a property of an edge; null removes it.
    ///
    /// # Errors
    /// Of the store, see [`WriteSet`].
    pub fn set_edge_property(&mut self, edge: EdgeEnds, key: KeyId, value: Value) -> Result<()> {
        let bytes = value_bytes(&value);
        let kept = self.keeper.keep(Cow::Owned(value))?;
        self.bytes += bytes;
        self.edge_entry(edge).properties.values.insert(key, kept);
        Ok(())
    }

    /// Replaces all properties of an edge.
    ///
    /// # Errors
    /// Of the store, see [`WriteSet`].
    pub fn replace_edge_properties(&mut self, edge: EdgeEnds, properties: PropertiesIn<'_>) -> Result<()> {
        let new = self.new_properties(properties)?;
        self.edge_entry(edge).properties = new;
        Ok(())
    }

    /// Whether the node of a leased slot was created and is still there.
    pub(crate) fn creates_node(&self, slot: NodeSlot) -> bool {
        self.nodes.get(&slot).is_some_and(|change| change.fate == Fate::Created)
    }

    /// Whether the edge of a leased slot was created and is still there.
    pub(crate) fn creates_edge(&self, slot: EdgeSlot) -> bool {
        self.edges.get(&slot).is_some_and(|change| change.fate == Fate::Created)
    }

    /// Slots that become free.
    pub(crate) fn deleted_nodes(&self) -> impl Iterator<Item = NodeSlot> + '_ {
        self.nodes.iter().filter(|(_, change)| change.fate == Fate::Deleted).map(|(slot, _)| *slot)
    }

    /// Slots that become free.
    pub(crate) fn deleted_edges(&self) -> impl Iterator<Item = EdgeSlot> + '_ {
        self.edges.iter().filter(|(_, change)| change.fate == Fate::Deleted).map(|(slot, _)| *slot)
    }

    fn new_properties(&mut self, properties: PropertiesIn<'_>) -> Result<PropertyChanges> {
        self.bytes += properties.iter().map(|(_, value)| value_bytes(value)).sum::<u64>();
        let not_null = properties.iter().filter(|(_, value)| !value.is_null());
        let kept = not_null.map(|(key, value)| Ok((*key, self.keeper.keep(Cow::Borrowed(value))?)));
        Ok(PropertyChanges { cleared: true, values: kept.collect::<Result<_>>()? })
    }

    fn node_entry(&mut self, id: NodeId) -> &mut NodeChange {
        let bytes = &mut self.bytes;
        self.nodes.entry(id.slot()).or_insert_with(|| {
            *bytes += CHANGE_BYTES;
            NodeChange {
                id,
                fate: Fate::Changed,
                label_set: None,
                properties: PropertyChanges::default(),
                out: AdjacencyChange::default(),
                in_: AdjacencyChange::default(),
            }
        })
    }

    fn edge_entry(&mut self, edge: EdgeEnds) -> &mut EdgeChange {
        let bytes = &mut self.bytes;
        self.edges.entry(edge.id.slot()).or_insert_with(|| {
            *bytes += CHANGE_BYTES;
            let EdgeEnds { id, type_, start, end } = edge;
            EdgeChange { id, fate: Fate::Changed, type_, start, end, properties: PropertyChanges::default() }
        })
    }

    fn link(&mut self, edge: EdgeEnds) {
        let EdgeEnds { id, type_, start, end } = edge;
        self.node_entry(start).out.link(type_, Entry { neighbour: end.slot(), edge: id.slot() });
        self.node_entry(end).in_.link(type_, Entry { neighbour: start.slot(), edge: id.slot() });
        self.edges_delta += 1;
    }

    fn unlink(&mut self, edge: EdgeEnds) {
        let EdgeEnds { id, type_, start, end } = edge;
        self.node_entry(start).out.unlink(type_, Entry { neighbour: end.slot(), edge: id.slot() });
        self.node_entry(end).in_.unlink(type_, Entry { neighbour: start.slot(), edge: id.slot() });
        self.forget_unchanged_node(start.slot());
        self.forget_unchanged_node(end.slot());
        self.edges_delta -= 1;
    }

    fn forget_unchanged_node(&mut self, slot: NodeSlot) {
        if self.nodes.get(&slot).is_some_and(NodeChange::is_empty) {
            self.nodes.remove(&slot);
        }
    }
}

/// Properties as they come from above: in any order, each key once; null means "none".
pub type PropertiesIn<'a> = &'a [(KeyId, Value)];
