//! Opening a database: many processes at the same instant, a daemon that leaves at that instant, one that was killed.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::process::Stdio;
use std::time::Duration;

use graphite_client::{Client, Error, OpenOptions, database_path, socket_path};
use graphite_tests::{Daemon, Scratch, graphite, program, wait_until};

const PROCESSES: usize = 8;

fn options(idle_exit_s: u64) -> OpenOptions {
    OpenOptions { daemon: Some(program("graphited")), idle_exit_s, ..OpenOptions::default() }
}

/// Each process opens a database that does not exist yet and loads a node of its own.
#[test]
fn eight_processes_that_open_at_once_end_on_one_daemon() {
    for round in 0..4 {
        let scratch = Scratch::new();
        let db = scratch.path("db");
        let children: Vec<_> = (0..PROCESSES)
            .map(|number| {
                let file = scratch.write(&format!("{number}.csv"), format!("n:ID,v:int\n{number},{round}\n"));
                let name = format!("race-{number}");
                let mut command = graphite(&db);
                command.args(["import", "--nodes", &file, "--import-id", &name]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(scratch.daemons().len(), 1, "one daemon stays");
        let mut client = Client::connect(socket_path(&db)).unwrap();
        assert_eq!(client.status().unwrap().nodes, PROCESSES as u64);
    }
}

/// The daemon leaves when its last client has been gone for a second; threads open again at about that time.
#[test]
fn a_daemon_that_is_leaving_is_no_obstacle() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let mut nodes = 0;
    for round in 0..6 {
        let made: u64 = std::thread::scope(|scope| {
            let open = |_| {
                scope.spawn(|| {
                    let mut client = Client::open_with(&db, &options(1)).unwrap();
                    client.create_node(["A"], ()).unwrap();
                    1
                })
            };
            let threads: Vec<_> = (0..4).map(open).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        nodes += made;
        // Sometimes before it leaves, sometimes while, sometimes after.
        std::thread::sleep(Duration::from_millis(850 + 100 * round));
    }
    let mut client = Client::open_with(&db, &options(1)).unwrap();
    assert_eq!(client.status().unwrap().nodes, nodes);
    drop(client);
    wait_until("the idle daemon has left", || scratch.daemons().is_empty());
    assert!(!socket_path(&db).exists(), "it takes its socket with it");
}

#[test]
fn a_killed_daemon_leaves_a_socket_that_nobody_serves() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let daemon = Daemon::start(&db, &[]);
    daemon.client().create_node(["A"], ()).unwrap();
    daemon.kill();
    assert!(socket_path(&db).exists());
    assert!(matches!(Client::connect(socket_path(&db)), Err(Error::Connect { .. })));
    let mut client = Client::open_with(&db, &options(30)).unwrap();
    assert_eq!(client.status().unwrap().nodes, 1);
}

#[test]
fn a_database_has_one_daemon_whatever_path_leads_there() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    std::os::unix::fs::symlink(scratch.path(""), scratch.path("link")).unwrap();
    let first = Client::open_with(&db, &options(30)).unwrap();
    let second = Client::open_with(scratch.path("link/./db"), &options(30)).unwrap();
    std::os::unix::fs::symlink("db", scratch.path("alias")).unwrap();
    let third = Client::open_with(scratch.path("alias"), &options(30)).unwrap();
    assert_eq!(first.server().pid, second.server().pid);
    assert_eq!(first.server().pid, third.server().pid);
    assert_eq!(database_path(&scratch.path("alias")).unwrap(), db);
}

#[test]
fn a_daemon_that_listens_elsewhere_is_told() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let elsewhere = scratch.path("elsewhere.sock");
    let daemon = Daemon::start(&db, &["--socket", elsewhere.to_str().unwrap()]);
    let short = OpenOptions { timeout: Duration::from_millis(600), ..options(30) };
    let error = Client::open_with(&db, &short).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Start { .. }), "{text}");
    assert!(text.contains(&daemon.pid().to_string()), "it names the process that has it: {text}");
    assert!(text.contains("connect to that socket"), "{text}");
    assert!(Client::connect(elsewhere).unwrap().ping().is_ok());
}

#[test]
fn a_path_too_long_for_a_socket_address_is_opened() {
    let scratch = Scratch::new();
    let dir = scratch.path(&"d".repeat(120));
    std::fs::create_dir(&dir).unwrap();
    let mut client = Client::open_with(dir.join("e".repeat(60)), &options(30)).unwrap();
    client.ping().unwrap();
}
