//! Requests that do not wait for earlier ones of their session: `ping`, `cancel`, `kill`, and what looks after the
//! daemon.
//!
//! Those that touch other sessions are put off until the session that asked is out of the reactor's hands; those that
//! may take a while are answered by threads of their own. A session may have few of them under way at a time, and stays
//! until they are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use graphite_protocol::message::{Body, write_error, write_response};
use graphite_protocol::messages::{
    Call, Cancel, CancelReply, Check, CheckReply, Checkpoint, CheckpointReply, Empty, Kill, KillReply, Locks,
    Ping, Request, Sessions, SessionsReply, Status, TakePicture, Watch,
};
use graphite_protocol::{ErrorCode, Wire, WireError};

use super::session::Session;
use super::{Core, Reactor};
use crate::connection::Connection;
use crate::errors;
use crate::events::Event;
use crate::interrupt::Reason;
use crate::lock_words::LockWords;
use crate::monitor;
use crate::offline;
use crate::shared::Shared;
use crate::status;
use crate::workers::Pool;

/// Requests that overtake and that a session may have under way at a time.
const OVERTAKING_MAX: usize = 16;

/// Something that one session asked of others.
#[derive(Debug)]
pub(super) struct Deferred {
    session: u64,
    msgid: u32,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Cancel(Cancel),
    Kill(Kill),
    Sessions,
    Locks,
    Status,
    Picture,
}

impl Core {
    /// Handles a request that overtakes; `false` if it is not one.
    pub(super) fn overtakes(
        &mut self,
        session: &mut Session,
        msgid: u32,
        method: &str,
        params: Body<'_>,
    ) -> bool {
        const OVERTAKING: &[&str] = &[
            Ping::METHOD,
            Cancel::METHOD,
            Kill::METHOD,
            Status::METHOD,
            Sessions::METHOD,
            Locks::METHOD,
            TakePicture::METHOD,
            Watch::METHOD,
            Checkpoint::METHOD,
            Check::METHOD,
        ];
        if !OVERTAKING.contains(&method) {
            return false;
        }
        let call = match Call::read(method, params) {
            Ok(call) => call,
            Err(error) => {
                self.refuse_now(session, msgid, &error);
                return true;
            }
        };
        let asked = match call {
            Call::Ping(_) => {
                self.reply_now(session, msgid, &Empty {});
                return true;
            }
            Call::Watch(watch) => {
                match self.watch_daemon(session, watch) {
                    Ok(()) => self.reply_now(session, msgid, &Empty {}),
                    Err(error) => self.refuse_now(session, msgid, &error),
                }
                return true;
            }
            _ if session.connection.overtaking() >= OVERTAKING_MAX => {
                let message = format!("{OVERTAKING_MAX} requests such as {method} are under way; await some");
                self.refuse_now(session, msgid, &WireError::new(ErrorCode::TooManyRequests, message));
                return true;
            }
            Call::Checkpoint(_) => {
                session.connection.overtaken();
                self.on_its_own(&self.shared.maintenance, &session.connection, msgid, checkpoint);
                return true;
            }
            Call::Check(_) => {
                session.connection.overtaken();
                let stop = session.connection.is_over().clone();
                let check = move |shared: &Shared| check(shared, &stop);
                self.on_its_own(&self.shared.maintenance, &session.connection, msgid, check);
                return true;
            }
            Call::Cancel(cancel) => Asked::Cancel(cancel),
            Call::Kill(kill) => Asked::Kill(kill),
            Call::Sessions(_) => Asked::Sessions,
            Call::Locks(_) => Asked::Locks,
            Call::TakePicture(_) => Asked::Picture,
            _ => Asked::Status,
        };
        session.connection.overtaken();
        self.deferred.push(Deferred { session: session.id(), msgid, asked });
        true
    }

    /// Answers on a thread of its own, or with `busy` if the system has none to give. The reactor sends the answer, for
    /// it may be the last that a session waits for.
    pub(super) fn on_its_own<T: Wire>(
        &self,
        pool: &Pool,
        connection: &Arc<Connection>,
        msgid: u32,
        work: impl FnOnce(&Shared) -> Result<T, WireError> + Send + 'static,
    ) {
        let (shared, asker) = (self.shared.clone(), connection.clone());
        let given = pool.try_give(move || {
            let reply = work(&shared);
            answer_overtaking(&shared, asker, msgid, reply);
        });
        if let Err(error) = given {
            let message = format!("the system has no thread for this: {error}; nothing was done");
            let refusal: Result<T, _> = Err(WireError::new(ErrorCode::Busy, message));
            answer_overtaking(&self.shared, connection.clone(), msgid, refusal);
        }
    }
}

