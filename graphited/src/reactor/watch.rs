//! Pictures for monitors: one that is asked for, and those that are sent again and again to whoever watches.
//!
//! 1. The reactor only gathers what it alone knows; the picture is put together and encoded on a thread of
//!    administration.
//! 2. Ticks are at multiples of the interval, so those who watch at the same interval share a picture, which is encoded
//!    once. There is at most one on its way.
//! 3. Whoever has not read what was sent before gets none: nobody has a backlog.
//! 4. With nobody watching there is no timer, and nothing is done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use graphite_protocol::message::{Body, write_notification};
use graphite_protocol::messages::{
    Hello, Picture, Request, Session as Row, SessionState, WATCH_MS_MAX, WATCH_MS_MIN, Watch,
};
use graphite_protocol::{ErrorCode, WireError};
use rustc_hash::FxHashMap;

use super::leave::Phase;
use super::requests::after;
use super::session::Session;
use super::{Core, FIRST_SESSION, Reactor};
use crate::connection::Connection;
use crate::events::Event;
use crate::picture::{self, Gathered};
use crate::shared::Shared;
use crate::timers::Kind;

/// So few locks do not decide whether a picture fits into a frame; with more it is tried.
const LOCKS_THAT_FIT: usize = 10;

impl Core {
    /// Begins to send a session pictures, or ends it.
    pub(super) fn watch_daemon(&mut self, session: &mut Session, watch: Watch) -> Result<(), WireError> {
        if watch.interval_ms == 0 {
            session.watch = None;
            self.timers.clear(session.id(), Kind::Watch);
            return Ok(());
        }
        if !(WATCH_MS_MIN..=WATCH_MS_MAX).contains(&watch.interval_ms) {
            let message = format!(
                "watch: interval_ms is {}, and has to be {WATCH_MS_MIN} to {WATCH_MS_MAX}, or 0 to end",
                watch.interval_ms
            );
            return Err(WireError::new(ErrorCode::BadRequest, message));
        }
        session.watch = Some(Duration::from_millis(watch.interval_ms));
        // The first comes at once.
        self.timers.set(session.id(), Kind::Watch, Instant::now());
        Ok(())
    }

    /// Whether the session, which was let in only to be told that the daemon is full, has just said that it is a
    /// monitor and gets the place that is kept for one.
    pub(super) fn takes_reserve(&mut self, session: &mut Session, method: &str, params: Body<'_>) -> bool {
        let is_full = session.refusal.as_ref().is_some_and(|error| error.code == ErrorCode::TooManySessions);
        let may = is_full
            && method == Hello::METHOD
            && self.phase == Phase::Serving
            && session.peer.is_admin()
            && !self.is_reserve_taken
            && params.read().is_ok_and(|hello: Hello| hello.monitor == Some(true));
        if may {
            self.is_reserve_taken = true;
            session.is_reserved = true;
            session.refusal = None;
        }
        may
    }

    /// The session's transaction is rolled back in so many ms, unless its client says something.
    fn rollback_in_ms(&self, session: &Session, row: &Row, now: Instant) -> Option<u64> {
        let timeout_ms = self.shared.config.idle_in_transaction_timeout_ms;
        let has_failed = session.state.as_ref().is_some_and(|state| state.failed().is_some());
        if timeout_ms == 0 || has_failed || row.state != SessionState::IdleInTransaction {
            return None;
        }
        let left = after(session.last_active, timeout_ms).saturating_duration_since(now);
        Some(crate::monitor::ms(left))
    }
}

impl Reactor {
    /// Everybody who has said hello, by number, and who is admitted to write.
    pub(super) fn rows(&self, now: Instant) -> (Vec<Row>, Vec<u64>) {
        let (mut writers, _) = self.core.shared.admission.look();
        writers.sort_unstable();
        let known = self.sessions.values().filter(|session| session.client.is_some() && !session.gone);
        // Sorted before they are rows, which are large.
        let mut known: Vec<&Session> = known.map(|session| &**session).collect();
        known.sort_unstable_by_key(|session| session.id());
        let mut rows = Vec::with_capacity(known.len());
        for session in known {
            let mut row = session.row(now, &writers);
            row.rollback_in_ms = self.core.rollback_in_ms(session, &row, now);
            rows.push(row);
        }
        (rows, writers)
    }

    /// The open transaction of each session that has one.
    pub(super) fn transactions(&self) -> FxHashMap<u64, u64> {
        let of = |session: &Session| Some((session.id(), session.transaction?.id));
        self.sessions.values().filter_map(|session| of(session)).collect()
    }

