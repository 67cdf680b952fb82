//! Applying a write set: the one place where meaning becomes pages.
//!
//! Runs in the applier's turn: sequential code over the newest pages. If any step fails, whoever owns the turn
//! drops it whole and calls [`Spaces::forget`]; so nothing here cleans up.
//!
//! Order of work, so that each page is changed in one stretch: edges by slot (record, properties), then nodes by
//! slot (properties, outgoing and incoming adjacency, record), then the counters.
//!
//! Invariants:
//! 1. Both ends of each edge learn of it in the same write set, so the two sides always mirror each other.
//! 2. A node's degrees are the numbers of entries at its two locations; a node goes only when both are zero after
//!    this write set.
//! 3. What a write set changes is still there, of the same generation, or the whole set is refused.

use std::borrow::Cow;

use graphite_store::{PageReader, PageWriter};

use crate::adjacency::{self, Key, Owner, Side};
use crate::edges::{self, EdgeRecord};
use crate::location::Location;
use crate::nodes::{self, NodeReader, NodeRecord};
use crate::properties::{self, Others, change_properties};
use crate::space::SpaceMap;
use crate::state;
use crate::write_set::{EdgeChange, Fate, NodeChange, PropertyChanges, WriteSet};
use crate::{EdgeSlot, Error, KeyId, LabelSetId, NodeSlot, Result, Value};

/// Write sets whose nodes are asked for before the first of them is applied, and nodes of them: with many more, what came
/// first would be gone again from the processor's cache when it is looked at.
const AHEAD_SETS: usize = 8;
const AHEAD_NODES: usize = 64;

/// Where the next record goes: the two maps of free space.
#[derive(Debug)]
pub struct Spaces {
    /// Of property records.
    pub records: SpaceMap,
    /// Of small adjacency blocks.
    pub adjacency: SpaceMap,
}

impl Default for Spaces {
    fn default() -> Self {
        Spaces { records: SpaceMap::records(), adjacency: SpaceMap::adjacency() }
    }
}

impl Spaces {
    /// To be called when a turn was dropped.
    pub fn forget(&mut self) {
        self.records.forget();
        self.adjacency.forget();
    }
}

/// Applies a write set to the newest pages.
///
/// # Errors
/// Of the store, also where a value was spilled; `NodeNotFound` and `EdgeNotFound` if something changed is no longer
/// there, `NodeHasEdges` if a deleted node would leave edges behind, and the limits of values and degrees. The turn then
/// has to be dropped.
pub fn apply<W: PageWriter>(w: &mut W, spaces: &mut Spaces, set: &WriteSet) -> Result<()> {
    for (&slot, change) in &set.edges {
        apply_edge(w, spaces, slot, change)?;
    }
    for (&slot, change) in &set.nodes {
        apply_node(w, spaces, slot, change)?;
    }
    add_to_counter(w, state::NODE_COUNT, set.nodes_delta())?;
    add_to_counter(w, state::EDGE_COUNT, set.edges_delta())
}

/// Adds to one of the counters of the state page.
pub(crate) fn add_to_counter<W: PageWriter>(w: &mut W, counter: usize, delta: i64) -> Result<()> {
    if delta != 0 {
        let count = w.state(counter)?;
        let why = "a counter of nodes or edges is off";
        let count = count
            .checked_add_signed(delta)
            .ok_or(Error::Corrupt { page: graphite_store::STATE_PAGE, why })?;
        w.set_state(counter, count)?;
    }
    Ok(())
}

/// Applies write sets one after another, as [`apply`] does.
///
/// # Errors
/// As of [`apply`], of the first that fails.
pub fn apply_all<W: PageWriter>(w: &mut W, spaces: &mut Spaces, sets: &[&WriteSet]) -> Result<()> {
    for some in sets.chunks(AHEAD_SETS) {
        // Only asked for: what is wrong is told by whoever looks.
        let _ = prefetch(w, some);
        some.iter().try_for_each(|set| apply(w, spaces, set))?;
    }
    Ok(())
}