impl Reactor {
    /// Does what sessions asked of others.
    pub(super) fn do_deferred(&mut self) {
        for Deferred { session, msgid, asked } in std::mem::take(&mut self.core.deferred) {
            match asked {
                Asked::Cancel(cancel) => self.cancel(session, msgid, cancel),
                Asked::Kill(kill) => self.kill(session, msgid, kill),
                Asked::Sessions => self.list(session, msgid),
                Asked::Locks => self.locks(session, msgid),
                Asked::Status => self.status(session, msgid),
                Asked::Picture => self.picture(session, msgid),
            }
        }
    }

    fn answer(&mut self, id: u64, msgid: u32, reply: Result<impl Wire, WireError>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match reply {
            Ok(reply) => self.core.reply_now(session, msgid, &reply),
            Err(error) => self.core.refuse_now(session, msgid, &error),
        }
        session.connection.overtaken_is_answered();
        session.connection.send(&self.core.shared.events);
    }

    fn cancel(&mut self, asker: u64, msgid: u32, cancel: Cancel) {
        let reply = match self.other(asker, cancel.session) {
            Err(error) => Err(error),
            Ok(target) => {
                let Some(session) = self.sessions.get_mut(&target) else { return };
                is_as_seen(session, cancel).map(|()| {
                    let cancelled = self.core.stop_statement(session, Reason::Cancelled);
                    CancelReply { cancelled }
                })
            }
        };
        self.answer(asker, msgid, reply);
    }

    fn kill(&mut self, asker: u64, msgid: u32, kill: Kill) {
        let reply = self.other(asker, kill.session).and_then(|target| {
            let Some(session) = self.sessions.get_mut(&target) else { return Err(no_session(target)) };
            let seen = kill.transaction.filter(|transaction| *transaction != 0);
            if session.transaction.map(|info| info.id) != seen {
                return Err(other_transaction(session, seen));
            }
            tracing::warn!(sid = target, by = asker, "session killed");
            self.core.stop_statement(session, Reason::Killed);
            session.closing = true;
            session.connection.is_over().store(true, Ordering::Release);
            session.waiting.clear();
            session.waiting_bytes = 0;
            self.core.schedule(session);
            Ok(KillReply { killed: true })
        });
        self.answer(asker, msgid, reply);
    }

    /// The session that is meant, if the asking one may touch it: it is its own user's, or it is asked by one who looks
    /// after the daemon.
    fn other(&self, asker: u64, target: u64) -> Result<u64, WireError> {
        let asked_by = self.sessions.get(&asker).map(|session| session.peer);
        let Some(session) = self.sessions.get(&target).filter(|session| !session.gone) else {
            return Err(no_session(target));
        };
        if asked_by.is_some_and(|asker| asker.uid == session.peer.uid || asker.is_admin()) {
            return Ok(target);
        }
        let message = format!("session {target} belongs to user {}", session.peer.uid);
        Err(WireError::new(ErrorCode::NotAuthorised, message))
    }

    fn list(&mut self, asker: u64, msgid: u32) {
        let Some(connection) = self.sessions.get(&asker).map(|session| session.connection.clone()) else {
            return;
        };
        let (mut sessions, writers) = self.rows(Instant::now());
        for row in sessions.iter_mut().filter(|row| row.awaits_admission) {
            row.blocked_by.clone_from(&writers);
        }
        // Names of users may come over the network, and those of locks from the disk.
        self.core.on_its_own(&self.core.shared.admin, &connection, msgid, move |shared| {
            monitor::complete(&mut sessions, &shared.db.locks().picture(), shared);
            Ok(SessionsReply { sessions })
        });
    }

    fn locks(&mut self, asker: u64, msgid: u32) {
        let Some(connection) = self.sessions.get(&asker).map(|session| session.connection.clone()) else {
            return;
        };
        let transactions = self.transactions();
        self.core.on_its_own(&self.core.shared.admin, &connection, msgid, move |shared| {
            let picture = shared.db.locks().picture();
            Ok(monitor::locks_reply(&picture, &transactions, &mut LockWords::new(&shared.db), &shared.people))
        });
    }

    fn status(&mut self, asker: u64, msgid: u32) {
        let Some(connection) = self.sessions.get(&asker).map(|session| session.connection.clone()) else {
            return;
        };
        let (sessions, transactions) = self.counts();
        self.core.on_its_own(&self.core.shared.admin, &connection, msgid, move |shared| {
            status::status(shared, shared.db.store().status_at_once(), sessions, transactions)
        });
    }
}

fn no_session(session: u64) -> WireError {
    let message = format!("there is no session {session}; it may have gone. Nothing was done");
    WireError::new(ErrorCode::SessionNotFound, message)
}

/// The caller saw the session in another transaction than it is in.
fn other_transaction(session: &Session, seen: Option<u64>) -> WireError {
    let words = |transaction: Option<u64>| {
        transaction.map_or("no transaction".to_owned(), |number| format!("transaction {number}"))
    };
    let message = format!(
        "session {} is in {} by now, and not in {}; nothing was done",
        session.id(),
        words(session.transaction.map(|info| info.id)),
        words(seen)
    );
    WireError::new(ErrorCode::TransactionNotFound, message)
}

