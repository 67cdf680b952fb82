//! Names of nodes and edges.
//!
//! A public id is 16 bits of generation and 48 bits of slot number. Slots are reused, so that churn does not
//! grow the tables without end; the generation makes a stale id "not found" instead of somebody else.

use std::fmt;

const SLOT_BITS: u32 = 48;
/// Largest slot number.
pub const SLOT_MAX: u64 = (1 << SLOT_BITS) - 1;

macro_rules! id {
    ($id:ident, $slot:ident, $what:literal) => {
        #[doc = concat!("Place of ", $what, " in its table: found by arithmetic, never moved, 48 bits.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $slot(pub u64);

        impl fmt::Debug for $slot {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($what, " slot {}"), self.0)
            }
        }

        #[doc = concat!("Public name of ", $what, ": generation in the upper 16 bits, slot in the lower 48.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $id(pub u64);

        impl $id {
            /// Joins slot and generation.
            pub fn new(slot: $slot, generation: u16) -> $id {
                debug_assert!(slot.0 <= SLOT_MAX);
                $id(u64::from(generation) << SLOT_BITS | slot.0)
            }

            /// Where it is.
            pub fn slot(self) -> $slot {
                $slot(self.0 & SLOT_MAX)
            }

            /// Which user of the slot is meant.
            pub fn generation(self) -> u16 {
                (self.0 >> SLOT_BITS) as u16
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($what, " {}"), self.0)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id!(NodeId, NodeSlot, "node");
id!(EdgeId, EdgeSlot, "edge");

macro_rules! dictionary_id {
    ($name:ident, $what:literal) => {
        #[doc = concat!("Number of ", $what, " in the catalog.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u32);
    };
}

dictionary_id!(LabelId, "a node label");
dictionary_id!(TypeId, "an edge type");
dictionary_id!(KeyId, "a property key");
dictionary_id!(LabelSetId, "a set of labels (0 is the empty set)");

/// Which end of an edge one looks from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Direction {
    /// Along the edge: from its start.
    Out,
    /// Against the edge: from its end.
    In,
    /// Either way; a loop counts once.
    Both,
}
