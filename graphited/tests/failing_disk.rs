//! A disk that fails under the daemon, as its clients see it.
//!
//! Two ways. The program itself, to whose process the kernel refuses writes past a size (`RLIMIT_FSIZE`, set from
//! outside while it runs): real failing `pwrite`s and `fallocate`s, but no failing `fdatasync`. And the daemon as a
//! library, over the real disk with a door in front of it at which the test holds a sync, lets it fail, or says that
//! the disk is full: so it is known who waits for what when it fails. What a restart finds is always asked of the
//! program, on the real disk.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::door::{Behind, Failing};
use common::*;
use graphite_protocol::messages::{Begin, Check, Checkpoint, Commit, Mode, Run, Status, StatusReply};
use graphite_protocol::{ErrorCode, Operand, Plan, Step, WireError};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// Expects a database that takes no changes any more and says so, with these nodes, all of which can be read.
fn expect_poisoned(client: &mut Client, nodes: &[u64], first_failure: &str) {
    let status = client.status();
    assert!(status.read_only);
    let why = status.poisoned.unwrap();
    assert!(why.contains(first_failure), "{why}");
    let error = client.create(1).unwrap_err();
    assert_eq!((error.code, error.retryable), (ErrorCode::ReadOnly, false), "{}", error.message);
    assert!(error.message.contains(first_failure), "{}", error.message);
    assert_eq!(code(client.call(&Checkpoint {})), ErrorCode::ReadOnly);
    assert_eq!(code(write_in_transaction(client)), ErrorCode::ReadOnly);
    assert_eq!(client.count(), nodes.len() as i64);
    client.begin(Mode::Read);
    nodes.iter().for_each(|node| assert_eq!(client.run(by_id(*node)).unwrap().rows.len(), 1));
    client.commit().unwrap();
    let after = client.status();
    assert_eq!((after.checkpoints, after.commits), (status.checkpoints, status.commits));
    assert_eq!(after.visible_lsn, status.visible_lsn);
}

fn write_in_transaction(client: &mut Client) -> Result<(), WireError> {
    client.begin(Mode::Write);
    // A statement may fail already, for it reads what is applied and will never be durable.
    client.run(create(1)).inspect_err(|_| client.rollback())?;
    client.commit().map(|_| ())
}

/// Expects that the database has these nodes and at most so many more, that it is whole, and takes changes.
fn expect_recovered(daemon: Daemon, nodes: &[u64], more_max: u64) {
    let mut client = daemon.client();
    let status = client.status();
    assert_eq!((status.poisoned, status.read_only), (None, false));
    let known = nodes.len() as u64;
    assert!((known..=known + more_max).contains(&status.nodes), "{} of {known}", status.nodes);
    nodes.iter().for_each(|node| assert_eq!(client.run(by_id(*node)).unwrap().rows.len(), 1));
    client.create(1).unwrap();
    let report = client.call(&Check {}).unwrap();
    assert_eq!((report.problems, report.nodes), (vec![], status.nodes + 1));
    daemon.stop();
}

