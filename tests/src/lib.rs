//! What the tests that cross crates share: the programs, daemons in directories of their own, and graphs to compare.
//!
//! The programs are those that cargo built beside the test: `cargo test --workspace` builds them, a test of this
//! package alone does not.

#![warn(missing_docs)]

pub mod crash;
pub mod fuzz;
pub mod history;
pub mod ldbc;
pub mod proc_files;
mod random;
pub mod soak;
pub mod workers;
pub mod writers;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use graphite_client::{Client, Traversal, Value, socket_path};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use random::{Random, seed};

/// No answer within this is a failure of the test: long enough for the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A program of the workspace: `graphite`, `graphited`, `graphite-top`.
///
/// # Panics
/// If it was not built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    // target/<profile>/deps/<test>
    let profile = test.parent().and_then(Path::parent).expect("a test lies in target/<profile>/deps");
    let program = profile.join(name);
    assert!(
        program.is_file(),
        "{} is not there: build it with `cargo build --workspace`, or run `cargo test --workspace`",
        program.display()
    );
    program
}

/// A directory of a test. When it is dropped, daemons of databases in it are killed.
#[derive(Debug)]
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Scratch {
    /// An empty directory.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn new() -> Scratch {
        Scratch { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A path in it, without symbolic links.
    ///
    /// # Panics
    /// If the directory is gone.
    pub fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.dir.path()).expect("the directory is there").join(name)
    }

    /// Writes a file, and returns its path.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("a file in the directory");
        path.to_str().expect("temporary paths are text").to_owned()
    }

    /// Processes of daemons whose database lies in the directory.
    pub fn daemons(&self) -> Vec<i32> {
        let inside = self.path("");
        let inside = inside.as_os_str().as_encoded_bytes();
        let is_daemon = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            let program = words.next().unwrap_or_default();
            program.ends_with(b"graphited") && words.any(|word| word.starts_with(inside))
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_daemon).collect()
    }

    /// Kills them, as a crash would.
    pub fn kill_daemons(&self) {
        for pid in self.daemons() {
            // One that is gone by itself needs no killing.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        wait_until("the killed daemons are gone", || self.daemons().is_empty());
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.kill_daemons();
            return;
        }
        // A test that fails already tells why; daemons are stopped without a word.
        for pid in self.daemons() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Waits until something is so.
///
/// # Panics
/// If it takes longer than [`PATIENCE`].
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The command `graphite` for a database, with an environment that says nothing of databases and terminals.
pub fn graphite(db: &Path) -> Command {
    let mut command = bare_graphite();
    command.arg("--db").arg(db);
    command
}

/// The command `graphite` alone.
pub fn bare_graphite() -> Command {
    let mut command = Command::new(program("graphite"));
    let ours = |name: &str| name.starts_with("GRAPHITE") || matches!(name, "COLUMNS" | "NO_COLOR" | "LINES");
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// What a command wrote and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a command with more arguments.
///
/// # Panics
/// If it cannot be started.
pub fn run(mut command: Command, args: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = command.args(args).output().expect("the program starts");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: status.code().unwrap_or(-1), out: text(&stdout), err: text(&stderr) }
}

/// Runs a command that must succeed, and returns its standard output.
///
/// # Panics
/// If it fails.
pub fn run_ok(command: Command, args: &[&str]) -> String {
    let ran = run(command, args);
    assert_eq!(ran.code, 0, "{args:?} failed: {}{}", ran.out, ran.err);
    ran.out
}

/// A daemon that the test starts by itself, killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    db: PathBuf,
}

impl Daemon {
    /// Starts one and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(db: &Path, args: &[&str]) -> Daemon {
        Daemon::spawn(db, args).wait_until_ready()
    }

    /// Waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn wait_until_ready(mut self) -> Daemon {
        let mut line = String::new();
        let out = self.child.stdout.take().expect("its output is piped, and was not read yet");
        BufReader::new(out).read_line(&mut line).expect("it says something");
        assert_eq!(line.trim(), "READY", "the daemon of {} does not serve", self.db.display());
        self
    }

    /// Starts one and waits for nothing.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn spawn(db: &Path, args: &[&str]) -> Daemon {
        let child = Command::new(program("graphited"))
            .arg("--db")
            .arg(db)
            .args(["--ready-fd", "1"])
            .args(args)
            .env("GRAPHITED_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the daemon starts");
        Daemon { child, db: db.to_owned() }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        socket_path(&self.db)
    }

    /// A client.
    ///
    /// # Panics
    /// If it cannot connect.
    pub fn client(&self) -> Client {
        Client::connect(self.socket()).expect("the daemon takes a client")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, as a crash would.
    ///
    /// # Panics
    /// If the system refuses, or it had ended by itself.
    pub fn kill(mut self) {
        self.child.kill().expect("it is killed");
        let status = self.child.wait().expect("it ends");
        assert_eq!(
            status.signal(),
            Some(Signal::SIGKILL as i32),
            "it had ended before it was killed: {status}"
        );
    }

    /// Asks it to leave, and waits until it did.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn stop(mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).expect("process numbers are small");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it is asked");
        self.child.wait().expect("it ends")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended is no error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A graph without its ids: nodes in the order of their ids, edges in an order of their own.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Contents {
    /// Labels and properties, each sorted and written out.
    pub nodes: Vec<String>,
    /// Places of the ends in `nodes`, type and properties, written out.
    pub edges: Vec<(usize, usize, String)>,
}

/// Floats are written out by their bits, so that NaN equals itself and -0.0 is not 0.0.
fn shown(value: &Value) -> String {
    match value {
        Value::Float(value) if value.is_nan() => "NaN".to_owned(),
        Value::Float(value) => format!("Float({:016x})", value.to_bits()),
        Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        other => format!("{other:?}"),
    }
}

/// Properties as [`Contents`] has them.
pub fn properties(pairs: &[(String, Value)]) -> String {
    let mut pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{key:?}: {}", shown(value))).collect();
    pairs.sort_unstable();
    pairs.join(", ")
}

/// Reads the whole graph.
///
/// # Panics
/// If it cannot be read, or an edge has an end that is no node.
pub fn contents(client: &mut Client) -> Contents {
    let mut tx = client.begin_read().expect("a snapshot");
    let mut contents = Contents::default();
    let mut places = HashMap::new();
    for row in tx.rows(Traversal::nodes(), ()).expect("all nodes") {
        let row = row.expect("a row");
        let node = row[0].as_node().expect("a node");
        let mut labels = node.labels.clone();
        labels.sort_unstable();
        places.insert(node.id, contents.nodes.len());
        contents.nodes.push(format!("{labels:?} {}", properties(&node.properties)));
    }
    for row in tx.rows(Traversal::edges(), ()).expect("all edges") {
        let row = row.expect("a row");
        let edge = row[0].as_edge().expect("an edge");
        let place = |id| *places.get(&id).expect("an edge ends at a node");
        let text = format!("{:?} {}", edge.edge_type, properties(&edge.properties));
        contents.edges.push((place(edge.start), place(edge.end), text));
    }
    contents.edges.sort_unstable();
    contents
}
