//! Finds owners that wait for each other in a circle, when a wait begins.
//!
//! Why every deadlock is found. An owner waits for one name at a time. It is put into that name's queue first, then it
//! registers here, then it searches, and registrations and searches are one at a time. Whether one waiter waits for another
//! depends only on what the two hold and want (see `head`), and neither changes while both wait. So as long as a circle
//! lasts, all of it is there once its last member stands in its queue; whoever of them registers last comes later than
//! that, and finds it, for it is itself part of it: it is enough that each search looks for circles through the searcher.
//!
//! Why none is ended that is none. Whoever is registered lets go of nothing before it has left here, so while one searches
//! no hold in a circle goes away. But the search reads one name after the other, and a member may give up meanwhile,
//! cancelled or because its time ran out. So before anybody is made a victim, all names of the circle are held still and
//! each step is looked at again. If one does not hold any more, the search begins anew.
//!
//! The victim is the youngest of the circle, also if it is somebody who has waited before. It is taken out of its queue while
//! the names are still held, so it cannot be granted its lock at the same time.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::error::{Deadlock, DeadlockMember};
use super::mode::LockMode;
use super::name::LockName;
use super::owner::OwnerId;
use super::table::{Served, Table};
use super::waiting::{Outcome, Sleeper};
use crate::clock::Clock;
use crate::sync::{Arc, Mutex};

/// Deadlocks that are kept for reports.
pub(super) const DEADLOCKS_KEPT: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Detector {
    waits: Mutex<Waits>,
}

#[derive(Debug, Default)]
struct Waits {
    by_owner: FxHashMap<OwnerId, Wait>,
    /// The last ones, oldest first.
    deadlocks: VecDeque<std::sync::Arc<Deadlock>>,
}

/// Who waits for what. It may have been told by now and not yet have left.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub(super) sleeper: Arc<Sleeper>,
    pub(super) name: LockName,
    pub(super) mode: LockMode,
}

impl Detector {
    /// Registers an owner that stands in a queue, and ends all deadlocks that it has part in. `holds` says what it holds.
    /// Returns how many there were.
    pub(super) fn begin(
        &self,
        table: &Table,
        clock: &dyn Clock,
        wait: Wait,
        holds: impl Fn(LockName) -> bool,
    ) -> u64 {
        let mut waits = self.waits.lock();
        let me = wait.sleeper.id;
        // Most who wait are waited for by nobody, and need no search.
        let is_waited_for = waits.by_owner.values().any(|other| holds(other.name))
            || table.look(wait.name, |head| !head.is_last(me)).unwrap_or(false);
        waits.by_owner.insert(me, wait);
        let mut found = 0;
        while is_waited_for && let Some(cycle) = waits.find_cycle(table, me) {
            let Some(deadlock) = waits.resolve(table, clock, &cycle) else { continue };
            found += 1;
            if waits.deadlocks.len() == DEADLOCKS_KEPT {
                waits.deadlocks.pop_front();
            }
            waits.deadlocks.push_back(deadlock);
        }
        found
    }

    /// The owner does not wait any more.
    pub(super) fn end(&self, owner: OwnerId) {
        self.waits.lock().by_owner.remove(&owner);
    }

    pub(super) fn deadlocks(&self) -> Vec<std::sync::Arc<Deadlock>> {
        self.waits.lock().deadlocks.iter().cloned().collect()
    }
}

impl Waits {
    /// A shortest circle through `me`: each waits for the next, the last for the first. Breadth first.
    fn find_cycle(&self, table: &Table, me: OwnerId) -> Option<Vec<OwnerId>> {
        // By owner: who waits for it and led there.
        let mut led_by: FxHashMap<OwnerId, OwnerId> = FxHashMap::default();
        let mut next = VecDeque::from([me]);
        while let Some(owner) = next.pop_front() {
            // Whoever does not wait leads nowhere.
            let Some(wait) = self.by_owner.get(&owner) else { continue };
            let blockers = table.look(wait.name, |head| {
                head.blockers(owner).map(|(blocker, _)| blocker).collect::<Vec<OwnerId>>()
            });
            for blocker in blockers.unwrap_or_default() {
                if blocker == me {
                    let mut cycle = vec![owner];
                    while let Some(&before) = cycle.last().and_then(|owner| led_by.get(owner)) {
                        cycle.push(before);
                    }
                    cycle.reverse();
                    return Some(cycle);
                }
                led_by.entry(blocker).or_insert_with(|| {
                    next.push_back(blocker);
                    owner
                });
            }
        }
        None
    }

    /// Ends a deadlock by its youngest member's wait. `None` if it is none, now that one looks closely.
    fn resolve(
        &self,
        table: &Table,
        clock: &dyn Clock,
        cycle: &[OwnerId],
    ) -> Option<std::sync::Arc<Deadlock>> {
        let waits: Vec<&Wait> = cycle.iter().map(|owner| &self.by_owner[owner]).collect();
        let mut frozen = table.freeze(waits.iter().map(|wait| wait.name));
        let is_true = waits.iter().zip(waits.iter().cycle().skip(1)).all(|(wait, next)| {
            let head = frozen.head(wait.name);
            head.is_some_and(|head| {
                head.blockers(wait.sleeper.id).any(|(blocker, _)| blocker == next.sleeper.id)
            })
        });
        if !is_true {
            return None;
        }
        let victim = *waits.iter().max_by_key(|wait| wait.sleeper.id).expect("a circle has members");
        let members = waits.iter().map(|wait| DeadlockMember {
            owner: wait.sleeper.id,
            tag: wait.sleeper.tag,
            waits_for: wait.name,
            mode: wait.mode,
            statement: wait.sleeper.statement(),
        });
        let deadlock = std::sync::Arc::new(Deadlock {
            at: clock.wall(),
            cycle: members.collect(),
            victim: victim.sleeper.id,
        });
        let mut served = Served::new();
        let sleeper = frozen.withdraw(victim.name, victim.sleeper.id, &mut served);
        let sleeper = sleeper.expect("all names are held still, and it stood in the queue");
        sleeper.tell(Outcome::Deadlock(deadlock.clone()));
        served.push(sleeper);
        drop(frozen);
        served.iter().for_each(|sleeper| sleeper.wake());
        Some(deadlock)
    }
}
