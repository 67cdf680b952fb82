//! Recovery of a log that brings far more pages than the cache has room for.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use graphite_store::clock::SimClock;
use graphite_store::disk::SimDisk;
use graphite_store::{PageKind, PageNo, PageReader, PageWriter, Result, Store, StoreOptions};
use support::PATH;

const PAGES: u64 = 4000;
/// Of each page but a few bytes are logged, so that a little log brings many pages.
const AT: usize = 100;

fn opened(disk: &SimDisk, cache_bytes: usize) -> Result<Store> {
    let options = StoreOptions { create: true, cache_bytes, wal_bytes: 16 << 20, ..StoreOptions::default() };
    Store::open(Arc::new(disk.clone()), Arc::new(SimClock::default()), Path::new(PATH), options)
}

/// Commits of a page each, and then of a change of each; returns the pages.
fn many_pages(store: &Store) -> Vec<PageNo> {
    let pages: Vec<PageNo> = (0..PAGES)
        .map(|number| {
            let mut turn = store.turn().unwrap();
            let page = turn.allocate(PageKind::Record).unwrap();
            turn.page_mut(page).unwrap().range_mut(AT..AT + 8).copy_from_slice(&number.to_le_bytes());
            turn.commit().unwrap();
            page
        })
        .collect();
    for some in pages.chunks(100) {
        let mut turn = store.turn().unwrap();
        for page in some {
            turn.page_mut(*page).unwrap().range_mut(AT + 8..AT + 9)[0] = 1;
        }
        let lsn = turn.commit().unwrap();
        store.wait_visible(lsn).unwrap();
    }
    pages
}

#[test]
fn pages_of_a_log_that_do_not_fit_the_cache_are_written_back_on_the_way() {
    let disk = SimDisk::new();
    let store = opened(&disk, 256 << 20).unwrap();
    let pages = many_pages(&store);
    drop(store);
    let cache_bytes = 1 << 20;
    let store = opened(&disk.process_crash(), cache_bytes).unwrap();
    let resident = store.status().cache_bytes;
    assert!(resident <= cache_bytes, "{resident} bytes are in a cache of {cache_bytes}");
    let snapshot = store.snapshot().unwrap();
    for (number, page) in (0u64..).zip(pages) {
        let page = snapshot.page(page).unwrap();
        assert_eq!(page.body()[AT..AT + 8], number.to_le_bytes());
        assert_eq!(page.body()[AT + 8], 1);
    }
}

/// A log that fits is replayed without a write of a page.
#[test]
fn pages_of_a_log_that_fit_the_cache_are_not_written() {
    let disk = SimDisk::new();
    let store = opened(&disk, 256 << 20).unwrap();
    many_pages(&store);
    drop(store);
    let store = opened(&disk.process_crash(), 256 << 20).unwrap();
    let status = store.status();
    assert_eq!((status.page_writes, status.pages_dirty > PAGES as usize), (0, true));
}
