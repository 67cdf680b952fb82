//! Methods that ask the graph, or change it. Outside a transaction each is one of its own.

use super::{Empty, request};
use crate::plan::Plan;
use crate::value::Value;
use crate::wire::{Pairs, message};

request! { "query" -> RunReply,
    /// Runs a Cypher text.
    pub struct Query {
        /// The text.
        pub text: String,
        /// Values of its parameters.
        pub params: Pairs<Value>,
        /// Most rows of the answer, at least 1; a cursor gives the others. All that fit into a frame if `None`.
        pub fetch: Option<u32>,
        /// How long it may run; as the daemon is configured if `None`.
        pub timeout_ms: Option<u64>,
    }
}

request! { "run" -> RunReply,
    /// Runs a plan.
    pub struct Run {
        /// The plan.
        pub plan: Plan,
        /// Values of its parameters.
        pub params: Pairs<Value>,
        /// Most rows of the answer, at least 1; a cursor gives the others. All that fit into a frame if `None`.
        pub fetch: Option<u32>,
        /// How long it may run; as the daemon is configured if `None`.
        pub timeout_ms: Option<u64>,
    }
}

message! { reply "the reply of run",
    /// Rows, and what was changed.
    pub struct RunReply {
        /// Names of the columns.
        pub columns: Vec<String>,
        /// Rows, with a value for each column.
        pub rows: Vec<Vec<Value>>,
        /// Where `fetch` gets the rows that did not fit; `None` if these were all.
        pub cursor: Option<u64>,
        /// What was changed; all zero for a read.
        pub summary: Summary,
    }
}

message! { reply "a summary",
    /// How much a statement changed. On the wire it has all counters for a write, and is empty for a read.
    #[derive(Copy, Default, Eq, serde::Serialize)]
    pub struct Summary {
        /// Nodes created.
        pub nodes_created: u64 = 0,
        /// Nodes deleted.
        pub nodes_deleted: u64 = 0,
        /// Edges created.
        pub edges_created: u64 = 0,
        /// Edges deleted.
        pub edges_deleted: u64 = 0,
        /// Properties set, changed or removed.
        pub properties_set: u64 = 0,
        /// Labels added to nodes.
        pub labels_added: u64 = 0,
        /// Labels removed from nodes.
        pub labels_removed: u64 = 0,
    }
}

request! { "fetch" -> FetchReply,
    /// Gets more rows of a cursor.
    #[derive(Copy, Eq)]
    pub struct Fetch {
        /// Which cursor.
        pub cursor: u64,
        /// Most rows, at least 1.
        pub n: u32,
    }
}

message! { reply "the reply of fetch",
    /// More rows.
    pub struct FetchReply {
        /// Rows, with a value for each column of the statement.
        pub rows: Vec<Vec<Value>>,
        /// The same cursor, or `None` after the last row; it is closed then.
        pub cursor: Option<u64>,
    }
}

request! { "close" -> Empty,
    /// Closes a cursor before its end. One that is closed already is no error.
    #[derive(Copy, Eq)]
    pub struct Close {
        /// Which cursor.
        pub cursor: u64,
    }
}
