//! How an owner sleeps until it is told something: a lock granted, a deadlock, a cancellation, or that time ran out.
//!
//! Invariants:
//! 1. What a wait came to is told under the lock of the name's shard, by whoever takes the waiter out of the queue. So an
//!    owner that wants to give up, and does not find itself in the queue any more, has been told by then.
//! 2. It is told before it is woken, under the lock under which the sleeper looks. So no wake-up is lost.
//! 3. This lock is taken under a shard's, never the other way round.

use std::sync::Arc as StdArc;
use std::time::Duration;

use super::error::Deadlock;
use super::owner::OwnerId;
use crate::clock::Clock;
use crate::sync::{Arc, Condvar, Mutex, wait, wait_timeout};

/// The part of an owner that other threads see.
#[derive(Debug)]
pub(super) struct Sleeper {
    pub(super) id: OwnerId,
    pub(super) tag: u64,
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug)]
struct State {
    outcome: Option<Outcome>,
    cancelled: bool,
    statement: StdArc<str>,
}

/// What a wait came to.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Granted,
    Deadlock(StdArc<Deadlock>),
}

/// Why a sleeper woke.
pub(super) enum Woken {
    Told(Outcome),
    Cancelled,
    TimeRanOut,
}

impl Sleeper {
    pub(super) fn new(id: OwnerId, tag: u64, statement: StdArc<str>) -> Sleeper {
        let state = State { outcome: None, cancelled: false, statement };
        Sleeper { id, tag, state: Mutex::new(state), told: Condvar::new() }
    }

    /// Makes ready for a wait; `false` if it was cancelled.
    pub(super) fn begin(&self) -> bool {
        let state = self.state.lock();
        debug_assert!(state.outcome.is_none(), "what the last wait came to was heard");
        !state.cancelled
    }

    /// Says what the wait came to. [`Self::wake`] has to follow.
    pub(super) fn tell(&self, outcome: Outcome) {
        let mut state = self.state.lock();
        debug_assert!(state.outcome.is_none(), "a wait ends once");
        state.outcome = Some(outcome);
    }

    pub(super) fn wake(&self) {
        self.told.notify_one();
    }

    /// Sleeps until `deadline` at most, as the clock has it. What was told counts more than a cancellation or the time.
    pub(super) fn sleep(&self, clock: &dyn Clock, deadline: Option<Duration>) -> Woken {
        let mut state = self.state.lock();
        loop {
            if let Some(outcome) = state.outcome.take() {
                return Woken::Told(outcome);
            }
            if state.cancelled {
                return Woken::Cancelled;
            }
            state = match deadline.map(|deadline| deadline.saturating_sub(clock.now())) {
                Some(Duration::ZERO) => return Woken::TimeRanOut,
                Some(left) => wait_timeout(&self.told, state, left),
                None => wait(&self.told, state),
            };
        }
    }

    /// What it was told, if anything.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.state.lock().outcome.take()
    }

    pub(super) fn statement(&self) -> StdArc<str> {
        self.state.lock().statement.clone()
    }

    pub(super) fn set_statement(&self, statement: StdArc<str>) {
        self.state.lock().statement = statement;
    }
}

/// Ends an owner's waits, from any thread.
#[derive(Clone, Debug)]
pub struct LockCanceller {
    pub(super) sleeper: Arc<Sleeper>,
}

impl LockCanceller {
    /// Wakes the owner if it waits. That wait and later ones end with [`LockError::Cancelled`](super::LockError::Cancelled)
    /// until [`Self::reset`]; what can be had without waiting is still granted.
    pub fn cancel(&self) {
        self.sleeper.state.lock().cancelled = true;
        self.sleeper.wake();
    }

    /// Lets the owner wait again.
    pub fn reset(&self) {
        self.sleeper.state.lock().cancelled = false;
    }
}
