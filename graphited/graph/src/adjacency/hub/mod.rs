//! The hub: adjacency too long for a block is a B+tree of pages of its own, keyed by (type, neighbour, edge).
//!
//! The root's page number is what the owner's slot points at (with `Location::TREE`), and it stays the same as
//! long as the hub lives: a root that splits moves its content into a new page below it, and a root with a
//! single child takes that child's content.
//!
//! Leaves have no links to each other: whoever scans goes from child to child of the inner nodes, so a split
//! or merge touches no page besides the ones that split or merge.
//!
//! Every child has the number of entries below it in its parent. So the number of entries of some type is a
//! difference of two ranks, each found by one descent, however many types or entries there are; no total of a
//! type is kept anywhere.
//!
//! Invariants, which [`check`] proves and each descent relies on only as far as it looks:
//! 1. Every page carries the owner, and an inner node its level; levels fall by one from parent to child.
//! 2. A node's keys lie within the range that its parent gives it, and no leaf is empty. Ranges of children are
//!    disjoint, so no page can be met twice, whatever the pages say.
//! 3. Counts in the parent are those of the child.

mod page;
mod write;

use std::collections::HashSet;
use std::ops::ControlFlow;

use graphite_store::{Page, PageKind, PageNo, PageReader};

pub(super) use page::{INNER_CHILDREN_MAX, LEAF_BLOCK_BYTES_MAX};
use page::{Inner, KEY_END, KEY_MIN, last_entry_offset, leaf_block, level_of};
pub(super) use write::{Left, TreeWriter};

use super::block::{Block, Why};
use super::entry::{Entries, Entry, Key, Owner};
use crate::ids::TypeId;
use crate::{Error, Result};

/// Children of an inner node whose memory is asked for before they are visited.
const CHILDREN_AHEAD: usize = 2;

/// Which part of an adjacency is asked for.
#[derive(Clone, Copy)]
pub(super) struct Part<'t> {
    /// Nothing below this key.
    pub from: Key,
    /// These types only.
    pub types: Option<&'t [TypeId]>,
}

