//! The graph as its pages hold it: a [`View`] over any consistent state of pages.
//!
//! Invariants:
//! 1. The catalog is at least as new as the pages, so that every number in them has a name.
//! 2. Nothing here remembers a page beyond one call.

use std::ops::ControlFlow;
use std::sync::Arc;

use graphite_store::PageReader;

use crate::adjacency::{self, Entries, Entry, Key, Owner, Side};
use crate::catalog::Catalog;
use crate::edges::{self, EDGES_PER_PAGE, EdgeRecord};
use crate::expand;
use crate::location::Location;
use crate::nodes::{self, NODES_PER_PAGE, NodeRecord};
use crate::properties::{read_properties, read_property, show_properties};
use crate::state;
use crate::value_codec::Seen;
use crate::view::{EdgeHead, EdgeName, Neighbour, Node, NodeHead, NodeName, SCAN_PAGES_MAX, Scan, View};
use crate::{Direction, EdgeId, EdgeSlot, Error, KeyId, LabelId, NodeId, NodeSlot, Result, TypeId, Value};

/// Whoever a node is shown to, piece by piece; each says whether to go on.
pub trait ShowNode {
    /// The labels, sorted; comes first.
    fn labels(&mut self, labels: &[LabelId]) -> bool;
    /// A property; they come by rising key.
    fn property(&mut self, key: KeyId, value: Seen<'_>) -> bool;
}

/// The graph in one consistent state of pages.
pub struct PageView<R> {
    reader: R,
    catalog: Arc<Catalog>,
}

impl<R: PageReader> PageView<R> {
    /// The graph in `reader`. The catalog must have been taken after it.
    pub fn new(reader: R, catalog: Arc<Catalog>) -> PageView<R> {
        PageView { reader, catalog }
    }

    /// The catalog, without a clone of it.
    pub fn known(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The pages.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    fn node_record(&self, node: impl NodeName) -> Result<Option<NodeRecord>> {
        let record = nodes::read_node(&self.reader, node.slot())?;
        Ok(record.filter(|record| node.is_of(record.generation)))
    }

    /// Shows a node to `show`, without making it. Returns whether all of it was shown: there is such a node, and `show`
    /// never said stop.
    ///
    /// # Errors
    /// As [`View::node`].
    pub fn show_node(&self, node: NodeId, show: &mut impl ShowNode) -> Result<bool> {
        let Some(record) = self.node_record(node)? else { return Ok(false) };
        let labels = self.catalog.labels_of(record.label_set).ok_or(Error::UnknownLabels { node })?;
        if !show.labels(labels) {
            return Ok(false);
        }
        let Some(at) = record.properties else { return Ok(true) };
        show_properties(&self.reader, at, |key, value| show.property(key, value))
    }

    fn edge_record(&self, edge: impl EdgeName) -> Result<Option<EdgeRecord>> {
        let record = edges::read_edge(&self.reader, edge.slot())?;
        Ok(record.filter(|record| edge.is_of(record.generation)))
    }

    /// The next at most `max` entries of one side of a node, after `after`.
    pub(crate) fn side_batch(
        &self,
        owner: Owner,
        location: Location,
        types: Option<&[TypeId]>,
        after: Option<Key>,
        max: usize,
    ) -> Result<Vec<Key>> {
        let mut found = Vec::new();
        adjacency::scan_from(&self.reader, owner, location, types, after, max, &mut found)?;
        Ok(found)
    }

    /// Where one side of a node's adjacency is.
    pub(crate) fn side(&self, owner: Owner) -> Result<Option<Location>> {
        Ok(nodes::read_node(&self.reader, owner.slot)?.and_then(|record| side_of(&record, owner.side).0))
    }

    /// Whether nodes with this head have the label; remembers the last answer.
    fn label_filter(&self, label: Option<LabelId>) -> impl FnMut(NodeHead) -> Result<bool> + '_ {
        let mut last = None;
        move |head| {
            let Some(label) = label else { return Ok(true) };
            if let Some((set, answer)) = last
                && set == head.label_set
            {
                return Ok(answer);
            }
            let labels = self.catalog.labels_of(head.label_set);
            let labels = labels.ok_or(Error::UnknownLabels { node: head.id })?;
            let answer = labels.binary_search(&label).is_ok();
            last = Some((head.label_set, answer));
            Ok(answer)
        }
    }
}

/// One side of a node's adjacency: where it is, and how many edges it has.
pub(crate) fn side_of(record: &NodeRecord, side: Side) -> (Option<Location>, u32) {
    match side {
        Side::Out => (record.out, record.out_degree),
        Side::In => (record.in_, record.in_degree),
    }
}

fn node_head(slot: NodeSlot, record: &NodeRecord) -> NodeHead {
    NodeHead { id: NodeId::new(slot, record.generation), label_set: record.label_set }
}

fn edge_head(slot: EdgeSlot, record: &EdgeRecord) -> EdgeHead {
    let id = EdgeId::new(slot, record.generation);
    EdgeHead { id, type_: record.type_, start: record.start, end: record.end }
}

/// Collects matches table page by table page: what both scans share. Slots are numbers here.
fn scan_pages<T>(
    after: Option<u64>,
    max: usize,
    pages: u64,
    slots_per_page: u64,
    slot_of: impl Fn(&T) -> u64,
    mut visit_page: impl FnMut(u64, &mut Vec<T>) -> Result<()>,
) -> Result<(Vec<T>, Option<u64>)> {
    let from = after.map_or(0, |slot| slot + 1);
    let first = from / slots_per_page;
    let mut found = Vec::new();
    if max == 0 {
        return Ok((found, after));
    }
    for page in first..pages {
        if page - first == SCAN_PAGES_MAX {
            return Ok((found, Some(page * slots_per_page - 1)));
        }
        let before = found.len();
        visit_page(page, &mut found)?;
        if page == first {
            let skipped = found[before..].iter().take_while(|item| slot_of(item) < from).count();
            found.drain(before..before + skipped);
        }
        if found.len() >= max {
            found.truncate(max);
            let resume = found.last().map(&slot_of);
            return Ok((found, resume));
        }
    }
    Ok((found, None))
}

impl<R: PageReader> View for PageView<R> {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    fn node_count(&self) -> Result<u64> {
        Ok(self.reader.state(state::NODE_COUNT)?)
    }

