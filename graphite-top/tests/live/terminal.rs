//! The terminal is given back, however the program ends.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Daemon, Guarded, Stage, until};

#[test]
fn a_signal_gives_the_terminal_back_and_a_daemon_that_goes_is_said() {
    let Some(mut stage) = Stage::new("signal") else { return };
    stage.watch("60", "16", "--interval 0.2");
    stage.shows("LIVE");
    stage.daemon.process.0.kill().unwrap();
    stage.daemon.process.0.wait().unwrap();
    stage.shows("stale since");
    // It comes back by itself, and with another daemon.
    stage.daemon = Daemon::start(stage.daemon.db.clone());
    stage.shows("LIVE");
    let pid = stage.pid_of_monitor();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let screen = stage.shows("ended 143 as before");
    assert!(!screen.contains("LIVE"), "{screen}");
    assert!(stage.dir.path().is_dir());
}

#[test]
fn a_panic_gives_the_terminal_back() {
    const PANICS: &str = "GRAPHITE_TOP_TEST_PANICS";
    if std::env::var_os(PANICS).is_some() {
        let _screen = graphite_top::terminal::Screen::take().unwrap();
        let _ = thread::spawn(|| panic!("on purpose")).join();
        unreachable!("a panic in any thread ends the program");
    }
    let Some(stage) = Stage::new("panic") else { return };
    let test = std::env::current_exe().unwrap();
    let command = format!(
        "{PANICS}=1 {} --exact terminal::a_panic_gives_the_terminal_back --nocapture",
        test.display()
    );
    stage.run("120", "40", &command);
    let screen = stage.shows("ended 70 as before");
    assert!(screen.contains("on purpose"), "{screen}");
}

#[test]
fn a_terminal_that_takes_nothing_does_not_keep_it_from_leaving() {
    let Some(stage) = Stage::new("stalled") else { return };
    let pty = nix::pty::openpty(None, None).unwrap();
    fill(&pty.slave);
    let end = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_graphite-top"));
    command.arg("--socket").arg(stage.socket()).stdin(end()).stdout(end());
    let mut top = Guarded(command.spawn().unwrap());
    let status = format!("/proc/{}/status", top.0.id());
    until("it hears signals", || {
        let status = std::fs::read_to_string(&status).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        (caught & (1 << (Signal::SIGTERM as u32 - 1)) != 0).then_some(())
    });
    kill(Pid::from_raw(i32::try_from(top.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    let code = until("it leaves", || top.0.try_wait().unwrap());
    assert_eq!(code.code(), Some(143));
}

fn fill(terminal: &OwnedFd) {
    let flags = OFlag::from_bits_retain(fcntl(terminal, FcntlArg::F_GETFL).unwrap());
    fcntl(terminal, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    while nix::unistd::write(terminal, b"x").is_ok() {}
    fcntl(terminal, FcntlArg::F_SETFL(flags)).unwrap();
}
