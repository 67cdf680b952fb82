//! Reading: a plan that is being run, batch by batch.
//!
//! Invariants:
//! 1. A cursor owns its state and holds neither page nor view: it can rest between two batches as long as it likes.
//!    It has to be given the same snapshot, or the same transaction, each time.
//! 2. After an error, and after the end, it is at its end.
//! 3. Rows come in the same order, whatever sizes of batches they are asked for in.

use std::sync::Arc;

use graphite_graph::View;

use crate::budget::{Budget, Meter};
use crate::cell::Batch;
use crate::check::at;
use crate::error::{At, Error, Located, Result};
use crate::operators::{Context, Made, Stage, bind, is_at_end, pull};
use crate::plan::{EntityRef, Params, Plan, Step};
use crate::planner::{Segment, plan_pipeline};
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
    plan: Arc<Plan>,
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
    /// As [`Plan::check`], and [`Error::NotARead`] for a plan that changes the graph.
    pub fn open(plan: Arc<Plan>, params: Arc<Params>) -> Result<Cursor> {
        plan.check()?;
        if let Some(at) = plan.first_write() {
            return Err(Error::NotARead { at });
        }
        Ok(Cursor { plan, params, state: State::NotBegun, meter: Meter::default(), pending: None })
    }

    /// Fills `batch`, which is cleared first, with the next rows: `max_rows` at most, and at least one unless it
    /// is at its end.
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
        let at = last_step(&self.plan);
        while batch.len() < max_rows {
            let (mut rows, mut shown) = match self.pending.take() {
                Some(pending) => pending,
                None => match pull(stages, (max_rows - batch.len()).min(BATCH_ROWS), &mut context)? {
                    Some(rows) => (rows, 0),
                    None => return Ok(Progress::Done),
                },
            };
            while shown < rows.len && batch.len() < max_rows {
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

/// Where rows are shown.
pub(crate) fn last_step(plan: &Plan) -> At {
    let last = plan.pipelines.last().and_then(|pipeline| pipeline.split_last());
    last.map_or(At { pipeline: 0, step: 0, op: "" }, |(step, before)| {
        at(plan.pipelines.len() - 1, before.len(), step)
    })
}

/// Runs all pipelines but the last, as far as the last needs them, and binds the last.
fn begin<V: View>(plan: &Plan, context: &mut Context<'_, V>) -> Result<Vec<Stage>> {
    let last = plan.pipelines.len() - 1;
    let mut made = Vec::new();
    if last > 0 {
        let needed = rows_needed(plan);
        for (index, needed) in needed.into_iter().enumerate().take(last) {
            let next = run_earlier(plan, index, needed, &mut context.with_made(&made))?;
            made.push(next);
        }
    }
    let segments = plan_pipeline(plan, last)?;
    let Some(Segment::Read(operators)) = segments.first() else { return Ok(Vec::new()) };
    bind(operators, Vec::new(), &context.with_made(&made))
}

/// How many rows of each pipeline the later ones refer to.
pub(crate) fn rows_needed(plan: &Plan) -> Vec<usize> {
    let mut needed = vec![0; plan.pipelines.len()];
    let mut refer = |entity: &EntityRef| {
        if let EntityRef::Row { pipeline, row } = entity
            && let Some(needed) = usize::try_from(*pipeline).ok().and_then(|index| needed.get_mut(index))
        {
            let row = usize::try_from(*row).unwrap_or(usize::MAX);
            *needed = row.saturating_add(1).max(*needed);
        }
    };
    for source in plan.pipelines.iter().filter_map(|pipeline| pipeline.first()) {
        match source {
            Step::Node { ids, .. } | Step::Edge { ids, .. } => ids.iter().for_each(&mut refer),
            Step::CreateEdges { rows } => {
                rows.iter().flat_map(|edge| [&edge.start, &edge.end]).for_each(&mut refer);
            }
            Step::ShortestPath { from, to, .. } => [from, to].into_iter().for_each(&mut refer),
            _ => {}
        }
    }
    needed
}

/// Runs a pipeline that is not the last: all of it if something in it may be required to exist, else only until
/// there are as many rows as are referred to.
fn run_earlier<V: View>(
    plan: &Plan,
    index: usize,
    needed: usize,
    context: &mut Context<'_, V>,
) -> Result<Made> {
    let source = plan.pipelines[index].first();
    let may_fail = matches!(
        source,
        Some(
            Step::Node { required: true, .. } | Step::Edge { required: true, .. } | Step::ShortestPath { .. }
        )
    );
    let segments = plan_pipeline(plan, index)?;
    let Some(Segment::Read(operators)) = segments.first() else { return Ok(Made::Nothing) };
    let mut stages = bind(operators, Vec::new(), context)?;
    let mut made = Made::Nothing;
    while may_fail || made.len() < needed {
        let want = if may_fail { BATCH_ROWS } else { needed - made.len() };
        let Some(rows) = pull(&mut stages, want.min(BATCH_ROWS), context)? else { break };
        let at = at(index, 0, &plan.pipelines[index][0]);
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
