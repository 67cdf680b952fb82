//! The one door to time, so that tests own it.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Where time comes from.
pub trait Clock: Send + Sync + Debug {
    /// Time since some fixed moment; it never goes back. For timeouts and measurements.
    fn now(&self) -> Duration;
    /// The calendar's time, which may jump either way. For people.
    fn wall(&self) -> SystemTime;
}

/// The machine's clocks. `now` counts from when it was made.
#[derive(Clone, Copy, Debug)]
pub struct RealClock {
    start: Instant,
}

impl Default for RealClock {
    fn default() -> Self {
        RealClock { start: Instant::now() }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is moved by hand. A clone is the same clock.
#[derive(Clone, Debug)]
pub struct SimClock {
    times: Arc<Mutex<Times>>,
}

#[derive(Debug)]
struct Times {
    now: Duration,
    wall: SystemTime,
}

impl Default for SimClock {
    /// Starts at zero, and at the first second of 1970.
    fn default() -> Self {
        SimClock::starting_at(SystemTime::UNIX_EPOCH)
    }
}

impl SimClock {
    /// Starts at zero, and at this moment of the calendar.
    pub fn starting_at(wall: SystemTime) -> SimClock {
        SimClock { times: Arc::new(Mutex::new(Times { now: Duration::ZERO, wall })) }
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        let mut times = self.times();
        times.now += by;
        times.wall += by;
    }

    /// Lets the calendar jump, as when somebody sets the machine's clock; `now` stays.
    pub fn set_wall(&self, wall: SystemTime) {
        self.times().wall = wall;
    }

    /// Both times are set by single assignments, so a panic elsewhere left them whole.
    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        self.times().now
    }

    fn wall(&self) -> SystemTime {
        self.times().wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulated_clock_moves_by_hand_only() {
        let clock = SimClock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        let same = clock.clone();
        assert_eq!(clock.now(), Duration::ZERO);
        clock.advance(Duration::from_millis(1500));
        assert_eq!(same.now(), Duration::from_millis(1500));
        assert_eq!(same.wall(), SystemTime::UNIX_EPOCH + Duration::from_millis(101_500));
        same.set_wall(SystemTime::UNIX_EPOCH);
        assert_eq!(clock.wall(), SystemTime::UNIX_EPOCH);
        assert_eq!(clock.now(), Duration::from_millis(1500), "a jump of the calendar is no passing of time");
    }

    #[test]
    fn the_real_clock_does_not_go_back() {
        let clock = RealClock::default();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(clock.wall() > SystemTime::UNIX_EPOCH);
    }
}
