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
        let (message, code) = match self {
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Failure::Output(error) => (format!("cannot write the output: {error}"), EXIT_FAILED),
            Failure::Client(error) if error.is_no_connection() => (error.to_string(), EXIT_NO_CONNECTION),
            Failure::Client(error) => (error.to_string(), EXIT_FAILED),
            Failure::Failed(message) => (message.clone(), EXIT_FAILED),
            Failure::Damaged => return ExitCode::from(EXIT_FAILED),
            Failure::NotChecked(message) => (message.clone(), EXIT_NOT_CHECKED),
            Failure::Usage(message) => (message.clone(), EXIT_USAGE),
        };
        let lines: Vec<_> = message.lines().map(harmless).collect();
        eprintln!("graphite: {}", lines.join("\n"));
        ExitCode::from(code)
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
