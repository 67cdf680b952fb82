//! The page cache: page number to newest version, and behind it the older versions that somebody may still need.
//!
//! Invariants:
//! 1. A published version never changes, so readers take no latch: they load the cell and look.
//! 2. Only the applier installs, at most one version of a page at a time, and only over a version that it holds.
//! 3. A cell becomes empty only by eviction (its single version is in the file), or when its page was freed and is
//!    used anew past the cache, where nobody can see it until that is published; it is filled from the file only if
//!    it is still empty then, and under the page's stripe lock, under which eviction happens too. So a load never brings back a version that is
//!    older than one that was already installed. The last version of a freed page stays until it is evicted or the
//!    page is used anew.
//! 4. A page in `dirty` has a newest version that the file does not hold; a page that is not, does not.
//! 5. The bytes of all versions alive, wherever they hang, are counted in `resident`, and those reserved. Versions that
//!    nobody holds any more are kept for the next copies, so that a commit needs no new memory; they go first when bytes
//!    are short.
//!
//! Recovery is the exception to 1, 3 and 4: before anybody can look it takes pages out of their cells, changes them where
//! they are, and puts them back before any is written or evicted ([`Cache::take_out`]).
//!
//! Why no `unsafe`: reclamation is `arc_swap`'s; a version's memory goes when the last reader lets go of it. Each look is
//! therefore a locked instruction, which waits for all loads before it. What is asked for by [`Cache::prefetch`] it does
//! not wait for, so that is how looks at several pages are made to overlap.

mod table;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Deref;

use arc_swap::Guard;
use rustc_hash::{FxHashMap, FxHashSet};

use self::table::Table;
use crate::Result;
use crate::page::{Lsn, PAGE_BYTES, Page, PageNo};
use crate::pager::STATE_PAGE;
use crate::sync::{Arc, ArcCell, AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};

/// What a version takes in memory: the page, its header here, and the allocator's share.
pub(crate) const VERSION_BYTES: usize = PAGE_BYTES + std::mem::size_of::<PageVersion>() + 64;

/// Pages that one call of [`Cache::evict`] looks at, at most.
const EVICTION_TRIES_MAX: usize = 1024;
const STRIPES: usize = 64;
/// Versions without a use that are kept, at most: more than a group of commits and the one before it change.
const SPARES_MAX: usize = 512;

/// One published version of a page. In a cache line of its own, so that a look waits for one.
#[derive(Debug)]
#[repr(align(64))]
pub struct PageVersion {
    pub(crate) page: Page,
    pub(crate) lsn: Lsn,
    /// The version before, while somebody may need it.
    pub(crate) previous: Previous,
    /// The database file holds these bytes.
    pub(crate) in_file: AtomicBool,
    /// Was looked at since the clock's hand last passed.
    touched: AtomicBool,
    resident: Arc<AtomicUsize>,
}

/// The link to the version before. A lock, and no cell like those of the table: few ever look behind the newest version,
/// while a change of a cell has to ask every thread whether it stands on it, and each commit changes some.
#[derive(Debug, Default)]
pub(crate) struct Previous(Mutex<Option<Arc<PageVersion>>>);

impl Previous {
    fn new(version: Option<Arc<PageVersion>>) -> Previous {
        Previous(Mutex::new(version))
    }

    pub(crate) fn load(&self) -> Option<Arc<PageVersion>> {
        self.0.lock().clone()
    }

    fn is_none(&self) -> bool {
        self.0.lock().is_none()
    }

    fn store(&self, version: Option<Arc<PageVersion>>) {
        let before = std::mem::replace(&mut *self.0.lock(), version);
        // It may be the last hand on it; that is not let go under the lock.
        drop(before);
    }
}

impl Drop for PageVersion {
    fn drop(&mut self) {
        self.resident.fetch_sub(VERSION_BYTES, Ordering::Relaxed);
    }
}

/// Memory that counts as the cache's while this lives.
#[derive(Debug)]
pub(crate) struct Reservation {
    resident: Arc<AtomicUsize>,
    bytes: usize,
}

