//! Starting a daemon that outlives its starter.
//!
//! 1. It is in a session of its own, with standard input from `/dev/null` and output to `PATH.log`, so neither a
//!    closed terminal nor Ctrl-C reaches it.
//! 2. It inherits four descriptors and no more: those three, and the pipe on which it says READY or why not. All
//!    others are closed, also those that the program itself let be inherited: a daemon that outlives it would
//!    keep pipes open whose readers wait for their end.
//! 3. Variables that tell a service about its manager are not passed on: they were meant for the starter.

use std::ffi::CString;
use std::fs::{File, OpenOptions as FileOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn, posix_spawnp};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2};

use crate::open::{OpenOptions, with_suffix};

/// The descriptor on which the daemon tells that it is ready.
const READY_FD: i32 = 3;

/// What a log may have before the next daemon begins it anew.
const LOG_BYTES_MAX: u64 = 1 << 20;

/// Most of what the daemon says on its way that an error repeats.
const SAID_BYTES_MAX: u64 = 2 << 10;

/// The exit code by which a daemon says that another owns the database.
const EXIT_TRY_AGAIN: i32 = 75;

/// `POSIX_SPAWN_SETSID`: the child leads a session of its own. The same on all C libraries of Linux.
const SETSID: i32 = 0x80;

/// Not for the daemon.
const VARIABLES_KEPT_BACK: [&str; 6] =
    ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// What became of a daemon.
pub(crate) enum Outcome {
    /// It listens.
    Ready,
    /// Another one has the database; what it said about that.
    InUse(String),
    /// The deadline came first.
    NotYet,
}

