//! Cursors: resumed anywhere, cancelled, bounded, and the order and equality of values as they answer.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::naive::evaluate;
use common::{
    Flat, Model, ModelEdge, ModelNode, add_edge, add_node, cells, count, expand, new_db, node, prepared,
    read, snapshot,
};
use graphite_graph::{Direction, GraphDb, NodeId, Snapshot, Value};
use graphite_query::{
    At, Batch, Budget, Cell, Comparison, Cursor, EntityRef, Error, Expansion, Operand, OrderBy, Params, Plan,
    Progress, Result, Step, run_write,
};

const SPOKES: usize = 4500;

/// A hub with loops, parallel edges and edges both ways, and a few chains behind it.
struct Wheel {
    db: GraphDb,
    model: Model,
    hub: NodeId,
    spokes: Vec<NodeId>,
}

fn wheel() -> &'static Wheel {
    static WHEEL: OnceLock<Wheel> = OnceLock::new();
    WHEEL.get_or_init(|| {
        let (db, mut model) = (new_db(), Model::default());
        let mut tx = db.begin().unwrap();
        let hub = add_node(&mut tx, &mut model, ModelNode::default());
        let mut spokes = Vec::new();
        for index in 0..SPOKES as i64 {
            let properties = [("x".to_owned(), Value::Int(index % 7))].into();
            spokes.push(add_node(&mut tx, &mut model, ModelNode { properties, ..ModelNode::default() }));
        }
        let mut edge = |edge_type: &str, start, end| {
            let edge_type = edge_type.to_owned();
            add_edge(&mut tx, &mut model, ModelEdge { edge_type, start, end, properties: [].into() });
        };
        for (index, &spoke) in spokes.iter().enumerate() {
            edge("KNOWS", hub, spoke);
            if index % 3 == 0 {
                edge("KNOWS", spoke, hub);
            }
            if index % 50 == 0 {
                edge("友", hub, spoke);
                edge("友", hub, hub);
                edge("LIEGT_IN", spoke, spokes[(index + 1) % SPOKES]);
            }
        }
        tx.commit().unwrap();
        Wheel { db, model, hub, spokes }
    })
}

fn view() -> Snapshot {
    snapshot(&wheel().db)
}

fn no_params() -> Params {
    Params::new()
}

fn by_key(key: &str, desc: bool) -> Step {
    Step::Order { by: OrderBy::Key(key.to_owned()), desc }
}

#[test]
fn a_hub_is_walked_in_batches_of_any_size() {
    let wheel = wheel();
    let view = view();
    for direction in [Direction::Out, Direction::In, Direction::Both] {
        for to in [Expansion::Nodes, Expansion::Edges, Expansion::Both] {
            for types in [vec![], vec!["友".to_owned(), "KNOWS".to_owned()]] {
                // The second spoke comes before and after the hub, so that small nodes stand around it.
                let ids =
                    [wheel.spokes[1], wheel.hub, wheel.spokes[0]].map(|id| EntityRef::Id(id.0)).to_vec();
                let source = Step::Node { ids, required: true };
                let plan = Plan::of([source, Step::Expand { direction, types, to }]);
                let expected = evaluate(&wheel.model, &plan.pipelines[0], &no_params());
                assert!(expected.len() > 1400);
                for rows in [1, 1000, 1024, 1025, 100_000] {
                    let found = read(&plan, &no_params(), &view, &wheel.model, rows).unwrap();
                    assert!(found == expected, "{plan:?} in batches of {rows}");
                }
            }
        }
    }
}

