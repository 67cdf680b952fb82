//! The LDBC ACID suite: each test with processes that write and processes that read the same few nodes at once.

use graphite_client::messages::Check;
use graphite_tests::workers::Worker;
use graphite_tests::{Daemon, Scratch, ldbc, seed};

/// Processes that write.
const WRITERS: u32 = 3;
/// Processes that read, if the test has something to read while others write.
const READERS: u32 = 2;
/// Transactions of each writer.
const WRITES: u32 = 80;

fn worker(what: &str, daemon: &Daemon, number: u32, seed: u64, rest: &[&str]) -> Worker {
    let socket = daemon.socket();
    let (number, seed) = (number.to_string(), (seed ^ u64::from(number) << 32).to_string());
    let socket = socket.to_str().unwrap();
    let arguments = [&[what, "--socket", socket, "--number", &number, "--seed", &seed], rest].concat();
    Worker::start(arguments)
}

/// What was noted or seen, of this sort.
fn lines(said: &[String], sort: &str) -> Vec<String> {
    let of_sort = |line: &String| {
        line.split_once(' ').filter(|(word, _)| *word == sort).map(|(_, rest)| rest.to_owned())
    };
    said.iter().filter_map(of_sort).collect()
}

fn is_prevented(name: &str) {
    let seed = seed();
    println!("GRAPHITE_SEED={seed}");
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch.path("db"), &[]);
    let (test, mut client) = (ldbc::test(name), daemon.client());
    (test.load)(&mut client).unwrap();
    let readers = if test.read.is_some() { READERS } else { 0 };
    let readers: Vec<Worker> = (0..readers)
        .map(|reader| worker("ldbc-read", &daemon, WRITERS + 1 + reader, seed, &[name]))
        .collect();
    let count = WRITES.to_string();
    let writers: Vec<Worker> =
        (1..=WRITERS).map(|writer| worker("ldbc-write", &daemon, writer, seed, &[name, &count])).collect();
    let mut said: Vec<String> = writers.into_iter().flat_map(Worker::finish).collect();
    for mut reader in readers {
        reader.enough();
        said.extend(reader.finish());
    }
    let mut anomalies = lines(&said, "anomaly");
    anomalies.extend((test.check)(&mut client, &lines(&said, "note")).unwrap());
    assert!(anomalies.is_empty(), "{name}: {anomalies:#?}");
    assert_eq!(client.call(&Check {}).unwrap().problems, []);
    assert!(daemon.stop().success());
}

macro_rules! suite {
    ($($function:ident: $name:literal,)*) => {
        $(#[test]
        fn $function() {
            is_prevented($name);
        })*

        #[test]
        fn the_suite_is_whole() {
            let names: Vec<&str> = ldbc::TESTS.iter().map(|test| test.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

suite! {
    atomicity_of_commit: "atomicity-c",
    atomicity_of_rollback: "atomicity-rb",
    g0_dirty_write: "g0",
    g1a_aborted_read: "g1a",
    g1b_intermediate_read: "g1b",
    g1c_circular_information_flow: "g1c",
    imp_item_many_preceders: "imp",
    pmp_predicate_many_preceders: "pmp",
    otv_observed_transaction_vanishes: "otv",
    fr_fractured_read: "fr",
    lu_lost_update: "lu",
    ws_write_skew: "ws",
}
