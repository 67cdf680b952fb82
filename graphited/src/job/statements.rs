//! Statements on a worker: reading, changing, fetching more rows.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use graphite_graph::{Snapshot, Transaction};
use graphite_protocol::messages::Summary;
use graphite_protocol::{ErrorCode, WireError};
use graphite_query::{Budget, Params, run_write};
use graphite_store::locks::LockError;

use super::commits::{Rest, ToCommit};
use super::{Answer, Cost, Job, Result, no_cursor};
use crate::errors;
use crate::plans::{DecodedRun, Prepared};
use crate::rows::{Failure, Limits, Rows};
use crate::shared::Shared;
use crate::state::{HeldSnapshot, Open, Source};
use crate::workers::aside;

/// How often a statement that is a transaction of its own is tried, if each time it is the victim of a deadlock.
const DEADLOCK_TRIES_MAX: u32 = 10;
/// The longest pause before the second try; each further one is up to twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(1);
/// The longest pause before any try.
const PAUSE_MAX: Duration = Duration::from_millis(64);

impl Job {
    pub(super) fn read(&mut self, run: &DecodedRun, shared: &Shared) -> Result<Answer> {
        shared.counters.statements.fetch_add(1, Ordering::Relaxed);
        let limits = shared.limits(run.fetch);
        if let Some(Open::Write(transaction)) = &mut self.state.transaction {
            transaction.begin_statement().map_err(|error| errors::of_graph(&error))?;
            let waited = transaction.lock_waited();
            transaction.set_statement(run.prepared.text.clone());
            let mut rows = Rows::open(&run.prepared, &run.params)?;
            let id = self.state.last_cursor + 1;
            let (view, budget) = (&**transaction, shared.budget(&self.interrupt));
            let mut frame = Vec::new();
            let result =
                rows.write_run(view, &mut frame, self.msgid, id, &run.prepared, None, limits, &budget);
            self.cost = Cost { waited: transaction.lock_waited().saturating_sub(waited), rows: rows.sent() };
            return match self.settle(result, rows, Source::Transaction, &run.prepared, shared) {
                Ok(()) => Ok(self.as_seen(frame)),
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
        let budget = shared.budget(&self.interrupt);
        let result =
            rows.write_run(snapshot, &mut frame, self.msgid, id, &run.prepared, None, limits, &budget);
        self.cost.rows = rows.sent();
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
                let share = self.state.room_for(&rows, prepared, shared)?;
                self.state.keep(rows, source, prepared.clone(), share);
                Ok(())
            }
            Err(failure) => Err(self.explain(failure, shared)),
        }
    }

    /// The client's error; an interrupted statement gets the reason.
    pub(super) fn explain(&self, failure: Failure, shared: &Shared) -> WireError {
        let error = match failure {
            Failure::Error(error) => error,
            Failure::Lock(error) => errors::of_lock(&error, self.connection.session, &shared.db),
            Failure::NotHere => WireError::new(ErrorCode::Internal, "a worker was told not to wait"),
        };
        match self.interrupt.reason() {
            Some(reason) if error.code == ErrorCode::Cancelled => reason.error(),
            _ => error,
        }
    }

    /// An answer that rests on what the write transaction saw.
    fn as_seen(&self, frame: Vec<u8>) -> Answer {
        let mut after = self.seen;
        if let Some(Open::Write(transaction)) = &self.state.transaction {
            transaction.rest();
            after = after.max(transaction.seen_lsn());
        }
        Answer { frame, after, committed: None }
    }

    /// Runs a plan in a transaction and writes its answer.
    fn statement(
        &mut self,
        transaction: &mut Transaction,
        run: &DecodedRun,
        shared: &Shared,
    ) -> std::result::Result<(Vec<u8>, Option<Rows>), Failure> {
        transaction.set_statement(run.prepared.text.clone());
        let limits = shared.limits(run.fetch);
        let budget = shared.budget(&self.interrupt);
        let params: &Params = &run.params;
        let waited = transaction.lock_waited();
        let outcome = run_write(&run.prepared.plan, params, transaction, &budget);
        self.cost.waited += transaction.lock_waited().saturating_sub(waited);
        let outcome = outcome?;
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
        self.cost.rows = rows.sent();
        Ok((frame, more.then_some(rows)))
    }

