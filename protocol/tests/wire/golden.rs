//! Pins the bytes of the wire. The expected bytes were written by another implementation of MessagePack, so that
//! a mistake in both our encoder and our decoder does not cancel itself out.

use graphite_protocol::message::{self, Message};
use graphite_protocol::messages::{Call, Empty, Hello, Ping, Run};
use graphite_protocol::{
    Date, DateTime, Decoder, Duration, Edge, Encoder, EntityRef, ErrorCode, FRAME_BYTES_MAX, LocalDateTime,
    LocalTime, Node, Pairs, Path, Plan, Step, Time, Value, Wire, WireError,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn encode(value: &impl Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.write(&mut Encoder::new(&mut bytes));
    bytes
}

fn decode<T: Wire>(bytes: &[u8]) -> T {
    let mut from = Decoder::new(bytes);
    let value = T::read(&mut from).unwrap();
    from.finish().unwrap();
    value
}

fn node(id: u64, labels: &[&str], properties: &[(&str, i64)]) -> Node {
    Node {
        id,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        properties: properties.iter().map(|(key, value)| ((*key).to_owned(), Value::Int(*value))).collect(),
    }
}

fn edge() -> Edge {
    Edge { id: 9, edge_type: "KNOWS".into(), start: 5, end: 6, properties: Vec::new() }
}

/// One value of each extension type, and its bytes.
fn extension_values() -> Vec<(Value, &'static str)> {
    let path = Path { nodes: vec![node(5, &["P"], &[("n", 1)]), node(6, &[], &[])], edges: vec![edge()] };
    let zoned = DateTime {
        seconds: 1_700_000_000,
        nanoseconds: 5,
        offset_seconds: 3600,
        zone: Some("Europe/Berlin".into()),
    };
    let utc = DateTime { seconds: 0, nanoseconds: 0, offset_seconds: 0, zone: None };
    vec![
        (node(5, &["P"], &[("n", 1)]).into(), "c70901930591a15081a16e01"),
        (edge().into(), "c70b029509a54b4e4f5753050680"),
        (path.into(), "c724039292c70901930591a15081a16e01c704019306908091c70b029509a54b4e4f5753050680"),
        (Date { days: -1 }.into(), "c7020491ff"),
        (LocalTime { nanoseconds: 86_399_999_999_999 }.into(), "c70a0591cf00004e94914effff"),
        (Time { nanoseconds: 1, offset_seconds: -3600 }.into(), "c705069201d1f1f0"),
        (LocalDateTime { seconds: -5, nanoseconds: 999_999_999 }.into(), "c7070792fbce3b9ac9ff"),
        (zoned.into(), "c7180894ce6553f10005cd0e10ad4575726f70652f4265726c696e"),
        (utc.into(), "c7050894000000c0"),
        (
            Duration { months: 14, days: -3, seconds: -1, nanoseconds: 500_000_000 }.into(),
            "c70909940efdffce1dcd6500",
        ),
    ]
}

#[test]
fn extension_types_have_these_bytes() {
    for (value, bytes) in extension_values() {
        assert_eq!(hex(&encode(&value)), bytes, "{value:?}");
        assert_eq!(decode::<Value>(&unhex(bytes)), value);
    }
}

#[test]
fn any_header_that_messagepack_has_for_an_extension_value_is_read() {
    // The payload of a date far away has 4 bytes with int16, 2 with a small one; 8 and 16 by other types.
    let days = |days| Value::from(Date { days });
    assert_eq!(decode::<Value>(&unhex("d5049107")), days(7));
    assert_eq!(decode::<Value>(&unhex("d60491d1fc18")), days(-1000));
    assert_eq!(decode::<Value>(&unhex("c80002049107")), days(7));
    assert_eq!(decode::<Value>(&unhex("c900000002049107")), days(7));
    let eight = Value::from(Duration { months: 1, days: 200, seconds: 1, nanoseconds: 200 });
    assert_eq!(decode::<Value>(&unhex("d7099401ccc801cd00c8")), eight);
}

#[test]
fn long_extension_values_get_longer_headers() {
    for (len, marker) in [(200usize, 0xc7u8), (300, 0xc8), (70_000, 0xc9)] {
        let mut long = node(1, &[], &[]);
        long.properties = vec![("text".into(), Value::String("x".repeat(len)))];
        let value = Value::List(vec![Value::from(long), Value::Int(7)]);
        let bytes = encode(&value);
        assert_eq!(bytes[1], marker);
        assert_eq!(decode::<Value>(&bytes), value);
    }
}

#[test]
fn a_node_written_piece_by_piece_has_the_same_bytes() {
    let mut bytes = Vec::new();
    let mut out = Encoder::new(&mut bytes);
    let mark = out.node_begin(5, ["P"].iter(), 1);
    out.str("n");
    out.int(1);
    out.ext_end(mark);
    let mark = out.edge_begin(9, "KNOWS", 5, 6, 0);
    out.ext_end(mark);
    assert_eq!(hex(&bytes), "c70901930591a15081a16e01c70b029509a54b4e4f5753050680");
}

/// A frame is its length and its body.
fn framed(body: &str) -> Vec<u8> {
    let body = unhex(body);
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

#[test]
fn requests_have_these_bytes() {
    let mut out = Vec::new();
    let hello = Hello { protocol: 1, client: "t/1".into(), monitor: None };
    message::write_request(&mut out, 1, &hello, FRAME_BYTES_MAX).unwrap();
    assert_eq!(out, framed("940001a568656c6c6f82a870726f746f636f6c01a6636c69656e74a3742f31"));

    out.clear();
    message::write_request(&mut out, 7, &Ping {}, FRAME_BYTES_MAX).unwrap();
    assert_eq!(out, framed("940007a470696e6780"));

    let steps = vec![
        Step::Node { ids: vec![EntityRef::Id(5)], required: false },
        Step::Properties { keys: vec!["n".into()] },
    ];
    let run = Run { plan: Plan::of(steps), params: Pairs::default(), fetch: None, timeout_ms: None };
    out.clear();
    message::write_request(&mut out, 300, &run, FRAME_BYTES_MAX).unwrap();
    let bytes = "9400cd012ca372756e81a4706c616e82a17601a573746570739282a26f70a46e6f6465a3696473910582a26f70aa70726f\
                 70657274696573a46b65797391a16e";
    assert_eq!(out, framed(bytes));
    match Message::read(&out[4..]).unwrap() {
        Message::Request { msgid: 300, method, params } => {
            assert_eq!(Call::read(method, params), Ok(Call::Run(run)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn responses_have_these_bytes() {
    let mut out = Vec::new();
    message::write_response(&mut out, 7, &Empty {}, FRAME_BYTES_MAX);
    assert_eq!(out, framed("940107c080"));

    out.clear();
    let error = WireError::new(ErrorCode::Busy, "m");
    message::write_error(&mut out, 7, &error, FRAME_BYTES_MAX);
    let bytes = "94010783a4636f6465a462757379a76d657373616765a16da9726574727961626c65c3c0";
    assert_eq!(out, framed(bytes));
    assert_eq!(Message::read(&out[4..]), Ok(Message::Response { msgid: 7, result: Err(error) }));

    out.clear();
    let error = WireError::new(ErrorCode::Io, "m").with_detail("a", 1);
    message::write_error(&mut out, 7, &error, FRAME_BYTES_MAX);
    let bytes =
        "94010784a4636f6465a2696fa76d657373616765a16da9726574727961626c65c2a764657461696c7381a16101c0";
    assert_eq!(out, framed(bytes));
    assert_eq!(Message::read(&out[4..]), Ok(Message::Response { msgid: 7, result: Err(error) }));
}

#[test]
fn notifications_are_read() {
    match Message::read(&unhex("9302a77069637475726580")).unwrap() {
        Message::Notification { method: "picture", params } => {
            assert_eq!(params.read::<Empty>(), Ok(Empty {}))
        }
        other => panic!("{other:?}"),
    }
}
