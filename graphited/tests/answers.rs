//! Answers: those that do not fit into a frame, those that nobody reads, the rows that rest with cursors, and the order
//! in which errors come among them.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::io::Write;

use common::*;
use graphite_protocol::messages::{
    Close, Commit, Fetch, Hello, Kill, Mode, Ping, Run, Session as Row, Sessions,
};
use graphite_protocol::{
    ErrorCode, FRAME_BYTES_MAX, NewNode, Operand, OrderBy, Pairs, Plan, Step, Value, WireError,
};

/// Fits into a frame of [`NARROW`] once, and not twice.
const HALF: usize = 40_000;
const NARROW: [&str; 6] = ["--frame-bytes-max", "65536", "--result-bytes-max", "1024", "--cursors-max", "1"];

/// The steps, of which the answer is as many rows as `fetch` says.
fn some(steps: impl IntoIterator<Item = Step>, fetch: u32) -> Run {
    Run {
        plan: Plan::of(steps.into_iter().collect::<Vec<_>>()),
        params: Pairs::default(),
        fetch: Some(fetch),
        timeout_ms: None,
    }
}

fn text(bytes: usize) -> Operand {
    Operand::from("x".repeat(bytes).as_str())
}

/// Sets a property of so many bytes; the answer is the node with all of its properties.
fn fatten(id: u64, key: &str, bytes: usize) -> Vec<Step> {
    let properties = [(key, text(bytes))].into_iter().collect();
    vec![Step::Node { ids: vec![id.into()], required: true }, Step::Set { properties }]
}

/// Gives a node two properties that fit into a frame each, and not together.
fn make_too_fat(client: &mut Client, id: u64) {
    for key in ["p", "q"] {
        let mut steps = fatten(id, key, HALF);
        steps.push(Step::Ids {});
        client.run(Plan::of(steps)).unwrap();
    }
}

/// How many of the properties that are used here a node has.
fn properties(client: &mut Client, id: u64) -> usize {
    let has = |key: &str| {
        let keys = vec![key.to_owned()];
        let plan = Plan::of([Step::Node { ids: vec![id.into()], required: true }, Step::Properties { keys }]);
        client.run(plan).unwrap().rows[0][0] != Value::Nil
    };
    ["n", "p", "q"].map(has).into_iter().filter(|has| *has).count()
}

fn row(observer: &mut Client, session: u64) -> Option<Row> {
    let sessions = observer.call(&Sessions {}).unwrap().sessions;
    sessions.into_iter().find(|row| row.session == session)
}

#[test]
fn a_statement_whose_answer_does_not_fit_changes_nothing() {
    let daemon = Daemon::start(&NARROW);
    let mut client = daemon.client();
    let id = client.create(1).unwrap();
    client.run(Plan::of(fatten(id, "p", HALF))).unwrap();
    assert_eq!(code(client.run(Plan::of(fatten(id, "q", HALF)))), ErrorCode::TooLarge);
    assert_eq!(properties(&mut client, id), 2);
    daemon.stop();
}

#[test]
fn a_statement_whose_answer_does_not_fit_fails_its_transaction() {
    let daemon = Daemon::start(&NARROW);
    let mut client = daemon.client();
    let id = client.create(1).unwrap();
    let other = client.create(2).unwrap();
    make_too_fat(&mut client, other);
    for plan in [Plan::of(fatten(other, "p", HALF)), by_id(other)] {
        client.begin(Mode::Write);
        client.run(Plan::of(fatten(id, "p", 1))).unwrap();
        assert_eq!(code(client.run(plan)), ErrorCode::TooLarge);
        assert_eq!(code(client.run(count())), ErrorCode::TransactionFailed);
        assert_eq!(code(client.commit()), ErrorCode::TransactionFailed);
        assert_eq!(properties(&mut client, id), 1);
    }
    daemon.stop();
}

/// The one cursor that this session may have is free again after each answer that did not fit.
#[test]
fn an_answer_that_does_not_fit_leaves_no_cursor() {
    let daemon = Daemon::start(&NARROW);
    let mut client = daemon.client();
    let ids = [0, 1, 2].map(|n| client.create(n).unwrap());
    make_too_fat(&mut client, ids[1]);
    let all = some([Step::Nodes { label: None }], 1);
    let fat_first = some([Step::Node { ids: vec![ids[1].into(), ids[2].into()], required: true }], 1);
    for _ in 0..2 {
        assert_eq!(code(client.call(&fat_first)), ErrorCode::TooLarge);
        let first = client.call(&all).unwrap();
        let cursor = first.cursor.unwrap();
        assert_eq!(code(client.call(&Fetch { cursor, n: 1 })), ErrorCode::TooLarge);
        assert_eq!(code(client.call(&Fetch { cursor, n: 1 })), ErrorCode::CursorNotFound);
    }
    daemon.stop();
}

