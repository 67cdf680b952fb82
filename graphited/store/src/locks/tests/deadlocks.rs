//! Deadlocks: the known shapes by threads, and random ones, step by step, against a search of the whole graph.

use std::collections::{BTreeMap, BTreeSet};

use super::super::detector::{DEADLOCKS_KEPT, Detector, Wait};
use super::super::head::Request;
use super::super::table::{Asked, Served, Table};
use super::super::waiting::{Outcome, Sleeper};
use super::*;

/// The youngest is the victim, whoever closes the circle. The others go on.
#[test]
fn of_two_that_wait_for_each_other_the_younger_is_the_victim() {
    for older_closes in [false, true] {
        let locks = manager();
        let (mut old, mut young) = (locks.owner(1), locks.owner(2));
        old.set_statement("the old one's".into());
        young.set_statement("the young one's".into());
        let (old_id, young_id) = (old.id(), young.id());
        old.lock(slot(1), Exclusive).unwrap();
        young.lock(slot(2), Exclusive).unwrap();
        let (old_answer, young_answer) = if older_closes {
            let young = waits(&locks, young, slot(1), Shared);
            (closes(old, slot(2)), young)
        } else {
            let old = waits(&locks, old, slot(2), Shared);
            (old, closes(young, slot(1)))
        };
        let (young, taken) = young_answer.recv().unwrap();
        let Err(LockError::Deadlock(deadlock)) = taken else { panic!("{taken:?}") };
        assert_eq!(deadlock.victim, young_id);
        let mut members: Vec<_> = deadlock.cycle.iter().collect();
        members.sort_unstable_by_key(|member| member.owner);
        assert_eq!((members[0].owner, members[0].tag, members[0].waits_for), (old_id, 1, slot(2)));
        assert_eq!((members[1].owner, members[1].tag, members[1].waits_for), (young_id, 2, slot(1)));
        assert_eq!((&*members[0].statement, members[0].mode), ("the old one's", Shared));
        assert_eq!(&*members[1].statement, "the young one's");
        drop(young);
        assert_eq!(old_answer.recv().unwrap().1.unwrap(), Taken::Waited);
        assert_eq!(locks.counters().deadlocks, 1);
        assert_eq!(locks.picture().deadlocks.len(), 1);
    }
}

/// Locks in a thread of its own, without looking whether it waits.
fn closes(mut owner: LockOwner, name: LockName) -> Receiver<(LockOwner, Result<Taken, LockError>)> {
    let (answer, answers) = channel();
    std::thread::spawn(move || {
        let taken = owner.lock(name, Shared);
        let _ = answer.send((owner, taken));
    });
    answers
}

#[test]
fn two_readers_of_one_slot_that_both_want_to_change_it_are_a_deadlock() {
    let locks = manager();
    let (mut old, mut young) = (locks.owner(1), locks.owner(2));
    old.lock(slot(1), Shared).unwrap();
    young.lock(slot(1), Shared).unwrap();
    let old = waits(&locks, old, slot(1), Exclusive);
    let taken = young.lock(slot(1), Exclusive);
    assert!(matches!(taken, Err(LockError::Deadlock(_))), "{taken:?}");
    assert_eq!(young.mode_of(slot(1)), Some(Shared), "what it held, it still holds");
    drop(young);
    assert_eq!(old.recv().unwrap().1.unwrap(), Taken::Waited);
}

#[test]
fn a_circle_of_five_over_spaces_pages_and_slots_has_one_victim() {
    let locks = manager();
    let names = [space(), LockName::Space(INDEX), LockName::Space(SpaceId(3)), page_of(4), slot_of(5)];
    let mut owners: Vec<LockOwner> = (0..5).map(|tag| locks.owner(tag)).collect();
    for (owner, &name) in owners.iter_mut().zip(&names) {
        owner.lock(name, Exclusive).unwrap();
    }
    let last = owners.pop().unwrap();
    let ids: Vec<OwnerId> = owners.iter().map(LockOwner::id).collect();
    let answers: Vec<_> = owners
        .into_iter()
        .enumerate()
        .map(|(at, owner)| waits(&locks, owner, names[at + 1], Exclusive))
        .collect();
    let mut last = last;
    let Err(LockError::Deadlock(deadlock)) = last.lock(names[0], Exclusive) else { panic!("it closes it") };
    assert_eq!(deadlock.cycle.len(), 5);
    assert_eq!(deadlock.victim, last.id());
    assert!(
        deadlock
            .cycle
            .iter()
            .map(|member| member.owner)
            .take(4)
            .all(|id| ids.contains(&id) || id == last.id())
    );
    drop(last);
    for answer in answers.into_iter().rev() {
        let (owner, taken) = answer.recv().unwrap();
        assert_eq!(taken.unwrap(), Taken::Waited);
        drop(owner);
    }
    assert!(locks.picture().locks.is_empty());
}

