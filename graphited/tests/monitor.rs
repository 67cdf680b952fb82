//! What monitors are told: pictures, asked for and watched, and what a stale screen may not do.
//!
//! Real daemons and clients. Who is to wait waits for a lock that another client holds, and is seen to before the test
//! goes on; no test asserts how long anything took.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::{ALONE, Client, Daemon, code, create, until};
use graphite_protocol::message::Message;
use graphite_protocol::messages::{
    Begin, Cancel, Checkpoint, CheckpointPhase, Hello, Kill, Mode, Picture, Session, SessionState, Status,
    TakePicture, Watch,
};
use graphite_protocol::{ErrorCode, FRAME_BYTES_MAX, FrameReader, Pairs, Plan, Step, Value};
use std::io::Read;

fn picture(observer: &mut Client) -> Picture {
    observer.call(&TakePicture {}).unwrap()
}

fn of(picture: &Picture, session: u64) -> &Session {
    picture.sessions.iter().find(|row| row.session == session).unwrap()
}

fn set(id: u64, n: i64) -> Plan {
    let properties = Pairs(vec![("n".to_owned(), Value::Int(n).into())]);
    Plan::of([Step::Node { ids: vec![id.into()], required: true }, Step::Set { properties }])
}

/// A client that has said hello, and its session.
fn client(daemon: &Daemon) -> (Client, u64) {
    let mut client = daemon.stranger();
    let session = client.hello().session;
    (client, session)
}

/// A client whose transaction has changed the node, and its session.
fn holder(daemon: &Daemon, id: u64) -> (Client, u64) {
    let (mut client, session) = client(daemon);
    client.begin(Mode::Write);
    client.run(set(id, 1)).unwrap();
    (client, session)
}

/// Reads notifications until there are so many, or the socket is silent for long.
fn pictures(client: &mut Client, reader: &mut FrameReader, wanted: usize) -> Vec<Picture> {
    let mut found = Vec::new();
    let mut bytes = vec![0; 64 << 10];
    while found.len() < wanted {
        while let Some(frame) = reader.next_frame().unwrap() {
            if let Ok(Message::Notification { method: "picture", params }) = Message::read(frame) {
                found.push(params.read().unwrap());
            }
        }
        if found.len() < wanted {
            let count = client.stream.read(&mut bytes).unwrap();
            assert!(count > 0, "the daemon has closed");
            reader.feed(&bytes[..count]);
        }
    }
    found
}

#[test]
fn one_picture_shows_who_waits_for_what_and_behind_whom() {
    let daemon = Daemon::start(&["--lock-timeout-ms", "60000"]);
    let mut observer = daemon.client();
    let id = observer.create(0).unwrap();
    let (mut one, first) = holder(&daemon, id);
    let (mut other, second) = client(&daemon);
    let sent = other.send(&common::run(set(id, 2)));
    until(|| of(&picture(&mut observer), second).state == SessionState::Waiting);
    let seen = picture(&mut observer);
    let (holds, waits) = (of(&seen, first), of(&seen, second));
    assert_eq!(waits.blocked_by, [first]);
    assert!(waits.waits_for.as_ref().is_some_and(|name| name.contains("node")), "{waits:?}");
    assert!(waits.wait_ends_in_ms.is_some_and(|ms| ms <= 60_000));
    assert_eq!(holds.state, SessionState::IdleInTransaction);
    assert!(holds.rollback_in_ms.is_some_and(|ms| ms <= 60_000) && holds.is_admin && !holds.is_reserved);
    assert_eq!((holds.statement_number, waits.statement_number), (2, 1), "begin counts, too");
    assert!(seen.locks.iter().any(|lock| !lock.granted && lock.session == second));
    assert_eq!(seen.locks_awaited, 1);
    assert_eq!(seen.locks_held + 1, seen.locks.len() as u64);
    assert!(seen.counters.lock_waits >= 1 && seen.counters.connections >= 3);
    assert!(seen.storage.sync_latency.count >= 1);
    assert_eq!(seen.compaction, None);
    assert_eq!(seen.timeouts.slow_statement_ms, Some(100));
    assert!(seen.writers.contains(&first));
    one.commit().unwrap();
    other.answer::<graphite_protocol::messages::Run>(sent).unwrap();
    daemon.stop();
}

#[test]
fn a_deadlock_is_shown_with_who_was_in_it_though_they_are_gone() {
    let daemon = Daemon::start(&[]);
    let mut observer = daemon.client();
    let ids = [observer.create(0).unwrap(), observer.create(0).unwrap()];
    let (mut one, first) = holder(&daemon, ids[0]);
    let (mut other, second) = holder(&daemon, ids[1]);
    let sent = one.send(&common::run(set(ids[1], 2)));
    until(|| of(&picture(&mut observer), first).state == SessionState::Waiting);
    let lost = other.run(set(ids[0], 2));
    let won = one.answer::<graphite_protocol::messages::Run>(sent);
    assert!(lost.is_err() != won.is_err());
    drop((one, other));
    until(|| picture(&mut observer).sessions.len() == 1);
    let seen = picture(&mut observer);
    let found = &seen.deadlocks[0];
    let mut sessions = found.sessions.clone();
    sessions.sort_unstable();
    assert_eq!(sessions, [first, second]);
    assert_eq!(found.pids, [std::process::id(); 2]);
    assert_eq!(found.clients, ["test/1"; 2]);
    assert_eq!(found.users.len(), 2);
    assert_eq!(seen.counters.deadlocks, 1);
    daemon.stop();
}

