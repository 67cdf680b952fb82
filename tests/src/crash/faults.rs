//! Every operation of the disk fails in turn, once or from then on; also for want of space, and in openings after a crash.
//!
//! Whatever fails, its caller hears of it, nothing that was acknowledged is lost, and a database that can no longer promise
//! anything goes on being read and takes no more changes. Opened again on a disk that works, it stands at a commit.

use std::io::ErrorKind;

use graphite_graph::{Error, GraphDb, View};
use graphite_store::disk::{Counters, Fault, OpKind, Outcome, SimDisk};

use super::explore::stands_at;
use super::picture::Picture;
use super::recorder::{Recorder, Run, new_disk, record};
use super::{Workload, exists, workloads};

/// What came of all failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Scripts that were run, each with one failure.
    pub runs: u64,
    /// In how many the database could not be opened, or made.
    pub not_opened: u64,
    /// How many openings failed of what crashes had left.
    pub openings_failed: u64,
    /// In how many the database took no more changes.
    pub poisoned: u64,
    /// In how many a change was refused, and the next ones might not be.
    pub refused: u64,
    /// In how many nobody had to hear of it.
    pub unnoticed: u64,
}

/// Which failure alone is to be tried, if not all: a script and a number.
const ONLY: &str = "GRAPHITE_FAULT";

/// All failures of one script, one after another.
struct Trial {
    run: Run,
    /// How many were met, or passed over.
    met: u64,
    only: Option<u64>,
    failures: Failures,
}

impl Trial {
    fn new(workload: Workload) -> Trial {
        let run = record(workload, 0).unwrap_or_else(|error| panic!("{}: {error}", workload.name));
        let only = std::env::var(ONLY).ok().map(|only| {
            let (name, number) = only.split_once('/').expect("a script's name, / and a number");
            // Of the other scripts none is the one.
            if name == workload.name { number.parse().expect("a number") } else { u64::MAX }
        });
        Trial { run, met: 0, only, failures: Failures::default() }
    }

    /// Words for the next failure, if it is to be tried.
    fn next(&mut self, fault: &Fault) -> Option<String> {
        let (name, number) = (self.run.workload.name, self.met);
        self.met += 1;
        let is_wanted = self.only.is_none_or(|only| only == number);
        is_wanted.then(|| {
            self.failures.runs += 1;
            format!(
                "{name} with {fault:?} (again: {ONLY}='{name}/{number}' cargo test -p graphite-tests --test disk_failures)"
            )
        })
    }

    /// Whatever is left stands at a commit, and at none before the one that was acknowledged.
    fn keeps(&self, what: &str, oracle: &Run, disk: &SimDisk, acknowledged: Option<usize>) {
        disk.clear_faults();
        let crashed = disk.process_crash();
        for left in [crashed, disk.power_cut(Outcome::LoseAll), disk.power_cut(Outcome::Random(1))] {
            if !exists(&left) {
                assert!(acknowledged.is_none(), "{what}: the database is gone");
                continue;
            }
            let found = stands_at(oracle, &left).unwrap_or_else(|why| panic!("{what}: {why}"));
            assert!(
                Some(found) >= acknowledged,
                "{what}: {acknowledged:?} was acknowledged, and {found} is left"
            );
        }
    }
}

/// Every way in which one of so many operations may fail.
fn faults(changes: u64, counters: Counters) -> Vec<Fault> {
    let both = |fault: Fault| [fault.clone(), fault.forever()];
    let change = |at| {
        let kinds = [ErrorKind::Other, ErrorKind::StorageFull];
        kinds.into_iter().flat_map(move |kind| both(Fault::on_any_change().after(at).with(kind)))
    };
    let of_kind = |kind, count| (0..count).flat_map(move |at| both(Fault::on(kind).after(at)));
    let looks = of_kind(OpKind::Look, counters.looks);
    (0..changes).flat_map(change).chain(of_kind(OpKind::Read, counters.reads)).chain(looks).collect()
}

