//! What a transaction can change: each operation locks, looks under the locks, and then notes the change.

use graphite_store::locks::LockMode;

use super::Transaction;
use crate::locks::{EDGE_SPACE, NODE_SPACE, edge_lock, label_lock, node_lock, type_lock};
use crate::properties::check_value;
use crate::view::{Neighbour, NodeHead, View};
use crate::write_set::{EdgeEnds, PropertiesIn};
use crate::{
    Direction, EdgeId, EdgeSlot, Error, KeyId, LabelId, LabelSetId, NodeId, NodeSlot, Result, TypeId, Value,
};

/// Edges that are looked up at a time when a node is detached.
const DETACH_BATCH: usize = 1024;
/// Free slots that are tried before one is waited for.
const SLOTS_TRIED_MAX: usize = 8;

impl Transaction {
    /// Adds a node.
    ///
    /// # Errors
    /// Of the store; `TransactionFailed`; `UnsupportedValue` for a value that cannot be stored, as with all setters.
    pub fn create_node(&mut self, labels: &[LabelId], properties: PropertiesIn<'_>) -> Result<NodeId> {
        self.check_change(properties)?;
        let mut labels = labels.to_vec();
        labels.sort_unstable();
        labels.dedup();
        let label_set = self.label_set(&labels)?;
        self.lock_labels(&labels)?;
        let id = self.lease_node()?;
        self.changes.create_node(id, label_set, properties)?;
        self.summary.nodes_created += 1;
        self.summary.labels_added += labels.len() as u64;
        self.summary.properties_set += not_null(properties);
        Ok(id)
    }

    /// Removes a node, and with `detach` all of its edges.
    ///
    /// # Errors
    /// `NodeNotFound`; `NodeHasEdges` without `detach`; of the store. After an error with `detach`, some of the
    /// edges may be gone: end the statement with [`Transaction::fail_statement`].
    pub fn delete_node(&mut self, node: NodeId, detach: bool) -> Result<()> {
        let head = self.node_to_change(node)?;
        self.lock_labels(&self.labels_of(head)?)?;
        if detach {
            self.delete_edges_of(node)?;
        } else {
            let edges = self.degree(node, Direction::Both, None)?;
            if edges > 0 {
                return Err(Error::NodeHasEdges { node, edges });
            }
        }
        self.changes.delete_node(node);
        self.summary.nodes_deleted += 1;
        self.check_size()
    }

    fn delete_edges_of(&mut self, node: NodeId) -> Result<()> {
        let mut after = None;
        loop {
            let batch = self.neighbours(node, Direction::Both, None, after, DETACH_BATCH)?;
            self.lock_edges_of(&batch)?;
            for found in &batch {
                let edge = self.find_edge(found.edge)?;
                let edge = edge.ok_or(Error::EdgeNotFound(EdgeId::new(found.edge, 0)))?;
                self.changes.delete_edge(edge);
                self.summary.edges_deleted += 1;
            }
            self.check_size()?;
            after = batch.last().copied();
            if batch.len() < DETACH_BATCH {
                return Ok(());
            }
        }
    }

    /// Sets a property of a node; null removes it.
    ///
    /// # Errors
    /// `NodeNotFound`; of the store.
    pub fn set_node_property(&mut self, node: NodeId, key: KeyId, value: Value) -> Result<()> {
        self.node_to_change(node)?;
        check_value(&value)?;
        if value.is_null() && self.property(node, key)?.is_none_or(|before| before.is_null()) {
            return Ok(());
        }
        self.changes.set_node_property(node, key, value)?;
        self.summary.properties_set += 1;
        self.check_size()
    }

    /// Replaces all properties of a node.
    ///
    /// # Errors
    /// `NodeNotFound`; of the store.
    pub fn replace_node_properties(&mut self, node: NodeId, properties: PropertiesIn<'_>) -> Result<()> {
        self.node_to_change(node)?;
        self.check_change(properties)?;
        let before = self.properties(node)?.unwrap_or_default();
        self.changes.replace_node_properties(node, properties)?;
        self.summary.properties_set += not_null(properties) + lost(&before, properties);
        self.check_size()
    }

    /// Gives a node a label; returns whether it did not have it.
    ///
    /// # Errors
    /// `NodeNotFound`; of the store.
    pub fn add_label(&mut self, node: NodeId, label: LabelId) -> Result<bool> {
        let mut labels = self.node_to_change(node).and_then(|head| self.labels_of(head))?;
        if labels.contains(&label) {
            return Ok(false);
        }
        labels.push(label);
        labels.sort_unstable();
        self.lock_labels(&labels)?;
        let label_set = self.label_set(&labels)?;
        self.changes.set_labels(node, label_set);
        self.summary.labels_added += 1;
        self.check_size()?;
        Ok(true)
    }

