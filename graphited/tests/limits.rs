//! What has a limit, and what becomes of whoever goes past it: the old versions that snapshots need, what a transaction
//! changes and has in memory, how long a statement runs. Real daemons with small limits. That a limit holds is read from
//! the daemon's own figures and from those that the system has of it, never from the time that something takes.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::*;
use graphite_protocol::messages::{
    Check, Checkpoint, Close, Fetch, Mode, Run, RunReply, SessionState, Storage, TakePicture,
};
use graphite_protocol::{ErrorCode, NewNode, Operand, Pairs, Plan, Step, Value, WireError};

const MIB: u64 = 1 << 20;

fn set(ids: &[u64], properties: Pairs<Operand>) -> Plan {
    let ids = ids.iter().map(|id| (*id).into()).collect();
    Plan::of([Step::Node { ids, required: true }, Step::Set { properties }, Step::Count {}])
}

fn set_n(ids: &[u64], n: i64) -> Plan {
    set(ids, [("n", Operand::from(n))].into_iter().collect())
}

/// A property that needs so many bytes, which are others for each `seed`.
fn text(seed: usize, bytes: usize) -> String {
    let mut text = format!("{seed:07} ").repeat(bytes.div_ceil(8));
    text.truncate(bytes);
    text
}

fn with_text(n: i64, text: &str) -> Pairs<Operand> {
    [("n", Operand::from(n)), ("text", Operand::from(text))].into_iter().collect()
}

fn create_text(n: i64, text: &str) -> Plan {
    let properties = with_text(n, text);
    Plan::of([Step::CreateNode { labels: vec!["N".into()], properties }, Step::Ids {}])
}

/// Creates nodes with n = 0, of which no more than two have room on a page; returns their ids.
fn fill_pages(client: &mut Client, nodes: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    for some in (0..nodes).collect::<Vec<_>>().chunks(20) {
        let node =
            |seed: &usize| NewNode { labels: vec!["N".into()], properties: with_text(0, &text(*seed, 3000)) };
        let rows = some.iter().map(node).collect();
        let made = client.run(Plan::of([Step::CreateNodes { rows }, Step::Ids {}])).unwrap();
        ids.extend(made.rows.iter().map(|row| int(&row[0]) as u64));
    }
    // As a scan finds them.
    ids.sort_unstable();
    ids
}

/// Asks for `n` of all nodes.
fn numbers(fetch: Option<u32>) -> Run {
    let keys = vec!["n".to_owned()];
    Run { fetch, ..run(Plan::of([Step::Nodes { label: None }, Step::Properties { keys }])) }
}

fn ints(rows: &[Vec<Value>]) -> Vec<i64> {
    rows.iter().map(|row| int(&row[0])).collect()
}

fn value(client: &mut Client, id: u64, key: &str) -> Value {
    let keys = vec![key.to_owned()];
    let plan = Plan::of([Step::Node { ids: vec![id.into()], required: true }, Step::Properties { keys }]);
    client.call(&patient(plan)).unwrap().rows.remove(0).remove(0)
}

/// May run for long, whatever the daemon's setting.
fn patient(plan: Plan) -> Run {
    Run { timeout_ms: Some(PATIENCE.as_millis() as u64), ..run(plan) }
}

fn storage(observer: &mut Client) -> Storage {
    observer.call(&TakePicture {}).unwrap().storage
}

/// A client with a cursor on a snapshot of its own, of whose rows it has the first five.
fn cursor_holder(daemon: &Daemon) -> (Client, RunReply) {
    let mut client = daemon.client();
    let first = client.call(&numbers(Some(5))).unwrap();
    assert_eq!(first.rows.len(), 5);
    (client, first)
}

const OLD_VERSIONS_BYTES_MAX: u64 = MIB;
/// What versions may take that have just been replaced and were not looked through yet: those of a commit or two.
const JUST_REPLACED_BYTES_MAX: u64 = MIB / 4;

