//! The engine: one database file, its log, its cache, and who may do what when.
//!
//! Locks, in the order in which they may be taken: `checkpointing`, `applier`, then one of the short ones (log tail,
//! readers, cache, parked), which are never held together with each other. Readers take none of the first two.
//!
//! A commit's way: a [`Turn`](crate::Turn) copies pages, changes the copies, appends one group to the log's buffer
//! and publishes the copies. Whoever wants to know that it is durable parks a reply ([`Store::when_visible`]) or waits
//! ([`Store::wait_visible`]); the first to come leads a sync for all.
//!
//! Nothing in here runs by itself: [`Store::start_threads`] adds the log thread and the checkpointer, and a test that
//! leaves them out drives a deterministic machine step by step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::allocator::Allocator;
use crate::cache::{Cache, PageRef};
use crate::checkpoint::{CheckpointPhase, CheckpointProgress, Progress};
use crate::clock::Clock;
use crate::disk::DiskFile;
use crate::histogram::LatencyCounts;
use crate::page::{CorruptPage, DatabaseId, Lsn, PAGE_BYTES, PageNo, RawPage};
use crate::readers::{Present, Readers};
use crate::snapshot::Snapshot;
use crate::superblock::Superblock;
use crate::sync::{Arc, AtomicBool, AtomicU64, Condvar, Mutex, OnceLock, Ordering, wait, wait_timeout};
use crate::threads::Threads;
use crate::wal::log::Log;
use crate::{Error, Result};

/// How a database is opened. `Default` is what `graphited` uses.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Make the file if it is missing.
    pub create: bool,
    /// Bytes of page versions that may be in memory.
    pub cache_bytes: usize,
    /// Bytes that the log's segments may take on disk. Counts when the database is made; later its segments have their
    /// size.
    pub wal_bytes: u64,
    /// Bytes of old versions kept for snapshots, past which the oldest snapshot is let down.
    pub old_versions_bytes_max: usize,
    /// `false` leaves out every sync: for tests and throwaway loads only.
    pub durable: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            create: false,
            cache_bytes: 256 << 20,
            wal_bytes: 256 << 20,
            old_versions_bytes_max: 128 << 20,
            durable: true,
        }
    }
}

/// Number of segments that `wal_bytes` is cut into.
pub(crate) const SEGMENTS: u64 = 16;

/// An open database. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

type Parked = Box<dyn FnOnce(Result<()>) + Send>;

pub(crate) struct Inner {
    // Constant after construction.
    pub(crate) path: PathBuf,
    pub(crate) options: StoreOptions,
    pub(crate) database: DatabaseId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) file: Arc<dyn DiskFile>,
    // Synchronise themselves.
    pub(crate) log: Log,
    pub(crate) cache: Cache,
    pub(crate) readers: Readers,
    pub(crate) poison: OnceLock<Error>,
    pub(crate) counters: Counters,
    // Guarded by their locks.
    pub(crate) applier: Mutex<Applier>,
    pub(crate) checkpointing: Mutex<Superblock>,
    pub(crate) parked: Mutex<BTreeMap<Lsn, Vec<Parked>>>,
    /// Held during a sync of the file, until its failure has poisoned the database.
    pub(crate) syncing: Mutex<()>,
    pub(crate) visible_changed: Condvar,
    pub(crate) threads: Threads,
    /// When the last checkpoint ended, and how long it took.
    pub(crate) last_checkpoint: Mutex<Option<(Duration, Duration)>>,
    /// How far the one under way is. Synchronises itself.
    pub(crate) checkpoint_progress: Progress,
    /// Pages, and free ones, when a monitor asked last.
    pub(crate) pages_seen: Mutex<(u32, u32)>,
    /// The redo point that the superblock names.
    pub(crate) redo: AtomicU64,
    pub(crate) closed: AtomicBool,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What the one hand that changes pages needs; see `turn`.
