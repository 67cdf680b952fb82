//! A plan that is ready to run: checked and planned once, however often it is run.
//!
//! Invariants:
//! 1. What it holds depends on the plan alone. Labels, types and keys are names in it, and are looked up when a run
//!    begins: so it is never out of date, and what got its name meanwhile is found.
//! 2. There is at least one pipeline, and none is empty.

use crate::check::{ColumnKind, at, columns};
use crate::error::{At, Result};
use crate::intent::{Intents, intents};
use crate::plan::{EntityRef, Plan, Step};
use crate::planner::{Segment, plan_pipeline};

/// A plan that is ready to run.
#[derive(Debug)]
pub struct Prepared {
    plan: Plan,
    columns: Vec<(String, ColumnKind)>,
    first_write: Option<At>,
    pipelines: Vec<PreparedPipeline>,
}

/// One pipeline that is ready to run.
#[derive(Debug)]
pub(crate) struct PreparedPipeline {
    pub(crate) segments: Vec<Segment>,
    pub(crate) intents: Intents,
    /// How many of its rows the later pipelines refer to.
    pub(crate) needed: usize,
    /// Its first step.
    pub(crate) first: At,
    /// Its last step.
    pub(crate) last: At,
}

impl Prepared {
    /// Makes a plan ready.
    ///
    /// # Errors
    /// As [`Plan::check`].
    pub fn new(plan: Plan) -> Result<Prepared> {
        let columns = columns(&plan)?;
        let first_write = plan.first_write();
        let planned = (0..plan.pipelines.len()).map(|index| plan_pipeline(&plan, index));
        let planned: Vec<Vec<Segment>> = planned.collect::<Result<_>>()?;
        let intents = intents(&plan, &planned);
        let mut pipelines = Vec::with_capacity(planned.len());
        for ((segments, intents), needed) in planned.into_iter().zip(intents).zip(rows_needed(&plan)) {
            let index = pipelines.len();
            let steps = &plan.pipelines[index];
            let [first, last] = [0, steps.len() - 1].map(|number| at(index, number, &steps[number]));
            pipelines.push(PreparedPipeline { segments, intents, needed, first, last });
        }
        Ok(Prepared { plan, columns, first_write, pipelines })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The columns of its answer: names and kinds.
    pub fn columns(&self) -> &[(String, ColumnKind)] {
        &self.columns
    }

    /// Whether it can change the graph.
    pub fn is_write(&self) -> bool {
        self.first_write.is_some()
    }

    /// The first step that changes the graph.
    pub(crate) fn first_write(&self) -> Option<At> {
        self.first_write
    }

    pub(crate) fn pipelines(&self) -> &[PreparedPipeline] {
        &self.pipelines
    }

    /// The step at a place that the plan itself told.
    pub(crate) fn step(&self, at: At) -> Option<&Step> {
        self.plan.pipelines.get(at.pipeline)?.get(at.step)
    }
}

/// How many rows of each pipeline the later ones refer to.
fn rows_needed(plan: &Plan) -> Vec<usize> {
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
