//! Arbitrary values for property tests.

use proptest::prelude::*;

use super::Value;

/// A number that is likely to be next to another, or extreme.
fn any_int() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -3..200_i64,
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(1 << 53), Just((1 << 53) + 1), Just(i64::MAX - 1)],
        1 => any::<i64>(),
    ]
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (-3..200_i64).prop_map(|int| int as f64),
        1 => (-3..200_i64).prop_map(|int| int as f64 + 0.5),
        1 => prop_oneof![
            Just(f64::NAN), Just(-f64::NAN), Just(-0.0), Just(f64::INFINITY), Just(f64::NEG_INFINITY),
            Just(9_007_199_254_740_992.0), Just(9_223_372_036_854_775_808.0), Just(-9_223_372_036_854_775_808.0),
            Just(f64::from_bits(0x7ff8_0000_0000_1234)), Just(f64::MIN_POSITIVE),
        ],
        1 => any::<u64>().prop_map(f64::from_bits),
    ]
}

/// Any value without parts.
pub(crate) fn any_scalar() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any_int().prop_map(Value::Int),
        any_float().prop_map(Value::Float),
        prop_oneof!["[a-c]{0,3}", ".{0,12}"].prop_map(Value::String),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(Value::Bytes),
        any_int().prop_map(|days| Value::Date { days }),
        (0..3_u64).prop_map(|nanos| Value::LocalTime { nanos }),
        (0..3_u64, -2..2_i32).prop_map(|(nanos, hours)| Value::Time { nanos, offset: hours * 3600 }),
        (any_int(), 0..3_u32).prop_map(|(seconds, nanos)| Value::LocalDateTime { seconds, nanos }),
        (any_int(), 0..2_u32, -1..2_i32, prop::option::of("[AB]{0,1}"))
            .prop_map(|(seconds, nanos, offset, zone)| Value::DateTime { seconds, nanos, offset, zone }),
        (any_int(), -40..40_i64, any_int(), any::<i32>())
            .prop_map(|(months, days, seconds, nanos)| { Value::Duration { months, days, seconds, nanos } }),
    ]
    .boxed()
}

/// Any value that a property can hold.
pub(crate) fn any_storable() -> BoxedStrategy<Value> {
    any_scalar()
        .prop_recursive(3, 20, 5, |inner| prop::collection::vec(inner, 0..5).prop_map(Value::List))
        .boxed()
}

/// Any value at all.
pub(crate) fn any_value() -> BoxedStrategy<Value> {
    any_scalar()
        .prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::btree_map("[ab]{0,1}", inner, 0..3).prop_map(Value::Map),
            ]
        })
        .boxed()
}
