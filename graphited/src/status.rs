//! The daemon's state, as `status` answers and pictures hold it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use graphite_protocol::WireError;
use graphite_protocol::messages::{Durability as WireDurability, StatusReply};
use graphite_store::StoreStatus;

use crate::config::Durability;
use crate::errors;
use crate::shared::Shared;

/// The state, with so many sessions and open transactions.
///
/// # Errors
/// Of the graph.
pub(crate) fn status(
    shared: &Shared,
    store: StoreStatus,
    sessions: u64,
    transactions: u64,
) -> Result<StatusReply, WireError> {
    let graph = shared.db.status().map_err(|error| errors::of_graph(&error))?;
    let ms = |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    let durable = shared.config.durability == Durability::On;
    Ok(StatusReply {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_ms: ms(shared.started),
        database: shared.database.display().to_string(),
        format_version: graphite_store::FORMAT_VERSION,
        durability: if durable { WireDurability::On } else { WireDurability::Off },
        read_only: store.poisoned.is_some(),
        poisoned: store.poisoned,
        nodes: graph.nodes,
        edges: graph.edges,
        sessions,
        sessions_max: shared.config.sessions_max,
        transactions,
        file_bytes: store.file_bytes,
        wal_bytes: store.wal_bytes,
        wal_used_bytes: store.applied.0.saturating_sub(store.redo.0),
        pages: u64::from(store.pages),
        pages_free: u64::from(store.pages_free),
        cache_bytes: store.cache_bytes as u64,
        cache_bytes_max: store.cache_bytes_max as u64,
        cache_misses: store.page_reads,
        dirty_pages: store.pages_dirty as u64,
        visible_lsn: store.visible.0,
        applied_lsn: store.applied.0,
        durable_lsn: store.visible.0,
        horizon_lsn: store.oldest_reader.map_or(store.visible.0, |oldest| oldest.0.min(store.visible.0)),
        checkpoint_lsn: store.redo.0,
        checkpoint_at_ms: store.last_checkpoint.map(|(ago, _)| ms_since_1970(ago)),
        checkpoints: store.checkpoints,
        commits: store.commits,
        aborts: shared.counters.aborts.load(Ordering::Relaxed),
        deadlocks: shared.db.locks().counters().deadlocks,
        syncs: store.log_syncs,
        statements: shared.counters.statements.load(Ordering::Relaxed),
    })
}

/// The system's time so long ago, in milliseconds since 1970.
pub(crate) fn ms_since_1970(ago: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.saturating_sub(ago).as_millis()).unwrap_or(u64::MAX)
}
