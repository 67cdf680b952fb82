//! Named situations in which a store loses or invents data if it is built a little wrong.
//!
//! Each test sets one of them up by hand on the simulated disk, from the outside: through the store's own API and
//! the bytes of its files.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use graphite_store::clock::{Clock, SimClock};
use graphite_store::disk::{Disk, Fault, OpKind, Outcome, SimDisk};
use graphite_store::{Error, PAGE_BYTES, PageKind, PageNo, PageReader, PageWriter, Store, StoreOptions};
use support::hooked::{Doing, HookedDisk, is_log};
use support::{COUNTER, PATH, open, options, set, set_durable, value};

const WAL_SEGMENT: &str = "/db.wal/0000000000.wal";
const SEGMENT_HEADER: u64 = 4096;

fn flip(disk: &SimDisk, path: impl AsRef<Path>, offset: u64) {
    disk.corrupt(path, offset, 1, |bytes| bytes[0] ^= 0x40).unwrap();
}

/// Three commits in one unsynced flush cannot be had from outside; so the log's own bytes are damaged instead.
#[test]
fn a_torn_group_followed_by_a_whole_one_from_the_same_life_ends_the_log() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let first = set_durable(&store, 1);
    set(&store, 2);
    set(&store, 3);
    store.flush().unwrap();
    drop(store);
    // The group of 2 is torn; that of 3 is whole, and neither knows of anything durable above 1.
    flip(&disk, WAL_SEGMENT, SEGMENT_HEADER + first.0 + 20);
    let store = open(&disk.process_crash()).unwrap();
    assert_eq!(value(&store), 1);
}

#[test]
fn a_torn_group_followed_by_a_whole_one_from_an_older_life_ends_the_log() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let first = set_durable(&store, 1);
    set(&store, 2);
    set(&store, 3);
    store.flush().unwrap();
    drop(store);
    flip(&disk, WAL_SEGMENT, SEGMENT_HEADER + first.0 + 20);
    let log = disk.read_file(WAL_SEGMENT).unwrap();
    // The second life writes over the torn group one of the same length. Behind it stands the old one of 3, whole, unless
    // the write took the rest of the block with it, as it may or may not; so it is put there again.
    let disk = disk.process_crash();
    let store = open(&disk).unwrap();
    assert_eq!(value(&store), 1);
    let second = SEGMENT_HEADER + set_durable(&store, 20).0;
    let old = &log[usize::try_from(second).unwrap()..][..200];
    assert!(old.starts_with(b"GRUP"));
    disk.corrupt(WAL_SEGMENT, second, old.len(), |bytes| bytes.copy_from_slice(old)).unwrap();
    drop(store);
    let disk = disk.process_crash();
    let store = open(&disk).unwrap();
    assert_eq!(value(&store), 20);
    // And once more, now with the group of the second life torn: the log ends before it.
    drop(store);
    flip(&disk, WAL_SEGMENT, SEGMENT_HEADER + first.0 + 20);
    let store = open(&disk.process_crash()).unwrap();
    assert_eq!(value(&store), 1);
}

#[test]
fn kill_restart_then_power_cut_takes_nothing_back() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    set_durable(&store, 1);
    // Written, but the sync fails as the process dies: only the system's cache has it.
    set(&store, 2);
    disk.inject(Fault::on(OpKind::Sync).forever());
    assert!(store.flush().is_err());
    drop(store);
    let disk = disk.process_crash();
    let store = open(&disk).unwrap();
    let shown = value(&store);
    drop(store);
    assert_eq!(value(&open(&disk.power_cut(Outcome::LoseAll)).unwrap()), shown);
}

