//! The programs that are measured, and a daemon that runs.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use graphite_client::{Client, StatusReply, socket_path};

use super::graph::Graph;
use super::processes::Running;
use super::{Result, at};

/// How long a daemon may take until it answers.
const START_SECONDS_MAX: u64 = 60;
/// How long an import may take before it is given up.
const IMPORT_SECONDS_MAX: u64 = 300;
/// A daemon that the run has forgotten, because it was killed, leaves after so many seconds.
const IDLE_EXIT_SECONDS: &str = "60";
const BUILD: &str = "cargo build --release -p graphited -p graphite-client -p graphite-top";

/// The programs `graphited` and `graphite`.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    graphited: PathBuf,
    graphite: PathBuf,
}

fn beside(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{} is missing; build it first: {BUILD}", path.display()).into())
}

impl Programs {
    /// Those beside this program.
    pub(crate) fn find() -> Result<Programs> {
        Ok(Programs { graphited: beside("graphited")?, graphite: beside("graphite")? })
    }

    /// The monitor.
    pub(crate) fn graphite_top(&self) -> Result<PathBuf> {
        beside("graphite-top")
    }

    /// Checks a database that no daemon serves, which must be sound; returns how long that took.
    pub(crate) fn check(&self, db: &Path) -> Result<Duration> {
        let mut command = Command::new(&self.graphite);
        command.arg("--db").arg(db).arg("check").stdin(Stdio::null()).stdout(Stdio::null());
        let began = Instant::now();
        let mut process = Running::start(&mut command)?;
        let ended = process.wait_until(began + Duration::from_secs(IMPORT_SECONDS_MAX))?;
        let took = began.elapsed();
        match ended {
            Some(status) if status.success() => Ok(took),
            ended => Err(format!("graphite check of {} ended with {ended:?}", db.display()).into()),
        }
    }

    /// Imports a graph by the command that users have for it; returns how long that took.
    pub(crate) fn import(&self, daemon: &Daemon, graph: &Graph) -> Result<Duration> {
        let said_path = daemon.db.with_extension("import");
        let said = File::create(&said_path).map_err(at(&said_path))?;
        let mut command = Command::new(&self.graphite);
        command.arg("--db").arg(&daemon.db).arg("import").args(import_arguments(graph));
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let began = Instant::now();
        let mut process = Running::start(&mut command)?;
        let ended = process.wait_until(began + Duration::from_secs(IMPORT_SECONDS_MAX))?;
        let took = began.elapsed();
        let how = match ended {
            Some(status) if status.success() => return Ok(took),
            Some(status) => format!("ended with {status}"),
            None => format!("was not ready after {IMPORT_SECONDS_MAX} s"),
        };
        Err(format!("graphite import {how}:\n{}", last_lines(&said_path)).into())
    }
}

/// How `graphite import` is told which file and which column is what. Ids of the files become a property, too, as
/// they are a column in the tables of other databases.
fn import_arguments(graph: &Graph) -> Vec<OsString> {
    let file = |kind: &str, path: PathBuf| {
        let mut argument = OsString::from(format!("{kind}="));
        argument.push(path);
        argument
    };
    let mut arguments = vec!["--nodes".into(), file("Person", graph.nodes_csv())];
    arguments.extend(["--edges".into(), file("KNOWS", graph.edges_csv())]);
    let columns =
        ["--id-column", "id", "--id-property", "id", "--start-column", "src", "--end-column", "dst"];
    let types = ["--column", "id:int", "--column", "age:int", "--column", "since:int"];
    arguments.extend(columns.into_iter().chain(types).map(OsString::from));
    arguments
}

/// A daemon with a database of its own.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Running,
    db: PathBuf,
    socket: PathBuf,
}

impl Daemon {
    /// Starts a daemon, with settings that differ from the defaults, and waits until it answers.
    pub(crate) fn start(programs: &Programs, db: &Path, settings: &[&str]) -> Result<Daemon> {
        let log_path = db.with_extension("log");
        let log = File::options().create(true).append(true).open(&log_path).map_err(at(&log_path))?;
        let mut command = Command::new(&programs.graphited);
        command.arg("--db").arg(db).args(["--idle-exit", IDLE_EXIT_SECONDS]).args(settings);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_a_setting(name)) {
            command.env_remove(name);
        }
        let process = Running::start(&mut command)?;
        let mut daemon = Daemon { process, db: db.to_owned(), socket: socket_path(db) };
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        loop {
            let error = match Client::connect(&daemon.socket) {
                Ok(_) => return Ok(daemon),
                Err(error) => error,
            };
            if let Some(status) = daemon.process.ended()? {
                return Err(format!("graphited ended with {status}:\n{}", last_lines(&log_path)).into());
            }
            if Instant::now() >= deadline {
                let said = last_lines(&log_path);
                return Err(format!(
                    "graphited does not answer after {START_SECONDS_MAX} s: {error}\n{said}"
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The database's file.
    pub(crate) fn database(&self) -> &Path {
        &self.db
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn connect(&self) -> Result<Client> {
        Ok(Client::connect_as(&self.socket, "graphite-bench")?)
    }

    pub(crate) fn status(&self) -> Result<StatusReply> {
        Ok(self.connect()?.status()?)
    }

    /// Bytes of the database file.
    pub(crate) fn file_bytes(&self) -> Result<u64> {
        Ok(fs::metadata(&self.db).map_err(at(&self.db))?.len())
    }

    /// Bytes of the files of the log.
    pub(crate) fn wal_bytes(&self) -> Result<u64> {
        let mut name = self.db.clone().into_os_string();
        name.push(".wal");
        let dir = PathBuf::from(name);
        let mut sum = 0;
        for entry in fs::read_dir(&dir).map_err(at(&dir))? {
            sum += entry?.metadata()?.len();
        }
        Ok(sum)
    }

    /// Asks the daemon to leave, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        match self.process.end()? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("graphited ended with {status} when it was asked to leave").into()),
            None => Err("graphited did not leave when it was asked to, and was killed".into()),
        }
    }
}

/// Settings in the environment would make other figures than those of the defaults.
fn is_a_setting(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with("GRAPHITED_")
}

fn last_lines(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().map(|line| format!("    {line}\n")).collect()
}
