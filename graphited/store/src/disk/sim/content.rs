//! What a simulated file holds: sparse, and cheap to copy.
//!
//! Bytes live in chunks of 4 KiB, chunks in segments of 64, segments in a map; every level is shared between
//! copies until one of them is written to. So a copy of a file costs one reference count, and the first
//! write after a copy costs one chunk, one segment and a map of a few entries.
//!
//! Invariants:
//! 1. A chunk that is not there reads as zeros and takes no room; one that is there takes [`CHUNK_BYTES`].
//! 2. Between [`Content::cut`] calls there may be bytes past `len`: whoever rebuilds a file out of the changes
//!    that outlived a power cut only knows the length at the end. Everybody else grows first and writes then.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

/// Bytes in a chunk: the unit of copying, and of room on the simulated disk.
pub(super) const CHUNK_BYTES: usize = 4096;
const CHUNK: u64 = CHUNK_BYTES as u64;
const SEGMENT_CHUNKS: usize = 64;

type Chunk = [u8; CHUNK_BYTES];
type Segment = [Option<Arc<Chunk>>; SEGMENT_CHUNKS];

/// The one chunk of zeros that all files share.
static ZEROS: LazyLock<Arc<Chunk>> = LazyLock::new(|| Arc::new([0; CHUNK_BYTES]));

/// Bytes and length of a file.
#[derive(Clone, Default)]
pub(super) struct Content {
    segments: Arc<BTreeMap<u64, Arc<Segment>>>,
    chunks: u64,
    len: u64,
}

/// The part of one chunk that a range of a file covers.
struct Piece {
    chunk: u64,
    /// Within the chunk.
    inside: Range<usize>,
    /// Within the range.
    outside: Range<usize>,
}

/// Splits `offset..offset + len` at the borders of chunks.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let start = (at % CHUNK) as usize;
        let bytes = (CHUNK_BYTES - start).min(len - done);
        let piece = Piece { chunk: at / CHUNK, inside: start..start + bytes, outside: done..done + bytes };
        done += bytes;
        Some(piece)
    })
}

fn place(chunk: u64) -> (u64, usize) {
    (chunk / SEGMENT_CHUNKS as u64, (chunk % SEGMENT_CHUNKS as u64) as usize)
}

/// The chunks that a range touches.
fn chunks_of(offset: u64, len: u64) -> Range<u64> {
    if len == 0 { 0..0 } else { offset / CHUNK..(offset + len).div_ceil(CHUNK) }
}

impl Content {
    /// Length of the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of room that it takes.
    pub(super) fn allocated(&self) -> u64 {
        self.chunks * CHUNK
    }

    /// Bytes of room that a write or a reservation of this range would take in addition.
    pub(super) fn lacks(&self, offset: u64, len: u64) -> u64 {
        chunks_of(offset, len).filter(|&chunk| self.chunk(chunk).is_none()).count() as u64 * CHUNK
    }

