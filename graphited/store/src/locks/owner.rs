//! One transaction's side of the locks: what it holds, and how it takes more.

use std::sync::Arc as StdArc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::{Grant, Inner, LockError, LockMode, LockName, OwnerId};
use crate::sync::{Arc, AtomicBool, Ordering, wait_for};

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
    id: OwnerId,
    tag: u64,
    timeout: Option<Duration>,
    statement: StdArc<str>,
    cancelled: Arc<AtomicBool>,
    held: FxHashMap<LockName, LockMode>,
}

/// Ends an owner's waits, from any thread.
#[derive(Clone, Debug)]
pub struct LockCanceller {
    inner: Arc<Inner>,
    cancelled: Arc<AtomicBool>,
}

impl LockCanceller {
    /// Wakes the owner if it waits; this and its later waits end with [`LockError::Cancelled`], until [`Self::reset`].
    pub fn cancel(&self) {
        let _held = self.inner.held.lock();
        self.cancelled.store(true, Ordering::SeqCst);
        self.inner.released.notify_all();
    }

    /// Lets the owner wait again.
    pub fn reset(&self) {
        self.cancelled.store(false, Ordering::SeqCst);
    }
}

impl LockOwner {
    pub(super) fn new(inner: Arc<Inner>, id: OwnerId, tag: u64) -> LockOwner {
        LockOwner {
            inner,
            id,
            tag,
            timeout: None,
            statement: StdArc::from(""),
            cancelled: Arc::new(AtomicBool::new(false)),
            held: FxHashMap::default(),
        }
    }

    /// Its number.
    pub fn id(&self) -> OwnerId {
        self.id
    }

    /// Takes `name` in `mode`, and intents on everything above it, as far as it does not have them. Waits in place.
    ///
    /// # Errors
    /// [`LockError`]: `name` is then not held in that mode; everything else still is.
    pub fn lock(&mut self, name: LockName, mode: LockMode) -> Result<Taken, LockError> {
        if self.covers(name, mode) {
            return Ok(Taken::Held);
        }
        let above = match name.parent() {
            Some(parent) => self.lock(parent, mode.intent())?,
            None => Taken::Held,
        };
        match (above, self.take(name, mode)?) {
            (Taken::Waited, _) => Ok(Taken::Waited),
            (_, taken) => Ok(taken),
        }
    }

    /// Like [`Self::lock`], but never waits: `None` if it would have to. Intents that were got stay.
    pub fn try_lock(&mut self, name: LockName, mode: LockMode) -> Option<Taken> {
        let timeout = self.timeout.replace(Duration::ZERO);
        let taken = self.lock(name, mode);
        self.timeout = timeout;
        taken.ok()
    }

    fn covers(&self, name: LockName, mode: LockMode) -> bool {
        self.held.get(&name).is_some_and(|held| held.covers(mode))
            || std::iter::successors(name.parent(), |name| name.parent()).any(|above| {
                let implied = self.held.get(&above).and_then(|held| held.implied_below());
                implied.is_some_and(|implied| implied.covers(mode))
            })
    }

    fn take(&mut self, name: LockName, mode: LockMode) -> Result<Taken, LockError> {
        let clock = &self.inner.options.clock;
        let begun = clock.now();
        let mode = self.held.get(&name).map_or(mode, |held| held.join(mode));
        let mut table = self.inner.held.lock();
        let mut taken = Taken::New;
        loop {
            let grants = table.entry(name).or_default();
            if grants.iter().all(|other| other.owner == self.id || mode.is_compatible(other.mode)) {
                grants.retain(|grant| grant.owner != self.id);
                grants.push(Grant { owner: self.id, tag: self.tag, mode });
                self.held.insert(name, mode);
                return Ok(taken);
            }
            if self.cancelled.load(Ordering::SeqCst) {
                return Err(LockError::Cancelled);
            }
            let waited = clock.now().saturating_sub(begun);
            let left = self.timeout.map(|timeout| timeout.saturating_sub(waited));
            if left == Some(Duration::ZERO) {
                return Err(LockError::Timeout { name, mode, waited });
            }
            taken = Taken::Waited;
            table = wait_for(&self.inner.released, table, left).0;
        }
    }

    /// Longest wait of one lock; `None` is for ever, as at the beginning.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// What ends its waits from elsewhere.
    pub fn canceller(&self) -> LockCanceller {
        LockCanceller { inner: self.inner.clone(), cancelled: self.cancelled.clone() }
    }

    /// What it does now, for reports of deadlocks.
    pub fn set_statement(&mut self, statement: StdArc<str>) {
        self.statement = statement;
    }

    /// What it does now.
    pub fn statement(&self) -> &StdArc<str> {
        &self.statement
    }

    /// Number of locks that it holds, intents among them.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// In which mode it holds `name` itself.
    pub fn mode_of(&self, name: LockName) -> Option<LockMode> {
        self.held.get(&name).copied()
    }

    /// Lets go of everything.
    pub fn release_all(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let mut table = self.inner.held.lock();
        for (name, _) in self.held.drain() {
            if let Some(grants) = table.get_mut(&name) {
                grants.retain(|grant| grant.owner != self.id);
                if grants.is_empty() {
                    table.remove(&name);
                }
            }
        }
        self.inner.released.notify_all();
    }
}

impl Drop for LockOwner {
    fn drop(&mut self) {
        self.release_all();
    }
}
