//! The monitor as a person sees it: in a real terminal (tmux), before a real daemon, with real sessions in each other's
//! way. Skipped, with a word, where tmux is not installed or the daemon was not built beside the monitor.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use graphite_client::messages::{Begin, Commit, Mode};
use graphite_client::{Client, props, socket_path};

/// No picture within this is a failure of the test.
const PATIENCE: Duration = Duration::from_secs(60);

struct Daemon {
    child: Child,
    db: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
        let graphited = Path::new(env!("CARGO_BIN_EXE_graphite-top")).with_file_name("graphited");
        let has_tmux = Command::new("tmux").arg("-V").output().is_ok_and(|ran| ran.status.success());
        if !has_tmux || !graphited.is_file() {
            eprintln!(
                "skipped: tmux is not installed, or graphited was not built (cargo build -p graphited)"
            );
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("social.graphite");
        let child = Command::new(graphited).arg("--db").arg(&db).stdin(Stdio::null()).spawn().unwrap();
        let stage = Stage {
            daemon: Daemon { child, db },
            name: format!("graphite-top-{name}-{}", std::process::id()),
            dir,
        };
        until("the daemon serves", || Client::connect(stage.socket()).ok());
        Some(stage)
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
        let line = format!(
            "stty -a | grep -o -- '-*icanon' ; {program} --socket {} {options}; echo ended $?; stty -a | grep -o -- '-*icanon'; exec cat",
            self.socket().display()
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
    let screen = stage.shows("ended 0");
    assert!(!screen.contains("-icanon"), "the terminal reads lines again: {screen}");
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
    stage.daemon.child.kill().unwrap();
    stage.daemon.child.wait().unwrap();
    stage.shows("stale since");
    let pid = stage.pid_of_monitor();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let screen = stage.shows("ended 143");
    assert!(!screen.contains("-icanon") && !screen.contains("LIVE"), "{screen}");
    assert!(stage.dir.path().is_dir());
}
