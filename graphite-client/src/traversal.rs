//! A builder of plans: a walk through the graph, step by step.

use graphite_protocol::{Comparison, Direction, EntityRef, Expansion, Operand, OrderBy, Pairs, Plan, Step};

use crate::ids::{EdgeId, NodeId};
use crate::props::Props;

/// A walk through the graph that becomes a plan of one pipeline.
///
/// It begins at nodes or edges, each further method takes the rows of the one before, and the daemon checks that
/// the whole makes sense. See [`Step`] for what each does.
///
/// ```
/// use graphite_client::{Comparison, Direction, Traversal};
/// // The ten airports outside the US with the most routes.
/// let busiest = Traversal::nodes_with("airport")
///     .filter("country", Comparison::Ne, "US")
///     .degree(Direction::Out, ["route"])
///     .order_by_column("degree", true)
///     .limit(10)
///     .properties(["code", "city"]);
/// assert_eq!(busiest.plan().pipelines[0].len(), 6);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a traversal does nothing until it is run"]
pub struct Traversal {
    steps: Vec<Step>,
}

fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Vec<String> {
    names.into_iter().map(Into::into).collect()
}

impl Traversal {
    /// Begins with any step that makes rows.
    pub fn from_step(step: Step) -> Traversal {
        Traversal { steps: vec![step] }
    }

    /// Begins at a node; there is no row if it does not exist.
    pub fn node(id: impl Into<EntityRef>) -> Traversal {
        Traversal::from_step(Step::Node { ids: vec![id.into()], required: false })
    }

    /// Begins at several nodes, in this order; those that do not exist make no row.
    pub fn nodes_by_id(ids: impl IntoIterator<Item = NodeId>) -> Traversal {
        Traversal::from_step(Step::Node {
            ids: ids.into_iter().map(EntityRef::from).collect(),
            required: false,
        })
    }

    /// Begins at a node, and fails with `node-not-found` if it does not exist.
    pub fn required_node(id: impl Into<EntityRef>) -> Traversal {
        Traversal::from_step(Step::Node { ids: vec![id.into()], required: true })
    }

    /// Begins at an edge; there is no row if it does not exist.
    pub fn edge(id: impl Into<EntityRef>) -> Traversal {
        Traversal::from_step(Step::Edge { ids: vec![id.into()], required: false })
    }

    /// Begins at several edges, in this order; those that do not exist make no row.
    pub fn edges_by_id(ids: impl IntoIterator<Item = EdgeId>) -> Traversal {
        Traversal::from_step(Step::Edge {
            ids: ids.into_iter().map(EntityRef::from).collect(),
            required: false,
        })
    }

    /// Begins at an edge, and fails with `edge-not-found` if it does not exist.
    pub fn required_edge(id: impl Into<EntityRef>) -> Traversal {
        Traversal::from_step(Step::Edge { ids: vec![id.into()], required: true })
    }

    /// Begins at all nodes.
    pub fn nodes() -> Traversal {
        Traversal::from_step(Step::Nodes { label: None })
    }

    /// Begins at all nodes that have the label.
    pub fn nodes_with(label: impl Into<String>) -> Traversal {
        Traversal::from_step(Step::Nodes { label: Some(label.into()) })
    }

    /// Begins at all edges.
    pub fn edges() -> Traversal {
        Traversal::from_step(Step::Edges { edge_type: None })
    }

    /// Begins at all edges of the type.
    pub fn edges_of(edge_type: impl Into<String>) -> Traversal {
        Traversal::from_step(Step::Edges { edge_type: Some(edge_type.into()) })
    }

    /// Goes on with any step.
    pub fn step(mut self, step: Step) -> Traversal {
        self.steps.push(step);
        self
    }

    /// Passes entities whose property compares so with the value. Absent ones do not pass.
    pub fn filter(
        self,
        key: impl Into<String>,
        comparison: Comparison,
        value: impl Into<Operand>,
    ) -> Traversal {
        self.step(Step::Filter { key: key.into(), comparison, value: Some(value.into()) })
    }

    /// Passes entities that have the property.
    pub fn has(self, key: impl Into<String>) -> Traversal {
        self.step(Step::Filter { key: key.into(), comparison: Comparison::Exists, value: None })
    }

    /// Passes nodes that have the label.
    pub fn has_label(self, label: impl Into<String>) -> Traversal {
        self.step(Step::HasLabel { label: label.into() })
    }

    /// Goes to the nodes at the other ends of the edges: one row for each edge. No types means all.
    pub fn expand<S: Into<String>>(
        self,
        direction: Direction,
        types: impl IntoIterator<Item = S>,
    ) -> Traversal {
        self.step(Step::Expand { direction, types: names(types), to: Expansion::Nodes })
    }

    /// Goes to the edges. No types means all.
    pub fn expand_edges<S: Into<String>>(
        self,
        direction: Direction,
        types: impl IntoIterator<Item = S>,
    ) -> Traversal {
        self.step(Step::Expand { direction, types: names(types), to: Expansion::Edges })
    }

    /// Goes to the edges and the nodes at their other ends: columns `edge` and `node`. No types means all.
    pub fn expand_both<S: Into<String>>(
        self,
        direction: Direction,
        types: impl IntoIterator<Item = S>,
    ) -> Traversal {
        self.step(Step::Expand { direction, types: names(types), to: Expansion::Both })
    }

