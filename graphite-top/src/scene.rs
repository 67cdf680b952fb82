//! A picture of the daemon, with what is derived from it once, so that drawing a frame looks at visible rows only.

use graphite_client::messages::{Lock, Picture, Session, SessionState};
use rustc_hash::FxHashMap;

use crate::tree::{self, Behind};

/// What happened per second between two pictures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Commits.
    pub commits: f64,
    /// Statements.
    pub statements: f64,
    /// Pages read from the file.
    pub page_reads: f64,
    /// Of a hundred transactions, those that were rolled back.
    pub abort_percent: f64,
    /// The 99th percentile of syncs of the log, in microseconds.
    pub sync_p99_us: Option<u64>,
    /// Compaction's speed in bytes.
    pub compaction_bytes: f64,
}

/// A picture and what is derived from it.
#[derive(Debug)]
pub struct Scene {
    /// What the daemon said.
    pub picture: Picture,
    /// What happened since the picture before, if that was of the same daemon.
    pub rates: Rates,
    /// How many sessions wait behind each, by its place.
    pub behind: Behind,
    /// Those who stand in somebody's way and wait for nobody, by place; whoever holds up most comes first.
    pub roots: Vec<u32>,
    /// Those that wait for the same lock behind the same others, by place; the longest wait comes first.
    pub arcs: Vec<Vec<u32>>,
    session_at: FxHashMap<u64, u32>,
    /// Places of locks, sorted by session.
    locks_by_session: Vec<u32>,
    /// Counts of sessions.
    pub counts: Counts,
}

/// Sessions by what they do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Those that run a statement or commit.
    pub active: u64,
    /// Those that wait for a lock.
    pub waiting: u64,
    /// Those that do nothing in an open transaction.
    pub idle_in_transaction: u64,
    /// The longest wait, in milliseconds.
    pub longest_wait_ms: u64,
}

impl Scene {
    /// Derives what there is to derive.
    pub fn new(picture: Picture, before: Option<&Picture>) -> Scene {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let session_at: FxHashMap<u64, u32> =
            picture.sessions.iter().enumerate().map(|(at, row)| (row.session, place(at))).collect();
        let mut locks_by_session: Vec<u32> = (0..place(picture.locks.len())).collect();
        locks_by_session.sort_by_key(|at| picture.locks[*at as usize].session);
        let behind = tree::behind(&picture.sessions, &session_at);
        let roots = behind.roots(&picture.sessions);
        let arcs = tree::arcs(&picture.sessions);
        let rates = before.map_or_else(Rates::default, |before| rates(before, &picture));
        let counts = counts(&picture.sessions);
        Scene { picture, rates, behind, roots, arcs, session_at, locks_by_session, counts }
    }

    /// A session's place in the picture.
    pub fn place_of(&self, session: u64) -> Option<u32> {
        self.session_at.get(&session).copied()
    }

    /// A session, if the picture has it.
    pub fn session(&self, session: u64) -> Option<&Session> {
        self.place_of(session).map(|at| &self.picture.sessions[at as usize])
    }

    /// The locks that a session holds or awaits, of those that the daemon told.
    pub fn locks_of(&self, session: u64) -> impl Iterator<Item = &Lock> {
        let locks = &self.picture.locks;
        let from = self.locks_by_session.partition_point(|at| locks[*at as usize].session < session);
        let rest = self.locks_by_session[from..].iter().map(|at| &locks[*at as usize]);
        rest.take_while(move |lock| lock.session == session)
    }

    /// How many sessions wait behind one, directly or not.
    pub fn behind(&self, place: u32) -> u64 {
        self.behind.count(place)
    }
}

fn counts(sessions: &[Session]) -> Counts {
    let mut counts = Counts::default();
    for row in sessions {
        match row.state {
            SessionState::Active | SessionState::Committing => counts.active += 1,
            SessionState::Waiting => counts.waiting += 1,
            SessionState::IdleInTransaction => counts.idle_in_transaction += 1,
            SessionState::Idle => {}
        }
        counts.longest_wait_ms = counts.longest_wait_ms.max(row.wait_ms.unwrap_or(0));
    }
    counts
}

/// One life of a daemon. Numbers of sessions and transactions begin again with each, and so may those of processes; so it
/// is told by when it began.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pid: u32,
    began_ms: u64,
}

impl Life {
    /// The one that the picture is of.
    pub fn of(picture: &Picture) -> Life {
        Life { pid: picture.status.pid, began_ms: picture.at_ms.saturating_sub(picture.status.uptime_ms) }
    }

    /// Whether it is this one.
    pub fn is(self, other: Life) -> bool {
        /// Moment and uptime are not read at the same instant.
        const APART_MS_MAX: u64 = 1000;
        self.pid == other.pid && self.began_ms.abs_diff(other.began_ms) < APART_MS_MAX
    }
}

fn rates(before: &Picture, now: &Picture) -> Rates {
    let elapsed_ms = now.at_ms.saturating_sub(before.at_ms);
    if elapsed_ms == 0 || !Life::of(before).is(Life::of(now)) {
        return Rates::default();
    }
    let per_second = |before: u64, now: u64| now.saturating_sub(before) as f64 * 1000.0 / elapsed_ms as f64;
    let (old, new) = (&before.counters, &now.counters);
    let commits = per_second(old.commits, new.commits);
    let aborts = per_second(old.aborts, new.aborts);
    let moved = |picture: &Picture| picture.compaction.map_or(0, |compaction| compaction.bytes_moved);
    Rates {
        commits,
        statements: per_second(old.statements, new.statements),
        page_reads: per_second(old.page_reads, new.page_reads),
        abort_percent: if aborts > 0.0 { aborts * 100.0 / (aborts + commits) } else { 0.0 },
        sync_p99_us: now.storage.sync_latency.since(&before.storage.sync_latency).per_mille_us(990),
        compaction_bytes: per_second(moved(before), moved(now)),
    }
}