fn page_of(space: u32) -> LockName {
    LockName::Page { space: SpaceId(space), page: 1 }
}

fn slot_of(space: u32) -> LockName {
    LockName::Slot { space: SpaceId(space), page: 1, slot: 1 }
}

/// Who stands behind a waiter waits for it: a circle may lead over a place in a queue, and over no hold at all.
#[test]
fn a_circle_over_a_place_in_a_queue_is_found() {
    let locks = manager();
    let (mut reader, mut writer, mut third) = (locks.owner(1), locks.owner(2), locks.owner(3));
    reader.lock(slot(1), Shared).unwrap();
    third.lock(slot(2), Exclusive).unwrap();
    writer.lock(slot(3), Exclusive).unwrap();
    // The writer waits for the reader, and the third for the writer that stands in front of it.
    let writer = waits(&locks, writer, slot(1), Exclusive);
    let third = waits(&locks, third, slot(1), Shared);
    // The reader closes the circle over the third's slot.
    let reader = closes(reader, slot(2));
    let (third, taken) = third.recv().unwrap();
    let Err(LockError::Deadlock(deadlock)) = taken else { panic!("{taken:?}") };
    assert_eq!(deadlock.cycle.len(), 3);
    drop(third);
    drop(reader.recv().unwrap());
    assert_eq!(writer.recv().unwrap().1.unwrap(), Taken::Waited);
}

#[test]
fn only_the_last_deadlocks_are_kept() {
    let locks = manager();
    for round in 0..DEADLOCKS_KEPT as u64 + 3 {
        let (mut old, mut young) = (locks.owner(round), locks.owner(round));
        old.lock(slot(1), Shared).unwrap();
        young.lock(slot(1), Shared).unwrap();
        let old = waits(&locks, old, slot(1), Exclusive);
        assert!(matches!(young.lock(slot(1), Exclusive), Err(LockError::Deadlock(_))));
        drop(young);
        old.recv().unwrap().1.unwrap();
    }
    let kept = locks.picture().deadlocks;
    assert_eq!(kept.len(), DEADLOCKS_KEPT);
    assert_eq!(kept[0].cycle[0].tag, 3);
    assert_eq!(locks.counters().deadlocks, DEADLOCKS_KEPT as u64 + 3);
}

/// The table and the detector without threads: a wait is a note that its owner waits.
struct Bench {
    table: Table,
    detector: Detector,
    clock: SimClock,
    sleepers: Vec<crate::sync::Arc<Sleeper>>,
    held: Vec<BTreeMap<LockName, LockMode>>,
    wants: Vec<Option<(LockName, LockMode)>>,
}

impl Bench {
    fn new(owners: u64) -> Bench {
        let sleeper = |id| crate::sync::Arc::new(Sleeper::new(OwnerId(id), id, "".into()));
        Bench {
            table: Table::new(4),
            detector: Detector::default(),
            clock: SimClock::default(),
            sleepers: (0..owners).map(sleeper).collect(),
            held: vec![BTreeMap::new(); owners as usize],
            wants: vec![None; owners as usize],
        }
    }

    /// Everybody who waits, and for whom.
    fn edges(&self) -> BTreeMap<u64, BTreeSet<u64>> {
        let mut edges = BTreeMap::new();
        self.table.look_at_all(|_, head| {
            for waiter in head.waiting() {
                let blockers = head.blockers(waiter.owner).map(|(blocker, _)| blocker.0);
                edges.insert(waiter.owner.0, blockers.collect());
            }
        });
        edges
    }

