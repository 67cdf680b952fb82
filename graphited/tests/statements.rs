//! What clients ask of the graph: statements, cursors, transactions.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::*;
use graphite_protocol::messages::{
    Begin, Close, Commit, Fetch, FetchReply, Mode, Ping, Rollback, Run, RunReply,
};
use graphite_protocol::{Decoder, EntityRef, ErrorCode, Operand, Pairs, Plan, Step, Value, Wire};

fn set(id: u64, n: i64) -> Plan {
    let properties = [("n", Operand::from(n))].into_iter().collect();
    Plan::of([Step::Node { ids: vec![id.into()], required: true }, Step::Set { properties }])
}

#[test]
fn what_is_written_is_read_by_all() {
    let daemon = Daemon::start(&[]);
    let (mut a, mut b) = (daemon.client(), daemon.client());
    let id = a.create(7).unwrap();
    let reply = b.run(by_id(id)).unwrap();
    assert_eq!(reply.columns, ["node"]);
    let node = reply.rows[0][0].as_node().unwrap();
    assert_eq!(
        (node.id, node.labels.as_slice(), node.get("n")),
        (id, &["N".to_owned()][..], Some(&Value::Int(7)))
    );
    assert_eq!(b.run(set(id, 8)).unwrap().summary.properties_set, 1);
    let reply = a.run(by_id(id)).unwrap();
    assert_eq!(reply.rows[0][0].as_node().unwrap().get("n"), Some(&Value::Int(8)));
    assert_eq!(code(a.run(by_id(id + 1000))), ErrorCode::NodeNotFound);
    let status = a.status();
    assert_eq!((status.nodes, status.sessions, status.poisoned), (1, 2, None));
    assert!(status.commits >= 2);
    daemon.stop();
}

#[test]
fn parameters_replace_ids_and_values() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    let ids = fill(&mut client, 20);
    let who = EntityRef::Param("who".into());
    let plan = Plan::of([
        Step::Node { ids: vec![who], required: true },
        Step::Properties { keys: vec!["n".into()] },
    ]);
    for (n, id) in ids.iter().enumerate() {
        let params = [("who", Value::Int(*id as i64))].into_iter().collect();
        let reply = client.call(&Run { plan: plan.clone(), params, fetch: None, timeout_ms: None }).unwrap();
        assert_eq!(int(&reply.rows[0][0]), n as i64);
    }
    assert_eq!(code(client.run(plan)), ErrorCode::ParameterMissing);
    daemon.stop();
}

#[test]
fn the_database_survives_a_clean_exit_and_a_kill() {
    let mut daemon = Daemon::start(&[]);
    let id = daemon.client().create(1).unwrap();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    daemon.child = start_at(&daemon.db, &[]);
    let mut client = daemon.client();
    assert!(client.run(by_id(id)).is_ok());
    let second = client.create(2).unwrap();
    daemon.signal("KILL");
    daemon.wait();
    assert!(daemon.socket().exists(), "a killed daemon leaves its socket");
    daemon.child = start_at(&daemon.db, &[]);
    let mut client = daemon.client();
    assert!(client.run(by_id(second)).is_ok(), "what was acknowledged is there, by a stale socket's path");
    daemon.stop();
}

