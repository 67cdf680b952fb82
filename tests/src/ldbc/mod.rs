//! The anomaly tests of the LDBC ACID suite (Waudby, Steer, Karimov, Marton, Boncz, Szárnyas: *Towards Testing ACID
//! Compliance in the LDBC Social Network Benchmark*, 2020), written for this client.
//!
//! Each loads a small graph, has processes that write and processes that read at the same time, and knows from what
//! they saw, or from what is there at the end, whether an anomaly has happened. Readers read in turns on snapshots and
//! in transactions that may write, for the two come by their isolation in different ways.
//!
//! | test | an anomaly is |
//! |---|---|
//! | `atomicity-c`, `atomicity-rb` | counts that are not those of the committed transactions |
//! | `g0` | three lists that were appended to together and differ |
//! | `g1a`, `g1b` | a version that was rolled back; one that was overwritten before the commit |
//! | `g1c` | two transactions each of which has read what the other wrote |
//! | `imp`, `pmp` | a second read of an item, or of a predicate, that differs from the first |
//! | `otv`, `fr` | four items that are always changed together, read with different versions |
//! | `lu` | a counter that is not the number of what was counted |
//! | `ws` | a pair whose sum is not positive, which every transaction checked |

mod atomicity;
mod reads;
mod writes;

use graphite_client::{Client, Error, NodeId, Result, Transaction, Traversal, Value};

use crate::Random;

/// Label of the persons of every test.
const PERSON: &str = "Person";
/// Type of the edges between persons.
const KNOWS: &str = "KNOWS";

/// What a process of a test has at hand.
#[derive(Debug)]
pub struct Process {
    /// Its connection.
    pub client: Client,
    /// Its chance.
    pub random: Random,
    /// Its number, from 1 on.
    pub number: i64,
    persons: Vec<NodeId>,
    transactions: i64,
    /// What is to be told to the one who checks at the end, a line each.
    pub notes: Vec<String>,
}

impl Process {
    /// One that goes to work on what was loaded.
    ///
    /// # Errors
    /// The daemon's.
    pub fn new(mut client: Client, random: Random, number: i64) -> Result<Process> {
        let persons = persons(&mut client)?;
        Ok(Process { client, random, number, persons, transactions: 0, notes: Vec::new() })
    }

    fn person(&mut self) -> NodeId {
        *self.random.pick(&self.persons)
    }

    /// Some persons that belong together: `of` of them, in the order in which they were loaded.
    fn group(&mut self, of: usize) -> Vec<NodeId> {
        let groups: Vec<&[NodeId]> = self.persons.chunks_exact(of).collect();
        self.random.pick(&groups).to_vec()
    }

    /// A number that no other transaction of the test has.
    fn transaction(&mut self) -> i64 {
        self.transactions += 1;
        self.number * 1_000_000 + self.transactions
    }

    /// Reads on a snapshot, or in a transaction that may write.
    fn read<T>(&mut self, work: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        if self.random.percent(50) { self.client.snapshot(work) } else { self.client.transaction(work) }
    }
}

/// A transaction that reads; what it saw that must not be.
pub type Read = fn(&mut Process) -> Result<Option<String>>;

/// An anomaly test.
pub struct Test {
    /// Its name.
    pub name: &'static str,
    /// Makes what it works on.
    pub load: fn(&mut Client) -> Result<()>,
    /// One transaction that writes.
    pub write: fn(&mut Process) -> Result<()>,
    /// One transaction that reads. Some tests have no readers.
    pub read: Option<Read>,
    /// What is there at the end that must not be, from what the writers noted.
    pub check: fn(&mut Client, &[String]) -> Result<Vec<String>>,
}

/// All tests.
pub static TESTS: [Test; 12] = [
    atomicity::COMMIT,
    atomicity::ROLLBACK,
    writes::G0,
    reads::G1A,
    reads::G1B,
    reads::G1C,
    reads::IMP,
    reads::PMP,
    reads::OTV,
    reads::FR,
    writes::LU,
    writes::WS,
];

/// The test of a name.
///
/// # Panics
/// If there is none.
pub fn test(name: &str) -> &'static Test {
    TESTS.iter().find(|test| test.name == name).expect("the name of a test")
}

fn persons(client: &mut Client) -> Result<Vec<NodeId>> {
    let rows = client.run(Traversal::nodes_with(PERSON).ids(), ())?.rows;
    Ok(rows.iter().filter_map(|row| NodeId::from_value(&row[0])).collect())
}

/// A property that is a number.
fn number(client: &mut Client, id: NodeId, key: &str) -> Result<i64> {
    let node = client.node(id)?.ok_or_else(|| Error::other(format!("node {id} is gone")))?;
    node.get(key)
        .and_then(Value::as_int)
        .ok_or_else(|| Error::other(format!("{key} of node {id} is {:?}", node.get(key))))
}

/// A property that is a list of numbers; none if it is absent.
fn list(value: Option<&Value>) -> Vec<i64> {
    match value {
        Some(Value::List(items)) => items.iter().filter_map(Value::as_int).collect(),
        _ => Vec::new(),
    }
}

fn list_value(items: &[i64]) -> Value {
    Value::List(items.iter().copied().map(Value::Int).collect())
}

/// How many rows a question has.
fn count(client: &mut Client, traversal: Traversal) -> Result<i64> {
    let value = client.value(traversal.count(), ())?;
    value.as_ref().and_then(Value::as_int).ok_or_else(|| Error::other("a count was expected"))
}

fn nothing_to_check(_: &mut Client, _: &[String]) -> Result<Vec<String>> {
    Ok(Vec::new())
}
