//! Relations between values that a query decides by.
//!
//! 1. [`equals`] and [`compare`] are Cypher's `=` and `<`: three-valued, `None` where the answer is null. They
//!    decide what a filter passes.
//! 2. [`Value::total_cmp`] is Cypher's orderability, and decides what `order` puts first.
//! 3. [`write_key`] is Cypher's equivalence as bytes: equal exactly where `total_cmp` says equal. It decides what
//!    `distinct` takes for the same.

use std::cmp::Ordering;

use graphite_graph::Value;

use crate::plan::Comparison;

/// Whether a filter passes an entity whose property has this value.
pub(crate) fn passes(comparison: Comparison, property: &Value, operand: &Value) -> bool {
    use Comparison::*;
    if property.is_null() {
        return false;
    }
    let ordered = |wanted: fn(Ordering) -> bool| compare(property, operand).is_some_and(wanted);
    match comparison {
        Exists => true,
        Eq => equals(property, operand) == Some(true),
        Ne => equals(property, operand) == Some(false),
        Lt => ordered(Ordering::is_lt),
        Le => ordered(Ordering::is_le),
        Gt => ordered(Ordering::is_gt),
        Ge => ordered(Ordering::is_ge),
        StartsWith => strings(property, operand).is_some_and(|(text, start)| text.starts_with(start)),
        Contains => strings(property, operand).is_some_and(|(text, part)| text.contains(part)),
    }
}

fn strings<'a>(a: &'a Value, b: &'a Value) -> Option<(&'a str, &'a str)> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some((a, b)),
        _ => None,
    }
}

/// Cypher's `=`.
pub(crate) fn equals(a: &Value, b: &Value) -> Option<bool> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::List(a), Value::List(b)) if a.len() == b.len() => all_equal(a.iter().zip(b)),
        (Value::List(_), Value::List(_)) => Some(false),
        (Value::Map(a), Value::Map(b)) if a.keys().eq(b.keys()) => all_equal(a.values().zip(b.values())),
        (Value::Map(_), Value::Map(_)) => Some(false),
        _ => Some(!has_nan(a) && !has_nan(b) && a.total_cmp(b).is_eq()),
    }
}

fn all_equal<'a>(pairs: impl Iterator<Item = (&'a Value, &'a Value)>) -> Option<bool> {
    let mut all = Some(true);
    for (a, b) in pairs {
        match equals(a, b) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => all = None,
        }
    }
    all
}

fn has_nan(value: &Value) -> bool {
    matches!(value, Value::Float(number) if number.is_nan())
}

/// Cypher's `<`, `=`, `>` in one; `None` where all three are null or false.
pub(crate) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Null | Value::Map(_) | Value::Duration { .. }, _) => None,
        (Value::List(a), Value::List(b)) => {
            for (a, b) in a.iter().zip(b) {
                match compare(a, b)? {
                    Ordering::Equal => {}
                    unequal => return Some(unequal),
                }
            }
            Some(a.len().cmp(&b.len()))
        }
        _ if a.type_rank() == b.type_rank() && !has_nan(a) && !has_nan(b) => Some(a.total_cmp(b)),
        _ => None,
    }
}

/// Appends bytes that are equal for two values exactly if the values are equivalent. No value's bytes are the
/// beginning of another's, so that rows can be written one value after another.
pub(crate) fn write_key(value: &Value, key: &mut Vec<u8>) {
    key.push(value.type_rank());
    match value {
        Value::Null => {}
        Value::Bool(value) => key.push(u8::from(*value)),
        Value::Int(number) => write_int(*number, key),
        Value::Float(number) => write_float(*number, key),
        Value::String(text) => write_bytes(text.as_bytes(), key),
        Value::Bytes(bytes) => write_bytes(bytes, key),
        Value::List(items) => {
            key.extend_from_slice(&items.len().to_le_bytes());
            items.iter().for_each(|item| write_key(item, key));
        }
        Value::Map(entries) => {
            key.extend_from_slice(&entries.len().to_le_bytes());
            for (name, item) in entries {
                write_bytes(name.as_bytes(), key);
                write_key(item, key);
            }
        }
        Value::Date { days } => key.extend_from_slice(&days.to_le_bytes()),
        Value::LocalTime { nanos } => key.extend_from_slice(&nanos.to_le_bytes()),
        Value::Time { nanos, offset } => {
            key.extend_from_slice(&nanos.to_le_bytes());
            key.extend_from_slice(&offset.to_le_bytes());
        }
        Value::LocalDateTime { seconds, nanos } => {
            key.extend_from_slice(&seconds.to_le_bytes());
            key.extend_from_slice(&nanos.to_le_bytes());
        }
        Value::DateTime { seconds, nanos, offset, zone } => {
            key.extend_from_slice(&seconds.to_le_bytes());
            key.extend_from_slice(&nanos.to_le_bytes());
            key.extend_from_slice(&offset.to_le_bytes());
            key.push(u8::from(zone.is_some()));
            write_bytes(zone.as_deref().unwrap_or_default().as_bytes(), key);
        }
        Value::Duration { months, days, seconds, nanos } => {
            for part in [*months, *days, *seconds, i64::from(*nanos)] {
                key.extend_from_slice(&part.to_le_bytes());
            }
        }
    }
}

fn write_bytes(bytes: &[u8], key: &mut Vec<u8>) {
    key.extend_from_slice(&bytes.len().to_le_bytes());
    key.extend_from_slice(bytes);
}

const INT: u8 = 0;
const FLOAT: u8 = 1;