/// A client may take its time to read; one may write at a time, and who waits for that does so for long.
const NO_HURRY: [&str; 6] =
    ["--client-stall-timeout-ms", "0", "--lock-timeout-ms", "30000", ALONE[0], ALONE[1]];

/// Whoever may write and reads nothing gives its place up when killed, however much waits to be read.
#[test]
fn a_killed_writer_that_does_not_read_gives_its_place_up() {
    let daemon = Daemon::start(&NO_HURRY);
    let (mut deaf, mut admin) = (daemon.stranger(), daemon.client());
    let session = deaf.hello().session;
    let properties = [("text", text(1 << 20))].into_iter().collect();
    let made = deaf.run(Plan::of([Step::CreateNode { labels: vec![], properties }, Step::Ids {}])).unwrap();
    let id = int(&made.rows[0][0]) as u64;
    deaf.begin(Mode::Write);
    deaf.create(1).unwrap();
    deaf.send(&run(by_id(id)));
    let mut holder = None;
    until(|| {
        holder = row(&mut admin, session).filter(|row| row.requests == 0 && row.outbox_bytes > 0);
        holder.is_some()
    });
    let transaction = holder.unwrap().transaction;
    assert!(transaction.is_some());
    assert!(admin.call(&Kill { session, transaction }).unwrap().killed);
    admin.create(2).unwrap();
    assert_eq!(admin.count(), 2, "what the killed one wrote is undone");
    assert_eq!(row(&mut admin, session).and_then(|row| row.transaction), None);
    // What waited for it is still there to be read, and then the end.
    assert_eq!(deaf.is_closed().len(), 1);
    daemon.stop();
}

#[test]
fn a_writer_that_asks_for_nothing_more_and_does_not_read_gives_its_place_up() {
    let daemon = Daemon::start(&NO_HURRY);
    let mut other = daemon.client();
    let properties = [("text", text(1 << 20))].into_iter().collect();
    let made = other.run(Plan::of([Step::CreateNode { labels: vec![], properties }, Step::Ids {}])).unwrap();
    let id = int(&made.rows[0][0]) as u64;
    for last_words in [None, Some(framed(&[0xc0]))] {
        let mut deaf = daemon.client();
        deaf.begin(Mode::Write);
        deaf.create(1).unwrap();
        deaf.send(&run(by_id(id)));
        match last_words {
            Some(words) => deaf.stream.write_all(&words).unwrap(),
            None => deaf.stream.shutdown(std::net::Shutdown::Write).unwrap(),
        }
        other.create(2).unwrap();
        assert!(!deaf.is_closed().is_empty(), "what waited for it is still there to be read");
    }
    assert_eq!(other.count(), 3, "what they wrote is undone");
    daemon.stop();
}

/// The body of a message that is a request by its beginning only.
fn malformed(msgid: u8) -> Vec<u8> {
    vec![0x93, 0x00, msgid, 0xa3, b'r', b'u', b'n']
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    graphite_protocol::frame::write_frame(&mut frame, body, FRAME_BYTES_MAX).unwrap();
    frame
}

/// Answers until the end, as their numbers and the codes of errors.
fn until_closed(client: &mut Client) -> Vec<(u32, Option<ErrorCode>)> {
    let code = |result: Result<Vec<u8>, WireError>| result.err().map(|error| error.code);
    client.is_closed().into_iter().map(|(msgid, result)| (msgid, code(result))).collect()
}

#[test]
fn errors_of_malformed_requests_keep_their_place() {
    let daemon = Daemon::start(&ALONE);
    let (mut holder, mut client) = (daemon.client(), daemon.client());
    holder.begin(Mode::Write);
    let write = client.send(&run(create(1)));
    client.stream.write_all(&framed(&malformed(77))).unwrap();
    let hello = client.send(&Hello { protocol: 1, client: "again/1".into(), monitor: None });
    let read = client.send(&run(count()));
    // Nobody could tell whom an answer to this would concern, so it is the last.
    client.stream.write_all(&framed(&[0xc0])).unwrap();
    client.send(&run(count()));
    let ping = client.send(&Ping {});
    client.answer::<Ping>(ping).unwrap();
    holder.rollback();
    let expected = [
        (write, None),
        (77, Some(ErrorCode::BadRequest)),
        (hello, Some(ErrorCode::HelloExpected)),
        (read, None),
        (0, Some(ErrorCode::BadRequest)),
    ];
    assert_eq!(until_closed(&mut client), expected);
    daemon.stop();
}

