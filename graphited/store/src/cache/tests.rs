//! Races of the cache, set up step by step: what happens in the midst of a load or a write is done by hand there.

use super::*;
use crate::page::{DatabaseId, PageKind};

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
