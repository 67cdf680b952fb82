//! The page: 8 KiB, and the header that lets every byte read be checked.
//!
//! Layout of the header (little endian); everything after it, the *body*, belongs to the page's kind:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | CRC-32 (ISO-HDLC, as in zlib) of bytes 4..8192 |
//! | 4 | 1 | kind |
//! | 5 | 3 | zero |
//! | 8 | 4 | page number |
//! | 12 | 4 | database id, low 32 bits |
//! | 16 | 8 | LSN: end of the log group that made this version |
//!
//! Invariants:
//! 1. A [`Page`] was checked (checksum, number, database) or made by us; bytes that were not are a [`RawPage`].
//! 2. The checksum is valid only on its way to disk: [`Page::seal`] writes it, [`RawPage::check`] proves it.
//! 3. A page knows which parts of its body may differ from the page that it was copied from, for a change of its body goes
//!    through [`Page::body_mut`] or [`Page::range_mut`]. So nobody has to compare whole pages.

use std::fmt;
use std::ops::Range;

/// Bytes in a page, header included.
pub const PAGE_BYTES: usize = 8192;

const CHECKSUM: usize = 0;
const KIND: usize = CHECKSUM + 4;
const NUMBER: usize = KIND + 4;
const DATABASE: usize = NUMBER + 4;
const LSN: usize = DATABASE + 4;
/// Bytes in a page's header; the body starts here.
pub const PAGE_HEADER_BYTES: usize = LSN + 8;
const _: () = assert!(PAGE_HEADER_BYTES == 24);
/// Bytes in a page's body.
pub const PAGE_BODY_BYTES: usize = PAGE_BYTES - PAGE_HEADER_BYTES;

/// Bytes of a page's body that count as changed together; the last part is shorter.
pub(crate) const PART_BYTES: usize = PAGE_BODY_BYTES.div_ceil(64).next_power_of_two();
const _: () = assert!(PAGE_BODY_BYTES.div_ceil(PART_BYTES) == 64);

/// The place of a page in the database file, in pages from its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PageNo(pub u32);

impl PageNo {
    /// Byte offset of the page in the database file.
    pub fn offset(self) -> u64 {
        u64::from(self.0) * PAGE_BYTES as u64
    }
}

impl fmt::Debug for PageNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {}", self.0)
    }
}

impl fmt::Display for PageNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {}", self.0)
    }
}

/// Log sequence number: a byte position in the endless log. A group's LSN is its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LSN {}", self.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LSN {}", self.0)
    }
}

/// Drawn at random when a database is made; on every page, log segment and superblock, so that no byte of
/// another database is ever taken for ours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DatabaseId(pub u64);

impl DatabaseId {
    /// The part that fits into a page header.
    pub fn low(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

/// What a page's body holds. The store owns the first few; the rest belong to the layers above and are
/// only named here, in the one place that keeps two from meaning the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum PageKind {
    /// Never written: a page of zeros.
    Zero = 0,
    /// The state page: roots and counters of the whole database (lives in the superblock, see `superblock`).
    State = 1,
    /// Allocation bitmap.
    Bitmap = 2,
    /// B+tree inner node.
    TreeInner = 3,
    /// B+tree leaf.
    TreeLeaf = 4,
    /// Slotted record page.
    Record = 5,
    /// Continuation of a value too long for a record page.
    Overflow = 6,
    /// Directory of a table.
    Directory = 7,
    /// Node table page.
    Nodes = 8,
    /// Edge table page.
    Edges = 9,
    /// Slotted page of small adjacency blocks.
    Adjacency = 10,
    /// Leaf of a hub's adjacency tree.
    HubLeaf = 11,
    /// Inner node of a hub's adjacency tree.
    HubInner = 12,
    /// Free-space map of record and adjacency pages.
    SpaceMap = 13,
}

impl PageKind {
    /// The kind that a byte stands for, if any.
    pub fn from_byte(byte: u8) -> Option<PageKind> {
        use PageKind::*;
        const KINDS: [PageKind; 14] = [
            Zero, State, Bitmap, TreeInner, TreeLeaf, Record, Overflow, Directory, Nodes, Edges, Adjacency,
            HubLeaf, HubInner, SpaceMap,
        ];
        KINDS.get(usize::from(byte)).copied()
    }
}

/// A page whose bytes can be trusted: checked when read, or made here.
///
/// The bytes are boxed, so that a page is copied once, straight into its new place, and moved for nothing.
pub struct Page {
    bytes: Box<[u8; PAGE_BYTES]>,
    /// A bit for each part of the body that was lent out to be changed.
    lent: u64,
}

/// A copy counts as unchanged.
impl Clone for Page {
    fn clone(&self) -> Page {
        Page { bytes: self.bytes.clone(), lent: 0 }
    }
}

impl PartialEq for Page {
    fn eq(&self, other: &Page) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Page {}

fn zeros() -> Box<[u8; PAGE_BYTES]> {
    vec![0; PAGE_BYTES].try_into().expect("the length is that of the array")
}

impl Page {
    /// A page with an empty (zero) body.
    pub fn new(number: PageNo, kind: PageKind, database: DatabaseId) -> Page {
        let mut page = Page { bytes: zeros(), lent: 0 };
        page.bytes[KIND] = kind as u8;
        page.put_u32(NUMBER, number.0);
        page.put_u32(DATABASE, database.low());
        page
    }

