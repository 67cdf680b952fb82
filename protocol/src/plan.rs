//! Plans: what to do to the graph, as data. `docs/protocol.md` has examples of each step.
//!
//! A plan is a list of pipelines, each a list of steps. All of it runs in order within one transaction, and the
//! rows of the last pipeline are the answer. A pipeline starts with a *source*, which makes rows, and goes on
//! with *transforms*, each of which takes the rows of the step before it and makes new ones.
//!
//! What holds for all steps:
//!
//! 1. A row has named columns, and at most one of them is *current*: the entity (node or edge) that the next
//!    step looks at. [`Plan::shape`](crate::Plan::shape) tells which columns come out, without running anything.
//! 2. A step that changes the graph takes all of its rows before it makes its first change, so it never meets
//!    what it made itself.
//! 3. Where entities stand in the answer they are shown as they are at the end of the plan.
//! 4. Comparison with an absent property, or between kinds that have no order, is neither true nor false, and
//!    a filter lets only true pass.
//! 5. If any step fails, nothing of the plan is done.

use crate::value::Value;
use crate::wire::{Pairs, message, words};

/// The version of the plan's wire form that this crate reads and writes.
pub const PLAN_VERSION: u32 = 1;

/// What to do to the graph, as data.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Plan {
    /// Run in order, within one transaction; the rows of the last are the answer.
    pub pipelines: Vec<Pipeline>,
}

/// Steps, a source first; each takes the rows of the one before.
pub type Pipeline = Vec<Step>;

/// Properties to be given: `{key: value or {"param": name}}`.
pub type Properties = Pairs<Operand>;

impl Plan {
    /// A plan of one pipeline.
    pub fn of(steps: impl Into<Pipeline>) -> Plan {
        Plan { pipelines: vec![steps.into()] }
    }

    /// The same plan with another pipeline after it.
    #[must_use]
    pub fn then(mut self, steps: impl Into<Pipeline>) -> Plan {
        self.pipelines.push(steps.into());
        self
    }
}

/// Which entity is meant.
#[derive(Clone, Debug, PartialEq)]
pub enum EntityRef {
    /// The one with this id. On the wire: the id.
    Id(u64),
    /// The one that this parameter holds: an id, a node or an edge. On the wire: `{"param": name}`.
    Param(String),
    /// The first column of a row that an earlier pipeline of this plan made, both counted from 0. On the wire:
    /// `{"ref": pipeline, "row": row}`, and row 0 may be left out.
    Row {
        /// Which pipeline.
        pipeline: u32,
        /// Which of its rows.
        row: u32,
    },
}

impl From<u64> for EntityRef {
    fn from(id: u64) -> EntityRef {
        EntityRef::Id(id)
    }
}

impl EntityRef {
    /// The first row of an earlier pipeline.
    pub fn first_of(pipeline: u32) -> EntityRef {
        EntityRef::Row { pipeline, row: 0 }
    }
}

/// A value, or where to find one.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// This value. A map cannot be one, for no property holds a map.
    Value(Value),
    /// What this parameter holds. On the wire: `{"param": name}`.
    Param(String),
}

impl<T: Into<Value>> From<T> for Operand {
    fn from(value: T) -> Operand {
        Operand::Value(value.into())
    }
}

words! { "a direction (out, in, both)",
    /// Which edges of a node.
    pub enum Direction {
        /// Those that start at it.
        Out = "out",
        /// Those that end at it.
        In = "in",
        /// All of them; one that starts and ends at it counts once.
        Both = "both",
    }
}

words! { "what to expand to (nodes, edges, both)",
    /// What `expand` makes of each edge it finds.
    pub enum Expansion {
        /// A row with the node at its other end: column `node`.
        Nodes = "nodes",
        /// A row with the edge: column `edge`.
        Edges = "edges",
        /// A row with both: columns `edge` and `node`, of which the node is current.
        Both = "both",
    }
}

words! { "a comparison (eq, ne, lt, le, gt, ge, exists, starts_with, contains)",
    /// How `filter` compares a property with its value.
    pub enum Comparison {
        /// Equal; integers and floats are compared by what they are worth.
        Eq = "eq",
        /// There, and not equal.
        Ne = "ne",
        /// Less.
        Lt = "lt",
        /// Less or equal.
        Le = "le",
        /// Greater.
        Gt = "gt",
        /// Greater or equal.
        Ge = "ge",
        /// There; has no value.
        Exists = "exists",
        /// A string that starts with the value.
        StartsWith = "starts_with",
        /// A string that contains the value.
        Contains = "contains",
    }
}

/// What `order` orders by.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderBy {
    /// A column. On the wire: `{"column": name}`.
    Column(String),
    /// A property of the current entity. On the wire: `{"key": name}`.
    Key(String),
}

message! { request "a node to create",
    /// A node to be created.
    pub struct NewNode {
        /// Its labels; none if left out.
        pub labels: Vec<String> = Vec::new(),
        /// Its properties; none if left out. One that is nil is not set.
        pub properties: Properties,
    }
}

