//! Plans that change the graph: what they change, what they answer, and what is left when they fail.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use common::naive::evaluate;
use common::{
    Flat, KEYS, LABELS, Model, TYPES, cells, count, expand, flatten_batch, new_db, node, prepared,
    random_graph, snapshot,
};
use graphite_graph::{Direction, GraphDb, NodeId, Summary, Transaction, Value, View};
use graphite_query::{
    Budget, Cell, Comparison, EntityRef, Error, Expansion, NewEdge, NewNode, Operand, Outcome, Params, Plan,
    Prepared, Properties, Step, run_write,
};
use proptest::prelude::*;

fn run(tx: &mut Transaction, plan: &Plan) -> Outcome {
    run_write(&prepared(plan), &Params::new(), tx, &Budget::default()).unwrap()
}

fn properties(pairs: &[(&str, Operand)]) -> Properties {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn new_node(labels: &[&str], pairs: &[(&str, Operand)]) -> NewNode {
    let labels = labels.iter().map(|name| (*name).to_owned()).collect();
    NewNode { labels, properties: properties(pairs) }
}

fn new_edge(start: EntityRef, end: EntityRef) -> NewEdge {
    NewEdge {
        start,
        end,
        edge_type: "KNOWS".into(),
        properties: properties(&[("since", Operand::from(1815))]),
    }
}

fn first_of(pipeline: u32) -> EntityRef {
    EntityRef::Row { pipeline, row: 0 }
}

fn all_nodes() -> Step {
    Step::Nodes { label: None }
}

fn null() -> Operand {
    Operand::Value(Value::Null)
}

/// Two nodes and an edge between them, made by one plan.
fn pair() -> Plan {
    let ada = new_node(&["Person", "Café"], &[("name", Operand::from("Ada")), ("nothing", null())]);
    let charles = new_node(&["Person"], &[("name", Operand::Param("name".into()))]);
    Plan::of([Step::CreateNodes { rows: vec![ada] }])
        .then([Step::CreateNodes { rows: vec![charles] }])
        .then([Step::CreateEdges { rows: vec![new_edge(first_of(0), first_of(1))] }])
}

fn named() -> Params {
    Params::from([("name".to_owned(), Value::from("Charles 𝄞"))])
}

fn made_pair() -> (GraphDb, NodeId, NodeId) {
    let db = new_db();
    let mut tx = db.begin().unwrap();
    let outcome = run_write(&prepared(&pair()), &named(), &mut tx, &Budget::default()).unwrap();
    let [Cell::Edge(edge)] = outcome.rows.rows().next().unwrap() else { panic!("an edge") };
    let ends = (edge.start, edge.end);
    tx.commit().unwrap();
    (db, ends.0, ends.1)
}

#[test]
fn one_plan_makes_nodes_and_the_edge_between_them() {
    let db = new_db();
    let mut tx = db.begin().unwrap();
    let outcome = run_write(&prepared(&pair()), &named(), &mut tx, &Budget::default()).unwrap();
    let expected = Summary {
        nodes_created: 2,
        edges_created: 1,
        properties_set: 3,
        labels_added: 3,
        ..Summary::default()
    };
    assert_eq!(outcome.summary, expected);
    assert_eq!(prepared(&pair()).columns(), [("edge".to_owned(), graphite_query::ColumnKind::Edge)]);
    tx.commit().unwrap();

    let view = snapshot(&db);
    let friends = Plan::of([
        Step::Nodes { label: Some("Café".into()) },
        expand(Direction::Out, &["KNOWS"]),
        Step::Properties { keys: vec!["name".into(), "nothing".into()] },
    ]);
    let expected = vec![Cell::Value(Value::from("Charles 𝄞")), Cell::Value(Value::Null)];
    assert_eq!(cells(&friends, &view), [expected]);
    assert!(view.catalog().key_id("nothing").is_none(), "what is not set needs no name");
}

#[test]
fn entities_are_shown_as_they_are_at_the_end() {
    let (db, ada, charles) = made_pair();
    let mut tx = db.begin().unwrap();
    // The answer's rows pass through `set`, and what is set afterwards shows too.
    let set = Step::Set {
        properties: properties(&[("x", Operand::from(1)), ("x", Operand::from(2)), ("name", null())]),
    };
    let label = Step::AddLabels { labels: vec!["New".into(), "Person".into()] };
    let remove = Step::RemoveLabels { labels: vec!["Café".into(), "never used".into()] };
    let both = Step::Node { ids: [ada, charles, ada].map(|id| EntityRef::Id(id.0)).to_vec(), required: true };
    let outcome = run(&mut tx, &Plan::of([both, set, label, remove]));
    let expected = Summary { properties_set: 4, labels_added: 2, labels_removed: 1, ..Summary::default() };
    assert_eq!(outcome.summary, expected, "an entity that comes twice is changed once");
    let catalog = tx.catalog();
    assert!(
        catalog.label_id("never used").is_some(),
        "somebody else may use it before this one has the node's lock"
    );
    let shown: Vec<_> = outcome
        .rows
        .rows()
        .map(|row| match row {
            [Cell::Node(node)] => {
                let labels: Vec<_> = node.labels.iter().map(|id| catalog.label_name(*id).unwrap()).collect();
                let properties: Vec<_> = node
                    .properties
                    .iter()
                    .map(|(key, value)| (catalog.key_name(*key).unwrap(), value.clone()))
                    .collect();
                (node.id, labels, properties)
            }
            other => panic!("a node: {other:?}"),
        })
        .collect();
    let after = |id| (id, vec!["Person", "New"], vec![("x", Value::Int(2))]);
    assert_eq!(shown, [after(ada), after(charles), after(ada)]);

    let replace = Step::Replace { properties: properties(&[("y", Operand::from("é")), ("z", null())]) };
    let edges = Step::Edges { edge_type: None };
    let outcome = run(&mut tx, &Plan::of([edges.clone(), replace]));
    assert_eq!(outcome.summary.properties_set, 2, "one is set, one is gone");
    let from_both_ends = Step::Expand { direction: Direction::Both, types: vec![], to: Expansion::Edges };
    let set = Step::Set { properties: properties(&[("x", Operand::from(1))]) };
    let outcome = run(&mut tx, &Plan::of([all_nodes(), from_both_ends, set]));
    assert_eq!((outcome.rows.len(), outcome.summary.properties_set), (2, 1));
    let project = Step::Properties { keys: vec!["y".into(), "since".into()] };
    assert_eq!(
        cells(&Plan::of([edges, project]), &tx),
        [[Cell::Value(Value::from("é")), Cell::Value(Value::Null)]]
    );
}

#[test]
fn a_write_takes_its_rows_before_its_first_change() {
    let (db, ada, _) = made_pair();
    let mut tx = db.begin().unwrap();
    // Whoever is renamed would no longer pass the filter; nobody is missed, and later steps see the new names.
    let is = |name: &str| Step::Filter {
        key: "name".into(),
        comparison: Comparison::Eq,
        value: Some(Operand::from(name)),
    };
    let rename = Step::Set { properties: properties(&[("name", Operand::from("Lovelace"))]) };
    let outcome = run(&mut tx, &Plan::of([all_nodes(), is("Ada"), rename, is("Lovelace"), Step::Ids]));
    let ids: Vec<_> = outcome.rows.rows().map(<[Cell]>::to_vec).collect();
    assert_eq!(ids, [[Cell::Value(Value::Int(ada.0 as i64))]]);

    // A later pipeline sees what an earlier one made.
    let plan =
        Plan::of([Step::CreateNodes { rows: vec![NewNode::default(); 3] }]).then([all_nodes(), Step::Count]);
    let outcome = run(&mut tx, &plan);
    assert_eq!(outcome.rows.rows().next().unwrap(), [Cell::Value(Value::Int(5))]);
    let second = EntityRef::Row { pipeline: 0, row: 1 };
    let loops = Step::CreateEdges { rows: vec![new_edge(second.clone(), second)] };
    let plan = Plan::of([all_nodes()]).then([loops]).then([
        Step::Node { ids: vec![first_of(0), EntityRef::Row { pipeline: 0, row: 1 }], required: true },
        Step::Degree { direction: Direction::Both, types: vec![] },
        Step::Properties { keys: vec![] },
    ]);
    let degrees: Vec<_> = run(&mut tx, &plan).rows.rows().map(<[Cell]>::to_vec).collect();
    assert_eq!(degrees, [[Cell::Value(Value::Int(1))], [Cell::Value(Value::Int(2))]]);
}

#[test]
fn deleting_goes_with_edges_or_not_at_all() {
    let (db, ada, charles) = made_pair();
    let mut tx = db.begin().unwrap();
    let error = run_write(
        &prepared(&Plan::of([node(ada), Step::Delete { detach: false }])),
        &Params::new(),
        &mut tx,
        &Budget::default(),
    )
    .unwrap_err();
    let Error::Graph { at, source: graphite_graph::Error::NodeHasEdges { node: busy, edges: 1 } } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!((at.step, at.op, busy), (1, "delete", ada));
    drop(tx);

    let mut tx = db.begin().unwrap();
    let outcome = run(&mut tx, &Plan::of([all_nodes(), Step::Delete { detach: true }]));
    let expected = Summary { nodes_deleted: 2, edges_deleted: 1, ..Summary::default() };
    assert_eq!((outcome.summary, outcome.rows.len()), (expected, 0));
    drop(tx);

    let mut tx = db.begin().unwrap();
    // The edge comes twice, once from each end, and is deleted once; then the nodes are free.
    let to = Expansion::Edges;
    let edges = Step::Expand { direction: Direction::Both, types: vec![], to };
    let plan = Plan::of([all_nodes(), edges, Step::Delete { detach: false }])
        .then([node(ada), Step::Delete { detach: false }])
        .then([all_nodes()]);
    let outcome = run(&mut tx, &plan);
    let expected = Summary { nodes_deleted: 1, edges_deleted: 1, ..Summary::default() };
    assert_eq!(outcome.summary, expected);
    let left: Vec<_> = outcome
        .rows
        .rows()
        .map(|row| match row {
            [Cell::Node(node)] => node.id,
            other => panic!("a node: {other:?}"),
        })
        .collect();
    assert_eq!(left, [charles]);
}

#[test]
fn a_failed_statement_leaves_nothing_behind() {
    let (db, ada, _) = made_pair();
    let stale = EntityRef::Id(ada.0 | 7 << 48);
    let create = || Step::CreateNodes { rows: vec![new_node(&["Person"], &[])] };
    let set = |value: Operand| Step::Set { properties: properties(&[("x", value)]) };
    let map = Operand::Value(Value::Map([("a".to_owned(), Value::Int(1))].into()));
    let failing = [
        Plan::of([create()]).then([Step::CreateEdges { rows: vec![new_edge(first_of(0), stale.clone())] }]),
        Plan::of([create()]).then([Step::Node { ids: vec![stale], required: true }]),
        Plan::of([create(), set(map)]),
        Plan::of([create(), set(Operand::Param("missing".into()))]),
        Plan::of([create(), Step::AddLabels { labels: vec![String::new()] }]),
        Plan::of([create(), Step::Limit { n: 0 }])
            .then([Step::CreateEdges { rows: vec![new_edge(first_of(0), EntityRef::Id(ada.0))] }]),
    ];
    for plan in failing {
        let mut tx = db.begin().unwrap();
        run(&mut tx, &Plan::of([create()]));
        let error = run_write(&prepared(&plan), &Params::new(), &mut tx, &Budget::default()).unwrap_err();
        assert!(!matches!(error, Error::Transaction(_)), "{error:?}");
        assert_eq!(tx.summary(), Summary::default(), "the statement before has failed with it: {plan:?}");
        assert!(tx.is_unchanged());
        let again = run_write(&prepared(&Plan::of([create()])), &Params::new(), &mut tx, &Budget::default())
            .unwrap_err();
        assert!(matches!(again, Error::Transaction(graphite_graph::Error::TransactionFailed)), "{again:?}");
        assert!(tx.commit().is_err());
    }
    assert_eq!(count(&Plan::of([all_nodes(), Step::Count]), &snapshot(&db)), 2);

    let senseless = Prepared::new(Plan::of([create(), create()]));
    assert!(matches!(senseless, Err(Error::InvalidStep { .. })), "{senseless:?}");
    let mut tx = db.begin().unwrap();
    run(&mut tx, &Plan::of([create()]));
    tx.commit().unwrap();
    assert_eq!(
        count(&Plan::of([all_nodes(), Step::Count]), &snapshot(&db)),
        3,
        "what was not begun did not fail"
    );
}

#[test]
fn a_write_is_cancelled_and_bounded() {
    let db = new_db();
    let many = Plan::of([Step::CreateNodes { rows: vec![NewNode::default(); 5000] }]);
    for (budget, is_expected) in [
        (
            Budget::new(Arc::new(AtomicBool::new(true))),
            (|error| matches!(error, Error::Cancelled)) as fn(&Error) -> bool,
        ),
        (Budget::default().steps_max(100), |error| matches!(error, Error::StepLimit { .. })),
    ] {
        let mut tx = db.begin().unwrap();
        let error = run_write(&prepared(&many), &Params::new(), &mut tx, &budget).unwrap_err();
        assert!(is_expected(&error), "{error:?}");
        assert_eq!(tx.summary(), Summary::default());
    }
    let mut tx = db.begin().unwrap();
    run(&mut tx, &many);
    let budget = Budget::default().memory_bytes_max(10_000);
    let touch = Step::Set { properties: properties(&[("x", Operand::from(1))]) };
    let error =
        run_write(&prepared(&Plan::of([all_nodes(), touch])), &Params::new(), &mut tx, &budget).unwrap_err();
    assert!(matches!(error, Error::MemoryLimit { .. }), "{error:?}");
}

/// One graph for all random cases, each of which rolls back.
fn graph() -> &'static (GraphDb, Model) {
    static MADE: OnceLock<(GraphDb, Model)> = OnceLock::new();
    MADE.get_or_init(|| random_graph(77, 9, 16))
}

