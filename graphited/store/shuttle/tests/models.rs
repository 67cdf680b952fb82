//! The store's concurrent parts under Shuttle: threads are tasks that take turns at each lock, atomic and wait, in an order
//! drawn from a seed. A task that nobody wakes any more is a deadlock, and fails the test; so does an assertion, and the
//! schedule that led there is printed, to be replayed.
//!
//! `SHUTTLE_ROUNDS=20` runs every scenario twenty times as often; `SHUTTLE_SEED=7` has other orders drawn.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "tests")]

// So that the store's own helpers for tests can be used as they are.
extern crate graphite_store_shuttle as graphite_store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

mod engine;
mod locks;
#[path = "../../tests/support/mod.rs"]
mod support;

/// Room for pages on a task's stack.
const STACK_BYTES: usize = 1 << 20;

fn number_of(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn run_with(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    // All atomics are modelled as sequentially consistent; that is known.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario);
}

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

/// Counts over all rounds whether something was seen at all, so that no scenario passes because it never comes to the point.
#[derive(Clone, Default)]
struct Seen(Arc<AtomicU64>);

impl Seen {
    fn once(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn assert_some(&self, what: &str) {
        assert!(self.0.load(Ordering::Relaxed) > 0, "{what} was never seen");
    }
}

fn drawn(rounds: usize) -> (usize, u64) {
    let times = usize::try_from(number_of("SHUTTLE_ROUNDS", 1)).unwrap();
    (rounds * times, number_of("SHUTTLE_SEED", 1))
}
