//! The temporal types as ISO 8601 text, and back: what is shown, exported and imported.
//!
//! 1. What is shown is read back as the same value: every nanosecond, every year that 64 bits of days or seconds
//!    reach, offsets with seconds, and durations whose parts have different signs.
//! 2. A year outside 0000 to 9999 has a sign, as the standard asks.
//! 3. No calendar but the proleptic Gregorian one, and no database of time zones: a zone is a name beside an offset.

use graphite_protocol::temporal::{
    Date, DateTime, Duration, LocalDateTime, LocalTime, NANOSECONDS_PER_DAY, NANOSECONDS_PER_SECOND,
    OFFSET_SECONDS_MAX, Time,
};

const SECONDS_PER_DAY: i64 = 86_400;
const NANOSECONDS: i128 = NANOSECONDS_PER_SECOND as i128;
/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: i128 = 146_097;
/// Days from 0000-03-01, where eras begin, to 1970-01-01.
const EPOCH_DAYS: i128 = 719_468;

/// Year, month and day. Years begin in March here, so that the leap day is the last of its year (the method of
/// Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i128, u8, u8) {
    let days = i128::from(days) + EPOCH_DAYS;
    let era = days.div_euclid(ERA_DAYS);
    let of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    (year, u8::try_from(month).unwrap_or(0), u8::try_from(day).unwrap_or(0))
}

fn days_of(year: i128, month: u8, day: u8) -> Option<i64> {
    let year = year - i128::from(month <= 2);
    let year_of_era = year.rem_euclid(400);
    let march_month = i128::from((month + 9) % 12);
    let of_year = (153 * march_month + 2) / 5 + i128::from(day) - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    i64::try_from(year.div_euclid(400) * ERA_DAYS + of_era - EPOCH_DAYS).ok()
}

fn show_fraction(nanoseconds: u64) -> String {
    if nanoseconds == 0 {
        return String::new();
    }
    let digits = format!("{nanoseconds:09}");
    format!(".{}", digits.trim_end_matches('0'))
}

fn show_offset(seconds: i32) -> String {
    if seconds == 0 {
        return "Z".to_owned();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.unsigned_abs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let tail = if rest == 0 { String::new() } else { format!(":{rest:02}") };
    format!("{sign}{hours:02}:{minutes:02}{tail}")
}

/// `2024-02-29`
pub fn show_date(date: Date) -> String {
    let (year, month, day) = civil(date.days);
    if (0..=9999).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:+05}-{month:02}-{day:02}")
    }
}

