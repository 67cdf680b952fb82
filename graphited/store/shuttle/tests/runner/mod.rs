//! How a scenario is run, here and in the models of the graph.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use shuttle::scheduler::Scheduler;
use shuttle::{Config, Runner};

/// Room for pages on a task's stack.
const STACK_BYTES: usize = 1 << 20;

fn number_of(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// In how many orders a scenario is run that is run in so many by default, and the seed that they are drawn from.
pub(crate) fn drawn(rounds: usize) -> (usize, u64) {
    let times = usize::try_from(number_of("SHUTTLE_ROUNDS", 1)).unwrap();
    (rounds * times, number_of("SHUTTLE_SEED", 1))
}

pub(crate) fn run_with(scheduler: impl Scheduler + 'static, scenario: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    // All atomics are modelled as sequentially consistent; that is known.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(scenario);
}

/// Counts over all rounds whether something was seen at all, so that no scenario passes because it never comes to the point.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<AtomicU64>);

impl Seen {
    pub(crate) fn once(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn assert_some(&self, what: &str) {
        assert!(self.0.load(Ordering::Relaxed) > 0, "{what} was never seen");
    }
}
