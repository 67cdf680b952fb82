//! A disk that is gone, below a system that still has in memory what was read from it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use graphite_store::clock::SimClock;
use graphite_store::disk::{Disk, SimDisk};
use graphite_store::{PAGE_BYTES, Snapshot, Store, Sweep};
use support::hooked::{Doing, HookedDisk};
use support::{PATH, open, options};

/// From now on reads are answered until the system was told to forget what it has in memory.
fn dies_below_the_cache(disk: &HookedDisk) {
    let copies = 2 * PAGE_BYTES as u64;
    let forgotten = [false, false].map(AtomicBool::new);
    disk.ask(move |path, doing| {
        let copy = |offset| usize::try_from(offset / PAGE_BYTES as u64).unwrap();
        match doing {
            Doing::Forget(offset) if path == Path::new(PATH) => {
                forgotten[copy(offset)].store(true, Ordering::Relaxed);
                Ok(())
            }
            Doing::Read(offset) if offset < copies && !forgotten[copy(offset)].load(Ordering::Relaxed) => {
                Ok(())
            }
            _ => Err(io::Error::other("the disk is gone")),
        }
    });
}

fn answers(snapshot: &Snapshot) -> graphite_store::Result<()> {
    Sweep::new(snapshot).disk_answers()
}

/// Both of a store in use and of one that is only looked at.
#[test]
fn a_dead_disk_does_not_answer_from_the_system_s_memory() {
    let sim = SimDisk::new();
    drop(open(&sim).unwrap());
    let disk = HookedDisk::new(sim.process_crash());
    let (shared, clock): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), Arc::new(SimClock::default()));
    let path = Path::new(PATH);
    let looked = Store::look(shared.clone(), clock.clone(), path, 1 << 20).unwrap();
    let snapshot = looked.store.snapshot().unwrap();
    answers(&snapshot).unwrap();
    dies_below_the_cache(&disk);
    let error = answers(&snapshot).unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
    disk.ask_nobody();
    drop((snapshot, looked));

    let store = Store::open(shared, clock, path, options()).unwrap();
    let snapshot = store.snapshot().unwrap();
    answers(&snapshot).unwrap();
    dies_below_the_cache(&disk);
    let error = answers(&snapshot).unwrap_err();
    assert!(error.to_string().contains("the disk is gone"), "{error}");
}
