//! Letting clients in.
//!
//! 1. Who may not stay is let in to be told: its first request gets the error. Past an allowance for those, the one that
//!    came first is closed: it had its time to ask, and whoever came last may be the monitor of point 3.
//! 2. A system without descriptors is asked again after a while, and when a session has ended; it is logged once.
//! 3. One beyond the limit may stay: a monitor that says so in its hello. Else nobody could look why the daemon is full.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use graphite_protocol::{ErrorCode, WireError};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use nix::unistd::Uid;

use super::Reactor;
use super::leave::Phase;
use super::session::Session;
use crate::connection::{Connection, Peer};
use crate::shared::to_usize;
use crate::timers::{DAEMON, Kind};

/// Connections beyond the limit that are let in to be told so.
const REFUSED_MAX: usize = 32;
/// Connections that are let in at a stretch, before what they and others say is heard: fewer than may be refused, so that
/// whoever says hello at once is not thrown out unheard by those behind it.
const LET_IN_MAX: usize = REFUSED_MAX / 2;
/// How long it waits before it asks a system again that had no descriptor.
const ACCEPT_AGAIN: Duration = Duration::from_millis(250);

impl Reactor {
    /// Lets in whoever waits, or some of them and the others soon.
    pub(super) fn accept(&mut self) {
        self.accept_up_to(LET_IN_MAX);
    }

    /// Lets in so many of those who wait, and sees to it that the others are let in soon.
    pub(super) fn accept_up_to(&mut self, max: usize) {
        for _ in 0..max {
            let Some(listener) = &self.core.listener else { return };
            match listener.accept() {
                Ok((stream, _)) => {
                    self.core.out_of_descriptors = false;
                    self.core.last_session += 1;
                    let id = self.core.last_session;
                    if let Err(error) =
                        Connection::new(id, stream).and_then(|connection| self.let_in(connection))
                    {
                        tracing::warn!(sid = id, %error, "a connection could not be let in");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                // The listener was shut down, and everybody who had connected is in.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
                Err(error) => {
                    if !std::mem::replace(&mut self.core.out_of_descriptors, true) {
                        tracing::error!(%error, "nobody can be let in; trying again as sessions end");
                    }
                    self.core.timers.set(DAEMON, Kind::Accept, Instant::now() + ACCEPT_AGAIN);
                    return;
                }
            }
        }
        self.core.timers.set(DAEMON, Kind::Accept, Instant::now());
    }

    fn let_in(&mut self, connection: Connection) -> io::Result<()> {
        let config = &self.core.shared.config;
        let (sessions_max, hello_timeout) = (to_usize(config.sessions_max), config.hello_timeout_ms);
        let peer = connection.peer()?;
        let refusal = if !is_welcome(peer) {
            tracing::warn!(uid = peer.uid, pid = peer.pid, "a stranger connected");
            let message = format!("user {} may not use this database", peer.uid);
            Some(WireError::new(ErrorCode::NotAuthorised, message))
        } else if self.core.phase != Phase::Serving {
            Some(crate::interrupt::Reason::ShuttingDown.error())
        } else if self.sessions.len() - usize::from(self.core.is_reserve_taken) >= sessions_max {
            let message =
                format!("{sessions_max} sessions are connected, and no more may be; try again later");
            Some(WireError::new(ErrorCode::TooManySessions, message))
        } else {
            None
        };
        if refusal.is_some() && self.sessions.len() >= sessions_max + REFUSED_MAX {
            let refused = self.sessions.values().filter(|session| session.refusal.is_some());
            let Some(first) = refused.map(|session| session.id()).min() else { return Ok(()) };
            self.remove(first);
        }
        let id = connection.session;
        let token = usize::try_from(id).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let fd = connection.stream.as_raw_fd();
        self.core.registry.register(&mut SourceFd(&fd), Token(token), Interest::READABLE)?;
        let mut session = Box::new(Session::new(connection, peer, refusal, &self.core.shared));
        if hello_timeout > 0 {
            let at = session.connected + Duration::from_millis(hello_timeout);
            self.core.timers.set(id, Kind::Hello, at);
        }
        self.core.timers.clear(DAEMON, Kind::IdleExit);
        self.core.schedule(&mut session);
        self.sessions.insert(id, session);
        tracing::debug!(sid = id, uid = peer.uid, pid = peer.pid, "session began");
        Ok(())
    }
}

/// The daemon's own user, and root. The kernel says who it is; a process outside of our view has the number 0.
fn is_welcome(peer: Peer) -> bool {
    peer.uid == Uid::effective().as_raw() || peer.uid == 0
}
