//! How a daemon begins and ends: whose database it is, where it listens, when it leaves.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use common::*;
use graphite_protocol::messages::{Checkpoint, Hello, Mode, Ping, Run};
use graphite_protocol::{ErrorCode, Plan, socket};

/// A second daemon on the same file: what it says, and its exit code.
fn second(db: &std::path::Path, args: &[&str]) -> (String, Option<i32>) {
    let (mut child, line) = try_start_at(db, args);
    let code = wait(&mut child).code();
    (line, code)
}

#[test]
fn a_second_daemon_is_refused_by_whatever_path_it_comes() {
    let daemon = Daemon::start(&[]);
    let dir = daemon.dir.path();
    symlink(dir, dir.join("to-the-directory")).unwrap();
    symlink("db", dir.join("to-the-file")).unwrap();
    std::fs::create_dir(dir.join("inner")).unwrap();
    for path in ["db", "to-the-directory/db", "to-the-file", "inner/../db"] {
        let (line, code) = second(&dir.join(path), &[]);
        assert_eq!(code, Some(75), "{path}: {line}");
        let pid = format!("process {}", daemon.child.id());
        assert!(line.contains(&pid) && line.contains("/db"), "{path}: {line}");
    }
    daemon.client().create(1).unwrap();
    // Another name of the same file would have another log.
    std::fs::hard_link(&daemon.db, dir.join("hard")).unwrap();
    let (line, code) = second(&dir.join("hard"), &[]);
    assert_eq!(code, Some(77), "{line}");
    std::fs::remove_file(dir.join("hard")).unwrap();
    daemon.stop();
}

#[test]
fn what_is_no_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("db");
    std::fs::write(&db, vec![b'x'; 100_000]).unwrap();
    std::fs::set_permissions(&db, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (line, code) = second(&db, &[]);
    assert_eq!(code, Some(65), "{line}");
    assert_eq!(std::fs::read(&db).unwrap(), vec![b'x'; 100_000]);
    let (line, code) = second(&dir.path().join("no/such/directory"), &[]);
    assert_eq!(code, Some(73), "{line}");
    symlink("nothing", dir.path().join("dangling")).unwrap();
    assert_eq!(second(&dir.path().join("dangling"), &[]).1, Some(73));
    assert!(!dir.path().join("nothing").exists());
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(
        second(&dir.path().join("new"), &[]).1,
        Some(77),
        "anybody could put another file in its place"
    );
}

#[test]
fn usage_errors_name_what_is_wrong() {
    let output = program().args(["--cache-byts", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let output = program().output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--db"));
    let output = program().args(["--print-config", "--db", "x", "--wal-bytes", "3M"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("wal_bytes = 3145728 # flag"));
    let output = program().arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Exit codes:"));
}

#[test]
fn only_a_stale_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("db");
    drop(UnixListener::bind(socket_of(&db)).unwrap());
    let daemon = Daemon::start_at(dir, db, &[]);
    let mode = std::fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "for its owner alone");
    daemon.client().call(&Ping {}).unwrap();
    let socket = daemon.socket();

    let other = tempfile::tempdir().unwrap();
    let (line, code) = second(&other.path().join("db"), &["--socket", socket.to_str().unwrap()]);
    assert_eq!(code, Some(73), "{line}");
    assert!(line.contains("another daemon"), "{line}");
    daemon.client().call(&Ping {}).unwrap();

    std::fs::write(other.path().join("file"), "mine").unwrap();
    symlink(&socket, other.path().join("link")).unwrap();
    for name in ["file", "link"] {
        let path = other.path().join(name);
        let (line, code) = second(&other.path().join("db"), &["--socket", path.to_str().unwrap()]);
        assert_eq!(code, Some(73), "{line}");
        assert!(line.contains("no socket"), "{line}");
    }
    assert_eq!(std::fs::read_to_string(other.path().join("file")).unwrap(), "mine");
    assert!(std::fs::symlink_metadata(other.path().join("link")).unwrap().is_symlink());
    daemon.stop();
}

#[test]
fn long_paths_work() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&deep).unwrap();
    for name in ["db".to_owned(), "n".repeat(200)] {
        let db = deep.join(name);
        let mut child = start_at(&db, &[]);
        let mut client = Client::connect(&socket_of(&db));
        client.hello();
        client.create(1).unwrap();
        send_signal(child.id(), "TERM");
        assert_eq!(wait(&mut child).code(), Some(0));
        assert!(!socket_of(&db).exists());
    }
}

