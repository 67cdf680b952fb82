//! What the floors below say, in the words of the protocol: the one place where codes are chosen.

use graphite_protocol::{ErrorCode, WireError};
use graphite_store::Error as StoreError;
use graphite_store::locks::LockError;

/// Of the store.
pub(crate) fn of_store(error: &StoreError) -> WireError {
    let code = match error {
        _ if error.is_disk_full() => ErrorCode::DiskFull,
        StoreError::Io { .. } => ErrorCode::Io,
        StoreError::CorruptPage { .. }
        | StoreError::CorruptLog { .. }
        | StoreError::CorruptSuperblock { .. } => ErrorCode::Corrupt,
        StoreError::TooLarge { .. } | StoreError::EntryTooLarge { .. } => ErrorCode::TooLarge,
        StoreError::Poisoned { .. } => ErrorCode::ReadOnly,
        StoreError::Closed => ErrorCode::ShuttingDown,
        StoreError::SnapshotTooOld => ErrorCode::SnapshotTooOld,
        _ => ErrorCode::Internal,
    };
    let wire = WireError::new(code, error.to_string());
    match error {
        StoreError::CorruptPage { page, .. } => wire.with_detail("page", page.0),
        StoreError::CorruptLog { lsn, .. } => {
            wire.with_detail("lsn", i64::try_from(lsn.0).unwrap_or(i64::MAX))
        }
        _ => wire,
    }
}

/// Of the graph.
pub(crate) fn of_graph(error: &graphite_graph::Error) -> WireError {
    use graphite_graph::Error;
    let code = match error {
        Error::Store(error) => return of_store(error),
        Error::NodeNotFound(_) => ErrorCode::NodeNotFound,
        Error::EdgeNotFound(_) => ErrorCode::EdgeNotFound,
        Error::NodeHasEdges { .. } => ErrorCode::NodeHasEdges,
        Error::UnsupportedValue(_) | Error::EmptyName { .. } => ErrorCode::InvalidValue,
        Error::TooLong { .. } | Error::TooMany { .. } => ErrorCode::TooLarge,
        Error::Lock(LockError::Deadlock(_)) => ErrorCode::Deadlock,
        Error::Lock(LockError::Timeout { .. }) => ErrorCode::LockTimeout,
        Error::TransactionFailed => ErrorCode::TransactionFailed,
        Error::UnevenBatch(_) => ErrorCode::BadRequest,
        Error::Interrupted | Error::Lock(LockError::Cancelled) => ErrorCode::Cancelled,
        Error::Corrupt { .. } | Error::UnknownLabels { .. } | Error::DanglingEdge { .. } => {
            ErrorCode::Corrupt
        }
    };
    let wire = WireError::new(code, error.to_string());
    match error {
        Error::Corrupt { page, .. } => wire.with_detail("page", page.0),
        _ => wire,
    }
}

/// Of a statement.
pub(crate) fn of_query(error: &graphite_query::Error) -> WireError {
    use graphite_query::Error;
    let code = match error {
        Error::Graph { source, .. } | Error::Transaction(source) => {
            let inner = of_graph(source);
            return WireError { message: error.to_string(), ..inner };
        }
        Error::EmptyPlan | Error::EmptyPipeline { .. } | Error::InvalidStep { .. } => ErrorCode::BadRequest,
        Error::NotARead { .. } => ErrorCode::ReadOnlyTransaction,
        Error::ParameterMissing { .. } => ErrorCode::ParameterMissing,
        Error::ParameterKind { .. } => ErrorCode::InvalidValue,
        Error::RowNotFound { .. } => ErrorCode::StatementFailed,
        Error::Cancelled => ErrorCode::Cancelled,
        Error::StepLimit { .. } | Error::MemoryLimit { .. } => ErrorCode::TooLarge,
    };
    WireError::new(code, error.to_string())
}

/// Of a commit whose group was appended: whether it is durable is not known.
pub(crate) fn of_lost_commit(error: &StoreError) -> WireError {
    let message = format!(
        "whether the commit is durable is not known ({error}); it must not be repeated before that is looked up"
    );
    WireError::new(ErrorCode::CommitUnknown, message)
}

/// What exists in the protocol and not in this daemon.
pub(crate) fn unsupported(what: &str) -> WireError {
    WireError::new(ErrorCode::Unsupported, format!("{what} is not supported by this version of graphited"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use graphite_graph::{Error as GraphError, NodeId};
    use graphite_store::{CorruptPage, PageNo};

    #[test]
    fn codes_and_details_survive_every_floor() {
        let corrupt = StoreError::CorruptPage { page: PageNo(7), why: CorruptPage::Truncated };
        let at = graphite_query::At { pipeline: 0, step: 1, op: "expand" };
        let error = of_query(&graphite_query::Error::Graph { at, source: GraphError::Store(corrupt) });
        assert_eq!(error.code, ErrorCode::Corrupt);
        assert!(error.message.contains("expand") && error.message.contains('7'), "{error}");
        assert_eq!(error.details.get("page").and_then(graphite_protocol::Value::as_int), Some(7));
        assert!(!error.retryable);
        let error = of_graph(&GraphError::NodeNotFound(NodeId(3)));
        assert_eq!(error.code, ErrorCode::NodeNotFound);
        let full = StoreError::Io {
            doing: "write",
            path: "x".into(),
            kind: std::io::ErrorKind::StorageFull,
            message: String::new(),
        };
        assert_eq!(of_store(&full).code, ErrorCode::DiskFull);
        let poisoned = StoreError::Poisoned { first: "x".into() };
        assert_eq!(of_store(&poisoned).code, ErrorCode::ReadOnly);
        let lost = of_lost_commit(&poisoned);
        assert_eq!((lost.code, lost.retryable), (ErrorCode::CommitUnknown, false));
    }
}
