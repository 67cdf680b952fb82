//! The logical plan: what to do to the graph, as data, whoever wrote it.
//!
//! A plan is a list of pipelines, each a list of steps. All of it runs in order within one transaction, and the rows
//! of the last pipeline are the answer. A pipeline starts with a *source*, which makes rows, and goes on with
//! *transforms*, each of which takes the rows of the step before it and makes new ones.
//!
//! What holds for all steps:
//!
//! 1. A row has named columns, and at most one of them is *current*: the node or edge that the next step looks at.
//! 2. A step that changes the graph takes all of its rows before it makes its first change, so it never meets what
//!    it made itself. Of rows with the same current entity it looks at one.
//! 3. Where entities stand in the answer they are shown as they are at the end of the plan.
//! 4. Comparison with an absent property, or between kinds that have no order, is neither true nor false, and a
//!    filter lets only true pass.
//! 5. If any step fails, nothing of the plan is done.
//! 6. A label, type or key that nobody ever used matches nothing; one that is to be written is made.

use graphite_graph::{Direction, Value};

/// What to do to the graph, as data.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Plan {
    /// Run in order, within one transaction; the rows of the last are the answer.
    pub pipelines: Vec<Pipeline>,
}

/// Steps, a source first; each takes the rows of the one before.
pub type Pipeline = Vec<Step>;

/// Properties to be given, by name. If a name comes twice, the last one counts.
pub type Properties = Vec<(String, Operand)>;

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

    /// Whether it can change the graph.
    pub fn is_write(&self) -> bool {
        self.pipelines.iter().flatten().any(Step::is_write)
    }
}

/// Which entity is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityRef {
    /// The one with this id.
    Id(u64),
    /// The one whose id this parameter holds.
    Param(String),
    /// The first column of a row that an earlier pipeline of this plan made, both counted from 0.
    Row {
        /// Which pipeline.
        pipeline: u32,
        /// Which of its rows.
        row: u32,
    },
}

/// A value, or where to find one.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// This value.
    Value(Value),
    /// What this parameter holds.
    Param(String),
}

impl<T: Into<Value>> From<T> for Operand {
    fn from(value: T) -> Operand {
        Operand::Value(value.into())
    }
}

/// What `expand` makes of each edge it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expansion {
    /// A row with the node at its other end: column `node`.
    Nodes,
    /// A row with the edge: column `edge`.
    Edges,
    /// A row with both: columns `edge` and `node`, of which the node is current.
    Both,
}

/// How `filter` compares a property with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal; integers and floats are compared by what they are worth.
    Eq,
    /// There, and not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// There; has no value.
    Exists,
    /// A string that starts with the value.
    StartsWith,
    /// A string that contains the value.
    Contains,
}

/// What `order` orders by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderBy {
    /// A column.
    Column(String),
    /// A property of the current entity.
    Key(String),
}

/// A node to be created.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct NewNode {
    /// Its labels.
    pub labels: Vec<String>,
    /// Its properties. One that is null is not set.
    pub properties: Properties,
}

/// An edge to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEdge {
    /// Where it starts.
    pub start: EntityRef,
    /// Where it ends.
    pub end: EntityRef,
    /// Its type.
    pub edge_type: String,
    /// Its properties. One that is null is not set.
    pub properties: Properties,
}

