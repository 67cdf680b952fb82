//! The slotted page: records of any length, each found by a slot number that never moves.
//!
//! Used for the bodies of `Record` and `Adjacency` pages; the kind is the caller's business. Layout of the body
//! (little endian, offsets from the body's start):
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | slots: entries in the directory, free ones included |
//! | 2 | 2 | free slots: entries in the directory that hold no record |
//! | 4 | 2 | heap: bytes from the lowest record to the body's end, holes included |
//! | 6 | 2 | holes: bytes of the heap that belong to no record |
//! | 8 | 2 | hint: no slot below it is free |
//! | 10 | 4 each | directory, one entry a slot: offset u16, length u16; offset 0 marks a free slot |
//! | ... | | gap |
//! | ... | heap | records; the heap grows down from the body's end |
//!
//! Invariants:
//! 1. Records lie in the heap, whole and without overlap; their lengths and the holes add up to the heap.
//! 2. Every byte that belongs to neither header, directory nor a record is zero. So a body of zeros is an empty
//!    page, a page that was emptied is a body of zeros, and images of half-empty pages stay small in the log.
//! 3. The last entry of the directory holds a record. A slot keeps its number until its record is removed;
//!    only compaction moves bytes, and it changes offsets alone.
//! 4. A record of no bytes has the body's end as its offset.
//! 5. A header or entry that contradicts itself makes its function answer "nothing there" or "no room"; it
//!    never makes one panic. [`check`] says what is wrong.

use crate::page::{PAGE_BODY_BYTES, Page};

type Body = [u8; PAGE_BODY_BYTES];

const SLOTS: usize = 0;
const FREE_SLOTS: usize = SLOTS + 2;
const HEAP: usize = FREE_SLOTS + 2;
const HOLES: usize = HEAP + 2;
const HINT: usize = HOLES + 2;
const DIRECTORY: usize = HINT + 2;
const ENTRY_BYTES: usize = 4;
const _: () = assert!(DIRECTORY == 10);
const _: () = assert!(PAGE_BODY_BYTES < 0xffff);

/// Bytes of the largest record: it fits an empty page, alone.
pub const RECORD_BYTES_MAX: usize = PAGE_BODY_BYTES - DIRECTORY - ENTRY_BYTES;

/// Most slots that a page can have. Slot numbers are below it; 0xFFFF is never one.
pub const SLOTS_MAX: usize = (PAGE_BODY_BYTES - DIRECTORY) / ENTRY_BYTES;
const _: () = assert!(SLOTS_MAX < 0xffff);

/// The header, unpacked. [`Header::read`] proves that directory and heap do not run into each other.
struct Header {
    slots: usize,
    free_slots: usize,
    heap: usize,
    holes: usize,
    hint: usize,
}

impl Header {
    #[inline]
    fn read(body: &Body) -> Option<Header> {
        let header = Header {
            slots: get_u16(body, SLOTS),
            free_slots: get_u16(body, FREE_SLOTS),
            heap: get_u16(body, HEAP),
            holes: get_u16(body, HOLES),
            hint: get_u16(body, HINT),
        };
        let fits = DIRECTORY + header.slots * ENTRY_BYTES + header.heap <= PAGE_BODY_BYTES;
        let adds_up =
            header.free_slots <= header.slots && header.holes <= header.heap && header.hint <= header.slots;
        (fits && adds_up).then_some(header)
    }

    #[inline]
    fn write(&self, page: &mut Page) {
        let raw = page.range_mut(0..DIRECTORY);
        put_u16(raw, SLOTS, self.slots);
        put_u16(raw, FREE_SLOTS, self.free_slots);
        put_u16(raw, HEAP, self.heap);
        put_u16(raw, HOLES, self.holes);
        put_u16(raw, HINT, self.hint);
    }

    /// Offset of the lowest record.
    fn border(&self) -> usize {
        PAGE_BODY_BYTES - self.heap
    }

    /// Bytes between directory and heap.
    fn gap(&self) -> usize {
        self.border() - DIRECTORY - self.slots * ENTRY_BYTES
    }

    /// What the next record costs besides its bytes.
    fn entry_cost(&self) -> usize {
        if self.free_slots == 0 { ENTRY_BYTES } else { 0 }
    }

    /// The entry of a slot that holds a record: its offset and length, proven to lie in the heap.
    fn live(&self, body: &Body, slot: usize) -> Option<(usize, usize)> {
        if slot >= self.slots {
            return None;
        }
        let (offset, len) = entry(body, slot);
        (offset != 0 && offset >= self.border() && offset + len <= PAGE_BODY_BYTES).then_some((offset, len))
    }

    /// A slot number for a new record; the caller has made sure of room for a new entry if it takes one.
    fn take_slot(&mut self, body: &Body) -> Option<usize> {
        if self.free_slots == 0 {
            self.slots += 1;
            self.hint = self.slots;
            return Some(self.slots - 1);
        }
        let slot = (self.hint..self.slots).find(|slot| entry(body, *slot).0 == 0)?;
        self.free_slots -= 1;
        self.hint = slot + 1;
        Some(slot)
    }

