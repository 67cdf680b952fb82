//! What statements lock: in which modes a plan's reads hold what they found, read off the lock manager while the transaction
//! is open; and that statements which change what they find do not deadlock.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{expand, new_db, node, prepared};
use graphite_graph::locks::{NODE_SPACE, label_lock, node_lock};
use graphite_graph::{Direction, GraphDb, NodeId, Transaction, Value, View};
use graphite_query::{Budget, Comparison, EntityRef, NewEdge, Operand, Params, Plan, Step, run_write};
use graphite_store::locks::LockName;

fn run(tx: &mut Transaction, plan: &Plan) {
    run_write(&prepared(plan), &Params::new(), tx, &Budget::default()).unwrap();
}

/// Three people in a row, each of whom knows the next; their names are 0, 1 and 2.
fn row() -> (GraphDb, [NodeId; 3]) {
    let db = new_db();
    let (label, key) = (db.label_id_or_create("Person").unwrap(), db.key_id_or_create("name").unwrap());
    let type_ = db.type_id_or_create("KNOWS").unwrap();
    let mut tx = db.begin().unwrap();
    let ids = [0, 1, 2].map(|name| tx.create_node(&[label], &[(key, Value::Int(name))]).unwrap());
    for pair in ids.windows(2) {
        tx.create_edge(pair[0], type_, pair[1], &[]).unwrap();
    }
    tx.commit().unwrap();
    (db, ids)
}

fn named(name: i64) -> Step {
    Step::Filter { key: "name".into(), comparison: Comparison::Eq, value: Some(Operand::from(name)) }
}

fn set() -> Step {
    Step::Set { properties: vec![("x".into(), Operand::from(1))] }
}

/// The modes in which names are held after a plan.
fn modes(db: &GraphDb, plan: &Plan) -> BTreeMap<LockName, &'static str> {
    let mut tx = db.begin().unwrap();
    run(&mut tx, plan);
    db.locks().picture().locks.iter().map(|entry| (entry.name, entry.mode.as_str())).collect()
}

#[test]
fn what_is_looked_for_to_be_changed_is_held_in_u_and_the_way_there_in_s() {
    let (db, [a, b, c]) = row();
    let slots = [a, b, c].map(|id| node_lock(id.slot()));
    let held = |plan: &Plan| {
        let modes = modes(&db, plan);
        slots.map(|slot| modes.get(&slot).copied())
    };
    // The first is not the one, and stays as it is.
    let plan = Plan::of([
        Step::Node { ids: vec![EntityRef::Id(a.0), EntityRef::Id(b.0)], required: true },
        named(1),
        set(),
    ]);
    assert_eq!(held(&plan), [Some("U"), Some("X"), None]);
    let plan = Plan::of([node(a), expand(Direction::Out, &[]), named(7), set()]);
    assert_eq!(held(&plan), [Some("S"), Some("U"), None]);
    let plan = Plan::of([node(a), expand(Direction::Out, &[]), named(1)]);
    assert_eq!(held(&plan), [Some("S"), Some("S"), None]);
    // What is found for an edge to be made.
    let edge = NewEdge {
        edge_type: "KNOWS".into(),
        start: EntityRef::Row { pipeline: 0, row: 0 },
        end: EntityRef::Id(c.0),
        properties: Vec::new(),
    };
    let both = Step::Node { ids: vec![EntityRef::Id(a.0), EntityRef::Id(b.0)], required: true };
    let plan = Plan::of([both, named(1)]).then([Step::CreateEdges { rows: vec![edge] }]);
    assert_eq!(held(&plan), [Some("U"), Some("X"), Some("X")]);
    assert_eq!(db.locks().picture().locks.len(), 0);
}

