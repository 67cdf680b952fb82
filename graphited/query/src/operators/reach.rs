//! What can be reached: neighbourhoods by distance, ends of walks, and how much a search may take.

use std::ops::ControlFlow;

use graphite_graph::traverse::{self, CHUNK_NODES};
use graphite_graph::{Error as GraphError, NodeSlot, View};

use super::bind::Follow;
use super::seen::Seen;
use super::source::count_value;
use super::{Context, Stage, pull};
use crate::budget::{Budget, Meter};
use crate::error::{At, Error, Located, Result};
use crate::rows::{BATCH_ROWS, Column, Rows};

/// What a search of the graph keeps, at most, for each edge that it looked at, and for each node slot, in bytes.
const SEARCH_BYTES_PER_EDGE: u64 = 48;

/// Answers a search that asks whether it may go on, and remembers why it may not.
pub(super) struct Spent<'c> {
    at: At,
    budget: &'c Budget,
    meter: &'c mut Meter,
    slots_end: u64,
    edges: u64,
    refused: Option<Error>,
}

impl<'c> Spent<'c> {
    pub(super) fn new<V: View>(at: At, context: &'c mut Context<'_, V>) -> Result<Spent<'c>> {
        let slots_end = context.view.node_slots_end().at(at)?;
        Ok(Spent { at, budget: context.budget, meter: context.meter, slots_end, edges: 0, refused: None })
    }

    /// Whether the search may go on after so many edges more.
    pub(super) fn ask(&mut self, edges: u64) -> bool {
        self.edges = self.edges.saturating_add(edges);
        // It keeps no more than one entry for each edge, nor for each node.
        let bytes = self.edges.min(self.slots_end).saturating_mul(SEARCH_BYTES_PER_EDGE);
        let asked = self
            .meter
            .step(self.budget, edges + CHUNK_NODES as u64)
            .and_then(|()| self.meter.fits(self.budget, self.at, bytes));
        self.refused = asked.err();
        self.refused.is_none()
    }

    /// The outcome, with the reason if it was refused to go on.
    pub(super) fn finish<T>(self, outcome: graphite_graph::Result<T>) -> Result<T> {
        match (outcome, self.refused) {
            (Err(GraphError::Interrupted), Some(error)) => Err(error),
            (outcome, _) => outcome.at(self.at),
        }
    }
}

/// The distinct nodes of all rows before, in the order in which they came first.
fn distinct_nodes<V: View>(
    before: &mut [Stage],
    at: At,
    context: &mut Context<'_, V>,
) -> Result<(Vec<NodeSlot>, Seen)> {
    let slots_end = context.view.node_slots_end().at(at)?;
    let (mut nodes, mut seen) = (Vec::new(), Seen::default());
    let mut kept = 0;
    while let Some(rows) = pull(before, BATCH_ROWS, context)? {
        context.step(rows.len)?;
        nodes.extend(rows.nodes().iter().filter(|slot| seen.insert(slot.0, slots_end)));
        let bytes = nodes.len() as u64 * 8 + seen.bytes();
        context.keep(at, bytes.saturating_sub(kept))?;
        kept = bytes.max(kept);
    }
    context.meter.release(kept);
    Ok((nodes, seen))
}

/// The nodes within some distances, nearest first; those of one distance in the order of their slots.
pub(super) struct KHop {
    follow: Follow,
    min: u32,
    max: u32,
    state: State,
}

enum State {
    NotBegun,
    Going {
        seen: Seen,
        /// The nodes at distance `hop`.
        level: Vec<NodeSlot>,
        hop: u32,
        /// How many of the level were passed on.
        passed: usize,
        kept_bytes: u64,
    },
    AtEnd,
}

impl KHop {
    pub(super) fn new(follow: Follow, min: u32, max: u32) -> KHop {
        KHop { follow, min, max, state: State::NotBegun }
    }

