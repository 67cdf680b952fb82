//! Telling whoever started the daemon that it serves, or why it does not: one line to a descriptor.
//!
//! The descriptor is reached through `/proc/self/fd`, so it may be a pipe, a file or a terminal, and no socket.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::RawFd;

/// The descriptor, until the line is written.
#[derive(Debug, Default)]
pub struct Ready {
    fd: Option<RawFd>,
}

impl Ready {
    /// Tells nobody, or descriptor `fd`.
    pub fn new(fd: Option<RawFd>) -> Ready {
        Ready { fd }
    }

    /// Says that the daemon serves.
    pub fn serving(&mut self) {
        self.say("READY");
    }

    /// Says why it does not.
    pub fn failed(&mut self, why: &str) {
        self.say(&why.replace('\n', " "));
    }

    fn say(&mut self, line: &str) {
        let Some(fd) = self.fd.take() else { return };
        let written = OpenOptions::new().write(true).open(format!("/proc/self/fd/{fd}"));
        if let Err(error) = written.and_then(|mut to| to.write_all(format!("{line}\n").as_bytes())) {
            tracing::warn!(fd, %error, "nobody could be told that the daemon is ready");
        }
        // Whoever waits for the end of the stream gets it now. The standard descriptors stay taken, so that no file of
        // the database ever gets their numbers.
        let closed = match fd {
            1 | 2 => match OpenOptions::new().write(true).open("/dev/null") {
                Ok(null) => replace(fd, &null),
                Err(_) => return,
            },
            _ => nix::unistd::close(fd),
        };
        if let Err(error) = closed {
            tracing::debug!(fd, %error, "the descriptor could not be closed");
        }
    }
}

fn replace(fd: RawFd, by: &File) -> nix::Result<()> {
    if fd == 1 { nix::unistd::dup2_stdout(by) } else { nix::unistd::dup2_stderr(by) }
}
