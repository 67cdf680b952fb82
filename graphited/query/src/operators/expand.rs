//! From nodes to their edges and neighbours, and to how many there are.

use std::ops::ControlFlow;

use graphite_graph::{EdgeSlot, Neighbour, NodeSlot, View};

use super::bind::Follow;
use super::source::count_value;
use super::{Context, Stage, pull};
use crate::error::{At, Located, Result};
use crate::plan::Expansion;
use crate::rows::{BATCH_ROWS, Column, Rows};

/// How many times as many rows as were asked for a batch may have, so that its last node is finished.
const OVERRUN: usize = 4;

/// All walks of one step from the nodes of the rows.
///
/// Small nodes go the fast way, many in one visit; the one that fills the batch is still finished. A hub, with which
/// the batch would grow past [`OVERRUN`] times its size, is walked along by a cursor of its own.
pub(super) struct Expand {
    follow: Follow,
    to: Expansion,
    from: Vec<NodeSlot>,
    /// Position in `from`.
    next: usize,
    /// The node at `next` is a hub, and this much of it is done.
    hub: Option<Option<Neighbour>>,
}

/// What one batch has found.
#[derive(Default)]
struct Found {
    nodes: Vec<NodeSlot>,
    edges: Vec<EdgeSlot>,
}

impl Found {
    fn len(&self) -> usize {
        self.nodes.len().max(self.edges.len())
    }

    #[inline]
    fn push(&mut self, to: Expansion, node: NodeSlot, edge: EdgeSlot) {
        if to != Expansion::Edges {
            self.nodes.push(node);
        }
        if to != Expansion::Nodes {
            self.edges.push(edge);
        }
    }

    fn truncate(&mut self, len: usize) {
        self.nodes.truncate(len);
        self.edges.truncate(len);
    }

    fn into_rows(self, to: Expansion) -> Rows {
        match to {
            Expansion::Nodes => Rows::of(Column::Nodes(self.nodes)),
            Expansion::Edges => Rows::of(Column::Edges(self.edges)),
            Expansion::Both => {
                let len = self.nodes.len();
                Rows { columns: vec![Column::Edges(self.edges), Column::Nodes(self.nodes)], current: 1, len }
            }
        }
    }
}

impl Expand {
    pub(super) fn new(follow: Follow, to: Expansion) -> Expand {
        Expand { follow, to, from: Vec::new(), next: 0, hub: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next == self.from.len()
    }

    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        at: At,
        want: usize,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        let want = want.clamp(1, BATCH_ROWS);
        loop {
            if self.is_empty() {
                let Some(rows) = pull(before, want, context)? else { return Ok(None) };
                self.from = nodes_of(rows);
                self.next = 0;
            }
            let found = match self.hub {
                Some(after) => self.along_hub(after, at, want, context)?,
                None => self.across_nodes(at, want, context)?,
            };
            if found.len() > 0 {
                return Ok(Some(found.into_rows(self.to)));
            }
        }
    }

    fn across_nodes<V: View>(&mut self, at: At, want: usize, context: &mut Context<'_, V>) -> Result<Found> {
        let mut found = Found::default();
        // The node that is being visited, and how much there was before it.
        let (mut current, mut before_it) = (0, 0);
        let mut is_hub = false;
        let (from, to, most) = (&self.from[self.next..], self.to, want * OVERRUN);
        let visit = |index, node, edge| {
            if index != current {
                (current, before_it) = (index, found.len());
                if found.len() >= want {
                    return ControlFlow::Break(());
                }
            }
            if found.len() == most {
                is_hub = true;
                return ControlFlow::Break(());
            }
            found.push(to, node, edge);
            ControlFlow::Continue(())
        };
        let flow = context.view.for_each_neighbour(from, self.follow.direction, self.follow.types(), visit);
        match flow.at(at)? {
            ControlFlow::Continue(()) => {
                context.step(from.len() + found.len())?;
                self.next = self.from.len();
            }
            ControlFlow::Break(()) => {
                context.step(current + found.len())?;
                self.next += current;
                if is_hub {
                    self.hub = Some(None);
                    found.truncate(before_it);
                }
            }
        }
        Ok(found)
    }

    fn along_hub<V: View>(
        &mut self,
        after: Option<Neighbour>,
        at: At,
        want: usize,
        context: &mut Context<'_, V>,
    ) -> Result<Found> {
        let (direction, types) = (self.follow.direction, self.follow.types());
        let batch = context.view.neighbours(self.from[self.next], direction, types, after, want).at(at)?;
        context.step(batch.len() + 1)?;
        let mut found = Found::default();
        batch.iter().for_each(|neighbour| found.push(self.to, neighbour.node, neighbour.edge));
        if batch.len() < want {
            self.hub = None;
            self.next += 1;
        } else {
            self.hub = Some(batch.last().copied());
        }
        Ok(found)
    }
}

/// The current nodes of rows that are not needed any more.
fn nodes_of(mut rows: Rows) -> Vec<NodeSlot> {
    match rows.columns.get_mut(rows.current) {
        Some(Column::Nodes(nodes)) => std::mem::take(nodes),
        _ => Vec::new(),
    }
}

/// How many rows an expansion would make.
pub(super) struct DegreeSum {
    follow: Follow,
    done: bool,
}

impl DegreeSum {
    pub(super) fn new(follow: Follow) -> DegreeSum {
        DegreeSum { follow, done: false }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.done
    }

    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        at: At,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        if self.done {
            return Ok(None);
        }
        let mut sum = 0u64;
        while let Some(rows) = pull(before, BATCH_ROWS, context)? {
            context.step(rows.len)?;
            for &slot in rows.nodes() {
                let degree = context.view.degree(slot, self.follow.direction, self.follow.types()).at(at)?;
                sum = sum.saturating_add(degree);
            }
        }
        self.done = true;
        Ok(Some(Rows::of(Column::Values(vec![count_value(sum)]))))
    }
}

/// Appends the degree of the current node.
pub(super) struct Degree {
    follow: Follow,
}

impl Degree {
    pub(super) fn new(follow: Follow) -> Degree {
        Degree { follow }
    }

    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        at: At,
        want: usize,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        let Some(mut rows) = pull(before, want, context)? else { return Ok(None) };
        context.step(rows.len)?;
        let mut degrees = Vec::with_capacity(rows.len);
        for &slot in rows.nodes() {
            let degree = context.view.degree(slot, self.follow.direction, self.follow.types()).at(at)?;
            degrees.push(count_value(degree));
        }
        rows.columns.push(Column::Values(degrees));
        Ok(Some(rows))
    }
}
