//! Values as bytes, as property records hold them.
//!
//! A value is a tag byte and what follows it:
//!
//! | tag | value | then |
//! |---|---|---|
//! | 0 | null | |
//! | 1, 2 | false, true | |
//! | 3 | integer | zigzag |
//! | 4 | float | its 8 bytes, little endian: NaN, -0.0 and the infinities as they are |
//! | 5 | string | length, UTF-8 |
//! | 6 | bytes | length, bytes |
//! | 7 | list | count, values |
//! | 8 | date | zigzag days |
//! | 9 | local time | nanoseconds |
//! | 10 | time | nanoseconds, zigzag offset |
//! | 11 | local datetime | zigzag seconds, nanoseconds |
//! | 12 | datetime | zigzag seconds, nanoseconds, zigzag offset, length of the zone plus one (0: none), zone |
//! | 13 | duration | zigzag months, days, seconds, nanoseconds |
//! | 14, 15 | | belong to the property record, see `properties` |
//! | 128 + n | integer n, 0..=127 | |
//!
//! Numbers without a width of their own are LEB128 varints of at most 10 bytes; zigzag maps small negative ones
//! to small ones. Maps have no tag: none is ever stored.
//!
//! Invariant: decoding ends and is bounded by the bytes that are there (lengths are checked against them before
//! anything is reserved) and by [`VALUE_DEPTH_MAX`].

use crate::value::VALUE_DEPTH_MAX;
use crate::{Error, Result, Value};

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const STRING: u8 = 5;
const BYTES: u8 = 6;
const LIST: u8 = 7;
const DATE: u8 = 8;
const LOCAL_TIME: u8 = 9;
const TIME: u8 = 10;
const LOCAL_DATE_TIME: u8 = 11;
const DATE_TIME: u8 = 12;
const DURATION: u8 = 13;
const SMALL_INT: u8 = 0x80;

/// Bytes that are no value; the words say why. Whoever knows the page makes an [`Error::Corrupt`] of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadValue(pub &'static str);

const CUT_OFF: BadValue = BadValue("a value is cut off");
const NOT_UTF8: BadValue = BadValue("a string is not UTF-8");
const TOO_DEEP: BadValue = BadValue("lists are nested too deep");

/// Appends a value.
///
/// # Errors
/// [`Error::UnsupportedValue`], see [`Value::check_storable`]; what was appended is then useless.
pub fn encode(value: &Value, into: &mut Vec<u8>) -> Result<()> {
    value.check_storable()?;
    encode_at(value, into)
}

fn encode_at(value: &Value, into: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Null => into.push(NULL),
        Value::Bool(false) => into.push(FALSE),
        Value::Bool(true) => into.push(TRUE),
        Value::Int(small @ 0..=127) => into.push(SMALL_INT | *small as u8),
        Value::Int(int) => put_tagged(into, INT, &[zigzag(*int)]),
        Value::Float(float) => {
            into.push(FLOAT);
            into.extend_from_slice(&float.to_bits().to_le_bytes());
        }
        Value::String(text) => {
            put_tagged(into, STRING, &[text.len() as u64]);
            into.extend_from_slice(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            put_tagged(into, BYTES, &[bytes.len() as u64]);
            into.extend_from_slice(bytes);
        }
        Value::List(items) => {
            put_tagged(into, LIST, &[items.len() as u64]);
            items.iter().try_for_each(|item| encode_at(item, into))?;
        }
        Value::Map(_) => return Err(Error::UnsupportedValue("a map")),
        Value::Date { days } => put_tagged(into, DATE, &[zigzag(*days)]),
        Value::LocalTime { nanos } => put_tagged(into, LOCAL_TIME, &[*nanos]),
        Value::Time { nanos, offset } => put_tagged(into, TIME, &[*nanos, zigzag(i64::from(*offset))]),
        Value::LocalDateTime { seconds, nanos } => {
            put_tagged(into, LOCAL_DATE_TIME, &[zigzag(*seconds), u64::from(*nanos)]);
        }
        Value::DateTime { seconds, nanos, offset, zone } => {
            let offset = zigzag(i64::from(*offset));
            let zone_len = zone.as_ref().map_or(0, |zone| zone.len() as u64 + 1);
            put_tagged(into, DATE_TIME, &[zigzag(*seconds), u64::from(*nanos), offset, zone_len]);
            into.extend_from_slice(zone.as_deref().unwrap_or_default().as_bytes());
        }
        Value::Duration { months, days, seconds, nanos } => {
            let nanos = zigzag(i64::from(*nanos));
            put_tagged(into, DURATION, &[zigzag(*months), zigzag(*days), zigzag(*seconds), nanos]);
        }
    }
    Ok(())
}

/// Takes the value that `bytes` start with.
///
/// # Errors
/// [`BadValue`] if they start with none.
pub fn decode(bytes: &mut &[u8]) -> Result<Value, BadValue> {
    decode_at(bytes, 0)
}

