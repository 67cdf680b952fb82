//! The temporal types, as they cross the wire: plain numbers, checked for their ranges. Calendars and time
//! zones are the business of whoever computes with them.

/// Nanoseconds of a day.
pub const NANOSECONDS_PER_DAY: u64 = 86_400_000_000_000;
/// Nanoseconds of a second.
pub const NANOSECONDS_PER_SECOND: u32 = 1_000_000_000;
/// An offset from UTC is at most 18 hours, either way.
pub const OFFSET_SECONDS_MAX: i32 = 18 * 3600;

/// A day of the proleptic Gregorian calendar (extension type 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// Days since 1970-01-01.
    pub days: i64,
}

/// A time of day without a zone (extension type 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTime {
    /// Nanoseconds since midnight, below [`NANOSECONDS_PER_DAY`].
    pub nanoseconds: u64,
}

/// A time of day at an offset from UTC (extension type 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Time {
    /// Nanoseconds since local midnight, below [`NANOSECONDS_PER_DAY`].
    pub nanoseconds: u64,
    /// Seconds east of UTC, at most [`OFFSET_SECONDS_MAX`] either way.
    pub offset_seconds: i32,
}

/// A day and a time of day without a zone (extension type 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalDateTime {
    /// Seconds since 1970-01-01T00:00:00, local.
    pub seconds: i64,
    /// Nanoseconds of that second, below [`NANOSECONDS_PER_SECOND`].
    pub nanoseconds: u32,
}

/// An instant with the offset, and perhaps the name of the zone, that it was given in (extension type 8).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DateTime {
    /// Seconds since 1970-01-01T00:00:00 UTC.
    pub seconds: i64,
    /// Nanoseconds of that second, below [`NANOSECONDS_PER_SECOND`].
    pub nanoseconds: u32,
    /// Seconds east of UTC, at most [`OFFSET_SECONDS_MAX`] either way.
    pub offset_seconds: i32,
    /// Name of the time zone, "Europe/Berlin", if there is one.
    pub zone: Option<String>,
}

/// A duration, whose parts do not convert into each other (extension type 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Duration {
    /// Months.
    pub months: i64,
    /// Days.
    pub days: i64,
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds of a second, 0 to 999,999,999, added to `seconds` even if those are negative.
    pub nanoseconds: u32,
}
