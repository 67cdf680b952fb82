//! A write set laid over the graph in its pages: what a transaction sees.
//!
//! Invariants:
//! 1. What is deleted in the write set is nowhere to be seen, what is created is everywhere, in the place that its
//!    slot or its adjacency key gives it.
//! 2. Whatever the write set does not touch costs one look into a map more than without it.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use graphite_store::PageReader;

use crate::adjacency::{Entries, Entry, Key, Owner, Side};
use crate::catalog::Catalog;
use crate::expand;
use crate::page_view::{PageView, hidden, neighbour, start_of_side};
use crate::view::{EdgeHead, EdgeName, Neighbour, NodeHead, NodeName, Scan, View};
use crate::write_set::{AdjacencyChange, EdgeChange, Fate, NodeChange, WriteSet};
use crate::{Direction, EdgeSlot, Error, KeyId, LabelId, NodeSlot, Result, TypeId, Value};

/// Neighbours that are merged at a time when a changed node is expanded.
const MERGE_BATCH: usize = 1024;

/// A write set over the graph in some pages.
pub struct Overlay<'a, R> {
    base: &'a PageView<R>,
    changes: &'a WriteSet,
}

impl<'a, R: PageReader> Overlay<'a, R> {
    /// Lays `changes` over `base`, whose catalog must know every name in them.
    pub fn new(base: &'a PageView<R>, changes: &'a WriteSet) -> Overlay<'a, R> {
        Overlay { base, changes }
    }

    /// What is below.
    pub(crate) fn base(&self) -> &'a PageView<R> {
        self.base
    }

    /// The changes of a node that is there, `None` in it if it is unchanged; `None` if it is deleted, or is not
    /// the one that was meant.
    fn node_change(&self, node: impl NodeName) -> Option<Option<&'a NodeChange>> {
        match self.changes.nodes.get(&node.slot()) {
            None => Some(None),
            Some(change) if change.fate == Fate::Deleted || !node.is_of(change.id.generation()) => None,
            Some(change) => Some(Some(change)),
        }
    }

    /// As [`Overlay::node_change`].
    fn edge_change(&self, edge: impl EdgeName) -> Option<Option<&'a EdgeChange>> {
        match self.changes.edges.get(&edge.slot()) {
            None => Some(None),
            Some(change) if change.fate == Fate::Deleted || !edge.is_of(change.id.generation()) => None,
            Some(change) => Some(Some(change)),
        }
    }

    /// A node as it stood before: the one that `change` changes, which did not exist if it was created.
    fn base_head(&self, change: &NodeChange) -> Result<Option<NodeHead>> {
        match change.fate {
            Fate::Created => Ok(None),
            Fate::Changed | Fate::Deleted => self.base.node_head(change.id),
        }
    }

    fn changed_head(&self, change: &NodeChange) -> Result<NodeHead> {
        let label_set = match change.label_set {
            Some(label_set) => label_set,
            None => match self.base_head(change)? {
                Some(head) => head.label_set,
                None => return Err(Error::NodeNotFound(change.id)),
            },
        };
        Ok(NodeHead { id: change.id, label_set })
    }

    /// Adds the neighbours on one side, the added ones merged in and the removed ones left out, until there are
    /// `max` in all.
    fn merge_side(&self, ask: &Expansion<'_>, side: Side, found: &mut Vec<Neighbour>) -> Result<()> {
        let Some(mut from) = start_of_side(side, ask.after) else { return Ok(()) };
        let change = if side == Side::Out { &ask.change.out } else { &ask.change.in_ };
        let is_shown = |key: &Key| !hidden(ask.change.id.slot(), side, ask.direction, &key.1);
        let mut added = added_after(change, from, ask.types).filter(is_shown).peekable();
        let owner = Owner { slot: ask.change.id.slot(), side };
        let location = match ask.change.fate {
            Fate::Created => None,
            _ => self.base.side(owner)?,
        };
        if let Some(location) = location {
            loop {
                let wanted = (ask.max - found.len()).min(MERGE_BATCH);
                let batch = self.base.side_batch(owner, location, ask.types, from, wanted)?;
                from = batch.last().copied();
                let is_end = batch.len() < wanted;
                for key in batch {
                    while found.len() < ask.max
                        && let Some(new) = added.next_if(|new| *new < key)
                    {
                        found.push(neighbour(side, new));
                    }
                    if found.len() == ask.max {
                        return Ok(());
                    }
                    if !change.removed.contains(&key) && is_shown(&key) {
                        found.push(neighbour(side, key));
                    }
                }
                if found.len() == ask.max {
                    return Ok(());
                }
                if is_end {
                    break;
                }
            }
        }
        found.extend(added.take(ask.max - found.len()).map(|key| neighbour(side, key)));
        Ok(())
    }
}