#[test]
fn of_a_slow_statement_it_is_told_how_long_it_waited_for_locks() {
    let daemon = Daemon::start(&["--slow-statement-ms", "5", "--lock-timeout-ms", "60000"]);
    let mut observer = daemon.client();
    let id = observer.create(0).unwrap();
    let (mut one, _) = holder(&daemon, id);
    let (mut other, second) = client(&daemon);
    let sent = other.send(&common::run(set(id, 2)));
    until(|| of(&picture(&mut observer), second).wait_ms.is_some_and(|ms| ms >= 20));
    one.commit().unwrap();
    other.answer::<graphite_protocol::messages::Run>(sent).unwrap();
    let seen = picture(&mut observer);
    let slow = seen.slow_statements.iter().find(|slow| slow.session == second).unwrap();
    assert!(slow.wait_ms.is_some_and(|ms| (20..=slow.took_ms).contains(&ms)), "{slow:?}");
    daemon.stop();
}

/// The locks are left out, and the picture comes.
#[test]
fn locks_that_do_not_fit_into_a_frame_are_only_counted() {
    let daemon = Daemon::start(&["--frame-bytes-max", "8192", "--result-bytes-max", "4096"]);
    let mut observer = daemon.client();
    let ids: Vec<u64> = (0..160).map(|n| observer.create(n).unwrap()).collect();
    // Each so few that they are not made one.
    let holders: Vec<Client> = ids
        .chunks(20)
        .map(|ids| {
            let (mut writer, _) = holder(&daemon, ids[0]);
            ids[1..].iter().for_each(|&id| drop(writer.run(set(id, 1)).unwrap()));
            writer
        })
        .collect();
    let seen = picture(&mut observer);
    assert!(seen.locks.is_empty() && seen.locks_held > 160, "{} of {}", seen.locks.len(), seen.locks_held);
    assert_eq!(seen.sessions.len(), holders.len() + 1);
    daemon.stop();
}

#[test]
fn statements_past_the_threshold_are_kept_and_others_not() {
    for (threshold, kept) in [("0", true), ("off", false)] {
        let daemon = Daemon::start(&["--slow-statement-ms", threshold]);
        let (mut writer, session) = client(&daemon);
        writer.create(1).unwrap();
        let seen = picture(&mut writer);
        assert_eq!(seen.slow_statements.len(), usize::from(kept));
        assert_eq!(seen.counters.slow_statements, u64::from(kept));
        if let Some(slow) = seen.slow_statements.first() {
            assert_eq!(
                (slow.session, slow.pid, slow.client.as_str()),
                (session, std::process::id(), "test/1")
            );
            assert_eq!((slow.statement.contains("create"), &slow.error), (true, &None));
            assert_eq!((slow.wait_ms, slow.rows), (Some(0), Some(1)));
        }
        daemon.stop();
    }
}

#[test]
fn a_checkpoint_is_shown_with_what_it_wrote() {
    let daemon = Daemon::start(&[]);
    let mut observer = daemon.client();
    observer.create(1).unwrap();
    let before = picture(&mut observer).storage;
    assert!(before.pages_dirty > 0);
    observer.call(&Checkpoint {}).unwrap();
    let after = picture(&mut observer).storage;
    assert_eq!((after.checkpoint.phase, after.checkpoint.running_ms), (CheckpointPhase::Idle, None));
    assert!(after.checkpoint.pages_done > 0 && after.checkpoint.pages_done <= after.checkpoint.pages_total);
    assert_eq!(after.checkpoint.checkpoints, before.checkpoint.checkpoints + 1);
    assert!(after.checkpoint.last_ended_at_ms.is_some());
    daemon.stop();
}

#[test]
fn who_watches_gets_pictures_until_it_ends_that() {
    let daemon = Daemon::start(&[]);
    let mut watcher = daemon.client();
    assert_eq!(code(watcher.call(&Watch { interval_ms: 99 })), ErrorCode::BadRequest);
    watcher.call(&Watch { interval_ms: 100 }).unwrap();
    let mut reader = FrameReader::new(FRAME_BYTES_MAX);
    let seen = pictures(&mut watcher, &mut reader, 3);
    assert!(seen[0].at_ms < seen[2].at_ms);
    watcher.send(&Watch { interval_ms: 0 });
    watcher.send(&Status {});
    drop(watcher);
    let mut observer = daemon.client();
    until(|| picture(&mut observer).sessions.len() == 1);
    daemon.stop();
}