    /// Goes to the distinct nodes that are `min` to `max` hops away, nearest first. No types means all.
    pub fn khop<S: Into<String>>(
        self,
        direction: Direction,
        types: impl IntoIterator<Item = S>,
        min: u32,
        max: u32,
    ) -> Traversal {
        self.step(Step::KHop { direction, types: names(types), min, max })
    }

    /// Appends the column `degree`: how many edges the node has. No types means all.
    pub fn degree<S: Into<String>>(
        self,
        direction: Direction,
        types: impl IntoIterator<Item = S>,
    ) -> Traversal {
        self.step(Step::Degree { direction, types: names(types) })
    }

    /// Replaces the entity by its properties of these names, each a column.
    pub fn properties<S: Into<String>>(self, keys: impl IntoIterator<Item = S>) -> Traversal {
        self.step(Step::Properties { keys: names(keys) })
    }

    /// Replaces entities by their ids.
    pub fn ids(self) -> Traversal {
        self.step(Step::Ids {})
    }

    /// Passes the first of equal rows.
    pub fn distinct(self) -> Traversal {
        self.step(Step::Distinct {})
    }

    /// Replaces the rows by their number.
    pub fn count(self) -> Traversal {
        self.step(Step::Count {})
    }

    /// Orders the rows by a property of the entity.
    pub fn order_by(self, key: impl Into<String>, desc: bool) -> Traversal {
        self.step(Step::Order { by: OrderBy::Key(key.into()), desc })
    }

    /// Orders the rows by a column.
    pub fn order_by_column(self, column: impl Into<String>, desc: bool) -> Traversal {
        self.step(Step::Order { by: OrderBy::Column(column.into()), desc })
    }

    /// Passes the first `n` rows.
    pub fn limit(self, n: u64) -> Traversal {
        self.step(Step::Limit { n })
    }

    /// Passes all but the first `n` rows.
    pub fn skip(self, n: u64) -> Traversal {
        self.step(Step::Skip { n })
    }

    /// Sets properties of the entities, and leaves others as they are; nil removes.
    pub fn set(self, properties: impl Into<Props>) -> Traversal {
        self.step(Step::Set { properties: properties.into().into_operands() })
    }

    /// Sets properties of the entities, and removes all others.
    pub fn replace(self, properties: impl Into<Props>) -> Traversal {
        self.step(Step::Replace { properties: properties.into().into_operands() })
    }

    /// Sets one property of the entities to a value or a parameter.
    pub fn set_one(self, key: impl Into<String>, value: impl Into<Operand>) -> Traversal {
        self.step(Step::Set { properties: Pairs(vec![(key.into(), value.into())]) })
    }

    /// Gives the nodes these labels too.
    pub fn add_labels<S: Into<String>>(self, labels: impl IntoIterator<Item = S>) -> Traversal {
        self.step(Step::AddLabels { labels: names(labels) })
    }

    /// Takes these labels from the nodes.
    pub fn remove_labels<S: Into<String>>(self, labels: impl IntoIterator<Item = S>) -> Traversal {
        self.step(Step::RemoveLabels { labels: names(labels) })
    }

    /// Deletes the entities; with `detach`, nodes together with their edges. Nothing can follow.
    pub fn delete(self, detach: bool) -> Traversal {
        self.step(Step::Delete { detach })
    }

    /// The plan.
    #[must_use]
    pub fn plan(self) -> Plan {
        Plan::of(self.steps)
    }
}

impl From<Traversal> for Plan {
    fn from(traversal: Traversal) -> Plan {
        traversal.plan()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::props;

    const NONE: [&str; 0] = [];

    /// Every method makes a step that the protocol's own check accepts in its place.
    #[test]
    fn traversals_make_sense_to_the_protocol() {
        let columns = |traversal: Traversal| -> Vec<String> {
            traversal.plan().shape().unwrap().columns.into_iter().map(|column| column.name).collect()
        };
        let walk = Traversal::nodes_with("A")
            .filter("x", Comparison::Gt, 1)
            .has("y")
            .has_label("B")
            .expand(Direction::Out, ["T"])
            .khop(Direction::Both, NONE, 0, 3)
            .degree(Direction::In, NONE)
            .order_by("x", false)
            .order_by_column("degree", true)
            .distinct()
            .skip(1)
            .limit(2);
        assert_eq!(columns(walk.clone()), ["node", "degree"]);
        assert_eq!(columns(walk.clone().properties(["x", "y"])), ["x", "y", "degree"]);
        assert_eq!(columns(walk.clone().ids()), ["node", "degree"]);
        assert_eq!(columns(walk.count()), ["count"]);
        let both = Traversal::node(NodeId(1)).expand_both(Direction::In, NONE);
        assert_eq!(columns(both), ["edge", "node"]);
        assert_eq!(columns(Traversal::nodes_by_id([NodeId(1)]).expand_edges(Direction::In, NONE)), ["edge"]);

        let writes = Traversal::required_edge(EdgeId(1)).set(props! { "a" => 1 }).set_one("b", 2).replace(());
        assert!(writes.plan().shape().unwrap().writes);
        let labels = Traversal::required_node(NodeId(1)).add_labels(["A"]).remove_labels(["B"]).delete(true);
        assert!(labels.plan().shape().unwrap().writes);
        for source in
            [Traversal::nodes(), Traversal::edges(), Traversal::edges_of("T"), Traversal::edge(EdgeId(1))]
        {
            assert!(!source.plan().shape().unwrap().writes);
        }
        assert_eq!(Traversal::edges_by_id([EdgeId(2)]).plan(), Traversal::edge(EdgeId(2)).plan());
    }
}
