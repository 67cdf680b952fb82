//! How sequential code reads and changes pages: two traits and, for tests, pages in memory.
//!
//! A [`PageReader`] shows one consistent state of all pages: a snapshot, a pin, or the turn of the applier
//! with its own changes. A [`PageWriter`] is the applier's turn. Code above is written as if it were alone:
//! no latches, no retries. If an operation of a writer fails half way, whoever owns the turn drops it whole,
//! so no function here has to clean up after an error.

use std::collections::HashMap;
use std::ops::Deref;

use crate::page::{CorruptPage, DatabaseId, PAGE_BODY_BYTES, Page, PageKind, PageNo};
use crate::{Error, Result};

/// The page that holds the database's roots and counters; always there, never freed.
pub const STATE_PAGE: PageNo = PageNo(0);

/// Number of 64-bit values in the state page. The store keeps the first eight for itself.
pub const STATE_SLOTS: usize = 128;
const _: () = assert!(STATE_SLOTS * 8 <= PAGE_BODY_BYTES);

/// One consistent state of all pages.
pub trait PageReader {
    /// Keeps a page's version alive while it is looked at.
    type Ref<'a>: Deref<Target = Page>
    where
        Self: 'a;

    /// The page `number` in this state.
    ///
    /// # Errors
    /// What the disk says, or [`Error::CorruptPage`].
    fn page(&self, number: PageNo) -> Result<Self::Ref<'_>>;

    /// About so many pages will be asked for next. A reader that may not show as many says so at once, so that little
    /// is done in vain.
    ///
    /// # Errors
    /// [`Error::NotCached`](crate::Error::NotCached).
    #[inline]
    fn expect(&self, pages: usize) -> Result<()> {
        let _ = pages;
        Ok(())
    }

    /// Page `number` will be looked at soon, at the start of its body and at `offset` of it. Whoever says so for several
    /// pages before the first look waits for all of them together. A page that is not in memory is not read for it.
    #[inline]
    fn prefetch(&self, number: PageNo, offset: usize) {
        let _ = (number, offset);
    }

    /// The page `number`, which has to be of `kind`.
    ///
    /// # Errors
    /// As [`PageReader::page`], and `CorruptPage` if it is of another kind.
    #[inline]
    fn page_of(&self, number: PageNo, kind: PageKind) -> Result<Self::Ref<'_>> {
        let page = self.page(number)?;
        if page.kind() != kind {
            let found = page.kind();
            return Err(Error::CorruptPage {
                page: number,
                why: CorruptPage::WrongKind { found, expected: kind },
            });
        }
        Ok(page)
    }

    /// Value `slot` of the state page: a root or a counter.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    fn state(&self, slot: usize) -> Result<u64> {
        Ok(state_at(&*self.page(STATE_PAGE)?, slot))
    }
}

/// Value `slot` of a state page.
pub(crate) fn state_at(page: &Page, slot: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&page.body()[slot * 8..slot * 8 + 8]);
    u64::from_le_bytes(raw)
}

/// The one hand that changes pages.
pub trait PageWriter: PageReader {
    /// The page `number`, to change. The first call copies it.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    fn page_mut(&mut self, number: PageNo) -> Result<&mut Page>;

    /// A new page with a zero body.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if the file cannot grow.
    fn allocate(&mut self, kind: PageKind) -> Result<PageNo>;

    /// Gives a page back. It must not be read or changed any more in this turn.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    fn free(&mut self, number: PageNo) -> Result<()>;

    /// Changes value `slot` of the state page.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    fn set_state(&mut self, slot: usize, value: u64) -> Result<()> {
        let page = self.page_mut(STATE_PAGE)?;
        page.range_mut(slot * 8..slot * 8 + 8).copy_from_slice(&value.to_le_bytes());
        Ok(())
    }
}

/// Pages in memory and nothing else: for tests of code that is written against the traits.
pub struct MemPager {
    pages: HashMap<PageNo, Box<Page>>,
    free: Vec<PageNo>,
    next: u32,
}

impl Default for MemPager {
    fn default() -> Self {
        let database = DatabaseId(1);
        let mut pages = HashMap::new();
        pages.insert(STATE_PAGE, Box::new(Page::new(STATE_PAGE, PageKind::State, database)));
        MemPager { pages, free: Vec::new(), next: 2 }
    }
}

impl MemPager {
    /// Number of pages in use, the state page included.
    pub fn pages_used(&self) -> usize {
        self.pages.len()
    }

    /// The numbers of all pages in use, in no order: for tests of ownership.
    pub fn page_numbers(&self) -> impl Iterator<Item = PageNo> + '_ {
        self.pages.keys().copied()
    }
}

impl PageReader for MemPager {
    type Ref<'a> = &'a Page;

    fn page(&self, number: PageNo) -> Result<&Page> {
        match self.pages.get(&number) {
            Some(page) => Ok(page),
            None => Err(Error::CorruptPage { page: number, why: CorruptPage::Body("it is read while free") }),
        }
    }
}

impl PageWriter for MemPager {
    fn page_mut(&mut self, number: PageNo) -> Result<&mut Page> {
        match self.pages.get_mut(&number) {
            Some(page) => Ok(page),
            None => {
                Err(Error::CorruptPage { page: number, why: CorruptPage::Body("it is changed while free") })
            }
        }
    }

    fn allocate(&mut self, kind: PageKind) -> Result<PageNo> {
        let number = self.free.pop().unwrap_or_else(|| {
            let number = PageNo(self.next);
            self.next += 1;
            number
        });
        self.pages.insert(number, Box::new(Page::new(number, kind, DatabaseId(1))));
        Ok(number)
    }

    fn free(&mut self, number: PageNo) -> Result<()> {
        match self.pages.remove(&number) {
            Some(_) => {
                self.free.push(number);
                Ok(())
            }
            None => Err(Error::CorruptPage { page: number, why: CorruptPage::Body("it is freed twice") }),
        }
    }
}
