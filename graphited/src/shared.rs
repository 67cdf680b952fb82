//! What the reactor and the workers share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use graphite_graph::{GraphDb, Transaction};
use graphite_protocol::{ErrorCode, WireError};
use graphite_query::Budget;

use crate::admission::Admission;
use crate::config::Config;
use crate::errors;
use crate::events::Events;
use crate::interrupt::Interrupt;
use crate::job::Job;
use crate::people::People;
use crate::resting::Room;
use crate::rows::Limits;
use crate::slow::SlowStatements;
use crate::tokens::TokensUnderWay;
use crate::workers::{Pool, aside};

/// Threads for writes beside one for each transaction that may write: one that has ended a transaction may still lead a
/// sync while the next is admitted; and one is reserved before it is known whether there is a place.
const WRITE_WORKERS_SPARE: usize = 2;
/// Threads for administration, which live only while there is some.
const ADMIN_WORKERS_MAX: usize = 4;
/// The same for what may take minutes, which nobody who looks who waits for whom waits for.
const MAINTENANCE_WORKERS_MAX: usize = 2;

/// What was done since the daemon started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Statements that were run.
    pub statements: AtomicU64,
    /// Transactions that were rolled back.
    pub aborts: AtomicU64,
    /// Transactions ever begun; the last one's number.
    pub transactions: AtomicU64,
    /// Statements and idle transactions that took too long.
    pub timeouts: AtomicU64,
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
    /// Who may write, and who waits to.
    pub admission: Admission<Box<Job>>,
    /// Commits whose outcome may be asked for before it is there.
    pub tokens: Arc<TokensUnderWay>,
    /// Memory for cursors that rest.
    pub cursor_room: Arc<Room>,
    /// Threads for reads.
    pub reads: Pool,
    /// Threads for writes, one reserved for each session that is admitted.
    pub writes: Pool,
    /// Threads for administration.
    pub admin: Pool,
    /// Threads for checks and checkpoints that were asked for.
    pub maintenance: Pool,
    /// For status.
    pub counters: Counters,
    /// Who is behind a session.
    pub people: People,
    /// The last statements that took long.
    pub slow: SlowStatements,
}

impl Shared {
    /// Nothing runs yet.
    pub(crate) fn new(config: Config, database: PathBuf, db: GraphDb, events: Events) -> Shared {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let readers = match usize::try_from(config.read_workers) {
            Ok(0) | Err(_) => processors,
            Ok(readers) => readers,
        };
        let writers = to_usize(config.write_transactions_max);
        db.locks().put_waits_aside(Box::new(|wait| aside(wait)));
        // The reactor, the log and the clients need a processor as well.
        let writes = Pool::lingering("write", writers.saturating_add(WRITE_WORKERS_SPARE), processors - 1);
        let applies = db.clone();
        writes.after_tasks(move || applies.apply_waiting());
        Shared {
            slow: SlowStatements::new(config.slow_statement_ms),
            people: People::default(),
            cursor_room: Room::new(config.statement_bytes_max),
            config,
            database,
            started: Instant::now(),
            asked_to_leave: AtomicBool::new(false),
            db,
            events,
            admission: Admission::new(writers),
            tokens: Arc::default(),
            reads: Pool::new("read", readers),
            writes,
            admin: Pool::fleeting("admin", ADMIN_WORKERS_MAX),
            maintenance: Pool::fleeting("maintenance", MAINTENANCE_WORKERS_MAX),
            counters: Counters::default(),
        }
    }

    /// Drops what looks after the daemon and is not begun: whoever asked for it is gone.
    pub(crate) fn clear_administration(&self) {
        self.admin.clear();
        self.maintenance.clear();
    }

    /// Waits for all that was begun. Nothing uses the database after that.
    pub(crate) fn close_pools(&self) {
        for pool in [&self.admin, &self.maintenance, &self.reads, &self.writes] {
            pool.close();
        }
    }

    /// Has a job run on a worker.
    pub(crate) fn start(self: &Arc<Self>, job: Box<Job>) {
        let pool = if job.is_for_writers() { &self.writes } else { &self.reads };
        pool.give(self.task(job));
    }

    /// Has a job run on a worker of the pool for writes, which is called later: see [`Pool::give_uncalled`].
    pub(crate) fn start_soon(self: &Arc<Self>, job: Box<Job>) {
        debug_assert!(job.is_for_writers());
        self.writes.give_uncalled(self.task(job));
    }

    fn task(self: &Arc<Self>, job: Box<Job>) -> impl FnOnce() + Send + 'static {
        let shared = self.clone();
        move || {
            if let Some(unsent) = job.run(&shared) {
                unsent.send(&shared);
            }
        }
    }

    /// Admits the session to write, if a place is free.
    ///
    /// # Errors
    /// `busy` if the system has no thread that it could always have.
    pub(crate) fn try_admit(&self, session: u64) -> Result<bool, WireError> {
        self.reserve()?;
        let is_admitted = self.admission.try_enter(session);
        if !is_admitted {
            self.writes.release();
        }
        Ok(is_admitted)
    }

    /// Gives the job back if its session is admitted now. Else it is run as soon as that is so, unless it is taken out
    /// of the queue before.
    ///
    /// # Errors
    /// The job, and `busy` if the system has no thread that it could always have.
    pub(crate) fn admit(
        &self,
        session: u64,
        job: Box<Job>,
    ) -> Result<Option<Box<Job>>, (Box<Job>, WireError)> {
        // Before the session enters: others may be waiting behind it as soon as it has.
        if let Err(error) = self.reserve() {
            return Err((job, error));
        }
        let job = self.admission.enter(session, job);
        if job.is_none() {
            self.writes.release();
        }
        Ok(job)
    }

    fn reserve(&self) -> Result<(), WireError> {
        self.writes.reserve().map_err(|error| {
            let message = format!("the system has no thread for this: {error}; nothing was done");
            WireError::new(ErrorCode::Busy, message)
        })
    }

    /// The session's transaction has ended; whoever waited longest goes on, with the thread that was reserved.
    pub(crate) fn leave_admission(self: &Arc<Self>, session: u64) {
        match self.admission.leave(session) {
            Some(job) => self.start(job),
            None => self.writes.release(),
        }
    }

    /// Begins a write transaction of a session that is admitted. Its waits for locks end with the interrupt, and in time.
    ///
    /// # Errors
    /// Of the graph.
    pub(crate) fn begin(&self, session: u64, interrupt: &Interrupt) -> Result<Transaction, WireError> {
        let mut transaction = self.db.begin_tagged(session).map_err(|error| errors::of_graph(&error))?;
        transaction.set_lock_timeout(self.lock_timeout());
        interrupt.tie(transaction.lock_owner_canceller());
        Ok(transaction)
    }

    /// The longest wait for a lock.
    pub(crate) fn lock_timeout(&self) -> Option<Duration> {
        let ms = self.config.lock_timeout_ms;
        (ms > 0).then(|| Duration::from_millis(ms))
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