/// It reads nothing while others go on, and then finds no more than the socket and one outbox held.
#[test]
fn who_does_not_read_has_no_backlog_and_holds_nobody_up() {
    let daemon = Daemon::start(&[]);
    let (mut watcher, session) = client(&daemon);
    watcher.call(&Watch { interval_ms: 100 }).unwrap();
    let mut observer = daemon.client();
    let clients: Vec<Client> = (0..200).map(|_| daemon.client()).collect();
    // What is on its way is seen now and then; what the socket does not take stays.
    let held = |observer: &mut Client| of(&picture(observer), session).outbox_bytes;
    until(|| (0..50).all(|_| held(&mut observer) > 0));
    let one = held(&mut observer);
    let asked = picture(&mut observer).at_ms;
    until(|| picture(&mut observer).at_ms > asked + 500);
    assert!(held(&mut observer) <= one, "nothing is added");
    observer.create(1).unwrap();
    drop(clients);
    daemon.stop();
}

#[test]
fn a_stale_screen_cancels_and_kills_nobody() {
    let daemon = Daemon::start(&["--lock-timeout-ms", "60000"]);
    let mut observer = daemon.client();
    let id = observer.create(0).unwrap();
    let (_one, first) = holder(&daemon, id);
    let (mut other, second) = client(&daemon);
    let sent = other.send(&common::run(set(id, 2)));
    until(|| of(&picture(&mut observer), second).state == SessionState::Waiting);
    let cancel = |transaction, statement| Cancel { session: second, transaction, statement };
    assert_eq!(code(observer.call(&cancel(Some(99), None))), ErrorCode::TransactionNotFound);
    assert_eq!(code(observer.call(&cancel(Some(0), Some(2)))), ErrorCode::StatementNotFound);
    let stale = Kill { session: first, transaction: Some(99) };
    assert_eq!(code(observer.call(&stale)), ErrorCode::TransactionNotFound);
    assert_eq!(code(observer.call(&Kill { transaction: Some(0), ..stale })), ErrorCode::TransactionNotFound);
    assert_eq!(of(&picture(&mut observer), second).state, SessionState::Waiting, "nothing was done");
    assert!(observer.call(&cancel(Some(0), Some(1))).unwrap().cancelled);
    assert_eq!(code(other.answer::<graphite_protocol::messages::Run>(sent)), ErrorCode::Cancelled);
    let seen = of(&picture(&mut observer), first).transaction;
    assert!(observer.call(&Kill { session: first, transaction: seen }).unwrap().killed);
    daemon.stop();
}

#[test]
fn a_full_daemon_has_a_place_for_one_monitor_that_only_looks() {
    let daemon = Daemon::start(&["--sessions-max", "2"]);
    let mut others = [daemon.client(), daemon.client()];
    let hello = Hello { protocol: 1, client: "top/1".into(), monitor: Some(true) };
    // However many crowd at the door and say nothing.
    let _crowd: Vec<Client> = (0..100).map(|_| daemon.stranger()).collect();
    let mut monitor = daemon.stranger();
    let session = monitor.call(&hello).unwrap().session;
    let seen = picture(&mut monitor);
    assert_eq!((seen.sessions.len(), of(&seen, session).is_reserved), (3, true));
    assert_eq!(code(monitor.call(&Begin { mode: Mode::Read })), ErrorCode::TooManySessions);
    assert_eq!(code(monitor.run(create(1))), ErrorCode::TooManySessions);
    assert_eq!(code(daemon.stranger().call(&hello)), ErrorCode::TooManySessions, "there is one such place");
    monitor.call(&Watch { interval_ms: 1000 }).unwrap();
    others[0].create(1).unwrap();
    drop(monitor);
    until(|| daemon.stranger().call(&hello).is_ok());
    // One that has said hello is heard, however many come right behind it.
    until(|| picture(&mut others[0]).sessions.iter().all(|row| !row.is_reserved));
    common::send_signal(daemon.child.id(), "STOP");
    let mut monitor = daemon.stranger();
    let said = monitor.send(&hello);
    let _crowd: Vec<Client> = (0..100).map(|_| daemon.stranger()).collect();
    common::send_signal(daemon.child.id(), "CONT");
    monitor.answer::<Hello>(said).unwrap();
    daemon.stop();
}

/// They wait for a place to write, which one holds.
#[test]
fn a_thousand_sessions_are_one_picture() {
    let daemon = Daemon::start(&[&ALONE[..], &["--sessions-max", "1100"]].concat());
    let mut observer = daemon.client();
    let (mut writer, first) = client(&daemon);
    writer.begin(Mode::Write);
    let mut clients: Vec<Client> = (0..1000).map(|_| daemon.client()).collect();
    for client in clients.iter_mut().take(50) {
        client.send(&Begin { mode: Mode::Write });
    }
    let waiting = |picture: &Picture| picture.sessions.iter().filter(|row| row.awaits_admission).count();
    until(|| waiting(&picture(&mut observer)) == 50);
    let seen = picture(&mut observer);
    assert_eq!((seen.sessions.len(), seen.writers.as_slice()), (1002, &[first][..]));
    let mut took: Vec<u64> = (0..20).map(|_| picture(&mut observer).took_us).collect();
    took.sort_unstable();
    println!("a picture of 1,002 sessions takes {} us (median of 20)", took[10]);
    daemon.stop();
}
