//! Answers: all rows at once, or batch by batch.

use graphite_protocol::Value;
use graphite_protocol::messages::{Close, Fetch, RunReply, Summary};

use crate::client::Client;
use crate::error::{Error, Result};

/// A row: a value for each column.
pub type Row = Vec<Value>;

/// Rows that a fetch asks for when nobody said how many; the daemon sends fewer if they are long.
const FETCH_ROWS: u32 = 10_000;

/// All that a statement answered.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Answer {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
    /// What was changed.
    pub summary: Summary,
}

/// The rows of a statement, fetched in batches as they are asked for.
///
/// Dropped before its end, it closes the daemon's cursor. Outside a transaction a cursor has a snapshot of its
/// own, so all rows are of one moment.
#[derive(Debug)]
pub struct Rows<'c> {
    client: &'c mut Client,
    columns: Vec<String>,
    summary: Summary,
    batch: std::vec::IntoIter<Row>,
    cursor: Option<u64>,
    batch_rows: u32,
}

impl<'c> Rows<'c> {
    pub(crate) fn new(client: &'c mut Client, reply: RunReply, batch_rows: Option<u32>) -> Rows<'c> {
        let RunReply { columns, rows, cursor, summary } = reply;
        let batch_rows = batch_rows.unwrap_or(FETCH_ROWS);
        Rows { client, columns, summary, batch: rows.into_iter(), cursor, batch_rows }
    }

    /// Names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// What was changed.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The next batch of rows: at first what came with the answer. Empty at the end.
    ///
    /// # Errors
    /// The daemon's, or that of the connection; there are no rows after it.
    pub fn next_batch(&mut self) -> Result<Vec<Row>> {
        loop {
            let batch: Vec<Row> = std::mem::take(&mut self.batch).collect();
            if !batch.is_empty() {
                return Ok(batch);
            }
            // Taken out, so that after an error there is nothing more to fetch and nothing to close.
            let Some(cursor) = self.cursor.take() else {
                return Ok(batch);
            };
            let reply = self.client.call(&Fetch { cursor, n: self.batch_rows })?;
            if reply.rows.is_empty() && reply.cursor.is_some() {
                return Err(Error::protocol("a fetch brought no row, though there are more"));
            }
            self.batch = reply.rows.into_iter();
            self.cursor = reply.cursor;
        }
    }

    /// Gathers all rows that are left.
    ///
    /// # Errors
    /// As [`Rows::next_batch`].
    pub fn collect_all(mut self) -> Result<Answer> {
        let mut rows = self.next_batch()?;
        while self.cursor.is_some() {
            rows.extend(self.next_batch()?);
        }
        Ok(Answer { columns: std::mem::take(&mut self.columns), rows, summary: self.summary })
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        if let Some(row) = self.batch.next() {
            return Some(Ok(row));
        }
        match self.next_batch() {
            Ok(rows) => {
                self.batch = rows.into_iter();
                self.batch.next().map(Ok)
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if let Some(cursor) = self.cursor.take() {
            // The answer is read over by whoever receives next. If this fails, so will the next request.
            let _ = self.client.send(&Close { cursor }).and_then(|_| self.client.flush());
        }
    }
}