/// `12:30:00.5`
pub fn show_local_time(time: LocalTime) -> String {
    let seconds = time.nanoseconds / u64::from(NANOSECONDS_PER_SECOND);
    let fraction = show_fraction(time.nanoseconds % u64::from(NANOSECONDS_PER_SECOND));
    format!("{:02}:{:02}:{:02}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `12:30:00+01:00`
pub fn show_time(time: Time) -> String {
    let local = show_local_time(LocalTime { nanoseconds: time.nanoseconds });
    local + &show_offset(time.offset_seconds)
}

/// Seconds since 1970 may lie, with an offset, a little past 64 bits; the day does not.
fn show_seconds(seconds: i128, nanoseconds: u32) -> String {
    let per_day = i128::from(SECONDS_PER_DAY);
    let days = i64::try_from(seconds.div_euclid(per_day)).unwrap_or(i64::MAX);
    let of_day = u64::try_from(seconds.rem_euclid(per_day)).unwrap_or(0);
    let nanoseconds = of_day * u64::from(NANOSECONDS_PER_SECOND) + u64::from(nanoseconds);
    format!("{}T{}", show_date(Date { days }), show_local_time(LocalTime { nanoseconds }))
}

/// `2024-02-29T12:30:00`
pub fn show_local_date_time(time: LocalDateTime) -> String {
    show_seconds(time.seconds.into(), time.nanoseconds)
}

/// `2024-02-29T12:30:00+01:00[Europe/Berlin]`
pub fn show_date_time(time: &DateTime) -> String {
    let local = i128::from(time.seconds) + i128::from(time.offset_seconds);
    let mut shown = show_seconds(local, time.nanoseconds) + &show_offset(time.offset_seconds);
    if let Some(zone) = &time.zone {
        shown += &format!("[{zone}]");
    }
    shown
}

/// `P1Y2M3DT4H5M6.7S`, where each part has its own sign.
pub fn show_duration(duration: &Duration) -> String {
    let total = i128::from(duration.seconds) * NANOSECONDS + i128::from(duration.nanoseconds);
    let mut shown = "P".to_owned();
    let mut part = |amount: i128, unit: &str| {
        if amount != 0 {
            shown += &format!("{amount}{unit}");
        }
    };
    part(i128::from(duration.months / 12), "Y");
    part(i128::from(duration.months % 12), "M");
    part(duration.days.into(), "D");
    if total != 0 || shown == "P" {
        shown.push('T');
    }
    let seconds = total / NANOSECONDS;
    let mut part = |amount: i128, unit: &str| {
        if amount != 0 {
            shown += &format!("{amount}{unit}");
        }
    };
    part(seconds / 3600, "H");
    part(seconds / 60 % 60, "M");
    let (seconds, fraction) = (seconds % 60, total % NANOSECONDS);
    if seconds != 0 || fraction != 0 {
        let sign = if total < 0 { "-" } else { "" };
        let fraction = show_fraction(u64::try_from(fraction.unsigned_abs()).unwrap_or(0));
        shown += &format!("{sign}{}{fraction}S", seconds.abs());
    }
    if shown.ends_with('T') {
        shown += "0S";
    }
    shown
}

/// Takes digits from the front: at least `min`, at most `max`.
fn digits(text: &mut &str, min: usize, max: usize) -> Option<i128> {
    let len = text.bytes().take(max).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(len);
    *text = rest;
    if len < min { None } else { number.parse().ok() }
}

fn take(text: &mut &str, c: char) -> bool {
    text.strip_prefix(c).map(|rest| *text = rest).is_some()
}

/// Nanoseconds after a point, if there is one: one to nine digits.
fn fraction(text: &mut &str) -> Option<u32> {
    if !take(text, '.') && !take(text, ',') {
        return Some(0);
    }
    let before = text.len();
    let number = u32::try_from(digits(text, 1, 9)?).ok()?;
    let len = u32::try_from(before - text.len()).ok()?;
    number.checked_mul(10u32.checked_pow(9u32.checked_sub(len)?)?)
}

fn date(text: &mut &str) -> Option<Date> {
    let sign = if take(text, '-') {
        Some(-1)
    } else if take(text, '+') {
        Some(1)
    } else {
        None
    };
    // Without a sign a year has four digits, so that 20240229 cannot be taken for a year.
    let year = digits(text, 4, if sign.is_some() { 18 } else { 4 })? * sign.unwrap_or(1);
    let dashes = take(text, '-');
    let month = u8::try_from(digits(text, 2, 2)?).ok()?;
    if dashes && !take(text, '-') {
        return None;
    }
    let day = u8::try_from(digits(text, 2, 2)?).ok()?;
    let days = days_of(year, month, day)?;
    // A day that the month does not have would come out as another.
    (civil(days) == (year, month, day)).then_some(Date { days })
}

fn local_time(text: &mut &str) -> Option<LocalTime> {
    let hours = digits(text, 2, 2).filter(|hours| *hours < 24)?;
    let colons = take(text, ':');
    let minutes = digits(text, 2, 2).filter(|minutes| *minutes < 60)?;
    let mut nanoseconds = (hours * 3600 + minutes * 60) * NANOSECONDS;
    let more = if colons { take(text, ':') } else { text.starts_with(|c: char| c.is_ascii_digit()) };
    if more {
        let seconds = digits(text, 2, 2).filter(|seconds| *seconds < 60)?;
        nanoseconds += seconds * NANOSECONDS + i128::from(fraction(text)?);
    }
    u64::try_from(nanoseconds)
        .ok()
        .filter(|n| *n < NANOSECONDS_PER_DAY)
        .map(|nanoseconds| LocalTime { nanoseconds })
}

fn offset(text: &mut &str) -> Option<i32> {
    if take(text, 'Z') || take(text, 'z') {
        return Some(0);
    }
    let sign = if take(text, '-') {
        -1
    } else if take(text, '+') {
        1
    } else {
        return None;
    };
    let mut seconds = digits(text, 2, 2)? * 3600;
    for unit in [60, 1] {
        let colon = take(text, ':');
        if colon || text.starts_with(|c: char| c.is_ascii_digit()) {
            seconds += digits(text, 2, 2).filter(|part| *part < 60)? * unit;
        }
    }
    i32::try_from(seconds * sign).ok().filter(|seconds| seconds.abs() <= OFFSET_SECONDS_MAX)
}

fn local_date_time(text: &mut &str) -> Option<(i128, u32)> {
    let date = date(text)?;
    if !(take(text, 'T') || take(text, 't') || take(text, ' ')) {
        return None;
    }
    let time = local_time(text)?;
    let per_second = u64::from(NANOSECONDS_PER_SECOND);
    let seconds =
        i128::from(date.days) * i128::from(SECONDS_PER_DAY) + i128::from(time.nanoseconds / per_second);
    Some((seconds, u32::try_from(time.nanoseconds % per_second).ok()?))
}

fn whole<T>(text: &str, part: impl FnOnce(&mut &str) -> Option<T>) -> Option<T> {
    let mut rest = text;
    part(&mut rest).filter(|_| rest.is_empty())
}

/// Reads `2024-02-29` or `20240229`.
pub fn parse_date(text: &str) -> Option<Date> {
    whole(text, date)
}

/// Reads `12:30`, `12:30:00`, `12:30:00.5`, with or without colons.
pub fn parse_local_time(text: &str) -> Option<LocalTime> {
    whole(text, local_time)
}

/// Reads a time of day with an offset: `Z`, `+01`, `+01:00`, `+0100`, `+01:00:00`.
pub fn parse_time(text: &str) -> Option<Time> {
    whole(text, |rest| {
        let LocalTime { nanoseconds } = local_time(rest)?;
        Some(Time { nanoseconds, offset_seconds: offset(rest)? })
    })
}

/// Reads a date and a time of day with `T` or a space between them.
pub fn parse_local_date_time(text: &str) -> Option<LocalDateTime> {
    let (seconds, nanoseconds) = whole(text, local_date_time)?;
    Some(LocalDateTime { seconds: i64::try_from(seconds).ok()?, nanoseconds })
}

/// Reads a date and time with an offset, and perhaps a zone in brackets behind it. Without an offset it is UTC,
/// unless there is a zone, whose offset is not known here.
pub fn parse_date_time(text: &str) -> Option<DateTime> {
    let (body, zone) = match text.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        Some((body, zone)) => (body, Some(zone.to_owned())),
        None => (text, None),
    };
    whole(body, |rest| {
        let (local, nanoseconds) = local_date_time(rest)?;
        let offset_seconds = if rest.is_empty() && zone.is_none() { 0 } else { offset(rest)? };
        let seconds = i64::try_from(local - i128::from(offset_seconds)).ok()?;
        Some(DateTime { seconds, nanoseconds, offset_seconds, zone })
    })
}

/// Reads `P1Y2M3W4DT5H6M7.8S`, any parts left out, each with its own sign.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (text, sign) = text.strip_prefix('-').map_or((text, 1), |rest| (rest, -1));
    let mut rest = text.strip_prefix('P')?;
    let (mut months, mut days, mut nanoseconds) = (0i128, 0i128, 0i128);
    let mut in_time = false;
    let mut parts = 0;
    while !rest.is_empty() {
        if !in_time && take(&mut rest, 'T') {
            in_time = true;
            continue;
        }
        let sign = sign * if take(&mut rest, '-') { -1 } else { 1 };
        let amount = digits(&mut rest, 1, 20)? * sign;
        let fraction = i128::from(fraction(&mut rest)?) * sign;
        let unit = rest.chars().next()?;
        take(&mut rest, unit);
        if fraction != 0 && !(in_time && unit == 'S') {
            return None;
        }
        match (in_time, unit) {
            (false, 'Y') => months += amount * 12,
            (false, 'M') => months += amount,
            (false, 'W') => days += amount * 7,
            (false, 'D') => days += amount,
            (true, 'H') => nanoseconds += amount * 3600 * NANOSECONDS,
            (true, 'M') => nanoseconds += amount * 60 * NANOSECONDS,
            (true, 'S') => nanoseconds += amount * NANOSECONDS + fraction,
            _ => return None,
        }
        parts += 1;
    }
    if parts == 0 {
        return None;
    }
    Some(Duration {
        months: i64::try_from(months).ok()?,
        days: i64::try_from(days).ok()?,
        seconds: i64::try_from(nanoseconds.div_euclid(NANOSECONDS)).ok()?,
        nanoseconds: u32::try_from(nanoseconds.rem_euclid(NANOSECONDS)).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_days() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (19_782, "2024-02-29"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "+10000-01-01"),
        ] {
            assert_eq!(show_date(Date { days }), text);
            assert_eq!(parse_date(text), Some(Date { days }), "{text}");
        }
        assert_eq!(parse_date("20240229"), parse_date("2024-02-29"));
        for wrong in [
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "2024-01-32",
            "24-01-01",
            "2024-1-1",
            "",
            "2024-01-01x",
        ] {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn known_times() {
        assert_eq!(show_local_time(LocalTime { nanoseconds: 45_000_500_000_000 }), "12:30:00.5");
        assert_eq!(parse_local_time("12:30"), parse_local_time("12:30:00"));
        assert_eq!(parse_local_time("1230"), parse_local_time("123000"));
        for wrong in ["24:00", "12:60", "12:30:60", "1:30", "12:30:00.", "12:30:00.1234567890", "12"] {
            assert_eq!(parse_local_time(wrong), None, "{wrong}");
        }
        for (text, offset_seconds) in
            [("12:30Z", 0), ("12:30+01", 3600), ("12:30-0130", -5400), ("12:30+18:00", 64_800)]
        {
            assert_eq!(parse_time(text).map(|time| time.offset_seconds), Some(offset_seconds), "{text}");
        }
        assert_eq!(parse_time("12:30+18:01"), None);
        assert_eq!(parse_time("12:30"), None);
        let instant = parse_date_time("2024-02-29T12:30:00+01:00[Europe/Berlin]").unwrap();
        assert_eq!((instant.seconds, instant.offset_seconds), (1_709_206_200, 3600));
        assert_eq!(show_date_time(&instant), "2024-02-29T12:30:00+01:00[Europe/Berlin]");
        assert_eq!(parse_date_time("2025-10-22 13:56:29").map(|t| t.seconds), Some(1_761_141_389));
        assert_eq!(parse_date_time("2024-02-29T12:30:00[Europe/Berlin]"), None);
    }

    #[test]
    fn known_durations() {
        for (text, months, days, seconds, nanoseconds) in [
            ("P1Y2M3DT4H5M6.7S", 14, 3, 14_706, 700_000_000),
            ("PT0S", 0, 0, 0, 0),
            ("PT-0.5S", 0, 0, -1, 500_000_000),
            ("P-1M10D", -1, 10, 0, 0),
            ("P1D", 0, 1, 0, 0),
        ] {
            let duration = Duration { months, days, seconds, nanoseconds };
            assert_eq!(parse_duration(text), Some(duration), "{text}");
            assert_eq!(show_duration(&duration), text);
        }
        assert_eq!(parse_duration("-P2W"), parse_duration("P-14D"));
        for wrong in ["", "P", "PT", "1D", "P1H", "PT1D", "P1.5D", "P1"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(
            days: i64, seconds: i64, months: i64,
            nanoseconds in 0..NANOSECONDS_PER_SECOND,
            of_day in 0..NANOSECONDS_PER_DAY,
            offset_seconds in -OFFSET_SECONDS_MAX..=OFFSET_SECONDS_MAX,
            zone in proptest::option::of("[A-Z][a-z]{1,8}/[A-Z][a-z]{1,8}"),
        ) {
            let date = Date { days };
            prop_assert_eq!(parse_date(&show_date(date)), Some(date));
            let time = LocalTime { nanoseconds: of_day };
            prop_assert_eq!(parse_local_time(&show_local_time(time)), Some(time));
            let time = Time { nanoseconds: of_day, offset_seconds };
            prop_assert_eq!(parse_time(&show_time(time)), Some(time));
            let time = LocalDateTime { seconds, nanoseconds };
            prop_assert_eq!(parse_local_date_time(&show_local_date_time(time)), Some(time));
            let time = DateTime { seconds, nanoseconds, offset_seconds, zone };
            prop_assert_eq!(parse_date_time(&show_date_time(&time)), Some(time));
            let duration = Duration { months, days, seconds, nanoseconds };
            prop_assert_eq!(parse_duration(&show_duration(&duration)), Some(duration));
        }

        #[test]
        fn no_text_is_too_odd_to_be_refused(text in "[-+0-9PTYMDWHSZ:.\\[\\]a-z ]{0,40}") {
            let _ = (parse_date(&text), parse_date_time(&text), parse_duration(&text), parse_time(&text));
        }
    }
}
