//! One transaction's side of the locks: what it holds, and how it takes more.

use std::sync::Arc as StdArc;
use std::time::Duration;

use super::detector::Wait;
use super::error::LockError;
use super::head::Request;
use super::held::HeldLocks;
use super::mode::LockMode;
use super::name::LockName;
use super::table::{Asked, Served};
use super::waiting::{LockCanceller, Outcome, Sleeper, Woken};
use super::{Inner, count};
use crate::sync::Arc;

/// Who holds locks: a transaction. Later ones have greater numbers, so the greatest is the youngest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub u64);

/// How a lock was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was held already, or something above that covers it.
    Held,
    /// Something new was taken, at once.
    New,
    /// Something new was taken, after a wait: what was read before may have changed.
    Waited,
}

/// Somebody who holds locks: a transaction. One thread at a time uses it; dropping it releases everything.
#[derive(Debug)]
pub struct LockOwner {
    inner: Arc<Inner>,
    sleeper: Arc<Sleeper>,
    timeout: Option<Duration>,
    /// When the first lock was taken since the statement began, or since the last wait ended: that of all taken since.
    /// Asking the clock would cost as much as half a lock.
    now: Option<Duration>,
    /// How long all its waits took.
    waited: Duration,
    held: HeldLocks,
}

/// Why a lock was not got.
enum Refused {
    WouldWait,
    Error(LockError),
}

impl LockOwner {
    pub(super) fn new(inner: Arc<Inner>, id: OwnerId, tag: u64) -> LockOwner {
        let sleeper = Arc::new(Sleeper::new(id, tag, inner.no_statement.clone()));
        LockOwner {
            inner,
            sleeper,
            timeout: None,
            now: None,
            waited: Duration::ZERO,
            held: HeldLocks::default(),
        }
    }

    /// How long it has waited for locks, all waits together.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Its number.
    pub fn id(&self) -> OwnerId {
        self.sleeper.id
    }

    /// Takes `name` in `mode`, and intents on everything above it, as far as it does not have them. Waits in place, behind
    /// those who came before.
    ///
    /// # Errors
    /// [`LockError`]: `name` is then not held in that mode; everything else still is.
    pub fn lock(&mut self, name: LockName, mode: LockMode) -> Result<Taken, LockError> {
        self.take(name, mode, true).map_err(|refused| match refused {
            Refused::Error(error) => error,
            Refused::WouldWait => unreachable!("it may wait"),
        })
    }

    /// Like [`Self::lock`], but never waits: `None` if it would have to. Intents that were got stay.
    pub fn try_lock(&mut self, name: LockName, mode: LockMode) -> Option<Taken> {
        self.take(name, mode, false).ok()
    }

    fn take(&mut self, name: LockName, mode: LockMode, may_wait: bool) -> Result<Taken, Refused> {
        // What is read twice is found at once. Not so for a key: its page may be another one by now, whose intent it needs.
        let held = self.held.mode_of(name);
        if !matches!(name, LockName::Key { .. }) && held.is_some_and(|held| held.covers(mode)) {
            return Ok(Taken::Held);
        }
        let mut taken = Taken::Held;
        if self.held.len() >= self.inner.options.held_max
            && let Some(space) = self.held.largest_space()
        {
            if !may_wait {
                return Err(Refused::WouldWait);
            }
            self.escalate(space, true)?;
            taken = Taken::Waited;
        }
        let mut is_crowded = false;
        for above in name.above() {
            let held = self.held.mode_of(above);
            if held.and_then(LockMode::implied_below).is_some_and(|implied| implied.covers(mode)) {
                return Ok(taken);
            }
            is_crowded |= self.take_one(above, mode.intent(), held, may_wait, &mut taken)?;
        }
        is_crowded |= self.take_one(name, mode, held, may_wait, &mut taken)?;
        if is_crowded && self.held.len() > self.inner.options.escalates_above {
            // From below, for a page whose slots become one lock may itself be one too many for its space. Not so keys: they
            // may move to other pages, which the lock on this one would say nothing of.
            let parent = name.parent();
            let page = parent.filter(|_| !matches!(name, LockName::Key { .. }));
            let above = [page, parent.and_then(LockName::parent)];
            above.into_iter().flatten().for_each(|above| self.escalate_if_many(above));
        }
        Ok(taken)
    }

    /// Takes one name, without looking above it. Tells whether there are too many like it now.
    fn take_one(
        &mut self,
        name: LockName,
        mode: LockMode,
        held: Option<LockMode>,
        may_wait: bool,
        taken: &mut Taken,
    ) -> Result<bool, Refused> {
        if held.is_some_and(|held| held.covers(mode)) {
            return Ok(false);
        }
        let mode = held.map_or(mode, |held| held.join(mode));
        let request = self.request(mode, held);
        if self.inner.table.ask(name, request, None) == Asked::Granted {
            if *taken == Taken::Held {
                *taken = Taken::New;
            }
        } else if may_wait {
            self.ask_and_wait(name, mode, held)?;
            *taken = Taken::Waited;
        } else {
            return Err(Refused::WouldWait);
        }
        Ok(self.held.set(name, mode, self.inner.options.children_max(name)))
    }

    fn request(&mut self, mode: LockMode, held: Option<LockMode>) -> Request {
        let since = *self.now.get_or_insert_with(|| self.inner.options.clock.now());
        Request { owner: self.sleeper.id, tag: self.sleeper.tag, mode, held, since }
    }

