//! Transactions as the reactor sees them: beginning, ending, and reading one's own commits.

use std::time::Instant;

use graphite_protocol::messages::{Begin, CommitReply, Empty, Mode};
use graphite_protocol::{ErrorCode, Token, WireError};

use super::Core;
use super::requests::state_is_away;
use super::session::{Doing, Postponed, Session};
use crate::errors;
use crate::job::Work;
use crate::state::{HeldSnapshot, Open, SessionState, TransactionInfo};

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

    /// A statement of the session's write transaction has failed before it reached a worker.
    pub(super) fn fail_writing(&mut self, session: &mut Session, error: WireError) {
        if session.state.as_ref().is_some_and(|state| matches!(state.transaction, Some(Open::Write(_)))) {
            self.fail(session, error);
        }
    }

    /// The session's transaction has failed: it is rolled back, and all that is left for its client is to end it.
    pub(super) fn fail(&mut self, session: &mut Session, error: WireError) {
        let Some(state) = session.state.as_mut() else { return };
        state.close_transaction_cursors();
        let info = state.info;
        let transaction = state.transaction.replace(Open::Failed(error));
        let ended = SessionState { transaction, info, ..Default::default() };
        self.dispose(session.id(), ended);
    }

    /// `commit`. Of a transaction that only read no token is kept: there is nothing that could have been lost.
    pub(super) fn commit(&mut self, session: &mut Session, msgid: u32, token: Option<Token>) -> Result<()> {
        let Some(state) = &session.state else { return Err(state_is_away()) };
        if state.writes() {
            let under_way = token.map(|token| self.shared.tokens.begin(token));
            if under_way.is_some() && session.connection.is_hung_up() {
                // It has waited for an earlier request, and somebody may have been told meanwhile that it did not happen.
                // Whoever asks from now on finds it under way: so either it is told so, or it does not happen.
                session.gone_soon();
                return Err(WireError::new(ErrorCode::Cancelled, "the client is gone"));
            }
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use graphite_protocol::message::write_request;
    use graphite_protocol::messages::{Commit, Hello};
    use graphite_protocol::{FRAME_BYTES_MAX, Token};

    use super::*;
    use crate::reactor::FIRST_SESSION;
    use crate::reactor::tests::with_client;

    /// The client is gone before its commit is looked at, and the reactor has not heard of that: whoever asked meanwhile
    /// was told that it did not happen.
    #[test]
    fn a_commit_with_a_token_whose_client_is_gone_does_not_happen() {
        let dir = tempfile::tempdir().unwrap();
        let (mut reactor, mut client) = with_client(dir.path(), |_| {});
        let token = Token::new("lost").unwrap();
        let mut sent = Vec::new();
        write_request(
            &mut sent,
            1,
            &Hello { protocol: 1, client: "test/1".into(), monitor: None },
            FRAME_BYTES_MAX,
        )
        .unwrap();
        write_request(&mut sent, 2, &Begin { mode: Mode::Write }, FRAME_BYTES_MAX).unwrap();
        client.write_all(&sent).unwrap();
        reactor.look_at_ready();
        sent.clear();
        write_request(&mut sent, 3, &Commit { token: Some(token.clone()) }, FRAME_BYTES_MAX).unwrap();
        client.write_all(&sent).unwrap();
        drop(client);
        let session = reactor.sessions.get_mut(&FIRST_SESSION).unwrap();
        assert!(session.transaction.is_some());
        session.readable = true;
        reactor.core.schedule(session);
        reactor.look_at_ready();
        reactor.core.shared.writes.close();
        reactor.take_events();
        assert!(reactor.sessions.is_empty());
        let shared = &reactor.core.shared;
        assert!(shared.tokens.wait_for(&token, std::time::Duration::ZERO));
        assert_eq!(shared.db.commit_status_applied(token.as_bytes()).unwrap(), None);
        assert_eq!(shared.admission.look().0, []);
    }
}
