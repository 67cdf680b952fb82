//! Which versions of a page are kept, for whom, and when they go.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use graphite_store::clock::SimClock;
use graphite_store::disk::SimDisk;
use graphite_store::{Error, Lsn, PageKind, PageNo, PageReader, PageWriter, Snapshot, Store, StoreOptions};
use support::{COUNTER, PATH, open, options};

fn new_page(store: &Store) -> PageNo {
    let mut turn = store.turn().unwrap();
    let page = turn.allocate(PageKind::Record).unwrap();
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
    page
}

fn put(store: &Store, page: PageNo, value: u8) -> Lsn {
    let mut turn = store.turn().unwrap();
    turn.page_mut(page).unwrap().body_mut()[0] = value;
    turn.commit().unwrap()
}

fn get(snapshot: &Snapshot, page: PageNo) -> u8 {
    snapshot.page(page).unwrap().body()[0]
}

fn old_versions(store: &Store) -> u64 {
    store.status().old_version_bytes / 8192
}

#[test]
fn a_snapshot_stands_still_and_at_what_is_durable() {
    let store = open(&SimDisk::new()).unwrap();
    let page = new_page(&store);
    store.wait_visible(put(&store, page, 1)).unwrap();
    let before = store.snapshot().unwrap();
    let unsynced = put(&store, page, 2);
    let during = store.snapshot().unwrap();
    assert_eq!((get(&before, page), get(&during, page)), (1, 1), "what is not durable is not shown");
    assert_eq!(get(&store.pin(), page), 2, "but a write transaction sees it");
    store.wait_visible(unsynced).unwrap();
    assert_eq!((get(&before, page), get(&store.snapshot().unwrap(), page)), (1, 2));
}

#[test]
fn versions_go_when_nobody_may_need_them_and_not_before() {
    let store = open(&SimDisk::new()).unwrap();
    let page = new_page(&store);
    let mut snapshots = Vec::new();
    for value in 1..=20 {
        store.wait_visible(put(&store, page, value)).unwrap();
        if value % 5 == 0 {
            snapshots.push((value, store.snapshot().unwrap()));
        }
    }
    assert_eq!(
        old_versions(&store),
        3,
        "one for each snapshot but the newest, which stands at the newest version"
    );
    for (value, snapshot) in &snapshots {
        assert_eq!(get(snapshot, page), *value);
    }
    // From the middle outwards: each departure frees just its own.
    for (place, left) in [(1, 2), (1, 1), (0, 0)] {
        snapshots.remove(place);
        assert_eq!(old_versions(&store), left);
        snapshots.iter().for_each(|(value, snapshot)| assert_eq!(get(snapshot, page), *value));
    }
}

#[test]
fn a_version_that_is_neither_visible_nor_under_a_snapshot_waits_for_its_successor() {
    let store = open(&SimDisk::new()).unwrap();
    let page = new_page(&store);
    store.wait_visible(put(&store, page, 1)).unwrap();
    put(&store, page, 2);
    put(&store, page, 3);
    let last = put(&store, page, 4);
    // 1 is visible and superseded; 2 and 3 are neither visible nor under a snapshot; none may go, for a snapshot
    // that begins now stands at 1, and one that began between two syncs would stand at 2 or 3.
    assert_eq!(old_versions(&store), 3);
    assert_eq!(get(&store.snapshot().unwrap(), page), 1);
    store.wait_visible(last).unwrap();
    assert_eq!(old_versions(&store), 0);
    assert_eq!(get(&store.snapshot().unwrap(), page), 4);
}

#[test]
fn an_old_version_whose_page_is_checkpointed_is_still_there_for_its_snapshot() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let page = new_page(&store);
    store.wait_visible(put(&store, page, 1)).unwrap();
    let old = store.snapshot().unwrap();
    store.wait_visible(put(&store, page, 2)).unwrap();
    store.checkpoint().unwrap();
    assert_eq!(disk.read_file(PATH).unwrap()[page.offset() as usize + 24], 2, "the file has the new one");
    assert_eq!((get(&old, page), get(&store.snapshot().unwrap(), page)), (1, 2));
}

#[test]
fn a_freed_page_is_not_used_anew_under_a_snapshot_that_sees_it() {
    let store = open(&SimDisk::new()).unwrap();
    let page = new_page(&store);
    store.wait_visible(put(&store, page, 7)).unwrap();
    let old = store.snapshot().unwrap();
    let mut turn = store.turn().unwrap();
    turn.free(page).unwrap();
    store.wait_visible(turn.commit().unwrap()).unwrap();
    assert_ne!(new_page(&store), page);
    assert_eq!(get(&old, page), 7);
    drop(old);
    assert_eq!(new_page(&store), page, "now it is");
}

#[test]
fn a_dropped_turn_leaves_no_trace() {
    let store = open(&SimDisk::new()).unwrap();
    let page = new_page(&store);
    let status = store.status();
    let mut turn = store.turn().unwrap();
    let fresh = turn.allocate(PageKind::Record).unwrap();
    turn.page_mut(page).unwrap().body_mut()[0] = 9;
    turn.free(page).unwrap();
    drop(turn);
    assert_eq!(get(&store.pin(), page), 0);
    assert_eq!((store.status().pages, store.status().pages_free), (status.pages, status.pages_free));
    assert_eq!(store.status().applied, status.applied);
    assert_eq!(new_page(&store), fresh);
}

