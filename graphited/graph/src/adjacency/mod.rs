//! Adjacency: for each node and side, its edges as (type, neighbour, edge), sorted.
//!
//! What a node has on one side is found at one [`Location`], kept in its slot:
//!
//! - **small**: a block (`block.rs`) in a slotted page that it shares with others; up to [`SMALL_BYTES_MAX`];
//! - **hub**: a tree of pages of its own (`hub/`), with `Location::TREE` and the root's page number. It becomes
//!   small again at [`SHRINK_BYTES`], half of that, so that one edge that comes and goes does not move it each time.
//!
//! Reading a small block is a walk over one slice of its page: nothing is copied, nothing allocated.
//!
//! Invariants:
//! 1. Keys of one adjacency are strictly ascending. A parallel edge differs by its edge; a loop is there once on
//!    each side.
//! 2. A block and every page of a hub carry their [`Owner`], and it is compared at each read.
//! 3. An entry that is added is not there before, and one that is removed is. What contradicts that, and what
//!    contradicts itself, is [`Error::Corrupt`]; nothing here repairs or guesses.
//! 4. No adjacency is empty: without entries there is no location.
//!
//! Crash safety is the applier's: a change that fails half way is dropped with its whole turn.

mod block;
mod entry;
mod hub;
mod relocate;
#[cfg(test)]
mod tests;
mod write;

use std::ops::ControlFlow;

use graphite_store::{PageKind, PageNo, PageReader, record};

use self::block::Block;
pub use self::entry::{ENTRY_BYTES, Entries, Entry, Key, Owner, Side};
use self::hub::Part;
pub use self::relocate::Relocation;
pub use self::write::{apply, destroy};
use crate::ids::{EdgeSlot, NodeSlot, TypeId};
use crate::location::Location;
use crate::{Error, Result};

/// Bytes of the largest small block, half of what a page holds: 338 edges of one type.
pub const SMALL_BYTES_MAX: usize = 4072;
/// Bytes at which a hub becomes small again.
pub const SHRINK_BYTES: usize = SMALL_BYTES_MAX / 2;

const NO_BLOCK: block::Why = "a node's adjacency block is not there";