#[test]
fn transactions_see_their_own_changes_and_nobody_elses() {
    let daemon = Daemon::start(&[]);
    let (mut writer, mut reader) = (daemon.client(), daemon.client());
    reader.begin(Mode::Read);
    assert_eq!(reader.count(), 0);
    writer.begin(Mode::Write);
    let id = writer.create(1).unwrap();
    assert_eq!(writer.count(), 1);
    assert!(writer.run(by_id(id)).is_ok());
    assert_eq!(reader.count(), 0);
    assert!(writer.commit().unwrap().lsn > 0);
    assert_eq!(reader.count(), 0, "a snapshot does not change");
    assert_eq!(code(reader.create(2)), ErrorCode::ReadOnlyTransaction);
    assert_eq!(reader.commit().unwrap().lsn, 0);
    assert_eq!(reader.count(), 1);

    writer.begin(Mode::Write);
    assert_eq!(writer.commit().unwrap().lsn, 0, "nothing was changed");
    writer.begin(Mode::Write);
    writer.create(3).unwrap();
    writer.rollback();
    assert_eq!(writer.count(), 1);
    assert_eq!(code(writer.commit()), ErrorCode::NoTransaction);
    assert_eq!(code(writer.call(&Rollback {})), ErrorCode::NoTransaction);
    writer.begin(Mode::Read);
    assert_eq!(code(writer.call(&Begin { mode: Mode::Write })), ErrorCode::TransactionOpen);
    daemon.stop();
}

#[test]
fn a_failed_statement_fails_its_transaction_until_rollback() {
    let daemon = Daemon::start(&[]);
    let (mut client, mut other) = (daemon.client(), daemon.client());
    client.begin(Mode::Write);
    client.create(1).unwrap();
    assert_eq!(code(client.run(set(4711, 1))), ErrorCode::NodeNotFound);
    // It holds nothing any more.
    other.create(2).unwrap();
    assert_eq!(code(client.create(3)), ErrorCode::TransactionFailed);
    assert_eq!(code(client.run(count())), ErrorCode::TransactionFailed);
    client.rollback();
    assert_eq!(client.count(), 1, "only the other's");
    client.begin(Mode::Write);
    assert_eq!(code(client.run(by_id(4711))), ErrorCode::NodeNotFound);
    assert_eq!(code(client.commit()), ErrorCode::TransactionFailed);
    assert_eq!(code(client.commit()), ErrorCode::NoTransaction, "a commit that fails ends it as well");
    daemon.stop();
}

#[test]
fn a_session_reads_its_own_commits_however_fast_it_asks() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    for round in 0..200 {
        let write = client.send(&run(create(round)));
        let read = client.send(&run(count()));
        assert_eq!(client.answer::<Run>(write).unwrap().summary.nodes_created, 1);
        let reply = client.answer::<Run>(read).unwrap();
        assert_eq!(int(&reply.rows[0][0]), round + 1);
    }
    daemon.stop();
}

#[test]
fn answers_keep_the_order_of_requests_and_ping_overtakes() {
    let daemon = Daemon::start(&ALONE);
    let mut client = daemon.client();
    let id = client.create(0).unwrap();
    let mut sent = Vec::new();
    for round in 0..300 {
        sent.push(match round % 3 {
            0 => client.send(&run(set(id, round))),
            1 => client.send(&run(by_id(id))),
            _ => client.send(&run(count())),
        });
    }
    let answered: Vec<u32> = sent.iter().map(|_| client.next().0).collect();
    assert_eq!(answered, sent);

    // Another one writes, so the write waits, and everything behind it but the ping.
    let mut holder = daemon.client();
    holder.begin(Mode::Write);
    let write = client.send(&run(create(1)));
    let read = client.send(&run(count()));
    let ping = client.send(&Ping {});
    assert_eq!(client.next().0, ping);
    holder.rollback();
    assert_eq!(client.next().0, write);
    assert_eq!(client.next().0, read);
    daemon.stop();
}

