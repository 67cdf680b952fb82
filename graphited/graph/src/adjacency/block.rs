//! The block: all entries of one owner, or, in a hub, those of one leaf. This file is the home of its bytes.
//!
//! Little endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | owner word; its number is the count of groups |
//! | 8 | | the groups, one after another |
//! | | | slack: zeros, in which a small block that has grown before can grow again where it is |
//!
//! and a group:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | edge type |
//! | 2 | 2 | count of entries |
//! | 4 | 12 each | the entries |
//!
//! Invariants, which [`Block::check`] proves:
//! 1. Groups are in strictly ascending order of type, and none is empty.
//! 2. Entries of a group are in strictly ascending order of (neighbour, edge).
//! 3. There are as many groups as the owner word says, and all bytes after them are zero.

use std::cmp::Ordering;

use super::entry::{ENTRY_BYTES, Entries, Entry, Key, OWNER_BYTES, OWNER_NUMBER_MAX, Owner};
use crate::ids::TypeId;

/// Bytes before the first group.
pub(super) const BLOCK_HEADER_BYTES: usize = OWNER_BYTES;
/// Bytes before the first entry of a group.
pub(super) const GROUP_HEADER_BYTES: usize = 4;

/// Why a block cannot be what it should be.
pub(super) type Why = &'static str;

const SHORT: Why = "an adjacency block ends before it should";
const PRESENT: Why = "an edge to add is in the adjacency of its node already";
const OWNER: Why = "adjacency belongs to another node or side";

/// A block's bytes, of which the owner is known to be right.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    groups: u16,
    /// Groups and slack.
    body: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block in `bytes`, which has to be `owner`'s.
    #[inline]
    pub(super) fn parse(bytes: &'a [u8], owner: Owner) -> Result<Block<'a>, Why> {
        let Some((word, body)) = bytes.split_first_chunk() else { return Err(SHORT) };
        match owner.number_in(*word) {
            Some(groups) => Ok(Block { groups, body }),
            None => Err(OWNER),
        }
    }

    /// A block without entries.
    pub(super) fn empty() -> Block<'static> {
        Block { groups: 0, body: &[] }
    }

    /// Bytes of the block with its slack.
    pub(super) fn bytes(self) -> usize {
        BLOCK_HEADER_BYTES + self.body.len()
    }

    /// Number of entries, from the heads of the groups.
    pub(super) fn len(self) -> Result<usize, Why> {
        self.groups().try_fold(0, |sum, group| Ok(sum + group?.1.len()))
    }

    /// The groups, in order. After an error there is no further one.
    #[inline]
    pub(super) fn groups(self) -> Groups<'a> {
        Groups { left: self.groups, rest: self.body }
    }

    /// The least and the greatest key, if there is any entry.
    pub(super) fn ends(self) -> Result<Option<(Key, Key)>, Why> {
        let mut ends = None;
        for group in self.groups() {
            let (type_, entries) = group?;
            if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
                let least = ends.map_or((type_, first), |(least, _)| least);
                ends = Some((least, (type_, last)));
            }
        }
        Ok(ends)
    }

    /// Number of entries below `key`.
    pub(super) fn rank(self, key: Key) -> Result<usize, Why> {
        let mut rank = 0;
        for group in self.groups() {
            let (type_, entries) = group?;
            rank += match type_.cmp(&key.0) {
                Ordering::Less => entries.len(),
                Ordering::Equal => entries.rank(key.1),
                Ordering::Greater => break,
            };
        }
        Ok(rank)
    }

    /// Proves the invariants; gives the number of entries.
    pub(super) fn check(self) -> Result<usize, Why> {
        let mut count = 0;
        let mut before: Option<TypeId> = None;
        let mut groups = self.groups();
        while let Some((type_, entries)) = groups.next().transpose()? {
            if before.is_some_and(|before| before >= type_) {
                return Err("types of an adjacency block are out of order");
            }
            if !entries.iter().is_sorted_by(|a, b| a < b) {
                return Err("entries of an adjacency block are out of order");
            }
            before = Some(type_);
            count += entries.len();
        }
        if groups.rest.iter().any(|byte| *byte != 0) {
            return Err("the slack of an adjacency block is not zero");
        }
        Ok(count)
    }
}

