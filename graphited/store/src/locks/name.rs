//! What is locked: names in a hierarchy.
//!
//! Invariants:
//! 1. A name has one parent, and [`LockName::Database`] is above all of them.
//! 2. The page in the name of a slot or key says only where its path leads. It is no part of what is locked, so two who
//!    come to the same key over different pages, because an index page was split between them, still meet.

use std::cmp::Ordering;
use std::fmt::{Display, Formatter};
use std::hash::{Hash, Hasher};

/// A table, a label, an edge type or an index, as the floor above numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpaceId(pub u32);

/// What is locked. Names are logical: nothing that moves bytes moves a lock.
#[derive(Clone, Copy, Debug)]
pub enum LockName {
    /// Everything.
    Database,
    /// A table, a label, an edge type or an index.
    Space(SpaceId),
    /// A page of a space.
    Page {
        /// Whose page.
        space: SpaceId,
        /// By the space's own count, not its place in the file.
        page: u64,
    },
    /// A slot of a table.
    Slot {
        /// The table.
        space: SpaceId,
        /// The slot's page, which is above it.
        page: u64,
        /// Its number in the table.
        slot: u64,
    },
    /// A key of an index.
    Key {
        /// The index.
        space: SpaceId,
        /// The key's page, which is above it.
        page: u64,
        /// Two keys with one hash are one name: that costs a wait, never an anomaly.
        hash: u64,
    },
    /// The gap after the last key of an index.
    End {
        /// The index.
        space: SpaceId,
    },
}

impl LockName {
    /// The name above, on which an intent is needed to hold this one.
    pub fn parent(self) -> Option<LockName> {
        match self {
            LockName::Database => None,
            LockName::Space(_) => Some(LockName::Database),
            LockName::Page { space, .. } | LockName::End { space } => Some(LockName::Space(space)),
            LockName::Slot { space, page, .. } | LockName::Key { space, page, .. } => {
                Some(LockName::Page { space, page })
            }
        }
    }

    /// The names above, from the top down.
    pub(crate) fn above(self) -> impl Iterator<Item = LockName> {
        let parent = self.parent();
        let space = parent.and_then(LockName::parent);
        let top = space.and_then(LockName::parent);
        [top, space, parent].into_iter().flatten()
    }

    /// What makes it this name and no other: its kind, its space and its number.
    fn identity(self) -> (u8, u32, u64) {
        match self {
            LockName::Database => (0, 0, 0),
            LockName::Space(space) => (1, space.0, 0),
            LockName::Page { space, page } => (2, space.0, page),
            LockName::Slot { space, slot, .. } => (3, space.0, slot),
            LockName::Key { space, hash, .. } => (4, space.0, hash),
            LockName::End { space } => (5, space.0, 0),
        }
    }
}

impl PartialEq for LockName {
    fn eq(&self, other: &LockName) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for LockName {}

impl Hash for LockName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (kind, space, number) = self.identity();
        // One word for kind and space, for every lock is hashed several times.
        state.write_u64(u64::from(kind) << 32 | u64::from(space));
        state.write_u64(number);
    }
}

impl PartialOrd for LockName {
    fn partial_cmp(&self, other: &LockName) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for LockName {
    fn cmp(&self, other: &LockName) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

/// Plain words, for logs; the floor above knows what people call a space and a slot.
impl Display for LockName {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match *self {
            LockName::Database => write!(f, "the database"),
            LockName::Space(SpaceId(space)) => write!(f, "space {space}"),
            LockName::Page { space: SpaceId(space), page } => write!(f, "page {page} of space {space}"),
            LockName::Slot { space: SpaceId(space), slot, .. } => write!(f, "slot {slot} of space {space}"),
            LockName::Key { space: SpaceId(space), hash, .. } => {
                write!(f, "key {hash:016x} of space {space}")
            }
            LockName::End { space: SpaceId(space) } => write!(f, "the end of space {space}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: SpaceId = SpaceId(7);

    #[test]
    fn every_name_leads_to_the_database() {
        let page = LockName::Page { space: SPACE, page: 3 };
        assert_eq!(LockName::Slot { space: SPACE, page: 3, slot: 9 }.parent(), Some(page));
        assert_eq!(LockName::Key { space: SPACE, page: 3, hash: 9 }.parent(), Some(page));
        assert_eq!(page.parent(), Some(LockName::Space(SPACE)));
        assert_eq!(LockName::End { space: SPACE }.parent(), Some(LockName::Space(SPACE)));
        assert_eq!(LockName::Space(SPACE).parent(), Some(LockName::Database));
        assert_eq!(LockName::Database.parent(), None);
    }

    #[test]
    fn the_names_above_come_from_the_top_down() {
        let above: Vec<LockName> = LockName::Slot { space: SPACE, page: 3, slot: 9 }.above().collect();
        assert_eq!(
            above,
            [LockName::Database, LockName::Space(SPACE), LockName::Page { space: SPACE, page: 3 }]
        );
        assert_eq!(LockName::Space(SPACE).above().collect::<Vec<_>>(), [LockName::Database]);
        assert_eq!(LockName::Database.above().count(), 0);
    }

    #[test]
    fn a_key_is_the_same_over_whichever_page_it_is_reached() {
        let key = |page, hash| LockName::Key { space: SPACE, page, hash };
        assert_eq!(key(1, 5), key(2, 5));
        assert_ne!(key(1, 5), key(1, 6));
        assert_ne!(key(1, 5), LockName::Slot { space: SPACE, page: 1, slot: 5 });
        assert_ne!(LockName::Space(SPACE), LockName::End { space: SPACE });
    }
}
