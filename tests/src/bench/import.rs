//! Imports by the command that users have for it, each into a new database, with default settings.

use std::path::PathBuf;
use std::time::Instant;

use super::daemon::Daemon;
use super::graph::Graph;
use super::report::{Gate, Line, Report, Series, Unit};
use super::{Bench, Result, limits, proc_files};

const IMPORT_SECONDS_MAX: f64 = 4.0;
const FILE_BYTES_MAX: f64 = 150e6;

/// Imports the graph into the daemon's database, and makes sure that all of it is there; returns the seconds.
pub(crate) fn import(bench: &Bench, daemon: &Daemon) -> Result<f64> {
    let before = daemon.status()?;
    let took = bench.programs.import(daemon, &bench.graph)?;
    let after = daemon.status()?;
    let Graph { nodes, edges, .. } = &bench.graph;
    let (found_nodes, found_edges) = (after.nodes - before.nodes, after.edges - before.edges);
    if (found_nodes, found_edges) != (*nodes as u64, edges.len() as u64) {
        let wanted = edges.len();
        return Err(format!(
            "the import made {found_nodes} nodes and {found_edges} edges, not {nodes} and {wanted}"
        )
        .into());
    }
    Ok(took.as_secs_f64())
}

/// Returns the last of the databases, whose daemon has left.
pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<PathBuf> {
    eprintln!("import");
    let mut seconds = Series::new("import", Unit::Seconds);
    let mut write = Series::new("a file of that size, written and synced", Unit::Seconds);
    let mut checkpoint = Series::new("checkpoint after it (not waited for by the import)", Unit::Seconds);
    let mut file = Series::new("file after import and checkpoint", Unit::Bytes);
    let mut wal = Series::new("log after import (allocated, recycled)", Unit::Bytes);
    let mut peak = Series::new("peak memory of the daemon during import", Unit::Bytes);
    let mut database: Option<PathBuf> = None;
    for round in 0..bench.rounds {
        if let Some(db) = database.take() {
            bench.remove(&db)?;
        }
        let db = bench.database(&format!("import-{round}"))?;
        let daemon = Daemon::start(&bench.programs, &db, &[])?;
        seconds.push(import(bench, &daemon)?);
        peak.push(proc_files::memory(daemon.pid())?.peak as f64);
        wal.push(daemon.wal_bytes()? as f64);
        let before = daemon.file_bytes()?;
        let began = Instant::now();
        daemon.connect()?.checkpoint()?;
        checkpoint.push(began.elapsed().as_secs_f64());
        let bytes = daemon.file_bytes()?.max(before);
        file.push(bytes as f64);
        daemon.stop()?;
        write.push(limits::write_file(bench.work.path(), bytes)?.as_secs_f64());
        database = Some(db);
    }
    report.add(Line::new(seconds).limit(&write).gate(Gate::AtMost(IMPORT_SECONDS_MAX)));
    report.add(Line::new(checkpoint));
    report.add(Line::new(file).gate(Gate::AtMost(FILE_BYTES_MAX)));
    report.add(Line::new(wal));
    report.add(Line::new(peak));
    database.ok_or_else(|| "no round was run".into())
}