/// Iterator over the groups of a block.
#[derive(Clone)]
pub(super) struct Groups<'a> {
    left: u16,
    rest: &'a [u8],
}

impl<'a> Iterator for Groups<'a> {
    type Item = Result<(TypeId, Entries<'a>), Why>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let left = std::mem::take(&mut self.left);
        let Some((&[a, b, c, d], rest)) = self.rest.split_first_chunk() else { return Some(Err(SHORT)) };
        let count = usize::from(u16::from_le_bytes([c, d]));
        let Some((entries, rest)) = rest.split_at_checked(count * ENTRY_BYTES) else {
            return Some(Err(SHORT));
        };
        if count == 0 {
            return Some(Err("a group of an adjacency block is empty"));
        }
        (self.left, self.rest) = (left - 1, rest);
        Some(Ok((TypeId(u32::from(u16::from_le_bytes([a, b]))), Entries::new(entries.as_chunks().0))))
    }
}

/// Writes a block, entry by entry or run by run, in ascending order.
pub(super) struct BlockWriter {
    owner: Owner,
    bytes: Vec<u8>,
    groups: u16,
    /// Where the group that is being written begins, and its type.
    group: Option<(usize, TypeId)>,
}

impl BlockWriter {
    /// An empty block, with room for `bytes` before memory has to be had anew.
    pub(super) fn new(owner: Owner, bytes: usize) -> BlockWriter {
        let mut buffer = Vec::with_capacity(bytes);
        buffer.extend_from_slice(&owner.word(0));
        BlockWriter { owner, bytes: buffer, groups: 0, group: None }
    }

    /// Appends a run of entries of one type. No more than 65,535 of them may come together in one group, nor
    /// more than 32,767 groups; callers hand over far less at a time.
    ///
    /// # Errors
    /// If the type is below one that was pushed before, which happens if a block on disk is out of order.
    #[inline]
    pub(super) fn push(&mut self, type_: TypeId, entries: &[u8]) -> Result<(), Why> {
        debug_assert_eq!(entries.len() % ENTRY_BYTES, 0);
        if entries.is_empty() {
            return Ok(());
        }
        let start = self.group_of(type_)?;
        self.bytes.extend_from_slice(entries);
        self.finish_run(start);
        Ok(())
    }

    /// As [`BlockWriter::push`], for keys that are all of one type.
    fn push_keys(&mut self, type_: TypeId, keys: &[Key]) -> Result<(), Why> {
        let start = self.group_of(type_)?;
        let at = self.bytes.len();
        self.bytes.resize(at + keys.len() * ENTRY_BYTES, 0);
        for (raw, key) in self.bytes[at..].as_chunks_mut().0.iter_mut().zip(keys) {
            debug_assert_eq!(key.0, type_);
            *raw = key.1.encode();
        }
        self.finish_run(start);
        Ok(())
    }

    /// Where the group of `type_` begins, which is the last one or a new one.
    #[inline]
    fn group_of(&mut self, type_: TypeId) -> Result<usize, Why> {
        match self.group {
            Some((start, current)) if current == type_ => Ok(start),
            _ => self.begin(type_),
        }
    }

    /// Writes the count of the group that begins at `start` and ends here.
    #[inline]
    fn finish_run(&mut self, start: usize) {
        let count = (self.bytes.len() - start - GROUP_HEADER_BYTES) / ENTRY_BYTES;
        self.bytes[start + 2..start + GROUP_HEADER_BYTES].copy_from_slice(&count_bytes(count));
    }

