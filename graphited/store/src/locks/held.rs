//! What one owner holds, as it knows it itself: only its own thread looks here, so nothing is locked.
//!
//! Invariants:
//! 1. Whoever holds a name holds at least the intents for it on all names above.
//! 2. A name's `children` is the number of names held right below it. A key is below the page over which it was last taken
//!    in another mode.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use super::mode::LockMode;
use super::name::LockName;

/// Room for what a small transaction holds, so that it is allocated once.
const HELD_AT_FIRST: usize = 14;

#[derive(Debug, Default)]
pub(super) struct HeldLocks {
    by_name: FxHashMap<LockName, Held>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) mode: LockMode,
    pub(super) children: u32,
    /// With more children than this, one lock here is tried instead of them.
    pub(super) children_max: u32,
}

impl HeldLocks {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn mode_of(&self, name: LockName) -> Option<LockMode> {
        self.by_name.get(&name).map(|held| held.mode)
    }

    pub(super) fn get_mut(&mut self, name: LockName) -> Option<&mut Held> {
        self.by_name.get_mut(&name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LockName, LockMode)> {
        self.by_name.iter().map(|(&name, held)| (name, held.mode))
    }

    /// Notes that `name` is held in `mode`, newly or more than before. Tells whether its parent has too many children now.
    pub(super) fn set(&mut self, name: LockName, mode: LockMode, children_max: u32) -> bool {
        if self.by_name.capacity() == 0 {
            self.by_name.reserve(HELD_AT_FIRST);
        }
        match self.by_name.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(Held { mode, children: 0, children_max });
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().mode = mode;
                let before = entry.key().parent();
                if before == name.parent() {
                    return false;
                }
                // A key that another page has now.
                let held = entry.remove();
                self.by_name.insert(name, held);
                if let Some(before) = before.and_then(|before| self.by_name.get_mut(&before)) {
                    before.children -= 1;
                }
            }
        }
        let Some(parent) = name.parent() else { return false };
        let parent = self.by_name.get_mut(&parent).expect("what is above is held first");
        parent.children += 1;
        parent.children > parent.children_max
    }

    /// The mode on `top` that stands for everything held below it.
    pub(super) fn escalated(&self, top: LockName) -> LockMode {
        let below = self.iter().filter(|(name, _)| name.above().any(|above| above == top));
        below.filter_map(|(_, mode)| mode.escalated()).fold(LockMode::IntentShared, LockMode::join)
    }

    /// The space in which most names are held.
    pub(super) fn largest_space(&self) -> Option<LockName> {
        let mut counts: FxHashMap<LockName, usize> = FxHashMap::default();
        for name in self.by_name.keys() {
            for space in name.above().filter(|above| matches!(above, LockName::Space(_))) {
                *counts.entry(space).or_default() += 1;
            }
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(space, _)| space)
    }

    /// Forgets everything below `top`, and returns it.
    pub(super) fn take_below(&mut self, top: LockName) -> Vec<LockName> {
        let is_below = |name: &LockName| name.above().any(|above| above == top);
        let below: Vec<LockName> =
            self.by_name.extract_if(|name, _| is_below(name)).map(|(name, _)| name).collect();
        if let Some(top) = self.by_name.get_mut(&top) {
            top.children = 0;
        }
        below
    }

    /// Forgets everything, and returns it.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = LockName> {
        self.by_name.drain().map(|(name, _)| name)
    }

    /// Panics if one of the invariants of the module's head does not hold.
    pub(super) fn check_invariants(&self) {
        for (&name, held) in &self.by_name {
            for above in name.above() {
                let mode = self.mode_of(above);
                assert!(
                    mode.is_some_and(|mode| mode.covers(held.mode.intent())),
                    "{name:?} is held in {:?}, and {above:?} in {mode:?}",
                    held.mode
                );
            }
            let children = self.by_name.keys().filter(|child| child.parent() == Some(name)).count();
            assert_eq!(held.children as usize, children, "the children of {name:?} are miscounted");
        }
    }
}