    /// What the body holds. A byte that names no kind was refused by [`RawPage::check`].
    pub fn kind(&self) -> PageKind {
        PageKind::from_byte(self.bytes[KIND]).expect("a checked page has a known kind")
    }

    /// Changes what the body is said to hold; the body itself stays.
    pub fn set_kind(&mut self, kind: PageKind) {
        self.bytes[KIND] = kind as u8;
    }

    /// Where this page lives.
    pub fn number(&self) -> PageNo {
        PageNo(self.get_u32(NUMBER))
    }

    /// End of the log group that made this version.
    pub fn lsn(&self) -> Lsn {
        let mut raw = [0; 8];
        raw.copy_from_slice(&self.bytes[LSN..LSN + 8]);
        Lsn(u64::from_le_bytes(raw))
    }

    /// Stamps the version.
    pub fn set_lsn(&mut self, lsn: Lsn) {
        self.bytes[LSN..LSN + 8].copy_from_slice(&lsn.0.to_le_bytes());
    }

    /// The part that belongs to the page's kind, [`PAGE_BODY_BYTES`] long.
    #[inline]
    pub fn body(&self) -> &[u8; PAGE_BODY_BYTES] {
        self.bytes[PAGE_HEADER_BYTES..].as_array().expect("the body's length is a constant")
    }

    /// The part that belongs to the page's kind, to change. Where little of it is changed, [`Page::range_mut`] makes the
    /// commit cheaper.
    #[inline]
    pub fn body_mut(&mut self) -> &mut [u8; PAGE_BODY_BYTES] {
        self.lent = u64::MAX;
        self.bytes[PAGE_HEADER_BYTES..].as_mut_array().expect("the body's length is a constant")
    }

    /// Some bytes of the body, to change.
    #[inline]
    pub fn range_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        let bytes = &mut self.bytes[PAGE_HEADER_BYTES..][range.clone()];
        if !bytes.is_empty() {
            let (first, last) = (range.start / PART_BYTES, (range.end - 1) / PART_BYTES);
            self.lent |= (u64::MAX >> (63 - (last - first))) << first;
        }
        bytes
    }

    /// Where the body may differ from that of the page that this one was copied from: a bit for each [`PART_BYTES`].
    pub(crate) fn parts_lent(&self) -> u64 {
        self.lent
    }

    /// Makes this a copy of `other`, in the memory that it has.
    pub(crate) fn copy_from(&mut self, other: &Page) {
        self.bytes.copy_from_slice(&other.bytes[..]);
        self.lent = 0;
    }

    /// The whole page, header included; its checksum is valid only after [`Page::seal`].
    pub fn bytes(&self) -> &[u8; PAGE_BYTES] {
        &self.bytes
    }

    /// Its memory, to read another page into.
    pub(crate) fn into_raw(self) -> RawPage {
        RawPage(self.bytes)
    }

    /// Writes the checksum, and gives the bytes to put on disk.
    pub fn seal(&mut self) -> &[u8; PAGE_BYTES] {
        let sum = crc32fast::hash(&self.bytes[KIND..]);
        self.put_u32(CHECKSUM, sum);
        &self.bytes
    }

    fn put_u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn get_u32(&self, at: usize) -> u32 {
        let mut raw = [0; 4];
        raw.copy_from_slice(&self.bytes[at..at + 4]);
        u32::from_le_bytes(raw)
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.number(), self.kind(), self.lsn())
    }
}

/// Bytes as they came from disk: nothing about them is known yet.
pub struct RawPage(pub Box<[u8; PAGE_BYTES]>);

impl Default for RawPage {
    fn default() -> Self {
        RawPage(zeros())
    }
}