#[test]
fn sorting_and_remembering_operators_rest_too() {
    let wheel = wheel();
    let view = view();
    let khop = Step::KHop { direction: Direction::Both, types: vec![], min: 0, max: 3 };
    let skip = Step::Skip { n: 2500 };
    let from = |steps: &[Step]| Plan::of([&[node(wheel.spokes[1])], steps].concat());
    let hop = || expand(Direction::Both, &[]);
    let plans = [
        from(&[khop]),
        from(&[hop(), hop(), by_key("x", true), skip.clone(), Step::Limit { n: 300 }]),
        from(&[
            hop(),
            hop(),
            Step::Distinct,
            by_key("x", false),
            Step::Properties { keys: vec!["x".into()] },
        ]),
        from(&[hop(), hop(), Step::Properties { keys: vec!["x".into()] }, Step::Distinct]),
    ];
    for plan in plans {
        let expected = evaluate(&wheel.model, &plan.pipelines[0], &no_params());
        assert!(!expected.is_empty());
        for rows in [1, 600, 5000] {
            let found = read(&plan, &no_params(), &view, &wheel.model, rows).unwrap();
            assert!(found == expected, "{plan:?} in batches of {rows}");
        }
    }
}

#[test]
fn counts_agree_with_rows() {
    let wheel = wheel();
    let view = view();
    let types = vec!["KNOWS".to_owned()];
    let khop = Step::KHop { direction: Direction::Out, types, min: 1, max: 2 };
    let walks = |types: &'static [&'static str]| {
        [expand(Direction::Both, &["LIEGT_IN"]), expand(Direction::Out, types), expand(Direction::Out, types)]
    };
    let chains = [
        vec![khop],
        walks(&[]).into_iter().chain([Step::Distinct]).collect(),
        walks(&["KNOWS"]).into_iter().chain([Step::Distinct]).collect(),
        walks(&["never used"]).into_iter().chain([Step::Distinct]).collect(),
        walks(&[]).to_vec(),
    ];
    for chain in chains {
        for start in [node(wheel.hub), node(wheel.spokes[0]), node(NodeId(1 << 40))] {
            let steps = [vec![start], chain.clone()].concat();
            let rows = evaluate(&wheel.model, &steps, &no_params()).len();
            let plan = Plan::of([steps, vec![Step::Count]].concat());
            assert_eq!(count(&plan, &view), rows as i64, "{plan:?}");
        }
    }
    assert_eq!(count(&Plan::of([Step::Nodes { label: None }, Step::Count]), &view), SPOKES as i64 + 1);
    let edges = wheel.model.edges.len() as i64;
    assert_eq!(count(&Plan::of([Step::Edges { edge_type: None }, Step::Count]), &view), edges);
}

fn first_error(plan: Plan, budget: &Budget) -> Error {
    let mut cursor = Cursor::open(prepared(&plan), Arc::default()).unwrap();
    let (mut batch, view) = (Batch::default(), view());
    loop {
        match cursor.next_batch(&view, 1000, &mut batch, budget) {
            Ok(Progress::More) => {}
            Ok(Progress::Done) => panic!("it came to its end"),
            Err(error) => {
                let after = cursor.next_batch(&view, 1000, &mut batch, &Budget::default()).unwrap();
                assert_eq!((after, batch.len()), (Progress::Done, 0), "after an error comes the end");
                return error;
            }
        }
    }
}

/// Far more walks than any machine counts.
fn endless(end: &[Step]) -> Plan {
    let wheel = wheel();
    let mut steps = vec![node(wheel.hub)];
    steps.extend((0..9).map(|_| expand(Direction::Both, &[])));
    steps.extend_from_slice(end);
    Plan::of(steps)
}

#[test]
fn what_has_no_end_is_cancelled() {
    let never = Step::Filter { key: "x".into(), comparison: Comparison::Eq, value: Some(Operand::from(99)) };
    let no_label = Step::HasLabel { label: "never used".into() };
    for end in [vec![Step::Count], vec![never, Step::Count], vec![Step::Skip { n: u64::MAX }], vec![]] {
        let flag = Arc::new(AtomicBool::new(false));
        let budget = Budget::new(flag.clone());
        let setter = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            flag.store(true, Ordering::Relaxed);
        });
        assert!(matches!(first_error(endless(&end), &budget), Error::Cancelled));
        setter.join().unwrap();
        let limited = Budget::default().steps_max(20_000);
        if !end.is_empty() {
            assert!(matches!(first_error(endless(&end), &limited), Error::StepLimit { steps_max: 20_000 }));
        }
    }
    assert_eq!(cells(&endless(&[no_label]), &view()), Vec::<Vec<Cell>>::new(), "no label, no walk");
}

