//! From the wire's types to the graph's and the planner's: values, parameters, plans, columns of an import.
//!
//! The wire may change with the protocol's version and the others with the engine, so they are different types and
//! meet here alone.

use std::collections::BTreeMap;

use graphite_graph::{Direction, Value};
use graphite_protocol as wire;
use graphite_protocol::{ErrorCode, WireError};
use graphite_query as query;

fn invalid(message: impl Into<String>) -> WireError {
    WireError::new(ErrorCode::InvalidValue, message)
}

/// A value. Nodes, edges and paths are none, wherever they stand; see [`params`] for the exception.
///
/// # Errors
/// `invalid-value`.
pub(crate) fn value(value: wire::Value) -> Result<Value, WireError> {
    Ok(match value {
        wire::Value::Nil => Value::Null,
        wire::Value::Bool(value) => Value::Bool(value),
        wire::Value::Int(value) => Value::Int(value),
        wire::Value::Float(value) => Value::Float(value),
        wire::Value::String(value) => Value::String(value),
        wire::Value::Bytes(value) => Value::Bytes(value),
        wire::Value::List(items) => {
            Value::List(items.into_iter().map(self::value).collect::<Result<_, _>>()?)
        }
        wire::Value::Map(pairs) => {
            let pairs = pairs.into_iter().map(|(key, item)| Ok((key, self::value(item)?)));
            Value::Map(pairs.collect::<Result<BTreeMap<_, _>, WireError>>()?)
        }
        wire::Value::Node(_) | wire::Value::Edge(_) | wire::Value::Path(_) => {
            return Err(invalid(format!("{} cannot stand for a value; use its id", value.kind_name())));
        }
        wire::Value::Date(date) => Value::Date { days: date.days },
        wire::Value::LocalTime(time) => Value::LocalTime { nanos: time.nanoseconds },
        wire::Value::Time(time) => Value::Time { nanos: time.nanoseconds, offset: time.offset_seconds },
        wire::Value::LocalDateTime(time) => {
            Value::LocalDateTime { seconds: time.seconds, nanos: time.nanoseconds }
        }
        wire::Value::DateTime(time) => Value::DateTime {
            seconds: time.seconds,
            nanos: time.nanoseconds,
            offset: time.offset_seconds,
            zone: time.zone,
        },
        wire::Value::Duration(duration) => Value::Duration {
            months: duration.months,
            days: duration.days,
            seconds: duration.seconds,
            nanos: i32::try_from(duration.nanoseconds)
                .map_err(|_| invalid("a duration's nanoseconds are too many"))?,
        },
    })
}

/// Parameters. A node or edge stands for its id where the plan asks for an entity, and nowhere else.
///
/// # Errors
/// `invalid-value`, with the parameter's name.
pub(crate) fn params(
    pairs: wire::Pairs<wire::Value>,
    entities: &[String],
) -> Result<query::Params, WireError> {
    let mut params = Vec::with_capacity(pairs.0.len());
    for (name, given) in pairs.0 {
        let id = match &given {
            wire::Value::Node(node) => Some(node.id),
            wire::Value::Edge(edge) => Some(edge.id),
            _ => None,
        };
        let converted = match id.filter(|_| entities.contains(&name)) {
            // The engine takes the id's bits as an integer.
            Some(id) => Value::Int(id.cast_signed()),
            None => value(given).map_err(|mut error| {
                error.message = format!("parameter {name:?}: {}", error.message);
                error
            })?,
        };
        params.push((name, converted));
    }
    Ok(query::Params::from(params))
}

/// A plan, and the names of the parameters that stand for entities.
///
/// # Errors
/// `invalid-value` for a value that no property can hold.
pub(crate) fn plan(plan: wire::Plan) -> Result<(query::Plan, Vec<String>), WireError> {
    let mut converter = Converter { entities: Vec::new() };
    let mut pipelines = Vec::with_capacity(plan.pipelines.len());
    for steps in plan.pipelines {
        pipelines.push(steps.into_iter().map(|step| converter.step(step)).collect::<Result<_, _>>()?);
    }
    Ok((query::Plan { pipelines }, converter.entities))
}