#[derive(Debug)]
pub(crate) struct Applier {
    pub(crate) allocator: Allocator,
    /// Pages whose newest version is at or below this are logged whole at their next change.
    pub(crate) redo: Lsn,
    /// Reused by every group.
    pub(crate) buffer: Vec<u8>,
}

/// What was done since the database was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) page_reads: AtomicU64,
    pub(crate) page_writes: AtomicU64,
    pub(crate) file_syncs: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
}

/// One picture of the store, for `status` and the monitor.
#[derive(Clone, Debug)]
pub struct StoreStatus {
    /// The database file.
    pub path: PathBuf,
    /// Drawn when the database was made.
    pub database: DatabaseId,
    /// Bytes of the database file.
    pub file_bytes: u64,
    /// Bytes of the log's segment files.
    pub wal_bytes: u64,
    /// Bytes that the log may take.
    pub wal_bytes_max: u64,
    /// Bytes that old versions may take.
    pub old_version_bytes_max: u64,
    /// Pages that were ever used, free ones among them.
    pub pages: u32,
    /// Pages that are free.
    pub pages_free: u32,
    /// Pages whose newest version the file does not hold.
    pub pages_dirty: usize,
    /// Pages with a version in memory.
    pub pages_resident: usize,
    /// Bytes of page versions in memory.
    pub cache_bytes: usize,
    /// Bytes that they should stay within.
    pub cache_bytes_max: usize,
    /// Bytes of versions kept for snapshots.
    pub old_version_bytes: u64,
    /// Number of snapshots and pins.
    pub readers: usize,
    /// LSN of the oldest of them.
    pub oldest_reader: Option<Lsn>,
    /// Newest published state.
    pub applied: Lsn,
    /// Newest durable state.
    pub visible: Lsn,
    /// Where recovery would begin.
    pub redo: Lsn,
    /// Groups committed since opening.
    pub commits: u64,
    /// Syncs of the log since opening.
    pub log_syncs: u64,
    /// Syncs of the database file since opening.
    pub file_syncs: u64,
    /// How long the log's syncs took, the writes with them.
    pub log_sync_times: LatencyCounts,
    /// Bytes appended to the log since opening.
    pub log_bytes: u64,
    /// Pages read from the file since opening.
    pub page_reads: u64,
    /// Pages written to the file since opening.
    pub page_writes: u64,
    /// Checkpoints since opening.
    pub checkpoints: u64,
    /// How long ago the last one ended, and how long it took.
    pub last_checkpoint: Option<(Duration, Duration)>,
    /// How far the checkpoint is that is under way.
    pub checkpoint: CheckpointProgress,
    /// How long ago that began.
    pub checkpoint_running: Option<Duration>,
    /// Whether commits are synced.
    pub durable: bool,
    /// The first failure, if the database is read-only because of one.
    pub poisoned: Option<String>,
}

impl Store {
    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// How it was opened.
    pub fn options(&self) -> &StoreOptions {
        &self.inner.options
    }

    /// Bytes that one write set may put into the log, worst case: a quarter of the log and half of the cache at most.
    pub fn transaction_bytes_max(&self) -> u64 {
        self.inner.transaction_bytes_max()
    }