#[test]
fn memory_is_bounded() {
    let wheel = wheel();
    let limit = |bytes| Budget::default().memory_bytes_max(bytes);
    let hops = |count, end: &[Step]| {
        let mut steps = vec![node(wheel.spokes[1])];
        steps.extend((0..count).map(|_| expand(Direction::Both, &[])));
        steps.extend_from_slice(end);
        Plan::of(steps)
    };
    let x = Step::Properties { keys: vec!["x".into()] };
    let refused = [
        hops(2, &[by_key("x", false)]),
        hops(2, &[Step::Distinct]),
        hops(2, &[Step::Degree { direction: Direction::Out, types: vec![] }, Step::Distinct]),
        hops(0, &[Step::KHop { direction: Direction::Both, types: vec![], min: 1, max: 3 }]),
        hops(0, &[Step::KHop { direction: Direction::Both, types: vec![], min: 1, max: 3 }, Step::Count]),
        hops(3, &[Step::Distinct, Step::Count]),
    ];
    for plan in refused {
        let steps = &plan.pipelines[0];
        let place = steps.iter().rposition(|step| !matches!(step, Step::Properties { .. })).unwrap();
        let place = At { pipeline: 0, step: place, op: steps[place].op() };
        let error = first_error(plan.clone(), &limit(2000));
        let Error::MemoryLimit { at, bytes_max: 2000 } = error else { panic!("{plan:?}: {error:?}") };
        assert_eq!(at, place, "{plan:?}");
    }
    // Few distinct rows of many take little, and so do the first rows of an order.
    let budget = limit(100_000);
    let mut batch = Batch::default();
    for (plan, rows) in [
        (hops(2, &[x, Step::Distinct]), 8),
        (hops(4, &[Step::Limit { n: 200_000 }, by_key("x", false), Step::Limit { n: 3 }]), 3),
    ] {
        let mut cursor = Cursor::open(prepared(&plan), Arc::default()).unwrap();
        let progress = cursor.next_batch(&view(), 1000, &mut batch, &budget).unwrap();
        assert_eq!((progress, batch.len()), (Progress::Done, rows));
    }
}

#[test]
fn a_search_finds_the_way() {
    let wheel = wheel();
    let (from, to) = (wheel.spokes[1], wheel.spokes[2]);
    let search = |direction, max_hops| {
        Plan::of([Step::Node { ids: vec![EntityRef::Id(from.0)], required: false }]).then([
            Step::ShortestPath {
                from: EntityRef::Row { pipeline: 0, row: 0 },
                to: EntityRef::Param("to".into()),
                direction,
                types: vec!["KNOWS".into()],
                max_hops,
            },
        ])
    };
    let params = Params::from([("to".to_owned(), Value::Int(to.0 as i64))]);
    let found = |plan| read(&plan, &params, &view(), &wheel.model, 10).unwrap();
    let both = found(search(Direction::Both, None));
    let [row] = both.as_slice() else { panic!("one path: {both:?}") };
    let [Flat::Path(nodes, edges)] = row.as_slice() else { panic!("a path: {row:?}") };
    assert_eq!(nodes, &[from, wheel.hub, to]);
    assert_eq!(edges.len(), 2);
    assert!(found(search(Direction::Both, Some(1))).is_empty());
    assert!(found(search(Direction::Out, None)).is_empty(), "no edge leads from this spoke to the hub");

    let open = |plan: Plan, params| Cursor::open(prepared(&plan), Arc::new(params)).unwrap();
    let mut batch = Batch::default();
    let nobody = Params::from([("to".to_owned(), Value::Int(1 << 40))]);
    let error = open(search(Direction::Both, None), nobody)
        .next_batch(&view(), 1, &mut batch, &Budget::default())
        .unwrap_err();
    assert!(matches!(error.graph(), Some(graphite_graph::Error::NodeNotFound(_))), "{error:?}");
}

