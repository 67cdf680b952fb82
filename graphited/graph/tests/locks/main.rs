//! What transactions lock: anomalies that must not happen, and what must not wait for each other.
//!
//! Most tests interleave several transactions on one thread. They wait for nobody: where a lock is not free, an operation
//! fails at once, which is where another would have waited.
#![allow(clippy::unwrap_used)]

mod absence;
mod commits;
#[path = "../common/mod.rs"]
mod common;
#[expect(dead_code, unreachable_pub, reason = "it belongs to the tests of the store, which need more of it")]
#[path = "../../../store/tests/support/hooked.rs"]
mod hooked;

use std::ops::ControlFlow;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{assert_waits, begin, commit_together, open, settle};
use graphite_graph::locks::{edge_lock, label_lock, node_lock, type_lock};
use graphite_graph::{
    Direction, EdgeId, Error, GraphDb, KeyId, LabelId, NodeId, ReadIntent, Transaction, TypeId, Value, View,
};
use graphite_store::disk::SimDisk;
use graphite_store::locks::{LockError, LockName};

const KEY: KeyId = KeyId(0);
const PERSON: LabelId = LabelId(0);
const CITY: LabelId = LabelId(1);
const KNOWS: TypeId = TypeId(0);
const LIKES: TypeId = TypeId(1);

/// A database with some nodes, all on one page, whose property is 0.
fn nodes<const COUNT: usize>() -> (GraphDb, [NodeId; COUNT]) {
    let db = open(&SimDisk::new());
    assert_eq!(db.key_id_or_create("key").unwrap(), KEY);
    assert_eq!(db.label_ids_or_create(&["Person", "City"]).unwrap(), [PERSON, CITY]);
    assert_eq!(db.type_ids_or_create(&["KNOWS", "LIKES"]).unwrap(), [KNOWS, LIKES]);
    let mut tx = db.begin().unwrap();
    let nodes = std::array::from_fn(|_| tx.create_node(&[PERSON], &[(KEY, Value::Int(0))]).unwrap());
    tx.commit().unwrap();
    (db, nodes)
}

fn edge(db: &GraphDb, start: NodeId, end: NodeId) -> EdgeId {
    let mut tx = begin(db);
    let edge = tx.create_edge(start, KNOWS, end, &[]).unwrap();
    tx.commit().unwrap();
    edge
}

fn get(tx: &Transaction, node: NodeId) -> i64 {
    match tx.property(node, KEY).unwrap() {
        Some(Value::Int(number)) => number,
        other => panic!("{other:?}"),
    }
}

fn put(tx: &mut Transaction, node: NodeId, number: i64) -> graphite_graph::Result<()> {
    tx.set_node_property(node, KEY, Value::Int(number))
}

fn value_of(db: &GraphDb, node: NodeId) -> i64 {
    get(&begin(db), node)
}

fn labelled(tx: &Transaction, label: LabelId) -> graphite_graph::Result<usize> {
    Ok(tx.scan_nodes(None, Some(label), 1000)?.found.len())
}

