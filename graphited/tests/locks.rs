//! Several write transactions at a time: who waits for whom, and who does not. Sessions talk to a real daemon; that one
//! waits is seen in what the daemon tells of its sessions, never by the time that something takes.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::peers::*;
use common::*;
use graphite_protocol::messages::{
    Begin, Cancel, Check, Commit, ImportBegin, ImportNodes, Kill, Lock, LockMode, Mode, NodeBatch, Ping,
    Rollback, Run,
};
use graphite_protocol::{ErrorCode, Packed, Plan, Step, Token, Value};

#[test]
fn long_transactions_that_write_different_nodes_do_not_wait_for_each_other() {
    let daemon = Daemon::start(&[]);
    let [mut observer] = peers(&daemon);
    // One after another, so all of them are on one page.
    let ids = nodes(&mut observer, 8);
    let (mut one, mut other) = (writer(&daemon), writer(&daemon));
    for round in 0..20 {
        for (client, at) in [(&mut one, 0), (&mut other, 4)] {
            wrote(client.run(set(&ids[at..=at], round)));
            client.run(link(ids[at], ids[at + 1])).unwrap();
            let made = client.create(round).unwrap();
            client.run(link(made, ids[at + 2])).unwrap();
            wrote(client.run(set(&[made], round)));
        }
        // Somebody else commits beside them, on the same page.
        wrote(observer.run(set(&ids[7..], round)));
    }
    assert_eq!(observer.waiting(), 0);
    other.commit().unwrap();
    one.commit().unwrap();
    assert_eq!(observer.count(), 8 + 2 * 20);
    assert_eq!([ids[0], ids[4]].map(|id| value(&mut observer, id)), [19, 19]);
    assert_eq!(observer.status().edges, 2 * 2 * 20);
    assert_eq!(observer.call(&Check {}).unwrap().problems, []);
    assert_eq!(locks(&mut observer).locks, [], "nobody is left who holds any");
    daemon.stop();
}

/// Their locks do not become one on the page, though nobody is in the way of that.
#[test]
fn who_has_changed_most_of_a_page_keeps_nobody_from_the_rest_of_it() {
    let daemon = Daemon::start(&[]);
    let [mut observer] = peers(&daemon);
    let ids = nodes(&mut observer, 220);
    let mut one = writer(&daemon);
    for some in ids[..200].chunks(50) {
        assert_eq!(one.run(set(some, 1)).unwrap().summary.properties_set, 50);
    }
    let mut other = writer(&daemon);
    wrote(other.run(set(&ids[200..201], 2)));
    other.run(link(ids[200], ids[219])).unwrap();
    other.commit().unwrap();
    one.commit().unwrap();
    assert_eq!([ids[199], ids[200]].map(|id| value(&mut observer, id)), [1, 2]);
    daemon.stop();
}

#[test]
fn who_wants_what_another_has_changed_waits_for_its_commit() {
    let daemon = Daemon::start(&["--lock-timeout-ms", "0"]);
    let [mut observer] = peers(&daemon);
    let id = nodes(&mut observer, 1)[0];
    let (mut holder, mut waiter) = (writer(&daemon), peer(&daemon));
    wrote(holder.run(set(&[id], 7)));
    let msgid = waiter.send(&run(set(&[id], 8)));
    let seen = until_waits(&mut observer, waiter.session);
    assert_eq!(seen.blocked_by, [holder.session]);
    assert!(seen.waits_for.as_ref().unwrap().ends_with(&format!(" node {id} :N")), "{seen:?}");
    assert_eq!(seen.statement.as_deref(), Some(format!("node {id} | set n").as_str()));
    assert!(seen.wait_ms.is_some());

    let told = locks(&mut observer);
    let of_node: Vec<&Lock> = told.locks.iter().filter(|lock| lock.name == format!("node {id} :N")).collect();
    let [held, awaited] = of_node[..] else { panic!("{told:?}") };
    assert_eq!((held.session, held.mode, held.granted), (holder.session, LockMode::Exclusive, true));
    assert_eq!((awaited.session, awaited.granted, awaited.transaction), (waiter.session, false, 0));
    assert_eq!(Some(held.transaction), row(&mut observer, holder.session).transaction);
    for (name, mode) in
        [("the database", LockMode::IntentExclusive), ("the node table", LockMode::IntentExclusive)]
    {
        let intent = |lock: &Lock| lock.name == name && lock.mode == mode && lock.session == holder.session;
        assert!(told.locks.iter().any(intent), "{told:?}");
    }

    // A reader waits for nobody, and sees what is committed.
    assert_eq!(value(&mut observer, id), 0);
    holder.commit().unwrap();
    wrote(waiter.answer::<Run>(msgid));
    assert_eq!(value(&mut observer, id), 8);
    daemon.stop();
}

/// Two transactions, the first of them the older one, each of which has changed a node of its own.
fn crossed(daemon: &Daemon, ids: &[u64]) -> (Peer, Peer) {
    let (mut older, mut younger) = (writer(daemon), writer(daemon));
    wrote(older.run(set(&ids[..1], 1)));
    wrote(younger.run(set(&ids[1..2], 2)));
    (older, younger)
}

