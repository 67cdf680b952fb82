//! What happens when a deadline has come.
//!
//! Deadlines of sessions that are busy most of the time are not moved at every request: when one comes, it is looked
//! up when the session was last active, and the deadline set anew if that was not long enough ago.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use graphite_protocol::{ErrorCode, WireError};

use super::requests::after;
use super::session::{Doing, Session};
use super::{Core, Reactor};
use crate::interrupt::Reason;
use crate::state::Source;
use crate::timers::{DAEMON, Kind};

impl Core {
    /// A transaction is open: its client has to be heard of now and then.
    pub(super) fn watch_transaction(&mut self, session: &Session) {
        self.watch(session, Kind::IdleTransaction, self.shared.config.idle_in_transaction_timeout_ms);
    }

    /// A session is there: its client has to be heard of now and then.
    pub(super) fn watch_idle(&mut self, session: &Session) {
        self.watch(session, Kind::Idle, self.shared.config.idle_timeout_ms);
    }

    /// A cursor is open: it may not rest for ever.
    pub(super) fn watch_cursors(&mut self, session: &Session) {
        self.watch(session, Kind::Cursors, self.shared.config.cursor_timeout_ms);
    }

    fn watch(&mut self, session: &Session, kind: Kind, timeout_ms: u64) {
        if timeout_ms > 0 && !self.timers.has(session.id(), kind) {
            self.timers.set(session.id(), kind, after(Instant::now(), timeout_ms));
        }
    }

    /// A client has stopped reading: it has to have read something by and by.
    pub(super) fn client_stalls(&mut self, session: &mut Session) {
        // A deadline that an earlier block has set measures from there: it says nothing of what left in between.
        if !self.timers.has(session.id(), Kind::Stall) {
            session.stalled_at = session.connection.outbox.progress();
        }
        self.watch(session, Kind::Stall, self.shared.config.client_stall_timeout_ms);
        // The socket may have had room again before anybody waited for it; registering tells.
        if let Err(error) = self.await_room(session, true) {
            tracing::error!(sid = session.id(), %error, "a blocked connection cannot be watched");
        }
        self.schedule(session);
    }

    /// Stops what a session is doing, if it does anything that can be stopped. Returns whether it was. The state of a
    /// session that waits is here again; its request gets the error.
    pub(super) fn stop_statement(&mut self, session: &mut Session, reason: Reason) -> bool {
        match &session.doing {
            Doing::Nothing => false,
            Doing::Working { interruptible, .. } => {
                session.interrupt.raise(reason);
                *interruptible
            }
            Doing::Decoding => {
                session.interrupt.raise(reason);
                true
            }
            Doing::AwaitsAdmission => {
                if !self.withdraw(session, reason) {
                    // It is admitted by now, and has a worker.
                    session.interrupt.raise(reason);
                }
                true
            }
            Doing::AwaitsOwnCommit(waiting) => {
                let msgid = waiting.0;
                session.doing = Doing::Nothing;
                self.reply_error(session, msgid, &reason.error());
                self.schedule(session);
                true
            }
        }
    }

    /// Takes a request back that waits to be admitted, and answers it so; `false` if it is admitted by now.
    pub(super) fn withdraw(&mut self, session: &mut Session, reason: Reason) -> bool {
        let Some(job) = self.shared.admission.withdraw(session.id()) else { return false };
        let msgid = job.msgid;
        self.came_back(session, *job);
        self.reply_error(session, msgid, &reason.error());
        true
    }

    /// A request does not wait to be admitted any more, or was not.
    pub(super) fn came_back(&mut self, session: &mut Session, job: crate::job::Job) {
        session.doing = Doing::Nothing;
        session.state = Some(job.state);
        self.timers.clear(session.id(), Kind::Admission);
        self.timers.clear(session.id(), Kind::Statement);
        self.schedule(session);
    }

    fn was_not_admitted(&mut self, session: &mut Session) {
        let Some(job) = self.shared.admission.withdraw(session.id()) else { return };
        let msgid = job.msgid;
        self.came_back(session, *job);
        let message = format!(
            "{} transactions may write at a time, and none of them ended within {} ms; nothing was done",
            self.shared.config.write_transactions_max, self.shared.config.lock_timeout_ms
        );
        self.reply_error(session, msgid, &WireError::new(ErrorCode::LockTimeout, message));
    }

    fn transaction_idle(&mut self, session: &mut Session, now: Instant) {
        let timeout_ms = self.shared.config.idle_in_transaction_timeout_ms;
        let idle_until = after(session.last_active, timeout_ms);
        let Some(state) = session.state.as_mut().filter(|_| matches!(session.doing, Doing::Nothing)) else {
            return self.timers.set(session.id(), Kind::IdleTransaction, after(now, timeout_ms));
        };
        if state.transaction.is_none() || state.failed().is_some() {
            return;
        }
        if idle_until > now {
            return self.timers.set(session.id(), Kind::IdleTransaction, idle_until);
        }
        tracing::info!(
            sid = session.connection.session,
            timeout_ms,
            "a transaction was idle for too long and is rolled back"
        );
        let message = format!(
            "the transaction was idle for {timeout_ms} ms, and was rolled back; end it with rollback"
        );
        self.shared.counters.timeouts.fetch_add(1, Ordering::Relaxed);
        self.fail(session, WireError::new(ErrorCode::Timeout, message));
    }

