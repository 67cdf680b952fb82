//! The pane at the side of a wide terminal: load, storage, alerts, chains, the wait-for graph, deadlocks.

use ratatui::layout::Rect;

use super::Pen;
use crate::format::{clock, micros, percent, rate};
use crate::scene::Scene;
use crate::theme::{Glyph, Role};
use crate::views::{deadlocks, sessions, storage};

/// Chains that the pane has.
const CHAINS_MAX: usize = 5;
/// Lines of the wait-for graph that the pane has.
const ARCS_MAX: usize = 7;
/// Deadlocks that the pane has.
const DEADLOCKS_MAX: usize = 5;
/// Sessions that are named on one side of an arc.
const NAMES_MAX: usize = 3;

/// What an operator must not overlook, the worst first.
pub(super) fn alerts(scene: &Scene) -> Vec<String> {
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

/// Numbers of sessions, of which there may be more than there is room for.
fn named(count: usize, numbers: impl Iterator<Item = u64>) -> String {
    let mut names: Vec<String> = numbers.take(NAMES_MAX).map(|number| number.to_string()).collect();
    if count > names.len() {
        names.push(format!("+{}", count - names.len()));
    }
    names.join(", ")
}

/// An arc of the wait-for graph, "31, 52 -> 17  S node 8812".
fn arc(scene: &Scene, waiters: &[u32], arrow: &str) -> String {
    let sessions = &scene.picture.sessions;
    let Some(row) = waiters.first().map(|at| &sessions[*at as usize]) else { return String::new() };
    let who = named(waiters.len(), waiters.iter().map(|at| sessions[*at as usize].session));
    let for_whom = named(row.blocked_by.len(), row.blocked_by.iter().copied());
    let lock = row.waits_for.as_deref().unwrap_or(if row.awaits_admission { "to be let write" } else { "?" });
    format!(" {who} {arrow} {for_whom}{}{lock}", if for_whom.is_empty() { "" } else { "  " })
}

/// Adds as many lines as there is room for, and then how many there are more.
fn list(lines: &mut Vec<(String, Role)>, count: usize, max: usize, line: &dyn Fn(usize) -> (String, Role)) {
    lines.extend((0..count.min(max)).map(line));
    match count {
        0 => lines.push((" none".into(), Role::Dim)),
        count if count > max => lines.push((format!(" ... {} more", count - max), Role::Dim)),
        _ => {}
    }
}

pub(super) fn side(pen: &mut Pen<'_>, scene: &Scene, pane: Rect) {
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
    list(&mut lines, alerts.len(), alerts.len(), &|at| (format!(" ! {}", alerts[at]), Role::Alert));
    lines.push(("Chains".into(), Role::Heading));
    list(&mut lines, scene.roots.len(), CHAINS_MAX, &|at| {
        let place = scene.roots[at];
        let root = &scene.picture.sessions[place as usize];
        let (count, names) = (scene.behind(place), sessions::names(scene, place));
        let who = root.user.as_deref().unwrap_or("?");
        (format!(" ! {} {who}: {count} behind ({names})", root.session), Role::Alert)
    });
    lines.push(("Wait-for graph".into(), Role::Heading));
    let arrow = state.theme.glyph(Glyph::Arrow);
    list(&mut lines, scene.arcs.len(), ARCS_MAX, &|at| (arc(scene, &scene.arcs[at], arrow), Role::Text));
    lines.push(("Deadlocks".into(), Role::Heading));
    let deadlocks = &scene.picture.deadlocks;
    list(&mut lines, deadlocks.len(), DEADLOCKS_MAX, &|at| {
        let found = &deadlocks[at];
        let circle = deadlocks::circle(found);
        (format!(" {} {circle}, victim {}", clock(found.at_ms), found.victim), Role::Text)
    });
    for (y, (text, role)) in (pane.y..pane.y + pane.height).zip(lines) {
        pen.line(pane, y, &text, role);
    }
}
