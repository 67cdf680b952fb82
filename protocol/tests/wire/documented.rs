//! `docs/protocol.md` and the code say the same.

use graphite_protocol::messages::Call;
use graphite_protocol::{Decoder, Encoder, ErrorCode, FRAME_BYTES_MAX, Plan, Step, Value, Wire};

const PAGE: &str = include_str!("../../../docs/protocol.md");

/// Rows of all tables of the page, as cells.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    PAGE.lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// The examples of plans, as JSON.
fn examples() -> Vec<&'static str> {
    PAGE.split("```").map(str::trim).filter(|block| block.starts_with("{\"v\": 1, \"steps\": [{")).collect()
}

#[test]
fn every_error_code_is_listed_with_whether_to_retry() {
    let listed: Vec<(&str, &str)> = rows()
        .skip_while(|cells| cells[..2] != ["code", "retry"])
        .skip(2)
        .map(|cells| (cells[0], cells[1]))
        .collect();
    let expected: Vec<(String, &str)> = ErrorCode::ALL
        .iter()
        .map(|code| {
            let retry = match code {
                ErrorCode::CommitUnknown => "never",
                code if code.retryable() => "yes",
                _ => "",
            };
            (format!("`{code}`"), retry)
        })
        .collect();
    let expected: Vec<(&str, &str)> = expected.iter().map(|(code, retry)| (code.as_str(), *retry)).collect();
    assert_eq!(listed, expected);
}

#[test]
fn every_method_and_every_step_is_listed() {
    let firsts: Vec<&str> = rows().map(|cells| cells[0]).collect();
    for name in Call::METHODS.iter().chain(Step::OPS).filter(|name| **name != "hello") {
        assert!(firsts.contains(&format!("`{name}`").as_str()), "{name} is in no table");
    }
}

#[test]
fn limits_are_those_of_the_code() {
    assert!(PAGE.contains(&format!("at most {} unless", thousands(FRAME_BYTES_MAX))));
    assert!(PAGE.contains(&format!("nest at most {} levels", graphite_protocol::NESTING_MAX)));
    assert!(PAGE.contains(&format!("at most {} MiB of memory", graphite_protocol::DECODED_BYTES_MAX >> 20)));
    assert!(PAGE.contains(&format!("1 to {} bytes", graphite_protocol::TOKEN_BYTES_MAX)));
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

fn from_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => value.into(),
        serde_json::Value::Number(number) => number.as_i64().unwrap().into(),
        serde_json::Value::String(text) => text.into(),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(from_json).collect()),
        serde_json::Value::Object(map) => {
            Value::Map(map.into_iter().map(|(key, value)| (key, from_json(value))).collect())
        }
    }
}

#[test]
fn the_examples_are_plans() {
    assert_eq!(examples().len(), 7);
    for example in examples() {
        let mut bytes = Vec::new();
        from_json(serde_json::from_str(example).unwrap()).write(&mut Encoder::new(&mut bytes));
        let plan = Plan::read(&mut Decoder::new(&bytes)).unwrap();
        plan.shape().unwrap_or_else(|error| panic!("{error} in {example}"));
    }
}
