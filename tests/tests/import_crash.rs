//! An import whose daemon or client is killed in the middle goes on where it was: every row once.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::path::Path;
use std::process::{Child, Stdio};

use graphite_client::{Client, Direction, NodeId, socket_path};
use graphite_tests::{Contents, Scratch, contents, graphite, run, run_ok, wait_until};

const NODES: usize = 20_000;
const EDGES: usize = 60_000;
const BATCH_ROWS: &str = "1000";

/// The files, and the graph that they hold.
fn files(scratch: &Scratch) -> (String, String, Contents) {
    let mut expected = Contents::default();
    let mut nodes = "id:ID,name:string\n".to_owned();
    for n in 0..NODES {
        nodes += &format!("{n},name {n}\n");
        expected.nodes.push(format!("[] \"id\": String(\"{n}\"), \"name\": String(\"name {n}\")"));
    }
    let mut edges = ":START_ID,:END_ID,:TYPE,w:int\n".to_owned();
    for e in 0..EDGES {
        let (start, end) = (e * 31 % NODES, e * 17 % NODES);
        edges += &format!("{start},{end},T,{e}\n");
        expected.edges.push((start, end, format!("\"T\" \"w\": Int({e})")));
    }
    expected.edges.sort_unstable();
    (scratch.write("n.csv", nodes), scratch.write("e.csv", edges), expected)
}

fn rows(db: &Path) -> u64 {
    let status = Client::connect(socket_path(db)).and_then(|mut client| client.status());
    status.map(|status| status.nodes + status.edges).unwrap_or(0)
}

fn start(db: &Path, args: &[&str]) -> Child {
    let mut command = graphite(db);
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn check(db: &Path, expected: &Contents) {
    let mut client = Client::connect(socket_path(db)).unwrap();
    let found = contents(&mut client);
    assert_eq!((found.nodes.len(), found.edges.len()), (NODES, EDGES));
    assert!(found == *expected, "the graph is not that of the files");
    let first = client.neighbors(NodeId(0), Direction::Out, &["T"]);
    assert!(first.is_ok(), "{first:?}");
}

/// The daemon is killed once a part of the rows is there, again and again, each time further on.
#[test]
fn a_killed_daemon_costs_no_row_and_doubles_none() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let (nodes, edges, expected) = files(&scratch);
    let import = ["import", "--nodes", &nodes, "--edges", &edges, "--batch-rows", BATCH_ROWS];
    let resume = [&import[..], &["--resume"]].concat();
    let mut killed = 0;
    for (round, part) in [5_000, 18_000, 25_000, 60_000].into_iter().enumerate() {
        let mut child = start(&db, if round == 0 { &import } else { &resume });
        let mut ended = false;
        wait_until("a part is loaded", || {
            ended = child.try_wait().unwrap().is_some();
            ended || rows(&db) > part
        });
        if !ended {
            scratch.kill_daemons();
            let output = child.wait_with_output().unwrap();
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            // It may have been done, to the last word, when the daemon was killed.
            if !output.status.success() {
                killed += 1;
                assert_eq!(output.status.code(), Some(3), "{err}");
                assert!(err.contains("--resume --import-id import-"), "{err}");
            }
        }
    }
    assert!(killed > 0, "no import was interrupted");
    let last = run(graphite(&db), &resume);
    assert_eq!(last.code, 0, "{last:?}");
    assert!(last.out.starts_with("20,000 nodes and 60,000 edges"), "{}", last.out);
    check(&db, &expected);
    // If the answer to the end was lost, the user does this: everything is there once.
    scratch.kill_daemons();
    let again = run(graphite(&db), &resume);
    assert!(again.code == 0 && again.out.contains("was complete already"), "{again:?}");
    check(&db, &expected);
    // It is over, so its name is free.
    let dry = run_ok(graphite(&db), &[&import[..], &["--dry-run"]].concat());
    assert!(dry.contains("20,000 nodes and 60,000 edges are fine"), "{dry}");
}

#[test]
fn a_killed_client_goes_on_too_even_with_batches_of_another_size() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let (nodes, edges, expected) = files(&scratch);
    let files = ["import", "--nodes", &nodes, "--edges", &edges];
    let with = |more: &[&'static str]| [&files[..], more].concat();
    let mut child = start(&db, &with(&["--batch-rows", "700"]));
    wait_until("a part is loaded", || rows(&db) > 30_000 || child.try_wait().unwrap().is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    let there = rows(&db);
    assert!(there > 0);
    let without = run(graphite(&db), &with(&[]));
    if there < (NODES + EDGES) as u64 {
        assert_eq!(without.code, 1, "{without:?}");
        assert!(without.err.contains("--resume"), "{without:?}");
    }
    // The name is made of files and of what says how to read them, not of the size of batches.
    run_ok(graphite(&db), &with(&["--resume", "--batch-rows", "5000"]));
    check(&db, &expected);
}

#[test]
fn files_that_are_not_those_of_before_are_refused() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let good = scratch.write("n.csv", "id:ID\n1\n2\n3\n4\n");
    let bad = scratch.write("e.csv", ":START_ID,:END_ID,:TYPE\n1,9,T\n");
    let named = |nodes: &str, more: &[&str]| {
        let mut args =
            vec!["import", "--import-id", "mine", "--batch-rows", "2", "--nodes", nodes, "--edges", &bad];
        args.extend(more);
        run(graphite(&db), &args)
    };
    let first = named(&good, &[]);
    assert!(first.code == 1 && first.err.contains("2 batches are in the database"), "{first:?}");
    for other in ["id:ID\n1\n2\n3\n", "id:ID\n1\n"] {
        let other = scratch.write("other.csv", other);
        let ran = named(&other, &["--resume"]);
        assert!(ran.code == 1 && ran.err.contains("that is to be resumed"), "{ran:?}");
    }
    let last = named(&good, &["--resume", "--skip-bad"]);
    assert_eq!(last.code, 0, "{last:?}");
    assert_eq!(rows(&db), 4);
}
