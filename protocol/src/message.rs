//! Envelopes: requests, responses and notifications, in the shapes of MessagePack-RPC.
//!
//! Reading an envelope costs a few dozen nanoseconds and allocates nothing: params and results stay bytes until
//! their method is known, and are then decoded straight into its type. They are the last element of the
//! envelope's array, so they reach to the end of the frame.

use crate::decode::{Decoder, Result};
use crate::decode_error::{DecodeError, DecodeErrorKind};
use crate::encode::Encoder;
use crate::error::WireError;
use crate::frame::{FrameError, FrameMark, abandon_frame, begin_frame, end_frame};
use crate::messages::{Notification, Request};
use crate::wire::{Wire, read_all};

/// First element of a request: `[0, msgid, method, params]`.
const REQUEST: u64 = 0;
/// First element of a response: `[1, msgid, error, result]`.
const RESPONSE: u64 = 1;
/// First element of a notification: `[2, method, params]`.
const NOTIFICATION: u64 = 2;

/// Params and results lie within the envelope's array.
const BODY_DEPTH: u32 = 1;

/// The body of a frame, its envelope read.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// A client asks.
    Request {
        /// The client's number for it, which the response repeats.
        msgid: u32,
        /// What is asked.
        method: &'a str,
        /// With which parameters: one encoded map.
        params: Body<'a>,
    },
    /// The daemon answers.
    Response {
        /// The number of the request.
        msgid: u32,
        /// The encoded result, or why there is none.
        result: std::result::Result<Body<'a>, WireError>,
    },
    /// The daemon tells something unasked.
    Notification {
        /// What it tells.
        method: &'a str,
        /// One encoded map.
        params: Body<'a>,
    },
}

/// Encoded params or an encoded result: one value, not looked into yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    /// The body that these bytes are: for a copy that was kept.
    pub fn of(bytes: &'a [u8]) -> Body<'a> {
        Body(bytes)
    }

    /// The encoded bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Decodes all of it.
    pub fn read<T: Wire>(self) -> Result<T> {
        read_all(self.decoder())
    }

    /// For whoever decodes it field by field.
    pub fn decoder(self) -> Decoder<'a> {
        Decoder::at_depth(self.0, BODY_DEPTH)
    }
}

impl<'a> Message<'a> {
    /// Reads the envelope of a frame's body.
    ///
    /// # Errors
    /// What is no envelope. Params and results are checked later, when they are decoded.
    pub fn read(frame: &'a [u8]) -> Result<Message<'a>> {
        let mut from = Decoder::new(frame);
        let len = from.list()?;
        let kind = from.u64()?;
        match (kind, len) {
            (REQUEST, 4) => {
                let msgid = u32::read(&mut from)?;
                let method = from.str()?;
                Ok(Message::Request { msgid, method, params: body(&from)? })
            }
            (RESPONSE, 4) => {
                let msgid = u32::read(&mut from)?;
                if from.take_nil() {
                    return Ok(Message::Response { msgid, result: Ok(body(&from)?) });
                }
                let error = WireError::read(&mut from)?;
                if !from.take_nil() {
                    return Err(DecodeError::invalid("a response has an error or a result, not both"));
                }
                from.finish()?;
                Ok(Message::Response { msgid, result: Err(error) })
            }
            (NOTIFICATION, 3) => {
                let method = from.str()?;
                Ok(Message::Notification { method, params: body(&from)? })
            }
            _ => Err(DecodeError::invalid(
                "a message is [0, msgid, method, params], [1, msgid, error, result] or [2, method, params]",
            )),
        }
    }
}

/// What is left of the frame.
fn body<'a>(from: &Decoder<'a>) -> Result<Body<'a>> {
    if from.rest().is_empty() {
        return Err(DecodeErrorKind::Truncated.into());
    }
    Ok(Body(from.rest()))
}

/// The msgid of a frame that is a request, however wrong the rest of it is, so that even then the answer can
/// reach the one who asked.
pub fn request_msgid(frame: &[u8]) -> Option<u32> {
    let mut from = Decoder::new(frame);
    from.list().ok()?;
    let is_request = from.u64().ok()? == REQUEST;
    let msgid = u32::read(&mut from).ok()?;
    is_request.then_some(msgid)
}