#[test]
fn the_end_of_a_broken_stream_comes_after_what_was_asked_before() {
    let daemon =
        Daemon::start(&["--frame-bytes-max", "65536", "--result-bytes-max", "1024", ALONE[0], ALONE[1]]);
    for (header, expected) in [(0, ErrorCode::BadRequest), (1 << 20, ErrorCode::TooLarge)] {
        let (mut holder, mut client) = (daemon.client(), daemon.client());
        holder.begin(Mode::Write);
        let (write, mut bytes) = client.frame(&run(create(1)));
        bytes.extend(u32::to_be_bytes(header));
        client.stream.write_all(&bytes).unwrap();
        // The reactor has come by more than once by then.
        (0..20).for_each(|_| assert!(holder.call(&Ping {}).is_ok()));
        holder.rollback();
        assert_eq!(until_closed(&mut client), [(write, None), (0, Some(expected))]);
    }
    daemon.stop();
}

/// A daemon with ten nodes, and room for cursors for little more than one that has sorted their properties.
fn with_fat_nodes() -> Daemon {
    let daemon = Daemon::start(&["--statement-bytes-max", "4608K"]);
    let rows = (0..10)
        .map(|n: usize| NewNode {
            labels: vec![],
            properties: [("text", text(200_000 + n))].into_iter().collect(),
        })
        .collect();
    daemon.client().run(Plan::of([Step::CreateNodes { rows }, Step::Count {}])).unwrap();
    daemon
}

fn texts(last: Step) -> Run {
    some([Step::Nodes { label: None }, Step::Properties { keys: vec!["text".into()] }, last], 1)
}

#[test]
fn what_cursors_keep_while_they_rest_is_bounded_over_all_sessions() {
    let daemon = with_fat_nodes();
    let (mut client, mut other) = (daemon.client(), daemon.client());
    let sorted = texts(Step::Order { by: OrderBy::Column("text".into()), desc: false });
    let mut cursors = Vec::new();
    let refused = loop {
        match client.call(&sorted) {
            Ok(reply) => cursors.extend(reply.cursor),
            Err(error) => break error,
        }
        assert!(cursors.len() < 4, "the memory of cursors has no limit");
    };
    assert!(!cursors.is_empty());
    assert_eq!(refused.code, ErrorCode::TooManyRequests);
    assert!(refused.message.contains("fetch the rest of some, or close them"), "{refused}");
    assert_eq!(code(other.call(&sorted)), ErrorCode::TooManyRequests);
    // In a transaction too, which then has failed as by any other error.
    other.begin(Mode::Write);
    assert_eq!(code(other.call(&sorted)), ErrorCode::TooManyRequests);
    assert_eq!(code(other.call(&Commit::default())), ErrorCode::TransactionFailed);
    // One that is there is read to its end, and its room is free; so is that of one that is closed.
    let (mut cursor, mut rows) = (cursors.pop(), 1);
    while let Some(id) = cursor {
        let more = client.call(&Fetch { cursor: id, n: 100 }).unwrap();
        rows += more.rows.len();
        cursor = more.cursor;
    }
    assert_eq!(rows, 10);
    let taken = other.call(&sorted).unwrap().cursor.unwrap();
    other.call(&Close { cursor: taken }).unwrap();
    client.call(&sorted).unwrap();
    drop(client);
    until(|| other.status().sessions == 1);
    // A session's go with it, in a while.
    let mut open = 0;
    until(|| {
        open += usize::from(other.call(&sorted).is_ok());
        open > cursors.len()
    });
    daemon.stop();
}

/// What a cursor keeps may grow as it is read; it is closed when there is no room for that.
#[test]
fn a_cursor_that_grows_past_the_room_is_closed() {
    let daemon = with_fat_nodes();
    let mut client = daemon.client();
    let distinct = texts(Step::Distinct {});
    let cursors = [(); 2].map(|()| client.call(&distinct).unwrap().cursor.unwrap());
    let closed = cursors.iter().find(|cursor| {
        let more = (0..6).map(|_| client.call(&Fetch { cursor: **cursor, n: 1 }));
        match more.collect::<Result<Vec<_>, _>>() {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.code, ErrorCode::TooLarge, "to fetch again would not help");
                true
            }
        }
    });
    let closed = *closed.expect("the memory of cursors has no limit");
    assert_eq!(code(client.call(&Fetch { cursor: closed, n: 1 })), ErrorCode::CursorNotFound);
    // The others go on.
    let other = *cursors.iter().find(|cursor| **cursor != closed).unwrap();
    client.call(&Fetch { cursor: other, n: 1 }).unwrap();
    daemon.stop();
}
