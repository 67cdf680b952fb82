//! Values: what a property holds and what a query computes with.
//!
//! Two relations, which must not be taken for one another:
//! 1. `==` is *identity*: same type, same bits (a NaN equals itself, `0.0` differs from `-0.0`, and `1` from
//!    `1.0`). It says whether writing one over the other would change anything.
//! 2. [`Value::total_cmp`] is Cypher's *orderability*: the order of `ORDER BY` and of indexes, total over all
//!    types. There `1` and `1.0` are equal, so are the two zeros, and NaN is the largest number.
//!
//! Cypher's `=` (where null and NaN equal nothing) is a third one, and belongs to the query layer.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::{Error, Result};

/// Deepest nesting of lists in a stored value; a list of scalars has depth 1.
pub const VALUE_DEPTH_MAX: usize = 32;

const NANOS_PER_SECOND: i128 = 1_000_000_000;
/// A year of 365.2425 days has 31,556,952 seconds; a twelfth of it is what a month counts in the order of
/// durations.
const SECONDS_PER_MONTH: i128 = 2_629_746;
const SECONDS_PER_DAY: i128 = 86_400;

/// A value.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Nothing. A property that is null is a property that is not there.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// Values by name: only in queries, no property holds one.
    Map(BTreeMap<String, Value>),
    /// A day.
    Date {
        /// Since 1970-01-01.
        days: i64,
    },
    /// A time of day, nowhere in particular.
    LocalTime {
        /// Since midnight.
        nanos: u64,
    },
    /// A time of day with its distance from UTC.
    Time {
        /// Since midnight, by the local clock.
        nanos: u64,
        /// Of the local clock from UTC, in seconds, east positive.
        offset: i32,
    },
    /// A day and a time, nowhere in particular.
    LocalDateTime {
        /// Since 1970-01-01T00:00 by the local clock.
        seconds: i64,
        /// Within the second.
        nanos: u32,
    },
    /// An instant, and where it was noted down.
    DateTime {
        /// Since 1970-01-01T00:00 UTC.
        seconds: i64,
        /// Within the second.
        nanos: u32,
        /// Of the local clock from UTC, in seconds, east positive.
        offset: i32,
        /// Name of the time zone, where one was given.
        zone: Option<String>,
    },
    /// A length of time; its parts do not convert into each other.
    Duration {
        /// Months.
        months: i64,
        /// Days.
        days: i64,
        /// Seconds.
        seconds: i64,
        /// Nanoseconds.
        nanos: i32,
    },
}

impl Value {
    /// What kind of value it is, in words for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::String(_) => "a string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Date { .. } => "a date",
            Value::LocalTime { .. } => "a local time",
            Value::Time { .. } => "a time",
            Value::LocalDateTime { .. } => "a local datetime",
            Value::DateTime { .. } => "a datetime",
            Value::Duration { .. } => "a duration",
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Refuses what no property can hold: a map, alone or in a list, and lists nested deeper than
    /// [`VALUE_DEPTH_MAX`].
    ///
    /// # Errors
    /// [`Error::UnsupportedValue`].
    pub fn check_storable(&self) -> Result<()> {
        fn check(value: &Value, depth: usize) -> Result<()> {
            match value {
                Value::Map(_) => Err(Error::UnsupportedValue("a map")),
                Value::List(_) if depth == VALUE_DEPTH_MAX => {
                    Err(Error::UnsupportedValue("lists nested more than 32 deep"))
                }
                Value::List(items) => items.iter().try_for_each(|item| check(item, depth + 1)),
                _ => Ok(()),
            }
        }
        const _: () = assert!(VALUE_DEPTH_MAX == 32, "the message above names it");
        check(self, 0)
    }

    /// Place of the type in Cypher's order of types, ascending (openCypher, CIP2016-06-14). Nodes, edges and
    /// paths, which are no values here, stand between map and list (nodes, edges) and right after list
    /// (paths).
    pub fn type_rank(&self) -> u8 {
        match self {
            Value::Map(_) => 0,
            Value::List(_) => 3,
            Value::DateTime { .. } => 5,
            Value::LocalDateTime { .. } => 6,
            Value::Date { .. } => 7,
            Value::Time { .. } => 8,
            Value::LocalTime { .. } => 9,
            Value::Duration { .. } => 10,
            Value::Bytes(_) => 11,
            Value::String(_) => 12,
            Value::Bool(_) => 13,
            Value::Int(_) | Value::Float(_) => 14,
            Value::Null => 15,
        }
    }

