//! The monitor's command line where no daemon is needed. (That this file is here also makes `cargo test` build the
//! program, which the tests across crates run against real daemons.)
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

fn graphite_top() -> Command {
    Command::new(env!("CARGO_BIN_EXE_graphite-top"))
}

#[test]
fn help_names_the_exit_codes() {
    let ran = graphite_top().arg("--help").output().unwrap();
    assert!(ran.status.success());
    assert!(String::from_utf8(ran.stdout).unwrap().contains("3 no connection"));
}

#[test]
fn where_no_daemon_runs_it_says_so_in_one_line() {
    let ran = graphite_top().args(["--socket", "/nowhere/at/all.sock"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(3));
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("/nowhere/at/all.sock"), "{said}");
    assert!(ran.stdout.is_empty());
}

#[test]
fn what_would_be_ignored_is_refused() {
    for ignored in [["--filter", "user=bob"], ["--sort", "wait"]] {
        let ran = graphite_top().args(["--once", "--format", "json"]).args(ignored).output().unwrap();
        assert_eq!(ran.status.code(), Some(2));
        assert!(String::from_utf8(ran.stderr).unwrap().contains("--format csv"));
    }
    let ran = graphite_top().args(["--replay", "x", "--interval", "2"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
}
