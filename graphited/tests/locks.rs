//! Several write transactions at a time: who waits for whom, who does not, and what ends a wait. Sessions talk to a real
//! daemon; that one waits is seen in what the daemon tells of its sessions, never by the time that something takes.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::*;
use graphite_protocol::messages::{
    Begin, Cancel, Check, Commit, ImportBegin, ImportNodes, Kill, Lock, LockMode, Locks, LocksReply, Mode,
    NodeBatch, Ping, Rollback, Run, RunReply, Session as Row, SessionState,
};
use graphite_protocol::{ErrorCode, NewEdge, Operand, Packed, Pairs, Plan, Step, Token, Value, WireError};

/// A client and the number of its session.
struct Peer {
    client: Client,
    session: u64,
}

impl std::ops::Deref for Peer {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

fn peer(daemon: &Daemon) -> Peer {
    let mut client = daemon.stranger();
    let session = client.hello().session;
    Peer { client, session }
}

fn peers<const N: usize>(daemon: &Daemon) -> [Peer; N] {
    std::array::from_fn(|_| peer(daemon))
}

/// A peer in a write transaction.
fn writer(daemon: &Daemon) -> Peer {
    let mut peer = peer(daemon);
    peer.begin(Mode::Write);
    peer
}

fn nodes(client: &mut Client, count: i64) -> Vec<u64> {
    (0..count).map(|n| client.create(n).unwrap()).collect()
}

/// Sets `n` of some nodes, one after another.
fn set(ids: &[u64], n: i64) -> Plan {
    let node = |id: &u64| {
        let properties = [("n", Operand::from(n))].into_iter().collect();
        vec![Step::Node { ids: vec![(*id).into()], required: true }, Step::Set { properties }]
    };
    Plan { pipelines: ids.iter().map(node).collect() }
}

fn link(start: u64, end: u64) -> Plan {
    let edge = NewEdge {
        start: start.into(),
        end: end.into(),
        edge_type: "KNOWS".into(),
        properties: Pairs::default(),
    };
    Plan::of([Step::CreateEdges { rows: vec![edge] }])
}

fn value(client: &mut Client, id: u64) -> i64 {
    let keys = vec!["n".to_owned()];
    let plan = Plan::of([Step::Node { ids: vec![id.into()], required: true }, Step::Properties { keys }]);
    int(&client.run(plan).unwrap().rows[0][0])
}

fn row(observer: &mut Client, session: u64) -> Row {
    observer.sessions().into_iter().find(|row| row.session == session).unwrap()
}

/// Waits until the session waits for a lock.
fn until_waits(observer: &mut Client, session: u64) -> Row {
    until(|| row(observer, session).state == SessionState::Waiting);
    row(observer, session)
}

fn locks(observer: &mut Client) -> LocksReply {
    observer.call(&Locks {}).unwrap()
}

fn wrote(result: Result<RunReply, WireError>) {
    assert_eq!(result.unwrap().summary.properties_set, 1);
}

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

#[test]
fn a_lock_that_is_not_granted_in_time_says_who_holds_it() {
    let daemon = Daemon::start(&["--lock-timeout-ms", "100"]);
    let [mut observer] = peers(&daemon);
    let ids = nodes(&mut observer, 2);
    let (mut holder, mut waiter) = (writer(&daemon), writer(&daemon));
    wrote(holder.run(set(&ids[..1], 1)));
    wrote(waiter.run(set(&ids[1..], 1)));
    let error = waiter.run(set(&ids[..1], 2)).unwrap_err();
    assert_eq!((&error.code, error.retryable), (&ErrorCode::LockTimeout, true));
    assert_eq!(
        error.details.get("lock").and_then(Value::as_str),
        Some(format!("node {} :N", ids[0]).as_str())
    );
    assert_eq!(error.details.get("blocked_by"), Some(&Value::List(vec![(holder.session as i64).into()])));
    assert!(error.message.contains(&format!("session {} holds it", holder.session)), "{error}");
    // What it held is free already.
    wrote(observer.run(set(&ids[1..], 3)));
    assert_eq!(code(waiter.commit()), ErrorCode::TransactionFailed);
    // By itself a statement fails alike, and nothing stays behind.
    assert_eq!(code(observer.run(set(&ids[..1], 2))), ErrorCode::LockTimeout);
    holder.commit().unwrap();
    wrote(observer.run(set(&ids[..1], 2)));
    daemon.stop();
}

/// How a wait can be ended from elsewhere, and the error that the waiter gets, if it gets any.
#[test]
fn a_wait_for_a_lock_can_be_ended() {
    let daemon = Daemon::start(&["--lock-timeout-ms", "0", "--idle-in-transaction-timeout-ms", "0"]);
    let [mut observer] = peers(&daemon);
    let ids = nodes(&mut observer, 2);
    let mut holder = writer(&daemon);
    wrote(holder.run(set(&ids[..1], 1)));
    for in_transaction in [false, true] {
        for how in ["cancel", "kill", "timeout", "gone"] {
            let mut waiter = peer(&daemon);
            let mut transaction = None;
            if in_transaction {
                waiter.begin(Mode::Write);
                wrote(waiter.run(set(&ids[1..], 2)));
                transaction = row(&mut observer, waiter.session).transaction;
            }
            let timeout_ms = (how == "timeout").then_some(200);
            let msgid = waiter.send(&Run { timeout_ms, ..run(set(&ids[..1], 2)) });
            if how != "timeout" {
                until_waits(&mut observer, waiter.session);
            }
            let session = waiter.session;
            match how {
                "cancel" => {
                    assert!(observer.call(&Cancel { session, ..Default::default() }).unwrap().cancelled)
                }
                "kill" => assert!(observer.call(&Kill { session, transaction }).unwrap().killed),
                "timeout" => {}
                _ => {
                    drop(waiter);
                    until(|| observer.sessions().iter().all(|row| row.session != session));
                    wrote(observer.run(set(&ids[1..], 3)));
                    continue;
                }
            }
            let expected = match how {
                "cancel" => ErrorCode::Cancelled,
                "kill" => ErrorCode::Killed,
                _ => ErrorCode::Timeout,
            };
            assert_eq!(code(waiter.answer::<Run>(msgid)), expected);
            // What it held is free.
            wrote(observer.run(set(&ids[1..], 3)));
            if how == "kill" {
                assert!(waiter.is_closed().is_empty());
            } else if in_transaction {
                assert_eq!(code(waiter.create(1)), ErrorCode::TransactionFailed);
                waiter.rollback();
                // It may wait again: what ended this wait does not end the next.
                waiter.begin(Mode::Write);
                wrote(waiter.run(set(&ids[1..], 4)));
                waiter.rollback();
            }
        }
    }
    assert_eq!(observer.waiting(), 0);
    holder.commit().unwrap();
    assert_eq!(value(&mut observer, ids[0]), 1);
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

/// How a holder's transaction ends; only where its client is idle for too long, that ends it.
#[test]
fn whatever_ends_the_holder_lets_the_waiter_go_on() {
    for how in ["commit", "rollback", "failure", "kill", "gone", "idle"] {
        let idle_ms = if how == "idle" { "2000" } else { "0" };
        let daemon = Daemon::start(&["--lock-timeout-ms", "0", "--idle-in-transaction-timeout-ms", idle_ms]);
        let [mut observer] = peers(&daemon);
        let id = nodes(&mut observer, 1)[0];
        let (mut holder, mut waiter) = (writer(&daemon), peer(&daemon));
        wrote(holder.run(set(&[id], 1)));
        let msgid = waiter.send(&run(set(&[id], 2)));
        until_waits(&mut observer, waiter.session);
        match how {
            "commit" => drop(holder.commit().unwrap()),
            "rollback" => holder.rollback(),
            "failure" => assert_eq!(code(holder.run(set(&[4711], 1))), ErrorCode::NodeNotFound),
            "kill" => {
                let (session, transaction) = (holder.session, row(&mut observer, holder.session).transaction);
                assert!(observer.call(&Kill { session, transaction }).unwrap().killed);
            }
            "gone" => drop(holder),
            _ => {}
        }
        wrote(waiter.answer::<Run>(msgid));
        assert_eq!(value(&mut observer, id), 2, "{how}");
        daemon.stop();
    }
}

/// No timeout could end the statement, which would go on for ever: the daemon sees beside it that the client is gone.
#[test]
fn a_client_that_is_gone_is_rolled_back_at_once_though_its_statement_computes() {
    let timeouts = ["lock", "statement", "idle-in-transaction", "idle", "client-stall"];
    let off = timeouts.map(|name| format!("--{name}-timeout-ms=0"));
    let daemon = Daemon::start(&off.each_ref().map(String::as_str));
    let [mut observer] = peers(&daemon);
    let ids = nodes(&mut observer, 2);
    let endless = endless(&mut observer);
    for in_transaction in [true, false] {
        let mut holder = peer(&daemon);
        let plan = if in_transaction {
            holder.begin(Mode::Write);
            wrote(holder.run(set(&ids[..1], 7)));
            wrote(holder.run(set(&ids[1..], 7)));
            Plan::of(endless.clone())
        } else {
            let mut plan = set(&ids, 7);
            plan.pipelines.push(endless.clone());
            plan
        };
        holder.send(&run(plan));
        let session = holder.session;
        until(|| {
            let seen = row(&mut observer, session);
            // Database, table, page, and both nodes.
            seen.state == SessionState::Active && seen.locks >= 5
        });
        let mut waiter = peer(&daemon);
        let msgid = waiter.send(&run(set(&ids[..1], 8)));
        let seen = until_waits(&mut observer, waiter.session);
        assert_eq!(seen.blocked_by, [session]);
        assert_eq!(row(&mut observer, session).state, SessionState::Active, "it computes");
        drop(holder);
        wrote(waiter.answer::<Run>(msgid));
        assert_eq!([ids[0], ids[1]].map(|id| value(&mut observer, id)), [8, 1], "what it changed is undone");
        until(|| observer.sessions().iter().all(|row| row.session != session));
        assert_eq!(observer.waiting(), 0);
    }
    // Those that are left hold nothing.
    until(|| locks(&mut observer).locks.is_empty());
    daemon.stop();
}

/// More wait for locks than the daemon has threads at first, and as many as may; the holder's commit finds one.
#[test]
fn a_pool_full_of_waiters_can_be_freed() {
    let daemon = Daemon::start(&["--write-transactions-max", "8", "--lock-timeout-ms", "0"]);
    let [mut observer] = peers(&daemon);
    let ids = nodes(&mut observer, 2);
    for by_kill in [false, true] {
        let mut holder = writer(&daemon);
        wrote(holder.run(set(&ids[..1], 1)));
        let mut sent: Vec<(Peer, u32)> = Vec::new();
        for _ in 0..7 {
            let mut waiter = writer(&daemon);
            let msgid = waiter.send(&run(link(ids[0], ids[1])));
            until_waits(&mut observer, waiter.session);
            sent.push((waiter, msgid));
        }
        // These are not admitted yet: one begins, one is a statement by itself.
        let [mut beginner, mut alone] = peers(&daemon);
        let begun = beginner.send(&Begin { mode: Mode::Write });
        until_waits(&mut observer, beginner.session);
        let written = alone.send(&run(set(&ids[..1], 100)));
        let seen = until_waits(&mut observer, alone.session);
        assert_eq!(seen.blocked_by.len(), 8, "{seen:?}");
        assert_eq!(observer.waiting(), 9);
        if by_kill {
            let transaction = row(&mut observer, holder.session).transaction;
            assert!(observer.call(&Kill { session: holder.session, transaction }).unwrap().killed);
        } else {
            holder.commit().unwrap();
        }
        for (waiter, msgid) in &mut sent {
            waiter.answer::<Run>(*msgid).unwrap();
            waiter.commit().unwrap();
        }
        beginner.answer::<Begin>(begun).unwrap();
        wrote(alone.answer::<Run>(written));
        beginner.rollback();
        assert_eq!(value(&mut observer, ids[0]), 100);
        assert_eq!(observer.waiting(), 0);
    }
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

#[test]
fn asked_to_leave_the_daemon_ends_waits_for_locks() {
    for shutdown_timeout_ms in ["0", "60000"] {
        let mut daemon =
            Daemon::start(&["--lock-timeout-ms", "0", "--shutdown-timeout-ms", shutdown_timeout_ms]);
        let [mut observer] = peers(&daemon);
        let id = nodes(&mut observer, 1)[0];
        let (mut holder, mut waiter) = (writer(&daemon), writer(&daemon));
        wrote(holder.run(set(&[id], 1)));
        let msgid = waiter.send(&run(set(&[id], 2)));
        until_waits(&mut observer, waiter.session);
        daemon.signal("TERM");
        // The holder is rolled back, so the waiter may well get its lock before its time is up.
        match waiter.answer::<Run>(msgid) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.code, ErrorCode::ShuttingDown),
        }
        assert!(waiter.is_closed().is_empty());
        assert_eq!(daemon.wait().code(), Some(0));
        daemon.child = start_at(&daemon.db, &[]);
        assert_eq!(value(&mut daemon.client(), id), 0, "neither was committed");
        daemon.stop();
    }
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