#[test]
fn scans_that_look_for_what_is_changed_say_so() {
    let (db, [a, ..]) = row();
    let table = LockName::Space(NODE_SPACE);
    let label = label_lock(db.catalog().label_id("Person").unwrap());
    let people = || Step::Nodes { label: Some("Person".into()) };
    let held = |plan: Plan, name| modes(&db, &plan).get(&name).copied();
    assert_eq!(held(Plan::of([Step::Nodes { label: None }, named(7), set()]), table), Some("SIX"));
    assert_eq!(held(Plan::of([Step::Nodes { label: None }, named(7)]), table), Some("S"));
    assert_eq!(held(Plan::of([people(), named(1), set()]), label), Some("U"));
    assert_eq!(held(Plan::of([people(), named(1)]), label), Some("S"));
    assert_eq!(held(Plan::of([people(), expand(Direction::Out, &[]), set()]), label), Some("S"));
    // A statement's intent ends with it.
    let mut tx = db.begin().unwrap();
    run(&mut tx, &Plan::of([people(), named(7), set()]));
    tx.node_head(a).unwrap();
    let mut other = db.begin().unwrap();
    other.set_lock_timeout(Some(std::time::Duration::ZERO));
    run(&mut other, &Plan::of([node(a), expand(Direction::Out, &[])]));
}

/// Each thread finds a person by its name and counts it up, at once or in two pipelines.
#[test]
fn statements_that_change_what_they_find_do_not_deadlock() {
    let (db, [a, b, _]) = row();
    let at_once = Plan::of([Step::Nodes { label: Some("Person".into()) }, named(1), set()]);
    let later = Plan::of([node(b), named(1)])
        .then([Step::Node { ids: vec![EntityRef::Row { pipeline: 0, row: 0 }], required: true }, set()]);
    let edge = NewEdge {
        edge_type: "KNOWS".into(),
        start: EntityRef::Row { pipeline: 0, row: 0 },
        end: EntityRef::Row { pipeline: 0, row: 0 },
        properties: Vec::new(),
    };
    let linked = Plan::of([node(a)]).then([Step::CreateEdges { rows: vec![edge] }]);
    for plan in [at_once, later, linked] {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mut tx = db.begin().unwrap();
                        run(&mut tx, &plan);
                        std::thread::yield_now();
                        tx.commit().unwrap();
                    }
                });
            }
        });
    }
    assert_eq!(db.locks().counters().deadlocks, 0);
    db.store().wait_visible(db.store().applied_lsn()).unwrap();
    let report = db.check().unwrap();
    assert_eq!((report.edges, report.is_sound()), (202, true));
}

/// The node is held by somebody who then uses a label and a key for the first time: whoever waits to remove them comes
/// after that, and removes them.
#[test]
fn names_that_are_first_used_while_they_are_waited_for_are_removed() {
    let (db, [a, b, _]) = row();
    let steps = [
        Step::RemoveLabels { labels: vec!["New".into()] },
        Step::Set { properties: vec![("new".into(), Operand::from(Value::Null))] },
    ];
    for step in steps {
        let mut holder = db.begin().unwrap();
        run(&mut holder, &Plan::of([node(b), set()]));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let mut tx = db.begin().unwrap();
                run(&mut tx, &Plan::of([node(a), expand(Direction::Out, &[]), step.clone()]));
                tx.commit().unwrap();
            });
            while db.locks().picture().waits.is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let used = match &step {
                Step::RemoveLabels { labels } => Step::AddLabels { labels: labels.clone() },
                _ => Step::Set { properties: vec![("new".into(), Operand::from(1))] },
            };
            run(&mut holder, &Plan::of([node(b), used]));
            holder.commit().unwrap();
            waiter.join().unwrap();
        });
    }
    let tx = db.begin().unwrap();
    let (label, key) = (db.catalog().label_id("New").unwrap(), db.catalog().key_id("new").unwrap());
    let labels = tx.labels(b).unwrap().unwrap();
    assert!(!labels.contains(&label));
    assert_eq!(tx.property(b, key).unwrap(), Some(Value::Null));
}
