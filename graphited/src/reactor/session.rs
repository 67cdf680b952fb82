//! A session as the reactor knows it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use graphite_protocol::messages::{Session as Row, SessionState as Word};
use graphite_protocol::{FrameReader, WireError};
use graphite_query::Budget;
use graphite_store::Lsn;

use crate::connection::{Connection, Peer};
use crate::interrupt::Interrupt;
use crate::plans::{DecodedRun, PlanCache, Prepared};
use crate::shared::{Shared, to_usize};
use crate::state::{SessionState, TransactionInfo};

/// Rows and edges that a statement may look at on the reactor.
const QUICK_STEPS_MAX: u64 = 16_384;

/// What a session is doing.
#[derive(Debug)]
pub(super) enum Doing {
    /// Nothing; its state is here.
    Nothing,
    /// A worker has a request, and the state with it.
    Working {
        /// Whether it can be stopped.
        interruptible: bool,
        /// Whether it ends the transaction by a commit.
        commits: bool,
    },
    /// A request waits for its session to be admitted to write, and the state with it.
    AwaitsAdmission,
    /// A worker decodes a long request.
    Decoding,
    /// A read waits for the session's own commit to become visible.
    AwaitsOwnCommit(Box<(u32, Postponed)>),
}

/// What waits for the session's own commit.
#[derive(Debug)]
pub(super) enum Postponed {
    /// A plan that only reads.
    Run(DecodedRun),
    /// The beginning of a transaction that only reads.
    BeginRead,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    // Constant after construction.
    pub(super) connection: Arc<Connection>,
    pub(super) peer: Peer,
    pub(super) connected: Instant,
    pub(super) interrupt: Arc<Interrupt>,
    /// For statements that are run on the reactor.
    pub(super) quick_budget: Budget,
    /// The error that answers everything: it was let in only to be told.
    pub(super) refusal: Option<WireError>,

    /// What the client calls itself; `None` until it said hello.
    pub(super) client: Option<String>,
    pub(super) reader: FrameReader,
    /// The socket may have more to read.
    pub(super) readable: bool,
    /// The socket was full, and the reactor wants to know when it has room. Only then: else each answer that the
    /// client reads would wake the reactor for nothing.
    pub(super) awaits_room: bool,
    /// The client has closed its way to us; there may be bytes before that end.
    pub(super) read_closed: bool,
    /// The client will send no more.
    pub(super) at_end: bool,
    /// The daemon leaves, and has rolled back what the session had open.
    pub(super) is_leaving: bool,
    /// It goes when its last answer has left.
    pub(super) closing: bool,
    /// Nobody is there any more; it goes when its state is back.
    pub(super) gone: bool,
    /// It is in the list of those to be looked at.
    pub(super) scheduled: bool,

    pub(super) doing: Doing,
    /// Away while a worker has it, or it waits to be admitted.
    pub(super) state: Option<SessionState>,
    /// Frames of requests that wait for the one that is done now.
    pub(super) waiting: VecDeque<Vec<u8>>,
    pub(super) waiting_bytes: usize,
    pub(super) plans: PlanCache,
    pub(super) transaction: Option<TransactionInfo>,
    /// What it runs, or ran last, and since when.
    pub(super) statement: Option<(Arc<Prepared>, Instant)>,
    /// How many statements it has run, that one among them.
    pub(super) statement_number: u64,
    /// It has the place that is kept for a monitor.
    pub(super) is_reserved: bool,
    /// How often it is sent a picture.
    pub(super) watch: Option<Duration>,
    /// Its newest commit.
    pub(super) own_commit: Lsn,
    /// When it was last heard of.
    pub(super) last_active: Instant,
    /// How much had left when the deadline for the client to read something was set.
    pub(super) stalled_at: u64,
}

