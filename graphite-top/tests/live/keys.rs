//! Keys: sorting, filtering, standing still, the last minutes, and the least screen.

use graphite_client::Client;
use graphite_client::messages::{Begin, Mode};

use crate::stage::{Stage, until};

/// Sessions by these names.
fn three(stage: &Stage) -> Vec<Client> {
    ["aardvark", "badger", "caribou"].map(|name| stage.client(name)).into()
}

/// Which of the sessions have lines, in the order of those.
fn order(screen: &str, clients: &[Client]) -> Vec<usize> {
    let rows =
        screen.lines().filter_map(|line| line.trim_start_matches([' ', '>']).split(' ').next()?.parse().ok());
    rows.filter_map(|row: u64| clients.iter().position(|client| client.server().session == row)).collect()
}

#[test]
fn rows_are_sorted_and_filtered() {
    let Some(stage) = Stage::new("rows") else { return };
    let clients = three(&stage);
    stage.watch("80", "24", "--interval 0.2");
    let sorted = |wanted: &[usize]| {
        let what = format!("the order is {wanted:?}");
        stage.shows_that(&what, |screen| order(screen, &clients) == wanted)
    };
    sorted(&[0, 1, 2]);
    // By the first column, largest first, and turned round.
    stage.keys(&["s"]);
    let screen = sorted(&[2, 1, 0]);
    assert!(screen.contains("SID▾"), "{screen}");
    stage.keys(&["S"]);
    let screen = sorted(&[0, 1, 2]);
    assert!(screen.contains("SID▴"), "{screen}");

    stage.keys(&["/", "client~bad", "Enter"]);
    stage.shows("filter: client~bad");
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
    let clients = three(&stage);
    stage.watch("120", "40", "--interval 0.2 --sort client --filter 'client!=badger'");
    stage.shows_that("two are there, the last first", |screen| order(screen, &clients) == [2, 0]);
}

/// Somebody comes while the screen stands still: the screen goes on not to show it, goes back to before the one who came
/// last, forward to it, and is live again.
#[test]
fn the_screen_stands_still_and_steps_through_the_last_minutes() {
    let Some(stage) = Stage::new("past") else { return };
    let mut both = vec![stage.client("aardvark")];
    stage.watch("80", "24", "--interval 0.1");
    stage.shows_that("the first is there", |screen| order(screen, &both) == [0]);
    stage.keys(&["p"]);
    stage.shows("PAUSED");
    both.push(stage.client("badger"));
    let second = &mut both[1];
    second.call(&Begin { mode: Mode::Write }).unwrap();
    // What came meanwhile is there when one steps.
    for _ in 0..20 {
        second.ping().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(order(&stage.screen(), &both), [0], "it stands still");
    stage.keys(&["]"; 3]);
    let screen = stage.shows_that("the second is there", |screen| order(screen, &both) == [0, 1]);
    assert!(screen.contains("PAST -"), "{screen}");
    until("the second is gone", || {
        stage.keys(&["["; 5]);
        (order(&stage.screen(), &both) == [0]).then_some(())
    });
    assert!(stage.screen().contains("PAST -"));
    stage.keys(&["]"; 40]);
    stage.shows_that("the second is there again", |screen| order(screen, &both) == [0, 1]);
    stage.keys(&["p"]);
    stage.shows("LIVE");
    stage.keys(&["q"]);
    stage.shows("ended 0 as before");
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
    // Any key closes the help; an Escape right before a letter would be that letter with Alt.
    stage.keys(&["x", "K"]);
    stage.shows("Kill session");
    stage.keys(&["n"]);
    stage.resize("59", "16");
    stage.shows("59x16 is too small: graphite-top needs 60x16");
    stage.resize("80", "24");
    stage.shows("STATEMENT");
    drop(first);
    assert!(waiter.join().unwrap());
}
