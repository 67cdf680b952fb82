//! The pane beside the rows of a wide terminal, and what an operator must not overlook.

use graphite_client::messages::Session;
use ratatui::layout::Rect;

use crate::format::{clock, micros, percent, rate, span};
use crate::scene::Scene;
use crate::screen::Pen;
use crate::theme::{Glyph, Role};
use crate::views::{deadlocks, storage};

/// Chains that are told, at most.
const CHAINS_MAX: usize = 3;
/// Lines for all of them.
const CHAIN_LINES_MAX: usize = 8;

/// What an operator must not overlook, the worst first.
pub fn alerts(scene: &Scene) -> Vec<String> {
    let (status, store) = (&scene.picture.status, &scene.picture.storage);
    let mut alerts = Vec::new();
    if let Some(why) = &status.poisoned {
        alerts.push(format!("POISONED, read-only since: {why}"));
    } else if status.read_only {
        alerts.push("READ-ONLY".to_owned());
    }
    if status.durability == graphite_client::messages::Durability::Off {
        alerts.push("DURABILITY OFF: a power cut loses commits".to_owned());
    }
    if percent(status.sessions, status.sessions_max) >= 90 {
        alerts.push(format!("{} of {} sessions are taken", status.sessions, status.sessions_max));
    }
    if percent(store.old_version_bytes, store.old_version_bytes_max) >= 80 {
        alerts.push("old versions of pages are near their budget".to_owned());
    }
    alerts
}

/// Draws the pane beside the rows of a wide terminal.
pub(crate) fn draw(pen: &mut Pen<'_>, scene: &Scene, pane: Rect) {
    let state = pen.state;
    let separator = state.theme.glyph(Glyph::Separator);
    for y in pane.y..pane.y + pane.height {
        pen.buffer.set_stringn(pane.x - 1, y, separator, 1, state.theme.style(Role::Dim));
    }
    let mut lines: Vec<(String, Role)> = vec![("Load".into(), Role::Heading)];
    let spark = |values: &[u64]| state.theme.sparkline(values, 18);
    lines.push((format!(" commit/s {:>6} {}", rate(scene.rates.commits), spark(&state.commits)), Role::Text));
    lines.push((format!(" stmt/s   {:>6}", rate(scene.rates.statements)), Role::Text));
    lines.push((format!(" waiting  {:>6} {}", scene.counts.waiting, spark(&state.waits)), Role::Text));
    let p99 = scene.rates.sync_p99_us.map_or_else(|| "-".to_owned(), micros);
    lines.push((format!(" sync p99 {p99:>6}"), Role::Text));
    lines.push(("Storage".into(), Role::Heading));
    for fact in [0, 2, 3, 4, 7, 8] {
        let (name, share, words) = storage::fact(scene, fact);
        let bar = share.map_or_else(String::new, |share| format!("{} {share}% ", state.theme.bar(share, 6)));
        lines.push((format!(" {name} {bar}{words}"), Role::Text));
    }
    lines.push(("Alerts".into(), Role::Heading));
    let alerts = alerts(scene);
    lines.extend(alerts.iter().map(|alert| (format!(" ! {alert}"), Role::Alert)));
    if alerts.is_empty() {
        lines.push((" none".into(), Role::Dim));
    }
    lines.push(("Chains".into(), Role::Heading));
    lines.extend(chains(scene, state.theme.ascii).into_iter().map(|line| (line, Role::Text)));
    lines.push(("Deadlocks".into(), Role::Heading));
    for found in scene.picture.deadlocks.iter().take(5) {
        lines.push((
            format!(" {} {}, victim {}", clock(found.at_ms), deadlocks::circle(found), found.victim),
            Role::Text,
        ));
    }
    if scene.picture.deadlocks.is_empty() {
        lines.push((" none".into(), Role::Dim));
    }
    for (y, (text, role)) in (pane.y..pane.y + pane.height).zip(lines) {
        pen.line(pane, y, &text, role);
    }
}

/// The ends of the longest chains of waits, and who waits for whom in them.
fn chains(scene: &Scene, ascii: bool) -> Vec<String> {
    let rows = &scene.picture.sessions;
    let places = (0..).zip(rows).filter(|(_, row)| row.blocked_by.is_empty());
    let mut ends: Vec<(u64, u64)> = places
        .map(|(place, row)| (scene.behind(place), row.session))
        .filter(|(behind, _)| *behind > 0)
        .collect();
    ends.sort_unstable_by_key(|(behind, session)| (std::cmp::Reverse(*behind), *session));
    if ends.is_empty() {
        return vec![" none".to_owned()];
    }
    let arrow = if ascii { "->" } else { "→" };
    let mut lines = Vec::new();
    for (behind, end) in ends.into_iter().take(CHAINS_MAX) {
        lines.push(format!(" {end} is waited for by {behind}"));
        let (mut level, mut seen) = (vec![end], vec![end]);
        while lines.len() < CHAIN_LINES_MAX && !level.is_empty() {
            let waits = |row: &&Session| {
                !seen.contains(&row.session) && row.blocked_by.iter().any(|by| level.contains(by))
            };
            let next: Vec<&Session> = rows.iter().filter(waits).take(CHAIN_LINES_MAX - lines.len()).collect();
            for row in &next {
                let behind: Vec<String> = row.blocked_by.iter().take(3).map(u64::to_string).collect();
                let wait = row.wait_ms.map_or_else(String::new, |ms| format!(" {}", span(ms)));
                let lock = row.waits_for.as_deref().unwrap_or_default();
                lines.push(format!("  {} {arrow} {}{wait} {lock}", row.session, behind.join(",")));
            }
            level = next.iter().map(|row| row.session).collect();
            seen.extend(&level);
        }
    }
    lines
}
