//! A write transaction: reads of the newest applied graph, and a write set laid over it.
//!
//! All changes stay in the [`WriteSet`] until [`Transaction::commit`] hands them to the applier. Reads go through
//! [`View`], which a transaction implements as a snapshot does.
//!
//! Invariants:
//! 1. What a statement reads is pinned anew for each statement at least ([`Transaction::rest`] lets go of the pin);
//!    nothing else is applied meanwhile but new names, for this transaction holds the writer's turn.
//! 2. After a failed statement the write set is gone, and everything but a rollback is refused.
//! 3. Whoever drops a transaction rolls it back: its leased slots return, and its turn goes on to the next.
//!
//! Every change goes through [`Transaction::node_to_change`] or [`Transaction::edge_to_change`], and every read
//! through one function, `with_view`.

mod reads;

use std::cell::RefCell;
use std::fmt;

use graphite_store::Lsn;

use crate::db::{GraphDb, Leases, Snapshot};
use crate::overlay::Overlay;
use crate::properties::check_value;
use crate::view::{NodeHead, View};
use crate::write_set::{EdgeEnds, PropertiesIn, WriteSet};
use crate::writer::WriterTurn;
use crate::{Direction, EdgeId, EdgeSlot, Error, KeyId, LabelId, LabelSetId, NodeId, Result, TypeId, Value};

/// Edges that are looked up at a time when a node is detached.
const DETACH_BATCH: usize = 1024;

/// What a transaction has done so far, counted by operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Nodes created.
    pub nodes_created: u64,
    /// Nodes deleted.
    pub nodes_deleted: u64,
    /// Edges created.
    pub edges_created: u64,
    /// Edges deleted.
    pub edges_deleted: u64,
    /// Properties set or removed.
    pub properties_set: u64,
    /// Labels added.
    pub labels_added: u64,
    /// Labels removed.
    pub labels_removed: u64,
}

/// A commit that is applied. It is durable once the store says that `lsn` is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitResult {
    /// What to wait for before anybody is told.
    pub lsn: Lsn,
    /// What was done.
    pub summary: Summary,
}

/// A write transaction. It may move from thread to thread.
pub struct Transaction {
    db: GraphDb,
    changes: WriteSet,
    leases: Leases,
    summary: Summary,
    summary_at_mark: Summary,
    has_failed: bool,
    pinned: RefCell<Option<Snapshot>>,
    _turn: WriterTurn,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("summary", &self.summary)
            .field("has_failed", &self.has_failed)
            .finish_non_exhaustive()
    }
}

impl Transaction {
    pub(crate) fn new(db: GraphDb, turn: WriterTurn) -> Transaction {
        Transaction {
            db,
            changes: WriteSet::default(),
            leases: Leases::default(),
            summary: Summary::default(),
            summary_at_mark: Summary::default(),
            has_failed: false,
            pinned: RefCell::new(None),
            _turn: turn,
        }
    }

    /// The database.
    pub fn db(&self) -> &GraphDb {
        &self.db
    }

    /// What was done so far; nothing after a failed statement.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// What was done since [`Transaction::begin_statement`].
    pub fn statement_summary(&self) -> Summary {
        let (now, mark) = (&self.summary, &self.summary_at_mark);
        Summary {
            nodes_created: now.nodes_created - mark.nodes_created,
            nodes_deleted: now.nodes_deleted - mark.nodes_deleted,
            edges_created: now.edges_created - mark.edges_created,
            edges_deleted: now.edges_deleted - mark.edges_deleted,
            properties_set: now.properties_set - mark.properties_set,
            labels_added: now.labels_added - mark.labels_added,
            labels_removed: now.labels_removed - mark.labels_removed,
        }
    }

    /// Whether nothing was changed, so that a commit appends nothing.
    pub fn is_unchanged(&self) -> bool {
        self.changes.is_empty()
    }

    /// Begins a statement: what it reads is pinned anew, and [`Transaction::statement_summary`] counts from here.
    ///
    /// # Errors
    /// [`Error::TransactionFailed`].
    pub fn begin_statement(&mut self) -> Result<()> {
        self.check_failed()?;
        self.rest();
        self.summary_at_mark = self.summary;
        Ok(())
    }

    /// A statement failed, and the transaction with it: forgets all changes, and refuses everything but a rollback
    /// from now on.
    pub fn fail_statement(&mut self) {
        self.rest();
        self.changes = WriteSet::default();
        (self.summary, self.summary_at_mark) = (Summary::default(), Summary::default());
        self.has_failed = true;
    }

    /// Lets go of the pin, so that a transaction that waits for its client keeps no old pages. The next read pins
    /// anew.
    pub fn rest(&self) {
        if let Ok(mut pinned) = self.pinned.try_borrow_mut() {
            *pinned = None;
        }
    }

