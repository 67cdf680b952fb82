//! One byte of a small database changes, or one of its files ends too early: in every place, one after another.
//!
//! With `GRAPHITE_DAMAGE=all` it is every byte and every length, and not only some.

use graphite_tests::crash::{Harm, Places, State, harm};

fn places() -> Places {
    if std::env::var("GRAPHITE_DAMAGE").is_ok_and(|which| which == "all") {
        Places::All
    } else {
        Places::Some
    }
}

#[test]
fn whatever_byte_of_a_closed_database_changes_is_found() {
    let harm = harm(State::Closed, places());
    println!("{harm:?}");
    assert!(harm.found > 1_000 && harm.refused > 0, "{harm:?}: this proves nothing");
    assert_eq!(harm.shortened, 0);
}

#[test]
fn whatever_byte_of_a_log_changes_is_found_but_in_its_last_group() {
    let harm: Harm = harm(State::Killed, places());
    println!("{harm:?}");
    assert!(harm.refused > 1_000 && harm.shortened > 0, "{harm:?}: this proves nothing");
}
