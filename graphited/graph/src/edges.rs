//! The edge table: what an edge slot holds, and the functions that read and change it.
//!
//! A slot has 24 bytes (little endian):
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 6 | slot of the start node |
//! | 6 | 6 | slot of the end node |
//! | 12 | 2 | type |
//! | 14 | 2 | generation: of the edge, or of the next one if free; 32767 and free: retired |
//! | 16 | 6 | location of the properties |
//! | 22 | 1 | 1: used, 0: free |
//! | 23 | 1 | zero |
//!
//! Pages, directory and invariants are those of `table`.

use graphite_store::{PageKind, PageNo, PageReader, PageWriter};

use crate::location::{LOCATION_BYTES, Location};
pub use crate::table::SlotState;
use crate::table::{self, TABLE_PAGE_BYTES, Table, TableReader};
use crate::{EdgeSlot, Error, NodeSlot, Result, TypeId, state};

const START: usize = 0;
const END: usize = START + 6;
const TYPE: usize = END + 6;
const GENERATION: usize = TYPE + 2;
const PROPERTIES: usize = GENERATION + 2;
const USED: usize = PROPERTIES + LOCATION_BYTES;
const SLOT_BYTES: usize = USED + 2;
const _: () = assert!(SLOT_BYTES == 24);
/// Edge slots in a table page.
pub const EDGES_PER_PAGE: usize = TABLE_PAGE_BYTES / SLOT_BYTES;
const _: () = assert!(EDGES_PER_PAGE == 338);

/// What the slot of an edge holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EdgeRecord {
    /// Where it starts.
    pub start: NodeSlot,
    /// Where it ends.
    pub end: NodeSlot,
    /// Its type; on disk in 16 bits.
    pub type_: TypeId,
    /// Which user of the slot it is.
    pub generation: u16,
    /// Its property record.
    pub properties: Option<Location>,
}

/// The edge table.
#[derive(Debug)]
pub enum Edges {}

impl Table for Edges {
    type Slot = EdgeSlot;
    type Record = EdgeRecord;
    const KIND: PageKind = PageKind::Edges;
    const ROOT: usize = state::EDGE_TABLE_ROOT;
    const PAGES: usize = state::EDGE_TABLE_PAGES;
    const SLOT_BYTES: usize = SLOT_BYTES;
    const SLOTS: usize = EDGES_PER_PAGE;
    const GENERATION: usize = GENERATION;
    const NAME: &'static str = "edges";

    #[inline]
    fn slot(number: u64) -> EdgeSlot {
        EdgeSlot(number)
    }

    #[inline]
    fn number(slot: EdgeSlot) -> u64 {
        slot.0
    }

    #[inline]
    fn decode(raw: &[u8]) -> SlotState<EdgeRecord> {
        let raw: &[u8; SLOT_BYTES] = raw.as_array().expect("a slot's length is a constant");
        let generation = u16::from_le_bytes([raw[GENERATION], raw[GENERATION + 1]]);
        if raw[USED] == 0 {
            return SlotState::vacant(generation);
        }
        SlotState::Used(EdgeRecord {
            start: NodeSlot(u48_at(raw, START)),
            end: NodeSlot(u48_at(raw, END)),
            type_: TypeId(u32::from(u16::from_le_bytes([raw[TYPE], raw[TYPE + 1]]))),
            generation,
            properties: Location::decode([
                raw[PROPERTIES],
                raw[PROPERTIES + 1],
                raw[PROPERTIES + 2],
                raw[PROPERTIES + 3],
                raw[PROPERTIES + 4],
                raw[PROPERTIES + 5],
            ]),
        })
    }

    fn encode(record: &EdgeRecord, raw: &mut [u8]) -> Result<()> {
        const MAX: u64 = u16::MAX as u64;
        let type_ =
            u16::try_from(record.type_.0).map_err(|_| Error::TooMany { what: "edge types", max: MAX })?;
        raw[START..END].copy_from_slice(&record.start.0.to_le_bytes()[..6]);
        raw[END..TYPE].copy_from_slice(&record.end.0.to_le_bytes()[..6]);
        raw[TYPE..GENERATION].copy_from_slice(&type_.to_le_bytes());
        raw[GENERATION..PROPERTIES].copy_from_slice(&record.generation.to_le_bytes());
        raw[PROPERTIES..USED].copy_from_slice(&Location::encode(record.properties));
        raw[USED..SLOT_BYTES].copy_from_slice(&[1, 0]);
        Ok(())
    }