    fn edge_count(&self) -> Result<u64> {
        Ok(self.reader.state(state::EDGE_COUNT)?)
    }

    fn node_head(&self, node: impl NodeName) -> Result<Option<NodeHead>> {
        Ok(self.node_record(node)?.map(|record| node_head(node.slot(), &record)))
    }

    fn node(&self, node: impl NodeName) -> Result<Option<Node>> {
        let Some(record) = self.node_record(node)? else { return Ok(None) };
        let head = node_head(node.slot(), &record);
        let labels = self.catalog.labels_of(head.label_set);
        let labels = labels.ok_or(Error::UnknownLabels { node: head.id })?.to_vec();
        let properties = record.properties.map_or(Ok(Vec::new()), |at| read_properties(&self.reader, at))?;
        Ok(Some(Node { id: head.id, labels, properties }))
    }

    fn properties(&self, node: impl NodeName) -> Result<Option<Vec<(KeyId, Value)>>> {
        let Some(record) = self.node_record(node)? else { return Ok(None) };
        record.properties.map_or(Ok(Vec::new()), |at| read_properties(&self.reader, at)).map(Some)
    }

    fn property(&self, node: impl NodeName, key: KeyId) -> Result<Option<Value>> {
        let Some(record) = self.node_record(node)? else { return Ok(None) };
        let value = record.properties.map_or(Ok(None), |at| read_property(&self.reader, at, key))?;
        Ok(Some(value.unwrap_or(Value::Null)))
    }

    fn edge_head(&self, edge: impl EdgeName) -> Result<Option<EdgeHead>> {
        Ok(self.edge_record(edge)?.map(|record| edge_head(edge.slot(), &record)))
    }

    fn edge_properties(&self, edge: impl EdgeName) -> Result<Option<Vec<(KeyId, Value)>>> {
        let Some(record) = self.edge_record(edge)? else { return Ok(None) };
        record.properties.map_or(Ok(Vec::new()), |at| read_properties(&self.reader, at)).map(Some)
    }

    fn edge_property(&self, edge: impl EdgeName, key: KeyId) -> Result<Option<Value>> {
        let Some(record) = self.edge_record(edge)? else { return Ok(None) };
        let value = record.properties.map_or(Ok(None), |at| read_property(&self.reader, at, key))?;
        Ok(Some(value.unwrap_or(Value::Null)))
    }

    fn degree(&self, node: impl NodeName, direction: Direction, types: Option<&[TypeId]>) -> Result<u64> {
        let Some(record) = self.node_record(node)? else { return Ok(0) };
        let slot = node.slot();
        let mut degree = 0;
        for &side in Side::of(direction) {
            let (location, all) = side_of(&record, side);
            degree += match (location, types) {
                (None, _) => 0,
                (Some(_), None) => u64::from(all),
                (Some(location), Some(_)) => {
                    adjacency::count(&self.reader, Owner { slot, side }, location, types)?
                }
            };
        }
        if direction == Direction::Both
            && record.in_.is_some()
            && let Some(location) = record.out
        {
            let owner = Owner { slot, side: Side::Out };
            let mut loops = 0;
            let _ = adjacency::find(&self.reader, owner, location, types, slot, |_, _| {
                loops += 1;
                ControlFlow::<()>::Continue(())
            })?;
            degree = degree.saturating_sub(loops);
        }
        Ok(degree)
    }

