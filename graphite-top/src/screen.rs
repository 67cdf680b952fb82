//! Draws the screen: head, rows with details, the pane at the side, foot. Only rows that are seen are formatted.

mod foot;
mod head;
mod side;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;

use crate::sanitise::shown;
use crate::scene::Scene;
use crate::state::{Listing, State};
use crate::table::{Place, places};
use crate::theme::{Glyph, Role};
use crate::views::{View, tree};

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

struct Pen<'a> {
    state: &'a State,
    buffer: &'a mut Buffer,
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

    fn line(&mut self, area: Rect, y: u16, text: &str, role: Role) {
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
    let head = head::head_lines(state, area.width);
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
    head::tabs(&mut pen, area, rows_y - 2);
    let drawn = match &state.scene {
        Some(scene) => body(&mut pen, scene, main, (rows_y, rows, detail), area),
        None => Drawn::default(),
    };
    foot::foot_lines(&mut pen, area, foot);
    foot::overlay(&mut pen, area);
    drawn
}

fn scroll(state: &mut State, visible: usize) {
    state.first = state.first.min(state.cursor).max((state.cursor + 1).saturating_sub(visible));
    state.first = state.first.min(state.listing.len().saturating_sub(visible));
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
        side::side(pen, scene, pane);
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
