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

use std::collections::{BTreeSet, VecDeque};

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
    /// May be given out at once.
    free: BTreeSet<PageNo>,
    /// Freed by the commit with this LSN; ascending.
    waiting: VecDeque<(Lsn, PageNo)>,
    page_count: u32,
    /// Pages that the file has room for.
    pub(crate) reserved: u32,
}

impl Allocator {
    /// Reads the bitmaps. After recovery nobody reads old states, so all free pages may be given out.
    pub(crate) fn load<R: PageReader>(reader: &R, file_pages: u32) -> Result<Allocator> {
        let page_count = u32::try_from(reader.state(STATE_PAGE_COUNT)?)
            .map_err(|_| crate::Error::body(crate::STATE_PAGE, "its page count is impossible"))?;
        let mut free = BTreeSet::new();
        let mut first = 0;
        while first < page_count {
            let bitmap = reader.page_of(PageNo(first + BITMAP_PLACE), PageKind::Bitmap)?;
            for page in first..page_count.min(first.saturating_add(PAGES_PER_BITMAP)) {
                let (_, byte, mask) = bit_of(PageNo(page));
                if bitmap.body()[byte] & mask == 0 {
                    free.insert(PageNo(page));
                }
            }
            first = first.saturating_add(PAGES_PER_BITMAP);
        }
        Ok(Allocator { free, waiting: VecDeque::new(), page_count, reserved: file_pages })
    }

    pub(crate) fn page_count(&self) -> u32 {
        self.page_count
    }

    pub(crate) fn free_count(&self) -> u32 {
        u32::try_from(self.free.len() + self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// Lets the pages go that were freed at or below `horizon`.
    pub(crate) fn release(&mut self, horizon: Lsn) {
        while let Some(&(lsn, page)) = self.waiting.front()
            && lsn <= horizon
        {
            self.waiting.pop_front();
            self.free.insert(page);
        }
    }

    /// A free page, if there is one.
    pub(crate) fn take_free(&mut self) -> Option<PageNo> {
        self.free.pop_first()
    }

    /// The next page that was never used.
    pub(crate) fn take_fresh(&mut self) -> PageNo {
        let page = PageNo(self.page_count);
        self.page_count += 1;
        page
    }

    /// A turn was dropped: `taken` come back, and the count is what it was.
    pub(crate) fn undo(&mut self, taken: impl Iterator<Item = PageNo>, page_count: u32) {
        self.page_count = page_count;
        self.free.extend(taken.filter(|page| page.0 < page_count));
    }

    /// A turn was committed at `lsn`, and freed these.
    pub(crate) fn freed(&mut self, lsn: Lsn, pages: impl Iterator<Item = PageNo>) {
        self.waiting.extend(pages.map(|page| (lsn, page)));
    }

    /// A turn allocated and freed this page itself: nobody ever saw it.
    pub(crate) fn unused(&mut self, page: PageNo) {
        self.free.insert(page);
    }
}