/// Appends a frame with a request to `out`.
pub fn write_request<R: Request>(
    out: &mut Vec<u8>,
    msgid: u32,
    request: &R,
    bytes_max: usize,
) -> std::result::Result<(), FrameError> {
    write_request_by(out, msgid, R::METHOD, bytes_max, |encoder| request.write(encoder))
}

/// As [`write_request`], with the one value that `params` writes as params: for whoever has them encoded already.
pub fn write_request_by(
    out: &mut Vec<u8>,
    msgid: u32,
    method: &str,
    bytes_max: usize,
    params: impl FnOnce(&mut Encoder<'_>),
) -> std::result::Result<(), FrameError> {
    let frame = begin_frame(out);
    let mut encoder = Encoder::new(out);
    encoder.list(4);
    encoder.uint(REQUEST);
    encoder.uint(u64::from(msgid));
    encoder.str(method);
    params(&mut encoder);
    end_frame(out, frame, bytes_max)
}

/// Appends a frame with a response to `out`. A result too long for a frame becomes an error in its place.
pub fn write_response(out: &mut Vec<u8>, msgid: u32, result: &impl Wire, bytes_max: usize) {
    let frame = begin_response(out, msgid);
    result.write(&mut Encoder::new(out));
    if let Err(error) = end_response(out, frame, bytes_max) {
        write_error(out, msgid, &error, bytes_max);
    }
}

/// A response whose result is being written.
#[must_use = "end it with `end_response`"]
#[derive(Debug)]
pub struct ResponseMark(FrameMark);

/// Begins a frame with a response; its result follows through an [`Encoder`], then [`end_response`].
pub fn begin_response(out: &mut Vec<u8>, msgid: u32) -> ResponseMark {
    let frame = begin_frame(out);
    let mut encoder = Encoder::new(out);
    encoder.list(4);
    encoder.uint(RESPONSE);
    encoder.uint(u64::from(msgid));
    encoder.nil();
    ResponseMark(frame)
}

/// Ends a response. A result too long for a frame is taken out of `out` again.
///
/// # Errors
/// `too-large`. It comes back so that what the result tells of can be undone before the error is sent in its place.
pub fn end_response(
    out: &mut Vec<u8>,
    mark: ResponseMark,
    bytes_max: usize,
) -> std::result::Result<(), WireError> {
    end_frame(out, mark.0, bytes_max).map_err(too_long)
}

/// Takes a response that was begun out of `out` again.
pub fn abandon_response(out: &mut Vec<u8>, mark: ResponseMark) {
    abandon_frame(out, mark.0);
}

/// Appends a frame with an error to `out`. Details too long for a frame are left out.
pub fn write_error(out: &mut Vec<u8>, msgid: u32, error: &WireError, bytes_max: usize) {
    let write = |out: &mut Vec<u8>, error: &WireError, bytes_max| {
        let frame = begin_frame(out);
        let mut encoder = Encoder::new(out);
        encoder.list(4);
        encoder.uint(RESPONSE);
        encoder.uint(u64::from(msgid));
        error.write(&mut encoder);
        encoder.nil();
        end_frame(out, frame, bytes_max)
    };
    if write(out, error, bytes_max).is_err() {
        let short = WireError::new(error.code.clone(), error.message.as_str());
        // A message is short, so this fits into any frame that a daemon can be configured with.
        let _ = write(out, &short, crate::FRAME_BYTES_MAX);
    }
}

/// Appends a frame with a notification to `out`.
pub fn write_notification<N: Notification>(
    out: &mut Vec<u8>,
    notification: &N,
    bytes_max: usize,
) -> std::result::Result<(), FrameError> {
    let frame = begin_frame(out);
    let mut encoder = Encoder::new(out);
    encoder.list(3);
    encoder.uint(NOTIFICATION);
    encoder.str(N::METHOD);
    notification.write(&mut encoder);
    end_frame(out, frame, bytes_max)
}

fn too_long(error: FrameError) -> WireError {
    let message = format!("the result does not fit into a frame: {error}; ask for fewer rows at a time");
    WireError::new(crate::error::ErrorCode::TooLarge, message)
}
