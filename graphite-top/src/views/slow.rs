//! Statements that took long.

use graphite_client::messages::SlowStatement;

use crate::cell::Cell;
use crate::format::{clock, counted, span};
use crate::scene::Scene;
use crate::table::Column;

fn of(scene: &Scene, row: u32) -> &SlowStatement {
    &scene.picture.slow_statements[row as usize]
}

/// The columns of slow statements.
#[rustfmt::skip]
pub const COLUMNS: &[Column] = &[
    Column { name: "at", heading: "ENDED", width: 9, right: false, rank: 0, value: |s, r| Cell::At(of(s, r).at_ms) },
    Column { name: "took", heading: "TOOK", width: 6, right: true, rank: 0, value: |s, r| Cell::Span(of(s, r).took_ms) },
    Column { name: "wait", heading: "WAIT", width: 6, right: true, rank: 0, value: |s, r| Cell::span(of(s, r).wait_ms) },
    Column { name: "rows", heading: "ROWS", width: 7, right: true, rank: 2, value: |s, r| of(s, r).rows.into() },
    Column { name: "sid", heading: "SID", width: 6, right: true, rank: 0, value: |s, r| Cell::Number(of(s, r).session) },
    Column { name: "user", heading: "USER", width: 8, right: false, rank: 1, value: |s, r| of(s, r).user.as_deref().into() },
    Column { name: "client", heading: "CLIENT", width: 10, right: false, rank: 4, value: |s, r| Cell::text(&of(s, r).client) },
    Column { name: "error", heading: "ERROR", width: 10, right: false, rank: 3, value: |s, r| of(s, r).error.as_deref().into() },
    Column { name: "statement", heading: "STATEMENT", width: 0, right: false, rank: 0, value: |s, r| Cell::text(&of(s, r).statement) },
];

/// All of a statement.
pub fn detail(scene: &Scene, row: u32) -> (String, Vec<String>) {
    let slow = of(scene, row);
    let title = format!("took {} up to {}  session {}", span(slow.took_ms), clock(slow.at_ms), slow.session);
    let mut facts =
        vec![format!("pid {}", slow.pid), format!("\"{}\" (name given by the client)", slow.client)];
    facts.extend(slow.wait_ms.map(|ms| format!("{} of it waiting for locks", span(ms))));
    facts.extend(slow.rows.map(|rows| counted(rows, "row")));
    facts.extend(slow.error.as_ref().map(|code| format!("ended with {code}")));
    (title, vec![slow.statement.clone(), facts.join(", ")])
}
