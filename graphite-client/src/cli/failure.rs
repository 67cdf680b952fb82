//! How a command fails, and with which exit code.

use std::io;
use std::process::ExitCode;

use graphite_client::Error;
use graphite_client::text::harmless;

/// The statement failed.
pub(crate) const EXIT_FAILED: u8 = 1;
/// The command was given wrong flags or arguments.
pub(crate) const EXIT_USAGE: u8 = 2;
/// There is no connection.
pub(crate) const EXIT_NO_CONNECTION: u8 = 3;

/// A check could not look at the database.
pub(crate) const EXIT_NOT_CHECKED: u8 = 4;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library's.
    Client(Error),
    /// The command's own, in words.
    Failed(String),
    /// A wrong argument, in words.
    Usage(String),
    /// A check found problems, which were shown.
    Damaged,
    /// A check could not look at the database, in words.
    NotChecked(String),
    /// Standard output takes no more.
    Output(io::Error),
}

/// What commands return.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// Says on standard error what went wrong, and returns the exit code. Whoever closes the pipe of standard
    /// output has read enough, and nothing went wrong.
    pub(crate) fn report(&self) -> ExitCode {
        if matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        let message = self.message();
        if !message.is_empty() {
            let lines: Vec<_> = message.lines().map(harmless).collect();
            eprintln!("graphite: {}", lines.join("\n"));
        }
        ExitCode::from(self.exit_code())
    }

    /// What went wrong; nothing, if that was shown already.
    pub(crate) fn message(&self) -> String {
        match self {
            Failure::Output(error) => format!("cannot write the output: {error}"),
            Failure::Client(error) => error.to_string(),
            Failure::Damaged => String::new(),
            Failure::Failed(message) | Failure::NotChecked(message) | Failure::Usage(message) => {
                message.clone()
            }
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Failure::Client(error) if error.is_no_connection() => EXIT_NO_CONNECTION,
            Failure::Output(_) | Failure::Client(_) | Failure::Failed(_) | Failure::Damaged => EXIT_FAILED,
            Failure::NotChecked(_) => EXIT_NOT_CHECKED,
            Failure::Usage(_) => EXIT_USAGE,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}
