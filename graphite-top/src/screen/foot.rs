//! The foot: what happened last and which keys there are; and what lies over the rows: questions and help.

use ratatui::layout::Rect;

use super::Pen;
use super::side::alerts;
use crate::format::{age, clock};
use crate::theme::Role;
use crate::views::deadlocks;

pub(super) fn foot_lines(pen: &mut Pen<'_>, area: Rect, y: u16) {
    let state = pen.state;
    let (text, role) = if let Some(text) = &state.typing {
        let wrong = state.message.as_ref().map_or_else(String::new, |why| format!("   ({why})"));
        (format!(" /{text}_{wrong}"), Role::Heading)
    } else if let Some(message) = &state.message {
        (format!(" {message}"), Role::Warn)
    } else if let Some((_, why)) = &state.down {
        let at = state.scene.as_ref().map_or_else(String::new, |scene| clock(scene.picture.at_ms));
        (format!(" ! stale since {at}: {why}; trying again"), Role::Alert)
    } else if let Some(since) = state.stale() {
        (format!(" ! the daemon has said nothing for {}; this is what was", age(since)), Role::Alert)
    } else if let Some(alert) = state.scene.as_ref().and_then(|scene| alerts(scene).into_iter().next()) {
        (format!(" ! {alert}"), Role::Alert)
    } else if let Some(found) = state.scene.as_ref().and_then(|scene| scene.picture.deadlocks.first()) {
        (
            format!(" {} deadlock {}, victim {}", clock(found.at_ms), deadlocks::circle(found), found.victim),
            Role::Text,
        )
    } else {
        (String::new(), Role::Text)
    };
    pen.line(area, y, &text, role);
    let keys = if area.width < 80 {
        " j/k move / filter s sort p pause c cancel K kill ? help"
    } else {
        " j/k move  Enter detail  / filter  s sort  p pause  c cancel  K kill  ? help"
    };
    pen.line(area, y + 1, keys, Role::Dim);
}

const HELP: [&str; 12] = [
    "1-6, Tab       views",
    "j k, arrows    move; PgUp PgDn Home End",
    "Enter          details; Esc back",
    "Left, Right    hide, show who waits behind (tree)",
    "/              filter: user=bob and wait>1s",
    "s, S           sort by the next column, other way round",
    "p              pause; [ and ] step through the last minutes",
    "+ -            longer, shorter interval (recording: faster, slower)",
    "c, K           cancel statement, kill session (asks first)",
    "r              record to a file, end recording",
    "q              quit",
    "!              marks whoever stands in somebody's way",
];

pub(super) fn overlay(pen: &mut Pen<'_>, area: Rect) {
    let mut lines: Vec<String> = Vec::new();
    if let Some(question) = &pen.state.question {
        lines.extend(question.lines.iter().cloned());
        lines.push("y yes, any other key no".to_owned());
    } else if pen.state.help {
        lines.extend(HELP.iter().map(|line| (*line).to_owned()));
    }
    if lines.is_empty() {
        return;
    }
    let height = u16::try_from(lines.len()).unwrap_or(12) + 2;
    let frame = Rect { x: 0, y: (area.height - height) / 2, width: area.width.min(100), height };
    let blank = " ".repeat(usize::from(frame.width));
    for y in frame.y..frame.y + height {
        pen.line(frame, y, &blank, Role::Selected);
    }
    for (y, line) in (frame.y + 1..).zip(lines) {
        pen.line(Rect { x: 3, width: frame.width - 6, ..frame }, y, &line, Role::Selected);
    }
}
