//! The graph's concurrent parts under Shuttle, over the store under Shuttle: threads are tasks that take turns at each lock,
//! atomic and wait, in an order drawn from a seed. A task that nobody wakes any more is a deadlock, and fails the test; so does
//! an assertion, and the schedule that led there is printed, to be replayed.
//!
//! `SHUTTLE_ROUNDS=20` runs every scenario twenty times as often; `SHUTTLE_SEED=7` has other orders drawn.
#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::scheduler::{RandomScheduler, Scheduler};
use shuttle::{Config, Runner};

use halting::HaltingScheduler;

mod commits;
mod halting;
#[expect(dead_code, unreachable_pub, reason = "it belongs to the tests of the store, which need more of it")]
#[path = "../../../store/tests/support/hooked.rs"]
mod hooked;

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

/// Runs a scenario in so many orders drawn at random, and in as many in which now and then a task stands still.
fn check(rounds: usize, scenario: impl Fn() + Clone + Send + Sync + 'static) {
    let rounds = rounds * usize::try_from(number_of("SHUTTLE_ROUNDS", 1)).unwrap();
    let seed = number_of("SHUTTLE_SEED", 1);
    run_with(RandomScheduler::new_from_seed(seed, rounds), scenario.clone());
    run_with(HaltingScheduler::new_from_seed(seed, rounds), scenario);
}

/// Runs something once, in some order.
fn run_once(work: impl Fn() + Send + Sync + 'static) {
    run_with(RandomScheduler::new_from_seed(1, 1), work);
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