/// Changes `n` of the nodes, some in each commit, by two clients in turn; returns the most that old versions took.
fn write_past(daemon: &Daemon, observer: &mut Client, ids: &[u64], n: i64) -> u64 {
    let mut writers = [daemon.client(), daemon.client()];
    let mut most = 0;
    for (turn, some) in ids.chunks(8).enumerate() {
        assert_eq!(writers[turn % 2].run(set_n(some, n)).unwrap().summary.properties_set, some.len() as u64);
        most = most.max(storage(observer).old_version_bytes);
    }
    most
}

#[test]
fn the_oldest_snapshots_are_let_down_when_old_versions_pass_their_limit_and_others_go_on() {
    const NODES: usize = 600;
    let daemon = Daemon::start(&["--old-versions-bytes", "1M", "--idle-in-transaction-timeout-ms", "0"]);
    let mut observer = daemon.client();
    let ids = fill_pages(&mut observer, NODES);
    let (before, after) = ids[..2 * NODES / 3].split_at(NODES / 3);
    assert_eq!(storage(&mut observer).old_version_bytes_max, OLD_VERSIONS_BYTES_MAX);

    let mut old = daemon.client();
    old.begin(Mode::Read);
    assert_eq!(ints(&old.call(&numbers(None)).unwrap().rows), [0; NODES]);
    let (mut old_holder, old_first) = cursor_holder(&daemon);
    let old_cursor = old_first.cursor.unwrap();

    // What the old ones need fits.
    let most_before = write_past(&daemon, &mut observer, before, 1);
    assert!(most_before > OLD_VERSIONS_BYTES_MAX / 2, "{most_before}");
    let mut young = daemon.client();
    young.begin(Mode::Read);
    let seen_by_young = [[1; NODES / 3], [0; NODES / 3], [0; NODES / 3]].concat();
    assert_eq!(ints(&young.call(&numbers(None)).unwrap().rows), seen_by_young);
    assert_eq!(ints(&old.call(&numbers(None)).unwrap().rows), [0; NODES]);
    let (mut young_holder, young_first) = cursor_holder(&daemon);

    // What the old ones and the young ones need does not, and what the young ones need does.
    let most = write_past(&daemon, &mut observer, after, 1);
    assert!(most <= OLD_VERSIONS_BYTES_MAX + JUST_REPLACED_BYTES_MAX, "{most}");
    until(|| storage(&mut observer).old_version_bytes <= OLD_VERSIONS_BYTES_MAX);

    // Whatever it asks for, be it answered by a worker or at once; and asking again is of no use.
    for statement in [numbers(None), run(count()), run(by_id(ids[0])), numbers(None)] {
        let error = old.call(&statement).unwrap_err();
        assert_eq!((error.code, error.retryable), (ErrorCode::SnapshotTooOld, true), "{statement:?}");
    }
    let fetch = Fetch { cursor: old_cursor, n: 1000 };
    let error = old_holder.call(&fetch).unwrap_err();
    assert_eq!((error.code, error.retryable), (ErrorCode::SnapshotTooOld, true));
    assert_eq!(code(old_holder.call(&fetch)), ErrorCode::CursorNotFound);

    assert_eq!(ints(&young.call(&numbers(None)).unwrap().rows), seen_by_young);
    let mut seen = ints(&young_first.rows);
    let more = young_holder.call(&Fetch { cursor: young_first.cursor.unwrap(), n: 1000 }).unwrap();
    seen.extend(ints(&more.rows));
    assert_eq!((seen, more.cursor), (seen_by_young, None));

    // Tried again, it succeeds: the transaction from its begin, the statement as a whole.
    let newest = [[1; NODES / 3], [1; NODES / 3], [0; NODES / 3]].concat();
    old.rollback();
    old.begin(Mode::Read);
    assert_eq!(ints(&old.call(&numbers(None)).unwrap().rows), newest);
    let again = old_holder.call(&numbers(Some(1000))).unwrap();
    assert_eq!((ints(&again.rows), again.cursor), (newest, None));

    old.commit().unwrap();
    young.commit().unwrap();
    until(|| storage(&mut observer).old_version_bytes == 0);
    assert_eq!(observer.call(&Check {}).unwrap().problems, []);
    daemon.stop();
}

