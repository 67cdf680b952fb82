//! What ends a wait for a lock: a timeout, somebody who intervenes, the end of the holder or its client, and that of the
//! daemon. As in `locks.rs`, that a session waits is seen in what the daemon tells.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::peers::*;
use common::*;
use graphite_protocol::messages::{Begin, Cancel, Kill, Mode, Run, SessionState};
use graphite_protocol::{ErrorCode, Plan, Value};

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