#[test]
fn of_those_who_wait_for_each_other_the_youngest_fails_and_the_others_go_on() {
    let daemon = Daemon::start(&["--lock-timeout-ms", "0"]);
    let [mut observer] = peers(&daemon);
    let ids = nodes(&mut observer, 2);
    for victim_waits_first in [false, true] {
        let (mut older, mut younger) = crossed(&daemon, &ids);
        let error = if victim_waits_first {
            let wanted = younger.send(&run(set(&ids[..1], 2)));
            until_waits(&mut observer, younger.session);
            wrote(older.run(set(&ids[1..], 1)));
            younger.answer::<Run>(wanted).unwrap_err()
        } else {
            let wanted = older.send(&run(set(&ids[1..], 1)));
            until_waits(&mut observer, older.session);
            let error = younger.run(set(&ids[..1], 2)).unwrap_err();
            wrote(older.answer::<Run>(wanted));
            error
        };
        assert_eq!((error.code, error.retryable), (ErrorCode::Deadlock, true));
        let mut sessions: Vec<i64> = match error.details.get("sessions") {
            Some(Value::List(sessions)) => sessions.iter().map(int).collect(),
            other => panic!("{other:?}"),
        };
        sessions.sort_unstable();
        assert_eq!(sessions, [older.session, younger.session].map(|session| session as i64));
        assert_eq!(error.details.get("victim").map(int), Some(younger.session as i64));

        // Its locks are free, and only a rollback ends it.
        assert_eq!(row(&mut observer, younger.session).locks, 0);
        assert_eq!(code(younger.create(1)), ErrorCode::TransactionFailed);
        younger.rollback();
        older.commit().unwrap();
        assert_eq!([ids[0], ids[1]].map(|id| value(&mut observer, id)), [1, 1]);

        let told = &locks(&mut observer).deadlocks[0];
        assert_eq!(told.victim, younger.session);
        let at = |session| told.sessions.iter().position(|other| *other == session).unwrap();
        let (first, second) = (at(older.session), at(younger.session));
        assert_eq!(told.statements[first], format!("node {} | set n", ids[1]));
        assert_eq!(told.statements[second], format!("node {} | set n", ids[0]));
        assert!(told.waits_for[first].ends_with(&format!("node {} :N", ids[1])), "{told:?}");
    }
    assert_eq!(observer.status().deadlocks, 2);
    daemon.stop();
}

/// The statement holds the first node and waits for the second; then whoever holds that wants the first. The statement
/// is the younger one, loses, and is run again, until the transaction has ended: its client sees none of that.
#[test]
fn a_statement_by_itself_that_loses_in_a_deadlock_is_run_again() {
    let daemon = Daemon::start(&["--lock-timeout-ms", "0"]);
    let [mut observer, mut alone] = peers(&daemon);
    let ids = nodes(&mut observer, 2);
    let mut holder = writer(&daemon);
    wrote(holder.run(set(&ids[1..], 1)));
    let msgid = alone.send(&run(set(&ids, 2)));
    until_waits(&mut observer, alone.session);
    wrote(holder.run(set(&ids[..1], 1)));
    assert_eq!(observer.status().deadlocks, 1);
    holder.commit().unwrap();
    assert_eq!(alone.answer::<Run>(msgid).unwrap().summary.properties_set, 2);
    assert_eq!([ids[0], ids[1]].map(|id| value(&mut observer, id)), [2, 2]);
    daemon.stop();
}

