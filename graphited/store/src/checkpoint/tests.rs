//! Checkpoints cut short, and the last one of a life: with the steps inside called one by one where it takes that.

use std::path::Path;

use super::*;
use crate::clock::SimClock;
use crate::disk::{Fault, OpKind, SimDisk};
use crate::page::{PAGE_HEADER_BYTES, PageKind};
use crate::pager::{PageReader, PageWriter};
use crate::store::StoreOptions;
use crate::sync::assert_waits_for;

fn open(disk: &SimDisk) -> Result<Store> {
    let options = StoreOptions { create: true, ..StoreOptions::default() };
    Store::open(Arc::new(disk.clone()), Arc::new(SimClock::default()), Path::new("/db"), options)
}

fn change(store: &Store, page: PageNo, byte: u8) {
    let mut turn = store.turn().unwrap();
    turn.page_mut(page).unwrap().body_mut()[0] = byte;
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
}

/// A bulk page is made between a checkpoint's redo point and its superblock, which a crash prevents. The next life
/// begins at the older redo point, from which on the log has no image of that page.
#[test]
fn a_bulk_page_made_in_a_checkpoint_cut_short_is_logged_whole_at_its_first_change() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    store.inner.set_redo_point().unwrap();
    let mut turn = store.turn_bulk().unwrap();
    let page = turn.allocate(PageKind::Record).unwrap();
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
    drop(store);
    let disk = disk.process_crash();
    let store = open(&disk).unwrap();
    change(&store, page, 7);
    drop(store);
    let store = open(&disk.process_crash()).unwrap();
    assert_eq!(store.snapshot().unwrap().page(page).unwrap().body()[0], 7);
}

/// A commit whose sync is still to come, when pages are written.
#[test]
fn what_is_not_durable_yet_is_written_as_it_was_before() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let mut turn = store.turn().unwrap();
    let page = turn.allocate(PageKind::Record).unwrap();
    turn.commit().unwrap();
    change(&store, page, 1);
    let mut turn = store.turn().unwrap();
    turn.page_mut(page).unwrap().body_mut()[0] = 2;
    turn.commit().unwrap();
    store.inner.write_back(Pace::Fast).unwrap();
    let in_file = || disk.read_file("/db").unwrap()[page.offset() as usize + PAGE_HEADER_BYTES];
    assert_eq!(in_file(), 1);
    store.checkpoint().unwrap();
    assert_eq!(in_file(), 2, "it still counted as changed");
}

/// Nobody hands it such a version; whoever does, in a later year, is stopped before the file has it.
#[test]
#[should_panic(expected = "log before page")]
fn a_version_that_is_not_durable_never_gets_into_the_file() {
    let store = open(&SimDisk::new()).unwrap();
    let mut turn = store.turn().unwrap();
    let page = turn.allocate(PageKind::Record).unwrap();
    turn.commit().unwrap();
    let version = store.inner.cache.newest(page).as_ref().cloned().unwrap();
    let _ = store.inner.write_run(&mut vec![version]);
}

/// Else the version that is visible could be taken out of the chain between the question what is visible and the look for
/// it, and a checkpoint would take the page for one that it need not write.
#[test]
fn a_chain_stays_as_it_is_while_somebody_looks_for_what_is_visible() {
    let store = open(&SimDisk::new()).unwrap();
    let inner = &store.inner;
    let mut turn = store.turn().unwrap();
    let page = turn.allocate(PageKind::Record).unwrap();
    turn.commit().unwrap();
    store.flush().unwrap();
    assert_waits_for(inner.cache.pruning(page), || assert!(inner.newest_visible(page).is_some()));
    assert_waits_for(inner.cache.pruning(page), || inner.prune(vec![page]));
}

/// The failure of a write behind everybody's back is told to one sync only; the other must not go on before that one has
/// poisoned the database.
#[test]
fn one_at_a_time_syncs_the_file_and_none_after_a_failure() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let inner = &store.inner;
    assert_waits_for(inner.syncing.lock(), || inner.sync_file().unwrap());
    let mut superblock = inner.checkpointing.lock();
    let copies = &mut *superblock;
    assert_waits_for(inner.syncing.lock(), move || inner.write_copies(copies).unwrap());
    inner.set_poison(&Error::Closed);
    let ops = disk.ops();
    assert!(matches!(inner.sync_file(), Err(Error::Poisoned { .. })));
    assert!(matches!(inner.write_copies(&mut superblock), Err(Error::Poisoned { .. })));
    assert_eq!(disk.ops(), ops);
}

#[test]
fn a_failed_write_of_pages_poisons() {
    let disk = SimDisk::new();
    // Made before, so that it is opened by its name.
    drop(open(&disk).unwrap());
    let store = open(&disk).unwrap();
    let mut turn = store.turn().unwrap();
    turn.allocate(PageKind::Record).unwrap();
    turn.commit().unwrap();
    disk.inject(Fault::on(OpKind::Write).at_path("/db"));
    assert!(matches!(store.checkpoint(), Err(Error::Poisoned { .. })));
    assert!(matches!(store.checkpoint(), Err(Error::Poisoned { .. })), "though the fault is over");
}

