//! Checkpoints: what bounds the log, and with it recovery.
//!
//! 1. Between two turns the redo point is set: a group of its own in the log. From here on the first change of a
//!    page is logged whole.
//! 2. Once that group is durable, the newest visible version of every page that was dirty is written to the file:
//!    at least as new as the redo point, never newer than what is durable.
//! 3. The file is synced. Then both superblock copies name the redo point, each synced. Then segments below it go.
//!
//! The crash argument: until the first superblock copy is whole, recovery starts from the old redo point, whose log
//! is still there and which has a full image of every page that step 2 may have torn. After it, everything below the
//! new redo point is in the file and synced.
//!
//! Pages may be written at other times as well, to make room in the cache: the same argument holds.

mod progress;

use std::time::Duration;

pub(crate) use progress::Progress;
pub use progress::{CheckpointPhase, CheckpointProgress};

use crate::cache::PageVersion;
use crate::page::{Lsn, PAGE_BYTES, PageNo};
use crate::pager::STATE_PAGE;
use crate::store::{Inner, SEGMENTS, Store};
use crate::superblock::Superblock;
use crate::sync::{Arc, MutexGuard, Ordering};
use crate::wal::group::{GROUP_HEADER_BYTES, GroupBuilder, GroupKind};
use crate::wal::log::LogEnd;
use crate::wal::segments::Unprepared;
use crate::{Error, Result};

/// Dirty pages looked at between two pauses.
const BATCH_PAGES: usize = 256;
/// Pages written with one call.
pub(crate) const RUN_PAGES_MAX: usize = 64;
/// Pause after a batch of a checkpoint that has time.
const PAUSE: Duration = Duration::from_millis(5);
/// Unused segment files kept for reuse.
const SPARES_MAX: usize = 4;

/// Whether a checkpoint leaves the disk to others between batches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Gentle,
    Fast,
}

impl Store {
    /// Writes everything that is durable to the file, and lets the log go up to there.
    ///
    /// # Errors
    /// [`Error::DiskFull`] if there is no room for the checkpoint's group; a failed write or sync poisons the database.
    pub fn checkpoint(&self) -> Result<()> {
        self.inner.checkpoint(Pace::Fast)
    }
}

impl Inner {
    pub(crate) fn checkpoint(&self, pace: Pace) -> Result<()> {
        self.checkpoint_unless(pace, || false)
    }

    /// As [`Inner::checkpoint`], but not if `is_enough` says, once nobody else is at it, that the last one did.
    pub(crate) fn checkpoint_unless(&self, pace: Pace, is_enough: impl Fn() -> bool) -> Result<()> {
        let superblock = self.checkpointing.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if is_enough() { Ok(()) } else { self.checkpoint_with(superblock, pace) }
    }

    fn checkpoint_with(&self, mut superblock: MutexGuard<'_, Superblock>, pace: Pace) -> Result<()> {
        self.check_poison()?;
        let started = self.clock.now();
        let under_way = self.checkpoint_progress.begin(started);
        let point = self.set_redo_point()?;
        self.flush_log()?;
        self.checkpoint_progress.set_total(self.cache.dirty_pages());
        self.checkpoint_progress.enter(CheckpointPhase::Writing);
        self.write_back(pace)?;
        self.checkpoint_progress.enter(CheckpointPhase::Syncing);
        self.sync_file()?;
        self.write_superblock(&mut superblock, point)?;
        self.log.segments.recycle_below(point.end, SPARES_MAX).map_err(|e| self.set_poison(&e))?;
        self.counters.checkpoints.fetch_add(1, Ordering::Relaxed);
        let ended = self.clock.now();
        *self.last_checkpoint.lock() = Some((ended, ended.saturating_sub(started)));
        // Before somebody else begins one.
        drop(under_way);
        drop(superblock);
        self.cache.evict();
        Ok(())
    }

    /// The redo point, and the checksum of the group before it.
    fn set_redo_point(&self) -> Result<LogEnd> {
        let mut applier = self.applier.lock();
        let at = self.log.end();
        self.append_empty(GroupKind::Checkpoint)?;
        applier.redo = at.end;
        Ok(at)
    }

    /// Appends a group without records; the caller holds the applier's lock.
    fn append_empty(&self, kind: GroupKind) -> Result<()> {
        let start = self.log.end().end;
        let end = Lsn(start.0 + GROUP_HEADER_BYTES as u64);
        self.prepare_log(start, end)?;
        self.readers.set_applied(end, std::iter::empty());
        let (appended, _) = self.log.append(GroupBuilder::new(Vec::new()), kind, None);
        assert_eq!(appended, end, "only the applier appends");
        Ok(())
    }

