//! The node table: what a node slot holds, and the functions that read and change it.
//!
//! A slot has 32 bytes (little endian):
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | label set plus one; 0: the slot is free |
//! | 4 | 2 | generation: of the node, or of the next one if free; 32767 and free: retired |
//! | 6 | 6 | location of the properties |
//! | 12 | 6 | location of the outgoing adjacency |
//! | 18 | 6 | location of the incoming adjacency |
//! | 24 | 4 | number of outgoing edges |
//! | 28 | 4 | number of incoming edges |
//!
//! Pages, directory and invariants are those of `table`.

use graphite_store::{PageKind, PageNo, PageReader, PageWriter};

use crate::location::{LOCATION_BYTES, Location};
pub use crate::table::SlotState;
use crate::table::{self, TABLE_PAGE_BYTES, Table, TableReader};
use crate::{Error, LabelSetId, NodeSlot, Result, state};

const LABEL_SET: usize = 0;
const GENERATION: usize = LABEL_SET + 4;
const PROPERTIES: usize = GENERATION + 2;
const OUT: usize = PROPERTIES + LOCATION_BYTES;
const IN: usize = OUT + LOCATION_BYTES;
const OUT_DEGREE: usize = IN + LOCATION_BYTES;
const IN_DEGREE: usize = OUT_DEGREE + 4;
const SLOT_BYTES: usize = IN_DEGREE + 4;
const _: () = assert!(SLOT_BYTES == 32);
/// Node slots in a table page.
pub const NODES_PER_PAGE: usize = TABLE_PAGE_BYTES / SLOT_BYTES;
const _: () = assert!(NODES_PER_PAGE == 254);

/// What the slot of a node holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeRecord {
    /// The node's labels.
    pub label_set: LabelSetId,
    /// Which user of the slot it is.
    pub generation: u16,
    /// Its property record.
    pub properties: Option<Location>,
    /// Its outgoing adjacency.
    pub out: Option<Location>,
    /// Its incoming adjacency.
    pub in_: Option<Location>,
    /// Number of outgoing edges.
    pub out_degree: u32,
    /// Number of incoming edges.
    pub in_degree: u32,
}

/// The node table.
#[derive(Debug)]
pub enum Nodes {}

impl Table for Nodes {
    type Slot = NodeSlot;
    type Record = NodeRecord;
    const KIND: PageKind = PageKind::Nodes;
    const ROOT: usize = state::NODE_TABLE_ROOT;
    const PAGES: usize = state::NODE_TABLE_PAGES;
    const SLOT_BYTES: usize = SLOT_BYTES;
    const SLOTS: usize = NODES_PER_PAGE;
    const GENERATION: usize = GENERATION;
    const NAME: &'static str = "nodes";

    #[inline]
    fn slot(number: u64) -> NodeSlot {
        NodeSlot(number)
    }

    #[inline]
    fn number(slot: NodeSlot) -> u64 {
        slot.0
    }

    #[inline]
    fn decode(raw: &[u8]) -> SlotState<NodeRecord> {
        let raw: &[u8; SLOT_BYTES] = raw.as_array().expect("a slot's length is a constant");
        let generation = u16::from_le_bytes([raw[GENERATION], raw[GENERATION + 1]]);
        let Some(label_set) = u32_at(raw, LABEL_SET).checked_sub(1) else {
            return SlotState::vacant(generation);
        };
        SlotState::Used(NodeRecord {
            label_set: LabelSetId(label_set),
            generation,
            properties: location_at(raw, PROPERTIES),
            out: location_at(raw, OUT),
            in_: location_at(raw, IN),
            out_degree: u32_at(raw, OUT_DEGREE),
            in_degree: u32_at(raw, IN_DEGREE),
        })
    }

    fn encode(record: &NodeRecord, raw: &mut [u8]) -> Result<()> {
        const MAX: u64 = u32::MAX as u64;
        let label_set =
            record.label_set.0.checked_add(1).ok_or(Error::TooMany { what: "label sets", max: MAX })?;
        raw[LABEL_SET..GENERATION].copy_from_slice(&label_set.to_le_bytes());
        raw[GENERATION..PROPERTIES].copy_from_slice(&record.generation.to_le_bytes());
        raw[PROPERTIES..OUT].copy_from_slice(&Location::encode(record.properties));
        raw[OUT..IN].copy_from_slice(&Location::encode(record.out));
        raw[IN..OUT_DEGREE].copy_from_slice(&Location::encode(record.in_));
        raw[OUT_DEGREE..IN_DEGREE].copy_from_slice(&record.out_degree.to_le_bytes());
        raw[IN_DEGREE..SLOT_BYTES].copy_from_slice(&record.in_degree.to_le_bytes());
        Ok(())
    }

