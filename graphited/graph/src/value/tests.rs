//! The order of values: that it is one, and that it is Cypher's.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::any::any_value;
use super::*;

fn cmp(a: impl Into<Value>, b: impl Into<Value>) -> Ordering {
    a.into().total_cmp(&b.into())
}

#[test]
fn types_come_in_cyphers_order() {
    let ascending = [
        Value::Map(BTreeMap::new()),
        Value::List(vec![]),
        Value::DateTime { seconds: 9, nanos: 0, offset: 0, zone: None },
        Value::LocalDateTime { seconds: 8, nanos: 0 },
        Value::Date { days: 7 },
        Value::Time { nanos: 6, offset: 0 },
        Value::LocalTime { nanos: 5 },
        Value::Duration { months: 4, days: 0, seconds: 0, nanos: 0 },
        Value::Bytes(vec![3]),
        Value::from("text"),
        Value::Bool(false),
        Value::Bool(true),
        Value::Float(1.5),
        Value::Int(2),
        Value::Float(f64::NAN),
        Value::Null,
    ];
    for (a, left) in ascending.iter().enumerate() {
        for (b, right) in ascending.iter().enumerate() {
            assert_eq!(left.total_cmp(right), a.cmp(&b), "{left:?} against {right:?}");
        }
    }
}

#[test]
fn integers_and_floats_are_compared_exactly() {
    let big = 1_i64 << 53;
    assert_eq!(cmp(1, 1.0), Ordering::Equal);
    assert_eq!(cmp(big + 1, big as f64), Ordering::Greater);
    assert_eq!(cmp(i64::MAX, 9_223_372_036_854_775_808.0), Ordering::Less);
    assert_eq!(cmp(i64::MIN, -9_223_372_036_854_775_808.0), Ordering::Equal);
    assert_eq!(cmp(i64::MIN, -9_223_372_036_854_777_856.0), Ordering::Greater);
    assert_eq!(cmp(-1, -1.5), Ordering::Greater);
    assert_eq!(cmp(-2, -1.5), Ordering::Less);
    assert_eq!(cmp(1, 1.5), Ordering::Less);
    assert_eq!(cmp(0, -0.0), Ordering::Equal);
    assert_eq!(cmp(i64::MIN, f64::NEG_INFINITY), Ordering::Greater);
    assert_eq!(cmp(i64::MAX, f64::INFINITY), Ordering::Less);
    assert_eq!(cmp(f64::INFINITY, f64::NAN), Ordering::Less);
    assert_eq!(cmp(f64::NAN, -f64::NAN), Ordering::Equal);
}

#[test]
fn lists_and_maps_are_compared_part_by_part() {
    let list = |items: &[i64]| Value::List(items.iter().copied().map(Value::Int).collect());
    assert_eq!(list(&[1, 2]).total_cmp(&list(&[1, 2, 0])), Ordering::Less);
    assert_eq!(list(&[1, 3]).total_cmp(&list(&[1, 2, 9])), Ordering::Greater);
    let map = |pairs: &[(&str, i64)]| {
        Value::Map(pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::Int(*value))).collect())
    };
    assert_eq!(map(&[("z", 9)]).total_cmp(&map(&[("a", 1), ("b", 1)])), Ordering::Less);
    assert_eq!(map(&[("a", 9)]).total_cmp(&map(&[("b", 1)])), Ordering::Less);
    assert_eq!(map(&[("a", 9)]).total_cmp(&map(&[("a", 1)])), Ordering::Greater);
}

#[test]
fn temporal_values_are_compared_by_instant_and_length() {
    let time = |nanos, offset| Value::Time { nanos, offset };
    // 12:00+01:00 is before 11:30Z, and 12:00+01:00 is the same instant as 11:00Z.
    let hour = 3_600_000_000_000;
    assert_eq!(time(12 * hour, 3600).total_cmp(&time(11 * hour + hour / 2, 0)), Ordering::Less);
    assert_eq!(
        time(12 * hour, 3600).total_cmp(&time(11 * hour, 0)),
        Ordering::Greater,
        "told apart by offset"
    );
    let duration = |months, days, seconds| Value::Duration { months, days, seconds, nanos: 0 };
    assert_eq!(duration(1, 0, 0).total_cmp(&duration(0, 30, 0)), Ordering::Greater);
    assert_eq!(duration(1, 0, 0).total_cmp(&duration(0, 31, 0)), Ordering::Less);
    assert_eq!(
        duration(0, 1, 0).total_cmp(&duration(0, 0, 86_400)),
        Ordering::Greater,
        "told apart by parts"
    );
}

#[test]
fn maps_and_deep_lists_are_not_storable() {
    let nested = |depth| (0..depth).fold(Value::Int(1), |inner, _| Value::List(vec![inner]));
    assert!(nested(VALUE_DEPTH_MAX).check_storable().is_ok());
    assert!(nested(VALUE_DEPTH_MAX + 1).check_storable().is_err());
    assert!(Value::List(vec![Value::Map(BTreeMap::new())]).check_storable().is_err());
}

proptest! {
    #[test]
    fn the_order_is_total(a in any_value(), b in any_value(), c in any_value()) {
        prop_assert_eq!(a.total_cmp(&a), Ordering::Equal);
        prop_assert_eq!(a.total_cmp(&b), b.total_cmp(&a).reverse());
        let mut sorted = [&a, &b, &c];
        sorted.sort_by(|x, y| x.total_cmp(y));
        prop_assert!(sorted[0].total_cmp(sorted[1]).is_le());
        prop_assert!(sorted[1].total_cmp(sorted[2]).is_le());
        prop_assert!(sorted[0].total_cmp(sorted[2]).is_le());
        // Equal ones stand for each other.
        if a.total_cmp(&b).is_eq() {
            prop_assert_eq!(a.total_cmp(&c), b.total_cmp(&c));
        }
    }

    #[test]
    fn identical_values_are_equal_in_the_order(a in any_value(), b in any_value()) {
        prop_assert_eq!(&a, &a.clone());
        if a == b {
            prop_assert_eq!(a.total_cmp(&b), Ordering::Equal);
        }
    }
}
