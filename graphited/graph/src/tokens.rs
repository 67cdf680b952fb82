//! Commit tokens: what a client that did not hear of its commit asks by.
//!
//! A commit may bring a token, which its own group writes down. So there is a token if, and only if, the commit happened.
//! Tokens are numbered in the order of commits; of the last [`TOKENS_MAX`] at least each is known.
//!
//! A B+tree; a key is the token's number (8 bytes, big endian), a value is the token. New ones go to the right end, and old
//! ones leave at the left, some at a time, so a commit changes one page for its token, and mostly the one that was changed
//! before. To ask is rare, and looks at all of them.
//!
//! Invariants:
//! 1. All numbers are below `TOKEN_NEXT`, and at most [`TOKENS_MAX`] + [`FORGOTTEN_AT_ONCE`] below it.

use std::ops::ControlFlow;

use graphite_store::btree::BTree;
use graphite_store::{PageNo, PageReader, PageWriter, STATE_PAGE};

use crate::state;
use crate::{Error, Result};

/// How many commits with tokens are remembered at least.
pub const TOKENS_MAX: u64 = 65_536;
/// Bytes of the longest token.
pub const TOKEN_BYTES_MAX: usize = 32;
/// Old tokens that go at a time.
const FORGOTTEN_AT_ONCE: u64 = 64;

/// Refuses what is no token.
///
/// # Errors
/// `EmptyName`, `TooLong`.
pub fn check_token(token: &[u8]) -> Result<()> {
    let what = "a commit token";
    match token.len() {
        0 => Err(Error::EmptyName { what }),
        bytes if bytes > TOKEN_BYTES_MAX => Err(Error::TooLong { what, bytes, max: TOKEN_BYTES_MAX }),
        _ => Ok(()),
    }
}

fn tree<R: PageReader>(r: &R) -> Result<BTree> {
    let root = u32::try_from(r.state(state::TOKEN_ROOT)?);
    let why = "the root of the commit tokens is no page number";
    let root = root.map_err(|_| Error::Corrupt { page: STATE_PAGE, why })?;
    Ok(BTree::new((root != 0).then_some(PageNo(root))))
}

/// Notes that a commit of this token happened: in the turn of that commit.
///
/// # Errors
/// Of the store.
pub fn record<W: PageWriter>(w: &mut W, token: &[u8]) -> Result<()> {
    let number = w.state(state::TOKEN_NEXT)?;
    let mut tokens = tree(w)?;
    let before = tokens;
    tokens.insert(w, &number.to_be_bytes(), token)?;
    if number >= TOKENS_MAX && number.is_multiple_of(FORGOTTEN_AT_ONCE) {
        let end = number - TOKENS_MAX;
        for old in end.saturating_sub(FORGOTTEN_AT_ONCE)..end {
            tokens.remove(w, &old.to_be_bytes())?;
        }
    }
    if tokens != before {
        w.set_state(state::TOKEN_ROOT, tokens.root().map_or(0, |page| u64::from(page.0)))?;
    }
    Ok(w.set_state(state::TOKEN_NEXT, number + 1)?)
}

/// Whether a commit of this token is known.
///
/// # Errors
/// Of the store.
pub fn is_known<R: PageReader>(r: &R, token: &[u8]) -> Result<bool> {
    let mut is_known = false;
    tree(r)?.cursor_at_start().scan(r, |_, known| {
        is_known = known == token;
        if is_known { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(is_known)
}

/// The pages of the tokens: for the check of the whole file.
///
/// # Errors
/// Of the store.
pub fn for_each_page<R: PageReader>(r: &R, visit: impl FnMut(PageNo)) -> Result<()> {
    Ok(tree(r)?.pages(r, visit)?)
}

#[cfg(test)]
mod tests {
    use graphite_store::MemPager;

    use super::*;

    /// Half as many again as are remembered: each token is known until so many came after it, the oldest are not, and the
    /// tree stays bounded.
    #[test]
    fn the_last_tokens_are_known_and_the_others_forgotten() {
        let mut w = MemPager::default();
        let token = |number: u64| format!("token {number}").into_bytes();
        assert!(!is_known(&w, &token(0)).unwrap());
        let count = TOKENS_MAX + TOKENS_MAX / 2;
        for number in 0..count {
            record(&mut w, &token(number)).unwrap();
        }
        let oldest = count - TOKENS_MAX;
        for number in [oldest, oldest + 1, count - 1] {
            assert!(is_known(&w, &token(number)).unwrap(), "{number}");
        }
        for number in [0, oldest - FORGOTTEN_AT_ONCE - 1, count] {
            assert!(!is_known(&w, &token(number)).unwrap(), "{number}");
        }
        let mut pages = 0;
        for_each_page(&w, |_| pages += 1).unwrap();
        assert_eq!(pages + 1, w.pages_used(), "and the state page");
        assert!(pages < 700, "{pages}");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert!(check_token(b"x").is_ok() && check_token(&[0; TOKEN_BYTES_MAX]).is_ok());
        assert!(matches!(check_token(b""), Err(Error::EmptyName { .. })));
        assert!(matches!(check_token(&[0; TOKEN_BYTES_MAX + 1]), Err(Error::TooLong { .. })));
    }
}