    /// Lets the log itself say that its last group is durable, so that later damage to it is known as such. What is not
    /// durable yet, be it that nobody waits for it or that a flush is under way, is made so first: `false` says that the
    /// mark is to come.
    pub(crate) fn mark(&self) -> Result<bool> {
        let is_mark = {
            let _applier = self.applier.lock();
            let is_durable = self.log.durable() == self.log.end().end;
            if self.poison.get().is_some() || (is_durable && !self.log.wants_mark()) {
                return Ok(true);
            }
            if is_durable {
                self.append_empty(GroupKind::Mark)?;
            }
            is_durable
        };
        self.flush_log()?;
        Ok(is_mark)
    }

    /// Writes the newest visible version of every dirty page. The caller holds `checkpointing`.
    pub(crate) fn write_back(&self, pace: Pace) -> Result<()> {
        let mut from = PageNo(STATE_PAGE.0 + 1);
        loop {
            let batch = self.cache.dirty_from(from, BATCH_PAGES);
            let Some(&last) = batch.last() else { return Ok(()) };
            from = PageNo(last.0.saturating_add(1));
            let mut run: Vec<Arc<PageVersion>> = Vec::with_capacity(RUN_PAGES_MAX);
            for number in batch {
                let Some(version) = self.newest_visible(number) else { continue };
                if version.in_file.load(Ordering::Acquire) {
                    continue;
                }
                let goes_on = run.last().is_none_or(|before| before.page.number().0 + 1 == number.0);
                if !goes_on || run.len() == RUN_PAGES_MAX {
                    self.write_run(&mut run)?;
                }
                run.push(version);
            }
            self.write_run(&mut run)?;
            if pace == Pace::Gentle && !self.log_is_pressing() {
                self.wait_a_moment(PAUSE);
            }
        }
    }

    fn newest_visible(&self, number: PageNo) -> Option<Arc<PageVersion>> {
        // Asked what is visible while nobody shortens the chain: a pruner who knew of a newer state may else have taken
        // the version that the older one would show.
        let _pruning = self.cache.pruning(number);
        let visible = self.readers.visible();
        let mut version = self.cache.newest(number).as_ref().cloned();
        while let Some(candidate) = version {
            if candidate.lsn <= visible {
                return Some(candidate);
            }
            version = candidate.previous.load();
        }
        None
    }

    fn write_run(&self, run: &mut Vec<Arc<PageVersion>>) -> Result<()> {
        let Some(first) = run.first() else { return Ok(()) };
        let start = first.page.number();
        let mut bytes = Vec::with_capacity(run.len() * PAGE_BYTES);
        for version in run.iter() {
            assert!(version.lsn <= self.readers.visible(), "log before page");
            bytes.extend_from_slice(version.page.clone().seal());
        }
        self.write_pages(start, &bytes)?;
        self.checkpoint_progress.add_done(run.len());
        run.drain(..).for_each(|version| self.cache.written(&version));
        Ok(())
    }

