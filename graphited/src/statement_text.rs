//! A plan in a line, for whoever watches: "node $who | expand out KNOWS | set name".
//!
//! Names and ids are shown and values are not, for they may be anybody's secrets. What is shown is short and harmless
//! to a terminal, whatever was sent.

use std::fmt::Write;

use graphite_graph::Direction;
use graphite_protocol::harmless;
use graphite_query::{Comparison, EntityRef, Expansion, NewEdge, NewNode, Operand, OrderBy, Plan, Step};

/// Bytes of a text after which no more steps are written.
const TEXT_BYTES: usize = 200;
/// Bytes of one name that are shown.
const NAME_BYTES: usize = 40;
/// Names, or ids, of a list that are shown.
const LISTED: usize = 4;

/// The plan in a line.
pub(crate) fn of_plan(plan: &Plan) -> String {
    let mut text = String::new();
    for (number, steps) in plan.pipelines.iter().enumerate() {
        for (index, step) in steps.iter().enumerate() {
            let is_first = number == 0 && index == 0;
            text += if is_first { "" } else { if index == 0 { "; " } else { " | " } };
            if text.len() > TEXT_BYTES {
                return text + "...";
            }
            text += &of_step(step);
        }
    }
    text
}

fn of_step(step: &Step) -> String {
    match step {
        Step::Node { ids, .. } => format!("node {}", list(ids, entity)),
        Step::Edge { ids, .. } => format!("edge {}", list(ids, entity)),
        Step::Nodes { label } => format!("nodes{}", tag(label)),
        Step::Edges { edge_type } => format!("edges{}", tag(edge_type)),
        Step::CreateNodes { rows } => match rows.as_slice() {
            [row] => format!("create {}", new_node(row)),
            rows => format!("create {} nodes", rows.len()),
        },
        Step::CreateEdges { rows } => match rows.as_slice() {
            [row] => format!("create {}", new_edge(row)),
            rows => format!("create {} edges", rows.len()),
        },
        Step::ShortestPath { from, to, direction, types, .. } => {
            format!("shortest path from {} to {} {}", entity(from), entity(to), way(*direction, types))
        }
        Step::Filter { key, comparison, value } => {
            format!("filter {} {}", name(key), compared(*comparison, value.as_ref()))
        }
        Step::HasLabel { label } => format!("has label {}", name(label)),
        Step::Expand { direction, types, to } => {
            let to = if *to == Expansion::Nodes { "" } else { " to edges" };
            format!("expand {}{to}", way(*direction, types))
        }
        Step::KHop { direction, types, min, max } => format!("khop {min}..{max} {}", way(*direction, types)),
        Step::Degree { direction, types } => format!("degree {}", way(*direction, types)),
        Step::Properties { keys } => format!("properties {}", names(keys)),
        Step::Order { by: OrderBy::Column(by) | OrderBy::Key(by), desc } => {
            format!("order by {}{}", name(by), if *desc { " desc" } else { "" })
        }
        Step::Limit { n } => format!("limit {n}"),
        Step::Skip { n } => format!("skip {n}"),
        Step::Set { properties } => format!("set {}", keys(properties)),
        Step::Replace { properties } => format!("replace by {}", keys(properties)),
        Step::AddLabels { labels } => format!("add labels {}", names(labels)),
        Step::RemoveLabels { labels } => format!("remove labels {}", names(labels)),
        Step::Delete { detach: true } => "detach delete".to_owned(),
        Step::Ids | Step::Distinct | Step::Count | Step::Delete { detach: false } => step.op().to_owned(),
    }
}

/// A name, harmless and not too long.
fn name(text: &str) -> String {
    let shown = harmless(&text[..text.floor_char_boundary(NAME_BYTES)]);
    if text.len() > NAME_BYTES { format!("{shown}...") } else { shown.into_owned() }
}

fn list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    let mut text = String::new();
    for (index, item) in items.iter().take(LISTED).enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{}{}", if index == 0 { "" } else { ", " }, show(item));
    }
    if items.len() > LISTED {
        let _ = write!(text, ", ... ({})", items.len());
    }
    text
}

fn names(items: &[String]) -> String {
    list(items, |item| name(item))
}