    fn session_idle(&mut self, session: &mut Session, now: Instant) {
        let timeout_ms = self.shared.config.idle_timeout_ms;
        let idle_until = after(session.last_active, timeout_ms);
        // Who watches has no reason to say anything.
        let is_idle = session.is_quiet() && session.watch.is_none();
        let idle_until = if is_idle { idle_until } else { after(now, timeout_ms) };
        if idle_until > now {
            return self.timers.set(session.id(), Kind::Idle, idle_until);
        }
        tracing::info!(sid = session.id(), timeout_ms, "a session said nothing for too long and is closed");
        session.closing = true;
        self.schedule(session);
    }

    fn cursors_rest(&mut self, session: &mut Session, now: Instant) {
        let timeout_ms = self.shared.config.cursor_timeout_ms;
        if let Some(state) = &mut session.state {
            let too_old = |used: Instant| after(used, timeout_ms) <= now;
            // Cursors of a transaction cost nothing of their own.
            let expired: Vec<u64> = state
                .cursors
                .iter()
                .filter(|(_, cursor)| !matches!(cursor.source, Source::Transaction) && too_old(cursor.used))
                .map(|(id, _)| *id)
                .collect();
            let expired: Vec<_> = expired.iter().filter_map(|id| state.cursors.remove(id)).collect();
            self.shared.reads.give(move || drop(expired));
            if state.cursors.is_empty() {
                return;
            }
        }
        self.timers.set(session.id(), Kind::Cursors, now + Duration::from_millis(timeout_ms / 4 + 1));
    }
}

impl Reactor {
    /// Does what is due.
    pub(super) fn take_deadlines(&mut self) {
        if self.core.timers.next().is_none() {
            return;
        }
        let now = Instant::now();
        let mut watchers = Vec::new();
        while let Some((id, kind)) = self.core.timers.pop(now) {
            if id == DAEMON {
                self.daemon_deadline(kind);
                continue;
            }
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let core = &mut self.core;
            match kind {
                Kind::Hello => {
                    tracing::info!(sid = id, "a connection did not say hello and is closed");
                    self.client_gone(id);
                }
                Kind::Statement => {
                    if core.stop_statement(session, Reason::Timeout) {
                        core.shared.counters.timeouts.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Kind::Admission => core.was_not_admitted(session),
                Kind::IdleTransaction => core.transaction_idle(session, now),
                Kind::Idle => core.session_idle(session, now),
                Kind::Cursors => core.cursors_rest(session, now),
                Kind::Stall => {
                    let outbox = &session.connection.outbox;
                    if !outbox.is_blocked() {
                        continue;
                    }
                    if outbox.progress() == session.stalled_at {
                        tracing::info!(
                            sid = id,
                            bytes = outbox.waiting_bytes(),
                            "a client does not read and is dropped"
                        );
                        self.client_gone(id);
                    } else {
                        core.client_stalls(session);
                    }
                }
                Kind::Watch => watchers.push(id),
                Kind::IdleExit | Kind::Accept | Kind::Shutdown => {}
            }
        }
        if !watchers.is_empty() {
            self.show(&watchers, now);
        }
    }

    fn daemon_deadline(&mut self, kind: Kind) {
        match kind {
            Kind::Accept => self.accept(),
            Kind::IdleExit => self.idle_for_long(),
            Kind::Shutdown => self.time_is_up(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::reactor::FIRST_SESSION;
    use crate::reactor::tests::with_client;

    /// More than any socket takes.
    const LONG: usize = 16 << 20;

    /// Puts a long answer into the outbox, sends what the socket takes, and does what the event would.
    fn answer_blocks(reactor: &mut Reactor) {
        let session = reactor.sessions.get_mut(&FIRST_SESSION).unwrap();
        session.connection.outbox.add(&vec![7; LONG]);
        session.connection.send(&reactor.core.shared.events);
        assert!(session.connection.outbox.is_blocked());
        reactor.core.client_stalls(session);
    }

    fn wait_for_the_deadline(reactor: &mut Reactor) {
        while reactor.core.timers.next().is_none_or(|next| next > Instant::now()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        reactor.take_deadlines();
    }

    /// The deadline of an answer that was read meanwhile says nothing about the one that blocks now.
    #[test]
    fn a_client_that_reads_is_kept_and_one_that_does_not_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (mut reactor, mut client) = with_client(dir.path(), |shared| {
            shared.config.client_stall_timeout_ms = 20;
            shared.config.hello_timeout_ms = 0;
        });
        answer_blocks(&mut reactor);
        let mut answer = vec![0; LONG];
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| client.read_exact(&mut answer).unwrap());
            let connection = reactor.sessions[&FIRST_SESSION].connection.clone();
            while !reading.is_finished() {
                connection.send(&reactor.core.shared.events);
            }
            assert!(!connection.outbox.is_blocked());
        });
        answer_blocks(&mut reactor);
        wait_for_the_deadline(&mut reactor);
        assert!(reactor.sessions.contains_key(&FIRST_SESSION), "it has read a whole answer");
        wait_for_the_deadline(&mut reactor);
        assert!(!reactor.sessions.contains_key(&FIRST_SESSION), "it has read nothing since");
    }
}
