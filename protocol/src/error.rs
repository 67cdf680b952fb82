//! Errors on the wire: `{code, message, retryable, details?}`.
//!
//! Codes are stable words: programs decide by them, so one is never renamed nor given another meaning. Whether
//! a request may be sent again is derived from the code, in [`ErrorCode::retryable`] and nowhere else.

use crate::decode::{Decoder, Result};
use crate::decode_error::DecodeError;
use crate::encode::Encoder;
use crate::value::Value;
use crate::wire::{Pairs, Wire};

/// Most bytes of an error's message; what is beyond is cut off. A message may quote what a client sent, and that
/// may be as long as a frame.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

macro_rules! error_codes {
    ($($(#[$meta:meta])* $variant:ident = $word:literal,)*) => {
        /// What went wrong, as a stable word.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$meta])* $variant,)*
            /// A code of a newer daemon, which this side does not know.
            Other(String),
        }

        impl ErrorCode {
            /// All codes that this side knows.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The word on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(ErrorCode::$variant => $word,)*
                    ErrorCode::Other(word) => word,
                }
            }
        }

        impl From<&str> for ErrorCode {
            fn from(word: &str) -> ErrorCode {
                match word {
                    $($word => ErrorCode::$variant,)*
                    other => ErrorCode::Other(other.to_owned()),
                }
            }
        }
    };
}

error_codes! {
    /// The message is not what the protocol says: its shape, a field, a plan that makes no sense.
    BadRequest = "bad-request",
    /// There is no such method.
    UnknownMethod = "unknown-method",
    /// The method or step exists, but this daemon cannot do it.
    Unsupported = "unsupported",
    /// Client and daemon speak different versions of the protocol; the daemon closes the connection.
    VersionMismatch = "version-mismatch",
    /// A request other than `hello` came first, or `hello` came twice.
    HelloExpected = "hello-expected",
    /// The user behind the connection may not do this.
    NotAuthorised = "not-authorised",
    /// A statement is wrong, or failed for a reason that lies in it; `details` says more for Cypher.
    StatementFailed = "statement-failed",
    /// A parameter that the statement needs was not given.
    ParameterMissing = "parameter-missing",
    /// There is no node with this id; it never existed or was deleted.
    NodeNotFound = "node-not-found",
    /// There is no edge with this id; it never existed or was deleted.
    EdgeNotFound = "edge-not-found",
    /// A node that still has edges was to be deleted without them.
    NodeHasEdges = "node-has-edges",
    /// A value that cannot stand where it does, such as a map as a property.
    InvalidValue = "invalid-value",
    /// A uniqueness or existence constraint refused the change.
    ConstraintViolated = "constraint-violated",
    /// The daemon cannot take this on right now; nothing was done.
    Busy = "busy",
    /// An earlier statement of this transaction failed; only `rollback` ends it.
    TransactionFailed = "transaction-failed",
    /// `commit` or `rollback` without an open transaction.
    NoTransaction = "no-transaction",
    /// The session is in another transaction by now, or in none, so the transaction that is meant was not touched.
    TransactionNotFound = "transaction-not-found",
    /// The session runs another statement by now, or none, so the one that is meant was not touched.
    StatementNotFound = "statement-not-found",
    /// `begin` while a transaction is open.
    TransactionOpen = "transaction-open",
    /// A change within a transaction that was begun for reading.
    ReadOnlyTransaction = "read-only-transaction",
    /// The database takes no changes since a write or sync failed, or because it was opened so.
    ReadOnly = "read-only",
    /// The commit was handed over, and a failure hid whether it is durable: ask `commit_status`, never repeat.
    CommitUnknown = "commit-unknown",
    /// No room on the disk for the change; nothing was changed.
    DiskFull = "disk-full",
    /// The log has no room until a checkpoint is done; nothing was changed.
    LogFull = "log-full",
    /// The disk refused a read or write.
    Io = "io",
    /// A page or the log is damaged; `details` says where.
    Corrupt = "corrupt",
    /// A message, value, transaction or result is past its limit.
    TooLarge = "too-large",
    /// The statement ran longer than it may; it was undone.
    Timeout = "timeout",
    /// The statement was cancelled; it was undone.
    Cancelled = "cancelled",
    /// An administrator ended the session; its transaction was rolled back.
    Killed = "killed",
    /// What the snapshot reads was dropped to stay within the memory limit; begin a new one.
    SnapshotTooOld = "snapshot-too-old",
    /// There is no such cursor in this session: never opened, at its end, or closed.
    CursorNotFound = "cursor-not-found",
    /// There is no such session.
    SessionNotFound = "session-not-found",
    /// The daemon has as many sessions as it may.
    TooManySessions = "too-many-sessions",
    /// A session has as many requests or cursors open as it may, or all cursors keep as much in memory as they may.
    TooManyRequests = "too-many-requests",
    /// The daemon is leaving; connect anew.
    ShuttingDown = "shutting-down",
    /// Two transactions waited for each other, and this one was rolled back.
    Deadlock = "deadlock",
    /// A lock was not granted in time; the transaction was rolled back.
    LockTimeout = "lock-timeout",
    /// An import with this name has begun already, and `resume` was not asked for.
    ImportExists = "import-exists",
    /// There is no import with this name.
    ImportNotFound = "import-not-found",
    /// A backup of this name exists already.
    BackupExists = "backup-exists",
    /// A mistake in Graphite; the daemon's log has more.
    Internal = "internal",
}

