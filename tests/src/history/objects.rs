//! Where the objects of a history are in the graph.
//!
//! Each number stands for a node, a *key*; which sort of object it is follows from the number. Edges of a key lead to
//! one of a few *sinks*, which therefore are in the way of many.

use graphite_client::{Client, Direction, Error, NodeId, Result, Step, Traversal, Value, props};
use graphite_client::{NewNode, Pairs, Plan};

use super::{Element, Object};
use crate::Random;

/// Label of the keys and of the sinks.
const KEY: &str = "Key";
const SINK: &str = "Sink";
const SINKS: usize = 6;
/// The property of a key that is a list.
const LIST: &str = "list";
/// Type of the edges that are elements, and the property that says which.
const EDGE_TYPE: &str = "PUT";
const ELEMENT: &str = "e";

/// The keys and sinks of a database.
#[derive(Clone, Debug)]
pub struct Objects {
    keys: Vec<NodeId>,
    sinks: Vec<NodeId>,
}

impl Objects {
    /// Makes so many keys.
    ///
    /// # Errors
    /// The daemon's.
    pub fn make(client: &mut Client, keys: usize) -> Result<Objects> {
        let of_label = |(label, count): (&str, usize)| {
            let row = NewNode { labels: vec![label.to_owned()], properties: Pairs::default() };
            Plan::of([Step::CreateNodes { rows: vec![row; count] }, Step::Count {}])
        };
        client.transaction(|tx| {
            [(KEY, keys), (SINK, SINKS)]
                .map(of_label)
                .into_iter()
                .try_for_each(|plan| tx.run(plan, ()).map(|_| ()))
        })?;
        Objects::find(client)
    }

    /// Finds those that were made.
    ///
    /// # Errors
    /// The daemon's.
    pub fn find(client: &mut Client) -> Result<Objects> {
        let mut nodes = |label| -> Result<Vec<NodeId>> {
            let rows = client.run(Traversal::nodes_with(label).ids(), ())?.rows;
            Ok(rows.iter().filter_map(|row| NodeId::from_value(&row[0])).collect())
        };
        Ok(Objects { keys: nodes(KEY)?, sinks: nodes(SINK)? })
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The object of a key.
    pub fn object(key: u32) -> Object {
        match key % 3 {
            0 => Object::List(key),
            1 => Object::Edges(key),
            _ => Object::Label(key),
        }
    }

    fn key(&self, number: u32) -> Result<NodeId> {
        let key = usize::try_from(number).ok().and_then(|place| self.keys.get(place));
        key.copied().ok_or_else(|| Error::other("there are fewer keys than that"))
    }

    /// All elements of an object.
    ///
    /// # Errors
    /// The daemon's.
    pub fn read(&self, client: &mut Client, object: Object) -> Result<Vec<Element>> {
        let elements = match object {
            Object::List(key) => {
                let key = self.key(key)?;
                let node = client.node(key)?.ok_or_else(|| Error::other(format!("key {key} is gone")))?;
                return match node.get(LIST) {
                    Some(Value::List(items)) => items.iter().map(element).collect(),
                    None => Ok(Vec::new()),
                    Some(other) => Err(Error::other(format!("a list is {other:?}"))),
                };
            }
            Object::Edges(key) => {
                Traversal::required_node(self.key(key)?).expand_edges(Direction::Out, [EDGE_TYPE])
            }
            Object::Label(key) => Traversal::nodes_with(label(key)),
        };
        let rows = client.run(elements.properties([ELEMENT]), ())?.rows;
        rows.iter().map(|row| element(&row[0])).collect()
    }

    /// Puts an element into an object. A list is read first, and what was there is returned.
    ///
    /// # Errors
    /// The daemon's.
    pub fn put(
        &self,
        client: &mut Client,
        random: &mut Random,
        object: Object,
        new: Element,
    ) -> Result<Option<Vec<Element>>> {
        match object {
            Object::List(key) => {
                let before = self.read(client, object)?;
                let after = before.iter().chain([&new]).map(|element| value(*element)).collect();
                client.set_properties(self.key(key)?, props! { LIST => Value::List(after) })?;
                Ok(Some(before))
            }
            Object::Edges(key) => {
                let sink = *random.pick(&self.sinks);
                client.create_edge(self.key(key)?, sink, EDGE_TYPE, props! { ELEMENT => value(new) })?;
                Ok(None)
            }
            Object::Label(key) => {
                client.create_node([label(key)], props! { ELEMENT => value(new) })?;
                Ok(None)
            }
        }
    }
}

fn label(key: u32) -> String {
    format!("L{key}")
}

fn value(element: Element) -> Value {
    Value::Int(element.cast_signed())
}

fn element(value: &Value) -> Result<Element> {
    let number = value.as_int().ok_or_else(|| Error::other(format!("an element is {value:?}")))?;
    Ok(number.cast_unsigned())
}
