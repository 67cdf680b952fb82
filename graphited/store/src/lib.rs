//! Graphite's bytes: disk, pages, log, cache, checkpoint, recovery.
//!
//! This crate knows pages, log groups and LSNs, never nodes or edges. Whoever builds on it sees four things:
//!
//! - [`PageReader`] and [`PageWriter`]: how sequential code (B+trees, record pages, the graph's tables)
//!   reads and changes pages, as if it were alone in the world;
//! - `Store`: the engine that hands out snapshots (readers) and turns (the one writer), logs, syncs,
//!   checkpoints and recovers;
//! - [`locks`]: the lock manager, which protects what pages mean, and knows nothing of pages;
//! - [`disk::Disk`]: the one door to the file system, so that tests can own what a power cut leaves behind.
#![warn(missing_docs)]

mod allocator;
pub mod btree;
mod cache;
mod checkpoint;
pub mod clock;
pub mod disk;
mod error;
mod histogram;
pub mod locks;
mod look;
mod open;
mod page;
mod pager;
mod prefetch;
mod readers;
pub mod record;
mod recovery;
mod snapshot;
mod spill;
mod store;
mod superblock;
mod sweep;
mod sync;
mod threads;
mod turn;
mod wal;

pub use cache::PageRef;
pub use checkpoint::{CheckpointPhase, CheckpointProgress};
pub use error::{Error, Result};
pub use histogram::LatencyCounts;
pub use look::{LogProblem, Looked};
pub use open::wal_dir;
pub use page::{
    CorruptPage, DatabaseId, Lsn, PAGE_BODY_BYTES, PAGE_BYTES, PAGE_HEADER_BYTES, Page, PageKind, PageNo,
    RawPage,
};
pub use pager::{MemPager, PageReader, PageWriter, STATE_PAGE, STATE_SLOTS};
pub use snapshot::Snapshot;
pub use spill::{Piece, Spill};
pub use store::{Store, StoreOptions, StoreStatus};
pub use superblock::FORMAT_VERSION;
pub use sweep::{PageUse, Sweep, SweptFile, SweptPage};
pub use turn::{Turn, TurnRef};
