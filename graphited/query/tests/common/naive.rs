//! Plans over a model, step by step and row by row: the slow way that the operators must agree with, order of rows
//! included.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use graphite_graph::{Direction, EdgeId, NodeId, Value};
use graphite_query::{Comparison, EntityRef, Expansion, Operand, OrderBy, Params, Pipeline, Step};

use super::{Flat, Model};

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Flat>,
    current: usize,
}

/// The rows of a pipeline that only reads and refers to no other.
pub(crate) fn evaluate(model: &Model, pipeline: &Pipeline, params: &Params) -> Vec<Vec<Flat>> {
    let mut names: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for step in pipeline {
        rows = apply(model, step, params, rows, &mut names);
    }
    rows.into_iter().map(|row| row.cells).collect()
}

fn one(cell: Flat) -> Row {
    Row { cells: vec![cell], current: 0 }
}

fn id_of(entity: &EntityRef, params: &Params) -> u64 {
    match entity {
        EntityRef::Id(id) => *id,
        EntityRef::Param(name) => match *params.get(name).unwrap() {
            Value::Int(id) => id as u64,
            ref other => panic!("an id: {other:?}"),
        },
        EntityRef::Row { .. } => panic!("a pipeline of its own"),
    }
}

fn apply(model: &Model, step: &Step, params: &Params, rows: Vec<Row>, names: &mut Vec<String>) -> Vec<Row> {
    let set_names = |names: &mut Vec<String>, new: &[&str]| {
        *names = new.iter().map(|name| (*name).to_owned()).collect();
    };
    match step {
        Step::Node { ids, .. } => {
            set_names(names, &["node"]);
            let found = ids.iter().map(|id| NodeId(id_of(id, params)));
            found.filter(|id| model.nodes.contains_key(id)).map(|id| one(Flat::Node(id))).collect()
        }
        Step::Edge { ids, .. } => {
            set_names(names, &["edge"]);
            let found = ids.iter().map(|id| EdgeId(id_of(id, params)));
            found.filter(|id| model.edges.contains_key(id)).map(|id| one(Flat::Edge(id))).collect()
        }
        Step::Nodes { label } => {
            set_names(names, &["node"]);
            let mut found: Vec<NodeId> = (model.nodes.iter())
                .filter(|(_, node)| label.as_ref().is_none_or(|label| node.labels.contains(label)))
                .map(|(id, _)| *id)
                .collect();
            found.sort_by_key(|id| id.slot());
            found.into_iter().map(|id| one(Flat::Node(id))).collect()
        }
        Step::Edges { edge_type } => {
            set_names(names, &["edge"]);
            let mut found: Vec<EdgeId> = (model.edges.iter())
                .filter(|(_, edge)| edge_type.as_ref().is_none_or(|name| *name == edge.edge_type))
                .map(|(id, _)| *id)
                .collect();
            found.sort_by_key(|id| id.slot());
            found.into_iter().map(|id| one(Flat::Edge(id))).collect()
        }
        Step::Filter { key, comparison, value } => {
            let operand = match value {
                None => Value::Null,
                Some(Operand::Value(value)) => value.clone(),
                Some(Operand::Param(name)) => params.get(name).unwrap().clone(),
            };
            let keep = |row: &Row| passes(*comparison, &property(model, row, key), &operand);
            rows.into_iter().filter(keep).collect()
        }
        Step::HasLabel { label } => {
            rows.into_iter().filter(|row| model.nodes[&node_of(row)].labels.contains(label)).collect()
        }
        Step::Expand { direction, types, to } => {
            set_names(
                names,
                match to {
                    Expansion::Nodes => &["node"],
                    Expansion::Edges => &["edge"],
                    Expansion::Both => &["edge", "node"],
                },
            );
            let expanded = rows.iter().flat_map(|row| neighbours(model, node_of(row), *direction, types));
            expanded
                .map(|(edge, node)| match to {
                    Expansion::Nodes => one(Flat::Node(node)),
                    Expansion::Edges => one(Flat::Edge(edge)),
                    Expansion::Both => Row { cells: vec![Flat::Edge(edge), Flat::Node(node)], current: 1 },
                })
                .collect()
        }
        Step::KHop { direction, types, min, max } => {
            set_names(names, &["node"]);
            let mut level: BTreeSet<NodeId> = rows.iter().map(node_of).collect();
            let (mut seen, mut found) = (level.clone(), Vec::new());
            for hop in 0..=*max {
                if hop > 0 {
                    let next = level.iter().flat_map(|id| neighbours(model, *id, *direction, types));
                    level = next.map(|(_, node)| node).filter(|node| !seen.contains(node)).collect();
                    seen.extend(&level);
                }
                if hop >= *min {
                    let mut sorted: Vec<NodeId> = level.iter().copied().collect();
                    sorted.sort_by_key(|id| id.slot());
                    found.extend(sorted);
                }
            }
            found.into_iter().map(|id| one(Flat::Node(id))).collect()
        }
        Step::Degree { direction, types } => {
            names.push("degree".into());
            let degree = |mut row: Row| {
                let degree = neighbours(model, node_of(&row), *direction, types).len();
                row.cells.push(Flat::Value(Value::Int(degree as i64)));
                row
            };
            rows.into_iter().map(degree).collect()
        }
        Step::Properties { keys } => {
            // The current column is the last entity: a degree may stand after it.
            let at = names.iter().rposition(|name| name == "node" || name == "edge").unwrap();
            names.splice(at..=at, keys.iter().cloned());
            let project = |mut row: Row| {
                let values: Vec<Flat> =
                    keys.iter().map(|key| Flat::Value(property(model, &row, key))).collect();
                row.cells.splice(row.current..=row.current, values);
                row
            };
            rows.into_iter().map(project).collect()
        }
        Step::Ids => {
            let mut rows = rows;
            for cell in rows.iter_mut().flat_map(|row| &mut row.cells) {
                match cell {
                    Flat::Node(id) => *cell = Flat::Value(Value::Int(id.0 as i64)),
                    Flat::Edge(id) => *cell = Flat::Value(Value::Int(id.0 as i64)),
                    _ => {}
                }
            }
            rows
        }
        Step::Distinct => {
            let mut kept: Vec<Row> = Vec::new();
            for row in rows {
                if kept.iter().all(|other| other.cells != row.cells) {
                    kept.push(row);
                }
            }
            kept
        }
        Step::Count => {
            set_names(names, &["count"]);
            vec![one(Flat::Value(Value::Int(rows.len() as i64)))]
        }
        Step::Order { by, desc } => {
            let key = |row: &Row| match by {
                OrderBy::Key(key) => Flat::Value(property(model, row, key)),
                OrderBy::Column(name) => {
                    row.cells[names.iter().position(|other| other == name).unwrap()].clone()
                }
            };
            let compare = |a: &Row, b: &Row| match (key(a), key(b)) {
                (Flat::Node(a), Flat::Node(b)) => a.cmp(&b),
                (Flat::Edge(a), Flat::Edge(b)) => a.cmp(&b),
                (Flat::Value(a), Flat::Value(b)) => a.total_cmp(&b),
                other => panic!("keys of one kind: {other:?}"),
            };
            let mut rows = rows;
            rows.sort_by(|a, b| if *desc { compare(b, a) } else { compare(a, b) });
            rows
        }
        Step::Limit { n } => rows.into_iter().take(*n as usize).collect(),
        Step::Skip { n } => rows.into_iter().skip(*n as usize).collect(),
        other => panic!("{} is not evaluated here", other.op()),
    }
}