/// Runs something as often as it is refused a lock.
fn retry<T>(db: &GraphDb, mut work: impl FnMut(&mut Transaction) -> graphite_graph::Result<T>) -> T {
    loop {
        let mut tx = db.begin().unwrap();
        match work(&mut tx).and_then(|made| tx.commit().map(|_| made)) {
            Ok(made) => return made,
            Err(Error::Lock(LockError::Deadlock(_))) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn nothing_dirty_is_read_or_written() {
    let (db, [a]) = nodes();
    let (mut first, mut second, third) = (begin(&db), begin(&db), begin(&db));
    put(&mut first, a, 1).unwrap();
    assert_waits(put(&mut second, a, 2));
    assert_waits(third.property(a, KEY));
    assert_eq!(
        db.snapshot().map(|view| view.node_count().is_ok()).ok(),
        Some(true),
        "a snapshot never waits"
    );
    drop(first);
    assert_eq!(value_of(&db, a), 0);
}

#[test]
fn what_was_read_stays_as_it_was() {
    let (db, [a, b]) = nodes();
    let (first, mut second) = (begin(&db), begin(&db));
    assert_eq!(get(&first, a), 0);
    put(&mut second, b, 7).unwrap();
    assert_waits(put(&mut second, a, 7));
    assert_eq!((get(&first, a), get(&first, b)), (0, 0));
}

#[test]
fn a_lost_update_is_prevented() {
    let (db, [a]) = nodes();
    let (mut first, mut second) = (begin(&db), begin(&db));
    assert_eq!((get(&first, a), get(&second, a)), (0, 0));
    assert_waits(put(&mut first, a, 1));
    put(&mut second, a, 1).unwrap();
    second.commit().unwrap();
    assert_eq!(value_of(&db, a), 1);
}

/// Both read both, and each changes one: whichever order they are put into, one of them has read what was no longer so.
fn write_skew(db: &GraphDb, [a, b]: [NodeId; 2]) -> [graphite_graph::Result<()>; 2] {
    let (mut first, mut second) = (begin(db), begin(db));
    assert_eq!(get(&first, a) + get(&first, b), 0);
    assert_eq!(get(&second, a) + get(&second, b), 0);
    let first = put(&mut first, a, 1).and_then(|()| first.commit().map(drop));
    let second = put(&mut second, b, 1).and_then(|()| second.commit().map(drop));
    [first, second]
}

#[test]
fn write_skew_is_prevented() {
    let (db, nodes) = nodes();
    let [first, second] = write_skew(&db, nodes);
    assert_waits(first);
    second.unwrap();
}

/// Else the test above would prove nothing.
#[test]
fn without_locks_of_reads_there_is_write_skew() {
    let (db, nodes) = nodes();
    db.lock_reads(false);
    let [first, second] = write_skew(&db, nodes);
    first.unwrap();
    second.unwrap();
    assert_eq!((value_of(&db, nodes[0]), value_of(&db, nodes[1])), (1, 1));
}

#[test]
fn different_nodes_of_one_page_do_not_wait_for_each_other() {
    let (db, [a, b, c, d]) = nodes();
    let (mut first, mut second) = (begin(&db), begin(&db));
    for round in 0..20 {
        for (tx, from, to) in [(&mut first, a, b), (&mut second, c, d)] {
            put(tx, from, round).unwrap();
            let node = tx.create_node(&[PERSON, CITY], &[(KEY, Value::Int(round))]).unwrap();
            let edge = tx.create_edge(from, KNOWS, to, &[(KEY, Value::Int(round))]).unwrap();
            tx.create_edge(node, LIKES, to, &[]).unwrap();
            if round % 3 == 0 {
                tx.delete_edge(edge).unwrap();
                tx.delete_node(node, true).unwrap();
            }
            tx.begin_statement().unwrap();
        }
    }
    second.commit().unwrap();
    first.commit().unwrap();
    assert_eq!((value_of(&db, a), value_of(&db, c)), (19, 19));
    settle(&db);
    let report = db.check().unwrap();
    assert_eq!(report.problems, Vec::new());
    assert_eq!((report.nodes, report.edges), (4 + 26, 52));
    assert_eq!(db.locks().counters().waits, 0);
}

/// A long transaction that has locked a whole page, for it holds much there, stands in the way of nobody who only wants
/// some slot.
#[test]
fn a_new_node_goes_where_nobody_is_in_the_way() {
    let (db, [_]) = nodes();
    let (mut first, mut second) = (begin(&db), begin(&db));
    let first_made: Vec<NodeId> = (0..230).map(|_| first.create_node(&[], &[]).unwrap()).collect();
    let second_made: Vec<NodeId> = (0..300).map(|_| second.create_node(&[], &[]).unwrap()).collect();
    let third = begin(&db);
    let slot = NodeId::new(graphite_graph::NodeSlot(first_made[229].slot().0 + 1), 0);
    let _ = third.node_head(slot);
    first.commit().unwrap();
    second.commit().unwrap();
    let mut all: Vec<NodeId> = first_made.into_iter().chain(second_made).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 530);
    settle(&db);
    assert!(db.check().unwrap().is_sound());
}

/// Else the newest state would be what it was at the first read.
#[test]
fn a_pin_that_is_older_than_a_lock_is_renewed() {
    let (db, [a, b]) = nodes();
    let (first, mut second) = (begin(&db), begin(&db));
    assert_eq!(get(&first, a), 0);
    let before = first.seen_lsn();
    put(&mut second, b, 7).unwrap();
    let changed = second.commit().unwrap().lsn;
    assert_eq!(first.seen_lsn(), before);
    assert_eq!(get(&first, b), 7);
    assert_eq!(first.seen_lsn(), changed);
    assert_eq!(first.commit().unwrap().lsn, changed, "it rests on what it saw");
}

#[test]
fn an_edge_and_the_deletion_of_its_end_exclude_each_other() {
    let (db, [a, b, c]) = nodes();
    let mut first = begin(&db);
    first.create_edge(a, KNOWS, b, &[]).unwrap();
    assert_waits(begin(&db).delete_node(b, false));
    assert_waits(begin(&db).delete_node(a, true));
    first.commit().unwrap();
    let mut first = begin(&db);
    assert!(matches!(first.delete_node(b, false), Err(Error::NodeHasEdges { edges: 1, .. })));
    first.delete_node(b, true).unwrap();
    assert_waits(begin(&db).create_edge(b, KNOWS, c, &[]));
    assert_waits(begin(&db).create_edge(c, KNOWS, b, &[]));
    assert_waits(begin(&db).degree(a, Direction::Out, None));
    first.commit().unwrap();
    assert!(matches!(begin(&db).create_edge(c, KNOWS, b, &[]), Err(Error::NodeNotFound(_))));
    settle(&db);
    assert!(db.check().unwrap().is_sound());
}

#[test]
fn an_edge_is_deleted_once() {
    let (db, [a, b]) = nodes();
    let edge = edge(&db, a, b);
    let mut first = begin(&db);
    first.delete_edge(edge).unwrap();
    assert_waits(begin(&db).delete_edge(edge));
    assert_waits(begin(&db).set_edge_property(edge, KEY, Value::Int(1)));
    assert_waits(begin(&db).edge(edge));
    first.commit().unwrap();
    assert!(matches!(begin(&db).delete_edge(edge), Err(Error::EdgeNotFound(_))));
    settle(&db);
    assert!(db.check().unwrap().is_sound());
}

/// Whoever has looked at something waits for nobody and is waited for, whichever way it goes.
#[test]
fn what_was_looked_at_is_not_deleted_meanwhile() {
    let (db, [a, b, c]) = nodes();
    let between = edge(&db, a, b);
    // Edges by their type, the edge itself, and each of its ends.
    let looks: [fn(&Transaction, EdgeId, [NodeId; 2]); 4] = [
        |tx, _, _| assert_eq!(tx.scan_edges(None, Some(KNOWS), 100).unwrap().found.len(), 1),
        |tx, edge, _| assert!(tx.edge(edge).unwrap().is_some()),
        |tx, _, [a, _]| assert_eq!(tx.degree(a, Direction::Out, None).unwrap(), 1),
        |tx, _, [_, b]| assert_eq!(tx.degree(b, Direction::In, None).unwrap(), 1),
    ];
    for look in looks {
        let first = begin(&db);
        look(&first, between, [a, b]);
        assert_waits(begin(&db).delete_edge(between));
        assert_waits(begin(&db).delete_node(a, true));
        assert_waits(begin(&db).delete_node(b, true));
        begin(&db).delete_node(c, true).unwrap();
    }
}

/// Of all nodes whose neighbours are shown, and not only of the first.
#[test]
fn nodes_whose_neighbours_are_shown_stay_as_they_are() {
    let (db, [a, b, c]) = nodes();
    edge(&db, a, b);
    edge(&db, b, c);
    let show = |tx: &Transaction| {
        let mut shown = 0;
        let from = [a.slot(), b.slot()];
        tx.for_each_run(&from, Direction::Out, None, |_, entries| {
            shown += entries.len();
            ControlFlow::Continue(())
        })
        .map(|_| shown)
    };
    let first = begin(&db);
    assert_eq!(show(&first).unwrap(), 2);
    assert_waits(put(&mut begin(&db), b, 1));
    assert_waits(begin(&db).create_edge(b, KNOWS, b, &[]));
    put(&mut begin(&db), c, 1).unwrap();
    drop(first);
    let mut second = begin(&db);
    put(&mut second, b, 1).unwrap();
    assert_waits(show(&begin(&db)));
}

/// Several threads make names at once, each some of its own and some that the others make too.
#[test]
fn names_made_at_once_are_made_once() {
    let disk = SimDisk::new();
    let db = open(&disk);
    let name = |number: usize| format!("name {number}");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let db = &db;
            scope.spawn(move || {
                for round in 0..30 {
                    db.label_id_or_create(&name(round)).unwrap();
                    db.label_id_or_create(&name(100 + 4 * round + thread)).unwrap();
                }
            });
        }
    });
    settle(&db);
    let names: Vec<String> = (0..30).chain(100..220).map(name).collect();
    let known = |db: &GraphDb| names.iter().map(|name| db.catalog().label_id(name)).collect::<Vec<_>>();
    let before = known(&db);
    assert!(before.iter().all(Option::is_some));
    assert_eq!(db.catalog().label_count(), 150);
    drop(db);
    assert_eq!(known(&open(&disk.process_crash())), before);
}

