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

/// A page that was given out, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) page: PageNo,
    /// `None` if it is clean, or was never used.
    logged: Option<Lsn>,
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
    pub(crate) fn take_free(&mut self) -> Option<Taken> {
        let logged = self.logged.first_key_value().map(|(&page, _)| page);
        if self.clean.first().copied().is_some_and(|clean| logged.is_none_or(|logged| clean < logged)) {
            return self.take_clean();
        }
        self.logged.pop_first().map(|(page, lsn)| Taken { page, logged: Some(lsn) })
    }

    /// A free page that is clean, if there is one.
    pub(crate) fn take_clean(&mut self) -> Option<Taken> {
        self.clean.pop_first().map(|page| Taken { page, logged: None })
    }

    /// The next page that was never used.
    pub(crate) fn take_fresh(&mut self) -> Taken {
        let page = PageNo(self.page_count);
        self.page_count += 1;
        Taken { page, logged: None }
    }

    /// A turn was dropped: what it took is where it was, for no record speaks of it that did not before, and the count is
    /// what it was.
    pub(crate) fn undo(&mut self, taken: impl Iterator<Item = Taken>, page_count: u32) {
        self.page_count = page_count;
        for Taken { page, logged } in taken.filter(|taken| taken.page.0 < page_count) {
            match logged {
                // Its entry in `cooling` is still there, for nothing was released since.
                Some(lsn) => drop(self.logged.insert(page, lsn)),
                None => drop(self.clean.insert(page)),
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Four free pages, of which two are clean, and how the allocator looks.
    fn mixed() -> (Allocator, String) {
        let mut allocator = Allocator { page_count: 10, ..Allocator::default() };
        allocator.freed(Lsn(8), [PageNo(4), PageNo(6)].into_iter());
        allocator.freed(Lsn(16), [PageNo(3), PageNo(5)].into_iter());
        allocator.release(Lsn(16), Lsn(8));
        let looks = format!("{allocator:?}");
        (allocator, looks)
    }

    #[test]
    fn what_a_dropped_turn_took_is_where_it_was() {
        let (mut allocator, before) = mixed();
        for _ in 0..3 {
            let mut taken: Vec<Taken> = (0..4).map(|_| allocator.take_free().unwrap()).collect();
            assert_eq!(allocator.take_free(), None);
            taken.push(allocator.take_fresh());
            allocator.undo(taken.into_iter(), 10);
            assert_eq!(format!("{allocator:?}"), before);
        }
        let clean: Vec<PageNo> = std::iter::from_fn(|| allocator.take_clean()).map(|t| t.page).collect();
        assert_eq!(clean, [PageNo(4), PageNo(6)]);
        // And those that were not become so when the redo point has passed what the log says of them.
        allocator.release(Lsn(16), Lsn(16));
        let clean: Vec<PageNo> = std::iter::from_fn(|| allocator.take_clean()).map(|t| t.page).collect();
        assert_eq!(clean, [PageNo(3), PageNo(5)]);
    }
}
