//! Histories of transactions, and a checker that says whether a serializable database could have produced them.
//!
//! After *Elle* (Kingsbury, Alvaro 2020). Many clients run transactions that put elements, each of which exists
//! once, into few objects, and read whole objects. There are two sorts of objects: lists, whose order tells in which
//! order their elements were appended, and sets, which tell only what is in them. Nothing is ever taken out, so
//! a reader that misses an element came before its writer. From that the checker infers which transaction must come
//! before which ([`dependencies`]), and looks for cycles ([`cycles`]); what needs no cycle to be wrong it looks for
//! directly ([`direct`]).
//!
//! | found | it means |
//! |---|---|
//! | `G1a` | an element was read whose transaction was rolled back |
//! | `G1b` | some elements of a transaction were read and others not |
//! | `internal` | a transaction does not see what it read and wrote before |
//! | `unknown element`, `duplicate` | an element was read that nobody wrote, or twice |
//! | `incompatible order` | two reads of a list, of which neither begins with the other |
//! | `lost` | an acknowledged element is missing at the end |
//! | `G0`, `G1c`, `G-single`, `G2` | a cycle of writes; of writes and reads; with one, or more, reads that missed a write |
//! | `commit order` | a cycle only together with the order in which the daemon says that it committed |
//! | `real time` | a cycle only together with what was over before another began: a stale read, say |
//!
//! The last two are what makes it strict. They say among other things that a snapshot is a prefix of the commit
//! order, and never older than what any client was told is committed.
//!
//! Whether a transaction was committed is sometimes not known: a connection was lost, a client was killed. Such
//! a one counts as committed once somebody has read an element of it, and else as if it had never been.

mod cycles;
mod dependencies;
mod direct;
mod objects;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashMap;
use std::fmt;

pub use objects::Objects;
pub use text::{parse, write_outcome, write_transaction};

/// An element: unique in a history.
pub type Element = u64;

/// What elements are put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// A property of a node: a list, whose order is that of the appends.
    List(u32),
    /// The edges of a node: a set.
    Edges(u32),
    /// The nodes of a label: a set.
    Label(u32),
}

impl Object {
    /// Whether the order of its elements is that in which they were put in.
    pub fn is_ordered(self) -> bool {
        matches!(self, Object::List(_))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::List(number) => write!(f, "l{number}"),
            Object::Edges(number) => write!(f, "e{number}"),
            Object::Label(number) => write!(f, "n{number}"),
        }
    }
}

/// A step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// An element was put into an object: at the end, if it is a list.
    Put(Object, Element),
    /// All elements of an object were read.
    Read(Object, Vec<Element>),
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its commit was acknowledged, with its position in the log; 0 if it changed nothing, or was not told.
    Committed {
        /// The position.
        lsn: u64,
    },
    /// It was rolled back, by the client or by the daemon.
    Aborted,
    /// The client does not know.
    Unknown,
}

/// A transaction as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Which client.
    pub client: u32,
    /// When it began, in ns of a clock that all clients share.
    pub began: u64,
    /// When the client knew its outcome.
    pub ended: u64,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// How it ended.
    pub outcome: Outcome,
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}, {} to {} ns, {:?}:", self.client, self.began, self.ended, self.outcome)?;
        for step in &self.steps {
            match step {
                Step::Put(object, element) => write!(f, " {object}+{element}")?,
                Step::Read(object, elements) => write!(f, " {object}={elements:?}")?,
            }
        }
        Ok(())
    }
}

/// Something that no serializable database does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Its name, as in the table above.
    pub name: &'static str,
    /// What was seen, with all transactions that it takes to see that it is wrong.
    pub story: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.story)
    }
}

/// Stories of one sort that are told; there may be as many as transactions.
const STORIES_MAX: usize = 5;

/// Transactions, and which of them wrote what.
struct History<'a> {
    transactions: &'a [Transaction],
    /// The transaction of each element.
    writers: HashMap<(Object, Element), usize>,
    /// Whether each counts as committed.
    committed: Vec<bool>,
    /// The elements that each put into each object, in order.
    puts: Vec<HashMap<Object, Vec<Element>>>,
}

impl<'a> History<'a> {
    fn new(transactions: &'a [Transaction]) -> History<'a> {
        let mut writers = HashMap::new();
        let mut puts: Vec<HashMap<Object, Vec<Element>>> = Vec::with_capacity(transactions.len());
        for (index, transaction) in transactions.iter().enumerate() {
            let mut own: HashMap<Object, Vec<Element>> = HashMap::new();
            for step in &transaction.steps {
                if let Step::Put(object, element) = step {
                    let known = writers.insert((*object, *element), index);
                    assert!(
                        known.is_none(),
                        "element {element} was put into {object} twice: no history says much then"
                    );
                    own.entry(*object).or_default().push(*element);
                }
            }
            puts.push(own);
        }
        let mut committed: Vec<bool> = transactions
            .iter()
            .map(|transaction| matches!(transaction.outcome, Outcome::Committed { .. }))
            .collect();
        for (index, transaction) in transactions.iter().enumerate() {
            for (object, elements) in transaction.reads() {
                for element in elements {
                    // What it wrote itself tells nothing of its commit.
                    if let Some(&writer) = writers.get(&(object, *element)).filter(|writer| **writer != index)
                    {
                        committed[writer] |= transactions[writer].outcome == Outcome::Unknown;
                    }
                }
            }
        }
        History { transactions, writers, committed, puts }
    }

    fn writer(&self, object: Object, element: Element) -> Option<usize> {
        self.writers.get(&(object, element)).copied()
    }

    fn committed(&self) -> impl Iterator<Item = (usize, &'a Transaction)> {
        self.transactions.iter().enumerate().filter(|(index, _)| self.committed[*index])
    }
}

impl Transaction {
    fn reads(&self) -> impl Iterator<Item = (Object, &Vec<Element>)> {
        self.steps.iter().filter_map(|step| match step {
            Step::Read(object, elements) => Some((*object, elements)),
            Step::Put(..) => None,
        })
    }
}

/// What is wrong with a history; empty if nothing is. `last` is a transaction that read every object when all others
/// were over; objects that it did not read are not looked at for lost elements.
///
/// # Panics
/// If an element was put twice, which is a mistake of whoever ran the transactions.
pub fn check(transactions: &[Transaction], last: usize) -> Vec<Anomaly> {
    let history = History::new(transactions);
    let mut found = direct::check(&history, last);
    let versions = direct::versions(&history, &mut found);
    // Where lists have no order, or elements no writer, there is nothing to infer from.
    if found.iter().all(|anomaly| !matches!(anomaly.name, "incompatible order" | "duplicate")) {
        let edges = dependencies::infer(&history, &versions);
        found.extend(cycles::find(&history, &edges));
    }
    found
}
