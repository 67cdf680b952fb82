//! Frames: a big-endian u32 length, and that many bytes.
//!
//! 1. A length of 0 or past the limit is refused as soon as its four bytes are there, before room is made.
//! 2. The buffer grows with the bytes that come, not with the length that was announced, so that a thousand
//!    silent connections that each announced 16 MiB cost nothing. Once empty it is small again.
//! 3. A frame is handed out as a slice of the buffer: the bytes are copied once, by the system.

use std::io;

/// Bytes of a frame's length.
pub const HEADER_BYTES: usize = 4;

/// Room that is made for a read, and what an empty buffer keeps.
const READ_BYTES: usize = 16 << 10;

/// A stream that does not hold frames; the connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame without a body.
    #[error("a frame announced a length of 0")]
    Empty,
    /// A frame past the limit.
    #[error("a frame announced {bytes} bytes, and the limit is {max}")]
    TooLong {
        /// What was announced, or would have been sent.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

/// Takes whole frames out of a stream of bytes, however it is split.
#[derive(Debug)]
pub struct FrameReader {
    /// All initialised; `start..end` is what was received and not yet handed out.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    bytes_max: usize,
}

impl FrameReader {
    /// Refuses frames whose body is longer than `bytes_max`.
    pub fn new(bytes_max: usize) -> FrameReader {
        FrameReader { buffer: Vec::new(), start: 0, end: 0, bytes_max }
    }

    /// Takes in `bytes`.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.buffer[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Reads once from `source`, straight into the buffer; returns how many bytes came, 0 at the end of the
    /// stream. `WouldBlock` and `Interrupted` are the caller's to handle.
    pub fn read_from(&mut self, source: &mut impl io::Read) -> io::Result<usize> {
        // A long frame is read in steps that double, so that it is moved a few times at most.
        self.reserve(READ_BYTES.max((self.end - self.start).min(self.missing())));
        let read = source.read(&mut self.buffer[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// The next whole frame's body, or `None` until more bytes have come.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let Some(len) = self.announced()? else {
            self.tidy();
            return Ok(None);
        };
        let body = self.start + HEADER_BYTES;
        if self.end - body < len {
            return Ok(None);
        }
        self.start = body + len;
        Ok(Some(&self.buffer[body..body + len]))
    }

    /// Bytes that were received and belong to no frame handed out yet.
    pub fn pending_bytes(&self) -> usize {
        self.end - self.start
    }

    /// Gives the buffer's memory back, if nothing is in it: for a connection that went idle.
    pub fn release(&mut self) {
        if self.start == self.end {
            self.buffer = Vec::new();
            self.start = 0;
            self.end = 0;
        }
    }

    /// Length of the frame at the front, if its header is there.
    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(header) = self.buffer[self.start..self.end].first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        match u32::from_be_bytes(*header) as usize {
            0 => Err(FrameError::Empty),
            bytes if bytes > self.bytes_max => Err(FrameError::TooLong { bytes, max: self.bytes_max }),
            bytes => Ok(Some(bytes)),
        }
    }

    /// How much of the frame at the front has not come yet.
    fn missing(&self) -> usize {
        match self.announced() {
            Ok(Some(len)) => (HEADER_BYTES + len).saturating_sub(self.end - self.start),
            _ => 0,
        }
    }

    /// Makes room for `bytes` more.
    fn reserve(&mut self, bytes: usize) {
        if self.buffer.len() - self.end >= bytes {
            return;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() - self.end < bytes {
            self.buffer.resize(self.end + bytes, 0);
        }
    }

    /// Forgets frames that were handed out, and the room that a long one took.
    fn tidy(&mut self) {
        if self.start != self.end {
            return;
        }
        self.start = 0;
        self.end = 0;
        if self.buffer.len() > 4 * READ_BYTES {
            self.buffer = Vec::new();
        }
    }
}

/// A frame that is being written.
#[must_use = "end it with `end_frame`"]
#[derive(Debug)]
pub struct FrameMark {
    at: usize,
}

/// Begins a frame at the end of `out`: leaves room for its length. Its body follows, then [`end_frame`].
pub fn begin_frame(out: &mut Vec<u8>) -> FrameMark {
    let mark = FrameMark { at: out.len() };
    out.extend_from_slice(&[0; HEADER_BYTES]);
    mark
}

/// Ends a frame: fills in its length. A body past `bytes_max` is taken out of `out` again, so that an error
/// can be sent in its place.
pub fn end_frame(out: &mut Vec<u8>, mark: FrameMark, bytes_max: usize) -> Result<(), FrameError> {
    let bytes = out.len() - mark.at - HEADER_BYTES;
    let header = u32::try_from(bytes).ok().filter(|_| bytes <= bytes_max);
    let Some(header) = header else {
        out.truncate(mark.at);
        return Err(FrameError::TooLong { bytes, max: bytes_max });
    };
    out[mark.at..mark.at + HEADER_BYTES].copy_from_slice(&header.to_be_bytes());
    Ok(())
}

/// Takes a frame that was begun out of `out` again.
pub fn abandon_frame(out: &mut Vec<u8>, mark: FrameMark) {
    out.truncate(mark.at);
}

/// Appends a frame with this body, which must not be empty nor longer than `bytes_max`.
pub fn write_frame(out: &mut Vec<u8>, body: &[u8], bytes_max: usize) -> Result<(), FrameError> {
    if body.is_empty() {
        return Err(FrameError::Empty);
    }
    let mark = begin_frame(out);
    out.extend_from_slice(body);
    end_frame(out, mark, bytes_max)
}
