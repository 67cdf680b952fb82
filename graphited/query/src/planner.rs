//! The planner: which operators answer a pipeline. It decides and does nothing else; names stay names here.
//!
//! Beside one operator for each step it knows these shapes:
//!
//! | shape | becomes |
//! |---|---|
//! | `nodes`, `count` (no label); the same of edges | a look at the counter |
//! | `expand`, `count` | the sum of degrees, no edge looked at |
//! | `khop`, `count` | a count of bits |
//! | `expand`s to nodes, `distinct`, `count` | ends of walks, level by level, a count of bits |
//! | what keeps the number of rows (`order`, `properties`, `ids`, `degree`), `count` | the `count` alone |
//! | `order`, perhaps `skip`, `limit` | an order that keeps only so many rows |
//! | `expand`s with filters between, then `distinct` or `khop` | `distinct` before each `expand` but the first |
//! | one `node` by id, alone or with `properties` or a sum of degrees, as the answer | one read |

use graphite_graph::Direction;

use crate::check::{Shape, at};
use crate::error::{At, Error, Result};
use crate::plan::{Comparison, EntityRef, Expansion, Operand, OrderBy, Plan, Step};

/// Which edges, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FollowNames {
    pub(crate) direction: Direction,
    /// None means all.
    pub(crate) types: Vec<String>,
}

/// What to order by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrderKey {
    Column(usize),
    Property(String),
}

/// What is wanted of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PointOutput {
    Whole,
    Properties(Vec<String>),
    /// How many edges it has; 0 if there is no such node.
    DegreeSum(FollowNames),
}

/// One operator. It takes the rows of the one before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operator {
    /// The rows that the write before this segment passed on.
    Input,
    Point {
        id: EntityRef,
        required: bool,
        output: PointOutput,
    },
    NodeIds {
        ids: Vec<EntityRef>,
        required: bool,
    },
    EdgeIds {
        ids: Vec<EntityRef>,
        required: bool,
    },
    ScanNodes {
        label: Option<String>,
    },
    ScanEdges {
        edge_type: Option<String>,
    },
    NodeCount,
    EdgeCount,
    ShortestPath {
        from: EntityRef,
        to: EntityRef,
        follow: FollowNames,
        max_hops: Option<u32>,
    },
    Filter {
        key: String,
        comparison: Comparison,
        value: Option<Operand>,
    },
    HasLabel {
        label: String,
    },
    Expand {
        follow: FollowNames,
        to: Expansion,
    },
    KHop {
        follow: FollowNames,
        min: u32,
        max: u32,
    },
    KHopCount {
        follow: FollowNames,
        min: u32,
        max: u32,
    },
    /// How many distinct nodes walks along these hops end at.
    WalkEndCount {
        hops: Vec<FollowNames>,
    },
    DegreeSum {
        follow: FollowNames,
    },
    Degree {
        follow: FollowNames,
    },
    Properties {
        keys: Vec<String>,
    },
    Ids,
    Distinct,
    Count,
    Order {
        by: OrderKey,
        desc: bool,
        /// Only so many of the first rows are wanted.
        keep: Option<u64>,
    },
    Limit {
        n: u64,
    },
    Skip {
        n: u64,
    },
}

/// An operator and the step that it stands for: of several, the last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Planned {
    pub(crate) at: At,
    pub(crate) operator: Operator,
}

/// A part of a pipeline that reads, or one step that writes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Segment {
    Read(Vec<Planned>),
    Write(At),
}

