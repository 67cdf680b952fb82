//! Slots on their way: what a transaction has leased, and the pools that they come from and go back to.
//!
//! A transaction leases few slots at first and more with each time, so that a small one wastes none and a large one
//! seldom asks. What it did not use goes back at its end.
//!
//! Invariants:
//! 1. The state that a pool is asked with is taken while the pool is held, and is the newest applied one.
//! 2. The leases of a commit are settled after it is applied and before its locks go: so a slot is still known as leased
//!    until it is seen as used, and whoever frees it again comes later.
//! 3. Whoever applies commits needs the pools, so nobody who holds one waits for a disk: what is not in memory is brought
//!    there before.

use graphite_store::Store;

use crate::edges::Edges;
use crate::nodes::Nodes;
use crate::pool::{SlotPool, look_for_free};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::table::Table;
use crate::write_set::WriteSet;
use crate::{EdgeSlot, Error, NodeSlot, Result};

/// Slots that are leased at once, at most.
const LEASED_AT_ONCE_MAX: usize = 64;

/// Pages that are looked at while a pool is held, at most.
const POOL_PAGES_MAX: u32 = 64;
/// How often pages are brought into memory, before they are read while the pool is held.
const LOOKS_MAX: u32 = 8;

/// What a transaction has leased of one table.
#[derive(Debug)]
pub(crate) struct Lease<T: Table> {
    /// Handed to the write set, or set aside because somebody was in the way.
    taken: Vec<T::Slot>,
    /// Not used yet, with their generations, the lowest last.
    spare: Vec<(T::Slot, u16)>,
    /// How many to lease next.
    next: usize,
}

impl<T: Table> Default for Lease<T> {
    fn default() -> Self {
        Lease { taken: Vec::new(), spare: Vec::new(), next: 1 }
    }
}

impl<T: Table> Lease<T> {
    fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.spare.is_empty()
    }

    /// Every slot, once.
    fn drain(&mut self) -> impl Iterator<Item = T::Slot> + '_ {
        self.taken.drain(..).chain(self.spare.drain(..).map(|(slot, _)| slot))
    }
}

/// What a transaction has leased.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    nodes: Lease<Nodes>,
    edges: Lease<Edges>,
}

/// The slots of both tables.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    nodes: Mutex<SlotPool<Nodes>>,
    edges: Mutex<SlotPool<Edges>>,
}

