//! `kill -9` of the daemon under load from several writers, a hundred times on one database: what the writers' own logs say
//! was acknowledged is there, what was in doubt is there whole or not at all, and nothing else is.
//!
//! Killed are daemons that serve, that recover, and that are asked for a checkpoint at that moment. `GRAPHITE_KILLS` sets how
//! many; `GRAPHITE_SEED` repeats a run's choices, as far as a clock can.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::ffi::OsStr;
use std::time::Duration;

use graphite_client::Client;
use graphite_client::messages::{Check, Checkpoint};
use graphite_tests::workers::Worker;
use graphite_tests::writers::{Log, make_anchors};
use graphite_tests::{Daemon, Random, Scratch, seed, wait_until};

/// Kills of a daemon, if nobody says otherwise.
const KILLS: u64 = 100;
const WRITERS: u32 = 4;
/// How long a daemon serves, and how long it may start, at most.
const SERVES_MAX: Duration = Duration::from_millis(250);
const STARTS_MAX: Duration = Duration::from_millis(25);
/// The whole database is checked after each of so many kills.
const CHECK_EVERY: u64 = 10;
/// Small, so that checkpoints and evictions go on all the time.
const SETTINGS: [&str; 4] = ["--cache-bytes", "4M", "--wal-bytes", "8M"];

fn start_writer(daemon: &Daemon, dir: &OsStr, number: u32) -> Worker {
    let (socket, number) = (daemon.socket(), number.to_string());
    let arguments: [&OsStr; 8] = [
        "writer".as_ref(),
        "--socket".as_ref(),
        socket.as_ref(),
        "--number".as_ref(),
        number.as_ref(),
        "--seed".as_ref(),
        "0".as_ref(),
        dir,
    ];
    Worker::start(arguments)
}

fn commits_of(dir: &OsStr) -> u64 {
    // A line that is half written is none yet, and then the log cannot be read.
    let log = |writer| Log::read(dir.as_ref(), writer).map_or(0, |log| log.commits);
    (1..=WRITERS).map(log).sum()
}

fn compare(client: &mut Client, dir: &OsStr, kill: u64) -> u64 {
    let logs = (1..=WRITERS).map(|writer| {
        let log = Log::read(dir.as_ref(), writer).unwrap();
        log.compare(client, writer).unwrap_or_else(|lost| panic!("after kill {kill}: {lost}"));
        log
    });
    let logs: Vec<Log> = logs.collect();
    let entries: usize = logs.iter().map(Log::entries).sum();
    let (nodes, anchors) = (client.status().unwrap().nodes, u64::from(WRITERS));
    let expected = entries as u64 + anchors;
    // Each writer may have one more that is in doubt, or one less for the same reason.
    assert!(
        nodes.abs_diff(expected) <= anchors,
        "after kill {kill}: {nodes} nodes, where {expected} were made"
    );
    logs.iter().map(|log| log.commits).sum()
}

#[test]
fn what_the_writers_were_told_is_there_after_every_kill() {
    let kills = std::env::var("GRAPHITE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = seed();
    println!(
        "GRAPHITE_SEED={seed} GRAPHITE_KILLS={kills} cargo test -p graphite-tests --test daemon_kills -- --nocapture"
    );
    let (scratch, mut random) = (Scratch::new(), Random::new(seed));
    let (db, dir) = (scratch.path("killed"), scratch.path(""));
    let mut daemon = Daemon::start(&db, &SETTINGS);
    make_anchors(&mut daemon.client(), WRITERS).unwrap();
    let (mut recoveries_killed, mut commits, mut lives_with_commits) = (0, 0, 0);
    for kill in 1..=kills {
        let writers: Vec<Worker> =
            (1..=WRITERS).map(|writer| start_writer(&daemon, dir.as_ref(), writer)).collect();
        if random.percent(80) {
            wait_until("something is committed", || commits_of(dir.as_ref()) > commits);
        }
        std::thread::sleep(random.duration(SERVES_MAX));
        let mut client = daemon.client();
        if random.percent(30) {
            // Nobody waits for the answer: the daemon is killed in the midst of it.
            let _unanswered = client.send(&Checkpoint {}).unwrap();
            client.flush().unwrap();
            std::thread::sleep(random.duration(STARTS_MAX));
        }
        daemon.kill();
        writers.into_iter().for_each(|writer| drop(writer.finish()));
        while random.percent(20) {
            let starting = Daemon::spawn(&db, &SETTINGS);
            std::thread::sleep(random.duration(STARTS_MAX));
            starting.kill();
            recoveries_killed += 1;
        }
        daemon = Daemon::start(&db, &SETTINGS);
        let before = std::mem::replace(&mut commits, compare(&mut daemon.client(), dir.as_ref(), kill));
        lives_with_commits += u64::from(commits > before);
        if kill % CHECK_EVERY == 0 || kill == kills {
            let check = daemon.client().call(&Check {}).unwrap();
            assert!(check.problems.is_empty(), "after kill {kill}: {check:?}");
        }
    }
    println!(
        "{kills} kills under load, {recoveries_killed} while it started; {commits} acknowledged commits"
    );
    assert!(
        lives_with_commits * 2 > kills,
        "in {lives_with_commits} of {kills} lives something was committed"
    );
}
