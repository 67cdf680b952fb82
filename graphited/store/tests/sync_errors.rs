//! Syncs that fail, of the file and of the log's next segment.
//!
//! A sync of the file may fail while another thread syncs the same file. A write that the system puts off fails behind one's back, and that is told to one sync of the open file only,
//! whoever's it is; the next one succeeds. So a checkpoint must not believe its own sync if a bulk turn's failed
//! meanwhile. The disk here is one that behaves so: the checkpoint's sync is held until the bulk turn's has failed, or
//! until it is clear that that one waits for its turn.
//!
//! The log's next segment is made ready with a sync of its own and one of its directory. If one of them fails, its
//! bytes or its name may be lost for good, though the next sync says yes: so nothing may be acknowledged in it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use graphite_store::clock::SimClock;
use graphite_store::disk::{Fault, OpKind, Outcome, SimDisk};
use graphite_store::{Error, PageKind, PageReader, PageWriter, Result, Store, StoreOptions};
use support::hooked::{Doing, HookedDisk, is_log};
use support::{COUNTER, PATH, open, options};

/// How long the bulk turn gets to fail while the checkpoint syncs. Too short, and the test sees less; never more.
const HEAD_START: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Seen {
    armed: bool,
    syncs: u32,
    failed: bool,
    writes_after: u32,
}

type Shared = Arc<(Mutex<Seen>, Condvar)>;

/// One sync fails, and only the one who asked for it is told.
fn told_once(seen: Shared) -> HookedDisk {
    let disk = HookedDisk::new(SimDisk::new());
    disk.ask(move |path, doing| {
        if is_log(path) {
            return Ok(());
        }
        let (lock, changed) = &*seen;
        let mut seen = lock.lock().unwrap();
        if matches!(doing, Doing::Write(_)) {
            seen.writes_after += u32::from(seen.failed);
        } else if seen.armed {
            seen.syncs += 1;
            changed.notify_all();
            if seen.syncs == 2 {
                seen.failed = true;
                return Err(io::Error::other("lost behind your back"));
            }
            drop(changed.wait_timeout_while(seen, HEAD_START, |seen| !seen.failed).unwrap());
        }
        Ok(())
    });
    disk
}

#[test]
fn nothing_is_written_after_a_sync_failed_whoever_was_told() {
    let told = Shared::default();
    let disk = told_once(told.clone());
    let clock = Arc::new(SimClock::default());
    let store = Store::open(Arc::new(disk.clone()), clock, Path::new(PATH), options()).unwrap();
    let mut turn = store.turn().unwrap();
    turn.allocate(PageKind::Record).unwrap();
    turn.commit().unwrap();
    store.flush().unwrap();
    told.0.lock().unwrap().armed = true;
    std::thread::scope(|scope| {
        scope.spawn(|| store.checkpoint());
        let (seen, changed) = &*told;
        drop(changed.wait_while(seen.lock().unwrap(), |seen| seen.syncs == 0).unwrap());
        let mut turn = store.turn_bulk().unwrap();
        turn.allocate(PageKind::Record).unwrap();
        assert!(matches!(turn.commit(), Err(Error::Poisoned { .. })));
    });
    let seen = told.0.lock().unwrap();
    assert!(seen.failed);
    assert_eq!(seen.writes_after, 0, "a superblock that names what may be lost");
}

/// Commits `k` with some 8 KB of log, two of which fill a segment, and waits until it is acknowledged.
fn commit_big(store: &Store, k: u64) -> Result<()> {
    let mut turn = store.turn()?;
    let page = turn.allocate(PageKind::Record)?;
    let body = turn.page_mut(page)?.body_mut();
    body.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i as u64 * 31 + k * 7) as u8 | 1);
    turn.set_state(COUNTER, k)?;
    let lsn = turn.commit()?;
    store.wait_visible(lsn)
}

/// Commits and tries to commit on a disk with a fault in the making of the next segment: what was acknowledged, and what
/// was refused with the words of the first refusal.
fn commits_until_well_past(store: &Store) -> (u64, Vec<Error>) {
    let mut acknowledged = 0;
    let mut refused = Vec::new();
    for k in 1..=30 {
        match commit_big(store, k) {
            Ok(()) => acknowledged = k,
            Err(error) => refused.push(error),
        }
    }
    (acknowledged, refused)
}

fn value(disk: &SimDisk) -> u64 {
    let store = open(disk).unwrap();
    let snapshot = store.snapshot().unwrap();
    snapshot.state(COUNTER).unwrap()
}

