//! What is done to single nodes and edges: each a plan of one or two steps.
//!
//! Ids and values are parameters of these plans. So the bytes of a plan are the same each time, and the daemon finds
//! it ready.

use graphite_protocol::{Direction, Edge, EntityRef, Node, Operand, Pairs, Path, Plan, Step, Value};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::ids::{EdgeId, Entity, NodeId};
use crate::lookup::Kind;
use crate::props::{Params, Props};
use crate::rows::Row;
use crate::traversal::Traversal;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Name of the parameter for the one node or edge that a plan begins with.
const ID: &str = "id";

fn parameter(name: &str) -> EntityRef {
    EntityRef::Param(name.to_owned())
}

/// A walk that begins at a node, and its parameters.
fn at_node(id: NodeId) -> (Traversal, Params) {
    (Traversal::required_node(parameter(ID)), Params::from([(ID, id)]))
}

fn first(row: Row) -> Result<Value> {
    row.into_iter().next().ok_or_else(|| Error::protocol("a row has no column"))
}

fn expected<T>(what: &str, got: Option<T>) -> Result<T> {
    got.ok_or_else(|| Error::protocol(format!("{what} was expected")))
}

fn count(value: &Value) -> Option<u64> {
    value.as_int().and_then(|count| u64::try_from(count).ok())
}

impl Client {
    /// The one value that a plan must answer.
    fn one<T>(
        &mut self,
        plan: impl Into<Plan>,
        params: Params,
        what: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        expected(what, self.value(plan, params)?.as_ref().and_then(read))
    }

    fn node_ids(&mut self, traversal: Traversal, params: Params) -> Result<Vec<NodeId>> {
        self.rows(traversal.ids(), params)?
            .map(|row| expected("a node's id", NodeId::from_value(&first(row?)?)))
            .collect()
    }

    /// Creates a node.
    ///
    /// # Errors
    /// `invalid-value` for a value that no property holds, and others of the daemon or the connection.
    pub fn create_node<S: Into<String>>(
        &mut self,
        labels: impl IntoIterator<Item = S>,
        properties: impl Into<Props>,
    ) -> Result<NodeId> {
        let labels = labels.into_iter().map(Into::into).collect();
        let mut params = Params::new();
        let properties = properties.into().into_params(&mut params);
        let step = Step::CreateNode { labels, properties };
        self.one(Traversal::from_step(step).ids(), params, "a node's id", NodeId::from_value)
    }

    /// Creates an edge from `start` to `end`.
    ///
    /// # Errors
    /// `node-not-found` if an end does not exist, and as [`Client::create_node`].
    pub fn create_edge(
        &mut self,
        start: NodeId,
        end: NodeId,
        edge_type: impl Into<String>,
        properties: impl Into<Props>,
    ) -> Result<EdgeId> {
        let mut params = Params::from([("start", start), ("end", end)]);
        let properties = properties.into().into_params(&mut params);
        let (start, end) = (parameter("start"), parameter("end"));
        let step = Step::CreateEdge { start, end, edge_type: edge_type.into(), properties };
        self.one(Traversal::from_step(step).ids(), params, "an edge's id", EdgeId::from_value)
    }

