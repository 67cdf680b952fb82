//! Free slots: which one the next node or edge gets.
//!
//! The truth about free slots is in the table. The pool, in memory, knows only what the table cannot: which of
//! them are *leased*, handed out to a transaction whose write is not applied yet. It reads the free slots of one
//! page at a time, lowest page first, and finds that page by the full marks of the directory; so opening a
//! database reads nothing, and the memory is bounded by the leases that are out.
//!
//! Invariants:
//! 1. No slot is leased twice at the same time. A lease ends by `used`, `give_back` or `end_fresh_range`.
//! 2. No page below `next_page` has a free slot that is neither leased nor in `open`: what makes one lowers it. Only
//!    pages that were skipped may, until the next lease ends.
//! 3. Every page that was ever leased from lies below `fresh_page` or below the table's own page count.
//!
//! The caller holds the pool while it takes the state to call it with, and that is the newest applied one. So
//! states never go back: what was used once its lease ended is seen as used.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use graphite_store::PageReader;
use rustc_hash::FxHashMap;

use crate::Result;
use crate::edges::Edges;
use crate::nodes::Nodes;
use crate::table::{self, Table};

/// Hands out node slots.
pub type NodePool = SlotPool<Nodes>;
/// Hands out edge slots.
pub type EdgePool = SlotPool<Edges>;

/// Words of a page's bits: one for each slot.
const LEASE_WORDS: usize = crate::edges::EDGES_PER_PAGE.div_ceil(64);
const _: () = assert!(crate::nodes::NODES_PER_PAGE <= LEASE_WORDS * 64);

/// The leased slots of a table page.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Leases([u64; LEASE_WORDS]);

impl Leases {
    fn has(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }

    fn add(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn remove(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }

    fn is_empty(&self) -> bool {
        *self == Leases::default()
    }
}

/// Hands out the slots of one table.
#[derive(Debug)]
pub struct SlotPool<T: Table> {
    /// The page that slots are taken from now, and its free slots with their generations, the lowest last.
    open: (u64, Vec<(usize, u16)>),
    /// Leased slots, by page.
    leased: FxHashMap<u64, Leases>,
    /// Leased fresh ranges: first page, and the page after the last.
    ranges: BTreeMap<u64, u64>,
    /// Where to look for free slots next.
    next_page: u64,
    /// The page after the last that was leased from.
    fresh_page: u64,
    /// The lowest page that has free slots and was left.
    skipped: Option<u64>,
    table: PhantomData<T>,
}

impl<T: Table> Default for SlotPool<T> {
    fn default() -> Self {
        SlotPool {
            open: (0, Vec::new()),
            leased: FxHashMap::default(),
            ranges: BTreeMap::new(),
            next_page: 0,
            fresh_page: 0,
            skipped: None,
            table: PhantomData,
        }
    }
}

impl<T: Table> SlotPool<T> {
    /// A pool that has leased nothing; it finds free slots as needed.
    pub fn new() -> SlotPool<T> {
        SlotPool::default()
    }

    /// Leases some free slots of one page, `count` at most and one at least, and adds them with the generations that
    /// their users have to have, the lowest last. `state` is the newest applied state, taken while the pool was already
    /// held; it is asked for only if a page has to be read.
    ///
    /// # Errors
    /// What the store says, also that a page is not in memory, if the state is limited to what is: nothing is leased then.
    /// [`crate::Error::Corrupt`] if directory and table contradict each other; `TooMany` if the table cannot grow.
    pub fn take_some<R: PageReader>(
        &mut self,
        count: usize,
        into: &mut Vec<(T::Slot, u16)>,
        state: impl FnOnce() -> R,
    ) -> Result<()> {
        if self.open.1.is_empty() {
            self.open_page(&state()).inspect_err(|_| self.open.1.clear())?;
        }
        let (page, free) = &mut self.open;
        let leases = self.leased.entry(*page).or_default();
        let kept = free.len() - count.max(1).min(free.len());
        into.extend(free.drain(kept..).map(|(index, generation)| {
            leases.add(index);
            (T::slot(*page * T::SLOTS as u64 + index as u64), generation)
        }));
        Ok(())
    }

