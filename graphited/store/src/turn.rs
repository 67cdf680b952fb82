//! The applier's turn: the one hand that changes pages.
//!
//! A turn copies a page at its first change, changes the copy, and at [`Turn::commit`] appends one group to the log
//! and publishes the copies, all stamped with the group's LSN. A turn that is dropped instead leaves no trace.
//!
//! Invariants:
//! 1. One turn at a time: it holds the applier's lock. So the newest versions do not move under it, and the order of
//!    turns is the order of the log.
//! 2. Space in file and log is there before anything is published: a full disk refuses this one commit.
//! 3. Copies are installed, then `applied` is raised, then the group is appended. So what can become durable is
//!    published, and what is published at or below `applied` is whole.
//! 4. The first change of a page after the redo point is logged whole; later ones as deltas to the version before.
//! 5. A bulk turn's new pages bypass the log; see `bulk`.

mod bulk;

use std::ops::Deref;

use rustc_hash::{FxHashMap, FxHashSet};

use self::bulk::Bulk;
use crate::allocator::{Allocator, STATE_PAGE_COUNT, Taken, bit_of, is_bitmap};
use crate::cache::{PageRef, PageVersion};
use crate::checkpoint::Pace;
use crate::page::{CorruptPage, Lsn, PAGE_BYTES, Page, PageKind, PageNo};
use crate::pager::{PageReader, PageWriter};
use crate::store::{Applier, Inner, Store};
use crate::sync::{Arc, MutexGuard, Ordering};
use crate::wal::group::{GroupBuilder, GroupKind};
use crate::wal::log::BUFFER_BYTES_KEPT;
use crate::{Error, Result};

/// The file grows by at least this many pages at a time, so that few commits have to wait for it.
const GROWTH_PAGES_MIN: u32 = 64;
const GROWTH_PAGES_MAX: u32 = 1024;

/// Exclusive access to all pages, to change them. See the module's head.
pub struct Turn<'a> {
    inner: &'a Inner,
    applier: MutexGuard<'a, Applier>,
    copies: FxHashMap<PageNo, Copy>,
    taken: Vec<Taken>,
    freed: Vec<PageNo>,
    page_count_before: u32,
    /// Present in a bulk turn.
    bulk: Option<Bulk>,
    done: bool,
}

struct Copy {
    /// Not shared yet, so it may be changed.
    version: Arc<PageVersion>,
    /// What it was copied from; `None` for a page that this turn allocated.
    base: Option<Arc<PageVersion>>,
}

impl Copy {
    /// Whether, in a bulk turn, it goes past the log. A bitmap does not, for it may be changed by the next turn.
    fn is_fresh(&self) -> bool {
        self.base.is_none() && self.version.page.kind() != PageKind::Bitmap
    }
}

/// A page as a turn sees it: its own copy, or the newest version.
pub enum TurnRef<'a> {
    /// Changed in this turn.
    Own(&'a Page),
    /// As it was.
    Shared(PageRef),
    /// New in this turn, and read back from the file.
    Spilled(Page),
}

impl Deref for TurnRef<'_> {
    type Target = Page;

    #[inline]
    fn deref(&self) -> &Page {
        match self {
            TurnRef::Own(page) => page,
            TurnRef::Shared(page) => page,
            TurnRef::Spilled(page) => page,
        }
    }
}

impl Store {
    /// Waits for the applier and takes a turn. First makes sure that there is room in log and cache, which may take
    /// a checkpoint.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; the checkpoint's; [`Error::DiskFull`] if the log cannot be made ready.
    pub fn turn(&self) -> Result<Turn<'_>> {
        self.inner.make_room_in_cache()?;
        let mut applier = loop {
            self.inner.check_poison()?;
            let applier = self.inner.applier.lock();
            if self.inner.log_has_room() {
                break applier;
            }
            drop(applier);
            self.inner.checkpoint_unless(Pace::Fast, || self.inner.log_has_room())?;
        };
        self.inner.check_poison()?;
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        applier.allocator.release(self.inner.readers.horizon(), self.inner.durable_redo());
        let page_count_before = applier.allocator.page_count();
        Ok(Turn {
            inner: &self.inner,
            applier,
            copies: FxHashMap::default(),
            taken: Vec::new(),
            freed: Vec::new(),
            page_count_before,
            bulk: None,
            done: false,
        })
    }
}

impl PageReader for Turn<'_> {
    type Ref<'r>
        = TurnRef<'r>
    where
        Self: 'r;

    #[inline]
    fn page(&self, number: PageNo) -> Result<TurnRef<'_>> {
        match self.copies.get(&number) {
            Some(copy) => Ok(TurnRef::Own(&copy.version.page)),
            None if self.is_spilled(number) => Ok(TurnRef::Spilled(self.inner.read_page(number)?)),
            None => Ok(TurnRef::Shared(self.inner.newest(number)?)),
        }
    }

    #[inline]
    fn prefetch(&self, number: PageNo, offset: usize) {
        self.inner.cache.prefetch(number, offset);
    }
}

