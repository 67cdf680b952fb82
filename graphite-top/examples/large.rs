//! Measures what 5,000 sessions and 50,000 locks cost the monitor: `cargo run --release -p graphite-top --example large`.
//!
//! Pictures are decoded from frames, as they come from the daemon, and taken until the last minutes are full. Each time a
//! key is pressed in the same moment: what is told is the time from there to the drawn frame, and the process's peak memory.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent};
use graphite_top::record::{decoded, encoded};
use graphite_top::state::State;
use graphite_top::theme::Theme;
use graphite_top::views::View;
use graphite_top::{input, samples, screen};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

const PICTURES: u64 = 150;

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown").to_owned()
}

fn main() {
    let mut frame = {
        let picture = samples::large(5000, 50_000).picture;
        encoded(&picture).expect("it fits into a frame")
    };
    frame.shrink_to_fit();
    println!("a frame has {} bytes; making it: {}", frame.len(), peak());
    // The peak is counted anew, for what made the picture is no part of the monitor.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let theme = Theme { color: true, light: false, ascii: false };
    let mut terminal = Terminal::new(TestBackend::new(160, 45)).expect("a terminal in memory");
    for view in View::ALL {
        let mut state = State::new(theme, view, Duration::from_secs(1));
        let mut longest = Duration::ZERO;
        for round in 0..PICTURES {
            let mut picture = decoded(&frame).expect("it was encoded");
            picture.at_ms += round * 1000;
            let pressed = Instant::now();
            state.take(picture);
            input::key(&mut state, KeyEvent::from(KeyCode::Char('j')));
            let drawn = terminal.draw(|frame| {
                screen::draw(&mut state, frame);
            });
            drawn.expect("memory takes all");
            longest = longest.max(pressed.elapsed());
        }
        // While the screen stands still there is one more: the newest.
        input::key(&mut state, KeyEvent::from(KeyCode::Char('p')));
        state.take(decoded(&frame).expect("it was encoded"));
        println!("{view:?}: {} pictures kept, longest {longest:?}, {}", state.history.len(), peak());
    }
}
