//! Shows a recording again, at the pace at which it was made, or faster or slower.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use crate::connection::Order;
use crate::event::Event;
use crate::record::Replay;

/// Slowest and fastest, in percent of the pace of the recording.
pub const SPEED_PERCENT: (u32, u32) = (25, 3200);
/// The longest pause between two pictures, for the daemon may have been away for hours.
const GAP_MAX: Duration = Duration::from_secs(5);

/// How long the second of two pictures is waited for, by their moments in milliseconds since 1970.
fn gap(before_ms: u64, at_ms: u64, percent: u32) -> Duration {
    let recorded = Duration::from_millis(at_ms.saturating_sub(before_ms)).min(GAP_MAX);
    recorded * 100 / percent.max(1)
}

/// Sends one picture after the other until the recording ends, or the screen is gone.
pub fn play(mut replay: Replay, orders: &Receiver<Order>, events: &SyncSender<Event>) {
    let (mut percent, mut before) = (100, None);
    loop {
        let event = match replay.next_picture() {
            Ok(Some(picture)) => {
                let at_ms = picture.at_ms;
                if wait(before.unwrap_or(at_ms), at_ms, &mut percent, orders).is_none() {
                    return;
                }
                before = Some(at_ms);
                Event::Picture(Box::new(picture))
            }
            Ok(None) => Event::End,
            Err(error) => Event::Done(error.to_string()),
        };
        let ends = !matches!(event, Event::Picture(_));
        if events.send(event).is_err() || ends {
            return;
        }
    }
}

/// Waits as long as it takes, with pauses of the operator's; `None` if the screen is gone.
fn wait(before_ms: u64, at_ms: u64, percent: &mut u32, orders: &Receiver<Order>) -> Option<()> {
    let began = Instant::now();
    let mut is_held = false;
    loop {
        let due = gap(before_ms, at_ms, *percent).saturating_sub(began.elapsed());
        let order = if is_held {
            orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            orders.recv_timeout(due)
        };
        match order {
            Err(RecvTimeoutError::Timeout) => return Some(()),
            Err(RecvTimeoutError::Disconnected) => return None,
            Ok(Order::Speed(speed)) => *percent = speed,
            Ok(Order::Hold(hold)) => is_held = hold,
            // A recording cannot be acted on, nor asked more often.
            Ok(Order::Every(_) | Order::Act(..)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_recording_times_the_speed() {
        assert_eq!(gap(1000, 3000, 100), Duration::from_secs(2));
        assert_eq!(gap(1000, 3000, 400), Duration::from_millis(500));
        assert_eq!(gap(1000, 3000, 25), Duration::from_secs(8));
        assert_eq!(gap(0, u64::MAX, 100), GAP_MAX);
        assert_eq!(gap(3000, 1000, 100), Duration::ZERO, "a clock that was set back");
    }
}