/// A client that asks for a few rows now and then while others write without end: its snapshot is let down again and
/// again, and what is kept for it stays bounded all the same.
#[test]
fn cursors_that_come_again_and_again_do_not_let_old_versions_grow() {
    const NODES: usize = 400;
    let daemon = Daemon::start(&["--old-versions-bytes", "1M"]);
    let mut observer = daemon.client();
    let ids = fill_pages(&mut observer, NODES);
    let mut last_n = 0;
    for n in 1..=3 {
        let (mut holder, first) = cursor_holder(&daemon);
        let cursor = first.cursor.unwrap();
        let most = write_past(&daemon, &mut observer, &ids, n);
        assert!(most > OLD_VERSIONS_BYTES_MAX / 2, "{most}");
        assert!(most <= OLD_VERSIONS_BYTES_MAX + JUST_REPLACED_BYTES_MAX, "{most}");
        assert_eq!(code(holder.call(&Fetch { cursor, n: 1 })), ErrorCode::SnapshotTooOld);
        // A cursor that is gone is closed as any other.
        holder.call(&Close { cursor }).unwrap();
        last_n = n;
    }
    assert_eq!(ints(&observer.call(&numbers(None)).unwrap().rows), [last_n; NODES]);
    daemon.stop();
}

fn is_too_large(error: &WireError) {
    assert_eq!((&error.code, error.retryable), (&ErrorCode::TooLarge, false), "{error}");
}

#[test]
fn a_transaction_that_changes_more_than_the_log_takes_fails_at_a_statement_and_leaves_nothing() {
    const TEXT_BYTES: usize = 32 << 10;
    // A transaction may have a quarter of it.
    let daemon = Daemon::start(&["--wal-bytes", "1M", "--lock-timeout-ms", "0"]);
    let (mut large, mut other) = (daemon.client(), daemon.client());
    let id = other.create(0).unwrap();
    let text = text(0, TEXT_BYTES);
    for round in 1..=3 {
        large.begin(Mode::Write);
        large.run(set_n(&[id], -1)).unwrap();
        let mut made = 0;
        let refused = loop {
            match large.run(create_text(1, &text)) {
                Ok(reply) => made += reply.summary.nodes_created,
                Err(error) => break error,
            }
            assert!(made <= MIB / 4 / TEXT_BYTES as u64, "a transaction has no limit");
        };
        is_too_large(&refused);
        assert!(made > 0);
        // What it held is free, and nothing of it is there.
        other.run(set_n(&[id], round)).unwrap();
        assert_eq!(other.count(), 1);
        for plan in [create_text(1, ""), count()] {
            assert_eq!(code(large.run(plan)), ErrorCode::TransactionFailed);
        }
        if round == 1 {
            assert_eq!(code(large.commit()), ErrorCode::TransactionFailed);
        } else {
            large.rollback();
        }
        assert_eq!(value(&mut large, id, "n"), Value::Int(round));
    }
    // By itself a statement fails alike.
    is_too_large(&large.run(create_text(1, &text.repeat(16))).unwrap_err());
    assert_eq!(large.count(), 1);
    // What fits is taken, as often as it comes: the log goes round.
    for n in 2..40 {
        large.begin(Mode::Write);
        (0..2).for_each(|_| drop(large.run(create_text(n, &text)).unwrap()));
        large.commit().unwrap();
    }
    assert_eq!(other.count(), 1 + 2 * 38);
    assert_eq!(other.call(&Check {}).unwrap().problems, []);
    daemon.stop();
}

