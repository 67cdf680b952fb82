//! Replies that are parked until a commit is durable, and what else becomes of their sessions meanwhile. The test
//! holds the sync of the log at a door, so it knows what is parked.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::io::Write;
use std::net::Shutdown;

use common::door::{Behind, Failing};
use common::*;
use graphite_protocol::messages::{
    Cancel, Checkpoint, Commit, CommitState, CommitStatus, Empty, ImportBegin, ImportNodes, Kill, Mode,
    NodeBatch, Ping, Request, Run, Session as Row, SessionState, Sessions, Status,
};
use graphite_protocol::{ErrorCode, Operand, Packed, Plan, Step, Token};
use graphited::config::Config;

/// The row of a session as another one sees it.
fn row(observer: &mut Client, session: u64) -> Row {
    let sessions = observer.call(&Sessions {}).unwrap().sessions;
    sessions.into_iter().find(|row| row.session == session).unwrap()
}

/// A daemon whose database knows all names that are used here, so that a request is one commit.
fn start(set: impl FnOnce(&mut Config)) -> Behind {
    let daemon = Behind::start_with(set);
    daemon.client().create(0).unwrap();
    daemon
}

fn hello(daemon: &Behind) -> (Client, u64) {
    let mut client = Client::connect(&socket_of(&daemon.db));
    let session = client.hello().session;
    (client, session)
}

fn hold(daemon: &Behind, on: bool) {
    daemon.door.order(|orders| orders.hold_log_syncs = on);
}

/// Sends a request that commits, and waits until only its sync is missing.
fn park(client: &mut Client, observer: &mut Client) -> u32 {
    let before = observer.status().commits;
    let msgid = client.send(&run(create(1)));
    until(|| observer.status().commits == before + 1);
    msgid
}

fn set(id: u64, n: i64) -> Run {
    let properties = [("n", Operand::from(n))].into_iter().collect();
    run(Plan::of([Step::Node { ids: vec![id.into()], required: true }, Step::Set { properties }]))
}

/// A read that waited for its session's own commit was cancelled; that the commit becomes visible later concerns
/// nobody any more, least of all the request that waits to be admitted by then.
#[test]
fn a_commit_that_becomes_visible_leaves_later_requests_alone() {
    let daemon = start(|config| config.write_transactions_max = 1);
    let (mut client, id) = hello(&daemon);
    let (mut holder, mut observer) = (daemon.client(), daemon.client());
    hold(&daemon, true);
    let written = park(&mut client, &mut observer);
    let read = client.send(&run(count()));
    until(|| row(&mut observer, id).requests == 2);
    assert!(observer.call(&Cancel { session: id, ..Default::default() }).unwrap().cancelled);
    holder.begin(Mode::Write);
    let second = client.send(&run(create(2)));
    until(|| row(&mut observer, id).state == SessionState::Waiting);

    hold(&daemon, false);
    client.answer::<Run>(written).unwrap();
    assert_eq!(code(client.answer::<Run>(read)), ErrorCode::Cancelled);
    // Once more through the reactor, which has looked at all that it was told by then.
    observer.call(&Ping {}).unwrap();
    let third = client.send(&run(create(3)));
    client.call(&Ping {}).unwrap();
    holder.rollback();
    client.answer::<Run>(second).unwrap();
    client.answer::<Run>(third).unwrap();
    assert_eq!(client.count(), 4);
}

#[test]
fn a_client_that_sends_no_more_gets_its_parked_answer_and_then_the_end() {
    let daemon = start(|_| {});
    let (mut client, mut observer) = (daemon.client(), daemon.client());
    hold(&daemon, true);
    let written = park(&mut client, &mut observer);
    client.stream.shutdown(Shutdown::Write).unwrap();
    observer.call(&Ping {}).unwrap();
    hold(&daemon, false);
    client.answer::<Run>(written).unwrap();
    assert_eq!(client.is_closed(), []);
    until(|| observer.status().sessions == 1);
}

