//! The picture that a monitor draws: all of what the daemon is doing, in one answer.

use super::monitor::{Deadlock, Lock, Session, StatusReply};
use super::{Empty, Histogram, Notification, request};
use crate::wire::{message, words};

request! { "picture" -> Picture,
    /// Asks for one [`Picture`].
    #[derive(Copy, Default, Eq)]
    pub struct TakePicture {}
}

request! { "watch" -> Empty,
    /// Asks for a [`Picture`] again and again, as notifications of this connection.
    #[derive(Copy, Eq)]
    pub struct Watch {
        /// How often, [`WATCH_MS_MIN`] to [`WATCH_MS_MAX`]; 0 ends it.
        pub interval_ms: u64,
    }
}

/// Shortest interval of [`Watch`], in milliseconds.
pub const WATCH_MS_MIN: u64 = 100;
/// Longest interval of [`Watch`], in milliseconds.
pub const WATCH_MS_MAX: u64 = 60_000;

message! { reply "a picture",
    /// What the daemon is doing, looked at within a millisecond or so: the sessions first, then locks and storage.
    #[derive(Eq, serde::Serialize)]
    pub struct Picture {
        /// When, in milliseconds since 1970.
        pub at_ms: u64,
        /// How long the daemon took to put it together, in microseconds.
        pub took_us: u64 = 0,
        /// The daemon's state.
        pub status: StatusReply,
        /// Who is connected, by number.
        pub sessions: Vec<Session>,
        /// Sessions that have a place among those who may write: what those wait for that wait to be admitted.
        pub writers: Vec<u64> = Vec::new(),
        /// Who holds or awaits which lock: those that somebody waits for first, and not all if there are many.
        pub locks: Vec<Lock> = Vec::new(),
        /// How many locks are held, told or not.
        pub locks_held: u64 = 0,
        /// How many locks are awaited, told or not.
        pub locks_awaited: u64 = 0,
        /// The last deadlocks, newest first.
        pub deadlocks: Vec<Deadlock> = Vec::new(),
        /// What is stored, and where.
        pub storage: Storage = Storage::default(),
        /// Compaction; `None` if this daemon has none.
        pub compaction: Option<Compaction>,
        /// The last statements that took long, newest first.
        pub slow_statements: Vec<SlowStatement> = Vec::new(),
        /// What happened since the daemon started.
        pub counters: Counters = Counters::default(),
        /// How long things may take.
        pub timeouts: Timeouts = Timeouts::default(),
    }
}

impl Notification for Picture {
    const METHOD: &'static str = "picture";
}

message! { reply "the storage",
    /// What is stored, and where.
    #[derive(Default, Eq, serde::Serialize)]
    pub struct Storage {
        /// Bytes of the database file.
        pub file_bytes: u64 = 0,
        /// Pages of the file.
        pub pages: u64 = 0,
        /// Those of them that are free.
        pub pages_free: u64 = 0,
        /// Bytes of the log's segments.
        pub wal_bytes: u64 = 0,
        /// Bytes of the log that recovery would read.
        pub wal_used_bytes: u64 = 0,
        /// Bytes that the log may take.
        pub wal_bytes_max: u64 = 0,
        /// Bytes that cached pages take.
        pub cache_bytes: u64 = 0,
        /// Bytes that they may take.
        pub cache_bytes_max: u64 = 0,
        /// Pages with a version in memory.
        pub pages_resident: u64 = 0,
        /// Changed pages that the file does not hold yet.
        pub pages_dirty: u64 = 0,
        /// Bytes of page versions that are kept for snapshots.
        pub old_version_bytes: u64 = 0,
        /// Bytes that they may take, before the oldest snapshot is let down.
        pub old_version_bytes_max: u64 = 0,
        /// Snapshots and pins that are open.
        pub readers: u64 = 0,
        /// The oldest snapshot of a session's transaction, if there is one.
        pub oldest_snapshot: Option<OldestSnapshot>,
        /// The checkpoint that is under way, and the last one.
        pub checkpoint: CheckpointState = CheckpointState::default(),
        /// How long syncs of the log took.
        pub sync_latency: Histogram = Histogram::default(),
    }
}

message! { reply "the oldest snapshot",
    /// Who keeps old versions of pages from being dropped.
    #[derive(Copy, Default, Eq, serde::Serialize)]
    pub struct OldestSnapshot {
        /// The session that has it.
        pub session: u64,
        /// What it sees.
        pub lsn: u64 = 0,
        /// How long it has been open.
        pub age_ms: u64 = 0,
    }
}

words! { "a checkpoint's phase (idle, starting, writing, syncing)",
    /// How far a checkpoint is.
    pub enum CheckpointPhase {
        /// None is under way.
        Idle = "idle",
        /// It sets the point from which recovery will start, and syncs the log up to there.
        Starting = "starting",
        /// It writes pages into the file.
        Writing = "writing",
        /// It syncs the file, names the point and frees the log below it.
        Syncing = "syncing",
    }
}

