//! What becomes of a request: answered here, given to a worker, or kept until an earlier one is done.

use std::time::{Duration, Instant};

use graphite_graph::NodeId;
use graphite_protocol::message::{Body, Message, request_msgid};
use graphite_protocol::messages::{
    Call, Commit, Empty, Hello, HelloReply, ImportEdges, ImportNodes, Mode, Request, Run,
};
use graphite_protocol::{ErrorCode, PROTOCOL_VERSION, WireError};

use super::Core;
use super::leave::Phase;
use super::session::{Doing, Postponed, Session};
use super::transactions::Readable;
use super::watch::only_watching;
use crate::errors::{self, unsupported};
use crate::events::Event;
use crate::import::ImportWork;
use crate::interrupt::Reason;
use crate::job::{Cost, Job, Work, failed_before, no_cursor};
use crate::lookup;
use crate::people::Person;
use crate::plans::{DecodedRun, PlanCache, Prepared};
use crate::rows::{Failure, Rows};
use crate::state::{HeldSnapshot, Open, Source};
use crate::timers::Kind;
use graphite_store::Lsn;

/// Longest params of `run` that are decoded on the reactor, in bytes.
const QUICK_DECODE_BYTES_MAX: usize = 32 << 10;
/// Pages that a statement may look at on the reactor, all of them in memory: at worst about 200 us of walking, if all
/// are full of edges. A worker would have to be woken, which takes as long as some hundred looks at a page.
const QUICK_PAGES_MAX: u32 = 256;
/// Name and version of this daemon, as clients see it.
pub(super) const SERVER: &str = concat!("graphited/", env!("CARGO_PKG_VERSION"));
/// Most bytes of a client's name that are kept.
const CLIENT_BYTES_MAX: usize = 128;

type Result<T> = std::result::Result<T, WireError>;

impl Core {
    /// Handles one frame of a session.
    pub(super) fn handle(&mut self, session: &mut Session, frame: &[u8]) {
        let (msgid, method, params) = match Message::read(frame) {
            Ok(Message::Request { msgid, method, params }) => (msgid, method, params),
            // Its error comes in its place, as any answer does.
            _ if !session.is_free() => return session.keep_waiting(frame),
            Ok(_) => {
                let error =
                    WireError::new(ErrorCode::BadRequest, "a client sends requests, and this is none");
                return self.close_with(session, 0, &error);
            }
            Err(error) => {
                let error = WireError::from(error);
                return match request_msgid(frame) {
                    Some(msgid) => self.reply_error(session, msgid, &error),
                    // Nobody could tell which request an answer would belong to.
                    None => self.close_with(session, 0, &error),
                };
            }
        };
        if let Some(refusal) = session.refusal.clone()
            && !self.takes_reserve(session, method, params)
        {
            return self.close_with(session, msgid, &refusal);
        }
        if session.client.is_none() || (method == Hello::METHOD && session.is_free()) {
            return self.hello(session, msgid, method, params);
        }
        if self.overtakes(session, msgid, method, params) {
            return;
        }
        if session.is_reserved {
            return self.refuse_now(session, msgid, &only_watching(method));
        }
        if !session.is_free() {
            return session.keep_waiting(frame);
        }
        if let Err(error) = self.execute(session, msgid, method, params) {
            self.refuse(session, msgid, &error);
        }
    }

    /// Answers with an error of a request that has not reached a worker. A statement that fails so fails its transaction,
    /// as any other does; a request that makes no sense where it stands was none.
    fn refuse(&mut self, session: &mut Session, msgid: u32, error: &WireError) {
        let was_a_statement = !matches!(
            error.code,
            ErrorCode::BadRequest
                | ErrorCode::Unsupported
                | ErrorCode::NoTransaction
                | ErrorCode::TransactionOpen
                | ErrorCode::ReadOnlyTransaction
        );
        if was_a_statement {
            self.fail_writing(session, failed_before());
        }
        self.reply_error(session, msgid, error);
    }

