//! Proving a tree's invariants from its root, and finding all of its pages.

use rustc_hash::FxHashSet;

use super::BTree;
use super::node::{CAPACITY, Node};
use crate::page::PageNo;
use crate::pager::PageReader;
use crate::{Error, Result};

/// What [`BTree::check`] counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Levels, leaves included; 0 for the empty tree.
    pub levels: usize,
    /// Leaf pages.
    pub leaves: usize,
    /// Inner pages.
    pub inner: usize,
    /// Entries.
    pub entries: usize,
    /// Bytes of leaf pages in use by entries and their directory.
    pub leaf_bytes: usize,
}

impl Stats {
    /// All pages of the tree.
    pub fn pages(&self) -> usize {
        self.leaves + self.inner
    }

    /// How full leaves are on average, 0 to 1; 1 for the empty tree.
    pub fn leaf_fill(&self) -> f64 {
        if self.leaves == 0 { 1.0 } else { self.leaf_bytes as f64 / (self.leaves * CAPACITY) as f64 }
    }
}

/// A walk over all pages of a tree.
struct Walk<'a, R> {
    r: &'a R,
    seen: FxHashSet<PageNo>,
    stats: Stats,
}

impl<R> Walk<'_, R> {
    fn note(&mut self, page: PageNo) -> Result<()> {
        if self.seen.insert(page) {
            return Ok(());
        }
        Err(Error::body(page, "it is reached twice from the root of its tree"))
    }
}

impl BTree {
    /// Reads the whole tree and proves its invariants.
    ///
    /// # Errors
    /// [`Error::CorruptPage`] for the first that is broken, or as [`PageReader::page`].
    pub fn check<R: PageReader>(&self, r: &R) -> Result<Stats> {
        let mut walk = Walk { r, seen: FxHashSet::default(), stats: Stats::default() };
        if let Some(root) = self.root {
            let (level, count) = {
                let page = r.page(root)?;
                let node = Node::open(&page, None)?;
                (node.level(), node.count())
            };
            if level > 0 && count == 0 {
                return Err(Error::body(root, "it is a root with one child"));
            }
            walk.stats.levels = usize::from(level) + 1;
            walk.check(root, level, None, None)?;
        }
        Ok(walk.stats)
    }

    /// Shows the numbers of all pages of the tree to `visit`, each once. Leaves are not read.
    ///
    /// # Errors
    /// [`Error::CorruptPage`] if a page is reached twice, or as [`PageReader::page`].
    pub fn pages<R: PageReader>(&self, r: &R, mut visit: impl FnMut(PageNo)) -> Result<()> {
        let Some(root) = self.root else { return Ok(()) };
        let mut walk = Walk { r, seen: FxHashSet::default(), stats: Stats::default() };
        let level = Node::open(&*r.page(root)?, None)?.level();
        walk.pages(root, level, &mut visit)
    }
}

impl<R: PageReader> Walk<'_, R> {
    /// Checks a node and all below it; `low` and `high` bound its keys. Recursion ends with the levels.
    fn check(&mut self, number: PageNo, level: u8, low: Option<&[u8]>, high: Option<&[u8]>) -> Result<()> {
        self.note(number)?;
        let page = self.r.page(number)?;
        let node = Node::open(&page, Some(level))?;
        node.check()?;
        let count = node.count();
        if count > 0 {
            let too_low = low.is_some_and(|low| node.key(0).is_ok_and(|key| key < low));
            if too_low || high.is_some_and(|high| node.key(count - 1).is_ok_and(|key| key >= high)) {
                return Err(Error::body(number, "a key lies outside of the separators above it"));
            }
        }
        if level == 0 {
            if count == 0 {
                return Err(Error::body(number, "it is a leaf without entries"));
            }
            self.stats.leaves += 1;
            self.stats.entries += count;
            self.stats.leaf_bytes += node.used();
            return Ok(());
        }
        self.stats.inner += 1;
        for i in 0..=count {
            let low = if i == 0 { low } else { Some(node.key(i - 1)?) };
            let high = if i == count { high } else { Some(node.key(i)?) };
            self.check(node.child(i)?, level - 1, low, high)?;
        }
        Ok(())
    }

    fn pages(&mut self, number: PageNo, level: u8, visit: &mut impl FnMut(PageNo)) -> Result<()> {
        self.note(number)?;
        visit(number);
        if level == 0 {
            return Ok(());
        }
        let page = self.r.page(number)?;
        let node = Node::open(&page, Some(level))?;
        (0..=node.count()).try_for_each(|i| self.pages(node.child(i)?, level - 1, visit))
    }
}
