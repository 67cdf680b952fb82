//! Removing: from a leaf, then upwards: an empty node is freed, one that is underfull is merged if it can be.

use super::node::{Node, NodeMut, cell_bytes};
use super::{BTree, MERGED_BYTES_MAX, Path, UNDERFULL_BYTES, find_path};
use crate::Result;
use crate::page::PageNo;
use crate::pager::PageWriter;

impl BTree {
    /// Removes `key`, and gives the value that it had.
    ///
    /// # Errors
    /// As [`PageWriter`].
    pub fn remove<W: PageWriter>(&mut self, w: &mut W, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(root) = self.root else { return Ok(None) };
        let (leaf, path, place, old) = {
            let (page, path) = find_path(w, root, key)?;
            let node = Node::open(&page, Some(0))?;
            let Ok(i) = node.search(key)? else { return Ok(None) };
            (node.number(), path, i, node.cell(i)?.1.to_vec())
        };
        NodeMut::open(w.page_mut(leaf)?)?.remove(place)?;
        self.settle(w, leaf, path)?;
        Ok(Some(old))
    }

    /// Restores invariants 1 and 3 from the node `at` up, one cell of which was removed.
    fn settle<W: PageWriter>(&mut self, w: &mut W, mut at: PageNo, mut path: Path) -> Result<()> {
        let (count, used) = {
            let page = w.page(at)?;
            let node = Node::open(&page, None)?;
            (node.count(), node.used())
        };
        if count == 0 {
            let Some(left) = drop_child(w, at, &mut path)? else {
                self.root = None;
                return Ok(());
            };
            at = left;
        } else if used >= UNDERFULL_BYTES {
            return Ok(());
        } else if let Some((parent, child)) = path.pop() {
            if !merge(w, parent, child)? {
                return Ok(());
            }
            at = parent;
        }
        // `at` is now an inner node that lost a child, or the root.
        while let Some((parent, child)) = path.pop() {
            let used = Node::open(&*w.page(at)?, None)?.used();
            if used >= UNDERFULL_BYTES || !merge(w, parent, child)? {
                return Ok(());
            }
            at = parent;
        }
        self.lower_root(w, at)
    }

    /// As long as the root is an inner node with one child, that child is the root.
    fn lower_root<W: PageWriter>(&mut self, w: &mut W, mut root: PageNo) -> Result<()> {
        let mut level = None;
        loop {
            let child = {
                let page = w.page(root)?;
                let node = Node::open(&page, level)?;
                if node.level() == 0 || node.count() > 0 {
                    break;
                }
                level = Some(node.level() - 1);
                node.child(0)?
            };
            w.free(root)?;
            root = child;
        }
        self.root = Some(root);
        Ok(())
    }
}

/// Frees the empty node `gone` and takes it out of its parent; a parent that has no child left goes as well.
/// Gives the node that was left with one child less, whose parents remain in `path`; none if all are gone.
fn drop_child<W: PageWriter>(w: &mut W, mut gone: PageNo, path: &mut Path) -> Result<Option<PageNo>> {
    loop {
        w.free(gone)?;
        let Some((parent, child)) = path.pop() else { return Ok(None) };
        let mut node = NodeMut::open(w.page_mut(parent)?)?;
        if child > 0 {
            node.remove(child - 1)?;
            return Ok(Some(parent));
        }
        if node.node().count() > 0 {
            let leftmost = node.node().child(1)?;
            node.set_leftmost(leftmost);
            node.remove(0)?;
            return Ok(Some(parent));
        }
        gone = parent;
    }
}

/// Merges child `child` of `parent` with its right or left neighbour, if both fit into one node.
fn merge<W: PageWriter>(w: &mut W, parent: PageNo, child: usize) -> Result<bool> {
    for left in [Some(child), child.checked_sub(1)].into_iter().flatten() {
        let Some(pair) = mergeable(w, parent, left)? else { continue };
        let copy = w.page(pair.right)?.clone();
        let right = Node::open(&copy, None)?;
        let mut node = NodeMut::open(w.page_mut(pair.left)?)?;
        if right.level() > 0 {
            node.push(&pair.separator, &right.child(0)?.0.to_le_bytes())?;
        }
        for i in 0..right.count() {
            let (key, value) = right.cell(i)?;
            node.push(key, value)?;
        }
        w.free(pair.right)?;
        NodeMut::open(w.page_mut(parent)?)?.remove(left)?;
        return Ok(true);
    }
    Ok(false)
}

/// Two neighbours, and what stands between them in their parent.
struct Pair {
    left: PageNo,
    right: PageNo,
    separator: Vec<u8>,
}

/// Child `left` of `parent` and the one after it, if there is one and both fit into one node.
fn mergeable<W: PageWriter>(w: &W, parent: PageNo, left: usize) -> Result<Option<Pair>> {
    let page = w.page(parent)?;
    let node = Node::open(&page, None)?;
    if left >= node.count() {
        return Ok(None);
    }
    let level = node.level().checked_sub(1);
    let separator = node.key(left)?;
    let (left, right) = (node.child(left)?, node.child(left + 1)?);
    let pulled_down = if level == Some(0) { 0 } else { cell_bytes(separator.len(), size_of::<u32>()) };
    let used = |page| Ok::<_, crate::Error>(Node::open(&*w.page(page)?, level)?.used());
    let fits = left != right && used(left)? + used(right)? + pulled_down <= MERGED_BYTES_MAX;
    Ok(fits.then(|| Pair { left, right, separator: separator.to_vec() }))
}
