//! The store with its threads, as a daemon runs it: many writers at once, checkpoints and log recycling under way.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use graphite_store::clock::RealClock;
use graphite_store::disk::{RealDisk, SimDisk};
use graphite_store::{Error, Lsn, PageKind, PageReader, PageWriter, Store, StoreOptions};
use support::hooked::{Doing, HookedDisk, is_log};
use support::{PATH, options, set};

#[test]
fn writers_readers_and_checkpoints_together_keep_every_promise() {
    let disk = SimDisk::new();
    let store =
        Store::open(Arc::new(disk.clone()), Arc::new(RealClock::default()), Path::new(PATH), options())
            .unwrap();
    store.start_threads();
    let mut turn = store.turn().unwrap();
    let pages: Vec<_> = (0..4).map(|_| turn.allocate(PageKind::Record).unwrap()).collect();
    store.wait_visible(turn.commit().unwrap()).unwrap();
    let acknowledged = AtomicU64::new(0);
    let writers = 4;
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let (store, pages, acknowledged) = (&store, &pages, &acknowledged);
            scope.spawn(move || {
                for k in 0..400u64 {
                    // All pages get the same new sum, and one more page comes and goes.
                    let mut turn = store.turn().unwrap();
                    let sum = turn.state(support::COUNTER).unwrap() + 1;
                    turn.set_state(support::COUNTER, sum).unwrap();
                    for &page in pages {
                        turn.page_mut(page).unwrap().body_mut()[..8].copy_from_slice(&sum.to_le_bytes());
                    }
                    let extra = turn.allocate(PageKind::Record).unwrap();
                    if k % 4 != 0 {
                        turn.free(extra).unwrap();
                    }
                    let lsn = turn.commit().unwrap();
                    if (k + writer) % 3 == 0 {
                        store.wait_visible(lsn).unwrap();
                        acknowledged.fetch_max(sum, Ordering::SeqCst);
                    } else {
                        store.when_visible(lsn, |answer| answer.unwrap());
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut last = 0;
            while last < writers * 400 {
                let told = acknowledged.load(Ordering::SeqCst);
                let snapshot = store.snapshot().unwrap();
                let sum = snapshot.state(support::COUNTER).unwrap();
                assert!(sum >= told && sum >= last);
                for &page in &pages {
                    let found = snapshot.page(page).unwrap();
                    assert_eq!(found.body()[..8], sum.to_le_bytes());
                }
                last = sum;
                store.flush().unwrap();
            }
        });
    });
    let status = store.status();
    assert!(status.checkpoints > 0, "the log is small enough for the checkpointer to have had to work");
    assert!(status.wal_bytes <= status.wal_bytes_max + 64 * 1024);
    store.close().unwrap();
    drop(store);
    let store = Store::open(
        Arc::new(disk.process_crash()),
        Arc::new(RealClock::default()),
        Path::new(PATH),
        options(),
    )
    .unwrap();
    assert_eq!(store.snapshot().unwrap().state(support::COUNTER).unwrap(), writers * 400);
}

#[test]
fn a_real_disk_keeps_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("real.graphite");
    for life in 1..=3u64 {
        let options = StoreOptions { wal_bytes: 1 << 20, ..options() };
        let store = Store::open(Arc::new(RealDisk), Arc::new(RealClock::default()), &path, options).unwrap();
        assert_eq!(store.snapshot().unwrap().state(support::COUNTER).unwrap(), life - 1);
        store.start_threads();
        let mut turn = store.turn().unwrap();
        turn.set_state(support::COUNTER, life).unwrap();
        store.wait_visible(turn.commit().unwrap()).unwrap();
        if life == 2 {
            store.close().unwrap();
        }
    }
}

/// A commit that comes while somebody else flushes for a reason of their own (here: for the log's mark and for a
/// checkpoint) is not left behind: its reply comes without any further commit.
#[test]
fn a_commit_during_anothers_flush_is_synced_too() {
    let (store, syncs) = store_with_held_syncs();
    let mut turn = store.turn().unwrap();
    let page = turn.allocate(PageKind::Record).unwrap();
    store.wait_visible(turn.commit().unwrap()).unwrap();
    for round in 0..2u8 {
        syncs.hold(Hold::Next);
        std::thread::scope(|scope| {
            // In the first round the log thread comes by itself, to mark the end of an idle log.
            if round == 1 {
                scope.spawn(|| store.checkpoint().unwrap());
            }
            syncs.wait_for_one(&store);
            let mut turn = store.turn().unwrap();
            turn.page_mut(page).unwrap().body_mut()[0] = round + 1;
            let (told, answer) = std::sync::mpsc::channel();
            store.when_visible(turn.commit().unwrap(), move |result| told.send(result).unwrap());
            assert!(answer.try_recv().is_err(), "somebody else is at it");
            syncs.let_go();
            answer.recv_timeout(Duration::from_secs(5)).expect("nobody synced the commit").unwrap();
        });
    }
    store.close().unwrap();
}

