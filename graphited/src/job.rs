//! What workers do: one request of one session, with the session's state in hand.
//!
//! 1. A job always ends with an answer in the outbox and the state on its way home, whatever happened in between.
//! 2. An answer that may rest on a commit that is not durable is parked until that is visible; nobody waits for it. What
//!    a write transaction answers rests on the newest state that it saw.
//! 3. A place among those who may write is passed on before the answer is parked, for parking may lead a sync.
//! 4. A write transaction that fails is rolled back at once, and its place passed on; the session remembers only that
//!    it failed, until the client ends it.

mod statements;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use graphite_protocol::message::{write_error, write_response};
use graphite_protocol::messages::{CommitReply, CommitState, CommitStatusReply, Empty};
use graphite_protocol::{ErrorCode, Token, Wire, WireError};
use graphite_store::Lsn;

use crate::connection::Connection;
use crate::errors;
use crate::events::Done;
use crate::import::ImportWork;
use crate::interrupt::Interrupt;
use crate::plans::DecodedRun;
use crate::shared::Shared;
use crate::slow::Slow;
use crate::state::{Open, SessionState};
use crate::tokens::UnderWay;

/// How long whoever asks for the outcome of a commit waits for one that is under way.
const COMMIT_WAIT_MAX: Duration = Duration::from_millis(200);

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Work {
    /// A plan that only reads.
    Read(DecodedRun),
    /// A plan that changes the graph, in the session's transaction or one of its own.
    Write(DecodedRun),
    /// More rows of a cursor.
    Fetch {
        /// Which.
        cursor: u64,
        /// Most rows.
        rows: u32,
    },
    /// Begin to write; the session is admitted.
    Begin,
    /// Commit the write transaction, perhaps under a name by which can be asked for it.
    Commit(Option<UnderWay>),
    /// Say what became of a commit.
    CommitStatus(Token),
    /// Roll the write transaction back.
    Rollback,
    /// Part of an import.
    Import(ImportWork),
}

/// A request on its way to a worker.
#[derive(Debug)]
pub(crate) struct Job {
    /// The client.
    pub connection: Arc<Connection>,
    /// Says when to stop.
    pub interrupt: Arc<Interrupt>,
    /// What the session has open.
    pub state: SessionState,
    /// The request's number.
    pub msgid: u32,
    /// What is to be done.
    pub work: Work,
    /// The newest state that it has seen, which may not be durable yet.
    pub seen: Lsn,
}

/// An answer, and when it may leave.
struct Answer {
    frame: Vec<u8>,
    /// Once this is visible; at once if it is already.
    after: Lsn,
    /// What was committed.
    committed: Option<Lsn>,
}

impl Answer {
    fn now(frame: Vec<u8>) -> Answer {
        Answer { frame, after: Lsn(0), committed: None }
    }
}

/// An answer that is in the outbox of its connection, or on its way there, and has to be sent.
#[must_use]
#[derive(Debug)]
pub(crate) struct Unsent(Arc<Connection>);

impl Unsent {
    /// Sends it, if it may leave; whoever fills its slot later sees to that.
    pub(crate) fn send(self, shared: &Shared) {
        self.0.send_attended(&shared.events);
    }
}

type Result<T> = std::result::Result<T, WireError>;

impl Job {
    /// Whether its session is admitted to write, or has to be.
    pub(crate) fn is_for_writers(&self) -> bool {
        self.state.writes() || self.needs_admission()
    }

    /// Whether its session has to be admitted to write first.
    pub(crate) fn needs_admission(&self) -> bool {
        match &self.work {
            Work::Write(_) | Work::Begin => !self.state.writes(),
            Work::Import(work) => work.writes(),
            _ => false,
        }
    }

    /// Whether it is a statement, or a part of one, which may run only so long.
    pub(crate) fn is_statement(&self) -> bool {
        matches!(self.work, Work::Read(_) | Work::Write(_) | Work::Fetch { .. })
    }

