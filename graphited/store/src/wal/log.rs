//! The log's moving end: a buffer that the applier appends groups to, and the flush that makes them durable.
//!
//! Invariants:
//! 1. Only the applier appends, in its turn; so the chain of checksums and LSNs is built by one hand.
//! 2. `durable <= end`; bytes between the two are in the buffer or on their way to the disk.
//! 3. Whoever holds `flusher` writes and syncs, and does it for everybody: all that was appended until it takes the
//!    buffer goes out with one sync per segment.
//! 4. After the first failed write or sync nothing is written any more: whoever comes to flush next gets the same error,
//!    even before the caller has poisoned the database. What stood behind the hole would else count as durable.

use super::group::{GroupBuilder, GroupKind};
use super::segments::Segments;
use crate::cache::Reservation;
use crate::clock::Clock;
use crate::histogram::Latencies;
use crate::page::Lsn;
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::{Error, Result};

/// Room that an empty buffer keeps: one huge group should not pin its memory for ever.
pub(crate) const BUFFER_BYTES_KEPT: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Log {
    // Constant after construction.
    pub(crate) segments: Segments,
    pub(crate) epoch: u64,
    /// What syncs are timed by, if they are.
    clock: Option<Arc<dyn Clock>>,
    // Synchronises itself: raised only by the flusher.
    durable: AtomicU64,
    /// Number of syncs that made groups durable.
    pub(crate) flushes: AtomicU64,
    /// How long each write with its sync took.
    pub(crate) sync_times: Latencies,
    // Held for moments: an append or the taking of the buffer.
    tail: Mutex<Tail>,
    // Held during a write and its sync.
    flusher: Mutex<Flusher>,
}

#[derive(Debug, Default)]
struct Flusher {
    /// The buffer that is not the tail's.
    spare: Vec<u8>,
    /// The first failure.
    failed: Option<Error>,
}

#[derive(Debug)]
struct Tail {
    /// Bytes of `start..end`.
    buffer: Vec<u8>,
    start: Lsn,
    end: Lsn,
    /// Memory reserved for what the buffer holds.
    reserved: Vec<Reservation>,
    /// Checksum of the last group.
    chain: u32,
    /// The last group does nothing but say what is durable.
    ends_with_mark: bool,
    /// Something was appended since [`Log::moved_since_asked`] was last called.
    moved: bool,
}

/// Where the log stands after recovery or creation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEnd {
    pub(crate) end: Lsn,
    pub(crate) chain: u32,
}

impl Log {
    /// A log that goes on at `at`, all before which is durable.
    pub(crate) fn new(segments: Segments, epoch: u64, at: LogEnd) -> Log {
        let tail = Tail {
            buffer: Vec::new(),
            start: at.end,
            end: at.end,
            reserved: Vec::new(),
            chain: at.chain,
            ends_with_mark: true,
            moved: false,
        };
        Log {
            segments,
            epoch,
            clock: None,
            sync_times: Latencies::default(),
            durable: AtomicU64::new(at.end.0),
            flushes: AtomicU64::new(0),
            tail: Mutex::new(tail),
            flusher: Mutex::default(),
        }
    }

    /// The same log, whose syncs are timed.
    pub(crate) fn timed_by(mut self, clock: Arc<dyn Clock>) -> Log {
        self.clock = Some(clock);
        self
    }

    /// Everything below is on disk and synced.
    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// The end, and the checksum of the last group.
    pub(crate) fn end(&self) -> LogEnd {
        let tail = self.tail.lock();
        LogEnd { end: tail.end, chain: tail.chain }
    }

    /// Appends a group; the caller is the applier, has prepared segments for it, and knows that it ends at the
    /// returned LSN.
    ///
    /// Memory that was reserved for the group counts until it is flushed. Also gives a buffer back, to be used again.
    pub(crate) fn append(
        &self,
        builder: GroupBuilder,
        kind: GroupKind,
        reserved: Option<Reservation>,
    ) -> (Lsn, Vec<u8>) {
        let durable = self.durable();
        let mut tail = self.tail.lock();
        let (mut bytes, checksum) = builder.finish(kind, tail.end, self.epoch, durable, tail.chain);
        tail.end = Lsn(tail.end.0 + bytes.len() as u64);
        if tail.buffer.is_empty() {
            // A group may be large, so it is not copied without need.
            std::mem::swap(&mut tail.buffer, &mut bytes);
        } else {
            tail.buffer.extend_from_slice(&bytes);
        }
        tail.reserved.extend(reserved);
        tail.chain = checksum;
        tail.moved = true;
        tail.ends_with_mark = kind == GroupKind::Mark;
        (tail.end, bytes)
    }

