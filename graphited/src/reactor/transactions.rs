//! Transactions as the reactor sees them: beginning, ending, and reading one's own commits.

use std::time::Instant;

use graphite_protocol::messages::{Begin, CommitReply, Empty, Mode};
use graphite_protocol::{ErrorCode, Token, WireError};

use super::Core;
use super::requests::state_is_away;
use super::session::{Doing, Postponed, Session};
use crate::errors;
use crate::job::Work;
use crate::state::{HeldSnapshot, Open, TransactionInfo};

type Result<T> = std::result::Result<T, WireError>;

/// Whether a session may read already.
pub(super) enum Readable {
    Now,
    AfterOwnCommit,
}

impl Core {
    /// Nobody reads below its own commit: whether that is visible by now, or never will be.
    pub(super) fn may_read(&self, session: &Session) -> Readable {
        let store = self.shared.db.store();
        if session.own_commit <= store.visible_lsn() || session.transaction.is_some() {
            return Readable::Now;
        }
        session.connection.await_visible();
        // Once more, for it may have become visible before it was asked to tell.
        if session.own_commit <= store.visible_lsn() || store.poisoned().is_some() {
            return Readable::Now;
        }
        Readable::AfterOwnCommit
    }

    /// A commit of the session has become visible, or never will. It may be that nothing waits for that any more, and
    /// that the session does something else by now.
    pub(super) fn own_commit_visible(&mut self, session: &mut Session) {
        self.schedule(session);
        let (msgid, postponed) = match std::mem::replace(&mut session.doing, Doing::Nothing) {
            Doing::AwaitsOwnCommit(waiting) => *waiting,
            other => {
                session.doing = other;
                return;
            }
        };
        let result = match postponed {
            Postponed::Run(run) => self.execute_run(session, msgid, run),
            Postponed::BeginRead => self.begin(session, msgid, Begin { mode: Mode::Read }),
        };
        if let Err(error) = result {
            self.reply_error(session, msgid, &error);
        }
    }

    pub(super) fn begin(&mut self, session: &mut Session, msgid: u32, begin: Begin) -> Result<()> {
        if session.transaction.is_some() {
            let message = "a transaction is open already; commit it or roll it back";
            return Err(WireError::new(ErrorCode::TransactionOpen, message));
        }
        if begin.mode == Mode::Write {
            return self.begin_write(session, msgid);
        }
        if let Readable::AfterOwnCommit = self.may_read(session) {
            session.doing = Doing::AwaitsOwnCommit(Box::new((msgid, Postponed::BeginRead)));
            return Ok(());
        }
        let snapshot = self.shared.db.snapshot().map_err(|error| errors::of_graph(&error))?;
        let info = TransactionInfo {
            id: self.shared.next_transaction(),
            mode: Mode::Read,
            since: Instant::now(),
            snapshot_lsn: Some(snapshot.reader().lsn().0),
        };
        if let Some(state) = &mut session.state {
            state.transaction = Some(Open::Read(Box::new(HeldSnapshot(snapshot))));
            state.info = Some(info);
        }
        session.transaction = Some(info);
        self.watch_transaction(session);
        self.reply(session, msgid, &Empty {});
        Ok(())
    }

    /// Begins to write at once if the session is admitted at once.
    fn begin_write(&mut self, session: &mut Session, msgid: u32) -> Result<()> {
        let id = session.id();
        let Some(state) = &mut session.state else { return Err(state_is_away()) };
        if !self.shared.try_admit(id)? {
            self.work(session, msgid, Work::Begin, None);
            return Ok(());
        }
        match self.shared.begin(id, &session.interrupt) {
            Ok(transaction) => {
                state.begin_write(transaction, self.shared.next_transaction());
                session.transaction = state.info;
                self.watch_transaction(session);
                self.reply(session, msgid, &Empty {});
                Ok(())
            }
            Err(error) => {
                self.shared.leave_admission(id);
                Err(error)
            }
        }
    }

    /// Rolls back what a session has open, and passes its place on: it asks for nothing more, but may stay for a while
    /// until its client has read what waits for it.
    pub(super) fn give_up(&mut self, session: &mut Session) {
        if let Some(state) = session.state.as_mut() {
            let open = std::mem::take(state);
            session.transaction = None;
            self.dispose(session.connection.session, open);
        }
    }

    /// `commit`. Of a transaction that only read no token is kept: there is nothing that could have been lost.
    pub(super) fn commit(&mut self, session: &mut Session, msgid: u32, token: Option<Token>) -> Result<()> {
        let Some(state) = &session.state else { return Err(state_is_away()) };
        if state.writes() {
            let under_way = token.map(|token| self.shared.tokens.begin(token));
            self.work(session, msgid, Work::Commit(under_way), None);
            return Ok(());
        }
        if let Some(error) = self.end_transaction(session)? {
            return Err(error);
        }
        self.reply(session, msgid, &CommitReply { lsn: 0 });
        Ok(())
    }

    /// `rollback`.
    pub(super) fn rollback(&mut self, session: &mut Session, msgid: u32) -> Result<()> {
        let Some(state) = &session.state else { return Err(state_is_away()) };
        if state.writes() {
            self.work(session, msgid, Work::Rollback, None);
            return Ok(());
        }
        self.end_transaction(session)?;
        self.reply(session, msgid, &Empty {});
        Ok(())
    }

    /// Ends a transaction that reads, or has failed. Returns why it failed, if it did.
    fn end_transaction(&mut self, session: &mut Session) -> Result<Option<WireError>> {
        let Some(state) = &mut session.state else { return Err(state_is_away()) };
        let ended = state.transaction.take();
        state.info = None;
        state.close_transaction_cursors();
        session.transaction = None;
        match ended {
            None => Err(WireError::new(ErrorCode::NoTransaction, "no transaction is open")),
            Some(Open::Failed(error)) => Ok(Some(error)),
            Some(open) => {
                self.shared.reads.give(move || drop(open));
                Ok(None)
            }
        }
    }
}