impl Session {
    pub(super) fn new(
        connection: Connection,
        peer: Peer,
        refusal: Option<WireError>,
        shared: &Shared,
    ) -> Session {
        let interrupt = Arc::new(Interrupt::default());
        let now = Instant::now();
        Session {
            connection: Arc::new(connection),
            peer,
            connected: now,
            quick_budget: Budget::new(interrupt.flag().clone()).steps_max(QUICK_STEPS_MAX),
            interrupt,
            refusal,
            client: None,
            reader: FrameReader::new(shared.frame_bytes_max()),
            readable: true,
            awaits_room: false,
            read_closed: false,
            at_end: false,
            is_leaving: false,
            closing: false,
            gone: false,
            scheduled: false,
            doing: Doing::Nothing,
            state: Some(SessionState::default()),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            plans: PlanCache::new(to_usize(shared.config.plan_cache_entries)),
            transaction: None,
            statement: None,
            statement_number: 0,
            is_reserved: false,
            watch: None,
            own_commit: Lsn(0),
            last_active: now,
            stalled_at: 0,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.connection.session
    }

    /// Whether the next request may be executed.
    pub(super) fn is_free(&self) -> bool {
        matches!(self.doing, Doing::Nothing)
    }

    /// Keeps a frame until the earlier requests are done.
    pub(super) fn keep_waiting(&mut self, frame: &[u8]) {
        self.waiting_bytes += frame.len();
        self.waiting.push_back(frame.to_owned());
    }

    /// Whether everything that it was asked is answered and has left.
    pub(super) fn is_quiet(&self) -> bool {
        // First: an answer is in the outbox before its request is not under way any more.
        self.connection.overtaking() == 0
            && self.is_free()
            && self.waiting.is_empty()
            && self.connection.outbox.parked() == 0
            && self.connection.outbox.waiting_bytes() == 0
    }

    /// Requests that were sent and are not answered.
    fn requests(&self) -> u64 {
        let running = u64::from(!self.is_free());
        running + self.waiting.len() as u64 + self.connection.outbox.parked() as u64
    }

    fn word(&self) -> Word {
        match self.doing {
            Doing::Working { commits: true, .. } | Doing::AwaitsOwnCommit(_) => Word::Committing,
            Doing::Working { .. } | Doing::Decoding => Word::Active,
            Doing::AwaitsAdmission => Word::Waiting,
            Doing::Nothing if self.connection.outbox.parked() > 0 => Word::Committing,
            Doing::Nothing if self.transaction.is_some() => Word::IdleInTransaction,
            Doing::Nothing => Word::Idle,
        }
    }

    /// The session as `sessions` shows it, but for what others know; `writers` are admitted.
    pub(super) fn row(&self, now: Instant, writers: &[u64]) -> Row {
        let ms = |since: Instant| {
            u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX)
        };
        let state = match self.word() {
            // A place became free, and its worker has gone on with it.
            Word::Waiting if writers.contains(&self.id()) => Word::Active,
            word => word,
        };
        let waits = state == Word::Waiting;
        let statement = self.statement.as_ref().filter(|_| self.transaction.is_some() || state != Word::Idle);
        Row {
            session: self.id(),
            pid: self.peer.pid,
            uid: self.peer.uid,
            user: None,
            client: self.client.clone().unwrap_or_default(),
            state,
            connected_ms: ms(self.connected),
            transaction: self.transaction.map(|info| info.id),
            mode: self.transaction.map(|info| info.mode),
            transaction_ms: self.transaction.map(|info| ms(info.since)),
            snapshot_lsn: self.transaction.and_then(|info| info.snapshot_lsn),
            statement: statement.map(|(prepared, _)| prepared.text.to_string()),
            statement_ms: statement.map(|(_, since)| ms(*since)),
            waits_for: waits.then(|| ADMISSION.to_owned()),
            wait_ms: statement.filter(|_| waits).map(|(_, since)| ms(*since)),
            blocked_by: Vec::new(),
            locks: 0,
            requests: self.requests(),
            outbox_bytes: self.connection.outbox.waiting_bytes() as u64,
            statement_number: self.statement_number,
            awaits_admission: waits,
            rollback_in_ms: None,
            wait_ends_in_ms: None,
            is_admin: self.peer.is_admin(),
            is_reserved: self.is_reserved,
        }
    }
}

/// What a session waits for while as many write as may.
pub(super) const ADMISSION: &str = "a place among those who may write";
