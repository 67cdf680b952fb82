//! Changing adjacency: where it is kept, and when that changes.
//!
//! A small block that outgrows its record gets one with some slack, so that the next edges are put in where it
//! is; one that becomes much too short for its record gets one that fits. A full page is compacted only once that
//! is worth it, so a block that grows in one rather leaves it.

use graphite_store::{PAGE_BODY_BYTES, PageKind, PageWriter, STATE_PAGE, record};

use super::block::{self, Block, merge};
use super::entry::{ENTRY_BYTES, Key, Owner};
use super::hub::{INNER_CHILDREN_MAX, LEAF_BLOCK_BYTES_MAX, Left, TreeWriter};
use super::{NO_BLOCK, SHRINK_BYTES, SMALL_BYTES_MAX, for_each_page, with_block};
use crate::ids::SLOT_MAX;
use crate::location::Location;
use crate::space::SpaceMap;
use crate::{Error, Result};

/// Changes that are merged at a time. It keeps counts of groups within their 16 bits, and memory bounded.
pub(super) const CHANGES_MAX: usize = 8192;

/// Holes that a page must have before it is compacted for a block that grows. Below it the block moves to another
/// page, which costs and logs the block alone; compaction costs and logs the page.
const HOLES_BYTES_MIN: usize = PAGE_BODY_BYTES / 4;

/// When adjacency changes its form. Tests use small ones, to get high trees from few edges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of a small block.
    pub small_bytes: usize,
    /// Of a hub that becomes a small block.
    pub shrink_bytes: usize,
    /// Of the block in a hub's leaf.
    pub leaf_bytes: usize,
    /// Of an inner node.
    pub inner_children: usize,
}

impl Limits {
    pub(super) const STANDARD: Limits = Limits {
        small_bytes: SMALL_BYTES_MAX,
        shrink_bytes: SHRINK_BYTES,
        leaf_bytes: LEAF_BLOCK_BYTES_MAX,
        inner_children: INNER_CHILDREN_MAX,
    };
}

/// Bytes of the record for a block of `len` that had outgrown its own: some slack, so that a node that gets one
/// edge after another moves its block, and so changes the layout of a page, only now and then. A block that never
/// grew has none.
fn bytes_with_slack(len: usize, limits: Limits) -> usize {
    (len + (len / 8).max(4 * ENTRY_BYTES)).min(limits.small_bytes).max(len)
}

/// Takes `removed` out and then puts `added` in, both in strictly ascending order, and gives the place where the
/// adjacency is now (`None`: it has no entries left).
///
/// A small block is merged in one pass and written once. A hub costs one descent for a run of changes, and one
/// merge for each leaf that has some.
///
/// # Errors
/// Of the store; [`Error::Corrupt`] if an entry is added that is there already, or one removed that is not, or if
/// a list is out of order; [`Error::TooMany`] for more than `u32::MAX` edges.
pub fn apply<W: PageWriter>(
    w: &mut W,
    space: &mut SpaceMap,
    owner: Owner,
    location: Option<Location>,
    removed: &[Key],
    added: &[Key],
) -> Result<Option<Location>> {
    apply_within(Limits::STANDARD, w, space, owner, location, removed, added)
}

pub(super) fn apply_within<W: PageWriter>(
    limits: Limits,
    w: &mut W,
    space: &mut SpaceMap,
    owner: Owner,
    mut location: Option<Location>,
    mut removed: &[Key],
    mut added: &[Key],
) -> Result<Option<Location>> {
    let page = location.map_or(STATE_PAGE, |location| location.page);
    if !is_ascending(removed) || !is_ascending(added) || !owner_fits(owner) {
        return Err(Error::Corrupt {
            page,
            why: "changes of an adjacency are out of order, or out of range",
        });
    }
    while removed.len().max(added.len()) > CHANGES_MAX {
        let end = match (removed.get(CHANGES_MAX), added.get(CHANGES_MAX)) {
            (Some(a), Some(b)) => a.min(b),
            (Some(end), None) | (None, Some(end)) => end,
            (None, None) => break,
        };
        let (removed_now, removed_later) = removed.split_at(removed.partition_point(|key| key < end));
        let (added_now, added_later) = added.split_at(added.partition_point(|key| key < end));
        location = apply_some(limits, w, space, owner, location, removed_now, added_now)?;
        (removed, added) = (removed_later, added_later);
    }
    apply_some(limits, w, space, owner, location, removed, added)
}

/// Whether keys are strictly ascending and within their bits.
pub(super) fn is_ascending(keys: &[Key]) -> bool {
    keys.is_sorted_by(|a, b| a < b)
        && keys.last().is_none_or(|(type_, _)| type_.0 <= u32::from(u16::MAX))
        && keys.iter().all(|(_, entry)| entry.neighbour.0 <= SLOT_MAX && entry.edge.0 <= SLOT_MAX)
}