/// Two stars with a way of four edges between their hubs, so that a search from leaf to leaf meets neither early.
#[test]
fn a_search_keeps_no_more_than_it_may() {
    const LEAVES: usize = 700;
    let (db, mut model) = (new_db(), Model::default());
    let mut tx = db.begin().unwrap();
    let node = |tx: &mut _, model: &mut _| add_node(tx, model, ModelNode::default());
    let way: Vec<NodeId> = (0..5).map(|_| node(&mut tx, &mut model)).collect();
    let leaves: Vec<NodeId> = (0..2 * LEAVES).map(|_| node(&mut tx, &mut model)).collect();
    let ends = way.windows(2).map(|pair| (pair[0], pair[1]));
    let spokes = leaves.iter().enumerate().map(|(index, leaf)| (way[index % 2 * 4], *leaf));
    for (start, end) in ends.chain(spokes) {
        let edge = ModelEdge { edge_type: "KNOWS".into(), start, end, properties: [].into() };
        add_edge(&mut tx, &mut model, edge);
    }
    tx.commit().unwrap();
    let view = snapshot(&db);
    let [from, to] = [leaves[0], leaves[1]].map(|id| EntityRef::Id(id.0));
    let types = vec![];
    let search = Step::ShortestPath { from, to, direction: Direction::Both, types, max_hops: None };
    let plan = Plan::of([search]);
    let found = read(&plan, &no_params(), &view, &model, 1).unwrap();
    let nodes = [&leaves[..1], &way, &leaves[1..2]].concat();
    assert!(matches!(&found[0][..], [Flat::Path(path, edges)] if *path == nodes && edges.len() == 6));

    let mut cursor = Cursor::open(prepared(&plan), Arc::default()).unwrap();
    let small = Budget::default().memory_bytes_max(1000);
    let error = cursor.next_batch(&view, 1, &mut Batch::default(), &small).unwrap_err();
    let expected = At { pipeline: 0, step: 0, op: "shortest_path" };
    assert!(matches!(error, Error::MemoryLimit { at, .. } if at == expected), "{error:?}");
}

fn one_batch(plan: Plan, params: Params) -> Result<Vec<Vec<Flat>>> {
    read(&plan, &params, &view(), &wheel().model, 10)
}

