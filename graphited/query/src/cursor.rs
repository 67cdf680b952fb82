//! Reading: a plan that is being run, batch by batch.
//!
//! Invariants:
//! 1. A cursor owns its state and holds neither page nor view: it can rest between two batches as long as it likes.
//!    It has to be given the same snapshot, or the same transaction, each time.
//! 2. After an error, and after the end, it is at its end.
//! 3. A batch takes little memory, however long the values: one row past a limit ends it.
//! 4. Rows come in the same order, whatever sizes of batches they are asked for in.

use std::sync::Arc;

use graphite_graph::View;

use crate::budget::{Budget, Meter};
use crate::cell::Batch;
use crate::error::{At, Error, Located, Result};
use crate::operators::{Context, Made, Stage, bind, is_at_end, pull, show_point};
use crate::params::Params;
use crate::plan::Step;
use crate::planner::Segment;
use crate::prepared::{Prepared, PreparedPipeline};
use crate::rows::{BATCH_ROWS, Column, Rows};

/// Whether a cursor has more to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It may have; the next batch may yet be empty.
    More,
    /// It has not.
    Done,
}

/// A plan that is being read.
pub struct Cursor {
    plan: Arc<Prepared>,
    params: Arc<Params>,
    state: State,
    meter: Meter,
    /// Rows that did not fit into the last batch, and how many of them did.
    pending: Option<(Rows, usize)>,
}

enum State {
    NotBegun,
    Running(Vec<Stage>),
    AtEnd,
}

impl Cursor {
    /// Begins to read. Nothing is looked at before the first batch.
    ///
    /// # Errors
    /// [`Error::NotARead`] for a plan that changes the graph.
    pub fn open(plan: Arc<Prepared>, params: Arc<Params>) -> Result<Cursor> {
        if let Some(at) = plan.first_write() {
            return Err(Error::NotARead { at });
        }
        Ok(Cursor { plan, params, state: State::NotBegun, meter: Meter::default(), pending: None })
    }

    /// About how many bytes it keeps in memory while it rests, with its parameters, and without its plan.
    pub fn memory_bytes(&self) -> u64 {
        let pending = self.pending.as_ref().map_or(0, |(rows, _)| rows.bytes());
        self.meter.memory_bytes() + pending + self.params.bytes()
    }

    /// Fills `batch`, which is cleared first, with the next rows: `max_rows` at most, fewer if they are long, and at
    /// least one unless it is at its end.
    ///
    /// # Errors
    /// Of the graph; what is wrong with parameters; [`Error::Cancelled`], [`Error::MemoryLimit`],
    /// [`Error::StepLimit`].
    pub fn next_batch(
        &mut self,
        view: &impl View,
        max_rows: usize,
        batch: &mut Batch,
        budget: &Budget,
    ) -> Result<Progress> {
        batch.clear();
        let progress = self.fill(view, max_rows.max(1), batch, budget);
        if !matches!(progress, Ok(Progress::More)) {
            self.state = State::AtEnd;
            self.pending = None;
        }
        progress
    }

    fn fill(
        &mut self,
        view: &impl View,
        max_rows: usize,
        batch: &mut Batch,
        budget: &Budget,
    ) -> Result<Progress> {
        self.meter.begin_call(budget)?;
        let catalog = view.catalog();
        let (params, meter) = (self.params.as_ref(), &mut self.meter);
        let mut context = Context { view, catalog: &catalog, params, budget, meter, made: &[] };
        if let State::NotBegun = self.state {
            self.state = State::Running(begin(&self.plan, &mut context)?);
        }
        let State::Running(stages) = &mut self.state else { return Ok(Progress::Done) };
        let Some(at) = self.plan.pipelines().last().map(|pipeline| pipeline.last) else {
            return Ok(Progress::Done);
        };
        if let Some(shown) = show_point(stages, &mut context, batch) {
            return shown.map(|()| Progress::Done);
        }
        let bytes_max = budget.shown_bytes_max();
        while batch.len() < max_rows && batch.bytes() < bytes_max {
            let (mut rows, mut shown) = match self.pending.take() {
                Some(pending) => pending,
                None => match pull(stages, (max_rows - batch.len()).min(BATCH_ROWS), &mut context)? {
                    Some(rows) => (rows, 0),
                    None => return Ok(Progress::Done),
                },
            };
            while shown < rows.len && batch.len() < max_rows && batch.bytes() < bytes_max {
                context.step(1)?;
                rows.show(shown, view, batch).at(at)?;
                shown += 1;
            }
            if shown < rows.len {
                self.pending = Some((rows, shown));
            }
        }
        let at_end = self.pending.is_none() && is_at_end(stages);
        Ok(if at_end { Progress::Done } else { Progress::More })
    }
}

/// Runs all pipelines but the last, as far as the last needs them, and binds the last.
fn begin<V: View>(plan: &Prepared, context: &mut Context<'_, V>) -> Result<Vec<Stage>> {
    let Some((last, earlier)) = plan.pipelines().split_last() else { return Ok(Vec::new()) };
    let mut made = Vec::new();
    for pipeline in earlier {
        let next = run_earlier(plan, pipeline, &mut context.with_made(&made))?;
        made.push(next);
    }
    let Some(Segment::Read(operators)) = last.segments.first() else { return Ok(Vec::new()) };
    bind(operators, None, Vec::new(), &context.with_made(&made))
}

/// Runs a pipeline that is not the last: all of it if something in it may be required to exist, else only until
/// there are as many rows as are referred to.
fn run_earlier<V: View>(
    plan: &Prepared,
    pipeline: &PreparedPipeline,
    context: &mut Context<'_, V>,
) -> Result<Made> {
    let (at, needed) = (pipeline.first, pipeline.needed);
    let may_fail = matches!(
        plan.step(at),
        Some(
            Step::Node { required: true, .. } | Step::Edge { required: true, .. } | Step::ShortestPath { .. }
        )
    );
    let Some(Segment::Read(operators)) = pipeline.segments.first() else { return Ok(Made::Nothing) };
    let mut stages = bind(operators, None, Vec::new(), context)?;
    let mut made = Made::Nothing;
    while may_fail || made.len() < needed {
        let want = if may_fail { BATCH_ROWS } else { needed - made.len() };
        let Some(rows) = pull(&mut stages, want.min(BATCH_ROWS), context)? else { break };
        let kept = made.len();
        made.add(&rows, needed, at, context.view)?;
        context.keep(at, (made.len() - kept) as u64 * 8)?;
    }
    Ok(made)
}

impl Made {
    pub(crate) fn len(&self) -> usize {
        match self {
            Made::Nothing => 0,
            Made::Nodes(ids) => ids.len(),
            Made::Edges(ids) => ids.len(),
        }
    }

    /// Adds the first column of some rows until there are `needed`.
    pub(crate) fn add<V: View>(&mut self, rows: &Rows, needed: usize, at: At, view: &V) -> Result<()> {
        let more = needed.saturating_sub(self.len());
        match rows.columns.first() {
            Some(Column::Nodes(slots)) => {
                if let Made::Nothing = self {
                    *self = Made::Nodes(Vec::new());
                }
                let Made::Nodes(ids) = self else { return Ok(()) };
                for &slot in slots.iter().take(more) {
                    ids.extend(view.node_by_slot(slot).at(at)?);
                }
            }
            Some(Column::Edges(slots)) => {
                if let Made::Nothing = self {
                    *self = Made::Edges(Vec::new());
                }
                let Made::Edges(ids) = self else { return Ok(()) };
                for &slot in slots.iter().take(more) {
                    ids.extend(view.edge_by_slot(slot).at(at)?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
