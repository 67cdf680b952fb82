//! What monitors are told of locks: who holds and awaits what, and who waits for whom.
//!
//! The reactor knows the sessions and the lock manager the locks, and the two are looked at one after the other. So a
//! session may be shown with a wait that began, or without one that ended, a moment after its other fields were read.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use graphite_protocol::messages::{
    Deadlock, Lock, LockMode as WireMode, LocksReply, Session as Row, SessionState,
};
use graphite_store::locks::{self, LockEntry, LockMode, LockName, LockPicture};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::lock_words::LockWords;
use crate::people::{People, Person};
use crate::shared::Shared;

/// Locks that are told, at most; those on names that somebody waits for come first.
const LOCKS_TOLD_MAX: usize = 10_000;

/// The mode on the wire.
pub(crate) fn mode(mode: LockMode) -> WireMode {
    match mode {
        LockMode::IntentShared => WireMode::IntentShared,
        LockMode::IntentExclusive => WireMode::IntentExclusive,
        LockMode::Shared => WireMode::Shared,
        LockMode::SharedIntentExclusive => WireMode::SharedIntentExclusive,
        LockMode::Update => WireMode::Update,
        LockMode::Exclusive => WireMode::Exclusive,
    }
}

/// Adds to the sessions what only others than the reactor know, or what takes a while: locks, names of users, and when
/// waits end.
pub(crate) fn complete(rows: &mut [Row], picture: &LockPicture, shared: &Shared) {
    add_locks(rows, picture, &mut LockWords::new(&shared.db));
    let timeout_ms = shared.config.lock_timeout_ms;
    for row in rows {
        row.user = shared.people.user_name(row.uid);
        row.wait_ends_in_ms =
            row.wait_ms.filter(|_| timeout_ms > 0).map(|waited| timeout_ms.saturating_sub(waited));
    }
}

/// Adds to the sessions what they hold and wait for. Owners of locks are tagged with their session.
fn add_locks(rows: &mut [Row], picture: &LockPicture, words: &mut LockWords<'_>) {
    let mut held: FxHashMap<u64, u64> = FxHashMap::default();
    for lock in picture.locks.iter().filter(|lock| lock.granted) {
        *held.entry(lock.tag).or_default() += 1;
    }
    let waits: FxHashMap<u64, &locks::LockWait> = picture.waits.iter().map(|wait| (wait.tag, wait)).collect();
    for row in rows {
        row.locks = held.get(&row.session).copied().unwrap_or(0);
        let Some(wait) = waits.get(&row.session).filter(|_| row.state == SessionState::Active) else {
            continue;
        };
        row.state = SessionState::Waiting;
        row.waits_for = Some(format!("{} {}", wait.mode.as_str(), words.of(wait.name)));
        row.wait_ms = Some(ms(picture.now.saturating_sub(wait.since)));
        row.blocked_by = sessions(&wait.blocked_by);
    }
}

/// The sessions that hold the name so that `session` cannot have it.
pub(crate) fn holders_against(
    picture: &LockPicture,
    name: LockName,
    mode: LockMode,
    session: u64,
) -> Vec<u64> {
    let in_the_way = |lock: &&LockEntry| {
        lock.granted && lock.name == name && lock.tag != session && !mode.is_compatible(lock.mode)
    };
    let tags: Vec<u64> = picture.locks.iter().filter(in_the_way).map(|lock| lock.tag).collect();
    sessions(&tags)
}

fn sessions(tags: &[u64]) -> Vec<u64> {
    let mut sessions = tags.to_vec();
    sessions.sort_unstable();
    sessions.dedup();
    sessions
}

/// The answer to `locks`. Of a session that is in no transaction the transaction is 0.
pub(crate) fn locks_reply(
    picture: &LockPicture,
    transactions: &FxHashMap<u64, u64>,
    words: &mut LockWords<'_>,
    people: &People,
) -> LocksReply {
    let awaited: FxHashSet<_> = picture.waits.iter().map(|wait| wait.name).collect();
    let mut entries: Vec<&LockEntry> = picture.locks.iter().collect();
    entries.sort_by_key(|lock| !awaited.contains(&lock.name));
    entries.truncate(LOCKS_TOLD_MAX);
    // Held before awaited: those in the order in which they came, and these, as the picture has them, in that of the queue.
    entries.sort_by_key(|lock| (lock.name, !lock.granted, lock.granted.then_some(lock.since)));
    let lock = |entry: &LockEntry, words: &mut LockWords<'_>| Lock {
        name: words.of(entry.name),
        mode: mode(entry.mode),
        granted: entry.granted,
        session: entry.tag,
        transaction: transactions.get(&entry.tag).copied().unwrap_or(0),
        for_ms: ms(picture.now.saturating_sub(entry.since)),
    };
    let awaited = picture.locks.iter().filter(|lock| !lock.granted).count();
    LocksReply {
        locks: entries.into_iter().map(|entry| lock(entry, words)).collect(),
        deadlocks: picture
            .deadlocks
            .iter()
            .rev()
            .map(|found| with_people(deadlock(found, words), people))
            .collect(),
        held: (picture.locks.len() - awaited) as u64,
        awaited: awaited as u64,
    }
}

/// The deadlock, with who was in it.
fn with_people(deadlock: Deadlock, people: &People) -> Deadlock {
    let who: Vec<_> = deadlock.sessions.iter().map(|session| people.of(*session)).collect();
    let pid = |person: &Option<Arc<Person>>| person.as_ref().map_or(0, |person| person.peer.pid);
    let client =
        |person: &Option<Arc<Person>>| person.as_ref().map_or(String::new(), |person| person.client.clone());
    let user = |person: &Option<Arc<Person>>| {
        person.as_ref().and_then(|person| people.user_name(person.peer.uid)).unwrap_or_default()
    };
    Deadlock {
        pids: who.iter().map(pid).collect(),
        users: who.iter().map(user).collect(),
        clients: who.iter().map(client).collect(),
        ..deadlock
    }
}

/// A deadlock that was found, without who was in it.
pub(crate) fn deadlock(found: &locks::Deadlock, words: &mut LockWords<'_>) -> Deadlock {
    let victim = found.cycle.iter().find(|member| member.owner == found.victim);
    let at = found.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let waits =
        |member: &locks::DeadlockMember| format!("{} {}", member.mode.as_str(), words.of(member.waits_for));
    Deadlock {
        at_ms: ms(at),
        sessions: found.cycle.iter().map(|member| member.tag).collect(),
        waits_for: found.cycle.iter().map(waits).collect(),
        statements: found.cycle.iter().map(|member| member.statement.to_string()).collect(),
        victim: victim.map_or(0, |member| member.tag),
        pids: Vec::new(),
        users: Vec::new(),
        clients: Vec::new(),
    }
}

pub(crate) fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
