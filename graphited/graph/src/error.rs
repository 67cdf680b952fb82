//! What can go wrong in the graph, in one enum.

use graphite_store::PageNo;

use crate::ids::{EdgeId, NodeId};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the graph.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// From the floor below.
    #[error(transparent)]
    Store(#[from] graphite_store::Error),
    /// No such node, or one that was deleted.
    #[error("there is no node {0}; it never existed or was deleted")]
    NodeNotFound(NodeId),
    /// No such edge, or one that was deleted.
    #[error("there is no edge {0}; it never existed or was deleted")]
    EdgeNotFound(EdgeId),
    /// A node with edges was to be deleted without them.
    #[error("node {node} still has {edges} edges; delete them first, or detach")]
    NodeHasEdges {
        /// The node.
        node: NodeId,
        /// How many edges it has.
        edges: u64,
    },
    /// A value that no property can hold.
    #[error("a property cannot hold {0}")]
    UnsupportedValue(&'static str),
    /// A value past a limit.
    #[error("{what} has {bytes} bytes, and the limit is {max}")]
    TooLong {
        /// What is too long: "a property value", "a label".
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// Too many of something that is numbered.
    #[error("there are too many {what}: the limit is {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// A name that nothing can have.
    #[error("{what} must not be empty")]
    EmptyName {
        /// "a label", "an edge type", "a property key".
        what: &'static str,
    },
    /// A lock was not to be had: what had to be read or changed is in the hands of another transaction. The transaction
    /// has failed, and may be run again.
    #[error(transparent)]
    Lock(#[from] graphite_store::locks::LockError),
    /// A statement of this transaction failed before; only a rollback ends it.
    #[error("an earlier statement of this transaction failed; roll it back")]
    TransactionFailed,
    /// A batch whose columns do not fit each other.
    #[error("a batch cannot be imported: {0}")]
    UnevenBatch(&'static str),
    /// Whoever asked for it said stop.
    #[error("the statement was interrupted")]
    Interrupted,
    /// Pages contradict each other.
    #[error("{page} contradicts what points at it: {why}. `graphite check` looks at the whole file")]
    Corrupt {
        /// The page where it was seen.
        page: PageNo,
        /// How.
        why: &'static str,
    },
    /// A node whose labels are not in the catalog.
    #[error("the labels of node {node} are not in the catalog. `graphite check` looks at the whole file")]
    UnknownLabels {
        /// The node.
        node: NodeId,
    },
    /// An edge whose end does not exist.
    #[error("edge {edge} has an end that does not exist. `graphite check` looks at the whole file")]
    DanglingEdge {
        /// The edge.
        edge: EdgeId,
    },
}

impl Error {
    /// Whether it says that the bytes of the database contradict each other; all others say that somebody could not
    /// look, or would not.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Error::Corrupt { .. }
                | Error::UnknownLabels { .. }
                | Error::DanglingEdge { .. }
                | Error::Store(graphite_store::Error::CorruptPage { .. })
        )
    }
}
