//! Random pipelines over random graphs, in batches of any size, against an evaluation that is too simple to be
//! wrong. Rows must be the same, and in the same order.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::OnceLock;

use common::naive::evaluate;
use common::{Flat, KEYS, LABELS, Model, TYPES, flatten_batch, prepared, random_graph, read, snapshot};
use graphite_graph::{Direction, GraphDb, Value};
use graphite_query::{
    Budget, Comparison, EntityRef, Expansion, Operand, OrderBy, Params, Plan, Step, run_write,
};
use proptest::prelude::*;

const GRAPHS: usize = 6;

/// Graphs are read only, so that all cases share them.
fn graph(index: usize) -> &'static (GraphDb, Model) {
    static MADE: [OnceLock<(GraphDb, Model)>; GRAPHS] = [const { OnceLock::new() }; GRAPHS];
    MADE[index].get_or_init(|| random_graph(index as u64 + 1, 4 + 3 * index, 5 * index + 2))
}

fn name(known: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        9 => proptest::sample::select(known).prop_map(str::to_owned),
        1 => Just("never used".to_owned()),
    ]
}

fn types() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![2 => Just(Vec::new()), 3 => proptest::collection::vec(name(&TYPES), 1..3)]
}

fn direction() -> impl Strategy<Value = Direction> {
    proptest::sample::select(&[Direction::Out, Direction::In, Direction::Both][..])
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        (-1i64..4).prop_map(Operand::from),
        proptest::sample::select(&[0.5, 1.0, f64::NAN][..]).prop_map(Operand::from),
        proptest::sample::select(&["", "é", "Łó", "𝄞"][..]).prop_map(Operand::from),
        Just(Operand::Value(Value::Null)),
        Just(Operand::Value(Value::List(vec![Value::Float(1.0), Value::from("a")]))),
        Just(Operand::Param("p".into())),
    ]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    use Comparison::*;
    proptest::sample::select(&[Eq, Ne, Lt, Le, Gt, Ge, StartsWith, Contains][..])
}

/// `ids` are places in the list of all ids of the graph; past its end, an id that nobody has.
fn source() -> impl Strategy<Value = Step> {
    let refs = proptest::collection::vec((0u64..20).prop_map(EntityRef::Id), 1..5);
    let edge_refs = proptest::collection::vec((0u64..20).prop_map(EntityRef::Id), 1..3);
    prop_oneof![
        2 => Just(Step::Nodes { label: None }),
        2 => name(&LABELS).prop_map(|label| Step::Nodes { label: Some(label) }),
        1 => Just(Step::Edges { edge_type: None }),
        1 => name(&TYPES).prop_map(|edge_type| Step::Edges { edge_type: Some(edge_type) }),
        2 => refs.prop_map(|ids| Step::Node { ids, required: false }),
        1 => edge_refs.prop_map(|ids| Step::Edge { ids, required: false }),
    ]
}

fn transform() -> impl Strategy<Value = Step> {
    let to = proptest::sample::select(
        &[Expansion::Nodes, Expansion::Nodes, Expansion::Edges, Expansion::Both][..],
    );
    let by = prop_oneof![
        name(&KEYS).prop_map(OrderBy::Key),
        proptest::sample::select(&["node", "edge", "degree", "count", "name", "x"][..])
            .prop_map(|name| OrderBy::Column(name.to_owned())),
    ];
    let keys = proptest::collection::vec(name(&KEYS), 0..4);
    prop_oneof![
        3 => (name(&KEYS), comparison(), operand()).prop_map(|(key, comparison, value)| Step::Filter {
            key,
            comparison,
            value: Some(value)
        }),
        1 => name(&KEYS).prop_map(|key| Step::Filter { key, comparison: Comparison::Exists, value: None }),
        2 => name(&LABELS).prop_map(|label| Step::HasLabel { label }),
        6 => (direction(), types(), to).prop_map(|(direction, types, to)| Step::Expand { direction, types, to }),
        2 => (direction(), types(), 0u32..3, 0u32..3).prop_map(|(direction, types, min, more)| Step::KHop {
            direction,
            types,
            min,
            max: min + more
        }),
        1 => (direction(), types()).prop_map(|(direction, types)| Step::Degree { direction, types }),
        1 => keys.prop_map(|keys| Step::Properties { keys }),
        1 => Just(Step::Ids),
        4 => Just(Step::Distinct),
        3 => Just(Step::Count),
        3 => (by, any::<bool>()).prop_map(|(by, desc)| Step::Order { by, desc }),
        2 => (0u64..6).prop_map(|n| Step::Limit { n }),
        2 => (0u64..4).prop_map(|n| Step::Skip { n }),
    ]
}

/// Of random steps, those that fit the ones before; no more than four of them multiply rows.
fn fit(source: Step, transforms: Vec<Step>) -> Plan {
    let mut plan = Plan::of([source]);
    let mut expansions = 0;
    for step in transforms {
        let is_expansion = matches!(step, Step::Expand { .. });
        if is_expansion && expansions == 4 {
            continue;
        }
        plan.pipelines[0].push(step);
        if plan.check().is_err() {
            plan.pipelines[0].pop();
        } else if is_expansion {
            expansions += 1;
        }
    }
    plan
}

/// Puts real ids where the strategy has left places.
fn with_ids(mut plan: Plan, model: &Model) -> Plan {
    let nodes: Vec<u64> = model.nodes.keys().map(|id| id.0).collect();
    let edges: Vec<u64> = model.edges.keys().map(|id| id.0).collect();
    let replace = |ids: &mut Vec<EntityRef>, all: &[u64]| {
        for id in ids {
            if let EntityRef::Id(place) = *id {
                // Nobody has a slot that great.
                *id = EntityRef::Id(all.get(place as usize).copied().unwrap_or(1 << 40));
            }
        }
    };
    match &mut plan.pipelines[0][0] {
        Step::Node { ids, .. } => replace(ids, &nodes),
        Step::Edge { ids, .. } => replace(ids, &edges),
        _ => {}
    }
    plan
}

fn case() -> impl Strategy<Value = (usize, Plan)> {
    let plan = (source(), proptest::collection::vec(transform(), 0..9))
        .prop_map(|(source, steps)| fit(source, steps));
    (0..GRAPHS, plan).prop_map(|(index, plan)| (index, with_ids(plan, &graph(index).1)))
}

fn params() -> Params {
    Params::from([("p".to_owned(), Value::Int(2))])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn operators_agree_with_the_naive_way((index, plan) in case(), batch_rows in 1usize..9) {
        let (db, model) = graph(index);
        let view = snapshot(db);
        let expected = evaluate(model, &plan.pipelines[0], &params());
        for rows in [batch_rows, 1000] {
            let found = read(&plan, &params(), &view, model, rows).unwrap();
            prop_assert_eq!(&found, &expected, "{:?} in batches of {}", plan, rows);
        }
    }

    /// The same through a transaction, whose rows are all collected before they are shown.
    #[test]
    fn a_transaction_answers_the_same((index, plan) in case()) {
        let (db, model) = graph(index);
        let mut tx = db.begin().unwrap();
        let outcome = run_write(&prepared(&plan), &params(), &mut tx, &Budget::default()).unwrap();
        let found: Vec<Vec<Flat>> = flatten_batch(&outcome.rows, &tx, model);
        prop_assert_eq!(found, evaluate(model, &plan.pipelines[0], &params()), "{:?}", plan);
        prop_assert!(tx.is_unchanged());
        let plan = prepared(&plan);
        let columns = plan.columns();
        prop_assert!(outcome.rows.is_empty() || outcome.rows.width() == columns.len());
    }
}