/// The segments of one pipeline, in order.
///
/// # Errors
/// What makes no sense on any graph. References are not looked at; [`Plan::check`] does that.
pub(crate) fn plan_pipeline(plan: &Plan, index: usize) -> Result<Vec<Segment>> {
    let is_answer = index + 1 == plan.pipelines.len();
    let pipeline = &plan.pipelines[index];
    let mut segments = Vec::with_capacity(1);
    let mut operators = Vec::with_capacity(pipeline.len());
    let mut shape = Shape::default();
    for (number, step) in pipeline.iter().enumerate() {
        let at = at(index, number, step);
        let operator = operator(step, &shape);
        let last = number + 1 == pipeline.len();
        shape.apply(step, number == 0, last).map_err(|why| Error::InvalidStep { at, why })?;
        match operator {
            Some(operator) => fuse(&mut operators, Planned { at, operator }),
            None => {
                // Between two writes there may be nothing to do.
                let passes_on = [Operator::Input];
                if !operators.iter().map(|planned| &planned.operator).eq(&passes_on) && !operators.is_empty()
                {
                    segments.push(Segment::Read(finish(std::mem::take(&mut operators), false)));
                }
                operators.clear();
                segments.push(Segment::Write(at));
                if !last {
                    operators.push(Planned { at, operator: Operator::Input });
                }
            }
        }
    }
    if !operators.is_empty() {
        segments.push(Segment::Read(finish(operators, is_answer)));
    }
    Ok(segments)
}

/// The operator of a step alone; none if it writes. `shape` is that of the rows before it.
fn operator(step: &Step, shape: &Shape<'_>) -> Option<Operator> {
    let follow = |direction: &Direction, types: &[String]| FollowNames {
        direction: *direction,
        types: types.to_vec(),
    };
    Some(match step {
        Step::Node { ids, required } => Operator::NodeIds { ids: ids.clone(), required: *required },
        Step::Edge { ids, required } => Operator::EdgeIds { ids: ids.clone(), required: *required },
        Step::Nodes { label } => Operator::ScanNodes { label: label.clone() },
        Step::Edges { edge_type } => Operator::ScanEdges { edge_type: edge_type.clone() },
        Step::ShortestPath { from, to, direction, types, max_hops } => Operator::ShortestPath {
            from: from.clone(),
            to: to.clone(),
            follow: follow(direction, types),
            max_hops: *max_hops,
        },
        Step::Filter { key, comparison, value } => {
            Operator::Filter { key: key.clone(), comparison: *comparison, value: value.clone() }
        }
        Step::HasLabel { label } => Operator::HasLabel { label: label.clone() },
        Step::Expand { direction, types, to } => {
            Operator::Expand { follow: follow(direction, types), to: *to }
        }
        Step::KHop { direction, types, min, max } => {
            Operator::KHop { follow: follow(direction, types), min: *min, max: *max }
        }
        Step::Degree { direction, types } => Operator::Degree { follow: follow(direction, types) },
        Step::Properties { keys } => Operator::Properties { keys: keys.clone() },
        Step::Ids => Operator::Ids,
        Step::Distinct => Operator::Distinct,
        Step::Count => Operator::Count,
        Step::Order { by, desc } => {
            let by = match by {
                OrderBy::Key(key) => OrderKey::Property(key.clone()),
                // A column that is not there is refused when the shape takes this step.
                OrderBy::Column(name) => OrderKey::Column(shape.column(name).unwrap_or_default()),
            };
            Operator::Order { by, desc: *desc, keep: None }
        }
        Step::Limit { n } => Operator::Limit { n: *n },
        Step::Skip { n } => Operator::Skip { n: *n },
        Step::CreateNodes { .. }
        | Step::CreateEdges { .. }
        | Step::Set { .. }
        | Step::Replace { .. }
        | Step::AddLabels { .. }
        | Step::RemoveLabels { .. }
        | Step::Delete { .. } => return None,
    })
}

/// Adds the next operator to those before it, as one with them where that is better.
fn fuse(operators: &mut Vec<Planned>, next: Planned) {
    match next.operator {
        Operator::Count => {
            let count = fused_count(operators);
            operators.push(Planned { at: next.at, operator: count });
        }
        Operator::Limit { n } => {
            match operators.as_mut_slice() {
                [.., Planned { operator: Operator::Order { keep: keep @ None, .. }, .. }] => *keep = Some(n),
                [
                    ..,
                    Planned { operator: Operator::Order { keep: keep @ None, .. }, .. },
                    Planned { operator: Operator::Skip { n: skipped }, .. },
                ] => *keep = Some(n.saturating_add(*skipped)),
                _ => {}
            }
            operators.push(next);
        }
        _ => operators.push(next),
    }
}

