//! Changing a node: cells in, cells out, and the room between them gathered when it is needed in one piece.

use super::{
    Body, CELL_HEAD_BYTES, COUNT, DIRECTORY, ENTRY_BYTES, HEAP, HOLES, Header, LEVEL, LINK, Node, RUN,
    RUN_COUNT, RUN_PLACE, cell_bytes, get_u16,
};
use crate::page::{PAGE_BODY_BYTES, Page, PageNo};
use crate::{Error, Result};

fn put_u16(body: &mut Body, at: usize, value: usize) {
    let value = u16::try_from(value).expect("offsets and counts within a page fit 16 bits");
    body[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// A node to change.
pub(in crate::btree) struct NodeMut<'a> {
    number: PageNo,
    body: &'a mut Body,
    header: Header,
}

impl<'a> NodeMut<'a> {
    /// Makes a freshly allocated page an empty node.
    pub(in crate::btree) fn init(page: &'a mut Page, level: u8) -> Result<NodeMut<'a>> {
        page.body_mut().fill(0);
        page.body_mut()[LEVEL] = level;
        NodeMut::open(page)
    }

    /// Looks at a page as a node.
    pub(in crate::btree) fn open(page: &'a mut Page) -> Result<NodeMut<'a>> {
        let header = Header::read(page, None)?;
        Ok(NodeMut { number: page.number(), body: page.body_mut(), header })
    }

    /// The same node, to read.
    pub(in crate::btree) fn node(&self) -> Node<'_> {
        Node { number: self.number, body: self.body, header: self.header }
    }

    fn write_header(&mut self) {
        put_u16(self.body, COUNT, self.header.count);
        put_u16(self.body, HEAP, self.header.heap);
        put_u16(self.body, HOLES, self.header.holes);
    }

    /// Sets the leftmost child of an inner node.
    pub(in crate::btree) fn set_leftmost(&mut self, child: PageNo) {
        self.body[LINK..LINK + 4].copy_from_slice(&child.0.to_le_bytes());
    }

    /// Puts a cell before cell `i`. False, and nothing changed, if it does not fit.
    pub(in crate::btree) fn insert(&mut self, i: usize, key: &[u8], value: &[u8]) -> Result<bool> {
        assert!(i <= self.header.count, "cell {i} of {} in {}", self.header.count, self.number);
        let cost = cell_bytes(key.len(), value.len());
        if cost > self.header.gap() + self.header.holes {
            return Ok(false);
        }
        if cost > self.header.gap() {
            self.compact()?;
        }
        self.header.heap += cost - ENTRY_BYTES;
        let offset = self.header.border();
        put_u16(self.body, offset, key.len());
        put_u16(self.body, offset + 2, value.len());
        let start = offset + CELL_HEAD_BYTES;
        self.body[start..start + key.len()].copy_from_slice(key);
        self.body[start + key.len()..start + key.len() + value.len()].copy_from_slice(value);
        let at = DIRECTORY + i * ENTRY_BYTES;
        let end = DIRECTORY + self.header.count * ENTRY_BYTES;
        self.body.copy_within(at..end, at + ENTRY_BYTES);
        put_u16(self.body, at, offset);
        self.header.count += 1;
        self.write_header();
        if self.header.level == 0 {
            let before = if get_u16(self.body, RUN_PLACE) == i { get_u16(self.body, RUN_COUNT) } else { 0 };
            put_u16(self.body, RUN_PLACE, i + 1);
            put_u16(self.body, RUN_COUNT, (before + 1).min(RUN));
        }
        Ok(true)
    }

    /// Puts a cell after all others, where the caller knows that it fits.
    pub(in crate::btree) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.insert(self.header.count, key, value)? {
            return Ok(());
        }
        Err(Error::body(self.number, "its cells take more bytes than a page has"))
    }

    /// Replaces the value of cell `i` by one of the same length.
    pub(in crate::btree) fn overwrite(&mut self, i: usize, new: &[u8]) -> Result<()> {
        let (offset, key, value) = self.node().extent(i)?;
        assert_eq!(value, new.len(), "a value is overwritten by one of its length");
        let start = offset + CELL_HEAD_BYTES + key;
        self.body[start..start + value].copy_from_slice(new);
        Ok(())
    }

    /// Removes cell `i`.
    pub(in crate::btree) fn remove(&mut self, i: usize) -> Result<()> {
        self.release(i)?;
        let at = DIRECTORY + i * ENTRY_BYTES;
        let end = DIRECTORY + self.header.count * ENTRY_BYTES;
        self.body.copy_within(at + ENTRY_BYTES..end, at);
        let run_place = get_u16(self.body, RUN_PLACE);
        if self.header.level == 0 && run_place > i {
            put_u16(self.body, RUN_PLACE, run_place - 1);
        }
        self.shorten(self.header.count - 1);
        Ok(())
    }

    /// Removes the cells from `count` on.
    pub(in crate::btree) fn truncate(&mut self, count: usize) -> Result<()> {
        for i in count..self.header.count {
            self.release(i)?;
        }
        self.shorten(count);
        Ok(())
    }

    /// Gives the bytes of cell `i` back, zeroed; its directory entry stays for the caller to remove.
    fn release(&mut self, i: usize) -> Result<()> {
        let (offset, key, value) = self.node().extent(i)?;
        let len = CELL_HEAD_BYTES + key + value;
        self.body[offset..offset + len].fill(0);
        if offset == self.header.border() {
            self.header.heap -= len;
        } else {
            self.header.holes += len;
        }
        if self.header.holes > self.header.heap {
            return Err(Error::body(self.number, "cells and holes of the tree node do not add up"));
        }
        Ok(())
    }

    /// Cuts the directory to `count` entries, the bytes of the others having been released.
    fn shorten(&mut self, count: usize) {
        let from = DIRECTORY + count * ENTRY_BYTES;
        let to = DIRECTORY + self.header.count * ENTRY_BYTES;
        self.body[from..to].fill(0);
        self.header.count = count;
        if count == 0 {
            self.header.heap = 0;
            self.header.holes = 0;
            if self.header.level == 0 {
                self.body[LINK..LINK + 4].fill(0);
            }
        }
        self.write_header();
    }

    /// Moves all cells up to the body's end, in the order in which they lie.
    fn compact(&mut self) -> Result<()> {
        let mut to = PAGE_BODY_BYTES;
        for (offset, len, i) in self.node().by_offset()? {
            to -= len;
            if to != offset {
                self.body.copy_within(offset..offset + len, to);
                put_u16(self.body, DIRECTORY + i * ENTRY_BYTES, to);
            }
        }
        let border = self.header.border();
        self.body[border..to].fill(0);
        self.header.heap -= self.header.holes;
        self.header.holes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{DatabaseId, PageKind};

    #[test]
    fn golden_bytes_of_a_leaf() {
        let mut page = Page::new(PageNo(5), PageKind::TreeLeaf, DatabaseId(1));
        let mut node = NodeMut::init(&mut page, 0).unwrap();
        assert!(node.insert(0, b"b", b"two").unwrap());
        assert!(node.insert(0, b"a", b"one").unwrap());
        assert!(node.insert(2, b"cc", b"").unwrap());
        node.remove(0).unwrap();
        node.node().check().unwrap();
        // 2 cells, 22 bytes of heap with 8 of holes, level 0, a run of 1 up to place 2. The end of the body is at 8168 = 0x1fe8.
        let body = page.body();
        assert_eq!(body[..16], [2, 0, 22, 0, 8, 0, 0, 0, 2, 0, 1, 0, 0xe0, 0x1f, 0xd2, 0x1f]);
        assert_eq!(body[PAGE_BODY_BYTES - 22..], *b"\x02\0\0\0cc\0\0\0\0\0\0\0\0\x01\0\x03\0btwo");
        assert!(body[16..PAGE_BODY_BYTES - 22].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn golden_bytes_of_an_inner_node() {
        let mut page = Page::new(PageNo(5), PageKind::TreeInner, DatabaseId(1));
        let mut node = NodeMut::init(&mut page, 1).unwrap();
        node.set_leftmost(PageNo(0x0102_0304));
        node.push(b"m", &9u32.to_le_bytes()).unwrap();
        assert_eq!(node.node().child(0).unwrap(), PageNo(0x0102_0304));
        assert_eq!(node.node().child(1).unwrap(), PageNo(9));
        let body = page.body();
        assert_eq!(body[..14], [1, 0, 9, 0, 0, 0, 1, 0, 4, 3, 2, 1, 0xdf, 0x1f]);
        assert_eq!(body[PAGE_BODY_BYTES - 9..], *b"\x01\0\x04\0m\x09\0\0\0");
    }

    #[test]
    fn an_emptied_leaf_is_a_body_of_zeros() {
        let mut page = Page::new(PageNo(5), PageKind::TreeLeaf, DatabaseId(1));
        let fresh = page.clone();
        let mut node = NodeMut::init(&mut page, 0).unwrap();
        for key in 0..100u8 {
            node.push(&[key], b"value").unwrap();
        }
        node.truncate(60).unwrap();
        node.node().check().unwrap();
        for key in (0..60).rev() {
            node.remove(key / 2).unwrap();
        }
        assert!(page == fresh);
    }
}