#[test]
fn a_long_answer_comes_through_a_cursor() {
    let daemon = Daemon::start(&["--cursors-max", "3", "--result-bytes-max", "1024"]);
    let mut client = daemon.client();
    let ids = fill(&mut client, 2000);
    let all = Plan::of([Step::Nodes { label: None }, Step::Ids {}]);
    let with_fetch = |fetch| Run { plan: all.clone(), params: Pairs::default(), fetch, timeout_ms: None };
    for (fetch, mode) in [
        (Some(7), None),
        (Some(5000), None),
        (None, None),
        (Some(300), Some(Mode::Read)),
        (None, Some(Mode::Write)),
    ] {
        if let Some(mode) = mode {
            client.begin(mode);
        }
        let first: RunReply = client.call(&with_fetch(fetch)).unwrap();
        let mut seen = first.rows;
        assert!(seen.len() as u32 <= fetch.unwrap_or(u32::MAX));
        let mut cursor = first.cursor;
        while let Some(id) = cursor {
            // Changes of others do not show.
            let more: FetchReply = client.call(&Fetch { cursor: id, n: 100 }).unwrap();
            assert!(!more.rows.is_empty() && more.rows.len() <= 100);
            seen.extend(more.rows);
            cursor = more.cursor;
        }
        assert_eq!(seen.iter().map(|row| int(&row[0]) as u64).collect::<Vec<_>>(), ids);
        assert_eq!(
            code(client.call(&Fetch { cursor: first.cursor.unwrap(), n: 1 })),
            ErrorCode::CursorNotFound
        );
        if mode.is_some() {
            client.rollback();
        }
    }
    daemon.stop();
}

#[test]
fn cursors_are_counted_closed_and_end_with_their_transaction() {
    let daemon = Daemon::start(&["--cursors-max", "2"]);
    let mut client = daemon.client();
    fill(&mut client, 10);
    let all = Run {
        plan: Plan::of([Step::Nodes { label: None }]),
        params: Pairs::default(),
        fetch: Some(5),
        timeout_ms: None,
    };
    let first = client.call(&all).unwrap().cursor.unwrap();
    let second = client.call(&all).unwrap().cursor.unwrap();
    assert_ne!(first, second);
    assert_eq!(code(client.call(&all)), ErrorCode::TooManyRequests);
    client.call(&Close { cursor: first }).unwrap();
    client.call(&Close { cursor: first }).unwrap();
    let third = client.call(&all).unwrap().cursor.unwrap();
    let more = client.call(&Fetch { cursor: third, n: 5 }).unwrap();
    assert_eq!((more.rows.len(), more.cursor), (5, None), "the end is told with the last row");
    let exact = client.call(&Run { fetch: Some(10), ..all.clone() }).unwrap();
    assert_eq!((exact.rows.len(), exact.cursor), (10, None));
    client.begin(Mode::Read);
    let inside = client.call(&all).unwrap().cursor.unwrap();
    client.commit().unwrap();
    assert_eq!(code(client.call(&Fetch { cursor: inside, n: 1 })), ErrorCode::CursorNotFound);
    assert_eq!(client.call(&Fetch { cursor: second, n: 9 }).unwrap().rows.len(), 5);
    daemon.stop();
}

#[test]
fn writers_are_admitted_in_order() {
    let daemon = Daemon::start(&ALONE);
    let mut holder = daemon.client();
    holder.begin(Mode::Write);
    holder.create(0).unwrap();
    let mut waiters: Vec<(Client, u32)> = Vec::new();
    for n in 1..=5 {
        let mut client = daemon.client();
        let msgid = client.send(&run(create(n)));
        waiters.push((client, msgid));
        until(|| holder.waiting() == n as usize);
    }
    holder.commit().unwrap();
    let mut last = 0;
    for (mut client, msgid) in waiters {
        let (answered, reply) = client.next();
        assert_eq!(answered, msgid);
        let reply = RunReply::read(&mut Decoder::new(&reply.unwrap())).unwrap();
        let id = reply.rows[0][0].as_node().unwrap().id;
        assert!(id > last, "slots are given out in the order in which they came");
        last = id;
    }
    assert_eq!(holder.count(), 6);
    daemon.stop();
}

