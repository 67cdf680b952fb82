//! The picture that a monitor draws, put together outside of the reactor from what that has gathered.
//!
//! 1. It takes no locks of transactions and waits for no turn: a monitor is answered when nobody else is.
//! 2. What is shown of sessions, locks and storage is looked at one after the other, within a millisecond or so.

use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use graphite_protocol::WireError;
use graphite_protocol::messages::{
    CheckpointPhase, CheckpointState, Counters, Histogram, HistogramBucket, OldestSnapshot, Picture,
    Session as Row, SlowStatement, Storage, Timeouts,
};
use graphite_store::locks::LockCounters;
use graphite_store::{CheckpointPhase as StorePhase, StoreStatus};
use rustc_hash::FxHashMap;

use crate::lock_words::LockWords;
use crate::monitor::{self, ms};
use crate::shared::Shared;
use crate::slow::Slow;
use crate::status::{ms_since_1970, status};

/// What only the reactor knows.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// When it began to gather.
    pub began: Instant,
    /// Who has said hello, by number.
    pub rows: Vec<Row>,
    /// Who is admitted to write.
    pub writers: Vec<u64>,
    /// The open transaction of each session that has one.
    pub transactions: FxHashMap<u64, u64>,
    /// Sessions, and transactions that are open.
    pub counts: (u64, u64),
    /// Connections that were ever let in.
    pub connections: u64,
}

/// Puts a picture together.
///
/// # Errors
/// Of the graph.
pub(crate) fn take(shared: &Shared, gathered: Gathered) -> Result<Picture, WireError> {
    let Gathered { began, mut rows, writers, transactions, counts, connections } = gathered;
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let locks = shared.db.locks().picture();
    let store = shared.db.store().status_at_once();
    monitor::complete(&mut rows, &locks, shared);
    let told = monitor::locks_reply(&locks, &transactions, &mut LockWords::new(&shared.db), &shared.people);
    let (slow, slow_ever) = shared.slow.look();
    let counters = counters(shared, &store, shared.db.locks().counters(), connections, slow_ever);
    let storage = storage(&store, oldest_snapshot(&rows));
    let status = status(shared, store, counts.0, counts.1)?;
    Ok(Picture {
        at_ms: ms(at),
        took_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        status,
        sessions: rows,
        writers,
        locks: told.locks,
        locks_held: told.held,
        locks_awaited: told.awaited,
        deadlocks: told.deadlocks,
        storage,
        compaction: None,
        slow_statements: slow.iter().map(|statement| slow_statement(statement, shared)).collect(),
        counters,
        timeouts: timeouts(shared),
    })
}

fn oldest_snapshot(rows: &[Row]) -> Option<OldestSnapshot> {
    let of = |row: &Row| {
        let lsn = row.snapshot_lsn?;
        Some(OldestSnapshot { session: row.session, lsn, age_ms: row.transaction_ms.unwrap_or(0) })
    };
    rows.iter().filter_map(of).min_by_key(|found| (found.lsn, std::cmp::Reverse(found.age_ms)))
}

fn storage(store: &StoreStatus, oldest_snapshot: Option<OldestSnapshot>) -> Storage {
    let times = &store.log_sync_times;
    Storage {
        file_bytes: store.file_bytes,
        pages: u64::from(store.pages),
        pages_free: u64::from(store.pages_free),
        wal_bytes: store.wal_bytes,
        wal_used_bytes: store.applied.0.saturating_sub(store.redo.0),
        wal_bytes_max: store.wal_bytes_max,
        cache_bytes: store.cache_bytes as u64,
        cache_bytes_max: store.cache_bytes_max as u64,
        pages_resident: store.pages_resident as u64,
        pages_dirty: store.pages_dirty as u64,
        old_version_bytes: store.old_version_bytes,
        old_version_bytes_max: store.old_version_bytes_max,
        readers: store.readers as u64,
        oldest_snapshot,
        checkpoint: checkpoint(store),
        sync_latency: Histogram {
            count: times.count,
            sum_us: times.sum_us,
            max_us: times.max_us,
            buckets: times
                .buckets
                .iter()
                .map(|&(below_us, count)| HistogramBucket { below_us, count })
                .collect(),
        },
    }
}

fn checkpoint(store: &StoreStatus) -> CheckpointState {
    CheckpointState {
        phase: match store.checkpoint.phase {
            StorePhase::Idle => CheckpointPhase::Idle,
            StorePhase::Starting => CheckpointPhase::Starting,
            StorePhase::Writing => CheckpointPhase::Writing,
            StorePhase::Syncing => CheckpointPhase::Syncing,
        },
        pages_done: store.checkpoint.pages_done,
        pages_total: store.checkpoint.pages_total,
        running_ms: store.checkpoint_running.map(ms),
        last_ended_at_ms: store.last_checkpoint.map(|(ago, _)| ms_since_1970(ago)),
        last_took_ms: store.last_checkpoint.map(|(_, took)| ms(took)),
        checkpoints: store.checkpoints,
    }
}

fn counters(
    shared: &Shared,
    store: &StoreStatus,
    locks: LockCounters,
    connections: u64,
    slow: u64,
) -> Counters {
    let counted = &shared.counters;
    Counters {
        connections,
        transactions: counted.transactions.load(Ordering::Relaxed),
        commits: store.commits,
        aborts: counted.aborts.load(Ordering::Relaxed),
        deadlocks: locks.deadlocks,
        lock_waits: locks.waits,
        lock_timeouts: locks.timeouts,
        lock_escalations: locks.escalations,
        timeouts: counted.timeouts.load(Ordering::Relaxed),
        statements: counted.statements.load(Ordering::Relaxed),
        slow_statements: slow,
        page_reads: store.page_reads,
        page_writes: store.page_writes,
        log_syncs: store.log_syncs,
        file_syncs: store.file_syncs,
        log_bytes: store.log_bytes,
    }
}

fn slow_statement(slow: &Slow, shared: &Shared) -> SlowStatement {
    let person = slow.person.as_ref();
    let uid = person.map_or(0, |person| person.peer.uid);
    SlowStatement {
        at_ms: ms(slow.at.duration_since(UNIX_EPOCH).unwrap_or_default()),
        session: slow.session,
        pid: person.map_or(0, |person| person.peer.pid),
        uid,
        user: person.and_then(|_| shared.people.user_name(uid)),
        client: person.map_or(String::new(), |person| person.client.clone()),
        transaction: slow.transaction,
        statement: slow.text.to_string(),
        took_ms: ms(slow.took),
        wait_ms: Some(ms(slow.waited)),
        rows: slow.rows,
        error: slow.error.as_ref().map(ToString::to_string),
    }
}

fn timeouts(shared: &Shared) -> Timeouts {
    let config = &shared.config;
    let or_never = |ms: u64| Some(ms).filter(|ms| *ms > 0);
    Timeouts {
        statement_ms: or_never(config.statement_timeout_ms),
        lock_ms: or_never(config.lock_timeout_ms),
        idle_in_transaction_ms: or_never(config.idle_in_transaction_timeout_ms),
        idle_ms: or_never(config.idle_timeout_ms),
        slow_statement_ms: config.slow_statement_ms,
    }
}
