//! Salvage: copies what can be read of a damaged database into a new one, and lists what could not.
//!
//! Nothing is repaired, and nothing guessed. Nodes come from their table's pages, which say which they are: so a damaged
//! directory hides none. Edges come from theirs, not from adjacency, which is made anew. A node or edge whose property
//! record or long value cannot be read comes without it; an edge comes if both its ends do.
//!
//! Slots of the new database are filled in the order of the old ones, without gaps; ids are new.

mod copy;
mod source;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use graphite_store::clock::Clock;
use graphite_store::disk::Disk;
use graphite_store::{LogProblem, Store, StoreOptions, Sweep, wal_dir};

use self::copy::Copier;
use self::source::Source;
use crate::catalog::Catalog;
use crate::check::{CheckReport, Problem, Progress, is_known_format};
use crate::{Error, GraphDb, Result};

/// What was salvaged.
#[derive(Clone, Debug, Default)]
pub struct SalvageReport {
    /// Nodes that are in the new database.
    pub nodes: u64,
    /// Edges that are in it.
    pub edges: u64,
    /// Nodes that could be read, and not all of their labels or properties.
    pub nodes_incomplete: u64,
    /// Edges that could be read, and not all of their properties or the name of their type.
    pub edges_incomplete: u64,
    /// Edges that could be read, and an end of them could not.
    pub edges_without_end: u64,
    /// What could not be read; at most [`PROBLEMS_MAX`](crate::check::PROBLEMS_MAX).
    pub lost: Vec<Problem>,
    /// How many more there are.
    pub lost_not_listed: u64,
}

/// Copies what can be read of the database at `path`, which nobody has open and which is not changed, to a new one at
/// `out`.
///
/// # Errors
/// Of `Store::look`; `PermissionDenied` at the log; `AlreadyExists` if there is anything at `out` or at the place of its
/// log; of the new database, which is then not whole.
pub fn salvage(
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    path: &Path,
    out: &Path,
    options: StoreOptions,
    progress: &Progress<'_>,
) -> Result<SalvageReport> {
    for taken in [out, &wal_dir(out)] {
        let io = |error| graphite_store::Error::io("create", taken, &error);
        if disk.exists(taken).map_err(io)? {
            return Err(io(std::io::ErrorKind::AlreadyExists.into()).into());
        }
    }
    let looked = Store::look(disk.clone(), clock.clone(), path, options.cache_bytes)?;
    let snapshot = looked.store.snapshot()?;
    is_known_format(&looked.store, &snapshot)?;
    let mut lost = CheckReport::default();
    if let Some(error) = looked.log_unread {
        // A permission can be given; what a bad place held is gone.
        if matches!(&error, graphite_store::Error::Io { kind: ErrorKind::PermissionDenied, .. }) {
            return Err(error.into());
        }
        let why = if looked.log_bytes == 0 {
            format!("{error}. The commits that are only in the log are lost")
        } else {
            let end = looked.log_end;
            format!(
                "{error}. The log was replayed up to {end}; commits above that, if there were any, are lost"
            )
        };
        lost.add(Problem::of_log(LogProblem { page: None, lsn: None, why }));
    }
    looked.problems.into_iter().for_each(|problem| lost.add(Problem::of_log(problem)));
    let sweep = Sweep::new(&snapshot);
    let (catalog, unnamed) = Catalog::load_readable(&sweep);
    if let Some(error) = unnamed {
        tell(&mut lost, "names of labels, types and keys", error)?;
    }
    let source = Source::find(&sweep, &mut lost, progress)?;
    sweep.disk_answers()?;
    let db = GraphDb::open(disk.clone(), clock.clone(), out, StoreOptions { create: true, ..options })?;
    db.store().start_threads();
    let mut copier = Copier::new(&source, &catalog, &db, lost, progress);
    copier.copy()?;
    // What could not be read since would else be told as lost.
    sweep.disk_answers()?;
    let report = copier.report();
    db.store().close()?;
    Ok(report)
}

/// Notes damage; what is none ends the salvage.
fn tell(lost: &mut CheckReport, what: &str, error: Error) -> Result<()> {
    if !error.is_damage() {
        return Err(error);
    }
    lost.add(Problem::of_error(what, &error));
    Ok(())
}