/// Runs a script once for every operation of the disk and every way in which it may fail; then opens what crashes of the
/// script left, once for every operation of that.
///
/// # Panics
/// If something was lost, or was acknowledged and should not have been.
pub fn fail_everywhere(workload: Workload) -> Failures {
    let mut trial = Trial::new(workload);
    for fault in faults(trial.run.disk.ops(), trial.run.disk.counters()) {
        if let Some(what) = trial.next(&fault) {
            fail(&mut trial, &what, fault);
        }
    }
    let ops = trial.run.disk.ops();
    for op in [ops / 3, ops * 2 / 3, ops - 1] {
        let after = trial.run.disk.after_op(op).expect("the run kept its history");
        let crashed = after.process_crash();
        for left in [crashed, after.power_cut(Outcome::Random(op))] {
            if exists(&left) {
                fail_openings(&mut trial, &left, op);
            }
        }
    }
    trial.failures
}

fn fail(trial: &mut Trial, what: &str, fault: Fault) {
    let (workload, round) = (trial.run.workload, trial.run.round);
    let disk = new_disk();
    disk.inject(fault);
    let mut recorder = match Recorder::open(&workload, round, &disk) {
        Ok(recorder) => recorder,
        Err(error) => {
            expected(what, &error);
            trial.failures.not_opened += 1;
            return trial.keeps(what, &trial.run, &disk, None);
        }
    };
    let error = (workload.script)(&mut recorder).err();
    let is_refused = heard(what, &recorder, error, &disk, &mut trial.failures);
    if is_refused {
        // What was refused left nothing behind, and the next commits are as good as any.
        disk.clear_faults();
        let now = stands_now(&trial.run, recorder.db());
        assert!(now.is_some(), "{what}: a change was refused, and something of it is there");
        let further = workloads::further(&mut recorder);
        assert!(further.is_ok(), "{what}: after a change was refused it does not go on: {further:?}");
    }
    let acknowledged = recorder.acknowledged();
    let own = is_refused.then(|| recorder.into_run(workload, round));
    trial.keeps(what, own.as_ref().unwrap_or(&trial.run), &disk, acknowledged);
}

/// What a crash left is opened, and every operation of that fails.
fn fail_openings(trial: &mut Trial, left: &SimDisk, op: u64) {
    let (workload, acknowledged) = (trial.run.workload, trial.run.acknowledged(op));
    let sound = left.fork();
    workload.open(&sound).unwrap_or_else(|error| panic!("{}, {op}: {error}", workload.name));
    for fault in faults(sound.ops(), sound.counters()) {
        let Some(what) = trial.next(&fault) else { continue };
        let disk = left.fork();
        disk.inject(fault);
        let shown = match workload.open(&disk) {
            Ok(db) => {
                let is_poisoned = db.store().poisoned().is_some();
                trial.failures.poisoned += u64::from(is_poisoned);
                trial.failures.unnoticed += u64::from(!is_poisoned);
                disk.clear_faults();
                stands_now(&trial.run, &db)
            }
            Err(error) => {
                expected(&what, &error);
                trial.failures.openings_failed += 1;
                None
            }
        };
        trial.keeps(&what, &trial.run, &disk, acknowledged.max(shown));
    }
}

/// The commit at which a database stands that is open.
fn stands_now(run: &Run, db: &GraphDb) -> Option<usize> {
    let picture = db.snapshot().and_then(|snapshot| Picture::of(db, &snapshot)).ok()?;
    run.pictures.iter().rposition(|one| *one == picture)
}

/// What the database says of itself after the script heard `error`, or none. Tells whether a change was refused, and the
/// next ones need not be.
fn heard(
    what: &str,
    recorder: &Recorder,
    error: Option<Error>,
    disk: &SimDisk,
    failures: &mut Failures,
) -> bool {
    let db = recorder.db();
    if let Some(error) = &error {
        expected(what, error);
    }
    if db.store().poisoned().is_none() {
        failures.refused += u64::from(error.is_some());
        failures.unnoticed += u64::from(error.is_none());
        return error.is_some();
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
    false
}

/// Fails if the error is not one that a failing disk explains.
fn expected(what: &str, error: &Error) {
    use graphite_store::Error::{DiskFull, Io, Poisoned};
    let Error::Store(Io { .. } | DiskFull { .. } | Poisoned { .. }) = error else {
        panic!("{what}: the disk failed, and the error says {error}");
    };
}
