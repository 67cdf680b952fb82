//! Chains of overflow pages: bytes that are too long for a slotted page.
//!
//! Body of an overflow page (little endian): next page u32 (0: the last), bytes in this page u32, the bytes. All
//! pages but the last are full. Whoever points at a chain knows its length, which bounds every walk.

use graphite_store::{PAGE_BODY_BYTES, PageKind, PageNo, PageReader, PageWriter};

use super::VALUE_BYTES_MAX;
use crate::{Error, Result};

const NEXT: usize = 0;
const LEN: usize = NEXT + 4;
const BYTES: usize = LEN + 4;
/// Bytes of a chain that a page holds.
pub(super) const CHUNK_BYTES: usize = PAGE_BODY_BYTES - BYTES;
const _: () = assert!(CHUNK_BYTES == 8160);

/// A chain, as a property record points at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Chain {
    pub(super) first: PageNo,
    /// At least 1.
    pub(super) len: usize,
}

/// Puts bytes into a new chain.
pub(super) fn write<W: PageWriter>(w: &mut W, bytes: &[u8]) -> Result<Chain> {
    assert!((1..=VALUE_BYTES_MAX).contains(&bytes.len()), "a chain of {} bytes", bytes.len());
    let first = w.allocate(PageKind::Overflow)?;
    let mut number = first;
    let mut chunks = bytes.chunks(CHUNK_BYTES).peekable();
    while let Some(chunk) = chunks.next() {
        let next = match chunks.peek() {
            Some(_) => w.allocate(PageKind::Overflow)?,
            None => PageNo(0),
        };
        let body = w.page_mut(number)?.body_mut();
        let len = u32::try_from(chunk.len()).expect("a chunk fits a page");
        body[NEXT..LEN].copy_from_slice(&next.0.to_le_bytes());
        body[LEN..BYTES].copy_from_slice(&len.to_le_bytes());
        body[BYTES..BYTES + chunk.len()].copy_from_slice(chunk);
        number = next;
    }
    Ok(Chain { first, len: bytes.len() })
}

/// Shows the pages of a chain with their bytes, in order.
pub(super) fn walk<R: PageReader>(
    r: &R,
    chain: Chain,
    mut visit: impl FnMut(PageNo, &[u8]) -> Result<()>,
) -> Result<()> {
    let (mut number, mut left) = (chain.first, chain.len);
    while left > 0 {
        let page = r.page_of(number, PageKind::Overflow)?;
        let body = page.body();
        let next = u32::from_le_bytes([body[NEXT], body[NEXT + 1], body[NEXT + 2], body[NEXT + 3]]);
        let len = u32::from_le_bytes([body[LEN], body[LEN + 1], body[LEN + 2], body[LEN + 3]]);
        let expected = left.min(CHUNK_BYTES);
        left -= expected;
        if len as usize != expected || (next == 0) != (left == 0) {
            return Err(Error::Corrupt { page: number, why: "a chain of overflow pages has another length" });
        }
        visit(number, &body[BYTES..BYTES + expected])?;
        number = PageNo(next);
    }
    Ok(())
}

/// The bytes of a chain.
pub(super) fn read<R: PageReader>(r: &R, chain: Chain) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    walk(r, chain, |_, chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    })?;
    Ok(bytes)
}

/// Whether a chain holds exactly these bytes.
pub(super) fn equals<R: PageReader>(r: &R, chain: Chain, bytes: &[u8]) -> Result<bool> {
    if chain.len != bytes.len() {
        return Ok(false);
    }
    let (mut rest, mut equal) = (bytes, true);
    walk(r, chain, |_, chunk| {
        let (here, later) = rest.split_at(chunk.len());
        equal &= here == chunk;
        rest = later;
        Ok(())
    })?;
    Ok(equal)
}

/// Frees the pages of a chain.
pub(super) fn free<W: PageWriter>(w: &mut W, chain: Chain) -> Result<()> {
    let mut pages = Vec::new();
    walk(w, chain, |number, _| {
        pages.push(number);
        Ok(())
    })?;
    pages.into_iter().try_for_each(|number| Ok(w.free(number)?))
}