    fn hello(&mut self, session: &mut Session, msgid: u32, method: &str, params: Body<'_>) {
        if method != Hello::METHOD {
            let error =
                WireError::new(ErrorCode::HelloExpected, format!("hello comes first, and not {method}"));
            return self.close_with(session, msgid, &error);
        }
        if session.client.is_some() {
            let error = WireError::new(ErrorCode::HelloExpected, "hello was said already");
            return self.reply_error(session, msgid, &error);
        }
        let hello: Hello = match params.read() {
            Ok(hello) => hello,
            Err(error) => return self.close_with(session, msgid, &error.within(method).into()),
        };
        if hello.protocol != PROTOCOL_VERSION {
            let error = WireError::version_mismatch(hello.protocol, PROTOCOL_VERSION, SERVER);
            return self.close_with(session, msgid, &error);
        }
        let mut client = hello.client;
        client.truncate(client.floor_char_boundary(CLIENT_BYTES_MAX));
        tracing::debug!(sid = session.id(), client = ?client, "hello");
        self.shared.people.came(session.id(), Person { peer: session.peer, client: client.clone() });
        session.client = Some(client);
        self.timers.clear(session.id(), Kind::Hello);
        self.watch_idle(session);
        let reply = HelloReply {
            protocol: PROTOCOL_VERSION,
            server: SERVER.to_owned(),
            session: session.id(),
            database: self.shared.database.display().to_string(),
            pid: std::process::id(),
            format_version: graphite_store::FORMAT_VERSION,
        };
        self.reply(session, msgid, &reply);
    }

    /// Executes a request that is in order. The session is free, and its state here.
    fn execute(&mut self, session: &mut Session, msgid: u32, method: &str, params: Body<'_>) -> Result<()> {
        if self.phase != Phase::Serving {
            return Err(Reason::ShuttingDown.error());
        }
        session.interrupt.reset();
        // Whatever can be cancelled is counted, so that nothing is cancelled that came after what was seen.
        session.statement_number += 1;
        if method == Run::METHOD {
            return self.run(session, msgid, params);
        }
        // A batch is long, so it is decoded where it is applied.
        if method == ImportNodes::METHOD {
            return self.import(session, msgid, ImportWork::Nodes(params.bytes().to_owned()));
        }
        if method == ImportEdges::METHOD {
            return self.import(session, msgid, ImportWork::Edges(params.bytes().to_owned()));
        }
        match Call::read(method, params)? {
            Call::Fetch(fetch) => {
                let state = session.state.as_ref().filter(|state| state.cursors.contains_key(&fetch.cursor));
                if state.is_none() {
                    return Err(no_cursor(fetch.cursor));
                }
                if fetch.n == 0 {
                    return Err(WireError::new(ErrorCode::BadRequest, "fetch: n is at least 1"));
                }
                self.work(session, msgid, Work::Fetch { cursor: fetch.cursor, rows: fetch.n }, None);
            }
            Call::Close(close) => {
                let cursor = session.state.as_mut().and_then(|state| state.cursors.remove(&close.cursor));
                self.reply(session, msgid, &Empty {});
                if let Some(mut cursor) = cursor {
                    // The client may count on the room for its next request.
                    cursor.share.release();
                    self.shared.reads.give(move || drop(cursor));
                }
            }
            Call::Begin(begin) => self.begin(session, msgid, begin)?,
            Call::Commit(Commit { token }) => self.commit(session, msgid, token)?,
            Call::Rollback(_) => self.rollback(session, msgid)?,
            Call::CommitStatus(status) => {
                self.work(session, msgid, Work::CommitStatus(status.token), None);
            }
            Call::ImportBegin(begin) => self.import(session, msgid, ImportWork::Begin(begin))?,
            Call::ImportStatus(status) => self.import(session, msgid, ImportWork::Status(status))?,
            Call::ImportEnd(end) => self.import(session, msgid, ImportWork::End(end))?,
            Call::Query(_) => return Err(unsupported("query (Cypher)")),
            other => return Err(unsupported(other.method())),
        }
        Ok(())
    }

    fn import(&mut self, session: &mut Session, msgid: u32, work: ImportWork) -> Result<()> {
        if session.transaction.is_some() {
            let message = "an import is made of transactions of its own; end the open one first";
            return Err(WireError::new(ErrorCode::TransactionOpen, message));
        }
        self.work(session, msgid, Work::Import(work), None);
        Ok(())
    }

    fn run(&mut self, session: &mut Session, msgid: u32, params: Body<'_>) -> Result<()> {
        if params.bytes().len() > QUICK_DECODE_BYTES_MAX {
            // A plan with thousands of nodes takes its time, and others wait.
            let (shared, id, params) = (self.shared.clone(), session.id(), params.bytes().to_owned());
            // Whoever holds locks has a thread reserved, and does not wait behind reads.
            let writes = session.state.as_ref().is_some_and(|state| state.writes());
            let pool = if writes { &self.shared.writes } else { &self.shared.reads };
            pool.give(move || {
                let run = PlanCache::new(1).decode_run(Body::of(&params).decoder());
                shared.events.post(Event::Decoded { session: id, msgid, run });
            });
            session.doing = Doing::Decoding;
            return Ok(());
        }
        let run = session.plans.decode_run(params.decoder())?;
        self.execute_run(session, msgid, run)
    }