#[test]
fn commits_that_wait_for_a_sync_that_fails_are_unknown_and_nothing_is_written_any_more() {
    let daemon = Behind::start();
    let (mut a, mut b, mut c) = (daemon.client(), daemon.client(), daemon.client());
    let (mut reader, mut observer) = (daemon.client(), daemon.client());
    let nodes: Vec<u64> = (0..5).map(|n| a.create(n).unwrap()).collect();
    reader.begin(Mode::Read);
    assert_eq!(reader.count(), 5);
    let before = observer.status();

    // The first leads the sync; the others park their commits behind it.
    daemon.door.order(|orders| orders.hold_log_syncs = true);
    let first = a.send(&run(create(5)));
    until(|| observer.status().commits == before.commits + 1);
    let second = b.send(&run(create(6)));
    until(|| observer.status().commits == before.commits + 2);
    c.begin(Mode::Write);
    let within = c.send(&run(create(7)));
    let third = c.send(&Commit::default());
    until(|| observer.status().commits == before.commits + 3);
    let parked = observer.status();
    assert_eq!(parked.visible_lsn, before.visible_lsn);
    assert!(parked.applied_lsn > parked.visible_lsn && parked.poisoned.is_none());
    assert_eq!(observer.count(), 5, "what is not durable is shown to nobody");
    // A request behind one's own commit waits for it.
    let own = b.send(&run(count()));

    daemon.door.order(|orders| {
        orders.failing = Some(Failing::LogSync);
        orders.hold_log_syncs = false;
    });
    for (client, msgid) in [(&mut a, first), (&mut b, second)] {
        let error = client.answer::<Run>(msgid).unwrap_err();
        assert_eq!((error.code, error.retryable), (ErrorCode::CommitUnknown, false), "{}", error.message);
    }
    // What the transaction read may rest on the other two, so even its rows do not come.
    assert_eq!(code(c.answer::<Run>(within)), ErrorCode::ReadOnly);
    let error = c.answer::<Commit>(third).unwrap_err();
    assert_eq!((error.code, error.retryable), (ErrorCode::CommitUnknown, false), "{}", error.message);
    assert_eq!(int(&b.answer::<Run>(own).unwrap().rows[0][0]), 5, "reads go on where all is durable");
    assert_eq!(reader.count(), 5);

    // That the disk works again changes nothing: what it lost is not known.
    daemon.door.order(|orders| orders.failing = None);
    for client in [&mut a, &mut b, &mut c, &mut observer] {
        expect_poisoned(client, &nodes, "sync");
    }
    expect_poisoned(&mut daemon.client(), &nodes, "sync");
    drop((a, b, c, reader, observer));
    let (left, daemon) = daemon.restart();
    let failure = left.unwrap_err();
    assert_eq!(failure.code, graphited::exit::IO, "{failure}");
    expect_recovered(daemon, &nodes, 3);
}

#[test]
fn the_first_failure_of_any_write_or_sync_poisons() {
    for failing in [Failing::LogWrite, Failing::LogSync, Failing::FileWrite, Failing::FileSync] {
        let daemon = Behind::start();
        let mut client = daemon.client();
        let nodes: Vec<u64> = (0..5).map(|n| client.create(n).unwrap()).collect();
        daemon.door.order(|orders| orders.failing = Some(failing));
        let of_log = matches!(failing, Failing::LogWrite | Failing::LogSync);
        if of_log {
            assert_eq!(code(client.create(5)), ErrorCode::CommitUnknown, "{failing:?}");
        } else {
            let error = client.call(&Checkpoint {}).unwrap_err();
            assert_eq!(
                (&error.code, error.retryable),
                (&ErrorCode::ReadOnly, false),
                "{failing:?}: {error:?}"
            );
        }
        daemon.door.order(|orders| orders.failing = None);
        let what = if matches!(failing, Failing::LogWrite | Failing::FileWrite) { "write" } else { "sync" };
        expect_poisoned(&mut client, &nodes, what);
        drop(client);
        let (left, daemon) = daemon.restart();
        assert_eq!(left.unwrap_err().code, graphited::exit::IO);
        expect_recovered(daemon, &nodes, u64::from(of_log));
    }
}

/// A plan that makes a node so large that the file has to grow.
fn create_large(bytes: usize) -> Plan {
    let text = "x".repeat(bytes);
    let properties = [("text", Operand::from(text.as_str()))].into_iter().collect();
    Plan::of([Step::CreateNode { labels: vec![], properties }])
}

fn rename(id: u64, n: i64) -> Plan {
    let properties = [("n", Operand::from(n))].into_iter().collect();
    Plan::of([Step::Node { ids: vec![id.into()], required: true }, Step::Set { properties }])
}

/// Creates large nodes until there is no room; returns how many there was room for.
fn fill(client: &mut Client) -> u64 {
    for made in 0..10_000 {
        let Err(error) = client.run(create_large(100_000)) else { continue };
        assert_eq!((error.code, error.retryable), (ErrorCode::DiskFull, false), "{}", error.message);
        assert!(error.message.contains("nothing was changed"), "{}", error.message);
        return made;
    }
    panic!("the disk never became full");
}

