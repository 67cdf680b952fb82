//! Text from strangers on a terminal: for both sides, as both show what others sent.
//!
//! A name or property may hold escape sequences that colour, move, retitle or write to the clipboard, and marks
//! that reverse what is read. Shown as numbers they are inert, and seen.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character does nothing to a terminal but take its place.
fn is_harmless_char(c: char) -> bool {
    !matches!(c,
        // C0 and C1 controls, among them ESC and CSI.
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        // Marks, embeddings, overrides and isolates of bidirectional text.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Line and paragraph separators, which some terminals break lines at.
        | '\u{2028}' | '\u{2029}'
        // What is there and not seen: zero-width space, word joiner and its kin, byte-order mark, tags.
        | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// Whether a text can go to a terminal as it is.
pub fn is_harmless(text: &str) -> bool {
    text.chars().all(is_harmless_char)
}

/// The text with all that acts on a terminal shown as `\n`, `\t` or `\u{1b}` instead.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if is_harmless(text) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_harmless_char(c) => shown.push(c),
            c => {
                // Writing to a string does not fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_a_number() {
        for (text, shown) in [
            ("plain", "plain"),
            ("Zürich 東京 🛫", "Zürich 東京 🛫"),
            ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
            ("\x1b[31mred\x1b]52;c;aGk=\x07", "\\u{1b}[31mred\\u{1b}]52;c;aGk=\\u{7}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("user\u{202e}gpj.exe", "user\\u{202e}gpj.exe"),
            ("\u{2066}\u{2069}\u{200f}", "\\u{2066}\\u{2069}\\u{200f}"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("👩\u{200d}🚀", "👩\u{200d}🚀"),
        ] {
            assert_eq!(harmless(text), shown);
            assert!(is_harmless(&harmless(text)));
        }
    }
}
