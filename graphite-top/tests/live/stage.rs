//! A stage for the monitor: a real daemon of its own, and a real terminal (tmux) of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use graphite_client::messages::{Begin, Mode};
use graphite_client::{Client, NodeId, props, socket_path};

/// No picture within this is a failure of the test.
const PATIENCE: Duration = Duration::from_secs(180);

/// Ends with the test, however that ends.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Daemon {
    pub(crate) process: Guarded,
    pub(crate) db: PathBuf,
}

impl Daemon {
    pub(crate) fn start(db: PathBuf) -> Daemon {
        Daemon::start_with(db, &[])
    }

    fn start_with(db: PathBuf, options: &[&str]) -> Daemon {
        let program = daemon_program().unwrap();
        let mut command = Command::new(program);
        let child = command.arg("--db").arg(&db).args(options).stdin(Stdio::null()).spawn().unwrap();
        until("the daemon serves", || Client::connect(socket_path(&db)).ok());
        Daemon { process: Guarded(child), db }
    }
}

/// The daemon, if it was built beside the monitor.
fn daemon_program() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_graphite-top")).with_file_name("graphited");
    program.is_file().then_some(program)
}

pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
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
pub(crate) struct Stage {
    pub(crate) daemon: Daemon,
    name: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

impl Stage {
    pub(crate) fn new(name: &str) -> Option<Stage> {
        Stage::with(name, &[])
    }

    /// As [`Stage::new`], with options for the daemon.
    pub(crate) fn with(name: &str, options: &[&str]) -> Option<Stage> {
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
        Some(Stage { daemon: Daemon::start_with(db, options), name, dir })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket_path(&self.daemon.db)
    }

    pub(crate) fn tmux(&self, args: &[&str]) -> String {
        let ran =
            Command::new("tmux").args(["-L", &self.name, "-f", "/dev/null"]).args(args).output().unwrap();
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    /// Starts the monitor from a shell, which says by which code it ended.
    pub(crate) fn watch(&self, width: &str, height: &str, options: &str) {
        let program = env!("CARGO_BIN_EXE_graphite-top");
        self.run(width, height, &format!("{program} --socket {} {options}", self.socket().display()));
    }

    /// Runs something in a terminal, and says by which code it ended, and whether the terminal is as it was.
    pub(crate) fn run(&self, width: &str, height: &str, command: &str) {
        let line = Stage::told(command);
        self.tmux(&["new-session", "-d", "-x", width, "-y", height, "sh", "-c", &line]);
    }

    /// As [`Stage::run`], in the terminal that is there already.
    pub(crate) fn run_again(&self, command: &str) {
        self.tmux(&["respawn-pane", "-k", "sh", "-c", &Stage::told(command)]);
    }

    fn told(command: &str) -> String {
        format!(
            "before=$(stty -g); {command}; code=$?; \
             test \"$before\" = \"$(stty -g)\" && echo ended $code as before || echo ended $code otherwise; exec cat"
        )
    }

    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen has this text.
    pub(crate) fn shows(&self, text: &str) -> String {
        self.shows_that(&format!("{text:?} is there"), |screen| screen.contains(text))
    }

    /// Waits until the screen is as it should be.
    pub(crate) fn shows_that(&self, what: &str, is_right: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_right(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "waited too long until {what}; the screen is\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    pub(crate) fn resize(&self, width: &str, height: &str) {
        self.tmux(&["resize-window", "-x", width, "-y", height]);
    }

    pub(crate) fn pid_of_monitor(&self) -> String {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        std::fs::read_to_string(children).unwrap().split_whitespace().next().unwrap().to_owned()
    }

    pub(crate) fn client(&self, name: &str) -> Client {
        Client::connect_as(self.socket(), name).unwrap()
    }

    /// One session that holds a node, and another that waits for it until the first ends.
    pub(crate) fn block(&self) -> (u64, thread::JoinHandle<bool>, Client) {
        let (node, first) = self.holder("etl");
        (first.server().session, self.waiter("api", node), first)
    }

    /// A session that holds a node in its transaction.
    pub(crate) fn holder(&self, name: &str) -> (NodeId, Client) {
        let mut client = self.client(name);
        let node = client.create_node(["Person"], props! { "name" => "Ada" }).unwrap();
        client.call(&Begin { mode: Mode::Write }).unwrap();
        client.set_properties(node, props! { "name" => "Grace" }).unwrap();
        (node, client)
    }

    /// A session that waits for a node; whether it got it is known when it ends.
    pub(crate) fn waiter(&self, name: &str, node: NodeId) -> thread::JoinHandle<bool> {
        let mut client = self.client(name);
        thread::spawn(move || client.set_properties(node, props! { "name" => "Alan" }).is_ok())
    }
}

/// The first line of a screen that has this text.
pub(crate) fn line_of<'a>(screen: &'a str, text: &str) -> &'a str {
    screen.lines().find(|line| line.contains(text)).unwrap_or_default()
}
