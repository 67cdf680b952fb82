//! Keys: what each does, and whether the screen has to be drawn.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::connection::Order;
use crate::filter::FILTER_CHARS_MAX;
use crate::record::Recorder;
use crate::state::State;
use crate::views::View;

/// Shortest and longest interval.
pub const INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// Lines of a page.
const PAGE: isize = 10;

/// What a key led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Nothing,
    /// Something to draw.
    Changed,
    /// Something to draw, and an order for the connection.
    Order(Order),
    /// The end.
    Quit,
}

/// A key was pressed.
pub fn key(state: &mut State, key: KeyEvent) -> Outcome {
    if key.kind == KeyEventKind::Release {
        return Outcome::Nothing;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return controlled(state, key.code);
    }
    if state.typing.is_some() {
        return typed(state, key.code);
    }
    if let Some(question) = state.question.take() {
        if key.code == KeyCode::Char('y') {
            return Outcome::Order(question.order);
        }
        state.message = Some("nothing was done".to_owned());
        return Outcome::Changed;
    }
    state.message = None;
    if state.help {
        state.help = false;
        return Outcome::Changed;
    }
    ordinary(state, key.code)
}

fn ordinary(state: &mut State, code: KeyCode) -> Outcome {
    match code {
        KeyCode::Char('q') => return Outcome::Quit,
        KeyCode::Char(digit @ '1'..='6') => state.turn_to(View::ALL[digit as usize - '1' as usize]),
        KeyCode::Tab => state.turn_to(View::ALL[(state.view.place() + 1) % 6]),
        KeyCode::BackTab => state.turn_to(View::ALL[(state.view.place() + 5) % 6]),
        KeyCode::Up | KeyCode::Char('k') => state.go(-1),
        KeyCode::Down | KeyCode::Char('j') => state.go(1),
        KeyCode::PageUp => state.go(-PAGE),
        KeyCode::PageDown => state.go(PAGE),
        KeyCode::Home => state.go(isize::MIN),
        KeyCode::End => state.go(isize::MAX),
        KeyCode::Enter => state.detail = !state.detail,
        KeyCode::Esc => state.detail = false,
        KeyCode::Left | KeyCode::Right | KeyCode::Char(' ') => fold(state, code),
        KeyCode::Char('/') => {
            state.typing =
                Some(state.filter.as_ref().map_or_else(String::new, |filter| filter.text().to_owned()));
        }
        KeyCode::Char('s') => state.sort(false),
        KeyCode::Char('S') => state.sort(true),
        KeyCode::Char('p') => state.pause(),
        KeyCode::Char('[') => state.step(-1),
        KeyCode::Char(']') => state.step(1),
        KeyCode::Char('c') => state.ask(false),
        KeyCode::Char('K') => state.ask(true),
        KeyCode::Char('r') => record(state),
        KeyCode::Char('?') => state.help = true,
        KeyCode::Char('+') => return every(state, state.interval * 2),
        KeyCode::Char('-') => return every(state, state.interval / 2),
        _ => return Outcome::Nothing,
    }
    Outcome::Changed
}

/// With the control key, what a line editor does.
fn controlled(state: &mut State, code: KeyCode) -> Outcome {
    match (code, &mut state.typing) {
        (KeyCode::Char('c'), _) => Outcome::Quit,
        (KeyCode::Char('u'), Some(text)) => {
            text.clear();
            Outcome::Changed
        }
        (KeyCode::Char('w'), Some(text)) => {
            let end = text.trim_end().rfind(' ').map_or(0, |at| at + 1);
            text.truncate(end);
            Outcome::Changed
        }
        _ => Outcome::Nothing,
    }
}

fn every(state: &mut State, interval: Duration) -> Outcome {
    state.interval = interval.clamp(INTERVAL.0, INTERVAL.1);
    Outcome::Order(Order::Every(state.interval))
}

fn typed(state: &mut State, code: KeyCode) -> Outcome {
    let Some(text) = &mut state.typing else { return Outcome::Nothing };
    match code {
        KeyCode::Char(c) if text.chars().count() < FILTER_CHARS_MAX => text.push(c),
        KeyCode::Backspace => {
            text.pop();
        }
        KeyCode::Esc => state.typing = None,
        KeyCode::Enter => {
            let text = text.clone();
            match state.filter_by(&text) {
                Ok(()) => (state.typing, state.message) = (None, None),
                Err(error) => state.message = Some(error.to_string()),
            }
        }
        _ => return Outcome::Nothing,
    }
    Outcome::Changed
}

fn fold(state: &mut State, code: KeyCode) {
    if state.view != View::Tree {
        return;
    }
    let Some((scene, row)) = state.scene.as_ref().zip(state.row()) else { return };
    let Some(session) = state.view.session(scene, row) else { return };
    let hide = code == KeyCode::Left || (code == KeyCode::Char(' ') && !state.folded.contains(&session));
    if hide {
        state.folded.insert(session);
    } else {
        state.folded.remove(&session);
    }
    state.list();
}

fn record(state: &mut State) {
    if state.recorder.take().is_some() {
        state.message = Some("recording ended".to_owned());
        return;
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let name = format!("graphite-top-{seconds}.rec");
    state.message = Some(match Recorder::create(Path::new(&name)) {
        Ok(recorder) => {
            state.recorder = Some(recorder);
            format!("recording to {name}; r ends it")
        }
        Err(error) => format!("cannot record to {name}: {error}"),
    });
}
