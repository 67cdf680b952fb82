//! Where rows come from: ids, scans, counters, and searches that start by themselves.

use graphite_graph::traverse;
use graphite_graph::{
    EdgeId, EdgeSlot, Error as GraphError, KeyId, LabelId, Node, NodeId, NodeSlot, TypeId, Value, View,
};

use super::Context;
use super::bind::Follow;
use super::reach::Spent;
use crate::cell::Cell;
use crate::error::{At, Located, Result};
use crate::rows::{BATCH_ROWS, Column, Rows};

/// Keys up to this number are read one by one, more of them in one reading of all properties.
const SINGLE_KEYS_MAX: usize = 2;

/// What is wanted of one node.
pub(super) enum PointOutput {
    Whole,
    Properties(Vec<Option<KeyId>>),
    DegreeSum(Follow),
}

/// One node by id, read whole or in part: one row, or none.
pub(super) struct Point {
    id: Option<NodeId>,
    required: bool,
    output: PointOutput,
    done: bool,
}

impl Point {
    pub(super) fn new(id: Option<NodeId>, required: bool, output: PointOutput) -> Point {
        Point { id, required, output, done: false }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.done
    }

    /// Whether all of the node is wanted, so that it can be shown as it is read.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.output, PointOutput::Whole)
    }

    /// The node as a whole, once.
    pub(super) fn node<V: View>(&mut self, at: At, view: &V) -> Result<Option<Node>> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(None);
        }
        let Some(id) = self.id else { return Ok(None) };
        let node = view.node(id).at(at)?;
        if node.is_none() && self.required {
            return Err(GraphError::NodeNotFound(id)).at(at);
        }
        Ok(node)
    }

    pub(super) fn next<V: View>(&mut self, at: At, context: &mut Context<'_, V>) -> Result<Option<Rows>> {
        let view = context.view;
        if self.is_whole() {
            let node = self.node(at, view)?;
            return Ok(node.map(|node| Rows::of(Column::Cells(vec![Cell::Node(node)]))));
        }
        if std::mem::replace(&mut self.done, true) {
            return Ok(None);
        }
        let columns = match (&self.output, self.id) {
            (PointOutput::Properties(_), None) | (PointOutput::Whole, _) => None,
            (PointOutput::Properties(keys), Some(id)) => {
                let mut columns = Vec::with_capacity(keys.len());
                let found =
                    read_keys(keys, view, id, |value| columns.push(Column::Values(vec![value]))).at(at)?;
                found.then_some(columns)
            }
            (PointOutput::DegreeSum(follow), id) => return self.degree(follow, id, at, view).map(Some),
        };
        match (columns, self.id) {
            (None, Some(id)) if self.required => Err(GraphError::NodeNotFound(id)).at(at),
            (None, _) => Ok(None),
            (Some(columns), _) => Ok(Some(Rows { columns, current: 0, len: 1 })),
        }
    }

    fn degree<V: View>(&self, follow: &Follow, id: Option<NodeId>, at: At, view: &V) -> Result<Rows> {
        let mut degree = 0;
        if let Some(id) = id {
            degree = view.degree(id, follow.direction, follow.types()).at(at)?;
            if degree == 0 && self.required && !view.node_exists(id).at(at)? {
                return Err(GraphError::NodeNotFound(id)).at(at);
            }
        }
        Ok(Rows::of(Column::Values(vec![count_value(degree)])))
    }
}

/// Reads some properties of a node, null where it has none. Returns whether there is such a node.
pub(super) fn read_keys<V: View>(
    keys: &[Option<KeyId>],
    view: &V,
    node: impl graphite_graph::NodeName,
    mut put: impl FnMut(Value),
) -> graphite_graph::Result<bool> {
    if keys.len() > SINGLE_KEYS_MAX {
        let Some(all) = view.properties(node)? else { return Ok(false) };
        pick_keys(keys, all, put);
        return Ok(true);
    }
    if keys.iter().all(Option::is_none) && !view.node_exists(node)? {
        return Ok(false);
    }
    let mut values = [Value::Null, Value::Null];
    for (key, value) in keys.iter().zip(&mut values) {
        if let Some(key) = key {
            match view.property(node, *key)? {
                Some(found) => *value = found,
                None => return Ok(false),
            }
        }
    }
    values.into_iter().take(keys.len()).for_each(&mut put);
    Ok(true)
}

