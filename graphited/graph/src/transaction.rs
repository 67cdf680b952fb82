//! A write transaction: reads of the newest applied graph under locks, and a write set laid over it.
//!
//! All changes stay in the [`WriteSet`] until [`Transaction::commit`] hands them to the applier. Reads go through
//! [`View`](crate::View), which a transaction implements as a snapshot does. Any number of transactions live side by side;
//! what each looks at and changes it locks until its end (`locks.rs` has the table), so the outcome is that of some order
//! one after another: the order of their commits.
//!
//! Invariants:
//! 1. An operation takes its locks first and reads then, under a pin that is at least as new as each of them. A lock was
//!    let go of only after what it protected was applied, so nothing is read that is older than a lock on it.
//! 2. Nobody waits for a lock with a pin of its own, for a pin keeps old pages.
//! 3. After a failed statement, and after a lock that was not to be had, the locks are gone, and everything but a
//!    rollback is refused.
//! 4. Whoever drops a transaction rolls it back: its leased slots return, and its locks go.
//!
//! Every change goes through `node_to_change` or `edge_to_change` (`changes.rs`), and every read through one function,
//! `with_view`.

mod changes;
mod reads;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use graphite_store::Lsn;
use graphite_store::locks::{LockCanceller, LockMode, LockName, OwnerId};

use crate::commit::{Continuation, Holdings, RELEASED_BY_LEADER_MAX, Work};
use crate::db::{GraphDb, Snapshot};
use crate::locks::{ReadIntent, TransactionLocks};
use crate::overlay::Overlay;
use crate::warm::warm;
use crate::write_set::WriteSet;
use crate::{Error, Result, tokens};

/// What a transaction has done so far, counted by operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Nodes created.
    pub nodes_created: u64,
    /// Nodes deleted.
    pub nodes_deleted: u64,
    /// Edges created.
    pub edges_created: u64,
    /// Edges deleted.
    pub edges_deleted: u64,
    /// Properties set or removed.
    pub properties_set: u64,
    /// Labels added.
    pub labels_added: u64,
    /// Labels removed.
    pub labels_removed: u64,
}

/// A commit that is applied. It is durable once the store says that `lsn` is visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitResult {
    /// What to wait for before anybody is told.
    pub lsn: Lsn,
    /// What was done.
    pub summary: Summary,
}

/// A write transaction. It may move from thread to thread.
pub struct Transaction {
    db: GraphDb,
    changes: WriteSet,
    holdings: Holdings,
    summary: Summary,
    summary_at_mark: Summary,
    has_failed: Cell<bool>,
    pinned: RefCell<Option<Snapshot>>,
    seen: Cell<Lsn>,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.id())
            .field("summary", &self.summary)
            .field("has_failed", &self.has_failed)
            .finish_non_exhaustive()
    }
}

impl Transaction {
    pub(crate) fn new(db: GraphDb, locks: TransactionLocks) -> Transaction {
        Transaction {
            holdings: Holdings::new(db.clone(), locks),
            changes: WriteSet::spilling(db.store(), db.write_set_memory_bytes()),
            db,
            summary: Summary::default(),
            summary_at_mark: Summary::default(),
            has_failed: Cell::new(false),
            pinned: RefCell::new(None),
            seen: Cell::new(Lsn(0)),
        }
    }

    /// What the lock manager calls it. The greater one is the younger one.
    pub fn id(&self) -> OwnerId {
        self.holdings.locks.id()
    }

    /// How many locks it holds.
    pub fn locks_held(&self) -> usize {
        self.holdings.locks.held()
    }

    /// How long it has waited for locks, all waits together.
    pub fn lock_waited(&self) -> Duration {
        self.holdings.locks.waited()
    }

    /// The longest that it waits for one lock; `None`: for ever.
    pub fn set_lock_timeout(&mut self, timeout: Option<Duration>) {
        self.holdings.locks.set_timeout(timeout);
    }

    /// The statement that runs now, for reports of deadlocks and monitors.
    pub fn set_statement(&mut self, statement: Arc<str>) {
        self.holdings.locks.set_statement(statement);
    }

