//! What a session has open: its transaction and its cursors. It travels: the reactor has it while the session rests,
//! and the worker that runs its statement while it does not. So nobody ever waits for it.

use std::sync::Arc;
use std::time::Instant;

use graphite_graph::{Snapshot, Transaction};
use graphite_protocol::messages::Mode;
use graphite_protocol::{ErrorCode, WireError};
use rustc_hash::FxHashMap;

use crate::plans::Prepared;
use crate::resting::Share;
use crate::rows::Rows;
use crate::shared::{Shared, to_usize};

/// A transaction that spans several statements.
#[derive(Debug)]
pub(crate) enum Open {
    /// Reads, all from one snapshot.
    Read(Box<HeldSnapshot>),
    /// Reads and changes.
    Write(Box<Transaction>),
    /// It failed and was rolled back already; it still has to be ended by the client.
    Failed(WireError),
}

/// A snapshot, for those who print what they hold.
pub(crate) struct HeldSnapshot(pub Snapshot);

impl std::fmt::Debug for HeldSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({:?})", self.0.reader().lsn())
    }
}

/// What the reactor knows of a transaction while its state is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransactionInfo {
    /// Its number.
    pub id: u64,
    /// What it may do.
    pub mode: Mode,
    /// When it began.
    pub since: Instant,
    /// What its snapshot sees.
    pub snapshot_lsn: Option<u64>,
}

/// Where the rows of a cursor come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A snapshot of its own.
    Own(Box<HeldSnapshot>),
    /// The session's transaction.
    Transaction,
    /// Nowhere: they are all there.
    Complete,
}

/// A cursor.
#[derive(Debug)]
pub(crate) struct OpenCursor {
    /// The rows that are left.
    pub rows: Rows,
    /// Where they come from.
    pub source: Source,
    /// The statement.
    pub prepared: Arc<Prepared>,
    /// When it was used last.
    pub used: Instant,
    /// What it has of the memory for cursors.
    pub share: Share,
}

/// What a session has open.
#[derive(Debug, Default)]
pub(crate) struct SessionState {
    /// The transaction, if the client began one.
    pub transaction: Option<Open>,
    /// Its number and so on, as long as the client has not ended it.
    pub info: Option<TransactionInfo>,
    /// By number.
    pub cursors: FxHashMap<u64, OpenCursor>,
    /// Cursors ever opened.
    pub last_cursor: u64,
}

impl OpenCursor {
    /// It rests again, after some of its rows were fetched.
    ///
    /// # Errors
    /// `too-large` if it keeps much more than before and there is no room for that.
    pub(crate) fn rest(&mut self) -> Result<(), WireError> {
        self.used = Instant::now();
        self.share.resize(self.rows.memory_bytes() + self.prepared.memory_bytes)
    }
}

impl SessionState {
    /// A write transaction has begun.
    pub(crate) fn begin_write(&mut self, transaction: Transaction, id: u64) {
        self.transaction = Some(Open::Write(Box::new(transaction)));
        self.info =
            Some(TransactionInfo { id, mode: Mode::Write, since: Instant::now(), snapshot_lsn: None });
    }

    /// Whether a write transaction is open: its session is admitted until that has ended.
    pub(crate) fn writes(&self) -> bool {
        matches!(self.transaction, Some(Open::Write(_)))
    }

    /// The error of a transaction that failed.
    pub(crate) fn failed(&self) -> Option<&WireError> {
        if let Some(Open::Failed(error)) = &self.transaction { Some(error) } else { None }
    }

    /// A statement that makes rows may leave some to a cursor only if there is room for that: the session may have one
    /// more, and all that rest do not keep too much.
    ///
    /// # Errors
    /// `too-many-requests`.
    pub(crate) fn room_for(
        &self,
        rows: &Rows,
        prepared: &Prepared,
        shared: &Shared,
    ) -> Result<Share, WireError> {
        if self.cursors.len() < to_usize(shared.config.cursors_max) {
            return shared.cursor_room.take(rows.memory_bytes() + prepared.memory_bytes);
        }
        let message =
            format!("the session has {} cursors open, and may have no more; close some", self.cursors.len());
        Err(WireError::new(ErrorCode::TooManyRequests, message))
    }

    /// The number of the next cursor.
    pub(crate) fn next_cursor(&self) -> u64 {
        self.last_cursor + 1
    }

    /// Keeps the rows that are left, as the next cursor.
    pub(crate) fn keep(&mut self, rows: Rows, source: Source, prepared: Arc<Prepared>, share: Share) {
        self.last_cursor += 1;
        let cursor = OpenCursor { rows, source, prepared, used: Instant::now(), share };
        self.cursors.insert(self.last_cursor, cursor);
    }

    /// Closes the cursors that read from the transaction.
    pub(crate) fn close_transaction_cursors(&mut self) {
        self.cursors.retain(|_, cursor| !matches!(cursor.source, Source::Transaction));
    }

    /// Whether dropping it may take a while: snapshots that were held long leave old versions to be pruned.
    pub(crate) fn is_heavy(&self) -> bool {
        self.transaction.is_some() || !self.cursors.is_empty()
    }
}
