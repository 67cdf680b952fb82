//! One name's queue, without threads: each rule by itself, and all of them against a naive model.

use std::time::Duration;

use proptest::prelude::*;

use super::super::mode::LockMode::{self, *};
use super::*;

/// A head, the owners' holds as they know them, and who was served, in order.
#[derive(Default)]
struct Bench {
    head: Head<u64>,
    held: std::collections::BTreeMap<u64, LockMode>,
    wanted: std::collections::BTreeMap<u64, LockMode>,
    ticket: u64,
}

impl Bench {
    /// Asks, and queues if that fails. Tells whether it was granted at once.
    fn ask(&mut self, owner: u64, mode: LockMode) -> bool {
        self.ticket += 1;
        let held = self.held.get(&owner).copied();
        let mode = held.map_or(mode, |held| held.join(mode));
        let request = Request { owner: OwnerId(owner), tag: owner * 10, mode, held, since: Duration::ZERO };
        let granted = self.head.ask(&request, self.ticket);
        if granted {
            self.held.insert(owner, mode);
        } else {
            self.head.enqueue(request, self.ticket, owner);
            self.wanted.insert(owner, mode);
        }
        granted
    }

    fn note(&mut self, served: Vec<u64>) -> Vec<u64> {
        for owner in &served {
            let mode = self.wanted.remove(owner).expect("only a waiter is served");
            self.held.insert(*owner, mode);
        }
        served
    }

    fn release(&mut self, owner: u64) -> Vec<u64> {
        self.held.remove(&owner);
        let mut served = Vec::new();
        self.head.release(OwnerId(owner), |owner| served.push(owner));
        self.note(served)
    }

    fn withdraw(&mut self, owner: u64) -> Vec<u64> {
        let mut served = Vec::new();
        assert_eq!(self.head.withdraw(OwnerId(owner), |owner| served.push(owner)), Some(owner));
        self.wanted.remove(&owner);
        self.note(served)
    }

    fn blockers(&self, owner: u64) -> Vec<u64> {
        self.head
            .blockers(OwnerId(owner))
            .map(|(owner, tag)| {
                assert_eq!(tag, owner.0 * 10);
                owner.0
            })
            .collect()
    }
}

#[test]
fn no_newcomer_gets_past_a_waiter_that_it_conflicts_with() {
    let mut bench = Bench::default();
    assert!(bench.ask(1, Shared));
    assert!(!bench.ask(2, Exclusive));
    assert!(!bench.ask(3, Shared), "it goes with the holder, not with the waiter");
    assert_eq!(bench.blockers(3), [2]);
    assert_eq!(bench.release(1), [2]);
    assert_eq!(bench.release(2), [3]);
}

#[test]
fn a_newcomer_that_goes_with_all_holders_and_waiters_is_let_in() {
    let mut bench = Bench::default();
    assert!(bench.ask(1, IntentExclusive));
    assert!(!bench.ask(2, Shared));
    assert!(bench.ask(3, IntentShared));
    assert_eq!(bench.release(1), [2]);
}

#[test]
fn readers_in_a_row_are_served_together() {
    let mut bench = Bench::default();
    assert!(bench.ask(1, Exclusive));
    for owner in 2..=4 {
        assert!(!bench.ask(owner, Shared));
    }
    assert!(!bench.ask(5, Exclusive));
    assert!(!bench.ask(6, Shared));
    assert_eq!(bench.release(1), [2, 3, 4]);
    assert_eq!(bench.release(3), []);
    assert_eq!(bench.release(2), []);
    assert_eq!(bench.release(4), [5]);
    assert_eq!(bench.release(5), [6]);
}

#[test]
fn two_that_read_to_change_queue_and_stop_no_reader() {
    let mut bench = Bench::default();
    assert!(bench.ask(1, Update));
    assert!(!bench.ask(2, Update));
    assert!(bench.ask(3, Shared));
    assert!(!bench.ask(1, Exclusive), "there is a reader");
    assert_eq!(bench.blockers(1), [3]);
    assert!(!bench.ask(4, Shared), "the change that is due goes first");
    assert_eq!(bench.release(3), [1]);
    assert_eq!(bench.release(1), [2, 4]);
}

#[test]
fn a_conversion_goes_ahead_of_those_who_came_later_than_its_owner() {
    let mut bench = Bench::default();
    assert!(bench.ask(1, Shared));
    assert!(bench.ask(2, Shared));
    assert!(!bench.ask(3, Exclusive));
    assert!(!bench.ask(2, Exclusive));
    assert_eq!(bench.release(1), [2]);
    assert_eq!(bench.release(2), [3]);
}

#[test]
fn a_conversion_that_is_free_does_not_wait_for_a_newcomer() {
    let mut bench = Bench::default();
    assert!(bench.ask(1, Shared));
    assert!(!bench.ask(2, Exclusive));
    assert!(bench.ask(1, Exclusive));
    assert_eq!(bench.release(1), [2]);
}

/// A stream of transactions that read (IS) and then change (IX) does not keep out for ever who scans (S).
#[test]
fn whoever_was_let_past_a_waiter_does_not_get_past_it_again_by_a_conversion() {
    let mut bench = Bench::default();
    assert!(bench.ask(1, IntentExclusive));
    assert!(!bench.ask(2, Shared));
    assert!(bench.ask(3, IntentShared));
    assert!(!bench.ask(3, IntentExclusive));
    assert_eq!(bench.blockers(3), [2]);
    assert_eq!(bench.release(1), [2]);
    assert_eq!(bench.release(2), [3]);
}