#[test]
fn a_failed_sync_poisons_and_acknowledges_nothing() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    set_durable(&store, 1);
    let reader = store.snapshot().unwrap();
    disk.inject(Fault::on(OpKind::Sync));
    let lsn = set(&store, 2);
    let told = Arc::new(AtomicU32::new(0));
    let heard = told.clone();
    store.when_visible(lsn, move |answer| {
        heard.store(if answer.is_ok() { 1 } else { 2 }, Ordering::SeqCst);
    });
    assert_eq!(told.load(Ordering::SeqCst), 2, "a parked reply is told that nothing is known");
    assert!(matches!(store.wait_visible(lsn), Err(Error::Poisoned { .. })));
    assert!(matches!(store.turn().map(|_| ()), Err(Error::Poisoned { .. })));
    assert!(matches!(store.checkpoint(), Err(Error::Poisoned { .. })));
    // The fault is over, and still nothing is believed: a second sync would say yes to bytes that were dropped.
    assert!(store.flush().is_err());
    assert_eq!((value(&store), reader.state(COUNTER).unwrap()), (1, 1), "reads go on");
    assert!(store.status().poisoned.unwrap().contains("sync"));
    drop((store, reader));
    assert!(value(&open(&disk.power_cut(Outcome::LoseAll)).unwrap()) >= 1);
}

/// A commit that comes while another's is synced is not in that sync.
#[test]
fn a_sync_answers_only_those_whose_commits_it_wrote() {
    let disk = HookedDisk::new(SimDisk::new());
    let clock = Arc::new(SimClock::default());
    let store = Store::open(Arc::new(disk.clone()), clock, Path::new(PATH), options()).unwrap();
    let told = Arc::new(AtomicU32::new(0));
    let (heard, syncs, inside) = (told.clone(), AtomicU32::new(0), store.clone());
    disk.ask(move |path, doing| {
        if !is_log(path) || doing != Doing::Sync {
            return Ok(());
        }
        if syncs.fetch_add(1, Ordering::SeqCst) == 0 {
            let (lsn, heard) = (set(&inside, 2), heard.clone());
            inside.when_visible(lsn, move |answer| {
                heard.store(if answer.is_ok() { 1 } else { 2 }, Ordering::SeqCst)
            });
        }
        assert_eq!(heard.load(Ordering::SeqCst), 0, "it is not synced yet");
        Ok(())
    });
    set_durable(&store, 1);
    store.flush().unwrap();
    disk.ask_nobody();
    assert_eq!((told.load(Ordering::SeqCst), value(&store)), (1, 2));
}

#[test]
fn a_bad_bit_in_the_middle_of_the_log_is_reported_and_not_taken_for_its_end() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let first = set_durable(&store, 1);
    for k in 2..=9 {
        set_durable(&store, k);
    }
    drop(store);
    let bad = SEGMENT_HEADER + first.0 + 30;
    flip(&disk, WAL_SEGMENT, bad);
    let next = disk.process_crash();
    match open(&next) {
        Err(Error::CorruptLog { lsn, why }) => {
            assert_eq!(lsn, first, "{why}");
            assert!(why.contains("durable"), "{why}");
        }
        other => panic!("the damage was not seen: {other:?}"),
    }
    // Nothing was changed by the refusal: with the bit put right, all is there.
    flip(&next, WAL_SEGMENT, bad);
    assert_eq!(value(&open(&next.process_crash()).unwrap()), 9);
}

#[test]
fn a_bad_newest_superblock_is_made_good_by_the_other_copy() {
    for copy in 0..2 {
        let disk = SimDisk::new();
        let store = open(&disk).unwrap();
        set_durable(&store, 1);
        store.checkpoint().unwrap();
        set_durable(&store, 2);
        drop(store);
        flip(&disk, PATH, copy * PAGE_BYTES as u64 + 40);
        let next = disk.process_crash();
        let store = open(&next).unwrap();
        assert_eq!(value(&store), 2);
        drop(store);
        // And it was mended by the opening: now the other one may go.
        flip(&next, PATH, (1 - copy) * PAGE_BYTES as u64 + 40);
        assert_eq!(value(&open(&next.process_crash()).unwrap()), 2);
    }
}

#[test]
fn a_recycled_log_behind_a_bad_newest_superblock_is_refused() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    set_durable(&store, 1);
    let old = disk.read_file(PATH).unwrap();
    // Enough to go round the whole log, so that the first segments are used again for later LSNs.
    for k in 2..2000 {
        let mut turn = store.turn().unwrap();
        let page = turn.allocate(PageKind::Record).unwrap();
        support::fill(turn.page_mut(page).unwrap().body_mut(), page, k);
        turn.set_state(COUNTER, k).unwrap();
        turn.commit().unwrap();
        if k % 50 == 0 {
            store.checkpoint().unwrap();
        }
    }
    store.flush().unwrap();
    assert!(!disk.files().contains(&PathBuf::from(WAL_SEGMENT)), "the log was recycled");
    drop(store);
    let disk = disk.process_crash();
    // Both copies go back to an old generation: as if the newest had been lost and an ancient one turned up.
    let mut now = disk.read_file(PATH).unwrap();
    now[..2 * PAGE_BYTES].copy_from_slice(&old[..2 * PAGE_BYTES]);
    disk.write_file(PATH, &now).unwrap();
    assert!(
        matches!(open(&disk), Err(Error::CorruptLog { .. })),
        "an old state is not passed off as the newest"
    );
}

