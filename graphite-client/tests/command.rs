//! The command where it needs no daemon: help, usage, dry runs, no connection.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::process::{Command, Output};

fn graphite(args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graphite"));
    command.args(args).env_remove("GRAPHITE_DB").env("COLUMNS", "80").env("GRAPHITED", "/no/such/program");
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn help_names_every_command() {
    let (code, out, err) = graphite(&["--help"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for word in [
        "demo",
        "status",
        "node",
        "neighbors",
        "path",
        "import",
        "export",
        "checkpoint",
        "Exit codes",
        "GRAPHITE_DB",
    ] {
        assert!(out.contains(word), "{word} in {out}");
    }
    let (code, out, _) = graphite(&["import", "--help"]);
    assert_eq!(code, 0);
    for word in ["--resume", "--dry-run", "--skip-bad", "--array-delimiter", ":START_ID", "~from"] {
        assert!(out.contains(word), "{word} in {out}");
    }
    assert_eq!(graphite(&["--version"]).0, 0);
}

#[test]
fn wrong_usage_is_told_on_standard_error() {
    for args in [&[][..], &["dance"], &["node"], &["import"], &["status", "--format", "xml"]] {
        let (code, out, err) = graphite(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(!err.is_empty(), "{args:?}");
    }
}

#[test]
fn nobody_at_the_socket_is_no_connection() {
    let (code, out, err) = graphite(&["--socket", "/no/such/socket", "status"]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.contains("/no/such/socket"), "{err}");
}

#[test]
fn a_dry_run_needs_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("n.csv"), "\u{feff}id:ID,n:int,:LABEL\r\n1,1,A;B\r\n2,,\r\n").unwrap();
    std::fs::write(path("e.csv"), ":START_ID,:END_ID,:TYPE\n1,2,T\n").unwrap();
    let args = |edges: &str| {
        ["import", "--dry-run", "--nodes", &path("n.csv"), "--edges", &path(edges)].map(str::to_owned)
    };
    let run = |args: &[String]| graphite(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let good = run(&args("e.csv"));
    assert_eq!(good, (0, "2 nodes and 1 edge are fine; nothing was loaded\n".to_owned(), String::new()));

    std::fs::write(path("bad.csv"), ":START_ID,:END_ID,:TYPE\n1,3,T\n1,2\n1,2,\n2,1,T\n").unwrap();
    let (code, out, err) = run(&args("bad.csv"));
    let bad = path("bad.csv");
    let expected = format!(
        "{bad}:2: column \":END_ID\": there is no node with the id \"3\"\n\
         {bad}:3: it has 2 fields, and the header 3\n\
         {bad}:4: column \":TYPE\": the edge has no type\n\
         graphite: 3 bad lines; 2 nodes and 1 edge are fine; nothing was loaded\n"
    );
    assert_eq!((code, out.as_str(), err), (1, "", expected));
}
