//! A sync that fails, while another thread syncs the same file.
//!
//! A write that the system puts off fails behind one's back, and that is told to one sync of the open file only,
//! whoever's it is; the next one succeeds. So a checkpoint must not believe its own sync if a bulk turn's failed
//! meanwhile. The disk here is one that behaves so: the checkpoint's sync is held until the bulk turn's has failed, or
//! until it is clear that that one waits for its turn.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use graphite_store::clock::SimClock;
use graphite_store::disk::SimDisk;
use graphite_store::{Error, PageKind, PageWriter, Store};
use support::hooked::{Doing, HookedDisk, is_log};
use support::{PATH, options};

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
