//! Plans as clients in other languages write them, and what is told of them without running them.

use graphite_protocol::{
    ColumnKind, Comparison, DecodeError, DecodeErrorKind, Decoder, Direction, Encoder, EntityRef, Expansion,
    NewEdge, NewNode, Operand, OrderBy, Pairs, Plan, Step, Value, Wire,
};

/// A map, written as a client does.
macro_rules! map {
    ($($key:literal: $value:expr),* $(,)?) => {
        Value::Map(vec![$(($key.to_owned(), Value::from($value))),*])
    };
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::List(items.to_vec())
}

fn texts<const N: usize>(items: [&str; N]) -> Value {
    Value::List(items.iter().map(|text| Value::from(*text)).collect())
}

fn read(plan: &Value) -> Result<Plan, DecodeError> {
    let mut bytes = Vec::new();
    plan.write(&mut Encoder::new(&mut bytes));
    let mut from = Decoder::new(&bytes);
    let plan = Plan::read(&mut from)?;
    from.finish()?;
    Ok(plan)
}

fn read_step(step: Value) -> Result<Step, DecodeError> {
    let plan = read(&map! { "v": 1, "steps": list([step]) })?;
    Ok(plan.pipelines[0][0].clone())
}

fn refused(step: Value) -> String {
    read_step(step).unwrap_err().to_string()
}

fn strings<const N: usize>(items: [&str; N]) -> Vec<String> {
    items.map(str::to_owned).to_vec()
}

#[test]
fn each_source_as_it_is_written() {
    let ids = |ids: &[u64]| ids.iter().copied().map(EntityRef::from).collect::<Vec<_>>();
    for (written, step) in [
        (map! { "op": "node", "id": 5 }, Step::Node { ids: ids(&[5]), required: false }),
        (
            map! { "op": "node", "ids": list([5.into(), map! { "param": "who" }]), "required": true },
            Step::Node { ids: vec![5.into(), EntityRef::Param("who".into())], required: true },
        ),
        (
            map! { "op": "edge", "id": map! { "ref": 2 } },
            Step::Edge { ids: vec![EntityRef::first_of(2)], required: false },
        ),
        (map! { "op": "edge", "ids": list([]) }, Step::Edge { ids: vec![], required: false }),
        (map! { "op": "nodes" }, Step::Nodes { label: None }),
        (map! { "op": "nodes", "label": "P" }, Step::Nodes { label: Some("P".into()) }),
        (map! { "op": "edges", "type": "T" }, Step::Edges { edge_type: Some("T".into()) }),
        (map! { "op": "create_node" }, Step::CreateNode { labels: vec![], properties: Pairs::default() }),
        (
            map! { "op": "create_node", "labels": texts(["P"]), "properties": map! { "n": 1, "m": map! { "param": "m" } } },
            Step::CreateNode {
                labels: strings(["P"]),
                properties: Pairs(vec![("n".into(), 1.into()), ("m".into(), Operand::Param("m".into()))]),
            },
        ),
        (
            map! { "op": "create_edge", "start": map! { "ref": 0, "row": 3 }, "end": 7, "type": "T" },
            Step::CreateEdge {
                start: EntityRef::Row { pipeline: 0, row: 3 },
                end: 7.into(),
                edge_type: "T".into(),
                properties: Pairs::default(),
            },
        ),
        (
            map! { "op": "create_nodes", "rows": list([map! { "labels": texts(["P"]) }, map! {}]) },
            Step::CreateNodes {
                rows: vec![
                    NewNode { labels: strings(["P"]), properties: Pairs::default() },
                    NewNode { labels: vec![], properties: Pairs::default() },
                ],
            },
        ),
        (
            map! { "op": "create_edges", "rows": list([map! { "start": 1, "end": 2, "type": "T" }]) },
            Step::CreateEdges {
                rows: vec![NewEdge {
                    start: 1.into(),
                    end: 2.into(),
                    edge_type: "T".into(),
                    properties: Pairs::default(),
                }],
            },
        ),
        (
            map! { "op": "shortest_path", "from": 1, "to": 2, "direction": "both", "types": texts(["T"]), "max_hops": 4 },
            Step::ShortestPath {
                from: 1.into(),
                to: 2.into(),
                direction: Direction::Both,
                types: strings(["T"]),
                max_hops: Some(4),
            },
        ),
    ] {
        assert_eq!(read_step(written), Ok(step));
    }
}

