//! Methods for whoever looks after the database.

use super::request;
use crate::wire::message;

request! { "checkpoint" -> CheckpointReply,
    /// Writes what is committed from the log into the file, and waits until that is done.
    #[derive(Copy, Default, Eq)]
    pub struct Checkpoint {}
}

message! { reply "the reply of checkpoint",
    /// A checkpoint that was made.
    #[derive(Copy, Eq, serde::Serialize)]
    pub struct CheckpointReply {
        /// Recovery would start at this position of the log.
        pub lsn: u64,
        /// Pages that were written.
        pub pages_written: u64 = 0,
    }
}

request! { "compact" -> CompactReply,
    /// Moves pages together and gives the space back to the file system, and waits until that is done.
    #[derive(Copy, Default, Eq)]
    pub struct Compact {}
}

message! { reply "the reply of compact",
    /// What compaction did.
    #[derive(Copy, Eq, serde::Serialize)]
    pub struct CompactReply {
        /// Bytes of the file before.
        pub bytes_before: u64,
        /// Bytes of the file after.
        pub bytes_after: u64,
        /// Pages whose contents were moved.
        pub pages_moved: u64 = 0,
    }
}

request! { "check" -> CheckReply,
    /// Reads all of the database and looks for contradictions.
    #[derive(Copy, Default, Eq)]
    pub struct Check {}
}

message! { reply "the reply of check",
    /// What was found.
    #[derive(Eq, serde::Serialize)]
    pub struct CheckReply {
        /// Pages that belong to the graph.
        pub pages: u64,
        /// Nodes that were found.
        pub nodes: u64,
        /// Edges that were found.
        pub edges: u64,
        /// What is wrong, the first thousand; empty for a sound database.
        pub problems: Vec<Problem>,
        /// Problems past the first thousand.
        pub problems_not_listed: u64 = 0,
        /// Pages that are marked as used.
        pub pages_used: u64 = 0,
        /// Pages that are marked as free.
        pub pages_free: u64 = 0,
        /// Property records that were found.
        pub property_records: u64 = 0,
        /// Entries of adjacency, of both sides, that were found.
        pub adjacency_entries: u64 = 0,
        /// Bytes read from the file.
        pub bytes_read: u64 = 0,
        /// How long it took.
        pub elapsed_ms: u64 = 0,
        /// Bytes of log that were replayed in memory, if nobody had the database open.
        pub log_bytes_replayed: Option<u64>,
    }
}

message! { reply "the reply of a salvage",
    /// What was copied of a damaged database.
    #[derive(Eq, serde::Serialize)]
    pub struct SalvageReply {
        /// Nodes that are in the new database.
        pub nodes: u64,
        /// Edges that are in it.
        pub edges: u64,
        /// Nodes of which not all labels or properties could be read.
        pub nodes_incomplete: u64,
        /// Edges of which not all properties, or not the type's name, could be read.
        pub edges_incomplete: u64,
        /// Edges that were left out because an end of them could not be read.
        pub edges_without_end: u64,
        /// What could not be read, the first thousand.
        pub lost: Vec<Problem>,
        /// What came after that.
        pub lost_not_listed: u64,
    }
}

message! { reply "how far a check is",
    /// How far a check or a salvage is, in steps of its own.
    #[derive(Copy, Eq)]
    pub struct CheckProgress {
        /// Done.
        pub done: u64,
        /// To do, all in all.
        pub total: u64,
    }
}

impl super::Notification for CheckProgress {
    const METHOD: &'static str = "progress";
}

message! { reply "a problem",
    /// Something wrong with the database.
    #[derive(Eq, serde::Serialize)]
    pub struct Problem {
        /// In which page, if it lies in one.
        pub page: Option<u64>,
        /// What is wrong.
        pub why: String,
        /// In which file: "database" or "log".
        pub file: Option<String>,
        /// The record or part that is concerned, in words.
        pub record: Option<String>,
        /// Where in the log.
        pub lsn: Option<u64>,
    }
}

request! { "backup" -> BackupReply,
    /// Writes a copy of the database, as of one moment, while others go on.
    #[derive(Eq)]
    pub struct Backup {
        /// Name of the copy, beneath the directory that the daemon is configured with.
        pub name: String,
    }
}

message! { reply "the reply of backup",
    /// The copy.
    #[derive(Eq, serde::Serialize)]
    pub struct BackupReply {
        /// Where it is.
        pub path: String,
        /// How long it is.
        pub bytes: u64,
        /// It holds all commits up to this position of the log.
        pub lsn: u64,
    }
}

request! { "kill" -> KillReply,
    /// Ends a session and rolls its transaction back.
    #[derive(Copy, Eq)]
    pub struct Kill {
        /// Which session.
        pub session: u64,
        /// The transaction that the caller saw it in; if it is in another one by now, nothing is done. `None`
        /// for a session that was seen in none.
        pub transaction: Option<u64>,
    }
}

message! { reply "the reply of kill",
    /// What was killed.
    #[derive(Copy, Eq, serde::Serialize)]
    pub struct KillReply {
        /// Whether the session was still there, and in that transaction.
        pub killed: bool,
    }
}