    /// How many sessions there are, and how many transactions are open.
    pub(super) fn counts(&self) -> (u64, u64) {
        let known = self.sessions.values().filter(|session| !session.gone);
        let sessions = known.clone().count() as u64;
        (sessions, known.filter(|session| session.transaction.is_some()).count() as u64)
    }

    fn gather(&self) -> Gathered {
        let began = Instant::now();
        let (rows, writers) = self.rows(began);
        let transaction = |row: &Row| Some((row.session, row.transaction?));
        Gathered {
            began,
            transactions: rows.iter().filter_map(transaction).collect(),
            rows,
            writers,
            counts: self.counts(),
            connections: self.core.last_session - (FIRST_SESSION - 1),
        }
    }

    /// Answers with one picture.
    pub(super) fn picture(&mut self, asker: u64, msgid: u32) {
        let Some(connection) = self.sessions.get(&asker).map(|session| session.connection.clone()) else {
            return;
        };
        let gathered = self.gather();
        self.core.on_its_own(&self.core.shared.admin, &connection, msgid, move |shared| {
            picture::take(shared, gathered).map(|picture| fitted(picture, shared))
        });
    }

    /// Sends those who are due a picture, and sets when they are next.
    pub(super) fn show(&mut self, due: &[u64], now: Instant) {
        let started = self.core.shared.started;
        let mut readers = Vec::new();
        for id in due {
            let Some(session) = self.sessions.get(id).filter(|session| !session.gone) else { continue };
            let Some(interval) = session.watch else { continue };
            self.core.timers.set(*id, Kind::Watch, next_tick(started, now, interval));
            if session.connection.outbox.waiting_bytes() == 0 {
                readers.push(session.connection.clone());
            }
        }
        if readers.is_empty() || self.core.picture_under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let gathered = self.gather();
        let (shared, under_way) = (self.core.shared.clone(), self.core.picture_under_way.clone());
        let given = self.core.shared.admin.try_give(move || {
            match picture::take(&shared, gathered) {
                Ok(picture) => send(&fitted(picture, &shared), readers, &shared),
                Err(error) => tracing::warn!(%error, "no picture for those who watch"),
            }
            under_way.store(false, Ordering::Release);
        });
        if given.is_err() {
            // The next tick may find a thread.
            self.core.picture_under_way.store(false, Ordering::Release);
        }
    }
}

/// Leaves the locks out if they make the picture too large for a frame: who waits for whom is told by the sessions, too.
fn fitted(mut picture: Picture, shared: &Shared) -> Picture {
    let may_be_large = picture.locks.len() > LOCKS_THAT_FIT;
    if may_be_large && write_notification(&mut Vec::new(), &picture, shared.frame_bytes_max()).is_err() {
        picture.locks = Vec::new();
    }
    picture
}

/// Encodes a picture once, for all who are to get it.
fn send(picture: &Picture, readers: Vec<Arc<Connection>>, shared: &Shared) {
    let mut frame = Vec::new();
    if let Err(error) = write_notification(&mut frame, picture, shared.frame_bytes_max()) {
        return tracing::warn!(%error, "a picture does not fit into a frame");
    }
    for connection in readers {
        connection.outbox.add(&frame);
        shared.events.post(Event::Send { connection });
    }
}

/// The first multiple of the interval, counted from the daemon's start, after now.
fn next_tick(started: Instant, now: Instant, interval: Duration) -> Instant {
    let since = now.saturating_duration_since(started).as_millis();
    let every = interval.as_millis().max(1);
    let next = (since / every + 1) * every;
    started + Duration::from_millis(u64::try_from(next).unwrap_or(u64::MAX))
}

/// What a session in the place that is kept for a monitor is told if it asks for more than looking.
pub(super) fn only_watching(method: &str) -> WireError {
    let message = format!(
        "the daemon is full, and this session has the place kept for a monitor: {method} is not for it; \
         connect again later"
    );
    WireError::new(ErrorCode::TooManySessions, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_different_intervals_meet() {
        let started = Instant::now();
        let ms = Duration::from_millis;
        let next = |at, every| next_tick(started, started + ms(at), ms(every)) - started;
        assert_eq!(next(0, 100), ms(100));
        assert_eq!(next(950, 100), ms(1000));
        assert_eq!(next(950, 1000), ms(1000));
        assert_eq!(next(1000, 1000), ms(2000));
    }
}
