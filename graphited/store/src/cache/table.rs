//! Cells by page number: a sparse array of arrays, so that a look-up is three loads and no hashing.

use super::PageVersion;
use crate::page::{PAGE_BYTES, PAGE_HEADER_BYTES, PageNo};
use crate::prefetch::prefetch;
use crate::sync::{Arc, ArcCell, AtomicPtr, OnceLock, Ordering};

const LEAF_BITS: u32 = 11;
const MID_BITS: u32 = 11;
const LEAF: usize = 1 << LEAF_BITS;
const MID: usize = 1 << MID_BITS;
const TOP: usize = 1 << (32 - LEAF_BITS - MID_BITS);

/// Where a page's newest version is.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) newest: ArcCell<PageVersion>,
    /// Where the version that was put here last is, and its bytes. They may have been freed since: good for nothing but
    /// to ask for that memory early.
    version_hint: AtomicPtr<PageVersion>,
    bytes_hint: AtomicPtr<[u8; PAGE_BYTES]>,
}

impl Cell {
    fn empty() -> Cell {
        Cell {
            newest: ArcCell::empty(),
            version_hint: AtomicPtr::default(),
            bytes_hint: AtomicPtr::default(),
        }
    }

    pub(super) fn set_hints(&self, version: &Arc<PageVersion>) {
        self.version_hint.store(Arc::as_ptr(version).cast_mut(), Ordering::Relaxed);
        self.bytes_hint.store(std::ptr::from_ref(version.page.bytes()).cast_mut(), Ordering::Relaxed);
    }

    /// Asks for the version, the start of its page, and what is at `offset` of the page's body.
    #[inline]
    pub(super) fn prefetch(&self, offset: usize) {
        let bytes = self.bytes_hint.load(Ordering::Relaxed).cast::<u8>();
        prefetch(self.version_hint.load(Ordering::Relaxed).cast());
        prefetch(bytes);
        prefetch(bytes.wrapping_add(PAGE_HEADER_BYTES + offset));
    }
}

type Leaf = Box<[Cell]>;
type Mid = Box<[OnceLock<Leaf>]>;

/// A cell for every page number that was ever asked for, and its neighbours.
#[derive(Debug)]
pub(super) struct Table {
    top: Box<[OnceLock<Mid>]>,
}

impl Table {
    pub(super) fn new() -> Table {
        Table { top: (0..TOP).map(|_| OnceLock::new()).collect() }
    }

    #[inline]
    pub(super) fn cell(&self, number: PageNo) -> &Cell {
        let (top, mid, leaf) = split(number);
        let mids = self.top[top].get_or_init(|| (0..MID).map(|_| OnceLock::new()).collect());
        &mids[mid].get_or_init(|| (0..LEAF).map(|_| Cell::empty()).collect())[leaf]
    }

    /// The cell of a page that was asked for before, or a neighbour of one.
    #[inline]
    pub(super) fn known(&self, number: PageNo) -> Option<&Cell> {
        let (top, mid, leaf) = split(number);
        Some(&self.top[top].get()?[mid].get()?[leaf])
    }
}

impl Drop for Table {
    /// To drop a cell costs a look at what every thread is reading just now, and most never held anything: those own
    /// nothing, and are forgotten.
    fn drop(&mut self) {
        let mids = self.top.iter_mut().filter_map(OnceLock::take);
        for leaf in mids.flat_map(Mid::into_iter).filter_map(OnceLock::into_inner) {
            leaf.into_iter().filter(|cell| cell.newest.is_empty()).for_each(std::mem::forget);
        }
    }
}

#[inline]
fn split(number: PageNo) -> (usize, usize, usize) {
    let n = number.0 as usize;
    (n >> (LEAF_BITS + MID_BITS), n >> LEAF_BITS & (MID - 1), n & (LEAF - 1))
}
