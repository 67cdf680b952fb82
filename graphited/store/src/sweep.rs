//! A sweep: all pages of one snapshot, seen by somebody who looks at each of them about once.
//!
//! What a check reads would throw out of the cache what the daemon's clients need. So a [`Sweep`] takes from the cache
//! what is there, reads the rest past it, and remembers some pages of its own.
//!
//! Invariants:
//! 1. A page that is read past the cache is of the snapshot: it was in the file alone when it was looked for, and if its
//!    version is newer than the snapshot by the time of the read, or half of a write under way was read, the cache decides.
//! 2. Bytes in the file count as damaged only if the file is what the next reader would have them from. A page whose
//!    newest version is not in the file yet may be torn there, by a write under way or a crash before.
//! 3. A page that the disk does not give back is a damaged page and no more: whoever looks at a whole file sees the rest,
//!    and asks at the end whether the disk still answers.
//! 4. Nothing that a sweep does changes a byte, or makes a writer wait.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::ops::{ControlFlow, Deref};
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::allocator::{PAGES_PER_BITMAP, STATE_PAGE_COUNT, bit_of, is_bitmap};
use crate::cache::PageRef;
use crate::page::{CorruptPage, PAGE_BODY_BYTES, PAGE_BYTES, Page, PageKind, PageNo, RawPage, check_bytes};
use crate::pager::{PageReader, STATE_PAGE};
use crate::snapshot::Snapshot;
use crate::store::Inner;
use crate::superblock::{COPIES, bad_copies};
use crate::sync::Ordering;
use crate::{Error, Result};

/// Bytes read from the file at a time.
const PIECE_BYTES: usize = 1 << 20;
/// Pages that a sweep remembers: 16 MiB.
const PAGES_KEPT: usize = 2048;
/// Pages that could not be read whose words a sweep remembers.
const BAD_PAGES_IN_WORDS_MAX: usize = 1000;
/// How often a page is read again whose bytes are wrong in the file and whose newest version is said to be there.
const TRIES_MAX: u32 = 8;

/// A page, and whoever keeps it.
#[derive(Debug)]
pub enum SweptPage {
    /// The cache does.
    Cached(PageRef),
    /// The sweep does.
    Own(Rc<Page>),
}

impl Deref for SweptPage {
    type Target = Page;

    #[inline]
    fn deref(&self) -> &Page {
        match self {
            SweptPage::Cached(page) => page,
            SweptPage::Own(page) => page,
        }
    }
}

/// All pages of a snapshot, read past the cache.
#[derive(Debug)]
pub struct Sweep<'a> {
    snapshot: &'a Snapshot,
    /// A page has one place, by its number.
    kept: RefCell<Vec<Option<Rc<Page>>>>,
    /// Those that could not be read: much may point at one of them, and the next try would take as long and say the same.
    unreadable: RefCell<BadPages>,
    bytes_read: Cell<u64>,
}

/// Pages that could not be read.
#[derive(Debug, Default)]
struct BadPages {
    in_words: FxHashMap<PageNo, CorruptPage>,
    /// Those for whose words there is no room.
    more: FxHashSet<PageNo>,
}

impl BadPages {
    fn note(&mut self, page: PageNo, why: &CorruptPage) {
        if self.in_words.len() < BAD_PAGES_IN_WORDS_MAX {
            self.in_words.insert(page, why.clone());
        } else if why.hides_page() {
            self.more.insert(page);
        }
    }

    fn why(&self, page: PageNo) -> Option<CorruptPage> {
        let without_words = || CorruptPage::Unreadable("as it could not when it was met first".to_owned());
        let why = self.in_words.get(&page).cloned();
        why.or_else(|| self.more.contains(&page).then(without_words))
    }
}