    /// Applies everything, as one group, and returns at once: whether it is durable is for the caller to wait for.
    /// A transaction without changes appends nothing, and its LSN is that of the newest state that it can have seen.
    ///
    /// # Errors
    /// [`Error::TransactionFailed`]; of the store (`TooLarge`, `DiskFull`, `Poisoned`), and limits of values and
    /// degrees: then nothing was changed, and the transaction is rolled back.
    pub fn commit(mut self) -> Result<CommitResult> {
        self.check_failed()?;
        self.rest();
        let lsn = if self.changes.is_empty() {
            self.db.store().applied_lsn()
        } else {
            self.db.apply(&self.changes, &mut self.leases)?
        };
        Ok(CommitResult { lsn, summary: self.summary })
    }

    /// Adds a node.
    ///
    /// # Errors
    /// Of the store; `TransactionFailed`; `UnsupportedValue` for a value that cannot be stored, as with all setters.
    pub fn create_node(&mut self, labels: &[LabelId], properties: PropertiesIn<'_>) -> Result<NodeId> {
        self.check_change(properties)?;
        let (label_set, count) = self.label_set(labels.to_vec())?;
        let id = self.db.lease_node()?;
        self.leases.nodes.push(id.slot());
        self.changes.create_node(id, label_set, properties);
        self.summary.nodes_created += 1;
        self.summary.labels_added += count;
        self.summary.properties_set += not_null(properties);
        Ok(id)
    }

    /// Removes a node, and with `detach` all of its edges.
    ///
    /// # Errors
    /// `NodeNotFound`; `NodeHasEdges` without `detach`; of the store. After an error with `detach`, some of the
    /// edges may be gone: end the statement with [`Transaction::fail_statement`].
    pub fn delete_node(&mut self, node: NodeId, detach: bool) -> Result<()> {
        self.node_to_change(node)?;
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
            for found in &batch {
                let edge = self.ends_of(found.edge)?;
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
        self.changes.set_node_property(node, key, value);
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
        self.summary.properties_set += not_null(properties) + lost(&before, properties);
        self.changes.replace_node_properties(node, properties);
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
        let (label_set, _) = self.label_set(labels)?;
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
        labels.remove(at);
        let (label_set, _) = self.label_set(labels)?;
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
        self.node_to_change(start)?;
        self.node_to_change(end)?;
        let id = self.db.lease_edge()?;
        self.leases.edges.push(id.slot());
        self.changes.create_edge(EdgeEnds { id, type_, start, end }, properties);
        self.summary.edges_created += 1;
        self.summary.properties_set += not_null(properties);
        Ok(id)
    }

    /// Removes an edge.
    ///
    /// # Errors
    /// `EdgeNotFound`; of the store.
    pub fn delete_edge(&mut self, edge: EdgeId) -> Result<()> {
        let edge = self.edge_to_change(edge)?;
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
        self.changes.set_edge_property(ends, key, value);
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
        self.summary.properties_set += not_null(properties) + lost(&before, properties);
        self.changes.replace_edge_properties(ends, properties);
        self.check_size()
    }

    fn check_failed(&self) -> Result<()> {
        if self.has_failed { Err(Error::TransactionFailed) } else { Ok(()) }
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

    /// A node that is about to be changed: the place where its lock will be taken.
    fn node_to_change(&self, node: NodeId) -> Result<NodeHead> {
        self.node_head(node)?.ok_or(Error::NodeNotFound(node))
    }

    /// An edge that is about to be changed, with its ends: the place where its lock will be taken.
    fn edge_to_change(&self, edge: EdgeId) -> Result<EdgeEnds> {
        if self.edge_head(edge)?.is_none() {
            return Err(Error::EdgeNotFound(edge));
        }
        self.ends_of(edge.slot())
    }

    fn ends_of(&self, edge: EdgeSlot) -> Result<EdgeEnds> {
        self.with_view(|view| {
            let head = view.edge_head(edge)?.ok_or(Error::EdgeNotFound(EdgeId::new(edge, 0)))?;
            let id = head.id;
            let (Some(start), Some(end)) = (view.node_by_slot(head.start)?, view.node_by_slot(head.end)?)
            else {
                return Err(Error::DanglingEdge { edge: id });
            };
            Ok(EdgeEnds { id, type_: head.type_, start, end })
        })
    }

    /// The set of some labels and how many they are. Sees to it that the next read knows the set.
    fn label_set(&self, mut labels: Vec<LabelId>) -> Result<(LabelSetId, u64)> {
        labels.sort_unstable();
        labels.dedup();
        let set = self.db.label_set_or_create(&labels)?;
        let is_unknown =
            self.pinned.borrow().as_ref().is_some_and(|pinned| pinned.known().labels_of(set).is_none());
        if is_unknown {
            self.rest();
        }
        Ok((set, labels.len() as u64))
    }

    /// Reads: pins the newest applied state if it is not pinned, and lays the write set over it.
    fn with_view<T>(
        &self,
        read: impl FnOnce(&Overlay<'_, graphite_store::Snapshot>) -> Result<T>,
    ) -> Result<T> {
        self.check_failed()?;
        if self.pinned.borrow().is_none() {
            *self.pinned.borrow_mut() = Some(self.db.pin());
        }
        let pinned = self.pinned.borrow();
        let base = pinned.as_ref().expect("it was pinned just now");
        read(&Overlay::new(base, &self.changes))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.db.return_leases(std::mem::take(&mut self.leases));
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
