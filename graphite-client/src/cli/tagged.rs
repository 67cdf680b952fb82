//! Values of any kind in one column: JSON, with a tag where JSON has no such kind.
//!
//! | value | text |
//! |---|---|
//! | null, booleans, integers, strings, lists | as in JSON |
//! | floats | with a point or an exponent, so that they are no integers; `{"float": "NaN"}`, `"inf"`, `"-inf"` |
//! | bytes | `{"bytes": "00ff"}` |
//! | temporal values | `{"date": "2024-02-29"}`, and so `localtime`, `time`, `localdatetime`, `datetime`, `duration` |
//!
//! No property holds a map, so an object is always a tag.

use graphite_client::Value;
use graphite_client::text::{
    parse_date, parse_date_time, parse_duration, parse_local_date_time, parse_local_time, parse_time,
};
use serde_json::{Value as Json, json};

use super::show;

/// The name of a temporal value's tag, which is also the type of a column of such values.
pub(crate) fn temporal_name(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Date(_) => "date",
        Value::LocalTime(_) => "localtime",
        Value::Time(_) => "time",
        Value::LocalDateTime(_) => "localdatetime",
        Value::DateTime(_) => "datetime",
        Value::Duration(_) => "duration",
        _ => return None,
    })
}

/// Reads a temporal value by its tag's name.
pub(crate) fn parse_temporal(name: &str, text: &str) -> Option<Value> {
    match name {
        "date" => parse_date(text).map(Value::from),
        "localtime" => parse_local_time(text).map(Value::from),
        "time" => parse_time(text).map(Value::from),
        "localdatetime" => parse_local_date_time(text).map(Value::from),
        "datetime" => parse_date_time(text).map(Value::from),
        "duration" => parse_duration(text).map(Value::from),
        _ => None,
    }
}

/// Bytes from hexadecimal digits.
pub(crate) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|pair| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()
        })
        .collect()
}

/// The value as JSON; `None` for what no property holds.
fn to_json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Nil => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(value) if value.is_finite() => json!(value),
        Value::Float(value) => json!({ "float": show::float(*value) }),
        Value::String(text) => json!(text),
        Value::Bytes(bytes) => json!({ "bytes": show::hex(bytes) }),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect::<Option<_>>()?),
        other => {
            let (name, text) = (temporal_name(other)?, show::temporal(other)?);
            json!({ name: text })
        }
    })
}

/// The value as text; `None` for what no property holds.
pub(crate) fn show_tagged(value: &Value) -> Option<String> {
    to_json(value).map(|json| json.to_string())
}

fn from_json(json: Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => value.into(),
        Json::Number(number) if number.is_i64() => number.as_i64()?.into(),
        // An integer past 64 signed bits is refused, not rounded.
        Json::Number(number) if number.is_f64() => number.as_f64()?.into(),
        Json::Number(_) => return None,
        Json::String(text) => text.into(),
        Json::Array(items) => Value::List(items.into_iter().map(from_json).collect::<Option<_>>()?),
        Json::Object(tag) => {
            let mut pairs = tag.into_iter();
            let (Some((name, Json::String(text))), None) = (pairs.next(), pairs.next()) else {
                return None;
            };
            match name.as_str() {
                "float" => Value::Float(text.parse().ok()?),
                "bytes" => Value::Bytes(parse_hex(&text)?),
                name => parse_temporal(name, &text)?,
            }
        }
    })
}

/// Reads what [`show_tagged`] shows.
pub(crate) fn parse_tagged(text: &str) -> Option<Value> {
    from_json(serde_json::from_str(text).ok()?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use graphite_client::{Date, DateTime, Duration, LocalDateTime, LocalTime, Time};
    use proptest::prelude::*;

    /// Every kind of value that a property holds.
    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let nanoseconds = 0u32..1_000_000_000;
        let scalar = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(1e16)]
                .prop_map(Value::from),
            "[ -~\n\r\té東;|\u{202e}]{0,8}".prop_map(Value::from),
            proptest::collection::vec(any::<u8>(), 0..5).prop_map(Value::from),
            any::<i64>().prop_map(|days| Date { days }.into()),
            (0u64..86_400_000_000_000).prop_map(|nanoseconds| LocalTime { nanoseconds }.into()),
            (0u64..86_400_000_000_000, -64_800i32..=64_800).prop_map(|(nanoseconds, offset_seconds)| Time {
                nanoseconds,
                offset_seconds
            }
            .into()),
            (any::<i64>(), nanoseconds.clone()).prop_map(|(seconds, nanoseconds)| LocalDateTime {
                seconds,
                nanoseconds
            }
            .into()),
            (any::<i64>(), nanoseconds.clone(), -64_800i32..=64_800, proptest::option::of("[A-Z][a-z]{0,5}"))
                .prop_map(|(seconds, nanoseconds, offset_seconds, zone)| {
                    DateTime { seconds, nanoseconds, offset_seconds, zone }.into()
                }),
            (any::<i64>(), any::<i64>(), any::<i64>(), nanoseconds).prop_map(
                |(months, days, seconds, nanoseconds)| Duration { months, days, seconds, nanoseconds }.into()
            ),
        ];
        scalar.prop_recursive(2, 12, 4, |inner| {
            proptest::collection::vec(prop_oneof![inner, Just(Value::Nil)], 0..4).prop_map(Value::List)
        })
    }

    /// Whether two values are the same bit for bit, NaN included.
    pub(crate) fn same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            _ => a == b,
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in [
            "",
            "x",
            "{}",
            "{\"date\":1}",
            "{\"a\":\"b\"}",
            "{\"date\":\"1\",\"time\":\"2\"}",
            "1 2",
            "{\"bytes\":\"0\"}",
            "{\"bytes\":\"0g\"}",
            "18446744073709551615",
            "[{\"date\":\"x\"}]",
        ] {
            assert_eq!(parse_tagged(text), None, "{text}");
        }
        assert_eq!(parse_tagged("1"), Some(Value::Int(1)));
        assert_eq!(parse_tagged("1.0"), Some(Value::Float(1.0)));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(value in any_value()) {
            let text = show_tagged(&value).unwrap();
            let read = parse_tagged(&text);
            prop_assert!(read.as_ref().is_some_and(|read| same(read, &value)), "{text} became {read:?}");
        }
    }
}
