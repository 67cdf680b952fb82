//! Processes that work on a database for a test: started, ended and killed by it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{PATIENCE, program};

/// A process of the program `graphite-worker`, killed when dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    said: Option<JoinHandle<Vec<String>>>,
}

impl Worker {
    /// Starts one.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Worker {
        let mut command = Command::new(program("graphite-worker"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a worker starts");
        let out = child.stdout.take().expect("its output is piped");
        // Read while it runs, or it would wait for room in the pipe.
        let said = std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).collect());
        Worker { child, said: Some(said) }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn signal(&self, signal: Signal) {
        // It is a child that was not waited for, so the number is still its own.
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("a signal to a child");
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked for").is_some()
    }

    /// Kills it.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    /// Tells it that it has done enough; it ends by and by.
    pub fn enough(&mut self) {
        self.child.stdin = None;
    }

    /// Waits until it has ended by itself, and returns the lines that it said.
    ///
    /// # Panics
    /// If it fails, or does not end.
    pub fn finish(mut self) -> Vec<String> {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked for") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "a worker does not end");
            std::thread::sleep(std::time::Duration::from_millis(2));
        };
        let said = self.said.take().expect("it is finished once").join().expect("the reader does not panic");
        assert!(status.success(), "a worker ended with {status} and said {said:#?}");
        said
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that has ended is no error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For the worker itself: becomes true when it has done enough, which is when its standard input ends.
pub fn enough() -> Arc<AtomicBool> {
    let enough = Arc::new(AtomicBool::new(false));
    let told = enough.clone();
    std::thread::spawn(move || {
        // Nothing comes but the end.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        told.store(true, Ordering::Relaxed);
    });
    enough
}