#[test]
fn a_session_that_is_killed_leaves_when_its_parked_answer_has() {
    let daemon = start(|_| {});
    let (mut client, id) = hello(&daemon);
    let mut observer = daemon.client();
    hold(&daemon, true);
    let written = park(&mut client, &mut observer);
    assert!(observer.call(&Kill { session: id, transaction: None }).unwrap().killed);
    hold(&daemon, false);
    client.answer::<Run>(written).unwrap();
    assert_eq!(client.is_closed(), []);
    until(|| observer.status().sessions == 1);
}

#[test]
fn answers_behind_a_parked_one_that_fill_the_outbox_do_not_stop_the_session() {
    let daemon = start(|config| config.outbox_bytes_max = 4 << 10);
    let (mut client, id) = hello(&daemon);
    let mut observer = daemon.client();
    hold(&daemon, true);
    let written = park(&mut client, &mut observer);
    // All at once, for the daemon stops reading soon.
    let (refused, frames): (Vec<u32>, Vec<Vec<u8>>) =
        (0..500).map(|_| client.frame(&Commit::default())).unzip();
    client.stream.write_all(&frames.concat()).unwrap();
    until(|| row(&mut observer, id).outbox_bytes >= 4 << 10);
    hold(&daemon, false);
    client.answer::<Run>(written).unwrap();
    for msgid in refused {
        assert_eq!(code(client.answer::<Commit>(msgid)), ErrorCode::NoTransaction);
    }
}

/// Parked replies count as what waits for the client, so that a slow sync does not fill the memory with them.
#[test]
fn parked_replies_are_bounded_by_bytes() {
    const OUTBOX_BYTES_MAX: u64 = 256 << 10;
    const REPLY_BYTES: u64 = 100_000;
    let daemon = start(|config| config.outbox_bytes_max = OUTBOX_BYTES_MAX);
    let (mut client, id) = hello(&daemon);
    let mut observer = daemon.client();
    let text = "x".repeat(REPLY_BYTES as usize);
    let properties = [("text", Operand::from(text.as_str()))].into_iter().collect();
    let made = client.run(Plan::of([Step::CreateNode { labels: vec![], properties }])).unwrap();
    let node = made.rows[0][0].as_node().unwrap().id;
    hold(&daemon, true);
    let before = observer.status().commits;
    let sent: Vec<u32> = (0..64).map(|n| client.send(&set(node, n))).collect();
    until(|| row(&mut observer, id).outbox_bytes >= OUTBOX_BYTES_MAX);
    // However often the reactor looks, it begins nothing more.
    (0..50).for_each(|_| assert_eq!(observer.call(&Ping {}), Ok(Empty {})));
    assert!(row(&mut observer, id).outbox_bytes < OUTBOX_BYTES_MAX + 2 * REPLY_BYTES);
    assert!(observer.status().commits <= before + OUTBOX_BYTES_MAX / REPLY_BYTES + 2);
    hold(&daemon, false);
    for msgid in sent {
        client.answer::<Run>(msgid).unwrap();
    }
    // The client may have the last answer before its sender has counted it.
    until(|| row(&mut observer, id).outbox_bytes == 0);
}

#[test]
fn parked_replies_are_bounded_by_number() {
    const REQUESTS_MAX: u64 = 8;
    let daemon = start(|config| config.requests_max = REQUESTS_MAX);
    let (mut client, id) = hello(&daemon);
    let mut observer = daemon.client();
    let node = client.create(0).unwrap();
    hold(&daemon, true);
    let before = observer.status().commits;
    let sent: Vec<u32> = (0..64).map(|n| client.send(&set(node, n))).collect();
    until(|| row(&mut observer, id).requests >= REQUESTS_MAX);
    until(|| observer.status().commits >= before + REQUESTS_MAX);
    (0..50).for_each(|_| assert_eq!(observer.call(&Ping {}), Ok(Empty {})));
    assert!(observer.status().commits <= before + REQUESTS_MAX);
    hold(&daemon, false);
    for msgid in sent {
        client.answer::<Run>(msgid).unwrap();
    }
}

