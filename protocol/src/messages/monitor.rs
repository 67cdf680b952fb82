//! Methods that show what the daemon is doing, one side of it each.

use super::request;
use crate::wire::{message, words};

request! { "status" -> StatusReply,
    /// Asks for the daemon's state.
    #[derive(Copy, Default, Eq)]
    pub struct Status {}
}

words! { "a durability (on, off)",
    /// Whether a commit is synced before it is acknowledged.
    pub enum Durability {
        /// It is.
        On = "on",
        /// It is not: a power cut loses commits. For tests and throwaway loads.
        Off = "off",
    }
}

message! { reply "a status",
    /// The daemon's state. Counters count from the daemon's start.
    #[derive(Eq, serde::Serialize)]
    pub struct StatusReply {
        /// Version of the daemon, "0.1.0".
        pub version: String,
        /// Its process.
        pub pid: u32,
        /// How long it has been running.
        pub uptime_ms: u64,
        /// Path of the database file.
        pub database: String,
        /// Version of the file's format.
        pub format_version: u32 = 0,
        /// Whether commits are synced.
        pub durability: Durability,
        /// Whether changes are refused.
        pub read_only: bool,
        /// The first failed write or sync, if there was one; the database is read-only since.
        pub poisoned: Option<String>,
        /// Nodes, as of the newest commit.
        pub nodes: u64 = 0,
        /// Edges, as of the newest commit.
        pub edges: u64 = 0,
        /// Sessions that are connected.
        pub sessions: u64 = 0,
        /// How many may be.
        pub sessions_max: u64 = 0,
        /// Transactions that are open.
        pub transactions: u64 = 0,
        /// Bytes of the database file.
        pub file_bytes: u64 = 0,
        /// Bytes of the log's segments.
        pub wal_bytes: u64 = 0,
        /// Bytes of the log that recovery would read.
        pub wal_used_bytes: u64 = 0,
        /// Pages of the file.
        pub pages: u64 = 0,
        /// Those of them that are free.
        pub pages_free: u64 = 0,
        /// Bytes that cached pages take.
        pub cache_bytes: u64 = 0,
        /// Bytes that they may take.
        pub cache_bytes_max: u64 = 0,
        /// Pages that had to be read from the file, for they were not in the cache. Reads that found theirs are not
        /// counted: that would cost the fastest of them more than it tells.
        pub cache_misses: u64 = 0,
        /// Changed pages that the next checkpoint writes.
        pub dirty_pages: u64 = 0,
        /// What new snapshots see.
        pub visible_lsn: u64 = 0,
        /// What is applied, durable or not.
        pub applied_lsn: u64 = 0,
        /// What is synced.
        pub durable_lsn: u64 = 0,
        /// What the oldest snapshot or pin sees.
        pub horizon_lsn: u64 = 0,
        /// Where recovery would start.
        pub checkpoint_lsn: u64 = 0,
        /// When the last checkpoint ended, in milliseconds since 1970; `None` if there was none yet.
        pub checkpoint_at_ms: Option<u64>,
        /// Checkpoints made.
        pub checkpoints: u64 = 0,
        /// Transactions that committed changes.
        pub commits: u64 = 0,
        /// Transactions that were rolled back, for whatever reason.
        pub aborts: u64 = 0,
        /// Those of them that were victims of a deadlock.
        pub deadlocks: u64 = 0,
        /// Syncs of the log.
        pub syncs: u64 = 0,
        /// Statements that were run.
        pub statements: u64 = 0,
    }
}

request! { "sessions" -> SessionsReply,
    /// Asks who is connected.
    #[derive(Copy, Default, Eq)]
    pub struct Sessions {}
}

message! { reply "the reply of sessions",
    /// Who is connected.
    #[derive(Eq, serde::Serialize)]
    pub struct SessionsReply {
        /// In the order of their numbers.
        pub sessions: Vec<Session>,
    }
}

words! { "a session's state",
    /// What a session is doing.
    pub enum SessionState {
        /// Nothing, and it holds nothing.
        Idle = "idle",
        /// Nothing, while its transaction is open.
        IdleInTransaction = "idle-in-transaction",
        /// A statement.
        Active = "active",
        /// It waits for a lock.
        Waiting = "waiting",
        /// It waits for its commit to be durable.
        Committing = "committing",
    }
}