/// Tells when it is asked for the time: so a checkpoint begins.
#[derive(Debug)]
struct TellingClock(mpsc::Sender<()>);

impl Clock for TellingClock {
    fn now(&self) -> Duration {
        // Nobody listens any more once the test is past that.
        let _ = self.0.send(());
        Duration::ZERO
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

#[test]
fn a_redo_point_between_a_deltas_making_and_its_append_costs_nothing() {
    // A turn holds the applier, so a redo point cannot come between; the test shows that a checkpoint started during
    // a turn waits, and that the change after it is logged so that recovery needs nothing from before.
    let disk = SimDisk::new();
    let (began, beginnings) = mpsc::channel();
    let clock = Arc::new(TellingClock(began));
    let store = Store::open(Arc::new(disk.clone()), clock, Path::new(PATH), options()).unwrap();
    let mut turn = store.turn().unwrap();
    let page = turn.allocate(PageKind::Record).unwrap();
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
    let before = store.status().redo;
    let mut turn = store.turn().unwrap();
    turn.page_mut(page).unwrap().body_mut()[0] = 1;
    // Syncs ask for the time, too; from now on only the checkpoint does.
    while beginnings.try_recv().is_ok() {}
    let checkpointer = std::thread::spawn({
        let store = store.clone();
        move || store.checkpoint().unwrap()
    });
    beginnings.recv().unwrap();
    let lsn = turn.commit().unwrap();
    checkpointer.join().unwrap();
    assert!(before < lsn && store.status().redo >= lsn, "the redo point came after the turn");
    let mut turn = store.turn().unwrap();
    turn.page_mut(page).unwrap().body_mut()[1] = 2;
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
    drop(store);
    // The page in the file is torn to pieces; the image after the redo point makes it whole.
    disk.corrupt(PATH, page.offset(), 4096, |bytes| bytes.fill(0xaa)).unwrap();
    let store = open(&disk.process_crash()).unwrap();
    assert_eq!(store.snapshot().unwrap().page(page).unwrap().body()[..2], [1, 2]);
}

#[test]
fn a_bulk_loaded_page_torn_at_its_first_change_is_whole_after_recovery() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let mut turn = store.turn_bulk().unwrap();
    let page = turn.allocate(PageKind::Record).unwrap();
    turn.page_mut(page).unwrap().body_mut()[5000] = 7;
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
    let logged = store.status().log_bytes;
    assert!(logged < 1000, "a bulk page is not in the log: {logged} bytes");
    assert_eq!(
        disk.read_file(PATH).unwrap()[page.offset() as usize + 24 + 5000],
        7,
        "but in the file at once"
    );
    let mut turn = store.turn().unwrap();
    turn.page_mut(page).unwrap().body_mut()[0] = 8;
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
    drop(store);
    disk.corrupt(PATH, page.offset() + 512, 512, |bytes| bytes.fill(0xaa)).unwrap();
    let store = open(&disk.power_cut(Outcome::LoseAll)).unwrap();
    let snapshot = store.snapshot().unwrap();
    let found = snapshot.page(page).unwrap();
    assert_eq!((found.body()[0], found.body()[5000]), (8, 7));
}

#[test]
fn a_bulk_page_that_was_evicted_is_logged_whole_at_its_first_change() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let mut turn = store.turn_bulk().unwrap();
    let pages: Vec<PageNo> = (0..20).map(|_| turn.allocate(PageKind::Record).unwrap()).collect();
    for &page in &pages {
        turn.page_mut(page).unwrap().body_mut()[100] = 3;
    }
    turn.commit().unwrap();
    // Reopened, so that all of them come from the file again.
    store.flush().unwrap();
    drop(store);
    let disk = disk.process_crash();
    let store = open(&disk).unwrap();
    for &page in &pages {
        let mut turn = store.turn().unwrap();
        turn.page_mut(page).unwrap().body_mut()[0] = 4;
        turn.commit().unwrap();
    }
    store.flush().unwrap();
    drop(store);
    let store = open(&disk.power_cut(Outcome::LoseAll)).unwrap();
    let snapshot = store.snapshot().unwrap();
    for page in pages {
        let found = snapshot.page(page).unwrap();
        assert_eq!((found.body()[0], found.body()[100]), (4, 3));
    }
}

