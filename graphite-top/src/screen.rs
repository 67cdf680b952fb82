//! Draws the screen: head, views, rows, details, keys. Only rows that are seen are formatted.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;

use crate::format::{bytes, clock, count, percent, rate, span};
use crate::sanitise::shown;
use crate::scene::Scene;
use crate::side;
use crate::state::{Listing, State};
use crate::table::{Place, places};
use crate::theme::{Glyph, Role};
use crate::views::{View, deadlocks, storage, tree};

/// The least screen: columns and lines.
pub const LEAST: (u16, u16) = (60, 16);
/// From so many columns on there is a pane at the side.
const WIDE: u16 = 110;
/// Columns of that pane.
const PANE: u16 = 38;

/// What was done for a frame, for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Rows that were formatted.
    pub rows: usize,
}

/// What draws.
pub(crate) struct Pen<'a> {
    pub(crate) state: &'a State,
    pub(crate) buffer: &'a mut Buffer,
}

impl Pen<'_> {
    /// Writes within a width, with a mark where it is cut.
    fn text(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) {
        let shown = shown(text, self.state.theme.ascii);
        self.buffer.set_stringn(x, y, &shown, usize::from(width), style);
        if width > 1 && Span::raw(shown.as_ref()).width() > usize::from(width) {
            self.buffer.set_stringn(x + width - 1, y, self.state.theme.glyph(Glyph::Cut), 1, style);
        }
    }

    pub(crate) fn line(&mut self, area: Rect, y: u16, text: &str, role: Role) {
        self.text(area.x, y, area.width, text, self.state.theme.style(role));
    }

    fn rule(&mut self, area: Rect, y: u16, title: &str) {
        let glyph = self.state.theme.glyph(Glyph::Rule);
        self.line(area, y, &glyph.repeat(usize::from(area.width)), Role::Dim);
        self.line(
            Rect { x: area.x + 3, width: area.width.saturating_sub(4), ..area },
            y,
            &format!(" {title} "),
            Role::Heading,
        );
    }
}

/// Draws a frame.
pub fn draw(state: &mut State, frame: &mut Frame<'_>) -> Drawn {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!(
            "{}x{} is too small: graphite-top needs {}x{}",
            area.width, area.height, LEAST.0, LEAST.1
        );
        frame.buffer_mut().set_stringn(0, 0, text, usize::from(area.width), Style::new());
        return Drawn::default();
    }
    let tall = area.height >= 20;
    let main = if area.width >= WIDE { Rect { width: area.width - PANE - 1, ..area } } else { area };
    let head = head_lines(state, area.width);
    let head: Vec<String> = head.into_iter().take(if tall { 4 } else { 3 }).collect();
    let rows_y = u16::try_from(head.len()).unwrap_or(4) + 2;
    let detail = match (state.detail, tall) {
        (true, _) => area.height - rows_y - 6,
        (false, true) => 6,
        (false, false) => 2,
    };
    let foot = area.height - 2;
    let rows = foot.saturating_sub(rows_y + detail);
    scroll(state, usize::from(rows.saturating_sub(1)));
    let mut pen = Pen { state, buffer: frame.buffer_mut() };
    for (y, line) in (0u16..).zip(&head) {
        pen.line(area, y, line, if y == 0 { Role::Title } else { Role::Text });
    }
    pen.buffer.set_style(Rect { height: 1, ..area }, state.theme.style(Role::Title));
    tabs(&mut pen, area, rows_y - 2);
    let drawn = match &state.scene {
        Some(scene) => body(&mut pen, scene, main, (rows_y, rows, detail), area),
        None => Drawn::default(),
    };
    foot_lines(&mut pen, area, foot);
    overlay(&mut pen, area);
    drawn
}

fn scroll(state: &mut State, visible: usize) {
    state.first = state.first.min(state.cursor).max((state.cursor + 1).saturating_sub(visible));
    state.first = state.first.min(state.listing.len().saturating_sub(visible));
}

fn mode(state: &State) -> String {
    let ms = |since: std::time::Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    if let Some((since, _)) = &state.down {
        return format!("STALE {}", span(ms(*since)));
    }
    match (state.past, state.paused) {
        (Some(number), _) => {
            format!("PAST -{}", state.history.len().saturating_sub(state.history.place(number) + 1))
        }
        (None, true) => "PAUSED".to_owned(),
        (None, false) if state.is_replay => "REPLAY".to_owned(),
        (None, false) => match state.overdue() {
            Some(since) => format!("LATE {}", span(ms(since))),
            None => "LIVE".to_owned(),
        },
    }
}