/// That an import has begun rests on a batch that may never become durable; so does the error that says it.
#[test]
fn an_error_that_rests_on_a_parked_batch_is_parked_too() {
    let daemon = start(|_| {});
    let (mut client, mut other, mut observer) = (daemon.client(), daemon.client(), daemon.client());
    let import = Token::new("an import").unwrap();
    hold(&daemon, true);
    let before = observer.status().commits;
    let nodes = NodeBatch { label_sets: vec![vec![]], labels: Packed(vec![0]), columns: vec![] };
    let batch = client.send(&ImportNodes { import: import.clone(), batch: 0, nodes });
    until(|| observer.status().commits > before);
    let begun = other.send(&ImportBegin { import, resume: false });
    daemon.door.order(|orders| orders.failing = Some(Failing::LogSync));
    // The next request of the same session is executed only when that one is.
    let next = other.send(&Commit::default());
    let overtaken = other.send(&Ping {});
    other.answer::<Ping>(overtaken).unwrap();
    hold(&daemon, false);
    assert_eq!(code(client.answer::<ImportNodes>(batch)), ErrorCode::CommitUnknown);
    assert_eq!(code(other.answer::<ImportBegin>(begun)), ErrorCode::ReadOnly);
    assert_eq!(code(other.answer::<Commit>(next)), ErrorCode::NoTransaction);
}

/// A request of a client that is not answered, though the daemon has executed it: a ping sent after it is.
fn is_held_back<R: Request>(client: &mut Client, request: &R) -> u32 {
    let msgid = client.send(request);
    let ping = client.send(&Ping {});
    client.answer::<Ping>(ping).unwrap();
    msgid
}

fn reads(id: u64) -> Run {
    let keys = vec!["n".to_owned()];
    run(Plan::of([Step::Node { ids: vec![id.into()], required: true }, Step::Properties { keys }]))
}

/// Locks go before the sync, so a write transaction sees what may still be lost; its client does not.
#[test]
fn what_a_write_transaction_saw_of_a_parked_commit_is_parked_too() {
    let daemon = start(|_| {});
    let (mut client, mut observer) = (daemon.client(), daemon.client());
    let id = client.create(1).unwrap();
    let (mut other, session) = hello(&daemon);
    other.begin(Mode::Write);
    hold(&daemon, true);
    let before = observer.status().commits;
    let written = client.send(&set(id, 2));
    until(|| observer.status().commits > before);
    let read = is_held_back(&mut other, &reads(id));
    until(|| row(&mut observer, session).state == SessionState::Committing);
    // Nothing is changed by it, so it commits nothing; yet it says that what was read is so.
    let committed = other.send(&Commit::default());
    until(|| row(&mut observer, session).transaction.is_none());
    assert_eq!(row(&mut observer, session).requests, 2);
    hold(&daemon, false);
    client.answer::<Run>(written).unwrap();
    assert_eq!(int(&other.answer::<Run>(read).unwrap().rows[0][0]), 2);
    assert_eq!(other.answer::<Commit>(committed).unwrap().lsn, 0);
}

/// An error may tell as much as an answer does: here that a node was deleted, which then was not.
#[test]
fn an_error_that_rests_on_a_parked_commit_is_parked_too() {
    let daemon = start(|_| {});
    let (mut client, mut other, mut observer) = (daemon.client(), daemon.client(), daemon.client());
    let id = client.create(1).unwrap();
    other.begin(Mode::Write);
    hold(&daemon, true);
    let before = observer.status().commits;
    let delete = [Step::Node { ids: vec![id.into()], required: true }, Step::Delete { detach: false }];
    let deleted = client.send(&run(Plan::of(delete)));
    until(|| observer.status().commits > before);
    let refused = is_held_back(&mut other, &set(id, 3));
    daemon.door.order(|orders| orders.failing = Some(Failing::LogSync));
    hold(&daemon, false);
    assert_eq!(code(client.answer::<Run>(deleted)), ErrorCode::CommitUnknown);
    assert_eq!(code(other.answer::<Run>(refused)), ErrorCode::ReadOnly);
    assert_eq!(int(&observer.call(&reads(id)).unwrap().rows[0][0]), 1);
}

