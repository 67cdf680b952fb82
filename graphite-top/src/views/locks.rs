//! Who holds and awaits which lock.

use std::hash::{Hash, Hasher};

use graphite_client::messages::Lock;
use rustc_hash::FxHasher;

use crate::cell::Cell;
use crate::format::span;
use crate::scene::Scene;
use crate::table::Column;

fn of(scene: &Scene, row: u32) -> &Lock {
    &scene.picture.locks[row as usize]
}

/// The columns of locks.
#[rustfmt::skip]
pub const COLUMNS: &[Column] = &[
    Column { name: "lock", heading: "LOCK", width: 0, right: false, rank: 0, value: |s, r| Cell::text(&of(s, r).name) },
    Column { name: "mode", heading: "MODE", width: 4, right: false, rank: 0, value: |s, r| Cell::text(of(s, r).mode.as_str()) },
    Column { name: "state", heading: "STATE", width: 7, right: false, rank: 0, value: |s, r| Cell::text(if of(s, r).granted { "held" } else { "awaited" }) },
    Column { name: "for", heading: "FOR", width: 6, right: true, rank: 0, value: |s, r| Cell::Span(of(s, r).for_ms) },
    Column { name: "sid", heading: "SID", width: 6, right: true, rank: 0, value: |s, r| Cell::Number(of(s, r).session) },
    Column { name: "user", heading: "USER", width: 8, right: false, rank: 1, value: |s, r| s.session(of(s, r).session).and_then(|row| row.user.as_deref()).into() },
    Column { name: "client", heading: "CLIENT", width: 10, right: false, rank: 2, value: |s, r| s.session(of(s, r).session).map(|row| row.client.as_str()).into() },
    Column { name: "tx", heading: "TX", width: 8, right: true, rank: 3, value: |s, r| Cell::Number(of(s, r).transaction) },
];

/// A lock is the same if name, session and state are.
pub fn key(lock: &Lock) -> u64 {
    let mut hasher = FxHasher::default();
    (&lock.name, lock.session, lock.granted, lock.mode.as_str()).hash(&mut hasher);
    hasher.finish()
}

/// Who stands in the queue of a lock.
pub fn detail(scene: &Scene, row: u32) -> (String, Vec<String>) {
    let lock = of(scene, row);
    let state = if lock.granted { "held" } else { "awaited" };
    let title = format!("{} {}  {state} {}", lock.mode.as_str(), lock.name, span(lock.for_ms));
    let same = scene.picture.locks.iter().filter(|other| other.name == lock.name);
    let (mut holders, mut waiters) = (Vec::new(), Vec::new());
    for other in same.take(64) {
        let text = format!("{} ({})", other.session, other.mode.as_str());
        if other.granted { holders.push(text) } else { waiters.push(text) }
    }
    let mut lines =
        vec![format!("held by {}", or_nobody(&holders)), format!("queue: {}", or_nobody(&waiters))];
    if let Some(place) = scene.place_of(lock.session) {
        let (title, session) = super::sessions::detail(scene, place);
        lines.push(title);
        lines.extend(session);
    }
    (title, lines)
}

fn or_nobody(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}
