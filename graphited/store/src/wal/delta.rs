//! What a log record says about a page's body: the byte ranges that differ from a base.
//!
//! A full image is the difference to a page of zeros, a delta the difference to the version it builds on, so one
//! codec serves both. Layout: number of ranges u16, then per range offset u16, length u16, the new bytes.
//!
//! Only those parts of a page are compared that were lent out to be changed ([`PART_BYTES`]): a small change of a page
//! costs little more than its own bytes.
//!
//! Two differences with fewer than [`JOIN`] equal bytes between them are one range: its header would cost as much.

use crate::page::{PAGE_BODY_BYTES, PART_BYTES};

type Body = [u8; PAGE_BODY_BYTES];

const WORD: usize = 8;
const BLOCK: usize = 64;
const CHUNK: usize = 8 * BLOCK;
/// Equal bytes that are cheaper to repeat than to step over.
const JOIN: usize = 8;
const _: () = assert!(PART_BYTES.is_multiple_of(BLOCK) && CHUNK.is_multiple_of(PART_BYTES));
const _: () = assert!(PAGE_BODY_BYTES.is_multiple_of(WORD) && PAGE_BODY_BYTES <= u16::MAX as usize);

/// A page of zeros, the base of images.
pub(crate) static ZEROS: Body = [0; PAGE_BODY_BYTES];

/// Of every page all parts.
pub(crate) const ALL: u64 = u64::MAX;

/// Appends the ranges in which `new` differs from `base`, which it may do in the parts whose bits are set in `lent`; returns
/// how many.
pub(crate) fn encode(base: &Body, new: &Body, lent: u64, out: &mut Vec<u8>) -> u16 {
    let count_at = out.len();
    out.extend_from_slice(&[0, 0]);
    let mut count: u16 = 0;
    let mut open: Option<(usize, usize)> = None;
    let mut at = 0;
    while let Some((word, differing)) = next_difference(base, new, lent, at) {
        // The lowest byte of the number is the first in the page.
        let first = word + differing.trailing_zeros() as usize / 8;
        let last = word + WORD - 1 - differing.leading_zeros() as usize / 8;
        open = match open {
            Some((start, end)) if first - end <= JOIN => Some((start, last + 1)),
            Some(range) => {
                put(new, range, out);
                count += 1;
                Some((first, last + 1))
            }
            None => Some((first, last + 1)),
        };
        at = word + WORD;
    }
    if let Some(range) = open {
        put(new, range, out);
        count += 1;
    }
    out[count_at..count_at + 2].copy_from_slice(&count.to_le_bytes());
    count
}

/// Whether nothing differs outside of the parts in `lent`.
pub(crate) fn is_complete(base: &Body, new: &Body, lent: u64) -> bool {
    let parts = base.chunks(PART_BYTES).zip(new.chunks(PART_BYTES));
    parts.enumerate().all(|(part, (base, new))| lent >> part & 1 == 1 || base == new)
}

/// The first word from `at` on that differs, and its bits that do. Most of a page is equal, so as much of it as possible
/// is compared at a time.
#[inline]
fn next_difference(base: &Body, new: &Body, lent: u64, mut at: usize) -> Option<(usize, u64)> {
    while at < PAGE_BODY_BYTES {
        let from_here = lent >> (at / PART_BYTES);
        if from_here == 0 {
            return None;
        }
        let end = (at + CHUNK).min(PAGE_BODY_BYTES);
        if from_here & 1 == 0 {
            at = (at / PART_BYTES + from_here.trailing_zeros() as usize) * PART_BYTES;
        } else if lent == ALL && at.is_multiple_of(CHUNK) && base[at..end] == new[at..end] {
            at = end;
        } else if at.is_multiple_of(BLOCK) && is_equal_block(&base[at..], &new[at..]) {
            at += BLOCK;
        } else {
            let differing = word_of(base, at) ^ word_of(new, at);
            if differing != 0 {
                return Some((at, differing));
            }
            at += WORD;
        }
    }
    None
}

