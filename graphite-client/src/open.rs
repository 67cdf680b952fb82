//! Opening a database by its path: attach to the daemon that owns it, or start one.
//!
//! Any number of processes may do this at the same instant. The lock on the file decides whose daemon stays; the
//! others leave with "in use", and their starters connect to the one that stayed. What must hold:
//!
//! 1. Whether a daemon serves a database is only ever found out by connecting to its socket. A socket that is
//!    there may be stale, and a daemon that answers may be about to leave; both end in another try.
//! 2. A daemon that is refused for another reason than "in use" ends the tries at once, with what it said.
//! 3. All of it has a deadline.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use graphite_protocol::ErrorCode;

use crate::client::{CLIENT_NAME, Client};
use crate::error::{Error, Result};
use crate::spawn::{Outcome, spawn};

/// The pause after the first try that led to nothing; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// How [`Client::open_with`] opens a database.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Name and version of the program, as monitors show it.
    pub client: String,
    /// The daemon's program; looked for as [`Client::open`] says if `None`.
    pub daemon: Option<PathBuf>,
    /// How long a daemon that is started here stays after its last client, in seconds.
    pub idle_exit_s: u64,
    /// More flags for a daemon that is started here.
    pub daemon_args: Vec<OsString>,
    /// How long all of it may take: a daemon that was killed first has to recover.
    pub timeout: Duration,
    /// Whether to make the database if it is missing.
    pub create: bool,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions {
            client: CLIENT_NAME.to_owned(),
            daemon: None,
            idle_exit_s: 30,
            daemon_args: Vec::new(),
            timeout: Duration::from_secs(60),
            create: true,
        }
    }
}

/// The path of a database without symbolic links: the name that its log and socket are called after. The file
/// need not exist, its directory has to.
///
/// # Errors
/// The system's.
pub fn database_path(path: &Path) -> io::Result<PathBuf> {
    match std::fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && std::fs::symlink_metadata(path).is_err() => {
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            Ok(std::fs::canonicalize(dir)?.join(name))
        }
        result => result,
    }
}

/// Where the daemon of a database listens unless it is told otherwise; takes what [`database_path`] gives.
pub fn socket_path(database: &Path) -> PathBuf {
    with_suffix(database, ".sock")
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl OpenOptions {
    /// The program of the daemon, looked for as [`Client::open`] says.
    pub fn daemon_program(&self) -> PathBuf {
        if let Some(program) = &self.daemon {
            return program.clone();
        }
        if let Ok(own) = std::env::current_exe() {
            let beside = own.with_file_name("graphited");
            if beside.is_file() {
                return beside;
            }
        }
        std::env::var_os("GRAPHITED")
            .filter(|name| !name.is_empty())
            .map_or("graphited".into(), PathBuf::from)
    }
}

pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<Client> {
    let cannot = |why: String| Error::Start { database: path.to_owned(), why };
    let database = database_path(path).map_err(|error| cannot(error.to_string()))?;
    if !options.create && !database.exists() {
        return Err(cannot("there is no such file".to_owned()));
    }
    let socket = socket_path(&database);
    let program = options.daemon_program();
    let deadline = Instant::now() + options.timeout;
    let mut pause = PAUSE_MIN;
    let mut in_use: Option<String> = None;
    loop {
        match Client::connect_as(&socket, &options.client) {
            Ok(client) => return Ok(client),
            Err(error) if is_nobody_there(&error) => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= deadline {
            return Err(cannot(timed_out(options.timeout, &socket, in_use)));
        }
        match spawn(&program, &database, options, deadline).map_err(cannot)? {
            // Its socket is there; the client connects without a pause.
            Outcome::Ready => continue,
            Outcome::InUse(said) => in_use = Some(said),
            Outcome::NotYet => {}
        }
        std::thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Errors of a socket that nobody serves, or whose daemon is leaving.
fn is_nobody_there(error: &Error) -> bool {
    match error {
        Error::Connect { source, .. } => {
            matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
        }
        Error::Closed => true,
        Error::Io(source) => {
            matches!(source.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        }
        Error::Server { code, .. } => *code == ErrorCode::ShuttingDown,
        _ => false,
    }
}

fn timed_out(waited: Duration, socket: &Path, in_use: Option<String>) -> String {
    let waited = waited.as_secs();
    match in_use {
        Some(said) => format!(
            "{said}; and nobody answered at {} within {waited} s. If its daemon listens elsewhere, connect to \
             that socket",
            socket.display()
        ),
        None => format!("it was not ready within {waited} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_has_one_name_whatever_leads_there() {
        let dir = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(dir.path()).unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        let expected = real.join("a.graphite");
        assert_eq!(database_path(&real.join("link/a.graphite")).unwrap(), expected);
        std::fs::write(&expected, "").unwrap();
        std::os::unix::fs::symlink("a.graphite", real.join("b")).unwrap();
        assert_eq!(database_path(&real.join("link/b")).unwrap(), expected);
        assert_eq!(socket_path(&expected), real.join("a.graphite.sock"));
        assert!(database_path(&real.join("missing/a")).is_err());
        assert!(database_path(Path::new("/")).is_ok_and(|path| path == Path::new("/")));
    }

    #[test]
    fn a_daemon_that_cannot_be_started_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("a.graphite");
        let options = |daemon: &str| OpenOptions { daemon: Some(daemon.into()), ..OpenOptions::default() };
        let error = Client::open_with(&db, &options("/no/such/graphited")).unwrap_err();
        assert!(matches!(&error, Error::Start { why, .. } if why.contains("/no/such/graphited")), "{error}");

        let error = Client::open_with(&db, &options("/bin/false")).unwrap_err();
        assert!(matches!(&error, Error::Start { why, .. } if why.contains("code 1")), "{error}");

        let missing = OpenOptions { create: false, ..options("/bin/false") };
        let error = Client::open_with(&db, &missing).unwrap_err();
        assert!(error.to_string().contains("no such file"), "{error}");
    }

    /// A program that claims that the database is in use, for ever.
    #[test]
    fn a_database_that_stays_in_use_is_told_after_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("graphited");
        std::fs::write(&program, "#!/bin/sh\necho 'the database is in use by process 7' >&3\nexit 75\n")
            .unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let timeout = Duration::from_millis(50);
        let options = OpenOptions { daemon: Some(program), timeout, ..OpenOptions::default() };
        let error = Client::open_with(dir.path().join("a.graphite"), &options).unwrap_err();
        assert!(error.to_string().contains("in use by process 7"), "{error}");
        assert!(error.to_string().contains("a.graphite.sock"), "{error}");
    }
}
