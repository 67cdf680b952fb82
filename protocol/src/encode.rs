//! Writing MessagePack into a buffer.
//!
//! An [`Encoder`] appends to a `Vec<u8>`, so the daemon writes rows straight into a connection's outbox. It
//! always picks the shortest form of a number, string, list or map. Two things have a length that is known only
//! at their end: an extension value gets the header of a short one, and is moved up if it became long; a list
//! that grows row by row gets the longest header, whose length is filled in.

use rmp::encode as rmp;

/// Why writing cannot fail.
const VEC: &str = "a Vec takes every byte";

/// Header of an extension value of at most 255 bytes: marker, length, type.
const EXT8_HEADER_BYTES: usize = 3;

/// A map of at most so many pairs says how many by one byte.
pub const ENCODED_SHORT_PAIRS_MAX: usize = 15;

/// Appends MessagePack to a buffer.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

/// An extension value that is being written.
#[must_use = "end it with `ext_end`"]
#[derive(Debug)]
pub struct ExtMark {
    at: usize,
    tag: i8,
}

/// A list of yet unknown length that is being written.
#[must_use = "end it with `list_end`"]
#[derive(Debug)]
pub struct ListMark {
    at: usize,
}

impl<'a> Encoder<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Encoder<'a> {
        Encoder { out }
    }

    /// Bytes in the buffer, those that were there before included.
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written after `position`.
    pub fn truncate(&mut self, position: usize) {
        self.out.truncate(position);
    }

    /// Appends bytes that are MessagePack already.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    /// Appends chunks of bytes, for [`Encoder::bytes_len`].
    pub(crate) fn raw_chunks<const N: usize>(&mut self, chunks: impl Iterator<Item = [u8; N]>) {
        self.out.extend(chunks.flatten());
    }

    /// Writes nil.
    pub fn nil(&mut self) {
        rmp::write_nil(self.out).expect(VEC);
    }

    /// Writes a boolean.
    pub fn bool(&mut self, value: bool) {
        rmp::write_bool(self.out, value).expect(VEC);
    }

    /// Writes a signed integer.
    pub fn int(&mut self, value: i64) {
        rmp::write_sint(self.out, value).expect(VEC);
    }

    /// Writes an unsigned integer: an id, a count, an LSN.
    pub fn uint(&mut self, value: u64) {
        rmp::write_uint(self.out, value).expect(VEC);
    }

    /// Writes a float of 64 bits.
    pub fn float(&mut self, value: f64) {
        rmp::write_f64(self.out, value).expect(VEC);
    }

    /// Writes a string, shorter than 4 GiB.
    pub fn str(&mut self, value: &str) {
        rmp::write_str(self.out, value).expect(VEC);
    }

    /// Writes bytes, fewer than 4 GiB.
    pub fn bytes(&mut self, value: &[u8]) {
        rmp::write_bin(self.out, value).expect(VEC);
    }

    /// Begins bytes of which the `len` follow through [`Encoder::raw`].
    pub fn bytes_len(&mut self, len: usize) {
        rmp::write_bin_len(self.out, length(len)).expect(VEC);
    }

    /// Begins a list of `len` elements, which follow.
    pub fn list(&mut self, len: usize) {
        rmp::write_array_len(self.out, length(len)).expect(VEC);
    }

    /// Begins a map of `len` pairs; key and value of each follow.
    pub fn map(&mut self, len: usize) {
        rmp::write_map_len(self.out, length(len)).expect(VEC);
    }

    /// Adds one pair to a map of fewer than [`ENCODED_SHORT_PAIRS_MAX`] that was begun at `at`.
    pub fn one_more_pair(&mut self, at: usize) {
        debug_assert!((0x80..0x8f).contains(&self.out[at]));
        self.out[at] += 1;
    }

    /// Begins a list whose length [`Encoder::list_end`] fills in.
    pub fn list_begin(&mut self) -> ListMark {
        let mark = ListMark { at: self.out.len() };
        self.out.extend_from_slice(&[0xdd, 0, 0, 0, 0]);
        mark
    }

    /// Ends a list of `len` elements.
    pub fn list_end(&mut self, mark: ListMark, len: usize) {
        self.out[mark.at + 1..mark.at + 5].copy_from_slice(&length(len).to_be_bytes());
    }

    /// Begins an extension value; its payload follows, then [`Encoder::ext_end`].
    pub fn ext_begin(&mut self, tag: i8) -> ExtMark {
        let mark = ExtMark { at: self.out.len(), tag };
        self.out.extend_from_slice(&[0; EXT8_HEADER_BYTES]);
        mark
    }

    /// Ends an extension value.
    pub fn ext_end(&mut self, mark: ExtMark) {
        let payload = mark.at + EXT8_HEADER_BYTES;
        let len = length(self.out.len() - payload);
        let tag = mark.tag.to_be_bytes()[0];
        if let Ok(len) = u8::try_from(len) {
            self.out[mark.at..payload].copy_from_slice(&[0xc7, len, tag]);
            return;
        }
        let mut header = Vec::with_capacity(6);
        rmp::write_ext_meta(&mut header, len, mark.tag).expect(VEC);
        self.out.splice(mark.at..payload, header);
    }

    /// Begins a node; then follow its properties, key and value each, and [`Encoder::ext_end`].
    pub fn node_begin<S: AsRef<str>>(
        &mut self,
        id: u64,
        labels: impl ExactSizeIterator<Item = S>,
        properties: usize,
    ) -> ExtMark {
        let mark = self.ext_begin(crate::value::NODE);
        self.list(3);
        self.uint(id);
        self.list(labels.len());
        for label in labels {
            self.str(label.as_ref());
        }
        self.map(properties);
        mark
    }

    /// Begins an edge; then follow its properties, key and value each, and [`Encoder::ext_end`].
    pub fn edge_begin(
        &mut self,
        id: u64,
        edge_type: &str,
        start: u64,
        end: u64,
        properties: usize,
    ) -> ExtMark {
        let mark = self.ext_begin(crate::value::EDGE);
        self.list(5);
        self.uint(id);
        self.str(edge_type);
        self.uint(start);
        self.uint(end);
        self.map(properties);
        mark
    }
}

/// A length as MessagePack has it. Frames are far smaller, so a longer one is a mistake of ours.
fn length(len: usize) -> u32 {
    u32::try_from(len).expect("nothing in a frame is longer than 4 GiB")
}
