//! The bytes of a B+tree's pages, leaves and inner nodes alike: cells in key order behind a directory.
//!
//! Layout of the body (little endian, offsets from the body's start):
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | count of cells |
//! | 2 | 2 | heap: bytes from the lowest cell to the body's end, holes included |
//! | 4 | 2 | holes: bytes of the heap that belong to no cell |
//! | 6 | 1 | level: 0 in a leaf, else one more than its children's |
//! | 7 | 1 | zero |
//! | 8 | 4 | inner node: page number of the leftmost child |
//! | 8 | 2 | leaf: place behind the cell inserted last; a hint for splits, which nothing else rests on |
//! | 10 | 2 | leaf: how many cells in a row were inserted there, counted up to [`RUN`] |
//! | 12 | 2 each | directory: offsets of the cells, in key order |
//! | ... | | gap |
//! | ... | heap | cells; the heap grows down from the body's end |
//!
//! A cell is key length u16, value length u16, key, value. In an inner node the value is the page number (u32)
//! of the child whose keys are at or above the cell's key.
//!
//! Invariants:
//! 1. Cells lie in the heap, whole and without overlap; their bytes and the holes add up to the heap.
//! 2. Keys rise strictly.
//! 3. Every byte that belongs to nothing is zero: images stay small in the log, a body of zeros is an empty leaf.
//! 4. The kind of the page is `TreeLeaf` at level 0 and `TreeInner` above. Levels fall by one on the way down,
//!    so that no way down is endless, whatever the bytes say.

mod edit;

use crate::page::{CorruptPage, PAGE_BODY_BYTES, Page, PageKind, PageNo};
use crate::{Error, Result};

pub(super) use edit::NodeMut;

type Body = [u8; PAGE_BODY_BYTES];

const COUNT: usize = 0;
const HEAP: usize = COUNT + 2;
const HOLES: usize = HEAP + 2;
const LEVEL: usize = HOLES + 2;
const LINK: usize = LEVEL + 2;
const RUN_PLACE: usize = LINK;
const RUN_COUNT: usize = RUN_PLACE + 2;
const DIRECTORY: usize = LINK + 4;
const ENTRY_BYTES: usize = 2;
const CELL_HEAD_BYTES: usize = 4;
const _: () = assert!(DIRECTORY == 12);
const _: () = assert!(PAGE_BODY_BYTES < 0xffff);

/// Bytes of a page that cells and their directory entries share.
pub(super) const CAPACITY: usize = PAGE_BODY_BYTES - DIRECTORY;

/// Highest level that a node may have. Splits leave at least one cell on both sides, so 32-bit page numbers
/// are used up long before.
pub(super) const LEVEL_MAX: u8 = 32;

/// So many cells inserted one behind the other are keys that come in order, and no accident.
pub(super) const RUN: usize = 8;

/// What a cell takes of [`CAPACITY`].
pub(super) const fn cell_bytes(key: usize, value: usize) -> usize {
    ENTRY_BYTES + CELL_HEAD_BYTES + key + value
}

#[derive(Clone, Copy)]
struct Header {
    count: usize,
    heap: usize,
    holes: usize,
    level: u8,
}

impl Header {
    /// Reads the header and proves that directory and heap do not run into each other, and that the page is
    /// of the kind and level that belong here.
    fn read(page: &Page, level: Option<u8>) -> Result<Header> {
        let body = page.body();
        let header = Header {
            count: get_u16(body, COUNT),
            heap: get_u16(body, HEAP),
            holes: get_u16(body, HOLES),
            level: body[LEVEL],
        };
        let expected =
            if level.unwrap_or(header.level) == 0 { PageKind::TreeLeaf } else { PageKind::TreeInner };
        let found = page.kind();
        if found != expected {
            let why = CorruptPage::WrongKind { found, expected };
            return Err(Error::CorruptPage { page: page.number(), why });
        }
        if level.is_some_and(|level| level != header.level) || header.level > LEVEL_MAX {
            return Err(Error::body(page.number(), "its level in the tree is not one below its parent's"));
        }
        let fits = DIRECTORY + header.count * ENTRY_BYTES + header.heap <= PAGE_BODY_BYTES;
        if !fits || header.holes > header.heap {
            return Err(Error::body(page.number(), "the header of the tree node contradicts itself"));
        }
        Ok(header)
    }

    fn border(&self) -> usize {
        PAGE_BODY_BYTES - self.heap
    }

    fn gap(&self) -> usize {
        self.border() - DIRECTORY - self.count * ENTRY_BYTES
    }
}

#[inline]
fn get_u16(body: &Body, at: usize) -> usize {
    usize::from(u16::from_le_bytes([body[at], body[at + 1]]))
}

/// A cell of an inner node holds a page number; anything else is damage.
pub(super) fn child_of(page: PageNo, value: &[u8]) -> Result<PageNo> {
    match value.try_into() {
        Ok(raw) => Ok(PageNo(u32::from_le_bytes(raw))),
        Err(_) => Err(Error::body(page, "a cell of an inner node holds no page number")),
    }
}