#[test]
fn what_refers_to_nothing_says_so() {
    let wheel = wheel();
    let refer = |row, required| Step::Node { ids: vec![EntityRef::Row { pipeline: 0, row }], required };
    let two = Step::Node {
        ids: [wheel.hub, wheel.spokes[0]].map(|id| EntityRef::Id(id.0)).to_vec(),
        required: false,
    };
    let second = one_batch(Plan::of([two.clone()]).then([refer(1, true)]), no_params()).unwrap();
    assert_eq!(second, [[Flat::Node(wheel.spokes[0])]]);
    assert!(one_batch(Plan::of([two.clone()]).then([refer(2, false)]), no_params()).unwrap().is_empty());
    let error = one_batch(Plan::of([two.clone()]).then([refer(2, true)]), no_params()).unwrap_err();
    assert!(matches!(error, Error::RowNotFound { pipeline: 0, row: 2, rows: 2, .. }), "{error:?}");

    let missing = Step::Node { ids: vec![EntityRef::Id(1 << 40)], required: true };
    let stale = Step::Node { ids: vec![EntityRef::Id(wheel.hub.0 | 9 << 48)], required: true };
    let missing_edge = Step::Edge { ids: vec![EntityRef::Id(1 << 40)], required: true };
    for (plan, pipeline) in [
        (Plan::of([missing.clone()]), 0),
        (Plan::of([stale, Step::Properties { keys: vec!["x".into()] }]), 0),
        (Plan::of([missing.clone(), expand(Direction::Out, &[]), Step::Count]), 0),
        (Plan::of([missing_edge.clone(), Step::Ids]), 0),
        (Plan::of([missing]).then([two]), 0),
    ] {
        let error = one_batch(plan, no_params()).unwrap_err();
        let Error::Graph { at, source } = error else { panic!("{error:?}") };
        use graphite_graph::Error::{EdgeNotFound, NodeNotFound};
        assert!(matches!(source, NodeNotFound(_) | EdgeNotFound(_)), "{source:?}");
        assert_eq!(at.pipeline, pipeline);
    }

    // Nor do those say nothing of whom so little is asked that they need not be looked at.
    let far = Step::Node { ids: [wheel.hub.0, 1 << 40].map(EntityRef::Id).to_vec(), required: true };
    let far_edge = Step::Edge { ids: vec![EntityRef::Id(1 << 40)], required: true };
    let unused = Step::Filter {
        key: "a key that nobody ever used".into(),
        comparison: Comparison::Eq,
        value: Some(Operand::from(1)),
    };
    for source in [far, far_edge] {
        let mut after = vec![unused.clone(), Step::Limit { n: 0 }, Step::Limit { n: 1 }];
        if let Step::Node { .. } = source {
            after.push(Step::HasLabel { label: "a label that nobody ever had".into() });
        }
        for step in after {
            for plan in [
                Plan::of([source.clone(), step.clone()]),
                Plan::of([source.clone(), step.clone(), Step::Count]),
                Plan::of([source.clone(), step.clone(), Step::Distinct]),
            ] {
                let error = one_batch(plan.clone(), no_params());
                assert!(matches!(error, Err(Error::Graph { .. })), "{plan:?}: {error:?}");
            }
        }
    }
    let there = Step::Node { ids: vec![EntityRef::Id(wheel.hub.0)], required: true };
    assert_eq!(one_batch(Plan::of([there, unused]), no_params()).unwrap(), Vec::<Vec<Flat>>::new());

    let by_param = Plan::of([Step::Node { ids: vec![EntityRef::Param("p".into())], required: false }]);
    let error = one_batch(by_param.clone(), no_params()).unwrap_err();
    assert!(matches!(error, Error::ParameterMissing { ref name, .. } if name == "p"), "{error:?}");
    let error = one_batch(by_param, Params::from([("p".to_owned(), Value::from("x"))])).unwrap_err();
    assert!(matches!(error, Error::ParameterKind { found: "a string", .. }), "{error:?}");
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let nodes = || Step::Nodes { label: None };
    let edges = || Step::Edges { edge_type: None };
    let out = || expand(Direction::Out, &[]);
    let x = |comparison, value| Step::Filter { key: "x".into(), comparison, value };
    let degree = || Step::Degree { direction: Direction::Out, types: vec![] };
    let by_column = Step::Order { by: OrderBy::Column("nobody".into()), desc: false };
    let refer = |pipeline| Step::Node { ids: vec![EntityRef::Row { pipeline, row: 0 }], required: false };
    let wrong = [
        (Plan::of([out()]), 0, 0),
        (Plan::of([nodes(), nodes()]), 0, 1),
        (Plan::of([edges(), out()]), 0, 1),
        (Plan::of([edges(), Step::HasLabel { label: "A".into() }]), 0, 1),
        (Plan::of([nodes(), Step::Ids, out()]), 0, 2),
        (Plan::of([nodes(), Step::Count, Step::Ids]), 0, 2),
        (Plan::of([nodes(), x(Comparison::Eq, None)]), 0, 1),
        (Plan::of([nodes(), x(Comparison::Exists, Some(Operand::from(1)))]), 0, 1),
        (Plan::of([nodes(), degree(), degree()]), 0, 2),
        (Plan::of([nodes(), Step::Properties { keys: vec!["a".into(), "a".into()] }]), 0, 1),
        (Plan::of([nodes(), by_column]), 0, 1),
        (Plan::of([nodes(), Step::KHop { direction: Direction::Out, types: vec![], min: 2, max: 1 }]), 0, 1),
        (Plan::of([nodes(), Step::Delete { detach: true }, Step::Count]), 0, 1),
        (Plan::of([refer(0)]), 0, 0),
        (Plan::of([edges()]).then([refer(0)]), 1, 0),
        (Plan::of([nodes(), Step::Count]).then([refer(0)]), 1, 0),
    ];
    for (plan, pipeline, step) in wrong {
        let error = plan.check().unwrap_err();
        let Error::InvalidStep { at, .. } = error else { panic!("{plan:?}: {error:?}") };
        assert_eq!((at.pipeline, at.step), (pipeline, step), "{plan:?}");
        assert_eq!(at.op, plan.pipelines[pipeline][step].op());
    }
    assert!(matches!(Plan::default().check(), Err(Error::EmptyPlan)));
    assert!(matches!(Plan::of([nodes()]).then([]).check(), Err(Error::EmptyPipeline { pipeline: 1 })));
    let write = Plan::of([nodes()]).then([nodes(), Step::Delete { detach: true }]);
    assert!(write.is_write() && write.check().is_ok());
    let refused = Cursor::open(prepared(&write), Arc::default()).err().unwrap();
    assert!(
        matches!(refused, Error::NotARead { at: At { pipeline: 1, step: 1, op: "delete" } }),
        "{refused:?}"
    );
}