message! { reply "a session",
    /// One connection.
    #[derive(Eq, serde::Serialize)]
    pub struct Session {
        /// Its number.
        pub session: u64,
        /// The client's process.
        pub pid: u32,
        /// The client's user number.
        pub uid: u32,
        /// The client's user name, if it has one.
        pub user: Option<String>,
        /// What the client calls itself. Text from a stranger.
        pub client: String,
        /// What it is doing.
        pub state: SessionState,
        /// How long it has been connected.
        pub connected_ms: u64 = 0,
        /// Its transaction, if one is open.
        pub transaction: Option<u64>,
        /// What the transaction may do.
        pub mode: Option<super::Mode>,
        /// How long the transaction has been open.
        pub transaction_ms: Option<u64>,
        /// What its snapshot sees, if it holds one.
        pub snapshot_lsn: Option<u64>,
        /// The statement that it runs, or ran last in its transaction. Text from a stranger.
        pub statement: Option<String>,
        /// How long ago that statement began.
        pub statement_ms: Option<u64>,
        /// The lock that it waits for, "X node 8812".
        pub waits_for: Option<String>,
        /// How long it has been waiting.
        pub wait_ms: Option<u64>,
        /// Sessions that it waits for.
        pub blocked_by: Vec<u64> = Vec::new(),
        /// Locks that it holds.
        pub locks: u64 = 0,
        /// Requests that it sent and that are not answered.
        pub requests: u64 = 0,
        /// Bytes that were written for it and that it did not read yet.
        pub outbox_bytes: u64 = 0,
        /// Which of its requests is under way, or was the last, counted from 1; 0 if there was none. For `cancel`.
        pub statement_number: u64 = 0,
        /// Whether it waits to be let write at all, and holds no lock yet.
        pub awaits_admission: bool = false,
        /// Its transaction is rolled back in so many ms, unless its client says something.
        pub rollback_in_ms: Option<u64>,
        /// Its wait ends with an error in so many ms.
        pub wait_ends_in_ms: Option<u64>,
        /// Whether it may cancel and kill sessions of other users.
        pub is_admin: bool = false,
        /// Whether it has the place that is kept for a monitor.
        pub is_reserved: bool = false,
    }
}

request! { "locks" -> LocksReply,
    /// Asks who holds or awaits which lock.
    #[derive(Copy, Default, Eq)]
    pub struct Locks {}
}

message! { reply "the reply of locks",
    /// Who holds or awaits which lock.
    #[derive(Eq, serde::Serialize)]
    pub struct LocksReply {
        /// By name, and those of one name in the order of their queue.
        pub locks: Vec<Lock>,
        /// The last deadlocks, newest first.
        pub deadlocks: Vec<Deadlock> = Vec::new(),
        /// How many locks are held, told or not.
        pub held: u64 = 0,
        /// How many locks are awaited, told or not.
        pub awaited: u64 = 0,
    }
}

words! { "a lock mode (IS, IX, S, SIX, U, X)",
    /// How a lock is held.
    pub enum LockMode {
        /// Will read something below.
        IntentShared = "IS",
        /// Will change something below.
        IntentExclusive = "IX",
        /// Reads.
        Shared = "S",
        /// Reads all, will change something below.
        SharedIntentExclusive = "SIX",
        /// Reads in order to change.
        Update = "U",
        /// Changes.
        Exclusive = "X",
    }
}

message! { reply "a lock",
    /// A lock that someone holds or awaits.
    #[derive(Eq, serde::Serialize)]
    pub struct Lock {
        /// What is locked, in words: "node 8812 :Person", "index Person(name), key Ada".
        pub name: String,
        /// In which mode.
        pub mode: LockMode,
        /// Whether it is held, and not awaited.
        pub granted: bool,
        /// By which session.
        pub session: u64,
        /// In which transaction.
        pub transaction: u64,
        /// How long it has been awaited, or held.
        pub for_ms: u64 = 0,
    }
}

message! { reply "a deadlock",
    /// Transactions that waited for each other.
    #[derive(Eq, serde::Serialize)]
    pub struct Deadlock {
        /// When, in milliseconds since 1970.
        pub at_ms: u64,
        /// The sessions, each waiting for the next and the last for the first.
        pub sessions: Vec<u64>,
        /// The lock that each of them waited for.
        pub waits_for: Vec<String> = Vec::new(),
        /// The statement that each of them ran. Text from strangers.
        pub statements: Vec<String> = Vec::new(),
        /// The session whose transaction was rolled back.
        pub victim: u64,
        /// The process of each of them; 0 if it is not known any more.
        pub pids: Vec<u32> = Vec::new(),
        /// The user name of each of them; empty if it is not known any more.
        pub users: Vec<String> = Vec::new(),
        /// What each of them called itself. Text from strangers.
        pub clients: Vec<String> = Vec::new(),
    }
}
