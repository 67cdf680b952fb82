//! Leaving: because the daemon was asked to, or because nobody has been there for a while.
//!
//! 1. Nobody is served half: the listener is shut down first, from which moment connecting is refused, and only then
//!    are those let in who had connected before.
//! 2. Asked to leave, statements that run may end; those that do not in time are interrupted. Transactions that are
//!    open are rolled back, and further requests answered with `shutting-down`.
//! 3. Idle, and somebody came in at the last moment: then it stays, and listens anew.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use nix::sys::socket::{Shutdown, shutdown};

use super::session::{Doing, Session};
use super::{LISTENER, Reactor};
use crate::interrupt::Reason;
use crate::timers::{DAEMON, Kind};
use crate::{exit, listen};

/// After statements were interrupted, what has not left by then does not.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How far the daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It serves.
    Serving,
    /// Statements may end.
    Ending,
    /// Statements were interrupted.
    Interrupting,
    /// Nobody is there any more.
    Left,
}

impl Reactor {
    /// A signal has come.
    pub(super) fn asked_to_leave(&mut self) {
        if self.core.phase != Phase::Serving {
            exit::at_once(&self.core.socket);
        }
        self.core.shared.asked_to_leave.store(true, Ordering::Release);
        tracing::info!(sessions = self.sessions.len(), "asked to leave");
        self.core.phase = Phase::Ending;
        self.stop_listening();
        let time = Duration::from_millis(self.core.shared.config.shutdown_timeout_ms);
        self.core.timers.set(DAEMON, Kind::Shutdown, Instant::now() + time);
        // What waits to be admitted has not begun, and does not begin when open transactions end.
        let waits = |session: &&mut Box<Session>| matches!(session.doing, Doing::AwaitsAdmission);
        for session in self.sessions.values_mut().filter(waits) {
            self.core.withdraw(session, Reason::ShuttingDown);
        }
    }

    /// Time for statements is up, and later that for last words.
    pub(super) fn time_is_up(&mut self) {
        if self.core.phase == Phase::Interrupting {
            tracing::warn!(sessions = self.sessions.len(), "clients that do not read are left behind");
            let ids: Vec<u64> = self.sessions.keys().copied().collect();
            ids.into_iter().for_each(|id| self.client_gone(id));
            // Those whose worker has not come back by now are looked at again.
            self.core.timers.set(DAEMON, Kind::Shutdown, Instant::now() + LAST_WORDS);
            return;
        }
        self.core.phase = Phase::Interrupting;
        for session in self.sessions.values_mut() {
            self.core.stop_statement(session, Reason::ShuttingDown);
            session.connection.is_over().store(true, Ordering::Release);
        }
        self.core.timers.set(DAEMON, Kind::Shutdown, Instant::now() + LAST_WORDS);
    }

    /// Closes sessions that are through, and sees whether all are.
    pub(super) fn go_on_leaving(&mut self) {
        if !matches!(self.core.phase, Phase::Ending | Phase::Interrupting) {
            return;
        }
        for session in self.sessions.values_mut() {
            if session.is_free() && !session.is_leaving {
                // What it has sent already is answered, if only that the daemon leaves; then it is closed.
                session.is_leaving = true;
                session.at_end = true;
                self.core.give_up(session);
                self.core.schedule(session);
            } else if !session.is_free() {
                session.connection.await_done(true);
            }
        }
        if self.sessions.is_empty() {
            self.core.phase = Phase::Left;
        }
    }

    /// Nobody is there: the daemon leaves in a while, if it is set to.
    pub(super) fn note_idle(&mut self) {
        let seconds = self.core.shared.config.idle_exit;
        if seconds > 0 && self.sessions.is_empty() && self.core.phase == Phase::Serving {
            let at = super::requests::after(Instant::now(), seconds.saturating_mul(1000));
            self.core.timers.set(DAEMON, Kind::IdleExit, at);
        }
    }

    /// Nobody has been there for long enough.
    pub(super) fn idle_for_long(&mut self) {
        if !self.sessions.is_empty() {
            return;
        }
        self.stop_listening();
        if self.sessions.is_empty() {
            tracing::info!("nobody has been there for a while: leaving");
            self.core.phase = Phase::Left;
            return;
        }
        if let Err(error) = self.listen_anew() {
            tracing::error!(%error, "cannot listen again: leaving when the last client has");
            self.core.phase = Phase::Ending;
        }
    }

    /// From now on connecting is refused; whoever had connected before is let in.
    fn stop_listening(&mut self) {
        let Some(listener) = &self.core.listener else { return };
        let _ = self.core.registry.deregister(&mut SourceFd(&listener.as_raw_fd()));
        if let Err(error) = shutdown(listener.as_raw_fd(), Shutdown::Both) {
            tracing::warn!(%error, "the listener could not be shut down");
        }
        self.accept_up_to(usize::MAX);
        self.core.listener = None;
    }

    fn listen_anew(&mut self) -> io::Result<()> {
        std::fs::remove_file(&self.core.socket)?;
        let listener = listen::bind(&self.core.socket)?;
        listener.set_nonblocking(true)?;
        register(&self.core.registry, &listener)?;
        self.core.listener = Some(listener);
        Ok(())
    }
}

fn register(registry: &Registry, listener: &std::os::unix::net::UnixListener) -> io::Result<()> {
    registry.register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)
}