    /// Cypher's orderability: a total order over all values.
    pub fn total_cmp(&self, other: &Value) -> Ordering {
        use Value::*;
        match (self, other) {
            (Bool(a), Bool(b)) => a.cmp(b),
            (Int(a), Int(b)) => a.cmp(b),
            (Float(a), Float(b)) => cmp_floats(*a, *b),
            (Int(a), Float(b)) => cmp_int_float(*a, *b),
            (Float(a), Int(b)) => cmp_int_float(*b, *a).reverse(),
            (String(a), String(b)) => a.cmp(b),
            (Bytes(a), Bytes(b)) => a.cmp(b),
            (List(a), List(b)) => cmp_lists(a.iter(), b.iter()),
            (Map(a), Map(b)) => a
                .len()
                .cmp(&b.len())
                .then_with(|| a.keys().cmp(b.keys()))
                .then_with(|| cmp_lists(a.values(), b.values())),
            (Date { days: a }, Date { days: b }) => a.cmp(b),
            (LocalTime { nanos: a }, LocalTime { nanos: b }) => a.cmp(b),
            (Time { .. }, Time { .. })
            | (LocalDateTime { .. }, LocalDateTime { .. })
            | (DateTime { .. }, DateTime { .. })
            | (Duration { .. }, Duration { .. }) => self.instant().cmp(&other.instant()),
            _ => self.type_rank().cmp(&other.type_rank()),
        }
    }

    /// What a temporal value of more than one part is ordered by: its length or instant in nanoseconds, and
    /// then its parts, so that only equal values are equal.
    fn instant(&self) -> (i128, [i64; 4], Option<&str>) {
        match self {
            Value::Time { nanos, offset } => {
                let utc = i128::from(*nanos) - i128::from(*offset) * NANOS_PER_SECOND;
                (utc, [i64::from(*offset), 0, 0, 0], None)
            }
            Value::LocalDateTime { seconds, nanos } => {
                (i128::from(*seconds) * NANOS_PER_SECOND + i128::from(*nanos), [*seconds, 0, 0, 0], None)
            }
            Value::DateTime { seconds, nanos, offset, zone } => {
                let utc = i128::from(*seconds) * NANOS_PER_SECOND + i128::from(*nanos);
                (utc, [*seconds, i64::from(*offset), 0, 0], zone.as_deref())
            }
            Value::Duration { months, days, seconds, nanos } => {
                let length = i128::from(*months) * SECONDS_PER_MONTH
                    + i128::from(*days) * SECONDS_PER_DAY
                    + i128::from(*seconds);
                let length = length * NANOS_PER_SECOND + i128::from(*nanos);
                (length, [*months, *days, *seconds, i64::from(*nanos)], None)
            }
            _ => (0, [0; 4], None),
        }
    }
}

fn cmp_lists<'a>(a: impl Iterator<Item = &'a Value>, mut b: impl Iterator<Item = &'a Value>) -> Ordering {
    for left in a {
        match b.next() {
            None => return Ordering::Greater,
            Some(right) => match left.total_cmp(right) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
        }
    }
    if b.next().is_some() { Ordering::Less } else { Ordering::Equal }
}

/// NaN is the largest number and equal to every other NaN; the zeros are equal.
fn cmp_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Exact: an integer past 2^53 is not rounded to compare it.
fn cmp_int_float(a: i64, b: f64) -> Ordering {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if b.is_nan() || b >= TWO_TO_63 {
        return Ordering::Less;
    }
    if b < -TWO_TO_63 {
        return Ordering::Greater;
    }
    // In this range the whole part of `b` is an `i64`, and the cast is exact.
    let whole = b.trunc();
    a.cmp(&(whole as i64)).then_with(|| 0.0_f64.partial_cmp(&(b - whole)).unwrap_or(Ordering::Equal))
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        use Value::*;
        match (self, other) {
            (Float(a), Float(b)) => a.to_bits() == b.to_bits(),
            (Int(a), Int(b)) => a == b,
            (List(a), List(b)) => a == b,
            (Map(a), Map(b)) => a == b,
            (Int(_), Float(_)) | (Float(_), Int(_)) => false,
            // No other type has two values that the order calls equal.
            _ => self.total_cmp(other) == Ordering::Equal,
        }
    }
}

impl Eq for Value {}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::String(value)
    }
}

#[cfg(test)]
pub(crate) mod any;
#[cfg(test)]
mod tests;