/// Asks for the memory that is looked at first: the slots of nodes, then their adjacency. See `expand.rs`.
fn prefetch<R: PageReader>(r: &R, sets: &[&WriteSet]) -> Result<()> {
    let mut reader = NodeReader::new(r);
    let nodes = || sets.iter().flat_map(|set| set.nodes.iter()).take(AHEAD_NODES);
    nodes().try_for_each(|(slot, _)| reader.prefetch(*slot))?;
    for (slot, change) in nodes() {
        let Some(record) = reader.read(*slot)? else { continue };
        for (location, changed) in [(record.out, &change.out), (record.in_, &change.in_)] {
            if let Some(location) = location.filter(|_| !changed.is_empty()) {
                adjacency::prefetch(r, location);
            }
        }
    }
    Ok(())
}

fn apply_edge<W: PageWriter>(
    w: &mut W,
    spaces: &mut Spaces,
    slot: EdgeSlot,
    change: &EdgeChange,
) -> Result<()> {
    let owner = properties::Owner::Edge(slot);
    if change.fate == Fate::Created {
        let mut record = EdgeRecord {
            start: change.start.slot(),
            end: change.end.slot(),
            type_: change.type_,
            generation: change.id.generation(),
            properties: None,
        };
        record.properties = apply_properties(w, spaces, owner, None, &change.properties)?;
        return edges::put_edge(w, slot, &record);
    }
    let record = edges::read_edge(w, slot)?.filter(|record| record.generation == change.id.generation());
    let before = record.ok_or(Error::EdgeNotFound(change.id))?;
    if change.fate == Fate::Deleted {
        if let Some(at) = before.properties {
            properties::delete_properties(w, &mut spaces.records, at)?;
        }
        return edges::free_edge(w, slot);
    }
    let properties = apply_properties(w, spaces, owner, before.properties, &change.properties)?;
    if properties != before.properties {
        edges::put_edge(w, slot, &EdgeRecord { properties, ..before })?;
    }
    Ok(())
}

fn apply_node<W: PageWriter>(
    w: &mut W,
    spaces: &mut Spaces,
    slot: NodeSlot,
    change: &NodeChange,
) -> Result<()> {
    let generation = change.id.generation();
    let before = if change.fate == Fate::Created {
        None
    } else {
        let record = nodes::read_node(w, slot)?.filter(|record| record.generation == generation);
        Some(record.ok_or(Error::NodeNotFound(change.id))?)
    };
    if let (Fate::Deleted, Some(before)) = (change.fate, &before) {
        return delete_node(w, spaces, slot, change, before);
    }
    let mut record = before.unwrap_or_else(|| new_node(generation));
    if let Some(label_set) = change.label_set {
        record.label_set = label_set;
    }
    let owner = properties::Owner::Node(slot);
    record.properties = apply_properties(w, spaces, owner, record.properties, &change.properties)?;
    for side in [Side::Out, Side::In] {
        let changed = if side == Side::Out { &change.out } else { &change.in_ };
        if !changed.is_empty() {
            let removed: Vec<Key> = changed.removed.iter().copied().collect();
            let added: Vec<Key> = changed.added.iter().copied().collect();
            change_side(w, spaces, &mut record, Owner { slot, side }, &removed, &added)?;
        }
    }
    if before != Some(record) { nodes::put_node(w, slot, &record) } else { Ok(()) }
}

/// A node as it begins: without anything.
pub(crate) fn new_node(generation: u16) -> NodeRecord {
    NodeRecord {
        label_set: LabelSetId(0),
        generation,
        properties: None,
        out: None,
        in_: None,
        out_degree: 0,
        in_degree: 0,
    }
}

/// Changes one side of a node's adjacency, and the record that points at it.
pub(crate) fn change_side<W: PageWriter>(
    w: &mut W,
    spaces: &mut Spaces,
    record: &mut NodeRecord,
    owner: Owner,
    removed: &[Key],
    added: &[Key],
) -> Result<()> {
    let (location, degree) = match owner.side {
        Side::Out => (&mut record.out, &mut record.out_degree),
        Side::In => (&mut record.in_, &mut record.in_degree),
    };
    let left = (*degree as usize).checked_sub(removed.len());
    let left = left.ok_or_else(|| contradiction(*location, "a node has fewer edges than it loses"))?;
    *degree = u32::try_from(left + added.len())
        .map_err(|_| Error::TooMany { what: "edges on one side of a node", max: u64::from(u32::MAX) })?;
    *location = adjacency::apply(w, &mut spaces.adjacency, owner, *location, removed, added)?;
    if location.is_some() != (*degree > 0) {
        return Err(contradiction(*location, "a node's degree is not its number of edges"));
    }
    Ok(())
}