    /// Fills `buffer` from `offset`, with zeros where nothing was written.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) {
        for piece in pieces(offset, buffer.len()) {
            let target = &mut buffer[piece.outside];
            match self.chunk(piece.chunk) {
                Some(chunk) => target.copy_from_slice(&chunk[piece.inside]),
                None => target.fill(0),
            }
        }
    }

    /// Feeds a hasher what a read of the whole file shows, without the zeros: most of a log is nothing else.
    pub(super) fn hash(&self, hasher: &mut impl Hasher) {
        hasher.write_u64(self.len);
        for (segment, chunks) in self.segments.iter() {
            for (inside, chunk) in chunks.iter().enumerate() {
                let Some(chunk) = chunk else { continue };
                if !Arc::ptr_eq(chunk, &ZEROS) && **chunk != **ZEROS {
                    hasher.write_u64(segment * SEGMENT_CHUNKS as u64 + inside as u64);
                    hasher.write(chunk.as_slice());
                }
            }
        }
    }

    /// Puts bytes in place and leaves the length alone.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for piece in pieces(offset, bytes.len()) {
            let source = &bytes[piece.outside];
            let slot = self.slot(piece.chunk);
            if source == ZEROS.as_slice() {
                *slot = Some(Arc::clone(&ZEROS));
            } else {
                let chunk = slot.get_or_insert_with(|| Arc::clone(&ZEROS));
                Arc::make_mut(chunk)[piece.inside].copy_from_slice(source);
            }
        }
    }

    /// Gives the range room, and leaves bytes and length alone.
    pub(super) fn reserve(&mut self, offset: u64, len: u64) {
        for chunk in chunks_of(offset, len) {
            if self.chunk(chunk).is_none() {
                *self.slot(chunk) = Some(Arc::clone(&ZEROS));
            }
        }
    }

    /// Makes the file at least so long.
    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Makes the file exactly so long: what was past it is zero if it ever comes back.
    pub(super) fn set_len(&mut self, len: u64) {
        self.len = len;
        self.cut();
    }

    /// Drops everything past the length.
    pub(super) fn cut(&mut self) {
        let end = self.len.div_ceil(CHUNK);
        let (last, inside) = place(end);
        if self.segments.range(last..).next().is_some() {
            let segments = Arc::make_mut(&mut self.segments);
            let mut past = segments.split_off(&last);
            if let Some(mut segment) = past.remove(&last) {
                Arc::make_mut(&mut segment)[inside..].fill(None);
                segments.insert(last, segment);
            }
            self.chunks = segments.values().flat_map(|segment| segment.iter()).flatten().count() as u64;
        }
        let kept = (self.len % CHUNK) as usize;
        if kept > 0
            && let Some(chunk) = self.chunk(end - 1)
            && chunk[kept..].iter().any(|&byte| byte != 0)
            && let Some(chunk) = self.slot(end - 1)
        {
            Arc::make_mut(chunk)[kept..].fill(0);
        }
    }

    fn chunk(&self, chunk: u64) -> Option<&Chunk> {
        let (segment, inside) = place(chunk);
        self.segments.get(&segment)?[inside].as_deref()
    }

    /// The place of a chunk, to be filled: it counts as taken from here on.
    fn slot(&mut self, chunk: u64) -> &mut Option<Arc<Chunk>> {
        let (segment, inside) = place(chunk);
        let segments = Arc::make_mut(&mut self.segments);
        let segment = segments.entry(segment).or_insert_with(|| Arc::new([const { None }; SEGMENT_CHUNKS]));
        let slot = &mut Arc::make_mut(segment)[inside];
        self.chunks += u64::from(slot.is_none());
        slot
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write { offset: u64, len: usize, byte: u8 },
        SetLen(u64),
        Reserve { offset: u64, len: u64 },
        Copy,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Ranges reach over a border of segments (256 KiB), and lengths over several chunks.
        let offset = prop_oneof![0..20_000_u64, 250_000..275_000_u64];
        let step = prop_oneof![
            4 => (offset.clone(), 0..10_000_usize, 0..4_u8)
                .prop_map(|(offset, len, byte)| Step::Write { offset, len, byte }),
            2 => offset.clone().prop_map(Step::SetLen),
            1 => (offset, 0..10_000_u64).prop_map(|(offset, len)| Step::Reserve { offset, len }),
            1 => Just(Step::Copy),
        ];
        proptest::collection::vec(step, 1..30)
    }

    fn all(content: &Content) -> Vec<u8> {
        let mut bytes = vec![1; content.len() as usize];
        content.read(&mut bytes, 0);
        bytes
    }

    fn hash_of(content: &Content) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        content.hash(&mut hasher);
        hasher.finish()
    }

    proptest! {
        /// Content against a plain vector; copies taken on the way must not see what came later.
        #[test]
        fn behaves_as_a_vector_of_bytes(steps in steps()) {
            let mut content = Content::default();
            let mut model = Vec::new();
            let mut copies = Vec::new();
            for step in steps {
                match step {
                    Step::Write { offset, len, byte } => {
                        let lacks = content.lacks(offset, len as u64);
                        let before = content.allocated();
                        if len > 0 {
                            let end = offset as usize + len;
                            model.resize(model.len().max(end), 0);
                            model[offset as usize..end].fill(byte);
                            content.grow(end as u64);
                        }
                        content.write(&vec![byte; len], offset);
                        prop_assert_eq!(content.allocated(), before + lacks);
                    }
                    Step::SetLen(len) => {
                        model.resize(len as usize, 0);
                        content.set_len(len);
                        prop_assert!(content.allocated() <= len.next_multiple_of(CHUNK));
                    }
                    Step::Reserve { offset, len } => {
                        model.resize(model.len().max((offset + len) as usize), 0);
                        content.grow(offset + len);
                        content.reserve(offset, len);
                        prop_assert_eq!(content.lacks(offset, len), 0);
                    }
                    Step::Copy => copies.push((content.clone(), model.clone())),
                }
                prop_assert!(all(&content) == model);
            }
            copies.push((content, model));
            for (content, model) in &copies {
                prop_assert!(all(content) == *model);
                for (other, other_model) in &copies {
                    prop_assert_eq!(hash_of(content) == hash_of(other), model == other_model);
                }
                let mut once = Content::default();
                once.grow(model.len() as u64);
                once.write(model, 0);
                prop_assert_eq!(hash_of(content), hash_of(&once));
            }
        }
    }

    #[test]
    fn a_sparse_file_takes_room_only_where_it_was_written() {
        let mut content = Content::default();
        content.set_len(1 << 40);
        assert_eq!(content.allocated(), 0);
        content.write(&[7; 2], (1 << 39) - 1);
        assert_eq!(content.allocated(), 2 * CHUNK);
        content.set_len(1 << 39);
        assert_eq!(content.allocated(), CHUNK);
        content.set_len(1 << 40);
        let mut bytes = [1; 2];
        content.read(&mut bytes, (1 << 39) - 1);
        assert_eq!(bytes, [7, 0], "what was cut off does not come back");
    }
}