/// Starts a daemon and waits until it is ready or gone.
///
/// # Errors
/// Why there is none, in words.
pub(crate) fn spawn(
    program: &Path,
    database: &Path,
    options: &OpenOptions,
    deadline: Instant,
) -> Result<Outcome, String> {
    let system = |doing: &str, error: io::Error| format!("{doing}: {error}");
    let log_path = with_suffix(database, ".log");
    let log = open_log(&log_path).map_err(|error| system(&log_path.display().to_string(), error))?;
    let log_start = log.metadata().map(|found| found.len()).unwrap_or(0);
    let (ready, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(|error| system("pipe", error.into()))?;
    let pid = start(program, database, options, &log, &theirs)
        .map_err(|error| system(&program.display().to_string(), error.into()))?;
    drop(theirs);

    let said = match read_line(ready, deadline) {
        Ok(Some(said)) => said,
        Ok(None) => {
            reap_later(pid);
            return Ok(Outcome::NotYet);
        }
        Err(error) => {
            reap_later(pid);
            return Err(system("waiting for the daemon", error));
        }
    };
    if said == "READY" {
        reap_later(pid);
        return Ok(Outcome::Ready);
    }
    let status = wait(pid);
    let said = if said.is_empty() { tail(&log_path, log_start) } else { said };
    match status {
        WaitStatus::Exited(_, EXIT_TRY_AGAIN) => Ok(Outcome::InUse(said)),
        WaitStatus::Exited(_, code) => Err(explain(&format!("it left with exit code {code}"), &said)),
        WaitStatus::Signaled(_, signal, _) => Err(explain(&format!("it was killed by {signal}"), &said)),
        other => Err(explain(&format!("it ended as {other:?}"), &said)),
    }
}

fn explain(how: &str, said: &str) -> String {
    if said.is_empty() { how.to_owned() } else { format!("{said} ({how})") }
}

/// Links are not followed, for a name that others can guess must not lead elsewhere.
fn open_log(path: &Path) -> io::Result<File> {
    let log = FileOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    if log.metadata()?.len() > LOG_BYTES_MAX {
        log.set_len(0)?;
    }
    Ok(log)
}

fn start(
    program: &Path,
    database: &Path,
    options: &OpenOptions,
    log: &File,
    ready: &OwnedFd,
) -> nix::Result<Pid> {
    let nothing =
        File::open("/dev/null").map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_dup2(nothing.as_raw_fd(), 0)?;
    actions.add_dup2(log.as_raw_fd(), 1)?;
    actions.add_dup2(log.as_raw_fd(), 2)?;
    // Last, for one of the files above may have this number.
    actions.add_dup2(ready.as_raw_fd(), READY_FD)?;
    for fd in open_fds().into_iter().filter(|fd| *fd > READY_FD) {
        // One that is closed by now is passed over.
        actions.add_close(fd)?;
    }

    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigmask(&SigSet::empty())?;
    let mut defaults = SigSet::empty();
    for signal in [Signal::SIGPIPE, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD] {
        defaults.add(signal);
    }
    attributes.set_sigdefault(&defaults)?;
    let flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
    attributes.set_flags(flags | PosixSpawnFlags::from_bits_retain(SETSID))?;

    let args = arguments(program, database, options)?;
    let environment = environment();
    let name = CString::new(program.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    if program.as_os_str().as_bytes().contains(&b'/') {
        posix_spawn(name.as_c_str(), &actions, &attributes, &args, &environment)
    } else {
        posix_spawnp(&name, &actions, &attributes, &args, &environment)
    }
}

/// Descriptors that are open in this process, as far as the system tells.
fn open_fds() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn arguments(program: &Path, database: &Path, options: &OpenOptions) -> nix::Result<Vec<CString>> {
    let idle_exit = options.idle_exit_s.to_string();
    let ready_fd = READY_FD.to_string();
    let mut args: Vec<&[u8]> = vec![program.as_os_str().as_bytes(), b"--db", database.as_os_str().as_bytes()];
    args.extend([b"--idle-exit", idle_exit.as_bytes(), b"--ready-fd", ready_fd.as_bytes()]);
    args.extend(options.daemon_args.iter().map(|arg| arg.as_bytes()));
    args.into_iter().map(|arg| CString::new(arg).map_err(|_| Errno::EINVAL)).collect()
}

fn environment() -> Vec<CString> {
    let passed = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        if VARIABLES_KEPT_BACK.iter().any(|kept| name == *kept) {
            return None;
        }
        let mut pair = name.into_vec();
        pair.push(b'=');
        pair.extend(value.into_vec());
        CString::new(pair).ok()
    };
    std::env::vars_os().filter_map(passed).collect()
}

/// What the daemon says on its pipe, up to the end of the line or of the pipe; `None` at the deadline.
fn read_line(pipe: OwnedFd, deadline: Instant) -> io::Result<Option<String>> {
    let mut said = Vec::new();
    let mut file = File::from(pipe);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0; 512];
        let count = file.read(&mut buffer)?;
        said.extend_from_slice(&buffer[..count]);
        if count == 0 || said.contains(&b'\n') || said.len() as u64 > SAID_BYTES_MAX {
            let line = said.split(|byte| *byte == b'\n').next().unwrap_or(&said);
            return Ok(Some(String::from_utf8_lossy(line).trim().to_owned()));
        }
    }
}

/// The last line that was written to the log since.
fn tail(path: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(start))?;
        let mut text = Vec::new();
        file.take(SAID_BYTES_MAX).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = read().unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

fn wait(pid: Pid) -> WaitStatus {
    loop {
        match waitpid(pid, None) {
            Ok(status) => return status,
            Err(Errno::EINTR) => {}
            // Somebody else took its exit code, as a program that ignores SIGCHLD does.
            Err(_) => return WaitStatus::StillAlive,
        }
    }
}

/// Takes note of the daemon's end whenever it comes, so that it is no zombie until this process ends too.
fn reap_later(pid: Pid) {
    let thread = std::thread::Builder::new().name("graphited-reaper".to_owned()).stack_size(64 << 10);
    // Without the thread there is a zombie, which harms nobody.
    let _ = thread.spawn(move || wait(pid));
}