fn write_int(number: i64, key: &mut Vec<u8>) {
    key.push(INT);
    key.extend_from_slice(&number.to_le_bytes());
}

/// A whole float is written as the integer that it equals; all NaNs are one.
fn write_float(number: f64, key: &mut Vec<u8>) {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if number.trunc() == number && (-TWO_TO_63..TWO_TO_63).contains(&number) {
        // In this range the cast is exact.
        return write_int(number as i64, key);
    }
    let bits = if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() };
    key.push(FLOAT);
    key.extend_from_slice(&bits.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            Just(f64::NAN),
            Just(-0.0),
            Just(0.0),
            Just(1.0),
            Just(1.5),
            Just(9.3e18),
            Just(f64::INFINITY)
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            prop_oneof![-2i64..3, Just(i64::MAX), Just(i64::MIN)].prop_map(Value::Int),
            number.prop_map(Value::Float),
            "[aé𝄞]{0,2}".prop_map(Value::String),
            proptest::collection::vec(0u8..2, 0..2).prop_map(Value::Bytes),
            (0i64..2).prop_map(|days| Value::Date { days }),
            (0u64..2, 0i32..2).prop_map(|(nanos, offset)| Value::Time { nanos, offset }),
            (0i64..2, 0u32..2).prop_map(|(seconds, nanos)| Value::LocalDateTime { seconds, nanos }),
            (0i64..2, proptest::option::of(Just("Z".to_owned())))
                .prop_map(|(seconds, zone)| { Value::DateTime { seconds, nanos: 0, offset: 0, zone } }),
            (0i64..2, 0i64..2).prop_map(|(months, days)| Value::Duration {
                months,
                days,
                seconds: 0,
                nanos: 0
            }),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::List),
                proptest::collection::btree_map("[ab]", inner, 0..2).prop_map(Value::Map),
            ]
        })
    }

    fn key(value: &Value) -> Vec<u8> {
        let mut key = Vec::new();
        write_key(value, &mut key);
        key
    }

    proptest! {
        /// Keys are equal where the order says equal, and none begins another.
        #[test]
        fn keys_are_equivalence(a in value(), b in value()) {
            let (key_a, key_b) = (key(&a), key(&b));
            prop_assert_eq!(key_a == key_b, a.total_cmp(&b).is_eq(), "{:?} and {:?}", a, b);
            prop_assert!(key_a == key_b || !key_a.starts_with(&key_b));
        }

        /// What is comparable is ordered as the total order has it, and `equals` fits it.
        #[test]
        fn comparison_fits_order(a in value(), b in value()) {
            if let Some(order) = compare(&a, &b) {
                prop_assert_eq!(order, a.total_cmp(&b));
                prop_assert_eq!(equals(&a, &b), Some(order.is_eq()));
            }
            prop_assert_eq!(equals(&a, &b), equals(&b, &a));
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).map(Ordering::reverse));
        }
    }

    #[test]
    fn null_is_neither_equal_nor_unequal() {
        let one = Value::Int(1);
        for comparison in [
            Comparison::Eq,
            Comparison::Ne,
            Comparison::Lt,
            Comparison::Le,
            Comparison::Gt,
            Comparison::Ge,
            Comparison::StartsWith,
            Comparison::Contains,
        ] {
            assert!(!passes(comparison, &Value::Null, &one));
            assert!(!passes(comparison, &one, &Value::Null));
            assert!(!passes(comparison, &Value::Null, &Value::Null));
        }
        assert!(!passes(Comparison::Exists, &Value::Null, &Value::Null));
        assert!(passes(Comparison::Exists, &one, &Value::Null));
        let with_null = Value::List(vec![one.clone(), Value::Null]);
        assert_eq!(equals(&with_null, &with_null), None);
        let other = Value::List(vec![Value::Int(2), Value::Null]);
        assert_eq!(equals(&with_null, &other), Some(false));
    }

    #[test]
    fn kinds_do_not_mix() {
        let (text, number) = (Value::from("1"), Value::Int(1));
        assert!(passes(Comparison::Ne, &text, &number), "a string is not equal to a number");
        assert!(!passes(Comparison::Lt, &text, &number) && !passes(Comparison::Ge, &text, &number));
        assert!(passes(Comparison::Eq, &Value::Float(1.0), &number));
        assert!(passes(Comparison::Gt, &Value::Float(1.5), &number));
        let nan = Value::Float(f64::NAN);
        assert!(passes(Comparison::Ne, &nan, &nan) && !passes(Comparison::Le, &nan, &nan));
        let duration = Value::Duration { months: 1, days: 0, seconds: 0, nanos: 0 };
        assert!(
            passes(Comparison::Eq, &duration, &duration) && !passes(Comparison::Le, &duration, &duration)
        );
        assert_eq!(compare(&Value::Map(BTreeMap::new()), &Value::Map(BTreeMap::new())), None);
    }

    #[test]
    fn text_is_unicode() {
        let text = Value::from("Łódź 𝄞");
        assert!(passes(Comparison::StartsWith, &text, &Value::from("Łó")));
        assert!(passes(Comparison::Contains, &text, &Value::from("ź 𝄞")));
        assert!(passes(Comparison::Contains, &text, &Value::from("")));
        assert!(!passes(Comparison::StartsWith, &text, &Value::from("Lo")));
        assert!(!passes(Comparison::Contains, &Value::Int(12), &Value::from("1")));
        // Code point order is that of UTF-8 bytes.
        assert!(passes(Comparison::Lt, &Value::from("z"), &Value::from("é")));
        assert!(passes(Comparison::Lt, &Value::from("\u{ffff}"), &Value::from("\u{10000}")));
    }
}
