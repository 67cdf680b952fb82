//! Reads of one whole node by a parameter, which go a way of their own, beside the same read by an id in the plan, which
//! does not: both answer the same, whatever the node is like and wherever it is read.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::*;
use graphite_protocol::messages::{Mode, Run, RunReply};
use graphite_protocol::{
    Date, Duration, EntityRef, ErrorCode, NewNode, Operand, Plan, Step, Value, WireError,
};

fn by_param(id: u64, required: bool) -> Run {
    let plan = Plan::of([Step::Node { ids: vec![EntityRef::Param("id".into())], required }]);
    let params = [("id", Value::Int(id.cast_signed()))].into_iter().collect();
    Run { plan, params, fetch: None, timeout_ms: None }
}

fn by_plan(id: u64, required: bool) -> Run {
    run(Plan::of([Step::Node { ids: vec![id.into()], required }]))
}

/// Both answers, which are the same; errors by their codes.
fn read(client: &mut Client, id: u64, required: bool) -> Result<RunReply, ErrorCode> {
    let code = |error: WireError| error.code;
    let [found, expected] =
        [by_param(id, required), by_plan(id, required)].map(|run| client.call(&run).map_err(code));
    assert_eq!(found, expected, "{id:x}");
    found
}

/// Nodes with every kind of value, with more properties than a short map has, with a value in pages of its own, and bare.
fn create_all(client: &mut Client) -> Vec<u64> {
    let values = [
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::Float(-0.0),
        Value::String("ü".repeat(40)),
        Value::Bytes(vec![0, 255]),
        Value::List(vec![Value::Int(1), Value::String("a".into())]),
        Value::Date(Date { days: -1 }),
        Duration { months: 1, days: -2, seconds: -3, nanoseconds: 4 }.into(),
    ];
    let node = |labels: &[&str], properties: Vec<(String, Value)>| NewNode {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        properties: properties.into_iter().map(|(key, value)| (key, Operand::Value(value))).collect(),
    };
    let numbered = |count: usize| (0..count).map(|n| (format!("p{n}"), Value::Int(n as i64))).collect();
    let all = values.into_iter().enumerate().map(|(n, value)| (format!("v{n}"), value)).collect();
    let rows = vec![
        node(&["A", "B"], all),
        node(&[], numbered(15)),
        node(&["A"], numbered(16)),
        node(&["B"], vec![("long".into(), Value::String("x".repeat(100_000)))]),
        node(&[], vec![]),
    ];
    let reply = client.run(Plan::of([Step::CreateNodes { rows }, Step::Ids {}])).unwrap();
    reply.rows.iter().map(|row| int(&row[0]) as u64).collect()
}

#[test]
fn a_lookup_answers_as_any_other_plan() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    let ids = create_all(&mut client);
    for mode in [None, Some(Mode::Read), Some(Mode::Write)] {
        mode.into_iter().for_each(|mode| client.begin(mode));
        for &id in &ids {
            let reply = read(&mut client, id, true).unwrap();
            assert_eq!(reply.rows[0][0].as_node().unwrap().id, id);
        }
        let nobody = [ids[0] + (1 << 48), ids[0] + 1000, u64::MAX];
        for id in nobody {
            assert_eq!(read(&mut client, id, false).unwrap().rows.len(), 0);
        }
        mode.into_iter().for_each(|_| client.rollback());
    }
    assert_eq!(read(&mut client, ids[0] + 1000, true), Err(ErrorCode::NodeNotFound));
    daemon.stop();
}

#[test]
fn parameters_that_are_no_id_get_their_errors() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    let id = client.create(1).unwrap();
    let with = |params: Vec<(&'static str, Value)>| Run {
        params: params.into_iter().collect(),
        ..by_param(id, true)
    };
    let id = Value::Int(id.cast_signed());
    assert_eq!(code(client.call(&with(vec![]))), ErrorCode::ParameterMissing);
    assert_eq!(code(client.call(&with(vec![("other", id.clone())]))), ErrorCode::ParameterMissing);
    assert!(client.call(&with(vec![("id", Value::String("1".into()))])).is_err());
    let reply = client.call(&with(vec![("other", Value::Nil), ("id", id)])).unwrap();
    let node = reply.rows[0][0].clone();
    assert_eq!(client.call(&with(vec![("id", node.clone())])).unwrap().rows, [[node]]);
    daemon.stop();
}
