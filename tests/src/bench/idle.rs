//! A daemon that has nothing to do: what it takes of memory and of the processor.

use std::path::Path;
use std::time::Duration;

use graphite_tests::proc_files::wakeups as wakeups_of;

use super::daemon::Daemon;
use super::report::{Gate, Line, Report, Series, Unit};
use super::{Bench, Result, proc_files};

const RESIDENT_BYTES_MAX: f64 = 24e6;
/// Ticks are of a hundredth of a second; one can be a remainder of the start.
const TICKS_MAX: f64 = 1.0;
/// The start has come to its end by then.
const SETTLE: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(5);
const ROUNDS_MAX: u32 = 3;

/// Measures with a new database, and with the graph's if there is one.
pub(crate) fn measure(bench: &Bench, report: &mut Report, database: Option<&Path>) -> Result<()> {
    eprintln!("idle");
    let empty = bench.database("idle")?;
    watch(bench, report, "empty database", &empty)?;
    database.map_or(Ok(()), |db| watch(bench, report, "database with the graph", db))
}

fn watch(bench: &Bench, report: &mut Report, what: &str, db: &Path) -> Result<()> {
    let mut resident = Series::new(format!("idle daemon, {what}: memory"), Unit::Bytes);
    let mut ticks = Series::new(format!("idle daemon, {what}: CPU ticks (10 ms) in 5 s"), Unit::Number);
    let mut wakeups = Series::new(format!("idle daemon, {what}: wakeups in 5 s"), Unit::Number);
    for _ in 0..bench.rounds_of(ROUNDS_MAX) {
        let daemon = Daemon::start(&bench.programs, db, &[])?;
        let pid = daemon.pid();
        std::thread::sleep(SETTLE);
        let before = (proc_files::cpu_ticks(pid)?, wakeups_of(pid));
        std::thread::sleep(WATCHED);
        ticks.push((proc_files::cpu_ticks(pid)? - before.0) as f64);
        wakeups.push(wakeups_of(pid).saturating_sub(before.1) as f64);
        resident.push(proc_files::memory(pid)?.resident as f64);
        daemon.stop()?;
    }
    report.add(Line::new(resident).gate(Gate::AtMost(RESIDENT_BYTES_MAX)));
    report.add(Line::new(ticks).gate(Gate::AtMost(TICKS_MAX)));
    report.add(Line::new(wakeups));
    Ok(())
}
