//! The graph's concurrent parts under Shuttle, over the store under Shuttle: threads are tasks that take turns at each lock,
//! atomic and wait, in an order drawn from a seed. A task that nobody wakes any more is a deadlock, and fails the test; so does
//! an assertion, and the schedule that led there is printed, to be replayed.
//!
//! `SHUTTLE_ROUNDS=20` runs every scenario twenty times as often; `SHUTTLE_SEED=7` has other orders drawn.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "tests")]

use shuttle::scheduler::RandomScheduler;

use halting::HaltingScheduler;
use runner::{Seen, drawn, run_with};

mod commits;
mod halting;
#[expect(dead_code, unreachable_pub, reason = "it belongs to the tests of the store, which need more of it")]
#[path = "../../../store/tests/support/hooked.rs"]
mod hooked;
#[path = "../../../store/shuttle/tests/runner/mod.rs"]
mod runner;

/// Runs a scenario in so many orders drawn at random, and in as many in which now and then a task stands still.
fn check(rounds: usize, scenario: impl Fn() + Clone + Send + Sync + 'static) {
    let (rounds, seed) = drawn(rounds);
    run_with(RandomScheduler::new_from_seed(seed, rounds), scenario.clone());
    run_with(HaltingScheduler::new_from_seed(seed, rounds), scenario);
}

/// Runs something once, in some order.
fn run_once(work: impl Fn() + Send + Sync + 'static) {
    run_with(RandomScheduler::new_from_seed(1, 1), work);
}