/// A thread that panicked while it held a pool left nothing half done that matters: leases at worst stay unused.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take<T: Table>(pool: &Mutex<SlotPool<T>>, lease: &mut Lease<T>, store: &Store) -> Result<(T::Slot, u16)> {
    let mut looks = 0;
    loop {
        if let Some((slot, generation)) = lease.spare.pop() {
            lease.taken.push(slot);
            return Ok((slot, generation));
        }
        // In a small cache what was brought in may be gone again; and then somebody has to wait.
        let pages_max = (looks < LOOKS_MAX).then_some(POOL_PAGES_MAX);
        let (taken, next_page) = {
            let mut pool = hold(pool);
            let state = || {
                let pin = store.pin();
                pin.limit_to_cache(pages_max);
                pin
            };
            (pool.take_some(lease.next, &mut lease.spare, state), pool.next_page())
        };
        match taken {
            Ok(()) => lease.next = (lease.next * 2).min(LEASED_AT_ONCE_MAX),
            Err(Error::Store(graphite_store::Error::NotCached)) => {
                looks += 1;
                look_for_free::<T, _>(&store.pin(), next_page)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Somebody is in the way at a slot that was taken: it is set aside, with the spare ones of its page.
fn avoid<T: Table>(pool: &Mutex<SlotPool<T>>, lease: &mut Lease<T>, slot: T::Slot) {
    lease.taken.extend(lease.spare.drain(..).map(|(slot, _)| slot));
    hold(pool).skip_page(slot);
}

fn give_back<T: Table>(pool: &Mutex<SlotPool<T>>, lease: &mut Lease<T>) {
    if !lease.is_empty() {
        let mut pool = hold(pool);
        lease.drain().for_each(|slot| pool.give_back(slot));
    }
}

fn settle<T: Table>(
    pool: &mut SlotPool<T>,
    lease: &mut Lease<T>,
    is_used: impl Fn(T::Slot) -> bool,
    freed: impl Iterator<Item = T::Slot>,
) {
    for slot in lease.drain() {
        if is_used(slot) { pool.used(slot) } else { pool.give_back(slot) }
    }
    freed.for_each(|slot| pool.freed(slot));
}

impl Pools {
    /// Leases the slot of a new node.
    pub(crate) fn take_node(&self, leases: &mut Leases, store: &Store) -> Result<(NodeSlot, u16)> {
        take(&self.nodes, &mut leases.nodes, store)
    }

    /// Leases the slot of a new edge.
    pub(crate) fn take_edge(&self, leases: &mut Leases, store: &Store) -> Result<(EdgeSlot, u16)> {
        take(&self.edges, &mut leases.edges, store)
    }

    /// Sets a slot aside that somebody else has a lock on. The next will be of another page.
    pub(crate) fn avoid_node(&self, leases: &mut Leases, slot: NodeSlot) {
        avoid(&self.nodes, &mut leases.nodes, slot);
    }

    /// As [`Pools::avoid_node`].
    pub(crate) fn avoid_edge(&self, leases: &mut Leases, slot: EdgeSlot) {
        avoid(&self.edges, &mut leases.edges, slot);
    }

    /// Nothing was put into any of them.
    pub(crate) fn give_back(&self, leases: &mut Leases) {
        give_back(&self.nodes, &mut leases.nodes);
        give_back(&self.edges, &mut leases.edges);
    }

    /// These write sets are applied.
    pub(crate) fn settle<'a>(&self, sets: impl Iterator<Item = (&'a WriteSet, &'a mut Leases)>) {
        let (mut nodes, mut edges) = (hold(&self.nodes), hold(&self.edges));
        for (set, leases) in sets {
            settle(&mut nodes, &mut leases.nodes, |slot| set.creates_node(slot), set.deleted_nodes());
            settle(&mut edges, &mut leases.edges, |slot| set.creates_edge(slot), set.deleted_edges());
        }
    }

    /// Leases fresh consecutive slots for a batch of nodes; ends by [`Pools::end_node_range`].
    pub(crate) fn node_range(&self, store: &Store, count: u64) -> Result<NodeSlot> {
        hold(&self.nodes).take_fresh_range(&store.pin(), count)
    }

    /// The batch was put, and that is applied, or it was refused.
    pub(crate) fn end_node_range(&self, first: NodeSlot) {
        hold(&self.nodes).end_fresh_range(first);
    }

    /// Leases fresh consecutive slots for a batch of edges; ends by [`Pools::end_edge_range`].
    pub(crate) fn edge_range(&self, store: &Store, count: u64) -> Result<EdgeSlot> {
        hold(&self.edges).take_fresh_range(&store.pin(), count)
    }

    /// The batch was put, and that is applied, or it was refused.
    pub(crate) fn end_edge_range(&self, first: EdgeSlot) {
        hold(&self.edges).end_fresh_range(first);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use graphite_store::StoreOptions;
    use graphite_store::clock::SimClock;
    use graphite_store::disk::SimDisk;

    use super::hold;
    use crate::GraphDb;

    /// Else somebody could free a slot again, and it be leased again, before it is known that it is used.
    #[test]
    fn locks_are_held_until_the_leases_are_settled() {
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let (disk, clock) = (Arc::new(SimDisk::new()), Arc::new(SimClock::default()));
        let db = GraphDb::open(disk, clock, Path::new("/graph"), options).unwrap();
        let mut tx = db.begin().unwrap();
        tx.create_node(&[], &[]).unwrap();
        let before = db.store().applied_lsn();
        std::thread::scope(|scope| {
            let pool = hold(&db.pools().nodes);
            let commit = scope.spawn(|| tx.commit().map(drop));
            while db.store().applied_lsn() == before && !commit.is_finished() {
                std::thread::yield_now();
            }
            // Time to let go of them too early. Too short, and the test sees less; never more.
            std::thread::sleep(Duration::from_millis(50));
            let held = db.locks().picture().locks.len();
            drop(pool);
            commit.join().unwrap().unwrap();
            assert!(held > 0, "it is applied, and nobody knows yet that its slot is used");
        });
        assert_eq!(db.locks().picture().locks.len(), 0);
    }
}
