//! Rows of an answer on their way into responses: some now, the others when the client fetches them.
//!
//! 1. An answer ends after so many rows or bytes, whatever comes first, and has at least one row if there is one.
//! 2. What was taken from the cursor and did not fit is kept and comes first next time.
//! 3. An answer that cannot be sent is an error of its statement, known before anything of that is committed or kept.

use std::sync::Arc;

use graphite_graph::{View, catalog::Catalog};
use graphite_protocol::message::{abandon_response, begin_response, end_response};
use graphite_protocol::messages::Summary;
use graphite_protocol::{Encoder, FetchWriter, RowsWriter, WireError};
use graphite_query as query;
use graphite_query::{Batch, Budget, Cursor, Progress};
use graphite_store::locks::LockError;

use crate::plans::Prepared;
use crate::{encode, errors};

/// Rows that are taken from a cursor at first; more at a time once it is known how long they are.
const FIRST_BATCH_ROWS: usize = 32;
/// Most rows that are taken from a cursor at a time.
const BATCH_ROWS_MAX: usize = 1024;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A page is not in memory, or it takes too long, on a thread that must not wait.
    NotHere,
    /// A lock was not got: the transaction has failed as a whole.
    Lock(LockError),
    /// What the client is told.
    Error(WireError),
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Failure {
        Failure::Error(error)
    }
}

impl From<query::Error> for Failure {
    fn from(error: query::Error) -> Failure {
        use graphite_graph::Error::{Lock, Store};
        match &error {
            query::Error::StepLimit { .. } => Failure::NotHere,
            _ => match error.graph() {
                Some(Store(graphite_store::Error::NotCached)) => Failure::NotHere,
                Some(Lock(lock)) => Failure::Lock(lock.clone()),
                _ => Failure::Error(errors::of_query(&error)),
            },
        }
    }
}

impl From<graphite_graph::Error> for Failure {
    fn from(error: graphite_graph::Error) -> Failure {
        match error {
            graphite_graph::Error::Lock(lock) => Failure::Lock(lock),
            error => Failure::Error(errors::of_graph(&error)),
        }
    }
}

/// How long an answer may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Rows.
    pub rows: usize,
    /// Bytes of rows.
    pub bytes: usize,
    /// Bytes of the frame.
    pub frame_bytes: usize,
}

/// The rows of a statement that are not written yet.
pub(crate) struct Rows {
    /// Where more come from; `None`: what is in `batch` is all.
    cursor: Option<Cursor>,
    batch: Batch,
    /// Rows of `batch` that are written.
    written: usize,
    /// Rows of the answer that was written last.
    sent: usize,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("written", &self.written).finish_non_exhaustive()
    }
}

/// Either kind of answer that has rows.
enum Writer {
    Run(RowsWriter),
    Fetch(FetchWriter),
}

impl Writer {
    fn row(&mut self, out: &mut Encoder<'_>) {
        match self {
            Writer::Run(writer) => writer.row(out),
            Writer::Fetch(writer) => writer.row(out),
        }
    }

    fn count(&self) -> usize {
        match self {
            Writer::Run(writer) => writer.count(),
            Writer::Fetch(writer) => writer.count(),
        }
    }
}

impl Rows {
    /// The rows of a plan that only reads.
    ///
    /// # Errors
    /// `bad-request` for a plan that makes no sense.
    pub(crate) fn open(prepared: &Prepared, params: &Arc<query::Params>) -> Result<Rows, WireError> {
        let cursor = Cursor::open(prepared.plan.clone(), params.clone());
        let cursor = cursor.map_err(|error| errors::of_query(&error))?;
        Ok(Rows { cursor: Some(cursor), batch: Batch::default(), written: 0, sent: 0 })
    }

    /// Rows that are there already.
    pub(crate) fn of(batch: Batch) -> Rows {
        Rows { cursor: None, batch, written: 0, sent: 0 }
    }

    /// How many of them the last answer has.
    pub(crate) fn sent(&self) -> u64 {
        self.sent as u64
    }

