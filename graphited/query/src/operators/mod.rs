//! The operators: each takes batches of rows from the one before it and makes new ones.
//!
//! Pulled from the end: whoever wants rows asks the last [`Stage`], which asks the one before it.
//!
//! Invariants:
//! 1. A stage owns its state and holds neither page nor view, so that it can rest between two calls.
//! 2. Rows that are passed on are never empty; after the end comes the end again.
//! 3. What a stage keeps is counted in the statement's meter, and every loop counts its steps there.

mod bind;
mod collect;
mod expand;
mod order;
mod reach;
mod seen;
mod source;
mod transform;

use graphite_graph::catalog::Catalog;
use graphite_graph::{EdgeId, NodeId, ReadIntent, View};

use crate::budget::{Budget, Meter};
use crate::cell::{Batch, Cell};
use crate::error::{At, Result};
use crate::params::Params;
use crate::rows::Rows;

pub(crate) use bind::{bind, bind_properties, entity_id};

/// What a statement runs with, besides its own state.
pub(crate) struct Context<'a, V> {
    pub(crate) view: &'a V,
    pub(crate) catalog: &'a Catalog,
    pub(crate) params: &'a Params,
    pub(crate) budget: &'a Budget,
    pub(crate) meter: &'a mut Meter,
    /// What earlier pipelines made, as far as it is referred to.
    pub(crate) made: &'a [Made],
}

impl<V> Context<'_, V> {
    /// Counts rows and edges looked at.
    #[inline]
    pub(crate) fn step(&mut self, steps: usize) -> Result<()> {
        self.meter.step(self.budget, steps as u64)
    }

    /// The same, with what other pipelines made.
    pub(crate) fn with_made<'b>(&'b mut self, made: &'b [Made]) -> Context<'b, V> {
        Context {
            view: self.view,
            catalog: self.catalog,
            params: self.params,
            budget: self.budget,
            meter: &mut *self.meter,
            made,
        }
    }

    /// Counts bytes that stay in memory.
    pub(crate) fn keep(&mut self, at: At, bytes: u64) -> Result<()> {
        self.meter.keep(self.budget, at, bytes)
    }
}

/// The first columns of rows that a pipeline made.
#[derive(Clone, Debug)]
pub(crate) enum Made {
    /// Nothing that is referred to.
    Nothing,
    Nodes(Vec<NodeId>),
    Edges(Vec<EdgeId>),
}

impl Made {
    /// How many rows there are, and the id in one of them.
    fn id(&self, row: u32) -> (usize, Option<u64>) {
        let row = usize::try_from(row).unwrap_or(usize::MAX);
        match self {
            Made::Nothing => (0, None),
            Made::Nodes(ids) => (ids.len(), ids.get(row).map(|id| id.0)),
            Made::Edges(ids) => (ids.len(), ids.get(row).map(|id| id.0)),
        }
    }
}

/// An operator with its state.
pub(crate) struct Stage {
    at: At,
    /// What it reads for.
    intent: ReadIntent,
    work: Work,
}

enum Work {
    Input(std::vec::IntoIter<Rows>),
    Point(source::Point),
    NodeIds(source::NodeIds),
    EdgeIds(source::EdgeIds),
    ScanNodes(source::ScanNodes),
    ScanEdges(source::ScanEdges),
    Counter(source::Counter),
    ShortestPath(Box<source::ShortestPath>),
    Filter(transform::Filter),
    HasLabel(transform::HasLabel),
    Expand(Box<expand::Expand>),
    KHop(Box<reach::KHop>),
    ReachCount(reach::ReachCount),
    DegreeSum(expand::DegreeSum),
    Degree(expand::Degree),
    Properties(transform::Properties),
    Ids,
    Distinct(collect::Distinct),
    Count(collect::Count),
    Order(order::Order),
    Limit(transform::Limit),
    Skip(transform::Skip),
}

