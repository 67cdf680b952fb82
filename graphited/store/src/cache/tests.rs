//! Races of the cache, set up step by step: what happens in the midst of a load or a write is done by hand there.

use super::*;
use crate::page::{DatabaseId, PageKind};
use crate::sync::assert_waits_for;

fn page(byte: u8) -> Page {
    let mut page = Page::new(PageNo(7), PageKind::Record, DatabaseId(1));
    page.body_mut()[0] = byte;
    page
}

/// A reader reads the file, and before it is done the applier installs a newer version over a base that was evicted
/// meanwhile.
#[test]
fn what_was_read_from_the_file_never_replaces_what_was_installed_since() {
    let cache = Cache::new(1 << 20);
    let base = cache.make_version(page(1));
    let loaded = cache.newest_or_load(PageNo(7), || {
        cache.install(cache.make_version(page(2)), Some(base));
        Ok(page(1))
    });
    assert_eq!(loaded.unwrap().as_ref().unwrap().page.body()[0], 2);
    assert_eq!(cache.newest(PageNo(7)).as_ref().unwrap().page.body()[0], 2);
    assert_eq!(cache.resident_pages(), 1, "the clock's hand passes it once a round");
}

/// The clock's hand passes twice while a page that was written waits to be called clean.
#[test]
fn a_page_that_was_written_does_not_stay_dirty_because_it_is_evicted_meanwhile() {
    let cache = Cache::new(0);
    cache.install(cache.make_version(page(1)), None);
    let version = cache.newest(PageNo(7)).as_ref().cloned().unwrap();
    std::thread::scope(|scope| {
        let dirty = cache.dirty.lock();
        scope.spawn(|| cache.written(&version));
        // Time for it to come to the lock. Too short, and the test sees less; never more.
        std::thread::sleep(std::time::Duration::from_millis(100));
        cache.evict();
        drop(dirty);
    });
    assert_eq!(cache.dirty_pages(), 0);
    cache.evict();
    assert_eq!(cache.resident_pages(), 0, "it is clean, so it can go");
}

/// It is changed again between the write and the word that it is written.
#[test]
fn a_page_that_was_changed_since_it_was_written_stays_dirty() {
    let cache = Cache::new(0);
    cache.install(cache.make_version(page(1)), None);
    let written = cache.newest(PageNo(7)).as_ref().cloned().unwrap();
    cache.install(cache.make_version(page(2)), Some(written.clone()));
    cache.written(&written);
    assert_eq!(cache.dirty_pages(), 1);
    cache.evict();
    assert_eq!(cache.resident_pages(), 1);
}

/// The mark is set when it is missing, and only then looked for in the set.
#[test]
fn a_page_is_dirty_from_the_first_change_since_it_was_written() {
    let cache = Cache::new(0);
    let newest = || cache.newest(PageNo(7)).as_ref().cloned();
    for change in 1..3 {
        for version in 1..3 {
            cache.install(cache.make_version(page(version)), newest());
            assert_eq!(cache.dirty_pages(), 1, "change {change}, version {version}");
        }
        cache.written(&newest().unwrap());
        assert_eq!(cache.dirty_pages(), 0);
    }
}

/// The file has the newest version only.
#[test]
fn a_page_with_versions_that_readers_may_need_is_not_evicted() {
    let cache = Cache::new(0);
    let in_file = |byte| {
        let version = cache.make_version(page(byte));
        version.in_file.store(true, Ordering::Release);
        version
    };
    cache.install(in_file(1), None);
    let before = cache.newest(PageNo(7)).as_ref().cloned().unwrap();
    cache.install(in_file(2), Some(before.clone()));
    (0..2).for_each(|_| cache.evict());
    let newest = cache.newest(PageNo(7)).as_ref().cloned().expect("it stays");
    assert_eq!(newest.previous.load().expect("so does what hangs there").page.body()[0], 1);
    cache.unlink(&newest, before);
    (0..2).for_each(|_| cache.evict());
    assert_eq!(cache.resident_pages(), 0);
}

/// A reader reads the file while the applier installs a newer version, and that is written to the file: what was
/// read is half of each.
#[test]
fn a_read_that_a_write_tore_is_answered_by_what_was_written() {
    let cache = Cache::new(1 << 20);
    let base = cache.make_version(page(1));
    let torn = || Err(crate::Error::body(PageNo(7), "half of each"));
    let loaded = cache.newest_or_load(PageNo(7), || {
        cache.install(cache.make_version(page(2)), Some(base));
        torn()
    });
    assert_eq!(loaded.unwrap().as_ref().unwrap().page.body()[0], 2);
    // Where nobody installed anything, the error stands.
    assert!(cache.newest_or_load(PageNo(8), torn).is_err());
    assert!(cache.newest(PageNo(8)).is_none());
}

/// Asks for a page that was never there, for one that is there, and for one whose version was freed.
#[test]
fn to_ask_for_a_page_early_neither_loads_nor_keeps_it() {
    let cache = Cache::new(0);
    let version = cache.make_version(page(1));
    version.in_file.store(true, Ordering::Release);
    cache.prefetch(PageNo(7), 0);
    assert!(cache.newest(PageNo(7)).is_none());
    cache.install(version, None);
    for _ in 0..2 {
        cache.prefetch(PageNo(7), 100);
        cache.evict();
    }
    assert_eq!((cache.resident_pages(), cache.resident_bytes()), (0, 0), "to ask is not to touch");
    cache.prefetch(PageNo(7), 100);
    assert!(cache.newest(PageNo(7)).is_none());
}

/// What a load brings must not be older than what was evicted meanwhile, nor belong to an earlier life of the page.
#[test]
fn loads_evictions_and_new_lives_of_a_page_exclude_each_other() {
    let cache = Cache::new(1 << 20);
    let stripe = || cache.stripes[7].lock();
    assert_waits_for(stripe(), || drop(cache.newest_or_load(PageNo(7), || Ok(page(1)))));
    assert_waits_for(stripe(), || cache.discard(FxHashSet::from_iter([PageNo(7)])));
    let cache = Cache::new(0);
    let version = cache.make_version(page(1));
    version.in_file.store(true, Ordering::Release);
    cache.install(version, None);
    let stripe = cache.stripes[7].lock();
    cache.evict();
    assert_eq!(cache.resident_pages(), 1, "it is being loaded");
    drop(stripe);
    cache.evict();
    assert_eq!(cache.resident_pages(), 0);
}

/// Two that did it at once would each put back what the other took out.
#[test]
fn one_at_a_time_shortens_the_chain_of_a_page() {
    let cache = Cache::new(1 << 20);
    assert_waits_for(cache.pruning(PageNo(7)), || cache.install(cache.make_version(page(2)), None));
}
