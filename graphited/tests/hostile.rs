//! Clients that mean harm, or break: after each, others are served as before, and nothing is left of the client.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use common::*;
use graphite_protocol::messages::{Begin, Hello, Mode, Ping, Run, Sessions};
use graphite_protocol::{ErrorCode, FRAME_BYTES_MAX, Pairs, Plan, Step, Wire};

/// Frames of everything that a client may say.
fn frames(client: &mut Client) -> Vec<Vec<u8>> {
    vec![
        client.frame(&Hello { protocol: 1, client: "x".into(), monitor: None }).1,
        client.frame(&Ping {}).1,
        client.frame(&run(create(1))).1,
        client.frame(&run(count())).1,
        client.frame(&Begin { mode: Mode::Write }).1,
        client.frame(&Sessions {}).1,
    ]
}

/// How many descriptors the daemon has open.
fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).unwrap().count()
}

/// Others are served, and the daemon has as many sessions and descriptors as before.
struct Before {
    descriptors: usize,
    client: Client,
}

impl Before {
    fn of(daemon: &Daemon) -> Before {
        let mut client = daemon.client();
        client.create(0).unwrap();
        Before { descriptors: descriptors(daemon), client }
    }

    fn is_as_now(&mut self, daemon: &Daemon) {
        self.client.create(0).unwrap();
        until(|| self.client.call(&Sessions {}).unwrap().sessions.len() == 1);
        until(|| descriptors(daemon) <= self.descriptors);
        assert_eq!(self.client.status().transactions, 0);
    }
}

#[test]
fn hello_comes_first_and_once() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.stranger();
    assert_eq!(code(client.call(&Ping {})), ErrorCode::HelloExpected);
    assert!(client.is_closed().is_empty());

    let mut client = daemon.stranger();
    let error = client.call(&Hello { protocol: 99, client: "future/9".into(), monitor: None }).unwrap_err();
    assert_eq!(error.code, ErrorCode::VersionMismatch);
    assert_eq!(error.details.get("client_protocol").unwrap().as_int(), Some(99));
    assert_eq!(error.details.get("server_protocol").unwrap().as_int(), Some(1));
    assert!(client.is_closed().is_empty());

    let mut client = daemon.stranger();
    let reply = client.hello();
    assert_eq!((reply.protocol, reply.pid), (1, daemon.child.id()));
    assert_eq!(reply.database, daemon.db.canonicalize().unwrap().display().to_string());
    assert!(reply.server.starts_with("graphited/"));
    assert_eq!(
        code(client.call(&Hello { protocol: 1, client: "again".into(), monitor: None })),
        ErrorCode::HelloExpected
    );
    client.call(&Ping {}).unwrap();
    daemon.stop();
}

#[test]
fn frames_may_come_byte_by_byte() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.stranger();
    let frames = frames(&mut client);
    for frame in &frames[..4] {
        for byte in frame {
            client.stream.write_all(&[*byte]).unwrap();
        }
        client.next().1.unwrap();
    }
    daemon.stop();
}

/// Every request is cut at every length, and the connection closed there.
#[test]
fn cut_frames_harm_nobody() {
    let daemon = Daemon::start(&[]);
    let mut before = Before::of(&daemon);
    let mut client = daemon.client();
    let frames = frames(&mut client);
    drop(client);
    for frame in &frames {
        for len in 0..frame.len() {
            let mut client = daemon.client();
            client.stream.write_all(&frame[..len]).unwrap();
        }
    }
    before.is_as_now(&daemon);
    daemon.stop();
}

/// The body of every request is cut at every length, in a frame that is whole: each is answered with an error, or
/// with the end of the connection if nobody could tell whom to answer.
#[test]
fn cut_bodies_are_refused() {
    let daemon = Daemon::start(&[]);
    let mut before = Before::of(&daemon);
    let mut client = daemon.client();
    for frame in &frames(&mut client)[1..] {
        let body = &frame[4..];
        for len in 1..body.len() {
            let mut cut = u32::try_from(len).unwrap().to_be_bytes().to_vec();
            cut.extend_from_slice(&body[..len]);
            client.stream.write_all(&cut).unwrap();
            let (_, result) = client.next();
            assert!(matches!(result.unwrap_err().code, ErrorCode::BadRequest | ErrorCode::UnknownMethod));
            if len < 5 {
                // The number of the request was cut off.
                assert!(client.is_closed().is_empty());
                client = daemon.client();
            }
        }
        client.call(&Ping {}).unwrap();
    }
    drop(client);
    before.is_as_now(&daemon);
    daemon.stop();
}

