//! The bytes of values: MessagePack's own types, and extension types 1 to 9, each of whose payloads is one
//! MessagePack array. This file is their one home; `docs/protocol.md` has the same table.

use crate::decode::{Decoder, Kind, Result};
use crate::decode_error::{DecodeError, DecodeErrorKind};
use crate::encode::Encoder;
use crate::temporal::{
    Date, DateTime, Duration, LocalDateTime, LocalTime, NANOSECONDS_PER_DAY, NANOSECONDS_PER_SECOND,
    OFFSET_SECONDS_MAX, Time,
};
use crate::value::{
    DATE, DATE_TIME, DURATION, EDGE, Edge, LOCAL_DATE_TIME, LOCAL_TIME, NODE, Node, PATH, Path, TIME, Value,
};
use crate::wire::Wire;

/// Maps up to this size are searched for doubled keys pair by pair, larger ones by sorting.
const PAIRWISE_MAX: usize = 16;

impl Wire for Value {
    fn write(&self, out: &mut Encoder<'_>) {
        match self {
            Value::Nil => out.nil(),
            Value::Bool(value) => out.bool(*value),
            Value::Int(value) => out.int(*value),
            Value::Float(value) => out.float(*value),
            Value::String(value) => out.str(value),
            Value::Bytes(value) => out.bytes(value),
            Value::List(values) => values.write(out),
            Value::Map(pairs) => write_pairs(out, pairs),
            Value::Node(node) => node.write(out),
            Value::Edge(edge) => edge.write(out),
            Value::Path(path) => path.write(out),
            Value::Date(date) => date.write(out),
            Value::LocalTime(time) => time.write(out),
            Value::Time(time) => time.write(out),
            Value::LocalDateTime(time) => time.write(out),
            Value::DateTime(time) => time.write(out),
            Value::Duration(duration) => duration.write(out),
        }
    }

    fn read(from: &mut Decoder<'_>) -> Result<Value> {
        Ok(match from.kind()? {
            Kind::Nil => {
                from.take_nil();
                Value::Nil
            }
            Kind::Bool => Value::Bool(from.bool()?),
            Kind::Int => Value::Int(from.i64()?),
            Kind::Float => Value::Float(from.f64()?),
            Kind::String => Value::String(String::read(from)?),
            Kind::Bytes => {
                let bytes = from.bytes()?;
                from.charge(bytes.len())?;
                Value::Bytes(bytes.to_vec())
            }
            Kind::List => Value::List(Vec::read(from)?),
            Kind::Map => Value::Map(read_pairs(from)?),
            Kind::Ext => read_ext(from)?,
        })
    }
}

fn read_ext(from: &mut Decoder<'_>) -> Result<Value> {
    let (tag, payload) = from.ext()?;
    from.payload(payload, |inner| {
        Ok(match tag {
            NODE => Value::from(read_node(inner)?),
            EDGE => Value::from(read_edge(inner)?),
            PATH => Value::from(read_path(inner)?),
            DATE => Value::from(read_date(inner)?),
            LOCAL_TIME => Value::from(read_local_time(inner)?),
            TIME => Value::from(read_time(inner)?),
            LOCAL_DATE_TIME => Value::from(read_local_date_time(inner)?),
            DATE_TIME => Value::from(read_date_time(inner)?),
            DURATION => Value::from(read_duration(inner)?),
            _ => return Err(DecodeError::invalid("extension types are 1 to 9")),
        })
    })
}

/// Writes a map of properties.
pub(crate) fn write_pairs(out: &mut Encoder<'_>, pairs: &[(String, Value)]) {
    out.map(pairs.len());
    for (key, value) in pairs {
        out.str(key);
        value.write(out);
    }
}

/// Reads a map, refusing doubled keys.
pub(crate) fn read_pairs<T: Wire>(from: &mut Decoder<'_>) -> Result<Vec<(String, T)>> {
    let len = from.map()?;
    from.charge(len.saturating_mul(size_of::<(String, T)>()))?;
    let mut pairs: Vec<(String, T)> = Vec::with_capacity(len);
    for _ in 0..len {
        let key = String::read(from)?;
        if len <= PAIRWISE_MAX && pairs.iter().any(|(earlier, _)| *earlier == key) {
            return Err(DecodeErrorKind::DuplicateKey { key }.into());
        }
        let value = T::read(from).map_err(|e| e.within(&key))?;
        pairs.push((key, value));
    }
    from.leave();
    if len > PAIRWISE_MAX {
        let mut keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(DecodeErrorKind::DuplicateKey { key: pair[0].to_owned() }.into());
        }
    }
    Ok(pairs)
}

/// Gives a type whose payload is an array the [`Wire`] form of an extension value.
macro_rules! ext {
    ($type:ty, $tag:ident, $read:ident, |$self:ident, $out:ident| $write:block) => {
        impl Wire for $type {
            fn write(&$self, $out: &mut Encoder<'_>) {
                let mark = $out.ext_begin($tag);
                $write
                $out.ext_end(mark);
            }
            fn read(from: &mut Decoder<'_>) -> Result<$type> {
                let (tag, payload) = from.ext()?;
                if tag != $tag {
                    return Err(DecodeError::invalid("an extension value of another type was expected"));
                }
                from.payload(payload, $read)
            }
        }
    };
}

ext!(Node, NODE, read_node, |self, out| {
    out.list(3);
    out.uint(self.id);
    self.labels.write(out);
    write_pairs(out, &self.properties);
});

fn read_node(from: &mut Decoder<'_>) -> Result<Node> {
    from.list_of(3, "a node: [id, [label...], {properties}]")?;
    from.charge(size_of::<Node>())?;
    let node = Node { id: from.u64()?, labels: Vec::read(from)?, properties: read_pairs(from)? };
    from.leave();
    Ok(node)
}