    /// Whether it can be interrupted: a commit, once begun, is carried through.
    pub(crate) fn is_interruptible(&self) -> bool {
        match &self.work {
            Work::Read(_) | Work::Write(_) | Work::Fetch { .. } => true,
            // As long as it waits for its lock.
            Work::Import(work) => work.writes(),
            Work::Begin | Work::Commit(_) | Work::CommitStatus(_) | Work::Rollback => false,
        }
    }

    /// Does it. The answer is left for the caller to send: as soon as the client has it, it asks for more, and the caller
    /// may be about to listen for that.
    pub(crate) fn run(mut self: Box<Self>, shared: &Arc<Shared>) -> Unsent {
        let was_admitted = self.is_for_writers();
        let answer = self.perform(shared).unwrap_or_else(|error| {
            let frame = self.error(&error, shared);
            Answer { frame, after: self.seen, committed: None }
        });
        if was_admitted && !self.state.writes() {
            shared.leave_admission(self.connection.session);
        }
        self.finish(answer, shared)
    }

    fn perform(&mut self, shared: &Shared) -> Result<Answer> {
        if let Some(reason) = self.interrupt.reason().filter(|_| self.is_interruptible()) {
            self.fail_if_writing(shared);
            return Err(reason.error());
        }
        // The work is taken out, so that the state can be borrowed beside it.
        let work = std::mem::replace(&mut self.work, Work::Rollback);
        match work {
            Work::Read(run) => self.timed(&run, shared, Job::read),
            Work::Write(run) if self.state.writes() => self.timed(&run, shared, Job::write_in_transaction),
            Work::Write(run) => self.timed(&run, shared, Job::write_alone),
            Work::Fetch { cursor, rows } => self.fetch(cursor, rows, shared),
            Work::Begin => self.begin(shared),
            Work::Commit(under_way) => self.commit(under_way, shared),
            Work::CommitStatus(token) => self.commit_status(&token, shared),
            Work::Rollback => Ok(self.rollback(shared)),
            Work::Import(work) => {
                let commits = work.writes();
                let done = work.run(self.msgid, self.connection.session, &self.interrupt, shared);
                let (frame, after) = done.map_err(|failure| {
                    self.seen = shared.db.store().applied_lsn();
                    self.explain(failure, shared)
                })?;
                Ok(Answer { frame, after, committed: commits.then_some(after) })
            }
        }
    }

    /// Runs a statement, and keeps it for monitors if it took long.
    fn timed(
        &mut self,
        run: &DecodedRun,
        shared: &Shared,
        statement: fn(&mut Job, &DecodedRun, &Shared) -> Result<Answer>,
    ) -> Result<Answer> {
        let transaction = self.state.info.map(|info| info.id);
        let answer = statement(self, run, shared);
        let Some(took) = run.since.map(|since| since.elapsed()).filter(|took| shared.slow.is_slow(*took))
        else {
            return answer;
        };
        let session = self.connection.session;
        shared.slow.keep(Slow {
            at: SystemTime::now(),
            session,
            person: shared.people.of(session),
            transaction,
            text: run.prepared.text.clone(),
            took,
            error: answer.as_ref().err().map(|error| error.code.clone()),
        });
        answer
    }

    fn begin(&mut self, shared: &Shared) -> Result<Answer> {
        let transaction = shared.begin(self.connection.session, &self.interrupt)?;
        self.state.begin_write(transaction, shared.next_transaction());
        Ok(Answer::now(self.reply(&Empty {}, shared)))
    }

    fn commit(&mut self, under_way: Option<UnderWay>, shared: &Shared) -> Result<Answer> {
        let Some(Open::Write(transaction)) = self.state.transaction.take() else {
            return Err(WireError::new(ErrorCode::NoTransaction, "no transaction is open"));
        };
        self.state.info = None;
        self.state.close_transaction_cursors();
        let is_unchanged = transaction.is_unchanged();
        let committed = match &under_way {
            Some(under_way) => transaction.commit_with_token(under_way.token.as_bytes()),
            None => transaction.commit(),
        };
        let committed = committed.map_err(|error| {
            shared.counters.aborts.fetch_add(1, Ordering::Relaxed);
            self.seen = shared.db.store().applied_lsn();
            self.explain(error.into(), shared)
        })?;
        let lsn = if is_unchanged && under_way.is_none() { 0 } else { committed.lsn.0 };
        let frame = self.reply(&CommitReply { lsn }, shared);
        Ok(Answer { frame, after: committed.lsn, committed: Some(committed.lsn) })
    }

