//! Bytes of a hub's pages.
//!
//! Leaf (`PageKind::HubLeaf`), offsets from the body's start, little endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | length of the block |
//! | 2 | 6 | zero |
//! | 8 | | the block (see `block.rs`), without slack; its owner word is the leaf's |
//!
//! Inner node (`PageKind::HubInner`):
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | owner word; its number is the level: 1 if the children are leaves |
//! | 8 | 2 | count of children |
//! | 10 | 6 | zero |
//! | 16 | 22 each | children |
//!
//! and a child: type u16, neighbour and edge (12 bytes, as an entry), page u32, entries below it u32. The first
//! three are its *low*: no key below the child is less, and all keys of the child before are. The low of a
//! node's first child is never looked at: it is the low of the node itself, so that a first child can go without
//! a change to the pages below the second.

use graphite_store::{PAGE_BODY_BYTES, Page, PageNo};

use crate::adjacency::block::{BLOCK_HEADER_BYTES, Block, GROUP_HEADER_BYTES, Why, insert_in_place};
use crate::adjacency::entry::{ENTRY_BYTES, Entry, Key, OWNER_BYTES, Owner};
use crate::ids::TypeId;

const LEAF_LEN: usize = 0;
const LEAF_BLOCK: usize = LEAF_LEN + 8;
/// Bytes of the largest block in a leaf.
pub(in crate::adjacency) const LEAF_BLOCK_BYTES_MAX: usize = PAGE_BODY_BYTES - LEAF_BLOCK;

const COUNT: usize = OWNER_BYTES;
const CHILDREN: usize = COUNT + 8;
const CHILD_ENTRY: usize = 2;
const CHILD_PAGE: usize = CHILD_ENTRY + ENTRY_BYTES;
const CHILD_COUNT: usize = CHILD_PAGE + 4;
const CHILD_BYTES: usize = CHILD_COUNT + 4;
const _: () = assert!(CHILD_BYTES == 22);
/// Most children of an inner node.
pub(in crate::adjacency) const INNER_CHILDREN_MAX: usize = (PAGE_BODY_BYTES - CHILDREN) / CHILD_BYTES;
const _: () = assert!(INNER_CHILDREN_MAX == 370);

/// No tree is higher: bounds the descent through pages that contradict themselves.
pub(super) const LEVEL_MAX: u16 = 24;

/// The least key.
pub(super) const KEY_MIN: Key = (TypeId(0), Entry::MIN);
/// Above every key.
pub(super) const KEY_END: Key = (TypeId(u32::MAX), Entry::MIN);

/// The block of a leaf.
#[inline]
pub(super) fn leaf_block(page: &Page, owner: Owner) -> Result<Block<'_>, Why> {
    let body = page.body();
    let len = usize::from(u16::from_le_bytes([body[LEAF_LEN], body[LEAF_LEN + 1]]));
    let bytes = body[LEAF_BLOCK..].get(..len).ok_or("a hub's leaf is longer than its page")?;
    Block::parse(bytes, owner)
}

/// Where in the body the last entry of a leaf of so many is, if they are of one type.
#[inline]
pub(super) fn last_entry_offset(entries: u32) -> usize {
    const FIRST: usize = LEAF_BLOCK + BLOCK_HEADER_BYTES + GROUP_HEADER_BYTES;
    (FIRST + (entries as usize).saturating_sub(1) * ENTRY_BYTES).min(PAGE_BODY_BYTES - ENTRY_BYTES)
}

/// Bytes of a leaf's block.
pub(super) fn leaf_len(page: &Page) -> usize {
    let body = page.body();
    usize::from(u16::from_le_bytes([body[LEAF_LEN], body[LEAF_LEN + 1]]))
}

/// Puts a block into a leaf; the rest of the page becomes zero.
pub(super) fn put_leaf(page: &mut Page, block: &[u8]) {
    let len = u16::try_from(block.len()).expect("a leaf's block fits its page");
    let body = page.body_mut();
    body[..LEAF_BLOCK].fill(0);
    body[LEAF_LEN..LEAF_LEN + 2].copy_from_slice(&len.to_le_bytes());
    let (head, rest) = body[LEAF_BLOCK..].split_at_mut(block.len());
    head.copy_from_slice(block);
    rest.fill(0);
}