#[test]
fn values_of_all_kinds_have_an_order() {
    let ascending = [
        Value::List(vec![]),
        Value::List(vec![Value::Null]),
        Value::DateTime { seconds: 0, nanos: 0, offset: 0, zone: None },
        Value::LocalDateTime { seconds: 0, nanos: 0 },
        Value::Date { days: 0 },
        Value::Time { nanos: 0, offset: 0 },
        Value::LocalTime { nanos: 0 },
        Value::Duration { months: 0, days: 0, seconds: 1, nanos: 0 },
        Value::Bytes(vec![1]),
        Value::from("Z"),
        Value::from("a"),
        Value::from("é"),
        Value::from("𝄞"),
        Value::Bool(false),
        Value::Bool(true),
        Value::Float(-1.5),
        Value::Int(2),
        Value::Float(2.5),
        Value::Float(f64::NAN),
        Value::Null,
    ];
    let (db, mut model) = (new_db(), Model::default());
    let mut tx = db.begin().unwrap();
    // From the middle outwards, so that the order made is not the order wanted.
    for index in (0..ascending.len()).map(|index| index * 7 % ascending.len()) {
        let properties =
            [("v".to_owned(), ascending[index].clone())].into_iter().filter(|(_, v)| !v.is_null());
        let properties = properties.collect();
        add_node(&mut tx, &mut model, ModelNode { properties, ..ModelNode::default() });
    }
    tx.commit().unwrap();
    let view = snapshot(&db);
    let values = |desc, by_column: bool| -> Vec<Value> {
        let project = Step::Properties { keys: vec!["v".into()] };
        let by = Step::Order { by: OrderBy::Column("v".into()), desc };
        let steps = if by_column { [project, by] } else { [by_key("v", desc), project] };
        let plan = Plan::of([vec![Step::Nodes { label: None }], steps.to_vec()].concat());
        let rows = cells(&plan, &view).into_iter().flatten();
        rows.map(|cell| match cell {
            Cell::Value(value) => value,
            other => panic!("a value: {other:?}"),
        })
        .collect()
    };
    for by_column in [false, true] {
        assert_eq!(values(false, by_column), ascending);
        let mut descending = ascending.to_vec();
        descending.reverse();
        assert_eq!(values(true, by_column), descending, "null comes first");
    }
}