/// One step of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Rows of the nodes with these ids, in this order: column `node`. One that does not exist makes no row, unless
    /// `required` is set: then the plan fails.
    Node {
        /// Which.
        ids: Vec<EntityRef>,
        /// Whether a missing one is an error.
        required: bool,
    },
    /// Rows of the edges with these ids, in this order: column `edge`. As [`Step::Node`].
    Edge {
        /// Which.
        ids: Vec<EntityRef>,
        /// Whether a missing one is an error.
        required: bool,
    },
    /// A row of each node, or of each that has the label: column `node`.
    Nodes {
        /// The label.
        label: Option<String>,
    },
    /// A row of each edge, or of each of the type: column `edge`.
    Edges {
        /// The type.
        edge_type: Option<String>,
    },
    /// Creates nodes; a row of each, in this order: column `node`.
    CreateNodes {
        /// What they are to be like.
        rows: Vec<NewNode>,
    },
    /// Creates edges; a row of each, in this order: column `edge`. A missing end is an error.
    CreateEdges {
        /// What they are to be like.
        rows: Vec<NewEdge>,
    },
    /// A path with the fewest edges: one row with the column `path`, or no row. A missing end is an error.
    ShortestPath {
        /// Where it starts.
        from: EntityRef,
        /// Where it ends.
        to: EntityRef,
        /// How edges may be taken.
        direction: Direction,
        /// Which edges; none means all.
        types: Vec<String>,
        /// Most edges; no limit if `None`.
        max_hops: Option<u32>,
    },

    /// Passes rows whose entity's property compares so. `Exists` takes no value, all others need one.
    Filter {
        /// The property.
        key: String,
        /// How.
        comparison: Comparison,
        /// With what.
        value: Option<Operand>,
    },
    /// Passes rows whose node has the label.
    HasLabel {
        /// The label.
        label: String,
    },
    /// For each row, a row for each edge of its node: all walks, so a neighbour comes as often as there are edges to
    /// it. The columns of before are gone.
    Expand {
        /// Which edges by direction.
        direction: Direction,
        /// Which edges by type; none means all.
        types: Vec<String>,
        /// What becomes of them.
        to: Expansion,
    },
    /// The distinct nodes whose least number of hops from any node of the rows is `min` to `max`, nearest first:
    /// column `node`. The starts are at distance 0.
    KHop {
        /// Which edges by direction.
        direction: Direction,
        /// Which edges by type; none means all.
        types: Vec<String>,
        /// Least distance.
        min: u32,
        /// Greatest distance.
        max: u32,
    },
    /// Appends the column `degree`: how many edges the node has. The node stays current.
    Degree {
        /// Which edges by direction.
        direction: Direction,
        /// Which edges by type; none means all.
        types: Vec<String>,
    },
    /// Replaces the current column by one for each key, with the property's value or null. Nothing is current after
    /// it.
    Properties {
        /// Which.
        keys: Vec<String>,
    },
    /// Replaces each node and edge in the row by its id; the columns keep their names. Nothing is current after it.
    Ids,

    /// Passes the first of rows that are equal in all columns.
    Distinct,
    /// One row with the column `count`: how many rows there are. Nothing is current after it.
    Count,
    /// Orders the rows; null comes last, and first if `desc` is set. Equal rows keep their order.
    Order {
        /// By what.
        by: OrderBy,
        /// Whether the greatest come first.
        desc: bool,
    },
    /// Passes the first `n` rows.
    Limit {
        /// How many.
        n: u64,
    },
    /// Passes all but the first `n` rows.
    Skip {
        /// How many.
        n: u64,
    },

    /// Sets these properties and leaves others as they are; null removes.
    Set {
        /// Which.
        properties: Properties,
    },
    /// Sets these properties and removes all others.
    Replace {
        /// Which.
        properties: Properties,
    },
    /// Gives the node these labels too.
    AddLabels {
        /// Which.
        labels: Vec<String>,
    },
    /// Takes these labels from the node, if it has them.
    RemoveLabels {
        /// Which.
        labels: Vec<String>,
    },
    /// Deletes the entities, and makes no rows: it is the last step of its pipeline. A node that has edges is an
    /// error, unless `detach` is set: then they are deleted with it.
    Delete {
        /// Whether edges go with their nodes.
        detach: bool,
    },
}

impl Step {
    /// The step's name, as it is on the wire.
    pub fn op(&self) -> &'static str {
        match self {
            Step::Node { .. } => "node",
            Step::Edge { .. } => "edge",
            Step::Nodes { .. } => "nodes",
            Step::Edges { .. } => "edges",
            Step::CreateNodes { .. } => "create_nodes",
            Step::CreateEdges { .. } => "create_edges",
            Step::ShortestPath { .. } => "shortest_path",
            Step::Filter { .. } => "filter",
            Step::HasLabel { .. } => "has_label",
            Step::Expand { .. } => "expand",
            Step::KHop { .. } => "khop",
            Step::Degree { .. } => "degree",
            Step::Properties { .. } => "properties",
            Step::Ids => "ids",
            Step::Distinct => "distinct",
            Step::Count => "count",
            Step::Order { .. } => "order",
            Step::Limit { .. } => "limit",
            Step::Skip { .. } => "skip",
            Step::Set { .. } => "set",
            Step::Replace { .. } => "replace",
            Step::AddLabels { .. } => "add_labels",
            Step::RemoveLabels { .. } => "remove_labels",
            Step::Delete { .. } => "delete",
        }
    }

    /// Whether it changes the graph.
    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Step::CreateNodes { .. }
                | Step::CreateEdges { .. }
                | Step::Set { .. }
                | Step::Replace { .. }
                | Step::AddLabels { .. }
                | Step::RemoveLabels { .. }
                | Step::Delete { .. }
        )
    }

    /// Whether a pipeline starts with it.
    pub fn is_source(&self) -> bool {
        matches!(
            self,
            Step::Node { .. }
                | Step::Edge { .. }
                | Step::Nodes { .. }
                | Step::Edges { .. }
                | Step::CreateNodes { .. }
                | Step::CreateEdges { .. }
                | Step::ShortestPath { .. }
        )
    }
}