/// Calls `look` with a small block.
#[inline]
fn with_block<R: PageReader, T>(
    r: &R,
    owner: Owner,
    location: Location,
    look: impl FnOnce(Block<'_>) -> Result<T, block::Why>,
) -> Result<T> {
    let corrupt = |why| Error::Corrupt { page: location.page, why };
    let page = r.page_of(location.page, PageKind::Adjacency)?;
    let bytes = record::get(&page, location.slot).ok_or_else(|| corrupt(NO_BLOCK))?;
    look(Block::parse(bytes, owner).map_err(corrupt)?).map_err(corrupt)
}

/// The entries at `location` will be visited soon: see [`PageReader::prefetch`].
#[inline]
pub fn prefetch<R: PageReader>(r: &R, location: Location) {
    r.prefetch(location.page, if location.is_tree() { 0 } else { record::entry_offset(location.slot) });
}

/// Visits the entries of some types, or all, in order of type. Each call gets a run of entries of one type, which
/// lies in one page; in a hub a type comes once for every leaf that it reaches. `Break` ends the visit.
///
/// # Errors
/// Of the store, and [`Error::Corrupt`].
#[inline]
pub fn for_each_group<R: PageReader, B>(
    r: &R,
    owner: Owner,
    location: Location,
    types: Option<&[TypeId]>,
    mut visit: impl FnMut(TypeId, Entries<'_>) -> ControlFlow<B>,
) -> Result<ControlFlow<B>> {
    if location.is_tree() {
        return hub::visit(r, owner, location.page, Part { types, ..Part::ALL }, &mut visit);
    }
    with_block(r, owner, location, |block| {
        for group in block.groups() {
            let (type_, entries) = group?;
            if types.is_none_or(|types| types.contains(&type_))
                && let ControlFlow::Break(end) = visit(type_, entries)
            {
                return Ok(ControlFlow::Break(end));
            }
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// Number of entries, of some types or all, without a look at any entry: a small block's from its length and the
/// heads of its groups, a hub's from the counts in its inner nodes.
///
/// # Errors
/// Of the store, and [`Error::Corrupt`].
pub fn count<R: PageReader>(
    r: &R,
    owner: Owner,
    location: Location,
    types: Option<&[TypeId]>,
) -> Result<u64> {
    if location.is_tree() {
        return hub::count(r, owner, location.page, types);
    }
    with_block(r, owner, location, |block| {
        let Some(types) = types else { return Ok(block.len()? as u64) };
        let mut count = 0;
        for group in block.groups() {
            let (type_, entries) = group?;
            if types.contains(&type_) {
                count += entries.len() as u64;
            }
        }
        Ok(count)
    })
}

/// Visits the edges to one neighbour, of some types or all, in order of type and edge. Logarithmic for each type.
/// `Break` ends the visit.
///
/// # Errors
/// Of the store, and [`Error::Corrupt`].
pub fn find<R: PageReader, B>(
    r: &R,
    owner: Owner,
    location: Location,
    types: Option<&[TypeId]>,
    neighbour: NodeSlot,
    mut visit: impl FnMut(TypeId, EdgeSlot) -> ControlFlow<B>,
) -> Result<ControlFlow<B>> {
    let least = Entry { neighbour, edge: EdgeSlot(0) };
    // Breaks with `None` where the entries of another neighbour begin.
    let mut visit_run = |type_, entries: Entries<'_>| {
        for entry in entries.iter() {
            if entry.neighbour != neighbour {
                return ControlFlow::Break(None);
            }
            visit(type_, entry.edge).map_break(Some)?;
        }
        ControlFlow::Continue(())
    };
    if !location.is_tree() {
        return for_each_group(r, owner, location, types, |type_, entries| {
            let (_, from) = entries.split_at(entries.rank(least));
            match visit_run(type_, from) {
                ControlFlow::Break(Some(end)) => ControlFlow::Break(end),
                _ => ControlFlow::Continue(()),
            }
        });
    }
    let mut next = TypeId(0);
    while let Some((type_, _)) = hub::first_from(r, owner, location.page, (next, Entry::MIN), types)? {
        let part = Part { from: (type_, least), types: Some(&[type_]) };
        if let ControlFlow::Break(Some(end)) = hub::visit(r, owner, location.page, part, &mut visit_run)? {
            return Ok(ControlFlow::Break(end));
        }
        next = TypeId(type_.0 + 1);
    }
    Ok(ControlFlow::Continue(()))
}

/// Appends to `found` the next at most `max` entries after `after` (from the beginning without it), of some types
/// or all, in order. Fewer than `max` come only at the end. The last one found is where the next call goes on; it
/// need not be there any more by then.
///
/// # Errors
/// Of the store, and [`Error::Corrupt`].
pub fn scan_from<R: PageReader>(
    r: &R,
    owner: Owner,
    location: Location,
    types: Option<&[TypeId]>,
    after: Option<Key>,
    max: usize,
    found: &mut Vec<Key>,
) -> Result<()> {
    if max == 0 {
        return Ok(());
    }
    let part = match after {
        // Edge slots have 48 bits, so the next number always exists.
        Some((type_, entry)) => {
            Part { from: (type_, Entry { edge: EdgeSlot(entry.edge.0 + 1), ..entry }), types }
        }
        None => Part { types, ..Part::ALL },
    };
    let mut left = max;
    let mut visit = |type_: TypeId, entries: Entries<'_>| {
        let (now, _) = entries.split_at(left);
        found.extend(now.iter().map(|entry| (type_, entry)));
        left -= now.len();
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    if location.is_tree() {
        hub::visit(r, owner, location.page, part, &mut visit)?.is_break();
    } else {
        with_block(r, owner, location, |block| part.visit_block(block, &mut visit))?.is_break();
    }
    Ok(())
}

/// Visits the pages that belong to this adjacency alone: all of a hub's, none of a small block.
///
/// # Errors
/// Of the store, and [`Error::Corrupt`].
pub fn for_each_page<R: PageReader>(
    r: &R,
    owner: Owner,
    location: Location,
    mut visit: impl FnMut(PageNo),
) -> Result<()> {
    if location.is_tree() { hub::pages(r, owner, location.page, &mut visit) } else { Ok(()) }
}

/// Proves the invariants of one adjacency: owners, order, counts, each page met once. Gives the number of entries.
///
/// # Errors
/// Of the store, and [`Error::Corrupt`] for the first invariant that does not hold.
pub fn check<R: PageReader>(r: &R, owner: Owner, location: Location) -> Result<u64> {
    if location.is_tree() {
        return hub::check(r, owner, location.page);
    }
    match with_block(r, owner, location, |block| block.check())? {
        0 => Err(Error::Corrupt { page: location.page, why: "an adjacency block is empty" }),
        count => Ok(count as u64),
    }
}