impl Reservation {
    /// Gives back what is above `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.resident.fetch_sub(surplus, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.resident.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Keeps a page's version alive while it is looked at.
#[derive(Debug)]
pub enum PageRef {
    /// The newest version: borrowed from its cell without touching a reference count.
    Newest(Guard<Option<Arc<PageVersion>>>),
    /// An older one.
    Older(Arc<PageVersion>),
}

impl PageRef {
    pub(crate) fn version(&self) -> &Arc<PageVersion> {
        match self {
            PageRef::Newest(guard) => guard.as_ref().expect("made only from full cells"),
            PageRef::Older(version) => version,
        }
    }
}

impl Deref for PageRef {
    type Target = Page;

    #[inline]
    fn deref(&self) -> &Page {
        &self.version().page
    }
}

#[derive(Debug)]
pub(crate) struct Cache {
    // Constant after construction.
    bytes_max: usize,
    // Synchronise themselves.
    table: Table,
    resident: Arc<AtomicUsize>,
    stripes: [Mutex<()>; STRIPES],
    /// Held while a page's chain of versions is shortened.
    pruning: [Mutex<()>; STRIPES],
    /// Versions that hang behind a newer one.
    old_versions: AtomicU64,
    dirty: Mutex<BTreeSet<PageNo>>,
    /// The clock: every resident page once, in the order in which its hand passes.
    clock: Mutex<VecDeque<PageNo>>,
    /// Versions that nobody else holds, the one that was let go of last at the end.
    spares: Mutex<Vec<Arc<PageVersion>>>,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Cache {
        Cache {
            bytes_max,
            table: Table::new(),
            resident: Arc::new(AtomicUsize::new(0)),
            stripes: std::array::from_fn(|_| Mutex::new(())),
            pruning: std::array::from_fn(|_| Mutex::new(())),
            old_versions: AtomicU64::new(0),
            dirty: Mutex::default(),
            clock: Mutex::default(),
            spares: Mutex::default(),
        }
    }

