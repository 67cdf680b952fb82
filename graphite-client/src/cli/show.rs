//! Values for people and for programs.

use std::fmt::Write;

use graphite_client::text::{
    harmless, show_date, show_date_time, show_duration, show_local_date_time, show_local_time, show_time,
};
use graphite_client::{Edge, Node, Path, Value};
use serde_json::{Map, Value as Json, json};

/// A temporal value as ISO 8601 text.
pub(crate) fn temporal(value: &Value) -> Option<String> {
    Some(match value {
        Value::Date(date) => show_date(*date),
        Value::LocalTime(time) => show_local_time(*time),
        Value::Time(time) => show_time(*time),
        Value::LocalDateTime(time) => show_local_date_time(*time),
        Value::DateTime(time) => show_date_time(time),
        Value::Duration(duration) => show_duration(duration),
        _ => return None,
    })
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A float by the shortest digits that are read back as the same float.
pub(crate) fn float(value: f64) -> String {
    format!("{value:?}")
}

/// A value in a table's cell: strings bare.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Nil => String::new(),
        Value::String(text) => harmless(text).into_owned(),
        Value::Map(pairs) => pairs_text(pairs),
        Value::List(items) if items.iter().all(|item| matches!(item, Value::String(_))) => {
            items.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        other => inner(other),
    }
}

/// A value within another: strings quoted.
fn inner(value: &Value) -> String {
    match value {
        Value::Nil => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => float(*value),
        Value::String(text) => format!("\"{}\"", harmless(text).replace('"', "\\\"")),
        Value::Bytes(bytes) => format!("0x{}", hex(bytes)),
        Value::List(items) => format!("[{}]", items.iter().map(inner).collect::<Vec<_>>().join(", ")),
        Value::Map(pairs) => format!("{{{}}}", pairs_text(pairs)),
        Value::Node(node) => node_text(node),
        Value::Edge(edge) => edge_text(edge),
        Value::Path(path) => {
            path.nodes.iter().map(|node| node.id.to_string()).collect::<Vec<_>>().join(" - ")
        }
        temporal_value => harmless(&temporal(temporal_value).unwrap_or_default()).into_owned(),
    }
}