/// Little is changed in each of many pages. The statements take little, and the commit would log all of the pages.
#[test]
fn a_transaction_whose_pages_the_log_does_not_take_fails_at_its_commit_and_leaves_nothing() {
    const NODES: usize = 300;
    let daemon = Daemon::start(&["--wal-bytes", "1M", "--lock-timeout-ms", "0"]);
    let (mut large, mut other) = (daemon.client(), daemon.client());
    let ids = fill_pages(&mut other, NODES);
    // Of a page that has not changed since a checkpoint all is logged.
    other.call(&Checkpoint {}).unwrap();
    large.begin(Mode::Write);
    for some in ids.chunks(50) {
        large.run(set_n(some, 1)).unwrap();
    }
    is_too_large(&large.commit().unwrap_err());
    assert_eq!(code(large.commit()), ErrorCode::NoTransaction, "a commit that is refused ends it");
    is_too_large(&large.run(set_n(&ids, 2)).unwrap_err());
    assert_eq!(ints(&other.call(&numbers(None)).unwrap().rows), [0; NODES]);
    // Its locks are free, and it goes on, too.
    other.run(set_n(&ids[..8], 3)).unwrap();
    large.run(set_n(&ids[8..16], 4)).unwrap();
    let expected = [vec![3; 8], vec![4; 8], vec![0; NODES - 16]].concat();
    assert_eq!(ints(&other.call(&numbers(None)).unwrap().rows), expected);
    assert_eq!(other.call(&Check {}).unwrap().problems, []);
    daemon.stop();
}

