//! Orders in which now and then a task stands still, in the midst of whatever it does, while all others come far. Drawn step by
//! step such an order hardly ever comes up; and priorities do not last, as every write and sync here gives way.

use shuttle::scheduler::{RandomScheduler, Schedule, Scheduler, Task, TaskId};

/// Steps from one halt to the next, on average.
const STEPS_BETWEEN: u64 = 150;
/// Steps that all others take meanwhile, at most.
const STEPS_HALTED_MAX: u64 = 600;

/// Draws who goes on among those that do not stand still.
#[derive(Debug)]
pub(crate) struct HaltingScheduler {
    random: RandomScheduler,
    /// Its own, so that what tasks draw is the same when a schedule is replayed.
    drawn: u64,
    /// Who stands still, and for how many steps more.
    halted: Option<(TaskId, u64)>,
}

impl HaltingScheduler {
    pub(crate) fn new_from_seed(seed: u64, rounds: usize) -> HaltingScheduler {
        HaltingScheduler { random: RandomScheduler::new_from_seed(seed, rounds), drawn: seed, halted: None }
    }

    /// A number below `end`, by splitmix64.
    fn draw(&mut self, end: u64) -> u64 {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.drawn;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }
}

impl Scheduler for HaltingScheduler {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.halted = None;
        self.random.new_execution()
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let halts = self.draw(STEPS_BETWEEN) == 0;
        self.halted = match self.halted {
            Some((task, left)) => (left > 0).then(|| (task, left - 1)),
            None => current.filter(|_| halts).map(|task| (task, self.draw(STEPS_HALTED_MAX))),
        };
        let stands = |task: &&&Task| self.halted.is_some_and(|(halted, _)| halted == task.id());
        let others: Vec<&Task> = runnable.iter().filter(|task| !stands(task)).copied().collect();
        if others.is_empty() {
            // All others wait for it.
            self.halted = None;
            return self.random.next_task(runnable, current, is_yielding);
        }
        self.random.next_task(&others, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.random.next_u64()
    }
}
