//! The table: fixed slots, found by arithmetic through a shallow directory. Nodes and edges are two of them.
//!
//! A slot's number divided by the slots of a page gives the *logical page*; the directory, a radix tree, says
//! where in the file it is. Table page and directory page (offsets from the body's start, little endian):
//!
//! | table page | bytes | what | | directory page | bytes | what |
//! |---|---|---|---|---|---|---|
//! | 0 | 4 | logical page | | 0 | 1 | level; 0: its entries are table pages |
//! | 4 | 2 | used slots | | 1 | 1 | zero |
//! | 6 | 2 | retired slots | | 2 | 2 | entries that are full |
//! | 8 | 32 | zero | | 4 | 4 | first logical page below it |
//! | 40 | ... | slots | | 8 | 8 each | entries: page u32, full u16, generation floor u16 |
//!
//! The state slot of the root has the root's page number in its lower 32 bits, and the height (number of levels)
//! above them.
//!
//! Invariants:
//! 1. Entry of page 0: nothing is there. As table page it stands for free slots, all of the floor's generation;
//!    so eight zero bytes are a page that was never made, and nothing has to be written to leave a gap.
//! 2. An entry is full if nothing below it is free: its table page has only used and retired slots, or has no
//!    page and floor 32767, or all entries of its directory page are full. So the free slots are found without
//!    reading what is full, and a change of a slot reaches the directory only at the border.
//! 3. A table page without a used slot is freed; the floor is raised to the largest generation that it had. So a slot's
//!    generation never falls back to one that it had before. But it stays while some of its slots are retired and others
//!    free: a floor that speaks for all would retire those, too, among them some that were handed out.
//! 4. A slot at generation 32767 is retired: it is neither used nor free. So ids stay below 2^63 and fit a
//!    signed integer of any language.

use graphite_store::{PAGE_BODY_BYTES, Page, PageKind, PageNo, PageReader, PageWriter, STATE_PAGE};

use crate::{Error, Result};

const LOGICAL: usize = 0;
const USED: usize = LOGICAL + 4;
const RETIRED: usize = USED + 2;
const SLOTS: usize = 40;
/// Bytes for slots in a table page.
pub(crate) const TABLE_PAGE_BYTES: usize = PAGE_BODY_BYTES - SLOTS;

const LEVEL: usize = 0;
const FULL_ENTRIES: usize = 2;
const FIRST: usize = 4;
const ENTRIES: usize = 8;
const ENTRY_BYTES: usize = 8;
/// Entries of a directory page.
const FANOUT: usize = (PAGE_BODY_BYTES - ENTRIES) / ENTRY_BYTES;
const _: () = assert!(FANOUT == 1020);
/// Levels that reach every logical page of 32 bits.
const HEIGHT_MAX: usize = 4;
const _: () = assert!(reach(HEIGHT_MAX) > u32::MAX as u64 && reach(HEIGHT_MAX - 1) <= u32::MAX as u64);

/// The generation of a slot that has had all its users.
pub(crate) const GENERATION_RETIRED: u16 = 0x7fff;

/// Logical pages that a directory of so many levels reaches.
const fn reach(height: usize) -> u64 {
    (FANOUT as u64).pow(height as u32)
}

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotState<T> {
    /// A node or an edge.
    Used(T),
    /// Nothing.
    Free {
        /// That the next user will have.
        generation: u16,
    },
    /// Nothing, forever.
    Retired,
}

impl<T> SlotState<T> {
    /// The state of a slot without a user.
    #[inline]
    pub fn vacant(generation: u16) -> SlotState<T> {
        if generation >= GENERATION_RETIRED { SlotState::Retired } else { SlotState::Free { generation } }
    }

    /// What is in it, if anything.
    #[inline]
    pub fn used(self) -> Option<T> {
        match self {
            SlotState::Used(record) => Some(record),
            _ => None,
        }
    }
}

/// What makes one table differ from the other.
pub trait Table {
    /// A place in the table.
    type Slot: Copy + Ord + std::fmt::Debug;
    /// What a used slot holds.
    type Record: Copy;
    /// Kind of the table pages.
    const KIND: PageKind;
    /// State slot of the directory's root.
    const ROOT: usize;
    /// State slot of the number of table pages.
    const PAGES: usize;
    /// Bytes in a slot.
    const SLOT_BYTES: usize;
    /// Slots in a page.
    const SLOTS: usize;
    /// Where in a slot, used or not, its generation is: two bytes.
    const GENERATION: usize;
    /// In words, for messages.
    const NAME: &'static str;

    /// The slot of this number.
    fn slot(number: u64) -> Self::Slot;
    /// The number of this slot.
    fn number(slot: Self::Slot) -> u64;
    /// Reads [`Table::SLOT_BYTES`] bytes.
    fn decode(raw: &[u8]) -> SlotState<Self::Record>;
    /// Writes a used slot.
    ///
    /// # Errors
    /// [`Error::TooMany`] if a part of the record does not fit its bytes.
    fn encode(record: &Self::Record, raw: &mut [u8]) -> Result<()>;
    /// Writes a slot without a user.
    fn encode_vacant(generation: u16, raw: &mut [u8]);
    /// The generation of a record.
    fn generation(record: &Self::Record) -> u16;
}

