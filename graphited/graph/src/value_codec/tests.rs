//! Values to bytes and back, golden bytes, and bytes that are no value.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::value::any::any_storable;

fn bytes_of(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).unwrap();
    bytes
}

/// Decodes and skips, and proves that both take exactly the value.
fn round_trip(value: &Value) {
    let mut bytes = bytes_of(value);
    bytes.push(0xee);
    let mut rest = &bytes[..];
    assert_eq!(&decode(&mut rest).unwrap(), value);
    assert_eq!(rest, [0xee]);
    let mut rest = &bytes[..];
    skip(&mut rest).unwrap();
    assert_eq!(rest, [0xee], "skipping {value:?}");
}

#[test]
fn golden_bytes() {
    let long = Value::DateTime { seconds: -1, nanos: 5, offset: 3600, zone: Some("UTC".to_owned()) };
    let golden: [(Value, &[u8]); 22] = [
        (Value::Null, &[0]),
        (Value::Bool(false), &[1]),
        (Value::Bool(true), &[2]),
        (Value::Int(0), &[0x80]),
        (Value::Int(127), &[0xff]),
        (Value::Int(128), &[3, 0x80, 2]),
        (Value::Int(-1), &[3, 1]),
        (Value::Int(i64::MIN), &[3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        (Value::Float(1.5), &[4, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f]),
        (Value::Float(-0.0), &[4, 0, 0, 0, 0, 0, 0, 0, 0x80]),
        (Value::from(""), &[5, 0]),
        (Value::from("né"), &[5, 3, b'n', 0xc3, 0xa9]),
        (Value::Bytes(vec![9, 8]), &[6, 2, 9, 8]),
        (Value::List(vec![]), &[7, 0]),
        (Value::List(vec![Value::Int(1), Value::List(vec![Value::Null])]), &[7, 2, 0x81, 7, 1, 0]),
        (Value::Date { days: -2 }, &[8, 3]),
        (Value::LocalTime { nanos: 300 }, &[9, 0xac, 2]),
        (Value::Time { nanos: 1, offset: -1 }, &[10, 1, 1]),
        (Value::LocalDateTime { seconds: 1, nanos: 2 }, &[11, 2, 2]),
        (Value::DateTime { seconds: 1, nanos: 2, offset: 3, zone: None }, &[12, 2, 2, 6, 0]),
        (long, &[12, 1, 5, 0xa0, 0x38, 4, b'U', b'T', b'C']),
        (Value::Duration { months: 1, days: -1, seconds: 2, nanos: -2 }, &[13, 2, 1, 4, 3]),
    ];
    for (value, bytes) in golden {
        assert_eq!(bytes_of(&value), bytes, "{value:?}");
        round_trip(&value);
    }
}

#[test]
fn floats_keep_their_bits() {
    for bits in [f64::NAN.to_bits(), 0x7ff8_dead_beef_0001, 0xfff0_0000_0000_0001, (-0.0_f64).to_bits()] {
        let bytes = bytes_of(&Value::Float(f64::from_bits(bits)));
        match decode(&mut &bytes[..]).unwrap() {
            Value::Float(float) => assert_eq!(float.to_bits(), bits),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn large_strings_survive() {
    round_trip(&Value::String("x".repeat(3 << 20)));
}

#[test]
fn depth_is_bounded_both_ways() {
    let nested = |depth| (0..depth).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    round_trip(&nested(VALUE_DEPTH_MAX));
    assert!(encode(&nested(VALUE_DEPTH_MAX + 1), &mut Vec::new()).is_err());
    // A million lists, each in the one before: refused long before the stack ends.
    let deep = [LIST, 1].repeat(1_000_000);
    assert_eq!(decode(&mut &deep[..]), Err(TOO_DEEP));
    assert_eq!(skip(&mut &deep[..]), Err(TOO_DEEP));
}

#[test]
fn maps_are_refused() {
    assert!(encode(&Value::List(vec![Value::Map(BTreeMap::new())]), &mut Vec::new()).is_err());
}

#[test]
fn lies_are_refused_without_reserving() {
    let lies: [&[u8]; 9] = [
        &[],
        &[14],
        &[15, 0],
        &[LIST, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[STRING, 5, b'a'],
        &[STRING, 1, 0xff],
        &[INT, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        &[DATE_TIME, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        &[TIME, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    ];
    for lie in lies {
        assert!(decode(&mut &lie[..]).is_err(), "{lie:?}");
    }
}

proptest! {
    #[test]
    fn round_trips(value in any_storable()) {
        round_trip(&value);
    }

    #[test]
    fn a_cut_off_value_is_an_error(value in any_storable(), cut in any::<prop::sample::Index>()) {
        let bytes = bytes_of(&value);
        let cut = &bytes[..cut.index(bytes.len())];
        prop_assert!(decode(&mut &cut[..]).is_err());
        prop_assert!(skip(&mut &cut[..]).is_err());
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(prop_oneof![0..16_u8, any::<u8>()], 0..40)) {
        let (mut decoded, mut skipped) = (&bytes[..], &bytes[..]);
        if decode(&mut decoded).is_ok() {
            // Skipping proves less, and takes the same bytes.
            prop_assert!(skip(&mut skipped).is_ok());
            prop_assert_eq!(decoded, skipped);
        }
    }
}