    pub(super) fn write_in_transaction(&mut self, run: &DecodedRun, shared: &Shared) -> Result<Answer> {
        shared.counters.statements.fetch_add(1, Ordering::Relaxed);
        let Some(Open::Write(mut transaction)) = self.state.transaction.take() else {
            return Err(WireError::new(ErrorCode::Internal, "a statement lost its transaction"));
        };
        let result = self.statement(&mut transaction, run, shared);
        self.state.transaction = Some(Open::Write(transaction));
        let (more, result) = match result {
            Ok((frame, Some(rows))) => (Ok(true), Some((frame, rows))),
            Ok((frame, None)) => return Ok(self.as_seen(frame)),
            Err(failure) => (Err(failure), None),
        };
        let (frame, rows) =
            result.unwrap_or_else(|| (Vec::new(), Rows::of(graphite_query::Batch::default())));
        match self.settle(more, rows, Source::Complete, &run.prepared, shared) {
            Ok(()) => Ok(self.as_seen(frame)),
            Err(error) => {
                self.fail_if_writing(shared);
                Err(error)
            }
        }
    }

    /// A statement that is a transaction of its own. As the victim of a deadlock it is run again: nobody was told
    /// anything of it, and others wait for its locks no more.
    pub(super) fn write_alone(&mut self, run: &DecodedRun, shared: &Shared) -> Result<ToCommit> {
        shared.counters.statements.fetch_add(1, Ordering::Relaxed);
        let mut pause = PAUSE_FIRST;
        for tries_left in (0..DEADLOCK_TRIES_MAX).rev() {
            let failure = match self.try_alone(run, shared) {
                Ok(commit) => return Ok(commit),
                Err(failure) => failure,
            };
            shared.counters.aborts.fetch_add(1, Ordering::Relaxed);
            let is_victim = matches!(failure, Failure::Lock(LockError::Deadlock(_)));
            if !is_victim || tries_left == 0 {
                return Err(self.explain(failure, shared));
            }
            // Those who met in the deadlock do not meet again in step.
            aside(|| self.interrupt.pause(pause.mul_f64(random())));
            pause = (pause * 2).min(PAUSE_MAX);
            if let Some(reason) = self.interrupt.reason() {
                return Err(reason.error());
            }
        }
        Err(WireError::new(ErrorCode::Internal, "a statement was tried not even once"))
    }

    fn try_alone(&mut self, run: &DecodedRun, shared: &Shared) -> std::result::Result<ToCommit, Failure> {
        let mut transaction = shared.begin(self.connection.session, &self.interrupt)?;
        let result = self.statement(&mut transaction, run, shared);
        self.seen = self.seen.max(transaction.seen_lsn());
        let (frame, rows) = result?;
        let rest = match rows {
            Some(rows) => {
                let share = self.state.room_for(&rows, &run.prepared, shared)?;
                Some(Rest { rows, share, prepared: run.prepared.clone() })
            }
            None => None,
        };
        if let Some(reason) = self.interrupt.reason() {
            return Err(reason.error().into());
        }
        Ok(ToCommit::statement(Box::new(transaction), frame, rest))
    }

    pub(super) fn fetch(&mut self, id: u64, count: u32, shared: &Shared) -> Result<Answer> {
        let Some(mut cursor) = self.state.cursors.remove(&id) else { return Err(no_cursor(id)) };
        let limits = shared.limits(Some(count));
        let budget = shared.budget(&self.interrupt);
        let (mut frame, msgid, prepared) = (Vec::new(), self.msgid, cursor.prepared.clone());
        let rows = &mut cursor.rows;
        let mut write =
            |view: &dyn Fetchable| view.fetch(rows, &mut frame, msgid, id, &prepared, limits, &budget);
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
        let result = match result {
            Ok(true) => cursor.rest().map(|()| Some(cursor)).map_err(Failure::from),
            Ok(false) => Ok(None),
            Err(failure) => Err(failure),
        };
        match result {
            Ok(left) => {
                if let Some(cursor) = left {
                    self.state.cursors.insert(id, cursor);
                }
                // A page of rows from a write transaction may rest on what is not durable.
                if self.state.writes() { Ok(self.as_seen(frame)) } else { Ok(Answer::now(frame)) }
            }
            Err(failure) => {
                let error = self.explain(failure, shared);
                if in_transaction {
                    self.fail_if_writing(shared);
                }
                Err(error)
            }
        }
    }
}

/// A number from 0 to 1.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    bits as f64 / u64::MAX as f64
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
        budget: &Budget,
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
                budget: &Budget,
            ) -> std::result::Result<bool, Failure> {
                rows.write_fetch(self, out, msgid, id, prepared, limits, budget)
            }
        }
    )*};
}
fetchable!(Snapshot, Transaction);

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
