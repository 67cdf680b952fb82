//! Power cuts at every operation of the disk, for all workloads: nothing that was acknowledged is ever lost.
//!
//! `GRAPHITE_CRASH_STATES` sets how many disks with different bytes are tried at least.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use graphite_tests::crash::{explore, replay};

/// Disks with different bytes that are tried, if nobody says otherwise.
const STATES: u64 = 100_000;

#[test]
fn whatever_a_power_cut_leaves_every_acknowledged_commit_is_there() {
    let states = std::env::var("GRAPHITE_CRASH_STATES").map_or(STATES, |number| number.parse().unwrap());
    let explored = explore(states);
    println!("{explored:?}");
    assert!(explored.kills * 5 > explored.operations, "{explored:?}: the process alone has to end, too");
}

/// Goes the trail that a failure printed.
#[test]
fn replay_of_one_trail() {
    let trail = std::env::var("GRAPHITE_CRASH_TRAIL").unwrap_or_else(|_| "hub.0/40:kill/3:lose".to_owned());
    replay(&trail).unwrap();
}
