//! What workers do: one request of one session, with the session's state in hand.
//!
//! 1. A job always ends with an answer in the outbox and the state on its way home, whatever happened in between.
//! 2. An answer that may rest on a commit that is not durable is parked until that is visible; nobody waits for it.
//! 3. The writer's turn is passed on before the answer is parked, for parking may lead a sync.
//! 4. A write transaction that fails is rolled back at once, and its turn passed on; the session remembers only that
//!    it failed, until the client ends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use graphite_graph::{Snapshot, Transaction, View};
use graphite_protocol::message::{write_error, write_response};
use graphite_protocol::messages::{CommitReply, Empty, Mode, Summary};
use graphite_protocol::{ErrorCode, Wire, WireError};
use graphite_query::{Params, run_write};
use graphite_store::Lsn;

use crate::connection::Connection;
use crate::errors;
use crate::events::{Done, Event};
use crate::import::ImportWork;
use crate::interrupt::Interrupt;
use crate::plans::{DecodedRun, Prepared};
use crate::rows::{Failure, Limits, Rows};
use crate::shared::Shared;
use crate::state::{HeldSnapshot, Open, SessionState, Source, TransactionInfo};

/// What is to be done.
#[derive(Debug)]
pub enum Work {
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
    /// Begin to write; the turn has come.
    Begin,
    /// Commit the write transaction.
    Commit,
    /// Roll the write transaction back.
    Rollback,
    /// Part of an import.
    Import(ImportWork),
}

/// A request on its way to a worker.
#[derive(Debug)]
pub struct Job {
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

type Result<T> = std::result::Result<T, WireError>;

impl Job {
    /// Whether it belongs to the writer's turn.
    pub fn is_for_writers(&self) -> bool {
        self.state.writes() || self.needs_turn()
    }

    /// Whether it has to have the writer's turn first.
    pub fn needs_turn(&self) -> bool {
        match &self.work {
            Work::Write(_) | Work::Begin => !self.state.writes(),
            Work::Import(work) => work.needs_turn(),
            _ => false,
        }
    }

    /// Whether it can be interrupted: a commit, once begun, is carried through.
    pub fn is_interruptible(&self) -> bool {
        matches!(self.work, Work::Read(_) | Work::Write(_) | Work::Fetch { .. })
    }

    /// Does it.
    pub fn run(mut self: Box<Self>, shared: &Arc<Shared>) {
        let had_turn = self.state.writes() || self.needs_turn();
        let answer = self.perform(shared).unwrap_or_else(|error| Answer::now(self.error(&error, shared)));
        if had_turn && !self.state.writes() {
            shared.pass_turn(self.connection.session);
        }
        self.finish(answer, shared);
    }

    fn perform(&mut self, shared: &Shared) -> Result<Answer> {
        if let Some(reason) = self.interrupt.reason().filter(|_| self.is_interruptible()) {
            self.fail_if_writing(shared);
            return Err(reason.error());
        }
        // The work is taken out, so that the state can be borrowed beside it.
        let work = std::mem::replace(&mut self.work, Work::Rollback);
        match work {
            Work::Read(run) => self.read(&run, shared),
            Work::Write(run) if self.state.writes() => self.write_in_transaction(&run, shared),
            Work::Write(run) => self.write_alone(&run, shared),
            Work::Fetch { cursor, rows } => self.fetch(cursor, rows, shared),
            Work::Begin => self.begin(shared),
            Work::Commit => self.commit(shared),
            Work::Rollback => Ok(self.rollback(shared)),
            Work::Import(work) => {
                let (frame, committed) = work.run(self.msgid, shared)?;
                Ok(Answer { frame, after: committed.unwrap_or(Lsn(0)), committed })
            }
        }
    }

