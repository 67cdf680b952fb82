//! Text from strangers, made inert before it reaches the terminal.
//!
//! Statements, client names, user names and keys of indexes come from whoever connects. Escape sequences, line breaks and
//! marks that turn the reading direction are shown as numbers; in ASCII mode so is all that is not ASCII. What is longer
//! than any column is cut before it is looked at, so that a long statement costs no more than a short one.

use std::borrow::Cow;
use std::fmt::Write;

use graphite_client::text::harmless;

/// Characters of a text that are looked at, which is more than any line shows.
pub const SHOWN_CHARS_MAX: usize = 2000;

/// The text as it may be drawn.
pub fn shown(text: &str, ascii: bool) -> Cow<'_, str> {
    let end = text.char_indices().nth(SHOWN_CHARS_MAX).map_or(text.len(), |(at, _)| at);
    let text = harmless(&text[..end]);
    if !ascii || text.is_ascii() {
        return text;
    }
    let mut numbered = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_ascii() {
            numbered.push(c);
        } else {
            // Writing to a string does not fail.
            let _ = write!(numbered, "\\u{{{:x}}}", u32::from(c));
        }
    }
    Cow::Owned(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_turned_text_are_numbers() {
        assert_eq!(shown("a\x1b[2Jb\n", false), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown("user\u{202e}gpj", false), "user\\u{202e}gpj");
        assert_eq!(shown("Zürich", false), "Zürich");
        assert_eq!(shown("Zürich", true), "Z\\u{fc}rich");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(shown(&"é".repeat(9000), false).chars().count(), SHOWN_CHARS_MAX);
    }
}