/// Whether there is a whole block, and it is equal. For so few bytes the call of `memcmp`, which `==` is, costs more than
/// they do.
#[inline]
fn is_equal_block(base: &[u8], new: &[u8]) -> bool {
    let (Some(base), Some(new)) = (base.first_chunk::<BLOCK>(), new.first_chunk::<BLOCK>()) else {
        return false;
    };
    let words = base.as_chunks::<WORD>().0.iter().zip(new.as_chunks::<WORD>().0);
    words.fold(0, |all, (base, new)| all | (u64::from_ne_bytes(*base) ^ u64::from_ne_bytes(*new))) == 0
}

#[inline]
fn word_of(body: &Body, at: usize) -> u64 {
    u64::from_le_bytes(*body[at..].first_chunk().expect("a body is made of words"))
}

fn put(new: &Body, (start, end): (usize, usize), out: &mut Vec<u8>) {
    let offset = u16::try_from(start).expect("inside a page");
    let len = u16::try_from(end - start).expect("inside a page");
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&new[start..end]);
}

/// Lays encoded ranges over `body`; returns what follows them in `bytes`, or `None`, and nothing is changed, if they
/// contradict themselves.
pub(crate) fn apply<'a>(bytes: &'a [u8], body: &mut Body) -> Option<&'a [u8]> {
    let mut fits = true;
    walk(bytes, |start, new| fits &= start + new.len() <= PAGE_BODY_BYTES)?;
    if !fits {
        return None;
    }
    walk(bytes, |start, new| body[start..start + new.len()].copy_from_slice(new))
}

/// What follows encoded ranges, without applying them.
pub(crate) fn skip(bytes: &[u8]) -> Option<&[u8]> {
    walk(bytes, |_, _| {})
}

/// Shows each range, where it starts and what is to be there; returns what follows them.
fn walk<'a>(bytes: &'a [u8], mut range: impl FnMut(usize, &'a [u8])) -> Option<&'a [u8]> {
    let (count, mut rest) = u16_and_rest(bytes)?;
    for _ in 0..count {
        let (offset, after) = u16_and_rest(rest)?;
        let (len, after) = u16_and_rest(after)?;
        let (new, after) = after.split_at_checked(usize::from(len))?;
        range(usize::from(offset), new);
        rest = after;
    }
    Some(rest)
}

fn u16_and_rest(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (raw, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_le_bytes(*raw), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{DatabaseId, Page, PageKind, PageNo};
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let mut new = ZEROS;
        new[3] = 9;
        new[12] = 8;
        new[100] = 7;
        let mut out = Vec::new();
        assert_eq!(encode(&ZEROS, &new, ALL, &mut out), 2);
        assert_eq!(out[..], [2, 0, 3, 0, 10, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 8, 100, 0, 1, 0, 7]);
    }

    proptest! {
        #[test]
        fn applying_a_delta_gives_the_new_page(
            first in prop::collection::vec((0..PAGE_BODY_BYTES, any::<u8>()), 0..60),
            second in prop::collection::vec((0..PAGE_BODY_BYTES, 1..200usize, any::<u8>()), 0..20),
        ) {
            let mut base = ZEROS;
            first.iter().for_each(|&(at, byte)| base[at] = byte);
            let mut page = Page::new(PageNo(1), PageKind::Record, DatabaseId(1));
            page.body_mut().copy_from_slice(&base);
            let mut page = page.clone();
            for (at, len, byte) in second {
                let end = (at + len).min(PAGE_BODY_BYTES);
                page.range_mut(at..end).fill(byte);
            }
            let new = *page.body();
            let (mut out, mut of_all) = (Vec::new(), Vec::new());
            encode(&base, &new, page.parts_lent(), &mut out);
            encode(&base, &new, ALL, &mut of_all);
            prop_assert!(out == of_all, "nothing differs where nothing was lent");
            out.push(42);
            let mut redone = base;
            prop_assert_eq!(apply(&out, &mut redone), Some(&[42][..]));
            prop_assert_eq!(skip(&out), Some(&[42][..]));
            prop_assert!(redone == new);
        }

        #[test]
        fn nonsense_is_refused_or_applied_but_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut body = ZEROS;
            if apply(&bytes, &mut body).is_none() {
                prop_assert!(body == ZEROS, "half of it was applied");
            }
        }
    }
}