#[test]
fn each_transform_as_it_is_written() {
    for (written, step) in [
        (
            map! { "op": "filter", "key": "age", "cmp": "ge", "value": 18 },
            Step::Filter { key: "age".into(), comparison: Comparison::Ge, value: Some(18.into()) },
        ),
        (
            map! { "op": "filter", "key": "age", "cmp": "exists" },
            Step::Filter { key: "age".into(), comparison: Comparison::Exists, value: None },
        ),
        (map! { "op": "has_label", "label": "P" }, Step::HasLabel { label: "P".into() }),
        (
            map! { "op": "expand" },
            Step::Expand { direction: Direction::Out, types: vec![], to: Expansion::Nodes },
        ),
        (
            map! { "op": "expand", "direction": "in", "types": texts(["T", "U"]), "to": "both" },
            Step::Expand { direction: Direction::In, types: strings(["T", "U"]), to: Expansion::Both },
        ),
        (
            map! { "op": "khop", "max": 3 },
            Step::KHop { direction: Direction::Out, types: vec![], min: 1, max: 3 },
        ),
        (map! { "op": "distinct" }, Step::Distinct {}),
        (map! { "op": "count" }, Step::Count {}),
        (map! { "op": "degree" }, Step::Degree { direction: Direction::Both, types: vec![] }),
        (
            map! { "op": "properties", "keys": texts(["a", "b"]) },
            Step::Properties { keys: strings(["a", "b"]) },
        ),
        (map! { "op": "ids" }, Step::Ids {}),
        (
            map! { "op": "order", "by": map! { "key": "age" }, "desc": true },
            Step::Order { by: OrderBy::Key("age".into()), desc: true },
        ),
        (
            map! { "op": "order", "by": map! { "column": "degree" } },
            Step::Order { by: OrderBy::Column("degree".into()), desc: false },
        ),
        (map! { "op": "limit", "n": 10 }, Step::Limit { n: 10 }),
        (map! { "n": 10, "op": "skip" }, Step::Skip { n: 10 }),
        (
            map! { "op": "set", "properties": map! { "a": Value::Nil } },
            Step::Set { properties: Pairs(vec![("a".into(), Operand::Value(Value::Nil))]) },
        ),
        (map! { "op": "replace", "properties": map! {} }, Step::Replace { properties: Pairs::default() }),
        (map! { "op": "add_labels", "labels": texts(["P"]) }, Step::AddLabels { labels: strings(["P"]) }),
        (
            map! { "op": "remove_labels", "labels": texts(["P"]) },
            Step::RemoveLabels { labels: strings(["P"]) },
        ),
        (map! { "op": "delete" }, Step::Delete { detach: false }),
        (map! { "op": "delete", "detach": true }, Step::Delete { detach: true }),
    ] {
        assert_eq!(read_step(written), Ok(step));
    }
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(refused(map! { "op": "expnad" }), "steps[0]: \"expnad\" is not a step that this side knows");
    assert_eq!(refused(map! { "n": 1 }), "steps[0]: a step needs the field \"op\"");
    assert_eq!(refused(map! { "op": "limit" }), "steps[0]: step limit needs the field \"n\"");
    assert_eq!(refused(map! { "op": "limit", "n": 1, "m": 2 }), "steps[0]: step limit has no field \"m\"");
    assert_eq!(refused(map! { "op": "limit", "n": "1" }), "steps[0].n: expected an integer, found a string");
    assert_eq!(
        refused(map! { "op": "expand", "direction": "up" }),
        "steps[0].direction: \"up\" is not a direction (out, in, both)"
    );
    let map_property = refused(map! { "op": "set", "properties": map! { "a": map! { "b": 1 } } });
    assert!(map_property.starts_with("steps[0].properties.a: a map cannot stand here"), "{map_property}");
    for entity in
        [map! {}, map! { "param": "a", "ref": 1 }, map! { "row": 1 }, map! { "param": "a", "row": 1 }]
    {
        let error = refused(map! { "op": "node", "id": entity });
        assert!(error.starts_with("steps[0].id: an entity is an id"), "{error}");
    }
    for by in [map! {}, map! { "key": "a", "column": "b" }, map! { "age": "a" }] {
        assert!(refused(map! { "op": "order", "by": by }).starts_with("steps[0].by: order is by"));
    }
}

