//! Moving adjacency to new pages, for batches that concern more pages than one turn may change.
//!
//! Whoever moves names the slotted pages that are to be left, and then shows every node's two sides, in order. Blocks
//! in those pages, with what is added to them, go to new pages, one after another and without slack; when all are
//! moved, the old pages are freed without a change to them. A hub is written anew if the additions concern many of
//! its leaves, else it changes in place.
//!
//! Invariants:
//! 1. A page is freed only when as many records were moved out of it as it has.
//! 2. No slotted page that was there before is changed.

use graphite_store::{PageNo, PageWriter, STATE_PAGE};
use rustc_hash::{FxHashMap, FxHashSet};

use super::block::{Block, merge};
use super::entry::{Key, Owner};
use super::hub::TreeWriter;
use super::write::{CHANGES_MAX, Limits, apply, destroy, is_ascending};
use super::{SMALL_BYTES_MAX, for_each_group, scan_from, with_block};
use crate::location::Location;
use crate::space::SpaceMap;
use crate::{Error, Result};

/// Additions that are merged into a small block at a time.
const SMALL_CHANGES_MAX: usize = CHANGES_MAX / 2;
/// A hub changes in place if it has more entries than this for each that is added: then few of its leaves change.
const ENTRIES_PER_CHANGE: u64 = 2048;

/// A move that is under way.
pub struct Relocation {
    /// The pages to be left, with the number of records that have gone.
    left: FxHashMap<PageNo, usize>,
    /// The new page that is being filled.
    last: Option<PageNo>,
}

impl Relocation {
    /// Begins to move all small adjacency out of these pages.
    pub fn of(pages: FxHashSet<PageNo>) -> Relocation {
        Relocation { left: pages.into_iter().map(|page| (page, 0)).collect(), last: None }
    }

    /// Whether the adjacency there has to move.
    pub fn concerns(&self, location: Option<Location>) -> bool {
        location.is_some_and(|location| !location.is_tree() && self.left.contains_key(&location.page))
    }

    /// Adds keys, in strictly ascending order, to an adjacency of so many entries, and moves it if it is concerned.
    /// Gives the place where it is then.
    ///
    /// # Errors
    /// As of [`super::apply`].
    pub fn apply<W: PageWriter>(
        &mut self,
        w: &mut W,
        space: &mut SpaceMap,
        owner: Owner,
        location: Option<Location>,
        degree: u32,
        added: &[Key],
    ) -> Result<Option<Location>> {
        if added.is_empty() && !self.concerns(location) {
            return Ok(location);
        }
        match location {
            Some(hub) if hub.is_tree() => {
                if u64::from(degree) > added.len() as u64 * ENTRIES_PER_CHANGE {
                    return apply(w, space, owner, location, &[], added);
                }
                self.rewrite_hub(w, space, owner, hub, added).map(Some)
            }
            _ => self.move_small(w, space, owner, location, added),
        }
    }

    fn move_small<W: PageWriter>(
        &mut self,
        w: &mut W,
        space: &mut SpaceMap,
        owner: Owner,
        location: Option<Location>,
        added: &[Key],
    ) -> Result<Option<Location>> {
        if added.len() > SMALL_CHANGES_MAX {
            let mut keys = added.to_vec();
            if let Some(small) = location {
                let _ = for_each_group(w, owner, small, None, |type_, entries| {
                    keys.extend(entries.iter().map(|entry| (type_, entry)));
                    std::ops::ControlFlow::<()>::Continue(())
                })?;
                self.leave(small);
            }
            keys.sort_unstable();
            // So many are a hub, whose pages are all new.
            return apply(w, space, owner, None, &[], &keys);
        }
        if !is_ascending(added) {
            let page = location.map_or(STATE_PAGE, |location| location.page);
            return Err(Error::Corrupt { page, why: "additions to an adjacency are out of order" });
        }
        let block = match location {
            Some(small) => with_block(w, owner, small, |block| merge(owner, block, &[], added))?,
            None => merge(owner, Block::empty(), &[], added)
                .map_err(|why| Error::Corrupt { page: STATE_PAGE, why })?,
        };
        if let Some(small) = location {
            self.leave(small);
        }
        block.map(|block| self.place(w, space, owner, &block)).transpose()
    }

    fn leave(&mut self, location: Location) {
        *self.left.entry(location.page).or_default() += 1;
    }

    fn place<W: PageWriter>(
        &mut self,
        w: &mut W,
        space: &mut SpaceMap,
        owner: Owner,
        block: &[u8],
    ) -> Result<Location> {
        if block.len() <= SMALL_BYTES_MAX {
            return space.append(w, block, &mut self.last);
        }
        let root = TreeWriter::new(w, owner, Limits::STANDARD).create(block)?;
        Ok(Location { page: root, slot: Location::TREE })
    }

    /// Writes a hub anew, a bounded number of entries at a time.
    fn rewrite_hub<W: PageWriter>(
        &mut self,
        w: &mut W,
        space: &mut SpaceMap,
        owner: Owner,
        old: Location,
        mut added: &[Key],
    ) -> Result<Location> {
        let mut new: Option<Location> = None;
        let mut keys: Vec<Key> = Vec::new();
        let mut after = None;
        loop {
            keys.clear();
            scan_from(w, owner, old, None, after, CHANGES_MAX, &mut keys)?;
            let is_end = keys.len() < CHANGES_MAX;
            after = keys.last().copied().or(after);
            let now = if is_end { added.len() } else { added.partition_point(|key| Some(*key) < after) };
            let (mine, later) = added.split_at(now);
            added = later;
            keys.extend_from_slice(mine);
            // Two runs, each in order: the stable sort merges them.
            keys.sort();
            new = match new {
                None if keys.len() <= CHANGES_MAX => {
                    let block = merge(owner, Block::empty(), &[], &keys);
                    let block = block.map_err(|why| Error::Corrupt { page: old.page, why })?;
                    block.map(|block| self.place(w, space, owner, &block)).transpose()?
                }
                place => apply(w, space, owner, place, &[], &keys)?,
            };
            if is_end {
                break;
            }
        }
        destroy(w, space, owner, old)?;
        new.ok_or(Error::Corrupt { page: old.page, why: "a hub has no entries" })
    }

    /// Frees the pages that were left.
    ///
    /// # Errors
    /// Of the store; [`Error::Corrupt`] if something was not moved.
    pub fn end<W: PageWriter>(mut self, w: &mut W, space: &mut SpaceMap) -> Result<()> {
        space.end_append(w, &mut self.last)?;
        let mut left: Vec<(PageNo, usize)> = self.left.into_iter().collect();
        left.sort_unstable();
        left.into_iter().try_for_each(|(page, records)| space.drop_page(w, page, records))
    }
}