    /// A node with its labels and properties; `None` if it does not exist.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn node(&mut self, id: NodeId) -> Result<Option<Node>> {
        match self.lookup(Kind::Node, id.0)? {
            None => Ok(None),
            Some(Value::Node(node)) => Ok(Some(*node)),
            Some(other) => Err(Error::protocol(format!("a node was expected, not {}", other.kind_name()))),
        }
    }

    /// An edge with its type, ends and properties; `None` if it does not exist.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn edge(&mut self, id: EdgeId) -> Result<Option<Edge>> {
        match self.lookup(Kind::Edge, id.0)? {
            None => Ok(None),
            Some(Value::Edge(edge)) => Ok(Some(*edge)),
            Some(other) => Err(Error::protocol(format!("an edge was expected, not {}", other.kind_name()))),
        }
    }

    /// Does something to one node or edge; the properties are for `with` as parameters.
    fn change(
        &mut self,
        entity: impl Into<Entity>,
        properties: Props,
        with: impl FnOnce(Traversal, Pairs<Operand>) -> Traversal,
    ) -> Result<()> {
        let (source, mut params) = match entity.into() {
            Entity::Node(id) => at_node(id),
            Entity::Edge(id) => (Traversal::required_edge(parameter(ID)), Params::from([(ID, id)])),
        };
        let properties = properties.into_params(&mut params);
        // The answer is counted, or empty after `delete`, for nobody looks at the entity.
        self.run(with(source, properties), params).map(|_| ())
    }

    /// Sets properties of a node or edge, and leaves others as they are; nil removes.
    ///
    /// # Errors
    /// `node-not-found` or `edge-not-found`, and as [`Client::create_node`].
    pub fn set_properties(&mut self, entity: impl Into<Entity>, properties: impl Into<Props>) -> Result<()> {
        self.change(entity, properties.into(), |it, properties| it.step(Step::Set { properties }).count())
    }

    /// Sets properties of a node or edge, and removes all others.
    ///
    /// # Errors
    /// As [`Client::set_properties`].
    pub fn replace_properties(
        &mut self,
        entity: impl Into<Entity>,
        properties: impl Into<Props>,
    ) -> Result<()> {
        self.change(entity, properties.into(), |it, properties| it.step(Step::Replace { properties }).count())
    }

    /// Removes properties of a node or edge; those that it does not have are no error.
    ///
    /// # Errors
    /// As [`Client::set_properties`].
    pub fn remove_properties(&mut self, entity: impl Into<Entity>, keys: &[&str]) -> Result<()> {
        let nils: Props = keys.iter().map(|&key| (key, Value::Nil)).collect();
        self.set_properties(entity, nils)
    }

    /// Gives a node these labels too.
    ///
    /// # Errors
    /// `node-not-found`, and others of the daemon or the connection.
    pub fn add_labels(&mut self, id: NodeId, labels: &[&str]) -> Result<()> {
        self.change(id, Props::new(), |it, _| it.add_labels(names(labels)).count())
    }

    /// Takes these labels from a node, if it has them.
    ///
    /// # Errors
    /// `node-not-found`, and others of the daemon or the connection.
    pub fn remove_labels(&mut self, id: NodeId, labels: &[&str]) -> Result<()> {
        self.change(id, Props::new(), |it, _| it.remove_labels(names(labels)).count())
    }

    /// Deletes a node; with `detach`, together with its edges.
    ///
    /// # Errors
    /// `node-not-found`; `node-has-edges` without `detach`; others of the daemon or the connection.
    pub fn delete_node(&mut self, id: NodeId, detach: bool) -> Result<()> {
        self.change(id, Props::new(), |it, _| it.delete(detach))
    }

    /// Deletes an edge.
    ///
    /// # Errors
    /// `edge-not-found`, and others of the daemon or the connection.
    pub fn delete_edge(&mut self, id: EdgeId) -> Result<()> {
        self.change(id, Props::new(), |it, _| it.delete(false))
    }

    /// How many edges a node has. No types means all.
    ///
    /// # Errors
    /// `node-not-found`, and others of the daemon or the connection.
    pub fn degree(&mut self, id: NodeId, direction: Direction, types: &[&str]) -> Result<u64> {
        let (node, params) = at_node(id);
        let answer = self.run(node.degree(direction, names(types)), params)?;
        let degree = answer.rows.first().and_then(|row| row.last()).and_then(count);
        expected("a degree", degree)
    }

    /// The nodes at the other ends of a node's edges, once for each edge. No types means all.
    ///
    /// # Errors
    /// `node-not-found`, and others of the daemon or the connection.
    pub fn neighbors(&mut self, id: NodeId, direction: Direction, types: &[&str]) -> Result<Vec<NodeId>> {
        let (node, params) = at_node(id);
        self.node_ids(node.expand(direction, names(types)), params)
    }

    /// The edges of a node, with their properties. No types means all.
    ///
    /// # Errors
    /// `node-not-found`, and others of the daemon or the connection.
    pub fn edges(&mut self, id: NodeId, direction: Direction, types: &[&str]) -> Result<Vec<Edge>> {
        let (node, params) = at_node(id);
        self.rows(node.expand_edges(direction, names(types)), params)?
            .map(|row| match first(row?)? {
                Value::Edge(edge) => Ok(*edge),
                other => Err(Error::protocol(format!("an edge was expected, not {}", other.kind_name()))),
            })
            .collect()
    }

    /// The distinct nodes that are 1 to `hops` hops away, nearest first. No types means all.
    ///
    /// # Errors
    /// `node-not-found`, and others of the daemon or the connection.
    pub fn khop(
        &mut self,
        id: NodeId,
        direction: Direction,
        types: &[&str],
        hops: u32,
    ) -> Result<Vec<NodeId>> {
        let (node, params) = at_node(id);
        self.node_ids(node.khop(direction, names(types), 1, hops), params)
    }

    /// How many distinct nodes are 1 to `hops` hops away. No types means all.
    ///
    /// # Errors
    /// `node-not-found`, and others of the daemon or the connection.
    pub fn khop_count(&mut self, id: NodeId, direction: Direction, types: &[&str], hops: u32) -> Result<u64> {
        let (node, params) = at_node(id);
        self.one(node.khop(direction, names(types), 1, hops).count(), params, "a count", count)
    }

    /// A path with the fewest edges; `None` if there is none. No types means all, no `max_hops` any length.
    ///
    /// # Errors
    /// `node-not-found` if an end does not exist, and others of the daemon or the connection.
    pub fn shortest_path(
        &mut self,
        from: NodeId,
        to: NodeId,
        direction: Direction,
        types: &[&str],
        max_hops: Option<u32>,
    ) -> Result<Option<Path>> {
        let params = [("from", from), ("to", to)];
        let (from, to) = (parameter("from"), parameter("to"));
        let step = Step::ShortestPath { from, to, direction, types: names(types), max_hops };
        match self.value(Traversal::from_step(step), params)? {
            None => Ok(None),
            Some(Value::Path(path)) => Ok(Some(*path)),
            Some(other) => Err(Error::protocol(format!("a path was expected, not {}", other.kind_name()))),
        }
    }
}
