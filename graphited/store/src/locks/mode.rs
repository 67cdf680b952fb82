//! How something is locked: six modes, which of them go together, and what two of them are together.
//!
//! ```text
//! goes with   IS  IX  S   SIX U   X          covers:       X
//!        IS   yes yes yes yes yes -                        |
//!        IX   yes yes -   -   -   -                       SIX
//!        S    yes -   yes -   yes -                      /   \
//!        SIX  yes -   -   -   -   -                     U     |
//!        U    yes -   yes -   -   -                     |     IX
//!        X    -   -   -   -   -   -                     S     |
//!                                                        \   /
//!                                                         IS
//! ```
//!
//! U is for what is read in order to be changed. It goes with S both ways: whoever holds it stops no reader, old or
//! new, and waits for the readers only when it becomes X. It does not go with another U, so two updaters queue where
//! two readers that both wanted X would be each other's deadlock.
//!
//! Invariants, each tested over all pairs:
//! 1. What goes with what is symmetric.
//! 2. `join` is the least mode that covers both; a mode that covers another goes with nothing that the other does not
//!    go with.

/// A mode in which a name is locked. See the module's head for which go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LockMode {
    /// IS: something below is locked for reading.
    IntentShared,
    /// IX: something below is locked for changing.
    IntentExclusive,
    /// S: this, and all below, is read.
    Shared,
    /// SIX: all below is read, and some of it is locked for changing.
    SharedIntentExclusive,
    /// U: this is read and may be changed later.
    Update,
    /// X: this, and all below, is changed.
    Exclusive,
}

use LockMode::{Exclusive, IntentExclusive, IntentShared, Shared, SharedIntentExclusive, Update};

/// Number of modes.
pub(crate) const MODES: usize = 6;

/// By mode: the modes that it goes with.
const COMPATIBLE: [ModeSet; MODES] = [
    ModeSet::of(&[IntentShared, IntentExclusive, Shared, SharedIntentExclusive, Update]),
    ModeSet::of(&[IntentShared, IntentExclusive]),
    ModeSet::of(&[IntentShared, Shared, Update]),
    ModeSet::of(&[IntentShared]),
    ModeSet::of(&[IntentShared, Shared]),
    ModeSet::of(&[]),
];

/// By mode: the modes that it covers, itself among them.
const COVERED: [ModeSet; MODES] = [
    ModeSet::of(&[IntentShared]),
    ModeSet::of(&[IntentShared, IntentExclusive]),
    ModeSet::of(&[IntentShared, Shared]),
    ModeSet::of(&[IntentShared, IntentExclusive, Shared, Update, SharedIntentExclusive]),
    ModeSet::of(&[IntentShared, Shared, Update]),
    ModeSet::of(&[IntentShared, IntentExclusive, Shared, SharedIntentExclusive, Update, Exclusive]),
];

impl LockMode {
    /// All modes, in the order of the table in the module's head.
    pub const ALL: [LockMode; MODES] =
        [IntentShared, IntentExclusive, Shared, SharedIntentExclusive, Update, Exclusive];

    /// The letters that the literature has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            IntentShared => "IS",
            IntentExclusive => "IX",
            Shared => "S",
            SharedIntentExclusive => "SIX",
            Update => "U",
            Exclusive => "X",
        }
    }

    /// The least mode that covers both: what an owner has that holds one and asks for the other.
    pub fn join(self, other: LockMode) -> LockMode {
        if self.covers(other) {
            self
        } else if other.covers(self) {
            other
        } else {
            // Only IX with S or U cover neither each other.
            SharedIntentExclusive
        }
    }

    /// Whether an owner may have this while another has `held`.
    pub fn is_compatible(self, held: LockMode) -> bool {
        COMPATIBLE[self as usize].contains(held)
    }

    /// Whether whoever holds this needs nothing more to have `other`.
    pub fn covers(self, other: LockMode) -> bool {
        COVERED[self as usize].contains(other)
    }

    /// The mode that is needed on all names above.
    pub(crate) fn intent(self) -> LockMode {
        match self {
            IntentShared | Shared => IntentShared,
            // U as well: who holds S on all of a table is then asked before, and not after, something in it is read to
            // be changed.
            IntentExclusive | SharedIntentExclusive | Update | Exclusive => IntentExclusive,
        }
    }

    /// What holding this means for everything below: as if each name there were held in that mode.
    pub(crate) fn implied_below(self) -> Option<LockMode> {
        match self {
            IntentShared | IntentExclusive => None,
            Shared => Some(Shared),
            // Nobody else has IX here, hence nobody U or X below.
            SharedIntentExclusive | Update => Some(Update),
            Exclusive => Some(Exclusive),
        }
    }

    /// The mode that, held on the name above, stands for this one. Intents stand for nothing: what they were taken for is
    /// held by itself.
    pub(crate) fn escalated(self) -> Option<LockMode> {
        match self {
            IntentShared | IntentExclusive => None,
            Shared => Some(Shared),
            SharedIntentExclusive | Update => Some(Update),
            Exclusive => Some(Exclusive),
        }
    }
}

