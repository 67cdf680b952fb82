//! What the floors below say, in the words of the protocol: the one place where codes are chosen.

use graphite_graph::GraphDb;
use graphite_protocol::{ErrorCode, Value, WireError};
use graphite_store::Error as StoreError;
use graphite_store::locks::LockError;

use crate::lock_words::LockWords;
use crate::monitor;

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

/// Of the locks, which `session` did not get: in words, with who was in the way.
pub(crate) fn of_lock(error: &LockError, session: u64, db: &GraphDb) -> WireError {
    match error {
        LockError::Deadlock(deadlock) => {
            let told = monitor::deadlock(deadlock, &mut LockWords::new(db));
            let waits = told.sessions.iter().zip(&told.waits_for);
            let waits: Vec<String> =
                waits.map(|(session, what)| format!("session {session} for {what}")).collect();
            let message = format!(
                "deadlock: {} transactions waited for each other ({}), and this one was rolled back; run it again",
                waits.len(),
                waits.join(", ")
            );
            WireError::new(ErrorCode::Deadlock, message)
                .with_detail("sessions", list(told.sessions.into_iter().map(number)))
                .with_detail("waits_for", list(told.waits_for.into_iter().map(Value::from)))
                .with_detail("victim", number(told.victim))
        }
        LockError::Timeout { name, mode, waited } => {
            let (what, mode) = (LockWords::new(db).of(*name), *mode);
            let blockers = monitor::holders_against(&db.locks().picture(), *name, mode, session);
            let held = match blockers.as_slice() {
                [] => String::new(),
                [one] => format!("; session {one} holds it"),
                some => format!("; {} sessions hold it, {} among them", some.len(), some[0]),
            };
            let (mode, waited_ms) = (mode.as_str(), u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
            let message = format!(
                "the lock {mode} on {what} was not granted within {waited_ms} ms{held}. The transaction was rolled back"
            );
            WireError::new(ErrorCode::LockTimeout, message)
                .with_detail("lock", what)
                .with_detail("mode", mode)
                .with_detail("waited_ms", number(waited_ms))
                .with_detail("blocked_by", list(blockers.into_iter().map(number)))
        }
        LockError::Cancelled => WireError::new(ErrorCode::Cancelled, error.to_string()),
    }
}

fn number(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    Value::List(values.collect())
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
