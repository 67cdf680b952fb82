//! What monitors are told of locks: who holds and awaits what, and who waits for whom.
//!
//! The reactor knows the sessions and the lock manager the locks, and the two are looked at one after the other. So a
//! session may be shown with a wait that began, or without one that ended, a moment after its other fields were read.

use std::time::{Duration, UNIX_EPOCH};

use graphite_protocol::messages::{
    Deadlock, Lock, LockMode as WireMode, LocksReply, Session as Row, SessionState,
};
use graphite_store::locks::{self, LockEntry, LockMode, LockName, LockPicture};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::lock_words::LockWords;

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

/// Adds to the sessions what they hold and wait for. Owners of locks are tagged with their session.
pub(crate) fn add_locks(rows: &mut [Row], picture: &LockPicture, words: &mut LockWords<'_>) {
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
) -> LocksReply {
    let awaited: FxHashSet<_> = picture.waits.iter().map(|wait| wait.name).collect();
    let mut entries: Vec<&LockEntry> = picture.locks.iter().collect();
    entries.sort_by_key(|lock| !awaited.contains(&lock.name));
    entries.truncate(LOCKS_TOLD_MAX);
    // Held before awaited, and both in the order in which they came, which is that of the queue.
    entries.sort_by_key(|lock| (lock.name, !lock.granted, lock.since));
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
        deadlocks: picture.deadlocks.iter().rev().map(|found| deadlock(found, words)).collect(),
        held: (picture.locks.len() - awaited) as u64,
        awaited: awaited as u64,
    }
}

/// A deadlock that was found.
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

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
