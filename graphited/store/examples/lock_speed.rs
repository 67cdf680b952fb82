//! How fast are locks? Uncontended, with their path, and handed over to somebody who waits.
//!
//! `cargo run --release -p graphite-store --example lock_speed`
#![allow(clippy::unwrap_used, reason = "a measurement may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use graphite_store::locks::LockMode::{Exclusive, Shared};
use graphite_store::locks::{LockManager, LockName, LockOptions, SpaceId};

const ROUNDS: u64 = 1_000_000;
const HAND_OVERS: usize = 2000;
const SLOTS_PER_PAGE: u64 = 255;

fn slot(number: u64) -> LockName {
    LockName::Slot { space: SpaceId(0), page: number / SLOTS_PER_PAGE, slot: number }
}

fn main() {
    for run in 1..=3 {
        println!("run {run}");
        one_name();
        slot_under_held_intents();
        slot_with_path();
        held_already();
        hand_over();
    }
}

fn report(what: &str, rounds: u64, begun: Instant) {
    println!("  {what:<62} {:>7.0} ns", begun.elapsed().as_nanos() as f64 / rounds as f64);
}

/// The one name that has nothing above it.
fn one_name() {
    let locks = LockManager::new(LockOptions::default());
    let mut owner = locks.owner(0);
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        owner.lock(LockName::Database, Exclusive).unwrap();
        owner.release_all();
    }
    report("lock and unlock one name", ROUNDS, begun);
}

/// Ten slots to a transaction, far from each other; only what comes after the intents is counted, with its share of the
/// release.
fn slot_under_held_intents() {
    const SLOTS: u64 = 100;
    let locks = LockManager::new(LockOptions::default());
    let mut spent = Duration::ZERO;
    let mut owner = locks.owner(0);
    let rounds = ROUNDS / SLOTS;
    for round in 0..rounds {
        let page = round * SLOTS_PER_PAGE;
        owner.lock(slot(page), Exclusive).unwrap();
        let begun = Instant::now();
        for number in 1..=SLOTS {
            owner.lock(slot(page + number), Exclusive).unwrap();
        }
        owner.release_all();
        spent += begun.elapsed();
    }
    report("lock and unlock a slot, intents held already", rounds * SLOTS, Instant::now() - spent);
}

fn slot_with_path() {
    let locks = LockManager::new(LockOptions::default());
    let mut owner = locks.owner(0);
    let begun = Instant::now();
    for round in 0..ROUNDS {
        owner.lock(slot(round * 7), Exclusive).unwrap();
        owner.release_all();
    }
    report("lock and unlock a slot and its whole path (4 names)", ROUNDS, begun);
    let begun = Instant::now();
    for round in 0..ROUNDS {
        locks.owner(round).lock(slot(round * 7), Exclusive).unwrap();
    }
    report("the same, by a new owner each time", ROUNDS, begun);
}

fn held_already() {
    let locks = LockManager::new(LockOptions::default());
    let mut owner = locks.owner(0);
    owner.lock(slot(3), Exclusive).unwrap();
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        owner.lock(slot(3), Shared).unwrap();
    }
    report("ask for what is held", ROUNDS, begun);
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
        "  {:<62} {:>7.1} us (median), {:.1} (p90), {:.1} (p99)",
        "hand over to a waiter: release to the waiter's return",
        at(0.5),
        at(0.9),
        at(0.99)
    );
}
