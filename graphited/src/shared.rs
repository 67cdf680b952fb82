//! What the reactor and the workers share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use graphite_graph::GraphDb;
use graphite_query::Budget;

use crate::config::Config;
use crate::events::Events;
use crate::interrupt::Interrupt;
use crate::job::Job;
use crate::resting::Room;
use crate::rows::Limits;
use crate::workers::Pool;
use crate::writers::Writers;

/// Threads for writes: one that runs a statement, one that may be leading a sync.
const WRITE_WORKERS: usize = 2;
/// Threads for administration, which live only while there is some.
const ADMIN_WORKERS_MAX: usize = 4;

/// What was done since the daemon started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Statements that were run.
    pub statements: AtomicU64,
    /// Transactions that were rolled back.
    pub aborts: AtomicU64,
    /// Transactions ever begun; the last one's number.
    pub transactions: AtomicU64,
}

/// What the reactor and the workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    // Constant after construction.
    /// All limits and timeouts.
    pub config: Config,
    /// The database's true path.
    pub database: PathBuf,
    /// When the daemon started.
    pub started: Instant,
    // Synchronise themselves.
    /// Whether a signal has asked the daemon to leave.
    pub asked_to_leave: AtomicBool,
    /// The database.
    pub db: GraphDb,
    /// The way to the reactor.
    pub events: Events,
    /// Who writes, and who waits to.
    pub writers: Writers<Box<Job>>,
    /// Memory for cursors that rest.
    pub cursor_room: Arc<Room>,
    /// Threads for reads.
    pub reads: Pool,
    /// Threads for writes.
    pub writes: Pool,
    /// Threads for administration.
    pub admin: Pool,
    /// For status.
    pub counters: Counters,
}

impl Shared {
    /// Nothing runs yet.
    pub(crate) fn new(config: Config, database: PathBuf, db: GraphDb, events: Events) -> Shared {
        let readers = match usize::try_from(config.read_workers) {
            Ok(0) | Err(_) => std::thread::available_parallelism().map_or(2, usize::from),
            Ok(readers) => readers,
        };
        Shared {
            cursor_room: Room::new(config.statement_bytes_max),
            config,
            database,
            started: Instant::now(),
            asked_to_leave: AtomicBool::new(false),
            db,
            events,
            writers: Writers::default(),
            reads: Pool::new("read", readers),
            writes: Pool::new("write", WRITE_WORKERS),
            admin: Pool::fleeting("admin", ADMIN_WORKERS_MAX),
            counters: Counters::default(),
        }
    }

    /// Has a job run on a worker.
    pub(crate) fn start(self: &Arc<Self>, job: Box<Job>) {
        let shared = self.clone();
        let pool = if job.is_for_writers() { &self.writes } else { &self.reads };
        pool.give(move || job.run(&shared));
    }

    /// The session gives the writer's turn up; whoever waited longest goes on.
    pub(crate) fn pass_turn(self: &Arc<Self>, session: u64) {
        if let Some(job) = self.writers.leave(session) {
            self.start(job);
        }
    }

    /// The limits of an answer.
    pub(crate) fn limits(&self, fetch: Option<u32>) -> Limits {
        Limits {
            rows: fetch.map_or(usize::MAX, |rows| rows as usize),
            bytes: to_usize(self.config.result_bytes_max),
            frame_bytes: self.frame_bytes_max(),
        }
    }

    /// Bytes that a frame may have.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        to_usize(self.config.frame_bytes_max)
    }

    /// What a statement on a worker may take.
    pub(crate) fn budget(&self, interrupt: &Interrupt) -> Budget {
        Budget::new(interrupt.flag().clone()).memory_bytes_max(self.config.statement_bytes_max)
    }

    /// A number for a new transaction.
    pub(crate) fn next_transaction(&self) -> u64 {
        self.counters.transactions.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A setting as a size; settings are checked to be within what memory can hold.
pub(crate) fn to_usize(setting: u64) -> usize {
    usize::try_from(setting).unwrap_or(usize::MAX)
}
