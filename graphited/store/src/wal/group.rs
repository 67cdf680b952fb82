//! The log's unit: a group of records that counts whole or not at all.
//!
//! Header, little endian, [`GROUP_HEADER_BYTES`] long; groups start at multiples of [`GROUP_ALIGN`] of the log:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `"GRUP"` |
//! | 4 | 4 | CRC-32 of everything after this field, padding excluded |
//! | 8 | 4 | bytes in the group, header included, padding excluded |
//! | 12 | 4 | kind: 1 commit, 2 checkpoint, 3 mark |
//! | 16 | 8 | LSN where the group starts |
//! | 24 | 8 | epoch of the life that wrote it |
//! | 32 | 8 | durable LSN known when it was written |
//! | 40 | 4 | checksum field of the group before it |
//! | 44 | 4 | zero |
//!
//! Records of a commit follow each other:
//! - image: `1`, page kind u8, page u32, ranges against zeros (see `delta`);
//! - delta: `2`, page kind u8, page u32, LSN u64 of the version it builds on, ranges against that.
//!
//! A group counts only if its LSN is where it stands, its checksum fits, it names the checksum of the group before
//! it, and its epoch neither falls below that one's nor exceeds the superblock's. So no older life's group, and none
//! of an earlier lap through a recycled segment, is taken for one of this chain.

use super::delta;
use crate::page::{Lsn, PageKind, PageNo};

/// Bytes in a group's header.
pub(crate) const GROUP_HEADER_BYTES: usize = 48;
/// Groups start at multiples of this, so that a search for them need not look at every byte.
pub(crate) const GROUP_ALIGN: u64 = 8;

pub(crate) const MAGIC: [u8; 4] = *b"GRUP";
const CHECKSUM: usize = 4;
const LENGTH: usize = CHECKSUM + 4;
const KIND: usize = LENGTH + 4;
const START: usize = KIND + 4;
const EPOCH: usize = START + 8;
const DURABLE: usize = EPOCH + 8;
const PREVIOUS: usize = DURABLE + 8;
const _: () = assert!(PREVIOUS + 8 == GROUP_HEADER_BYTES);

const IMAGE: u8 = 1;
const DELTA: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum GroupKind {
    Commit = 1,
    Checkpoint = 2,
    Mark = 3,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GroupHeader {
    pub(crate) checksum: u32,
    pub(crate) length: u32,
    pub(crate) kind: GroupKind,
    pub(crate) start: Lsn,
    pub(crate) epoch: u64,
    pub(crate) durable: Lsn,
    pub(crate) previous: u32,
}

impl GroupHeader {
    /// Reads a header that may be anything; says nothing about its checksum.
    pub(crate) fn decode(raw: &[u8]) -> Option<GroupHeader> {
        let raw: &[u8; GROUP_HEADER_BYTES] = raw.first_chunk()?;
        let u32_at = |at: usize| u32::from_le_bytes(*raw[at..].first_chunk().expect("inside the header"));
        let u64_at = |at: usize| u64::from_le_bytes(*raw[at..].first_chunk().expect("inside the header"));
        let kind = match u32_at(KIND) {
            1 => GroupKind::Commit,
            2 => GroupKind::Checkpoint,
            3 => GroupKind::Mark,
            _ => return None,
        };
        let length = u32_at(LENGTH);
        (raw[..4] == MAGIC && length as usize >= GROUP_HEADER_BYTES).then_some(GroupHeader {
            checksum: u32_at(CHECKSUM),
            length,
            kind,
            start: Lsn(u64_at(START)),
            epoch: u64_at(EPOCH),
            durable: Lsn(u64_at(DURABLE)),
            previous: u32_at(PREVIOUS),
        })
    }

    /// The group's LSN: its padded end.
    pub(crate) fn end(&self) -> Lsn {
        Lsn(self.start.0 + padded(u64::from(self.length)))
    }

    /// Whether `group` (header and records, no padding) has the checksum that its header says.
    pub(crate) fn checksum_fits(&self, group: &[u8]) -> bool {
        group.len() == self.length as usize && crc32fast::hash(&group[LENGTH..]) == self.checksum
    }
}

/// `length` rounded up to [`GROUP_ALIGN`].
pub(crate) fn padded(length: u64) -> u64 {
    length.next_multiple_of(GROUP_ALIGN)
}

/// Builds one group. The header comes last, for only then its length is known.
pub(crate) struct GroupBuilder {
    bytes: Vec<u8>,
}

impl GroupBuilder {
    /// Starts a group in `buffer`, which is emptied and reused.
    pub(crate) fn new(mut buffer: Vec<u8>) -> GroupBuilder {
        buffer.clear();
        buffer.resize(GROUP_HEADER_BYTES, 0);
        GroupBuilder { bytes: buffer }
    }

    /// Takes the memory for so many bytes in all at once: a large buffer that grows is there twice meanwhile.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve_exact(bytes.saturating_sub(self.bytes.len()));
    }

    /// Logs a page whole.
    pub(crate) fn image(&mut self, page: &crate::Page) {
        self.bytes.extend_from_slice(&[IMAGE, page.kind() as u8]);
        self.bytes.extend_from_slice(&page.number().0.to_le_bytes());
        delta::encode(&delta::ZEROS, page.body(), delta::ALL, &mut self.bytes);
    }

    /// Logs what differs from `base`, which `page` was copied from; `false`, and nothing logged, if nothing does.
    pub(crate) fn delta(&mut self, base: &crate::Page, page: &crate::Page) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[DELTA, page.kind() as u8]);
        self.bytes.extend_from_slice(&page.number().0.to_le_bytes());
        self.bytes.extend_from_slice(&base.lsn().0.to_le_bytes());
        let changed = delta::encode(base.body(), page.body(), page.parts_lent(), &mut self.bytes) > 0
            || base.kind() != page.kind();
        debug_assert!(
            delta::is_complete(base.body(), page.body(), page.parts_lent()),
            "{} differs where it was not lent out to be changed",
            page.number()
        );
        if !changed {
            self.bytes.truncate(start);
        }
        changed
    }

    /// Bytes so far, header included, padded.
    pub(crate) fn padded_len(&self) -> u64 {
        padded(self.bytes.len() as u64)
    }

    /// Whether no record was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == GROUP_HEADER_BYTES
    }

    /// Stamps the header. Returns the padded bytes and the checksum that the next group has to name.
    ///
    /// The caller has made sure that the length fits 32 bits (see `transaction_bytes_max`).
    pub(crate) fn finish(
        mut self,
        kind: GroupKind,
        start: Lsn,
        epoch: u64,
        durable: Lsn,
        previous: u32,
    ) -> (Vec<u8>, u32) {
        let length = u32::try_from(self.bytes.len()).expect("a group is limited to a quarter of the log");
        let mut put = |at: usize, bytes: &[u8]| self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(LENGTH, &length.to_le_bytes());
        put(KIND, &(kind as u32).to_le_bytes());
        put(START, &start.0.to_le_bytes());
        put(EPOCH, &epoch.to_le_bytes());
        put(DURABLE, &durable.0.to_le_bytes());
        put(PREVIOUS, &previous.to_le_bytes());
        let checksum = crc32fast::hash(&self.bytes[LENGTH..]);
        self.bytes[CHECKSUM..LENGTH].copy_from_slice(&checksum.to_le_bytes());
        let padded_len = usize::try_from(self.padded_len()).expect("a group fits memory");
        self.bytes.resize(padded_len, 0);
        (self.bytes, checksum)
    }
}