/// Statements by themselves that change the same nodes in opposite orders, all at once.
#[test]
fn statements_that_cross_all_come_through() {
    let daemon = Daemon::start(&[]);
    let [mut observer] = peers(&daemon);
    let ids = nodes(&mut observer, 3);
    let threads: Vec<_> = (0..6)
        .map(|thread| {
            let (mut client, mut ids) = (daemon.client(), ids.clone());
            ids.rotate_left(thread % 3);
            if thread % 2 == 0 {
                ids.reverse();
            }
            std::thread::spawn(move || {
                for n in 0..50 {
                    assert_eq!(client.run(set(&ids, n)).unwrap().summary.properties_set, 3);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(ids.iter().map(|id| value(&mut observer, *id)).collect::<Vec<_>>(), [49; 3]);
    assert_eq!(locks(&mut observer).locks, []);
    daemon.stop();
}

/// Who raises what it has comes before those who asked for more than it lets them have, though it asks later.
#[test]
fn waiters_are_told_in_the_order_of_the_queue() {
    let daemon = Daemon::start(&["--lock-timeout-ms", "0"]);
    let [mut observer] = peers(&daemon);
    let ids = nodes(&mut observer, 2);
    let (mut raises, mut reads, mut asks) = (writer(&daemon), writer(&daemon), peer(&daemon));
    for peer in [&mut raises, &mut reads] {
        peer.run(by_id(ids[0])).unwrap();
    }
    let asked = asks.send(&run(link(ids[0], ids[1])));
    until_waits(&mut observer, asks.session);
    let raised = raises.send(&run(link(ids[0], ids[1])));
    until_waits(&mut observer, raises.session);
    let told = locks(&mut observer).locks;
    let waiting: Vec<u64> = told.iter().filter(|lock| !lock.granted).map(|lock| lock.session).collect();
    assert_eq!(waiting, [raises.session, asks.session], "{told:#?}");
    reads.commit().unwrap();
    raises.answer::<Run>(raised).unwrap();
    raises.commit().unwrap();
    asks.answer::<Run>(asked).unwrap();
    assert_eq!(observer.status().edges, 2);
    daemon.stop();
}

#[test]
fn a_batch_of_an_import_waits_for_open_transactions_and_can_be_stopped() {
    let daemon = Daemon::start(&["--lock-timeout-ms", "0"]);
    let [mut observer, mut importer] = peers(&daemon);
    let id = nodes(&mut observer, 1)[0];
    let import = Token::new("i").unwrap();
    importer.call(&ImportBegin { import: import.clone(), resume: false }).unwrap();
    let nodes = NodeBatch {
        label_sets: vec![vec!["N".to_owned()]],
        labels: Packed(vec![0; 10]),
        columns: Vec::new(),
    };
    let batch = ImportNodes { import, batch: 0, nodes };
    let mut holder = writer(&daemon);
    wrote(holder.run(set(&[id], 1)));
    let msgid = importer.send(&batch);
    let seen = until_waits(&mut observer, importer.session);
    assert_eq!(
        (seen.waits_for.as_deref(), &seen.blocked_by[..]),
        (Some("X the database"), &[holder.session][..])
    );
    assert!(observer.call(&Cancel { session: importer.session, ..Default::default() }).unwrap().cancelled);
    assert_eq!(code(importer.answer::<ImportNodes>(msgid)), ErrorCode::Cancelled);
    let msgid = importer.send(&batch);
    until_waits(&mut observer, importer.session);
    holder.commit().unwrap();
    assert_eq!(importer.answer::<ImportNodes>(msgid).unwrap().ids[0].count, 10);
    assert_eq!(observer.count(), 11);
    daemon.stop();
}

/// What makes no sense gets an error of its own and changes nothing.
#[test]
fn bad_use_is_refused_and_changes_nothing() {
    let daemon = Daemon::start(&[]);
    let [mut client, mut other] = peers(&daemon);
    let id = nodes(&mut client, 1)[0];
    assert_eq!(code(client.commit()), ErrorCode::NoTransaction);
    assert_eq!(code(client.call(&Rollback {})), ErrorCode::NoTransaction);

    client.begin(Mode::Write);
    wrote(client.run(set(&[id], 1)));
    for mode in [Mode::Write, Mode::Read] {
        assert_eq!(code(client.call(&Begin { mode })), ErrorCode::TransactionOpen);
    }
    client.commit().unwrap();
    assert_eq!(value(&mut other, id), 1, "the second begin did no harm");

    client.begin(Mode::Write);
    wrote(client.run(set(&[id], 2)));
    assert_eq!(code(client.run(by_id(id + 1))), ErrorCode::NodeNotFound);
    for plan in [set(&[id], 3), count()] {
        assert_eq!(code(client.run(plan)), ErrorCode::TransactionFailed);
    }
    assert_eq!(code(client.commit()), ErrorCode::TransactionFailed);
    assert_eq!(value(&mut other, id), 1);

    client.begin(Mode::Read);
    assert_eq!(code(client.run(set(&[id], 4))), ErrorCode::ReadOnlyTransaction);
    assert_eq!(value(&mut client, id), 1, "a refused change does not end a transaction that reads");
    client.commit().unwrap();

    let gone = peer(&daemon).session;
    until(|| other.sessions().iter().all(|row| row.session != gone));
    assert_eq!(code(other.call(&Kill { session: gone, transaction: None })), ErrorCode::SessionNotFound);
    assert_eq!(code(other.call(&Cancel { session: gone, ..Default::default() })), ErrorCode::SessionNotFound);
    client.begin(Mode::Write);
    let transaction = row(&mut other, client.session).transaction;
    client.rollback();
    client.begin(Mode::Write);
    let stale = Kill { session: client.session, transaction };
    assert_eq!(code(other.call(&stale)), ErrorCode::TransactionNotFound);
    client.call(&Ping {}).unwrap();
    client.commit().unwrap();

    // The slot of a node that was deleted goes to another one, under another id.
    let deleted = client.create(1).unwrap();
    client
        .run(Plan::of([
            Step::Node { ids: vec![deleted.into()], required: true },
            Step::Delete { detach: false },
        ]))
        .unwrap();
    let made = nodes(&mut client, 100);
    assert!(!made.contains(&deleted));
    assert_eq!(code(client.run(set(&[deleted], 5))), ErrorCode::NodeNotFound);
    assert_eq!(code(client.run(link(id, deleted))), ErrorCode::NodeNotFound);
    assert_eq!(client.call(&Commit::default()).unwrap_err().code, ErrorCode::NoTransaction);
    assert_eq!(client.count(), 101);
    daemon.stop();
}