    pub(super) fn execute_run(
        &mut self,
        session: &mut Session,
        msgid: u32,
        mut run: DecodedRun,
    ) -> Result<()> {
        if let Some(error) = session.state.as_ref().and_then(|state| state.failed()) {
            return Err(error.clone());
        }
        let mode = session.transaction.map(|info| info.mode);
        if run.prepared.writes && mode == Some(Mode::Read) {
            let message = "the transaction was begun for reading; begin one for writing";
            return Err(WireError::new(ErrorCode::ReadOnlyTransaction, message));
        }
        session.statement = Some((run.prepared.clone(), session.last_active));
        if run.prepared.writes || mode == Some(Mode::Write) {
            run.is_no_lookup();
            let timeout = run.timeout_ms;
            let work = if run.prepared.writes { Work::Write(run) } else { Work::Read(run) };
            self.work(session, msgid, work, timeout);
            return Ok(());
        }
        if let Readable::AfterOwnCommit = self.may_read(session) {
            session.doing = Doing::AwaitsOwnCommit(Box::new((msgid, Postponed::Run(run))));
            return Ok(());
        }
        self.read(session, msgid, run)
    }

    /// Reads from a snapshot: here if what it needs is in memory and not much, else on a worker.
    pub(super) fn read(&mut self, session: &mut Session, msgid: u32, mut run: DecodedRun) -> Result<()> {
        if let Some(node) = run.lookup
            && self.look_up(session, msgid, &run.prepared, node)
        {
            return Ok(());
        }
        run.is_no_lookup();
        if !run.prepared.may_be_quick() {
            let timeout = run.timeout_ms;
            self.work(session, msgid, Work::Read(run), timeout);
            return Ok(());
        }
        let result = self.try_quickly(session, msgid, &run);
        run.prepared.was_quick(!matches!(result, Err(Failure::NotHere)));
        match result {
            Ok(()) => Ok(()),
            Err(Failure::Error(error)) => Err(error),
            // Snapshots wait for no lock.
            Err(Failure::NotHere | Failure::Lock(_)) => {
                let timeout = run.timeout_ms;
                self.work(session, msgid, Work::Read(run), timeout);
                Ok(())
            }
        }
    }

    /// Answers a read of one whole node, if it is plain; if not, nothing is done.
    fn look_up(&mut self, session: &mut Session, msgid: u32, prepared: &Prepared, node: NodeId) -> bool {
        let Some(state) = &session.state else { return false };
        let own = match &state.transaction {
            Some(Open::Read(_)) => None,
            _ => self.shared.db.snapshot().ok(),
        };
        let snapshot = match (&own, &state.transaction) {
            (Some(own), _) => own,
            (None, Some(Open::Read(held))) => &held.0,
            (None, _) => return false,
        };
        let frame_bytes_max = self.shared.frame_bytes_max();
        self.scratch.clear();
        snapshot.reader().limit_to_cache(Some(QUICK_PAGES_MAX));
        let is_done =
            lookup::write(snapshot, node, &mut self.scratch, msgid, &prepared.columns, frame_bytes_max);
        snapshot.reader().limit_to_cache(None);
        if is_done {
            self.shared.counters.statements.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            session.connection.outbox.copy_in_order(&self.scratch);
        }
        self.tidy_scratch();
        is_done
    }

    fn try_quickly(
        &mut self,
        session: &mut Session,
        msgid: u32,
        run: &DecodedRun,
    ) -> std::result::Result<(), Failure> {
        let Some(state) = &mut session.state else { return Err(Failure::NotHere) };
        let own = match &state.transaction {
            Some(Open::Read(_)) => None,
            _ => Some(self.shared.db.snapshot().map_err(|error| errors::of_graph(&error))?),
        };
        let snapshot = match (&own, &state.transaction) {
            (Some(own), _) => own,
            (None, Some(Open::Read(held))) => &held.0,
            (None, _) => return Err(Failure::NotHere),
        };
        snapshot.reader().limit_to_cache(Some(QUICK_PAGES_MAX));
        let mut rows = Rows::open(&run.prepared, &run.params)?;
        let (limits, id) = (self.shared.limits(run.fetch), state.next_cursor());
        self.scratch.clear();
        let budget = &session.quick_budget;
        let more =
            rows.write_run(snapshot, &mut self.scratch, msgid, id, &run.prepared, None, limits, budget);
        snapshot.reader().limit_to_cache(None);
        if more? {
            let share = state.room_for(&rows, &run.prepared, &self.shared)?;
            let source = own.map_or(Source::Transaction, |own| Source::Own(Box::new(HeldSnapshot(own))));
            state.keep(rows, source, run.prepared.clone(), share);
            self.watch_cursors(session);
        }
        self.shared.counters.statements.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        session.connection.outbox.copy_in_order(&self.scratch);
        self.tidy_scratch();
        Ok(())
    }

