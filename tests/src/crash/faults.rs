//! Every operation of the disk fails in turn, once or from then on; also for want of space.
//!
//! Whatever fails, its caller hears of it, nothing that was acknowledged is lost, and a database that can no longer promise
//! anything goes on being read and takes no more changes. Opened again on a disk that works, it stands at a commit.

use std::io::ErrorKind;

use graphite_graph::{Error, View};
use graphite_store::disk::{Fault, OpKind, Outcome, SimDisk};

use super::explore::stands_at;
use super::recorder::{Recorder, Run, record};
use super::{Workload, exists};

/// What came of all failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Scripts that were run, each with one failure.
    pub runs: u64,
    /// In how many the database could not be opened, or made.
    pub not_opened: u64,
    /// In how many the database took no more changes.
    pub poisoned: u64,
    /// In how many a change was refused, and the next ones might not be.
    pub refused: u64,
    /// In how many nobody had to hear of it.
    pub unnoticed: u64,
}

/// Runs a script once for every operation of the disk and every way in which it may fail.
///
/// # Panics
/// If something was lost, or was acknowledged and should not have been.
pub fn fail_everywhere(workload: Workload) -> Failures {
    let run = record(workload, 0).unwrap_or_else(|error| panic!("{}: {error}", workload.name));
    let (changes, reads) = (run.disk.ops(), run.disk.counters().reads);
    let mut failures = Failures::default();
    for at in 0..changes {
        for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
            let fault = Fault::on_any_change().after(at).with(kind);
            fail(&run, fault.clone(), &mut failures);
            fail(&run, fault.forever(), &mut failures);
        }
    }
    for at in 0..reads {
        let fault = Fault::on(OpKind::Read).after(at);
        fail(&run, fault.clone(), &mut failures);
        fail(&run, fault.forever(), &mut failures);
    }
    failures
}

fn fail(run: &Run, fault: Fault, failures: &mut Failures) {
    let what = format!("{} with {fault:?}", run.workload.name);
    let disk = SimDisk::new();
    disk.inject(fault);
    failures.runs += 1;
    let acknowledged = match Recorder::open(&run.workload, run.round, &disk) {
        Ok(mut recorder) => {
            let done = (run.workload.script)(&mut recorder);
            heard(&what, &recorder, done.err(), &disk, failures);
            recorder.acknowledged()
        }
        Err(error) => {
            expected(&what, &error);
            failures.not_opened += 1;
            None
        }
    };
    disk.clear_faults();
    for left in [disk.process_crash(), disk.power_cut(Outcome::LoseAll), disk.power_cut(Outcome::Random(1))] {
        if !exists(&left) {
            assert!(acknowledged.is_none(), "{what}: the database is gone");
            continue;
        }
        let found = stands_at(run, &left).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert!(
            Some(found) >= acknowledged,
            "{what}: {acknowledged:?} was acknowledged, and {found} is left"
        );
    }
}

/// What the database says of itself after the script heard `error`, or none.
fn heard(what: &str, recorder: &Recorder, error: Option<Error>, disk: &SimDisk, failures: &mut Failures) {
    let db = recorder.db();
    if let Some(error) = &error {
        expected(what, error);
    }
    if db.store().poisoned().is_none() {
        failures.refused += u64::from(error.is_some());
        failures.unnoticed += u64::from(error.is_none());
        return;
    }
    failures.poisoned += 1;
    disk.clear_faults();
    let changed = db.begin().and_then(|mut tx| {
        tx.create_node(&[], &[])?;
        tx.commit()
    });
    assert!(changed.is_err(), "{what}: a poisoned database takes changes");
    let read = db.snapshot().and_then(|snapshot| snapshot.node_count());
    assert!(read.is_ok(), "{what}: a poisoned database is still read, and says {read:?}");
}

/// Fails if the error is not one that a failing disk explains.
fn expected(what: &str, error: &Error) {
    use graphite_store::Error::{DiskFull, Io, Poisoned};
    let Error::Store(Io { .. } | DiskFull { .. } | Poisoned { .. }) = error else {
        panic!("{what}: the disk failed, and the error says {error}");
    };
}