    /// Writes sealed pages that follow each other, from `start` on. A failure poisons.
    pub(crate) fn write_pages(&self, start: PageNo, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_at(bytes, start.offset());
        written.map_err(|e| self.set_poison(&Error::io("write", &self.path, &e)))?;
        self.counters.page_writes.fetch_add((bytes.len() / PAGE_BYTES) as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Makes what was written to the file durable. One sync at a time, and none after one that failed: the failure of
    /// a write behind our back is told to one of them only, and the next would say yes to bytes that are lost.
    pub(crate) fn sync_file(&self) -> Result<()> {
        if self.options.durable {
            let _whoever_is_told = self.syncing.lock();
            self.check_poison()?;
            self.file.sync().map_err(|e| self.set_poison(&Error::io("sync", &self.path, &e)))?;
            self.counters.file_syncs.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes both copies, with a sync each.
    fn write_copies(&self, superblock: &mut Superblock) -> Result<()> {
        let _whoever_is_told = self.syncing.lock();
        self.check_poison()?;
        superblock.write(&*self.file, &self.path, self.options.durable).map_err(|e| self.set_poison(&e))
    }

    fn write_superblock(&self, superblock: &mut MutexGuard<'_, Superblock>, point: LogEnd) -> Result<()> {
        let state = self.newest_visible(STATE_PAGE).expect("the state page is never evicted");
        superblock.clean_end = None;
        superblock.redo = point.end;
        superblock.redo_chain = point.chain;
        superblock.state = state.page.clone();
        self.write_copies(superblock)?;
        self.redo.store(point.end.0, Ordering::Release);
        self.cache.written(&state);
        Ok(())
    }

    /// Bytes that the log's segments may take on disk. This is what the log was made with, and not what the options of
    /// this life say: a turn that asked for more than this log ever has would wait for ever.
    pub(crate) fn log_bytes_max(&self) -> u64 {
        self.log.segments.segment_bytes() * SEGMENTS
    }

    /// As [`Store::transaction_bytes_max`]. It has to fit an empty log, with the segment of the redo point and one more.
    pub(crate) fn transaction_bytes_max(&self) -> u64 {
        (self.log_bytes_max() / 4).min(self.options.cache_bytes as u64 / 2)
    }

    /// Bytes of log that segments may hold.
    fn log_capacity(&self) -> u64 {
        self.log.segments.payload() * SEGMENTS
    }

    fn log_used(&self) -> u64 {
        let kept = self.log.segments.kept_from();
        let end = self.log.end().end;
        // Without a segment nothing is kept: the next one begins at the end.
        end.0 - kept.unwrap_or(end).0
    }

    /// Whether any one turn may still commit, and a checkpoint after it.
    pub(crate) fn log_has_room(&self) -> bool {
        let reserve = self.transaction_bytes_max() + self.log.segments.payload();
        self.log_used() + reserve <= self.log_capacity()
    }

    fn log_is_pressing(&self) -> bool {
        self.log_used() > self.log_capacity() / 2
    }

    /// Whether it is time for the checkpointer.
    pub(crate) fn checkpoint_is_due(&self) -> bool {
        let since_redo = self.log.end().end.0.saturating_sub(self.redo.load(Ordering::Relaxed));
        since_redo > self.log_capacity() / 3 || self.dirty_is_pressing()
    }

    fn dirty_is_pressing(&self) -> bool {
        self.cache.dirty_pages() * PAGE_BYTES > self.cache.bytes_max() / 2
    }

    /// Called after each commit: wakes the threads that something is due for.
    pub(crate) fn wake_threads(&self) {
        if !self.threads.running() {
            return;
        }
        if self.checkpoint_is_due() {
            self.threads.wake_checkpointer();
        }
        if self.next_segment_is_due() {
            self.threads.wake_to_prepare();
        }
    }

    fn next_segment_is_due(&self) -> bool {
        let ahead =
            self.log.segments.prepared_end().unwrap_or_default().0.saturating_sub(self.log.end().end.0);
        ahead < self.log.segments.payload() / 2
    }

    /// Prepares the segment after the current one, so that no commit has to wait for it.
    pub(crate) fn prepare_ahead(&self) -> Result<()> {
        let end = self.log.end().end;
        self.prepare_log(end, Lsn(end.0 + self.log.segments.payload()))
    }

    /// Makes sure that the log has room up to `end`. A full disk refuses; a failed write or sync poisons.
    pub(crate) fn prepare_log(&self, start: Lsn, end: Lsn) -> Result<()> {
        self.log.segments.prepare(start, end).map_err(|unprepared| match unprepared {
            Unprepared::Refused(error) => error,
            Unprepared::Failed(error) => self.set_poison(&error),
        })
    }

    /// Writes dirty pages while they keep the cache above its limit.
    pub(crate) fn make_room_in_cache(&self) -> Result<()> {
        if self.cache.resident_bytes() <= self.cache.bytes_max() {
            return Ok(());
        }
        // Versions above what is durable cannot go, however many newer ones there are: so first that has to move.
        if self.log.has_pending() {
            self.flush_log()?;
        }
        self.cache.evict();
        if self.cache.resident_bytes() <= self.cache.bytes_max() || !self.dirty_is_pressing() {
            return Ok(());
        }
        let _superblock = self.checkpointing.lock();
        self.flush_log()?;
        self.write_back(Pace::Fast)?;
        self.cache.evict();
        Ok(())
    }

    /// The last checkpoint of a life, after which nothing is appended any more. If it fails, whoever closes again tries
    /// again.
    pub(crate) fn close_cleanly(&self) -> Result<()> {
        {
            let _applier = self.applier.lock();
            self.closed.store(true, Ordering::Release);
        }
        let superblock = self.checkpointing.lock();
        if superblock.clean_end.is_some() {
            // It was written, or its write has poisoned the database.
            return self.check_poison();
        }
        self.checkpoint_with(superblock, Pace::Fast)?;
        let mut superblock = self.checkpointing.lock();
        let at = self.log.end();
        superblock.clean_end = Some((at.end, at.chain));
        self.write_copies(&mut superblock)
    }
}

#[cfg(test)]
mod tests;
