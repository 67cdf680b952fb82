//! Processes and directories that must not outlive the run.
//!
//! 1. What is started is a [`Running`], which ends it when dropped; what is made for the run is a [`WorkDir`].
//! 2. Both are in one list as well, for the end by SIGINT, SIGTERM or SIGHUP, when nothing is dropped.
//! 3. A process leaves the list before it is waited for, so its number is never used after somebody else got it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Result, at};

/// How long a process may take to end when it is asked to.
const END_SECONDS_MAX: u64 = 60;
/// How often it is looked whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);

#[derive(Debug)]
struct List {
    pids: Vec<Pid>,
    dirs: Vec<PathBuf>,
}

static LIST: Mutex<List> = Mutex::new(List { pids: Vec::new(), dirs: Vec::new() });

fn list() -> MutexGuard<'static, List> {
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on a signal that ends the run ends the processes first, and removes the directories.
pub(crate) fn clean_up_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("graphite-bench: ended by signal {signal}");
            // Kept to the end, so that nothing new is started.
            let list = list();
            for &pid in &list.pids {
                let _ = kill(pid, Signal::SIGKILL);
                let _ = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            }
            for dir in &list.dirs {
                let _ = fs::remove_dir_all(dir);
            }
            std::process::exit(128 + signal);
        }
    })?;
    Ok(())
}

/// A process that was started.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    listed: bool,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Running> {
        let mut list = list();
        let child = command.spawn().map_err(at(Path::new(command.get_program())))?;
        list.pids.push(pid_of(&child));
        Ok(Running { child, listed: true })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let mut list = list();
        let ended = self.child.try_wait()?;
        if ended.is_some() && self.listed {
            self.listed = false;
            list.pids.retain(|&pid| pid != pid_of(&self.child));
        }
        Ok(ended)
    }

    /// Waits until it ends by itself, to a few milliseconds; `None` if it has not by the deadline.
    pub(crate) fn wait_until(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            let ended = self.ended()?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until it ends, which it is about to.
    fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            // Waits without taking the exit code, as the number would be free then while it is in the list.
            let _ = waitid(Id::Pid(pid_of(&self.child)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        }
    }

    /// Asks it to end, and waits until it has; kills it if that takes too long, and says so.
    pub(crate) fn end(&mut self) -> io::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + Duration::from_secs(END_SECONDS_MAX);
        if self.ended()?.is_none() {
            let _ = kill(pid_of(&self.child), Signal::SIGTERM);
        }
        let ended = self.wait_until(deadline)?;
        if ended.is_none() {
            let _ = kill(pid_of(&self.child), Signal::SIGKILL);
            self.wait()?;
        }
        Ok(ended)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody is left to be told of an error.
        let _ = self.end();
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// A directory that is removed at the end.
#[derive(Debug)]
pub(crate) struct WorkDir {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl WorkDir {
    pub(crate) fn make(parent: &Path) -> Result<WorkDir> {
        fs::create_dir_all(parent).map_err(at(parent))?;
        let mut list = list();
        let dir =
            tempfile::Builder::new().prefix("graphite-bench-").tempdir_in(parent).map_err(at(parent))?;
        let path = fs::canonicalize(dir.path()).map_err(at(dir.path()))?;
        list.dirs.push(path.clone());
        Ok(WorkDir { path, _dir: dir })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        list().dirs.retain(|path| *path != self.path);
    }
}