impl PageWriter for Turn<'_> {
    fn page_mut(&mut self, number: PageNo) -> Result<&mut Page> {
        if self.is_spilled(number) {
            self.unspill(number)?;
        } else if !self.copies.contains_key(&number) {
            self.check_size()?;
            let base = self.inner.newest(number)?.version().clone();
            let version = self.inner.cache.copy_version(&base);
            self.copies.insert(number, Copy { version, base: Some(base) });
            self.count_changed();
        }
        let copy = self.copies.get_mut(&number).expect("it was there or was just put there");
        Ok(&mut unshared(&mut copy.version).page)
    }

    fn allocate(&mut self, kind: PageKind) -> Result<PageNo> {
        self.check_size()?;
        self.spill_if_many()?;
        let allocator = &mut self.applier.allocator;
        let free = if self.bulk.is_some() { allocator.take_clean() } else { allocator.take_free() };
        let taken = match free {
            Some(taken) => taken,
            None => self.allocate_fresh()?,
        };
        self.taken.push(taken);
        let number = taken.page;
        self.set_bit(number, true)?;
        self.copy_new(number, kind);
        self.note_new(number, free.is_some());
        Ok(number)
    }

    fn free(&mut self, number: PageNo) -> Result<()> {
        debug_assert!(number.0 > 1 && !is_bitmap(number));
        self.set_bit(number, false)?;
        self.copies.remove(&number);
        self.forget_spilled(number);
        self.freed.push(number);
        Ok(())
    }
}

fn unshared(version: &mut Arc<PageVersion>) -> &mut PageVersion {
    Arc::get_mut(version).expect("a copy is shared only once it is published")
}