    /// Where it looks for free slots next, for [`look_for_free`].
    pub(crate) fn next_page(&self) -> u64 {
        self.next_page
    }

    /// Leases nothing more of a page for now, for somebody is in the way there. It is looked at again once any lease
    /// has ended.
    pub fn skip_page(&mut self, slot: T::Slot) {
        let page = T::number(slot) / T::SLOTS as u64;
        if self.open.0 == page {
            self.open.1.clear();
            self.skipped = Some(self.skipped.map_or(page, |skipped| skipped.min(page)));
        }
    }

    /// Leases `count` consecutive slots that were never used, of generation 0, from the start of a table page:
    /// for bulk. The rest of the last page is leased with them. Ends by [`SlotPool::end_fresh_range`]. `r` is as
    /// for [`SlotPool::take`].
    ///
    /// # Errors
    /// What the store says; [`crate::Error::TooMany`] if the table cannot grow so far.
    pub fn take_fresh_range<R: PageReader>(&mut self, r: &R, count: u64) -> Result<T::Slot> {
        let first = table::page_count::<T, R>(r)?.max(self.fresh_page);
        let end = first.saturating_add(count.div_ceil(T::SLOTS as u64).max(1));
        check_page::<T>(end - 1)?;
        self.fresh_page = end;
        self.ranges.insert(first, end);
        Ok(T::slot(first * T::SLOTS as u64))
    }

    /// Ends the lease of the fresh range that starts at `first`, whether its slots were put, and that is
    /// applied, or not. Slots of it that were not put are free from now on.
    pub fn end_fresh_range(&mut self, first: T::Slot) {
        let first = T::number(first) / T::SLOTS as u64;
        if self.ranges.remove(&first).is_some() {
            self.next_page = self.next_page.min(first);
        }
    }

    /// Ends the lease of a slot that was put, and that is applied.
    pub fn used(&mut self, slot: T::Slot) {
        self.end_lease(slot);
    }

    /// Ends the lease of a slot that was not needed after all.
    pub fn give_back(&mut self, slot: T::Slot) {
        self.end_lease(slot);
        self.freed(slot);
    }

    /// A slot was freed, and that is applied: it may be leased again.
    pub fn freed(&mut self, slot: T::Slot) {
        self.next_page = self.next_page.min(T::number(slot) / T::SLOTS as u64);
    }

    fn end_lease(&mut self, slot: T::Slot) {
        if let Some(skipped) = self.skipped.take() {
            self.next_page = self.next_page.min(skipped);
        }
        let (page, index) = (T::number(slot) / T::SLOTS as u64, T::number(slot) % T::SLOTS as u64);
        if let Some(leases) = self.leased.get_mut(&page) {
            leases.remove(index as usize);
            if leases.is_empty() {
                self.leased.remove(&page);
            }
        }
    }

    /// Reads the free slots of the next page that has some to lease.
    fn open_page<R: PageReader>(&mut self, r: &R) -> Result<()> {
        let (page, free) = &mut self.open;
        free.clear();
        while free.is_empty() {
            *page = table::find_open::<T, R>(r, self.next_page)?;
            check_page::<T>(*page)?;
            self.next_page = match self.ranges.range(..=*page).next_back() {
                Some((_, end)) if end > page => *end,
                _ => {
                    let leases = self.leased.get(page).copied().unwrap_or_default();
                    table::visit_free::<T, R>(r, *page, |index, generation| {
                        if !leases.has(index) {
                            free.push((index, generation));
                        }
                    })?;
                    *page + 1
                }
            };
        }
        free.reverse();
        self.fresh_page = self.fresh_page.max(*page + 1);
        Ok(())
    }
}

/// Looks at what a pool that looks for free slots from this page on will look at first.
///
/// # Errors
/// As [`SlotPool::take_some`].
pub(crate) fn look_for_free<T: Table, R: PageReader>(r: &R, from: u64) -> Result<()> {
    let page = table::find_open::<T, R>(r, from)?;
    check_page::<T>(page)?;
    table::visit_free::<T, R>(r, page, |_, _| {})
}

fn check_page<T: Table>(page: u64) -> Result<()> {
    if page <= u64::from(u32::MAX) { Ok(()) } else { Err(table::too_many::<T>()) }
}

#[cfg(test)]
mod tests;
