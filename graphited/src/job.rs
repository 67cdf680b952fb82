//! What workers do: one request of one session, with the session's state in hand.
//!
//! 1. A job always ends with an answer in the outbox and the state on its way home, whatever happened in between. A job
//!    that commits may be brought to its end by the thread that applies the commit (`commits`).
//! 2. An answer that may rest on a commit that is not durable is parked until that is visible; nobody waits for it. What
//!    a write transaction answers rests on the newest state that it saw.
//! 3. A place among those who may write is passed on before the answer is parked, for parking may lead a sync.
//! 4. A write transaction that fails is rolled back at once, and its place passed on; the session remembers only that
//!    it failed, until the client ends it.

mod commits;
mod statements;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use graphite_protocol::message::{write_error, write_response};
use graphite_protocol::messages::{CommitState, CommitStatusReply, Empty};
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
use crate::workers::aside;

use commits::ToCommit;

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
    /// What its statement has cost.
    pub cost: Cost,
}

/// What is told of a statement that took long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// How long it waited for locks.
    waited: Duration,
    /// Rows of its answer.
    rows: u64,
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

/// What has come of a job so far.
enum Step {
    /// All.
    Answered(Answer),
    /// There is a transaction to be committed.
    Commits(ToCommit),
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
    /// may be about to listen for that. `None` if another thread sees to the answer.
    pub(crate) fn run(mut self: Box<Self>, shared: &Arc<Shared>) -> Option<Unsent> {
        let was_admitted = self.is_for_writers();
        let answer = match self.perform(shared) {
            Ok(Step::Answered(answer)) => answer,
            Ok(Step::Commits(commit)) => return self.hand_in(commit, shared),
            Err(error) => self.refusal(&error, shared),
        };
        if was_admitted && !self.state.writes() {
            shared.leave_admission(self.connection.session);
        }
        Some(self.finish(answer, shared))
    }

    fn perform(&mut self, shared: &Shared) -> Result<Step> {
        if let Some(reason) = self.interrupt.reason().filter(|_| self.is_interruptible()) {
            self.fail_if_writing(shared);
            return Err(reason.error());
        }
        // The work is taken out, so that the state can be borrowed beside it.
        let work = std::mem::replace(&mut self.work, Work::Rollback);
        let answer = match work {
            Work::Read(run) => self.timed(&run, shared, Job::read),
            Work::Write(run) if self.state.writes() => self.timed(&run, shared, Job::write_in_transaction),
            Work::Write(run) => return self.timed(&run, shared, Job::write_alone).map(Step::Commits),
            Work::Fetch { cursor, rows } => self.fetch(cursor, rows, shared),
            Work::Begin => self.begin(shared),
            Work::Commit(under_way) => return self.commit(under_way).map(Step::Commits),
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
        };
        answer.map(Step::Answered)
    }

    /// Runs a statement, and keeps it for monitors if it took long: until it is to be committed, if it is by itself.
    fn timed<T>(
        &mut self,
        run: &DecodedRun,
        shared: &Shared,
        statement: fn(&mut Job, &DecodedRun, &Shared) -> Result<T>,
    ) -> Result<T> {
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
            waited: self.cost.waited,
            rows: answer.is_ok().then_some(self.cost.rows),
            error: answer.as_ref().err().map(|error| error.code.clone()),
        });
        answer
    }

    fn begin(&mut self, shared: &Shared) -> Result<Answer> {
        let transaction = shared.begin(self.connection.session, &self.interrupt)?;
        self.state.begin_write(transaction, shared.next_transaction());
        Ok(Answer::now(self.reply(&Empty {}, shared)))
    }

    fn commit(&mut self, under_way: Option<UnderWay>) -> Result<ToCommit> {
        let Some(Open::Write(transaction)) = self.state.transaction.take() else {
            return Err(WireError::new(ErrorCode::NoTransaction, "no transaction is open"));
        };
        self.state.info = None;
        self.state.close_transaction_cursors();
        Ok(ToCommit::transaction(transaction, under_way))
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

    /// The answer of a job that failed.
    fn refusal(&self, error: &WireError, shared: &Shared) -> Answer {
        Answer { frame: self.error(error, shared), after: self.seen, committed: None }
    }

    /// Answers, and sends the state home. If the answer has to wait for a sync, this thread does that unless another one
    /// is at it.
    fn finish(self, answer: Answer, shared: &Arc<Shared>) -> Unsent {
        let connection = self.connection.clone();
        if answer.after <= shared.db.store().visible_lsn() {
            connection.outbox.add_in_order(answer.frame);
            let done = Done::new(self.connection.session, self.state, answer.committed);
            shared.events.post_done(done, &connection);
            return Unsent(connection);
        }
        let after = answer.after;
        let reply = self.park(answer, true, shared);
        // Another statement may run during the sync.
        aside(|| shared.db.store().when_visible(after, reply));
        Unsent(connection)
    }

    /// As [`Job::finish`], on a thread that has to go on: others sync and send.
    fn leave(self, answer: Answer, shared: &Arc<Shared>) {
        let after = answer.after;
        let reply = self.park(answer, false, shared);
        shared.db.store().park(after, reply);
    }

    /// Keeps a place for the answer and sends the state home. The answer is made once it is known what became of the
    /// commit that it rests on; it is sent by this thread if it attends to it.
    fn park(
        self,
        answer: Answer,
        attends: bool,
        shared: &Arc<Shared>,
    ) -> impl FnOnce(graphite_store::Result<()>) + Send + 'static {
        let Answer { frame, committed, .. } = answer;
        let (connection, msgid, shared) = (self.connection, self.msgid, shared.clone());
        let slot = connection.outbox.reserve(frame.len());
        // The session may go on with its next request while this answer is parked.
        let done = Done::new(connection.session, self.state, committed);
        shared.events.post_done(done, &connection);
        if attends {
            connection.attend(slot);
        }
        move |verdict| {
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
            connection.answer_parked(slot, frame, &shared.events);
        }
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