#[test]
fn waiting_to_be_admitted_ends_with_the_lock_timeout() {
    let daemon = Daemon::start(&["--lock-timeout-ms", "50", ALONE[0], ALONE[1]]);
    let (mut holder, mut waiter) = (daemon.client(), daemon.client());
    holder.begin(Mode::Write);
    let error = waiter.create(1).unwrap_err();
    assert_eq!((error.code, error.retryable), (ErrorCode::LockTimeout, true));
    assert_eq!(code(waiter.call(&Begin { mode: Mode::Write })), ErrorCode::LockTimeout);
    holder.commit().unwrap();
    waiter.create(1).unwrap();
    assert_eq!(waiter.call(&Commit::default()).unwrap_err().code, ErrorCode::NoTransaction);
    daemon.stop();
}

#[test]
fn an_idle_transaction_is_rolled_back_and_others_go_on() {
    let daemon = Daemon::start(&["--idle-in-transaction-timeout-ms", "100", ALONE[0], ALONE[1]]);
    let (mut idle, mut other) = (daemon.client(), daemon.client());
    idle.begin(Mode::Write);
    idle.create(1).unwrap();
    other.create(2).unwrap();
    assert_eq!(code(idle.create(3)), ErrorCode::Timeout);
    idle.rollback();
    assert_eq!(idle.count(), 1);
    daemon.stop();
}

/// A plan that is long enough to be decoded aside.
fn long_plan() -> Plan {
    let rows: Vec<_> = (0..5000)
        .map(|n| graphite_protocol::NewNode {
            labels: vec!["N".into()],
            properties: [("n", Operand::from(n))].into_iter().collect(),
        })
        .collect();
    Plan::of([Step::CreateNodes { rows }, Step::Count {}])
}

/// Whoever holds locks does not wait for a thread behind those who only read.
#[test]
fn a_long_plan_in_a_write_transaction_does_not_wait_for_reads() {
    let daemon = Daemon::start(&["--read-workers", "1"]);
    let mut writer = daemon.client();
    let steps = endless(&mut writer);
    let mut readers: Vec<Client> = (0..6).map(|_| daemon.client()).collect();
    for reader in &mut readers {
        reader.send(&run(Plan::of(steps.clone())));
    }
    writer.begin(Mode::Write);
    assert_eq!(int(&writer.run(long_plan()).unwrap().rows[0][0]), 5000);
    writer.commit().unwrap();
    drop(readers);
    daemon.stop();
}

#[test]
fn a_statement_that_fails_before_a_worker_has_it_fails_its_transaction_too() {
    let daemon = Daemon::start(&[]);
    let (mut client, mut other) = (daemon.client(), daemon.client());
    let fetch = graphite_protocol::messages::Fetch { cursor: 99, n: 1 };
    client.begin(Mode::Write);
    client.create(1).unwrap();
    assert_eq!(code(client.call(&fetch)), ErrorCode::CursorNotFound);
    assert_eq!(code(client.create(2)), ErrorCode::TransactionFailed);
    client.rollback();
    let node = graphite_protocol::Node { id: 1, labels: vec![], properties: vec![] };
    let mut bad = run(count());
    bad.params = [("a", graphite_protocol::Value::Node(Box::new(node)))].into_iter().collect();
    client.begin(Mode::Write);
    client.create(1).unwrap();
    assert_eq!(code(client.call(&bad)), ErrorCode::InvalidValue);
    assert_eq!(code(client.create(2)), ErrorCode::TransactionFailed);
    client.rollback();
    // One for reading has nothing to undo.
    client.begin(Mode::Read);
    assert_eq!(code(client.call(&fetch)), ErrorCode::CursorNotFound);
    assert_eq!(client.count(), 0);
    client.rollback();
    // What makes no sense was not begun.
    client.begin(Mode::Write);
    client.create(1).unwrap();
    assert_eq!(code(client.call(&Begin { mode: Mode::Write })), ErrorCode::TransactionOpen);
    client.create(2).unwrap();
    client.commit().unwrap();
    assert_eq!(other.count(), 2);
    daemon.stop();
}