/// What is asked about the neighbours of a changed node.
struct Expansion<'a> {
    change: &'a NodeChange,
    direction: Direction,
    types: Option<&'a [TypeId]>,
    after: Option<Neighbour>,
    max: usize,
}

fn is_among(types: Option<&[TypeId]>, type_: TypeId) -> bool {
    types.is_none_or(|types| types.contains(&type_))
}

fn added_after<'a>(
    change: &'a AdjacencyChange,
    after: Option<Key>,
    types: Option<&'a [TypeId]>,
) -> impl Iterator<Item = Key> + 'a {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    change.added.range((from, Bound::Unbounded)).copied().filter(move |key| is_among(types, key.0))
}

/// Merges two sorted lists of different things into at most `max`; tells where to go on.
fn merge_scans<T, S: Copy + Ord>(
    base: Scan<T, S>,
    changed: Vec<T>,
    max: usize,
    slot_of: impl Fn(&T) -> S,
) -> Scan<T, S> {
    let Scan { mut found, mut resume } = base;
    if !changed.is_empty() {
        found.extend(changed);
        found.sort_by_key(|item| slot_of(item));
    }
    if found.len() > max {
        found.truncate(max);
        resume = found.last().map(slot_of);
    }
    Scan { found, resume }
}

/// The slots after `after` that a base scan has covered.
fn covered<S>(after: Option<S>, resume: Option<S>) -> (Bound<S>, Bound<S>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), resume.map_or(Bound::Unbounded, Bound::Included))
}

fn shifted(count: u64, delta: i64) -> u64 {
    count.saturating_add_signed(delta)
}