/// Whoever asks for a commit whose sync is under way is told when that has ended, and how.
#[test]
fn the_outcome_of_a_parked_commit_is_told_when_it_is_known() {
    let daemon = start(|_| {});
    for fails in [false, true] {
        let (mut client, mut other, mut observer) = (daemon.client(), daemon.client(), daemon.client());
        let token = Token::new(format!("commit {fails}")).unwrap();
        client.begin(Mode::Write);
        client.create(1).unwrap();
        hold(&daemon, true);
        let before = observer.status().commits;
        let committed = client.send(&Commit { token: Some(token.clone()) });
        until(|| observer.status().commits > before);
        let asked = is_held_back(&mut other, &CommitStatus { token: token.clone() });
        if fails {
            daemon.door.order(|orders| orders.failing = Some(Failing::LogSync));
        }
        hold(&daemon, false);
        if fails {
            assert_eq!(code(client.answer::<Commit>(committed)), ErrorCode::CommitUnknown);
            assert_eq!(code(other.answer::<CommitStatus>(asked)), ErrorCode::CommitUnknown);
        } else {
            let lsn = client.answer::<Commit>(committed).unwrap().lsn;
            let found = other.answer::<CommitStatus>(asked).unwrap();
            assert_eq!(found.state, CommitState::Committed);
            assert!(found.lsn.unwrap() >= lsn);
        }
    }
}

/// A checkpoint waits for the commit whose sync is held, so all that are taken on are under way.
#[test]
fn what_a_session_has_under_way_beside_its_order_is_bounded() {
    const OVERTAKING_MAX: usize = 16;
    let daemon = start(|_| {});
    let (mut client, mut observer) = (daemon.client(), daemon.client());
    hold(&daemon, true);
    let written = park(&mut client, &mut observer);
    let sent: Vec<u32> = (0..40).map(|_| client.send(&Checkpoint {})).collect();
    let (taken, refused) = sent.split_at(OVERTAKING_MAX);
    for msgid in refused {
        assert_eq!(code(client.answer::<Checkpoint>(*msgid)), ErrorCode::TooManyRequests);
    }
    hold(&daemon, false);
    let mut answered: Vec<u32> = (0..=taken.len())
        .map(|_| {
            let (msgid, result) = client.next();
            result.unwrap();
            msgid
        })
        .collect();
    answered.sort_unstable();
    let expected: Vec<u32> = [written].into_iter().chain(taken.iter().copied()).collect();
    assert_eq!(answered, expected);
    client.call(&Checkpoint {}).unwrap();
}

#[test]
fn a_client_that_sends_no_more_gets_the_answers_that_overtake_and_then_the_end() {
    let daemon = start(|_| {});
    for _ in 0..20 {
        let mut client = daemon.client();
        let frames = [
            client.frame(&Status {}),
            client.frame(&Cancel { session: 0, ..Default::default() }),
            client.frame(&Sessions {}),
        ];
        let (mut sent, frames): (Vec<u32>, Vec<Vec<u8>>) = frames.into_iter().unzip();
        client.stream.write_all(&frames.concat()).unwrap();
        client.stream.shutdown(Shutdown::Write).unwrap();
        let mut answered: Vec<u32> = client.is_closed().into_iter().map(|(msgid, _)| msgid).collect();
        answered.sort_unstable();
        sent.sort_unstable();
        assert_eq!(answered, sent);
    }
}

#[test]
fn the_note_of_the_owner_goes_before_the_lock() {
    let daemon = start(|_| {});
    let door = daemon.wait();
    assert_eq!(door.order(|orders| orders.noted_at_close), Some(false));
}