fn words(known: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![5 => proptest::sample::select(known), 1 => Just("neu")];
    proptest::collection::vec(word.prop_map(str::to_owned), 0..3)
}

fn values() -> impl Strategy<Value = Properties> {
    let value = prop_oneof![Just(null()), (0i64..3).prop_map(Operand::from), Just(Operand::from("ü"))];
    (words(&KEYS), proptest::collection::vec(value, 3))
        .prop_map(|(keys, values)| keys.into_iter().zip(values).collect())
}

fn change() -> impl Strategy<Value = Step> {
    prop_oneof![
        values().prop_map(|properties| Step::Set { properties }),
        values().prop_map(|properties| Step::Replace { properties }),
        words(&LABELS).prop_map(|labels| Step::AddLabels { labels }),
        words(&LABELS).prop_map(|labels| Step::RemoveLabels { labels }),
        Just(Step::Delete { detach: true }),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Step>> {
    let label = proptest::option::of(proptest::sample::select(&LABELS[..]));
    let hop = proptest::sample::select(&[Expansion::Nodes, Expansion::Edges][..]);
    let hop = proptest::option::of((hop, proptest::sample::select(&TYPES[..])));
    (label, hop).prop_map(|(label, hop)| {
        let mut steps = vec![Step::Nodes { label: label.map(str::to_owned) }];
        if let Some((to, edge_type)) = hop {
            steps.push(Step::Expand { direction: Direction::Both, types: vec![edge_type.into()], to });
        }
        steps
    })
}

/// What a change makes of the model.
fn change_model(model: &mut Model, rows: &[Vec<Flat>], change: &Step) {
    for cell in rows.iter().flatten() {
        match (cell, change) {
            (Flat::Node(id), Step::Delete { .. }) => {
                model.nodes.remove(id);
                model.edges.retain(|_, edge| edge.start != *id && edge.end != *id);
            }
            (Flat::Edge(id), Step::Delete { .. }) => drop(model.edges.remove(id)),
            (Flat::Node(id), Step::AddLabels { labels }) => {
                model.nodes.get_mut(id).unwrap().labels.extend(labels.iter().cloned());
            }
            (Flat::Node(id), Step::RemoveLabels { labels }) => {
                model.nodes.get_mut(id).unwrap().labels.retain(|label| !labels.contains(label));
            }
            (Flat::Node(_) | Flat::Edge(_), Step::Set { properties } | Step::Replace { properties }) => {
                let has = match cell {
                    Flat::Node(id) => &mut model.nodes.get_mut(id).unwrap().properties,
                    Flat::Edge(id) => &mut model.edges.get_mut(id).unwrap().properties,
                    _ => unreachable!(),
                };
                if matches!(change, Step::Replace { .. }) {
                    has.clear();
                }
                for (name, operand) in properties {
                    let Operand::Value(value) = operand else { unreachable!() };
                    has.insert(name.clone(), value.clone());
                }
                has.retain(|_, value| !value.is_null());
            }
            other => panic!("no change of the model: {other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Several changes, one pipeline each, and then everything that is left.
    #[test]
    fn changes_do_to_the_graph_what_they_do_to_a_model(changes in proptest::collection::vec((rows(), change()), 1..4)) {
        let (db, model) = graph();
        let mut model = model.clone();
        let mut tx = db.begin().unwrap();
        for (rows, change) in changes {
            let mut plan = Plan::of(rows.clone());
            plan.pipelines[0].push(change.clone());
            if plan.check().is_err() {
                continue;
            }
            let before = evaluate(&model, &rows, &Params::new());
            change_model(&mut model, &before, &change);
            let outcome = run(&mut tx, &plan);
            let shown = flatten_batch(&outcome.rows, &tx, &model);
            let expected = if matches!(change, Step::Delete { .. }) { Vec::new() } else { before };
            prop_assert_eq!(shown, expected);
        }
        for everything in [Step::Nodes { label: None }, Step::Edges { edge_type: None }] {
            let plan = Plan::of([everything]);
            let shown = flatten_batch(&run(&mut tx, &plan).rows, &tx, &model);
            prop_assert_eq!(shown, evaluate(&model, &plan.pipelines[0], &Params::new()));
        }
    }
}

/// Names cost a commit for many of them, and a copy of all that are known for each commit: counted by commits.
#[test]
fn new_names_of_a_statement_are_made_many_at_a_time() {
    const KEYS: usize = 5000;
    let db = new_db();
    let keys = |of: &str| -> Properties {
        (0..KEYS).map(|n| (format!("{of}{n}"), Operand::from(n as i64))).collect()
    };
    let one = Step::CreateNodes { rows: vec![NewNode { labels: vec![], properties: keys("a") }] };
    let many = Step::CreateNodes {
        rows: (keys("b").into_iter())
            .map(|property| NewNode { labels: vec![format!("L{}", property.0)], properties: vec![property] })
            .collect(),
    };
    let set = Step::Set { properties: keys("c") };
    let mut tx = db.begin().unwrap();
    let before = db.store().status().commits;
    run(&mut tx, &Plan::of([one, set]));
    let commits = db.store().status().commits - before;
    assert!(commits <= 2 * (KEYS as u64 / 1000 + 1), "{commits} commits for names");
    assert_eq!(tx.catalog().key_count() as usize, 2 * KEYS);
    tx.commit().unwrap();

    // It can be cancelled in the middle, and names are made in chunks until then.
    let mut tx = db.begin().unwrap();
    let bounded = Budget::default().steps_max(3 * 4096);
    let error = run_write(&prepared(&Plan::of([many])), &Params::new(), &mut tx, &bounded).unwrap_err();
    assert!(matches!(error, Error::StepLimit { .. }), "{error:?}");
    assert!((tx.catalog().label_count() as usize) < KEYS / 2);
}

/// A key that comes twice has its last value; null takes it away.
#[test]
fn the_last_of_two_values_counts() {
    let db = new_db();
    let mut tx = db.begin().unwrap();
    let twice = [("x", Operand::from(1)), ("y", Operand::from(2)), ("x", Operand::from(3)), ("y", null())];
    let plan = Plan::of([
        Step::CreateNodes { rows: vec![new_node(&[], &twice)] },
        Step::Properties { keys: vec!["x".into(), "y".into()] },
    ]);
    let outcome = run(&mut tx, &plan);
    let row = outcome.rows.rows().next().unwrap();
    assert_eq!(row, [Cell::Value(Value::Int(3)), Cell::Value(Value::Null)]);
}