    /// Ends its waits for locks, from any thread.
    pub fn lock_owner_canceller(&self) -> LockCanceller {
        self.holdings.locks.canceller()
    }

    /// What reads are for from now on, until it is said again or the statement ends.
    pub fn set_read_intent(&self, intent: ReadIntent) {
        self.holdings.locks.set_intent(intent);
    }

    /// The newest state that it has read from, which need not be durable: whoever is told what rests on it waits until
    /// that is visible. Zero if it has not read.
    pub fn seen_lsn(&self) -> Lsn {
        self.seen.get()
    }

    /// The database.
    pub fn db(&self) -> &GraphDb {
        &self.db
    }

    /// What was done so far; nothing after a failed statement.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// What was done since [`Transaction::begin_statement`].
    pub fn statement_summary(&self) -> Summary {
        let (now, mark) = (&self.summary, &self.summary_at_mark);
        Summary {
            nodes_created: now.nodes_created - mark.nodes_created,
            nodes_deleted: now.nodes_deleted - mark.nodes_deleted,
            edges_created: now.edges_created - mark.edges_created,
            edges_deleted: now.edges_deleted - mark.edges_deleted,
            properties_set: now.properties_set - mark.properties_set,
            labels_added: now.labels_added - mark.labels_added,
            labels_removed: now.labels_removed - mark.labels_removed,
        }
    }

    /// Whether nothing was changed, so that a commit appends nothing.
    pub fn is_unchanged(&self) -> bool {
        self.changes.is_empty()
    }

    /// Begins a statement: what it reads is pinned anew, and [`Transaction::statement_summary`] counts from here.
    ///
    /// # Errors
    /// [`Error::TransactionFailed`].
    pub fn begin_statement(&mut self) -> Result<()> {
        self.check_failed()?;
        self.rest();
        self.set_read_intent(ReadIntent::Share);
        self.summary_at_mark = self.summary;
        Ok(())
    }

    /// A statement failed, and the transaction with it: forgets all changes, lets go of all locks, and refuses everything
    /// but a rollback from now on.
    pub fn fail_statement(&mut self) {
        self.rest();
        self.changes = WriteSet::default();
        self.holdings.let_go();
        (self.summary, self.summary_at_mark) = (Summary::default(), Summary::default());
        self.has_failed.set(true);
    }

    /// Lets go of the pin, so that a transaction that waits for its client keeps no old pages. The next read pins
    /// anew.
    pub fn rest(&self) {
        if let Ok(mut pinned) = self.pinned.try_borrow_mut() {
            *pinned = None;
        }
    }

    /// Applies everything, as one group or as a part of one, and returns at once: whether it is durable is for the caller
    /// to wait for. Its locks go as soon as it is applied. A transaction without changes appends nothing, and its LSN is
    /// that of the newest state that it saw.
    ///
    /// # Errors
    /// [`Error::TransactionFailed`]; of the store (`TooLarge`, `DiskFull`, `Poisoned`), and limits of values and
    /// degrees: then nothing was changed, and the transaction is rolled back.
    pub fn commit(self) -> Result<CommitResult> {
        self.commit_as(None)
    }

    /// As [`Transaction::commit`], and notes in the same group that the commit of this token happened, so that
    /// [`GraphDb::commit_status`] tells. That makes a transaction without changes append something too.
    ///
    /// # Errors
    /// As [`Transaction::commit`]; `EmptyName` or `TooLong` for what is no token.
    pub fn commit_with_token(self, token: &[u8]) -> Result<CommitResult> {
        tokens::check_token(token)?;
        self.commit_as(Some(token))
    }

