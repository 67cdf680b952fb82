//! The command `graphite` against a real daemon: the demo, every question, every exit code, hostile text.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::path::PathBuf;

use graphite_client::{OpenOptions, Value, props};
use graphite_tests::{Daemon, Scratch, bare_graphite, graphite, program, run, run_ok};

const OK: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const NO_CONNECTION: i32 = 3;

/// The database of a demo.
fn demo(scratch: &Scratch) -> PathBuf {
    let db = scratch.path("air.graphite");
    run_ok(bare_graphite(), &["demo", db.to_str().unwrap()]);
    db
}

#[test]
fn the_demo_runs_twice_and_what_it_says_to_type_works() {
    let scratch = Scratch::new();
    let call = || {
        let mut command = bare_graphite();
        command.current_dir(scratch.path("")).env("COLUMNS", "80");
        command
    };
    let first = run_ok(call(), &["demo"]);
    assert!(first.contains("Loaded 3,749 nodes and 57,645 edges"), "{first}");
    for answer in ["Frankfurt", "AGR", "nonstop", "How much of the world"] {
        assert!(first.contains(answer), "{answer} in {first}");
    }
    let tables = first.split("What to type next").next().unwrap();
    assert!(tables.lines().all(|line| line.chars().count() <= 80), "{tables}");
    assert!(!first.contains('\x1b'), "no colours where there is no terminal");

    let second = run_ok(call(), &["demo"]);
    assert!(second.contains("from an earlier run"), "{second}");
    let next: Vec<&str> = second.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let next: Vec<&&str> = next.iter().filter(|line| line.contains("--db air-routes.graphite")).collect();
    assert_eq!(next.len(), 4, "{second}");
    for line in next {
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(line).current_dir(scratch.path(""));
        run_ok(shell, &[]);
    }
    assert_eq!(scratch.daemons().len(), 1);
}

#[test]
fn the_demo_leaves_another_graph_alone() {
    let scratch = Scratch::new();
    let db = scratch.path("mine.graphite");
    let daemon = Daemon::start(&db, &[]);
    daemon.client().create_node(["Mine"], ()).unwrap();
    let ran = run(bare_graphite(), &["demo", db.to_str().unwrap()]);
    assert_eq!(ran.code, FAILED, "{ran:?}");
    assert!(ran.err.contains("another graph"), "{}", ran.err);
    assert_eq!(daemon.client().status().unwrap().nodes, 1);
}

/// As after a kill in the middle of the first run.
#[test]
fn a_demo_that_was_interrupted_goes_on() {
    let scratch = Scratch::new();
    let db = scratch.path("air.graphite");
    let daemon = Daemon::start(&db, &[]);
    let mut client = daemon.client();
    let import = graphite_client::Token::new("demo-air-routes-1").unwrap();
    let begin = graphite_client::messages::ImportBegin { import: import.clone(), resume: false };
    client.call(&begin).unwrap();
    // The first batch of the demo is all of its nodes, which an import by the same name has made.
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../graphite-client/fixtures/air-routes");
    let nodes = fixtures.join("air-routes-latest-nodes.csv");
    let bad = scratch.write("edges.csv", "~from,~to,~label\n1,nobody,route\n");
    let args =
        ["import", "--import-id", "demo-air-routes-1", "--nodes", nodes.to_str().unwrap(), "--edges", &bad];
    assert_eq!(run(graphite(&db), &args).code, FAILED);
    assert_eq!(client.status().unwrap().edges, 0);
    run_ok(bare_graphite(), &["demo", db.to_str().unwrap()]);
    let status = client.status().unwrap();
    assert_eq!((status.nodes, status.edges), (3749, 57_645));
}

