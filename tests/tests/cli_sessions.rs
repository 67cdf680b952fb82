//! The commands `sessions`, `locks`, `cancel` and `kill` against a real daemon: one session waits for another, and is
//! seen to.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use graphite_client::messages::SessionState;
use graphite_client::{Client, ErrorCode, NodeId, Operand, Plan, Step, props};
use graphite_tests::{Daemon, Scratch, graphite, run, run_ok, wait_until};

fn set(id: NodeId, n: i64) -> Plan {
    let properties = [("n", Operand::from(n))].into_iter().collect();
    Plan::of([Step::Node { ids: vec![id.0.into()], required: true }, Step::Set { properties }])
}

fn until_waits(observer: &mut Client, session: u64) {
    wait_until("the session waits", || {
        let rows = observer.sessions().unwrap();
        rows.iter().any(|row| row.session == session && row.state == SessionState::Waiting)
    });
}

#[test]
fn who_waits_for_whom_is_shown_and_can_be_ended() {
    let scratch = Scratch::new();
    let db = scratch.path("graph.graphite");
    let daemon = Daemon::start(&db, &["--lock-timeout-ms", "0"]);
    let (mut observer, mut holder) = (daemon.client(), daemon.client());
    let ask = |args: &[&str]| run_ok(graphite(&db), args);
    let id = observer.create_node(["Person\u{1b}[2J"], props! { "n" => 0 }).unwrap();
    let holding = holder.server().session;
    let mut tx = holder.begin_write().unwrap();
    tx.run(set(id, 1), ()).unwrap();
    for how in ["cancel", "kill"] {
        let mut waiter = daemon.client();
        let waiting = waiter.server().session;
        let asking = std::thread::spawn(move || waiter.run(set(id, 2), ()).unwrap_err());
        until_waits(&mut observer, waiting);

        let sessions = ask(&["sessions"]);
        let row = sessions.lines().find(|line| line.trim_start().starts_with(&waiting.to_string())).unwrap();
        for part in ["waiting", &format!("node {} :Person\\u{{1b}}[2J", id.0), &holding.to_string(), "set n"]
        {
            assert!(row.contains(part), "{part} in {row}");
        }
        assert!(sessions.contains("3 sessions, 1 waiting"), "{sessions}");
        let json: serde_json::Value = serde_json::from_str(&ask(&["sessions", "--format", "json"])).unwrap();
        let rows = json.as_array().unwrap();
        let row = rows.iter().find(|row| row["session"] == waiting).unwrap();
        assert_eq!(row["blocked_by"], serde_json::json!([holding]));

        let locks = ask(&["locks"]);
        for part in ["awaited", "held", "IX", "the node table"] {
            assert!(locks.contains(part), "{part} in {locks}");
        }
        assert!(!locks.contains('\x1b'), "{locks}");
        let jsonl = ask(&["locks", "--format", "jsonl"]);
        assert!(jsonl.lines().any(|line| line.contains("\"granted\":false")), "{jsonl}");

        ask(&[how, &waiting.to_string()]);
        let error = asking.join().unwrap();
        let expected = if how == "cancel" { ErrorCode::Cancelled } else { ErrorCode::Killed };
        assert_eq!(error.code(), Some(&expected));
        wait_until("the waiter is gone", || {
            observer.sessions().unwrap().iter().all(|row| row.session != waiting)
        });
        for gone in ["cancel", "kill"] {
            let ran = run(graphite(&db), &[gone, &waiting.to_string()]);
            assert_eq!(ran.code, 1, "{ran:?}");
            assert!(ran.err.contains("there is no session"), "{ran:?}");
        }
    }
    let holding = holding.to_string();
    let stale = run(graphite(&db), &["kill", &holding, "--transaction", "4711"]);
    assert!(stale.code == 1 && stale.err.contains("by now"), "{stale:?}");
    assert!(run(graphite(&db), &["cancel", &holding]).err.contains("runs no statement"));
    tx.run(set(id, 3), ()).unwrap();
    assert!(ask(&["kill", &holding]).contains("rolled back"));
    assert!(tx.commit().is_err());
    assert_eq!(
        observer.node(id).unwrap().unwrap().get("n").and_then(graphite_client::Value::as_int),
        Some(0)
    );
    wait_until("its locks are let go", || observer.locks().unwrap().locks.is_empty());
    assert!(ask(&["locks"]).contains("0 locks held, 0 awaited"));
}

#[test]
fn deadlocks_are_shown_with_what_each_waited_for() {
    let scratch = Scratch::new();
    let db = scratch.path("graph.graphite");
    let daemon = Daemon::start(&db, &["--lock-timeout-ms", "0"]);
    let (mut observer, mut older, mut younger) = (daemon.client(), daemon.client(), daemon.client());
    let ids = [0, 1].map(|n| observer.create_node(["N"], props! { "n" => n }).unwrap());
    assert!(run_ok(graphite(&db), &["locks", "--deadlocks"]).contains("0 deadlocks"));
    let (first, second) = (older.server().session, younger.server().session);
    let mut tx = older.begin_write().unwrap();
    tx.run(set(ids[0], 1), ()).unwrap();
    let mut other = younger.begin_write().unwrap();
    other.run(set(ids[1], 1), ()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| tx.run(set(ids[1], 1), ()).unwrap());
        until_waits(&mut observer, first);
        let error = other.run(set(ids[0], 1), ()).unwrap_err();
        assert_eq!(error.code(), Some(&ErrorCode::Deadlock));
        waiting.join().unwrap();
    });
    let shown = run_ok(graphite(&db), &["locks", "--deadlocks"]);
    let victim = shown.lines().find(|line| line.contains("rolled back")).unwrap();
    assert!(
        victim.contains(&second.to_string()) && victim.contains(&format!("node {} :N", ids[0].0)),
        "{shown}"
    );
    assert!(victim.contains(&format!("node {} | set n", ids[0].0)), "{shown}");
    assert!(shown.contains("1 deadlock\n"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&run_ok(graphite(&db), &["locks", "--deadlocks", "--format", "json"])).unwrap();
    assert_eq!(json[0]["victim"], second);
    tx.commit().unwrap();
}
