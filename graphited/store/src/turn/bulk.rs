//! Bulk turns: large loads, whose new pages go straight to the file instead of into the log.
//!
//! Invariants:
//! 1. New pages are written to the file and synced before the group that links them is appended. Until then nothing
//!    points at them; so they may be written more than once, and a crash before the group leaves the database as it
//!    was.
//! 2. They carry as their LSN the redo point that the superblock names, which no recovery begins before: so their first
//!    later change is logged whole, in this life and in every later one. The redo point of a checkpoint under way would
//!    not do, for a crash takes it back. And they are pages that were never used, or clean ones (see `allocator`): no
//!    record that recovery reads speaks of them.
//! 3. Memory is bounded whatever the load, and part of the cache's: at most [`StoreOptions::bulk_new_bytes_max`] of
//!    new pages are held, for past that the oldest are *spilled* into the file, and read back if they are changed
//!    again; at most [`StoreOptions::bulk_changes_bytes_max`] of pages that were there before are copied, and the cache
//!    keeps as much again of what they were; and room for the group is reserved in the cache before anything is changed,
//!    and until the group is written. Together that is no more than the cache and a sixteenth.
//! 4. What was spilled is not in the cache: what that may have of an earlier life of the page is discarded before the
//!    turn is published, and nobody could look at it since the page was freed.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use super::{Copy, Turn, unshared};
use crate::Result;
use crate::cache::Reservation;
use crate::checkpoint::{Pace, RUN_PAGES_MAX};
use crate::page::{PAGE_BYTES, PageNo};
use crate::store::{Inner, Store, StoreOptions};
use crate::sync::Ordering;

/// Least share of all pages that are free and not clean for which a bulk turn is preceded by a checkpoint.
const UNCLEAN_SHARE: u32 = 8;
const UNCLEAN_PAGES_MIN: u32 = 128;

/// What a bulk turn keeps besides.
pub(super) struct Bulk {
    /// New pages that are held, the oldest first; may name some that were freed again.
    new: VecDeque<PageNo>,
    /// New pages that the file has and memory has not.
    spilled: FxHashSet<PageNo>,
    /// New pages that had an earlier life.
    reused: FxHashSet<PageNo>,
    /// Pages held that the log will speak of.
    pub(super) changed: usize,
    /// Something was written and is not synced.
    unsynced: bool,
    /// For the group.
    reservation: Reservation,
}

impl StoreOptions {
    /// Bytes of existing pages that one bulk turn may change. Each is held twice, before and after.
    pub fn bulk_changes_bytes_max(&self) -> u64 {
        self.cache_bytes as u64 / 8 * 3
    }

    /// Bytes of new pages that a bulk turn holds.
    pub fn bulk_new_bytes_max(&self) -> u64 {
        self.cache_bytes as u64 / 16
    }
}

impl Inner {
    /// Bytes of log that one bulk turn may write, which are reserved in the cache.
    pub(crate) fn bulk_group_bytes_max(&self) -> u64 {
        self.transaction_bytes_max().min(self.options.cache_bytes as u64 / 4)
    }
}

impl Store {
    /// A turn whose new pages go straight to the file instead of into the log: for large loads.
    ///
    /// # Errors
    /// As [`Store::turn`].
    pub fn turn_bulk(&self) -> Result<Turn<'_>> {
        let mut turn = self.turn()?;
        let allocator = &turn.applier.allocator;
        let unclean = allocator.unclean_count();
        if unclean >= UNCLEAN_PAGES_MIN && unclean >= allocator.page_count() / UNCLEAN_SHARE {
            // Else a load that frees what it replaces would have the file grow and grow.
            drop(turn);
            self.inner.checkpoint(Pace::Fast)?;
            turn = self.turn()?;
        }
        let group_bytes = self.inner.bulk_group_bytes_max();
        turn.bulk = Some(Bulk {
            new: VecDeque::new(),
            spilled: FxHashSet::default(),
            reused: FxHashSet::default(),
            changed: 0,
            unsynced: false,
            reservation: self.inner.cache.reserve(usize::try_from(group_bytes).unwrap_or(0)),
        });
        self.inner.cache.evict();
        Ok(turn)
    }
}