/// Several threads delete and connect the same few nodes, one operation for each transaction: locks of one operation are
/// taken in one order, so none of them is ever a deadlock's victim.
#[test]
fn single_operations_do_not_deadlock() {
    let (db, ids) = nodes::<12>();
    let work = |seed: usize| {
        for round in 0..150 {
            let at = |step: usize| ids[(seed * 7 + round * step) % ids.len()];
            let mut tx = db.begin().unwrap();
            let done = match (seed + round) % 4 {
                0 | 1 => tx.create_edge(at(5), KNOWS, at(3), &[]).map(drop),
                2 => match tx
                    .neighbours(at(1), Direction::Both, None, None, 1)
                    .map(|found| found.first().copied())
                {
                    // Looked up in a transaction of its own: what is tested is one operation.
                    Ok(Some(found)) => {
                        let edge = tx.edge_by_slot(found.edge).unwrap();
                        tx = db.begin().unwrap();
                        edge.map_or(Ok(()), |edge| tx.delete_edge(edge))
                    }
                    other => other.map(drop),
                },
                _ if round % 29 == 3 => tx.delete_node(at(11), true),
                _ => put(&mut tx, at(2), 1),
            };
            match done.and_then(|()| tx.commit().map(drop)) {
                Ok(()) | Err(Error::NodeNotFound(_) | Error::EdgeNotFound(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|seed| drop(scope.spawn(move || work(seed)))));
    assert_eq!(db.locks().counters().deadlocks, 0);
    settle(&db);
    assert_eq!(db.check().unwrap().problems, Vec::new());
}

#[test]
fn increments_of_many_threads_all_count() {
    let (db, [a, b]) = nodes();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let db = &db;
            scope.spawn(move || {
                for _ in 0..100 {
                    retry(db, |tx| {
                        tx.set_read_intent(ReadIntent::Update);
                        let Some(Value::Int(before)) = tx.property(a, KEY)? else { panic!("it has one") };
                        put(tx, a, before + 1)
                    });
                    // Without the intent they are each other's deadlocks, and all count nevertheless.
                    if thread < 2 {
                        retry(db, |tx| {
                            let Some(Value::Int(before)) = tx.property(b, KEY)? else { panic!("it has one") };
                            put(tx, b, before + 1)
                        });
                    }
                }
            });
        }
    });
    assert_eq!((value_of(&db, a), value_of(&db, b)), (400, 200));
    assert_eq!(db.locks().picture().locks.len(), 0, "nothing stays locked");
}

