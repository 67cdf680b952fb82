//! The client of docs/protocol.md, run as it stands there against a daemon: what the page promises in a dozen lines
//! of Python works, and prints what the page says.
//!
//! Needs Python 3 with the package `msgpack`. The environment variable `GRAPHITE_TEST_PYTHON` names the interpreter,
//! `python3` if it is not set: for one in an environment of its own,
//!
//! ```text
//! python3 -m venv /tmp/venv && /tmp/venv/bin/pip install msgpack
//! GRAPHITE_TEST_PYTHON=/tmp/venv/bin/python cargo test -p graphite-tests --test python
//! ```
//!
//! On a machine that has none the test says so on standard error and does nothing. An interpreter that was named has
//! to work.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use graphite_client::{Direction, NodeId, Traversal, Value};
use graphite_tests::{Daemon, Scratch, run};

const PAGE: &str = include_str!("../../docs/protocol.md");

/// "About a dozen lines" is what the page promises of the client itself.
const CLIENT_LINES_MAX: usize = 16;

/// The code of a page's blocks in Python, and the text that follows each.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let cut = |part: &'static str| move |text: &&str| text.find(part);
    let starts = page.split("```python\n").skip(1);
    starts.map(|rest| rest.split_at(cut("```")(&rest).expect("a block ends"))).collect()
}

/// An interpreter that has the package, or why there is none.
fn python() -> Result<OsString, String> {
    let named = std::env::var_os("GRAPHITE_TEST_PYTHON");
    let program = named.clone().unwrap_or_else(|| "python3".into());
    let mut asked = Command::new(&program);
    let failure = match asked.args(["-c", "import msgpack"]).output() {
        Ok(output) if output.status.success() => return Ok(program),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let why = format!("{}: {failure}", Path::new(&program).display());
    assert!(named.is_none(), "GRAPHITE_TEST_PYTHON does not work: {why}");
    Err(why)
}

#[test]
fn the_page_has_one_client_of_about_a_dozen_lines() {
    let [(code, after)] = blocks(PAGE)[..] else { panic!("docs/protocol.md has another number of clients") };
    let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
    println!("{lines} lines");
    assert!(code.contains("def call(") && code.contains("def run("), "{code}");
    let client = code.split("call(\"hello\"").next().unwrap();
    assert!(client.lines().filter(|line| !line.trim().is_empty()).count() <= CLIENT_LINES_MAX, "{client}");
    assert!(after.contains("It prints `Ada knows Grace`"), "{after}");
}

#[test]
fn the_client_of_the_page_does_what_the_page_says() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            eprintln!(
                "SKIPPED: docs/protocol.md's client was not run, for want of Python with msgpack ({why})"
            );
            return;
        }
    };
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch.path("db"), &[]);
    let script = scratch.write("client.py", blocks(PAGE)[0].0);
    let ran = run(Command::new(python), &[&script, daemon.socket().to_str().unwrap()]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "Ada knows Grace\n", ""));

    // What it printed is in the database, and nothing else.
    let mut client = daemon.client();
    let people = client.run(Traversal::nodes_with("Person"), ()).unwrap().rows;
    let named = |name: &str| {
        let nodes = people.iter().map(|row| row[0].as_node().unwrap());
        let mut found = nodes.filter(|node| node.get("name") == Some(&Value::from(name)));
        NodeId(found.next().unwrap().id)
    };
    assert_eq!(client.neighbors(named("Ada"), Direction::Out, &["KNOWS"]).unwrap(), [named("Grace")]);
    let status = client.status().unwrap();
    assert_eq!((status.nodes, status.edges), (2, 1));
}