    pub(super) fn is_at_end(&self) -> bool {
        matches!(self.state, State::AtEnd)
    }

    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        at: At,
        want: usize,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        if let State::NotBegun = self.state {
            let (mut level, seen) = distinct_nodes(before, at, context)?;
            level.sort_unstable();
            self.state = State::Going { seen, level, hop: 0, passed: 0, kept_bytes: 0 };
        }
        loop {
            let State::Going { seen, level, hop, passed, kept_bytes } = &mut self.state else {
                return Ok(None);
            };
            if *hop >= self.min && *passed < level.len() {
                let end = level.len().min(*passed + want.clamp(1, BATCH_ROWS));
                let rows = Rows::of(Column::Nodes(level[*passed..end].to_vec()));
                *passed = end;
                if end == level.len() && *hop == self.max {
                    context.meter.release(*kept_bytes);
                    self.state = State::AtEnd;
                }
                return Ok(Some(rows));
            }
            if *hop == self.max || level.is_empty() {
                context.meter.release(*kept_bytes);
                self.state = State::AtEnd;
                return Ok(None);
            }
            *level = next_level(&self.follow, level, seen, kept_bytes, at, context)?;
            *hop += 1;
            *passed = 0;
        }
    }
}

fn next_level<V: View>(
    follow: &Follow,
    level: &[NodeSlot],
    seen: &mut Seen,
    kept_bytes: &mut u64,
    at: At,
    context: &mut Context<'_, V>,
) -> Result<Vec<NodeSlot>> {
    let slots_end = context.view.node_slots_end().at(at)?;
    let mut next = Vec::new();
    for chunk in level.chunks(CHUNK_NODES) {
        let mut edges = 0;
        let visit = |_, node: NodeSlot, _| {
            edges += 1;
            if seen.insert(node.0, slots_end) {
                next.push(node);
            }
            ControlFlow::Continue(())
        };
        let _ = context.view.for_each_neighbour(chunk, follow.direction, follow.types(), visit).at(at)?;
        context.step(chunk.len() + edges)?;
        let bytes = (next.len() + level.len()) as u64 * 8 + seen.bytes();
        context.keep(at, bytes.saturating_sub(*kept_bytes))?;
        *kept_bytes = bytes.max(*kept_bytes);
    }
    next.sort_unstable();
    Ok(next)
}

/// How many nodes are within some distances, or at the ends of walks.
pub(super) struct ReachCount {
    what: Reach,
    done: bool,
}

enum Reach {
    KHop { follow: Follow, min: u32, max: u32 },
    Walks { hops: Vec<Follow> },
}

impl ReachCount {
    pub(super) fn khop(follow: Follow, min: u32, max: u32) -> ReachCount {
        ReachCount { what: Reach::KHop { follow, min, max }, done: false }
    }

    pub(super) fn walks(hops: Vec<Follow>) -> ReachCount {
        ReachCount { what: Reach::Walks { hops }, done: false }
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
        let (starts, _) = distinct_nodes(before, at, context)?;
        let view = context.view;
        let mut spent = Spent::new(at, context)?;
        let mut ask = |edges| spent.ask(edges);
        let counted = match &self.what {
            Reach::KHop { follow, min, max } => {
                traverse::khop_count(view, &starts, follow.as_graph(), *min, *max, &mut ask)
            }
            Reach::Walks { hops } => count_walk_ends(view, starts, hops, &mut ask),
        };
        let count = spent.finish(counted)?;
        self.done = true;
        Ok(Some(Rows::of(Column::Values(vec![count_value(count)]))))
    }
}

/// Hops that go the same way are walked in one go.
fn count_walk_ends<V: View>(
    view: &V,
    mut starts: Vec<NodeSlot>,
    hops: &[Follow],
    ask: &mut dyn FnMut(u64) -> bool,
) -> graphite_graph::Result<u64> {
    let mut runs = hops.chunk_by(Follow::is_same).peekable();
    while let Some(run) = runs.next() {
        let (follow, steps) = (run[0].as_graph(), u32::try_from(run.len()).unwrap_or(u32::MAX));
        if runs.peek().is_none() {
            return traverse::walk_end_count(view, &starts, follow, steps, ask);
        }
        starts = traverse::walk_ends(view, &starts, follow, steps, ask)?;
    }
    Ok(starts.len() as u64)
}