struct Converter {
    entities: Vec<String>,
}

impl Converter {
    fn entity(&mut self, entity: wire::EntityRef) -> query::EntityRef {
        match entity {
            wire::EntityRef::Id(id) => query::EntityRef::Id(id),
            wire::EntityRef::Param(name) => {
                self.entities.push(name.clone());
                query::EntityRef::Param(name)
            }
            wire::EntityRef::Row { pipeline, row } => query::EntityRef::Row { pipeline, row },
        }
    }

    fn new_edge(&mut self, edge: wire::NewEdge) -> Result<query::NewEdge, WireError> {
        Ok(query::NewEdge {
            start: self.entity(edge.start),
            end: self.entity(edge.end),
            edge_type: edge.edge_type,
            properties: properties(edge.properties)?,
        })
    }

    fn step(&mut self, step: wire::Step) -> Result<query::Step, WireError> {
        use query::Step as To;
        use wire::Step as From;
        Ok(match step {
            From::Node { ids, required } => {
                To::Node { ids: ids.into_iter().map(|id| self.entity(id)).collect(), required }
            }
            From::Edge { ids, required } => {
                To::Edge { ids: ids.into_iter().map(|id| self.entity(id)).collect(), required }
            }
            From::Nodes { label } => To::Nodes { label },
            From::Edges { edge_type } => To::Edges { edge_type },
            From::CreateNode { labels, properties } => {
                To::CreateNodes { rows: vec![new_node(wire::NewNode { labels, properties })?] }
            }
            From::CreateEdge { start, end, edge_type, properties } => {
                let edge = wire::NewEdge { start, end, edge_type, properties };
                To::CreateEdges { rows: vec![self.new_edge(edge)?] }
            }
            From::CreateNodes { rows } => {
                To::CreateNodes { rows: rows.into_iter().map(new_node).collect::<Result<_, _>>()? }
            }
            From::CreateEdges { rows } => To::CreateEdges {
                rows: rows.into_iter().map(|edge| self.new_edge(edge)).collect::<Result<_, _>>()?,
            },
            From::ShortestPath { from, to, direction, types, max_hops } => To::ShortestPath {
                from: self.entity(from),
                to: self.entity(to),
                direction: self::direction(direction),
                types,
                max_hops,
            },
            From::Filter { key, comparison, value } => To::Filter {
                key,
                comparison: self::comparison(comparison),
                value: value.map(operand).transpose()?,
            },
            From::HasLabel { label } => To::HasLabel { label },
            From::Expand { direction, types, to } => {
                To::Expand { direction: self::direction(direction), types, to: expansion(to) }
            }
            From::KHop { direction, types, min, max } => {
                To::KHop { direction: self::direction(direction), types, min, max }
            }
            From::Degree { direction, types } => To::Degree { direction: self::direction(direction), types },
            From::Properties { keys } => To::Properties { keys },
            From::Ids {} => To::Ids,
            From::Distinct {} => To::Distinct,
            From::Count {} => To::Count,
            From::Order { by, desc } => To::Order { by: order_by(by), desc },
            From::Limit { n } => To::Limit { n },
            From::Skip { n } => To::Skip { n },
            From::Set { properties } => To::Set { properties: self::properties(properties)? },
            From::Replace { properties } => To::Replace { properties: self::properties(properties)? },
            From::AddLabels { labels } => To::AddLabels { labels },
            From::RemoveLabels { labels } => To::RemoveLabels { labels },
            From::Delete { detach } => To::Delete { detach },
        })
    }
}

fn new_node(node: wire::NewNode) -> Result<query::NewNode, WireError> {
    Ok(query::NewNode { labels: node.labels, properties: properties(node.properties)? })
}

fn properties(properties: wire::Properties) -> Result<query::Properties, WireError> {
    properties
        .0
        .into_iter()
        .map(|(key, given)| {
            let converted = operand(given).map_err(|mut error| {
                error.message = format!("property {key:?}: {}", error.message);
                error
            })?;
            Ok((key, converted))
        })
        .collect()
}