#[test]
fn two_who_wait_for_each_other_end_with_one_victim() {
    let (db, [a, b]) = nodes();
    let (barrier, victims) = (Barrier::new(2), AtomicUsize::new(0));
    let work = |mine: NodeId, other: NodeId| {
        let mut tx = db.begin_tagged(mine.0 + 100).unwrap();
        tx.set_statement("SET both".into());
        put(&mut tx, mine, 1).unwrap();
        barrier.wait();
        match put(&mut tx, other, 1).and_then(|()| tx.commit().map(drop)) {
            Ok(()) => {}
            Err(Error::Lock(LockError::Deadlock(deadlock))) => {
                victims.fetch_add(1, Ordering::Relaxed);
                assert_eq!(deadlock.cycle.len(), 2);
                for member in &deadlock.cycle {
                    assert!(&*member.statement == "SET both" && member.tag >= 100);
                    assert!([node_lock(a.slot()), node_lock(b.slot())].contains(&member.waits_for));
                }
            }
            Err(error) => panic!("{error}"),
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(a, b));
        scope.spawn(|| work(b, a));
    });
    assert_eq!(victims.into_inner(), 1);
    assert_eq!((value_of(&db, a), value_of(&db, b)), (1, 1), "the other one got through");
}

#[test]
fn whoever_looks_for_what_it_will_change_queues() {
    let (db, [a, b]) = nodes();
    let (mut first, reader, second) = (begin(&db), begin(&db), begin(&db));
    first.set_read_intent(ReadIntent::Update);
    second.set_read_intent(ReadIntent::Update);
    assert_eq!(get(&first, a), 0);
    assert_eq!(get(&reader, a), 0, "a mere reader is not stopped");
    assert_waits(second.property(a, KEY));
    assert_waits(put(&mut first, a, 1));
    drop((first, reader));
    // Scans likewise; a mere scan of a label goes on beside that of an updater.
    let (first, second) = (begin(&db), begin(&db));
    first.set_read_intent(ReadIntent::Update);
    second.set_read_intent(ReadIntent::Update);
    assert_eq!(labelled(&first, PERSON).unwrap(), 2);
    assert_eq!(labelled(&begin(&db), PERSON).unwrap(), 2);
    assert_waits(labelled(&second, PERSON));
    let (mut first, second) = (begin(&db), begin(&db));
    first.set_read_intent(ReadIntent::Update);
    second.set_read_intent(ReadIntent::Update);
    assert_eq!(first.scan_nodes(None, None, 100).unwrap().found.len(), 2);
    assert_waits(second.scan_nodes(None, None, 100));
    put(&mut first, b, 3).unwrap();
    first.create_node(&[], &[]).unwrap();
    first.commit().unwrap();
}