/// Puts one entry into a leaf, as long as its block stays within `bytes_max`; gives the block's new length.
/// `None`, and nothing is changed, if it does not.
pub(super) fn insert_into_leaf(
    page: &mut Page,
    owner: Owner,
    key: Key,
    bytes_max: usize,
) -> Result<Option<usize>, Why> {
    let body = page.body_mut();
    let bytes_max = bytes_max.min(LEAF_BLOCK_BYTES_MAX);
    let Some(len) = insert_in_place(&mut body[LEAF_BLOCK..LEAF_BLOCK + bytes_max], owner, key)? else {
        return Ok(None);
    };
    let raw = u16::try_from(len).expect("a leaf's block fits its page");
    body[LEAF_LEN..LEAF_LEN + 2].copy_from_slice(&raw.to_le_bytes());
    Ok(Some(len))
}

/// A child of an inner node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Child {
    /// No key below it is less.
    pub low: Key,
    /// Where it is.
    pub page: PageNo,
    /// Entries below it.
    pub count: u32,
}

impl Child {
    #[inline]
    fn decode(raw: &[u8; CHILD_BYTES]) -> Child {
        let [.., p0, p1, p2, p3, c0, c1, c2, c3] = *raw;
        Child {
            low: low(raw),
            page: PageNo(u32::from_le_bytes([p0, p1, p2, p3])),
            count: u32::from_le_bytes([c0, c1, c2, c3]),
        }
    }

    fn encode(&self) -> [u8; CHILD_BYTES] {
        let mut raw = [0; CHILD_BYTES];
        let type_ = u16::try_from(self.low.0.0).expect("the catalog hands out types of 16 bits");
        raw[..CHILD_ENTRY].copy_from_slice(&type_.to_le_bytes());
        raw[CHILD_ENTRY..CHILD_PAGE].copy_from_slice(&self.low.1.encode());
        raw[CHILD_PAGE..CHILD_COUNT].copy_from_slice(&self.page.0.to_le_bytes());
        raw[CHILD_COUNT..].copy_from_slice(&self.count.to_le_bytes());
        raw
    }
}

#[inline]
fn low(raw: &[u8; CHILD_BYTES]) -> Key {
    let entry = raw[CHILD_ENTRY..].first_chunk().expect("a child has an entry's bytes after its type");
    (TypeId(u32::from(u16::from_le_bytes([raw[0], raw[1]]))), Entry::decode(entry))
}

/// An inner node, of which owner, level and length are known to be right.
#[derive(Clone, Copy)]
pub(super) struct Inner<'a> {
    children: &'a [[u8; CHILD_BYTES]],
}

impl<'a> Inner<'a> {
    #[inline]
    pub(super) fn parse(page: &'a Page, owner: Owner, level: u16) -> Result<Inner<'a>, Why> {
        if level_of(page, owner)? != level {
            return Err("a node of a hub's tree is at another level than its parent says");
        }
        let body = page.body();
        let count = usize::from(u16::from_le_bytes([body[COUNT], body[COUNT + 1]]));
        let children = body[CHILDREN..].as_chunks().0.get(..count);
        match children {
            Some([]) | None => Err("a node of a hub's tree has no children, or too many"),
            Some(children) => Ok(Inner { children }),
        }
    }

    /// Number of children, at least 1.
    #[inline]
    pub(super) fn len(self) -> usize {
        self.children.len()
    }

    /// Child `index`, if there are that many. The low of the first says nothing.
    #[inline]
    pub(super) fn get(self, index: usize) -> Option<Child> {
        self.children.get(index).map(Child::decode)
    }

    pub(super) fn children(self) -> impl Iterator<Item = Child> + 'a {
        self.children.iter().map(Child::decode)
    }

    /// The child whose range holds `key`.
    #[inline]
    pub(super) fn index_of(self, key: Key) -> usize {
        self.children.partition_point(|raw| low(raw) <= key).saturating_sub(1)
    }

