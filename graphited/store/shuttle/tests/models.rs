//! The store's concurrent parts under Shuttle: threads are tasks that take turns at each lock, atomic and wait, in an order
//! drawn from a seed. A task that nobody wakes any more is a deadlock, and fails the test; so does an assertion, and the
//! schedule that led there is printed, to be replayed.
//!
//! `SHUTTLE_ROUNDS=20` runs every scenario twenty times as often; `SHUTTLE_SEED=7` has other orders drawn.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "tests")]

// So that the store's own helpers for tests can be used as they are.
extern crate graphite_store_shuttle as graphite_store;

use shuttle::scheduler::{PctScheduler, RandomScheduler};

use runner::{Seen, drawn, run_with};

mod engine;
mod locks;
mod runner;
#[path = "../../tests/support/mod.rs"]
mod support;

/// Runs a scenario in so many orders drawn at random, and in as many that follow priorities with few changes, which reach
/// further from the usual order.
fn check(rounds: usize, scenario: impl Fn() + Clone + Send + Sync + 'static) {
    check_random(rounds, scenario.clone());
    let (rounds, seed) = drawn(rounds);
    run_with(PctScheduler::new_from_seed(seed, 3, rounds), scenario);
}

/// The first half of [`check`], for scenarios in which somebody looks again and again until others have gone on.
fn check_random(rounds: usize, scenario: impl Fn() + Send + Sync + 'static) {
    let (rounds, seed) = drawn(rounds);
    run_with(RandomScheduler::new_from_seed(seed, rounds), scenario);
}
