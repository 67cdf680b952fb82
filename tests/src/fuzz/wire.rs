//! What comes from the socket.

use graphite_protocol::message::{Body, Message, request_msgid, write_error, write_request_by};
use graphite_protocol::messages::{
    Begin, Call, CheckReply, CheckpointReply, Commit, CommitReply, CommitStatusReply, CompactReply, Empty,
    FetchReply, Hello, HelloReply, ImportBeginReply, ImportEdges, ImportEndReply, ImportNodes, ImportReply,
    ImportStatusReply, KillReply, LocksReply, Picture, Query, Run, RunReply, SessionsReply, StatusReply,
    Watch,
};
use graphite_protocol::{
    DECODED_BYTES_MAX, Decoder, Encoder, FRAME_BYTES_MAX, FrameReader, Plan, Value, Wire, WireError,
};

use super::input::Input;

/// A stream of frames: however it is split, the same frames and the same error come out of it; each frame's envelope, if it
/// is one, is written as it was read.
pub fn frames(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let step = usize::from(input.byte() % 64) + 1;
    let bytes_max = 16 + usize::from(input.byte()) * 16;
    let stream = input.rest();
    let whole = split(stream, stream.len().max(1), bytes_max);
    assert_eq!(split(stream, step, bytes_max), whole, "in pieces of {step}");
    whole.0.iter().for_each(|frame| envelope(frame));
}

/// The bodies that a reader finds, and how it ends.
fn split(stream: &[u8], step: usize, bytes_max: usize) -> (Vec<Vec<u8>>, Result<usize, String>) {
    let (mut reader, mut found) = (FrameReader::new(bytes_max), Vec::new());
    for piece in stream.chunks(step) {
        reader.feed(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => found.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return (found, Err(error.to_string())),
            }
        }
    }
    (found, Ok(reader.pending_bytes()))
}

fn envelope(frame: &[u8]) {
    let Ok(message) = Message::read(frame) else { return };
    let mut out = Vec::new();
    match &message {
        Message::Request { msgid, method, params } => {
            assert_eq!(request_msgid(frame), Some(*msgid));
            let write = |encoder: &mut Encoder<'_>| encoder.raw(params.bytes());
            write_request_by(&mut out, *msgid, method, FRAME_BYTES_MAX, write).expect("it came in a frame");
            if let Ok(call) = Call::read(method, *params) {
                assert_eq!(call.method(), *method);
            }
        }
        Message::Response { msgid, result: Err(error) } => {
            write_error(&mut out, *msgid, error, FRAME_BYTES_MAX);
        }
        Message::Response { .. } | Message::Notification { .. } => return,
    }
    let again = Message::read(&out[4..]).expect("what was written is read");
    // By their words, for NaN is no NaN.
    assert_eq!(format!("{again:?}"), format!("{message:?}"));
}

/// A typed value, of which the first byte says which: what is decoded is encoded to what is decoded to the same, and takes
/// no more memory than is said.
pub fn messages(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let which = usize::from(input.byte()) % TYPES.len();
    TYPES[which](input.rest());
}

/// Only ever add at the end: inputs of the corpus name them by number.
pub(super) const TYPES: [fn(&[u8]); 29] = [
    typed::<Value>,
    typed::<Plan>,
    typed::<WireError>,
    typed::<Run>,
    typed::<RunReply>,
    typed::<Query>,
    typed::<FetchReply>,
    typed::<Begin>,
    typed::<Commit>,
    typed::<CommitReply>,
    typed::<CommitStatusReply>,
    typed::<Hello>,
    typed::<HelloReply>,
    typed::<ImportNodes>,
    typed::<ImportEdges>,
    typed::<ImportReply>,
    typed::<ImportBeginReply>,
    typed::<ImportStatusReply>,
    typed::<ImportEndReply>,
    typed::<StatusReply>,
    typed::<SessionsReply>,
    typed::<LocksReply>,
    typed::<Picture>,
    typed::<Watch>,
    typed::<CheckReply>,
    typed::<Empty>,
    typed::<CheckpointReply>,
    typed::<CompactReply>,
    typed::<KillReply>,
];

fn typed<T: Wire>(bytes: &[u8]) {
    let mut from = Body::of(bytes).decoder();
    let Ok(value) = T::read(&mut from) else { return };
    assert!(from.charged() <= DECODED_BYTES_MAX);
    let read = bytes.len() - from.rest().len();
    let mut skipped = Decoder::new(&bytes[..read]);
    skipped.skip().expect("what is decoded can be read over");
    assert!(skipped.rest().is_empty(), "one value is as long as it is");

    let encode = |value: &T| {
        let mut out = Vec::new();
        value.write(&mut Encoder::new(&mut out));
        out
    };
    let written = encode(&value);
    let again: T = Body::of(&written).read().expect("what was encoded is decoded");
    assert_eq!(encode(&again), written);
}