    /// Takes a label from a node; returns whether it had it.
    ///
    /// # Errors
    /// `NodeNotFound`; of the store.
    pub fn remove_label(&mut self, node: NodeId, label: LabelId) -> Result<bool> {
        let mut labels = self.node_to_change(node).and_then(|head| self.labels_of(head))?;
        let Some(at) = labels.iter().position(|has| *has == label) else { return Ok(false) };
        self.lock_labels(&labels)?;
        labels.remove(at);
        let label_set = self.label_set(&labels)?;
        self.changes.set_labels(node, label_set);
        self.summary.labels_removed += 1;
        self.check_size()?;
        Ok(true)
    }

    /// Adds an edge.
    ///
    /// # Errors
    /// `NodeNotFound` for an end that does not exist; of the store.
    pub fn create_edge(
        &mut self,
        start: NodeId,
        type_: TypeId,
        end: NodeId,
        properties: PropertiesIn<'_>,
    ) -> Result<EdgeId> {
        self.check_change(properties)?;
        self.lock_nodes(vec![start.slot(), end.slot()])?;
        self.node_to_change(start)?;
        self.node_to_change(end)?;
        self.lock(type_lock(type_), LockMode::IntentExclusive)?;
        let id = self.lease_edge()?;
        self.changes.create_edge(EdgeEnds { id, type_, start, end }, properties)?;
        self.summary.edges_created += 1;
        self.summary.properties_set += not_null(properties);
        Ok(id)
    }

    /// Removes an edge.
    ///
    /// # Errors
    /// `EdgeNotFound`; of the store.
    pub fn delete_edge(&mut self, edge: EdgeId) -> Result<()> {
        let edge = self.edge_to_delete(edge)?;
        self.changes.delete_edge(edge);
        self.summary.edges_deleted += 1;
        self.check_size()
    }

    /// Sets a property of an edge; null removes it.
    ///
    /// # Errors
    /// `EdgeNotFound`; of the store.
    pub fn set_edge_property(&mut self, edge: EdgeId, key: KeyId, value: Value) -> Result<()> {
        let ends = self.edge_to_change(edge)?;
        check_value(&value)?;
        if value.is_null() && self.edge_property(edge, key)?.is_none_or(|before| before.is_null()) {
            return Ok(());
        }
        self.changes.set_edge_property(ends, key, value)?;
        self.summary.properties_set += 1;
        self.check_size()
    }

    /// Replaces all properties of an edge.
    ///
    /// # Errors
    /// `EdgeNotFound`; of the store.
    pub fn replace_edge_properties(&mut self, edge: EdgeId, properties: PropertiesIn<'_>) -> Result<()> {
        let ends = self.edge_to_change(edge)?;
        self.check_change(properties)?;
        let before = self.edge_properties(edge)?.unwrap_or_default();
        self.changes.replace_edge_properties(ends, properties)?;
        self.summary.properties_set += not_null(properties) + lost(&before, properties);
        self.check_size()
    }

    fn check_change(&self, properties: PropertiesIn<'_>) -> Result<()> {
        self.check_failed()?;
        self.check_size()?;
        properties.iter().try_for_each(|(_, value)| check_value(value))
    }

    /// Refuses a write set that the log could not take anyway, before it fills the memory.
    fn check_size(&self) -> Result<()> {
        let (bytes, max) = (self.changes.bytes(), self.db.store().transaction_bytes_max());
        if bytes > max {
            return Err(graphite_store::Error::TooLarge { bytes, max }.into());
        }
        Ok(())
    }

    /// Locks a node that is about to be changed, and looks whether it is there.
    fn node_to_change(&self, node: NodeId) -> Result<NodeHead> {
        self.lock(node_lock(node.slot()), LockMode::Exclusive)?;
        self.with_view(|view| view.node_head(node))?.ok_or(Error::NodeNotFound(node))
    }

    /// Locks an edge whose properties are about to be changed, and looks whether it is there.
    fn edge_to_change(&self, edge: EdgeId) -> Result<EdgeEnds> {
        self.lock(edge_lock(edge.slot()), LockMode::Exclusive)?;
        self.find_edge(edge)?.ok_or(Error::EdgeNotFound(edge))
    }

    /// Locks an edge that is about to be deleted, with its ends, and looks whether it is there. Ends and type of an edge
    /// never change, so they can be looked up first, to lock nodes before edges as all others do.
    fn edge_to_delete(&self, edge: EdgeId) -> Result<EdgeEnds> {
        let before = self.find_edge(edge)?;
        before.map_or(Ok(()), |ends| self.lock_ends(ends))?;
        let ends = self.edge_to_change(edge)?;
        if before.is_none() {
            self.lock_ends(ends)?;
        }
        Ok(ends)
    }

