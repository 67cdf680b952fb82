//! Crashes a small workload at every operation of the disk, with several outcomes each, and again inside recovery.
//!
//! The workload commits (some bulk), frees and reuses pages, checkpoints and recycles its log. After every crash the
//! database must open, stand exactly at some commit that is not older than the last acknowledged one, and go on.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use graphite_store::disk::{Outcome, SimDisk};
use graphite_store::{Error, Store};
use support::{Run, commit, open, options, run, verify, verify_ownership};

/// Opens what a crash left; checks it; commits on; returns the commit that was found and the disk's next state.
fn survive(run: &Run, disk: &SimDisk, acknowledged: u64, what: &str) -> (u64, Store) {
    assert!(exists(disk), "{what}: the database is gone");
    let store = open(disk).unwrap_or_else(|e| panic!("{what}: {e}"));
    let snapshot = store.snapshot().unwrap();
    let found = verify(&snapshot, &run.models);
    assert!(
        found >= acknowledged,
        "{what}: commit {acknowledged} was acknowledged, and {found} is what is left"
    );
    verify_ownership(&snapshot, &run.models[found as usize]);
    (found, store)
}

#[test]
fn every_operation_is_a_place_where_a_crash_loses_nothing() {
    let run = run(150);
    let ops = run.disk.ops();
    let mut states = 0;
    for op in 0..ops {
        let acknowledged = run.acknowledged(op);
        let outcomes = [
            Outcome::LoseAll,
            Outcome::KeepAll,
            Outcome::LoseAllButLast,
            Outcome::KeepAllButLast,
            Outcome::Random(op),
            Outcome::Random(op + 1_000_000),
        ];
        for outcome in outcomes {
            let disk = run.disk.after_op(op).unwrap().power_cut(outcome);
            let what = format!("power cut after operation {op}, {outcome:?}");
            if !exists(&disk) {
                assert_eq!(acknowledged, 0, "{what}: the database is gone");
                continue;
            }
            survive(&run, &disk, acknowledged, &what);
            states += 1;
        }
        // Killed, then opened, then a power cut: what was shown must not be taken back.
        let disk = run.disk.after_op(op).unwrap();
        if exists(&disk) {
            let what = format!("kill after operation {op}");
            let (shown, store) = survive(&run, &disk, acknowledged, &what);
            drop(store);
            for outcome in [Outcome::LoseAll, Outcome::Random(op)] {
                survive(
                    &run,
                    &disk.power_cut(outcome),
                    shown,
                    &format!("{what}, then power cut {outcome:?}"),
                );
                states += 1;
            }
        }
    }
    println!("{states} crash states over {ops} operations");
    assert!(states > 2_000, "only {states} states: the workload shrank");
}

/// A killed life leaves names and bytes that are seen and not synced; what the next one builds on them must last.
#[test]
fn what_is_committed_after_a_kill_survives_a_power_cut() {
    let run = run(60);
    let mut states = 0;
    for op in 0..run.disk.ops() {
        let disk = run.disk.after_op(op).unwrap();
        if !exists(&disk) {
            continue;
        }
        let what = format!("kill after operation {op}, then six commits");
        let (found, store) = survive(&run, &disk, run.acknowledged(op), &what);
        let mut models = run.models[..=found as usize].to_vec();
        for k in found + 1..=found + 6 {
            let (lsn, model) = commit(&store, &models[k as usize - 1], k).unwrap();
            store.wait_visible(lsn).unwrap();
            models.push(model);
        }
        drop(store);
        let next = Run { disk: disk.clone(), models, acknowledged_at: Vec::new() };
        for outcome in [Outcome::LoseAll, Outcome::Random(op)] {
            survive(
                &next,
                &disk.power_cut(outcome),
                found + 6,
                &format!("{what}, then power cut {outcome:?}"),
            );
            states += 1;
        }
    }
    assert!(states > 250, "only {states} states");
}

fn exists(disk: &SimDisk) -> bool {
    disk.files().iter().any(|path| path.as_os_str() == support::PATH)
}

#[test]
fn crashes_inside_recovery_and_inside_the_recovery_of_that() {
    let run = run(60);
    let ops = run.disk.ops();
    let mut states = 0;
    for op in (ops / 3..ops).step_by(5) {
        let acknowledged = run.acknowledged(op);
        let first = run.disk.after_op(op).unwrap().power_cut(Outcome::Random(op));
        if !exists(&first) {
            continue;
        }
        first.keep_history();
        let (found, store) = survive(&run, &first, acknowledged, "first recovery");
        drop(store);
        for again in 0..first.ops() {
            let what = format!("crash at {op}, then in recovery at {again}");
            let second = first.after_op(again).unwrap().power_cut(Outcome::Random(again * 31 + op));
            second.keep_history();
            let (second_found, store) = survive(&run, &second, acknowledged, &what);
            assert!(second_found <= found, "{what}: recovery made commits up");
            drop(store);
            for third in 0..second.ops() {
                let disk = second.after_op(third).unwrap().power_cut(Outcome::Random(third * 17 + again));
                survive(&run, &disk, acknowledged, &format!("{what}, then again at {third}"));
                states += 1;
            }
        }
    }
    println!("{states} states of two crashes inside recovery");
    assert!(states > 500, "only {states} states");
}

#[test]
fn life_goes_on_after_a_crash_and_survives_the_next() {
    let mut run = run(25);
    let op = run.disk.ops() - 3;
    let mut disk = run.disk.after_op(op).unwrap().power_cut(Outcome::Random(5));
    let mut acknowledged = run.acknowledged(op);
    for life in 0..12 {
        let (found, store) = survive(&run, &disk, acknowledged, &format!("life {life}"));
        run.models.truncate(found as usize + 1);
        let mut last = store.applied_lsn();
        for k in found + 1..=found + 9 {
            let (lsn, model) = commit(&store, &run.models[k as usize - 1], k).unwrap();
            run.models.push(model);
            last = lsn;
            if k == found + 5 {
                store.wait_visible(lsn).unwrap();
                acknowledged = k;
            }
        }
        assert!(last > store.visible_lsn());
        drop(store);
        disk = disk.power_cut(Outcome::Random(life));
    }
}

#[test]
fn a_clean_shutdown_is_found_clean_and_keeps_everything() {
    let run = run(20);
    let store = {
        let disk = run.disk.process_crash();
        let (found, store) = survive(&run, &disk, run.acknowledged(run.disk.ops()), "reopening");
        store.close().unwrap();
        assert!(matches!(store.turn().map(|_| ()), Err(Error::Closed)));
        let next = disk.power_cut(Outcome::LoseAll);
        let (again, store) = survive(&run, &next, found, "after a clean shutdown");
        assert_eq!(again, found);
        store
    };
    assert!(store.status().log_bytes == 0, "nothing had to be written to open it");
    assert_eq!(store.options().wal_bytes, options().wal_bytes);
}