    /// Gives a request to a worker, or has it wait until its session is admitted.
    pub(super) fn work(&mut self, session: &mut Session, msgid: u32, work: Work, timeout_ms: Option<u64>) {
        let Some(state) = session.state.take() else {
            return self.reply_error(session, msgid, &state_is_away());
        };
        let (connection, interrupt) = (session.connection.clone(), session.interrupt.clone());
        let now = Instant::now();
        let mut work = work;
        if let Work::Read(run) | Work::Write(run) = &mut work {
            run.since = Some(now);
        }
        let job =
            Box::new(Job { connection, interrupt, state, msgid, work, seen: Lsn(0), cost: Cost::default() });
        let id = session.id();
        let doing = Doing::Working {
            interruptible: job.is_interruptible(),
            commits: matches!(job.work, Work::Commit(_)),
        };
        let timeout = timeout_ms.unwrap_or(self.shared.config.statement_timeout_ms);
        if job.is_statement() && timeout > 0 {
            self.timers.set(id, Kind::Statement, after(now, timeout));
        }
        if !job.needs_admission() {
            session.doing = doing;
            self.start(job);
            return;
        }
        match self.shared.admit(id, job) {
            Ok(Some(job)) => {
                session.doing = doing;
                self.start(job);
            }
            Ok(None) => {
                session.doing = Doing::AwaitsAdmission;
                let timeout = self.shared.config.lock_timeout_ms;
                if timeout > 0 {
                    self.timers.set(id, Kind::Admission, after(now, timeout));
                }
            }
            Err((job, error)) => {
                self.came_back(session, *job);
                self.reply_error(session, msgid, &error);
            }
        }
    }

    /// A worker is done with a session's request.
    pub(super) fn job_done(&mut self, session: &mut Session, done: crate::events::Done) {
        let id = session.id();
        self.timers.clear(id, Kind::Statement);
        self.timers.clear(id, Kind::Admission);
        if let Some(lsn) = done.committed {
            session.own_commit = session.own_commit.max(lsn);
        }
        let had_cursors = !done.state.cursors.is_empty();
        session.doing = Doing::Nothing;
        session.connection.await_done(false);
        session.transaction = done.transaction;
        session.state = Some(done.state);
        session.last_active = Instant::now();
        if had_cursors {
            self.watch_cursors(session);
        }
        if session.transaction.is_some() {
            self.watch_transaction(session);
        }
        self.schedule(session);
    }

    /// A long request is decoded.
    pub(super) fn decoded(&mut self, session: &mut Session, msgid: u32, run: Result<DecodedRun>) {
        session.doing = Doing::Nothing;
        let interrupted = session.interrupt.reason().map(Reason::error);
        let result = match (interrupted, run) {
            (Some(error), _) | (None, Err(error)) => Err(error),
            (None, Ok(run)) => self.execute_run(session, msgid, run),
        };
        if let Err(error) = result {
            self.refuse(session, msgid, &error);
        }
        self.schedule(session);
    }

    /// Drops what a session had open.
    pub(super) fn dispose(&mut self, id: u64, state: crate::state::SessionState) {
        if state.writes() {
            let shared = self.shared.clone();
            shared.counters.aborts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.shared.writes.give(move || {
                drop(state);
                shared.leave_admission(id);
            });
        } else if state.is_heavy() {
            self.shared.reads.give(move || drop(state));
        }
    }
}

/// A request is executed only while its session's state is here.
pub(super) fn state_is_away() -> WireError {
    debug_assert!(false, "a request is executed while another one has the session's state");
    tracing::error!("a mistake in Graphite: a request found its session's state away");
    WireError::new(ErrorCode::Internal, "the session's state is away; this is a mistake in Graphite")
}

/// A moment so many ms from now.
pub(super) fn after(now: Instant, ms: u64) -> Instant {
    /// A timeout past this is as good as none.
    const MS_MAX: u64 = 100 * 365 * 24 * 3600 * 1000;
    now + Duration::from_millis(ms.min(MS_MAX))
}
