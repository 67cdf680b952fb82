//! The lock manager: exclusion, deadlocks, and everything that may happen to a waiter at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use graphite_store::clock::SimClock;
use graphite_store::locks::LockMode::{Exclusive, Shared, Update};
use graphite_store::locks::{
    LockError, LockManager, LockMode, LockName, LockOptions, LockOwner, OwnerId, SpaceId, Taken,
};
use shuttle::thread;

use super::{Seen, check, check_random};

fn manager() -> LockManager {
    // Two shards, so that names meet there as well as by themselves.
    LockManager::new(LockOptions { shards: 2, ..LockOptions::default() })
}

fn page(page: u64) -> LockName {
    LockName::Page { space: SpaceId(1), page }
}

fn slot(slot: u64) -> LockName {
    LockName::Slot { space: SpaceId(1), page: slot / 10, slot }
}

fn nothing_is_left(locks: &LockManager) {
    let picture = locks.picture();
    assert!(picture.locks.is_empty() && picture.waits.is_empty(), "{picture:?}");
    locks.check_invariants();
}

/// What is under a lock, as seen by those who believe to hold it: the number of readers, or -1 for a writer. It is no part
/// of the model, so looking at it lets nobody in; the yield in between does.
#[derive(Default)]
struct Guarded(AtomicI64);

impl Guarded {
    fn read(&self) {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) >= 0, "read while it is written");
        thread::yield_now();
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn write(&self) {
        assert_eq!(self.0.swap(-1, Ordering::SeqCst), 0, "written while somebody else is there");
        thread::yield_now();
        assert_eq!(self.0.swap(0, Ordering::SeqCst), -1);
    }
}

/// Runs tasks to their end.
fn join_all<T: 'static>(tasks: Vec<thread::JoinHandle<T>>) -> Vec<T> {
    tasks.into_iter().map(|task| task.join().unwrap()).collect()
}

#[test]
fn who_holds_a_lock_is_alone_as_far_as_its_mode_says() {
    check(1500, || {
        let locks = manager();
        let guarded: Arc<[Guarded; 2]> = Arc::default();
        let modes = [[Shared, Exclusive], [Update, Shared], [Exclusive, Exclusive]];
        let tasks = modes.into_iter().map(|modes| {
            let (locks, guarded) = (locks.clone(), guarded.clone());
            thread::spawn(move || {
                let mut owner = locks.owner(0);
                // Names in one order, so nobody is a victim.
                for (at, mode) in modes.into_iter().enumerate() {
                    owner.lock(slot(at as u64), mode).unwrap();
                    if mode == Exclusive { guarded[at].write() } else { guarded[at].read() }
                }
                owner.check_invariants();
            })
        });
        join_all(tasks.collect());
        nothing_is_left(&locks);
    });
}

