//! Who waits for whom, and what is done about it.

use std::thread;
use std::time::Duration;

use graphite_client::messages::{Begin, Commit, Mode};
use graphite_client::{Client, NodeId, props};

use crate::stage::Stage;

#[test]
fn a_blocked_session_is_seen_with_what_it_waits_for_and_whoever_is_in_the_way_is_killed() {
    let Some(stage) = Stage::new("block") else { return };
    let (session, waiter, _first) = stage.block();
    stage.watch("80", "24", "--view tree --interval 0.2");
    let screen = stage.shows("X node");
    assert!(screen.contains(&format!("▼ {session}")), "{screen}");
    // For docs/graphite-top.svg: see docs/pane_to_svg.py.
    if let Some(path) = std::env::var_os("GRAPHITE_TOP_PANE") {
        thread::sleep(Duration::from_secs(1));
        std::fs::write(path, stage.tmux(&["capture-pane", "-e", "-p"])).unwrap();
    }
    assert!(screen.contains("idle-tx") && screen.contains("wait"), "{screen}");
    for (key, text) in
        [("2", "[2 Locks]"), ("4", "[4 Deadlocks]"), ("5", "checkpoint"), ("6", "[6 Slow]"), ("1", "SID")]
    {
        stage.keys(&[key]);
        stage.shows(text);
    }
    stage.keys(&["3"]);
    stage.shows("[3 Tree]");
    stage.keys(&["K"]);
    let question = stage.shows(&format!("Kill session {session} "));
    assert!(question.contains("rolled back") && question.contains("1 session behind it"), "{question}");
    stage.keys(&["n"]);
    stage.shows("nothing was done");
    stage.keys(&["K"]);
    stage.shows(&format!("Kill session {session} "));
    stage.keys(&["y"]);
    stage.shows(&format!("session {session} was ended"));
    assert!(waiter.join().unwrap(), "whoever waited goes on");
    stage.keys(&["q"]);
    stage.shows("ended 0 as before");
}

#[test]
fn a_stale_screen_kills_nobody() {
    let Some(stage) = Stage::new("stale") else { return };
    let (session, waiter, mut first) = stage.block();
    stage.watch("80", "24", "--view tree --interval 0.2");
    stage.shows("X node");
    stage.keys(&["p"]);
    stage.shows("PAUSED");
    first.call(&Commit { token: None }).unwrap();
    first.call(&Begin { mode: Mode::Write }).unwrap();
    assert!(waiter.join().unwrap());
    stage.keys(&["K"]);
    stage.shows(&format!("Kill session {session} "));
    stage.keys(&["y"]);
    stage.shows("and not in transaction");
    first.ping().unwrap();
}

#[test]
fn a_wide_terminal_has_panes_beside_the_rows() {
    let Some(stage) = Stage::new("wide") else { return };
    let (session, waiter, first) = stage.block();
    stage.watch("120", "40", "--view tree --interval 0.2");
    let screen = stage.shows("X node");
    assert!(screen.contains(&format!("▼ {session}")) && screen.contains("Alerts"), "{screen}");
    drop(first);
    assert!(waiter.join().unwrap());
    stage.keys(&["q"]);
    stage.shows("ended 0 as before");
}

#[test]
fn a_blocked_statement_is_cancelled_and_the_one_in_its_way_goes_on() {
    let Some(stage) = Stage::new("cancel") else { return };
    let (_, waiter, mut first) = stage.block();
    stage.watch("80", "24", "--view tree --interval 0.2");
    stage.shows("X node");
    stage.keys(&["j", "c"]);
    let question = stage.shows("Cancel the statement of session");
    assert!(question.contains("\"api\"") && question.contains("costs: its statement"), "{question}");
    // Any other key is a no.
    stage.keys(&["j"]);
    stage.shows("nothing was done");
    stage.keys(&["c"]);
    stage.shows("Cancel the statement of session");
    stage.keys(&["y"]);
    stage.shows("was asked to stop");
    assert!(!waiter.join().unwrap(), "whoever waited gets an error");
    first.call(&Commit { token: None }).unwrap();
    stage.shows_that("nobody waits", |screen| !screen.contains("X node"));
}

#[test]
fn whoever_only_looks_is_not_asked() {
    let Some(stage) = Stage::new("looks") else { return };
    let (_, waiter, first) = stage.block();
    stage.watch("80", "24", "--view tree --interval 0.2 --read-only");
    stage.shows("X node");
    for key in ["c", "K"] {
        stage.keys(&[key]);
        stage.shows("started with --read-only");
    }
    drop(first);
    assert!(waiter.join().unwrap());
}

/// Two sessions hold a node each and want the other's, while the screen is there.
#[test]
fn a_deadlock_is_seen_with_its_circle() {
    let Some(stage) = Stage::new("deadlock") else { return };
    stage.watch("80", "24", "--view deadlocks --interval 0.2");
    stage.shows("nothing to show");
    let ((one, mut first), (other, second)) = (stage.holder("etl"), stage.holder("api"));
    let numbers = [first.server().session, second.server().session];
    let wants = |mut client: Client, node: NodeId| {
        thread::spawn(move || client.set_properties(node, props! { "name" => "Alan" }).is_ok())
    };
    let second = wants(second, one);
    let first_got_it = first.set_properties(other, props! { "name" => "Alan" }).is_ok();
    assert_ne!(first_got_it, second.join().unwrap(), "one of them is the victim");
    let circles = [[0, 1, 0], [1, 0, 1]].map(|circle| circle.map(|at| numbers[at].to_string()).join(" -> "));
    let has_circle = |screen: &str| circles.iter().any(|circle| screen.contains(circle.as_str()));
    let screen = stage.shows_that("the circle is there", has_circle);
    let victim = numbers[usize::from(first_got_it)];
    assert!(screen.contains(&format!("victim {victim}")), "{screen}");
    assert!(screen.contains("waited for U node") && screen.contains("(victim, rolled back)"), "{screen}");
    // In the other views it is in the line at the bottom, and counted above.
    stage.keys(&["1"]);
    let screen = stage
        .shows_that("sessions are shown", |screen| screen.contains("[1 Sessions]") && has_circle(screen));
    assert!(screen.contains("deadlk/h 1"), "{screen}");
}
