//! Bulk turns: what they hold in memory, what they leave in the file, and which pages they may write over.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use graphite_store::clock::SimClock;
use graphite_store::disk::{Outcome, SimDisk};
use graphite_store::{Error, PAGE_BYTES, PageKind, PageNo, PageReader, PageWriter, Store, StoreOptions};
use support::{fill, open, options};

/// Pages besides new ones that a turn without other changes copies: state and bitmap.
const OWN: usize = 2;

fn new_held_max() -> usize {
    options().bulk_new_bytes_max() as usize / PAGE_BYTES
}

fn write(turn: &mut impl PageWriter, page: PageNo, k: u64) {
    fill(turn.page_mut(page).unwrap().body_mut(), page, k);
}

fn written<R: PageReader>(reader: &R, page: PageNo) -> u64 {
    let page = reader.page_of(page, PageKind::Record).unwrap();
    u64::from_le_bytes(*page.body().first_chunk().unwrap())
}

/// Makes so many pages in a bulk turn, and changes and frees some long after they were spilled.
fn load(store: &Store, count: usize, k: u64) -> Vec<PageNo> {
    let mut turn = store.turn_bulk().unwrap();
    let mut pages = Vec::new();
    for i in 0..count {
        let page = turn.allocate(PageKind::Record).unwrap();
        write(&mut turn, page, k);
        pages.push(page);
        if i % 5 == 4 {
            // Sees what was spilled, and changes it.
            assert_eq!(written(&turn, pages[i / 2]), k);
            write(&mut turn, pages[i / 3], k);
        }
        assert!(turn.copies() <= new_held_max() + OWN, "{} copies after {i} pages", turn.copies());
    }
    let freed = pages.remove(count / 4);
    turn.free(freed).unwrap();
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
    pages
}

#[test]
fn a_bulk_turn_holds_a_bounded_number_of_pages_and_loses_none() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let count = new_held_max() * 20;
    let pages = load(&store, count, 7);
    let status = store.status();
    assert!(status.log_bytes < 4096, "new pages are not in the log: {} bytes", status.log_bytes);
    assert!(status.cache_bytes <= status.cache_bytes_max);
    for _ in 0..2 {
        let snapshot = store.snapshot().unwrap();
        assert!(pages.iter().all(|&page| written(&snapshot, page) == 7));
    }
    drop(store);
    let store = open(&disk.power_cut(Outcome::LoseAll)).unwrap();
    let snapshot = store.snapshot().unwrap();
    assert!(pages.iter().all(|&page| written(&snapshot, page) == 7));
}

#[test]
fn a_dropped_bulk_turn_that_spilled_leaves_no_trace() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let kept = load(&store, 8, 1);
    let before = store.status();
    let mut turn = store.turn_bulk().unwrap();
    for _ in 0..new_held_max() * 3 {
        let page = turn.allocate(PageKind::Record).unwrap();
        write(&mut turn, page, 2);
    }
    drop(turn);
    let after = store.status();
    assert_eq!(
        (after.pages, after.pages_free, after.applied),
        (before.pages, before.pages_free, before.applied)
    );
    assert!(after.page_writes > before.page_writes, "something was spilled");
    // Those pages are used by others now, and past the log as well as through it.
    let more = load(&store, new_held_max() * 2, 3);
    let mut turn = store.turn().unwrap();
    let logged = turn.allocate(PageKind::Record).unwrap();
    write(&mut turn, logged, 4);
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
    drop(store);
    let store = open(&disk.power_cut(Outcome::LoseAll)).unwrap();
    let snapshot = store.snapshot().unwrap();
    assert!(kept.iter().all(|&page| written(&snapshot, page) == 1));
    assert!(more.iter().all(|&page| written(&snapshot, page) == 3));
    assert_eq!(written(&snapshot, logged), 4);
}