/// A node to read.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    number: PageNo,
    body: &'a Body,
    header: Header,
}

impl<'a> Node<'a> {
    /// Looks at a page as a node, of `level` if that is known from its parent.
    pub(super) fn open(page: &'a Page, level: Option<u8>) -> Result<Node<'a>> {
        Ok(Node { number: page.number(), body: page.body(), header: Header::read(page, level)? })
    }

    pub(super) fn number(&self) -> PageNo {
        self.number
    }

    pub(super) fn count(&self) -> usize {
        self.header.count
    }

    pub(super) fn level(&self) -> u8 {
        self.header.level
    }

    /// Bytes of [`CAPACITY`] in use.
    pub(super) fn used(&self) -> usize {
        self.header.count * ENTRY_BYTES + self.header.heap - self.header.holes
    }

    /// Where cell `i` lies, proven to be within the heap: offset, length of key, length of value.
    #[inline]
    fn extent(&self, i: usize) -> Result<(usize, usize, usize)> {
        assert!(i < self.header.count, "cell {i} of {} in {}", self.header.count, self.number);
        let offset = get_u16(self.body, DIRECTORY + i * ENTRY_BYTES);
        if offset >= self.header.border() && offset + CELL_HEAD_BYTES <= PAGE_BODY_BYTES {
            let (key, value) = (get_u16(self.body, offset), get_u16(self.body, offset + 2));
            if offset + CELL_HEAD_BYTES + key + value <= PAGE_BODY_BYTES {
                return Ok((offset, key, value));
            }
        }
        Err(Error::body(self.number, "a cell of the tree node lies outside of its heap"))
    }

    /// Key and value of cell `i`, which the caller knows to be there.
    #[inline]
    pub(super) fn cell(&self, i: usize) -> Result<(&'a [u8], &'a [u8])> {
        let (offset, key, value) = self.extent(i)?;
        let start = offset + CELL_HEAD_BYTES;
        Ok(self.body[start..start + key + value].split_at(key))
    }

    /// Key of cell `i`.
    pub(super) fn key(&self, i: usize) -> Result<&'a [u8]> {
        Ok(self.cell(i)?.0)
    }

    /// Child `i` of an inner node; there is one more of them than cells.
    pub(super) fn child(&self, i: usize) -> Result<PageNo> {
        if i > 0 {
            return child_of(self.number, self.cell(i - 1)?.1);
        }
        let mut raw = [0; 4];
        raw.copy_from_slice(&self.body[LINK..LINK + 4]);
        Ok(PageNo(u32::from_le_bytes(raw)))
    }

    /// The cell with `key`, or where it would go.
    pub(super) fn search(&self, key: &[u8]) -> Result<Result<usize, usize>> {
        let (mut low, mut high) = (0, self.header.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle)?.cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(Ok(middle)),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(Err(low))
    }

    /// Number of the child under which `key` belongs.
    pub(super) fn child_for(&self, key: &[u8]) -> Result<usize> {
        Ok(match self.search(key)? {
            Ok(i) => i + 1,
            Err(i) => i,
        })
    }

    /// Whether the cell that is about to be inserted before cell `i` of a leaf comes in order behind others.
    pub(super) fn is_in_run(&self, i: usize) -> bool {
        self.header.level == 0 && get_u16(self.body, RUN_PLACE) == i && get_u16(self.body, RUN_COUNT) >= RUN
    }

    /// The extents of all cells by falling offset, proven not to overlap and to add up.
    fn by_offset(&self) -> Result<Vec<(usize, usize, usize)>> {
        let mut extents = Vec::with_capacity(self.header.count);
        for i in 0..self.header.count {
            let (offset, key, value) = self.extent(i)?;
            extents.push((offset, CELL_HEAD_BYTES + key + value, i));
        }
        extents.sort_unstable_by(|a, b| b.cmp(a));
        let mut above = PAGE_BODY_BYTES;
        let mut total = 0;
        for &(offset, len, _) in &extents {
            if offset + len > above {
                return Err(Error::body(self.number, "two cells of the tree node overlap"));
            }
            above = offset;
            total += len;
        }
        if total + self.header.holes != self.header.heap {
            return Err(Error::body(self.number, "cells and holes of the tree node do not add up"));
        }
        Ok(extents)
    }

    /// Proves invariants 1 to 3.
    pub(super) fn check(&self) -> Result<()> {
        let mut above = PAGE_BODY_BYTES;
        for (offset, len, _) in self.by_offset()? {
            if self.body[offset + len..above].iter().any(|byte| *byte != 0) {
                return Err(Error::body(self.number, "a hole of the tree node is not zero"));
            }
            above = offset;
        }
        let directory_end = DIRECTORY + self.header.count * ENTRY_BYTES;
        if self.body[directory_end..above].iter().any(|byte| *byte != 0) {
            return Err(Error::body(self.number, "the gap of the tree node is not zero"));
        }
        for i in 1..self.header.count {
            if self.key(i - 1)? >= self.key(i)? {
                return Err(Error::body(self.number, "its keys do not rise"));
            }
        }
        Ok(())
    }
}