impl Turn<'_> {
    /// Bytes of log that a turn may write; of page copies it may hold as many, unless it is a bulk turn.
    pub fn bytes_max(&self) -> u64 {
        match self.bulk {
            Some(_) => self.inner.bulk_group_bytes_max(),
            None => self.inner.transaction_bytes_max(),
        }
    }

    fn check_size(&self) -> Result<()> {
        let (pages, max) = match &self.bulk {
            Some(bulk) => (bulk.changed, self.inner.options.bulk_changes_bytes_max()),
            None => (self.copies.len(), self.bytes_max()),
        };
        let bytes = (pages as u64 + 1) * PAGE_BYTES as u64;
        if bytes > max { Err(Error::TooLarge { bytes, max }) } else { Ok(()) }
    }

    fn copy_new(&mut self, number: PageNo, kind: PageKind) {
        let page = Page::new(number, kind, self.inner.database);
        self.copies.insert(number, Copy { version: self.inner.cache.make_version(page), base: None });
    }

    /// A page that was never used; makes the bitmap that speaks for it if it is the first to need it.
    fn allocate_fresh(&mut self) -> Result<Taken> {
        loop {
            self.grow_file()?;
            let taken = self.applier.allocator.take_fresh();
            let number = taken.page;
            let count = u64::from(self.applier.allocator.page_count());
            self.set_state(STATE_PAGE_COUNT, count)?;
            if !is_bitmap(number) {
                if number > bit_of(number).0 {
                    return Ok(taken);
                }
                // The two places before a bitmap: the superblock's, or out of circulation.
                continue;
            }
            self.copy_new(number, PageKind::Bitmap);
            self.count_changed();
            for page in number.0 - 2..=number.0 {
                self.set_bit(PageNo(page), true)?;
            }
        }
    }

    fn grow_file(&mut self) -> Result<()> {
        let allocator = &mut self.applier.allocator;
        let count = allocator.page_count();
        if count < allocator.reserved {
            return Ok(());
        }
        if count == u32::MAX {
            return Err(Error::DiskFull {
                what: "the database file, which has as many pages as can be numbered",
            });
        }
        self.inner.reserve_pages(allocator, (count / 64).clamp(GROWTH_PAGES_MIN, GROWTH_PAGES_MAX))
    }

    fn set_bit(&mut self, number: PageNo, used: bool) -> Result<()> {
        let (bitmap, byte, mask) = bit_of(number);
        let page = self.page_mut(bitmap)?;
        if page.kind() != PageKind::Bitmap {
            return Err(Error::body(bitmap, "it is no bitmap"));
        }
        let bits = &mut page.range_mut(byte..byte + 1)[0];
        if (*bits & mask != 0) == used {
            let why = if used { "a free page is marked as used" } else { "a page is freed twice" };
            return Err(Error::CorruptPage { page: number, why: CorruptPage::Body(why) });
        }
        *bits ^= mask;
        Ok(())
    }

    /// Appends one group and publishes. Nothing is appended if nothing was changed; the LSN is then that of the
    /// newest state.
    ///
    /// The group is durable when [`Store::when_visible`] says so.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::DiskFull`]: nothing was changed. Also what the writes and syncs of a new log segment
    /// say, and in a bulk turn those of the file: that poisons the database.
    pub fn commit(mut self) -> Result<Lsn> {
        let mut copies: Vec<(PageNo, Copy)> = std::mem::take(&mut self.copies).into_iter().collect();
        copies.sort_unstable_by_key(|(number, _)| *number);
        let mut group = GroupBuilder::new(std::mem::take(&mut self.applier.buffer));
        let redo = self.applier.redo;
        let bulk = self.bulk.is_some();
        let bytes_max = self.bytes_max();
        if bulk {
            let logged = copies.iter().filter(|(_, copy)| !copy.is_fresh()).count();
            group.reserve(logged.saturating_mul(PAGE_BYTES).min(usize::try_from(bytes_max).unwrap_or(0)));
        }
        // What is not changed after all is not published.
        copies.retain(|(_, copy)| match &copy.base {
            // It is refused below, so no more of it needs to be made.
            _ if group.padded_len() > bytes_max => false,
            None if bulk && copy.is_fresh() => true,
            Some(base) if base.lsn > redo => group.delta(&base.page, &copy.version.page),
            Some(base)
                if base.page.body() == copy.version.page.body()
                    && base.page.kind() == copy.version.page.kind() =>
            {
                false
            }
            _ => {
                group.image(&copy.version.page);
                true
            }
        });
        if group.is_empty() {
            return Ok(self.inner.readers.applied());
        }
        if group.padded_len() > bytes_max {
            return Err(Error::TooLarge { bytes: group.padded_len(), max: bytes_max });
        }
        let start = self.inner.log.end().end;
        let lsn = Lsn(start.0 + group.padded_len());
        self.inner.prepare_log(start, lsn)?;
        let durable_redo = self.inner.durable_redo();
        debug_assert!(durable_redo <= redo);
        for (_, copy) in &mut copies {
            let past_log = bulk && copy.is_fresh();
            let version = unshared(&mut copy.version);
            version.lsn = if past_log { durable_redo } else { lsn };
            version.page.set_lsn(version.lsn);
        }
        self.write_and_sync_bulk(&mut copies)?;
        self.publish(copies, lsn);
        self.inner.counters.log_bytes.fetch_add(group.padded_len(), Ordering::Relaxed);
        self.inner.counters.commits.fetch_add(1, Ordering::Relaxed);
        let reserved = self.reservation_of(group.padded_len());
        let (appended, mut buffer) = self.inner.log.append(group, GroupKind::Commit, reserved);
        assert_eq!(appended, lsn, "only the applier appends");
        buffer.clear();
        buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.applier.buffer = buffer;
        self.done = true;
        self.inner.wake_threads();
        Ok(lsn)
    }

    fn publish(&mut self, copies: Vec<(PageNo, Copy)>, lsn: Lsn) {
        self.discard_spilled();
        let mut superseded = Vec::with_capacity(copies.len());
        for (number, copy) in copies {
            if copy.base.is_some() {
                superseded.push(number);
            }
            self.inner.cache.install(copy.version, copy.base);
        }
        self.inner.readers.set_applied(lsn, superseded.into_iter());
        if self.freed.is_empty() {
            return;
        }
        let taken: FxHashSet<PageNo> = self.taken.iter().map(|taken| taken.page).collect();
        let freed = std::mem::take(&mut self.freed);
        let (own, others): (Vec<_>, Vec<_>) = freed.into_iter().partition(|page| taken.contains(page));
        own.into_iter().for_each(|page| self.applier.allocator.unused(lsn, page));
        self.applier.allocator.freed(lsn, others.into_iter());
    }
}

impl Inner {
    /// Makes sure that the file has room for all pages ever used, and `growth` more.
    pub(crate) fn reserve_pages(&self, allocator: &mut Allocator, growth: u32) -> Result<()> {
        let (start, end) = (allocator.reserved, allocator.page_count().saturating_add(growth));
        if start >= end {
            return Ok(());
        }
        let bytes = u64::from(end - start) * PAGE_BYTES as u64;
        self.file.reserve(PageNo(start).offset(), bytes).map_err(|error| {
            let error = Error::io("extend", &self.path, &error);
            if error.is_disk_full() { Error::DiskFull { what: "the database file" } } else { error }
        })?;
        allocator.reserved = end;
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.done {
            let taken = std::mem::take(&mut self.taken);
            self.applier.allocator.undo(taken.into_iter(), self.page_count_before);
        }
    }
}
