//! A B+tree with byte keys and byte values, ordered by the keys' bytes.
//!
//! A [`BTree`] is no more than its root's page number. It is read through any [`PageReader`] and changed through
//! a [`PageWriter`]; a change may move the root, so the caller stores [`BTree::root`] anew after each.
//!
//! Invariants ([`BTree::check`] proves them):
//! 1. All leaves are at level 0, and levels fall by one on every way down. The tree has no empty leaf and no
//!    page twice; a tree without entries has no page at all.
//! 2. The keys under a child lie at or above the separator to its left and below the one to its right. A
//!    separator made by a split of a leaf is the shortest that tells the two sides apart, and need not be a key.
//! 3. A node that a removal leaves below [`UNDERFULL_BYTES`] is merged with a neighbour if both fit into
//!    [`MERGED_BYTES_MAX`]; a root that is an inner node has at least two children, other inner nodes at least one.
//!
//! Deliberately absent:
//! - Links between leaves. The way down knows the separator that bounds a leaf, and the next leaf is found by
//!   it. So a split or merge changes no page but those it is about, and a cursor can rest without holding one.
//! - Moving cells between neighbours. It would replace a separator by one that may be longer, and so split the
//!   parent during a removal. A merge is enough to keep the space bounded.
//! - Clean-up after errors. A writer whose operation fails is dropped whole (see [`crate::PageWriter`]).

mod bulk;
mod check;
mod cursor;
mod insert;
mod node;
mod remove;
#[cfg(test)]
mod tests;

use crate::page::PageNo;
use crate::pager::{PageReader, PageWriter};
use crate::{Error, Result};

pub use check::Stats;
pub use cursor::Cursor;
use node::{CAPACITY, Node, cell_bytes};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 2000;

/// Below so many bytes in use, a node looks for a neighbour to be merged with.
pub const UNDERFULL_BYTES: usize = CAPACITY / 3;

/// Fullest that a merge makes a node, so that the next insert does not split it again.
pub const MERGED_BYTES_MAX: usize = CAPACITY / 8 * 7;

// A full node and one more cell can be cut in two that fit: see `insert::split_point`.
const _: () = assert!(2 * cell_bytes(KEY_BYTES_MAX, VALUE_BYTES_MAX) <= CAPACITY);

/// A B+tree, known by its root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BTree {
    root: Option<PageNo>,
}

/// The way down to a leaf: inner nodes from the root on, and the number of the child taken in each.
type Path = Vec<(PageNo, usize)>;

impl BTree {
    /// The tree whose root is the page `root`; the empty tree if none.
    pub fn new(root: Option<PageNo>) -> BTree {
        BTree { root }
    }

    /// Page number of the root, to be stored by the caller after a change.
    pub fn root(&self) -> Option<PageNo> {
        self.root
    }

    /// Whether the tree has no entry.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    pub fn get<R: PageReader>(&self, r: &R, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.get_with(r, key, <[u8]>::to_vec)
    }

    /// What `look` makes of the value of `key`, which is not copied.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    pub fn get_with<R: PageReader, T>(
        &self,
        r: &R,
        key: &[u8],
        look: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>> {
        let Some(root) = self.root else { return Ok(None) };
        let page = find_leaf(r, root, |node| node.child_for(key))?;
        let leaf = Node::open(&page, Some(0))?;
        match leaf.search(key)? {
            Ok(i) => Ok(Some(look(leaf.cell(i)?.1))),
            Err(_) => Ok(None),
        }
    }

    /// The entry with the least key.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    pub fn first<R: PageReader>(&self, r: &R) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.cursor_at_start().next(r)
    }

    /// The entry with the greatest key.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    pub fn last<R: PageReader>(&self, r: &R) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.cursor_at_end().prev(r)
    }

    /// Frees all pages; the tree is empty then.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    pub fn destroy<W: PageWriter>(&mut self, w: &mut W) -> Result<()> {
        let mut pages = Vec::new();
        self.pages(w, |page| pages.push(page))?;
        self.root = None;
        pages.into_iter().try_for_each(|page| w.free(page))
    }
}

/// Goes down from `root` to a leaf, taking in each inner node the child that `choose` names.
fn find_leaf<R: PageReader>(
    r: &R,
    root: PageNo,
    mut choose: impl FnMut(&Node<'_>) -> Result<usize>,
) -> Result<R::Ref<'_>> {
    let mut at = root;
    let mut level = None;
    loop {
        let page = r.page(at)?;
        let node = Node::open(&page, level)?;
        if node.level() == 0 {
            if node.count() == 0 {
                return Err(Error::body(at, "it is a leaf without entries"));
            }
            return Ok(page);
        }
        at = node.child(choose(&node)?)?;
        level = Some(node.level() - 1);
    }
}

/// As [`find_leaf`], to the leaf where `key` belongs, noting the way.
fn find_path<'r, R: PageReader>(r: &'r R, root: PageNo, key: &[u8]) -> Result<(R::Ref<'r>, Path)> {
    let mut path = Path::new();
    let leaf = find_leaf(r, root, |node| {
        let child = node.child_for(key)?;
        path.push((node.number(), child));
        Ok(child)
    })?;
    Ok((leaf, path))
}

/// Refuses what a cell cannot hold.
fn check_lengths(key: &[u8], value: &[u8]) -> Result<()> {
    for (what, bytes, max) in [("key", key.len(), KEY_BYTES_MAX), ("value", value.len(), VALUE_BYTES_MAX)] {
        if bytes > max {
            return Err(Error::EntryTooLarge { what, bytes, max });
        }
    }
    Ok(())
}

/// The shortest prefix of `right` that is above `left`, which is below `right`.
fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    let common = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    &right[..right.len().min(common + 1)]
}