    /// Takes `len` zero bytes from the gap for a record; the caller has made sure that they are there.
    fn place(&mut self, len: usize) -> usize {
        self.heap += len;
        if len == 0 { PAGE_BODY_BYTES } else { self.border() }
    }

    /// Gives a record's bytes back, zeroed.
    fn release(&mut self, page: &mut Page, offset: usize, len: usize) {
        page.range_mut(offset..offset + len).fill(0);
        if offset == self.border() {
            self.heap -= len;
        } else {
            self.holes += len;
        }
    }
}

#[inline]
fn get_u16(body: &Body, at: usize) -> usize {
    usize::from(u16::from_le_bytes([body[at], body[at + 1]]))
}

#[inline]
fn put_u16(raw: &mut [u8], at: usize, value: usize) {
    let value = u16::try_from(value).expect("offsets and counts within a page fit 16 bits");
    raw[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Offset and length of a slot below the header's count.
#[inline]
fn entry(body: &Body, slot: usize) -> (usize, usize) {
    let at = DIRECTORY + slot * ENTRY_BYTES;
    (get_u16(body, at), get_u16(body, at + 2))
}

fn put_entry(page: &mut Page, slot: usize, offset: usize, len: usize) {
    let at = DIRECTORY + slot * ENTRY_BYTES;
    let raw = page.range_mut(at..at + ENTRY_BYTES);
    put_u16(raw, 0, offset);
    put_u16(raw, 2, len);
}

/// All records by falling offset, if they keep invariants 1 and 4: what compaction may rely on.
fn by_offset(body: &Body, header: &Header) -> Result<Vec<(usize, usize, usize)>, &'static str> {
    let mut records = Vec::with_capacity(header.slots);
    for slot in 0..header.slots {
        if entry(body, slot).0 != 0 {
            let (offset, len) = header.live(body, slot).ok_or("a record lies outside of the heap")?;
            if len == 0 && offset != PAGE_BODY_BYTES {
                return Err("a record of no bytes is not at the body's end");
            }
            records.push((offset, len, slot));
        }
    }
    records.sort_unstable_by(|a, b| b.cmp(a));
    let mut above = PAGE_BODY_BYTES;
    let mut total = 0;
    for &(offset, len, _) in &records {
        if offset + len > above {
            return Err("two records overlap");
        }
        above = offset;
        total += len;
    }
    if total + header.holes != header.heap {
        return Err("records and holes do not add up to the heap");
    }
    if records.len() + header.free_slots != header.slots {
        return Err("the number of free slots is wrong");
    }
    Ok(records)
}

/// Moves all records up to the body's end, in the order in which they lie, so that those above the first hole
/// stay where they are. False, and nothing changed, if the page contradicts itself.
fn compact(page: &mut Page, header: &mut Header) -> bool {
    let Ok(records) = by_offset(page.body(), header) else { return false };
    let mut to = PAGE_BODY_BYTES;
    for (offset, len, slot) in records {
        to -= len;
        if to != offset {
            page.body_mut().copy_within(offset..offset + len, to);
            put_entry(page, slot, to, len);
        }
    }
    page.range_mut(header.border()..to).fill(0);
    header.heap -= header.holes;
    header.holes = 0;
    true
}

/// Makes the page's body that of an empty record page.
pub fn init(page: &mut Page) {
    page.body_mut().fill(0);
}

/// Where in the body it is written where the record in `slot` is.
#[inline]
pub fn entry_offset(slot: u16) -> usize {
    (DIRECTORY + usize::from(slot) * ENTRY_BYTES).min(PAGE_BODY_BYTES - ENTRY_BYTES)
}

/// The record in `slot`, if there is one.
#[inline]
pub fn get(page: &Page, slot: u16) -> Option<&[u8]> {
    let body = page.body();
    if usize::from(slot) >= get_u16(body, SLOTS).min(SLOTS_MAX) {
        return None;
    }
    let (offset, len) = entry(body, usize::from(slot));
    if offset == 0 { None } else { body.get(offset..offset + len) }
}

/// The record in `slot`, to change in place.
pub fn get_mut(page: &mut Page, slot: u16) -> Option<&mut [u8]> {
    let body = page.body();
    let (offset, len) = Header::read(body)?.live(body, usize::from(slot))?;
    Some(page.range_mut(offset..offset + len))
}

/// Adds a record and gives its slot: the lowest free one, or a new one. None, and nothing changed, if it does
/// not fit ([`room`]). Records are compacted if the room is there but not in one piece.
pub fn insert(page: &mut Page, bytes: &[u8]) -> Option<u16> {
    let (slot, record) = insert_with(page, bytes.len())?;
    record.copy_from_slice(bytes);
    Some(slot)
}

/// As [`insert`], for a record of `len` zeros that the caller then fills.
pub fn insert_with(page: &mut Page, len: usize) -> Option<(u16, &mut [u8])> {
    let mut header = Header::read(page.body())?;
    let cost = header.entry_cost();
    if len + cost > header.gap() + header.holes {
        return None;
    }
    if len + cost > header.gap() && !compact(page, &mut header) {
        return None;
    }
    let slot = header.take_slot(page.body())?;
    let offset = header.place(len);
    put_entry(page, slot, offset, len);
    header.write(page);
    Some((u16::try_from(slot).ok()?, page.range_mut(offset..offset + len)))
}

/// Replaces the record in `slot` by one that may be longer or shorter. False, and nothing changed, if there is
/// no such record or no room for the new one.
pub fn update(page: &mut Page, slot: u16, bytes: &[u8]) -> bool {
    let slot = usize::from(slot);
    let Some(mut header) = Header::read(page.body()) else { return false };
    let Some((offset, old)) = header.live(page.body(), slot) else { return false };
    let len = bytes.len();
    let at_border = offset == header.border();
    if len == old || (len < old && len > 0 && !at_border) {
        page.range_mut(offset..offset + len).copy_from_slice(bytes);
        page.range_mut(offset + len..offset + old).fill(0);
        put_entry(page, slot, offset, len);
        header.holes += old - len;
        header.write(page);
        return true;
    }
    if len > header.gap() + header.holes + old {
        return false;
    }
    let in_one_piece = len <= header.gap() + if at_border { old } else { 0 };
    if !in_one_piece && by_offset(page.body(), &header).is_err() {
        return false;
    }
    header.release(page, offset, old);
    put_entry(page, slot, PAGE_BODY_BYTES, 0);
    if !in_one_piece {
        assert!(compact(page, &mut header), "a record page added up before a record was released");
    }
    let offset = header.place(len);
    put_entry(page, slot, offset, len);
    page.range_mut(offset..offset + len).copy_from_slice(bytes);
    header.write(page);
    true
}

/// Removes the record in `slot` and frees the slot. False if there is none.
pub fn remove(page: &mut Page, slot: u16) -> bool {
    let slot = usize::from(slot);
    let Some(mut header) = Header::read(page.body()) else { return false };
    let Some((offset, len)) = header.live(page.body(), slot) else { return false };
    header.release(page, offset, len);
    put_entry(page, slot, 0, 0);
    header.free_slots += 1;
    while header.slots > 0 && header.free_slots > 0 && entry(page.body(), header.slots - 1).0 == 0 {
        header.slots -= 1;
        header.free_slots -= 1;
    }
    header.hint = header.hint.min(slot).min(header.slots);
    if header.slots == 0 {
        header.heap = 0;
        header.holes = 0;
    }
    header.write(page);
    true
}

/// Bytes of the largest record that [`insert`] would take now; 0 too if it would take none at all.
pub fn room(page: &Page) -> usize {
    let Some(header) = Header::read(page.body()) else { return 0 };
    (header.gap() + header.holes).saturating_sub(header.entry_cost())
}

/// Whether the page holds no record.
pub fn is_empty(page: &Page) -> bool {
    get_u16(page.body(), SLOTS) == get_u16(page.body(), FREE_SLOTS)
}

/// All records with their slots, by rising slot.
pub fn slots(page: &Page) -> impl Iterator<Item = (u16, &[u8])> {
    let count = get_u16(page.body(), SLOTS).min(SLOTS_MAX);
    (0..u16::try_from(count).unwrap_or(0)).filter_map(|slot| Some((slot, get(page, slot)?)))
}

/// Bytes of holes between records: what compaction would win in one piece.
pub fn fragmented(page: &Page) -> usize {
    Header::read(page.body()).map_or(0, |header| header.holes)
}

/// Proves invariants 1 to 4.
///
/// # Errors
/// Words that say which one is broken.
pub fn check(page: &Page) -> Result<(), &'static str> {
    let body = page.body();
    let header = Header::read(body).ok_or("the header of the record page contradicts itself")?;
    let records = by_offset(body, &header)?;
    if header.slots > 0 && entry(body, header.slots - 1).0 == 0 {
        return Err("the last slot of the directory is free");
    }
    if (0..header.hint).any(|slot| entry(body, slot).0 == 0) {
        return Err("a slot below the hint is free");
    }
    if (0..header.slots).any(|slot| entry(body, slot).0 == 0 && entry(body, slot).1 != 0) {
        return Err("a free slot has a length");
    }
    let directory_end = DIRECTORY + header.slots * ENTRY_BYTES;
    let mut above = PAGE_BODY_BYTES;
    for (offset, len, _) in records {
        if body[offset + len..above].iter().any(|byte| *byte != 0) {
            return Err("a hole is not zero");
        }
        above = offset;
    }
    if body[directory_end..above].iter().any(|byte| *byte != 0) {
        return Err("the gap is not zero");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
