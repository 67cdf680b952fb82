//! From planned operators to stages: names become numbers, parameters become values.
//!
//! Labels, types and keys are never given another number, so a stage may rest with them as long as it likes. What
//! has no number yet matches nothing in a snapshot. In a transaction it could have one before the stage reads, so there
//! it is given one ([`View::label_named`]).

use graphite_graph::{Direction, EdgeId, KeyId, LabelId, NodeId, ReadIntent, TypeId, Value, View};

use super::{Context, Stage, Work, collect, expand, order, reach, source, transform};
use crate::error::{At, Error, Located, Result};
use crate::params::Params;
use crate::plan::{EntityRef, Operand};
use crate::planner::{FollowNames, Operator, OrderKey, Planned, PointOutput};
use crate::rows::Rows;

/// Which edges.
#[derive(Clone, Debug)]
pub(super) struct Follow {
    pub(super) direction: Direction,
    /// Sorted; `None` means all.
    types: Option<Vec<TypeId>>,
}

impl Follow {
    fn new<V: View>(at: At, names: &FollowNames, context: &Context<'_, V>) -> Result<Follow> {
        let (direction, types) = (names.direction, &names.types);
        if types.is_empty() {
            return Ok(Follow { direction, types: None });
        }
        let found = types.iter().filter_map(|name| type_id(at, name, context).transpose());
        let mut known: Vec<TypeId> = found.collect::<Result<_>>()?;
        known.sort_unstable();
        known.dedup();
        Ok(Follow { direction, types: Some(known) })
    }

    pub(super) fn types(&self) -> Option<&[TypeId]> {
        self.types.as_deref()
    }

    pub(super) fn as_graph(&self) -> graphite_graph::traverse::Follow<'_> {
        graphite_graph::traverse::Follow { direction: self.direction, types: self.types() }
    }

    /// Whether both go the same way.
    pub(super) fn is_same(&self, other: &Follow) -> bool {
        self.direction == other.direction && self.types == other.types
    }
}

/// The stages of a segment. From the stage `updates_from` on they read what will be changed; `input` is what the write
/// before it passed on.
pub(crate) fn bind<V: View>(
    planned: &[Planned],
    updates_from: Option<usize>,
    input: Vec<Rows>,
    context: &Context<'_, V>,
) -> Result<Vec<Stage>> {
    let mut stages = Vec::with_capacity(planned.len());
    let mut input = Some(input);
    for (place, Planned { at, operator }) in planned.iter().enumerate() {
        let updates = updates_from.is_some_and(|from| place >= from);
        let intent = if updates { ReadIntent::Update } else { ReadIntent::Share };
        let work = match operator {
            Operator::Input => Work::Input(input.take().unwrap_or_default().into_iter()),
            _ => bind_one(*at, operator, context)?,
        };
        stages.push(Stage { at: *at, intent, work });
    }
    Ok(stages)
}

fn bind_one<V: View>(at: At, operator: &Operator, context: &Context<'_, V>) -> Result<Work> {
    let follow = |names: &FollowNames| Follow::new(at, names, context);
    Ok(match operator {
        Operator::Input => Work::Input(Vec::new().into_iter()),
        Operator::Point { id, required, output } => {
            let output = match output {
                PointOutput::Whole => source::PointOutput::Whole,
                PointOutput::Properties(keys) => source::PointOutput::Properties(key_ids(at, keys, context)?),
                PointOutput::DegreeSum(names) => source::PointOutput::DegreeSum(follow(names)?),
            };
            let id = source_id(at, id, *required, context)?.map(NodeId);
            Work::Point(source::Point::new(id, *required, output))
        }
        Operator::NodeIds { ids, required } => {
            let ids = source_ids(at, ids, *required, context)?.into_iter().map(NodeId).collect();
            Work::NodeIds(source::NodeIds::new(ids, *required))
        }
        Operator::EdgeIds { ids, required } => {
            let ids = source_ids(at, ids, *required, context)?.into_iter().map(EdgeId).collect();
            Work::EdgeIds(source::EdgeIds::new(ids, *required))
        }
        Operator::ScanNodes { label } => {
            let label = label.as_ref().map(|name| label_id(at, name, context)).transpose()?;
            Work::ScanNodes(source::ScanNodes::new(label))
        }
        Operator::ScanEdges { edge_type } => {
            let edge_type = edge_type.as_ref().map(|name| type_id(at, name, context)).transpose()?;
            Work::ScanEdges(source::ScanEdges::new(edge_type))
        }
        Operator::NodeCount => Work::Counter(source::Counter::new(source::Counted::Nodes)),
        Operator::EdgeCount => Work::Counter(source::Counter::new(source::Counted::Edges)),
        Operator::ShortestPath { from, to, follow: names, max_hops } => {
            let from = NodeId(entity_id(at, from, context)?);
            let to = NodeId(entity_id(at, to, context)?);
            let max_hops = max_hops.unwrap_or(u32::MAX);
            Work::ShortestPath(Box::new(source::ShortestPath::new(from, to, follow(names)?, max_hops)))
        }
        Operator::Filter { key, comparison, value } => {
            let operand = value.as_ref();
            let operand = operand.map_or(Ok(Value::Null), |operand| value_of(at, operand, context.params))?;
            Work::Filter(transform::Filter::new(key_id(at, key, context)?, *comparison, operand))
        }
        Operator::HasLabel { label } => {
            Work::HasLabel(transform::HasLabel::new(label_id(at, label, context)?))
        }
        Operator::Expand { follow: names, to } => {
            Work::Expand(Box::new(expand::Expand::new(follow(names)?, *to)))
        }
        Operator::KHop { follow: names, min, max } => {
            Work::KHop(Box::new(reach::KHop::new(follow(names)?, *min, *max)))
        }
        Operator::KHopCount { follow: names, min, max } => {
            Work::ReachCount(reach::ReachCount::khop(follow(names)?, *min, *max))
        }
        Operator::WalkEndCount { hops } => {
            Work::ReachCount(reach::ReachCount::walks(hops.iter().map(follow).collect::<Result<_>>()?))
        }
        Operator::DegreeSum { follow: names } => Work::DegreeSum(expand::DegreeSum::new(follow(names)?)),
        Operator::Degree { follow: names } => Work::Degree(expand::Degree::new(follow(names)?)),
        Operator::Properties { keys } => {
            Work::Properties(transform::Properties::new(key_ids(at, keys, context)?))
        }
        Operator::Ids => Work::Ids,
        Operator::Distinct => Work::Distinct(collect::Distinct::default()),
        Operator::Count => Work::Count(collect::Count::default()),
        Operator::Order { by, desc, keep } => {
            let by = match by {
                OrderKey::Column(column) => order::By::Column(*column),
                OrderKey::Property(key) => order::By::Property(key_id(at, key, context)?),
            };
            Work::Order(order::Order::new(by, *desc, *keep))
        }
        Operator::Limit { n } => Work::Limit(transform::Limit::new(*n)),
        Operator::Skip { n } => Work::Skip(transform::Skip::new(*n)),
    })
}