/// One prepared plan, run again and again while labels, types and keys that it names are made.
#[test]
fn a_prepared_plan_finds_what_got_its_name_later() {
    let db = new_db();
    let step = |key: &str| Step::Filter { key: key.to_owned(), comparison: Comparison::Exists, value: None };
    let labelled = Step::Nodes { label: Some("Late".to_owned()) };
    let follow =
        Step::Expand { direction: Direction::Out, types: vec!["LATE".to_owned()], to: Expansion::Nodes };
    let plan = prepared(&Plan::of([labelled, step("late"), follow, Step::Ids]));
    let run = || {
        let mut cursor = Cursor::open(plan.clone(), Arc::default()).unwrap();
        let mut batch = Batch::default();
        cursor.next_batch(&snapshot(&db), 10, &mut batch, &Budget::default()).unwrap();
        batch.rows().map(<[Cell]>::to_vec).collect::<Vec<_>>()
    };
    assert_eq!(run(), Vec::<Vec<Cell>>::new());
    let (mut tx, mut model) = (db.begin().unwrap(), Model::default());
    let properties = [("late".to_owned(), Value::Int(1))].into();
    let from = ModelNode { labels: ["Late".to_owned()].into(), properties };
    let from = add_node(&mut tx, &mut model, from);
    let to = add_node(&mut tx, &mut model, ModelNode::default());
    tx.commit().unwrap();
    assert_eq!(run(), Vec::<Vec<Cell>>::new(), "the edge's type has no number yet");
    let mut tx = db.begin().unwrap();
    let edge = ModelEdge { edge_type: "LATE".into(), start: from, end: to, properties: [].into() };
    add_edge(&mut tx, &mut model, edge);
    tx.commit().unwrap();
    assert_eq!(run(), [[Cell::Value(Value::Int(to.0.cast_signed()))]]);
}

/// Long values: a batch holds few of them, whoever reads them, and all come in the end.
#[test]
fn what_is_shown_stays_within_the_memory_limit() {
    const VALUE_BYTES: usize = 200 << 10;
    const LIMIT_BYTES: u64 = 1 << 20;
    const NODES: usize = 40;
    let (db, mut model) = (new_db(), Model::default());
    for _ in 0..NODES {
        let mut tx = db.begin().unwrap();
        let properties = [("x".to_owned(), Value::from("x".repeat(VALUE_BYTES).as_str()))].into();
        add_node(&mut tx, &mut model, ModelNode { properties, ..ModelNode::default() });
        tx.commit().unwrap();
    }
    let view = snapshot(&db);
    let budget = Budget::default().memory_bytes_max(LIMIT_BYTES);
    let nodes = || Step::Nodes { label: None };
    let rows_max = usize::try_from(LIMIT_BYTES).unwrap() / VALUE_BYTES + 1;
    for plan in [Plan::of([nodes()]), Plan::of([nodes(), Step::Properties { keys: vec!["x".into()] }])] {
        let mut cursor = Cursor::open(prepared(&plan), Arc::default()).unwrap();
        let (mut batch, mut rows) = (Batch::default(), 0);
        loop {
            let progress = cursor.next_batch(&view, NODES, &mut batch, &budget).unwrap();
            assert!(batch.len() <= rows_max, "{} rows at once", batch.len());
            rows += batch.len();
            if progress == Progress::Done {
                break;
            }
            assert!(!batch.is_empty());
        }
        assert_eq!(rows, NODES);
        let mut tx = db.begin().unwrap();
        let error = run_write(&prepared(&plan), &Params::new(), &mut tx, &budget).unwrap_err();
        assert!(matches!(error, Error::MemoryLimit { .. }), "{error:?}");
    }
}

/// What one pipeline of a statement kept is given back when the next takes its place.
#[test]
fn pipelines_of_a_write_do_not_add_up_in_the_meter() {
    let wheel = wheel();
    let step = || [Step::Nodes { label: None }, Step::Limit { n: 4000 }];
    let mut plan = Plan::of(step());
    for _ in 0..9 {
        plan = plan.then(step());
    }
    let plan = plan.then([Step::Nodes { label: None }, Step::Count]);
    let mut tx = wheel.db.begin().unwrap();
    // Each keeps 32,000 bytes.
    let budget = Budget::default().memory_bytes_max(100_000);
    run_write(&prepared(&plan), &Params::new(), &mut tx, &budget).unwrap();
}