#[test]
fn a_failed_sync_of_the_logs_directory_poisons() {
    // Segments made anew, and recycled ones.
    for checkpointed in [false, true] {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        if checkpointed {
            (1..=12).for_each(|k| commit_big(&store, k).unwrap());
            store.checkpoint().unwrap();
        }
        let kind = if checkpointed { OpKind::Rename } else { OpKind::Create };
        let before = disk.ops();
        disk.inject(Fault::on(OpKind::SyncDir));
        let (acknowledged, refused) = commits_until_well_past(&store);
        assert!(disk.trace().iter().any(|op| op.index >= before && op.kind == kind), "{kind:?}");
        assert!(acknowledged > 0 && !refused.is_empty());
        assert!(refused.iter().all(|e| matches!(e, Error::Poisoned { .. })), "{:?}", refused[0]);
        assert!(store.poisoned().is_some());
        drop(store);
        assert_eq!(value(&disk.power_cut(Outcome::LoseAll)), acknowledged);
    }
}

#[test]
fn a_failed_sync_of_the_logs_next_segment_poisons_whatever_it_says() {
    for error in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        commit_big(&store, 1).unwrap();
        // Of segment 1, so of none of the commits before it.
        disk.inject(Fault::on(OpKind::Sync).at_path("/db.wal/0000000001.wal").with(error));
        let (acknowledged, refused) = commits_until_well_past(&store);
        assert!(refused.iter().all(|e| matches!(e, Error::Poisoned { .. })), "{:?}", refused[0]);
        assert!(store.poisoned().is_some());
        drop(store);
        assert_eq!(value(&disk.power_cut(Outcome::LoseAll)), acknowledged.max(1));
    }
}

/// The log thread makes the next segment ready ahead of time, and nobody waits for its answer.
#[test]
fn a_failed_sync_in_the_log_thread_poisons_too() {
    let disk = SimDisk::new();
    let clock = Arc::new(SimClock::default());
    let store = Store::open(Arc::new(disk.clone()), clock, Path::new(PATH), options()).unwrap();
    commit_big(&store, 1).unwrap();
    disk.inject(Fault::on(OpKind::SyncDir));
    store.start_threads();
    let acknowledged = if commit_small(&store, 2).is_ok() { 2 } else { 1 };
    let begun = std::time::Instant::now();
    while store.poisoned().is_none() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(store.poisoned().is_some(), "half of the segment is used, so the next one is due");
    drop(store);
    assert_eq!(value(&disk.power_cut(Outcome::LoseAll)), acknowledged);
}

/// Too little to need the next segment at once.
fn commit_small(store: &Store, k: u64) -> Result<()> {
    let mut turn = store.turn()?;
    turn.set_state(COUNTER, k)?;
    let lsn = turn.commit()?;
    store.wait_visible(lsn)
}

/// What was dropped stays dropped, also for the life after: its first sync says yes as well.
#[test]
fn the_next_life_does_not_build_on_a_segment_that_a_power_cut_may_take() {
    for fault in [Fault::on(OpKind::SyncDir), Fault::on(OpKind::Sync).at_path("/db.wal/0000000001.wal")] {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        commit_big(&store, 1).unwrap();
        disk.inject(fault);
        commits_until_well_past(&store);
        drop(store);
        let disk = disk.process_crash();
        let store = open(&disk).unwrap();
        (2..=8).for_each(|k| commit_big(&store, k).unwrap());
        drop(store);
        assert_eq!(value(&disk.power_cut(Outcome::LoseAll)), 8);
    }
}

/// A life may have had no syncs at all, by its options. What the next one shows of it lasts all the same, and so does what
/// it builds on that.
#[test]
fn what_a_life_without_syncs_left_is_durable_once_the_next_one_has_begun() {
    for more in [0, 3] {
        let disk = SimDisk::new();
        let unsynced = StoreOptions { durable: false, ..options() };
        let clock = Arc::new(SimClock::default());
        let store = Store::open(Arc::new(disk.clone()), clock, Path::new(PATH), unsynced).unwrap();
        (1..=9).for_each(|k| commit_big(&store, k).unwrap());
        drop(store);
        let disk = disk.process_crash();
        let store = open(&disk).unwrap();
        (10..10 + more).for_each(|k| commit_big(&store, k).unwrap());
        drop(store);
        assert_eq!(value(&disk.power_cut(Outcome::LoseAll)), 9 + more);
    }
}

/// A full disk made no change, so it may be tried again.
#[test]
fn a_full_disk_while_the_next_segment_is_made_refuses_and_poisons_nothing() {
    for kind in [OpKind::Create, OpKind::Write] {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        let next = Fault::on(kind).at_path("/db.wal/0000000001.wal");
        disk.inject(next.with(io::ErrorKind::StorageFull));
        let (acknowledged, refused) = commits_until_well_past(&store);
        assert!(matches!(refused[..], [Error::DiskFull { .. }]), "{refused:?}");
        assert!(store.poisoned().is_none());
        assert_eq!(acknowledged, 30);
        drop(store);
        assert_eq!(value(&disk.power_cut(Outcome::LoseAll)), 30);
    }
}