#[test]
fn a_full_disk_at_any_reservation_refuses_that_commit_and_nothing_else() {
    // Growing: one commit after another until the disk is full, at every size of it.
    let (mut refused, mut most) = (0, 0);
    for room in (0..60).map(|n| 400_000 + n * 16_384) {
        let disk = SimDisk::new();
        let store = Store::open(
            Arc::new(disk.clone()),
            Arc::new(SimClock::default()),
            Path::new(PATH),
            StoreOptions { wal_bytes: 1 << 20, ..options() },
        )
        .unwrap();
        disk.set_capacity(Some(disk.used() + room));
        let mut done = 0;
        let error = loop {
            let commit = || {
                let mut turn = store.turn()?;
                for _ in 0..20 {
                    turn.allocate(PageKind::Record)?;
                }
                turn.set_state(COUNTER, done + 1)?;
                let lsn = turn.commit()?;
                store.wait_visible(lsn)
            };
            match commit() {
                Ok(()) => done += 1,
                Err(error) => break error,
            }
            assert!(done < 10_000);
        };
        assert!(error.is_disk_full(), "room {room}: {error}");
        assert!(store.poisoned().is_none(), "room {room}: a full disk must not poison: {error}");
        refused += 1;
        most = most.max(done);
        assert_eq!(value(&store), done, "what was acknowledged is there, the refused commit is not");
        // Room again: the same commit goes through, in the same life.
        disk.set_capacity(None);
        set_durable(&store, done + 100);
        drop(store);
        let store = open(&disk.power_cut(Outcome::LoseAll)).unwrap();
        assert_eq!(value(&store), done + 100);
    }
    assert_eq!(refused, 60);
    assert!(most > 3, "the disk filled at once in every round: nothing was tried");
}

#[test]
fn a_full_disk_while_a_database_is_made_leaves_no_database() {
    for capacity in (0..400_000).step_by(9_000) {
        let disk = SimDisk::new();
        disk.set_capacity(Some(capacity));
        match open(&disk) {
            Ok(store) => set_durable(&store, 1),
            Err(error) => {
                assert!(error.is_disk_full(), "{error}");
                assert!(!disk.exists(Path::new(PATH)).unwrap());
                disk.set_capacity(None);
                set_durable(&open(&disk).unwrap(), 1)
            }
        };
    }
}

/// The room in the file that was reserved before the crash is gone with it: the log's pages have to have theirs again
/// before more is promised.
#[test]
fn room_that_a_power_cut_took_back_is_reserved_anew() {
    let options = StoreOptions { wal_bytes: 1 << 20, cache_bytes: 16 << 20, ..options() };
    let open = |disk: &SimDisk| {
        let clock = Arc::new(SimClock::default());
        Store::open(Arc::new(disk.clone()), clock, Path::new(PATH), options.clone())
    };
    let allocate = |store: &Store, k: u64| {
        let mut turn = store.turn()?;
        for _ in 0..20 {
            turn.allocate(PageKind::Record)?;
        }
        turn.set_state(COUNTER, k)?;
        let lsn = turn.commit()?;
        store.wait_visible(lsn)
    };
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    (1..=20).for_each(|k| allocate(&store, k).unwrap());
    drop(store);
    let cut = disk.power_cut(Outcome::LoseAll);
    assert!(cut.read_file(PATH).unwrap().len() < 400 * PAGE_BYTES);
    for room in (0..600).step_by(20) {
        let disk = cut.fork();
        disk.set_capacity(Some(disk.used() + room * PAGE_BYTES as u64));
        let store = match open(&disk) {
            Ok(store) => store,
            Err(error) => {
                assert!(matches!(error, Error::DiskFull { .. }), "room for {room} pages: {error}");
                disk.set_capacity(None);
                assert_eq!(value(&open(&disk.process_crash()).unwrap()), 20);
                continue;
            }
        };
        let mut done = 20;
        while done < 40 {
            match allocate(&store, done + 1) {
                Ok(()) => done += 1,
                Err(error) => {
                    assert!(error.is_disk_full(), "room for {room} pages: {error}");
                    break;
                }
            }
        }
        if let Err(error) = store.checkpoint() {
            assert!(error.is_disk_full() && store.poisoned().is_none(), "room for {room} pages: {error}");
        }
        assert_eq!(value(&store), done);
    }
}