    /// Stands in the queue until the request is served, or the wait ends otherwise.
    fn ask_and_wait(
        &mut self,
        name: LockName,
        mode: LockMode,
        held: Option<LockMode>,
    ) -> Result<(), Refused> {
        // A wait's beginning is known exactly; and what is taken after it is later.
        self.now = None;
        let request = self.request(mode, held);
        match self.inner.table.ask(name, request, Some(&self.sleeper)) {
            Asked::Granted => Ok(()),
            Asked::Queued => {
                self.now = None;
                let outcome = self.wait(name, mode, request.since);
                self.waited += self.inner.options.clock.now().saturating_sub(request.since);
                outcome.map_err(Refused::Error)
            }
            Asked::Refused => Err(Refused::Error(LockError::Cancelled)),
        }
    }

    /// Sleeps until a request that is in the queue is served, or ends otherwise.
    fn wait(&self, name: LockName, mode: LockMode, begun: Duration) -> Result<(), LockError> {
        let Inner { options, table, detector, counters, .. } = &*self.inner;
        let clock = &*options.clock;
        count(&counters.waits, 1);
        let wait = Wait { sleeper: self.sleeper.clone(), name, mode };
        let deadlocks = detector.begin(table, clock, wait, |name| self.held.mode_of(name).is_some());
        count(&counters.deadlocks, deadlocks);
        let deadline = self.timeout.map(|timeout| begun.saturating_add(timeout));
        let result = match self.sleep(deadline) {
            Woken::Told(outcome) => told(outcome),
            Woken::Cancelled => self.give_up(name, || LockError::Cancelled),
            Woken::TimeRanOut => self.give_up(name, || {
                count(&counters.timeouts, 1);
                LockError::Timeout { name, mode, waited: clock.now().saturating_sub(begun) }
            }),
        };
        detector.end(self.sleeper.id);
        result
    }

    fn sleep(&self, deadline: Option<Duration>) -> Woken {
        let clock = &*self.inner.options.clock;
        let mut woken = None;
        if let Some(aside) = self.inner.aside.get() {
            aside(&mut || woken = Some(self.sleeper.sleep(clock, deadline)));
        }
        woken.unwrap_or_else(|| self.sleeper.sleep(clock, deadline))
    }

    /// Leaves the queue, unless the lock was granted at the last moment: then it is had.
    fn give_up(&self, name: LockName, error: impl FnOnce() -> LockError) -> Result<(), LockError> {
        let mut served = Served::new();
        let still_waited = self.inner.table.withdraw(name, self.sleeper.id, &mut served);
        served.iter().for_each(|sleeper| sleeper.wake());
        if still_waited {
            return Err(error());
        }
        told(self.sleeper.outcome().expect("who is not in the queue any more was told something"))
    }

    /// Makes one lock on `parent` of many below it, if that is free at once.
    fn escalate_if_many(&mut self, parent: LockName) {
        let Some(held) = self.held.get_mut(parent) else { return };
        if held.children <= held.children_max {
            return;
        }
        if self.escalate(parent, false).is_err() {
            // It is tried again when there are twice as many.
            let held = self.held.get_mut(parent).expect("it was just looked at");
            held.children_max = held.children_max.saturating_mul(2);
        }
    }

    /// Makes one lock on `parent`, which is held, of all below it.
    fn escalate(&mut self, parent: LockName, may_wait: bool) -> Result<(), Refused> {
        let before = self.held.mode_of(parent);
        let mode = self.held.escalated(parent);
        let mode = before.map_or(mode, |before| before.join(mode));
        let request = self.request(mode, before);
        if self.inner.table.ask(parent, request, None) != Asked::Granted {
            if !may_wait {
                return Err(Refused::WouldWait);
            }
            self.ask_and_wait(parent, mode, before)?;
        }
        self.held.set(parent, mode, self.inner.options.children_max(parent));
        let below = self.held.take_below(parent);
        self.release(below.into_iter());
        count(&self.inner.counters.escalations, 1);
        Ok(())
    }

    /// Longest wait for one name; `None` is for ever, as at the beginning.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// What ends its waits from elsewhere.
    pub fn canceller(&self) -> LockCanceller {
        LockCanceller { sleeper: self.sleeper.clone() }
    }

    /// What it does now, for reports of deadlocks.
    pub fn set_statement(&mut self, statement: StdArc<str>) {
        self.now = None;
        self.sleeper.set_statement(statement);
    }

    /// Number of locks that it holds, intents among them.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// In which mode it holds `name` itself.
    pub fn mode_of(&self, name: LockName) -> Option<LockMode> {
        self.held.mode_of(name)
    }

    /// Lets go of everything. Of each name, those who wait longest have it next.
    pub fn release_all(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        self.release(held.drain());
        self.now = None;
        self.held = held;
    }

    fn release(&self, names: impl Iterator<Item = LockName>) {
        let mut served = Served::new();
        for name in names {
            self.inner.table.release(name, self.sleeper.id, &mut served);
            served.drain(..).for_each(|sleeper| sleeper.wake());
        }
    }

    /// Panics if what it believes to hold is not what the table says, or does not fit together.
    pub fn check_invariants(&self) {
        self.held.check_invariants();
        for (name, mode) in self.held.iter() {
            let grant = self.inner.table.look(name, |head| {
                head.granted().iter().find(|grant| grant.owner == self.sleeper.id).map(|grant| grant.mode)
            });
            assert_eq!(grant.flatten(), Some(mode), "{name} is held otherwise than its owner believes");
        }
    }
}

fn told(outcome: Outcome) -> Result<(), LockError> {
    match outcome {
        Outcome::Granted => Ok(()),
        Outcome::Deadlock(deadlock) => Err(LockError::Deadlock(deadlock)),
    }
}

impl Drop for LockOwner {
    fn drop(&mut self) {
        self.release_all();
    }
}
