//! One byte of a small database changes, or one of its files ends too early: in every place, one after another.
//!
//! With `GRAPHITE_DAMAGE=all` it is every byte and every length, and not only some; else it names the one to be tried.

use graphite_tests::crash::{Harm, Places, State, harm};

fn places() -> Places {
    match std::env::var("GRAPHITE_DAMAGE") {
        Ok(all) if all == "all" => Places::All,
        Ok(one) => Places::One(one),
        Err(_) => Places::Some,
    }
}

/// `None` if only one place was harmed, of which there is nothing more to say.
fn harm_all(state: State) -> Option<Harm> {
    let places = places();
    if let Places::One(name) = &places {
        if name.starts_with(&format!("{state:?}:")) {
            assert_eq!(harm(state, places.clone()).places, 1, "there is no such place");
        }
        return None;
    }
    let harm = harm(state, places);
    println!("{harm:?}");
    Some(harm)
}

#[test]
fn whatever_byte_of_a_closed_database_changes_is_found() {
    let Some(harm) = harm_all(State::Closed) else { return };
    assert!(harm.found > 1_000 && harm.refused > 0, "{harm:?}: this proves nothing");
    assert_eq!(harm.shortened, 0);
}

#[test]
fn whatever_byte_of_a_log_changes_is_found_but_in_its_last_group() {
    let Some(harm) = harm_all(State::Killed) else { return };
    assert!(harm.refused > 1_000 && harm.shortened > 0, "{harm:?}: this proves nothing");
}