/// Why the bytes of a page cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorruptPage {
    /// The checksum does not fit the bytes.
    #[error("its checksum is {found:#010x}, and its bytes give {computed:#010x}")]
    Checksum {
        /// Read from the page.
        found: u32,
        /// Computed from its bytes.
        computed: u32,
    },
    /// A page of some other place was found here.
    #[error("it says that it is page {found}")]
    Number {
        /// Read from the page.
        found: u32,
    },
    /// A page of some other database was found here.
    #[error("it belongs to another database ({found:#010x})")]
    Database {
        /// Read from the page.
        found: u32,
    },
    /// The kind is none that this version knows.
    #[error("its kind {found} is unknown")]
    Kind {
        /// Read from the page.
        found: u8,
    },
    /// The page is not of the kind that its owner says.
    #[error("it is of kind {found:?} where {expected:?} belongs")]
    WrongKind {
        /// Read from the page.
        found: PageKind,
        /// What its owner expects.
        expected: PageKind,
    },
    /// The file ends before the page does.
    #[error("the file ends before it does")]
    Truncated,
    /// The disk does not give it back. Only who looks at a whole file calls that damage of the page.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// No commit can have made it: the log does not reach so far.
    #[error("it is as of {found}, and the log ends at {end}")]
    AboveLog {
        /// Read from the page.
        found: Lsn,
        /// Where the log ends.
        end: Lsn,
    },
    /// The body contradicts itself; the words say how.
    #[error("{0}")]
    Body(&'static str),
}

impl CorruptPage {
    /// Whether the page is not what was written there, so that nobody gets at it, whatever he expects of it.
    pub fn hides_page(&self) -> bool {
        !matches!(self, CorruptPage::WrongKind { .. } | CorruptPage::Body(_))
    }
}

impl RawPage {
    /// Proves that these are the bytes of page `number` of `database`.
    pub fn check(self, number: PageNo, database: DatabaseId) -> Result<Page, CorruptPage> {
        check_bytes(&self.0, number, database)?;
        Ok(Page { bytes: self.0, lent: 0 })
    }
}

/// Proves that these are the bytes of page `number` of `database`, and tells its kind.
pub(crate) fn check_bytes(
    raw: &[u8; PAGE_BYTES],
    number: PageNo,
    database: DatabaseId,
) -> Result<PageKind, CorruptPage> {
    let u32_at = |at: usize| u32::from_le_bytes(*raw[at..].first_chunk().expect("inside the page"));
    let (found, computed) = (u32_at(CHECKSUM), crc32fast::hash(&raw[KIND..]));
    if found != computed {
        return Err(CorruptPage::Checksum { found, computed });
    }
    if u32_at(NUMBER) != number.0 {
        return Err(CorruptPage::Number { found: u32_at(NUMBER) });
    }
    if u32_at(DATABASE) != database.low() {
        return Err(CorruptPage::Database { found: u32_at(DATABASE) });
    }
    PageKind::from_byte(raw[KIND]).ok_or(CorruptPage::Kind { found: raw[KIND] })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DB: DatabaseId = DatabaseId(0x1122_3344_5566_7788);

    #[test]
    fn golden_header() {
        let mut page = Page::new(PageNo(7), PageKind::Nodes, DB);
        page.set_lsn(Lsn(0x0102_0304));
        page.seal();
        assert_eq!(
            page.bytes[4..24],
            [8, 0, 0, 0, 7, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 4, 3, 2, 1, 0, 0, 0, 0]
        );
        assert_eq!(page.bytes[..4], crc32fast::hash(&page.bytes[4..]).to_le_bytes());
    }

    #[test]
    fn every_single_bit_flip_is_found() {
        let mut page = Page::new(PageNo(7), PageKind::Record, DB);
        page.body_mut()[100] = 9;
        let good = Box::new(*page.seal());
        assert_eq!(RawPage(good.clone()).check(PageNo(7), DB).unwrap().body()[100], 9);
        for bit in (0..PAGE_BYTES * 8).step_by(13) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(RawPage(bad).check(PageNo(7), DB).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_page_of_another_place_or_database_is_refused() {
        let mut page = Page::new(PageNo(7), PageKind::Record, DB);
        let good = Box::new(*page.seal());
        assert_eq!(RawPage(good.clone()).check(PageNo(8), DB), Err(CorruptPage::Number { found: 7 }));
        assert_eq!(
            RawPage(good).check(PageNo(7), DatabaseId(1)),
            Err(CorruptPage::Database { found: 0x5566_7788 })
        );
    }
}