fn owner_fits(owner: Owner) -> bool {
    owner.slot.0 <= SLOT_MAX
}

/// [`apply`] for a bounded number of changes.
fn apply_some<W: PageWriter>(
    limits: Limits,
    w: &mut W,
    space: &mut SpaceMap,
    owner: Owner,
    location: Option<Location>,
    removed: &[Key],
    added: &[Key],
) -> Result<Option<Location>> {
    if removed.is_empty() && added.is_empty() {
        return Ok(location);
    }
    if let Some(tree) = location.filter(|location| location.is_tree()) {
        return match TreeWriter::new(w, owner, limits).apply(tree.page, removed, added)? {
            Left::Tree => Ok(location),
            Left::Block(block) => Ok(Some(space.insert(w, &block, None)?)),
            Left::Nothing => Ok(None),
        };
    }
    let Some(small) = location else {
        let merged = merge(owner, Block::empty(), removed, added);
        let block = merged.map_err(|why| Error::Corrupt { page: STATE_PAGE, why })?;
        return block.map(|block| place(limits, w, space, owner, &block)).transpose();
    };
    if let ([], [key]) = (removed, added)
        && insert_one(w, owner, small, *key)?
    {
        return Ok(location);
    }
    let (bytes_before, merged) = with_block(w, owner, small, |block| {
        let merged = merge(owner, block, removed, added)?;
        Ok((block.bytes(), merged))
    })?;
    match merged {
        Some(block) if block.len() <= limits.small_bytes => {
            rewrite(limits, w, space, small, bytes_before, block).map(Some)
        }
        merged => {
            space.remove(w, small)?;
            merged.map(|block| place(limits, w, space, owner, &block)).transpose()
        }
    }
}

/// Puts one entry into a small block with slack. False, and nothing changed, if there is too little.
fn insert_one<W: PageWriter>(w: &mut W, owner: Owner, small: Location, key: Key) -> Result<bool> {
    let corrupt = |why| Error::Corrupt { page: small.page, why };
    let page = w.page_mut(small.page)?;
    if page.kind() != PageKind::Adjacency {
        return Err(corrupt(NO_BLOCK));
    }
    let record = record::get_mut(page, small.slot).ok_or(corrupt(NO_BLOCK))?;
    Ok(block::insert_in_place(record, owner, key).map_err(corrupt)?.is_some())
}

/// Finds a place for adjacency that had none, or that was a small block and is none any more.
fn place<W: PageWriter>(
    limits: Limits,
    w: &mut W,
    space: &mut SpaceMap,
    owner: Owner,
    block: &[u8],
) -> Result<Location> {
    if block.len() <= limits.small_bytes {
        return space.insert(w, block, None);
    }
    let root = TreeWriter::new(w, owner, limits).create(block)?;
    Ok(Location { page: root, slot: Location::TREE })
}

/// Replaces a small block: within its record, as long as that is neither too short nor half empty.
fn rewrite<W: PageWriter>(
    limits: Limits,
    w: &mut W,
    space: &mut SpaceMap,
    small: Location,
    bytes_before: usize,
    mut block: Vec<u8>,
) -> Result<Location> {
    if block.len() <= bytes_before && block.len() + 4 * ENTRY_BYTES > bytes_before / 2 {
        let page = w.page_mut(small.page)?;
        let record = record::get_mut(page, small.slot)
            .filter(|record| record.len() == bytes_before)
            .ok_or(Error::Corrupt { page: small.page, why: NO_BLOCK })?;
        let (used, slack) = record.split_at_mut(block.len());
        used.copy_from_slice(&block);
        slack.fill(0);
        return Ok(small);
    }
    if block.len() > bytes_before {
        block.resize(bytes_with_slack(block.len(), limits), 0);
        let page = w.page_of(small.page, PageKind::Adjacency)?;
        let holes = record::fragmented(&page);
        let gap = record::room(&page).saturating_sub(holes);
        drop(page);
        if gap < block.len() && holes < HOLES_BYTES_MIN {
            let moved = space.insert(w, &block, None)?;
            space.remove(w, small)?;
            return Ok(moved);
        }
    }
    space.replace(w, small, &block)
}

/// Removes a whole adjacency and frees its pages.
///
/// # Errors
/// Of the store, and [`Error::Corrupt`].
pub fn destroy<W: PageWriter>(
    w: &mut W,
    space: &mut SpaceMap,
    owner: Owner,
    location: Location,
) -> Result<()> {
    if !location.is_tree() {
        with_block(w, owner, location, |_| Ok(()))?;
        return space.remove(w, location);
    }
    let mut pages = Vec::new();
    for_each_page(w, owner, location, |page| pages.push(page))?;
    pages.into_iter().try_for_each(|page| Ok(w.free(page)?))
}