    /// A reader of everything that is durable now. It waits for nobody, and nobody for it.
    ///
    /// # Errors
    /// None today; a limit on readers may come.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(self.inner.clone(), self.inner.readers.register_visible()))
    }

    /// A reader of the newest published state, durable or not: for an operation of a write transaction.
    pub fn pin(&self) -> Snapshot {
        Snapshot::new(self.inner.clone(), self.inner.readers.register_applied())
    }

    /// Everything at or below is durable and visible.
    pub fn visible_lsn(&self) -> Lsn {
        self.inner.readers.visible()
    }

    /// Everything at or below is published.
    pub fn applied_lsn(&self) -> Lsn {
        self.inner.readers.applied()
    }

    /// Calls `reply` once `lsn` is durable and visible, or with an error if that will never be known. If nobody is
    /// syncing, the caller does, for all.
    pub fn when_visible(&self, lsn: Lsn, reply: impl FnOnce(Result<()>) + Send + 'static) {
        if self.park(lsn, reply) {
            self.inner.lead_sync_of(lsn);
        }
    }

    /// As [`Store::when_visible`], but leaves the sync to somebody else, who was asked by [`Store::sync_soon`] after `lsn`
    /// was appended, or will be. Tells whether there is something to wait for.
    pub fn park(&self, lsn: Lsn, reply: impl FnOnce(Result<()>) + Send + 'static) -> bool {
        let verdict = {
            let mut parked = self.inner.parked.lock();
            if lsn <= self.visible_lsn() {
                Ok(())
            } else if let Some(error) = self.inner.poison.get() {
                Err(poisoned(error))
            } else {
                parked.entry(lsn).or_default().push(Box::new(reply));
                return true;
            }
        };
        reply(verdict);
        false
    }

    /// Has all that was appended until now synced by the log thread, and does not wait for that. Without such a thread the
    /// caller does it, unless somebody is at it.
    pub fn sync_soon(&self) {
        if !self.inner.threads.wake_log() {
            self.inner.lead_sync();
        }
    }

    /// Blocks until `lsn` is durable and visible.
    ///
    /// # Errors
    /// [`Error::Poisoned`]: whether `lsn` is durable is unknown.
    pub fn wait_visible(&self, lsn: Lsn) -> Result<()> {
        let inner = &*self.inner;
        if lsn > self.visible_lsn() {
            inner.lead_sync_of(lsn);
        }
        // Whoever is at it looks again before it leaves; so what is not visible yet will be. Not waited for is the lead, which
        // would come to each in turn, with a sync for what was appended meanwhile.
        let mut parked = inner.parked.lock();
        while lsn > self.visible_lsn() {
            inner.check_poison()?;
            parked = wait(&inner.visible_changed, parked);
        }
        Ok(())
    }

    /// Makes everything appended so far durable and visible.
    ///
    /// # Errors
    /// [`Error::Poisoned`] with the first failure.
    pub fn flush(&self) -> Result<()> {
        self.inner.flush_log()
    }

    /// The first failed write or sync, if there was one: the database is read-only since.
    pub fn poisoned(&self) -> Option<&Error> {
        self.inner.poison.get()
    }

    /// One picture of everything countable.
    pub fn status(&self) -> StoreStatus {
        let applier = self.inner.applier.lock();
        let pages = (applier.allocator.page_count(), applier.allocator.free_count());
        drop(applier);
        self.status_with(pages)
    }

    /// As [`Store::status`], without waiting for a turn that is under way: numbers of pages may then be those of the last
    /// call, or of the opening.
    pub fn status_at_once(&self) -> StoreStatus {
        let mut pages = self.inner.pages_seen.lock();
        if let Some(applier) = self.inner.applier.try_lock() {
            *pages = (applier.allocator.page_count(), applier.allocator.free_count());
        }
        self.status_with(*pages)
    }

    fn status_with(&self, (pages, pages_free): (u32, u32)) -> StoreStatus {
        let inner = &*self.inner;
        let (readers, oldest_reader) = inner.readers.summary();
        let last_checkpoint = *inner.last_checkpoint.lock();
        let checkpoint = inner.checkpoint_progress.look();
        let is_running = checkpoint.phase != CheckpointPhase::Idle;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStatus {
            path: inner.path.clone(),
            database: inner.database,
            file_bytes: inner.file.len().unwrap_or_default(),
            wal_bytes: inner.log.segments.bytes_on_disk(),
            wal_bytes_max: inner.log_bytes_max(),
            pages,
            pages_free,
            pages_dirty: inner.cache.dirty_pages(),
            pages_resident: inner.cache.resident_pages(),
            cache_bytes: inner.cache.resident_bytes(),
            cache_bytes_max: inner.cache.bytes_max(),
            old_version_bytes_max: inner.options.old_versions_bytes_max as u64,
            old_version_bytes: inner.cache.old_versions() * PAGE_BYTES as u64,
            readers,
            oldest_reader,
            applied: inner.readers.applied(),
            visible: inner.readers.visible(),
            redo: Lsn(count(&inner.redo)),
            commits: count(&inner.counters.commits),
            log_syncs: count(&inner.log.flushes),
            file_syncs: count(&inner.counters.file_syncs),
            log_sync_times: inner.log.sync_times.counts(),
            log_bytes: count(&inner.counters.log_bytes),
            page_reads: count(&inner.counters.page_reads),
            page_writes: count(&inner.counters.page_writes),
            checkpoints: count(&inner.counters.checkpoints),
            last_checkpoint: last_checkpoint
                .map(|(ended, took)| (inner.clock.now().saturating_sub(ended), took)),
            checkpoint,
            checkpoint_running: is_running.then(|| inner.clock.now().saturating_sub(checkpoint.started)),
            durable: inner.options.durable,
            poisoned: inner.poison.get().map(ToString::to_string),
        }
    }

    /// Starts the log thread and the checkpointer thread. They end with [`Store::close`] or the last clone.
    pub fn start_threads(&self) {
        Threads::start(&self.inner);
    }

    /// Ends the threads, makes everything durable, checkpoints, and notes in the superblock that it was clean.
    /// Readers that are still there go on; nothing can be written any more.
    ///
    /// # Errors
    /// The first failure; the database then recovers at its next opening. A full disk poisons nothing, and closing may
    /// be tried again.
    pub fn close(&self) -> Result<()> {
        self.inner.threads.stop();
        self.inner.close_cleanly()
    }
}