    fn encode_vacant(generation: u16, raw: &mut [u8]) {
        raw.fill(0);
        raw[GENERATION..PROPERTIES].copy_from_slice(&generation.to_le_bytes());
    }

    fn generation(record: &NodeRecord) -> u16 {
        record.generation
    }
}

#[inline]
fn u32_at(raw: &[u8; SLOT_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}

#[inline]
fn location_at(raw: &[u8; SLOT_BYTES], at: usize) -> Option<Location> {
    Location::decode([raw[at], raw[at + 1], raw[at + 2], raw[at + 3], raw[at + 4], raw[at + 5]])
}

/// The node in `slot`; none if the slot is free or was never made.
///
/// # Errors
/// What the store says; [`Error::Corrupt`] if directory and table page contradict each other.
pub fn read_node<R: PageReader>(r: &R, slot: NodeSlot) -> Result<Option<NodeRecord>> {
    Ok(read_node_slot(r, slot)?.used())
}

/// As [`read_node`], and of a free slot its generation.
///
/// # Errors
/// As [`read_node`].
pub fn read_node_slot<R: PageReader>(r: &R, slot: NodeSlot) -> Result<SlotState<NodeRecord>> {
    table::read::<Nodes, R>(r, slot)
}

/// Reads nodes one after another and remembers where it was: of slots that come sorted, every table page is
/// looked up once. The way to read the ends of many edges.
pub type NodeReader<'r, R> = TableReader<'r, Nodes, R>;

/// Writes a node into its slot, which is free or holds the same node. Makes the table page if need be.
///
/// # Errors
/// What the store says; [`Error::Corrupt`] if the slot holds another node; [`Error::TooMany`].
pub fn put_node<W: PageWriter>(w: &mut W, slot: NodeSlot, record: &NodeRecord) -> Result<()> {
    table::put_run::<Nodes, W>(w, slot, std::slice::from_ref(record))
}

/// Writes nodes into consecutive slots from `first` on: as [`put_node`] on each, with one look into the
/// directory for every table page. The way to fill a fresh range.
///
/// # Errors
/// As [`put_node`].
pub fn put_nodes<W: PageWriter>(w: &mut W, first: NodeSlot, records: &[NodeRecord]) -> Result<()> {
    table::put_run::<Nodes, W>(w, first, records)
}

/// Moves the table's page number `page` (see [`node_pages`]) to a new page of the file.
///
/// # Errors
/// What the store says; [`Error::Corrupt`] if directory and table page contradict each other.
pub fn move_node_page<W: PageWriter>(w: &mut W, page: u64) -> Result<()> {
    table::move_page::<Nodes, W>(w, page)
}

/// Frees the slot of a node. Its next user has the next generation; at generation 32767 the slot is retired.
///
/// # Errors
/// What the store says; [`Error::Corrupt`] if there is no node in the slot.
pub fn free_node<W: PageWriter>(w: &mut W, slot: NodeSlot) -> Result<()> {
    table::free_slot::<Nodes, W>(w, slot)
}

/// Where in the file the table's page number `page` is, if it was made.
///
/// # Errors
/// What the store says.
pub fn place_of_page<R: PageReader>(r: &R, page: u64) -> Result<Option<PageNo>> {
    table::place_of_page::<Nodes, R>(r, page)
}

/// Number of table pages ever made: what [`visit_nodes_in_page`] is to be called for, from 0.
///
/// # Errors
/// What the store says.
pub fn node_pages<R: PageReader>(r: &R) -> Result<u64> {
    table::page_count::<Nodes, R>(r)
}

/// Shows all nodes of the table's page number `page` (not its place in the file), by rising slot.
///
/// # Errors
/// As [`read_node`], and what `visit` says.
pub fn visit_nodes_in_page<R: PageReader>(
    r: &R,
    page: u64,
    visit: impl FnMut(NodeSlot, NodeRecord) -> Result<()>,
) -> Result<()> {
    table::visit_page::<Nodes, R>(r, page, visit)
}

/// Walks the whole table: tells `owned` every page that it owns and `problem` every contradiction, and gives the
/// number of nodes.
pub fn check_nodes<R: PageReader>(
    r: &R,
    owned: &mut dyn FnMut(PageNo),
    problem: &mut dyn FnMut(Error),
) -> u64 {
    table::check::<Nodes, R>(r, owned, problem)
}