#[test]
fn lengths_of_frames_are_checked_before_anything_is_allocated() {
    let daemon = Daemon::start(&["--frame-bytes-max", "64K", "--result-bytes-max", "16K"]);
    let mut before = Before::of(&daemon);
    for (length, expected) in [
        (0u32, ErrorCode::BadRequest),
        (64 * 1024 + 1, ErrorCode::TooLarge),
        (u32::try_from(FRAME_BYTES_MAX).unwrap() + 1, ErrorCode::TooLarge),
        (u32::MAX, ErrorCode::TooLarge),
    ] {
        let mut client = daemon.client();
        client.stream.write_all(&length.to_be_bytes()).unwrap();
        let answers = client.is_closed();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].1.as_ref().unwrap_err().code, expected, "{length}");
    }
    // The longest frame that may be is read to its end, and its contents are refused.
    let mut client = daemon.client();
    client.stream.write_all(&(64 * 1024u32).to_be_bytes()).unwrap();
    client.stream.write_all(&vec![0xc0; 64 * 1024]).unwrap();
    assert_eq!(client.is_closed()[0].1.as_ref().unwrap_err().code, ErrorCode::BadRequest);
    before.is_as_now(&daemon);
    daemon.stop();
}

#[test]
fn garbage_is_refused() {
    let daemon = Daemon::start(&[]);
    let mut before = Before::of(&daemon);
    // Whatever the bytes, and however they are framed. A simple generator, so that a failure comes again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..300 {
        let mut client = daemon.client();
        let len = (random() % 200 + 1) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| (random() >> 32) as u8).collect();
        if round % 2 == 0 {
            let mut framed = u32::try_from(len).unwrap().to_be_bytes().to_vec();
            framed.append(&mut bytes);
            bytes = framed;
        }
        // A daemon that has closed the connection takes no more.
        let _ = client.stream.write_all(&bytes);
        let _ = client.stream.shutdown(std::net::Shutdown::Write);
        for (_, result) in client.is_closed() {
            assert!(result.is_err());
        }
    }
    before.is_as_now(&daemon);
    daemon.stop();
}

#[test]
fn deep_and_wide_messages_are_refused() {
    let daemon = Daemon::start(&[]);
    let mut before = Before::of(&daemon);
    let body = |params: &[u8]| {
        let mut body = vec![0x94, 0, 7, 0xa3, b'r', b'u', b'n', 0x82, 0xa4];
        body.extend_from_slice(b"plan");
        let mut plan = Vec::new();
        count().write(&mut graphite_protocol::Encoder::new(&mut plan));
        body.extend_from_slice(&plan);
        body.extend_from_slice(b"\xa6params\x81\xa1x");
        body.extend_from_slice(params);
        let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.append(&mut body);
        frame
    };
    let mut client = daemon.client();
    // The envelope, its params, theirs and the lists in them: the limit is 32 levels.
    for (depth, fits) in [(28, true), (29, true), (30, false), (31, false), (1_000_000, false)] {
        let mut params = vec![0x91; depth];
        params.push(0xc0);
        client.stream.write_all(&body(&params)).unwrap();
        let result = client.next().1;
        match fits {
            true => assert!(result.is_ok(), "{depth}: {result:?}"),
            false => assert_eq!(result.unwrap_err().code, ErrorCode::BadRequest, "{depth}"),
        }
    }
    // Ten million nils would take hundreds of megabytes.
    let mut params = vec![0xdd];
    params.extend_from_slice(&10_000_000u32.to_be_bytes());
    params.resize(params.len() + 10_000_000, 0xc0);
    client.stream.write_all(&body(&params)).unwrap();
    assert_eq!(client.next().1.unwrap_err().code, ErrorCode::TooLarge);
    drop(client);
    before.is_as_now(&daemon);
    daemon.stop();
}