message! { reply "a checkpoint's state",
    /// The checkpoint that is under way, and the last one.
    #[derive(Copy, Eq, serde::Serialize)]
    pub struct CheckpointState {
        /// How far it is.
        pub phase: CheckpointPhase = CheckpointPhase::Idle,
        /// Pages that it has written; of the last one if none is under way.
        pub pages_done: u64 = 0,
        /// Pages that were to be written when it began. More may have been changed meanwhile, and others written by
        /// somebody else: a measure of progress, and no promise.
        pub pages_total: u64 = 0,
        /// How long it has been under way.
        pub running_ms: Option<u64>,
        /// When the last one ended, in milliseconds since 1970.
        pub last_ended_at_ms: Option<u64>,
        /// How long the last one took.
        pub last_took_ms: Option<u64>,
        /// How many ended.
        pub checkpoints: u64 = 0,
    }
}

impl Default for CheckpointState {
    fn default() -> CheckpointState {
        CheckpointState {
            phase: CheckpointPhase::Idle,
            pages_done: 0,
            pages_total: 0,
            running_ms: None,
            last_ended_at_ms: None,
            last_took_ms: None,
            checkpoints: 0,
        }
    }
}

message! { reply "compaction",
    /// The compaction that is under way, and the last one.
    #[derive(Copy, Default, Eq, serde::Serialize)]
    pub struct Compaction {
        /// Whether one is under way.
        pub running: bool = false,
        /// Pages that it has looked after; of the last one if none is under way.
        pub pages_done: u64 = 0,
        /// Pages that it set out to look after.
        pub pages_total: u64 = 0,
        /// Bytes that it has moved.
        pub bytes_moved: u64 = 0,
        /// Bytes that it has given back to the file system.
        pub bytes_freed: u64 = 0,
        /// How long it has been under way.
        pub running_ms: Option<u64>,
        /// When the last one ended, in milliseconds since 1970.
        pub last_ended_at_ms: Option<u64>,
        /// How long the last one took.
        pub last_took_ms: Option<u64>,
        /// How many ended.
        pub compactions: u64 = 0,
        /// Bytes within used pages that hold nothing.
        pub fragmented_bytes: u64 = 0,
    }
}

message! { reply "a slow statement",
    /// A statement that took long.
    #[derive(Eq, serde::Serialize)]
    pub struct SlowStatement {
        /// When it ended, in milliseconds since 1970.
        pub at_ms: u64,
        /// Whose it was.
        pub session: u64,
        /// The client's process.
        pub pid: u32 = 0,
        /// The client's user number.
        pub uid: u32 = 0,
        /// The client's user name, if it has one.
        pub user: Option<String>,
        /// What the client called itself. Text from a stranger.
        pub client: String = String::new(),
        /// In which transaction, if one was open.
        pub transaction: Option<u64>,
        /// What it was. Text from a stranger.
        pub statement: String,
        /// From when the daemon took it up to when its answer was made; that may still have waited for a sync.
        pub took_ms: u64,
        /// How much of that it waited for locks, or to be let write at all, if that is known.
        pub wait_ms: Option<u64>,
        /// Rows of the answer, if it is known how many.
        pub rows: Option<u64>,
        /// The code of the error that it ended with, if it did.
        pub error: Option<String>,
    }
}

message! { reply "counters",
    /// What happened since the daemon started.
    #[derive(Copy, Default, Eq, serde::Serialize)]
    pub struct Counters {
        /// Connections that were let in.
        pub connections: u64 = 0,
        /// Transactions that were begun by `begin`.
        pub transactions: u64 = 0,
        /// Transactions that committed changes.
        pub commits: u64 = 0,
        /// Transactions that were rolled back, for whatever reason.
        pub aborts: u64 = 0,
        /// Deadlocks that were found.
        pub deadlocks: u64 = 0,
        /// Locks that had to be waited for.
        pub lock_waits: u64 = 0,
        /// Waits for locks that took too long.
        pub lock_timeouts: u64 = 0,
        /// Times that many locks became one on the name above.
        pub lock_escalations: u64 = 0,
        /// Statements that ran longer than they might, and transactions whose clients said nothing for too long.
        pub timeouts: u64 = 0,
        /// Statements that were run.
        pub statements: u64 = 0,
        /// Statements that took long.
        pub slow_statements: u64 = 0,
        /// Pages read from the file.
        pub page_reads: u64 = 0,
        /// Pages written to the file.
        pub page_writes: u64 = 0,
        /// Syncs of the log.
        pub log_syncs: u64 = 0,
        /// Syncs of the database file.
        pub file_syncs: u64 = 0,
        /// Bytes that were appended to the log.
        pub log_bytes: u64 = 0,
    }
}

message! { reply "timeouts",
    /// How long things may take, as the daemon is configured; `None` for ever.
    #[derive(Copy, Default, Eq, serde::Serialize)]
    pub struct Timeouts {
        /// A statement, unless the client says otherwise.
        pub statement_ms: Option<u64>,
        /// A wait for a lock, or to be let write at all.
        pub lock_ms: Option<u64>,
        /// A transaction without a word from its client.
        pub idle_in_transaction_ms: Option<u64>,
        /// A session without a word from its client.
        pub idle_ms: Option<u64>,
        /// A statement that takes so long is kept as slow; `None` if none is.
        pub slow_statement_ms: Option<u64>,
    }
}
