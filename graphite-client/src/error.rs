//! Errors of the library: one enum, with what a program decides by in its fields.

use std::io;
use std::path::PathBuf;

use graphite_protocol::{DecodeError, ErrorCode, FrameError, Pairs, Value, WireError};

/// What the methods of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody answers at the socket.
    #[error("cannot connect to {}: {source}", socket.display())]
    Connect {
        /// Where it was tried.
        socket: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The daemon for a database could not be started, or did not become ready in time.
    #[error("cannot start a daemon for {}: {why}", database.display())]
    Start {
        /// The database.
        database: PathBuf,
        /// What went wrong, and what to do.
        why: String,
    },
    /// Client and daemon speak different versions of the protocol.
    #[error("{message}")]
    Version {
        /// The version that this crate speaks.
        client: u32,
        /// The version that the daemon speaks, if it said so.
        server: Option<u32>,
        /// Both, in words.
        message: String,
    },
    /// The daemon refused or failed the request; the connection goes on.
    #[error("{message} ({code})")]
    Server {
        /// What went wrong, for programs.
        code: ErrorCode,
        /// What went wrong, to what, and what to do, for people.
        message: String,
        /// Whether the same request may succeed when it is sent again.
        retryable: bool,
        /// More, by name.
        details: Pairs<Value>,
    },
    /// The connection failed while a request was under way. Whether it was executed is not known.
    #[error("the connection to the daemon failed: {0}")]
    Io(#[source] io::Error),
    /// The daemon closed the connection while a request was under way. Whether it was executed is not known.
    #[error("the daemon closed the connection")]
    Closed,
    /// The daemon did not answer in time.
    #[error("the daemon did not answer within {waited_ms} ms")]
    NoAnswer {
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// The connection failed before, so the request was not sent.
    #[error("the connection to the daemon failed before; open a new one")]
    Broken,
    /// What the daemon sent is not what the protocol says.
    #[error("the daemon's answer does not follow the protocol: {0}")]
    Protocol(String),
    /// The connection failed while a commit was under way. Whether the changes were made is not known, so the
    /// transaction must not be run again before that is looked up.
    #[error("whether the transaction was committed is not known: {0}")]
    CommitUnknown(#[source] Box<Error>),
    /// A request does not fit into a frame; it was not sent.
    #[error("the request has {bytes} bytes, and a frame holds at most {max}; send less at a time")]
    RequestTooLong {
        /// How long it would be.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// An error of the caller's own, by which it ended a transaction.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An error of one's own, by which the work of [`Client::transaction`](crate::Client::transaction) ends it.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Other(error.into())
    }

    /// Whether the same request may succeed when it is sent again, on this connection and as it is. In a
    /// transaction it is the transaction that has to be run again. An error after which it is not known whether
    /// the request was executed is never retryable.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Server { retryable: true, .. })
    }

    /// Whether a commit may or may not have been made: the daemon says so, or the connection failed while it was under
    /// way. After any other error of a transaction nothing of it was done.
    pub fn is_commit_unknown(&self) -> bool {
        matches!(self, Error::CommitUnknown(_) | Error::Server { code: ErrorCode::CommitUnknown, .. })
    }

    /// Whether there is no connection: none was made, or it was lost.
    pub fn is_no_connection(&self) -> bool {
        match self {
            Error::Server { code, .. } => {
                matches!(code, ErrorCode::TooManySessions | ErrorCode::ShuttingDown | ErrorCode::Killed)
            }
            Error::RequestTooLong { .. } | Error::Other(_) => false,
            _ => true,
        }
    }

    /// The daemon's code, if it is the daemon's error.
    pub fn code(&self) -> Option<&ErrorCode> {
        if let Error::Server { code, .. } = self { Some(code) } else { None }
    }

    pub(crate) fn protocol(why: impl Into<String>) -> Error {
        Error::Protocol(why.into())
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Error {
        if error.code == ErrorCode::VersionMismatch {
            let server = error.details.get("server_protocol").and_then(Value::as_int);
            return Error::Version {
                client: graphite_protocol::PROTOCOL_VERSION,
                server: server.and_then(|version| u32::try_from(version).ok()),
                message: error.message,
            };
        }
        let WireError { code, message, retryable, details } = error;
        Error::Server { code, message, retryable, details }
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Error {
        Error::Protocol(error.to_string())
    }
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Error {
        Error::Protocol(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_daemon_calls_retryable_is() {
        assert!(Error::from(WireError::new(ErrorCode::Busy, "")).is_retryable());
        assert!(!Error::from(WireError::new(ErrorCode::CommitUnknown, "")).is_retryable());
        assert!(!Error::Closed.is_retryable());
        assert!(!Error::Broken.is_retryable());
        assert!(!Error::other("I changed my mind").is_retryable());
    }

    #[test]
    fn a_commit_whose_outcome_is_not_known_says_so() {
        let lost = Error::CommitUnknown(Box::new(Error::Closed));
        assert!(lost.is_commit_unknown() && lost.is_no_connection() && !lost.is_retryable());
        assert!(Error::from(WireError::new(ErrorCode::CommitUnknown, "")).is_commit_unknown());
        assert!(!Error::Closed.is_commit_unknown(), "a statement of a transaction that was lost is undone");
        assert!(!Error::other("").is_no_connection());
    }

    #[test]
    fn a_version_mismatch_names_both_versions() {
        let error = Error::from(WireError::version_mismatch(1, 7, "graphited/9.0"));
        assert!(matches!(&error, Error::Version { client: 1, server: Some(7), .. }), "{error:?}");
        assert!(
            error.to_string().contains("version 1") && error.to_string().contains("version 7"),
            "{error}"
        );
        assert!(error.is_no_connection());
    }
}