impl Turn<'_> {
    /// Existing pages that this turn may change, if it is a bulk turn; new ones do not count.
    pub fn bulk_changes_max(&self) -> usize {
        let bytes = self.inner.options.bulk_changes_bytes_max();
        usize::try_from(bytes).unwrap_or(usize::MAX) / PAGE_BYTES
    }

    /// Pages that the turn holds copies of now: for tests of its bounds.
    pub fn copies(&self) -> usize {
        self.copies.len()
    }

    pub(super) fn is_spilled(&self, number: PageNo) -> bool {
        self.bulk.as_ref().is_some_and(|bulk| bulk.spilled.contains(&number))
    }

    /// A page that was there before is copied.
    pub(super) fn count_changed(&mut self) {
        if let Some(bulk) = &mut self.bulk {
            bulk.changed += 1;
        }
    }

    /// A page was made that goes past the log, if this is a bulk turn.
    pub(super) fn note_new(&mut self, number: PageNo, reused: bool) {
        if let Some(bulk) = &mut self.bulk {
            bulk.new.push_back(number);
            if reused {
                bulk.reused.insert(number);
            }
        }
    }

    pub(super) fn forget_spilled(&mut self, number: PageNo) {
        if let Some(bulk) = &mut self.bulk {
            bulk.spilled.remove(&number);
        }
    }

    /// Holds a spilled page again, to change it.
    pub(super) fn unspill(&mut self, number: PageNo) -> Result<()> {
        self.spill_if_many()?;
        let version = self.inner.cache.make_version(self.inner.read_page(number)?);
        self.copies.insert(number, Copy { version, base: None });
        self.forget_spilled(number);
        self.note_new(number, false);
        Ok(())
    }

    /// Spills the older half of the new pages if there are too many.
    pub(super) fn spill_if_many(&mut self) -> Result<()> {
        let held_max = self.inner.options.bulk_new_bytes_max() as usize / PAGE_BYTES;
        let Some(bulk) = &mut self.bulk else { return Ok(()) };
        if bulk.new.len() < held_max.max(2) {
            return Ok(());
        }
        let oldest: Vec<PageNo> = bulk.new.drain(..bulk.new.len() / 2).collect();
        let redo = self.inner.durable_redo();
        let mut copies = Vec::with_capacity(oldest.len());
        for number in oldest {
            let Some(mut copy) = self.copies.remove(&number) else { continue };
            let version = unshared(&mut copy.version);
            version.lsn = redo;
            version.page.set_lsn(redo);
            copies.push((number, copy));
        }
        copies.sort_unstable_by_key(|(number, _)| *number);
        self.write_new(&mut copies)?;
        if let Some(bulk) = &mut self.bulk {
            bulk.spilled.extend(copies.iter().map(|(number, _)| *number));
        }
        Ok(())
    }

    /// Before the group is appended.
    pub(super) fn write_and_sync_bulk(&mut self, copies: &mut [(PageNo, Copy)]) -> Result<()> {
        if self.bulk.is_none() {
            return Ok(());
        }
        self.write_new(copies)?;
        if self.bulk.as_ref().is_some_and(|bulk| bulk.unsynced) { self.inner.sync_file() } else { Ok(()) }
    }

    /// Writes those of `copies` that are new pages, run by run.
    fn write_new(&mut self, copies: &mut [(PageNo, Copy)]) -> Result<()> {
        let mut run: Vec<u8> = Vec::with_capacity(RUN_PAGES_MAX * PAGE_BYTES);
        let mut run_start = PageNo(0);
        for (number, copy) in copies.iter_mut().filter(|(_, copy)| copy.is_fresh()) {
            let goes_on = run_start.0 as usize + run.len() / PAGE_BYTES == number.0 as usize;
            if !run.is_empty() && (!goes_on || run.len() == RUN_PAGES_MAX * PAGE_BYTES) {
                self.inner.write_pages(run_start, &run)?;
                run.clear();
            }
            if run.is_empty() {
                run_start = *number;
            }
            let version = unshared(&mut copy.version);
            run.extend_from_slice(version.page.seal());
            version.in_file.store(true, Ordering::Release);
        }
        if !run.is_empty() {
            self.inner.write_pages(run_start, &run)?;
            if let Some(bulk) = &mut self.bulk {
                bulk.unsynced = true;
            }
        }
        Ok(())
    }

    /// What was reserved for the group, of which `bytes` were needed.
    pub(super) fn reservation_of(&mut self, bytes: u64) -> Option<Reservation> {
        let mut reservation = self.bulk.take()?.reservation;
        reservation.shrink_to(usize::try_from(bytes).unwrap_or(usize::MAX));
        Some(reservation)
    }

    /// Before the turn is published.
    pub(super) fn discard_spilled(&mut self) {
        if let Some(bulk) = &self.bulk {
            self.inner.cache.discard(&bulk.spilled & &bulk.reused);
        }
    }
}
