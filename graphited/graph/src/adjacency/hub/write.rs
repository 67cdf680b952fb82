//! Changing a hub's tree.
//!
//! One batch of changes goes down from the root once: each inner node hands every child that is concerned its
//! share, and then settles what became of the children. A leaf is rewritten in one merge, however many changes it
//! gets. Nothing but counts changes in an inner node unless a child was split, was emptied or has become so small
//! that it fits into a sibling.
//!
//! A child is *small* below a quarter of its limit, and two siblings are merged if they fill at most three
//! quarters of one, so neither a split nor a merge is undone by the next change.

use graphite_store::{PageKind, PageNo, PageWriter};

use super::Node;
use super::page::{
    Child, INNER_CHILDREN_MAX, Inner, KEY_MIN, LEAF_BLOCK_BYTES_MAX, LEVEL_MAX, insert_into_leaf, leaf_block,
    leaf_len, put_child_count, put_inner, put_leaf,
};
use crate::adjacency::block::{Block, Why, concat, merge, next_key, split};
use crate::adjacency::entry::{Key, Owner};
use crate::adjacency::write::Limits;
use crate::{Error, Result};

/// What is left of a hub after a change.
pub(in crate::adjacency) enum Left {
    /// The tree, below the same root.
    Tree,
    /// So little that it should be a small block; the tree's pages are gone.
    Block(Vec<u8>),
    /// Nothing; the tree's pages are gone.
    Nothing,
}

/// What became of a page.
struct Outcome {
    /// Bytes of its block or number of its children; 0 if it is empty and can go.
    fill: usize,
    /// New pages right of it.
    more: Vec<Child>,
}

/// Changes one tree.
pub(in crate::adjacency) struct TreeWriter<'w, W> {
    w: &'w mut W,
    owner: Owner,
    limits: Limits,
}