    /// Bytes of all versions alive.
    pub(crate) fn resident_bytes(&self) -> usize {
        self.resident.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(crate) fn dirty_pages(&self) -> usize {
        self.dirty.lock().len()
    }

    /// A version that is not published yet, so that its maker may still change it.
    pub(crate) fn make_version(&self, page: Page) -> Arc<PageVersion> {
        self.resident.fetch_add(VERSION_BYTES, Ordering::Relaxed);
        Arc::new(PageVersion {
            lsn: page.lsn(),
            page,
            previous: Previous::default(),
            in_file: AtomicBool::new(false),
            touched: AtomicBool::new(true),
            resident: self.resident.clone(),
        })
    }

    /// As [`Cache::make_version`], of a page as it is in `base`.
    pub(crate) fn copy_version(&self, base: &PageVersion) -> Arc<PageVersion> {
        let spare = self.spares.lock().pop();
        let Some(mut copy) = spare else { return self.make_version(base.page.clone()) };
        let Some(own) = Arc::get_mut(&mut copy) else { return self.make_version(base.page.clone()) };
        own.page.copy_from(&base.page);
        own.lsn = base.lsn;
        own.in_file = AtomicBool::new(false);
        own.touched = AtomicBool::new(true);
        copy
    }

    fn keep_as_spare(&self, mut version: Arc<PageVersion>) {
        let Some(own) = Arc::get_mut(&mut version) else { return };
        own.previous = Previous::default();
        let mut spares = self.spares.lock();
        if spares.len() < SPARES_MAX {
            spares.push(version);
        }
    }

    /// Has memory that something else is about to take count as the cache's, until the guard is dropped.
    pub(crate) fn reserve(&self, bytes: usize) -> Reservation {
        self.resident.fetch_add(bytes, Ordering::Relaxed);
        Reservation { resident: self.resident.clone(), bytes }
    }

    /// Asks for the memory that a look at the start of the page's body and at `offset` of it will need.
    #[inline]
    pub(crate) fn prefetch(&self, number: PageNo, offset: usize) {
        if let Some(cell) = self.table.known(number) {
            cell.prefetch(offset);
        }
    }

    /// The newest version, if it is in memory.
    #[inline]
    pub(crate) fn newest(&self, number: PageNo) -> Guard<Option<Arc<PageVersion>>> {
        let guard = load_of(&self.table.cell(number).newest, number);
        if let Some(version) = &*guard
            && !version.touched.load(Ordering::Relaxed)
        {
            version.touched.store(true, Ordering::Relaxed);
        }
        guard
    }

    /// The newest version, read by `load` if it is not in memory.
    pub(crate) fn newest_or_load(
        &self,
        number: PageNo,
        load: impl FnOnce() -> Result<Page>,
    ) -> Result<Guard<Option<Arc<PageVersion>>>> {
        let guard = self.newest(number);
        if guard.is_some() {
            return Ok(guard);
        }
        {
            let _stripe = self.stripes[number.0 as usize % STRIPES].lock();
            let hinted = self.table.cell(number);
            let cell = &hinted.newest;
            if cell.load().is_none() {
                // The applier installs without the stripe, and over a base of its own that may be evicted: so what was
                // read may be too old by now, and then the newer version stays. It may even have been written while
                // the file was read; what was read is then half of each, and says nothing about the page.
                match load() {
                    Ok(page) => {
                        let version = self.make_version(page);
                        version.in_file.store(true, Ordering::Release);
                        if cell.compare_and_swap(&None::<Arc<PageVersion>>, Some(version)).is_none() {
                            self.clock.lock().push_back(number);
                        }
                    }
                    Err(error) if cell.load().is_none() => return Err(error),
                    Err(_) => {}
                }
            }
            // Held before the stripe is let go, so that it cannot be evicted before it was seen.
            let guard = load_of(cell, number);
            debug_assert!(guard.is_some());
            guard.as_ref().inspect(|version| hinted.set_hints(version));
            drop(_stripe);
            self.evict();
            Ok(guard)
        }
    }

    /// Publishes a version over `previous`, which the applier holds. Only the applier calls this.
    pub(crate) fn install(&self, mut version: Arc<PageVersion>, previous: Option<Arc<PageVersion>>) {
        let number = version.page.number();
        debug_assert!(previous.as_ref().is_none_or(|p| p.lsn <= version.lsn));
        let in_file = version.in_file.load(Ordering::Acquire);
        if previous.is_some() {
            self.old_versions.fetch_add(1, Ordering::Relaxed);
        } else {
            self.forget_chain(number);
        }
        Arc::get_mut(&mut version).expect("it is published only now").previous = Previous::new(previous);
        let cell = self.table.cell(number);
        cell.set_hints(&version);
        let old = cell.newest.swap(Some(version));
        if old.is_none() {
            self.clock.lock().push_back(number);
        }
        if !in_file {
            let mut dirty = self.dirty.lock();
            // A version that the file does not hold had its page marked; and whoever writes it, after this or before, takes
            // the mark away only if it is still the newest ([`Cache::written`]).
            if old.as_ref().is_none_or(|old| old.in_file.load(Ordering::Acquire)) {
                dirty.insert(number);
            }
        }
    }

    /// Takes a page's newest version out, to be changed without a copy and put back. Only for recovery, which is over before
    /// anybody else can look.
    pub(crate) fn take_out(&self, number: PageNo) -> Option<Arc<PageVersion>> {
        self.table.cell(number).newest.swap(None)
    }

    /// Puts back what was taken out, or was made instead.
    pub(crate) fn put_back(&self, versions: FxHashMap<PageNo, Arc<PageVersion>>) {
        // Those that are still there would be there twice.
        self.clock.lock().retain(|number| !versions.contains_key(number));
        versions.into_values().for_each(|version| self.install(version, None));
    }

    /// Forgets pages that were freed and are used anew without being installed: the file alone has them.
    pub(crate) fn discard(&self, pages: FxHashSet<PageNo>) {
        if pages.is_empty() {
            return;
        }
        for &number in &pages {
            self.forget_chain(number);
            let _stripe = self.stripes[number.0 as usize % STRIPES].lock();
            debug_assert!(!self.dirty.lock().contains(&number), "it would be written over what is there now");
            self.table.cell(number).newest.store(None);
        }
        self.clock.lock().retain(|number| !pages.contains(number));
    }

    /// A freed page is used anew: nobody can see what hangs here any more.
    fn forget_chain(&self, number: PageNo) {
        let _pruning = self.pruning(number);
        if let Some(last) = &*self.table.cell(number).newest.load() {
            while let Some(version) = last.previous.load() {
                self.unlink(last, version);
            }
        }
    }

    /// The right to shorten the chain of a page.
    pub(crate) fn pruning(&self, number: PageNo) -> MutexGuard<'_, ()> {
        self.pruning[number.0 as usize % STRIPES].lock()
    }