/// As [`read_keys`], of an edge.
pub(super) fn read_edge_keys<V: View>(
    keys: &[Option<KeyId>],
    view: &V,
    edge: EdgeSlot,
    put: impl FnMut(Value),
) -> graphite_graph::Result<bool> {
    let Some(all) = view.edge_properties(edge)? else { return Ok(false) };
    pick_keys(keys, all, put);
    Ok(true)
}

fn pick_keys(keys: &[Option<KeyId>], mut all: Vec<(KeyId, Value)>, mut put: impl FnMut(Value)) {
    for (place, key) in keys.iter().enumerate() {
        let found = key.and_then(|key| all.binary_search_by_key(&key, |(key, _)| *key).ok());
        put(match found {
            None => Value::Null,
            // The same key may be asked for again.
            Some(at) if keys[place + 1..].contains(key) => all[at].1.clone(),
            Some(at) => std::mem::take(&mut all[at].1),
        });
    }
}

/// A count as a value. No graph has more than 2^48 of anything, and sums stop at the greatest integer.
pub(super) fn count_value(count: u64) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Nodes by id.
pub(super) struct NodeIds {
    ids: Vec<NodeId>,
    next: usize,
    required: bool,
}

impl NodeIds {
    pub(super) fn new(ids: Vec<NodeId>, required: bool) -> NodeIds {
        NodeIds { ids, next: 0, required }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.next == self.ids.len()
    }

    pub(super) fn next<V: View>(
        &mut self,
        at: At,
        want: usize,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        let (mut slots, is_first) = (Vec::new(), self.next == 0);
        while slots.len() < want.min(BATCH_ROWS)
            && let Some(&id) = self.ids.get(self.next)
        {
            context.step(1)?;
            if context.view.node_exists(id).at(at)? {
                slots.push(id.slot());
            } else if self.required {
                return Err(GraphError::NodeNotFound(id)).at(at);
            }
            self.next += 1;
        }
        if self.required && is_first {
            // All of them now: whoever comes after may ask for no more.
            for &id in self.ids.get(self.next..).unwrap_or_default() {
                context.step(1)?;
                if !context.view.node_exists(id).at(at)? {
                    return Err(GraphError::NodeNotFound(id)).at(at);
                }
            }
        }
        Ok(Rows::some_of(Column::Nodes(slots)))
    }
}

/// Edges by id.
pub(super) struct EdgeIds {
    ids: Vec<EdgeId>,
    next: usize,
    required: bool,
}

impl EdgeIds {
    pub(super) fn new(ids: Vec<EdgeId>, required: bool) -> EdgeIds {
        EdgeIds { ids, next: 0, required }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.next == self.ids.len()
    }

    pub(super) fn next<V: View>(
        &mut self,
        at: At,
        want: usize,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        let (mut slots, is_first) = (Vec::new(), self.next == 0);
        while slots.len() < want.min(BATCH_ROWS)
            && let Some(&id) = self.ids.get(self.next)
        {
            context.step(1)?;
            if context.view.edge_head(id).at(at)?.is_some() {
                slots.push(id.slot());
            } else if self.required {
                return Err(GraphError::EdgeNotFound(id)).at(at);
            }
            self.next += 1;
        }
        if self.required && is_first {
            // All of them now: whoever comes after may ask for no more.
            for &id in self.ids.get(self.next..).unwrap_or_default() {
                context.step(1)?;
                if context.view.edge_head(id).at(at)?.is_none() {
                    return Err(GraphError::EdgeNotFound(id)).at(at);
                }
            }
        }
        Ok(Rows::some_of(Column::Edges(slots)))
    }
}