#[test]
fn every_question_in_every_format() {
    let scratch = Scratch::new();
    let db = demo(&scratch);
    let ask = |args: &[&str]| run_ok(graphite(&db), args);

    assert!(ask(&["status"]).contains("3,749 nodes, 57,645 edges"));
    assert!(ask(&["status", "--format", "jsonl"]).contains("\"nodes\":3749,"));
    assert!(ask(&["checkpoint"]).contains("written"));

    let node = ask(&["node", "code=AUS"]);
    assert!(node.contains("Austin Bergstrom International Airport") && node.contains("airport"), "{node}");
    let id = node.split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(ask(&["node", &id]), node);
    assert_eq!(ask(&["node", "airport:code=AUS"]), node);
    let json = ask(&["node", "runways=7", "--format", "json"]);
    assert!(json.starts_with("[\n{\"id\":") && json.contains("\"runways\":7"), "{json}");
    let many = ask(&["node", "airport:country=IS", "--limit", "3", "--format", "csv"]);
    assert_eq!(many.lines().count(), 4, "{many}");

    let neighbors =
        ask(&["neighbors", "code=AGR", "--direction", "out", "--type", "route", "--format", "jsonl"]);
    assert!(neighbors.lines().count() >= 2);
    assert!(
        neighbors.lines().all(|line| line.starts_with("{\"way\":\"out\",\"type\":\"route\"")),
        "{neighbors}"
    );
    let limited = ask(&["neighbors", "code=FRA", "--limit", "2"]);
    assert!(limited.contains("2 of ") && limited.contains("--limit"), "{limited}");

    let path = ask(&["path", "code=AUS", "code=AGR", "--type", "route", "--format", "jsonl"]);
    assert_eq!(path.lines().count(), 4, "{path}");
    assert!(path.starts_with("{\"hop\":0,\"via\":null"), "{path}");
    let table = ask(&["path", "code=AUS", "code=AGR", "--type", "route"]);
    assert!(table.contains("-route->") && table.ends_with("3 edges\n"), "{table}");

    let top = || std::process::Command::new(program("graphite-top"));
    let once = ["--db", db.to_str().unwrap(), "--once", "--format", "json"];
    let picture: serde_json::Value = serde_json::from_str(&run_ok(top(), &once)).unwrap();
    assert_eq!((&picture["schema"], &picture["status"]["nodes"]), (&1.into(), &3749.into()), "{picture}");
    let refused = run(top(), &once[..2]);
    assert!(
        refused.code == USAGE && refused.err.contains("--once"),
        "a screen needs a terminal: {refused:?}"
    );
}

#[test]
fn exit_codes() {
    let scratch = Scratch::new();
    let db = demo(&scratch);
    let missing = scratch.path("missing.graphite");
    let code = |args: &[&str]| run(graphite(&db), args).code;

    assert_eq!(code(&["status"]), OK);
    for failed in [
        &["node", "code=NOWHERE"][..],
        &["node", "99999999"],
        &["neighbors", "city=London"],
        &["path", "code=AGR", "code=AUS", "--max-hops", "1"],
        &["import", "--nodes", "/no/such/file.csv"],
        &["export", "/proc/no/such/directory"],
    ] {
        let ran = run(graphite(&db), failed);
        assert_eq!(ran.code, FAILED, "{failed:?}: {ran:?}");
        assert!(ran.err.starts_with("graphite: ") && ran.out.is_empty(), "{ran:?}");
    }
    for usage in [
        &["dance"][..],
        &[],
        &["node"],
        &["node", "AUS"],
        &["neighbors", "1", "--direction", "up"],
        &["import"],
        &["import", "--nodes", "x", "--delimiter", "ab"],
        &["import", "--nodes", "x", "--column", "age:number"],
        &["import", "--nodes", "x", "--batch-rows", "0"],
        &["status", "--socket", "x"],
    ] {
        let ran = run(graphite(&db), usage);
        assert_eq!(ran.code, USAGE, "{usage:?}: {ran:?}");
    }
    for command in [
        &["status"][..],
        &["sessions"],
        &["locks"],
        &["kill", "1"],
        &["cancel", "1"],
        &["node", "1"],
        &["neighbors", "1"],
        &["path", "1", "2"],
        &["checkpoint"],
    ] {
        let ran = run(graphite(&missing), command);
        assert_eq!(ran.code, NO_CONNECTION, "{ran:?}");
        assert!(ran.err.contains("no such file"), "{ran:?}");
        let mut nobody = bare_graphite();
        nobody.arg("--socket").arg(scratch.path("nobody.sock"));
        assert_eq!(run(nobody, command).code, NO_CONNECTION);
    }
    assert!(!missing.exists(), "asking makes no database");
    let mut by_environment = bare_graphite();
    by_environment.env("GRAPHITE_DB", &db);
    assert!(run_ok(by_environment, &["status"]).contains("57,645 edges"));

    let not_a_database = scratch.write("letter.txt", "Dear reader, ".repeat(10_000));
    let ran = run(bare_graphite(), &["--db", &not_a_database, "status"]);
    assert_eq!(ran.code, NO_CONNECTION, "{ran:?}");
    assert!(
        std::fs::read_to_string(&not_a_database).unwrap().starts_with("Dear reader"),
        "it is left as it was"
    );

    let top = |path: PathBuf| {
        let command = std::process::Command::new(program("graphite-top"));
        run(command, &["--db", path.to_str().unwrap()])
    };
    assert_eq!(top(missing).code, NO_CONNECTION);
}