impl<'w, W: PageWriter> TreeWriter<'w, W> {
    pub(in crate::adjacency) fn new(w: &'w mut W, owner: Owner, limits: Limits) -> TreeWriter<'w, W> {
        assert!(limits.leaf_bytes <= LEAF_BLOCK_BYTES_MAX && limits.inner_children <= INNER_CHILDREN_MAX);
        TreeWriter { w, owner, limits }
    }

    /// Makes a tree of a block and gives its root.
    pub(in crate::adjacency) fn create(&mut self, block: &[u8]) -> Result<PageNo> {
        let root = self.w.allocate(PageKind::HubLeaf)?;
        let outcome = self.put_block(root, block, false)?;
        if !outcome.more.is_empty() {
            self.raise(root, 0, outcome.more)?;
        }
        Ok(root)
    }

    /// Applies changes, both lists in strictly ascending order.
    pub(in crate::adjacency) fn apply(
        &mut self,
        root: PageNo,
        removed: &[Key],
        added: &[Key],
    ) -> Result<Left> {
        let (node, _) = Node::root(self.w, self.owner, root)?;
        let outcome = self.apply_node(node, removed, added)?;
        if outcome.fill == 0 {
            self.w.free(root)?;
            return Ok(Left::Nothing);
        }
        if !outcome.more.is_empty() {
            self.raise(root, node.level, outcome.more)?;
            return Ok(Left::Tree);
        }
        let (level, fill) = self.collapse(root, node.level, outcome.fill)?;
        if level == 0 && fill <= self.limits.shrink_bytes {
            let block = {
                let page = self.w.page_of(root, PageKind::HubLeaf)?;
                merge(self.owner, leaf_block(&page, self.owner).map_err(at(root))?, &[], &[])
                    .map_err(at(root))?
            };
            self.w.free(root)?;
            return Ok(block.map_or(Left::Nothing, Left::Block));
        }
        Ok(Left::Tree)
    }

    fn apply_node(&mut self, node: Node, removed: &[Key], added: &[Key]) -> Result<Outcome> {
        if node.level == 0 {
            self.apply_leaf(node, removed, added)
        } else {
            self.apply_inner(node, removed, added)
        }
    }

    fn apply_leaf(&mut self, node: Node, removed: &[Key], added: &[Key]) -> Result<Outcome> {
        let owner = self.owner;
        if let ([], [key]) = (removed, added) {
            node.leaf(&*node.fetch(self.w)?, owner, |_| Ok(()))?;
            let page = self.w.page_mut(node.page)?;
            let inserted = insert_into_leaf(page, owner, *key, self.limits.leaf_bytes);
            if let Some(fill) = inserted.map_err(at(node.page))? {
                return Ok(Outcome { fill, more: Vec::new() });
            }
        }
        let (merged, appends) = node.leaf(&*node.fetch(self.w)?, owner, |block| {
            let appends = match (block.ends()?, added.first()) {
                (Some((_, last)), Some(first)) => last < *first,
                _ => false,
            };
            Ok((merge(owner, block, removed, added)?, appends))
        })?;
        match merged {
            Some(merged) => self.put_block(node.page, &merged, appends),
            None => Ok(Outcome { fill: 0, more: Vec::new() }),
        }
    }

    /// Puts a block into a leaf and, if it is too long, into new leaves right of it.
    fn put_block(&mut self, page: PageNo, block: &[u8], packed: bool) -> Result<Outcome> {
        if block.len() <= self.limits.leaf_bytes {
            put_leaf(self.w.page_mut(page)?, block);
            return Ok(Outcome { fill: block.len(), more: Vec::new() });
        }
        let parsed = Block::parse(block, self.owner).map_err(at(page))?;
        let pieces = split(self.owner, parsed, self.limits.leaf_bytes, packed).map_err(at(page))?;
        let (mut fill, mut more) = (0, Vec::with_capacity(pieces.len()));
        for (index, (low, count, bytes)) in pieces.into_iter().enumerate() {
            if index == 0 {
                put_leaf(self.w.page_mut(page)?, &bytes);
                fill = bytes.len();
                continue;
            }
            let new = self.w.allocate(PageKind::HubLeaf)?;
            put_leaf(self.w.page_mut(new)?, &bytes);
            more.push(Child { low, page: new, count: small_count(count as u64)? });
        }
        Ok(Outcome { fill, more })
    }

    fn apply_inner(&mut self, node: Node, mut removed: &[Key], mut added: &[Key]) -> Result<Outcome> {
        // Where each child that was concerned is, its count now, and what became of it.
        let mut settled: Vec<(usize, u64, Outcome)> = Vec::new();
        let mut changes_shape = false;
        while let Some(key) = next_key(removed, added) {
            let (index, child, count) = {
                let page = node.fetch(self.w)?;
                let inner = node.inner(&page, self.owner)?;
                let index = inner.index_of(key);
                let (child, count) = node.child(inner, index)?;
                (index, child, count)
            };
            if key < child.low || key >= child.end {
                return Err(node.corrupt("keys of a node of a hub's tree are out of order"));
            }
            let below = |keys: &[Key]| keys.partition_point(|key| *key < child.end);
            let (removed_now, removed_later) = removed.split_at(below(removed));
            let (added_now, added_later) = added.split_at(below(added));
            (removed, added) = (removed_later, added_later);

            let outcome = self.apply_node(child, removed_now, added_now)?;
            let count = (u64::from(count) + added_now.len() as u64)
                .checked_sub(removed_now.len() as u64)
                .ok_or_else(|| node.corrupt("a hub counts fewer entries than it has"))?;
            changes_shape |= !outcome.more.is_empty() || outcome.fill < self.fill_min(child.level);
            settled.push((index, count, outcome));
        }
        if changes_shape {
            return self.reshape(node, settled);
        }
        let fill = node.inner(&*node.fetch(self.w)?, self.owner)?.len();
        let page = self.w.page_mut(node.page)?;
        for (index, count, _) in settled {
            put_child_count(page, index, small_count(count)?);
        }
        Ok(Outcome { fill, more: Vec::new() })
    }

    /// Rewrites an inner node whose children were split or emptied, or may be merged.
    fn reshape(&mut self, node: Node, settled: Vec<(usize, u64, Outcome)>) -> Result<Outcome> {
        let old = self.children(node.page, node.level)?;
        let appends = settled.iter().all(|(index, _, _)| index + 1 == old.len());
        // Children with their fill, where it is known because the child was changed.
        let mut children: Vec<(Child, Option<usize>)> = Vec::with_capacity(old.len() + settled.len());
        let mut settled = settled.into_iter().peekable();
        for (index, mut child) in old.into_iter().enumerate() {
            if index == 0 {
                child.low = node.low;
            }
            let Some((_, count, outcome)) = settled.next_if(|(at, _, _)| *at == index) else {
                children.push((child, None));
                continue;
            };
            if outcome.fill == 0 {
                self.w.free(child.page)?;
                continue;
            }
            let elsewhere: u64 = outcome.more.iter().map(|more| u64::from(more.count)).sum();
            let count = count.checked_sub(elsewhere);
            child.count =
                small_count(count.ok_or_else(|| node.corrupt("a hub counts fewer entries than it has"))?)?;
            children.push((child, Some(outcome.fill)));
            // Pieces of a split are not small, or are the growing end.
            children.extend(outcome.more.into_iter().map(|more| (more, None)));
        }
        self.merge_small(node.level - 1, &mut children)?;
        let children: Vec<Child> = children.into_iter().map(|(child, _)| child).collect();
        self.put_children(node.page, node.level, &children, appends)
    }

    /// Merges children that have become small with a sibling, where both together leave a quarter free.
    fn merge_small(&mut self, level: u16, children: &mut Vec<(Child, Option<usize>)>) -> Result<()> {
        let (min, max) = (self.fill_min(level), self.fill_max(level) / 4 * 3);
        let mut index = 0;
        while index + 1 < children.len() {
            let (left, right) = (children[index], children[index + 1]);
            let small = |fill: Option<usize>| fill.is_some_and(|fill| fill < min);
            if !small(left.1) && !small(right.1) {
                index += 1;
                continue;
            }
            let fill = self.fill_of(left, level)? + self.fill_of(right, level)?;
            if fill > max {
                index += 1;
                continue;
            }
            let fill = self.merge_pages(level, left.0.page, right.0)?;
            let count = small_count(u64::from(left.0.count) + u64::from(right.0.count))?;
            children[index] = (Child { count, ..left.0 }, Some(fill));
            children.remove(index + 1);
        }
        Ok(())
    }

    /// Moves everything from `right` to `left` and frees `right`. Gives the fill of `left`.
    fn merge_pages(&mut self, level: u16, left: PageNo, right: Child) -> Result<usize> {
        let fill = if level == 0 {
            let merged = {
                let (a, b) = (
                    self.w.page_of(left, PageKind::HubLeaf)?,
                    self.w.page_of(right.page, PageKind::HubLeaf)?,
                );
                let a = leaf_block(&a, self.owner).map_err(at(left))?;
                concat(self.owner, a, leaf_block(&b, self.owner).map_err(at(right.page))?)
                    .map_err(at(left))?
            };
            let merged = merged.ok_or(Error::Corrupt { page: left, why: "a hub's leaf is empty" })?;
            self.put_block(left, &merged, false)?.fill
        } else {
            let mut children = self.children(left, level)?;
            let first = children.len();
            children.extend(self.children(right.page, level)?);
            children[first].low = right.low;
            self.put_children(left, level, &children, false)?.fill
        };
        self.w.free(right.page)?;
        Ok(fill)
    }

    /// Writes children into an inner node and, if they are too many, into new ones right of it.
    fn put_children(
        &mut self,
        page: PageNo,
        level: u16,
        children: &[Child],
        packed: bool,
    ) -> Result<Outcome> {
        if children.is_empty() {
            return Ok(Outcome { fill: 0, more: Vec::new() });
        }
        let parts = children.len().div_ceil(self.limits.inner_children);
        let share = if packed { self.limits.inner_children } else { children.len().div_ceil(parts) };
        let (first, rest) = children.split_at(share.min(children.len()));
        put_inner(self.w.page_mut(page)?, self.owner, level, first);
        let mut more = Vec::with_capacity(parts);
        for part in rest.chunks(share) {
            more.push(self.new_inner(level, part)?);
        }
        Ok(Outcome { fill: first.len(), more })
    }

    fn new_inner(&mut self, level: u16, children: &[Child]) -> Result<Child> {
        let page = self.w.allocate(PageKind::HubInner)?;
        put_inner(self.w.page_mut(page)?, self.owner, level, children);
        let count = small_count(children.iter().map(|child| u64::from(child.count)).sum())?;
        let low = children.first().map_or(KEY_MIN, |child| child.low);
        Ok(Child { low, page, count })
    }

    /// Makes a root that was split the parent of its content, which moves to a new page, and of `more`.
    fn raise(&mut self, root: PageNo, level: u16, more: Vec<Child>) -> Result<()> {
        let (body, count) = {
            let page = self.w.page(root)?;
            let count = match level {
                0 => leaf_block(&page, self.owner).and_then(|block| block.len()).map_err(at(root))? as u64,
                _ => Inner::parse(&page, self.owner, level).map_err(at(root))?.count(),
            };
            (*page.body(), count)
        };
        let moved = self.w.allocate(if level == 0 { PageKind::HubLeaf } else { PageKind::HubInner })?;
        *self.w.page_mut(moved)?.body_mut() = body;
        let mut children = Vec::with_capacity(more.len() + 1);
        children.push(Child { low: KEY_MIN, page: moved, count: small_count(count)? });
        children.extend(more);
        let mut level = level + 1;
        while children.len() > self.limits.inner_children {
            let share = children.len().div_ceil(children.len().div_ceil(self.limits.inner_children));
            let mut above = Vec::new();
            for part in children.chunks(share) {
                above.push(self.new_inner(level, part)?);
            }
            (children, level) = (above, level + 1);
        }
        if level > LEVEL_MAX {
            return Err(Error::Corrupt { page: root, why: "a hub's tree is too high" });
        }
        let page = self.w.page_mut(root)?;
        page.set_kind(PageKind::HubInner);
        put_inner(page, self.owner, level, &children);
        Ok(())
    }

    /// As long as the root has a single child, takes over that child's content. Gives the root's level and fill.
    fn collapse(&mut self, root: PageNo, mut level: u16, mut fill: usize) -> Result<(u16, usize)> {
        while level > 0 && fill == 1 {
            let only = self.children(root, level)?[0].page;
            level -= 1;
            let (body, kind) = {
                let kind = if level == 0 { PageKind::HubLeaf } else { PageKind::HubInner };
                let page = self.w.page_of(only, kind)?;
                fill = match level {
                    0 => leaf_len(&page),
                    _ => Inner::parse(&page, self.owner, level).map_err(at(only))?.len(),
                };
                (*page.body(), kind)
            };
            let page = self.w.page_mut(root)?;
            page.set_kind(kind);
            *page.body_mut() = body;
            self.w.free(only)?;
        }
        Ok((level, fill))
    }

    fn children(&self, page: PageNo, level: u16) -> Result<Vec<Child>> {
        let inner = self.w.page_of(page, PageKind::HubInner)?;
        Ok(Inner::parse(&inner, self.owner, level).map_err(at(page))?.children().collect())
    }

    fn fill_of(&self, (child, known): (Child, Option<usize>), level: u16) -> Result<usize> {
        match (known, level) {
            (Some(fill), _) => Ok(fill),
            (None, 0) => Ok(leaf_len(&*self.w.page_of(child.page, PageKind::HubLeaf)?)),
            (None, _) => Ok(self.children(child.page, level)?.len()),
        }
    }

    fn fill_max(&self, level: u16) -> usize {
        if level == 0 { self.limits.leaf_bytes } else { self.limits.inner_children }
    }

    fn fill_min(&self, level: u16) -> usize {
        self.fill_max(level) / 4
    }
}

/// A count for a parent's 32 bits, which are as many as the node's degree has.
fn small_count(count: u64) -> Result<u32> {
    u32::try_from(count).map_err(|_| Error::TooMany { what: "edges of one node", max: u64::from(u32::MAX) })
}

fn at(page: PageNo) -> impl Fn(Why) -> Error {
    move |why| Error::Corrupt { page, why }
}
