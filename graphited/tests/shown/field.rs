//! What clients work on: a few hot nodes, of which all want all, and mortal ones, which are made and deleted.
//!
//! An element is put into the list of a hot node, which is read and written again, or onto an edge between two.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use graphite_protocol::messages::{CommitState, CommitStatus, Mode, RunReply};
use graphite_protocol::{Direction, Expansion, Operand, Plan, Properties, Step, Token, Value};

use crate::common::{Client, int};
use crate::notes::{Element, Found, Notes, Object};

const LIST: &str = "list";
const ELEMENT: &str = "element";
const EDGE_TYPE: &str = "PUT";
const MORTAL: &str = "Mortal";
const HOT_NODES: usize = 4;
/// How many of the newest somebody picks from.
const NEWEST: usize = 6;

/// The nodes of a database, and what is known to all clients.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) hot: Vec<u64>,
    numbers: AtomicI64,
    /// Nodes whose making was acknowledged.
    pub(crate) mortals: Mutex<Vec<u64>>,
    /// Those among them that somebody is about to delete, or has deleted, or wanted to.
    pub(crate) doomed: Mutex<Vec<u64>>,
    /// Names of commits that were sent, or are about to be.
    pub(crate) tokens: Mutex<Vec<Token>>,
}

impl Field {
    /// Makes the hot nodes.
    pub(crate) fn make(client: &mut Client) -> Field {
        let hot = (0..HOT_NODES as i64).map(|n| client.create(n).unwrap()).collect();
        let numbers = AtomicI64::new(0);
        let (mortals, doomed, tokens) = (Mutex::default(), Mutex::default(), Mutex::default());
        Field { hot, numbers, mortals, doomed, tokens }
    }

    /// A number that was never given before.
    pub(crate) fn number(&self) -> Element {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn hot(&self, place: usize) -> Step {
        node(self.hot[place], true)
    }

    /// A row of each element, or the one list of them.
    pub(crate) fn read(&self, object: Object) -> Plan {
        match object {
            Object::List(place) => Plan::of([self.hot(place), Step::Properties { keys: vec![LIST.into()] }]),
            Object::Edges(place) => Plan::of([self.hot(place), edges(), element()]),
        }
    }

    /// Locks a hot node, for it is changed.
    pub(crate) fn touch(&self, place: usize) -> Plan {
        let properties = [("touched", Operand::from(self.number()))].into_iter().collect();
        Plan::of([self.hot(place), Step::Set { properties }])
    }

    pub(crate) fn write_list(&self, place: usize, list: &[Element]) -> Plan {
        let list = list.iter().map(|element| Value::Int(*element)).collect();
        let properties = [(LIST, Operand::from(Value::List(list)))].into_iter().collect();
        Plan::of([self.hot(place), Step::Set { properties }])
    }

    /// An edge each way.
    pub(crate) fn put_edges(&self, one: usize, other: usize, new: Element) -> Plan {
        let edge = |start: usize, end: usize| {
            [Step::CreateEdge {
                start: self.hot[start].into(),
                end: self.hot[end].into(),
                edge_type: EDGE_TYPE.into(),
                properties: properties(new),
            }]
        };
        Plan::of(edge(one, other)).then(edge(other, one))
    }

    /// Reads everything from one snapshot, and asks for the commits of these names.
    pub(crate) fn look(&self, client: &mut Client, notes: &Notes) -> Found {
        client.begin(Mode::Read);
        let places = 0..self.hot.len();
        let objects = places.flat_map(|place| [Object::List(place), Object::Edges(place)]);
        let objects: HashMap<Object, Vec<Element>> = objects
            .map(|object| (object, elements(object, &client.run(self.read(object)).unwrap().rows)))
            .collect();
        let all = Plan::of([Step::Nodes { label: Some(MORTAL.into()) }, Step::Ids {}]);
        let RunReply { rows, cursor, .. } = client.run(all).unwrap();
        assert_eq!(cursor, None, "all fit into one answer");
        let mortals = rows.iter().map(|row| int(&row[0]).cast_unsigned()).collect();
        client.commit().unwrap();
        let known = |token: &&Token| {
            let asked = client.call(&CommitStatus { token: (*token).clone() });
            asked.unwrap().state == CommitState::Committed
        };
        let tokens: HashSet<Token> = notes.tokens().filter(known).cloned().collect();
        Found { objects, mortals, tokens }
    }
}

/// The elements in rows that [`Field::read`] has given.
pub(crate) fn elements(object: Object, rows: &[Vec<Value>]) -> Vec<Element> {
    match (object, rows) {
        (Object::Edges(_), rows) => rows.iter().map(|row| int(&row[0])).collect(),
        (Object::List(_), [row]) => match &row[0] {
            Value::List(items) => items.iter().map(int).collect(),
            Value::Nil => Vec::new(),
            other => panic!("a list is {other:?}"),
        },
        (Object::List(_), rows) => panic!("a list is {rows:?}"),
    }
}

fn node(id: u64, required: bool) -> Step {
    Step::Node { ids: vec![id.into()], required }
}

fn edges() -> Step {
    Step::Expand { direction: Direction::Out, types: vec![EDGE_TYPE.into()], to: Expansion::Edges }
}

fn element() -> Step {
    Step::Properties { keys: vec![ELEMENT.into()] }
}

fn properties(new: Element) -> Properties {
    [(ELEMENT, Operand::from(new))].into_iter().collect()
}

/// One row with its id.
pub(crate) fn make_mortal(new: Element) -> Plan {
    Plan::of([Step::CreateNode { labels: vec![MORTAL.into()], properties: properties(new) }, Step::Ids {}])
}

pub(crate) fn delete_mortal(id: u64) -> Plan {
    Plan::of([node(id, true), Step::Delete { detach: false }])
}

/// One row if it is there; none, or an error if it is `required`, if it is not.
pub(crate) fn look_at_mortal(id: u64, required: bool) -> Plan {
    Plan::of([node(id, required), element()])
}

/// One of the newest in a list that all add to.
pub(crate) fn one_of<T: Clone>(list: &Mutex<Vec<T>>, pick: impl FnOnce(usize) -> usize) -> Option<T> {
    let list = list.lock().unwrap();
    let newest = &list[list.len().saturating_sub(NEWEST)..];
    (!newest.is_empty()).then(|| newest[pick(newest.len())].clone())
}
