//! How far the checkpoint is that is under way, for whoever watches.
//!
//! Written by the one thread that makes a checkpoint and read by anybody at any time, each number for itself: what is
//! shown is a measure of progress and nothing is decided by it.

use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// What a checkpoint is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckpointPhase {
    /// None is under way.
    #[default]
    Idle,
    /// It sets the redo point, and syncs the log up to there.
    Starting,
    /// It writes pages.
    Writing,
    /// It syncs the file, writes the superblock and frees the log.
    Syncing,
}

const PHASES: [CheckpointPhase; 4] =
    [CheckpointPhase::Idle, CheckpointPhase::Starting, CheckpointPhase::Writing, CheckpointPhase::Syncing];

/// How far a checkpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointProgress {
    /// What it is doing.
    pub phase: CheckpointPhase,
    /// Pages that it has written; of the last one, if none is under way.
    pub pages_done: u64,
    /// Pages that were to be written when it began to write, or more if it has written more.
    pub pages_total: u64,
    /// When it began, on the store's clock; of the last one, if none is under way.
    pub started: Duration,
}

#[derive(Debug)]
pub(crate) struct Progress {
    phase: AtomicU64,
    done: AtomicU64,
    total: AtomicU64,
    started_ns: AtomicU64,
}

/// Ends the progress of a checkpoint however that ends.
pub(crate) struct UnderWay<'a>(&'a Progress);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.enter(CheckpointPhase::Idle);
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress {
            phase: AtomicU64::new(0),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            started_ns: AtomicU64::new(0),
        }
    }
}

impl Progress {
    pub(crate) fn begin(&self, now: Duration) -> UnderWay<'_> {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(0, Ordering::Relaxed);
        self.started_ns.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.enter(CheckpointPhase::Starting);
        UnderWay(self)
    }

    pub(crate) fn enter(&self, phase: CheckpointPhase) {
        self.phase.store(phase as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_total(&self, pages: usize) {
        self.total.store(pages as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_done(&self, pages: usize) {
        self.done.fetch_add(pages as u64, Ordering::Relaxed);
    }

    pub(crate) fn look(&self) -> CheckpointProgress {
        let phase = usize::try_from(self.phase.load(Ordering::Relaxed)).ok();
        let pages_done = self.done.load(Ordering::Relaxed);
        CheckpointProgress {
            phase: phase.and_then(|phase| PHASES.get(phase)).copied().unwrap_or_default(),
            pages_done,
            pages_total: self.total.load(Ordering::Relaxed).max(pages_done),
            started: Duration::from_nanos(self.started_ns.load(Ordering::Relaxed)),
        }
    }
}