    fn begin(&mut self, type_: TypeId) -> Result<usize, Why> {
        if self.group.is_some_and(|(_, before)| before > type_) {
            return Err("types of an adjacency block are out of order");
        }
        assert!(self.groups < OWNER_NUMBER_MAX, "a block is built from a bounded number of groups");
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&type_bytes(type_));
        self.bytes.extend_from_slice(&[0; 2]);
        self.groups += 1;
        self.group = Some((start, type_));
        Ok(start)
    }

    /// How many more entries of `type_` fit into a block of `bytes_max`.
    fn room(&self, type_: TypeId, bytes_max: usize) -> usize {
        let header =
            if self.group.is_some_and(|(_, current)| current == type_) { 0 } else { GROUP_HEADER_BYTES };
        bytes_max.saturating_sub(self.bytes.len() + header) / ENTRY_BYTES
    }

    /// The block, or nothing if there are no entries.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if self.groups == 0 {
            return None;
        }
        self.bytes[..OWNER_BYTES].copy_from_slice(&self.owner.word(self.groups));
        Some(self.bytes)
    }
}

/// `old` without `removed`, then with `added`, in one pass. Both are in strictly ascending order; `None` if
/// nothing is left.
///
/// # Errors
/// If an entry to remove is not there, or one to add is there already.
pub(super) fn merge(
    owner: Owner,
    old: Block<'_>,
    mut removed: &[Key],
    mut added: &[Key],
) -> Result<Option<Vec<u8>>, Why> {
    let bytes = BLOCK_HEADER_BYTES + old.body.len() + added.len() * (ENTRY_BYTES + GROUP_HEADER_BYTES);
    let mut out = BlockWriter::new(owner, bytes);
    let mut groups = old.groups();
    // What is left of the group of the old block that is being copied.
    let mut current = groups.next().transpose()?;
    while let Some(key) = next_key(removed, added) {
        let mut present = false;
        while let Some((type_, entries)) = current {
            if type_ > key.0 {
                break;
            }
            if type_ == key.0 {
                let (below, rest) = entries.split_at(entries.rank(key.1));
                out.push(type_, below.as_bytes())?;
                present = rest.first() == Some(key.1);
                current = Some((type_, rest));
                break;
            }
            out.push(type_, entries.as_bytes())?;
            current = groups.next().transpose()?;
        }
        if removed.first() == Some(&key) {
            if !present {
                return Err("an edge to remove is not in the adjacency of its node");
            }
            removed = &removed[1..];
            current = current.map(|(type_, entries)| (type_, entries.split_at(1).1));
            present = false;
        }
        if added.first() == Some(&key) {
            if present {
                return Err(PRESENT);
            }
            // All further ones of this type go with it, up to the next entry that is there or is to go.
            let next = current.filter(|(type_, _)| *type_ == key.0).and_then(|(_, entries)| entries.first());
            let is_before = |other: &Key| {
                next.is_none_or(|next| other.1 < next) && removed.first().is_none_or(|next| other < next)
            };
            let more = added[1..].iter().take_while(|other| other.0 == key.0 && is_before(other)).count();
            let (run, later) = added.split_at(1 + more);
            out.push_keys(key.0, run)?;
            added = later;
        }
    }
    while let Some((type_, entries)) = current {
        out.push(type_, entries.as_bytes())?;
        current = groups.next().transpose()?;
    }
    Ok(out.finish())
}

