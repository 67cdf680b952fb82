//! The monitor's program before a real daemon, in a terminal that a program reads: what it takes, and how soon it answers.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

use super::daemon::Daemon;
use super::report::{Gate, Line, Report, Series, Unit};
use super::{Bench, Result, proc_files};

/// A key is to be answered within this, whatever the daemon shows.
const ANSWER_SECONDS_MAX: f64 = 0.1;
/// What the program may take of memory, its history filled for a while.
const MEMORY_BYTES_MAX: f64 = (64 << 20) as f64;
/// What it may take of a processor before a daemon that rests.
const SHARE_MAX: f64 = 0.01;
/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(20);
/// Keys whose answers are timed.
const KEYS: usize = 40;
/// No answer within this is none.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program in its terminal.
struct Screen {
    child: Child,
    keys: File,
    /// What it draws, and when.
    drawn: Receiver<(Instant, Vec<u8>)>,
}

impl Drop for Screen {
    fn drop(&mut self) {
        // One that has ended is no error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Screen {
    fn start(bench: &Bench, daemon: &Daemon, interval: &str) -> Result<Screen> {
        let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None)?;
        let end = |of: &OwnedFd| Ok::<Stdio, std::io::Error>(of.try_clone()?.into());
        let child = Command::new(bench.programs.graphite_top()?)
            .arg("--socket")
            .arg(daemon.socket())
            .args(["--interval", interval])
            .env("TERM", "xterm-256color")
            .stdin(end(&pty.slave)?)
            .stdout(end(&pty.slave)?)
            .stderr(Stdio::null())
            .spawn()?;
        let (sender, drawn) = channel();
        let mut reader = File::from(pty.master.try_clone()?);
        std::thread::spawn(move || {
            let mut bytes = vec![0; 64 << 10];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send((Instant::now(), bytes[..count].to_owned())).is_err() {
                    return;
                }
            }
        });
        Ok(Screen { child, keys: File::from(pty.master), drawn })
    }

    /// Presses a key, and waits until the screen has this text; how long that took.
    fn press(&mut self, key: &str, text: &str) -> Result<f64> {
        while self.drawn.try_recv().is_ok() {}
        let pressed = Instant::now();
        self.keys.write_all(key.as_bytes())?;
        let mut seen = String::new();
        while pressed.elapsed() < PATIENCE {
            let Ok((at, bytes)) = self.drawn.recv_timeout(PATIENCE) else { break };
            seen.push_str(&String::from_utf8_lossy(&bytes));
            if seen.contains(text) {
                return Ok((at - pressed).as_secs_f64());
            }
        }
        Err(format!("the monitor did not show {text:?} after {key:?}").into())
    }

    fn cpu_seconds(&self) -> Result<f64> {
        proc_files::cpu_seconds(self.child.id())
    }
}

/// Before the largest scene: how soon keys are answered while pictures come every 200 ms, and memory after a while.
pub(super) fn before_a_crowd(bench: &Bench, report: &mut Report, daemon: &Daemon) -> Result<()> {
    let mut screen = Screen::start(bench, daemon, "0.2")?;
    screen.press("2", "MODE")?;
    let begun = Instant::now();
    let mut answers = Vec::new();
    while begun.elapsed() < WATCHED || answers.len() < KEYS {
        // The help covers the screen, and any key takes it away.
        answers.push(screen.press("?", "PgDn")?);
        std::thread::sleep(Duration::from_millis(130));
        screen.keys.write_all(b"x")?;
        std::thread::sleep(Duration::from_millis(130));
    }
    let (median, slowest) = {
        answers.sort_by(f64::total_cmp);
        (answers[answers.len() / 2], answers[answers.len() - 1])
    };
    let mut middle = Series::new("graphite-top, 5,000 sessions: a key is answered, median", Unit::Seconds);
    middle.push(median);
    report.add(Line::new(middle).gate(Gate::AtMost(ANSWER_SECONDS_MAX)));
    let mut last = Series::new("graphite-top, 5,000 sessions: a key is answered, slowest", Unit::Seconds);
    last.push(slowest);
    report.add(Line::new(last).gate(Gate::AtMost(ANSWER_SECONDS_MAX)));
    let mut memory = Series::new("graphite-top, 5,000 sessions: memory at its highest", Unit::Bytes);
    memory.push(proc_files::memory(screen.child.id())?.peak as f64);
    report.add(Line::new(memory).gate(Gate::AtMost(MEMORY_BYTES_MAX)));
    Ok(())
}

/// Before a daemon that rests, once a second.
pub(super) fn at_rest(bench: &Bench, report: &mut Report, daemon: &Daemon) -> Result<()> {
    let mut screen = Screen::start(bench, daemon, "1")?;
    screen.press("1", "STATEMENT")?;
    std::thread::sleep(Duration::from_secs(2));
    let mut share =
        Series::new("graphite-top before a quiet daemon: processor time for a second", Unit::Seconds);
    for _ in 0..bench.rounds {
        let before = screen.cpu_seconds()?;
        std::thread::sleep(WATCHED / 2);
        share.push((screen.cpu_seconds()? - before) / (WATCHED / 2).as_secs_f64());
    }
    report.add(Line::new(share).gate(Gate::AtMost(SHARE_MAX)));
    Ok(())
}