impl<R: PageReader> View for Overlay<'_, R> {
    fn catalog(&self) -> Arc<Catalog> {
        self.base.catalog()
    }

    fn node_count(&self) -> Result<u64> {
        Ok(shifted(self.base.node_count()?, self.changes.nodes_delta()))
    }

    fn edge_count(&self) -> Result<u64> {
        Ok(shifted(self.base.edge_count()?, self.changes.edges_delta()))
    }

    fn node_head(&self, node: impl NodeName) -> Result<Option<NodeHead>> {
        match self.node_change(node) {
            None => Ok(None),
            Some(None) => self.base.node_head(node),
            Some(Some(change)) => self.changed_head(change).map(Some),
        }
    }

    fn properties(&self, node: impl NodeName) -> Result<Option<Vec<(KeyId, Value)>>> {
        match self.node_change(node) {
            None => Ok(None),
            Some(None) => self.base.properties(node),
            Some(Some(change)) => {
                let before =
                    if change.properties.cleared { None } else { self.base.properties(change.id)? };
                change.properties.over(before.unwrap_or_default()).map(Some)
            }
        }
    }

    fn property(&self, node: impl NodeName, key: KeyId) -> Result<Option<Value>> {
        match self.node_change(node) {
            None => Ok(None),
            Some(None) => self.base.property(node, key),
            Some(Some(change)) => {
                let base = || self.base.property(change.id, key);
                change.properties.value_over(key, base).map(Some)
            }
        }
    }

    fn edge_head(&self, edge: impl EdgeName) -> Result<Option<EdgeHead>> {
        match self.edge_change(edge) {
            None => Ok(None),
            Some(None) => self.base.edge_head(edge),
            Some(Some(change)) => Ok(Some(changed_edge_head(change))),
        }
    }

    fn edge_properties(&self, edge: impl EdgeName) -> Result<Option<Vec<(KeyId, Value)>>> {
        match self.edge_change(edge) {
            None => Ok(None),
            Some(None) => self.base.edge_properties(edge),
            Some(Some(change)) => {
                let before =
                    if change.properties.cleared { None } else { self.base.edge_properties(change.id)? };
                change.properties.over(before.unwrap_or_default()).map(Some)
            }
        }
    }

    fn edge_property(&self, edge: impl EdgeName, key: KeyId) -> Result<Option<Value>> {
        match self.edge_change(edge) {
            None => Ok(None),
            Some(None) => self.base.edge_property(edge, key),
            Some(Some(change)) => {
                let base = || self.base.edge_property(change.id, key);
                change.properties.value_over(key, base).map(Some)
            }
        }
    }

    fn degree(&self, node: impl NodeName, direction: Direction, types: Option<&[TypeId]>) -> Result<u64> {
        let change = match self.node_change(node) {
            None => return Ok(0),
            Some(None) => return self.base.degree(node, direction, types),
            Some(Some(change)) => change,
        };
        let before = match change.fate {
            Fate::Created => 0,
            _ => self.base.degree(change.id, direction, types)?,
        };
        let mut delta = 0;
        for &side in Side::of(direction) {
            let changed = if side == Side::Out { &change.out } else { &change.in_ };
            let counts =
                |key: &&Key| is_among(types, key.0) && !hidden(change.id.slot(), side, direction, &key.1);
            delta += changed.added.iter().filter(counts).count() as i64;
            delta -= changed.removed.iter().filter(counts).count() as i64;
        }
        Ok(shifted(before, delta))
    }

    fn neighbours(
        &self,
        node: impl NodeName,
        direction: Direction,
        types: Option<&[TypeId]>,
        after: Option<Neighbour>,
        max: usize,
    ) -> Result<Vec<Neighbour>> {
        let change = match self.node_change(node) {
            None => return Ok(Vec::new()),
            Some(None) => return self.base.neighbours(node, direction, types, after, max),
            Some(Some(change)) => change,
        };
        let mut found = Vec::new();
        let ask = Expansion { change, direction, types, after, max };
        for &side in Side::of(direction) {
            if found.len() < max {
                self.merge_side(&ask, side, &mut found)?;
            }
        }
        Ok(found)
    }

    fn for_each_run(
        &self,
        from: &[NodeSlot],
        direction: Direction,
        types: Option<&[TypeId]>,
        mut visit: impl FnMut(usize, Entries<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let r = self.base.reader();
        expand::for_each_node(r, from, direction, |index, slot, record| {
            let visit = |entries: Entries<'_>| visit(index, entries);
            match &record {
                _ if self.changes.nodes.contains_key(&slot) => {
                    self.expand_changed(slot, direction, types, visit)
                }
                Some(record) => expand::expand(r, slot, record, direction, types, visit),
                None => Ok(ControlFlow::Continue(())),
            }
        })
    }

    fn scan_nodes(
        &self,
        after: Option<NodeSlot>,
        label: Option<LabelId>,
        max: usize,
    ) -> Result<Scan<NodeHead, NodeSlot>> {
        let mut base = self.base.scan_nodes(after, label, max)?;
        base.found.retain(|head| !self.changes.nodes.contains_key(&head.id.slot()));
        let mut changed = Vec::new();
        for change in self.changes.nodes.range(covered(after, base.resume)).map(|(_, change)| change) {
            if change.fate == Fate::Deleted {
                continue;
            }
            let head = self.changed_head(change)?;
            let is_found = match label {
                None => true,
                Some(label) => self.has_label(head, label)?,
            };
            if is_found {
                changed.push(head);
                // More of them than are asked for cannot be shown, and past the table's end all are still to come.
                if changed.len() > max {
                    break;
                }
            }
        }
        Ok(merge_scans(base, changed, max, |head| head.id.slot()))
    }

    fn scan_edges(
        &self,
        after: Option<EdgeSlot>,
        type_: Option<TypeId>,
        max: usize,
    ) -> Result<Scan<EdgeHead, EdgeSlot>> {
        let mut base = self.base.scan_edges(after, type_, max)?;
        base.found.retain(|head| !self.changes.edges.contains_key(&head.id.slot()));
        let changed = self.changes.edges.range(covered(after, base.resume)).map(|(_, change)| change);
        let changed = changed
            .filter(|change| change.fate != Fate::Deleted && type_.is_none_or(|type_| type_ == change.type_))
            .map(changed_edge_head)
            .take(max.saturating_add(1))
            .collect();
        Ok(merge_scans(base, changed, max, |head| head.id.slot()))
    }

    fn node_slots_end(&self) -> Result<u64> {
        let changed = self.changes.nodes.last_key_value().map_or(0, |(slot, _)| slot.0 + 1);
        Ok(self.base.node_slots_end()?.max(changed))
    }
}

impl<R: PageReader> Overlay<'_, R> {
    fn has_label(&self, head: NodeHead, label: LabelId) -> Result<bool> {
        let labels = self.base.known().labels_of(head.label_set);
        let labels = labels.ok_or(Error::UnknownLabels { node: head.id })?;
        Ok(labels.binary_search(&label).is_ok())
    }

    /// Visits the neighbours of a changed node, run by run.
    fn expand_changed(
        &self,
        slot: NodeSlot,
        direction: Direction,
        types: Option<&[TypeId]>,
        mut visit: impl FnMut(Entries<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut after = None;
        loop {
            let batch = self.neighbours(slot, direction, types, after, MERGE_BATCH)?;
            for run in batch.chunk_by(|a, b| (a.direction, a.type_) == (b.direction, b.type_)) {
                let entry = |step: &Neighbour| Entry { neighbour: step.node, edge: step.edge }.encode();
                let raw: Vec<_> = run.iter().map(entry).collect();
                let flow = visit(Entries::new(&raw));
                if flow.is_break() {
                    return Ok(flow);
                }
            }
            after = batch.last().copied();
            if batch.len() < MERGE_BATCH {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }
}

fn changed_edge_head(change: &EdgeChange) -> EdgeHead {
    EdgeHead { id: change.id, type_: change.type_, start: change.start.slot(), end: change.end.slot() }
}