/// The operator that counts, after taking away what it makes superfluous.
fn fused_count(operators: &mut Vec<Planned>) -> Operator {
    let keeps_number = |operator: &Operator| {
        use Operator::{Degree, Ids, Order, Properties};
        matches!(operator, Order { .. } | Properties { .. } | Ids | Degree { .. })
    };
    while operators.last().is_some_and(|planned| keeps_number(&planned.operator)) {
        operators.pop();
    }
    let fused = match operators.last().map(|planned| &planned.operator) {
        Some(Operator::ScanNodes { label: None }) => Operator::NodeCount,
        Some(Operator::ScanEdges { edge_type: None }) => Operator::EdgeCount,
        Some(Operator::Expand { follow, .. }) => Operator::DegreeSum { follow: follow.clone() },
        Some(&Operator::KHop { ref follow, min, max }) => {
            Operator::KHopCount { follow: follow.clone(), min, max }
        }
        Some(Operator::Distinct) => return count_of_distinct(operators),
        _ => return Operator::Count,
    };
    operators.pop();
    fused
}

fn count_of_distinct(operators: &mut Vec<Planned>) -> Operator {
    let before = &operators[..operators.len() - 1];
    let hop = |planned: &Planned| match &planned.operator {
        Operator::Expand { follow, to: Expansion::Nodes } => Some(follow.clone()),
        _ => None,
    };
    let mut hops: Vec<FollowNames> = before.iter().rev().map_while(hop).collect();
    if hops.is_empty() {
        return Operator::Count;
    }
    hops.reverse();
    operators.truncate(before.len() - hops.len());
    Operator::WalkEndCount { hops }
}

/// The rules that look at a whole segment.
fn finish(mut operators: Vec<Planned>, is_answer: bool) -> Vec<Planned> {
    if is_answer && let Some(point) = as_point(&operators) {
        operators.clear();
        operators.push(point);
        return operators;
    }
    let early = early_distincts(&operators);
    // From the back, so that the places stay right.
    for place in early.into_iter().rev() {
        let at = operators[place].at;
        operators.insert(place, Planned { at, operator: Operator::Distinct });
    }
    operators
}

fn as_point(operators: &[Planned]) -> Option<Planned> {
    let (first, rest) = operators.split_first()?;
    let Operator::NodeIds { ids, required } = &first.operator else { return None };
    let [id] = ids.as_slice() else { return None };
    let (at, output) = match rest {
        [] => (first.at, PointOutput::Whole),
        [Planned { at, operator: Operator::Properties { keys } }] => {
            (*at, PointOutput::Properties(keys.clone()))
        }
        [Planned { at, operator: Operator::DegreeSum { follow } }] => {
            (*at, PointOutput::DegreeSum(follow.clone()))
        }
        _ => return None,
    };
    Some(Planned { at, operator: Operator::Point { id: id.clone(), required: *required, output } })
}

/// Where a `distinct` of nodes pays though nobody asked for it: before an expansion of nodes that come from another
/// one, when what follows forgets duplicates. The rows that come out at the end, and their order, stay the same.
fn early_distincts(operators: &[Planned]) -> Vec<usize> {
    let mut places = Vec::new();
    // Whether duplicates among the rows at this place make no difference in the end.
    let mut forgets = false;
    for (place, planned) in operators.iter().enumerate().rev() {
        match &planned.operator {
            Operator::Distinct
            | Operator::KHop { .. }
            | Operator::KHopCount { .. }
            | Operator::WalkEndCount { .. } => forgets = true,
            Operator::HasLabel { .. } | Operator::Filter { .. } => {}
            Operator::Expand { .. } => {
                if forgets && comes_from_expansion(&operators[..place]) {
                    places.push(place);
                }
            }
            _ => forgets = false,
        }
    }
    places.reverse();
    places
}

fn comes_from_expansion(operators: &[Planned]) -> bool {
    let is_filter =
        |planned: &&Planned| matches!(planned.operator, Operator::HasLabel { .. } | Operator::Filter { .. });
    let origin = operators.iter().rev().find(|planned| !is_filter(planned));
    origin.is_some_and(|planned| matches!(planned.operator, Operator::Expand { to: Expansion::Nodes, .. }))
}

#[cfg(test)]
mod tests;