/// One record of a commit.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) page: PageNo,
    pub(crate) kind: PageKind,
    /// The version that it builds on; `None` for an image.
    pub(crate) base: Option<Lsn>,
    /// For `delta::apply`.
    pub(crate) ranges: &'a [u8],
}

/// Takes the first record off `bytes`; `None` if they contradict themselves.
pub(crate) fn next_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (&[tag, kind], rest) = bytes.split_first_chunk::<2>()?;
    let kind = PageKind::from_byte(kind)?;
    let (page, rest) = rest.split_first_chunk::<4>()?;
    let page = PageNo(u32::from_le_bytes(*page));
    let (base, rest) = match tag {
        IMAGE => (None, rest),
        DELTA => {
            let (base, rest) = rest.split_first_chunk::<8>()?;
            (Some(Lsn(u64::from_le_bytes(*base))), rest)
        }
        _ => return None,
    };
    let after = delta::skip(rest)?;
    let ranges = &rest[..rest.len() - after.len()];
    Some((Record { page, kind, base, ranges }, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatabaseId, Page};

    #[test]
    fn golden_bytes() {
        let mut page = Page::new(PageNo(5), PageKind::Record, DatabaseId(1));
        page.body_mut()[2] = 0xee;
        let mut builder = GroupBuilder::new(Vec::new());
        builder.image(&page);
        let (bytes, checksum) = builder.finish(GroupKind::Commit, Lsn(64), 3, Lsn(32), 0x0a0b_0c0d);
        assert_eq!(bytes[..4], *b"GRUP");
        assert_eq!(bytes[4..8], checksum.to_le_bytes());
        assert_eq!(
            bytes[8..],
            [
                61, 0, 0, 0, 1, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 0,
                0, 0, 0x0d, 0x0c, 0x0b, 0x0a, 0, 0, 0, 0, 1, 5, 5, 0, 0, 0, 1, 0, 2, 0, 1, 0, 0xee, 0, 0, 0
            ]
        );
        let header = GroupHeader::decode(&bytes).unwrap();
        assert_eq!(header.end(), Lsn(64 + 64));
        assert!(header.checksum_fits(&bytes[..61]));
    }
}