ext!(Edge, EDGE, read_edge, |self, out| {
    out.list(5);
    out.uint(self.id);
    out.str(&self.edge_type);
    out.uint(self.start);
    out.uint(self.end);
    write_pairs(out, &self.properties);
});

fn read_edge(from: &mut Decoder<'_>) -> Result<Edge> {
    from.list_of(5, "an edge: [id, type, start, end, {properties}]")?;
    from.charge(size_of::<Edge>())?;
    let edge = Edge {
        id: from.u64()?,
        edge_type: String::read(from)?,
        start: from.u64()?,
        end: from.u64()?,
        properties: read_pairs(from)?,
    };
    from.leave();
    Ok(edge)
}

ext!(Path, PATH, read_path, |self, out| {
    out.list(2);
    self.nodes.write(out);
    self.edges.write(out);
});

fn read_path(from: &mut Decoder<'_>) -> Result<Path> {
    from.list_of(2, "a path: [[node...], [edge...]]")?;
    from.charge(size_of::<Path>())?;
    let path = Path { nodes: Vec::read(from)?, edges: Vec::read(from)? };
    from.leave();
    if path.nodes.len() != path.edges.len() + 1 {
        return Err(DecodeError::invalid("a path has one node more than edges"));
    }
    Ok(path)
}

ext!(Date, DATE, read_date, |self, out| {
    out.list(1);
    out.int(self.days);
});

fn read_date(from: &mut Decoder<'_>) -> Result<Date> {
    from.list_of(1, "a date: [days]")?;
    let date = Date { days: from.i64()? };
    from.leave();
    Ok(date)
}

ext!(LocalTime, LOCAL_TIME, read_local_time, |self, out| {
    out.list(1);
    out.uint(self.nanoseconds);
});

fn read_local_time(from: &mut Decoder<'_>) -> Result<LocalTime> {
    from.list_of(1, "a local time: [nanoseconds of day]")?;
    let time = LocalTime { nanoseconds: nanoseconds_of_day(from)? };
    from.leave();
    Ok(time)
}

ext!(Time, TIME, read_time, |self, out| {
    out.list(2);
    out.uint(self.nanoseconds);
    out.int(i64::from(self.offset_seconds));
});

fn read_time(from: &mut Decoder<'_>) -> Result<Time> {
    from.list_of(2, "a time: [nanoseconds of day, offset seconds]")?;
    let time = Time { nanoseconds: nanoseconds_of_day(from)?, offset_seconds: offset_seconds(from)? };
    from.leave();
    Ok(time)
}

ext!(LocalDateTime, LOCAL_DATE_TIME, read_local_date_time, |self, out| {
    out.list(2);
    out.int(self.seconds);
    out.uint(u64::from(self.nanoseconds));
});

fn read_local_date_time(from: &mut Decoder<'_>) -> Result<LocalDateTime> {
    from.list_of(2, "a local datetime: [seconds, nanoseconds]")?;
    let time = LocalDateTime { seconds: from.i64()?, nanoseconds: nanoseconds_of_second(from)? };
    from.leave();
    Ok(time)
}

ext!(DateTime, DATE_TIME, read_date_time, |self, out| {
    out.list(4);
    out.int(self.seconds);
    out.uint(u64::from(self.nanoseconds));
    out.int(i64::from(self.offset_seconds));
    self.zone.write(out);
});

fn read_date_time(from: &mut Decoder<'_>) -> Result<DateTime> {
    from.list_of(4, "a datetime: [seconds UTC, nanoseconds, offset seconds, zone name or nil]")?;
    from.charge(size_of::<DateTime>())?;
    let time = DateTime {
        seconds: from.i64()?,
        nanoseconds: nanoseconds_of_second(from)?,
        offset_seconds: offset_seconds(from)?,
        zone: Option::read(from)?,
    };
    from.leave();
    Ok(time)
}

ext!(Duration, DURATION, read_duration, |self, out| {
    out.list(4);
    out.int(self.months);
    out.int(self.days);
    out.int(self.seconds);
    out.uint(u64::from(self.nanoseconds));
});

fn read_duration(from: &mut Decoder<'_>) -> Result<Duration> {
    from.list_of(4, "a duration: [months, days, seconds, nanoseconds]")?;
    from.charge(size_of::<Duration>())?;
    let duration = Duration {
        months: from.i64()?,
        days: from.i64()?,
        seconds: from.i64()?,
        nanoseconds: nanoseconds_of_second(from)?,
    };
    from.leave();
    Ok(duration)
}

fn nanoseconds_of_day(from: &mut Decoder<'_>) -> Result<u64> {
    let nanoseconds = from.u64()?;
    if nanoseconds >= NANOSECONDS_PER_DAY {
        return Err(DecodeError::invalid("a day has 86,400,000,000,000 nanoseconds"));
    }
    Ok(nanoseconds)
}

fn nanoseconds_of_second(from: &mut Decoder<'_>) -> Result<u32> {
    let nanoseconds = u32::read(from)?;
    if nanoseconds >= NANOSECONDS_PER_SECOND {
        return Err(DecodeError::invalid("a second has 1,000,000,000 nanoseconds"));
    }
    Ok(nanoseconds)
}

fn offset_seconds(from: &mut Decoder<'_>) -> Result<i32> {
    i32::try_from(from.i64()?)
        .ok()
        .filter(|offset| (-OFFSET_SECONDS_MAX..=OFFSET_SECONDS_MAX).contains(offset))
        .ok_or_else(|| DecodeError::invalid("an offset from UTC is at most 18 hours"))
}