    /// About how many bytes they keep in memory while they rest.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.batch.bytes() + self.cursor.as_ref().map_or(0, Cursor::memory_bytes)
    }

    /// Writes the answer of `run`; `true` if rows are left, which the client then fetches from cursor `id`. After an
    /// error nothing is written, and rows may be lost: there is no going on.
    ///
    /// # Errors
    /// Of the statement; `too-large` if the answer does not fit into a frame.
    #[expect(clippy::too_many_arguments, reason = "an answer is made of all this")]
    pub(crate) fn write_run(
        &mut self,
        view: &impl View,
        out: &mut Vec<u8>,
        msgid: u32,
        id: u64,
        prepared: &Prepared,
        summary: Option<&Summary>,
        limits: Limits,
        budget: &Budget,
    ) -> Result<bool, Failure> {
        let mark = begin_response(out, msgid);
        let mut writer = Writer::Run(RowsWriter::begin(&mut Encoder::new(out), prepared.columns.iter()));
        let result = self.write(view, out, &mut writer, limits, budget);
        match (result, writer) {
            (Ok(more), Writer::Run(writer)) => {
                self.sent = writer.count();
                writer.finish(&mut Encoder::new(out), more.then_some(id), summary);
                end_response(out, mark, limits.frame_bytes)?;
                Ok(more)
            }
            (result, _) => {
                abandon_response(out, mark);
                result
            }
        }
    }

    /// Writes the answer of `fetch`, as [`Rows::write_run`].
    ///
    /// # Errors
    /// As [`Rows::write_run`].
    #[expect(clippy::too_many_arguments, reason = "an answer is made of all this")]
    pub(crate) fn write_fetch(
        &mut self,
        view: &impl View,
        out: &mut Vec<u8>,
        msgid: u32,
        id: u64,
        prepared: &Prepared,
        limits: Limits,
        budget: &Budget,
    ) -> Result<bool, Failure> {
        let mark = begin_response(out, msgid);
        let mut writer = Writer::Fetch(FetchWriter::begin(&mut Encoder::new(out), prepared.columns.len()));
        let result = self.write(view, out, &mut writer, limits, budget);
        match (result, writer) {
            (Ok(more), Writer::Fetch(writer)) => {
                writer.finish(&mut Encoder::new(out), more.then_some(id));
                end_response(out, mark, limits.frame_bytes)?;
                Ok(more)
            }
            (result, _) => {
                abandon_response(out, mark);
                result
            }
        }
    }

    /// Writes rows until a limit or the end; `true` if rows are left.
    fn write(
        &mut self,
        view: &impl View,
        out: &mut Vec<u8>,
        writer: &mut Writer,
        limits: Limits,
        budget: &Budget,
    ) -> Result<bool, Failure> {
        let begin = out.len();
        let mut take = FIRST_BATCH_ROWS;
        loop {
            // Taken anew for each batch: it knows at least every name in it.
            let catalog = view.catalog();
            if !self.write_batch(&catalog, out, writer, limits, begin)? {
                return Ok(true);
            }
            let Some(cursor) = &mut self.cursor else { return Ok(false) };
            let room = limits.rows - writer.count();
            if room == 0 {
                // Whether there are more is told by looking, so that no cursor is left open for nothing.
                return self.look_ahead(view, budget);
            }
            let progress = cursor.next_batch(view, take.min(room), &mut self.batch, budget)?;
            self.written = 0;
            if progress == Progress::Done {
                self.cursor = None;
            }
            take = (take * 2).min(BATCH_ROWS_MAX);
        }
    }

    /// Writes what is in the batch; `false` if a limit came before its end.
    fn write_batch(
        &mut self,
        catalog: &Catalog,
        out: &mut Vec<u8>,
        writer: &mut Writer,
        limits: Limits,
        begin: usize,
    ) -> Result<bool, WireError> {
        for row in self.batch.rows().skip(self.written) {
            let is_full = out.len() - begin >= limits.bytes || writer.count() >= limits.rows;
            if is_full && writer.count() > 0 {
                return Ok(false);
            }
            let mut out = Encoder::new(out);
            writer.row(&mut out);
            row.iter().try_for_each(|cell| encode::cell(&mut out, cell, catalog))?;
            self.written += 1;
        }
        self.batch.clear();
        self.written = 0;
        Ok(true)
    }

    fn look_ahead(&mut self, view: &impl View, budget: &Budget) -> Result<bool, Failure> {
        let Some(cursor) = &mut self.cursor else { return Ok(false) };
        let progress = cursor.next_batch(view, 1, &mut self.batch, budget)?;
        self.written = 0;
        if progress == Progress::Done {
            self.cursor = None;
        }
        Ok(!self.batch.is_empty())
    }
}
