//! Keys: sorting, filtering, standing still, the last minutes, and the least screen.

use graphite_client::messages::{Begin, Mode};

use crate::stage::Stage;

/// Numbers of the sessions in the order of their lines.
fn order(screen: &str, clients: &[&str]) -> Vec<usize> {
    // The client's name stands between others, and again below, where it is quoted.
    let has = |line: &str, name: &str| line.contains(&format!(" {name} "));
    screen.lines().filter_map(|line| clients.iter().position(|name| has(line, name))).collect()
}

#[test]
fn rows_are_sorted_and_filtered() {
    let Some(stage) = Stage::new("rows") else { return };
    let names = ["ant", "bee", "cow"];
    let _clients: Vec<_> = names.iter().map(|name| stage.client(name)).collect();
    stage.watch("80", "24", "--interval 0.2");
    let sorted = |wanted: &[usize]| {
        let what = format!("the order is {wanted:?}");
        stage.shows_that(&what, |screen| order(screen, &names) == wanted)
    };
    sorted(&[0, 1, 2]);
    // By the first column, largest first, and turned round.
    stage.keys(&["s"]);
    let screen = sorted(&[2, 1, 0]);
    assert!(screen.contains("SID▾"), "{screen}");
    stage.keys(&["S"]);
    let screen = sorted(&[0, 1, 2]);
    assert!(screen.contains("SID▴"), "{screen}");

    stage.keys(&["/", "client~e", "Enter"]);
    stage.shows("filter: client~e");
    sorted(&[1]);
    stage.keys(&["/", " and colour=red", "Enter"]);
    stage.shows("no column `colour` here");
    stage.keys(&["Escape"]);
    sorted(&[1]);
    stage.keys(&["/", "C-u", "Enter"]);
    stage.shows("filter: none");
    sorted(&[0, 1, 2]);
    stage.keys(&["q"]);
    stage.shows("ended 0 as before");
}

#[test]
fn order_and_filter_may_be_set_at_the_start() {
    let Some(stage) = Stage::new("start") else { return };
    let names = ["ant", "bee", "cow"];
    let _clients: Vec<_> = names.iter().map(|name| stage.client(name)).collect();
    stage.watch("120", "40", "--interval 0.2 --sort client --filter 'client!=bee'");
    stage.shows_that("two are there, the last first", |screen| order(screen, &names) == [2, 0]);
}

/// Somebody comes while the screen stands still: the screen goes on not to show it, goes back to before the one who came
/// last, forward to it, and is live again.
#[test]
fn the_screen_stands_still_and_steps_through_the_last_minutes() {
    let Some(stage) = Stage::new("past") else { return };
    let _first = stage.client("ant");
    stage.watch("80", "24", "--interval 0.1");
    stage.shows("ant");
    stage.keys(&["p"]);
    stage.shows("PAUSED");
    let mut second = stage.client("bee");
    second.call(&Begin { mode: Mode::Write }).unwrap();
    // What came meanwhile is there when one steps.
    for _ in 0..20 {
        second.ping().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!stage.screen().contains("bee"), "it stands still");
    }
    stage.keys(&["]"]);
    let screen = stage.shows("bee");
    assert!(screen.contains("PAST -"), "{screen}");
    let back = |steps: usize| stage.keys(&vec!["["; steps]);
    until_gone(&stage, "bee", || back(5));
    let screen = stage.screen();
    assert!(screen.contains("PAST -") && screen.contains("ant"), "{screen}");
    stage.keys(&["]"; 40]);
    stage.shows("bee");
    stage.keys(&["p"]);
    stage.shows("LIVE");
    stage.keys(&["q"]);
    stage.shows("ended 0 as before");
}

fn until_gone(stage: &Stage, text: &str, again: impl Fn()) {
    crate::stage::until(&format!("{text} is gone"), || {
        again();
        (!stage.screen().contains(text)).then_some(())
    });
}

#[test]
fn the_least_screen_has_all_views_and_a_smaller_one_says_so() {
    let Some(stage) = Stage::new("least") else { return };
    let (session, waiter, first) = stage.block();
    stage.watch("60", "16", "--view tree --interval 0.2");
    let screen = stage.shows("X node");
    assert!(screen.contains(&format!("▼ {session}")) && screen.contains("LIVE"), "{screen}");
    let views = [("1", "[1 Sessions]"), ("2", "[2 Locks]"), ("4", "[4 Deadlocks]"), ("5", "[5 Storage]")];
    for (key, text) in views.into_iter().chain([("6", "[6 Slow]"), ("3", "[3 Tree]")]) {
        stage.keys(&[key]);
        let screen = stage.shows(text);
        assert!(screen.lines().all(|line| line.chars().count() <= 60), "{screen}");
    }
    stage.keys(&["?"]);
    let help = stage.shows("cancel statement");
    assert!(help.contains("quit") && help.contains("filter"), "{help}");
    // One after the other, for together they would be one key with Alt.
    stage.keys(&["Escape"]);
    stage.shows_that("the help is gone", |screen| !screen.contains("cancel statement"));
    stage.keys(&["K"]);
    stage.shows("Kill session");
    stage.keys(&["n"]);
    stage.resize("59", "16");
    stage.shows("59x16 is too small: graphite-top needs 60x16");
    stage.resize("80", "24");
    stage.shows("STATEMENT");
    drop(first);
    assert!(waiter.join().unwrap());
}
