//! Inserting and replacing: into a leaf with room, else by splits from the leaf up.
//!
//! A node is cut in the middle of its bytes, except where the new cell comes first or last: then it goes into a
//! node of its own, and the full one stays full. Where cells have come in order somewhere within a leaf, it is cut
//! right behind them, so that the next ones come last. So keys that rise, all of them or those of each group that
//! shares a prefix (an index whose values are shared by many), fill their pages.

use super::node::{LEVEL_MAX, Node, NodeMut, cell_bytes, child_of};
use super::{BTree, CAPACITY, Path, check_lengths, find_path, separator};
use crate::page::{PageKind, PageNo};
use crate::pager::PageWriter;
use crate::{Error, Result};

/// What a split asks of the parent: a separator, and the new node to its right.
struct Split {
    separator: Vec<u8>,
    right: PageNo,
}

impl BTree {
    /// Sets the value of `key`, and gives the one that it replaced.
    ///
    /// # Errors
    /// [`Error::EntryTooLarge`] past [`super::KEY_BYTES_MAX`] or [`super::VALUE_BYTES_MAX`], before anything is
    /// changed; else as [`PageWriter`].
    pub fn insert<W: PageWriter>(&mut self, w: &mut W, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>> {
        check_lengths(key, value)?;
        let Some(root) = self.root else {
            let root = w.allocate(PageKind::TreeLeaf)?;
            NodeMut::init(w.page_mut(root)?, 0)?.push(key, value)?;
            self.root = Some(root);
            return Ok(None);
        };
        let (leaf, path, place, old) = {
            let (page, path) = find_path(w, root, key)?;
            let node = Node::open(&page, Some(0))?;
            match node.search(key)? {
                Ok(i) => (node.number(), path, i, Some(node.cell(i)?.1.to_vec())),
                Err(i) => (node.number(), path, i, None),
            }
        };
        if let Some(old) = &old {
            if old == value {
                return Ok(Some(value.to_vec()));
            }
            let mut node = NodeMut::open(w.page_mut(leaf)?)?;
            if old.len() == value.len() {
                node.overwrite(place, value)?;
                return Ok(Some(old.clone()));
            }
            node.remove(place)?;
        }
        if !NodeMut::open(w.page_mut(leaf)?)?.insert(place, key, value)? {
            let split = split(w, leaf, place, key, value)?;
            self.add_child(w, path, split)?;
        }
        Ok(old)
    }

    /// Puts the outcome of a split into the parents, splitting those that are full.
    fn add_child<W: PageWriter>(&mut self, w: &mut W, mut path: Path, first: Split) -> Result<()> {
        let mut carry = first;
        while let Some((parent, child)) = path.pop() {
            let value = carry.right.0.to_le_bytes();
            if NodeMut::open(w.page_mut(parent)?)?.insert(child, &carry.separator, &value)? {
                return Ok(());
            }
            carry = split(w, parent, child, &carry.separator, &value)?;
        }
        let old = self.root.expect("a tree that splits has a root");
        let level = Node::open(&*w.page(old)?, None)?.level() + 1;
        if level > LEVEL_MAX {
            return Err(Error::body(old, "it is the root of a tree deeper than any can be"));
        }
        let root = w.allocate(PageKind::TreeInner)?;
        let mut node = NodeMut::init(w.page_mut(root)?, level)?;
        node.set_leftmost(old);
        node.push(&carry.separator, &carry.right.0.to_le_bytes())?;
        self.root = Some(root);
        Ok(())
    }
}

/// Inserts a cell before cell `place` of the full node `left`, by cutting the node in two.
fn split<W: PageWriter>(w: &mut W, left: PageNo, place: usize, key: &[u8], value: &[u8]) -> Result<Split> {
    let copy = w.page(left)?.clone();
    let old = Node::open(&copy, None)?;
    let mut cells = (0..old.count()).map(|i| old.cell(i)).collect::<Result<Vec<_>>>()?;
    cells.insert(place, (key, value));
    let inner = old.level() > 0;
    if cells.len() < if inner { 3 } else { 2 } {
        return Err(Error::body(left, "it is full with too few cells"));
    }
    let sizes: Vec<usize> = cells.iter().map(|(key, value)| cell_bytes(key.len(), value.len())).collect();
    let at = split_point(&sizes, place, inner, old.is_in_run(place));

    let right = w.allocate(copy.kind())?;
    let mut node = NodeMut::init(w.page_mut(right)?, old.level())?;
    let (separator, from) = if inner {
        // The cell in the middle goes up whole, and its child becomes the leftmost of the right node.
        node.set_leftmost(child_of(left, cells[at].1)?);
        (cells[at].0, at + 1)
    } else {
        (separator(cells[at - 1].0, cells[at].0), at)
    };
    for (key, value) in &cells[from..] {
        node.push(key, value)?;
    }

    let mut node = NodeMut::open(w.page_mut(left)?)?;
    if place >= at {
        node.truncate(at)?;
    } else {
        node.truncate(at - 1)?;
        if !node.insert(place, key, value)? {
            return Err(Error::body(left, "its cells take more bytes than a page has"));
        }
    }
    Ok(Split { separator: separator.to_vec(), right })
}

/// Where to cut cells of these sizes, one of them (`place`) new: the number of cells of the left node. In an inner
/// node the cell there goes up, and both sides keep at least one. `in_run` tells that the new cell comes in order.
///
/// In the middle both sides fit: all cells are at most a full node and one cell, and the cut that is nearest to
/// the middle is off by half a cell at most; a cell is at most half a node.
fn split_point(sizes: &[usize], place: usize, inner: bool, in_run: bool) -> usize {
    let last = sizes.len() - 1;
    let right_most = if inner { last - 1 } else { last };
    if place == last {
        return right_most;
    }
    if place == 0 {
        return 1;
    }
    if in_run && !inner {
        // If the new cell does not fit on the left, what follows it takes less than it, and fits with it.
        let left: usize = sizes[..=place].iter().sum();
        return if left <= CAPACITY { place + 1 } else { place };
    }
    let total: usize = sizes.iter().sum();
    let mut left = 0;
    let mut best = (usize::MAX, 1);
    for at in 1..=right_most {
        left += sizes[at - 1];
        let right = total - left - if inner { sizes[at] } else { 0 };
        best = best.min((left.max(right), at));
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cut_is_in_the_middle_or_at_the_end_that_grows() {
        assert_eq!(split_point(&[10; 9], 8, false, false), 8);
        assert_eq!(split_point(&[10; 9], 0, false, false), 1);
        assert_eq!(split_point(&[10; 10], 3, false, false), 5);
        assert_eq!(split_point(&[10; 9], 3, true, false), 4);
        assert_eq!(split_point(&[10; 9], 8, true, false), 7);
        assert_eq!(split_point(&[3000, 3000, 3000], 1, false, false), 1);
        assert_eq!(split_point(&[10, 10, 10, 3000, 3000], 2, false, false), 4);
        assert_eq!(split_point(&[10; 3], 1, true, false), 1);
        assert_eq!(split_point(&[10; 9], 2, false, true), 3);
        assert_eq!(split_point(&[4000, 3000, 3000, 1000], 2, false, true), 2);
    }
}