/// Whoever does it twice has it given out twice.
#[test]
fn a_page_is_freed_once() {
    let store = open(&SimDisk::new()).unwrap();
    let page = new_page(&store);
    let mut turn = store.turn().unwrap();
    turn.free(page).unwrap();
    assert!(matches!(turn.free(page), Err(Error::CorruptPage { .. })));
    drop(turn);
    let mut turn = store.turn().unwrap();
    turn.free(page).unwrap();
    turn.commit().unwrap();
    assert!(matches!(store.turn().unwrap().free(page), Err(Error::CorruptPage { .. })));
}

#[test]
fn a_turn_that_changes_nothing_appends_nothing() {
    let store = open(&SimDisk::new()).unwrap();
    let page = new_page(&store);
    let before = store.applied_lsn();
    assert_eq!(put(&store, page, 0), before);
    assert_eq!(store.turn().unwrap().commit().unwrap(), before);
}

#[test]
fn memory_stays_bounded_while_the_data_grows_past_it() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let mut pages = Vec::new();
    for k in 0..600u32 {
        let mut turn = store.turn().unwrap();
        let page = turn.allocate(PageKind::Record).unwrap();
        turn.page_mut(page).unwrap().body_mut()[..4].copy_from_slice(&k.to_le_bytes());
        let lsn = turn.commit().unwrap();
        store.wait_visible(lsn).unwrap();
        pages.push(page);
        let limit = options().cache_bytes + 64 * 1024;
        assert!(store.status().cache_bytes <= limit, "{} bytes at {k}", store.status().cache_bytes);
    }
    let snapshot = store.snapshot().unwrap();
    for (k, &page) in pages.iter().enumerate() {
        assert_eq!(snapshot.page(page).unwrap().body()[..4], (k as u32).to_le_bytes());
    }
    assert!(store.status().page_reads > 400, "most had to come from the file again");
    assert!(store.status().cache_bytes <= options().cache_bytes);
}

#[test]
fn a_reader_that_must_not_wait_is_told_what_is_not_in_memory() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let page = new_page(&store);
    store.close().unwrap();
    drop(store);
    let store = open(&disk).unwrap();
    let snapshot = store.snapshot().unwrap();
    snapshot.limit_to_cache(Some(2));
    assert!(matches!(snapshot.page(page).map(|_| ()), Err(Error::NotCached)));
    snapshot.limit_to_cache(None);
    get(&snapshot, page);
    snapshot.expect(1000).unwrap();
    snapshot.limit_to_cache(Some(2));
    assert!(matches!(snapshot.expect(3), Err(Error::NotCached)), "said before anything is done in vain");
    snapshot.expect(2).unwrap();
    assert_eq!((get(&snapshot, page), get(&snapshot, page)), (0, 0));
    assert!(matches!(snapshot.page(page).map(|_| ()), Err(Error::NotCached)), "the budget is spent");
}

#[test]
fn past_the_limit_of_old_versions_the_oldest_snapshot_is_let_down_and_never_lied_to() {
    let store = open(&SimDisk::new()).unwrap();
    let pages: Vec<PageNo> = (0..40).map(|_| new_page(&store)).collect();
    let oldest = store.snapshot().unwrap();
    oldest.state(COUNTER).unwrap();
    for value in 1..=2 {
        for &page in &pages {
            store.wait_visible(put(&store, page, value)).unwrap();
        }
    }
    let results: Vec<_> = pages.iter().map(|&page| oldest.page(page).map(|p| p.body()[0])).collect();
    assert!(results.iter().any(|r| matches!(r, Err(Error::SnapshotTooOld))), "{results:?}");
    assert!(results.iter().all(|r| matches!(r, Ok(0) | Err(Error::SnapshotTooOld))), "{results:?}");
    let roots = oldest.state(COUNTER);
    assert!(
        matches!(roots, Err(Error::SnapshotTooOld)),
        "what it has looked up is no longer good: {roots:?}"
    );
    let fresh = store.snapshot().unwrap();
    assert!(pages.iter().all(|&page| get(&fresh, page) == 2));
}

#[test]
fn snapshots_registered_while_versions_are_dropped_see_one_state() {
    // Both halves of a pair always have the same value; readers come and go while a writer goes on and versions go.
    let store = Store::open(
        Arc::new(SimDisk::new()),
        Arc::new(SimClock::default()),
        Path::new(PATH),
        StoreOptions { wal_bytes: 1 << 20, ..options() },
    )
    .unwrap();
    let (a, b) = (new_page(&store), new_page(&store));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while last < 3000 {
                    let snapshot = store.snapshot().unwrap();
                    let read = |page| {
                        let found = snapshot.page(page).unwrap();
                        u32::from_le_bytes(*found.body().first_chunk().unwrap())
                    };
                    let (x, y) = (read(a), read(b));
                    assert_eq!(x, y);
                    assert!(x >= last, "a later snapshot shows an older state");
                    last = x;
                }
            });
        }
        for k in 1..=3000u32 {
            let mut turn = store.turn().unwrap();
            for page in [a, b] {
                turn.page_mut(page).unwrap().body_mut()[..4].copy_from_slice(&k.to_le_bytes());
            }
            let lsn = turn.commit().unwrap();
            if k % 4 == 0 {
                store.wait_visible(lsn).unwrap();
            }
        }
        store.flush().unwrap();
    });
    assert_eq!(old_versions(&store), 0);
}