/// A program that reads a little and closes the pipe gets what it wanted.
#[test]
fn a_closed_pipe_is_no_failure() {
    let scratch = Scratch::new();
    let db = demo(&scratch);
    let line = format!(
        "'{}' --db '{}' neighbors code=FRA --limit 500 --format jsonl | head -1",
        program("graphite").display(),
        db.display()
    );
    let mut shell = std::process::Command::new("bash");
    shell.args(["-o", "pipefail", "-c", &line]);
    let ran = run(shell, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(ran.out.lines().count(), 1);
}

#[test]
fn hostile_text_is_inert() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let daemon = Daemon::start(&db, &[]);
    let hostile = "\x1b]52;c;aGFja2Vk\x07\x1b[2J\r\u{202e}evil\u{2066}\u{9b}31m";
    let mut client = daemon.client();
    let a = client.create_node([hostile], props! { hostile => hostile, "key" => "a" }).unwrap();
    let b = client.create_node(["Plain"], props! { "list" => vec![Value::from(hostile)] }).unwrap();
    client.create_edge(a, b, hostile, props! { hostile => hostile }).unwrap();
    let (a, b) = (a.to_string(), b.to_string());
    for format in ["table", "json", "jsonl"] {
        for args in [&["node", &a][..], &["node", &b], &["neighbors", &a], &["path", &a, &b]] {
            let out = run_ok(graphite(&db), &[args, &["--format", format]].concat());
            let bad = out.chars().find(|c| *c != '\n' && (c.is_control() || "\u{202e}\u{2066}".contains(*c)));
            assert_eq!(bad, None, "{args:?} {format}: {out:?}");
            assert!(out.contains("evil"), "{out}");
        }
    }
    // A program that reads a file gets what is there.
    assert!(run_ok(graphite(&db), &["node", &a, "--format", "csv"]).contains("evil"));
    // Errors quote what the user typed, and who else typed it is not known.
    let ran = run(graphite(&db), &["node", &format!("k={hostile}")]);
    assert_eq!(ran.code, FAILED);
    assert!(!ran.err.trim_end().contains(|c: char| c.is_control()), "{:?}", ran.err);
}

/// A daemon that is started on the way gets no descriptors of its starter but the four that are meant for it.
#[test]
fn a_started_daemon_inherits_nothing() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let line = format!(
        "exec 77</dev/null; '{}' --db '{}' import --nodes '{}'",
        program("graphite").display(),
        db.display(),
        scratch.write("n.csv", ":ID\n1\n")
    );
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", &line]).env("NOTIFY_SOCKET", "/nowhere").env("LISTEN_FDS", "1");
    run_ok(shell, &[]);
    let [pid] = scratch.daemons()[..] else { panic!("one daemon") };
    assert!(!std::path::Path::new(&format!("/proc/{pid}/fd/77")).exists());
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(!environment.contains("NOTIFY_SOCKET") && !environment.contains("LISTEN_FDS"), "{environment}");
    // Field 6 of its status is its session: its own.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!(fields[3], pid.to_string(), "{stat}");
}

/// The library finds and starts the daemon that it is told.
#[test]
fn a_library_that_opens_a_database_starts_its_daemon() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let options = OpenOptions { daemon: Some(program("graphited")), ..OpenOptions::default() };
    let mut first = graphite_client::Client::open_with(&db, &options).unwrap();
    let mut second = graphite_client::Client::open_with(&db, &options).unwrap();
    let node = first.create_node(["A"], ()).unwrap();
    assert!(second.node(node).unwrap().is_some());
    assert_eq!(first.server().pid, second.server().pid);
    assert_eq!(scratch.daemons().len(), 1);
}