fn operand(operand: wire::Operand) -> Result<query::Operand, WireError> {
    Ok(match operand {
        wire::Operand::Value(given) => query::Operand::Value(value(given)?),
        wire::Operand::Param(name) => query::Operand::Param(name),
    })
}

fn direction(direction: wire::Direction) -> Direction {
    match direction {
        wire::Direction::Out => Direction::Out,
        wire::Direction::In => Direction::In,
        wire::Direction::Both => Direction::Both,
    }
}

fn expansion(to: wire::Expansion) -> query::Expansion {
    match to {
        wire::Expansion::Nodes => query::Expansion::Nodes,
        wire::Expansion::Edges => query::Expansion::Edges,
        wire::Expansion::Both => query::Expansion::Both,
    }
}

fn comparison(comparison: wire::Comparison) -> query::Comparison {
    use query::Comparison as To;
    use wire::Comparison as From;
    match comparison {
        From::Eq => To::Eq,
        From::Ne => To::Ne,
        From::Lt => To::Lt,
        From::Le => To::Le,
        From::Gt => To::Gt,
        From::Ge => To::Ge,
        From::Exists => To::Exists,
        From::StartsWith => To::StartsWith,
        From::Contains => To::Contains,
    }
}

fn order_by(by: wire::OrderBy) -> query::OrderBy {
    match by {
        wire::OrderBy::Column(name) => query::OrderBy::Column(name),
        wire::OrderBy::Key(name) => query::OrderBy::Key(name),
    }
}

/// The values of an imported column, null where a row has none.
///
/// # Errors
/// `invalid-value`.
pub(crate) fn column(data: wire::ColumnData) -> Result<Vec<Value>, WireError> {
    fn numbers<T>(values: Vec<T>, present: Option<wire::Bitmap>, convert: impl Fn(T) -> Value) -> Vec<Value> {
        match present {
            None => values.into_iter().map(convert).collect(),
            Some(present) => {
                let rows = values.into_iter().enumerate();
                rows.map(|(row, value)| if present.get(row) { convert(value) } else { Value::Null }).collect()
            }
        }
    }
    match data {
        wire::ColumnData::Ints { values, present } => Ok(numbers(values.0, present, Value::Int)),
        wire::ColumnData::Floats { values, present } => Ok(numbers(values.0, present, Value::Float)),
        wire::ColumnData::Values(values) => values.into_iter().map(value).collect(),
        strings @ wire::ColumnData::Strings { .. } => {
            (0..strings.len()).map(|row| value(strings.get(row))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_stands_for_its_id_where_one_is_asked_for_and_nowhere_else() {
        let asked = wire::Plan::of([
            wire::Step::Node { ids: vec![wire::EntityRef::Param("who".into())], required: true },
            wire::Step::Set {
                properties: [("x", wire::Operand::Param("what".into()))].into_iter().collect(),
            },
        ]);
        let (_, entities) = plan(asked).unwrap();
        assert_eq!(entities, ["who"]);
        let node = wire::Node { id: u64::MAX, labels: vec![], properties: vec![] };
        let given = |name: &str| wire::Pairs(vec![(name.to_owned(), wire::Value::from(node.clone()))]);
        assert_eq!(params(given("who"), &entities).unwrap().get("who"), Some(&Value::Int(-1)));
        let error = params(given("what"), &entities).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidValue);
        assert!(error.message.contains("\"what\""), "{error}");
    }

    #[test]
    fn absent_rows_of_a_column_are_null() {
        let mut present = wire::Bitmap::default();
        [true, false, true].into_iter().for_each(|bit| present.push(bit));
        let data = wire::ColumnData::Ints { values: wire::Packed(vec![1, 0, 3]), present: Some(present) };
        assert_eq!(column(data).unwrap(), [Value::Int(1), Value::Null, Value::Int(3)]);
        let mut values = wire::StringColumn::default();
        ["a", "b"].into_iter().for_each(|text| values.push(text));
        let data = wire::ColumnData::Strings { values, present: None };
        assert_eq!(column(data).unwrap(), [Value::String("a".into()), Value::String("b".into())]);
    }
}
