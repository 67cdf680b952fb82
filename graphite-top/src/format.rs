//! How numbers are written so that they fit a column: spans of time, bytes, counts.

use std::time::{Duration, Instant};

/// A span of time in at most seven columns: `0.3s`, `41.2s`, `12m03`, `3h07`, `3d04h`.
pub fn span(ms: u64) -> String {
    let (seconds, minutes) = (ms / 1000, ms / 60_000);
    match ms {
        0..100_000 => format!("{}.{}s", seconds, ms % 1000 / 100),
        _ if minutes < 60 => format!("{minutes}m{:02}", seconds % 60),
        _ if minutes < 1440 => format!("{}h{:02}", minutes / 60, minutes % 60),
        _ => format!("{}d{:02}h", minutes / 1440, minutes / 60 % 24),
    }
}

/// How long something has been so, as [`span`].
pub fn age(since: Instant) -> String {
    lasting(since.elapsed())
}

/// A duration, as [`span`].
pub fn lasting(time: Duration) -> String {
    span(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// A span of microseconds: `85us`, `1.2ms`, `41.2s`.
pub fn micros(us: u64) -> String {
    match us {
        0..1000 => format!("{us}us"),
        1000..100_000 => format!("{}.{}ms", us / 1000, us % 1000 / 100),
        100_000..1_000_000 => format!("{}ms", us / 1000),
        _ => span(us / 1000),
    }
}

/// Three digits and a unit, each a thousand times the one before.
fn scaled(number: u64, units: &[&str], step: u64) -> String {
    let mut scale = 1;
    let mut unit = 0;
    while number / scale >= step.min(1000) && unit + 1 < units.len() {
        scale *= step;
        unit += 1;
    }
    let tenths = u128::from(number) * 10 / u128::from(scale);
    if unit == 0 || tenths >= 100 {
        format!("{}{}", tenths / 10, units[unit])
    } else {
        format!("{}.{}{}", tenths / 10, tenths % 10, units[unit])
    }
}

/// Bytes, in powers of 1024: `980B`, `1.2K`, `212M`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes, &["B", "K", "M", "G", "T", "P"], 1024)
}

/// A count, in powers of 1000: `318`, `1.8k`, `12M`.
pub fn count(number: u64) -> String {
    scaled(number, &["", "k", "M", "G", "T"], 1000)
}

/// A rate per second; below ten with one decimal.
pub fn rate(per_second: f64) -> String {
    if per_second < 9.95 {
        return format!("{per_second:.1}");
    }
    // A rate is finite and not negative, and what does not fit is cut off at the largest.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, as is wanted")]
    count(per_second.round() as u64)
}

/// A count with its noun, which gets an "s" unless it is one.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A share as a percentage; 0 of 0 is 0.
pub fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { (u128::from(part) * 100 / u128::from(whole)).min(100) as u64 }
}

/// The time of day, in UTC: a terminal's zone is not that of whoever reads the log.
pub fn clock(at_ms: u64) -> String {
    let seconds = at_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let shown = [0, 350, 41_200, 99_999, 100_000, 723_000, 11_220_000, 273_600_000].map(span);
        assert_eq!(shown, ["0.0s", "0.3s", "41.2s", "99.9s", "1m40", "12m03", "3h07", "3d04h"]);
        assert_eq!([85, 1250, 140_000, 2_000_000].map(micros), ["85us", "1.2ms", "140ms", "2.0s"]);
    }

    #[test]
    fn bytes_and_counts_have_three_digits() {
        let shown = [0, 980, 1000, 1234, 222_298_112, 1 << 40, u64::MAX].map(bytes);
        assert_eq!(shown, ["0B", "980B", "0.9K", "1.2K", "212M", "1.0T", "16383P"]);
        assert_eq!([7, 999, 1000, 1840, 12_345_678].map(count), ["7", "999", "1.0k", "1.8k", "12M"]);
        assert_eq!([0.0, 9.94, 10.4, 1840.0].map(rate), ["0.0", "9.9", "10", "1.8k"]);
        assert_eq!(counted(1, "lock") + &counted(2, " node"), "1 lock2  nodes");
    }

    #[test]
    fn shares_and_clocks() {
        assert_eq!([percent(0, 0), percent(1, 3), percent(5, 3)], [0, 33, 100]);
        assert_eq!(clock(1_700_000_000_000), "22:13:20Z");
    }
}
