//! A cursor: a place between two entries, which it moves over in either direction.
//!
//! The place is a key, not a page, so a cursor can rest as long as it likes and holds nothing meanwhile. Each
//! step finds its place anew from the root; [`Cursor::scan`] does so once a leaf. If the tree changes between two
//! steps, the cursor goes on from the same key; if its root has moved, [`Cursor::rebase`] tells it so.

use std::ops::ControlFlow;

use super::node::Node;
use super::{BTree, find_leaf};
use crate::page::PageNo;
use crate::pager::PageReader;
use crate::{Error, Result};

/// An entry: key and value.
type Entry = (Vec<u8>, Vec<u8>);

/// A place between two entries of a tree.
#[derive(Clone, Debug)]
pub struct Cursor {
    root: Option<PageNo>,
    place: Place,
}

/// Where a cursor is; before or after a key means next to it, whether or not the key is there.
#[derive(Clone, Debug)]
enum Place {
    Start,
    Before(Vec<u8>),
    After(Vec<u8>),
    End,
}

impl BTree {
    /// A cursor before `key`: its next entry is the first at or above it.
    pub fn cursor_before(&self, key: &[u8]) -> Cursor {
        Cursor { root: self.root, place: Place::Before(key.to_vec()) }
    }

    /// A cursor after `key`: its next entry is the first above it, its previous one the last at or below it.
    pub fn cursor_after(&self, key: &[u8]) -> Cursor {
        Cursor { root: self.root, place: Place::After(key.to_vec()) }
    }

    /// A cursor before all entries.
    pub fn cursor_at_start(&self) -> Cursor {
        Cursor { root: self.root, place: Place::Start }
    }

    /// A cursor after all entries.
    pub fn cursor_at_end(&self) -> Cursor {
        Cursor { root: self.root, place: Place::End }
    }
}

impl Place {
    /// Number of cells of `node` whose keys lie before the place.
    fn rank(&self, node: &Node<'_>) -> Result<usize> {
        Ok(match self {
            Place::Start => 0,
            Place::End => node.count(),
            Place::Before(key) => match node.search(key)? {
                Ok(i) | Err(i) => i,
            },
            Place::After(key) => match node.search(key)? {
                Ok(i) => i + 1,
                Err(i) => i,
            },
        })
    }

    /// The child where the first entry after the place would be, were it there.
    fn child_after(&self, node: &Node<'_>) -> Result<usize> {
        match self {
            // An entry with this very key lies to the right of a separator that is equal to it.
            Place::Before(key) => node.child_for(key),
            _ => self.rank(node),
        }
    }

    /// Whether a key lies at or before the place.
    fn is_past(&self, key: &[u8]) -> bool {
        match self {
            Place::Start => false,
            Place::End => true,
            Place::Before(at) => key < at.as_slice(),
            Place::After(at) => key <= at.as_slice(),
        }
    }
}

impl Cursor {
    /// Goes on in the same place of a tree that may have got another root.
    pub fn rebase(&mut self, tree: &BTree) {
        self.root = tree.root();
    }

    /// The entry after the cursor, which moves behind it. At the end it stays where it is, and finds what is
    /// added there later.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    pub fn next<R: PageReader>(&mut self, r: &R) -> Result<Option<Entry>> {
        let mut found = None;
        self.scan(r, |key, value| {
            found = Some((key.to_vec(), value.to_vec()));
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Shows the entries after the cursor to `visit`, in order, until it breaks or there are no more. The cursor
    /// then is behind the last one shown. Needs one way down for each leaf, so it is the way to read many.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    pub fn scan<R: PageReader>(
        &mut self,
        r: &R,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let Some(root) = self.root else { return Ok(()) };
        // A leaf without an entry after the place is passed by its upper bound, where the next leaf begins.
        let mut passed_empty = false;
        loop {
            let mut bound: Option<Vec<u8>> = None;
            let page = find_leaf(r, root, |node| {
                let child = self.place.child_after(node)?;
                if child < node.count() {
                    bound = Some(node.key(child)?.to_vec());
                }
                Ok(child)
            })?;
            let leaf = Node::open(&page, Some(0))?;
            let from = self.place.rank(&leaf)?;
            for i in from..leaf.count() {
                let (key, value) = leaf.cell(i)?;
                let ordered = i == from || leaf.key(i - 1)? < key;
                if !ordered || bound.as_deref().is_some_and(|bound| key >= bound) {
                    return Err(Error::body(leaf.number(), "a key is out of order"));
                }
                if visit(key, value).is_break() {
                    self.place = Place::After(key.to_vec());
                    return Ok(());
                }
            }
            if from < leaf.count() {
                self.place = Place::After(leaf.key(leaf.count() - 1)?.to_vec());
            }
            let Some(bound) = bound else { return Ok(()) };
            let empty = from == leaf.count();
            if self.place.is_past(&bound) || (empty && passed_empty) {
                return Err(Error::body(leaf.number(), "a separator above it is out of order"));
            }
            passed_empty = empty;
            self.place = Place::Before(bound);
        }
    }

    /// The entry before the cursor, which moves in front of it. At the start it stays where it is.
    ///
    /// # Errors
    /// As [`PageReader::page`].
    pub fn prev<R: PageReader>(&mut self, r: &R) -> Result<Option<Entry>> {
        let Some(root) = self.root else { return Ok(None) };
        // A leaf without an entry before the place is passed by its lower bound, and the leaf there has one.
        for _ in 0..2 {
            let mut bound: Option<Vec<u8>> = None;
            let page = find_leaf(r, root, |node| {
                let child = self.place.rank(node)?;
                if child > 0 {
                    bound = Some(node.key(child - 1)?.to_vec());
                }
                Ok(child)
            })?;
            let leaf = Node::open(&page, Some(0))?;
            if let Some(i) = self.place.rank(&leaf)?.checked_sub(1) {
                let (key, value) = leaf.cell(i)?;
                // Each step leads down, so a walk comes to its end, whatever the bytes say.
                if !self.place.is_past(key) {
                    return Err(Error::body(leaf.number(), "a key is out of order"));
                }
                self.place = Place::Before(key.to_vec());
                return Ok(Some((key.to_vec(), value.to_vec())));
            }
            let Some(bound) = bound else { return Ok(None) };
            if !self.place.is_past(&bound) {
                return Err(Error::body(leaf.number(), "a separator above it is out of order"));
            }
            self.place = Place::Before(bound);
        }
        Err(Error::body(root, "the tree below it has a leaf without entries"))
    }
}