    fn read(&mut self, run: &DecodedRun, shared: &Shared) -> Result<Answer> {
        shared.counters.statements.fetch_add(1, Ordering::Relaxed);
        let limits = shared.limits(run.fetch);
        if let Some(Open::Write(transaction)) = &mut self.state.transaction {
            transaction.begin_statement().map_err(|error| errors::of_graph(&error))?;
            let mut rows = Rows::open(&run.prepared, &run.params)?;
            let id = self.state.last_cursor + 1;
            let (view, budget) = (&**transaction, Shared::budget(&self.interrupt));
            let mut frame = Vec::new();
            let result = rows.write_run(view, &mut frame, self.msgid, id, &run.prepared, None, limits, &budget);
            return match self.settle(result, rows, Source::Transaction, &run.prepared, shared) {
                Ok(()) => Ok(self.seen_applied(frame, shared)),
                Err(error) => {
                    self.fail_if_writing(shared);
                    Err(error)
                }
            };
        }
        let own = match &self.state.transaction {
            Some(Open::Read(_)) => None,
            _ => Some(shared.db.snapshot().map_err(|error| errors::of_graph(&error))?),
        };
        let snapshot = match (&own, &self.state.transaction) {
            (Some(own), _) => own,
            (None, Some(Open::Read(held))) => &held.0,
            (None, _) => return Err(WireError::new(ErrorCode::Internal, "a read without a snapshot")),
        };
        snapshot.reader().limit_to_cache(None);
        let mut frame = Vec::new();
        let id = self.state.next_cursor();
        let mut rows = Rows::open(&run.prepared, &run.params)?;
        let budget = Shared::budget(&self.interrupt);
        let result = rows.write_run(snapshot, &mut frame, self.msgid, id, &run.prepared, None, limits, &budget);
        let source = own.map_or(Source::Transaction, |own| Source::Own(Box::new(HeldSnapshot(own))));
        self.settle(result, rows, source, &run.prepared, shared)?;
        Ok(Answer::now(frame))
    }

    /// Keeps the rows that are left, or says why there is no answer.
    fn settle(
        &mut self,
        result: std::result::Result<bool, Failure>,
        rows: Rows,
        source: Source,
        prepared: &Arc<Prepared>,
        shared: &Shared,
    ) -> Result<()> {
        match result {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.state.check_cursors(crate::shared::to_usize(shared.config.cursors_max))?;
                self.state.keep(rows, source, prepared.clone());
                Ok(())
            }
            Err(failure) => Err(self.explain(failure)),
        }
    }

    /// The client's error; an interrupted statement gets the reason.
    fn explain(&self, failure: Failure) -> WireError {
        match (failure, self.interrupt.reason()) {
            (Failure::Error(error), Some(reason)) if error.code == ErrorCode::Cancelled => reason.error(),
            (Failure::Error(error), _) => error,
            (Failure::NotHere, _) => WireError::new(ErrorCode::Internal, "a worker was told not to wait"),
        }
    }

    /// An answer that rests on whatever is applied by now.
    fn seen_applied(&self, frame: Vec<u8>, shared: &Shared) -> Answer {
        if let Some(Open::Write(transaction)) = &self.state.transaction {
            transaction.rest();
        }
        Answer { frame, after: shared.db.store().applied_lsn(), committed: None }
    }

    /// Runs a plan in a transaction and writes its answer.
    fn statement(
        &self,
        transaction: &mut Transaction,
        run: &DecodedRun,
        limits: Limits,
    ) -> std::result::Result<(Vec<u8>, Option<Rows>), Failure> {
        let budget = Shared::budget(&self.interrupt);
        let params: &Params = &run.params;
        let outcome = run_write(&run.prepared.plan, params, transaction, &budget)?;
        let summary = summary(&outcome.summary);
        let mut rows = Rows::of(outcome.rows);
        let mut frame = Vec::new();
        let id = self.state.next_cursor();
        let more = rows.write_run(
            transaction,
            &mut frame,
            self.msgid,
            id,
            &run.prepared,
            Some(&summary),
            limits,
            &budget,
        )?;
        Ok((frame, more.then_some(rows)))
    }