/// The most memory that the daemon ever had, in bytes.
fn peak_bytes(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// The log and the cache have room for the commit; what is looked at is what the daemon has in memory before it, when no
/// page is changed. With a large budget it is all of the values, so what is compared is what the budget makes of it.
#[test]
fn values_past_the_budget_of_a_transaction_are_not_in_memory_and_are_there_after_its_commit() {
    const VALUES: usize = 80;
    const VALUE_BYTES: usize = 512 << 10;
    const ALL_BYTES: u64 = (VALUES * VALUE_BYTES) as u64;
    for (budget, is_in_memory) in [("1M", false), ("256M", true)] {
        let room = ["--cache-bytes", "128M", "--wal-bytes", "256M", "--durability", "off"];
        let daemon = Daemon::start(&[&room[..], &["--transaction-memory-bytes", budget]].concat());
        let (mut writer, mut reader) = (daemon.client(), daemon.client());
        writer.begin(Mode::Write);
        let mut ids = Vec::new();
        for n in 0..VALUES {
            let made = writer.run(create_text(n as i64, &text(n, VALUE_BYTES))).unwrap();
            ids.push(int(&made.rows[0][0]) as u64);
        }
        let peak = peak_bytes(&daemon);
        println!("{peak} bytes with a budget of {budget}");
        assert_eq!(peak > ALL_BYTES, is_in_memory, "it took {peak} bytes with a budget of {budget}");
        assert!(is_in_memory || peak < ALL_BYTES / 2, "it took {peak} bytes");
        // The transaction itself sees them, wherever they are.
        assert_eq!(value(&mut writer, ids[VALUES - 1], "text"), text(VALUES - 1, VALUE_BYTES).into());
        assert_eq!(reader.count(), 0);
        writer.commit().unwrap();
        assert_eq!(reader.count(), VALUES as i64);
        for (n, id) in ids.iter().enumerate() {
            assert!(value(&mut reader, *id, "text") == text(n, VALUE_BYTES).into(), "the value of {n}");
        }
        daemon.stop();
    }
}

/// Short. A statement that says itself how long it may run is not concerned: those that are to succeed do so.
const STATEMENT_TIMEOUT: [&str; 2] = ["--statement-timeout-ms", "200"];
const NO_OTHER_TIMEOUT: [&str; 4] = ["--lock-timeout-ms", "0", "--idle-in-transaction-timeout-ms", "0"];

/// A daemon on a database in which a statement runs for ever, that statement, and two nodes.
fn with_statement_timeout(more: &[&str]) -> (Daemon, Plan, [u64; 2]) {
    let mut daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    let endless = Plan::of(endless(&mut client));
    let ids = [0, 0].map(|n| client.create(n).unwrap());
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    daemon.child = start_at(&daemon.db, &[&STATEMENT_TIMEOUT[..], &NO_OTHER_TIMEOUT, more].concat());
    (daemon, endless, ids)
}

fn timeouts(observer: &mut Client) -> u64 {
    observer.call(&TakePicture {}).unwrap().counters.timeouts
}

#[test]
fn the_statement_timeout_that_is_set_ends_what_runs_for_long() {
    let (daemon, endless, ids) = with_statement_timeout(&[]);
    let (mut client, mut other) = (daemon.client(), daemon.client());
    assert_eq!(code(client.run(endless.clone())), ErrorCode::Timeout);
    client.begin(Mode::Read);
    assert_eq!(code(client.run(endless.clone())), ErrorCode::Timeout);
    assert_eq!(value(&mut client, ids[0], "n"), Value::Int(0), "it has nothing to undo, and goes on");
    client.commit().unwrap();

    client.begin(Mode::Write);
    client.call(&patient(set_n(&ids, 1))).unwrap();
    assert_eq!(code(client.run(endless)), ErrorCode::Timeout);
    // It is rolled back, and what it held is free.
    other.call(&patient(set_n(&ids[..1], 2))).unwrap();
    assert_eq!(code(client.call(&patient(count()))), ErrorCode::TransactionFailed);
    client.rollback();
    assert_eq!(ids.map(|id| value(&mut client, id, "n")), [2, 0].map(Value::Int));
    assert_eq!(timeouts(&mut other), 3);
    daemon.stop();
}

#[test]
fn the_statement_timeout_that_is_set_ends_a_wait_for_a_lock() {
    let (daemon, _, ids) = with_statement_timeout(&[]);
    let (mut holder, mut waiter, mut other) = (daemon.client(), daemon.client(), daemon.client());
    holder.begin(Mode::Write);
    holder.call(&patient(set_n(&ids[..1], 1))).unwrap();
    assert_eq!(code(waiter.run(set_n(&ids[..1], 2))), ErrorCode::Timeout);
    waiter.begin(Mode::Write);
    waiter.call(&patient(set_n(&ids[1..], 2))).unwrap();
    assert_eq!(code(waiter.run(set_n(&ids[..1], 2))), ErrorCode::Timeout);
    other.call(&patient(set_n(&ids[1..], 3))).unwrap();
    assert_eq!(code(waiter.call(&patient(count()))), ErrorCode::TransactionFailed);
    waiter.rollback();
    assert_eq!(timeouts(&mut other), 2);
    // The holder, which may rest for ever between its statements, was not concerned.
    holder.commit().unwrap();
    assert_eq!(ids.map(|id| value(&mut other, id, "n")), [1, 3].map(Value::Int));
    daemon.stop();
}

#[test]
fn the_statement_timeout_that_is_set_ends_a_wait_to_be_let_write() {
    let (daemon, _, ids) = with_statement_timeout(&ALONE);
    let (mut holder, mut waiter, mut observer) = (daemon.client(), daemon.client(), daemon.client());
    holder.begin(Mode::Write);
    // It wants a node that nobody holds, so it waits for nothing else.
    for _ in 0..2 {
        assert_eq!(code(waiter.run(set_n(&ids[1..], 2))), ErrorCode::Timeout);
    }
    assert_eq!((timeouts(&mut observer), observer.waiting()), (2, 0));
    let patiently = waiter.send(&patient(set_n(&ids[1..], 3)));
    until(|| observer.waiting() == 1);
    holder.commit().unwrap();
    waiter.answer::<Run>(patiently).unwrap();
    assert_eq!(value(&mut observer, ids[1], "n"), Value::Int(3));
    assert!(observer.sessions().iter().all(|row| row.state != SessionState::Waiting));
    daemon.stop();
}
