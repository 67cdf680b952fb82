//! The manager as its users see it. Where somebody has to wait, it does so in a thread, and the test goes on once the
//! picture shows the waiter: nothing here depends on how long anything takes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use proptest::prelude::*;

use super::LockMode::*;
use super::*;
use crate::clock::SimClock;

mod deadlocks;

const TABLE: SpaceId = SpaceId(1);
const INDEX: SpaceId = SpaceId(2);

fn manager() -> LockManager {
    LockManager::new(LockOptions::default())
}

fn space() -> LockName {
    LockName::Space(TABLE)
}

fn page(page: u64) -> LockName {
    LockName::Page { space: TABLE, page }
}

/// Ten slots to a page.
fn slot(slot: u64) -> LockName {
    LockName::Slot { space: TABLE, page: slot / 10, slot }
}

/// Sleeps a little, until what is true of the picture is true.
fn until(locks: &LockManager, is_true: impl Fn(&LockPicture) -> bool) {
    while !is_true(&locks.picture()) {
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn until_waits(locks: &LockManager, owner: OwnerId) {
    until(locks, |picture| picture.waits.iter().any(|wait| wait.owner == owner));
}

/// Takes a lock in a thread of its own, that goes on once it waits there. The owner comes back with the answer.
fn waits(
    locks: &LockManager,
    mut owner: LockOwner,
    name: LockName,
    mode: LockMode,
) -> Receiver<(LockOwner, Result<Taken, LockError>)> {
    let (answer, answers) = channel();
    let id = owner.id();
    std::thread::spawn(move || {
        let taken = owner.lock(name, mode);
        let _ = answer.send((owner, taken));
    });
    until_waits(locks, id);
    answers
}

#[test]
fn a_lock_takes_intents_on_its_whole_path_and_each_only_once() {
    let locks = manager();
    let mut owner = locks.owner(1);
    assert_eq!(owner.lock(slot(5), Shared).unwrap(), Taken::New);
    assert_eq!(owner.mode_of(LockName::Database), Some(IntentShared));
    assert_eq!(owner.mode_of(space()), Some(IntentShared));
    assert_eq!(owner.mode_of(page(0)), Some(IntentShared));
    assert_eq!(owner.held(), 4);
    assert_eq!(owner.lock(slot(5), Shared).unwrap(), Taken::Held);
    assert_eq!(owner.lock(slot(6), Shared).unwrap(), Taken::New);
    assert_eq!(owner.held(), 5);
    assert_eq!(owner.lock(slot(6), Exclusive).unwrap(), Taken::New);
    assert_eq!(owner.lock(slot(6), Update).unwrap(), Taken::Held);
    assert_eq!(owner.mode_of(page(0)), Some(IntentExclusive));
    assert_eq!(owner.mode_of(slot(5)), Some(Shared));
    owner.check_invariants();
    locks.check_invariants();
    owner.release_all();
    assert_eq!(owner.held(), 0);
    assert!(locks.picture().locks.is_empty());
}

#[test]
fn what_is_covered_from_above_is_not_taken_again() {
    let locks = manager();
    let mut owner = locks.owner(1);
    owner.lock(space(), Shared).unwrap();
    assert_eq!(owner.lock(slot(5), Shared).unwrap(), Taken::Held);
    assert_eq!(owner.lock(LockName::End { space: TABLE }, Shared).unwrap(), Taken::Held);
    assert_eq!(owner.held(), 2);
    assert_eq!(owner.lock(slot(5), Exclusive).unwrap(), Taken::New);
    assert_eq!(owner.mode_of(space()), Some(SharedIntentExclusive));
    assert_eq!(owner.lock(slot(6), Update).unwrap(), Taken::Held, "nobody else may change anything here");
    owner.lock(space(), Exclusive).unwrap();
    assert_eq!(owner.lock(slot(77), Exclusive).unwrap(), Taken::Held);
    owner.check_invariants();
}

#[test]
fn scans_and_changes_meet_at_the_space() {
    let locks = manager();
    let (mut scan, mut change, mut read, mut rewrite) =
        (locks.owner(1), locks.owner(2), locks.owner(3), locks.owner(4));
    rewrite.lock(space(), SharedIntentExclusive).unwrap();
    assert_eq!(read.try_lock(slot(1), Shared), Some(Taken::New), "IS goes with SIX");
    assert_eq!(change.try_lock(slot(50), Exclusive), None, "IX does not");
    assert_eq!(scan.try_lock(space(), Shared), None);
    assert_eq!(rewrite.try_lock(slot(1), Exclusive), None, "it is read");
    rewrite.release_all();
    scan.lock(space(), Shared).unwrap();
    assert_eq!(change.try_lock(slot(50), Exclusive), None);
    assert_eq!(read.try_lock(slot(2), Shared), Some(Taken::New));
    scan.release_all();
    assert_eq!(change.try_lock(slot(50), Exclusive), Some(Taken::New));
    assert_eq!(rewrite.try_lock(slot(51), Exclusive), Some(Taken::New), "two change slots of one page");
    assert_eq!(scan.try_lock(space(), Shared), None);
    assert_eq!(scan.try_lock(page(3), Shared), Some(Taken::New), "another page is not concerned");
    assert_eq!(scan.try_lock(page(5), Shared), None);
}

#[test]
fn a_range_of_an_index_its_keys_and_the_gap_at_its_end_are_names_of_their_own() {
    let locks = manager();
    let key = |page, hash| LockName::Key { space: INDEX, page, hash };
    let end = LockName::End { space: INDEX };
    let (mut range, mut insert, mut look) = (locks.owner(1), locks.owner(2), locks.owner(3));
    range.lock(LockName::Page { space: INDEX, page: 4 }, Shared).unwrap();
    range.lock(end, Shared).unwrap();
    assert_eq!(insert.try_lock(key(4, 1), Exclusive), None, "its page is read as a range");
    assert_eq!(insert.try_lock(end, Exclusive), None);
    assert_eq!(insert.try_lock(key(3, 1), Exclusive), Some(Taken::New));
    assert_eq!(look.try_lock(key(3, 1), Shared), None);
    assert_eq!(look.try_lock(key(4, 2), Shared), Some(Taken::New), "readers go together");
    range.release_all();
    assert_eq!(insert.try_lock(end, Exclusive), Some(Taken::New));
    assert_eq!(look.try_lock(end, Shared), None);
    assert_eq!(insert.try_lock(key(4, 2), Exclusive), None);
}

/// Its page is split while it is held, so it is met over another one; and what is held of a page says nothing of what has
/// left it.
#[test]
fn a_key_is_the_same_over_whichever_page_it_is_reached() {
    let locks = small_escalations();
    let key = |page, hash| LockName::Key { space: INDEX, page, hash };
    let (mut owner, mut other) = (locks.owner(1), locks.owner(2));
    for hash in 0..9 {
        owner.lock(key(1, hash), Shared).unwrap();
        owner.check_invariants();
    }
    owner.lock(key(2, 0), Exclusive).unwrap();
    owner.check_invariants();
    owner.lock(key(2, 1), Shared).unwrap();
    owner.check_invariants();
    for page in 1..3 {
        assert_eq!(other.try_lock(key(page, 0), Shared), None);
        assert_eq!(other.try_lock(key(page, 1), Exclusive), None);
    }
    drop(other);
    owner.lock(key(3, 1), Exclusive).unwrap();
    owner.check_invariants();
    assert_eq!(
        owner.mode_of(LockName::Space(INDEX)),
        Some(Exclusive),
        "keys on many pages become their index"
    );
    assert_eq!(owner.held(), 2);
}

#[test]
fn a_waiter_has_the_lock_when_its_holder_lets_go() {
    let locks = manager();
    let mut first = locks.owner(10);
    first.lock(slot(1), Exclusive).unwrap();
    let second = waits(&locks, locks.owner(20), slot(1), Shared);
    let picture = locks.picture();
    assert_eq!((picture.waits[0].tag, picture.waits[0].name, picture.waits[0].mode), (20, slot(1), Shared));
    assert_eq!(picture.waits[0].blocked_by, [10]);
    let entries = picture.locks.iter().filter(|lock| lock.name == slot(1));
    let mut entries: Vec<_> = entries.map(|lock| (lock.tag, lock.mode, lock.granted)).collect();
    entries.sort_unstable_by_key(|(tag, ..)| *tag);
    assert_eq!(entries, [(10, Exclusive, true), (20, Shared, false)]);
    drop(first);
    let (second, taken) = second.recv().unwrap();
    assert_eq!(taken.unwrap(), Taken::Waited);
    second.check_invariants();
    drop(second);
    assert!(locks.picture().locks.is_empty());
    assert_eq!(locks.counters().waits, 1);
}

/// The path counts as well: whoever waits for the intent above has to look anew.
#[test]
fn a_wait_above_is_a_wait() {
    let locks = manager();
    let mut first = locks.owner(1);
    first.lock(space(), Exclusive).unwrap();
    let second = waits(&locks, locks.owner(2), slot(1), Shared);
    drop(first);
    assert_eq!(second.recv().unwrap().1.unwrap(), Taken::Waited);
}

#[test]
fn waiters_are_served_in_the_order_in_which_they_came() {
    let locks = manager();
    let mut first = locks.owner(0);
    first.lock(slot(1), Exclusive).unwrap();
    let (served, order) = channel();
    let threads: Vec<_> = (1..=5)
        .map(|tag| {
            let mut owner = locks.owner(tag);
            let id = owner.id();
            let served = served.clone();
            let thread = std::thread::spawn(move || {
                owner.lock(slot(1), Exclusive).unwrap();
                served.send(tag).unwrap();
            });
            until_waits(&locks, id);
            thread
        })
        .collect();
    drop(first);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(order.try_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_cancelled_waiter_lets_those_behind_it_go_on() {
    let locks = manager();
    let mut reader = locks.owner(1);
    reader.lock(slot(1), Shared).unwrap();
    let writer = locks.owner(2);
    let canceller = writer.canceller();
    let writer = waits(&locks, writer, slot(1), Exclusive);
    let behind = waits(&locks, locks.owner(3), slot(1), Shared);
    canceller.cancel();
    let (mut writer, taken) = writer.recv().unwrap();
    assert!(matches!(taken, Err(LockError::Cancelled)));
    assert_eq!(behind.recv().unwrap().1.unwrap(), Taken::Waited);
    assert!(matches!(writer.lock(slot(1), Exclusive), Err(LockError::Cancelled)), "later waits as well");
    assert_eq!(writer.lock(slot(2), Exclusive).unwrap(), Taken::New, "what is free needs no wait");
    writer.check_invariants();
    canceller.reset();
    let writer = waits(&locks, writer, slot(1), Exclusive);
    drop(reader);
    assert_eq!(writer.recv().unwrap().1.unwrap(), Taken::Waited);
}

#[test]
fn a_waiter_whose_time_runs_out_lets_those_behind_it_go_on() {
    let clock = SimClock::default();
    let locks = LockManager::new(LockOptions { clock: Arc::new(clock.clone()), ..LockOptions::default() });
    let mut reader = locks.owner(1);
    reader.lock(slot(1), Shared).unwrap();
    let mut writer = locks.owner(2);
    writer.set_timeout(Some(Duration::from_millis(3)));
    let writer = waits(&locks, writer, slot(1), Exclusive);
    let behind = waits(&locks, locks.owner(3), slot(1), Shared);
    clock.advance(Duration::from_millis(4));
    let (mut writer, taken) = writer.recv().unwrap();
    let Err(LockError::Timeout { name, mode, waited }) = taken else { panic!("{taken:?}") };
    assert_eq!((name, mode, waited), (slot(1), Exclusive, Duration::from_millis(4)));
    assert_eq!(behind.recv().unwrap().1.unwrap(), Taken::Waited);
    assert_eq!(locks.counters().timeouts, 1);
    writer.set_timeout(Some(Duration::ZERO));
    assert!(matches!(writer.lock(slot(1), Exclusive), Err(LockError::Timeout { .. })), "no time is no wait");
    writer.check_invariants();
}

#[test]
fn a_try_never_waits_and_leaves_nothing_in_the_queue() {
    let locks = manager();
    let (mut first, mut second) = (locks.owner(1), locks.owner(2));
    first.lock(slot(1), Exclusive).unwrap();
    assert_eq!(second.try_lock(slot(1), Shared), None);
    assert_eq!(second.try_lock(slot(2), Shared), Some(Taken::New));
    assert!(locks.picture().waits.is_empty());
    second.check_invariants();
    locks.check_invariants();
}

fn small_escalations() -> LockManager {
    LockManager::new(LockOptions {
        escalates_above: 0,
        page_children_max: 3,
        space_children_max: 2,
        ..LockOptions::default()
    })
}

#[test]
fn many_slots_become_their_page_and_many_pages_their_space() {
    let locks = small_escalations();
    let mut owner = locks.owner(1);
    for number in 0..4 {
        owner.lock(slot(number), Shared).unwrap();
        owner.check_invariants();
    }
    assert_eq!(owner.mode_of(page(0)), Some(Shared));
    assert_eq!((owner.mode_of(slot(0)), owner.held()), (None, 3));
    assert_eq!(locks.picture().locks.len(), 3);
    assert_eq!(owner.lock(slot(9), Shared).unwrap(), Taken::Held);
    owner.lock(slot(10), Update).unwrap();
    assert_eq!(owner.mode_of(page(1)), Some(IntentExclusive));
    assert_eq!(locks.counters().escalations, 1);
    owner.lock(slot(20), Shared).unwrap();
    assert_eq!(
        owner.mode_of(space()),
        Some(SharedIntentExclusive),
        "nothing was changed, and much looked at"
    );
    assert_eq!(owner.held(), 2);
    assert_eq!(locks.counters().escalations, 2);
    owner.check_invariants();
    drop(owner);
    assert!(locks.picture().locks.is_empty());
}

/// Nobody's locks fill the memory: whoever is not let have one lock in their stead waits for that.
#[test]
fn whoever_holds_very_many_waits_until_they_can_become_one() {
    let locks = LockManager::new(LockOptions { held_max: 8, ..LockOptions::default() });
    let (mut owner, mut other) = (locks.owner(1), locks.owner(2));
    other.lock(slot(1000), Exclusive).unwrap();
    for number in 0..5 {
        owner.lock(slot(number), Shared).unwrap();
    }
    assert_eq!(owner.try_lock(slot(6), Shared), None);
    assert_eq!(owner.lock(slot(3), Shared).unwrap(), Taken::Held);
    let answer = waits(&locks, owner, slot(6), Shared);
    drop(other);
    let (owner, taken) = answer.recv().unwrap();
    assert_eq!(taken.unwrap(), Taken::Waited);
    assert_eq!((owner.mode_of(space()), owner.held()), (Some(Shared), 2));
    owner.check_invariants();
}

#[test]
fn escalation_takes_the_strongest_of_what_it_stands_for() {
    for (mode, expected) in [(Shared, Shared), (Update, SharedIntentExclusive), (Exclusive, Exclusive)] {
        let locks = small_escalations();
        let mut owner = locks.owner(1);
        (0..3).for_each(|number| assert_eq!(owner.lock(slot(number), Shared).unwrap(), Taken::New));
        owner.lock(slot(3), mode).unwrap();
        assert_eq!(owner.mode_of(page(0)), Some(expected), "three S and {mode:?}");
        assert_eq!(owner.lock(slot(7), mode).unwrap(), Taken::Held);
    }
}

#[test]
fn escalation_is_not_taken_while_somebody_else_holds_a_child() {
    let locks = small_escalations();
    let (mut owner, mut other) = (locks.owner(1), locks.owner(2));
    other.lock(slot(9), Shared).unwrap();
    for number in 0..5 {
        owner.lock(slot(number), Exclusive).unwrap();
    }
    assert_eq!(owner.mode_of(page(0)), Some(IntentExclusive));
    assert_eq!(locks.counters().escalations, 0);
    drop(other);
    owner.lock(slot(5), Exclusive).unwrap();
    assert_eq!(owner.mode_of(slot(0)), Some(Exclusive), "it is tried again at twice as many, not at each");
    owner.lock(slot(6), Exclusive).unwrap();
    assert_eq!(owner.mode_of(page(0)), Some(Exclusive));
    assert_eq!(owner.held(), 3);
    owner.check_invariants();
}

/// Whoever changes most of a page, and little besides, keeps nobody from the rest of it.
#[test]
fn few_locks_do_not_escalate() {
    let options = LockOptions { escalates_above: 12, page_children_max: 3, ..LockOptions::default() };
    let locks = LockManager::new(options);
    let (mut owner, mut other) = (locks.owner(1), locks.owner(2));
    // Three intents, and all but one slot of the page.
    (0..9).for_each(|number| assert_eq!(owner.lock(slot(number), Exclusive).unwrap(), Taken::New));
    assert_eq!((owner.mode_of(page(0)), owner.held()), (Some(IntentExclusive), 12));
    assert_eq!(other.try_lock(slot(9), Exclusive), Some(Taken::New));
    other.release_all();
    owner.lock(slot(9), Exclusive).unwrap();
    assert_eq!(owner.mode_of(page(0)), Some(Exclusive), "more than those are many");
    owner.check_invariants();
}

#[test]
fn a_read_escalates_beside_other_readers() {
    let locks = small_escalations();
    let (mut owner, mut other) = (locks.owner(1), locks.owner(2));
    other.lock(slot(9), Shared).unwrap();
    (0..4).for_each(|number| assert_eq!(owner.lock(slot(number), Shared).unwrap(), Taken::New));
    assert_eq!(owner.mode_of(page(0)), Some(Shared));
}

#[test]
fn an_owner_may_be_used_by_one_thread_after_another() {
    fn is_send<T: Send>() {}
    fn is_shared<T: Send + Sync + Clone>() {}
    is_send::<LockOwner>();
    is_shared::<LockManager>();
    is_shared::<LockCanceller>();
    let locks = manager();
    let mut owner = locks.owner(1);
    owner.lock(slot(1), Shared).unwrap();
    std::thread::spawn(move || owner.lock(slot(2), Shared).unwrap()).join().unwrap();
    assert!(locks.picture().locks.is_empty());
}

/// The names of a small world: everything of two spaces of two pages of two slots.
fn world() -> Vec<LockName> {
    let mut names = vec![LockName::Database];
    for space in [TABLE, INDEX] {
        names.push(LockName::Space(space));
        for page in 0..2 {
            names.push(LockName::Page { space, page });
            names.extend((0..2).map(|slot| LockName::Slot { space, page, slot: page * 2 + slot }));
        }
    }
    names
}

/// How an owner that was granted `(name, mode)` may believe every slot to be locked for it.
fn promised(granted: &[(LockName, LockMode)], slot: LockName) -> Vec<LockMode> {
    let by = granted.iter().filter_map(|&(name, mode)| match name {
        name if name == slot => Some(mode),
        name if slot.above().any(|above| above == name) => mode.implied_below(),
        _ => None,
    });
    by.collect()
}

proptest! {
    /// Three owners try random locks in a small world, with escalation at almost everything. What each may believe of a
    /// slot, by everything it was ever granted there or above, never conflicts with what another one may believe.
    #[test]
    fn what_owners_were_promised_never_conflicts(
        steps in prop::collection::vec((0usize..3, 0usize..15, 0usize..7), 1..200),
        page_children_max in 1u32..3,
    ) {
        let options = LockOptions {
            escalates_above: 0,
            page_children_max,
            space_children_max: 1,
            shards: 4,
            ..LockOptions::default()
        };
        let locks = LockManager::new(options);
        let mut owners: Vec<LockOwner> = (0..3).map(|tag| locks.owner(tag)).collect();
        let mut granted: Vec<Vec<(LockName, LockMode)>> = vec![Vec::new(); 3];
        let world = world();
        for (who, what, how) in steps {
            let name = world[what % world.len()];
            if let Some(&mode) = LockMode::ALL.get(how) {
                // There is nothing below a slot that an intent would announce.
                let is_intent = mode.implied_below().is_none() || mode == SharedIntentExclusive;
                if is_intent && matches!(name, LockName::Slot { .. }) {
                    continue;
                }
                let is_alone = (0..3).all(|other| other == who || owners[other].held() == 0);
                let taken = owners[who].try_lock(name, mode);
                prop_assert!(taken.is_some() || !is_alone, "nobody else was there");
                if taken.is_some() {
                    granted[who].push((name, mode));
                }
            } else {
                owners[who].release_all();
                granted[who].clear();
            }
            owners[who].check_invariants();
            locks.check_invariants();
            for &slot in world.iter().filter(|name| matches!(name, LockName::Slot { .. })) {
                for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                    for mine in promised(&granted[a], slot) {
                        for theirs in promised(&granted[b], slot) {
                            prop_assert!(mine.is_compatible(theirs), "{slot}: {mine:?} beside {theirs:?}");
                        }
                    }
                }
            }
        }
        drop(owners);
        prop_assert!(locks.picture().locks.is_empty());
    }
}

/// Threads that take two slots each in random order, give up at a deadlock, and count under the locks: no count is lost, and
/// at the end nothing is held and nobody waits.
#[test]
fn threads_that_collide_all_come_through_and_exclude_each_other() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 300;
    let locks = manager();
    let counts: Arc<Vec<std::sync::Mutex<u64>>> =
        Arc::new((0..6).map(|_| std::sync::Mutex::new(0)).collect());
    let run = |seed: u64| {
        let (locks, counts) = (locks.clone(), counts.clone());
        move || {
            let mut random = seed;
            let mut next = |n: u64| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % n
            };
            for _ in 0..ROUNDS {
                let (a, b) = (next(6), next(6));
                loop {
                    let mut owner = locks.owner(seed);
                    let both = owner.lock(slot(a), Update).and_then(|_| {
                        std::thread::yield_now();
                        owner.lock(slot(b), Exclusive)?;
                        owner.lock(slot(a), Exclusive)
                    });
                    match both {
                        Ok(_) => {
                            for at in [a, b] {
                                let mut count = counts[at as usize].try_lock().expect("nobody else is here");
                                *count += 1;
                                std::thread::yield_now();
                            }
                            break;
                        }
                        Err(LockError::Deadlock(deadlock)) => assert_eq!(deadlock.victim, owner.id()),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    };
    let threads: Vec<_> = (1..=THREADS).map(|seed| std::thread::spawn(run(seed))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let sum: u64 = counts.iter().map(|count| *count.lock().unwrap()).sum();
    assert_eq!(sum, THREADS * ROUNDS * 2);
    assert!(locks.picture().locks.is_empty());
}
