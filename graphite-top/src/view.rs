//! The picture: one frame, or the same as plain text.
//!
//! Nothing is told by colour alone, and text from elsewhere is made inert.

use std::fmt::Write;

use graphite_client::StatusReply;
use graphite_client::messages::Durability;
use graphite_client::text::harmless;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Gauge, Paragraph};

/// Lines of the frame.
pub(crate) const HEIGHT: u16 = 10;

/// Columns of the names in front of lines.
const NAME_WIDTH: u16 = 10;

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64).min(1.0) }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn uptime(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0 => format!("{}s", ms / 1000),
        1..60 => format!("{minutes}m{:02}s", ms / 1000 % 60),
        60..1440 => format!("{}h{:02}m", minutes / 60, minutes % 60),
        _ => format!("{}d{:02}h", minutes / 1440, minutes / 60 % 24),
    }
}

fn title(status: &StatusReply) -> String {
    let database = harmless(&status.database);
    let (version, pid) = (harmless(&status.version), status.pid);
    format!("graphite-top  {database}  graphited {version}  pid {pid}  up {}", uptime(status.uptime_ms))
}

/// What an operator must not overlook; empty if there is nothing.
fn alerts(status: &StatusReply) -> Vec<String> {
    let mut alerts = Vec::new();
    if status.durability == Durability::Off {
        alerts.push("DURABILITY OFF: a power cut loses commits".to_owned());
    }
    if let Some(why) = &status.poisoned {
        alerts.push(format!("POISONED: {}", harmless(why)));
    } else if status.read_only {
        alerts.push("READ-ONLY".to_owned());
    }
    alerts
}

/// Names and texts of the lines without a gauge.
fn lines(status: &StatusReply) -> [(&'static str, String); 4] {
    [
        ("graph", format!("{} nodes, {} edges", status.nodes, status.edges)),
        (
            "sessions",
            format!(
                "{} of {}, {} transactions open",
                status.sessions, status.sessions_max, status.transactions
            ),
        ),
        (
            "work",
            format!(
                "{} statements, {} commits, {} rolled back, {} deadlocks, {} syncs",
                status.statements, status.commits, status.aborts, status.deadlocks, status.syncs
            ),
        ),
        (
            "storage",
            format!(
                "file {}, {} of {} pages free, {} to be written",
                megabytes(status.file_bytes),
                status.pages_free,
                status.pages,
                status.dirty_pages
            ),
        ),
    ]
}

/// Names, shares and texts of the gauges.
fn gauges(status: &StatusReply) -> [(&'static str, f64, String); 2] {
    let of = |part, whole| format!("{} of {}", megabytes(part), megabytes(whole));
    [
        (
            "cache",
            share(status.cache_bytes, status.cache_bytes_max),
            of(status.cache_bytes, status.cache_bytes_max),
        ),
        (
            "log",
            share(status.wal_used_bytes, status.wal_bytes),
            format!("{} for recovery", of(status.wal_used_bytes, status.wal_bytes)),
        ),
    ]
}

/// The picture as text.
pub(crate) fn plain(status: &StatusReply) -> String {
    let mut text = title(status);
    text.push('\n');
    let width = usize::from(NAME_WIDTH);
    let mut line = |name: &str, rest: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, " {name:width$}{rest}");
    };
    lines(status).iter().for_each(|(name, rest)| line(name, rest));
    gauges(status)
        .iter()
        .for_each(|(name, share, rest)| line(name, &format!("{:.0}%, {rest}", share * 100.0)));
    alerts(status).iter().for_each(|alert| line("!", alert));
    text
}

/// Draws the picture.
pub(crate) fn draw(frame: &mut Frame<'_>, status: &StatusReply, color: bool) {
    let area = frame.area();
    let rows = Layout::vertical([Constraint::Length(1); HEIGHT as usize]).split(area);
    let mut rows = rows.iter().copied();
    let mut next = || rows.next().unwrap_or_default();

    let title = Line::from(title(status)).style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_widget(Paragraph::new(title), next());
    for (name, text) in lines(status) {
        let width = usize::from(NAME_WIDTH);
        let line = Line::from(vec![Span::from(format!(" {name:width$}")).bold(), Span::from(text)]);
        frame.render_widget(Paragraph::new(line), next());
    }
    for (name, share, text) in gauges(status) {
        let [left, right] =
            Layout::horizontal([Constraint::Length(NAME_WIDTH + 1), Constraint::Fill(1)]).areas(next());
        frame.render_widget(Paragraph::new(Line::from(format!(" {name}")).bold()), left);
        let style = if color { Style::new().cyan() } else { Style::new() };
        frame.render_widget(Gauge::default().ratio(share).label(text).gauge_style(style), right);
    }
    for alert in alerts(status) {
        let style = if color { Style::new().red().bold() } else { Style::new().bold() };
        frame.render_widget(Paragraph::new(Line::from(format!(" ! {alert}")).style(style)), next());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn status() -> StatusReply {
        StatusReply {
            version: "0.1.0".to_owned(),
            pid: 77,
            uptime_ms: 3_725_000,
            database: "/data/social\x1b[2J.graphite".to_owned(),
            format_version: 1,
            durability: Durability::Off,
            read_only: true,
            poisoned: Some("sync: no space".to_owned()),
            nodes: 3749,
            edges: 57_645,
            sessions: 2,
            sessions_max: 1000,
            transactions: 1,
            file_bytes: 6_300_000,
            wal_bytes: 16_800_000,
            wal_used_bytes: 8_400_000,
            pages: 770,
            pages_free: 3,
            cache_bytes: 67_108_864,
            cache_bytes_max: 268_435_456,
            cache_misses: 0,
            dirty_pages: 5,
            visible_lsn: 0,
            applied_lsn: 0,
            durable_lsn: 0,
            horizon_lsn: 0,
            checkpoint_lsn: 0,
            checkpoint_at_ms: None,
            checkpoints: 0,
            commits: 29,
            aborts: 1,
            deadlocks: 0,
            syncs: 4,
            statements: 28,
        }
    }

    fn drawn(width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &status(), true)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_frame_has_all_at_80_columns() {
        let text = drawn(80, HEIGHT);
        for part in [
            "graphite-top  /data/social\\u{1b}[2J.graphite",
            "up 1h02m",
            "3749 nodes, 57645 edges",
            "2 of 1000, 1 transactions open",
            "28 statements, 29 commits, 1 rolled back, 0 deadlocks, 4 syncs",
            "file 6.3 MB, 3 of 770 pages free, 5 to be written",
            "67.1 MB of 268.4 MB",
            "8.4 MB of 16.8 MB for recovery",
            "! DURABILITY OFF",
            "! POISONED: sync: no space",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_terminal_of_any_size_is_drawn_on() {
        for (width, height) in [(1, 1), (10, 3), (200, 50)] {
            drawn(width, height);
        }
    }

    #[test]
    fn plain_text_says_the_same() {
        let text = plain(&status());
        assert!(text.starts_with("graphite-top  /data/social\\u{1b}[2J.graphite  graphited 0.1.0  pid 77"));
        assert!(text.contains("\n cache     25%, 67.1 MB of 268.4 MB\n"), "{text}");
        assert!(text.contains("\n !         POISONED: sync: no space\n"), "{text}");
    }

    #[test]
    fn uptimes() {
        let shown = [999, 61_000, 3_600_000, 273_600_000].map(uptime);
        assert_eq!(shown, ["0s", "1m01s", "1h00m", "3d04h"]);
    }
}