pub(crate) fn poisoned(first: &Error) -> Error {
    match first {
        Error::Poisoned { .. } => first.clone(),
        other => Error::Poisoned { first: other.to_string() },
    }
}

impl Inner {
    /// The redo point that the superblock names, and so no recovery begins before it.
    pub(crate) fn durable_redo(&self) -> Lsn {
        Lsn(self.redo.load(Ordering::Acquire))
    }

    pub(crate) fn check_poison(&self) -> Result<()> {
        match self.poison.get() {
            Some(error) => Err(poisoned(error)),
            None => Ok(()),
        }
    }

    /// Makes the database read-only: what is on disk is no longer known, so nothing may be built on it.
    pub(crate) fn set_poison(&self, error: &Error) -> Error {
        if self.poison.set(error.clone()).is_ok() {
            tracing::error!(%error, "the database is read-only from now on");
        }
        let all = std::mem::take(&mut *self.parked.lock());
        for reply in all.into_values().flatten() {
            reply(Err(poisoned(error)));
        }
        self.visible_changed.notify_all();
        poisoned(self.poison.get().unwrap_or(error))
    }

    /// The newest version of a page, from memory or the file.
    pub(crate) fn newest(&self, number: PageNo) -> Result<PageRef> {
        Ok(PageRef::Newest(self.cache.newest_or_load(number, || self.read_page(number))?))
    }

    pub(crate) fn read_page(&self, number: PageNo) -> Result<crate::Page> {
        self.read_page_into(number, RawPage::default())
    }

