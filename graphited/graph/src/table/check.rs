//! Proving a table: every page that it owns, and every count in it.

use graphite_store::{PageNo, PageReader, STATE_PAGE};

use super::change::is_to_be_freed;
use super::{
    Entry, FANOUT, FULL_ENTRIES, GENERATION_RETIRED, RETIRED, Root, SlotState, Table, USED, check_table_page,
    directory_page, page_count, reach, slot_bytes, slot_offset, u16_at,
};
use crate::{Error, Result};

/// Where a walk tells what it sees.
struct Walk<'a, R> {
    r: &'a R,
    owned: &'a mut dyn FnMut(PageNo),
    problem: &'a mut dyn FnMut(Error),
    /// Used slots so far.
    used: u64,
    /// One past the last logical page that was seen.
    pages: u64,
}

/// Walks the whole table; see `check_nodes`.
pub(crate) fn check<T: Table, R: PageReader>(
    r: &R,
    owned: &mut dyn FnMut(PageNo),
    problem: &mut dyn FnMut(Error),
) -> u64 {
    let mut walk = Walk { r, owned, problem, used: 0, pages: 0 };
    if let Err(error) = walk.root::<T>() {
        (walk.problem)(error);
    }
    walk.used
}

impl<R: PageReader> Walk<'_, R> {
    fn root<T: Table>(&mut self) -> Result<()> {
        if let Some(root) = Root::read::<T, R>(self.r)? {
            self.directory::<T>(root.page, root.height - 1, 0)?;
        }
        if page_count::<T, R>(self.r)? < self.pages {
            self.report(STATE_PAGE, "a table has more pages than are counted");
        }
        Ok(())
    }

    fn report(&mut self, page: PageNo, why: &'static str) {
        (self.problem)(Error::Corrupt { page, why });
    }

    /// Checks a directory page and all below; gives whether it is full. The depth is bounded by `level`, which
    /// each page has to confirm.
    fn directory<T: Table>(&mut self, number: PageNo, level: usize, first: u64) -> Result<bool> {
        (self.owned)(number);
        let r = self.r;
        let directory = directory_page(r, number, level, first)?;
        // Only what stands for a table page has a floor.
        let floor_max = if level == 0 { GENERATION_RETIRED } else { 0 };
        let mut full_entries = 0;
        for index in 0..FANOUT {
            let entry = Entry::read(&directory, index);
            full_entries += usize::from(entry.full);
            if entry.floor > floor_max {
                self.report(number, "the floor of an entry is out of range");
            }
            let logical = first + index as u64 * reach(level);
            let full = match entry.page {
                None if level == 0 => Ok(entry.floor == GENERATION_RETIRED),
                None => Ok(false),
                Some(page) if level == 0 => self.table_page::<T>(page, logical),
                Some(page) => self.directory::<T>(page, level - 1, logical),
            };
            match full {
                Err(error) => (self.problem)(error),
                Ok(full) if full != entry.full => {
                    self.report(number, "an entry says full of what has room, or the other way round");
                }
                Ok(_) => {}
            }
        }
        if full_entries != usize::from(u16_at(&directory, FULL_ENTRIES)) {
            self.report(number, "the count of full entries is wrong");
        }
        Ok(full_entries == FANOUT)
    }

    /// Checks a table page; gives whether it is full. No generation is compared with the floor: a slot that was leased
    /// before its page went is used at the generation that it had then, though the page is made anew above it.
    fn table_page<T: Table>(&mut self, number: PageNo, logical: u64) -> Result<bool> {
        (self.owned)(number);
        self.pages = self.pages.max(logical + 1);
        let page = self.r.page(number)?;
        check_table_page::<T>(&page, logical)?;
        let (mut used, mut retired) = (0, 0);
        let mut is_in_range = true;
        for index in 0..T::SLOTS {
            let generation = u16_at(&page, slot_offset::<T>(index) + T::GENERATION);
            match T::decode(slot_bytes::<T>(&page, index)) {
                SlotState::Used(_) => {
                    used += 1;
                    is_in_range &= generation < GENERATION_RETIRED;
                }
                SlotState::Retired => {
                    retired += 1;
                    is_in_range &= generation == GENERATION_RETIRED;
                }
                SlotState::Free { .. } => {}
            }
        }
        if !is_in_range {
            self.report(number, "a slot's generation is out of range");
        }
        if used != usize::from(u16_at(&page, USED)) || retired != usize::from(u16_at(&page, RETIRED)) {
            self.report(number, "the counts of used or retired slots are wrong");
        }
        if is_to_be_freed::<T>(&page) {
            self.report(number, "a table page without users was not freed");
        }
        self.used += used as u64;
        Ok(used + retired == T::SLOTS)
    }
}
