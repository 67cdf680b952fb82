//! Building a tree from entries in order: pages are filled and left, from the first leaf to the last.

use super::node::{LEVEL_MAX, NodeMut, cell_bytes};
use super::{BTree, CAPACITY, check_lengths, separator};
use crate::page::{PageKind, PageNo};
use crate::pager::PageWriter;
use crate::{Error, Result};

/// So full are leaves and inner nodes made; the rest is left for what is inserted later.
const BUILT_BYTES: usize = CAPACITY / 16 * 15;

/// The right edge of a tree that grows to the right: the last node of each level, leaf first.
struct Edge {
    last: Vec<PageNo>,
}

impl BTree {
    /// Makes a tree of entries whose keys rise strictly.
    ///
    /// # Errors
    /// [`Error::NotAscending`], [`Error::EntryTooLarge`], or as [`PageWriter`].
    pub fn bulk_build<W, K, V>(w: &mut W, entries: impl IntoIterator<Item = (K, V)>) -> Result<BTree>
    where
        W: PageWriter,
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut edge = Edge { last: Vec::new() };
        let mut before: Option<K> = None;
        for (key, value) in entries {
            let (bytes, value) = (key.as_ref(), value.as_ref());
            check_lengths(bytes, value)?;
            match &before {
                None => {
                    edge.last.push(w.allocate(PageKind::TreeLeaf)?);
                    NodeMut::init(w.page_mut(edge.last[0])?, 0)?.push(bytes, value)?;
                }
                Some(before) if before.as_ref() >= bytes => return Err(Error::NotAscending),
                Some(before) => edge.add_entry(w, before.as_ref(), bytes, value)?,
            }
            before = Some(key);
        }
        Ok(BTree { root: edge.last.pop() })
    }
}

impl Edge {
    /// Adds an entry after `before`, the last so far.
    fn add_entry<W: PageWriter>(&mut self, w: &mut W, before: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
        let mut leaf = NodeMut::open(w.page_mut(self.last[0])?)?;
        if has_room(&leaf, key, value) {
            return leaf.push(key, value);
        }
        let leaf = w.allocate(PageKind::TreeLeaf)?;
        NodeMut::init(w.page_mut(leaf)?, 0)?.push(key, value)?;
        self.add_child(w, separator(before, key), leaf)
    }

    /// Makes `child` the last of the leaves, and adds it to the level above; a full node there ends, and the next
    /// one, which begins with the child, goes up in the same way.
    fn add_child<W: PageWriter>(&mut self, w: &mut W, separator: &[u8], child: PageNo) -> Result<()> {
        let mut child = child;
        for level in 1..=LEVEL_MAX {
            let below = std::mem::replace(&mut self.last[usize::from(level) - 1], child);
            let value = child.0.to_le_bytes();
            let Some(last) = self.last.get(usize::from(level)) else {
                let root = w.allocate(PageKind::TreeInner)?;
                let mut node = NodeMut::init(w.page_mut(root)?, level)?;
                node.set_leftmost(below);
                self.last.push(root);
                return node.push(separator, &value);
            };
            let mut node = NodeMut::open(w.page_mut(*last)?)?;
            if has_room(&node, separator, &value) {
                return node.push(separator, &value);
            }
            let next = w.allocate(PageKind::TreeInner)?;
            NodeMut::init(w.page_mut(next)?, level)?.set_leftmost(child);
            child = next;
        }
        Err(Error::body(child, "it belongs to a tree deeper than any can be"))
    }
}

/// Whether a cell may be added without filling the node past [`BUILT_BYTES`].
fn has_room(node: &NodeMut<'_>, key: &[u8], value: &[u8]) -> bool {
    node.node().used() + cell_bytes(key.len(), value.len()) <= BUILT_BYTES
}