    /// Whether appended bytes wait for a flush.
    pub(crate) fn has_pending(&self) -> bool {
        !self.tail.lock().buffer.is_empty()
    }

    /// Whether the last group is not yet known as durable by the log itself.
    pub(crate) fn wants_mark(&self) -> bool {
        !self.tail.lock().ends_with_mark
    }

    /// Whether anything was appended since the last call.
    pub(crate) fn moved_since_asked(&self) -> bool {
        std::mem::take(&mut self.tail.lock().moved)
    }

    /// Writes and syncs what was appended so far; returns the durable LSN. Waits for a flush under way.
    pub(crate) fn flush(&self) -> Result<Lsn> {
        self.flush_with(self.flusher.lock())
    }

    /// As [`Log::flush`], but `None` at once if somebody else is flushing.
    pub(crate) fn try_flush(&self) -> Option<Result<Lsn>> {
        Some(self.flush_with(self.flusher.try_lock()?))
    }

    fn flush_with(&self, mut flusher: MutexGuard<'_, Flusher>) -> Result<Lsn> {
        if let Some(error) = &flusher.failed {
            return Err(error.clone());
        }
        let (start, end, reserved) = {
            let mut tail = self.tail.lock();
            std::mem::swap(&mut tail.buffer, &mut flusher.spare);
            let start = tail.start;
            tail.start = tail.end;
            (start, tail.end, std::mem::take(&mut tail.reserved))
        };
        if start < end {
            let began = self.clock.as_ref().map(|clock| clock.now());
            if let Err(error) = self.segments.write_synced(start, &flusher.spare) {
                flusher.failed = Some(error.clone());
                return Err(error);
            }
            self.flushes.fetch_add(1, Ordering::Relaxed);
            if let (Some(clock), Some(began)) = (&self.clock, began) {
                self.sync_times.add(clock.now().saturating_sub(began));
            }
            self.durable.store(end.0, Ordering::Release);
        }
        flusher.spare.clear();
        flusher.spare.shrink_to(BUFFER_BYTES_KEPT);
        drop(reserved);
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cache::Cache;
    use crate::disk::{Disk, Fault, OpKind, SimDisk};
    use crate::page::DatabaseId;
    /// Who waited for the flusher while its flush failed comes next, perhaps before anybody has poisoned the database.
    #[test]
    fn after_a_failed_flush_nothing_is_written_behind_the_hole() {
        for kind in [OpKind::Write, OpKind::Sync] {
            let disk = SimDisk::new();
            disk.create_dir(Path::new("/wal")).unwrap();
            let segments =
                Segments::new(Arc::new(disk.clone()), "/wal".into(), DatabaseId(1), 64 << 10, true);
            segments.prepare(Lsn(0), Lsn(1)).unwrap();
            let log = Log::new(segments, 1, LogEnd { end: Lsn(0), chain: 0 });
            let append = || log.append(GroupBuilder::new(Vec::new()), GroupKind::Commit, None);
            append();
            let durable = log.flush().unwrap();
            append();
            disk.inject(Fault::on(kind));
            assert!(log.flush().is_err());
            append();
            assert!(log.flush().is_err(), "the groups before it are not on the disk");
            assert!(log.try_flush().is_some_and(|result| result.is_err()));
            assert_eq!(log.durable(), durable);
        }
    }

    #[test]
    fn memory_reserved_for_a_group_counts_until_the_group_is_flushed() {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("/wal")).unwrap();
        let segments = Segments::new(Arc::new(disk), "/wal".into(), DatabaseId(1), 64 << 10, true);
        segments.prepare(Lsn(0), Lsn(1)).unwrap();
        let log = Log::new(segments, 1, LogEnd { end: Lsn(0), chain: 0 });
        let cache = Cache::new(1 << 20);
        for bytes in [1000, 100] {
            let mut reservation = cache.reserve(1000);
            reservation.shrink_to(bytes);
            log.append(GroupBuilder::new(Vec::new()), GroupKind::Commit, Some(reservation));
        }
        assert_eq!(cache.resident_bytes(), 1100);
        log.flush().unwrap();
        assert_eq!(cache.resident_bytes(), 0);
    }
}