    fn lock_ends(&self, edge: EdgeEnds) -> Result<()> {
        self.lock_nodes(vec![edge.start.slot(), edge.end.slot()])?;
        self.lock(type_lock(edge.type_), LockMode::IntentExclusive)
    }

    fn lock_nodes(&self, mut slots: Vec<NodeSlot>) -> Result<()> {
        slots.sort_unstable();
        slots.dedup();
        self.lock_all(slots.into_iter().map(node_lock), LockMode::Exclusive)
    }

    /// Says to whoever scans these labels that their members change.
    fn lock_labels(&self, labels: &[LabelId]) -> Result<()> {
        self.lock_all(labels.iter().copied().map(label_lock), LockMode::IntentExclusive)
    }

    /// Edges of a node that is locked, with everything that has to be locked to delete them.
    fn lock_edges_of(&self, found: &[Neighbour]) -> Result<()> {
        self.lock_nodes(found.iter().map(|found| found.node).collect())?;
        let mut types: Vec<TypeId> = found.iter().map(|found| found.type_).collect();
        types.sort_unstable();
        types.dedup();
        self.lock_all(types.into_iter().map(type_lock), LockMode::IntentExclusive)?;
        let mut edges: Vec<EdgeSlot> = found.iter().map(|found| found.edge).collect();
        edges.sort_unstable();
        self.lock_all(edges.into_iter().map(edge_lock), LockMode::Exclusive)
    }

    /// An edge with the ids of its ends.
    fn find_edge(&self, edge: impl crate::view::EdgeName) -> Result<Option<EdgeEnds>> {
        self.with_view(|view| {
            let Some(head) = view.edge_head(edge)? else { return Ok(None) };
            let id = head.id;
            let (Some(start), Some(end)) = (view.node_by_slot(head.start)?, view.node_by_slot(head.end)?)
            else {
                return Err(Error::DanglingEdge { edge: id });
            };
            Ok(Some(EdgeEnds { id, type_: head.type_, start, end }))
        })
    }

    /// Leases the slot of a new node, and locks it. Nobody is waited for because of a slot that another would do for.
    fn lease_node(&mut self) -> Result<NodeId> {
        self.lock(graphite_store::locks::LockName::Space(NODE_SPACE), LockMode::IntentExclusive)?;
        for _ in 0..SLOTS_TRIED_MAX {
            let (slot, generation) = self.db.pools().take_node(&mut self.holdings.leases, self.db.store())?;
            if self.holdings.locks.try_take(node_lock(slot), LockMode::Exclusive) {
                return Ok(NodeId::new(slot, generation));
            }
            self.db.pools().avoid_node(&mut self.holdings.leases, slot);
        }
        let (slot, generation) = self.db.pools().take_node(&mut self.holdings.leases, self.db.store())?;
        self.lock(node_lock(slot), LockMode::Exclusive)?;
        Ok(NodeId::new(slot, generation))
    }

    /// As [`Transaction::lease_node`].
    fn lease_edge(&mut self) -> Result<EdgeId> {
        self.lock(graphite_store::locks::LockName::Space(EDGE_SPACE), LockMode::IntentExclusive)?;
        for _ in 0..SLOTS_TRIED_MAX {
            let (slot, generation) = self.db.pools().take_edge(&mut self.holdings.leases, self.db.store())?;
            if self.holdings.locks.try_take(edge_lock(slot), LockMode::Exclusive) {
                return Ok(EdgeId::new(slot, generation));
            }
            self.db.pools().avoid_edge(&mut self.holdings.leases, slot);
        }
        let (slot, generation) = self.db.pools().take_edge(&mut self.holdings.leases, self.db.store())?;
        self.lock(edge_lock(slot), LockMode::Exclusive)?;
        Ok(EdgeId::new(slot, generation))
    }

    /// The set of some labels and how many they are. Sees to it that the next read knows the set.
    fn label_set(&self, labels: &[LabelId]) -> Result<LabelSetId> {
        let set = self.db.label_set_or_create(labels)?;
        let is_unknown =
            self.pinned.borrow().as_ref().is_some_and(|pinned| pinned.known().labels_of(set).is_none());
        if is_unknown {
            self.rest();
        }
        Ok(set)
    }
}

fn not_null(properties: PropertiesIn<'_>) -> u64 {
    properties.iter().filter(|(_, value)| !value.is_null()).count() as u64
}

/// How many of the properties in `before` are not in `after`.
fn lost(before: &[(KeyId, Value)], after: PropertiesIn<'_>) -> u64 {
    let stays = |key: &KeyId| after.iter().any(|(other, value)| other == key && !value.is_null());
    before.iter().filter(|(key, _)| !stays(key)).count() as u64
}
