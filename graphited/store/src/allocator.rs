//! Which pages are free.
//!
//! On disk, a bitmap: page `k * PAGES_PER_BITMAP + 2` has a bit for each page from `k * PAGES_PER_BITMAP` on, set
//! while the page is used (superblock copies and bitmaps among them). It is changed like any page, in the turn that
//! allocates or frees. In memory, a set of the free ones, made from the bitmaps at opening.
//!
//! Invariants:
//! 1. A page is given out only when the commit that freed it is at or below the horizon: then nobody can see its old
//!    content, and no crash can bring it back.
//! 2. Lowest first, so that files stay compact and their tails empty.
//! 3. What a dropped turn took or freed is as it was.
//! 4. A page is *clean* once no record of the log, from the redo point of the last finished checkpoint on, speaks of
//!    it: so a bulk turn may write it past the log. It is, when the commit that freed it is at or below that point.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Result;
use crate::page::{Lsn, PAGE_BODY_BYTES, PageKind, PageNo};
use crate::pager::PageReader;

/// State slot: number of pages ever used; pages at or above it were never written.
pub(crate) const STATE_PAGE_COUNT: usize = 0;
/// Pages that one bitmap page speaks for.
pub(crate) const PAGES_PER_BITMAP: u32 = (PAGE_BODY_BYTES * 8) as u32;
const BITMAP_PLACE: u32 = 2;

/// The bitmap page that speaks for `page`, and the bit's byte and mask in its body.
pub(crate) fn bit_of(page: PageNo) -> (PageNo, usize, u8) {
    let first = page.0 / PAGES_PER_BITMAP * PAGES_PER_BITMAP;
    let bit = page.0 - first;
    (PageNo(first + BITMAP_PLACE), (bit / 8) as usize, 1 << (bit % 8))
}

/// Whether a bitmap lives at this number.
pub(crate) fn is_bitmap(page: PageNo) -> bool {
    page.0 % PAGES_PER_BITMAP == BITMAP_PLACE
}

#[derive(Debug, Default)]
pub(crate) struct Allocator {
    /// May be given out at once, and are clean.
    clean: BTreeSet<PageNo>,
    /// May be given out at once; clean when the redo point has passed this.
    logged: BTreeMap<PageNo, Lsn>,
    /// The same in the order in which they came, which is about that of LSNs; an entry counts if `logged` has it too.
    cooling: VecDeque<(Lsn, PageNo)>,
    /// Freed by the commit with this LSN; ascending.
    waiting: VecDeque<(Lsn, PageNo)>,
    page_count: u32,
    /// Pages that the file has room for.
    pub(crate) reserved: u32,
}

impl Allocator {
    /// Reads the bitmaps as they are at `at`. After recovery nobody reads old states, so all free pages may be given
    /// out; but the log that was replayed may speak of any of them.
    pub(crate) fn load<R: PageReader>(reader: &R, at: Lsn, file_pages: u32) -> Result<Allocator> {
        let page_count = u32::try_from(reader.state(STATE_PAGE_COUNT)?)
            .map_err(|_| crate::Error::body(crate::STATE_PAGE, "its page count is impossible"))?;
        let mut allocator = Allocator { page_count, reserved: file_pages, ..Allocator::default() };
        let mut first = 0;
        while first < page_count {
            let bitmap = reader.page_of(PageNo(first + BITMAP_PLACE), PageKind::Bitmap)?;
            for page in first..page_count.min(first.saturating_add(PAGES_PER_BITMAP)) {
                let (_, byte, mask) = bit_of(PageNo(page));
                if bitmap.body()[byte] & mask == 0 {
                    allocator.insert_logged(at, PageNo(page));
                }
            }
            first = first.saturating_add(PAGES_PER_BITMAP);
        }
        Ok(allocator)
    }

    /// A free page that the log may speak of up to `lsn`.
    fn insert_logged(&mut self, lsn: Lsn, page: PageNo) {
        self.logged.insert(page, lsn);
        self.cooling.push_back((lsn, page));
    }

    pub(crate) fn page_count(&self) -> u32 {
        self.page_count
    }

    pub(crate) fn free_count(&self) -> u32 {
        u32::try_from(self.clean.len() + self.logged.len() + self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// Free pages that a bulk turn could have after a checkpoint. Those that wait for a reader are not among them, for a
    /// checkpoint would not help.
    pub(crate) fn unclean_count(&self) -> u32 {
        u32::try_from(self.logged.len()).unwrap_or(u32::MAX)
    }

    /// Lets the pages go that were freed at or below `horizon`, and calls clean those freed at or below `redo`.
    pub(crate) fn release(&mut self, horizon: Lsn, redo: Lsn) {
        while let Some(&(lsn, page)) = self.waiting.front()
            && lsn <= horizon
        {
            self.waiting.pop_front();
            self.insert_logged(lsn, page);
        }
        while let Some(&(lsn, page)) = self.cooling.front()
            && lsn <= redo
        {
            self.cooling.pop_front();
            // It may have been taken and freed again since.
            if self.logged.get(&page) == Some(&lsn) {
                self.logged.remove(&page);
                self.clean.insert(page);
            }
        }
    }

    /// A free page, if there is one.
    pub(crate) fn take_free(&mut self) -> Option<PageNo> {
        let logged = self.logged.first_key_value().map(|(&page, _)| page);
        if self.clean.first().copied().is_some_and(|clean| logged.is_none_or(|logged| clean < logged)) {
            return self.clean.pop_first();
        }
        self.logged.pop_first().map(|(page, _)| page)
    }

    /// A free page that is clean, if there is one.
    pub(crate) fn take_clean(&mut self) -> Option<PageNo> {
        self.clean.pop_first()
    }

    /// The next page that was never used.
    pub(crate) fn take_fresh(&mut self) -> PageNo {
        let page = PageNo(self.page_count);
        self.page_count += 1;
        page
    }

    /// A turn was dropped while the log ended at `at`: `taken` come back, and the count is what it was.
    pub(crate) fn undo(&mut self, taken: impl Iterator<Item = PageNo>, page_count: u32, at: Lsn) {
        self.page_count = page_count;
        taken.filter(|page| page.0 < page_count).for_each(|page| self.insert_logged(at, page));
    }

    /// A turn was committed at `lsn`, and freed these.
    pub(crate) fn freed(&mut self, lsn: Lsn, pages: impl Iterator<Item = PageNo>) {
        self.waiting.extend(pages.map(|page| (lsn, page)));
    }

    /// A turn allocated and freed this page itself, and was committed at `lsn`: nobody ever saw it.
    pub(crate) fn unused(&mut self, lsn: Lsn, page: PageNo) {
        self.insert_logged(lsn, page);
    }
}