/// Each waits for the other's hold; the first also stands in front of the second, but the second would gain nothing by
/// waiting for that.
#[test]
fn two_readers_that_both_want_to_change_wait_for_each_other() {
    let mut bench = Bench::default();
    assert!(bench.ask(1, Shared));
    assert!(bench.ask(2, Shared));
    assert!(!bench.ask(1, Exclusive));
    assert!(!bench.ask(2, Exclusive));
    assert_eq!((bench.blockers(1), bench.blockers(2)), (vec![2], vec![1]));
    assert_eq!(bench.withdraw(2), []);
    assert_eq!(bench.release(2), [1]);
}

#[test]
fn a_conversion_gets_past_a_conversion_that_waits_for_it_anyway() {
    let mut bench = Bench::default();
    assert!(bench.ask(1, Shared));
    assert!(bench.ask(2, IntentShared));
    assert!(!bench.ask(1, Exclusive), "it waits for the second");
    assert!(bench.ask(2, Shared), "so the second has nothing to wait for");
    assert_eq!(bench.release(2), [1]);
}

#[test]
fn a_waiter_that_leaves_lets_those_behind_it_go_on() {
    let mut bench = Bench::default();
    assert!(bench.ask(1, Shared));
    assert!(!bench.ask(2, Exclusive));
    assert!(!bench.ask(3, Shared));
    assert!(!bench.ask(4, Shared));
    assert_eq!(bench.withdraw(2), [3, 4]);
    assert!(bench.head.withdraw(OwnerId(3), |_| ()).is_none(), "it was served");
}

/// The rules once more, as plainly as can be: everybody who came, in order, with what they hold and want.
#[derive(Default)]
struct Naive(Vec<Came>);

#[derive(Clone, Copy)]
struct Came {
    owner: u64,
    held: Option<LockMode>,
    wants: Option<LockMode>,
}

impl Naive {
    fn blockers(&self, owner: u64) -> Vec<u64> {
        let place = self.0.iter().position(|came| came.owner == owner).expect("it came");
        let me = self.0[place];
        let Some(wants) = me.wants else { return Vec::new() };
        let against =
            |mode: Option<LockMode>, wants: LockMode| mode.is_some_and(|mode| !mode.is_compatible(wants));
        let mut blockers: Vec<u64> = Vec::new();
        for (at, other) in self.0.iter().enumerate().filter(|(at, _)| *at != place) {
            let waits_for_me = other.wants.is_some_and(|wants| against(me.held, wants));
            let stands_ahead = at < place && against(other.wants, wants) && !waits_for_me;
            if against(other.held, wants) || stands_ahead {
                blockers.push(other.owner);
            }
        }
        blockers
    }

    /// Serves one after the other, the first first, until nobody is left who could be.
    fn serve(&mut self) -> Vec<u64> {
        let mut served = Vec::new();
        while let Some(place) =
            self.0.iter().position(|came| came.wants.is_some() && self.blockers(came.owner).is_empty())
        {
            let came = &mut self.0[place];
            came.held = came.wants.take();
            served.push(came.owner);
        }
        served
    }

    fn ask(&mut self, owner: u64, mode: LockMode) -> Vec<u64> {
        match self.0.iter_mut().find(|came| came.owner == owner) {
            Some(came) => came.wants = Some(came.held.map_or(mode, |held| held.join(mode))),
            None => self.0.push(Came { owner, held: None, wants: Some(mode) }),
        }
        self.serve()
    }

    fn leave(&mut self, owner: u64, keeps: bool) -> Vec<u64> {
        self.0.retain(|came| came.owner != owner || (keeps && came.held.is_some()));
        self.0.iter_mut().filter(|came| came.owner == owner).for_each(|came| came.wants = None);
        self.serve()
    }
}

proptest! {
    /// Random requests, releases and withdrawals of six owners: who is granted, who is served when, and who waits for
    /// whom is what the naive rules say.
    #[test]
    fn a_queue_does_what_the_naive_rules_say(steps in prop::collection::vec((0u64..6, 0usize..9), 1..120)) {
        let mut bench = Bench::default();
        let mut naive = Naive::default();
        for (owner, what) in steps {
            let waits = bench.wanted.contains_key(&owner);
            if waits {
                prop_assert_eq!(bench.withdraw(owner), naive.leave(owner, true));
            } else if let Some(&mode) = LockMode::ALL.get(what) {
                if bench.held.get(&owner).is_some_and(|held| held.covers(mode)) {
                    continue;
                }
                let granted = bench.ask(owner, mode);
                prop_assert_eq!(naive.ask(owner, mode), if granted { vec![owner] } else { vec![] });
            } else if bench.held.contains_key(&owner) {
                prop_assert_eq!(bench.release(owner), naive.leave(owner, false));
            }
            bench.head.check_invariants();
            for &waiter in bench.wanted.keys() {
                let (mut ours, mut theirs) = (bench.blockers(waiter), naive.blockers(waiter));
                ours.sort_unstable();
                ours.dedup();
                theirs.sort_unstable();
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