#[test]
fn a_dead_writer_lets_the_next_one_in() {
    let no_timeouts = ["--lock-timeout-ms", "0", "--idle-in-transaction-timeout-ms", "0"];
    let daemon = Daemon::start(&[&no_timeouts[..], &ALONE].concat());
    let mut before = Before::of(&daemon);
    for round in 0..20 {
        let mut victim = daemon.client();
        victim.begin(Mode::Write);
        victim.create(1).unwrap();
        let waiting = before.client.send(&run(count_after_write()));
        match round % 3 {
            0 => {}
            // With a statement on its way, whole or not.
            1 => {
                victim.send(&run(create(2)));
            }
            _ => {
                let (_, frame) = victim.frame(&run(create(2)));
                victim.stream.write_all(&frame[..frame.len() / 2]).unwrap();
            }
        }
        drop(victim);
        let reply = before.client.answer::<Run>(waiting).unwrap();
        assert_eq!(reply.summary.nodes_created, 1);
    }
    // A waiter that dies while it waits is forgotten.
    let mut holder = daemon.client();
    holder.begin(Mode::Write);
    let mut waiter = daemon.client();
    waiter.send(&run(create(3)));
    until(|| holder.waiting() == 1);
    drop(waiter);
    until(|| holder.waiting() == 0);
    drop(holder);
    assert_eq!(before.client.count(), 21, "one before, one a round, and nothing of the dead");
    before.is_as_now(&daemon);
    daemon.stop();
}

fn count_after_write() -> Plan {
    create(9)
}

/// A client that asks for much and reads nothing is paused, then dropped, and its transaction with it.
#[test]
fn a_client_that_does_not_read_is_dropped() {
    let limits = ["--outbox-bytes-max", "64K", "--client-stall-timeout-ms", "300", "--requests-max", "50"];
    let daemon = Daemon::start(&limits);
    let mut before = Before::of(&daemon);
    let mut deaf = daemon.client();
    let text = "x".repeat(50_000);
    let properties = [("text", graphite_protocol::Operand::from(text.as_str()))].into_iter().collect();
    let node = deaf.run(Plan::of([Step::CreateNode { labels: vec![], properties }])).unwrap();
    let id = node.rows[0][0].as_node().unwrap().id;
    deaf.begin(Mode::Write);
    deaf.create(1).unwrap();
    let (_, frame) = deaf.frame(&run(by_id(id)));
    deaf.stream.set_nonblocking(true).unwrap();
    // It sends until the daemon reads no more, which is soon: what is written for it is bounded.
    let mut sent = 0;
    let mut blocked = 0;
    while blocked < 20 {
        match deaf.stream.write(&frame) {
            Ok(count) => {
                assert_eq!(count, frame.len());
                sent += 1;
                blocked = 0;
            }
            Err(_) => {
                blocked += 1;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        assert!(sent < 1_000_000, "the daemon never pauses");
    }
    before.client.create(2).unwrap();
    before.is_as_now(&daemon);
    assert_eq!(before.client.count(), 4, "what was not committed is gone");
    daemon.stop();
}

/// A client that reads slowly gets everything, however much more it asked than the daemon holds for it.
#[test]
fn a_slow_reader_gets_everything() {
    let daemon = Daemon::start(&["--outbox-bytes-max", "16K", "--requests-max", "10"]);
    let mut client = daemon.client();
    let id = client.create(1).unwrap();
    let mut all = Vec::new();
    let mut sent = Vec::new();
    for _ in 0..5000 {
        let (msgid, frame) = client.frame(&run(by_id(id)));
        sent.push(msgid);
        all.extend(frame);
    }
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&all).unwrap());
    for msgid in sent {
        assert!(client.answer::<Run>(msgid).is_ok());
    }
    sender.join().unwrap();
    daemon.stop();
}

#[test]
fn silent_connections_are_closed_and_sessions_counted() {
    let daemon =
        Daemon::start(&["--hello-timeout-ms", "100", "--sessions-max", "3", "--idle-timeout-ms", "0"]);
    let mut silent = daemon.stranger();
    let mut half = daemon.stranger();
    half.stream.write_all(&[0, 0]).unwrap();
    assert!(silent.is_closed().is_empty());
    assert!(half.is_closed().is_empty());

    let mut clients: Vec<Client> = (0..3).map(|_| daemon.client()).collect();
    let mut late = daemon.stranger();
    let error = late.call(&Hello { protocol: 1, client: "late".into(), monitor: None }).unwrap_err();
    assert_eq!((error.code, error.retryable), (ErrorCode::TooManySessions, true));
    assert!(late.is_closed().is_empty());
    clients.pop();
    until(|| {
        let mut next = daemon.stranger();
        next.call(&Hello { protocol: 1, client: "next".into(), monitor: None }).is_ok()
    });
    daemon.stop();
}

#[test]
fn an_idle_session_is_closed_if_so_configured() {
    let daemon = Daemon::start(&["--idle-timeout-ms", "100"]);
    let mut client = daemon.client();
    client.create(1).unwrap();
    assert!(client.is_closed().is_empty());
    daemon.stop();
}

