//! Reading many slots: the hot path of every expansion.

use std::marker::PhantomData;

use graphite_store::{PageNo, PageReader};

use super::{
    Entry, FANOUT, Table, check_table_page, index_at, leaf_directory, slot_bytes, slot_offset, split,
};
use crate::Result;

/// Remembers the directory page and the table page of the last slot, so that slots that come sorted cost one page
/// access for every table page. The pages stay pinned as long as it lives: for one batch, not longer.
pub struct TableReader<'r, T: Table, R: PageReader> {
    r: &'r R,
    /// The lowest directory page of the last slot, with the number of its group of logical pages.
    directory: Option<(u64, R::Ref<'r>)>,
    /// The table page of the last slot that had one, with its logical page.
    page: Option<(u64, R::Ref<'r>)>,
    table: PhantomData<T>,
}

impl<'r, T: Table, R: PageReader> TableReader<'r, T, R> {
    /// A reader that has seen nothing yet.
    pub fn new(r: &'r R) -> Self {
        TableReader { r, directory: None, page: None, table: PhantomData }
    }

    /// What is in `slot`; none if it is free or was never made.
    ///
    /// # Errors
    /// What the store says; [`crate::Error::Corrupt`] if directory and table page contradict each other.
    #[inline]
    pub fn read(&mut self, slot: T::Slot) -> Result<Option<T::Record>> {
        let (logical, index) = split::<T>(slot);
        if let Some((at, page)) = &self.page
            && *at == logical
        {
            return Ok(T::decode(slot_bytes::<T>(page, index)).used());
        }
        match self.turn_to(logical)? {
            Some(page) => Ok(T::decode(slot_bytes::<T>(page, index)).used()),
            None => Ok(None),
        }
    }

    /// Slot `slot` will be read soon: see [`PageReader::prefetch`].
    ///
    /// # Errors
    /// As [`TableReader::read`].
    #[inline]
    pub fn prefetch(&mut self, slot: T::Slot) -> Result<()> {
        let (logical, index) = split::<T>(slot);
        if let Some(number) = self.table_page(logical)? {
            self.r.prefetch(number, slot_offset::<T>(index));
        }
        Ok(())
    }

    /// The page of the file that is table page `logical`, if there is one.
    fn table_page(&mut self, logical: u64) -> Result<Option<PageNo>> {
        let group = logical / FANOUT as u64;
        if self.directory.as_ref().is_none_or(|(at, _)| *at != group) {
            self.directory = leaf_directory::<T, R>(self.r, logical)?.map(|page| (group, page));
        }
        let Some((_, directory)) = &self.directory else { return Ok(None) };
        Ok(Entry::read(directory, index_at(logical, 0)).page)
    }

    /// Fetches table page `logical`, if there is one. Apart from `read`, which is to be small enough to vanish in
    /// its caller's loop.
    #[cold]
    #[inline(never)]
    fn turn_to(&mut self, logical: u64) -> Result<Option<&R::Ref<'r>>> {
        let Some(number) = self.table_page(logical)? else { return Ok(None) };
        let page = self.r.page(number)?;
        check_table_page::<T>(&page, logical)?;
        Ok(Some(&self.page.insert((logical, page)).1))
    }
}