fn pairs_text(pairs: &[(String, Value)]) -> String {
    pairs
        .iter()
        .map(|(key, value)| format!("{}: {}", harmless(key), inner(value)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn node_text(node: &Node) -> String {
    let labels: String = node.labels.iter().map(|label| format!(":{}", harmless(label))).collect();
    format!("({}{labels} {{{}}})", node.id, pairs_text(&node.properties))
}

fn edge_text(edge: &Edge) -> String {
    let (id, start, end) = (edge.id, edge.start, edge.end);
    format!("[{id}:{} {start} -> {end} {{{}}}]", harmless(&edge.edge_type), pairs_text(&edge.properties))
}

/// A value as JSON. Temporal values are text, bytes hexadecimal text, floats that JSON does not have their names.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(value) if value.is_finite() => json!(value),
        Value::Float(value) => json!(float(*value)),
        Value::String(text) => json!(text),
        Value::Bytes(bytes) => json!(hex(bytes)),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(pairs) => pairs_json(pairs),
        Value::Node(node) => node_json(node),
        Value::Edge(edge) => edge_json(edge),
        Value::Path(path) => path_json(path),
        temporal_value => json!(temporal(temporal_value)),
    }
}

fn pairs_json(pairs: &[(String, Value)]) -> Json {
    Json::Object(pairs.iter().map(|(key, value)| (key.clone(), to_json(value))).collect::<Map<_, _>>())
}

fn node_json(node: &Node) -> Json {
    json!({ "id": node.id, "labels": node.labels, "properties": pairs_json(&node.properties) })
}

fn edge_json(edge: &Edge) -> Json {
    json!({
        "id": edge.id,
        "type": edge.edge_type,
        "start": edge.start,
        "end": edge.end,
        "properties": pairs_json(&edge.properties),
    })
}

fn path_json(path: &Path) -> Json {
    json!({
        "nodes": path.nodes.iter().map(node_json).collect::<Vec<_>>(),
        "edges": path.edges.iter().map(edge_json).collect::<Vec<_>>(),
    })
}

/// JSON as text that is inert on a terminal too: what acts on one is escaped, which changes nothing for a reader
/// of JSON.
pub(crate) fn json_text(value: &Json) -> String {
    let text = value.to_string();
    if graphite_client::text::is_harmless(&text) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if graphite_client::text::is_harmless(c.encode_utf8(&mut [0; 4])) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

/// A number with its thousands apart: 57,645.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many, with the word in its number: "1 node", "57,645 nodes".
pub(crate) fn count(value: u64, word: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {word}{plural}", number(value))
}

/// Bytes for people: 1.9 MB.
pub(crate) fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if value < 1000 {
        return format!("{value} B");
    }
    let mut rest = value as f64 / 1000.0;
    let mut unit = 0;
    while rest >= 999.5 && unit + 1 < UNITS.len() {
        rest /= 1000.0;
        unit += 1;
    }
    if rest < 9.95 { format!("{rest:.1} {}", UNITS[unit]) } else { format!("{rest:.0} {}", UNITS[unit]) }
}

/// A time for people: 0.8 ms, 1.24 s, 3m05s, 2d04h.
pub(crate) fn elapsed(time: std::time::Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = time.as_secs();
    match whole {
        0 if seconds < 0.000_999_5 => format!("{:.0} us", seconds * 1e6),
        0 if seconds < 0.009_95 => format!("{:.1} ms", seconds * 1e3),
        0 if seconds < 0.999_5 => format!("{:.0} ms", seconds * 1e3),
        0..60 => format!("{seconds:.2} s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graphite_client::{Date, Duration};
    use std::time::Duration as Time;

    fn node() -> Value {
        let properties = vec![("code".to_owned(), "A\"U\nS".into()), ("lat".to_owned(), 30.0.into())];
        Value::from(Node { id: 3, labels: vec!["airport".to_owned(), "\x1b[2J".to_owned()], properties })
    }

    #[test]
    fn cells() {
        for (value, shown) in [
            (Value::Nil, ""),
            ("a\x1bb".into(), "a\\u{1b}b"),
            (1.0.into(), "1.0"),
            (1e300.into(), "1e300"),
            (vec![1u8, 255].into(), "0x01ff"),
            (vec![Value::from("x"), "y z".into()].into(), "x, y z"),
            (vec![Value::from("x"), 1.into(), Value::Nil].into(), "[\"x\", 1, null]"),
            (Date { days: 0 }.into(), "1970-01-01"),
            (node(), "(3:airport:\\u{1b}[2J {code: \"A\\\"U\\nS\", lat: 30.0})"),
            (
                Edge { id: 1, edge_type: "route".to_owned(), start: 2, end: 3, properties: vec![] }.into(),
                "[1:route 2 -> 3 {}]",
            ),
        ] {
            assert_eq!(cell(&value), shown);
        }
    }

    #[test]
    fn json_says_the_same_and_is_inert() {
        let text = json_text(&to_json(&node()));
        assert_eq!(
            text,
            r#"{"id":3,"labels":["airport","\u001b[2J"],"properties":{"code":"A\"U\nS","lat":30.0}}"#
        );
        let odd: Value = "\u{202e}\u{9b}é\u{e0041}🛫".into();
        let text = json_text(&to_json(&odd));
        assert_eq!(text, "\"\\u202e\\u009bé\\udb40\\udc41🛫\"");
        assert_eq!(serde_json::from_str::<String>(&text).ok().as_deref(), odd.as_str());
        assert_eq!(to_json(&f64::NAN.into()), json!("NaN"));
        let duration = Duration { months: 0, days: 1, seconds: 0, nanoseconds: 0 };
        assert_eq!(to_json(&duration.into()), json!("P1D"));
    }

    #[test]
    fn amounts_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1, 2].map(|n| count(n, "node")), ["1 node", "2 nodes"]);
        assert_eq!(
            [999, 1000, 9_960, 1_887_565, 999_600_000].map(bytes),
            ["999 B", "1.0 kB", "10 kB", "1.9 MB", "1.0 GB"]
        );
        let shown = [120, 1_500, 45_000, 1_240_000, 185_000_000, 187_200_000_000]
            .map(|us| elapsed(Time::from_micros(us)));
        assert_eq!(shown, ["120 us", "1.5 ms", "45 ms", "1.24 s", "3m05s", "2d04h"]);
    }
}
