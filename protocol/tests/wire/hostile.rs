//! Bytes from a stranger: refused with a typed error, without a panic, a deep stack or much memory.

use graphite_protocol::message::{self, Message};
use graphite_protocol::messages::{Call, Run, RunReply, StatusReply};
use graphite_protocol::{
    DECODED_BYTES_MAX, DecodeError, DecodeErrorKind, Decoder, Encoder, ErrorCode, FRAME_BYTES_MAX,
    NESTING_MAX, Pairs, Plan, Value, Wire, WireError,
};
use proptest::prelude::*;

fn read<T: Wire>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut from = Decoder::new(bytes);
    let value = T::read(&mut from)?;
    from.finish()?;
    Ok(value)
}

fn kind<T: Wire + std::fmt::Debug>(bytes: &[u8]) -> DecodeErrorKind {
    read::<T>(bytes).unwrap_err().kind.clone()
}

/// Reads a frame's body the way the daemon does, all the way.
fn serve(frame: &[u8]) -> Result<Call, WireError> {
    match Message::read(frame)? {
        Message::Request { method, params, .. } => Call::read(method, params),
        _ => Err(WireError::new(ErrorCode::BadRequest, "not a request")),
    }
}

fn request(method: &str, params: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = Encoder::new(&mut bytes);
    out.list(4);
    out.uint(0);
    out.uint(1);
    out.str(method);
    out.raw(params);
    bytes
}

fn run_frame(run: &Run) -> Vec<u8> {
    let mut out = Vec::new();
    message::write_request(&mut out, 1, run, FRAME_BYTES_MAX).unwrap();
    out.split_off(4)
}

proptest! {
    // Each case reads its frame as often as that has bytes.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_truncation_of_a_request_is_a_request(plan in crate::arbitrary::plan(), param in crate::arbitrary::value()) {
        let params = Pairs::from_iter([("p", param)]);
        let frame = run_frame(&Run { plan, params, fetch: Some(10), timeout_ms: None });
        prop_assert!(serve(&frame).is_ok());
        for len in (0..frame.len()).step_by(frame.len().div_ceil(2000)) {
            prop_assert!(serve(&frame[..len]).is_err(), "{len} of {} bytes", frame.len());
        }
    }
}

