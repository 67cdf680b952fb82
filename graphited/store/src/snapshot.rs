//! A reader's view: every page as of one LSN.

use std::cell::{Cell, OnceCell};

use crate::cache::PageRef;
use crate::page::{CorruptPage, Lsn, PageNo};
use crate::pager::{PageReader, STATE_PAGE, state_at};
use crate::readers::Registered;
use crate::store::Inner;
use crate::sync::{Arc, Ordering};
use crate::{Error, Result};

/// Values of the state page that a snapshot looks up once: those in use.
const STATE_SLOTS_KEPT: usize = 24;

/// All pages as of [`Snapshot::lsn`]. Registered until dropped, so that nothing it needs goes.
///
/// A snapshot stands at what is durable; a pin ([`Store::pin`](crate::Store::pin)) at the newest published state.
#[derive(Debug)]
pub struct Snapshot {
    inner: Arc<Inner>,
    registered: Registered,
    /// Pages that may still be looked at, all of them in memory; `None`: no limit.
    budget: Cell<Option<u32>>,
    /// Each commit changes the state page, and each operation begins there; so where others commit, a look at it is the
    /// dearest of all.
    state: OnceCell<[u64; STATE_SLOTS_KEPT]>,
}

impl Snapshot {
    pub(crate) fn new(inner: Arc<Inner>, registered: Registered) -> Snapshot {
        Snapshot { inner, registered, budget: Cell::new(None), state: OnceCell::new() }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// The state that this is a view of.
    pub fn lsn(&self) -> Lsn {
        self.registered.lsn
    }

    /// With `Some(pages)`, from now on only pages that are in memory are shown, and only that many: the next one is
    /// [`Error::NotCached`], and so is [`PageReader::expect`] for more than are left. For a thread that must not wait
    /// for a disk. `None` lifts the limit.
    pub fn limit_to_cache(&self, pages: Option<u32>) {
        self.budget.set(pages);
    }

    /// The newest version, if it is in memory and one more page may be looked at.
    #[inline]
    fn newest_within(&self, number: PageNo, left: u32) -> Result<PageRef> {
        let newest = self.inner.cache.newest(number);
        if left == 0 || newest.is_none() {
            return Err(Error::NotCached);
        }
        self.budget.set(Some(left - 1));
        Ok(PageRef::Newest(newest))
    }

    /// The version that this view shows where the newest is too new.
    #[cold]
    fn older(&self, newest: &PageRef) -> Result<PageRef> {
        let number = newest.number();
        let mut version = newest.version().previous.load();
        while let Some(candidate) = version {
            if candidate.lsn <= self.lsn() {
                // Asked after the walk: a pruner that drops what we need says so before it does.
                return if self.is_expired() {
                    Err(Error::SnapshotTooOld)
                } else {
                    Ok(PageRef::Older(candidate))
                };
            }
            version = candidate.previous.load();
        }
        if self.is_expired() {
            return Err(Error::SnapshotTooOld);
        }
        Err(Error::CorruptPage {
            page: number,
            why: CorruptPage::Body("no version is old enough for a snapshot that points at it"),
        })
    }

    fn is_expired(&self) -> bool {
        self.registered.expired.load(Ordering::Acquire)
    }
}

impl PageReader for Snapshot {
    type Ref<'a> = PageRef;

    #[inline]
    fn page(&self, number: PageNo) -> Result<PageRef> {
        let newest = match self.budget.get() {
            None => self.inner.newest(number)?,
            Some(left) => self.newest_within(number, left)?,
        };
        if newest.version().lsn <= self.registered.lsn { Ok(newest) } else { self.older(&newest) }
    }

    #[inline]
    fn state(&self, slot: usize) -> Result<u64> {
        if let Some(value) = self.state.get().and_then(|kept| kept.get(slot)) {
            // Where an operation begins is where it is told.
            return if self.is_expired() { Err(Error::SnapshotTooOld) } else { Ok(*value) };
        }
        let page = self.page(STATE_PAGE)?;
        self.state.get_or_init(|| std::array::from_fn(|slot| state_at(&page, slot)));
        Ok(state_at(&page, slot))
    }

    #[inline]
    fn prefetch(&self, number: PageNo, offset: usize) {
        self.inner.cache.prefetch(number, offset);
    }

    #[inline]
    fn expect(&self, pages: usize) -> Result<()> {
        match self.budget.get() {
            Some(left) if pages > left as usize => Err(Error::NotCached),
            _ => Ok(()),
        }
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let held = self.inner.readers.unregister(&self.registered);
        self.inner.prune(held);
    }
}