fn node_of(row: &Row) -> NodeId {
    match row.cells[row.current] {
        Flat::Node(id) => id,
        ref other => panic!("a node: {other:?}"),
    }
}

fn property(model: &Model, row: &Row, key: &str) -> Value {
    let properties = match &row.cells[row.current] {
        Flat::Node(id) => &model.nodes[id].properties,
        Flat::Edge(id) => &model.edges[id].properties,
        other => panic!("an entity: {other:?}"),
    };
    properties.get(key).cloned().unwrap_or_default()
}

fn neighbours(model: &Model, node: NodeId, direction: Direction, types: &[String]) -> Vec<(EdgeId, NodeId)> {
    let mut found = Vec::new();
    for (id, edge) in &model.edges {
        if !types.is_empty() && !types.contains(&edge.edge_type) {
            continue;
        }
        let out = edge.start == node && direction != Direction::In;
        if out {
            found.push((0, &edge.edge_type, edge.end.slot(), id.slot(), (*id, edge.end)));
        }
        if edge.end == node && direction != Direction::Out && !(out && edge.start == edge.end) {
            found.push((1, &edge.edge_type, edge.start.slot(), id.slot(), (*id, edge.start)));
        }
    }
    found.sort();
    found.into_iter().map(|(.., step)| step).collect()
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// Of the values that the random graphs have: `None` is null.
fn equal(a: &Value, b: &Value) -> Option<bool> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::List(a), Value::List(b)) => {
            Some(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b) == Some(true)))
        }
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => Some(a == b),
            _ => Some(a == b),
        },
    }
}

fn less(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.chars().cmp(b.chars())),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Date { days: a }, Value::Date { days: b }) => Some(a.cmp(b)),
        (Value::List(a), Value::List(b)) => {
            for (a, b) in a.iter().zip(b) {
                let order = less(a, b)?;
                if order.is_ne() {
                    return Some(order);
                }
            }
            Some(a.len().cmp(&b.len()))
        }
        _ => number(a)?.partial_cmp(&number(b)?),
    }
}

fn passes(comparison: Comparison, property: &Value, operand: &Value) -> bool {
    if property.is_null() {
        return false;
    }
    let order = less(property, operand);
    match comparison {
        Comparison::Exists => true,
        Comparison::Eq => equal(property, operand) == Some(true),
        Comparison::Ne => equal(property, operand) == Some(false),
        Comparison::Lt => order == Some(Ordering::Less),
        Comparison::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Gt => order == Some(Ordering::Greater),
        Comparison::Ge => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        Comparison::StartsWith | Comparison::Contains => match (property, operand) {
            (Value::String(text), Value::String(part)) if comparison == Comparison::Contains => {
                text.contains(part.as_str())
            }
            (Value::String(text), Value::String(start)) => text.starts_with(start.as_str()),
            _ => false,
        },
    }
}