/// Puts one entry into a block that has slack enough behind it, and gives the block's new length without slack.
/// `None`, and nothing is changed, if there is no room.
///
/// # Errors
/// If the entry is there already.
pub(super) fn insert_in_place(bytes: &mut [u8], owner: Owner, key: Key) -> Result<Option<usize>, Why> {
    let block = Block::parse(bytes, owner)?;
    let (groups, capacity) = (block.groups, bytes.len());
    // Where the entry belongs, and, if its group is there, where that begins and how many entries it has.
    let mut place: Option<(usize, Option<(usize, usize)>)> = None;
    let mut end = BLOCK_HEADER_BYTES;
    for group in block.groups() {
        let (type_, entries) = group?;
        if place.is_none() && type_ == key.0 {
            let rank = entries.rank(key.1);
            if entries.get(rank) == Some(key.1) {
                return Err(PRESENT);
            }
            place = Some((end + GROUP_HEADER_BYTES + rank * ENTRY_BYTES, Some((end, entries.len()))));
        } else if place.is_none() && type_ > key.0 {
            place = Some((end, None));
        }
        end += GROUP_HEADER_BYTES + entries.len() * ENTRY_BYTES;
    }
    let (at, group) = place.unwrap_or((end, None));
    let header = if group.is_some() { 0 } else { GROUP_HEADER_BYTES };
    let new_end = end + header + ENTRY_BYTES;
    if new_end > capacity || groups >= OWNER_NUMBER_MAX {
        return Ok(None);
    }
    bytes.copy_within(at..end, at + header + ENTRY_BYTES);
    let (start, count) = group.map_or((at, 1), |(start, count)| (start, count + 1));
    if group.is_none() {
        bytes[at..at + 2].copy_from_slice(&type_bytes(key.0));
        bytes[..OWNER_BYTES].copy_from_slice(&owner.word(groups + 1));
    }
    bytes[start + 2..start + GROUP_HEADER_BYTES].copy_from_slice(&count_bytes(count));
    bytes[at + header..at + header + ENTRY_BYTES].copy_from_slice(&key.1.encode());
    Ok(Some(new_end))
}

fn type_bytes(type_: TypeId) -> [u8; 2] {
    u16::try_from(type_.0).expect("the catalog hands out types of 16 bits").to_le_bytes()
}

fn count_bytes(count: usize) -> [u8; 2] {
    u16::try_from(count).expect("a group is built from a bounded number of entries").to_le_bytes()
}

/// The least key of two ascending lists.
pub(super) fn next_key(removed: &[Key], added: &[Key]) -> Option<Key> {
    match (removed.first(), added.first()) {
        (Some(a), Some(b)) => Some(*a.min(b)),
        (a, b) => a.or(b).copied(),
    }
}

/// The entries of `left` and then those of `right`, all of which have to be greater.
pub(super) fn concat(owner: Owner, left: Block<'_>, right: Block<'_>) -> Result<Option<Vec<u8>>, Why> {
    let mut out = BlockWriter::new(owner, BLOCK_HEADER_BYTES + left.body.len() + right.body.len());
    for group in left.groups().chain(right.groups()) {
        let (type_, entries) = group?;
        out.push(type_, entries.as_bytes())?;
    }
    Ok(out.finish())
}

/// Cuts a block into several of at most `bytes_max` each: all but the last full if `packed` (entries arrive in
/// order, and the ones before will not grow), else about equal. Each comes with its least key and its length.
pub(super) fn split(
    owner: Owner,
    block: Block<'_>,
    bytes_max: usize,
    packed: bool,
) -> Result<Vec<(Key, usize, Vec<u8>)>, Why> {
    debug_assert!(bytes_max >= BLOCK_HEADER_BYTES + GROUP_HEADER_BYTES + ENTRY_BYTES);
    let parts = block.body.len().div_ceil(bytes_max - BLOCK_HEADER_BYTES).max(1);
    // A part may fall short of its share by an entry and a group header, and the next one has to take them over.
    let share = block.body.len() / parts + BLOCK_HEADER_BYTES + 2 * (ENTRY_BYTES + GROUP_HEADER_BYTES);
    let part_max = if packed { bytes_max } else { share.min(bytes_max) };

    let mut pieces = Vec::with_capacity(parts + 1);
    let mut out = BlockWriter::new(owner, part_max);
    let (mut least, mut count) = ((TypeId(0), Entry::MIN), 0);
    for group in block.groups() {
        let (type_, mut rest) = group?;
        while let Some(first) = rest.first() {
            let (now, later) = rest.split_at(out.room(type_, part_max));
            if count == 0 {
                least = (type_, first);
            }
            if now.is_empty() {
                let full = std::mem::replace(&mut out, BlockWriter::new(owner, part_max));
                pieces.extend(full.finish().map(|bytes| (least, count, bytes)));
                count = 0;
                continue;
            }
            out.push(type_, now.as_bytes())?;
            count += now.len();
            rest = later;
        }
    }
    pieces.extend(out.finish().map(|bytes| (least, count, bytes)));
    Ok(pieces)
}
