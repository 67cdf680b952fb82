//! Methods of the session itself.

use super::{Empty, Request, request};
use crate::wire::message;

message! { reply "hello",
    /// The first request of a connection. Read leniently, so that a client of any version gets the error that
    /// names both versions.
    #[derive(Default)]
    pub struct Hello {
        /// The version that the client speaks, [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).
        pub protocol: u32,
        /// Name and version of the client, "importer/1.4", as monitors show it.
        pub client: String,
        /// Whether it looks after the daemon and does nothing else: if the daemon is full, it may have the place that
        /// is kept for one such, in which only requests are taken that overtake.
        pub monitor: Option<bool>,
    }
}

impl Request for Hello {
    const METHOD: &'static str = "hello";
    type Reply = HelloReply;
}

message! { reply "the reply of hello",
    /// Whom the client reached.
    pub struct HelloReply {
        /// The version that the daemon speaks; the client's, or `hello` fails with `version-mismatch`.
        pub protocol: u32,
        /// Name and version of the daemon, "graphited/0.1.0".
        pub server: String,
        /// The session's number, for `cancel` and `kill`.
        pub session: u64,
        /// Path of the database file.
        pub database: String,
        /// The daemon's process.
        pub pid: u32,
        /// Version of the database file's format.
        pub format_version: u32,
    }
}

request! { "ping" -> Empty,
    /// Answers at once, whatever else the session is doing.
    #[derive(Copy, Default, Eq)]
    pub struct Ping {}
}

request! { "cancel" -> CancelReply,
    /// Ends the statement that a session is running; answered at once, whatever else the session is doing.
    #[derive(Copy, Default, Eq)]
    pub struct Cancel {
        /// Which session; from another connection of the same user, or one's own.
        pub session: u64,
        /// The transaction that the caller saw it in, 0 for none; if it is in another one by now, nothing is done.
        /// `None` for whichever it is in.
        pub transaction: Option<u64>,
        /// The statement that the caller saw it run, by [`Session::statement_number`](super::Session); if it runs
        /// another one by now, nothing is done. `None` for whichever it runs.
        pub statement: Option<u64>,
    }
}

message! { reply "the reply of cancel",
    /// What was cancelled.
    #[derive(Copy, Eq)]
    pub struct CancelReply {
        /// Whether the session was running a statement.
        pub cancelled: bool,
    }
}