fn decode_at(bytes: &mut &[u8], depth: usize) -> Result<Value, BadValue> {
    Ok(match take_byte(bytes)? {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => Value::Int(take_zigzag(bytes)?),
        FLOAT => {
            let raw = bytes.split_off(..8).and_then(|raw| raw.first_chunk()).ok_or(CUT_OFF)?;
            Value::Float(f64::from_bits(u64::from_le_bytes(*raw)))
        }
        STRING => Value::String(take_text(bytes)?),
        BYTES => Value::Bytes(take_slice(bytes)?.to_vec()),
        LIST => {
            if depth == VALUE_DEPTH_MAX {
                return Err(TOO_DEEP);
            }
            // Every item has at least one byte, so a count past the bytes is a lie, and reserves nothing.
            let count = take_len(bytes)?;
            let items = (0..count).map(|_| decode_at(bytes, depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        DATE => Value::Date { days: take_zigzag(bytes)? },
        LOCAL_TIME => Value::LocalTime { nanos: take_varint(bytes)? },
        TIME => Value::Time { nanos: take_varint(bytes)?, offset: narrow(take_zigzag(bytes)?)? },
        LOCAL_DATE_TIME => {
            Value::LocalDateTime { seconds: take_zigzag(bytes)?, nanos: narrow(take_varint(bytes)?)? }
        }
        DATE_TIME => Value::DateTime {
            seconds: take_zigzag(bytes)?,
            nanos: narrow(take_varint(bytes)?)?,
            offset: narrow(take_zigzag(bytes)?)?,
            zone: take_zone(bytes)?,
        },
        DURATION => Value::Duration {
            months: take_zigzag(bytes)?,
            days: take_zigzag(bytes)?,
            seconds: take_zigzag(bytes)?,
            nanos: narrow(take_zigzag(bytes)?)?,
        },
        small if small & SMALL_INT != 0 => Value::Int(i64::from(small & !SMALL_INT)),
        _ => return Err(BadValue("a value has an unknown tag")),
    })
}

/// A value that is only looked at: a string is not copied.
#[derive(Clone, PartialEq, Debug)]
pub enum Seen<'a> {
    /// A string.
    Text(&'a str),
    /// Anything else.
    Value(Value),
}

/// As [`decode`], of a value that is only looked at.
///
/// # Errors
/// As [`decode`].
pub fn look<'a>(bytes: &mut &'a [u8]) -> Result<Seen<'a>, BadValue> {
    if bytes.first() != Some(&STRING) {
        return decode(bytes).map(Seen::Value);
    }
    take_byte(bytes)?;
    let text = std::str::from_utf8(take_slice(bytes)?).map_err(|_| NOT_UTF8)?;
    Ok(Seen::Text(text))
}

/// Drops the value that `bytes` start with, without making it.
///
/// # Errors
/// [`BadValue`] if they start with none.
pub fn skip(bytes: &mut &[u8]) -> Result<(), BadValue> {
    skip_at(bytes, 0)
}

fn skip_at(bytes: &mut &[u8], depth: usize) -> Result<(), BadValue> {
    let varints = match take_byte(bytes)? {
        NULL | FALSE | TRUE | SMALL_INT.. => 0,
        FLOAT => return bytes.split_off(..8).map(|_| ()).ok_or(CUT_OFF),
        STRING | BYTES => return take_slice(bytes).map(|_| ()),
        LIST if depth == VALUE_DEPTH_MAX => return Err(TOO_DEEP),
        LIST => {
            let count = take_len(bytes)?;
            return (0..count).try_for_each(|_| skip_at(bytes, depth + 1));
        }
        INT | DATE | LOCAL_TIME => 1,
        TIME | LOCAL_DATE_TIME => 2,
        DATE_TIME => {
            (0..3).try_for_each(|_| take_varint(bytes).map(|_| ()))?;
            return take_zone_bytes(bytes).map(|_| ());
        }
        DURATION => 4,
        _ => return Err(BadValue("a value has an unknown tag")),
    };
    (0..varints).try_for_each(|_| take_varint(bytes).map(|_| ()))
}

fn put_tagged(into: &mut Vec<u8>, tag: u8, varints: &[u64]) {
    into.push(tag);
    varints.iter().for_each(|varint| put_varint(into, *varint));
}

/// Appends a varint: seven bits a byte, the lowest first, the top bit of a byte says that more follow.
pub(crate) fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Takes a varint.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Result<u64, BadValue> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = take_byte(bytes)?;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            break;
        }
        value |= part << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(BadValue("a number is longer than 64 bits"))
}

pub(crate) fn take_byte(bytes: &mut &[u8]) -> Result<u8, BadValue> {
    bytes.split_off_first().copied().ok_or(CUT_OFF)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn take_zigzag(bytes: &mut &[u8]) -> Result<i64, BadValue> {
    let raw = take_varint(bytes)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

/// A length or count, no larger than the bytes that are left.
fn take_len(bytes: &mut &[u8]) -> Result<usize, BadValue> {
    usize::try_from(take_varint(bytes)?).ok().filter(|len| *len <= bytes.len()).ok_or(CUT_OFF)
}

fn take_slice<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], BadValue> {
    let len = take_len(bytes)?;
    bytes.split_off(..len).ok_or(CUT_OFF)
}

fn take_text(bytes: &mut &[u8]) -> Result<String, BadValue> {
    text(take_slice(bytes)?)
}

fn text(bytes: &[u8]) -> Result<String, BadValue> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| NOT_UTF8)
}

fn take_zone_bytes<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BadValue> {
    match take_varint(bytes)?.checked_sub(1) {
        None => Ok(None),
        Some(len) => {
            let len = usize::try_from(len).map_err(|_| CUT_OFF)?;
            bytes.split_off(..len).map(Some).ok_or(CUT_OFF)
        }
    }
}

fn take_zone(bytes: &mut &[u8]) -> Result<Option<String>, BadValue> {
    take_zone_bytes(bytes)?.map(text).transpose()
}

fn narrow<T, N: TryFrom<T>>(value: T) -> Result<N, BadValue> {
    N::try_from(value).map_err(|_| BadValue("a part of a temporal value is out of range"))
}

#[cfg(test)]
mod tests;
