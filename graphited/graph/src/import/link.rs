//! Linking: the edges of a batch go into the adjacency of their ends.
//!
//! The edges are seen from both ends, sorted by node, and merged node by node in the order of the node table; a page
//! that several of these nodes share is changed in one stretch. There are two ways:
//!
//! - **in place**, if the pages that are there already and have to change are few enough for one turn: each of them
//!   is held twice in memory and goes into the log;
//! - **by moving**, if they are more: all small adjacency in the pages concerned, and the node table pages that point
//!   at it, are written to new pages one after another, which bypass the log and leave memory as soon as they are
//!   full, and the old ones are freed. So each page is read once and written once, in order, and what is held does
//!   not grow with the graph.
//!
//! The choice is made before anything is changed, from what the node records say.

use graphite_store::{PAGE_BYTES, PageNo, PageReader, PageWriter};
use rustc_hash::FxHashSet;

use super::{ChangesMax, EdgeBatch};
use crate::adjacency::{ENTRY_BYTES, Entry, Key, Owner, Relocation, Side};
use crate::apply::{Spaces, change_side};
use crate::nodes::{self, NODES_PER_PAGE, NodeReader, NodeRecord};
use crate::{EdgeSlot, Error, NodeId, NodeSlot, Result, TypeId};

/// Pages besides adjacency and node table that a batch may change: maps, directories, and those that were not full.
const OTHER_PAGES: usize = 64;
/// Entries of a hub's leaf, if it is no fuller than most.
const LEAF_ENTRIES: u32 = 400;

/// One edge as seen from one end, packed so that whole numbers compare as (node, type, neighbour, edge) do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Half {
    /// Slot of the node above 16 bits of generation.
    node: u64,
    /// 16 bits of type above the slot of the neighbour.
    type_and_neighbour: u64,
    edge: u64,
}

const SLOT_BITS: u32 = 48;
const GENERATION_BITS: u32 = 64 - SLOT_BITS;

impl Half {
    fn new(node: NodeId, type_: TypeId, neighbour: NodeId, edge: EdgeSlot) -> Half {
        Half {
            node: node.slot().0 << GENERATION_BITS | u64::from(node.generation()),
            type_and_neighbour: u64::from(type_.0) << SLOT_BITS | neighbour.slot().0,
            edge: edge.0,
        }
    }

    fn node(self) -> NodeId {
        NodeId::new(NodeSlot(self.node >> GENERATION_BITS), (self.node & 0xffff) as u16)
    }

    fn key(self) -> Key {
        let neighbour = NodeSlot(self.type_and_neighbour & ((1 << SLOT_BITS) - 1));
        (
            TypeId((self.type_and_neighbour >> SLOT_BITS) as u32),
            Entry { neighbour, edge: EdgeSlot(self.edge) },
        )
    }
}

