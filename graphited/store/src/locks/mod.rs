//! The lock manager: who may read or change what until its transaction ends.
//!
//! It knows names and modes, never nodes. Locks protect meaning; bytes are safe without them, see `turn`.
//!
//! | file | what |
//! |---|---|
//! | `name` | the hierarchy: database; space (table, label, type, index); page; slot or key; the end of an index |
//! | `mode` | IS, IX, S, SIX, U, X; which go together, which covers which |
//! | `head` | one name: who holds it, and the queue |
//! | `table` | all names, in shards |
//! | `held` | what one owner holds, as its own thread knows it |
//! | `owner` | taking a name with its path, waiting, escalation, release |
//! | `waiting` | how an owner sleeps and is told |
//! | `detector` | deadlocks, found when a wait begins |
//!
//! Invariants:
//! 1. Whoever holds a name holds intents on all names above it. What is covered by a lock above is not taken again.
//! 2. Locks are let go of all at once, at the transaction's end; or when a lock above stands for them.
//! 3. Locks of threads are taken in this order: detector, shards, sleeper. No shard's lock is held over a sleep.
//! 4. An owner uses one thread at a time and waits for one name at a time.

mod detector;
mod error;
mod head;
mod held;
mod mode;
mod name;
mod owner;
mod picture;
mod table;
mod waiting;

#[cfg(test)]
mod tests;

pub use error::{Deadlock, DeadlockMember, LockError};
pub use mode::LockMode;
pub use name::{LockName, SpaceId};
pub use owner::{LockOwner, OwnerId, Taken};
pub use picture::{LockCounters, LockEntry, LockPicture, LockWait};
pub use waiting::LockCanceller;

use self::detector::Detector;
use self::table::Table;
use crate::clock::{Clock, RealClock};
use crate::sync::{Arc, AtomicU64, Ordering};

/// How a lock manager is set up.
#[derive(Clone, Debug)]
pub struct LockOptions {
    /// Parts that the table of locks is split into, so that threads seldom meet there; rounded up to a power of two.
    pub shards: usize,
    /// Locks that one owner may hold, intents among them, before any of them become one: until then no lock stands for more
    /// than was asked for.
    pub escalates_above: usize,
    /// Slots that such an owner may hold on one page; when it holds more, they become one lock on the page if that is free
    /// at once.
    pub page_children_max: u32,
    /// Pages that one owner may hold in one space, likewise.
    pub space_children_max: u32,
    /// Locks that one owner may hold, intents among them. Whoever wants more waits until those in the space of which it
    /// holds most can become one: a lock takes about 400 bytes of memory.
    pub held_max: usize,
    /// Where time comes from.
    pub clock: std::sync::Arc<dyn Clock>,
}

impl Default for LockOptions {
    fn default() -> Self {
        LockOptions {
            shards: 64,
            escalates_above: 1 << 14,
            page_children_max: 128,
            space_children_max: 2000,
            held_max: 1 << 16,
            clock: std::sync::Arc::new(RealClock::default()),
        }
    }
}

impl LockOptions {
    /// Names right below `name` that one owner may hold before a lock on `name` is tried.
    fn children_max(&self, name: LockName) -> u32 {
        match name {
            LockName::Page { .. } => self.page_children_max,
            LockName::Space(_) => self.space_children_max,
            // Nobody wants to be alone only because it touches many tables.
            _ => u32::MAX,
        }
    }
}

/// Grants locks to owners. A clone is the same manager.
#[derive(Clone, Debug)]
pub struct LockManager {
    inner: Arc<Inner>,
}

/// What a wait for a lock is put into, which it calls once.
pub type Aside = Box<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

struct Inner {
    // Constant.
    options: LockOptions,
    /// What an owner does that has said nothing.
    no_statement: std::sync::Arc<str>,
    // Synchronise themselves.
    next_owner: AtomicU64,
    table: Table,
    detector: Detector,
    counters: Counters,
    // Set once.
    aside: std::sync::OnceLock<Aside>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockManager").field("options", &self.options).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Counters {
    waits: AtomicU64,
    deadlocks: AtomicU64,
    timeouts: AtomicU64,
    escalations: AtomicU64,
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl LockManager {
    /// An empty table.
    pub fn new(options: LockOptions) -> LockManager {
        LockManager {
            inner: Arc::new(Inner {
                no_statement: std::sync::Arc::from(""),
                next_owner: AtomicU64::new(1),
                table: Table::new(options.shards),
                detector: Detector::default(),
                counters: Counters::default(),
                aside: std::sync::OnceLock::new(),
                options,
            }),
        }
    }

    /// From now on each wait of a thread goes through `aside`, which may have another thread run in its stead. Only the
    /// first call counts.
    pub fn put_waits_aside(&self, aside: Aside) {
        let _ = self.inner.aside.set(aside);
    }

    /// A new owner, younger than all before. `tag` is what the floor above knows it by.
    pub fn owner(&self, tag: u64) -> LockOwner {
        let id = OwnerId(self.inner.next_owner.fetch_add(1, Ordering::Relaxed));
        LockOwner::new(self.inner.clone(), id, tag)
    }

    /// For monitors: what is held and awaited, and the last deadlocks.
    pub fn picture(&self) -> LockPicture {
        let mut picture = LockPicture {
            now: self.inner.options.clock.now(),
            deadlocks: self.inner.detector.deadlocks(),
            ..LockPicture::default()
        };
        self.inner.table.look_at_all(|name, head| picture.add(name, head));
        picture
    }

    /// What happened since it was made.
    pub fn counters(&self) -> LockCounters {
        let Counters { waits, deadlocks, timeouts, escalations } = &self.inner.counters;
        LockCounters {
            waits: waits.load(Ordering::Relaxed),
            deadlocks: deadlocks.load(Ordering::Relaxed),
            timeouts: timeouts.load(Ordering::Relaxed),
            escalations: escalations.load(Ordering::Relaxed),
        }
    }

    /// Panics if the table of locks contradicts itself.
    pub fn check_invariants(&self) {
        self.inner.table.look_at_all(|_, head| {
            assert!(!head.is_unused(), "a name is kept that nobody holds");
            head.check_invariants();
        });
    }
}