/// A replay that does not fit the cache writes pages behind the file's end, and leaves holes where free ones are. Those
/// are given out later, so they need their room like all others.
#[test]
fn room_is_reserved_anew_also_where_the_replay_made_the_file_longer() {
    let open = |disk: &SimDisk, cache_bytes| {
        let clock = Arc::new(SimClock::default());
        let options = StoreOptions { wal_bytes: 16 << 20, cache_bytes, ..options() };
        Store::open(Arc::new(disk.clone()), clock, Path::new(PATH), options).unwrap()
    };
    let allocate = |turn: &mut graphite_store::Turn<'_>, count| {
        (0..count).map(|_| turn.allocate(PageKind::Record).unwrap()).collect::<Vec<PageNo>>()
    };
    let disk = SimDisk::new();
    let store = open(&disk, 64 << 20);
    let mut turn = store.turn().unwrap();
    let pages = allocate(&mut turn, 400);
    // The log never has a word of these.
    pages[..300].iter().for_each(|&page| turn.free(page).unwrap());
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
    drop(store);
    let disk = disk.power_cut(Outcome::LoseAll);
    assert!(disk.read_file(PATH).unwrap().len() < 100 * PAGE_BYTES, "the room went with the power");
    let store = open(&disk, 256 << 10);
    assert!(store.status().page_writes > 0, "the replay fitted the cache: nothing was tried");
    disk.set_capacity(Some(disk.used()));
    let mut turn = store.turn().unwrap();
    let again = allocate(&mut turn, 10);
    assert!(again.iter().all(|page| pages[..300].contains(page)));
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
    store.checkpoint().unwrap();
}

/// The segments' size is chosen when a database is made; a later wish for a larger or smaller log changes nothing.
#[test]
fn another_wal_bytes_at_a_later_opening_neither_blocks_turns_nor_shows_a_log_that_is_not_there() {
    let wal_bytes = 1 << 20;
    for later in [16 << 10, wal_bytes, 4 << 20, 1 << 40] {
        let disk = SimDisk::new();
        let open = |disk: &SimDisk, wal_bytes| {
            let clock = Arc::new(SimClock::default());
            let options = StoreOptions { wal_bytes, cache_bytes: 64 << 20, ..options() };
            Store::open(Arc::new(disk.clone()), clock, Path::new(PATH), options).unwrap()
        };
        drop(open(&disk, wal_bytes));
        let disk = disk.process_crash();
        let store = open(&disk, later);
        assert_eq!(store.status().wal_bytes_max, wal_bytes);
        assert_eq!(store.transaction_bytes_max(), wal_bytes / 4);
        // As much as one turn may have, again and again, so that only checkpoints make room for it.
        let pages: Vec<PageNo> = {
            let mut turn = store.turn().unwrap();
            let pages = (0..28).map(|_| turn.allocate(PageKind::Record).unwrap()).collect();
            turn.commit().unwrap();
            pages
        };
        for k in 1..=20 {
            let mut turn = store.turn().unwrap();
            assert_eq!(turn.bytes_max(), wal_bytes / 4);
            for &page in &pages {
                let body = turn.page_mut(page).unwrap().body_mut();
                body.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i as u64 * 31 + k * 7) as u8 | 1);
            }
            turn.set_state(COUNTER, k).unwrap();
            turn.commit().unwrap();
        }
        store.flush().unwrap();
        assert!(store.status().checkpoints > 0, "the log was never full: nothing was tried");
        drop(store);
        assert_eq!(value(&open(&disk.process_crash(), later)), 20);
    }
}
