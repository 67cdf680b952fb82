//! The last deadlocks: who waited in a circle for what, and whose transaction was rolled back.

use graphite_client::messages::Deadlock;

use crate::cell::Cell;
use crate::format::clock;
use crate::scene::Scene;
use crate::table::Column;

fn of(scene: &Scene, row: u32) -> &Deadlock {
    &scene.picture.deadlocks[row as usize]
}

/// The circle in a line, "61 -> 72 -> 61".
pub fn circle(deadlock: &Deadlock) -> String {
    let members = deadlock.sessions.iter().chain(deadlock.sessions.first());
    members.map(u64::to_string).collect::<Vec<_>>().join(" -> ")
}

fn waits(deadlock: &Deadlock) -> String {
    deadlock.waits_for.join("; ")
}

/// The columns of deadlocks.
#[rustfmt::skip]
pub const COLUMNS: &[Column] = &[
    Column { name: "at", heading: "AT", width: 9, right: false, rank: 0, value: |s, r| Cell::At(of(s, r).at_ms) },
    Column { name: "sessions", heading: "#", width: 3, right: true, rank: 1, value: |s, r| Cell::Number(of(s, r).sessions.len() as u64) },
    Column { name: "victim", heading: "VICTIM", width: 6, right: true, rank: 0, value: |s, r| Cell::Number(of(s, r).victim) },
    Column { name: "circle", heading: "CIRCLE", width: 18, right: false, rank: 0, value: |s, r| Cell::Text(circle(of(s, r)).into()) },
    Column { name: "locks", heading: "WAITED FOR", width: 0, right: false, rank: 0, value: |s, r| Cell::Text(waits(of(s, r)).into()) },
];

/// A line for each member of the circle.
pub fn detail(scene: &Scene, row: u32) -> (String, Vec<String>) {
    let found = of(scene, row);
    let title = format!("deadlock at {}  {}  victim {}", clock(found.at_ms), circle(found), found.victim);
    let text = |of: &[String], at: usize| of.get(at).cloned().unwrap_or_default();
    let line = |(at, session): (usize, &u64)| {
        let end = if *session == found.victim { "  (victim, rolled back)" } else { "" };
        let next = found.sessions[(at + 1) % found.sessions.len()];
        let (user, name, lock) =
            (text(&found.users, at), text(&found.clients, at), text(&found.waits_for, at));
        format!("{session} {user} {name} waited for {lock} of {next}{end}:  {}", text(&found.statements, at))
    };
    (title, found.sessions.iter().enumerate().map(line).collect())
}
