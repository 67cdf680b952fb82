//! Who is, or was lately, behind a session's number: for what outlives sessions, such as deadlocks and slow statements.
//!
//! Numbers of sessions are never given twice, so what is found is never somebody else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::unistd::{Uid, User};
use rustc_hash::FxHashMap;

use crate::connection::Peer;

/// Sessions that have ended and are remembered.
const GONE_MAX: usize = 1024;

/// Somebody behind a session.
#[derive(Debug)]
pub(crate) struct Person {
    /// Process and user, as the kernel says.
    pub peer: Peer,
    /// What the client calls itself.
    pub client: String,
}

/// Everybody.
#[derive(Debug, Default)]
pub(crate) struct People {
    known: Mutex<Known>,
    /// Names of users, once they were looked up: that may go over the network.
    names: Mutex<FxHashMap<u32, Option<String>>>,
}

#[derive(Debug, Default)]
struct Known {
    sessions: FxHashMap<u64, Arc<Person>>,
    /// Those that have ended, oldest first.
    gone: VecDeque<u64>,
}

impl People {
    /// What is in there is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session has said hello.
    pub(crate) fn came(&self, session: u64, person: Person) {
        self.lock().sessions.insert(session, Arc::new(person));
    }

    /// A session has ended.
    pub(crate) fn went(&self, session: u64) {
        let mut known = self.lock();
        if !known.sessions.contains_key(&session) {
            return;
        }
        known.gone.push_back(session);
        if known.gone.len() > GONE_MAX
            && let Some(forgotten) = known.gone.pop_front()
        {
            known.sessions.remove(&forgotten);
        }
    }

    /// Who is or was behind a session, if it is remembered.
    pub(crate) fn of(&self, session: u64) -> Option<Arc<Person>> {
        self.lock().sessions.get(&session).cloned()
    }

    /// A user's name, if it has one. The first look may take a while.
    pub(crate) fn user_name(&self, uid: u32) -> Option<String> {
        let names = || self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names().get(&uid) {
            return name.clone();
        }
        // Not under the lock, for others' names are known.
        let found = User::from_uid(Uid::from_raw(uid));
        // What failed may succeed the next time.
        let name = found.ok()?.map(|user| user.name);
        names().insert(uid, name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_went_are_remembered_and_not_for_ever() {
        let people = People::default();
        let person = |pid| Person { peer: Peer { pid, uid: 0 }, client: "x".into() };
        for session in 0..u32::try_from(GONE_MAX).unwrap() + 2 {
            people.came(u64::from(session), person(session));
        }
        for session in 1..=GONE_MAX as u64 + 1 {
            people.went(session);
        }
        people.went(GONE_MAX as u64 * 9);
        assert!(people.of(0).is_some_and(|person| person.peer.pid == 0), "is here");
        assert!(people.of(1).is_none(), "went first");
        assert!(people.of(2).is_some() && people.of(GONE_MAX as u64 + 1).is_some());
        let named = User::from_uid(Uid::from_raw(0)).unwrap().map(|user| user.name);
        assert_eq!([people.user_name(0), people.user_name(0)], [named.clone(), named]);
    }
}
