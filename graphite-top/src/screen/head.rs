//! The head: which daemon, how it is, how old what is shown is; and which view of it.

use ratatui::layout::Rect;
use ratatui::text::Span;

use super::Pen;
use crate::format::{age, bytes, clock, count, lasting, percent, rate, span};
use crate::state::State;
use crate::theme::Role;
use crate::views::{View, storage};

fn mode(state: &State) -> String {
    if let Some(since) = state.stale() {
        return format!("STALE {}", age(since));
    }
    match (state.past, state.paused) {
        (Some(number), _) => {
            format!("PAST -{}", state.history.len().saturating_sub(state.history.place(number) + 1))
        }
        (None, true) => "PAUSED".to_owned(),
        (None, false) if state.is_replay => "REPLAY".to_owned(),
        (None, false) => "LIVE".to_owned(),
    }
}

pub(super) fn head_lines(state: &State, width: u16) -> Vec<String> {
    let Some(scene) = &state.scene else { return vec!["graphite-top  waiting for the daemon".to_owned()] };
    let (picture, counts, rates) = (&scene.picture, &scene.counts, &scene.rates);
    let (status, store) = (&picture.status, &picture.storage);
    let name = status.database.rsplit('/').next().unwrap_or_default();
    let rec = if state.recorder.is_some() { "  REC" } else { "" };
    let pace = if state.is_replay {
        format!("speed {}%", state.speed_percent)
    } else {
        format!("every {}", lasting(state.interval))
    };
    let mut title = format!(
        "graphite-top  {name}  {}{rec}  {}  {pace}  up {}",
        mode(state),
        clock(picture.at_ms),
        span(status.uptime_ms)
    );
    if let Some(who) = &state.own_name {
        let room = usize::from(width).saturating_sub(Span::raw(title.as_str()).width() + 1);
        if Span::raw(who.as_str()).width() < room {
            title += &format!("{who:>room$} ");
        }
    }
    let spark = state.theme.sparkline(&state.commits, 6);
    let spark = if width >= 80 { spark } else { String::new() };
    let (share, _) = storage::checkpoint(scene);
    let checkpoint =
        share.map_or_else(|| "idle".to_owned(), |share| format!("{} {share}%", state.theme.bar(share, 8)));
    let snapshot = store.oldest_snapshot.map_or_else(|| "-".to_owned(), |oldest| span(oldest.age_ms));
    let deadlocks = picture
        .deadlocks
        .iter()
        .filter(|found| picture.at_ms.saturating_sub(found.at_ms) < 3_600_000)
        .count();
    let (done, compaction) = storage::compaction(scene);
    let bar = done.map_or_else(String::new, |share| format!("{} {share}%  ", state.theme.bar(share, 18)));
    vec![
        title,
        format!(
            " sess {}/{} act {} wait {} idle-tx {} commit/s {} {spark} cache {}% abort {:.0}%",
            status.sessions,
            status.sessions_max,
            counts.active,
            counts.waiting,
            counts.idle_in_transaction,
            rate(rates.commits),
            percent(store.cache_bytes, store.cache_bytes_max),
            rates.abort_percent
        ),
        format!(
            " locks {} wait-max {} deadlk/h {deadlocks}   WAL {} ckpt {checkpoint}   old snap {snapshot}",
            count(picture.locks_held),
            span(counts.longest_wait_ms),
            bytes(store.wal_used_bytes)
        ),
        format!(" compact  {bar}{compaction}"),
    ]
}

pub(super) fn tabs(pen: &mut Pen<'_>, area: Rect, y: u16) {
    let mut x = area.x + 1;
    for (number, view) in (1..).zip(View::ALL) {
        let chosen = view == pen.state.view;
        let text = if chosen {
            format!("[{number} {}]", view.title())
        } else {
            format!("{number} {}", view.title())
        };
        let role = if chosen { Role::Heading } else { Role::Text };
        pen.text(x, y, area.width.saturating_sub(x), &text, pen.state.theme.style(role));
        x += u16::try_from(text.len()).unwrap_or(0) + 1;
    }
    let filter = match &pen.state.filter {
        None => "filter: none".to_owned(),
        Some(filter) if filter.check(pen.state.view.columns()).is_err() => {
            "filter: not for this view".to_owned()
        }
        Some(filter) => format!("filter: {}", filter.text()),
    };
    let left = area.width.saturating_sub(x + 1);
    pen.text(x + 1, y, left, &filter, pen.state.theme.style(Role::Dim));
}
