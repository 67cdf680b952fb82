//! What is locked, in words that people know and that do nothing to a terminal. They are found once for each name.

use graphite_graph::GraphDb;
use graphite_protocol::harmless;
use graphite_store::locks::LockName;
use rustc_hash::FxHashMap;

/// Finds words for the names of locks.
#[derive(Debug)]
pub(crate) struct LockWords<'a> {
    db: &'a GraphDb,
    known: FxHashMap<LockName, String>,
}

impl LockWords<'_> {
    /// As of now.
    pub(crate) fn new(db: &GraphDb) -> LockWords<'_> {
        LockWords { db, known: FxHashMap::default() }
    }

    /// What the name names.
    pub(crate) fn of(&mut self, name: LockName) -> String {
        let found = || harmless(&self.db.lock_words(name)).into_owned();
        self.known.entry(name).or_insert_with(found).clone()
    }
}