fn label_id<V: View>(at: At, name: &str, context: &Context<'_, V>) -> Result<Option<LabelId>> {
    // The catalog at hand knows most names; asking the view costs more.
    context.catalog.label_id(name).map_or_else(|| context.view.label_named(name), |id| Ok(Some(id))).at(at)
}

fn type_id<V: View>(at: At, name: &str, context: &Context<'_, V>) -> Result<Option<TypeId>> {
    context.catalog.type_id(name).map_or_else(|| context.view.type_named(name), |id| Ok(Some(id))).at(at)
}

fn key_id<V: View>(at: At, name: &str, context: &Context<'_, V>) -> Result<Option<KeyId>> {
    context.catalog.key_id(name).map_or_else(|| context.view.key_named(name), |id| Ok(Some(id))).at(at)
}

fn key_ids<V: View>(at: At, keys: &[String], context: &Context<'_, V>) -> Result<Vec<Option<KeyId>>> {
    keys.iter().map(|name| key_id(at, name, context)).collect()
}

/// What an operand stands for.
fn value_of(at: At, operand: &Operand, params: &Params) -> Result<Value> {
    match operand {
        Operand::Value(value) => Ok(value.clone()),
        Operand::Param(name) => param(at, name, params).cloned(),
    }
}

fn param<'a>(at: At, name: &str, params: &'a Params) -> Result<&'a Value> {
    params.get(name).ok_or_else(|| Error::ParameterMissing { at, name: name.to_owned() })
}

/// The values of properties to be written, by name.
pub(crate) fn bind_properties<'p>(
    at: At,
    properties: &'p [(String, Operand)],
    params: &Params,
) -> Result<Vec<(&'p str, Value)>> {
    let bound = |(name, operand): &'p (String, Operand)| Ok((name.as_str(), value_of(at, operand, params)?));
    properties.iter().map(bound).collect()
}

/// The id that is meant.
///
/// # Errors
/// [`Error::RowNotFound`] for a row that was not made; what is wrong with a parameter.
pub(crate) fn entity_id<V>(at: At, entity: &EntityRef, context: &Context<'_, V>) -> Result<u64> {
    match entity {
        EntityRef::Id(id) => Ok(*id),
        EntityRef::Param(name) => match param(at, name, context.params)? {
            Value::Int(id) => Ok(id.cast_unsigned()),
            other => Err(Error::ParameterKind {
                at,
                name: name.clone(),
                expected: "the id of a node or edge",
                found: other.type_name(),
            }),
        },
        EntityRef::Row { pipeline, row } => {
            let made = usize::try_from(*pipeline).ok().and_then(|index| context.made.get(index));
            let (rows, id) = made.map_or((0, None), |made| made.id(*row));
            id.ok_or(Error::RowNotFound { at, pipeline: *pipeline, row: *row, rows })
        }
    }
}

/// As [`entity_id`], but a row that was not made is like a node that does not exist.
fn source_id<V>(at: At, entity: &EntityRef, required: bool, context: &Context<'_, V>) -> Result<Option<u64>> {
    match entity_id(at, entity, context) {
        Ok(id) => Ok(Some(id)),
        Err(Error::RowNotFound { .. }) if !required => Ok(None),
        Err(error) => Err(error),
    }
}

fn source_ids<V>(at: At, ids: &[EntityRef], required: bool, context: &Context<'_, V>) -> Result<Vec<u64>> {
    ids.iter().filter_map(|id| source_id(at, id, required, context).transpose()).collect()
}