/// An entry of a directory page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Entry {
    page: Option<PageNo>,
    full: bool,
    floor: u16,
}

impl Entry {
    #[inline]
    fn read(directory: &Page, index: usize) -> Entry {
        let at = ENTRIES + index * ENTRY_BYTES;
        let raw: &[u8; ENTRY_BYTES] =
            directory.body()[at..at + ENTRY_BYTES].as_array().expect("an entry's length is a constant");
        let page = u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
        Entry {
            page: (page != 0).then_some(PageNo(page)),
            full: raw[4] != 0,
            floor: u16::from_le_bytes([raw[6], raw[7]]),
        }
    }

    fn write(self, directory: &mut Page, index: usize) {
        let at = ENTRIES + index * ENTRY_BYTES;
        let raw = directory.range_mut(at..at + ENTRY_BYTES);
        raw[..4].copy_from_slice(&self.page.map_or(0, |page| page.0).to_le_bytes());
        raw[4..6].copy_from_slice(&u16::from(self.full).to_le_bytes());
        raw[6..].copy_from_slice(&self.floor.to_le_bytes());
    }
}

/// The root of a directory, as its state slot has it.
#[derive(Clone, Copy)]
struct Root {
    page: PageNo,
    height: usize,
}

impl Root {
    fn read<T: Table, R: PageReader>(r: &R) -> Result<Option<Root>> {
        let raw = r.state(T::ROOT)?;
        let page = PageNo((raw & 0xffff_ffff) as u32);
        match usize::try_from(raw >> 32) {
            Ok(0) if page.0 == 0 => Ok(None),
            Ok(height @ 1..=HEIGHT_MAX) if page.0 != 0 => Ok(Some(Root { page, height })),
            _ => Err(Error::Corrupt {
                page: STATE_PAGE,
                why: "the root of a table's directory makes no sense",
            }),
        }
    }

    fn write<T: Table, W: PageWriter>(self, w: &mut W) -> Result<()> {
        Ok(w.set_state(T::ROOT, (self.height as u64) << 32 | u64::from(self.page.0))?)
    }
}

/// A table that has no more slots to give.
pub(crate) fn too_many<T: Table>() -> Error {
    Error::TooMany { what: T::NAME, max: (u64::from(u32::MAX) + 1) * T::SLOTS as u64 }
}

#[inline]
fn u16_at(page: &Page, at: usize) -> u16 {
    u16::from_le_bytes([page.body()[at], page.body()[at + 1]])
}

#[inline]
fn u32_at(page: &Page, at: usize) -> u32 {
    let body = page.body();
    u32::from_le_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]])
}

fn put_u16(page: &mut Page, at: usize, value: u16) {
    page.range_mut(at..at + 2).copy_from_slice(&value.to_le_bytes());
}

fn put_u32(page: &mut Page, at: usize, value: u32) {
    page.range_mut(at..at + 4).copy_from_slice(&value.to_le_bytes());
}

/// Logical page and index within it.
#[inline]
fn split<T: Table>(slot: T::Slot) -> (u64, usize) {
    let number = T::number(slot);
    let per_page = T::SLOTS as u64;
    (number / per_page, (number % per_page) as usize)
}

/// Index of a logical page's entry in the directory page of `level` above it.
fn index_at(logical: u64, level: usize) -> usize {
    (logical / reach(level) % FANOUT as u64) as usize
}

/// Where a slot begins in the body of its table page.
#[inline]
fn slot_offset<T: Table>(index: usize) -> usize {
    SLOTS + index * T::SLOT_BYTES
}

#[inline]
fn slot_bytes<T: Table>(page: &Page, index: usize) -> &[u8] {
    let at = slot_offset::<T>(index);
    &page.body()[at..at + T::SLOT_BYTES]
}

fn slot_bytes_mut<T: Table>(page: &mut Page, index: usize) -> &mut [u8] {
    let at = slot_offset::<T>(index);
    page.range_mut(at..at + T::SLOT_BYTES)
}

/// A directory page that is what its parent says.
fn directory_page<R: PageReader>(r: &R, number: PageNo, level: usize, logical: u64) -> Result<R::Ref<'_>> {
    let page = r.page_of(number, PageKind::Directory)?;
    let first = logical / reach(level + 1) * reach(level + 1);
    if usize::from(page.body()[LEVEL]) != level || u64::from(u32_at(&page, FIRST)) != first {
        return Err(Error::Corrupt { page: number, why: "a directory page is not where it belongs" });
    }
    Ok(page)
}

/// Refuses a page that is not the table page `logical`.
fn check_table_page<T: Table>(page: &Page, logical: u64) -> Result<()> {
    if page.kind() == T::KIND && u64::from(u32_at(page, LOGICAL)) == logical {
        return Ok(());
    }
    Err(Error::Corrupt { page: page.number(), why: "a table page is not where it belongs" })
}

