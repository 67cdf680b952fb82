//! What is written is read back the same, and another implementation of MessagePack finds it well formed.

use graphite_protocol::message::{self, Message};
use graphite_protocol::messages::{
    Call, Cancel, Fetch, FetchReply, Hello, Kill, Query, Request, Run, RunReply, Summary, TakePicture, Watch,
};
use graphite_protocol::{
    Decoder, Encoder, ErrorCode, FRAME_BYTES_MAX, FetchWriter, PROTOCOL_VERSION, Pairs, RowsWriter, Token,
    Value, Wire, WireError,
};
use proptest::prelude::*;

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

/// Sends a request through a frame and an envelope.
fn send<R: Request>(request: &R, msgid: u32) -> Call {
    let mut out = Vec::new();
    message::write_request(&mut out, msgid, request, FRAME_BYTES_MAX).unwrap();
    match Message::read(&out[4..]).unwrap() {
        Message::Request { msgid: arrived, method, params } => {
            assert_eq!((arrived, method), (msgid, R::METHOD));
            Call::read(method, params).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn values(value in crate::arbitrary::value()) {
        let bytes = encode(&value);
        rmp_serde::from_slice::<serde::de::IgnoredAny>(&bytes).unwrap();
        prop_assert_eq!(decode::<Value>(&bytes), value);
    }

    #[test]
    fn a_value_is_skipped_as_far_as_it_is_read(value in crate::arbitrary::value()) {
        let mut bytes = encode(&value);
        bytes.push(0x07);
        let mut from = Decoder::new(&bytes);
        from.skip().unwrap();
        prop_assert_eq!(from.rest(), [0x07]);
    }

    #[test]
    fn runs(
        plan in crate::arbitrary::plan(),
        params in crate::arbitrary::params(),
        fetch in any::<Option<u32>>(),
        timeout_ms in any::<Option<u64>>(),
        msgid in any::<u32>(),
    ) {
        let run = Run { plan, params, fetch, timeout_ms };
        prop_assert_eq!(send(&run, msgid), Call::Run(run));
    }

    #[test]
    fn queries(text in crate::arbitrary::string(), params in crate::arbitrary::params(), fetch in any::<Option<u32>>()) {
        let query = Query { text, params, fetch, timeout_ms: None };
        prop_assert_eq!(send(&query, 0), Call::Query(query));
    }

    #[test]
    fn orders_of_a_monitor(
        session in any::<u64>(),
        transaction in any::<Option<u64>>(),
        statement in any::<Option<u64>>(),
        interval_ms in any::<u64>(),
    ) {
        let cancel = Cancel { session, transaction, statement };
        prop_assert_eq!(send(&cancel, 1), Call::Cancel(cancel));
        let kill = Kill { session, transaction };
        prop_assert_eq!(send(&kill, 2), Call::Kill(kill));
        let watch = Watch { interval_ms };
        prop_assert_eq!(send(&watch, 3), Call::Watch(watch));
        prop_assert_eq!(send(&TakePicture {}, 4), Call::TakePicture(TakePicture {}));
    }

    #[test]
    fn rows_written_one_by_one_are_the_reply(
        rows in prop::collection::vec([crate::arbitrary::value(), crate::arbitrary::value()], 0..6),
        cursor in any::<Option<u64>>(),
        wrote in any::<bool>(),
    ) {
        let summary = Summary { nodes_created: 3, ..Summary::default() };
        let mut out = Vec::new();
        let response = message::begin_response(&mut out, 5);
        let mut encoder = Encoder::new(&mut out);
        let mut writer = RowsWriter::begin(&mut encoder, ["a", "b"].iter());
        for row in &rows {
            writer.row(&mut encoder);
            row.iter().for_each(|value| value.write(&mut encoder));
        }
        writer.finish(&mut encoder, cursor, wrote.then_some(&summary));
        message::end_response(&mut out, response, FRAME_BYTES_MAX).unwrap();

        let Message::Response { msgid: 5, result: Ok(result) } = Message::read(&out[4..]).unwrap() else {
            panic!("not a response")
        };
        let rows: Vec<Vec<Value>> = rows.into_iter().map(Vec::from).collect();
        let summary = if wrote { summary } else { Summary::default() };
        let columns = vec!["a".into(), "b".into()];
        prop_assert_eq!(result.read::<RunReply>().unwrap(), RunReply { columns, rows, cursor, summary });
    }
}

#[test]
fn fetched_rows_written_one_by_one_are_the_reply() {
    for cursor in [None, Some(7)] {
        let mut bytes = Vec::new();
        let mut out = Encoder::new(&mut bytes);
        let mut writer = FetchWriter::begin(&mut out, 1);
        for number in 0..3 {
            writer.row(&mut out);
            out.int(number);
        }
        assert_eq!(writer.count(), 3);
        writer.finish(&mut out, cursor);
        let rows = (0..3).map(|number| vec![Value::Int(number)]).collect();
        assert_eq!(decode::<FetchReply>(&bytes), FetchReply { rows, cursor });
    }
}

#[test]
fn floats_keep_their_bits() {
    for bits in [f64::NAN.to_bits(), 0x7ff8_dead_beef_0001, (-0.0f64).to_bits(), f64::NEG_INFINITY.to_bits()]
    {
        let Value::Float(float) = decode(&encode(&Value::Float(f64::from_bits(bits)))) else {
            panic!("not a float")
        };
        assert_eq!(float.to_bits(), bits);
    }
}

#[test]
fn integers_at_the_ends_of_their_range() {
    for int in [i64::MIN, -32_769, -129, -33, -32, -1, 0, 127, 128, 65_536, 1 << 32, i64::MAX] {
        assert_eq!(decode::<Value>(&encode(&Value::Int(int))), Value::Int(int));
    }
    assert_eq!(decode::<u64>(&encode(&u64::MAX)), u64::MAX);
}

#[test]
fn what_is_none_is_left_out() {
    let bytes = encode(&Fetch { cursor: 1, n: 2 });
    assert_eq!(bytes[0], 0x82);
    let query = Query { text: "x".into(), params: Pairs::default(), fetch: None, timeout_ms: None };
    assert_eq!(encode(&query), b"\x81\xa4text\xa1x");
    // Nil says the same as leaving out.
    assert_eq!(decode::<Query>(b"\x82\xa4text\xa1x\xa5fetch\xc0"), query);
}

#[test]
fn every_code_keeps_its_word() {
    for code in ErrorCode::ALL {
        assert_eq!(&ErrorCode::from(code.as_str()), code);
        assert!(code.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{code}");
        let error = WireError::new(code.clone(), "what happened").with_detail("page", 7);
        assert_eq!(decode::<WireError>(&encode(&error)), error);
    }
    assert!(!ErrorCode::CommitUnknown.retryable());
}

#[test]
fn a_code_of_a_newer_daemon_survives() {
    let error = WireError {
        code: ErrorCode::Other("moon-phase".into()),
        message: "wait".into(),
        retryable: true,
        details: Pairs::default(),
    };
    assert_eq!(decode::<WireError>(&encode(&error)), error);
}

#[test]
fn a_known_code_is_not_made_retryable_by_the_other_side() {
    let mut error = WireError::new(ErrorCode::CommitUnknown, "hm");
    error.retryable = true;
    assert!(!decode::<WireError>(&encode(&error)).retryable);
}

#[test]
fn fields_of_a_newer_daemon_are_read_over() {
    // {"rows": [], "moon": {"phase": [1, nil]}}
    let bytes = b"\x82\xa4rows\x90\xa4moon\x81\xa5phase\x92\x01\xc0";
    assert_eq!(decode::<FetchReply>(bytes), FetchReply { rows: Vec::new(), cursor: None });
}

#[test]
fn a_hello_of_another_version_is_understood_and_refused_with_both_versions() {
    // {"protocol": 9, "client": "x", "colour": "red"}
    let bytes = b"\x83\xa8protocol\x09\xa6client\xa1x\xa6colour\xa3red";
    let hello = decode::<Hello>(bytes);
    assert_eq!(hello.protocol, 9);
    let error = WireError::version_mismatch(hello.protocol, PROTOCOL_VERSION, "graphited/0.1.0");
    assert_eq!(error.code, ErrorCode::VersionMismatch);
    assert!(!error.retryable);
    assert_eq!(error.details.get("client_protocol"), Some(&Value::Int(9)));
    assert_eq!(error.details.get("server_protocol"), Some(&Value::Int(1)));
    assert!(error.message.contains("version 9") && error.message.contains("version 1"));
}

#[test]
fn tokens_are_bytes_or_strings_of_1_to_32_bytes() {
    let token = Token::new(*b"abc").unwrap();
    assert_eq!(decode::<Token>(&encode(&token)), token);
    assert_eq!(decode::<Token>(b"\xa3abc"), token);
    assert!(Token::new([0; 32]).is_ok());
    assert!(Token::new([0; 33]).is_err());
    assert!(Token::new([]).is_err());
}

#[test]
fn a_result_too_long_for_a_frame_becomes_an_error() {
    let mut out = Vec::new();
    let reply = FetchReply { rows: vec![vec![Value::Bytes(vec![0; 5000])]], cursor: None };
    message::write_response(&mut out, 3, &reply, 1000);
    let Message::Response { msgid: 3, result: Err(error) } = Message::read(&out[4..]).unwrap() else {
        panic!("not an error")
    };
    assert_eq!(error.code, ErrorCode::TooLarge);
}

#[test]
fn a_result_too_long_for_a_frame_leaves_nothing_of_itself() {
    let mut out = b"before".to_vec();
    let response = message::begin_response(&mut out, 3);
    Value::Bytes(vec![0; 5000]).write(&mut Encoder::new(&mut out));
    let error = message::end_response(&mut out, response, 1000).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert_eq!(out, b"before");
}

#[test]
fn an_error_that_quotes_a_long_text_stays_short() {
    let error = WireError::unknown_method(&"€".repeat(1 << 20));
    let mut out = Vec::new();
    message::write_error(&mut out, 3, &error, FRAME_BYTES_MAX);
    assert!(out.len() < 8 << 10);
    let long = WireError::new(ErrorCode::Corrupt, "m").with_detail("d", "x".repeat(9000));
    out.clear();
    message::write_error(&mut out, 3, &long, 5000);
    let Message::Response { msgid: 3, result: Err(error) } = Message::read(&out[4..]).unwrap() else {
        panic!("not an error")
    };
    assert_eq!(error, WireError::new(ErrorCode::Corrupt, "m"));
}