/// Each sync is held until the test lets it go. Two commits are of one sync; a third comes meanwhile, whose sync nobody lets
/// go: the two are answered all the same.
#[test]
fn who_waits_does_not_wait_for_the_sync_after_its_own() {
    let (store, syncs) = store_with_held_syncs();
    syncs.hold(Hold::Each);
    std::thread::scope(|scope| {
        let (store, (told, answers)) = (&store, std::sync::mpsc::channel());
        let commit_and_wait = |value| {
            let (lsn, told) = (set(store, value), told.clone());
            scope.spawn(move || {
                store.wait_visible(lsn).unwrap();
                told.send(value).unwrap();
            });
        };
        commit_and_wait(1);
        syncs.wait_for_one(store);
        (2..=3).for_each(commit_and_wait);
        // Time for both to wait. Too short, and the test sees less; never more.
        std::thread::sleep(Duration::from_millis(50));
        syncs.let_go();
        let is_told = || answers.recv_timeout(Duration::from_secs(5)).ok();
        let first = is_told();
        syncs.wait_for_one(store);
        commit_and_wait(4);
        std::thread::sleep(Duration::from_millis(50));
        syncs.let_go();
        let mut both = [is_told(), is_told()];
        syncs.wait_for_one(store);
        syncs.hold(Hold::None);
        syncs.let_go();
        both.sort_unstable();
        assert_eq!((first, both), (Some(1), [Some(2), Some(3)]), "what is durable was not told");
        assert_eq!(is_told(), Some(4));
    });
    store.close().unwrap();
}

/// Which syncs of the log are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    None,
    Next,
    Each,
}

/// Syncs of the log that begin, and end when the test lets them.
#[derive(Clone, Default)]
struct HeldSyncs(Arc<(Mutex<Gate>, Condvar)>);

#[derive(Default)]
struct Gate {
    hold: Hold,
    is_held: bool,
}

fn store_with_held_syncs() -> (Store, HeldSyncs) {
    let syncs = HeldSyncs::default();
    let (disk, hook) = (HookedDisk::new(SimDisk::new()), syncs.clone());
    disk.ask(move |path, doing| {
        if doing == Doing::Sync && is_log(path) {
            hook.pass();
        }
        Ok(())
    });
    let clock = Arc::new(RealClock::default());
    let store = Store::open(Arc::new(disk), clock, Path::new(PATH), options()).unwrap();
    store.start_threads();
    (store, syncs)
}

impl HeldSyncs {
    fn hold(&self, hold: Hold) {
        self.0.0.lock().unwrap().hold = hold;
    }

    fn let_go(&self) {
        self.0.0.lock().unwrap().is_held = false;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let (lock, changed) = &*self.0;
        let mut gate = lock.lock().unwrap();
        if gate.hold == Hold::None {
            return;
        }
        if gate.hold == Hold::Next {
            gate.hold = Hold::None;
        }
        gate.is_held = true;
        changed.notify_all();
        drop(changed.wait_while(gate, |gate| gate.is_held).unwrap());
    }

    /// Waits until a sync is held.
    #[track_caller]
    fn wait_for_one(&self, store: &Store) {
        let (lock, changed) = &*self.0;
        let patience = Duration::from_secs(20);
        let waited = changed.wait_timeout_while(lock.lock().unwrap(), patience, |gate| !gate.is_held);
        let (mut gate, waited) = waited.unwrap();
        if waited.timed_out() {
            // Else those who wait would be waited for.
            gate.hold = Hold::None;
            drop(gate);
            store.flush().unwrap();
            panic!("nobody syncs what waits");
        }
    }
}

/// Waits until the log was synced so often, which is the mark's doing once all commits are durable.
#[track_caller]
fn wait_for_mark(store: &Store, log_syncs: u64) {
    let begun = Instant::now();
    while store.status().log_syncs < log_syncs {
        assert!(begun.elapsed() < Duration::from_secs(20), "the end of the idle log was never marked");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// With the group that begins at `start` damaged, a database whose log has marked it as durable is refused.
#[track_caller]
fn assert_marked(disk: &SimDisk, start: Lsn) {
    const SEGMENT_HEADER: u64 = 4096;
    let disk = disk.process_crash();
    disk.corrupt("/db.wal/0000000000.wal", SEGMENT_HEADER + start.0 + 20, 1, |bytes| bytes[0] ^= 1).unwrap();
    let opened = support::open(&disk);
    assert!(matches!(opened, Err(Error::CorruptLog { .. })), "a lost commit goes unnoticed: {opened:?}");
}

/// A sync that lasts longer than the log thread lets a log be idle. A mark made meanwhile would not speak of what is
/// synced, and none would follow it.
#[test]
fn the_mark_of_an_idle_log_covers_the_last_commit_however_long_its_sync_takes() {
    let slow = Arc::new(AtomicU64::new(0));
    let sim = SimDisk::new();
    let disk = HookedDisk::new(sim.clone());
    let hook = slow.clone();
    disk.ask(move |path, doing| {
        if doing == Doing::Sync && is_log(path) {
            std::thread::sleep(Duration::from_millis(hook.swap(0, Ordering::SeqCst)));
        }
        Ok(())
    });
    let clock = Arc::new(RealClock::default());
    let store = Store::open(Arc::new(disk), clock, Path::new(PATH), options()).unwrap();
    store.start_threads();
    let before = store.status().log_syncs;
    store.wait_visible(set(&store, 1)).unwrap();
    let start = store.applied_lsn();
    let last = set(&store, 2);
    slow.store(1500, Ordering::SeqCst);
    store.wait_visible(last).unwrap();
    wait_for_mark(&store, before + 3);
    drop(store);
    assert_marked(&sim, start);
}

/// What moved before the log thread went to sleep is seen all the same.
#[test]
fn a_log_that_moved_before_the_log_thread_slept_is_marked() {
    let disk = SimDisk::new();
    let clock = Arc::new(RealClock::default());
    let store = Store::open(Arc::new(disk.clone()), clock, Path::new(PATH), options()).unwrap();
    let start = store.applied_lsn();
    store.wait_visible(set(&store, 1)).unwrap();
    let before = store.status().log_syncs;
    store.start_threads();
    wait_for_mark(&store, before + 1);
    drop(store);
    assert_marked(&disk, start);
}