impl<'a> Sweep<'a> {
    /// Looks at what `snapshot` shows.
    pub fn new(snapshot: &'a Snapshot) -> Sweep<'a> {
        let kept = RefCell::new(vec![None; PAGES_KEPT]);
        Sweep { snapshot, kept, unreadable: RefCell::default(), bytes_read: Cell::new(0) }
    }

    /// The file alone, which another thread may look at meanwhile.
    pub fn file(&self) -> SweptFile<'a> {
        SweptFile(self.snapshot.inner())
    }

    /// Bytes that were read from the file.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    /// Whether the disk answers at all, which is to be asked when some page could not be read: one that shows not even how
    /// the file begins says nothing about the page.
    ///
    /// # Errors
    /// The disk's, if it gives back neither copy of the superblock.
    pub fn disk_answers(&self) -> Result<()> {
        let inner = self.snapshot.inner();
        let mut raw = vec![0; PAGE_BYTES];
        let mut read = |copy: u32| {
            // The disk is asked, and not the system's memory of it.
            inner.file.forget_cached(PageNo(copy).offset(), PAGE_BYTES as u64);
            inner.file.read_at(&mut raw, PageNo(copy).offset())
        };
        match read(0).or_else(|_| read(1)) {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                Err(Error::io("read", &inner.path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Which pages the bitmaps call used. A bitmap that cannot be read is told to `problem`.
    ///
    /// # Errors
    /// Of the state page, and what is no damage.
    pub fn page_use(&self, problem: &mut dyn FnMut(Error)) -> Result<PageUse> {
        let count = u32::try_from(self.state(STATE_PAGE_COUNT)?)
            .map_err(|_| Error::body(STATE_PAGE, "its page count is impossible"))?;
        let mut bits = Vec::new();
        for first in (0..count).step_by(PAGES_PER_BITMAP as usize) {
            let (bitmap, ..) = bit_of(PageNo(first));
            match self.page_of(bitmap, PageKind::Bitmap) {
                Ok(page) => bits.push(Some(Box::new(*page.body()))),
                Err(error @ Error::CorruptPage { .. }) => {
                    problem(error);
                    bits.push(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(PageUse { count, bits })
    }

    /// Tells what is wrong with the copies of the superblock. One whole copy is enough to open the database, and opening
    /// it writes both.
    pub fn superblocks(&self, problem: &mut dyn FnMut(PageNo, String)) {
        let inner = self.snapshot.inner();
        let look = || bad_copies(&*inner.file);
        if look().is_empty() {
            return;
        }
        // They may just be written.
        let _nobody_writes = inner.checkpointing.lock();
        if inner.poison.get().is_none() {
            look().into_iter().for_each(|(page, why)| problem(page, why));
        }
    }
}

/// The pages of a snapshot as they are in the file.
#[derive(Clone, Copy, Debug)]
pub struct SweptFile<'a>(&'a Inner);

impl SweptFile<'_> {
    /// Shows every page from the superblock's copies on whose bytes in the file have to be right, in order and with what is
    /// wrong with them. Others may hold anything. Returns the bytes read.
    ///
    /// # Errors
    /// The length of the file cannot be told.
    pub fn each_page(
        &self,
        pages: &PageUse,
        mut visit: impl FnMut(PageNo, Result<PageKind, CorruptPage>) -> ControlFlow<()>,
    ) -> Result<u64> {
        let inner = self.0;
        let mut piece = vec![0; PIECE_BYTES.min(pages.count() as usize * PAGE_BYTES)];
        let mut bytes_read = 0;
        let per_piece = (PIECE_BYTES / PAGE_BYTES) as u32;
        let in_file = inner.file.len().map_err(|e| Error::io("read", &inner.path, &e))? / PAGE_BYTES as u64;
        let in_file = u32::try_from(in_file).unwrap_or(u32::MAX);
        for first in (0..pages.count()).step_by(per_piece as usize) {
            let last = pages.count().min(first.saturating_add(per_piece));
            let readable = last.min(in_file).saturating_sub(first) as usize * PAGE_BYTES;
            let read = inner.file.read_at(&mut piece[..readable], PageNo(first).offset());
            // One bad place is no reason to lose sight of those around it.
            let readable = if read.is_ok() { readable } else { 0 };
            bytes_read += readable as u64;
            let (bytes, _) = piece[..readable].as_chunks::<PAGE_BYTES>();
            for number in (first..last).map(PageNo) {
                if u64::from(number.0) < COPIES || !pages.has_content(number) {
                    continue;
                }
                let raw = bytes.get((number.0 - first) as usize);
                let found = match raw.map(|raw| check_bytes(raw, number, inner.database)) {
                    Some(Ok(kind)) => Ok(kind),
                    _ => look_again(inner, number),
                };
                if visit(number, found).is_break() {
                    return Ok(bytes_read);
                }
            }
        }
        Ok(bytes_read)
    }
}

/// The page's bytes in the file were wrong. By invariant 2 that may be in order.
fn look_again(inner: &Inner, number: PageNo) -> Result<PageKind, CorruptPage> {
    let mut verdict = Err(CorruptPage::Truncated);
    for _ in 0..TRIES_MAX {
        if let Some(newest) = &*inner.cache.newest(number)
            && !newest.in_file.load(Ordering::Acquire)
        {
            return Ok(newest.page.kind());
        }
        match inner.read_page(number) {
            Ok(page) => return Ok(page.kind()),
            Err(Error::CorruptPage { why, .. }) => verdict = Err(why),
            // The disk has tried it several times itself.
            Err(error) => return Err(CorruptPage::Unreadable(words_of(error))),
        }
    }
    verdict
}

/// The system's own words, if they are the system's.
fn words_of(error: Error) -> String {
    match error {
        Error::Io { message, .. } => message,
        other => other.to_string(),
    }
}

/// By invariant 3, what reading page `number` failed with.
fn as_damage(inner: &Inner, number: PageNo, error: Error) -> Error {
    match error {
        Error::Io { doing: "read", path, message, .. } if path == inner.path => {
            Error::CorruptPage { page: number, why: CorruptPage::Unreadable(message) }
        }
        other => other,
    }
}

impl PageReader for Sweep<'_> {
    type Ref<'b>
        = SweptPage
    where
        Self: 'b;

    fn page(&self, number: PageNo) -> Result<SweptPage> {
        let place = number.0 as usize % PAGES_KEPT;
        if let Some(page) = &self.kept.borrow()[place]
            && page.number() == number
        {
            return Ok(SweptPage::Own(page.clone()));
        }
        if let Some(why) = self.unreadable.borrow().why(number) {
            return Err(Error::CorruptPage { page: number, why });
        }
        let found = self.look_for(number);
        if let Err(Error::CorruptPage { page, why }) = &found {
            self.unreadable.borrow_mut().note(*page, why);
        }
        found
    }
}

impl Sweep<'_> {
    /// The page, which is not among those that were kept.
    fn look_for(&self, number: PageNo) -> Result<SweptPage> {
        let place = number.0 as usize % PAGES_KEPT;
        let inner = self.snapshot.inner();
        if inner.cache.newest(number).is_none() {
            let memory = self.kept.borrow_mut()[place].take().and_then(|page| Rc::try_unwrap(page).ok());
            let read = inner.read_page_into(number, memory.map_or_else(RawPage::default, Page::into_raw));
            if let Err(error @ Error::Io { .. }) = read {
                return Err(as_damage(inner, number, error));
            }
            if !matches!(read, Err(Error::CorruptPage { why: CorruptPage::Truncated, .. })) {
                self.bytes_read.update(|bytes| bytes + PAGE_BYTES as u64);
            }
            if let Ok(page) = read
                && page.lsn() <= self.snapshot.lsn()
            {
                let page = Rc::new(page);
                self.kept.borrow_mut()[place] = Some(page.clone());
                return Ok(SweptPage::Own(page));
            }
        }
        let shown = self.snapshot.page(number).map(SweptPage::Cached);
        shown.map_err(|error| as_damage(inner, number, error))
    }
}

/// Which pages the bitmaps of a snapshot call used.
#[derive(Debug)]
pub struct PageUse {
    count: u32,
    /// The bodies of the bitmaps, in order; none where one cannot be read.
    bits: Vec<Option<Box<[u8; PAGE_BODY_BYTES]>>>,
}

impl PageUse {
    /// Pages that were ever used.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether a page is marked as used; none if its bitmap cannot be read.
    pub fn is_used(&self, page: PageNo) -> Option<bool> {
        if page.0 >= self.count {
            return Some(false);
        }
        let (_, byte, mask) = bit_of(page);
        let bits = self.bits.get((page.0 / PAGES_PER_BITMAP) as usize)?.as_ref()?;
        Some(bits[byte] & mask != 0)
    }

    /// Whether the page belongs to the store: a superblock copy, a bitmap, or one of the two before a bitmap, which are
    /// never given out.
    pub fn is_fixed(&self, page: PageNo) -> bool {
        page <= bit_of(page).0
    }

    /// Whether its bytes in the file mean something.
    fn has_content(&self, page: PageNo) -> bool {
        is_bitmap(page) || (!self.is_fixed(page) && self.is_used(page) == Some(true))
    }

    /// Pages that are marked as used.
    pub fn used(&self) -> u64 {
        (0..self.count).filter(|page| self.is_used(PageNo(*page)) == Some(true)).count() as u64
    }

    /// Bits that are set for pages beyond the last one ever used: each of them is wrong.
    pub fn used_beyond(&self) -> impl Iterator<Item = PageNo> + '_ {
        const BITMAP_BYTES: usize = PAGES_PER_BITMAP as usize / 8;
        let firsts = (0..).step_by(PAGES_PER_BITMAP as usize);
        self.bits.iter().zip(firsts).flat_map(move |(bits, first): (_, u32)| {
            let bytes = (first..).step_by(8).zip(bits.iter().flat_map(|bits| &bits[..BITMAP_BYTES]));
            // Most of the bitmap of a small database.
            let some = bytes.filter(|(_, byte)| **byte != 0);
            let pages = some.flat_map(|(first, byte)| {
                (0..8).filter(move |bit| byte & 1 << bit != 0).map(move |bit| first + bit)
            });
            pages.map(PageNo).filter(|page| page.0 >= self.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// None of them is asked for again, and only some keep their words.
    #[test]
    fn of_many_bad_pages_few_words_are_kept() {
        let mut bad = BadPages::default();
        let pages = 2 * BAD_PAGES_IN_WORDS_MAX as u32;
        let why = CorruptPage::Unreadable("a bad place".to_owned());
        for page in (0..pages).map(PageNo) {
            assert_eq!(bad.why(page), None);
            bad.note(page, &why);
            assert!(bad.why(page).is_some_and(|why| why.hides_page()));
        }
        assert_eq!((bad.in_words.len(), bad.why(PageNo(0))), (BAD_PAGES_IN_WORDS_MAX, Some(why)));
    }

    /// The second bitmap cannot be read, and says nothing.
    #[test]
    fn bits_beyond_the_last_page_are_found_in_every_bitmap() {
        let bitmap = |bits: &[usize]| {
            let mut body = Box::new([0; PAGE_BODY_BYTES]);
            bits.iter().for_each(|bit| body[bit / 8] |= 1 << (bit % 8));
            Some(body)
        };
        let last = PAGES_PER_BITMAP as usize - 1;
        let bits = vec![bitmap(&[0, 1, 9, 10, 17, last]), None, bitmap(&[0, last])];
        let beyond: Vec<u32> = PageUse { count: 10, bits }.used_beyond().map(|page| page.0).collect();
        let third = 2 * PAGES_PER_BITMAP;
        assert_eq!(beyond, [10, 17, PAGES_PER_BITMAP - 1, third, third + PAGES_PER_BITMAP - 1]);
    }
}