    /// As [`Transaction::commit`], or with a token as [`Transaction::commit_with_token`], but leaves it to others, and `None`
    /// is the answer: whoever calls [`GraphDb::apply_waiting`] or commits next applies it, sees to it that the log is synced,
    /// and tells `then` what came of it. The caller has the former called soon, until there is nothing left, and before this
    /// thread waits for a lock. Many commits that are applied together cost less.
    ///
    /// If there is nothing to be applied, or it would be no good to leave it, `then` comes back with what came of the commit.
    pub fn leave<C: Continuation>(self, token: Option<&[u8]>, then: C) -> Option<(C, Result<Lsn>)> {
        if self.locks_held() > RELEASED_BY_LEADER_MAX {
            let outcome = match token {
                Some(token) => self.commit_with_token(token),
                None => self.commit(),
            };
            return Some((then, outcome.map(|committed| committed.lsn)));
        }
        if let Some(Err(error)) = token.map(tokens::check_token) {
            return Some((then, Err(error)));
        }
        if let Some(outcome) = self.without_work(token) {
            return Some((then, outcome));
        }
        let db = self.db.clone();
        db.leave(self.close(token), Box::new(then));
        None
    }

    fn commit_as(self, token: Option<&[u8]>) -> Result<CommitResult> {
        let summary = self.summary;
        let lsn = match self.without_work(token) {
            Some(outcome) => outcome?,
            None => self.db.clone().commit(self.close(token))?,
        };
        Ok(CommitResult { lsn, summary })
    }

    /// What comes of a commit for which nothing has to be applied.
    fn without_work(&self, token: Option<&[u8]>) -> Option<Result<Lsn>> {
        if let Err(error) = self.check_failed() {
            return Some(Err(error));
        }
        (self.changes.is_empty() && token.is_none()).then(|| Ok(self.seen_lsn()))
    }

    /// Nothing is done in it any more: makes ready for the applier.
    fn close(self, token: Option<&[u8]>) -> Work {
        // What it says is said again, and heard, when the changes are applied.
        let _ = self.with_view(|view| warm(view.base().reader(), &self.changes));
        self.rest();
        let Transaction { changes, holdings, .. } = self;
        Work { changes, token: token.map(Box::from), holdings }
    }

    fn check_failed(&self) -> Result<()> {
        if self.has_failed.get() { Err(Error::TransactionFailed) } else { Ok(()) }
    }

    /// Takes a lock, and fails as a whole if it is not to be had: others may be waiting for what is held here.
    fn lock(&self, name: LockName, mode: LockMode) -> Result<()> {
        self.check_failed()?;
        self.holdings.locks.take(name, mode, || self.rest()).inspect_err(|_| {
            self.has_failed.set(true);
            self.rest();
            self.holdings.locks.release();
        })
    }

    fn lock_all(&self, names: impl IntoIterator<Item = LockName>, mode: LockMode) -> Result<()> {
        names.into_iter().try_for_each(|name| self.lock(name, mode))
    }

    fn pin(&self) -> Snapshot {
        let pin = self.db.pin();
        self.seen.set(self.seen.get().max(pin.reader().lsn()));
        pin
    }

    /// Reads: lays the write set over the newest applied state. That is pinned anew if locks were taken since and it has
    /// moved; and if the pin was so old that it was let down, once more.
    fn with_view<T>(&self, read: impl Fn(&Overlay<'_, graphite_store::Snapshot>) -> Result<T>) -> Result<T> {
        match self.with_view_once(&read) {
            Err(Error::Store(graphite_store::Error::SnapshotTooOld)) => {
                self.rest();
                self.with_view_once(&read)
            }
            answer => answer,
        }
    }

    /// As [`Transaction::with_view`], for what cannot be asked twice.
    fn with_view_once<T>(
        &self,
        read: impl FnOnce(&Overlay<'_, graphite_store::Snapshot>) -> Result<T>,
    ) -> Result<T> {
        self.check_failed()?;
        let locks = &self.holdings.locks;
        if let Ok(mut pinned) = self.pinned.try_borrow_mut() {
            let is_fresh =
                |pin: &Snapshot| !locks.has_news() || pin.reader().lsn() >= self.db.store().applied_lsn();
            if !pinned.as_ref().is_some_and(is_fresh) {
                *pinned = None;
                *pinned = Some(self.pin());
            }
            locks.forget_news();
        } else if locks.has_news() {
            // A question from within the answer to another, which goes on under its own pin.
            return read(&Overlay::new(&self.pin(), &self.changes));
        }
        let pinned = self.pinned.borrow();
        let base = pinned.as_ref().expect("it was pinned just now, or by whoever reads around this");
        read(&Overlay::new(base, &self.changes))
    }
}
