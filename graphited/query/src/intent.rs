//! Which reads of a plan find what it will change: decided from the plan alone, before it runs.
//!
//! Two statements that look for the same thing to change it queue up if both say so when they look; else each would hold
//! what the other waits for, and one of them would be run again.
//!
//! What is found by a pipeline is changed if the step after its reads changes the current entity, if an edge is made from
//! or to a row of it, or if a later pipeline starts from a row of it to change that.

use crate::plan::{EntityRef, Plan, Step};
use crate::planner::{Operator, Planned, Segment};

/// What the reads of one pipeline are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intents {
    /// For each segment the operator from which on it reads what will be changed.
    pub(crate) updates_from: Vec<Option<usize>>,
    /// Whether rows of it are changed by later pipelines.
    pub(crate) finds: bool,
}

/// The intents of all pipelines of a plan, which has these segments.
pub(crate) fn intents(plan: &Plan, segments: &[Vec<Segment>]) -> Vec<Intents> {
    let mut found = vec![false; segments.len()];
    let mut all: Vec<Intents> = Vec::with_capacity(segments.len());
    // Rows are referred to by later pipelines only.
    for (index, of_pipeline) in segments.iter().enumerate().rev() {
        let finds = found[index];
        let updates_from = updates_from(plan, of_pipeline, finds);
        let changes_source = updates_from.first() == Some(&Some(0));
        let mut find = |entity: &EntityRef| {
            if let EntityRef::Row { pipeline, .. } = entity
                && let Some(found) = usize::try_from(*pipeline).ok().and_then(|index| found.get_mut(index))
            {
                *found = true;
            }
        };
        match plan.pipelines.get(index).and_then(|steps| steps.first()) {
            Some(Step::CreateEdges { rows }) => {
                rows.iter().flat_map(|edge| [&edge.start, &edge.end]).for_each(&mut find);
            }
            Some(Step::Node { ids, .. } | Step::Edge { ids, .. }) if changes_source => {
                ids.iter().for_each(&mut find);
            }
            _ => {}
        }
        all.push(Intents { updates_from, finds });
    }
    all.reverse();
    all
}

fn updates_from(plan: &Plan, segments: &[Segment], finds: bool) -> Vec<Option<usize>> {
    let of_segment = |(index, segment): (usize, &Segment)| {
        let Segment::Read(operators) = segment else { return None };
        let changes = match segments.get(index + 1) {
            Some(Segment::Write(at)) => plan
                .pipelines
                .get(at.pipeline)
                .and_then(|steps| steps.get(at.step))
                .is_some_and(changes_current),
            _ => false,
        };
        match (finds, changes) {
            (true, _) => Some(0),
            (false, true) => Some(origin(operators)),
            (false, false) => None,
        }
    };
    segments.iter().enumerate().map(of_segment).collect()
}

fn changes_current(step: &Step) -> bool {
    matches!(
        step,
        Step::Set { .. }
            | Step::Replace { .. }
            | Step::AddLabels { .. }
            | Step::RemoveLabels { .. }
            | Step::Delete { .. }
    )
}

/// The first operator that reads the entity that is current at the end: its source, or what is asked of it after a hop. The
/// hop itself reads where it comes from.
fn origin(operators: &[Planned]) -> usize {
    let is_hop = |planned: &Planned| {
        matches!(planned.operator, Operator::Expand { .. } | Operator::KHop { .. } | Operator::Input)
    };
    operators.iter().rposition(is_hop).map_or(0, |hop| hop + 1)
}

#[cfg(test)]
mod tests {
    use graphite_graph::Direction;

    use super::*;
    use crate::plan::{Comparison, Expansion, NewEdge, Operand};
    use crate::planner::plan_pipeline;

    fn intents_of(plan: &Plan) -> Vec<(Vec<Option<usize>>, bool)> {
        let segments: Vec<Vec<Segment>> =
            (0..plan.pipelines.len()).map(|index| plan_pipeline(plan, index).unwrap()).collect();
        intents(plan, &segments).into_iter().map(|intents| (intents.updates_from, intents.finds)).collect()
    }

    fn node(entity: EntityRef) -> Step {
        Step::Node { ids: vec![entity], required: true }
    }

    fn first_of(pipeline: u32) -> EntityRef {
        EntityRef::Row { pipeline, row: 0 }
    }

    fn filter() -> Step {
        Step::Filter { key: "k".into(), comparison: Comparison::Eq, value: Some(Operand::from(1)) }
    }

    fn expand() -> Step {
        Step::Expand { direction: Direction::Out, types: Vec::new(), to: Expansion::Nodes }
    }

    fn set() -> Step {
        Step::Set { properties: vec![("k".into(), Operand::from(1))] }
    }

    #[test]
    fn what_is_set_is_looked_for_to_be_changed_and_the_way_there_is_not() {
        let plan = Plan::of([Step::Nodes { label: None }, filter(), set()]);
        assert_eq!(intents_of(&plan), [(vec![Some(0), None], false)]);
        let plan =
            Plan::of([node(EntityRef::Id(1)), filter(), expand(), filter(), Step::Delete { detach: true }]);
        assert_eq!(intents_of(&plan), [(vec![Some(3), None], false)]);
        let plan = Plan::of([node(EntityRef::Id(1)), set(), expand(), filter(), set()]);
        assert_eq!(intents_of(&plan), [(vec![Some(0), None, Some(2), None], false)]);
    }

    #[test]
    fn what_is_only_read_is_not() {
        let plan = Plan::of([Step::Nodes { label: None }, filter(), expand()]);
        assert_eq!(intents_of(&plan), [(vec![None], false)]);
        let plan = Plan::of([node(EntityRef::Id(1)), set(), expand()]);
        assert_eq!(intents_of(&plan), [(vec![Some(0), None, None], false)]);
    }

    #[test]
    fn the_ends_of_an_edge_are_and_what_a_later_pipeline_changes() {
        let edge =
            NewEdge { edge_type: "T".into(), start: first_of(0), end: first_of(1), properties: Vec::new() };
        let plan = Plan::of([Step::Nodes { label: Some("A".into()) }, filter()])
            .then([node(first_of(0))])
            .then([node(EntityRef::Id(3))])
            .then([Step::CreateEdges { rows: vec![edge] }]);
        let expected =
            [(vec![Some(0)], true), (vec![Some(0)], true), (vec![None], false), (vec![None], false)];
        assert_eq!(intents_of(&plan), expected);
        let plan = Plan::of([node(EntityRef::Id(1))]).then([node(first_of(0)), set()]);
        assert_eq!(intents_of(&plan), [(vec![Some(0)], true), (vec![Some(0), None], false)]);
        let plan = Plan::of([node(EntityRef::Id(1))]).then([node(first_of(0)), expand(), set()]);
        assert_eq!(intents_of(&plan), [(vec![None], false), (vec![Some(2), None], false)]);
    }
}
