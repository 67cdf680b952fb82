//! The last minutes, encoded, within a budget of memory.
//!
//! A picture of thousands of sessions takes megabytes, so of such only what is worth remembering is kept: who waits or
//! stands in somebody's way. Past the budget every second picture of the older half goes: what is long ago is remembered
//! in larger steps, and not forgotten at once.

use graphite_client::messages::{Picture, Session, SessionState};
use rustc_hash::FxHashSet;

use crate::record;

/// Bytes that the last minutes may take.
pub const HISTORY_BYTES_MAX: usize = 12 << 20;
/// Pictures that are remembered: half an hour of one a second.
pub const HISTORY_PICTURES_MAX: usize = 1800;
/// A picture with more sessions and locks than this is kept in part.
const ROWS_MAX: usize = 1000;

/// Pictures, oldest first.
#[derive(Debug, Default)]
pub struct History {
    /// With their numbers, by which they are found though others go.
    frames: Vec<(u64, Box<[u8]>)>,
    bytes: usize,
    last: u64,
}

impl History {
    /// Remembers a picture.
    pub fn add(&mut self, picture: &Picture) {
        let is_large = picture.sessions.len() + picture.locks.len() > ROWS_MAX;
        let thinned = if is_large { record::encoded(&thinned(picture)) } else { record::encoded(picture) };
        let Some(frame) = thinned else { return };
        self.bytes += frame.len();
        self.last += 1;
        self.frames.push((self.last, frame.into_boxed_slice()));
        while self.bytes > HISTORY_BYTES_MAX || self.frames.len() > HISTORY_PICTURES_MAX {
            self.thin_out();
        }
    }

    fn thin_out(&mut self) {
        let half = self.frames.len() / 2 + 1;
        let mut at = 0;
        self.frames.retain(|_| {
            at += 1;
            at > half || at % 2 == 0
        });
        self.bytes = self.frames.iter().map(|(_, frame)| frame.len()).sum();
    }

    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// A picture by its place.
    pub fn get(&self, at: usize) -> Option<Picture> {
        self.frames.get(at).and_then(|(_, frame)| record::decoded(frame))
    }

    /// The number of the picture at a place, which it keeps.
    pub fn number(&self, at: usize) -> Option<u64> {
        self.frames.get(at).map(|(number, _)| *number)
    }

    /// The place of the picture of that number; if it has gone, of the next that has not.
    pub fn place(&self, number: u64) -> usize {
        self.frames.partition_point(|(other, _)| *other < number)
    }
}

fn thinned(picture: &Picture) -> Picture {
    let waiting = |state| state == SessionState::Waiting;
    let blockers: FxHashSet<u64> =
        picture.sessions.iter().flat_map(|row| row.blocked_by.iter().copied()).collect();
    let mut sessions: Vec<&Session> =
        picture.sessions.iter().filter(|row| waiting(row.state) || blockers.contains(&row.session)).collect();
    // Whoever stands in the way is what one looks for afterwards.
    sessions.sort_by_key(|row| !blockers.contains(&row.session));
    let names: FxHashSet<&str> =
        picture.locks.iter().filter(|lock| !lock.granted).map(|lock| lock.name.as_str()).collect();
    let locks = picture.locks.iter().filter(|lock| names.contains(lock.name.as_str()));
    Picture {
        at_ms: picture.at_ms,
        took_us: picture.took_us,
        status: picture.status.clone(),
        sessions: sessions.into_iter().take(ROWS_MAX).cloned().collect(),
        writers: Vec::new(),
        locks: locks.take(ROWS_MAX).cloned().collect(),
        locks_held: picture.locks_held,
        locks_awaited: picture.locks_awaited,
        deadlocks: picture.deadlocks.clone(),
        storage: picture.storage.clone(),
        compaction: picture.compaction,
        slow_statements: picture.slow_statements.clone(),
        counters: picture.counters,
        timeouts: picture.timeouts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_last_minutes_keep_within_their_budget_and_the_newest_is_there() {
        let mut history = History::default();
        let mut picture = samples::large(5000, 10_000).picture;
        for at in 0..200 {
            picture.at_ms = at;
            history.add(&picture);
            assert!(history.bytes <= HISTORY_BYTES_MAX);
        }
        assert!(history.len() > 10);
        let newest = history.get(history.len() - 1).unwrap();
        assert_eq!(newest.at_ms, 199);
        assert!(newest.sessions.len() <= ROWS_MAX && !newest.sessions.is_empty());
    }

    #[test]
    fn whoever_is_in_the_way_of_thousands_is_remembered() {
        let mut picture = samples::quiet().picture;
        let waiter = |number| samples::session(number, "u", "c", SessionState::Waiting, &[9_999]);
        picture.sessions = (1..2_000).map(waiter).collect();
        picture.sessions.push(samples::session(9_999, "u", "c", SessionState::IdleInTransaction, &[]));
        let kept = thinned(&picture).sessions;
        assert!(kept.len() == ROWS_MAX && kept.iter().any(|row| row.session == 9_999));
    }

    #[test]
    fn a_picture_is_found_again_though_older_ones_went() {
        let mut history = History::default();
        let mut picture = samples::quiet().picture;
        let mut add = |history: &mut History, at| {
            picture.at_ms = at;
            history.add(&picture);
        };
        (0..HISTORY_PICTURES_MAX as u64).for_each(|at| add(&mut history, at));
        let place = HISTORY_PICTURES_MAX - 10;
        let number = history.number(place).unwrap();
        let at = history.get(place).unwrap().at_ms;
        add(&mut history, 1 << 40);
        assert!(history.len() < HISTORY_PICTURES_MAX && history.place(number) != place);
        assert_eq!(history.get(history.place(number)).unwrap().at_ms, at);
        assert_eq!(history.get(history.place(1)).map(|oldest| oldest.at_ms), history.get(0).map(|o| o.at_ms));
    }
}
