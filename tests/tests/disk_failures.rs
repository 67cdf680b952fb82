//! Every operation of the disk fails in turn: a typed error, no false acknowledgement, and a clean opening afterwards.
//!
//! `GRAPHITE_FAULT` is one failure alone, as a failure prints it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use graphite_tests::crash::{Failures, fail_everywhere, workloads};

#[test]
fn whatever_fails_is_told_and_nothing_acknowledged_is_lost() {
    let mut all = Failures::default();
    let each: Vec<(&str, Failures)> = std::thread::scope(|scope| {
        let threads: Vec<_> = workloads::all()
            .into_iter()
            .map(|workload| (workload.name, scope.spawn(move || fail_everywhere(workload))))
            .collect();
        threads.into_iter().map(|(name, thread)| (name, thread.join().unwrap())).collect()
    });
    for (name, failures) in each {
        println!("{name}: {failures:?}");
        all.runs += failures.runs;
        all.not_opened += failures.not_opened;
        all.openings_failed += failures.openings_failed;
        all.poisoned += failures.poisoned;
        all.refused += failures.refused;
        all.unnoticed += failures.unnoticed;
    }
    println!("{all:?}");
    if std::env::var("GRAPHITE_FAULT").is_ok() {
        return assert_eq!(all.runs, 1, "there is no such failure");
    }
    assert_eq!(all.unnoticed, 0, "{all:?}: a failure was swallowed");
    assert!(all.runs > 10_000 && all.openings_failed > 4_000, "{all:?}: the scripts shrank");
    assert!(all.not_opened > 0 && all.poisoned > 0 && all.refused > 0, "{all:?}: this proves nothing");
}