    /// Child `index` and the key that its range ends before, given the node's own range.
    #[inline]
    pub(super) fn child_and_end(self, index: usize, low: Key, end: Key) -> Result<(Child, Key), Why> {
        let raw = self.children.get(index).ok_or("a node of a hub's tree has fewer children than it says")?;
        let mut child = Child::decode(raw);
        if index == 0 {
            child.low = low;
        }
        let end = self.children.get(index + 1).map_or(end, self::low);
        if child.low >= end {
            return Err("keys of a node of a hub's tree are out of order");
        }
        Ok((child, end))
    }

    /// Entries below the node.
    pub(super) fn count(self) -> u64 {
        self.children().map(|child| u64::from(child.count)).sum()
    }
}

/// The level of an inner node.
pub(super) fn level_of(page: &Page, owner: Owner) -> Result<u16, Why> {
    let word = page.body().first_chunk().ok_or("a page ends before its owner word")?;
    match owner.number_in(*word) {
        Some(level @ 1..=LEVEL_MAX) => Ok(level),
        Some(_) => Err("a node of a hub's tree has an impossible level"),
        None => Err("a hub's page belongs to another node or side"),
    }
}

/// Writes an inner node; the rest of the page becomes zero.
pub(super) fn put_inner(page: &mut Page, owner: Owner, level: u16, children: &[Child]) {
    assert!(
        !children.is_empty() && children.len() <= INNER_CHILDREN_MAX,
        "an inner node has 1 to 370 children"
    );
    let count = u16::try_from(children.len()).expect("370 fits 16 bits");
    let body = page.body_mut();
    body.fill(0);
    body[..OWNER_BYTES].copy_from_slice(&owner.word(level));
    body[COUNT..COUNT + 2].copy_from_slice(&count.to_le_bytes());
    for (raw, child) in body[CHILDREN..].as_chunks_mut().0.iter_mut().zip(children) {
        *raw = child.encode();
    }
}

/// Changes the count of entries below one child of an inner node.
pub(super) fn put_child_count(page: &mut Page, index: usize, count: u32) {
    let children: &mut [[u8; CHILD_BYTES]] = page.body_mut()[CHILDREN..].as_chunks_mut().0;
    children[index][CHILD_COUNT..].copy_from_slice(&count.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use graphite_store::{DatabaseId, PageKind};

    use super::*;
    use crate::adjacency::entry::Side;
    use crate::ids::{EdgeSlot, NodeSlot};

    const OWNER: Owner = Owner { slot: NodeSlot(0x0102), side: Side::In };

    #[test]
    fn golden_inner() {
        let entry = Entry { neighbour: NodeSlot(7), edge: EdgeSlot(0x0908) };
        let children = [
            Child { low: KEY_MIN, page: PageNo(5), count: 6 },
            Child { low: (TypeId(0x0304), entry), page: PageNo(0x0a0b_0c0d), count: 0x0102_0304 },
        ];
        let mut page = Page::new(PageNo(9), PageKind::HubInner, DatabaseId(1));
        put_inner(&mut page, OWNER, 3, &children);
        assert_eq!(page.body()[..16], [2, 1, 0, 0, 0, 0, 3, 0x80, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            page.body()[16 + 22..16 + 44],
            [4, 3, 7, 0, 0, 0, 0, 0, 8, 9, 0, 0, 0, 0, 13, 12, 11, 10, 4, 3, 2, 1]
        );
        let inner = Inner::parse(&page, OWNER, 3).unwrap();
        assert_eq!(inner.children().collect::<Vec<_>>(), children);
        assert_eq!(inner.count(), 0x0102_0304 + 6);
        assert!(Inner::parse(&page, OWNER, 2).is_err());
        assert!(Inner::parse(&page, Owner { side: Side::Out, ..OWNER }, 3).is_err());
    }

    #[test]
    fn golden_leaf() {
        let mut page = Page::new(PageNo(9), PageKind::HubLeaf, DatabaseId(1));
        put_leaf(&mut page, &OWNER.word(0));
        assert_eq!(page.body()[..16], [8, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0x80]);
        assert_eq!(leaf_block(&page, OWNER).unwrap().len(), Ok(0));
        page.body_mut()[..2].copy_from_slice(&0xffff_u16.to_le_bytes());
        assert!(leaf_block(&page, OWNER).is_err());
    }
}