    fn encode_vacant(generation: u16, raw: &mut [u8]) {
        raw.fill(0);
        raw[GENERATION..PROPERTIES].copy_from_slice(&generation.to_le_bytes());
    }

    fn generation(record: &EdgeRecord) -> u16 {
        record.generation
    }
}

#[inline]
fn u48_at(raw: &[u8; SLOT_BYTES], at: usize) -> u64 {
    u64::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3], raw[at + 4], raw[at + 5], 0, 0])
}

/// The edge in `slot`; none if the slot is free or was never made.
///
/// # Errors
/// What the store says; [`Error::Corrupt`] if directory and table page contradict each other.
pub fn read_edge<R: PageReader>(r: &R, slot: EdgeSlot) -> Result<Option<EdgeRecord>> {
    Ok(read_edge_slot(r, slot)?.used())
}

/// As [`read_edge`], and of a free slot its generation.
///
/// # Errors
/// As [`read_edge`].
pub fn read_edge_slot<R: PageReader>(r: &R, slot: EdgeSlot) -> Result<SlotState<EdgeRecord>> {
    table::read::<Edges, R>(r, slot)
}

/// Reads edges one after another and remembers where it was: of slots that come sorted, every table page is
/// looked up once.
pub type EdgeReader<'r, R> = TableReader<'r, Edges, R>;

/// Writes an edge into its slot, which is free or holds the same edge. Makes the table page if need be.
///
/// # Errors
/// What the store says; [`Error::Corrupt`] if the slot holds another edge; [`Error::TooMany`].
pub fn put_edge<W: PageWriter>(w: &mut W, slot: EdgeSlot, record: &EdgeRecord) -> Result<()> {
    table::put_run::<Edges, W>(w, slot, std::slice::from_ref(record))
}

/// Writes edges into consecutive slots from `first` on: as [`put_edge`] on each, with one look into the
/// directory for every table page. The way to fill a fresh range.
///
/// # Errors
/// As [`put_edge`].
pub fn put_edges<W: PageWriter>(w: &mut W, first: EdgeSlot, records: &[EdgeRecord]) -> Result<()> {
    table::put_run::<Edges, W>(w, first, records)
}

/// Frees the slot of an edge. Its next user has the next generation; at generation 32767 the slot is retired.
///
/// # Errors
/// What the store says; [`Error::Corrupt`] if there is no edge in the slot.
pub fn free_edge<W: PageWriter>(w: &mut W, slot: EdgeSlot) -> Result<()> {
    table::free_slot::<Edges, W>(w, slot)
}

/// Where in the file the table's page number `page` is, if it was made.
///
/// # Errors
/// What the store says.
pub fn place_of_page<R: PageReader>(r: &R, page: u64) -> Result<Option<PageNo>> {
    table::place_of_page::<Edges, R>(r, page)
}

/// Number of table pages ever made: what [`visit_edges_in_page`] is to be called for, from 0.
///
/// # Errors
/// What the store says.
pub fn edge_pages<R: PageReader>(r: &R) -> Result<u64> {
    table::page_count::<Edges, R>(r)
}

/// Shows all edges of the table's page number `page` (not its place in the file), by rising slot.
///
/// # Errors
/// As [`read_edge`], and what `visit` says.
pub fn visit_edges_in_page<R: PageReader>(
    r: &R,
    page: u64,
    visit: impl FnMut(EdgeSlot, EdgeRecord) -> Result<()>,
) -> Result<()> {
    table::visit_page::<Edges, R>(r, page, visit)
}

/// Walks the whole table: tells `owned` every page that it owns and `problem` every contradiction, and gives the
/// number of edges.
pub fn check_edges<R: PageReader>(
    r: &R,
    owned: &mut dyn FnMut(PageNo),
    problem: &mut dyn FnMut(Error),
) -> u64 {
    table::check::<Edges, R>(r, owned, problem)
}