/// Of two that write the same page, the one with the older version could come last.
#[test]
fn whoever_makes_room_waits_for_a_checkpoint_that_writes() {
    let options = StoreOptions { create: true, cache_bytes: 128 << 10, ..StoreOptions::default() };
    let clock = Arc::new(SimClock::default());
    let store = Store::open(Arc::new(SimDisk::new()), clock, Path::new("/db"), options).unwrap();
    let inner = &store.inner;
    while inner.cache.resident_bytes() <= inner.cache.bytes_max() {
        let mut turn = store.turn().unwrap();
        for _ in 0..3 {
            turn.allocate(PageKind::Record).unwrap();
        }
        turn.commit().unwrap();
        store.flush().unwrap();
        inner.cache.evict();
    }
    assert!(inner.dirty_is_pressing());
    assert_waits_for(inner.checkpointing.lock(), || inner.make_room_in_cache().unwrap());
    assert!(!inner.dirty_is_pressing());
}

/// It would move the redo point past the end that the superblock calls clean.
#[test]
fn a_checkpoint_after_the_end_is_refused_and_harms_nothing() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    store.close().unwrap();
    assert!(matches!(store.checkpoint(), Err(Error::Closed)));
    drop(store);
    open(&disk).unwrap();
}

#[test]
fn a_close_that_failed_does_not_say_yes_the_second_time() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    disk.inject(Fault::on(OpKind::Sync));
    assert!(store.close().is_err());
    assert!(matches!(store.close(), Err(Error::Poisoned { .. })));
    drop(store);
    // The superblock that calls the end clean is written, and its sync fails.
    for syncs in 0..4 {
        let disk = disk.process_crash();
        let store = open(&disk).unwrap();
        disk.inject(Fault::on(OpKind::Sync).after(syncs).at_path("/db"));
        assert!(store.close().is_err());
        assert!(store.close().is_err(), "after {syncs} syncs of the file");
    }
}

#[test]
fn a_close_that_found_no_room_may_be_tried_again() {
    let disk = SimDisk::new();
    let options = StoreOptions { create: true, wal_bytes: 256 << 10, ..StoreOptions::default() };
    let clock = Arc::new(SimClock::default());
    let store = Store::open(Arc::new(disk.clone()), clock, Path::new("/db"), options).unwrap();
    disk.set_capacity(Some(disk.used()));
    // Each takes a group of the log, until the next segment would be needed.
    let refused = (0..10_000).find_map(|_| store.checkpoint().err()).unwrap();
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    for _ in 0..2 {
        assert!(matches!(store.close(), Err(Error::DiskFull { .. })));
    }
    disk.set_capacity(None);
    store.close().unwrap();
    store.close().unwrap();
    assert!(store.inner.checkpointing.lock().clean_end.is_some());
}

/// With its steps called one by one, and then as a whole.
#[test]
fn a_checkpoint_s_progress_moves_and_ends() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let mut turn = store.turn().unwrap();
    let pages: Vec<PageNo> =
        (0..3 * RUN_PAGES_MAX).map(|_| turn.allocate(PageKind::Record).unwrap()).collect();
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
    assert_eq!(store.status().checkpoint.phase, CheckpointPhase::Idle);
    let progress = &store.inner.checkpoint_progress;
    let under_way = progress.begin(Duration::ZERO);
    progress.set_total(store.inner.cache.dirty_pages());
    progress.enter(CheckpointPhase::Writing);
    let status = store.status_at_once();
    assert_eq!((status.checkpoint.phase, status.checkpoint.pages_done), (CheckpointPhase::Writing, 0));
    assert!(status.checkpoint.pages_total >= pages.len() as u64);
    assert!(status.checkpoint_running.is_some());
    store.inner.write_back(Pace::Fast).unwrap();
    let done = store.status_at_once().checkpoint;
    assert!(done.pages_done >= pages.len() as u64 && done.pages_done <= done.pages_total, "{done:?}");
    drop(under_way);
    assert_eq!(store.status().checkpoint.phase, CheckpointPhase::Idle);
    // A whole one, and one that fails.
    change(&store, pages[0], 1);
    store.checkpoint().unwrap();
    let after = store.status();
    assert_eq!((after.checkpoint.phase, after.checkpoint_running), (CheckpointPhase::Idle, None));
    assert!(after.checkpoint.pages_done >= 1 && after.checkpoint.pages_done < pages.len() as u64);
    disk.inject(Fault::on(OpKind::Sync));
    assert!(store.checkpoint().is_err());
    assert_eq!(store.status().checkpoint.phase, CheckpointPhase::Idle);
}