    fn write_in_transaction(&mut self, run: &DecodedRun, shared: &Shared) -> Result<Answer> {
        shared.counters.statements.fetch_add(1, Ordering::Relaxed);
        let Some(Open::Write(mut transaction)) = self.state.transaction.take() else {
            return Err(WireError::new(ErrorCode::Internal, "a statement lost its transaction"));
        };
        let result = self.statement(&mut transaction, run, shared.limits(run.fetch));
        self.state.transaction = Some(Open::Write(transaction));
        let (more, result) = match result {
            Ok((frame, Some(rows))) => (Ok(true), Some((frame, rows))),
            Ok((frame, None)) => return Ok(self.seen_applied(frame, shared)),
            Err(failure) => (Err(failure), None),
        };
        let (frame, rows) = result.unwrap_or_else(|| (Vec::new(), Rows::of(graphite_query::Batch::default())));
        match self.settle(more, rows, Source::Complete, &run.prepared, shared) {
            Ok(()) => Ok(self.seen_applied(frame, shared)),
            // A plan that makes no sense was not begun.
            Err(error) if error.code == ErrorCode::BadRequest => Err(error),
            Err(error) => {
                self.fail_if_writing(shared);
                Err(error)
            }
        }
    }

    /// A statement that is a transaction of its own.
    fn write_alone(&mut self, run: &DecodedRun, shared: &Shared) -> Result<Answer> {
        shared.counters.statements.fetch_add(1, Ordering::Relaxed);
        let mut transaction = shared.db.begin().map_err(|error| errors::of_graph(&error))?;
        let result = self.statement(&mut transaction, run, shared.limits(run.fetch));
        let (frame, rows) = match result {
            Ok(done) => done,
            Err(failure) => {
                shared.counters.aborts.fetch_add(1, Ordering::Relaxed);
                return Err(self.explain(failure));
            }
        };
        if rows.is_some() {
            self.state.check_cursors(crate::shared::to_usize(shared.config.cursors_max))?;
        }
        if let Some(reason) = self.interrupt.reason() {
            shared.counters.aborts.fetch_add(1, Ordering::Relaxed);
            return Err(reason.error());
        }
        let committed = transaction.commit().map_err(|error| {
            shared.counters.aborts.fetch_add(1, Ordering::Relaxed);
            errors::of_graph(&error)
        })?;
        if let Some(rows) = rows {
            self.state.keep(rows, Source::Complete, run.prepared.clone());
        }
        Ok(Answer { frame, after: committed.lsn, committed: Some(committed.lsn) })
    }

    fn fetch(&mut self, id: u64, count: u32, shared: &Shared) -> Result<Answer> {
        let Some(mut cursor) = self.state.cursors.remove(&id) else { return Err(no_cursor(id)) };
        let limits = shared.limits(Some(count));
        let budget = Shared::budget(&self.interrupt);
        let (mut frame, msgid, prepared) = (Vec::new(), self.msgid, cursor.prepared.clone());
        let rows = &mut cursor.rows;
        let mut write = |view: &dyn Fetchable| view.fetch(rows, &mut frame, msgid, id, &prepared, limits, &budget);
        let result = match (&cursor.source, &self.state.transaction) {
            (Source::Own(held), _) | (Source::Transaction, Some(Open::Read(held))) => {
                held.0.reader().limit_to_cache(None);
                write(&held.0)
            }
            (Source::Transaction, Some(Open::Write(transaction))) => write(&**transaction),
            (Source::Transaction, _) => return Err(no_cursor(id)),
            // Only names are still needed, and the newest snapshot knows them all.
            (Source::Complete, _) => write(&shared.db.snapshot().map_err(|error| errors::of_graph(&error))?),
        };
        let in_transaction = matches!(cursor.source, Source::Transaction);
        match result {
            Ok(more) => {
                if more {
                    cursor.used = Instant::now();
                    self.state.cursors.insert(id, cursor);
                }
                // A page of rows from a write transaction may rest on what is not durable.
                if self.state.writes() { Ok(self.seen_applied(frame, shared)) } else { Ok(Answer::now(frame)) }
            }
            Err(failure) => {
                let error = self.explain(failure);
                if in_transaction {
                    self.fail_if_writing(shared);
                }
                Err(error)
            }
        }
    }

    fn begin(&mut self, shared: &Shared) -> Result<Answer> {
        let transaction = shared.db.begin().map_err(|error| errors::of_graph(&error))?;
        self.state.transaction = Some(Open::Write(Box::new(transaction)));
        let id = shared.next_transaction();
        self.state.info =
            Some(TransactionInfo { id, mode: Mode::Write, since: Instant::now(), snapshot_lsn: None });
        Ok(Answer::now(self.reply(&Empty {}, shared)))
    }