#[test]
fn freed_pages_are_written_past_the_log_only_when_no_record_speaks_of_them() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let count = new_held_max() * 2;
    let pages = load(&store, count, 1);
    // Their images are in the log now, and their versions in the cache.
    for some in pages.chunks(4) {
        let mut turn = store.turn().unwrap();
        some.iter().for_each(|&page| write(&mut turn, page, 2));
        let lsn = turn.commit().unwrap();
        store.wait_visible(lsn).unwrap();
    }
    for some in pages.chunks(8) {
        let mut turn = store.turn().unwrap();
        some.iter().for_each(|&page| turn.free(page).unwrap());
        let lsn = turn.commit().unwrap();
        store.wait_visible(lsn).unwrap();
    }
    let redo = store.status().redo;
    let first = load(&store, 4, 3);
    assert_eq!(store.status().redo, redo, "no checkpoint came between");
    assert!(first.iter().all(|page| !pages.contains(page)), "the log speaks of them");
    store.checkpoint().unwrap();
    let pages_before = store.status().pages;
    let second = load(&store, count - 4, 4);
    // Besides those that the loads freed themselves.
    let reused = second.iter().filter(|page| pages.contains(page)).count();
    assert!(reused >= count - 8, "after a checkpoint it does not: {reused}");
    assert_eq!(store.status().pages, pages_before, "the file did not grow");
    let is_right = |store: &Store| {
        let snapshot = store.snapshot().unwrap();
        first.iter().all(|&page| written(&snapshot, page) == 3)
            && second.iter().all(|&page| written(&snapshot, page) == 4)
    };
    assert!(is_right(&store), "the cache shows their earlier life");
    drop(store);
    let store = open(&disk.power_cut(Outcome::LoseAll)).unwrap();
    assert!(is_right(&store), "recovery brought their earlier life back");
}

#[test]
fn existing_pages_that_one_bulk_turn_changes_are_bounded() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let pages = load(&store, new_held_max() * 8, 1);
    let mut turn = store.turn_bulk().unwrap();
    let max = turn.bulk_changes_max();
    assert!(max < pages.len());
    let mut result = Ok(());
    for (index, &page) in pages.iter().enumerate() {
        result = turn.page_mut(page).map(|_| ());
        if result.is_err() {
            assert_eq!(index, max);
            break;
        }
    }
    assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
}

/// What a bulk turn logs is no more than what it reserved in the cache, even where one turn alone might log more.
#[test]
fn a_bulk_turn_logs_no_more_than_it_reserved() {
    let options = StoreOptions { cache_bytes: 512 << 10, wal_bytes: 4 << 20, ..options() };
    let disk = SimDisk::new();
    let clock = Arc::new(SimClock::default());
    let store = Store::open(Arc::new(disk), clock, Path::new(support::PATH), options).unwrap();
    let pages = load(&store, 40, 1);
    let before = store.status();
    let mut turn = store.turn_bulk().unwrap();
    let reserved = turn.bytes_max();
    assert!(reserved < store.transaction_bytes_max(), "else there is nothing to tell apart");
    // Changed pages are held twice, before and after.
    let options = store.options();
    let shares = 2 * options.bulk_changes_bytes_max() + options.bulk_new_bytes_max() + reserved;
    assert!(shares <= options.cache_bytes as u64 / 16 * 17, "{shares} bytes");
    let full = |page: &mut graphite_store::Page| page.body_mut().fill(7);
    // As many full pages as may be changed: more bytes than are reserved.
    let changed = (turn.bulk_changes_max() - OWN).min(pages.len());
    assert!((changed * PAGE_BYTES) as u64 > reserved);
    pages[..changed].iter().for_each(|&page| full(turn.page_mut(page).unwrap()));
    let result = turn.commit();
    assert!(matches!(result, Err(Error::TooLarge { max, .. }) if max == reserved), "{result:?}");
    assert_eq!(store.status().applied, before.applied, "nothing of it is kept");
}