impl Part<'_> {
    pub(super) const ALL: Part<'static> = Part { from: KEY_MIN, types: None };

    #[inline]
    pub(super) fn wants(&self, type_: TypeId) -> bool {
        self.types.is_none_or(|types| types.contains(&type_))
    }

    /// Whether any type of a range, its end included, is wanted.
    fn wants_any(&self, first: TypeId, last: TypeId) -> bool {
        self.types.is_none_or(|types| types.iter().any(|type_| (first..=last).contains(type_)))
    }

    /// Visits what is wanted of a block.
    pub(super) fn visit_block<B>(
        &self,
        block: Block<'_>,
        visit: &mut impl FnMut(TypeId, Entries<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Why> {
        for group in block.groups() {
            let (type_, mut entries) = group?;
            if type_ < self.from.0 || !self.wants(type_) {
                continue;
            }
            // A search in every leaf for what is below all of it would wait for memory at each of its steps.
            if type_ == self.from.0 && self.from.1 != Entry::MIN {
                entries = entries.split_at(entries.rank(self.from.1)).1;
            }
            if !entries.is_empty()
                && let ControlFlow::Break(end) = visit(type_, entries)
            {
                return Ok(ControlFlow::Break(end));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A page of the tree, and what its parent says about it.
#[derive(Clone, Copy)]
struct Node {
    page: PageNo,
    level: u16,
    /// The range of its keys; `end` is not in it.
    low: Key,
    end: Key,
}

impl Node {
    /// The tree's root, and its page: only a look at it tells the root's level.
    fn root<R: PageReader>(r: &R, owner: Owner, page: PageNo) -> Result<(Node, R::Ref<'_>)> {
        let root = r.page(page)?;
        let level = match root.kind() {
            PageKind::HubLeaf => 0,
            PageKind::HubInner => level_of(&root, owner).map_err(|why| Error::Corrupt { page, why })?,
            _ => return Err(Error::Corrupt { page, why: "a hub's root is a page of another kind" }),
        };
        Ok((Node { page, level, low: KEY_MIN, end: KEY_END }, root))
    }

    /// The node's page, of the kind that its level asks for.
    fn fetch<'r, R: PageReader>(&self, r: &'r R) -> Result<R::Ref<'r>> {
        Ok(r.page_of(self.page, if self.level == 0 { PageKind::HubLeaf } else { PageKind::HubInner })?)
    }

    /// Child `index` of this node, and the entries that its parent counts below it.
    fn child(&self, inner: Inner<'_>, index: usize) -> Result<(Node, u32)> {
        let (child, end) = inner.child_and_end(index, self.low, self.end).map_err(|why| self.corrupt(why))?;
        Ok((Node { page: child.page, level: self.level - 1, low: child.low, end }, child.count))
    }

    /// Calls `look` with the leaf's block, once its ends are known to lie in the range. `page` is the leaf's.
    fn leaf<T>(
        &self,
        page: &Page,
        owner: Owner,
        look: impl FnOnce(Block<'_>) -> Result<T, Why>,
    ) -> Result<T> {
        let block = leaf_block(page, owner).map_err(|why| self.corrupt(why))?;
        match block.ends().map_err(|why| self.corrupt(why))? {
            Some((first, last)) if first >= self.low && last < self.end => {}
            _ => return Err(self.corrupt("keys of a hub's leaf are not those that its parent says")),
        }
        look(block).map_err(|why| self.corrupt(why))
    }

    /// The inner node in `page`.
    fn inner<'p>(&self, page: &'p Page, owner: Owner) -> Result<Inner<'p>> {
        Inner::parse(page, owner, self.level).map_err(|why| self.corrupt(why))
    }

    fn corrupt(&self, why: Why) -> Error {
        Error::Corrupt { page: self.page, why }
    }
}

/// Visits the groups of every leaf in order: a type whose entries span leaves comes once for each.
pub(super) fn visit<R: PageReader, B>(
    r: &R,
    owner: Owner,
    root: PageNo,
    part: Part<'_>,
    visit: &mut impl FnMut(TypeId, Entries<'_>) -> ControlFlow<B>,
) -> Result<ControlFlow<B>> {
    let (root, page) = Node::root(r, owner, root)?;
    visit_node(r, owner, root, &page, part, visit)
}

fn visit_node<R: PageReader, B>(
    r: &R,
    owner: Owner,
    node: Node,
    page: &Page,
    part: Part<'_>,
    visit: &mut impl FnMut(TypeId, Entries<'_>) -> ControlFlow<B>,
) -> Result<ControlFlow<B>> {
    if node.level == 0 {
        return node.leaf(page, owner, |block| part.visit_block(block, visit));
    }
    let inner = node.inner(page, owner)?;
    let first = inner.index_of(part.from);
    (first..inner.len().min(first + CHILDREN_AHEAD)).for_each(|index| prefetch_child(r, node, inner, index));
    for index in first..inner.len() {
        prefetch_child(r, node, inner, index + CHILDREN_AHEAD);
        let (child, _) = node.child(inner, index)?;
        if part.wants_any(child.low.0, child.end.0)
            && let ControlFlow::Break(end) = visit_node(r, owner, child, &*child.fetch(r)?, part, visit)?
        {
            return Ok(ControlFlow::Break(end));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Child `index` of `node` will be visited soon, if there is one: see [`PageReader::prefetch`].
#[inline]
fn prefetch_child<R: PageReader>(r: &R, node: Node, inner: Inner<'_>, index: usize) {
    if let Some(child) = inner.get(index) {
        // All of its keys are compared with its range, so the last is looked at first.
        r.prefetch(child.page, if node.level == 1 { last_entry_offset(child.count) } else { 0 });
    }
}

/// Number of entries, of some types or all.
pub(super) fn count<R: PageReader>(
    r: &R,
    owner: Owner,
    root: PageNo,
    types: Option<&[TypeId]>,
) -> Result<u64> {
    let (root, page) = Node::root(r, owner, root)?;
    let Some(types) = types else { return rank(r, owner, root, &page, KEY_END) };
    let mut count = 0;
    for (index, type_) in types.iter().enumerate() {
        if types[..index].contains(type_) {
            continue;
        }
        let end = type_.0.checked_add(1).map_or(KEY_END, |next| (TypeId(next), Entry::MIN));
        let below = rank(r, owner, root, &page, (*type_, Entry::MIN))?;
        count += rank(r, owner, root, &page, end)?.saturating_sub(below);
    }
    Ok(count)
}

/// Number of entries below `key`, of those below `node`, whose page is `page`.
fn rank<R: PageReader>(r: &R, owner: Owner, node: Node, page: &Page, key: Key) -> Result<u64> {
    if node.level == 0 {
        return Ok(node.leaf(page, owner, |block| block.rank(key))? as u64);
    }
    let inner = node.inner(page, owner)?;
    if key >= node.end {
        return Ok(inner.count());
    }
    let index = inner.index_of(key);
    let before: u64 = inner.children().take(index).map(|child| u64::from(child.count)).sum();
    let (child, _) = node.child(inner, index)?;
    Ok(before + rank(r, owner, child, &*child.fetch(r)?, key)?)
}

/// The least key of some types, or all, that is not below `from`.
pub(super) fn first_from<R: PageReader>(
    r: &R,
    owner: Owner,
    root: PageNo,
    from: Key,
    types: Option<&[TypeId]>,
) -> Result<Option<Key>> {
    let found = visit(r, owner, root, Part { from, types }, &mut |type_, entries| match entries.first() {
        Some(entry) => ControlFlow::Break((type_, entry)),
        None => ControlFlow::Continue(()),
    })?;
    Ok(found.break_value())
}

/// Visits every page of the tree, parents first.
pub(super) fn pages<R: PageReader>(
    r: &R,
    owner: Owner,
    root: PageNo,
    visit: &mut impl FnMut(PageNo),
) -> Result<()> {
    let (root, page) = Node::root(r, owner, root)?;
    pages_below(r, owner, root, &page, visit)
}

fn pages_below<R: PageReader>(
    r: &R,
    owner: Owner,
    node: Node,
    page: &Page,
    visit: &mut impl FnMut(PageNo),
) -> Result<()> {
    visit(node.page);
    if node.level == 0 {
        return node.leaf(page, owner, |_| Ok(()));
    }
    let inner = node.inner(page, owner)?;
    for index in 0..inner.len() {
        let (child, _) = node.child(inner, index)?;
        pages_below(r, owner, child, &*child.fetch(r)?, visit)?;
    }
    Ok(())
}

/// Proves the invariants; gives the number of entries.
pub(super) fn check<R: PageReader>(r: &R, owner: Owner, root: PageNo) -> Result<u64> {
    let (root, page) = Node::root(r, owner, root)?;
    check_node(r, owner, root, &page, &mut HashSet::new())
}

fn check_node<R: PageReader>(
    r: &R,
    owner: Owner,
    node: Node,
    page: &Page,
    seen: &mut HashSet<PageNo>,
) -> Result<u64> {
    if !seen.insert(node.page) {
        return Err(node.corrupt("a page is twice in a hub's tree"));
    }
    if node.level == 0 {
        return node.leaf(page, owner, |block| Ok(block.check()? as u64));
    }
    let inner = node.inner(page, owner)?;
    let mut sum = 0;
    for index in 0..inner.len() {
        let (child, count) = node.child(inner, index)?;
        if check_node(r, owner, child, &*child.fetch(r)?, seen)? != u64::from(count) {
            return Err(child.corrupt("a hub's page has another number of entries than its parent says"));
        }
        sum += u64::from(count);
    }
    Ok(sum)
}