#[test]
fn a_statement_that_runs_too_long_is_stopped() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    let steps = endless(&mut client);
    let endless =
        |timeout_ms| Run { plan: Plan::of(steps.clone()), params: Pairs::default(), fetch: None, timeout_ms };
    assert_eq!(code(client.call(&endless(Some(50)))), ErrorCode::Timeout);

    // Cancelled by another connection; in a write transaction that fails it.
    let mut other = daemon.client();
    client.begin(Mode::Write);
    let msgid = client.send(&endless(None));
    let session = {
        let mut session = 0;
        until(|| {
            let sessions = other.call(&graphite_protocol::messages::Sessions {}).unwrap().sessions;
            let active =
                sessions.iter().find(|s| s.state == graphite_protocol::messages::SessionState::Active);
            session = active.map_or(0, |s| s.session);
            session != 0
        });
        session
    };
    assert!(
        other.call(&graphite_protocol::messages::Cancel { session, ..Default::default() }).unwrap().cancelled
    );
    assert_eq!(code(client.answer::<Run>(msgid)), ErrorCode::Cancelled);
    other.create(1).unwrap();
    client.rollback();
    assert!(
        !other
            .call(&graphite_protocol::messages::Cancel { session, ..Default::default() })
            .unwrap()
            .cancelled,
        "it runs nothing"
    );
    assert_eq!(
        code(other.call(&graphite_protocol::messages::Cancel { session: 99, ..Default::default() })),
        ErrorCode::SessionNotFound
    );
    daemon.stop();
}

#[test]
fn a_killed_session_is_closed_and_its_transaction_rolled_back() {
    let daemon = Daemon::start(&[]);
    let (mut victim, mut admin) = (daemon.client(), daemon.client());
    victim.begin(Mode::Write);
    victim.create(1).unwrap();
    let rows = admin.call(&graphite_protocol::messages::Sessions {}).unwrap().sessions;
    let row = rows.iter().find(|row| row.transaction.is_some()).unwrap().clone();
    assert_eq!(row.state, graphite_protocol::messages::SessionState::IdleInTransaction);
    assert_eq!((row.pid, row.client.as_str()), (std::process::id(), "test/1"));
    assert!(row.locks > 0, "{row:?}");
    let kill = |transaction| graphite_protocol::messages::Kill { session: row.session, transaction };
    let stale = Some(row.transaction.unwrap() + 1);
    for other in [None, stale] {
        assert_eq!(code(admin.call(&kill(other))), ErrorCode::TransactionNotFound);
    }
    victim.create(1).unwrap();
    assert!(admin.call(&kill(row.transaction)).unwrap().killed);
    assert!(victim.is_closed().is_empty());
    admin.create(2).unwrap();
    assert_eq!(admin.count(), 1);
    assert_eq!(code(admin.call(&kill(None))), ErrorCode::SessionNotFound);
    daemon.stop();
}

#[test]
fn long_plans_are_decoded_aside_and_answered_in_order() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    let long = client.send(&run(long_plan()));
    let read = client.send(&run(count()));
    assert_eq!(int(&client.answer::<Run>(long).unwrap().rows[0][0]), 5000);
    assert_eq!(int(&client.answer::<Run>(read).unwrap().rows[0][0]), 5000);
    daemon.stop();
}

#[test]
fn what_this_version_cannot_do_is_said_plainly() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    let query = graphite_protocol::messages::Query {
        text: "RETURN 1".into(),
        params: Pairs::default(),
        fetch: None,
        timeout_ms: None,
    };
    let error = client.call(&query).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unsupported);
    assert!(error.message.contains("Cypher"), "{error}");
    assert_eq!(code(client.call(&graphite_protocol::messages::Compact {})), ErrorCode::Unsupported);
    let checkpoint = client.call(&graphite_protocol::messages::Checkpoint {}).unwrap();
    assert_eq!(checkpoint.lsn, client.status().checkpoint_lsn);
    client.create(1).unwrap();
    let check = client.call(&graphite_protocol::messages::Check {}).unwrap();
    assert_eq!((check.nodes, check.problems.len()), (1, 0));
    daemon.stop();
}
