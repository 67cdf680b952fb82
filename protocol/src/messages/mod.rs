//! The methods: what each takes and what it answers.
//!
//! | file | methods |
//! |---|---|
//! | `session` | `hello`, `ping`, `cancel` |
//! | `statement` | `query`, `run`, `fetch`, `close` |
//! | `transaction` | `begin`, `commit`, `rollback`, `commit_status` |
//! | `admin` | `checkpoint`, `compact`, `check`, `backup`, `kill` |
//! | `monitor` | `status`, `sessions`, `locks` |
//! | `picture` | `picture`, `watch` |
//! | `import` | `import_begin`, `import_nodes`, `import_edges`, `import_status`, `import_end` |

mod admin;
mod histogram;
mod import;
mod monitor;
mod picture;
mod session;
mod statement;
mod transaction;

pub use admin::{
    Backup, BackupReply, Check, CheckProgress, CheckReply, Checkpoint, CheckpointReply, Compact,
    CompactReply, Kill, KillReply, Problem, SalvageReply,
};
pub use histogram::{Histogram, HistogramBucket};
pub use import::{
    EdgeBatch, IdRange, ImportBegin, ImportBeginReply, ImportEdges, ImportEnd, ImportEndReply, ImportNodes,
    ImportReply, ImportStatus, ImportStatusReply, NodeBatch,
};
pub use monitor::{
    Deadlock, Durability, Lock, LockMode, Locks, LocksReply, Session, SessionState, Sessions, SessionsReply,
    Status, StatusReply,
};
pub use picture::{
    CheckpointPhase, CheckpointState, Compaction, Counters, OldestSnapshot, Picture, SlowStatement, Storage,
    TakePicture, Timeouts, WATCH_MS_MAX, WATCH_MS_MIN, Watch,
};
pub use session::{Cancel, CancelReply, Hello, HelloReply, Ping};
pub use statement::{Close, Fetch, FetchReply, Query, Run, RunReply, Summary};
pub use transaction::{
    Begin, Commit, CommitReply, CommitState, CommitStatus, CommitStatusReply, Mode, Rollback,
};

use crate::error::WireError;
use crate::message::Body;
use crate::wire::{Wire, message};

/// Params of a method, and what belongs to them.
pub trait Request: Wire {
    /// The method's name.
    const METHOD: &'static str;
    /// What it answers.
    type Reply: Wire;
}

/// Params of a notification.
pub trait Notification: Wire {
    /// The notification's name.
    const METHOD: &'static str;
}

/// Defines a method's params, and ties them to its name and reply.
macro_rules! request {
    ($method:literal -> $reply:ty, $(#[$meta:meta])* pub struct $name:ident { $($fields:tt)* }) => {
        $crate::wire::message! { request $method, $(#[$meta])* pub struct $name { $($fields)* } }
        impl $crate::messages::Request for $name {
            const METHOD: &'static str = $method;
            type Reply = $reply;
        }
    };
}
use request;

message! { reply "an empty reply",
    /// What a method answers that has nothing to tell.
    #[derive(Copy, Default, Eq)]
    pub struct Empty {}
}

/// Defines the enum of all requests.
macro_rules! calls {
    ($($name:ident,)*) => {
        /// A request whose method is known and whose params are decoded.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Call {
            $($name($name),)*
        }

        impl Call {
            /// Names of all methods.
            pub const METHODS: &'static [&'static str] = &[$($name::METHOD,)*];

            /// Decodes the params of a method.
            ///
            /// # Errors
            /// `unknown-method`, or `bad-request` with the field that was wrong.
            pub fn read(method: &str, params: Body<'_>) -> Result<Call, WireError> {
                $(if method == $name::METHOD {
                    return match params.read() {
                        Ok(request) => Ok(Call::$name(request)),
                        Err(error) => Err(error.within(method).into()),
                    };
                })*
                Err(WireError::unknown_method(method))
            }

            /// The method's name.
            pub fn method(&self) -> &'static str {
                match self {
                    $(Call::$name(_) => $name::METHOD,)*
                }
            }
        }
    };
}

// In the order of how often they are called, for that is the order in which names are compared.
calls! {
    Run, Query, Fetch, Close, Begin, Commit, Rollback, ImportEdges, ImportNodes, Ping, Cancel, Hello, CommitStatus,
    Status, Sessions, Locks, TakePicture, Watch, Kill, Checkpoint, Compact, Check, Backup, ImportBegin, ImportStatus, ImportEnd,
}