    fn commit(&mut self, shared: &Shared) -> Result<Answer> {
        let Some(Open::Write(transaction)) = self.state.transaction.take() else {
            return Err(WireError::new(ErrorCode::NoTransaction, "no transaction is open"));
        };
        self.state.info = None;
        self.state.close_transaction_cursors();
        let is_unchanged = transaction.is_unchanged();
        let committed = transaction.commit().map_err(|error| {
            shared.counters.aborts.fetch_add(1, Ordering::Relaxed);
            errors::of_graph(&error)
        })?;
        let lsn = if is_unchanged { 0 } else { committed.lsn.0 };
        let frame = self.reply(&CommitReply { lsn }, shared);
        Ok(Answer { frame, after: committed.lsn, committed: Some(committed.lsn) })
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
        if !self.state.writes() {
            return;
        }
        self.state.close_transaction_cursors();
        shared.counters.aborts.fetch_add(1, Ordering::Relaxed);
        let message = "an earlier statement of this transaction failed, and it was rolled back; end it with rollback";
        self.state.transaction = Some(Open::Failed(WireError::new(ErrorCode::TransactionFailed, message)));
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
    fn finish(self, answer: Answer, shared: &Arc<Shared>) {
        let Answer { frame, after, committed } = answer;
        let (connection, msgid) = (self.connection, self.msgid);
        let transaction = self.state.info;
        let done = Done { session: connection.session, state: self.state, transaction, committed };
        let store = shared.db.store();
        if after <= store.visible_lsn() {
            connection.outbox.add_in_order(frame);
            connection.send(&shared.events);
            shared.events.post(Event::Done(Box::new(done)));
            return;
        }
        let slot = connection.outbox.reserve();
        // The session may go on with its next request while this answer is parked.
        shared.events.post(Event::Done(Box::new(done)));
        let (leader, shared) = (std::thread::current().id(), shared.clone());
        store.when_visible(after, move |verdict| {
            let frame = match verdict {
                Ok(()) => frame,
                Err(error) => {
                    let error =
                        if committed.is_some() { errors::of_lost_commit(&error) } else { errors::of_store(&error) };
                    let mut frame = Vec::new();
                    write_error(&mut frame, msgid, &error, shared.frame_bytes_max());
                    frame
                }
            };
            connection.answer_parked(slot, frame, leader, &shared.events);
        });
    }
}

/// A view that a cursor can be read from: it lets the three kinds meet without three copies of a call.
trait Fetchable {
    #[expect(clippy::too_many_arguments, reason = "an answer is made of all this")]
    fn fetch(
        &self,
        rows: &mut Rows,
        out: &mut Vec<u8>,
        msgid: u32,
        id: u64,
        prepared: &Prepared,
        limits: Limits,
        budget: &graphite_query::Budget,
    ) -> std::result::Result<bool, Failure>;
}

macro_rules! fetchable {
    ($($view:ty),*) => {$(
        impl Fetchable for $view {
            fn fetch(
                &self,
                rows: &mut Rows,
                out: &mut Vec<u8>,
                msgid: u32,
                id: u64,
                prepared: &Prepared,
                limits: Limits,
                budget: &graphite_query::Budget,
            ) -> std::result::Result<bool, Failure> {
                rows.write_fetch(self, out, msgid, id, prepared, limits, budget)
            }
        }
    )*};
}
fetchable!(Snapshot, Transaction);

/// The error of a cursor that is not there.
pub fn no_cursor(id: u64) -> WireError {
    let message = format!("there is no cursor {id} in this session: it came to its end, was closed, or rested too long");
    WireError::new(ErrorCode::CursorNotFound, message)
}

fn summary(done: &graphite_graph::Summary) -> Summary {
    Summary {
        nodes_created: done.nodes_created,
        nodes_deleted: done.nodes_deleted,
        edges_created: done.edges_created,
        edges_deleted: done.edges_deleted,
        properties_set: done.properties_set,
        labels_added: done.labels_added,
        labels_removed: done.labels_removed,
    }
}