    /// Whoever was told something goes on.
    fn settle(&mut self) {
        for at in 0..self.sleepers.len() {
            if self.wants[at].is_none() {
                continue;
            }
            match self.sleepers[at].outcome() {
                Some(Outcome::Granted) => {
                    let (name, mode) = self.wants[at].take().expect("it waits");
                    self.held[at].insert(name, mode);
                }
                Some(Outcome::Deadlock(_)) => self.wants[at] = None,
                None => continue,
            }
            self.detector.end(OwnerId(at as u64));
        }
    }

    fn request(&mut self, at: usize, name: LockName, mode: LockMode) {
        let held = self.held[at].get(&name).copied();
        if held.is_some_and(|held| held.covers(mode)) {
            return;
        }
        let mode = held.map_or(mode, |held| held.join(mode));
        let request =
            Request { owner: OwnerId(at as u64), tag: at as u64, mode, held, since: Duration::ZERO };
        let sleeper = self.sleepers[at].clone();
        if self.table.ask(name, request, Some(&sleeper)) == Asked::Granted {
            self.held[at].insert(name, mode);
            return;
        }
        self.wants[at] = Some((name, mode));
        let before = self.edges();
        let kept = self.detector.deadlocks().len();
        let held = &self.held[at];
        let wait = Wait { sleeper, name, mode };
        let found = self.detector.begin(&self.table, &self.clock, wait, |name| held.contains_key(&name));
        assert_eq!(found > 0, is_on_circle(&before, at as u64));
        let deadlocks = self.detector.deadlocks();
        assert_eq!(deadlocks.len(), DEADLOCKS_KEPT.min(kept + found as usize));
        for (round, deadlock) in deadlocks.iter().rev().take(found as usize).rev().enumerate() {
            let members: Vec<u64> = deadlock.cycle.iter().map(|member| member.owner.0).collect();
            assert!(members.contains(&(at as u64)));
            assert_eq!(Some(&deadlock.victim.0), members.iter().max(), "the youngest");
            if round == 0 {
                let steps = members.iter().zip(members.iter().cycle().skip(1));
                steps.for_each(|(a, b)| assert!(before[a].contains(b), "{a} did not wait for {b}"));
            }
        }
        self.settle();
    }

    fn leave_queue(&mut self, at: usize) {
        let (name, _) = self.wants[at].take().expect("it waits");
        assert!(self.table.withdraw(name, OwnerId(at as u64), &mut Served::new()));
        self.detector.end(OwnerId(at as u64));
        self.settle();
    }

    fn release_all(&mut self, at: usize) {
        for name in std::mem::take(&mut self.held[at]).into_keys() {
            self.table.release(name, OwnerId(at as u64), &mut Served::new());
        }
        self.settle();
    }
}

/// Whether one comes from an owner back to itself.
fn is_on_circle(edges: &BTreeMap<u64, BTreeSet<u64>>, owner: u64) -> bool {
    let mut seen = BTreeSet::new();
    let mut next: Vec<u64> = edges.get(&owner).into_iter().flatten().copied().collect();
    while let Some(at) = next.pop() {
        if at == owner {
            return true;
        }
        if seen.insert(at) {
            next.extend(edges.get(&at).into_iter().flatten());
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Seven owners and four names, random requests, releases and withdrawals. A deadlock is found exactly when the request
    /// closes a circle in the whole graph of who waits for whom, and after it there is none.
    #[test]
    fn every_circle_is_found_when_it_closes_and_no_other(
        steps in prop::collection::vec((0usize..7, 0u64..4, 0usize..8), 1..150),
    ) {
        let mut bench = Bench::new(7);
        for (at, number, how) in steps {
            if bench.wants[at].is_some() {
                // It waits: seldom it gives up, else somebody else's step is next.
                if how == 7 {
                    bench.leave_queue(at);
                }
            } else if let Some(&mode) = LockMode::ALL.get(how) {
                bench.request(at, slot(number), mode);
            } else {
                bench.release_all(at);
            }
            let edges = bench.edges();
            for owner in 0..7 {
                prop_assert!(!is_on_circle(&edges, owner), "a deadlock was left: {edges:?}");
            }
            bench.table.look_at_all(|_, head| head.check_invariants());
        }
    }
}