    /// As [`Inner::read_page`], into memory that is there already.
    pub(crate) fn read_page_into(&self, number: PageNo, mut raw: RawPage) -> Result<crate::Page> {
        self.counters.page_reads.fetch_add(1, Ordering::Relaxed);
        self.file.read_at(&mut raw.0[..], number.offset()).map_err(|error| {
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                return Error::CorruptPage { page: number, why: CorruptPage::Truncated };
            }
            Error::io("read", &self.path, &error)
        })?;
        let corrupt = |why| Error::CorruptPage { page: number, why };
        let page = raw.check(number, self.database).map_err(corrupt)?;
        // Asked for after the read: what was written meanwhile was applied before. It is a check at first sight: a log that
        // has grown past that LSN since the file was opened says nothing about such a page.
        let (found, end) = (page.lsn(), self.readers.applied());
        if found > end {
            return Err(corrupt(CorruptPage::AboveLog { found, end }));
        }
        Ok(page)
    }

    /// Writes and syncs what the log's buffer holds, waiting for a flush under way.
    pub(crate) fn flush_log(&self) -> Result<()> {
        self.check_poison()?;
        match self.log.flush() {
            Ok(durable) => {
                self.became_durable(durable);
                // Whoever came meanwhile left it to us to look again.
                if self.log.has_pending() {
                    self.lead_sync();
                }
                Ok(())
            }
            Err(error) => Err(self.set_poison(&error)),
        }
    }

    /// Syncs for everybody, unless somebody is at it: that one looks again when it is done. A worker leads for its
    /// own commit and no longer, if there is a thread that can go on.
    pub(crate) fn lead_sync(&self) {
        self.lead_while(|| !self.threads.wake_log());
    }

    /// As [`Inner::lead_sync`], of a state that somebody published, who is perhaps only about to append it, and may not care
    /// when it is synced.
    fn lead_sync_of(&self, lsn: Lsn) {
        if lsn > self.log.end().end {
            drop(self.applier.lock());
        }
        self.lead_sync();
    }

    /// Syncs until nothing is pending.
    pub(crate) fn lead_all_syncs(&self) {
        self.lead_while(|| true);
    }

    fn lead_while(&self, go_on: impl Fn() -> bool) {
        while self.poison.get().is_none() {
            match self.log.try_flush() {
                None => return,
                Some(Ok(durable)) => self.became_durable(durable),
                Some(Err(error)) => {
                    self.set_poison(&error);
                    return;
                }
            }
            if !self.log.has_pending() || !go_on() {
                return;
            }
        }
    }

    fn became_durable(&self, durable: Lsn) {
        let prunable = self.readers.set_visible(durable);
        let ready = {
            let mut parked = self.parked.lock();
            let rest = parked.split_off(&Lsn(durable.0 + 1));
            std::mem::replace(&mut *parked, rest)
        };
        self.visible_changed.notify_all();
        for reply in ready.into_values().flatten() {
            reply(Ok(()));
        }
        self.prune(prunable);
        self.threads.log_moved();
    }

    /// Blocks for a moment, or until the visible LSN moves.
    pub(crate) fn wait_a_moment(&self, timeout: Duration) {
        drop(wait_timeout(&self.visible_changed, self.parked.lock(), timeout));
    }

    /// Drops the versions of `pages` that nobody may need any more.
    pub(crate) fn prune(&self, mut pages: Vec<PageNo>) {
        if pages.is_empty() {
            return;
        }
        pages.sort_unstable();
        pages.dedup();
        let mut present = self.readers.present();
        pages.into_iter().for_each(|page| self.prune_page(page, &mut present));
        let max = self.options.old_versions_bytes_max as u64 / PAGE_BYTES as u64;
        while self.cache.old_versions() > max {
            let held = self.readers.expire_oldest();
            if held.is_empty() {
                return;
            }
            tracing::warn!("old versions passed their limit: the oldest snapshot was let down");
            let mut present = self.readers.present();
            held.into_iter().for_each(|page| self.prune_page(page, &mut present));
        }
    }

    fn prune_page(&self, page: PageNo, present: &mut Present) {
        let _one_at_a_time = self.cache.pruning(page);
        let Some(mut successor) = self.cache.newest(page).as_ref().cloned() else { return };
        while let Some(version) = successor.previous.load() {
            if successor.lsn > present.visible {
                // It comes again when its successor becomes visible.
                successor = version;
                continue;
            }
            match present.between(version.lsn, successor.lsn) {
                Some(reader) if self.readers.hold(reader, page) => successor = version,
                // That reader left since we asked; others may still be there.
                Some(_) => *present = self.readers.present(),
                None => self.cache.unlink(&successor, version),
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.threads.stop();
    }
}