/// What is left of a batch: sorted halves of both sides.
#[derive(Clone, Copy)]
struct Halves<'a> {
    sides: [(Side, &'a [Half]); 2],
}

impl<'a> Halves<'a> {
    /// The node that comes next.
    fn next(&self) -> Option<NodeId> {
        let first = self.sides.iter().filter_map(|(_, halves)| halves.first());
        first.min_by_key(|half| half.node).map(|half| half.node())
    }

    /// Takes those of one node, which is the next one or comes before it: out and in.
    fn take(&mut self, node: NodeId) -> [&'a [Half]; 2] {
        self.sides.each_mut().map(|(_, halves)| {
            let count = halves.iter().take_while(|half| half.node() == node).count();
            let (mine, rest) = halves.split_at(count);
            *halves = rest;
            mine
        })
    }
}

/// A node's location and degree on one side.
fn side_of(record: &NodeRecord, side: Side) -> (Option<crate::location::Location>, u32) {
    match side {
        Side::Out => (record.out, record.out_degree),
        Side::In => (record.in_, record.in_degree),
    }
}

/// See `add_edges`.
pub(super) fn link<W: PageWriter>(
    w: &mut W,
    spaces: &mut Spaces,
    first: EdgeSlot,
    batch: &EdgeBatch,
    changes_max: ChangesMax,
) -> Result<()> {
    if batch.types.iter().any(|type_| type_.0 > u32::from(u16::MAX)) {
        return Err(Error::TooMany { what: "edge types", max: u64::from(u16::MAX) });
    }
    let sorted = |from: &[NodeId], to: &[NodeId]| {
        let slots = (first.0..).map(EdgeSlot);
        let rows = from.iter().zip(to).zip(&batch.types).zip(slots);
        let mut halves: Vec<Half> =
            rows.map(|(((&from, &to), &type_), edge)| Half::new(from, type_, to, edge)).collect();
        halves.sort_unstable();
        halves
    };
    let (out, in_) = (sorted(&batch.starts, &batch.ends), sorted(&batch.ends, &batch.starts));
    let halves = Halves { sides: [(Side::Out, &out), (Side::In, &in_)] };
    match pages_to_leave(w, halves, changes_max)? {
        None => link_in_place(w, spaces, halves),
        Some(pages) => link_moving(w, spaces, halves, pages),
    }
}

/// The adjacency pages that the batch concerns, if there are more changes than may be made in place. Makes sure that
/// all nodes are there.
fn pages_to_leave<R: PageReader>(
    r: &R,
    mut halves: Halves<'_>,
    changes_max: ChangesMax,
) -> Result<Option<FxHashSet<PageNo>>> {
    let mut reader = NodeReader::new(r);
    let mut pages = FxHashSet::default();
    let (mut hub_pages, mut hub_bytes, mut table_pages) = (0, 0, 0);
    let mut table_page = None;
    while let Some(id) = halves.next() {
        let record = reader.read(id.slot())?.filter(|record| record.generation == id.generation());
        let record = record.ok_or(Error::NodeNotFound(id))?;
        for (side, added) in [Side::Out, Side::In].into_iter().zip(halves.take(id)) {
            match side_of(&record, side) {
                (Some(location), degree) if location.is_tree() && !added.is_empty() => {
                    let leaves = (degree.div_ceil(LEAF_ENTRIES) as usize).min(added.len());
                    let inner = usize::from(degree > LEAF_ENTRIES);
                    hub_pages += leaves + inner;
                    let all = u64::from(degree) * ENTRY_BYTES as u64;
                    hub_bytes += all.min((leaves * PAGE_BYTES) as u64) + (inner * PAGE_BYTES / 8) as u64;
                }
                (Some(location), _) if !location.is_tree() && !added.is_empty() => {
                    pages.insert(location.page);
                }
                _ => {}
            }
        }
        let page = Some(id.slot().0 / NODES_PER_PAGE as u64);
        table_pages += usize::from(page != table_page);
        table_page = page;
    }
    let whole_pages = pages.len() + table_pages + OTHER_PAGES;
    let is_too_much = whole_pages + hub_pages > changes_max.pages
        || (whole_pages * PAGE_BYTES) as u64 + hub_bytes > changes_max.bytes;
    Ok(is_too_much.then_some(pages))
}

fn link_in_place<W: PageWriter>(w: &mut W, spaces: &mut Spaces, mut halves: Halves<'_>) -> Result<()> {
    let mut keys = Vec::new();
    while let Some(id) = halves.next() {
        let slot = id.slot();
        let record = nodes::read_node(w, slot)?.filter(|record| record.generation == id.generation());
        let mut record = record.ok_or(Error::NodeNotFound(id))?;
        for (side, added) in [Side::Out, Side::In].into_iter().zip(halves.take(id)) {
            if !added.is_empty() {
                keys.clear();
                keys.extend(added.iter().map(|half| half.key()));
                change_side(w, spaces, &mut record, Owner { slot, side }, &[], &keys)?;
            }
        }
        nodes::put_node(w, slot, &record)?;
    }
    Ok(())
}

fn link_moving<W: PageWriter>(
    w: &mut W,
    spaces: &mut Spaces,
    mut halves: Halves<'_>,
    pages: FxHashSet<PageNo>,
) -> Result<()> {
    let mut relocation = Relocation::of(pages);
    let mut records: Vec<(NodeSlot, NodeRecord)> = Vec::with_capacity(NODES_PER_PAGE);
    let mut keys = Vec::new();
    for page in 0..nodes::node_pages(w)? {
        records.clear();
        nodes::visit_nodes_in_page(w, page, |slot, record| {
            records.push((slot, record));
            Ok(())
        })?;
        let end = (page + 1) * NODES_PER_PAGE as u64;
        let is_next = halves.next().is_some_and(|id| id.slot().0 < end);
        let moves = |(_, record): &(NodeSlot, NodeRecord)| {
            relocation.concerns(record.out) || relocation.concerns(record.in_)
        };
        if !is_next && !records.iter().any(moves) {
            continue;
        }
        nodes::move_node_page(w, page)?;
        for &(slot, before) in &records {
            let mut record = before;
            let added = halves.take(NodeId::new(slot, record.generation));
            for (side, added) in [Side::Out, Side::In].into_iter().zip(added) {
                keys.clear();
                keys.extend(added.iter().map(|half| half.key()));
                let (location, degree) = match side {
                    Side::Out => (&mut record.out, &mut record.out_degree),
                    Side::In => (&mut record.in_, &mut record.in_degree),
                };
                let owner = Owner { slot, side };
                *location = relocation.apply(w, &mut spaces.adjacency, owner, *location, *degree, &keys)?;
                let max = u64::from(u32::MAX);
                *degree = u32::try_from(keys.len())
                    .ok()
                    .and_then(|added| degree.checked_add(added))
                    .ok_or(Error::TooMany { what: "edges on one side of a node", max })?;
            }
            if record != before {
                nodes::put_node(w, slot, &record)?;
            }
        }
    }
    if let Some(id) = halves.next() {
        return Err(Error::NodeNotFound(id));
    }
    relocation.end(w, &mut spaces.adjacency)
}
