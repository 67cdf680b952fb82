//! How fast are locks? Uncontended, with their path, and handed over to somebody who waits.
//!
//! `cargo run --release -p graphite-store --example lock_speed`
#![allow(clippy::unwrap_used, reason = "a measurement may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use graphite_store::locks::LockMode::{Exclusive, Shared};
use graphite_store::locks::{LockManager, LockName, LockOptions, SpaceId};

/// Each figure is taken so many times, each time over so many rounds. The least is what the code costs; the median, what a
/// machine makes of it that has other things to do.
const BATCHES: usize = 60;
const ROUNDS: u64 = 20_000;
const HAND_OVERS: usize = 2000;
const SLOTS_PER_PAGE: u64 = 255;

fn slot(number: u64) -> LockName {
    LockName::Slot { space: SpaceId(0), page: number / SLOTS_PER_PAGE, slot: number }
}

fn main() {
    uncontended();
    hand_over();
}

fn measure(what: &str, mut round: impl FnMut(u64)) {
    let mut nanos: Vec<f64> = (0..BATCHES as u64)
        .map(|batch| {
            let begun = Instant::now();
            (0..ROUNDS).for_each(|at| round(batch * ROUNDS + at));
            begun.elapsed().as_nanos() as f64 / ROUNDS as f64
        })
        .collect();
    nanos.sort_unstable_by(f64::total_cmp);
    println!("{what:<60} {:>6.0} ns (least), {:.0} (median)", nanos[0], nanos[BATCHES / 2]);
}

fn uncontended() {
    let locks = LockManager::new(LockOptions::default());
    let mut owner = locks.owner(0);
    measure("lock and unlock one name", |_| {
        owner.lock(LockName::Database, Exclusive).unwrap();
        owner.release_all();
    });
    // A hundred slots of a page to a transaction: the intents and their release have a hundredth part in it.
    measure("lock and unlock a slot, intents held already", |round| {
        owner.lock(slot(round / 100 * SLOTS_PER_PAGE + round % 100), Exclusive).unwrap();
        if round % 100 == 99 {
            owner.release_all();
        }
    });
    measure("lock and unlock a slot and its whole path, 4 names", |round| {
        owner.lock(slot(round * 7), Exclusive).unwrap();
        owner.release_all();
    });
    measure("the same, by a new owner each time", |round| {
        locks.owner(round).lock(slot(round * 7), Exclusive).unwrap();
    });
    owner.lock(slot(3), Exclusive).unwrap();
    measure("ask for a slot that is held", |_| {
        owner.lock(slot(3), Shared).unwrap();
    });
    owner.lock(LockName::Space(SpaceId(1)), Shared).unwrap();
    measure("ask for a slot whose table is held", |round| {
        owner.lock(LockName::Slot { space: SpaceId(1), page: 0, slot: round }, Shared).unwrap();
    });
}

/// From just before the release to just after the waiter's return, in another thread.
fn hand_over() {
    let locks = LockManager::new(LockOptions::default());
    let start = Instant::now();
    let released_at = Arc::new(AtomicU64::new(0));
    let nanos = move || u64::try_from(start.elapsed().as_nanos()).unwrap();
    let mut took = Vec::with_capacity(HAND_OVERS);
    let mut holder = locks.owner(0);
    holder.lock(slot(1), Exclusive).unwrap();
    for _ in 0..HAND_OVERS {
        let mut waiter = locks.owner(1);
        let thread = std::thread::spawn({
            let released_at = released_at.clone();
            move || {
                waiter.lock(slot(1), Exclusive).unwrap();
                let now = nanos();
                (waiter, now - released_at.load(Ordering::SeqCst))
            }
        });
        while locks.picture().waits.is_empty() {
            std::thread::yield_now();
        }
        // It shall be asleep by then, as it would be.
        std::thread::sleep(Duration::from_micros(200));
        released_at.store(nanos(), Ordering::SeqCst);
        holder.release_all();
        let (next, nanos) = thread.join().unwrap();
        took.push(nanos);
        holder = next;
    }
    took.sort_unstable();
    let at = |share: f64| took[(took.len() as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "{:<60} {:>6.1} us (median), {:.1} (p90), {:.1} (p99)",
        "hand over to a waiter: release to the waiter's return",
        at(0.5),
        at(0.9),
        at(0.99)
    );
}