/// A set of modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModeSet(u8);

impl ModeSet {
    const fn of(modes: &[LockMode]) -> ModeSet {
        let mut bits = 0;
        let mut at = 0;
        while at < modes.len() {
            bits |= 1 << modes[at] as u8;
            at += 1;
        }
        ModeSet(bits)
    }

    /// The modes that do not go with `mode`.
    pub(crate) fn conflicting(mode: LockMode) -> ModeSet {
        ModeSet(!COMPATIBLE[mode as usize].0)
    }

    pub(crate) fn contains(self, mode: LockMode) -> bool {
        self.0 & 1 << mode as u8 != 0
    }

    pub(crate) fn with(self, mode: LockMode) -> ModeSet {
        ModeSet(self.0 | 1 << mode as u8)
    }

    pub(crate) fn intersects(self, other: ModeSet) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn minus(self, other: ModeSet) -> ModeSet {
        ModeSet(self.0 & !other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the module's head once more, as text: row by row, column by column.
    #[test]
    fn every_pair_goes_together_or_not_as_the_table_says() {
        let table = ["yyyyy-", "yy----", "y-y-y-", "y-----", "y-y---", "------"];
        for (row, asked) in LockMode::ALL.into_iter().enumerate() {
            for (column, held) in LockMode::ALL.into_iter().enumerate() {
                let expected = table[row].as_bytes()[column] == b'y';
                assert_eq!(asked.is_compatible(held), expected, "{asked:?} with {held:?}");
                assert_eq!(asked.is_compatible(held), held.is_compatible(asked));
                assert_eq!(ModeSet::conflicting(asked).contains(held), !expected);
            }
        }
    }

    #[test]
    fn every_pair_joins_as_the_table_says() {
        let rows = [
            "IS IX S SIX U X",
            "IX IX SIX SIX SIX X",
            "S SIX S SIX U X",
            "SIX SIX SIX SIX SIX X",
            "U SIX U SIX U X",
            "X X X X X X",
        ];
        for (row, a) in rows.into_iter().zip(LockMode::ALL) {
            for (expected, b) in row.split(' ').zip(LockMode::ALL) {
                assert_eq!(a.join(b).as_str(), expected, "{a:?} and {b:?}");
            }
        }
    }

    /// Over all pairs and triples: the join is the least upper bound, and covering never lets more in.
    #[test]
    fn modes_are_a_lattice_and_covering_excludes_at_least_as_much() {
        for a in LockMode::ALL {
            assert!(a.covers(a));
            for b in LockMode::ALL {
                let join = a.join(b);
                assert!(join.covers(a) && join.covers(b));
                assert_eq!(join, b.join(a));
                for c in LockMode::ALL {
                    assert!(!(c.covers(a) && c.covers(b)) || c.covers(join), "{join:?} is not the least");
                    assert!(!(a.covers(b) && a.is_compatible(c)) || b.is_compatible(c));
                    assert!(!(a.covers(b) && b.covers(c)) || a.covers(c));
                }
            }
        }
    }

    /// Whoever holds a mode above is as safe below as if it held the implied mode there: whatever another one needs above
    /// for a conflicting lock below does not go with it.
    #[test]
    fn what_a_mode_implies_below_is_protected_by_it() {
        for above in LockMode::ALL {
            let Some(implied) = above.implied_below() else { continue };
            for others in LockMode::ALL {
                if !others.is_compatible(implied) {
                    assert!(!others.intent().is_compatible(above), "{others:?} below {above:?}");
                }
            }
        }
    }

    #[test]
    fn escalation_stands_for_what_was_held_below() {
        for below in LockMode::ALL {
            let Some(above) = below.escalated() else {
                assert_eq!(below.implied_below(), None, "what is below {below:?} is held by itself");
                continue;
            };
            assert!(above.implied_below().expect("it is no intent").covers(match below {
                LockMode::SharedIntentExclusive => LockMode::Update,
                mode => mode,
            }));
            let held = above.join(below.intent());
            assert!(held.implied_below().is_some_and(|implied| implied.covers(above)), "{held:?}");
        }
    }
}