#[test]
fn a_plan_of_another_version_is_refused_with_both() {
    // A later version may have fields that this one does not know, and may write them first.
    let error = read(&map! { "hints": list([]), "v": 2, "graph": 7 }).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::PlanVersion { found: 2, expected: 1 });
    assert_eq!(error.to_string(), "the plan has version 2, and this side reads version 1");
}

#[test]
fn plans_of_other_shapes_are_refused() {
    for plan in [
        map! {},
        map! { "v": 1 },
        map! { "steps": list([]) },
        map! { "v": 1, "steps": list([]), "pipelines": list([]) },
        map! { "v": 1, "steps": list([]), "hints": 1 },
        map! { "v": "1", "steps": list([]) },
        map! { "v": 1, "pipelines": list([map! { "op": "nodes" }]) },
        list([]),
    ] {
        assert!(read(&plan).is_err(), "{plan:?}");
    }
    let one = read(&map! { "v": 1, "pipelines": list([list([map! { "op": "nodes" }])]) }).unwrap();
    assert_eq!(one, Plan::of([Step::Nodes { label: None }]));
}

fn nodes() -> Step {
    Step::Nodes { label: None }
}

fn expand(to: Expansion) -> Step {
    Step::Expand { direction: Direction::Out, types: vec![], to }
}

fn degree() -> Step {
    Step::Degree { direction: Direction::Both, types: vec![] }
}

fn columns(steps: Vec<Step>) -> Vec<(String, ColumnKind)> {
    let shape = Plan::of(steps).shape().unwrap();
    shape.columns.into_iter().map(|column| (column.name, column.kind)).collect()
}

#[test]
fn the_columns_of_the_answer() {
    use ColumnKind::{Edge, Node, Path, Value};
    let expect = |steps: Vec<Step>, expected: &[(&str, ColumnKind)]| {
        let expected: Vec<_> = expected.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        assert_eq!(columns(steps), expected);
    };
    expect(vec![nodes()], &[("node", Node)]);
    expect(vec![Step::Edges { edge_type: None }], &[("edge", Edge)]);
    expect(vec![nodes(), expand(Expansion::Edges)], &[("edge", Edge)]);
    expect(vec![nodes(), expand(Expansion::Both)], &[("edge", Edge), ("node", Node)]);
    expect(vec![nodes(), expand(Expansion::Both), expand(Expansion::Nodes)], &[("node", Node)]);
    expect(vec![nodes(), degree()], &[("node", Node), ("degree", Value)]);
    expect(vec![nodes(), degree(), Step::Ids {}], &[("node", Value), ("degree", Value)]);
    let keys = Step::Properties { keys: strings(["a", "b"]) };
    expect(vec![nodes(), keys.clone()], &[("a", Value), ("b", Value)]);
    expect(vec![nodes(), expand(Expansion::Both), keys], &[("edge", Edge), ("a", Value), ("b", Value)]);
    expect(
        vec![nodes(), expand(Expansion::Both), Step::Ids {}, Step::Distinct {}],
        &[("edge", Value), ("node", Value)],
    );
    expect(vec![nodes(), Step::Count {}], &[("count", Value)]);
    let path = Step::ShortestPath {
        from: 1.into(),
        to: 2.into(),
        direction: Direction::Out,
        types: vec![],
        max_hops: None,
    };
    expect(vec![path, Step::Limit { n: 1 }], &[("path", Path)]);
    expect(vec![nodes(), Step::Delete { detach: true }], &[]);
}