/// The next rows of the last stage: about `want` of them, which is [`crate::rows::BATCH_ROWS`] at most. An expansion
/// may make a few times as many.
pub(crate) fn pull<V: View>(
    stages: &mut [Stage],
    want: usize,
    context: &mut Context<'_, V>,
) -> Result<Option<Rows>> {
    let Some((stage, before)) = stages.split_last_mut() else { return Ok(None) };
    let at = stage.at;
    let asked_for = context.view.intend(stage.intent);
    let rows = match &mut stage.work {
        Work::Input(rows) => Ok(rows.next()),
        Work::Point(point) => point.next(at, context),
        Work::NodeIds(ids) => ids.next(at, want, context),
        Work::EdgeIds(ids) => ids.next(at, want, context),
        Work::ScanNodes(scan) => scan.next(at, want, context),
        Work::ScanEdges(scan) => scan.next(at, want, context),
        Work::Counter(counter) => counter.next(at, context),
        Work::ShortestPath(search) => search.next(at, context),
        Work::Filter(filter) => filter.next(before, at, context),
        Work::HasLabel(filter) => filter.next(before, at, context),
        Work::Expand(expand) => expand.next(before, at, want, context),
        Work::KHop(khop) => khop.next(before, at, want, context),
        Work::ReachCount(count) => count.next(before, at, context),
        Work::DegreeSum(sum) => sum.next(before, at, context),
        Work::Degree(degree) => degree.next(before, at, want, context),
        Work::Properties(properties) => properties.next(before, at, want, context),
        Work::Ids => transform::ids(before, at, want, context),
        Work::Distinct(distinct) => distinct.next(before, at, context),
        Work::Count(count) => count.next(before, context),
        Work::Order(order) => order.next(before, at, want, context),
        Work::Limit(limit) => limit.next(before, want, context),
        Work::Skip(skip) => skip.next(before, context),
    };
    context.view.intend(asked_for);
    rows
}

/// Shows the one row of stages that read one node as a whole, without rows in between; `None` if they are others.
pub(crate) fn show_point<V: View>(
    stages: &mut [Stage],
    context: &mut Context<'_, V>,
    batch: &mut Batch,
) -> Option<Result<()>> {
    let [Stage { at, work: Work::Point(point), .. }] = stages else { return None };
    if !point.is_whole() {
        return None;
    }
    let node = match context.step(1).and_then(|()| point.node(*at, context.view)) {
        Ok(node) => node,
        Err(error) => return Some(Err(error)),
    };
    if let Some(node) = node {
        batch.push(Cell::Node(node));
        batch.end_row(1);
    }
    Some(Ok(()))
}

/// Whether there is nothing to come, as far as can be told without a look into the graph.
pub(crate) fn is_at_end(stages: &[Stage]) -> bool {
    let Some((stage, before)) = stages.split_last() else { return true };
    match &stage.work {
        Work::Input(rows) => rows.len() == 0,
        Work::Point(point) => point.is_at_end(),
        Work::NodeIds(ids) => ids.is_at_end(),
        Work::EdgeIds(ids) => ids.is_at_end(),
        Work::ScanNodes(scan) => scan.is_at_end(),
        Work::ScanEdges(scan) => scan.is_at_end(),
        Work::Counter(counter) => counter.is_at_end(),
        Work::ShortestPath(search) => search.is_at_end(),
        Work::Expand(expand) => expand.is_empty() && is_at_end(before),
        Work::Properties(properties) => properties.is_empty() && is_at_end(before),
        Work::Limit(limit) => limit.is_at_end() || is_at_end(before),
        Work::ReachCount(count) => count.is_at_end(),
        Work::DegreeSum(sum) => sum.is_at_end(),
        Work::Count(count) => count.is_at_end(),
        Work::Order(order) => order.is_at_end(),
        Work::KHop(khop) => khop.is_at_end(),
        Work::Filter(_)
        | Work::HasLabel(_)
        | Work::Degree(_)
        | Work::Ids
        | Work::Distinct(_)
        | Work::Skip(_) => is_at_end(before),
    }
}