    fn neighbours(
        &self,
        node: impl NodeName,
        direction: Direction,
        types: Option<&[TypeId]>,
        after: Option<Neighbour>,
        max: usize,
    ) -> Result<Vec<Neighbour>> {
        let Some(record) = self.node_record(node)? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for &side in Side::of(direction) {
            let Some(mut from) = start_of_side(side, after) else { continue };
            let Some(location) = side_of(&record, side).0 else { continue };
            let owner = Owner { slot: node.slot(), side };
            while found.len() < max {
                let wanted = max - found.len();
                let batch = self.side_batch(owner, location, types, from, wanted)?;
                from = batch.last().copied();
                let is_end = batch.len() < wanted;
                let shown =
                    batch.into_iter().filter(|(_, entry)| !hidden(node.slot(), side, direction, entry));
                found.extend(shown.map(|key| neighbour(side, key)));
                if is_end {
                    break;
                }
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
        // Each node's edges are in a page of their own, mostly.
        self.reader.expect(from.len())?;
        expand::for_each_node(&self.reader, from, direction, |index, slot, record| match &record {
            Some(record) => {
                expand::expand(&self.reader, slot, record, direction, types, |entries| visit(index, entries))
            }
            None => Ok(ControlFlow::Continue(())),
        })
    }

    fn scan_nodes(
        &self,
        after: Option<NodeSlot>,
        label: Option<LabelId>,
        max: usize,
    ) -> Result<Scan<NodeHead, NodeSlot>> {
        let pages = nodes::node_pages(&self.reader)?;
        let mut has_label = self.label_filter(label);
        let after = after.map(|slot| slot.0);
        let slot_of = |head: &NodeHead| head.id.slot().0;
        let (found, resume) =
            scan_pages(after, max, pages, NODES_PER_PAGE as u64, slot_of, |page, found| {
                nodes::visit_nodes_in_page(&self.reader, page, |slot, record| {
                    let head = node_head(slot, &record);
                    if has_label(head)? {
                        found.push(head);
                    }
                    Ok(())
                })
            })?;
        Ok(Scan { found, resume: resume.map(NodeSlot) })
    }

    fn scan_edges(
        &self,
        after: Option<EdgeSlot>,
        type_: Option<TypeId>,
        max: usize,
    ) -> Result<Scan<EdgeHead, EdgeSlot>> {
        let pages = edges::edge_pages(&self.reader)?;
        let after = after.map(|slot| slot.0);
        let slot_of = |head: &EdgeHead| head.id.slot().0;
        let (found, resume) =
            scan_pages(after, max, pages, EDGES_PER_PAGE as u64, slot_of, |page, found| {
                edges::visit_edges_in_page(&self.reader, page, |slot, record| {
                    if type_.is_none_or(|type_| type_ == record.type_) {
                        found.push(edge_head(slot, &record));
                    }
                    Ok(())
                })
            })?;
        Ok(Scan { found, resume: resume.map(EdgeSlot) })
    }

    fn node_slots_end(&self) -> Result<u64> {
        Ok(nodes::node_pages(&self.reader)?.saturating_mul(NODES_PER_PAGE as u64))
    }
}

/// Where a batch after `after` starts on one side: `None` if that side is already done, `Some(None)` at its
/// beginning.
pub(crate) fn start_of_side(side: Side, after: Option<Neighbour>) -> Option<Option<Key>> {
    let Some(after) = after else { return Some(None) };
    let key = (after.type_, Entry { neighbour: after.node, edge: after.edge });
    match (side, after.direction) {
        (Side::Out, Direction::In) => None,
        (Side::In, Direction::In) | (Side::Out, _) => Some(Some(key)),
        (Side::In, _) => Some(None),
    }
}

/// Whether an entry is the incoming half of a loop that was shown as outgoing already.
pub(crate) fn hidden(node: NodeSlot, side: Side, direction: Direction, entry: &Entry) -> bool {
    side == Side::In && direction == Direction::Both && entry.neighbour == node
}

/// An entry as the outside sees it.
pub(crate) fn neighbour(side: Side, (type_, entry): Key) -> Neighbour {
    let direction = if side == Side::Out { Direction::Out } else { Direction::In };
    Neighbour { direction, type_, node: entry.neighbour, edge: entry.edge }
}
