//! What a crash with a full log costs the next start, and how fast a check reads.
//!
//! The log is filled by commits of one edge each on the loaded graph, without the daemon's threads, so that no checkpoint
//! comes; then file and log are copied as they are, which is what a crash of the process leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use graphite_graph::{GraphDb, NodeId, View};
use graphite_store::clock::RealClock;
use graphite_store::disk::RealDisk;
use graphite_store::{StoreOptions, wal_dir};

use super::daemon::Daemon;
use super::import::import;
use super::limits::read_file;
use super::random::Random;
use super::report::{Gate, Line, Report, Series, Unit};
use super::{Bench, Result, at};

const READY_SECONDS_MAX: f64 = 1.5;
const BYTES_PER_SECOND_MIN: f64 = 300e6;
const ROUNDS_MAX: u32 = 3;
/// Edges between two looks at the log.
const EDGES_AT_A_TIME: usize = 1000;
/// Nodes that one look takes.
const SCAN: usize = 1 << 20;

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    eprintln!("recovery");
    let db = bench.database("crashed")?;
    let daemon = Daemon::start(&bench.programs, &db, &[])?;
    import(bench, &daemon)?;
    daemon.stop()?;
    let crashed = Crashed::make(&db, &bench.database("left")?)?;

    let mut rate = Series::new("recovery: log replayed in a second", Unit::BytesPerSecond);
    let mut ready = Series::new("start of a daemon after a crash with a full log", Unit::Seconds);
    let mut check = Series::new("check: bytes of the file in a second", Unit::BytesPerSecond);
    let mut read = Series::new("read and sum up a file of that size", Unit::BytesPerSecond);
    let mut log = Series::new("log from the redo point on", Unit::Bytes);
    for _ in 0..bench.rounds_of(ROUNDS_MAX) {
        crashed.put(&db)?;
        let began = Instant::now();
        let recovered = open(&db)?;
        let took = began.elapsed().as_secs_f64();
        drop(recovered);
        log.push(crashed.log_bytes as f64);
        rate.push(crashed.log_bytes as f64 / took);

        crashed.put(&db)?;
        let began = Instant::now();
        let daemon = Daemon::start(&bench.programs, &db, &[])?;
        ready.push(began.elapsed().as_secs_f64());
        daemon.connect()?.checkpoint()?;
        daemon.stop()?;

        let bytes = fs::metadata(&db).map_err(at(&db))?.len() as f64;
        check.push(bytes / bench.programs.check(&db)?.as_secs_f64());
        read.push(bytes / read_file(&db)?.as_secs_f64());
    }
    bench.remove(&crashed.db)?;
    bench.remove(&db)?;
    report.add(Line::new(rate).gate(Gate::AtLeast(BYTES_PER_SECOND_MIN)));
    report.add(Line::new(ready).gate(Gate::AtMost(READY_SECONDS_MAX)));
    report.add(Line::new(log));
    report.add(Line::new(check).limit(&read).gate(Gate::AtLeast(BYTES_PER_SECOND_MIN)));
    Ok(())
}

fn open(db: &Path) -> Result<GraphDb> {
    Ok(GraphDb::open(Arc::new(RealDisk), Arc::new(RealClock::default()), db, StoreOptions::default())?)
}

/// What a crash left: the file, and a log that is as full as it gets.
struct Crashed {
    db: PathBuf,
    /// From the redo point on.
    log_bytes: u64,
}

impl Crashed {
    fn make(db: &Path, copy: &Path) -> Result<Crashed> {
        let graph = open(db)?;
        let ids: Vec<NodeId> =
            graph.snapshot()?.scan_nodes(None, None, SCAN)?.found.iter().map(|head| head.id).collect();
        let type_ = graph.type_id_or_create("CRASHED")?;
        let mut random = Random::new(11);
        let mut pick = || ids[random.below(ids.len())];
        let log_bytes = loop {
            for _ in 0..EDGES_AT_A_TIME {
                let mut tx = graph.begin()?;
                tx.create_edge(pick(), type_, pick(), &[])?;
                tx.commit()?;
            }
            let store = graph.store();
            store.wait_visible(store.applied_lsn())?;
            let status = store.status();
            // A turn that found less room than the largest transaction needs, and a segment, would begin a checkpoint.
            let kept = status.wal_bytes_max / 4 + status.wal_bytes_max / 8;
            let log_bytes = status.applied.0 - status.redo.0;
            if log_bytes + kept > status.wal_bytes_max {
                break log_bytes;
            }
        };
        copy_database(db, copy)?;
        Ok(Crashed { db: copy.to_owned(), log_bytes })
    }

    /// Puts it in the place of a database.
    fn put(&self, db: &Path) -> Result<()> {
        fs::remove_file(db).map_err(at(db))?;
        fs::remove_dir_all(wal_dir(db)).map_err(at(db))?;
        copy_database(&self.db, db)
    }
}

fn copy_database(from: &Path, to: &Path) -> Result<()> {
    copy_file(from, to)?;
    let (from, to) = (wal_dir(from), wal_dir(to));
    fs::create_dir(&to).map_err(at(&to))?;
    for entry in fs::read_dir(&from).map_err(at(&from))? {
        let entry = entry?;
        copy_file(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Synced, for else the recovery's first sync would have to write all of it.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map_err(at(from))?;
    fs::File::open(to).and_then(|file| file.sync_all()).map_err(at(to))
}
