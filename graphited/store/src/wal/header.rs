//! The header of a segment file: whose log the file belongs to, and which part of it.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `"GRPHWAL\n"` |
//! | 8 | 4 | format version |
//! | 12 | 4 | bytes in a segment file |
//! | 16 | 8 | database id |
//! | 24 | 8 | segment number |
//! | 32 | 4 | CRC-32 of bytes 0..32 |
//!
//! It lies within one sector, so a crash leaves it as it was or as it should be. A file is made of zeros before it gets
//! one, or has that of an earlier segment. So anything else at a segment's place is damage, and no crash.

use crate::page::DatabaseId;
use crate::superblock::FORMAT_VERSION;

/// Bytes before the log's own in a segment file: one block, so that the log's blocks stay aligned.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 4096;
/// Bytes of them that are used.
pub(crate) const HEADER_USED: usize = 36;
const MAGIC: &[u8; 8] = b"GRPHWAL\n";
const DATABASE: usize = 16;
const NUMBER: usize = DATABASE + 8;
const CHECKSUM: usize = NUMBER + 8;
const _: () = assert!(CHECKSUM + 4 == HEADER_USED);

/// The header of segment `number` of a log.
pub(crate) fn encode(database: DatabaseId, segment_bytes: u32, number: u64) -> [u8; HEADER_USED] {
    let mut raw = [0; HEADER_USED];
    raw[..8].copy_from_slice(MAGIC);
    raw[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    raw[12..DATABASE].copy_from_slice(&segment_bytes.to_le_bytes());
    raw[DATABASE..NUMBER].copy_from_slice(&database.0.to_le_bytes());
    raw[NUMBER..CHECKSUM].copy_from_slice(&number.to_le_bytes());
    let sum = crc32fast::hash(&raw[..CHECKSUM]);
    raw[CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
    raw
}

/// What the first bytes of a file say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Header {
    /// The segment of this number, of this log.
    Ours(u64),
    /// Nothing yet: all are zero.
    Blank,
    /// They are whole, and of another log.
    Foreign,
    /// None of these.
    Damaged,
}

/// Reads up to [`HEADER_USED`] bytes, fewer if the file is so short.
pub(crate) fn decode(raw: &[u8], database: DatabaseId, segment_bytes: u32) -> Header {
    if raw.iter().all(|&byte| byte == 0) {
        return Header::Blank;
    }
    let Ok(raw) = <&[u8; HEADER_USED]>::try_from(raw) else {
        return Header::Damaged;
    };
    let number = u64::from_le_bytes(*raw[NUMBER..].first_chunk().expect("inside the header"));
    if *raw == encode(database, segment_bytes, number) {
        return Header::Ours(number);
    }
    let sum = crc32fast::hash(&raw[..CHECKSUM]);
    let whole = raw.starts_with(MAGIC) && raw[CHECKSUM..] == sum.to_le_bytes();
    if whole { Header::Foreign } else { Header::Damaged }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_and_what_else_may_stand_there() {
        let raw = encode(DatabaseId(7), 1 << 20, 5);
        assert_eq!(raw[..8], *b"GRPHWAL\n");
        assert_eq!(raw[8..32], [1, 0, 0, 0, 0, 0, 16, 0, 7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        let ours = |raw: &[u8]| decode(raw, DatabaseId(7), 1 << 20);
        assert_eq!(ours(&raw), Header::Ours(5));
        assert_eq!(decode(&raw, DatabaseId(8), 1 << 20), Header::Foreign);
        assert_eq!(
            (ours(&[]), ours(&[0; 9]), ours(&[0; HEADER_USED])),
            (Header::Blank, Header::Blank, Header::Blank)
        );
        assert_eq!(ours(&raw[..35]), Header::Damaged);
        for at in 0..raw.len() {
            let mut bad = raw;
            bad[at] ^= 0x10;
            assert_eq!(ours(&bad), Header::Damaged, "byte {at}");
        }
    }
}