/// Whether the session does what the caller saw it do.
fn is_as_seen(session: &Session, cancel: Cancel) -> Result<(), WireError> {
    let seen = cancel.transaction.map(|transaction| Some(transaction).filter(|number| *number != 0));
    if let Some(seen) = seen.filter(|seen| *seen != session.transaction.map(|info| info.id)) {
        return Err(other_transaction(session, seen));
    }
    if let Some(seen) = cancel.statement.filter(|seen| *seen != session.statement_number) {
        let (id, now) = (session.id(), session.statement_number);
        let message =
            format!("session {id} is at its statement {now} by now, and not at {seen}; nothing was done");
        return Err(WireError::new(ErrorCode::StatementNotFound, message));
    }
    Ok(())
}

fn answer_overtaking(
    shared: &Shared,
    connection: Arc<Connection>,
    msgid: u32,
    reply: Result<impl Wire, WireError>,
) {
    let mut frame = Vec::new();
    match reply {
        Ok(reply) => write_response(&mut frame, msgid, &reply, shared.frame_bytes_max()),
        Err(error) => write_error(&mut frame, msgid, &error, shared.frame_bytes_max()),
    }
    connection.outbox.add(&frame);
    connection.overtaken_is_answered();
    shared.events.post(Event::Send { connection });
}

fn checkpoint(shared: &Shared) -> Result<CheckpointReply, WireError> {
    let before = shared.db.store().status().page_writes;
    shared.db.store().checkpoint().map_err(|error| errors::of_store(&error))?;
    let after = shared.db.store().status();
    Ok(CheckpointReply { lsn: after.redo.0, pages_written: after.page_writes.saturating_sub(before) })
}

fn check(shared: &Shared, stop: &AtomicBool) -> Result<CheckReply, WireError> {
    let report = shared.db.check_until(stop).map_err(|error| errors::of_graph(&error))?;
    Ok(offline::check_reply(report, None))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use graphite_protocol::message::{Message, write_request};
    use graphite_protocol::messages::Hello;
    use graphite_protocol::{FRAME_BYTES_MAX, FrameReader};

    use super::*;
    use crate::reactor::FIRST_SESSION;
    use crate::reactor::tests::with_client;

    /// Before the database is closed, whatever was begun has ended.
    #[test]
    fn no_task_outlives_its_pool() {
        let pools: [fn(&Shared) -> &Pool; 4] =
            [|s| &s.admin, |s| &s.maintenance, |s| &s.reads, |s| &s.writes];
        for pool in pools {
            let dir = tempfile::tempdir().unwrap();
            let (reactor, _client) = with_client(dir.path(), |_| {});
            let shared = &reactor.core.shared;
            let is_done = Arc::new(AtomicBool::new(false));
            let (begin, begun) = std::sync::mpsc::channel();
            pool(shared).give({
                let is_done = is_done.clone();
                move || {
                    begin.send(()).unwrap();
                    std::thread::sleep(Duration::from_millis(50));
                    is_done.store(true, Ordering::SeqCst);
                }
            });
            begun.recv().unwrap();
            shared.close_pools();
            assert!(is_done.load(Ordering::SeqCst));
        }
    }

    /// A system that has no thread to give ends nothing but the request.
    #[test]
    fn what_needs_a_thread_that_there_is_not_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (mut reactor, mut client) = with_client(dir.path(), |shared| {
            shared.admin = Pool::without_threads("admin");
            shared.maintenance = Pool::without_threads("maintenance");
        });
        let mut sent = Vec::new();
        let hello = Hello { protocol: 1, client: "test/1".into(), monitor: None };
        write_request(&mut sent, 1, &hello, FRAME_BYTES_MAX).unwrap();
        write_request(&mut sent, 2, &Status {}, FRAME_BYTES_MAX).unwrap();
        write_request(&mut sent, 3, &Check {}, FRAME_BYTES_MAX).unwrap();
        write_request(&mut sent, 4, &Ping {}, FRAME_BYTES_MAX).unwrap();
        client.write_all(&sent).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        // As the poll would tell.
        reactor.sessions.get_mut(&FIRST_SESSION).unwrap().read_closed = true;
        for _ in 0..3 {
            reactor.look_at_ready();
            reactor.take_events();
        }
        assert!(reactor.sessions.is_empty(), "everything is answered, and it asks for no more");
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        reader.feed(&bytes);
        let mut answers = Vec::new();
        while let Some(frame) = reader.next_frame().unwrap() {
            let Ok(Message::Response { msgid, result }) = Message::read(frame) else { panic!("no response") };
            answers.push((msgid, result.err().map(|error| error.code)));
        }
        answers.sort_unstable_by_key(|(msgid, _)| *msgid);
        let busy = Some(ErrorCode::Busy);
        assert_eq!(answers, [(1, None), (2, busy.clone()), (3, busy), (4, None)]);
    }
}