impl ErrorCode {
    /// Whether the same request may succeed when it is sent again: nothing of it was done, and what stood in
    /// its way passes. Within a transaction it is the whole transaction that is to be repeated from `begin`.
    /// [`ErrorCode::CommitUnknown`] is never retryable, for the change may have been made.
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            ErrorCode::Busy
                | ErrorCode::LogFull
                | ErrorCode::SnapshotTooOld
                | ErrorCode::TooManySessions
                | ErrorCode::TooManyRequests
                | ErrorCode::ShuttingDown
                | ErrorCode::Deadlock
                | ErrorCode::LockTimeout
        )
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error as the daemon sends it and the client sees it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct WireError {
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// What went wrong, to what, and what to do, for people.
    pub message: String,
    /// Whether the same request may succeed when it is sent again.
    pub retryable: bool,
    /// More, by name; empty if there is no more to say.
    pub details: Pairs<Value>,
}

impl WireError {
    /// An error without details.
    #[cold]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> WireError {
        let retryable = code.retryable();
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push_str("...");
        }
        WireError { code, message, retryable, details: Pairs::default() }
    }

    /// The same error with one more detail.
    #[must_use]
    pub fn with_detail(mut self, name: &str, value: impl Into<Value>) -> WireError {
        self.details.0.push((name.to_owned(), value.into()));
        self
    }

    /// Client and daemon speak different versions of the protocol. `server` is the daemon's name and version.
    #[cold]
    pub fn version_mismatch(client_protocol: u32, server_protocol: u32, server: &str) -> WireError {
        let message = format!(
            "the client speaks protocol version {client_protocol}, and {server} speaks version {server_protocol}; \
             use a client and a daemon of the same release"
        );
        WireError::new(ErrorCode::VersionMismatch, message)
            .with_detail("client_protocol", client_protocol)
            .with_detail("server_protocol", server_protocol)
            .with_detail("server", server)
    }

    /// There is no method of this name.
    #[cold]
    pub fn unknown_method(method: &str) -> WireError {
        WireError::new(ErrorCode::UnknownMethod, format!("there is no method {method:?}"))
    }
}

impl From<DecodeError> for WireError {
    fn from(error: DecodeError) -> WireError {
        use crate::decode_error::DecodeErrorKind::{PlanVersion, TooLarge};
        let code = match error.kind {
            TooLarge => ErrorCode::TooLarge,
            PlanVersion { .. } => ErrorCode::VersionMismatch,
            _ => ErrorCode::BadRequest,
        };
        WireError::new(code, error.to_string())
    }
}

impl Wire for WireError {
    fn write(&self, out: &mut Encoder<'_>) {
        out.map(if self.details.is_absent() { 3 } else { 4 });
        out.str("code");
        out.str(self.code.as_str());
        out.str("message");
        out.str(&self.message);
        out.str("retryable");
        out.bool(self.retryable);
        if !self.details.is_absent() {
            out.str("details");
            self.details.write(out);
        }
    }

    fn read(from: &mut Decoder<'_>) -> Result<WireError> {
        let WireErrorMap { code, message, retryable, details } = WireErrorMap::read(from)?;
        let code = ErrorCode::from(code.as_str());
        // For a code that this side knows, what it knows counts; for others, the daemon's word.
        let retryable = if matches!(code, ErrorCode::Other(_)) { retryable } else { code.retryable() };
        Ok(WireError { code, message, retryable, details })
    }
}

crate::wire::message! { reply "an error",
    /// The map that an error is.
    struct WireErrorMap {
        /// See [`WireError`].
        pub code: String,
        /// See [`WireError`].
        pub message: String,
        /// See [`WireError`].
        pub retryable: bool,
        /// See [`WireError`].
        pub details: Pairs<Value>,
    }
}