    /// A commit that is found is told once it is durable.
    fn commit_status(&self, token: &Token, shared: &Shared) -> Result<Answer> {
        if !shared.tokens.wait_for(token, COMMIT_WAIT_MAX) {
            let message = "a commit with this token is under way; ask again";
            return Err(WireError::new(ErrorCode::Busy, message));
        }
        let found = shared.db.commit_status_applied(token.as_bytes());
        let found = found.map_err(|error| errors::of_graph(&error))?;
        let (state, lsn) = match found {
            Some(lsn) => (CommitState::Committed, Some(lsn.0)),
            None => (CommitState::NotFound, None),
        };
        let frame = self.reply(&CommitStatusReply { state, lsn }, shared);
        Ok(Answer { frame, after: found.unwrap_or(Lsn(0)), committed: found })
    }

    fn rollback(&mut self, shared: &Shared) -> Answer {
        self.state.transaction = None;
        self.state.info = None;
        self.state.close_transaction_cursors();
        shared.counters.aborts.fetch_add(1, Ordering::Relaxed);
        Answer::now(self.reply(&Empty {}, shared))
    }

    /// A statement of the write transaction failed: it is rolled back, and the client has to end it.
    fn fail_if_writing(&mut self, shared: &Shared) {
        let Some(Open::Write(transaction)) = &self.state.transaction else { return };
        self.seen = self.seen.max(transaction.seen_lsn());
        self.state.close_transaction_cursors();
        shared.counters.aborts.fetch_add(1, Ordering::Relaxed);
        self.state.transaction = Some(Open::Failed(failed_before()));
    }

    fn reply(&self, reply: &impl Wire, shared: &Shared) -> Vec<u8> {
        let mut frame = Vec::new();
        write_response(&mut frame, self.msgid, reply, shared.frame_bytes_max());
        frame
    }

    fn error(&self, error: &WireError, shared: &Shared) -> Vec<u8> {
        let mut frame = Vec::new();
        write_error(&mut frame, self.msgid, error, shared.frame_bytes_max());
        frame
    }

    /// Answers, and sends the state home.
    fn finish(self, answer: Answer, shared: &Arc<Shared>) -> Unsent {
        let Answer { frame, after, committed } = answer;
        let (connection, msgid) = (self.connection, self.msgid);
        let transaction = self.state.info;
        let done = Done { session: connection.session, state: self.state, transaction, committed };
        let store = shared.db.store();
        if after <= store.visible_lsn() {
            connection.outbox.add_in_order(frame);
            shared.events.post_done(done, &connection);
            return Unsent(connection);
        }
        let slot = connection.outbox.reserve(frame.len());
        // The session may go on with its next request while this answer is parked.
        shared.events.post_done(done, &connection);
        connection.attend(slot);
        let (parked, shared) = (connection.clone(), shared.clone());
        store.when_visible(after, move |verdict| {
            let frame = match verdict {
                Ok(()) => frame,
                Err(error) => {
                    let error = if committed.is_some() {
                        errors::of_lost_commit(&error)
                    } else {
                        errors::of_store(&error)
                    };
                    let mut frame = Vec::new();
                    write_error(&mut frame, msgid, &error, shared.frame_bytes_max());
                    frame
                }
            };
            parked.answer_parked(slot, frame, &shared.events);
        });
        Unsent(connection)
    }
}

/// What is answered in a transaction of which a statement failed.
pub(crate) fn failed_before() -> WireError {
    let message =
        "an earlier statement of this transaction failed, and it was rolled back; end it with rollback";
    WireError::new(ErrorCode::TransactionFailed, message)
}

/// The error of a cursor that is not there.
pub(crate) fn no_cursor(id: u64) -> WireError {
    let message = format!(
        "there is no cursor {id} in this session: it came to its end, was closed, or rested too long"
    );
    WireError::new(ErrorCode::CursorNotFound, message)
}
