//! The monitor as a person sees it: in a real terminal (tmux), before a real daemon, with real sessions in each other's
//! way. Skipped, with a word, where tmux is not installed or the daemon was not built beside the monitor.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use graphite_client::messages::{Begin, Commit, Mode};
use graphite_client::{Client, props, socket_path};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// No picture within this is a failure of the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with the test, however that ends.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Daemon {
    process: Guarded,
    db: PathBuf,
}

impl Daemon {
    fn start(db: PathBuf) -> Daemon {
        let program = daemon_program().unwrap();
        let child = Command::new(program).arg("--db").arg(&db).stdin(Stdio::null()).spawn().unwrap();
        until("the daemon serves", || Client::connect(socket_path(&db)).ok());
        Daemon { process: Guarded(child), db }
    }
}

/// The daemon, if it was built beside the monitor.
fn daemon_program() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_graphite-top")).with_file_name("graphited");
    program.is_file().then_some(program)
}

fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A daemon of a database of its own, and a tmux server of its own.
struct Stage {
    daemon: Daemon,
    name: String,
    dir: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

impl Stage {
    fn new(name: &str) -> Option<Stage> {
        let has_tmux = Command::new("tmux").arg("-V").output().is_ok_and(|ran| ran.status.success());
        if !has_tmux || daemon_program().is_none() {
            eprintln!(
                "skipped: tmux is not installed, or graphited was not built (cargo build -p graphited)"
            );
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("social.graphite");
        let name = format!("graphite-top-{name}-{}", std::process::id());
        Some(Stage { daemon: Daemon::start(db), name, dir })
    }

    fn socket(&self) -> PathBuf {
        socket_path(&self.daemon.db)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let ran =
            Command::new("tmux").args(["-L", &self.name, "-f", "/dev/null"]).args(args).output().unwrap();
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Starts the monitor from a shell, which says by which code it ended.
    fn watch(&self, width: &str, height: &str, options: &str) {
        let program = env!("CARGO_BIN_EXE_graphite-top");
        self.run(width, height, &format!("{program} --socket {} {options}", self.socket().display()));
    }

    /// Runs something in a terminal, and says by which code it ended, and whether the terminal is as it was.
    fn run(&self, width: &str, height: &str, command: &str) {
        let line = format!(
            "before=$(stty -g); {command}; code=$?; \
             test \"$before\" = \"$(stty -g)\" && echo ended $code as before || echo ended $code otherwise; exec cat"
        );
        self.tmux(&["new-session", "-d", "-x", width, "-y", height, "sh", "-c", &line]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn shows(&self, text: &str) -> String {
        until(&format!("the screen shows {text:?}; it is\n{}", self.screen()), || {
            Some(self.screen()).filter(|screen| screen.contains(text))
        })
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn pid_of_monitor(&self) -> String {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        std::fs::read_to_string(children).unwrap().split_whitespace().next().unwrap().to_owned()
    }

    /// One session that holds a node, and another that waits for it until the first ends.
    fn block(&self) -> (u64, thread::JoinHandle<bool>, Client) {
        let mut first = Client::connect_as(self.socket(), "etl").unwrap();
        let node = first.create_node(["Person"], props! { "name" => "Ada" }).unwrap();
        let session = first.server().session;
        first.call(&Begin { mode: Mode::Write }).unwrap();
        first.set_properties(node, props! { "name" => "Grace" }).unwrap();
        let socket = self.socket();
        let waiter = thread::spawn(move || {
            let mut second = Client::connect_as(socket, "api").unwrap();
            second.set_properties(node, props! { "name" => "Alan" }).is_ok()
        });
        (session, waiter, first)
    }
}

#[test]
fn a_blocked_session_is_seen_with_what_it_waits_for_and_whoever_is_in_the_way_is_killed() {
    let Some(stage) = Stage::new("block") else { return };
    let (session, waiter, _first) = stage.block();
    stage.watch("80", "24", "--view tree --interval 0.2");
    let screen = stage.shows("X node");
    assert!(screen.contains(&format!("▼ {session}")), "{screen}");
    // For docs/graphite-top.svg: see docs/pane_to_svg.py.
    if let Some(path) = std::env::var_os("GRAPHITE_TOP_PANE") {
        thread::sleep(Duration::from_secs(1));
        std::fs::write(path, stage.tmux(&["capture-pane", "-e", "-p"])).unwrap();
    }
    assert!(screen.contains("idle-tx") && screen.contains("wait"), "{screen}");
    for (key, text) in
        [("2", "[2 Locks]"), ("4", "[4 Deadlocks]"), ("5", "checkpoint"), ("6", "[6 Slow]"), ("1", "SID")]
    {
        stage.keys(&[key]);
        stage.shows(text);
    }
    stage.keys(&["3"]);
    stage.shows("[3 Tree]");
    stage.keys(&["K"]);
    let question = stage.shows(&format!("Kill session {session} "));
    assert!(question.contains("rolled back") && question.contains("1 session behind it"), "{question}");
    stage.keys(&["n"]);
    stage.shows("nothing was done");
    stage.keys(&["K"]);
    stage.shows(&format!("Kill session {session} "));
    stage.keys(&["y"]);
    stage.shows(&format!("session {session} was ended"));
    assert!(waiter.join().unwrap(), "whoever waited goes on");
    stage.keys(&["q"]);
    stage.shows("ended 0 as before");
}

#[test]
fn a_stale_screen_kills_nobody() {
    let Some(stage) = Stage::new("stale") else { return };
    let (session, waiter, mut first) = stage.block();
    stage.watch("80", "24", "--view tree --interval 0.2");
    stage.shows("X node");
    stage.keys(&["p"]);
    stage.shows("PAUSED");
    first.call(&Commit { token: None }).unwrap();
    first.call(&Begin { mode: Mode::Write }).unwrap();
    assert!(waiter.join().unwrap());
    stage.keys(&["K"]);
    stage.shows(&format!("Kill session {session} "));
    stage.keys(&["y"]);
    stage.shows("and not in transaction");
    first.ping().unwrap();
}

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

/// What a panic does to the terminal is seen by running this very test in one, told to panic.
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
    let command =
        format!("{PANICS}=1 {} --exact a_panic_gives_the_terminal_back --nocapture", test.display());
    stage.run("120", "40", &command);
    let screen = stage.shows("ended 70 as before");
    assert!(screen.contains("on purpose"), "{screen}");
}

/// The terminal is full and nobody reads its other end, so whatever is drawn waits. Asked to leave, it does.
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

#[test]
fn a_wide_terminal_has_panes_beside_the_rows() {
    let Some(stage) = Stage::new("wide") else { return };
    let (session, waiter, first) = stage.block();
    stage.watch("120", "40", "--view tree --interval 0.2");
    let screen = stage.shows("X node");
    assert!(screen.contains(&format!("▼ {session}")) && screen.contains("Alerts"), "{screen}");
    drop(first);
    assert!(waiter.join().unwrap());
    stage.keys(&["q"]);
    stage.shows("ended 0 as before");
}