message! { request "an edge to create",
    /// An edge to be created.
    pub struct NewEdge {
        /// Where it starts.
        pub start: EntityRef,
        /// Where it ends.
        pub end: EntityRef,
        /// Its type.
        pub edge_type as "type": String,
        /// Its properties; none if left out. One that is nil is not set.
        pub properties: Properties,
    }
}

crate::plan_codec::steps! {
    // Sources.

    /// Rows of the nodes with these ids, in this order: column `node`. One that does not exist makes no row,
    /// unless `required` is set: then the plan fails with `node-not-found`.
    Node = "node" { ids one "id": Vec<EntityRef>, required: bool = false },
    /// Rows of the edges with these ids, in this order: column `edge`. One that does not exist makes no row,
    /// unless `required` is set: then the plan fails with `edge-not-found`.
    Edge = "edge" { ids one "id": Vec<EntityRef>, required: bool = false },
    /// A row of each node, or of each that has the label: column `node`.
    Nodes = "nodes" { label: Option<String> = None },
    /// A row of each edge, or of each of the type: column `edge`.
    Edges = "edges" { edge_type as "type": Option<String> = None },
    /// Creates a node; one row: column `node`.
    CreateNode = "create_node" { labels: Vec<String> = Vec::new(), properties: Properties = Pairs::default() },
    /// Creates an edge; one row: column `edge`. A missing end fails with `node-not-found`.
    CreateEdge = "create_edge" {
        start: EntityRef,
        end: EntityRef,
        edge_type as "type": String,
        properties: Properties = Pairs::default()
    },
    /// Creates nodes; a row of each, in this order: column `node`.
    CreateNodes = "create_nodes" { rows: Vec<NewNode> },
    /// Creates edges; a row of each, in this order: column `edge`. A missing end fails with `node-not-found`.
    CreateEdges = "create_edges" { rows: Vec<NewEdge> },
    /// A path with the fewest edges: one row with the column `path`, which holds no entity, or no row. A
    /// missing end fails with `node-not-found`.
    ShortestPath = "shortest_path" {
        from: EntityRef,
        to: EntityRef,
        direction: Direction = Direction::Out,
        types: Vec<String> = Vec::new(),
        max_hops: Option<u32> = None
    },

    // Transforms of the current entity.

    /// Passes rows whose entity's property compares so. `exists` takes no value, all others need one.
    Filter = "filter" { key: String, comparison as "cmp": Comparison, value: Option<Operand> = None },
    /// Passes rows whose node has the label.
    HasLabel = "has_label" { label: String },
    /// For each row, a row for each edge of its node: all walks, so a neighbour comes as often as there are
    /// edges to it. The columns of before are gone. No types means all.
    Expand = "expand" {
        direction: Direction = Direction::Out,
        types: Vec<String> = Vec::new(),
        to: Expansion = Expansion::Nodes
    },
    /// The distinct nodes whose least number of hops from any node of the rows is `min` (1 if left out) to
    /// `max`, nearest first: column `node`. The starts are at distance 0.
    KHop = "khop" {
        direction: Direction = Direction::Out,
        types: Vec<String> = Vec::new(),
        min: u32 = 1,
        max: u32
    },
    /// Appends the column `degree`: how many edges the node has. The node stays current.
    Degree = "degree" { direction: Direction = Direction::Both, types: Vec<String> = Vec::new() },
    /// Replaces the current column by one for each key, with the property's value or nil. Nothing is current
    /// after it.
    Properties = "properties" { keys: Vec<String> },
    /// Replaces each entity in the row by its id; the columns keep their names. Nothing is current after it.
    Ids = "ids" {},

    // Transforms of rows, whatever they hold.

    /// Passes the first of rows that are equal in all columns.
    Distinct = "distinct" {},
    /// One row with the column `count`: how many rows there are. Nothing is current after it.
    Count = "count" {},
    /// Orders the rows by a column or by a property of the current entity; nil comes last, and first if
    /// `desc` is set. Equal rows keep their order.
    Order = "order" { by: OrderBy, desc: bool = false },
    /// Passes the first `n` rows.
    Limit = "limit" { n: u64 },
    /// Passes all but the first `n` rows.
    Skip = "skip" { n: u64 },

    // Changes of the current entity. The rows pass on.

    /// Sets these properties and leaves others as they are; nil removes.
    Set = "set" { properties: Properties },
    /// Sets these properties and removes all others.
    Replace = "replace" { properties: Properties },
    /// Gives the node these labels too.
    AddLabels = "add_labels" { labels: Vec<String> },
    /// Takes these labels from the node, if it has them.
    RemoveLabels = "remove_labels" { labels: Vec<String> },
    /// Deletes the entities, and makes no rows: it is the last step of its pipeline. A node that has edges
    /// fails with `node-has-edges`, unless `detach` is set: then they are deleted with it.
    Delete = "delete" { detach: bool = false },
}