/// The lowest directory page above `logical`, if it was made.
fn leaf_directory<T: Table, R: PageReader>(r: &R, logical: u64) -> Result<Option<R::Ref<'_>>> {
    let Some(root) = Root::read::<T, R>(r)? else { return Ok(None) };
    if logical >= reach(root.height) {
        return Ok(None);
    }
    let mut number = root.page;
    for level in (1..root.height).rev() {
        let directory = directory_page(r, number, level, logical)?;
        match Entry::read(&directory, index_at(logical, level)).page {
            None => return Ok(None),
            Some(child) => number = child,
        }
    }
    directory_page(r, number, 0, logical).map(Some)
}

fn entry_of<T: Table, R: PageReader>(r: &R, logical: u64) -> Result<Entry> {
    Ok(leaf_directory::<T, R>(r, logical)?
        .map_or_else(Entry::default, |directory| Entry::read(&directory, index_at(logical, 0))))
}

/// What `slot` holds.
pub(crate) fn read<T: Table, R: PageReader>(r: &R, slot: T::Slot) -> Result<SlotState<T::Record>> {
    let (logical, index) = split::<T>(slot);
    let entry = entry_of::<T, R>(r, logical)?;
    let Some(number) = entry.page else { return Ok(SlotState::vacant(entry.floor)) };
    let page = r.page(number)?;
    check_table_page::<T>(&page, logical)?;
    Ok(T::decode(slot_bytes::<T>(&page, index)))
}

/// Number of logical pages ever made.
pub(crate) fn page_count<T: Table, R: PageReader>(r: &R) -> Result<u64> {
    Ok(r.state(T::PAGES)?)
}

/// Where in the file a logical page is, if it was made.
pub(crate) fn place_of_page<T: Table, R: PageReader>(r: &R, logical: u64) -> Result<Option<PageNo>> {
    Ok(entry_of::<T, R>(r, logical)?.page)
}

/// Shows every used slot of a logical page.
pub(crate) fn visit_page<T: Table, R: PageReader>(
    r: &R,
    logical: u64,
    visit: impl FnMut(T::Slot, T::Record) -> Result<()>,
) -> Result<()> {
    let Some(number) = entry_of::<T, R>(r, logical)?.page else { return Ok(()) };
    let page = r.page(number)?;
    visit_table_page::<T>(&page, logical, visit)
}

/// The logical page that a table page says it is.
pub(crate) fn logical_of(page: &Page) -> u64 {
    u64::from(u32_at(page, LOGICAL))
}

/// Shows every used slot of a table page that is at hand.
pub(crate) fn visit_table_page<T: Table>(
    page: &Page,
    logical: u64,
    mut visit: impl FnMut(T::Slot, T::Record) -> Result<()>,
) -> Result<()> {
    check_table_page::<T>(page, logical)?;
    let first = logical * T::SLOTS as u64;
    for index in 0..T::SLOTS {
        if let SlotState::Used(record) = T::decode(slot_bytes::<T>(page, index)) {
            visit(T::slot(first + index as u64), record)?;
        }
    }
    Ok(())
}

/// Shows every free slot of a logical page with its generation, made or not, as index within the page.
pub(crate) fn visit_free<T: Table, R: PageReader>(
    r: &R,
    logical: u64,
    mut visit: impl FnMut(usize, u16),
) -> Result<()> {
    let entry = entry_of::<T, R>(r, logical)?;
    let page = match entry.page {
        Some(number) => Some(r.page(number)?),
        None => None,
    };
    if let Some(page) = &page {
        check_table_page::<T>(page, logical)?;
    }
    for index in 0..T::SLOTS {
        let state = match &page {
            Some(page) => T::decode(slot_bytes::<T>(page, index)),
            None => SlotState::vacant(entry.floor),
        };
        if let SlotState::Free { generation } = state {
            visit(index, generation);
        }
    }
    Ok(())
}

/// The first logical page from `from` on that is not full, be it one that was never made.
pub(crate) fn find_open<T: Table, R: PageReader>(r: &R, from: u64) -> Result<u64> {
    let Some(root) = Root::read::<T, R>(r)? else { return Ok(from) };
    let mut logical = from;
    // Each round answers, or ends one directory page; those that are full are not entered.
    'descend: while logical < reach(root.height) {
        let mut number = root.page;
        for level in (0..root.height).rev() {
            let directory = directory_page(r, number, level, logical)?;
            let index = index_at(logical, level);
            let open = (index..FANOUT).find(|index| !Entry::read(&directory, *index).full);
            let span = reach(level);
            let Some(open) = open else {
                logical = (logical / (span * FANOUT as u64) + 1) * span * FANOUT as u64;
                continue 'descend;
            };
            if open > index {
                logical = (logical / span + (open - index) as u64) * span;
            }
            match Entry::read(&directory, open).page {
                Some(child) if level > 0 => number = child,
                _ => return Ok(logical),
            }
        }
    }
    Ok(logical)
}

mod change;
mod check;
mod reader;
pub(crate) use change::{free_slot, move_page, put_run};
pub(crate) use check::check;
pub(crate) use reader::TableReader;

#[cfg(test)]
mod tests;