fn contradiction(location: Option<Location>, why: &'static str) -> Error {
    Error::Corrupt { page: location.map_or(graphite_store::STATE_PAGE, |location| location.page), why }
}

fn delete_node<W: PageWriter>(
    w: &mut W,
    spaces: &mut Spaces,
    slot: NodeSlot,
    change: &NodeChange,
    before: &NodeRecord,
) -> Result<()> {
    let sides = [
        (Side::Out, before.out, before.out_degree, &change.out),
        (Side::In, before.in_, before.in_degree, &change.in_),
    ];
    for (side, location, degree, changed) in sides {
        let left = u64::from(degree) + changed.added.len() as u64;
        let left = left.saturating_sub(changed.removed.len() as u64);
        if left > 0 {
            return Err(Error::NodeHasEdges { node: change.id, edges: left });
        }
        if let Some(location) = location {
            adjacency::destroy(w, &mut spaces.adjacency, Owner { slot, side }, location)?;
        }
    }
    if let Some(at) = before.properties {
        properties::delete_properties(w, &mut spaces.records, at)?;
    }
    nodes::free_node(w, slot)
}

fn apply_properties<W: PageWriter>(
    w: &mut W,
    spaces: &mut Spaces,
    owner: properties::Owner,
    before: Option<Location>,
    changes: &PropertyChanges,
) -> Result<Option<Location>> {
    if changes.is_empty() || (before.is_none() && changes.values.is_empty()) {
        return Ok(before);
    }
    let others = if changes.cleared { Others::Go } else { Others::Stay };
    // Spilled values are read within the turn: to read them before it would bring all of them back into memory. They were
    // written by this process not long ago, so it is most often a copy out of the system's page cache.
    let read = changes.values.iter().map(|(key, kept)| Ok((*key, kept.value()?)));
    let values: Vec<(KeyId, Cow<'_, Value>)> = read.collect::<Result<_>>()?;
    let values = values.iter().map(|(key, value)| (*key, &**value));
    change_properties(w, &mut spaces.records, owner, before, others, values)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use graphite_store::StoreOptions;
    use graphite_store::clock::SimClock;
    use graphite_store::disk::SimDisk;

    use super::*;
    use crate::{EdgeId, GraphDb, KeyId, NodeId, TypeId};

    /// The locks see to it that it never comes to that; if they do not, another node or edge is not changed in its place.
    #[test]
    fn what_is_not_of_the_same_generation_is_not_changed() {
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let (disk, clock) = (Arc::new(SimDisk::new()), Arc::new(SimClock::default()));
        let db = GraphDb::open(disk, clock, Path::new("/graph"), options).unwrap();
        assert_eq!(
            (db.key_id_or_create("key").unwrap(), db.type_id_or_create("T").unwrap()),
            (KeyId(0), TypeId(0))
        );
        let mut tx = db.begin().unwrap();
        let node = tx.create_node(&[], &[]).unwrap();
        let edge = tx.create_edge(node, TypeId(0), node, &[]).unwrap();
        tx.commit().unwrap();
        for off in [0, 1] {
            let mut set = WriteSet::default();
            let id = NodeId::new(node.slot(), node.generation() + off);
            set.set_node_property(id, KeyId(0), Value::Int(1)).unwrap();
            let applied = apply(&mut db.store().turn().unwrap(), &mut Spaces::default(), &set);
            assert_eq!(applied.is_ok(), off == 0, "{applied:?}");
            let mut set = WriteSet::default();
            let id = EdgeId::new(edge.slot(), edge.generation() + off);
            let ends = crate::write_set::EdgeEnds { id, type_: TypeId(0), start: node, end: node };
            set.set_edge_property(ends, KeyId(0), Value::Int(1)).unwrap();
            let applied = apply(&mut db.store().turn().unwrap(), &mut Spaces::default(), &set);
            assert_eq!(applied.is_ok(), off == 0, "{applied:?}");
        }
    }
}