/// Each takes two names in its own order and writes under both. Whoever is let know gives way.
fn cross(locks: &LockManager, ways: &[[(LockName, LockMode); 2]]) -> Vec<OwnerId> {
    // Made here, so that it is known who is the youngest.
    let owners: Vec<LockOwner> = (0..ways.len()).map(|tag| locks.owner(tag as u64)).collect();
    let tasks = ways.iter().copied().zip(owners).map(|(way, mut owner)| {
        thread::spawn(move || {
            let mut victim = None;
            for (name, mode) in way {
                match owner.lock(name, mode) {
                    Ok(_) => {}
                    Err(LockError::Deadlock(deadlock)) => {
                        assert_eq!(deadlock.victim, owner.id());
                        let members = deadlock.cycle.iter().map(|member| member.owner);
                        assert_eq!(members.max(), Some(owner.id()), "the youngest");
                        victim = Some(owner.id());
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            owner.check_invariants();
            victim
        })
    });
    let victims: Vec<OwnerId> = join_all(tasks.collect()).into_iter().flatten().collect();
    assert_eq!(locks.counters().deadlocks, victims.len() as u64);
    nothing_is_left(locks);
    victims
}

#[test]
fn of_two_that_cross_the_younger_gives_way_and_the_older_comes_through() {
    let deadlocks = Seen::default();
    let seen = deadlocks.clone();
    check(1500, move || {
        let (a, b) = ((slot(1), Exclusive), (slot(2), Exclusive));
        let victims = cross(&manager(), &[[a, b], [b, a]]);
        assert!(victims.is_empty() || victims == [OwnerId(2)]);
        victims.iter().for_each(|_| seen.once());
    });
    deadlocks.assert_some("a deadlock");
}

#[test]
fn of_two_readers_that_both_want_to_change_the_younger_gives_way() {
    let deadlocks = Seen::default();
    let seen = deadlocks.clone();
    check(1500, move || {
        let way = [(slot(1), Shared), (slot(1), Exclusive)];
        let victims = cross(&manager(), &[way, way]);
        assert!(victims.len() <= 1);
        victims.iter().for_each(|_| seen.once());
    });
    deadlocks.assert_some("a deadlock");
}

#[test]
fn of_two_that_read_to_change_none_gives_way() {
    check(1000, || {
        let way = [(slot(1), Update), (slot(1), Exclusive)];
        assert!(cross(&manager(), &[way, way, way]).is_empty());
    });
}

/// All three in a circle: one victim is enough, and there is never a second.
#[test]
fn of_three_in_a_circle_one_gives_way() {
    let deadlocks = Seen::default();
    let seen = deadlocks.clone();
    check(2000, move || {
        let on = |at| (slot(at), Exclusive);
        let victims = cross(&manager(), &[[on(1), on(2)], [on(2), on(3)], [on(3), on(1)]]);
        assert!(victims.is_empty() || victims == [OwnerId(3)]);
        victims.iter().for_each(|_| seen.once());
    });
    deadlocks.assert_some("a deadlock");
}

/// Circles that share members: over shared holds, places in queues, conversions and names of different height.
#[test]
fn circles_that_share_members_all_end() {
    check(2000, || {
        let ways = [
            [(slot(1), Shared), (slot(2), Exclusive)],
            [(slot(2), Shared), (slot(1), Exclusive)],
            [(slot(1), Shared), (page(0), Shared)],
            [(page(0), Shared), (slot(2), Update)],
        ];
        let victims = cross(&manager(), &ways);
        assert!(!victims.contains(&OwnerId(1)), "somebody younger is in every circle");
    });
}

/// Who stands behind a waiter waits for it, so a circle may lead over a place in a queue. It is closed by whoever registers
/// last, which need not be who came last into the queue.
#[test]
fn a_circle_over_a_place_in_a_queue_ends() {
    let deadlocks = Seen::default();
    let seen = deadlocks.clone();
    check(2000, move || {
        let nothing = (slot(9), Shared);
        let ways = [
            [(slot(1), Shared), (slot(2), Shared)],
            [nothing, (slot(1), Exclusive)],
            [(slot(2), Exclusive), (slot(1), Shared)],
        ];
        cross(&manager(), &ways).iter().for_each(|_| seen.once());
    });
    deadlocks.assert_some("a deadlock");
}

/// A release while somebody begins to wait: it sees the lock free, or it is told. One that is not told is a deadlock.
#[test]
fn whoever_begins_to_wait_while_the_holder_lets_go_is_not_forgotten() {
    let waits = Seen::default();
    let seen = waits.clone();
    check(1500, move || {
        let locks = manager();
        let mut holder = locks.owner(0);
        holder.lock(slot(1), Exclusive).unwrap();
        let tasks = [Shared, Exclusive, Shared].map(|mode| {
            let mut owner = locks.owner(0);
            thread::spawn(move || owner.lock(slot(1), mode).unwrap())
        });
        holder.release_all();
        let taken = join_all(tasks.into());
        taken.iter().filter(|taken| **taken == Taken::Waited).for_each(|_| seen.once());
        nothing_is_left(&locks);
    });
    waits.assert_some("a wait");
}

/// A waiter is cancelled while it is granted the lock. Whichever came first, it knows what it holds, and who stands behind
/// it goes on.
#[test]
fn a_cancellation_that_meets_a_grant_leaves_either_one() {
    let (cancelled, granted) = (Seen::default(), Seen::default());
    let seen = (cancelled.clone(), granted.clone());
    check(1500, move || {
        let locks = manager();
        let (mut holder, mut waiter, mut behind) = (locks.owner(0), locks.owner(1), locks.owner(2));
        holder.lock(slot(1), Shared).unwrap();
        let canceller = waiter.canceller();
        let waiter = thread::spawn(move || {
            let taken = waiter.lock(slot(1), Exclusive);
            assert_eq!(waiter.mode_of(slot(1)).is_some(), taken.is_ok());
            waiter.check_invariants();
            taken
        });
        let behind = thread::spawn(move || behind.lock(slot(1), Exclusive).unwrap());
        let cancel = thread::spawn(move || canceller.cancel());
        drop(holder);
        match waiter.join().unwrap() {
            Ok(_) => seen.1.once(),
            Err(LockError::Cancelled) => seen.0.once(),
            Err(error) => panic!("{error}"),
        }
        behind.join().unwrap();
        cancel.join().unwrap();
        nothing_is_left(&locks);
    });
    cancelled.assert_some("a cancellation");
    granted.assert_some("a grant");
}

/// The holder stays until who stands behind the cancelled one has been served.
#[test]
fn a_cancelled_waiter_lets_those_behind_it_go_on() {
    check(1500, || {
        let locks = manager();
        let (mut holder, mut waiter, mut behind) = (locks.owner(0), locks.owner(1), locks.owner(2));
        holder.lock(slot(1), Shared).unwrap();
        let canceller = waiter.canceller();
        let waiter = thread::spawn(move || {
            assert!(matches!(waiter.lock(slot(1), Exclusive), Err(LockError::Cancelled)));
            waiter
        });
        let behind = thread::spawn(move || behind.lock(slot(1), Shared).unwrap());
        canceller.cancel();
        behind.join().unwrap();
        // It is there until the end, so it is not its end that lets the other one in.
        let waiter = waiter.join().unwrap();
        drop((holder, waiter));
        nothing_is_left(&locks);
    });
}

/// A grant may meet a time that runs out as well: the clock is moved by a task of its own. A timer is a look again and again.
#[test]
fn a_time_that_runs_out_at_a_grant_leaves_either_one() {
    let (timeouts, granted) = (Seen::default(), Seen::default());
    let seen = (timeouts.clone(), granted.clone());
    check_random(1500, move || {
        let clock = SimClock::default();
        let options = LockOptions { shards: 2, clock: Arc::new(clock.clone()), ..LockOptions::default() };
        let locks = LockManager::new(options);
        let (mut holder, mut waiter, mut behind) = (locks.owner(0), locks.owner(1), locks.owner(2));
        holder.lock(slot(1), Shared).unwrap();
        waiter.set_timeout(Some(Duration::from_secs(1)));
        let waiter = thread::spawn(move || {
            let taken = waiter.lock(slot(1), Exclusive);
            assert_eq!(waiter.mode_of(slot(1)).is_some(), taken.is_ok());
            taken
        });
        let behind = thread::spawn(move || behind.lock(slot(1), Exclusive).unwrap());
        let time = thread::spawn(move || {
            thread::yield_now();
            clock.advance(Duration::from_secs(2));
        });
        drop(holder);
        match waiter.join().unwrap() {
            Ok(_) => seen.1.once(),
            Err(LockError::Timeout { .. }) => seen.0.once(),
            Err(error) => panic!("{error}"),
        }
        behind.join().unwrap();
        time.join().unwrap();
        nothing_is_left(&locks);
    });
    timeouts.assert_some("a timeout");
    granted.assert_some("a grant");
}

/// The victim of a deadlock is cancelled, while the other one searches: it is told one of the two, once, and the other one
/// comes through.
#[test]
fn a_cancellation_that_meets_a_deadlock_harms_nobody_else() {
    let (deadlocks, cancelled) = (Seen::default(), Seen::default());
    let seen = (deadlocks.clone(), cancelled.clone());
    check(4000, move || {
        let locks = manager();
        let (mut old, mut young) = (locks.owner(0), locks.owner(1));
        old.lock(page(1), Exclusive).unwrap();
        young.lock(page(2), Exclusive).unwrap();
        let canceller = young.canceller();
        let old = thread::spawn(move || old.lock(page(2), Exclusive).unwrap());
        let young = thread::spawn(move || {
            let taken = young.lock(page(1), Exclusive);
            young.check_invariants();
            taken
        });
        canceller.cancel();
        match young.join().unwrap() {
            Ok(_) => panic!("the other one waits for it"),
            Err(LockError::Deadlock(_)) => seen.0.once(),
            Err(LockError::Cancelled) => seen.1.once(),
            Err(error) => panic!("{error}"),
        }
        old.join().unwrap();
        nothing_is_left(&locks);
    });
    deadlocks.assert_some("a deadlock");
    cancelled.assert_some("a cancellation");
}

/// One escalates while others come to single slots: whoever writes is alone with the slot, by whichever lock it has it.
#[test]
fn escalation_keeps_what_it_stands_for() {
    let escalations = Seen::default();
    let seen = escalations.clone();
    check(1500, move || {
        let options =
            LockOptions { escalates_above: 0, page_children_max: 1, shards: 2, ..LockOptions::default() };
        let locks = LockManager::new(options);
        let guarded: Arc<[Guarded; 3]> = Arc::default();
        let ways: [&[u64]; 3] = [&[0, 1, 2], &[1], &[2]];
        let tasks = ways.map(|slots| {
            let (locks, guarded) = (locks.clone(), guarded.clone());
            thread::spawn(move || {
                let mut owner = locks.owner(0);
                for &at in slots {
                    if owner.lock(slot(at), Exclusive).is_err() {
                        return;
                    }
                }
                slots.iter().for_each(|&at| guarded[at as usize].write());
                owner.check_invariants();
            })
        });
        join_all(tasks.into());
        (0..locks.counters().escalations).for_each(|_| seen.once());
        nothing_is_left(&locks);
    });
    escalations.assert_some("an escalation");
}

/// A monitor looks while everything moves: what it sees of one name is whole, and it stands in nobody's way.
#[test]
fn a_picture_shows_each_name_as_it_is() {
    check(1000, || {
        let locks = manager();
        let tasks = [Exclusive, Shared, Exclusive].map(|mode| {
            let mut owner = locks.owner(0);
            thread::spawn(move || owner.lock(slot(1), mode).unwrap())
        });
        let picture = locks.picture();
        let held = picture.locks.iter().filter(|lock| lock.name == slot(1) && lock.granted);
        let modes: Vec<LockMode> = held.map(|lock| lock.mode).collect();
        assert!(modes.len() <= 1 || modes.iter().all(|mode| *mode == Shared));
        assert!(picture.waits.iter().all(|wait| !wait.blocked_by.is_empty()));
        join_all(tasks.into());
        nothing_is_left(&locks);
    });
}
