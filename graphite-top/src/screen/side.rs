//! The pane at the side of a wide terminal: load, storage, alerts, chains, deadlocks.

use ratatui::layout::Rect;

use super::Pen;
use crate::format::{clock, micros, percent, rate};
use crate::scene::Scene;
use crate::theme::{Glyph, Role};
use crate::views::{deadlocks, sessions, storage};

/// Chains that the pane has.
const CHAINS_MAX: usize = 6;

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
    lines.extend(alerts.iter().map(|alert| (format!(" ! {alert}"), Role::Alert)));
    if alerts.is_empty() {
        lines.push((" none".into(), Role::Dim));
    }
    lines.push(("Chains".into(), Role::Heading));
    for place in scene.roots.iter().take(CHAINS_MAX) {
        let root = &scene.picture.sessions[*place as usize];
        let (count, names) = (scene.behind(*place), sessions::names(scene, *place));
        let who = root.user.as_deref().unwrap_or("?");
        lines.push((format!(" ! {} {who}: {count} behind ({names})", root.session), Role::Alert));
    }
    if scene.roots.is_empty() {
        lines.push((" none".into(), Role::Dim));
    }
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