/// Who one is stands at the right, if there is room.
fn with_who(title: String, who: Option<&str>, width: u16) -> String {
    let Some(who) = who else { return title };
    let room = usize::from(width).saturating_sub(Span::raw(&title).width() + 1);
    if Span::raw(who).width() < room { format!("{title}{who:>room$}") } else { title }
}

fn head_lines(state: &State, width: u16) -> Vec<String> {
    let Some(scene) = &state.scene else { return vec!["graphite-top  waiting for the daemon".to_owned()] };
    let (picture, counts, rates) = (&scene.picture, &scene.counts, &scene.rates);
    let (status, store) = (&picture.status, &picture.storage);
    let name = status.database.rsplit('/').next().unwrap_or_default();
    let rec = if state.recorder.is_some() { "  REC" } else { "" };
    let every = span(u64::try_from(state.interval.as_millis()).unwrap_or(u64::MAX));
    let title = format!(
        "graphite-top  {name}  {}{rec}  {}  every {every}  up {}",
        mode(state),
        clock(picture.at_ms),
        span(status.uptime_ms)
    );
    let title = with_who(title, state.who.as_deref(), width);
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

fn tabs(pen: &mut Pen<'_>, area: Rect, y: u16) {
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

fn body(
    pen: &mut Pen<'_>,
    scene: &Scene,
    main: Rect,
    (y, rows, detail): (u16, u16, u16),
    area: Rect,
) -> Drawn {
    let state = pen.state;
    let columns = state.view.columns();
    let extra = if state.view == View::Tree { tree::MARKS_WIDTH } else { 0 };
    let places = places(columns, main.width - 2, extra);
    for place in &places {
        heading(pen, main, y - 1, *place);
    }
    let shown = usize::from(rows.saturating_sub(1));
    let last = (state.first + shown).min(state.listing.len());
    let mut formatted = 0;
    for (line, at) in (y..).zip(state.first..last) {
        row(pen, scene, main, line, at, &places);
        formatted += 1;
    }
    let below = state.listing.len() - last;
    let rest = match (&state.listing, below) {
        (listing, 0) if listing.is_empty() => "nothing to show".to_owned(),
        (Listing::Tree(lines), 0) => {
            format!(
                "... {} more sessions (no waits)",
                scene.picture.sessions.len().saturating_sub(lines.len())
            )
        }
        (_, 0) => String::new(),
        (_, below) => format!("... {below} more below"),
    };
    pen.line(main, y + rows - 1, &format!(" {rest}"), Role::Dim);
    if let Some(row) = state.row() {
        let (title, lines) = state.view.detail(scene, row);
        pen.rule(main, y + rows, &title);
        for (at, line) in (1..detail).zip(lines) {
            pen.line(main, y + rows + at, &format!(" {line}"), Role::Text);
        }
    }
    if area.width > main.width {
        let pane = Rect {
            x: main.width + 1,
            width: area.width - main.width - 1,
            y: y - 1,
            height: rows + detail + 1,
        };
        side::draw(pen, scene, pane);
    }
    Drawn { rows: formatted }
}

fn heading(pen: &mut Pen<'_>, main: Rect, y: u16, place: Place) {
    let column = &pen.state.view.columns()[place.column];
    let sort = pen.state.sorts[pen.state.view.place()].filter(|sort| sort.column == place.column);
    let mark = sort.map_or("", |sort| {
        pen.state.theme.glyph(if sort.descending { Glyph::Descending } else { Glyph::Ascending })
    });
    let text = format!("{}{mark}", column.heading);
    cell(pen, main.x + 2, y, place, column.right, &text, Role::Heading);
}

fn cell(pen: &mut Pen<'_>, x: u16, y: u16, place: Place, right: bool, text: &str, role: Role) {
    let width = u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX);
    let shift = if right { place.width.saturating_sub(width) } else { 0 };
    pen.text(x + place.x + shift, y, place.width - shift, text, pen.state.theme.style(role));
}

fn row(pen: &mut Pen<'_>, scene: &Scene, main: Rect, y: u16, at: usize, places: &[Place]) {
    let state = pen.state;
    let (line, row) = match &state.listing {
        Listing::Flat(rows) => (None, rows[at]),
        Listing::Tree(lines) => (Some(lines[at]), lines[at].place),
    };
    let session = state.view.session(scene, row).and_then(|session| scene.place_of(session));
    let blocks = session.is_some_and(|place| scene.behind(place) > 0);
    let mark = format!("{}{}", if blocks { "!" } else { " " }, if at == state.cursor { ">" } else { " " });
    let role = if blocks { Role::Alert } else { Role::Text };
    pen.text(main.x, y, 2, &mark, state.theme.style(role));
    for place in places {
        let column = &state.view.columns()[place.column];
        let value = (column.value)(scene, row);
        let text = value.shown(state.theme.ascii);
        match line.as_ref().filter(|_| place.column == 0) {
            Some(line) => {
                let folded = session
                    .is_some_and(|at| state.folded.contains(&scene.picture.sessions[at as usize].session));
                let text = tree::marks(line, folded, state.theme) + &text + tree::remark(line);
                cell(pen, main.x + 2, y, *place, false, &text, role);
            }
            None => cell(pen, main.x + 2, y, *place, column.right, &text, role),
        }
    }
    if at == state.cursor {
        let style = if state.theme.color || !blocks {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            state.theme.style(Role::Selected)
        };
        pen.buffer.set_style(Rect { x: main.x + 1, y, width: main.width - 1, height: 1 }, style);
    }
}

fn foot_lines(pen: &mut Pen<'_>, area: Rect, y: u16) {
    let state = pen.state;
    let (text, role) = if let Some(text) = &state.typing {
        let wrong = state.message.as_ref().map_or_else(String::new, |why| format!("   ({why})"));
        (format!(" /{text}_{wrong}"), Role::Heading)
    } else if let Some(message) = &state.message {
        (format!(" {message}"), Role::Warn)
    } else if let Some((_, why)) = &state.down {
        let at = state.scene.as_ref().map_or_else(String::new, |scene| clock(scene.picture.at_ms));
        (format!(" ! stale since {at}: {why}; trying again"), Role::Alert)
    } else if let Some(alert) = state.scene.as_ref().and_then(|scene| side::alerts(scene).into_iter().next())
    {
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
    "+ -            longer, shorter interval",
    "c, K           cancel statement, kill session (asks first)",
    "r              record to a file, end recording",
    "q              quit",
    "!              marks whoever stands in somebody's way",
];

fn overlay(pen: &mut Pen<'_>, area: Rect) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::theme::Theme;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Duration;

    /// Draws a scene and returns the text and what was done for it.
    fn drawn(scene: Scene, view: View, (width, height): (u16, u16), ascii: bool) -> (String, Drawn) {
        let mut state = State::new(Theme { color: false, light: false, ascii }, view, Duration::from_secs(1));
        state.scene = Some(scene);
        state.list();
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut done = Drawn::default();
        terminal.draw(|frame| done = draw(&mut state, frame)).unwrap();
        (terminal.backend().to_string(), done)
    }

    /// Compares with the files in `tests/fixtures`; with GRAPHITE_TOP_BLESS set they are written anew, to be looked at.
    #[test]
    fn every_view_at_every_size_is_as_it_was_looked_at() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        for view in View::ALL {
            for size in [(80, 24), (120, 40), (60, 16)] {
                let (text, _) = drawn(samples::chain(), view, size, false);
                let path = format!("{dir}/{}-{}x{}.txt", view.title().to_lowercase(), size.0, size.1);
                if std::env::var_os("GRAPHITE_TOP_BLESS").is_some() {
                    std::fs::write(&path, &text).unwrap();
                }
                let wanted = std::fs::read_to_string(&path).unwrap_or_default();
                assert_eq!(text, wanted, "{path}: look at it, and bless it if it is right\n{text}");
            }
        }
    }

    #[test]
    fn thousands_of_sessions_and_locks_cost_no_more_rows_than_are_seen() {
        for view in View::ALL {
            let (_, done) = drawn(samples::large(5000, 50_000), view, (120, 40), false);
            assert!(done.rows <= 40, "{view:?} formatted {}", done.rows);
        }
    }

    #[test]
    fn ascii_is_ascii_and_nothing_acts_on_the_terminal() {
        for view in View::ALL {
            let (text, _) = drawn(samples::chain(), view, (120, 40), true);
            assert!(text.is_ascii(), "{text}");
            assert!(!text.contains('\x1b'), "{text}");
        }
        // Nor is the direction of reading turned, where all other letters are shown as they are.
        let (text, _) = drawn(samples::chain(), View::Sessions, (120, 40), false);
        assert!(!text.contains('\u{202e}') && text.contains("eve\\u{"), "{text}");
    }

    #[test]
    fn a_screen_that_is_too_small_says_so() {
        let (text, _) = drawn(samples::chain(), View::Tree, (59, 16), false);
        assert!(text.contains("59x16 is too small: graphite-top needs 60x16"), "{text}");
        for size in [(1, 1), (60, 15), (250, 60)] {
            drawn(samples::quiet(), View::Tree, size, false);
        }
    }
}
