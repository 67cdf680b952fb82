//! From the graph's types to the wire: cells of an answer, straight into an output buffer.

use graphite_graph::catalog::Catalog;
use graphite_graph::{Edge, KeyId, Node, Value};
use graphite_protocol as wire;
use graphite_protocol::{Encoder, ErrorCode, Wire, WireError};
use graphite_query::Cell;

const NANOS_PER_SECOND: i32 = 1_000_000_000;

/// A number in a page that no name belongs to.
#[cold]
fn nameless(what: &str, id: u32) -> WireError {
    let message = format!("{what} {id} is not in the catalog. `graphite check` looks at the whole file");
    WireError::new(ErrorCode::Corrupt, message)
}

/// Writes one field of an answer.
///
/// # Errors
/// `corrupt` for a label, type or key without a name.
pub(crate) fn cell(out: &mut Encoder<'_>, cell: &Cell, catalog: &Catalog) -> Result<(), WireError> {
    match cell {
        Cell::Value(given) => value(out, given),
        Cell::Node(given) => node(out, given, catalog)?,
        Cell::Edge(given) => edge(out, given, catalog)?,
        Cell::Path { nodes, edges } => {
            let mark = out.ext_begin(PATH);
            out.list(2);
            out.list(nodes.len());
            nodes.iter().try_for_each(|given| node(out, given, catalog))?;
            out.list(edges.len());
            edges.iter().try_for_each(|given| edge(out, given, catalog))?;
            out.ext_end(mark);
        }
    }
    Ok(())
}

/// Extension type of a path.
const PATH: i8 = 3;

fn node(out: &mut Encoder<'_>, node: &Node, catalog: &Catalog) -> Result<(), WireError> {
    let unknown = node.labels.iter().find(|label| catalog.label_name(**label).is_none());
    if let Some(label) = unknown {
        return Err(nameless("label", label.0));
    }
    let labels = node.labels.iter().map(|label| catalog.label_name(*label).unwrap_or_default());
    let mark = out.node_begin(node.id.0, labels, node.properties.len());
    properties(out, &node.properties, catalog)?;
    out.ext_end(mark);
    Ok(())
}

fn edge(out: &mut Encoder<'_>, edge: &Edge, catalog: &Catalog) -> Result<(), WireError> {
    let type_ = catalog.type_name(edge.type_).ok_or_else(|| nameless("type", edge.type_.0))?;
    let mark = out.edge_begin(edge.id.0, type_, edge.start.0, edge.end.0, edge.properties.len());
    properties(out, &edge.properties, catalog)?;
    out.ext_end(mark);
    Ok(())
}

fn properties(out: &mut Encoder<'_>, pairs: &[(KeyId, Value)], catalog: &Catalog) -> Result<(), WireError> {
    for (key, given) in pairs {
        out.str(catalog.key_name(*key).ok_or_else(|| nameless("key", key.0))?);
        value(out, given);
    }
    Ok(())
}

/// Writes a value.
pub(crate) fn value(out: &mut Encoder<'_>, given: &Value) {
    match given {
        Value::Null => out.nil(),
        Value::Bool(value) => out.bool(*value),
        Value::Int(value) => out.int(*value),
        Value::Float(value) => out.float(*value),
        Value::String(value) => out.str(value),
        Value::Bytes(value) => out.bytes(value),
        Value::List(items) => {
            out.list(items.len());
            items.iter().for_each(|item| value(out, item));
        }
        Value::Map(pairs) => {
            out.map(pairs.len());
            for (key, item) in pairs {
                out.str(key);
                value(out, item);
            }
        }
        temporal => self::temporal(temporal).write(out),
    }
}

fn temporal(given: &Value) -> wire::Value {
    match given {
        Value::Date { days } => wire::Date { days: *days }.into(),
        Value::LocalTime { nanos } => wire::LocalTime { nanoseconds: *nanos }.into(),
        Value::Time { nanos, offset } => wire::Time { nanoseconds: *nanos, offset_seconds: *offset }.into(),
        Value::LocalDateTime { seconds, nanos } => {
            wire::LocalDateTime { seconds: *seconds, nanoseconds: *nanos }.into()
        }
        Value::DateTime { seconds, nanos, offset, zone } => wire::DateTime {
            seconds: *seconds,
            nanoseconds: *nanos,
            offset_seconds: *offset,
            zone: zone.clone(),
        }
        .into(),
        Value::Duration { months, days, seconds, nanos } => wire::Duration {
            months: *months,
            days: *days,
            // On the wire the nanoseconds of a negative duration count forward from its seconds.
            seconds: seconds.saturating_add(i64::from(nanos.div_euclid(NANOS_PER_SECOND))),
            nanoseconds: nanos.rem_euclid(NANOS_PER_SECOND).unsigned_abs(),
        }
        .into(),
        _ => unreachable!("the other kinds were written by the caller"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graphite_protocol::Decoder;

    /// What goes to the wire and comes back is the same, for every kind of value.
    #[test]
    fn values_survive_the_wire() {
        let samples = [
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Float(-0.0),
            Value::String("ü".into()),
            Value::Bytes(vec![0, 255]),
            Value::List(vec![Value::Int(1), Value::Null, Value::List(vec![])]),
            Value::Map([("k".to_owned(), Value::Bool(false))].into_iter().collect()),
            Value::Date { days: -1 },
            Value::LocalTime { nanos: 86_399_999_999_999 },
            Value::Time { nanos: 5, offset: -3600 },
            Value::LocalDateTime { seconds: -5, nanos: 999_999_999 },
            Value::DateTime { seconds: 7, nanos: 8, offset: 3600, zone: Some("Europe/Berlin".into()) },
            Value::Duration { months: 1, days: -2, seconds: -3, nanos: 4 },
        ];
        for sample in samples {
            let mut bytes = Vec::new();
            value(&mut Encoder::new(&mut bytes), &sample);
            let back = wire::Value::read(&mut Decoder::new(&bytes)).unwrap();
            assert_eq!(crate::convert::value(back).unwrap(), sample);
        }
    }

    #[test]
    fn negative_nanoseconds_of_a_duration_become_positive() {
        let mut bytes = Vec::new();
        value(&mut Encoder::new(&mut bytes), &Value::Duration { months: 0, days: 0, seconds: 0, nanos: -1 });
        let back = crate::convert::value(wire::Value::read(&mut Decoder::new(&bytes)).unwrap()).unwrap();
        assert_eq!(back, Value::Duration { months: 0, days: 0, seconds: -1, nanos: 999_999_999 });
    }
}
