//! Recordings: what was watched is shown again, without the daemon.

use crate::stage::Stage;

#[test]
fn what_was_recorded_is_shown_again() {
    let Some(mut stage) = Stage::new("replay") else { return };
    let (session, waiter, first) = stage.block();
    let file = stage.dir.path().join("recording");
    stage.watch("80", "24", &format!("--view tree --interval 0.1 --record {}", file.display()));
    let screen = stage.shows("X node");
    assert!(screen.contains("REC"), "{screen}");
    drop(first);
    assert!(waiter.join().unwrap());
    stage.shows_that("nobody waits", |screen| !screen.contains("X node"));
    stage.keys(&["q"]);
    stage.shows("ended 0 as before");

    stage.daemon.process.0.kill().unwrap();
    stage.daemon.process.0.wait().unwrap();
    stage.tmux(&["kill-server"]);
    let program = env!("CARGO_BIN_EXE_graphite-top");
    stage.run("80", "24", &format!("{program} --view tree --replay {}", file.display()));
    stage.shows("the recording ends here");
    let back = || {
        stage.keys(&["["]);
        Some(stage.screen()).filter(|screen| screen.contains("X node"))
    };
    let screen = crate::stage::until("somebody waits", back);
    assert!(screen.contains(&format!("▼ {session}")) && screen.contains("PAST -"), "{screen}");
    // A recording is nothing that can be acted on.
    stage.keys(&["K"]);
    stage.shows("a recording cannot be acted on");
    stage.keys(&["q"]);
    stage.shows("ended 0 as before");
}

#[test]
fn what_is_no_recording_is_refused_before_the_terminal_is_taken() {
    let Some(stage) = Stage::new("none") else { return };
    let program = env!("CARGO_BIN_EXE_graphite-top");
    let letter = stage.dir.path().join("letter");
    std::fs::write(&letter, "Dear reader, this is no recording at all").unwrap();
    let both = format!(
        "{program} --replay {}; echo first ended $?; {program} --replay /nowhere/at/all",
        letter.display()
    );
    stage.run("120", "24", &both);
    let screen = stage.shows("first ended 65");
    assert!(screen.contains("it is no recording of graphite-top"), "{screen}");
    stage.shows("ended 66 as before");
}
