//! Recovery of a log that brings far more pages than the cache has room for.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use graphite_store::clock::SimClock;
use graphite_store::disk::{Op, OpKind, Outcome, SimDisk};
use graphite_store::{
    Lsn, PAGE_BYTES, PageKind, PageNo, PageReader, PageWriter, Result, Store, StoreOptions,
};
use support::PATH;

const PAGES: u64 = 4000;
const AT: usize = 100;
/// What images of pages log: little, so that one batch of the replay has all; or much, so that the changes come in later
/// batches than most images, whose pages were evicted by then.
const LITTLE: usize = 8;
const MUCH: usize = 3000;

fn opened(disk: &SimDisk, cache_bytes: usize) -> Result<Store> {
    let options = StoreOptions { create: true, cache_bytes, wal_bytes: 64 << 20, ..StoreOptions::default() };
    Store::open(Arc::new(disk.clone()), Arc::new(SimClock::default()), Path::new(PATH), options)
}

/// Commits of a page each, and then of a change of each; returns the pages.
fn many_pages(store: &Store, logged: usize) -> Vec<PageNo> {
    let pages: Vec<PageNo> = (0..PAGES)
        .map(|number| {
            let mut turn = store.turn().unwrap();
            let page = turn.allocate(PageKind::Record).unwrap();
            let bytes = turn.page_mut(page).unwrap().range_mut(AT..AT + logged);
            bytes.fill(7);
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            turn.commit().unwrap();
            page
        })
        .collect();
    for some in pages.chunks(100) {
        let mut turn = store.turn().unwrap();
        for page in some {
            turn.page_mut(*page).unwrap().range_mut(4000..4001)[0] = 1;
        }
        let lsn = turn.commit().unwrap();
        store.wait_visible(lsn).unwrap();
    }
    pages
}

#[test]
fn pages_of_a_log_that_do_not_fit_the_cache_are_written_back_on_the_way() {
    recovers_in_a_small_cache(LITTLE);
}

/// Between the load of a page for a change and the change, the cache may need its room again.
#[test]
fn pages_that_were_evicted_during_a_replay_are_changed_by_what_comes_later() {
    recovers_in_a_small_cache(MUCH);
}

fn recovers_in_a_small_cache(logged: usize) {
    let disk = SimDisk::new();
    let store = opened(&disk, 256 << 20).unwrap();
    let pages = many_pages(&store, logged);
    drop(store);
    let cache_bytes = 1 << 20;
    let store = opened(&disk.process_crash(), cache_bytes).unwrap();
    let resident = store.status().cache_bytes;
    assert!(resident <= cache_bytes, "{resident} bytes are in a cache of {cache_bytes}");
    let snapshot = store.snapshot().unwrap();
    for (number, page) in (0u64..).zip(pages) {
        let page = snapshot.page(page).unwrap();
        assert_eq!(page.body()[AT..AT + 8], number.to_le_bytes());
        assert_eq!(page.body()[4000], 1, "a change of page {} is lost", page.number());
    }
}

/// A log that fits is replayed without a write of a page.
#[test]
fn pages_of_a_log_that_fit_the_cache_are_not_written() {
    let disk = SimDisk::new();
    let store = opened(&disk, 256 << 20).unwrap();
    many_pages(&store, LITTLE);
    drop(store);
    let store = opened(&disk.process_crash(), 256 << 20).unwrap();
    let status = store.status();
    assert_eq!((status.page_writes, status.pages_dirty > PAGES as usize), (0, true));
}

/// A checkpoint has written all pages and not come to the superblock, and the last commit in the log is damaged: what can be
/// replayed of it is older than the file. Also where the pages of the replay do not fit the cache.
#[test]
fn a_page_in_the_file_that_is_newer_than_what_can_be_replayed_is_shown() {
    const SEGMENT_HEADER: u64 = 4096;
    let disk = SimDisk::new();
    opened(&disk, 256 << 20).unwrap().close().unwrap();
    let disk = disk.process_crash();
    let store = opened(&disk, 256 << 20).unwrap();
    let mut turn = store.turn().unwrap();
    let pages: Vec<PageNo> = (0..500).map(|_| turn.allocate(PageKind::Record).unwrap()).collect();
    store.wait_visible(turn.commit().unwrap()).unwrap();
    store.checkpoint().unwrap();
    let mut last = Lsn(0);
    for value in 1..=2 {
        last = store.applied_lsn();
        let mut turn = store.turn().unwrap();
        pages.iter().for_each(|page| turn.page_mut(*page).unwrap().body_mut()[0] = value);
        store.wait_visible(turn.commit().unwrap()).unwrap();
    }
    let before = disk.ops();
    disk.keep_history();
    store.checkpoint().unwrap();
    let is_copy = |op: &Op| *op.path == *Path::new(PATH) && op.offset < 2 * PAGE_BYTES as u64;
    let writes = disk.trace().into_iter().filter(|op| op.index >= before && op.kind == OpKind::Write);
    let copy = writes.into_iter().find(is_copy).unwrap();
    let left = disk.after_op(copy.index - 1).unwrap().power_cut(Outcome::KeepAll);
    left.corrupt("/db.wal/0000000000.wal", SEGMENT_HEADER + last.0 + 20, 1, |bytes| bytes[0] ^= 1).unwrap();
    for cache_bytes in [256 << 20, 1 << 20] {
        let (disk, clock) = (Arc::new(left.fork()), Arc::new(SimClock::default()));
        let looked = Store::look(disk, clock, Path::new(PATH), cache_bytes).unwrap();
        assert!(!looked.problems.is_empty(), "the last commit is damaged");
        assert_eq!(looked.log_end, last);
        let snapshot = looked.store.snapshot().unwrap();
        let older = pages.iter().filter(|page| snapshot.page(**page).unwrap().body()[0] != 2).count();
        assert_eq!(older, 0, "with a cache of {cache_bytes} bytes");
    }
}
