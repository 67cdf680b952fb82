//! Requests that do not wait for earlier ones of their session: `ping`, `cancel`, `kill`, and what looks after the
//! daemon.
//!
//! Those that touch other sessions are put off until the session that asked is out of the reactor's hands; those that
//! may take a while are answered by threads of their own. A session may have few of them under way at a time, and stays
//! until they are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use graphite_protocol::message::{Body, write_error, write_response};
use graphite_protocol::messages::{
    Call, Cancel, CancelReply, Check, CheckReply, Checkpoint, CheckpointReply, Durability as WireDurability,
    Empty, Kill, KillReply, Locks, Ping, Problem, Request, Sessions, SessionsReply, Status, StatusReply,
};
use graphite_protocol::{ErrorCode, Wire, WireError};
use nix::unistd::{Uid, User};

use super::session::Session;
use super::{Core, Reactor};
use crate::config::Durability;
use crate::connection::Connection;
use crate::errors;
use crate::events::Event;
use crate::interrupt::Reason;
use crate::lock_words::LockWords;
use crate::monitor;
use crate::shared::Shared;
use crate::workers::Pool;

/// Requests that overtake and that a session may have under way at a time.
const OVERTAKING_MAX: usize = 16;
/// Problems that `check` tells, at most.
const PROBLEMS_MAX: usize = 100;

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
            _ => Asked::Status,
        };
        session.connection.overtaken();
        self.deferred.push(Deferred { session: session.id(), msgid, asked });
        true
    }

    /// Answers on a thread of its own, or with `busy` if the system has none to give. The reactor sends the answer, for
    /// it may be the last that a session waits for.
    fn on_its_own<T: Wire>(
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
                Ok(CancelReply { cancelled: self.core.stop_statement(session, Reason::Cancelled) })
            }
        };
        self.answer(asker, msgid, reply);
    }

    fn kill(&mut self, asker: u64, msgid: u32, kill: Kill) {
        let reply = self.other(asker, kill.session).and_then(|target| {
            let Some(session) = self.sessions.get_mut(&target) else { return Err(no_session(target)) };
            if session.transaction.map(|info| info.id) != kill.transaction {
                return Err(other_transaction(session, kill.transaction));
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

    /// The session that is meant, if the asking one may touch it: it is its own user's, or it is asked by the
    /// daemon's.
    fn other(&self, asker: u64, target: u64) -> Result<u64, WireError> {
        let asked_by = self.sessions.get(&asker).map(|session| session.peer.uid);
        let Some(session) = self.sessions.get(&target).filter(|session| !session.gone) else {
            return Err(no_session(target));
        };
        if asked_by.is_some_and(|uid| uid == session.peer.uid || uid == Uid::effective().as_raw()) {
            return Ok(target);
        }
        let message = format!("session {target} belongs to user {}", session.peer.uid);
        Err(WireError::new(ErrorCode::NotAuthorised, message))
    }

    fn list(&mut self, asker: u64, msgid: u32) {
        let Some(connection) = self.sessions.get(&asker).map(|session| session.connection.clone()) else {
            return;
        };
        let now = Instant::now();
        let (mut writers, _) = self.core.shared.admission.look();
        writers.sort_unstable();
        let known = self.sessions.values().filter(|session| session.client.is_some() && !session.gone);
        let mut sessions: Vec<_> = known.map(|session| session.row(now, &writers)).collect();
        sessions.sort_unstable_by_key(|row| row.session);
        // Names of users may come over the network, and those of locks from the disk.
        self.core.on_its_own(&self.core.shared.admin, &connection, msgid, move |shared| {
            monitor::add_locks(&mut sessions, &shared.db.locks().picture(), &mut LockWords::new(&shared.db));
            for row in &mut sessions {
                row.user = User::from_uid(Uid::from_raw(row.uid)).ok().flatten().map(|user| user.name);
            }
            Ok(SessionsReply { sessions })
        });
    }

    fn locks(&mut self, asker: u64, msgid: u32) {
        let Some(connection) = self.sessions.get(&asker).map(|session| session.connection.clone()) else {
            return;
        };
        let of = |session: &Session| Some((session.id(), session.transaction?.id));
        let transactions = self.sessions.values().filter_map(|session| of(session)).collect();
        self.core.on_its_own(&self.core.shared.admin, &connection, msgid, move |shared| {
            let picture = shared.db.locks().picture();
            Ok(monitor::locks_reply(&picture, &transactions, &mut LockWords::new(&shared.db)))
        });
    }

    fn status(&mut self, asker: u64, msgid: u32) {
        let Some(connection) = self.sessions.get(&asker).map(|session| session.connection.clone()) else {
            return;
        };
        let known = self.sessions.values().filter(|session| !session.gone);
        let sessions = known.clone().count() as u64;
        let transactions = known.filter(|session| session.transaction.is_some()).count() as u64;
        self.core.on_its_own(&self.core.shared.admin, &connection, msgid, move |shared| {
            status(shared, sessions, transactions)
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

fn status(shared: &Shared, sessions: u64, transactions: u64) -> Result<StatusReply, WireError> {
    let graph = shared.db.status().map_err(|error| errors::of_graph(&error))?;
    let store = shared.db.store().status();
    let ms = |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    let durable = shared.config.durability == Durability::On;
    Ok(StatusReply {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_ms: ms(shared.started),
        database: shared.database.display().to_string(),
        format_version: graphite_store::FORMAT_VERSION,
        durability: if durable { WireDurability::On } else { WireDurability::Off },
        read_only: store.poisoned.is_some(),
        poisoned: store.poisoned,
        nodes: graph.nodes,
        edges: graph.edges,
        sessions,
        sessions_max: shared.config.sessions_max,
        transactions,
        file_bytes: store.file_bytes,
        wal_bytes: store.wal_bytes,
        wal_used_bytes: store.applied.0.saturating_sub(store.redo.0),
        pages: u64::from(store.pages),
        pages_free: u64::from(store.pages_free),
        cache_bytes: store.cache_bytes as u64,
        cache_bytes_max: store.cache_bytes_max as u64,
        cache_misses: store.page_reads,
        dirty_pages: store.pages_dirty as u64,
        visible_lsn: store.visible.0,
        applied_lsn: store.applied.0,
        durable_lsn: store.visible.0,
        horizon_lsn: store.oldest_reader.map_or(store.visible.0, |oldest| oldest.0.min(store.visible.0)),
        checkpoint_lsn: store.redo.0,
        checkpoint_at_ms: store.last_checkpoint.map(|(ago, _)| ms_since_1970(ago)),
        checkpoints: store.checkpoints,
        commits: store.commits,
        aborts: shared.counters.aborts.load(Ordering::Relaxed),
        deadlocks: shared.db.locks().counters().deadlocks,
        syncs: store.log_syncs,
        statements: shared.counters.statements.load(Ordering::Relaxed),
    })
}

/// The system's time so long ago.
fn ms_since_1970(ago: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.saturating_sub(ago).as_millis()).unwrap_or(u64::MAX)
}

fn checkpoint(shared: &Shared) -> Result<CheckpointReply, WireError> {
    let before = shared.db.store().status().page_writes;
    shared.db.store().checkpoint().map_err(|error| errors::of_store(&error))?;
    let after = shared.db.store().status();
    Ok(CheckpointReply { lsn: after.redo.0, pages_written: after.page_writes.saturating_sub(before) })
}

fn check(shared: &Shared, stop: &AtomicBool) -> Result<CheckReply, WireError> {
    let report = shared.db.check_until(stop).map_err(|error| errors::of_graph(&error))?;
    let problems = report.problems.into_iter().take(PROBLEMS_MAX);
    Ok(CheckReply {
        pages: report.pages.len() as u64,
        nodes: report.nodes,
        edges: report.edges,
        problems: problems.map(|why| Problem { page: None, why }).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

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
