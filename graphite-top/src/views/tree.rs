//! The marks in front of a session in the tree of who waits for whom.

use crate::theme::{Glyph, Theme};
use crate::tree::{Kind, Line, rail};

/// Levels that are drawn; below them a line only says how deep it is.
const LEVELS_MAX: u32 = 3;
/// Columns that marks may take in front of a session's number.
pub const MARKS_WIDTH: u16 = 8;

/// Rails, branch and fold mark of a line.
pub fn marks(line: &Line, is_folded: bool, theme: Theme) -> String {
    let mut marks = String::new();
    if line.depth > LEVELS_MAX {
        marks = format!("{}{} ", theme.glyph(Glyph::Cut), line.depth);
    } else if line.depth > 0 {
        for level in 1..line.depth {
            marks += theme.glyph(if line.rails & rail(level) != 0 { Glyph::Rail } else { Glyph::Gap });
        }
        marks += theme.glyph(if line.last { Glyph::LastBranch } else { Glyph::Branch });
    }
    if line.depth == 0 {
        marks += theme.glyph(match (line.has_waiters, is_folded) {
            (false, _) => Glyph::Leaf,
            (true, true) => Glyph::Folded,
            (true, false) => Glyph::Open,
        });
    }
    marks
}

/// What stands behind the number of a line that is not the session's own.
pub fn remark(line: &Line) -> &'static str {
    match line.kind {
        Kind::Session => "",
        Kind::Again => " (see above)",
        Kind::Circle => " (CIRCLE)",
    }
}