#[test]
fn asked_to_leave_it_ends_what_runs_and_rolls_back_what_is_open() {
    let mut daemon = Daemon::start(&ALONE);
    let mut open = daemon.client();
    open.create(1).unwrap();
    open.begin(Mode::Write);
    open.create(2).unwrap();
    let mut waiter = daemon.client();
    let waiting = waiter.send(&run(create(3)));
    let mut idle = daemon.client();
    until(|| idle.waiting() == 1);
    daemon.signal("TERM");
    assert_eq!(code(waiter.answer::<Run>(waiting)), ErrorCode::ShuttingDown);
    assert!(idle.is_closed().is_empty());
    assert!(open.is_closed().is_empty());
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(socket::connect(&daemon.socket()).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    daemon.child = start_at(&daemon.db, &[]);
    assert_eq!(daemon.client().count(), 1);
    daemon.stop();
}

#[test]
fn a_statement_that_does_not_end_is_interrupted_and_a_second_signal_does_not_wait() {
    let mut daemon = Daemon::start(&["--shutdown-timeout-ms", "100"]);
    let mut client = daemon.client();
    let endless_run = run(Plan::of(endless(&mut client)));
    let msgid = client.send(&endless_run);
    until_active(&daemon);
    daemon.signal("TERM");
    assert_eq!(code(client.answer::<Run>(msgid)), ErrorCode::ShuttingDown);
    assert_eq!(daemon.wait().code(), Some(0));

    daemon.child = start_at(&daemon.db, &["--shutdown-timeout-ms", "3600000"]);
    let mut client = daemon.client();
    assert_eq!(client.count(), 30);
    client.send(&endless_run);
    until_active(&daemon);
    daemon.signal("INT");
    until(|| socket::connect(&daemon.socket()).is_err());
    daemon.signal("INT");
    assert_eq!(daemon.wait().code(), Some(143));
    daemon.child = start_at(&daemon.db, &[]);
    assert_eq!(daemon.client().count(), 30);
    daemon.stop();
}

fn until_active(daemon: &Daemon) {
    let mut watcher = daemon.client();
    until(|| {
        let sessions = watcher.call(&graphite_protocol::messages::Sessions {}).unwrap().sessions;
        sessions.iter().any(|session| session.state == graphite_protocol::messages::SessionState::Active)
    });
}

#[test]
fn a_terminal_that_goes_away_does_not_end_it() {
    let daemon = Daemon::start(&[]);
    daemon.signal("HUP");
    daemon.client().create(1).unwrap();
    daemon.stop();
}

#[test]
fn it_leaves_when_its_last_client_has_been_gone_for_a_while() {
    let mut daemon = Daemon::start(&["--idle-exit", "1"]);
    let mut client = daemon.client();
    client.create(1).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    client.create(2).unwrap();
    drop(client);
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(!daemon.socket().exists());
    assert!(!daemon.dir.path().join("db.wal/owner.pid").exists());
    daemon.child = start_at(&daemon.db, &["--idle-exit", "1"]);
    assert_eq!(daemon.wait().code(), Some(0), "also when nobody ever came");
}

/// Clients that come just as an idle daemon leaves are served, or cannot connect; never let in and left alone.
#[test]
fn nobody_is_served_half_by_a_daemon_that_leaves() {
    let mut daemon = Daemon::start(&["--idle-exit", "1"]);
    let socket = daemon.socket();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let path = socket.clone();
            std::thread::spawn(move || {
                let mut served = 0;
                loop {
                    let Some(mut client) = Client::connect_or_none(&path) else { return served };
                    client.hello();
                    client.count();
                    served += 1;
                    // From time to time all are away for about as long as it takes to leave.
                    let pause = if served % 5 == thread { 1000 } else { 1 };
                    std::thread::sleep(std::time::Duration::from_millis(pause));
                    if served > 12 {
                        return served;
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        assert!(thread.join().unwrap() > 0);
    }
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_failed_start_is_told_to_whoever_waits_for_it() {
    let daemon = Daemon::start(&[]);
    let mut child = program()
        .args(["--ready-fd", "1", "--db"])
        .arg(&daemon.db)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut line).unwrap();
    assert!(line.contains("in use") && line.ends_with('\n') && line.lines().count() == 1, "{line}");
    wait(&mut child);
    daemon.stop();
}

/// A daemon that nobody asks anything uses no processor, whoever is connected and whatever is open.
#[test]
fn idle_costs_nothing() {
    let daemon = Daemon::start(&[]);
    let (mut reader, mut writer, _silent) = (daemon.client(), daemon.client(), daemon.stranger());
    writer.create(1).unwrap();
    reader.begin(Mode::Read);
    writer.begin(Mode::Write);
    // The log marks its end once.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let before = daemon.cpu_ticks();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(daemon.cpu_ticks() - before <= 1);
    daemon.stop();
}

/// All of the daemon's descriptors are closed on exec, so that nothing it may ever start inherits its database.
#[test]
fn no_descriptor_would_leak_into_a_child() {
    let daemon = Daemon::start(&[]);
    let _client = daemon.client();
    let pid = daemon.child.id();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
        let path = entry.unwrap().path();
        let fd: u32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let Ok(info) = std::fs::read_to_string(&path) else { continue };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
        let target = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default();
        // What the test itself was started with, the daemon was too.
        let is_inherited = std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|ours| ours == target);
        let is_closed = fd <= 2 || flags & 0o2_000_000 != 0;
        assert!(is_closed || is_inherited, "descriptor {fd} ({target:?}) has flags {flags:o}");
    }
    daemon.stop();
}

/// Another user's process is told that it may not, even where the file system would let it.
#[test]
fn strangers_are_refused() {
    let daemon = Daemon::start(&[]);
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(daemon.dir.path(), 0o755);
    open(&daemon.socket(), 0o777);
    let mut client = daemon.stranger();
    let (_, frame) = client.frame(&Hello { protocol: 1, client: "x".into(), monitor: None });
    let escaped: String = frame.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let script = format!(
        "import os, socket\nos.setgid(65534)\nos.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\n\
         s.connect({:?})\ns.sendall(b'{escaped}')\nprint(s.recv(65536))\n",
        daemon.socket().to_str().unwrap()
    );
    let Ok(output) = std::process::Command::new("python3").args(["-c", &script]).output() else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        assert!(said.contains("not-authorised") && said.contains("65534"), "{said}");
    }
    client.hello();
    daemon.stop();
}

#[test]
fn status_tells_when_the_last_checkpoint_was_and_what_was_read_from_the_file() {
    let mut daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    client.create(1).unwrap();
    assert_eq!(client.status().checkpoint_at_ms, None);
    let now = || u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let before = now();
    client.call(&Checkpoint {}).unwrap();
    let status = client.status();
    let at = status.checkpoint_at_ms.unwrap();
    // A millisecond may be lost to rounding.
    assert!((before - 1..=now()).contains(&at), "{at} is not between {before} and {}", now());
    assert_eq!(status.checkpoints, 1);
    assert_eq!(client.status().cache_misses, status.cache_misses, "all is in the cache");
    drop(client);
    daemon.signal("TERM");
    daemon.wait();
    daemon.child = start_at(&daemon.db, &[]);
    let mut client = daemon.client();
    assert_eq!(client.count(), 1);
    assert!(client.status().cache_misses > 0);
    daemon.stop();
}
