//! A dictionary in memory: things that are numbered from 0 in the order in which they came.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::FxHashMap;

/// Things by number, and numbers by thing. Never shrinks.
#[derive(Debug)]
pub(super) struct Dictionary<T: ?Sized> {
    by_number: Vec<Arc<T>>,
    numbers: FxHashMap<Arc<T>, u32>,
}

// Not derived: that would ask for a `T` that can be cloned, and only the pointers are.
impl<T: ?Sized> Clone for Dictionary<T> {
    fn clone(&self) -> Self {
        Dictionary { by_number: self.by_number.clone(), numbers: self.numbers.clone() }
    }
}

impl<T: ?Sized> Default for Dictionary<T> {
    fn default() -> Self {
        Dictionary { by_number: Vec::new(), numbers: FxHashMap::default() }
    }
}

impl<T: ?Sized + Hash + Eq> Dictionary<T>
where
    Arc<T>: Borrow<T>,
{
    pub(super) fn number(&self, thing: &T) -> Option<u32> {
        self.numbers.get(thing).copied()
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.by_number.get(usize::try_from(number).ok()?).map(|thing| &**thing)
    }

    /// The number that the next thing gets.
    pub(super) fn next(&self) -> u32 {
        u32::try_from(self.by_number.len()).expect("a dictionary has a limit below 2^32")
    }

    /// Adds a thing; false, and nothing changed, if it is there already.
    pub(super) fn add(&mut self, thing: Arc<T>) -> bool {
        let number = self.next();
        if self.numbers.contains_key(&*thing) {
            return false;
        }
        self.by_number.push(thing.clone());
        self.numbers.insert(thing, number);
        true
    }
}