#[test]
fn a_failed_statement_and_a_refused_lock_let_go_of_everything() {
    let (db, [a, b]) = nodes();
    let (mut first, mut second) = (begin(&db), begin(&db));
    put(&mut first, a, 1).unwrap();
    put(&mut second, b, 1).unwrap();
    assert_waits(put(&mut second, a, 2));
    assert!(matches!(second.node_count(), Err(Error::TransactionFailed)));
    assert_eq!(second.locks_held(), 0);
    put(&mut first, b, 2).unwrap();
    first.fail_statement();
    assert_eq!(first.locks_held(), 0);
    assert_eq!(db.locks().picture().locks.len(), 0);
    assert!(matches!(first.commit(), Err(Error::TransactionFailed)));
    assert!(matches!(second.commit(), Err(Error::TransactionFailed)));
    assert_eq!((value_of(&db, a), value_of(&db, b)), (0, 0));
}

#[test]
fn a_wait_can_be_cancelled() {
    let (db, [a]) = nodes();
    let mut first = begin(&db);
    put(&mut first, a, 1).unwrap();
    let mut second = db.begin().unwrap();
    let canceller = second.lock_owner_canceller();
    let waits = std::thread::spawn(move || put(&mut second, a, 2));
    while db.locks().picture().waits.is_empty() {
        std::thread::yield_now();
    }
    canceller.cancel();
    assert!(matches!(waits.join().unwrap(), Err(Error::Lock(LockError::Cancelled))));
}

#[test]
fn an_import_waits_for_transactions_and_they_for_it() {
    let (db, [a]) = nodes();
    let rows = || graphite_graph::import::NodeBatch {
        label_sets: vec![graphite_graph::LabelSetId(0); 3],
        columns: vec![],
    };
    let mut first = begin(&db);
    put(&mut first, a, 1).unwrap();
    let mut importer = db.import();
    importer.set_lock_timeout(Some(std::time::Duration::ZERO));
    assert_waits(importer.nodes(b"one", 0, rows()));
    first.commit().unwrap();
    importer.nodes(b"one", 0, rows()).unwrap();
    assert_eq!(db.locks().picture().locks.len(), 0);
    assert_eq!(begin(&db).node_count().unwrap(), 4);
    // While it waits, nobody gets past it.
    let first = begin(&db);
    assert_eq!(get(&first, a), 1);
    std::thread::scope(|scope| {
        let importer = scope.spawn(|| db.import().nodes(b"one", 1, rows()).map(drop));
        while db.locks().picture().waits.is_empty() {
            std::thread::yield_now();
        }
        assert_waits(begin(&db).property(a, KEY));
        drop(first);
        importer.join().unwrap().unwrap();
    });
    assert_eq!(begin(&db).node_count().unwrap(), 7);
}

#[test]
fn locks_have_names_that_people_know() {
    let (db, [a, b]) = nodes();
    let edge = edge(&db, a, b);
    let mut tx = begin(&db);
    tx.add_label(b, CITY).unwrap();
    tx.commit().unwrap();
    let words = |name| db.lock_words(name);
    assert_eq!(words(node_lock(b.slot())), format!("node slot {}", b.slot().0), "nothing of it is durable");
    settle(&db);
    assert_eq!(words(node_lock(a.slot())), format!("node {a} :Person"));
    assert_eq!(words(node_lock(b.slot())), format!("node {b} :Person:City"));
    assert_eq!(words(node_lock(graphite_graph::NodeSlot(1_234_567))), "node slot 1,234,567");
    assert_eq!(words(edge_lock(edge.slot())), format!("edge {edge} :KNOWS"));
    assert_eq!(words(label_lock(CITY)), "label City");
    assert_eq!(words(type_lock(LIKES)), "type LIKES");
    assert_eq!(words(LockName::Database), "the database");
    let page = node_lock(a.slot()).parent().unwrap();
    let place = words(page);
    assert!(place.starts_with("page ") && place.ends_with(", node slots 0-253"), "{place}");
    assert_eq!(
        words(LockName::Page { space: graphite_graph::locks::NODE_SPACE, page: 160 }),
        "node slots 40,640-40,893"
    );
    assert_eq!(words(page.parent().unwrap()), "the node table");
    assert_eq!(words(edge_lock(edge.slot()).parent().unwrap().parent().unwrap()), "the edge table");
}