proptest! {
    #[test]
    fn a_changed_byte_never_panics(plan in crate::arbitrary::plan(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut frame = run_frame(&Run { plan, params: Pairs::default(), fetch: None, timeout_ms: None });
        let at = at.index(frame.len());
        frame[at] = byte;
        if let Ok(Call::Run(run)) = serve(&frame) {
            let _ = run.plan.shape();
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = serve(&bytes);
        let _ = message::request_msgid(&bytes);
        let _ = read::<Value>(&bytes);
        let _ = read::<Plan>(&bytes);
        let _ = read::<RunReply>(&bytes);
        let _ = read::<StatusReply>(&bytes);
        let _ = read::<WireError>(&bytes);
        for method in Call::METHODS {
            let _ = serve(&request(method, &bytes));
        }
    }

    #[test]
    fn random_containers_never_panic(bytes in prop::collection::vec(prop_oneof![
        Just(0x81u8), Just(0x92), Just(0xa1), Just(0xc0), Just(0xc7), Just(0xdc), Just(0xdf), 0u8..12, any::<u8>()
    ], 0..200)) {
        let _ = serve(&request("run", &bytes));
        let _ = read::<Value>(&bytes);
        let _ = Decoder::new(&bytes).skip();
    }
}

/// A list in a list in a list.
fn nested_lists(levels: usize) -> Vec<u8> {
    let mut bytes = vec![0x91; levels - 1];
    bytes.push(0x90);
    bytes
}

#[test]
fn lists_nest_up_to_the_limit() {
    let max = NESTING_MAX as usize;
    assert!(read::<Value>(&nested_lists(max - 1)).is_ok());
    assert!(read::<Value>(&nested_lists(max)).is_ok());
    assert_eq!(kind::<Value>(&nested_lists(max + 1)), DecodeErrorKind::Nesting);
    assert_eq!(kind::<Value>(&nested_lists(1_000_000)), DecodeErrorKind::Nesting);
    let skip = |levels| Decoder::new(&nested_lists(levels)).skip().map_err(|error| error.kind.clone());
    assert_eq!(skip(max), Ok(()));
    assert_eq!(skip(max + 1), Err(DecodeErrorKind::Nesting));
    assert_eq!(skip(1_000_000), Err(DecodeErrorKind::Nesting));
}

#[test]
fn maps_and_extension_values_count_as_levels() {
    let maps = |levels: usize| [b"\x81\xa1k".repeat(levels - 1), vec![0x80]].concat();
    assert!(read::<Value>(&maps(32)).is_ok());
    assert_eq!(kind::<Value>(&maps(33)), DecodeErrorKind::Nesting);

    // A node whose property is a list of lists: the node's array, its map, the lists.
    let node = |levels: usize| {
        let payload = [b"\x93\x01\x90\x81\xa1k".as_slice(), &nested_lists(levels)].concat();
        [&[0xc7, u8::try_from(payload.len()).unwrap(), 1], payload.as_slice()].concat()
    };
    assert!(read::<Value>(&node(30)).is_ok());
    assert_eq!(kind::<Value>(&node(31)), DecodeErrorKind::Nesting);
}

#[test]
fn nodes_within_nodes_do_not_deepen_the_stack() {
    // Each level is a node with a property that is a node, built from the inside.
    let mut bytes = vec![0xc0];
    for _ in 0..1000 {
        let mut outer = Vec::new();
        let mut out = Encoder::new(&mut outer);
        let mark = out.node_begin(1, [""; 0].iter(), 1);
        out.str("k");
        out.raw(&bytes);
        out.ext_end(mark);
        bytes = outer;
    }
    assert_eq!(kind::<Value>(&bytes), DecodeErrorKind::Nesting);
}

#[test]
fn the_envelope_counts_as_levels() {
    // Envelope, params, the map of parameters, and then the value.
    let frame = |levels| {
        request("query", &[b"\x82\xa4text\xa1x\xa6params\x81\xa1p", &*nested_lists(levels)].concat())
    };
    assert!(serve(&frame(29)).is_ok());
    let error = serve(&frame(30)).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert!(error.message.contains("32 levels"), "{error}");
    assert!(serve(&frame(1_000_000)).is_err());
}

#[test]
fn nesting_does_not_overflow_a_small_stack() {
    let work = || {
        assert_eq!(kind::<Value>(&nested_lists(1_000_000)), DecodeErrorKind::Nesting);
        assert!(read::<Value>(&nested_lists(32)).is_ok());
    };
    std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn wide_bombs_are_refused_before_they_take_memory() {
    let list = |len: u32, element: &[u8]| {
        let mut bytes = vec![0xdd];
        bytes.extend(len.to_be_bytes());
        bytes.extend(element.repeat(len as usize));
        bytes
    };
    let ten_million_nils = list(10_000_000, &[0xc0]);
    assert_eq!(kind::<Value>(&ten_million_nils), DecodeErrorKind::TooLarge);
    assert_eq!(kind::<Vec<String>>(&list(10_000_000, &[0xa0])), DecodeErrorKind::TooLarge);
    assert_eq!(kind::<Vec<Vec<Value>>>(&list(10_000_000, &[0x90])), DecodeErrorKind::TooLarge);
    // A million lists of ten each: no single one is large.
    assert_eq!(
        kind::<Value>(&list(1_000_000, &[&[0x9a][..], &[0xc0; 10]].concat())),
        DecodeErrorKind::TooLarge
    );
    // What fits is read.
    let fitting = u32::try_from(DECODED_BYTES_MAX / size_of::<Value>() - 1).unwrap();
    assert!(read::<Value>(&list(fitting, &[0xc0])).is_ok());

    let error =
        serve(&request("query", &[b"\x82\xa4text\xa1x\xa6params\x81\xa1p", &*ten_million_nils].concat()));
    assert_eq!(error.unwrap_err().code, ErrorCode::TooLarge);
}

#[test]
fn claimed_lengths_without_bytes_are_truncations() {
    for head in ["\u{dd}", "\u{df}", "\u{db}", "\u{c6}"] {
        let mut bytes = vec![u8::try_from(u32::from(head.chars().next().unwrap())).unwrap()];
        bytes.extend([0xff; 4]);
        assert_eq!(kind::<Value>(&bytes), DecodeErrorKind::Truncated);
    }
    assert_eq!(kind::<Value>(&[0xc9, 0xff, 0xff, 0xff, 0xff, 1]), DecodeErrorKind::Truncated);
}

#[test]
fn doubled_keys_are_refused() {
    let twice = |key: &str| DecodeErrorKind::DuplicateKey { key: key.into() };
    assert_eq!(kind::<Value>(b"\x82\xa1k\x01\xa1k\x02"), twice("k"));
    let mut wide = vec![0xde, 0, 40];
    for number in 0..39u8 {
        wide.extend([0xa1, b'0' + number, 0xc0]);
    }
    let fine = [&wide[..], b"\xa1z\xc0"].concat();
    assert!(read::<Value>(&fine).is_ok());
    wide.extend(b"\xa17\xc0");
    assert_eq!(kind::<Value>(&wide), twice("7"));

    let doubled = |params: &[u8], method| serve(&request(method, params)).unwrap_err();
    assert!(doubled(b"\x83\xa6cursor\x01\xa1n\x02\xa1n\x02", "fetch").message.contains("\"n\" occurs twice"));
    let steps = b"\x81\xa4plan\x82\xa1v\x01\xa5steps\x91";
    for step in [
        &b"\x82\xa2op\xa5limit\xa2op\xa5limit"[..],
        b"\x83\xa2op\xa5limit\xa1n\x01\xa1n\x01",
        b"\x83\xa2op\xa4node\xa2id\x01\xa3ids\x91\x01",
    ] {
        let error = doubled(&[&steps[..], step].concat(), "run");
        assert!(error.message.contains("occurs twice"), "{error}");
    }
    assert!(
        doubled(b"\x81\xa4plan\x83\xa1v\x01\xa5steps\x90\xa1v\x01", "run")
            .message
            .contains("\"v\" occurs twice")
    );
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    assert_eq!(kind::<Value>(b"\xa2\xff\xfe"), DecodeErrorKind::Utf8);
    assert_eq!(kind::<Value>(b"\x81\xa1\xff\x01"), DecodeErrorKind::Utf8);
    assert_eq!(serve(&request("query", b"\x81\xa4text\xa1\xff")).unwrap_err().code, ErrorCode::BadRequest);
    assert!(Message::read(b"\x94\x00\x01\xa1\xff\x80").is_err());
}

#[test]
fn trailing_bytes_are_refused() {
    assert_eq!(kind::<Value>(b"\x01\x01"), DecodeErrorKind::TrailingBytes { bytes: 1 });
    assert!(serve(&request("ping", b"\x80\xc0")).unwrap_err().message.contains("1 bytes follow"));
    // Also behind a value within an extension value.
    assert_eq!(kind::<Value>(b"\xc7\x03\x04\x91\x01\x01"), DecodeErrorKind::TrailingBytes { bytes: 1 });
    assert!(Message::read(b"\x94\x01\x01\x83\xa4code\xa1x\xa7message\xa0\xa9retryable\xc2\xc0\xc0").is_err());
}

#[test]
fn integers_past_64_signed_bits_are_refused() {
    let bytes = [&[0xcf][..], &(1u64 << 63).to_be_bytes()].concat();
    assert_eq!(kind::<Value>(&bytes), DecodeErrorKind::IntegerRange { into: "64 signed bits" });
    assert_eq!(read::<u64>(&bytes), Ok(1 << 63));
    assert_eq!(kind::<u64>(&[0xff]), DecodeErrorKind::IntegerRange { into: "64 unsigned bits" });
    assert_eq!(
        kind::<u32>(&[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
        DecodeErrorKind::IntegerRange { into: "32 unsigned bits" }
    );
}

#[test]
fn temporal_values_out_of_range_are_refused() {
    for bytes in [
        &b"\xc7\x0a\x05\x91\xcf\x00\x00\x4e\x94\x91\x4f\x00\x00"[..], // a nanosecond past the day
        b"\xc7\x07\x07\x92\x00\xce\x3b\x9a\xca\x00",                  // a nanosecond past the second
        b"\xc7\x07\x06\x92\x00\xd2\xff\xff\x02\xdf",                  // an offset of -18:00:01
        b"\xc7\x07\x06\x92\x00\xd2\x80\x00\x00\x00",                  // an offset of i32::MIN
        b"\xc7\x03\x04\x92\x01\x02",                                  // a date with two numbers
        b"\xc7\x01\x04\x90",                                          // a date with none
        b"\xc7\x02\x0a\x91\x01",                                      // extension type 10
        b"\xc7\x02\xff\x91\x01",     // extension type -1, of MessagePack itself
        b"\xc7\x03\x03\x92\x90\x90", // a path without a node
        b"\xc1",                     // a byte that begins nothing
    ] {
        assert!(read::<Value>(bytes).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn wrong_shapes_are_refused_by_name() {
    let message = |method: &str, params: &[u8]| serve(&request(method, params)).unwrap_err().message;
    assert_eq!(message("fetch", b"\x81\xa6cursor\x01"), "fetch: fetch needs the field \"n\"");
    assert_eq!(message("ping", b"\x81\xa1x\x01"), "ping: ping has no field \"x\"");
    assert_eq!(message("ping", b"\x90"), "ping: expected a map, found an array");
    assert_eq!(message("ping", b"\xc0"), "ping: expected a map, found nil");
    assert_eq!(message("begin", b"\x81\xa4mode\xa3rxw"), "begin.mode: \"rxw\" is not a mode (read, write)");
    assert_eq!(message("kill", b"\x81\xa7session\xa11"), "kill.session: expected an integer, found a string");
    let unknown = serve(&request("drop_everything", b"\x80")).unwrap_err();
    assert_eq!(unknown.code, ErrorCode::UnknownMethod);
    assert!(unknown.message.contains("drop_everything"));
}

#[test]
fn envelopes_of_other_shapes_are_refused() {
    for bytes in [
        &b""[..],
        b"\xc0",
        b"\x80",
        b"\x90",
        b"\x93\x00\x01\xa4ping",
        b"\x95\x00\x01\xa4ping\x80\x80",
        b"\x94\x03\x01\xa4ping\x80",
        b"\x94\x00\xff\xa4ping\x80",
        b"\x94\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xa4ping\x80",
        b"\x94\x00\x01\x07\x80",
        b"\x94\x01\x01\xc0",
        b"\x94\x01\x01\x80\xc0",
        b"\x93\x02\xa1x",
    ] {
        assert!(Message::read(bytes).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn the_asker_is_known_even_of_a_broken_request() {
    assert_eq!(message::request_msgid(b"\x94\x00\x2a\x07\x80"), Some(42));
    assert_eq!(message::request_msgid(b"\x94\x01\x2a\xc0\x80"), None);
    assert_eq!(message::request_msgid(b"\x94\x00"), None);
}
