//! Values: what properties hold and rows consist of.

use crate::temporal::{Date, DateTime, Duration, LocalDateTime, LocalTime, Time};

/// Extension type of a node.
pub(crate) const NODE: i8 = 1;
/// Extension type of an edge.
pub(crate) const EDGE: i8 = 2;
/// Extension type of a path.
pub(crate) const PATH: i8 = 3;
/// Extension type of a date.
pub(crate) const DATE: i8 = 4;
/// Extension type of a local time.
pub(crate) const LOCAL_TIME: i8 = 5;
/// Extension type of a time.
pub(crate) const TIME: i8 = 6;
/// Extension type of a local datetime.
pub(crate) const LOCAL_DATE_TIME: i8 = 7;
/// Extension type of a datetime.
pub(crate) const DATE_TIME: i8 = 8;
/// Extension type of a duration.
pub(crate) const DURATION: i8 = 9;

/// A value on the wire.
///
/// The rare and large ones are boxed, so that a list of a million integers takes 32 MB and no more.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing; a property that is set to it is removed.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer of 64 signed bits.
    Int(i64),
    /// A float of 64 bits.
    Float(f64),
    /// A string.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A map, in the order in which it was written; no key occurs twice. Never a property.
    Map(Vec<(String, Value)>),
    /// A node.
    Node(Box<Node>),
    /// An edge.
    Edge(Box<Edge>),
    /// A path.
    Path(Box<Path>),
    /// A day.
    Date(Date),
    /// A time of day without a zone.
    LocalTime(LocalTime),
    /// A time of day at an offset.
    Time(Time),
    /// A day and time without a zone.
    LocalDateTime(LocalDateTime),
    /// An instant.
    DateTime(Box<DateTime>),
    /// A duration.
    Duration(Box<Duration>),
}

const _: () = assert!(size_of::<Value>() <= 32);

/// A node as of one moment (extension type 1).
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its id.
    pub id: u64,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its properties; no key occurs twice.
    pub properties: Vec<(String, Value)>,
}

/// An edge as of one moment (extension type 2).
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Its id.
    pub id: u64,
    /// Its type.
    pub edge_type: String,
    /// Id of the node where it starts.
    pub start: u64,
    /// Id of the node where it ends.
    pub end: u64,
    /// Its properties; no key occurs twice.
    pub properties: Vec<(String, Value)>,
}

/// A walk through the graph (extension type 3): one node more than edges. The edges are as stored, so the
/// direction in which one was taken is seen from its ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The nodes, from the first to the last.
    pub nodes: Vec<Node>,
    /// The edges between them.
    pub edges: Vec<Edge>,
}

impl Node {
    /// The property called `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        lookup(&self.properties, key)
    }
}

impl Edge {
    /// The property called `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        lookup(&self.properties, key)
    }
}

fn lookup<'a>(pairs: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

impl Value {
    /// What kind of value it is, in the words of an error message: "an integer".
    pub fn kind_name(&self) -> &'static str {
        match self {
            Value::Nil => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::String(_) => "a string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Node(_) => "a node",
            Value::Edge(_) => "an edge",
            Value::Path(_) => "a path",
            Value::Date(_) => "a date",
            Value::LocalTime(_) => "a local time",
            Value::Time(_) => "a time",
            Value::LocalDateTime(_) => "a local datetime",
            Value::DateTime(_) => "a datetime",
            Value::Duration(_) => "a duration",
        }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Value::Int(value) = self { Some(*value) } else { None }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(value) = self { Some(value) } else { None }
    }

    /// The node, if it is one.
    pub fn as_node(&self) -> Option<&Node> {
        if let Value::Node(node) = self { Some(node) } else { None }
    }

    /// The edge, if it is one.
    pub fn as_edge(&self) -> Option<&Edge> {
        if let Value::Edge(edge) = self { Some(edge) } else { None }
    }

    /// The value of `key`, if it is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        if let Value::Map(pairs) = self { lookup(pairs, key) } else { None }
    }
}

macro_rules! from {
    ($($type:ty => |$value:ident| $into:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Value {
                $into
            }
        })*
    };
}

from! {
    bool => |value| Value::Bool(value);
    i64 => |value| Value::Int(value);
    i32 => |value| Value::Int(i64::from(value));
    u32 => |value| Value::Int(i64::from(value));
    f64 => |value| Value::Float(value);
    &str => |value| Value::String(value.to_owned());
    String => |value| Value::String(value);
    Vec<u8> => |value| Value::Bytes(value);
    Vec<Value> => |value| Value::List(value);
    Node => |value| Value::Node(Box::new(value));
    Edge => |value| Value::Edge(Box::new(value));
    Path => |value| Value::Path(Box::new(value));
    Date => |value| Value::Date(value);
    LocalTime => |value| Value::LocalTime(value);
    Time => |value| Value::Time(value);
    LocalDateTime => |value| Value::LocalDateTime(value);
    DateTime => |value| Value::DateTime(Box::new(value));
    Duration => |value| Value::Duration(Box::new(value));
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Nil, Into::into)
    }
}
