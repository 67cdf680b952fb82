//! What clients were shown, and whether it is still so after the power was back.
//!
//! Every element is put once, so it tells which transaction put it. What was shown and may be overwritten is a list to
//! which is only appended: it has been overwritten by something that is there if it is a prefix of what is there.

use std::collections::{HashMap, HashSet};
use std::fmt;

use graphite_protocol::Token;

/// What a transaction puts: a number that no other one puts.
pub(crate) type Element = i64;

/// Something that elements are put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// The list of a hot node, which is overwritten by a longer one each time.
    List(usize),
    /// The edges out of a hot node.
    Edges(usize),
}

/// Who was shown something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// A write transaction, whatever became of it, a statement that writes, or whoever asked for a commit.
    Writer,
    /// A snapshot.
    Snapshot,
}

/// What somebody was shown of what others did; what a transaction put itself is left out.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// These elements are in there, in this order if it is a list.
    Holds(Object, Vec<Element>),
    /// There is no such node, which was there before.
    Gone(u64),
    /// The commit of this name happened.
    Committed(Token),
}

/// How a transaction ended, as its client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Outcome {
    /// It committed.
    Committed,
    /// It was rolled back, or refused.
    #[default]
    Undone,
    /// The answer was lost.
    Unknown,
}

/// What a transaction did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) token: Option<Token>,
    pub(crate) put: Vec<(Object, Element)>,
    pub(crate) created: Vec<u64>,
    /// Whoever deletes also puts, so that it can be told whether it happened.
    pub(crate) deleted: Vec<u64>,
    pub(crate) outcome: Outcome,
}

/// All that a client was told.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) shown: Vec<(Who, Fact)>,
}

/// What is there after a power cut.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) objects: HashMap<Object, Vec<Element>>,
    pub(crate) mortals: HashSet<u64>,
    /// Names under which a commit is known.
    pub(crate) tokens: HashSet<Token>,
}

/// Which promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A commit that was acknowledged is not there, or not all of it.
    Acknowledged,
    /// Something that was shown is not there.
    Shown(Who),
    /// A commit whose answer was lost is there in part.
    Torn,
    /// Something that was rolled back is there.
    Undone,
    /// The outcome of a commit is told wrongly.
    Status,
    /// Nothing is there: the database cannot be opened.
    Unreadable,
}

/// A broken promise.
#[derive(Debug)]
pub(crate) struct Anomaly {
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

impl Notes {
    pub(crate) fn show(&mut self, who: Who, fact: Fact) {
        self.shown.push((who, fact));
    }

    pub(crate) fn add(&mut self, other: Notes) {
        self.attempts.extend(other.attempts);
        self.shown.extend(other.shown);
    }

    /// All names that commits were given.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.attempts.iter().filter_map(|attempt| attempt.token.as_ref())
    }

    /// What is not as it was told.
    pub(crate) fn check(&self, found: &Found) -> Vec<Anomaly> {
        let there: HashSet<(Object, Element)> =
            found.objects.iter().flat_map(|(object, all)| all.iter().map(|one| (*object, *one))).collect();
        let attempts = self.attempts.iter().flat_map(|attempt| attempt.check(&there, found));
        let shown = self.shown.iter().filter(|(_, fact)| !fact.holds(found)).map(|(who, fact)| {
            let now = match fact {
                Fact::Holds(object, _) => format!(", and there is {:?}", found.objects.get(object)),
                Fact::Gone(_) | Fact::Committed(_) => String::new(),
            };
            Anomaly { kind: Kind::Shown(*who), what: format!("{fact:?} was shown{now}") }
        });
        attempts.chain(shown).chain(self.check_mortals(&there, found)).collect()
    }

    /// A node that was acknowledged is there, unless a transaction that happened deleted it.
    fn check_mortals(&self, there: &HashSet<(Object, Element)>, found: &Found) -> Vec<Anomaly> {
        let happened = |attempt: &&Attempt| attempt.put.first().is_some_and(|put| there.contains(put));
        let deleted: HashSet<u64> = self
            .attempts
            .iter()
            .filter(happened)
            .flat_map(|attempt| attempt.deleted.iter().copied())
            .collect();
        let acknowledged = self.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Committed);
        let wrong = acknowledged
            .flat_map(|attempt| &attempt.created)
            .filter(|id| found.mortals.contains(id) == deleted.contains(id));
        let tell = |id: &u64| {
            let what =
                if deleted.contains(id) { "was deleted, and is there" } else { "was created, and is gone" };
            Anomaly { kind: Kind::Acknowledged, what: format!("node {id} {what}") }
        };
        wrong.map(tell).collect()
    }

    /// All agrees with what was found, and now that is what was shown: what was not known is known.
    pub(crate) fn settle(&mut self, found: Found) {
        let there = |(object, element): &(Object, Element)| {
            found.objects.get(object).is_some_and(|all| all.contains(element))
        };
        for attempt in &mut self.attempts {
            if attempt.outcome == Outcome::Unknown {
                let happened = attempt.put.first().is_some_and(there)
                    || attempt.token.as_ref().is_some_and(|token| found.tokens.contains(token));
                attempt.outcome = if happened { Outcome::Committed } else { Outcome::Undone };
            }
        }
        self.shown.retain(|(_, fact)| !matches!(fact, Fact::Holds(..)));
        for (object, all) in found.objects {
            self.show(Who::Snapshot, Fact::Holds(object, all));
        }
    }
}

impl Fact {
    fn holds(&self, found: &Found) -> bool {
        match self {
            Fact::Holds(object, shown) => {
                let now = found.objects.get(object).map_or(&[][..], Vec::as_slice);
                match object {
                    Object::List(_) => now.starts_with(shown),
                    Object::Edges(_) => shown.iter().all(|element| now.contains(element)),
                }
            }
            Fact::Gone(node) => !found.mortals.contains(node),
            Fact::Committed(token) => found.tokens.contains(token),
        }
    }
}

impl Attempt {
    fn check(&self, there: &HashSet<(Object, Element)>, found: &Found) -> Option<Anomaly> {
        let count = self.put.iter().filter(|put| there.contains(put)).count();
        let (all, none) = (count == self.put.len(), count == 0);
        // One that put nothing is told by its name alone.
        let is_told = self.token.as_ref().map(|token| found.tokens.contains(token));
        let kind = match self.outcome {
            Outcome::Committed if !all => Kind::Acknowledged,
            Outcome::Undone if !none => Kind::Undone,
            Outcome::Unknown if !all && !none => Kind::Torn,
            Outcome::Committed if is_told == Some(false) => Kind::Status,
            Outcome::Undone if is_told == Some(true) => Kind::Status,
            Outcome::Unknown if !self.put.is_empty() && is_told.is_some_and(|told| told != all) => {
                Kind::Status
            }
            _ => return None,
        };
        let what = format!("{count} of {} elements are there, told {is_told:?}: {self:?}", self.put.len());
        Some(Anomaly { kind, what })
    }
}
