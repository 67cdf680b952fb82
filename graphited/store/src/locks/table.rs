//! All locks that are held or awaited, by name, in shards.
//!
//! Invariants:
//! 1. A shard's lock is held for the few steps of one request, never over a wait.
//! 2. Only the search for deadlocks holds several at a time, in rising order, and one search runs at a time.
//! 3. A name is in the table while somebody holds it or waits for it. What it leaves behind is kept for the next name, up to
//!    a limit, so that nothing is allocated for a lock.

use std::collections::hash_map::Entry;
use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::head::{Head, Request};
use super::name::LockName;
use super::owner::OwnerId;
use super::waiting::{Outcome, Sleeper};
use crate::sync::{Arc, Mutex, MutexGuard};

/// Heads that a shard keeps for its next names.
const SPARE_HEADS_MAX: usize = 32;
/// Holders that a kept head has room for: a page that once had thousands gives that memory back.
const SPARE_GRANTS_MAX: usize = 16;

pub(super) type NameHead = Head<Arc<Sleeper>>;

/// A shard's map is never made smaller than this.
const NAMES_ROOM_MIN: usize = 1024;

/// Those who have to be woken once the shard's lock is let go of.
pub(super) type Served = Vec<Arc<Sleeper>>;

#[derive(Debug)]
pub(super) struct Table {
    /// A power of two of them.
    shards: Box<[Shard]>,
}

/// Alone on its line of the processor's cache.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(Mutex<Names>);

#[derive(Debug, Default)]
pub(super) struct Names {
    heads: FxHashMap<LockName, NameHead>,
    spare: Vec<NameHead>,
    last_ticket: u64,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Granted,
    /// In the queue; the sleeper will be told.
    Queued,
    /// It would have to wait, and must not, or was cancelled.
    Refused,
}

impl Table {
    pub(super) fn new(shards: usize) -> Table {
        let shards = shards.next_power_of_two();
        Table { shards: (0..shards).map(|_| Shard::default()).collect() }
    }

    fn place_of(&self, name: LockName) -> usize {
        // The lowest and the highest bits choose the place within a shard.
        (FxBuildHasher.hash_one(name) >> 32) as usize & (self.shards.len() - 1)
    }

    fn names(&self, name: LockName) -> MutexGuard<'_, Names> {
        self.shards[self.place_of(name)].0.lock()
    }

    /// Grants a request at once, or puts `sleeper` into the queue, if there is one.
    pub(super) fn ask(&self, name: LockName, request: Request, sleeper: Option<&Arc<Sleeper>>) -> Asked {
        let mut names = self.names(name);
        let Names { heads, spare, last_ticket } = &mut *names;
        *last_ticket += 1;
        let head = match heads.entry(name) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(spare.pop().unwrap_or_default()),
        };
        if head.ask(&request, *last_ticket) {
            return Asked::Granted;
        }
        match sleeper {
            Some(sleeper) if sleeper.begin() => {
                head.enqueue(request, *last_ticket, sleeper.clone());
                Asked::Queued
            }
            _ => Asked::Refused,
        }
    }

    /// Lets go of what an owner holds. Whoever has it now is told, and has to be woken.
    pub(super) fn release(&self, name: LockName, owner: OwnerId, served: &mut Served) {
        self.names(name).release(name, owner, served);
    }

    /// Takes an owner out of a queue; `false` if it was told something meanwhile.
    pub(super) fn withdraw(&self, name: LockName, owner: OwnerId, served: &mut Served) -> bool {
        self.names(name).withdraw(name, owner, served).is_some()
    }

    /// Looks at one name, if it is in use.
    pub(super) fn look<R>(&self, name: LockName, look: impl FnOnce(&NameHead) -> R) -> Option<R> {
        self.names(name).heads.get(&name).map(look)
    }

    /// Looks at all names, one shard after the other.
    pub(super) fn look_at_all(&self, mut look: impl FnMut(LockName, &NameHead)) {
        for shard in &self.shards {
            shard.0.lock().heads.iter().for_each(|(&name, head)| look(name, head));
        }
    }

    /// Holds several names still.
    pub(super) fn freeze(&self, names: impl Iterator<Item = LockName>) -> Frozen<'_> {
        let mut places: Vec<usize> = names.map(|name| self.place_of(name)).collect();
        places.sort_unstable();
        places.dedup();
        let shards = places.into_iter().map(|place| (place, self.shards[place].0.lock())).collect();
        Frozen { table: self, shards }
    }
}

impl Names {
    fn release(&mut self, name: LockName, owner: OwnerId, served: &mut Served) {
        let Entry::Occupied(mut entry) = self.heads.entry(name) else {
            panic!("an owner releases what it holds, and {name} is held by nobody");
        };
        entry.get_mut().release(owner, granted(served));
        if entry.get().is_unused() {
            let head = entry.remove();
            if self.spare.len() < SPARE_HEADS_MAX && head.is_small(SPARE_GRANTS_MAX) {
                self.spare.push(head);
            }
            // A transaction that locked very much gives that memory back.
            let (names, room) = (self.heads.len(), self.heads.capacity());
            if room > NAMES_ROOM_MIN && names < room / 8 {
                self.heads.shrink_to((names * 2).max(NAMES_ROOM_MIN));
            }
        }
    }

    fn withdraw(&mut self, name: LockName, owner: OwnerId, served: &mut Served) -> Option<Arc<Sleeper>> {
        // Somebody holds it, else nobody would wait: so it stays in the table.
        self.heads.get_mut(&name)?.withdraw(owner, granted(served))
    }
}

fn granted(served: &mut Served) -> impl FnMut(Arc<Sleeper>) {
    |sleeper| {
        sleeper.tell(Outcome::Granted);
        served.push(sleeper);
    }
}

/// Several names, held still.
pub(super) struct Frozen<'a> {
    table: &'a Table,
    /// By rising place.
    shards: Vec<(usize, MutexGuard<'a, Names>)>,
}

impl Frozen<'_> {
    fn at(&self, name: LockName) -> usize {
        let place = self.table.place_of(name);
        self.shards
            .binary_search_by_key(&place, |(place, _)| *place)
            .expect("only what is frozen is asked for")
    }

    pub(super) fn head(&self, name: LockName) -> Option<&NameHead> {
        self.shards[self.at(name)].1.heads.get(&name)
    }

    /// Like [`Table::withdraw`].
    pub(super) fn withdraw(
        &mut self,
        name: LockName,
        owner: OwnerId,
        served: &mut Served,
    ) -> Option<Arc<Sleeper>> {
        let at = self.at(name);
        self.shards[at].1.withdraw(name, owner, served)
    }
}