fn keys(properties: &[(String, Operand)]) -> String {
    list(properties, |(key, _)| name(key))
}

fn tag(of: &Option<String>) -> String {
    of.as_ref().map_or(String::new(), |of| format!(" :{}", name(of)))
}

fn entity(entity: &EntityRef) -> String {
    match entity {
        EntityRef::Id(id) => id.to_string(),
        EntityRef::Param(param) => format!("${}", name(param)),
        EntityRef::Row { pipeline, row } => format!("row {pipeline}.{row}"),
    }
}

fn way(direction: Direction, types: &[String]) -> String {
    let direction = match direction {
        Direction::Out => "out",
        Direction::In => "in",
        Direction::Both => "both",
    };
    if types.is_empty() { direction.to_owned() } else { format!("{direction} {}", names(types)) }
}

fn compared(comparison: Comparison, value: Option<&Operand>) -> String {
    let word = match comparison {
        Comparison::Eq => "=",
        Comparison::Ne => "<>",
        Comparison::Lt => "<",
        Comparison::Le => "<=",
        Comparison::Gt => ">",
        Comparison::Ge => ">=",
        Comparison::Exists => "exists",
        Comparison::StartsWith => "starts with",
        Comparison::Contains => "contains",
    };
    match value {
        None => word.to_owned(),
        Some(Operand::Value(_)) => format!("{word} ?"),
        Some(Operand::Param(param)) => format!("{word} ${}", name(param)),
    }
}

fn braced(properties: &[(String, Operand)]) -> String {
    if properties.is_empty() { String::new() } else { format!(" {{{}}}", keys(properties)) }
}

fn new_node(node: &NewNode) -> String {
    let labels: String = node.labels.iter().take(LISTED).map(|label| format!(":{}", name(label))).collect();
    format!("({}{})", labels, braced(&node.properties))
}

fn new_edge(edge: &NewEdge) -> String {
    let (start, end) = (entity(&edge.start), entity(&edge.end));
    format!("({start})-[:{}{}]->({end})", name(&edge.edge_type), braced(&edge.properties))
}

#[cfg(test)]
mod tests {
    use super::*;
    use graphite_graph::Value;

    fn secret(key: &str) -> (String, Operand) {
        (key.to_owned(), Operand::Value(Value::String("secret".into())))
    }

    #[test]
    fn a_plan_reads_as_one_line_without_values() {
        let who = EntityRef::Param("who".to_owned());
        let types = vec!["KNOWS".to_owned()];
        let plan = Plan::of([
            Step::Node { ids: vec![who.clone(), EntityRef::Id(7)], required: true },
            Step::Expand { direction: Direction::Out, types: types.clone(), to: Expansion::Nodes },
            Step::Filter { key: "name".to_owned(), comparison: Comparison::Eq, value: Some(secret("").1) },
            Step::Set { properties: vec![secret("age"), secret("name")] },
        ])
        .then([Step::CreateNodes {
            rows: vec![NewNode { labels: vec!["Person".to_owned()], properties: vec![secret("name")] }],
        }])
        .then([Step::CreateEdges {
            rows: vec![NewEdge {
                start: who,
                end: EntityRef::Row { pipeline: 1, row: 0 },
                edge_type: "KNOWS".to_owned(),
                properties: Vec::new(),
            }],
        }]);
        assert_eq!(
            of_plan(&plan),
            "node $who, 7 | expand out KNOWS | filter name = ? | set age, name; create (:Person {name}); \
             create ($who)-[:KNOWS]->(row 1.0)"
        );
    }

    #[test]
    fn a_text_is_short_and_harmless_whatever_was_sent() {
        let evil = "\x1b[2J".to_owned() + &"ä".repeat(1000);
        let ids = (0..100_000).map(EntityRef::Id).collect();
        let source = Step::Node { ids, required: false };
        let step = Step::HasLabel { label: evil };
        let text = of_plan(&Plan { pipelines: vec![[vec![source], vec![step; 1000]].concat()] });
        assert!(text.starts_with("node 0, 1, 2, 3, ... (100000) | has label \\u{1b}[2J"), "{text}");
        assert!(text.len() < 2 * TEXT_BYTES && text.ends_with("..."), "{text}");
        assert!(graphite_protocol::is_harmless(&text));
    }
}
