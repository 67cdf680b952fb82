//! Who is connected, and what each is doing.

use graphite_client::messages::{Session, SessionState};

use crate::cell::Cell;
use crate::format::{bytes, counted, span};
use crate::scene::Scene;
use crate::table::Column;

fn of(scene: &Scene, row: u32) -> &Session {
    &scene.picture.sessions[row as usize]
}

/// A state in a word that fits a column.
pub fn state(row: &Session) -> &'static str {
    match row.state {
        SessionState::Idle => "idle",
        SessionState::IdleInTransaction => "idle-tx",
        SessionState::Active => "active",
        SessionState::Waiting => "wait",
        SessionState::Committing => "commit",
    }
}

/// The columns of sessions, and of the tree.
#[rustfmt::skip]
pub const COLUMNS: &[Column] = &[
    Column { name: "sid", heading: "SID", width: 6, right: true, rank: 0, value: |s, r| Cell::Number(of(s, r).session) },
    Column { name: "pid", heading: "PID", width: 7, right: true, rank: 5, value: |s, r| Cell::Number(of(s, r).pid.into()) },
    Column { name: "user", heading: "USER", width: 7, right: false, rank: 1, value: |s, r| of(s, r).user.as_deref().into() },
    Column { name: "client", heading: "CLIENT", width: 7, right: false, rank: 4, value: |s, r| Cell::text(&of(s, r).client) },
    Column { name: "state", heading: "STATE", width: 7, right: false, rank: 0, value: |s, r| Cell::text(state(of(s, r))) },
    Column { name: "tx", heading: "TX", width: 6, right: true, rank: 2, value: |s, r| Cell::span(of(s, r).transaction_ms) },
    Column { name: "wait", heading: "WAIT", width: 6, right: true, rank: 0, value: |s, r| Cell::span(of(s, r).wait_ms) },
    Column { name: "lock", heading: "LOCK", width: 14, right: false, rank: 0, value: |s, r| of(s, r).waits_for.as_deref().into() },
    Column { name: "blk", heading: "BLK", width: 3, right: true, rank: 1, value: |s, r| Cell::Number(s.behind(r)) },
    Column { name: "locks", heading: "LOCKS", width: 6, right: true, rank: 6, value: |s, r| Cell::Number(of(s, r).locks) },
    Column { name: "ran", heading: "RAN", width: 6, right: true, rank: 7, value: |s, r| Cell::span(of(s, r).statement_ms) },
    Column { name: "txid", heading: "TXID", width: 8, right: true, rank: 9, value: |s, r| of(s, r).transaction.into() },
    Column { name: "since", heading: "SINCE", width: 6, right: true, rank: 9, value: |s, r| Cell::Span(of(s, r).connected_ms) },
    Column { name: "outbox", heading: "OUTBOX", width: 8, right: true, rank: 10, value: |s, r| Cell::Number(of(s, r).outbox_bytes) },
    Column { name: "statement", heading: "STATEMENT", width: 0, right: false, rank: 3, value: |s, r| of(s, r).statement.as_deref().into() },
];

/// What there is to say of one session.
pub fn detail(scene: &Scene, row: u32) -> (String, Vec<String>) {
    let session = of(scene, row);
    let user = session.user.clone().unwrap_or_else(|| format!("uid {}", session.uid));
    let title = format!(
        "session {}  {user}  pid {}  \"{}\" (name given by the client)",
        session.session, session.pid, session.client
    );
    let mut lines = Vec::new();
    if let Some(name) = &session.waits_for {
        lines.push(waits(session, name));
    }
    lines.push(holds(scene, session));
    if let Some(statement) = &session.statement {
        let since = session.statement_ms.map_or_else(String::new, |ms| format!(" {} ago", span(ms)));
        lines.push(format!("statement{since}:  {statement}"));
    }
    if let Some(ms) = session.rollback_in_ms {
        lines.push(format!("idle in transaction {} rolls back by itself in {}", limit(scene), span(ms)));
    }
    let behind = scene.behind(row);
    if behind > 0 {
        lines.push(format!("{} behind it: {}", counted(behind, "session"), names(scene, row)));
    }
    if let Some(lsn) = session.snapshot_lsn {
        let oldest = scene.picture.storage.oldest_snapshot;
        let pins = oldest.is_some_and(|oldest| oldest.session == session.session);
        let pins = if pins { ", the oldest: it keeps old versions of pages" } else { "" };
        lines.push(format!("snapshot at {lsn}{pins}"));
    }
    if session.outbox_bytes > 0 {
        lines.push(format!("{} of answers not taken by the client", bytes(session.outbox_bytes)));
    }
    (title, lines)
}

fn waits(session: &Session, name: &str) -> String {
    let blockers: Vec<String> = session.blocked_by.iter().map(u64::to_string).collect();
    let behind = if blockers.is_empty() { String::new() } else { format!(" behind {}", blockers.join(", ")) };
    let ends = session.wait_ends_in_ms.map_or_else(String::new, |ms| format!(", gives up in {}", span(ms)));
    format!("waits {} for {name}{behind}{ends}", span(session.wait_ms.unwrap_or(0)))
}

fn limit(scene: &Scene) -> String {
    scene
        .picture
        .timeouts
        .idle_in_transaction_ms
        .map_or_else(String::new, |ms| format!("timeout {} ->", span(ms)))
}

/// Numbers of the sessions that wait behind one.
pub fn names(scene: &Scene, row: u32) -> String {
    let all = scene.behind.all(row);
    let mut names: Vec<String> = all.iter().take(8).map(|at| of(scene, *at).session.to_string()).collect();
    if all.len() > 8 {
        names.push(format!("{} more", all.len() - 8));
    }
    names.join(", ")
}

/// The locks that a session holds; those that are no mere intents first.
fn holds(scene: &Scene, session: &Session) -> String {
    if session.locks == 0 {
        return "holds no locks".to_owned();
    }
    let mut held: Vec<_> = scene.locks_of(session.session).filter(|lock| lock.granted).take(200).collect();
    held.sort_by_key(|lock| lock.mode.as_str().starts_with('I'));
    let shown: Vec<String> =
        held.iter().take(3).map(|lock| format!("{} {}", lock.mode.as_str(), lock.name)).collect();
    match session.locks.saturating_sub(shown.len() as u64) {
        _ if shown.is_empty() => format!("holds {}", counted(session.locks, "lock")),
        0 => format!("holds {}", shown.join(", ")),
        more => format!("holds {}, {more} more", shown.join(", ")),
    }
}