    /// Takes `version` out of the chain, from behind `successor`. Readers that stand on it keep it and its tail.
    pub(crate) fn unlink(&self, successor: &PageVersion, version: Arc<PageVersion>) {
        successor.previous.store(version.previous.load());
        self.old_versions.fetch_sub(1, Ordering::Relaxed);
        self.keep_as_spare(version);
    }

    /// Number of versions that hang behind a newer one.
    pub(crate) fn old_versions(&self) -> u64 {
        self.old_versions.load(Ordering::Relaxed)
    }

    /// The dirty pages from `from` on, in order, at most `max`.
    pub(crate) fn dirty_from(&self, from: PageNo, max: usize) -> Vec<PageNo> {
        self.dirty.lock().range(from..).take(max).copied().collect()
    }

    /// `version` was written to the file: its page is clean if that is still the newest.
    pub(crate) fn written(&self, version: &Arc<PageVersion>) {
        let number = version.page.number();
        // The applier installs first and marks dirty then; so whichever of us comes second sees the other.
        let mut dirty = self.dirty.lock();
        if self.table.cell(number).newest.load().as_ref().is_some_and(|newest| Arc::ptr_eq(newest, version)) {
            dirty.remove(&number);
        }
        // Last, for from here on the page may be evicted, and would then be looked for in vain.
        version.in_file.store(true, Ordering::Release);
    }

    /// Evicts clean pages until the bytes fit, or the clock's hand went round twice, or far enough for one call: where
    /// little can go, each call goes on where the last one stopped.
    pub(crate) fn evict(&self) {
        if self.resident_bytes() <= self.bytes_max {
            return;
        }
        let spares = std::mem::take(&mut *self.spares.lock());
        drop(spares);
        let mut clock = self.clock.lock();
        let mut tries = (clock.len() * 2).min(EVICTION_TRIES_MAX);
        while tries > 0 && self.resident_bytes() > self.bytes_max {
            tries -= 1;
            let Some(number) = clock.pop_front() else { return };
            match self.try_evict(number) {
                Evicted::Gone => {}
                Evicted::Kept => clock.push_back(number),
            }
        }
    }

    /// As [`Cache::evict`], as often as it takes for all to go that can.
    pub(crate) fn evict_all_that_can_go(&self) {
        // Each page is passed twice: the first time it may only lose its mark of having been looked at.
        let rounds = 2 * self.resident_pages() / EVICTION_TRIES_MAX + 1;
        for _ in 0..rounds {
            self.evict();
        }
    }

    fn try_evict(&self, number: PageNo) -> Evicted {
        let cell = &self.table.cell(number).newest;
        // A load under way holds the stripe and may itself wait for the clock, so waiting here could be for ever.
        let Some(_stripe) = self.stripes[number.0 as usize % STRIPES].try_lock() else {
            return Evicted::Kept;
        };
        let guard = load_of(cell, number);
        let Some(version) = &*guard else { return Evicted::Gone };
        let clean = version.in_file.load(Ordering::Acquire) && version.previous.is_none();
        if number == STATE_PAGE || !clean || version.touched.swap(false, Ordering::Relaxed) {
            return Evicted::Kept;
        }
        let seen = cell.compare_and_swap(&*guard, None);
        let swapped = seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, version));
        if swapped { Evicted::Gone } else { Evicted::Kept }
    }

    /// Pages with a version in memory: for tests and the monitor.
    pub(crate) fn resident_pages(&self) -> usize {
        self.clock.lock().len()
    }
}

/// What a cell holds.
///
/// `arc_swap` may give what the cell held a moment ago, kept alive by somebody who took it for a look at another cell in
/// which the same memory had its next life. It is then another page's version, and the cell is looked at again.
#[inline]
fn load_of(cell: &ArcCell<PageVersion>, number: PageNo) -> Guard<Option<Arc<PageVersion>>> {
    loop {
        let guard = cell.load();
        if guard.as_ref().is_none_or(|version| version.page.number() == number) {
            return guard;
        }
    }
}

enum Evicted {
    Gone,
    Kept,
}

#[cfg(test)]
mod tests;
