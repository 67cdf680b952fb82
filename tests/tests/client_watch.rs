//! A client that has the daemon send its picture again and again.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use graphite_client::{Error, ErrorCode};
use graphite_tests::{Daemon, Scratch, proc_files};

#[test]
fn pictures_come_until_nobody_wants_them() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch.path("db"), &[]);
    let mut client = daemon.client();
    let mut watch = client.watch(Duration::from_millis(100)).unwrap();
    let (first, second) = (watch.next_picture().unwrap(), watch.next_picture().unwrap());
    assert!(first.at_ms < second.at_ms && second.sessions.len() == 1);
    drop(watch);
    client.ping().unwrap();
    let refused = client.watch(Duration::from_millis(1)).unwrap_err();
    assert!(matches!(&refused, Error::Server { code: ErrorCode::BadRequest, .. }), "{refused}");
    let mut watch = client.watch(Duration::from_secs(1)).unwrap();
    watch.next_picture().unwrap();
    daemon.kill();
    assert!(matches!(watch.next_picture(), Err(Error::Closed)));
}

/// With nobody watching any more, no thread of the daemon wakes.
#[test]
fn a_daemon_that_was_watched_comes_to_rest() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch.path("db"), &[]);
    let mut client = daemon.client();
    let mut watch = client.watch(Duration::from_millis(100)).unwrap();
    (0..3).for_each(|_| drop(watch.next_picture().unwrap()));
    drop(watch);
    client.ping().unwrap();
    graphite_tests::wait_until("nothing wakes for a second", || {
        let before = proc_files::wakeups(daemon.pid());
        std::thread::sleep(Duration::from_secs(1));
        before == proc_files::wakeups(daemon.pid())
    });
}
