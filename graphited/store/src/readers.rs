//! Who reads at which LSN, and which old versions therefore have to stay.
//!
//! Invariants:
//! 1. A reader is registered under the same lock under which the pruner asks who is there; and it registers at
//!    `visible` or `applied`, never below what a pruner has already been told is visible. So a version that a
//!    pruner drops is needed by nobody who comes later.
//! 2. A version is kept while its successor is above `visible`, or while a reader stands at or above it and below its
//!    successor. The horizon is the least of `visible` and all readers.
//! 3. A reader that is expired is told so before anything is dropped that it may need.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use crate::page::{Lsn, PageNo};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Readers {
    visible: AtomicU64,
    applied: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By rising LSN. Who comes mostly reads at the last one, and mostly is alone there.
    at: Vec<(Lsn, ReadersAt)>,
    /// Superseded versions whose successor is not yet visible: (successor's LSN, page), in the order of LSNs.
    superseded: VecDeque<(Lsn, PageNo)>,
}

#[derive(Debug)]
struct ReadersAt {
    count: usize,
    expired: Arc<AtomicBool>,
    /// Pages with old versions that stay because of these readers.
    held: FxHashSet<PageNo>,
}

/// A reader's place in the registry.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) lsn: Lsn,
    pub(crate) expired: Arc<AtomicBool>,
}

/// Who is there, as a pruner needs it.
pub(crate) struct Present {
    pub(crate) visible: Lsn,
    /// Ascending.
    lsns: Vec<Lsn>,
}

impl Present {
    /// A reader at or above `version` and below its `successor`.
    pub(crate) fn between(&self, version: Lsn, successor: Lsn) -> Option<Lsn> {
        let first = self.lsns.partition_point(|&lsn| lsn < version);
        self.lsns.get(first).copied().filter(|&lsn| lsn < successor)
    }
}

impl Inner {
    /// Where the readers at `lsn` are, or would be.
    fn place(&self, lsn: Lsn) -> Result<usize, usize> {
        self.at.binary_search_by_key(&lsn, |(at, _)| *at)
    }
}

impl Readers {
    pub(crate) fn new(at: Lsn) -> Readers {
        Readers { visible: AtomicU64::new(at.0), applied: AtomicU64::new(at.0), inner: Mutex::default() }
    }

    /// Everything at or below is durable and published.
    pub(crate) fn visible(&self) -> Lsn {
        Lsn(self.visible.load(Ordering::Acquire))
    }

    /// Everything at or below is published.
    pub(crate) fn applied(&self) -> Lsn {
        Lsn(self.applied.load(Ordering::Acquire))
    }

    /// Called by the applier when all pages of a group are installed, before the group can become durable.
    pub(crate) fn set_applied(&self, lsn: Lsn, superseded: impl Iterator<Item = PageNo>) {
        let mut inner = self.inner.lock();
        inner.superseded.extend(superseded.map(|page| (lsn, page)));
        self.applied.store(lsn.0, Ordering::Release);
    }

    /// Raises `visible`; returns the pages that have versions which may now go.
    pub(crate) fn set_visible(&self, lsn: Lsn) -> Vec<PageNo> {
        let mut inner = self.inner.lock();
        if lsn.0 > self.visible.load(Ordering::Relaxed) {
            assert!(lsn <= self.applied(), "nothing is visible before it is published");
            self.visible.store(lsn.0, Ordering::Release);
        }
        let count = inner.superseded.partition_point(|&(successor, _)| successor <= lsn);
        inner.superseded.drain(..count).map(|(_, page)| page).collect()
    }

    /// Registers a reader of what is durable.
    pub(crate) fn register_visible(&self) -> Registered {
        self.register(&self.visible)
    }

    /// Registers a reader of the newest published state.
    pub(crate) fn register_applied(&self) -> Registered {
        self.register(&self.applied)
    }

    fn register(&self, at: &AtomicU64) -> Registered {
        let mut inner = self.inner.lock();
        let lsn = Lsn(at.load(Ordering::Acquire));
        let expired = match inner.place(lsn) {
            Ok(place) => {
                let (_, readers) = &mut inner.at[place];
                readers.count += 1;
                readers.expired.clone()
            }
            Err(place) => {
                let expired = Arc::new(AtomicBool::new(false));
                let readers = ReadersAt { count: 1, expired: expired.clone(), held: FxHashSet::default() };
                inner.at.insert(place, (lsn, readers));
                expired
            }
        };
        Registered { lsn, expired }
    }

    /// Removes a reader; returns the pages that were held for it and may be pruned now.
    pub(crate) fn unregister(&self, registered: &Registered) -> Vec<PageNo> {
        let mut inner = self.inner.lock();
        if registered.expired.load(Ordering::Acquire) {
            return Vec::new();
        }
        let place = inner.place(registered.lsn).expect("a reader that was not expired is registered");
        let (_, readers) = &mut inner.at[place];
        readers.count -= 1;
        if readers.count > 0 {
            return Vec::new();
        }
        inner.at.remove(place).1.held.into_iter().collect()
    }

    pub(crate) fn present(&self) -> Present {
        let inner = self.inner.lock();
        Present { visible: self.visible(), lsns: inner.at.iter().map(|(lsn, _)| *lsn).collect() }
    }

    /// Notes that `page` has a version kept for the readers at `lsn`; `false` if they left meanwhile.
    pub(crate) fn hold(&self, lsn: Lsn, page: PageNo) -> bool {
        let mut inner = self.inner.lock();
        let Ok(place) = inner.place(lsn) else { return false };
        inner.at[place].1.held.insert(page);
        true
    }

    /// The least LSN that anybody may still read.
    pub(crate) fn horizon(&self) -> Lsn {
        let inner = self.inner.lock();
        let visible = self.visible();
        inner.at.first().map_or(visible, |&(oldest, _)| oldest.min(visible))
    }

    /// Takes the oldest reader's right to old versions away; returns the pages that were held for it.
    pub(crate) fn expire_oldest(&self) -> Vec<PageNo> {
        let mut inner = self.inner.lock();
        let visible = self.visible();
        if inner.at.first().is_none_or(|&(oldest, _)| oldest >= visible) {
            return Vec::new();
        }
        let (_, readers) = inner.at.remove(0);
        readers.expired.store(true, Ordering::Release);
        readers.held.into_iter().collect()
    }

    /// Number of readers and the LSN of the oldest.
    pub(crate) fn summary(&self) -> (usize, Option<Lsn>) {
        let inner = self.inner.lock();
        let count = inner.at.iter().map(|(_, readers)| readers.count).sum();
        (count, inner.at.first().map(|&(lsn, _)| lsn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A long reader would else keep a number for every commit.
    #[test]
    fn a_page_that_changes_often_is_held_once_for_a_reader() {
        let readers = Readers::new(Lsn(8));
        let reader = readers.register_visible();
        (0..1000).for_each(|_| assert!(readers.hold(reader.lsn, PageNo(3))));
        assert_eq!(readers.unregister(&reader), [PageNo(3)]);
    }
}