fn expect_full_and_well(client: &mut Client, node: u64, nodes: u64) {
    let status: StatusReply = client.call(&Status {}).unwrap();
    assert_eq!((status.poisoned, status.read_only, status.nodes), (None, false, nodes));
    // What needs no room goes on, and so do transactions around what does.
    client.run(rename(node, 7)).unwrap();
    client.call(&Begin { mode: Mode::Write }).unwrap();
    client.run(rename(node, 8)).unwrap();
    client.run(create_large(1_000_000)).unwrap();
    assert_eq!(code(client.commit()), ErrorCode::DiskFull);
    let reply = client.run(by_id(node)).unwrap();
    assert_eq!(reply.rows[0][0].as_node().unwrap().get("n").unwrap().as_int(), Some(7));
    assert_eq!(client.count(), nodes as i64);
    assert_eq!(client.call(&Check {}).unwrap().problems, []);
}

#[test]
fn a_full_disk_refuses_one_commit_and_poisons_nothing() {
    let daemon = Behind::start();
    let mut client = daemon.client();
    let node = client.create(1).unwrap();
    daemon.door.order(|orders| orders.is_full = true);
    let made = fill(&mut client);
    expect_full_and_well(&mut client, node, made + 1);
    // Commits that need no room in the file go on until the log has none either.
    let refused = (0..10_000).find_map(|n| client.run(rename(node, n)).err()).unwrap();
    assert_eq!((refused.code, refused.retryable), (ErrorCode::DiskFull, false), "{}", refused.message);
    assert!(refused.message.contains("the log"), "{}", refused.message);
    assert_eq!(client.count(), made as i64 + 1);
    assert_eq!((client.status().poisoned, client.call(&Check {}).unwrap().problems), (None, vec![]));
    daemon.door.order(|orders| orders.is_full = false);
    client.run(create_large(1_000_000)).unwrap();
    assert_eq!(client.count(), made as i64 + 2);
    drop(client);
    let (left, daemon) = daemon.restart();
    left.unwrap();
    expect_recovered(daemon, &[node], made + 1);
}

/// Bytes past which the kernel refuses writes of the process; as many as ever with `None`.
fn limit_files(daemon: &Daemon, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(daemon.child.id()).unwrap()).unwrap();
    let maximum = getrlimit(Resource::Fsize).maximum;
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

#[test]
fn a_write_that_the_kernel_refuses_poisons_the_program_and_does_not_kill_it() {
    let mut daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    let nodes: Vec<u64> = (0..5).map(|n| client.create(n).unwrap()).collect();
    limit_files(&daemon, Some(1));
    assert_eq!(code(client.create(5)), ErrorCode::CommitUnknown);
    limit_files(&daemon, None);
    expect_poisoned(&mut client, &nodes, "write");
    drop(client);
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(i32::from(graphited::exit::IO)));
    daemon.child = start_at(&daemon.db, &[]);
    expect_recovered(daemon, &nodes, 1);
}

/// The kernel's own full disk as the place of the daemon's log: what it has to say is lost, and nothing else.
#[test]
fn a_daemon_whose_log_cannot_be_written_serves_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("db");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let daemon = |log: &std::fs::File| {
        let mut command = program();
        command.args(["--log", "trace", "--db"]).arg(&db).stderr(log.try_clone().unwrap());
        command.spawn().unwrap()
    };
    let mut first = daemon(&full);
    until(|| Client::connect_or_none(&socket_of(&db)).is_some());
    let mut client = Client::connect(&socket_of(&db));
    client.hello();
    client.create(1).unwrap();
    // Not even the reason why it does not serve can be told; the exit code can.
    assert_eq!(wait(&mut daemon(&full)).code(), Some(i32::from(graphited::exit::TRY_AGAIN)));
    assert_eq!(client.count(), 1);
    send_signal(first.id(), "TERM");
    assert_eq!(wait(&mut first).code(), Some(0));
}

/// A limit at the file's end is a full disk for whatever has to grow, and no failure for what is there.
#[test]
fn room_that_the_kernel_refuses_is_a_full_disk() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    let node = client.create(1).unwrap();
    let mut nodes = 1;
    // Past the length of the log's files, which are to stay below the limit.
    while client.status().file_bytes < 2 << 20 {
        client.run(create_large(100_000)).unwrap();
        nodes += 1;
    }
    let length = client.status().file_bytes;
    limit_files(&daemon, Some(length));
    nodes += fill(&mut client);
    expect_full_and_well(&mut client, node, nodes);
    limit_files(&daemon, None);
    client.run(create_large(1_000_000)).unwrap();
    assert_eq!(client.count(), nodes as i64 + 1);
    daemon.stop();
}
