//! Crashes a small workload at every operation of the disk, with several outcomes each, and again inside recovery.
//!
//! The workload commits (some bulk), frees and reuses pages, checkpoints and recycles its log. After every crash the
//! database must open, stand exactly at some commit that is not older than the last acknowledged one, and go on.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use graphite_store::clock::SimClock;
use graphite_store::disk::{Outcome, SimDisk};
use graphite_store::{Error, PAGE_BYTES, Store, StoreOptions};
use support::hooked::{Doing, HookedDisk, is_log};
use support::{Model, PATH, Run, commit, open, options, run, verify, verify_ownership};

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
        let next = go_on(&run, &store, found, 6);
        drop(store);
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

/// Commits, some bulk, at every write of a checkpoint to the file, between its superblock copies too; then a crash at
/// every operation of all that, commits in the next life, and another crash.
#[test]
fn crashes_while_turns_go_on_inside_a_checkpoint() {
    let disk = SimDisk::new();
    disk.keep_history();
    let watched = HookedDisk::new(disk.clone());
    // Room for all: a turn that wanted a checkpoint would wait for the one that it is in.
    let options = StoreOptions { cache_bytes: 8 << 20, wal_bytes: 4 << 20, ..options() };
    let clock = Arc::new(SimClock::default());
    let store = Store::open(Arc::new(watched.clone()), clock, Path::new(PATH), options).unwrap();
    let run = Run { disk: disk.clone(), models: vec![Model::default()], acknowledged_at: vec![disk.ops()] };
    let run = Arc::new(Mutex::new(run));
    let next = {
        let (run, store) = (Arc::clone(&run), store.clone());
        move |k: u64| {
            let mut run = run.lock().unwrap();
            let (lsn, model) = commit(&store, run.models.last().unwrap(), k).unwrap();
            // Not each is waited for: what a checkpoint writes then is older than what was committed.
            let is_acknowledged = !k.is_multiple_of(3);
            if is_acknowledged {
                store.wait_visible(lsn).unwrap();
            }
            run.models.push(model);
            let at = if is_acknowledged { run.disk.ops() } else { u64::MAX };
            run.acknowledged_at.push(at);
        }
    };
    let mut inside = 0;
    for _ in 0..4 {
        let first = run.lock().unwrap().models.len() as u64;
        (first..first + 10).for_each(&next);
        let (busy, commit_next, models) = (AtomicBool::new(false), next.clone(), Arc::clone(&run));
        watched.ask(move |path, doing| {
            let Doing::Write(offset) = doing else { return Ok(()) };
            let k = models.try_lock().map_or(0, |run| run.models.len() as u64);
            // A bulk turn syncs the file, and the writing of the superblock is one sync with its write.
            let bulk_waits = k % 11 == 7 && offset < 2 * PAGE_BYTES as u64;
            if !is_log(path) && !bulk_waits && !busy.swap(true, Ordering::SeqCst) {
                commit_next(k);
                busy.store(false, Ordering::SeqCst);
            }
            Ok(())
        });
        let before = run.lock().unwrap().models.len();
        store.checkpoint().unwrap();
        watched.ask_nobody();
        inside += run.lock().unwrap().models.len() - before;
    }
    assert!(inside > 20, "only {inside} commits inside checkpoints");
    drop((next, store));
    let run = Arc::into_inner(run).unwrap().into_inner().unwrap();
    let mut states = 0;
    for op in run.acknowledged_at[0]..run.disk.ops() {
        for (life, outcome) in
            [Outcome::LoseAll, Outcome::KeepAll, Outcome::Random(op)].into_iter().enumerate()
        {
            let what = format!("power cut after operation {op}, {outcome:?}");
            let disk = run.disk.after_op(op).unwrap().power_cut(outcome);
            let (found, store) = survive(&run, &disk, run.acknowledged(op), &what);
            let last = go_on(&run, &store, found, 3 * life as u64);
            drop(store);
            let what = format!("{what}, then commits and another");
            survive(&last, &disk.power_cut(Outcome::LoseAll), found + 3 * life as u64, &what);
            states += 1;
        }
    }
    assert!(states > 500, "only {states} states");
}

/// Makes so many more commits durable after commit `found`.
fn go_on(run: &Run, store: &Store, found: u64, commits: u64) -> Run {
    let mut models = run.models[..=found as usize].to_vec();
    for k in found + 1..=found + commits {
        let (lsn, model) = commit(store, &models[k as usize - 1], k).unwrap();
        store.wait_visible(lsn).unwrap();
        models.push(model);
    }
    Run { disk: run.disk.clone(), models, acknowledged_at: Vec::new() }
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
            let (second_found, store) = survive(&run, &second, found, &what);
            assert!(second_found <= found, "{what}: recovery made commits up");
            drop(store);
            for third in 0..second.ops() {
                let disk = second.after_op(third).unwrap().power_cut(Outcome::Random(third * 17 + again));
                survive(&run, &disk, found, &format!("{what}, then again at {third}"));
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