/// Without descriptors nobody can be let in, and those who are go on; later everybody is.
#[test]
fn a_daemon_without_descriptors_recovers() {
    let daemon = Daemon::start(&[]);
    let mut before = Before::of(&daemon);
    let limit = before.descriptors + 3;
    let set = |limit: usize| {
        let status = std::process::Command::new("prlimit")
            .args([&format!("--pid={}", daemon.child.id()), &format!("--nofile={limit}:4096")])
            .status();
        status.is_ok_and(|status| status.success())
    };
    if !set(limit) {
        // Without the tool there is nothing to be seen here.
        return;
    }
    let mut clients: Vec<UnixStream> =
        (0..20).map(|_| graphite_protocol::socket::connect(&daemon.socket()).unwrap()).collect();
    for _ in 0..50 {
        before.client.create(1).unwrap();
    }
    let spent = daemon.cpu_ticks();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(daemon.cpu_ticks() - spent < 25, "it does not spin");
    clients.clear();
    until(|| {
        let mut client = daemon.stranger();
        client.stream.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        let msgid = client.send(&Hello { protocol: 1, client: "x".into(), monitor: None });
        let mut byte = [0];
        msgid > 0 && client.stream.read(&mut byte).is_ok_and(|count| count > 0)
    });
    before.is_as_now(&daemon);
    daemon.stop();
}

/// Many clients at once, some of which vanish in the middle of what they do.
#[test]
fn a_crowd_with_casualties_loses_nothing_that_was_acknowledged() {
    let daemon = Daemon::start(&["--lock-timeout-ms", "0"]);
    let mut before = Before::of(&daemon);
    let socket = daemon.socket();
    let threads: Vec<_> = (0..8u64)
        .map(|thread| {
            let socket = socket.clone();
            std::thread::spawn(move || {
                let mut committed = 0;
                for round in 0..25u64 {
                    let mut client = Client::connect(&socket);
                    client.hello();
                    if (thread + round) % 3 == 0 {
                        client.begin(Mode::Write);
                        client.create(1).unwrap();
                        if round % 2 == 0 {
                            client.send(&run(create(2)));
                        }
                        continue;
                    }
                    client.begin(Mode::Write);
                    client.create(1).unwrap();
                    client.commit().unwrap();
                    client.create(1).unwrap();
                    committed += 2;
                }
                committed
            })
        })
        .collect();
    let committed: i64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(before.client.count(), committed + 1);
    before.is_as_now(&daemon);
    let check = before.client.call(&graphite_protocol::messages::Check {}).unwrap();
    assert_eq!(check.problems, []);
    daemon.stop();
}

/// Fields that a statement does not know, doubled keys, bad text.
#[test]
fn strange_requests_get_their_errors() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    let ask = |client: &mut Client, body: &[u8]| {
        let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        client.stream.write_all(&frame).unwrap();
        let (msgid, result) = client.next();
        assert_eq!(msgid, 5);
        result.unwrap_err().code
    };
    assert_eq!(ask(&mut client, b"\x94\x00\x05\xa4nope\x80"), ErrorCode::UnknownMethod);
    assert_eq!(ask(&mut client, b"\x94\x00\x05\xa4ping\x81\xa1x\xc0"), ErrorCode::BadRequest);
    assert_eq!(
        ask(&mut client, b"\x94\x00\x05\xa4ping\x80\xc0"),
        ErrorCode::BadRequest,
        "bytes behind the end"
    );
    assert_eq!(ask(&mut client, b"\x94\x00\x05\xa3run\x80"), ErrorCode::BadRequest);
    assert_eq!(ask(&mut client, b"\x94\x00\x05\xa3run\x81\xa4plan\xa1\xff"), ErrorCode::BadRequest);
    assert_eq!(
        ask(&mut client, b"\x94\x00\x05\xa3run\x81\xa4plan\x82\xa1v\x09\xa5steps\x90"),
        ErrorCode::VersionMismatch
    );
    let run = Run { plan: Plan::default(), params: Pairs::default(), fetch: None, timeout_ms: None };
    assert_eq!(code(client.call(&run)), ErrorCode::BadRequest);
    client.call(&Ping {}).unwrap();
    // A notification or a response is no request.
    for body in [&b"\x93\x02\xa4ping\x80"[..], &b"\x94\x01\x05\xc0\x80"[..]] {
        let mut client = daemon.client();
        let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        client.stream.write_all(&frame).unwrap();
        assert_eq!(client.is_closed().len(), 1);
    }
    daemon.stop();
}
