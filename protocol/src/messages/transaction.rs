//! Methods of transactions that span several statements.

use super::{Empty, request};
use crate::wire::{Token, message, words};

words! { "a mode (read, write)",
    /// What a transaction may do.
    pub enum Mode {
        /// Read, all from one snapshot.
        Read = "read",
        /// Read and change.
        Write = "write",
    }
}

request! { "begin" -> Empty,
    /// Opens a transaction; the session's statements belong to it until `commit` or `rollback`.
    #[derive(Copy, Eq)]
    pub struct Begin {
        /// What it may do.
        pub mode: Mode,
    }
}

request! { "commit" -> CommitReply,
    /// Makes the transaction's changes durable and visible.
    #[derive(Eq, Default)]
    pub struct Commit {
        /// A name for `commit_status`, if the client wants to ask for the outcome after losing its connection.
        pub token: Option<Token>,
    }
}

message! { reply "the reply of commit",
    /// The transaction is durable and visible.
    #[derive(Copy, Eq)]
    pub struct CommitReply {
        /// Position of the commit in the log; 0 if there was nothing to commit.
        pub lsn: u64,
    }
}

request! { "rollback" -> Empty,
    /// Undoes the transaction.
    #[derive(Copy, Default, Eq)]
    pub struct Rollback {}
}

request! { "commit_status" -> CommitStatusReply,
    /// Asks what became of a commit.
    #[derive(Eq)]
    pub struct CommitStatus {
        /// The name that `commit` was given.
        pub token: Token,
    }
}

words! { "a commit's state (committed, not-found)",
    /// What became of a commit.
    pub enum CommitState {
        /// It is durable.
        Committed = "committed",
        /// No commit of this name is known: it did not happen, or so many followed that it is forgotten.
        NotFound = "not-found",
    }
}

message! { reply "the reply of commit_status",
    /// What became of a commit.
    #[derive(Copy, Eq)]
    pub struct CommitStatusReply {
        /// What became of it.
        pub state: CommitState,
        /// Position of the commit in the log, if it is known.
        pub lsn: Option<u64>,
    }
}