/// All nodes, or all with a label.
pub(super) struct ScanNodes {
    label: Option<LabelId>,
    after: Option<NodeSlot>,
    done: bool,
}

impl ScanNodes {
    /// `Some(None)` is a label that nobody has.
    pub(super) fn new(label: Option<Option<LabelId>>) -> ScanNodes {
        ScanNodes { label: label.flatten(), after: None, done: label == Some(None) }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.done
    }

    pub(super) fn next<V: View>(
        &mut self,
        at: At,
        want: usize,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        while !self.done {
            let scan = context.view.scan_nodes(self.after, self.label, want.min(BATCH_ROWS)).at(at)?;
            // However few it found, it has looked at about as many slots as a batch has rows.
            context.step(BATCH_ROWS)?;
            self.after = scan.resume;
            self.done = scan.resume.is_none();
            let slots = scan.found.iter().map(|head| head.id.slot()).collect();
            if let Some(rows) = Rows::some_of(Column::Nodes(slots)) {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }
}

/// All edges, or all of a type.
pub(super) struct ScanEdges {
    type_: Option<TypeId>,
    after: Option<EdgeSlot>,
    done: bool,
}

impl ScanEdges {
    /// `Some(None)` is a type that no edge has.
    pub(super) fn new(type_: Option<Option<TypeId>>) -> ScanEdges {
        ScanEdges { type_: type_.flatten(), after: None, done: type_ == Some(None) }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.done
    }

    pub(super) fn next<V: View>(
        &mut self,
        at: At,
        want: usize,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        while !self.done {
            let scan = context.view.scan_edges(self.after, self.type_, want.min(BATCH_ROWS)).at(at)?;
            context.step(BATCH_ROWS)?;
            self.after = scan.resume;
            self.done = scan.resume.is_none();
            let slots = scan.found.iter().map(|head| head.id.slot()).collect();
            if let Some(rows) = Rows::some_of(Column::Edges(slots)) {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }
}

/// What a counter counts.
#[derive(Clone, Copy)]
pub(super) enum Counted {
    Nodes,
    Edges,
}

/// How many nodes or edges there are.
pub(super) struct Counter {
    of: Counted,
    done: bool,
}

impl Counter {
    pub(super) fn new(of: Counted) -> Counter {
        Counter { of, done: false }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.done
    }

    pub(super) fn next<V: View>(&mut self, at: At, context: &mut Context<'_, V>) -> Result<Option<Rows>> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(None);
        }
        let count = match self.of {
            Counted::Nodes => context.view.node_count(),
            Counted::Edges => context.view.edge_count(),
        };
        Ok(Some(Rows::of(Column::Values(vec![count_value(count.at(at)?)]))))
    }
}

/// A path with the fewest edges.
pub(super) struct ShortestPath {
    from: NodeId,
    to: NodeId,
    follow: Follow,
    max_hops: u32,
    done: bool,
}

impl ShortestPath {
    pub(super) fn new(from: NodeId, to: NodeId, follow: Follow, max_hops: u32) -> ShortestPath {
        ShortestPath { from, to, follow, max_hops, done: false }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.done
    }

    pub(super) fn next<V: View>(&mut self, at: At, context: &mut Context<'_, V>) -> Result<Option<Rows>> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(None);
        }
        let view = context.view;
        for id in [self.from, self.to] {
            if !view.node_exists(id).at(at)? {
                return Err(GraphError::NodeNotFound(id)).at(at);
            }
        }
        let mut spent = Spent::new(at, context)?;
        let (from, to) = (self.from.slot(), self.to.slot());
        let follow = self.follow.as_graph();
        let found =
            traverse::shortest_path(view, from, to, follow, self.max_hops, &mut |edges| spent.ask(edges));
        let path = spent.finish(found)?;
        Ok(path.map(|path| Rows::of(Column::Paths(vec![path]))))
    }
}