#[test]
fn a_plan_that_makes_no_sense_is_refused() {
    let refused = |steps: Vec<Step>, why: &str| {
        let error = Plan::of(steps.clone()).shape().unwrap_err().to_string();
        assert!(error.contains(why), "{steps:?}: {error}");
    };
    refused(vec![], "at least one step");
    refused(vec![Step::Count {}], "pipelines[0][0]: a pipeline starts with a source");
    refused(vec![nodes(), nodes()], "pipelines[0][1]: a source is the first step");
    refused(vec![Step::Edges { edge_type: None }, expand(Expansion::Nodes)], "needs a node");
    refused(vec![nodes(), Step::Count {}, degree()], "needs a node");
    refused(vec![nodes(), Step::Ids {}, Step::Set { properties: Pairs::default() }], "needs a node or edge");
    refused(vec![nodes(), degree(), degree()], "same name");
    refused(vec![nodes(), Step::Properties { keys: strings(["a", "a"]) }], "same name");
    refused(vec![nodes(), Step::Delete { detach: false }, Step::Count {}], "last step");
    refused(vec![nodes(), Step::Order { by: OrderBy::Column("age".into()), desc: false }], "not there");
    refused(vec![nodes(), Step::KHop { direction: Direction::Out, types: vec![], min: 3, max: 2 }], "min");
    let filter = |comparison, value| Step::Filter { key: "a".into(), comparison, value };
    refused(vec![nodes(), filter(Comparison::Exists, Some(1.into()))], "filter needs a value");
    refused(vec![nodes(), filter(Comparison::Eq, None)], "filter needs a value");
    assert!(Plan::default().shape().is_err());
}

#[test]
fn references_point_backwards_and_at_what_is_needed() {
    let node = || vec![Step::CreateNode { labels: vec![], properties: Pairs::default() }];
    let edge = |start, end| {
        vec![Step::CreateEdge { start, end, edge_type: "T".into(), properties: Pairs::default() }]
    };
    let first = EntityRef::first_of;
    let triple = Plan::of(node()).then(node()).then(edge(first(0), first(1)));
    let shape = triple.shape().unwrap();
    assert!(shape.writes);
    assert_eq!(shape.columns[0].kind, ColumnKind::Edge);

    for plan in [
        Plan::of(node()).then(edge(first(0), first(1))),
        Plan::of(edge(first(0), first(0))),
        triple.clone().then(edge(first(2), first(0))),
        Plan::of(vec![nodes(), Step::Count {}]).then(edge(first(0), first(0))),
        Plan::of(vec![nodes(), Step::Delete { detach: false }]).then(edge(first(0), first(0))),
    ] {
        assert!(plan.shape().unwrap_err().to_string().contains("a reference names"), "{plan:?}");
    }
}

#[test]
fn a_plan_writes_if_any_pipeline_does() {
    assert!(!Plan::of([nodes(), expand(Expansion::Nodes), Step::Count {}]).shape().unwrap().writes);
    let set = || vec![nodes(), Step::Set { properties: Pairs::default() }];
    assert!(Plan::of(set()).shape().unwrap().writes);
    assert!(Plan::of(set()).then([nodes()]).shape().unwrap().writes);
    assert!(Plan::of([nodes(), Step::Delete { detach: false }]).shape().unwrap().writes);
}
