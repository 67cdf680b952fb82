//! One value of one column. What is drawn, sorted by, filtered by and written as CSV comes from here, so the four never
//! disagree.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::format;
use crate::sanitise;

/// A value, with its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// There is none.
    Nothing,
    /// A text, which may come from a stranger.
    Text(Cow<'a, str>),
    /// A number of things, or a name that is a number.
    Number(u64),
    /// A span of time in milliseconds.
    Span(u64),
    /// A moment, in milliseconds since 1970.
    At(u64),
}

impl<'a> Cell<'a> {
    /// A text that is borrowed.
    pub fn text(text: &'a str) -> Cell<'a> {
        Cell::Text(Cow::Borrowed(text))
    }

    /// A span that may be missing.
    pub fn span(ms: Option<u64>) -> Cell<'a> {
        ms.map_or(Cell::Nothing, Cell::Span)
    }

    /// As it stands in a column.
    pub fn shown(&self, ascii: bool) -> Cow<'_, str> {
        match self {
            Cell::Nothing => Cow::Borrowed("-"),
            Cell::Text(text) => sanitise::shown(text, ascii),
            Cell::Number(number) => Cow::Owned(number.to_string()),
            Cell::Span(ms) => Cow::Owned(format::span(*ms)),
            Cell::At(ms) => Cow::Owned(format::clock(*ms)),
        }
    }

    /// As it stands in a file for programs: plain numbers, in the unit that the column's documentation names.
    pub fn plain(&self) -> Cow<'_, str> {
        match self {
            Cell::Nothing => Cow::Borrowed(""),
            Cell::Text(text) => Cow::Borrowed(text),
            Cell::Number(number) | Cell::Span(number) | Cell::At(number) => Cow::Owned(number.to_string()),
        }
    }

    /// Numbers by size, texts by letter; what is missing comes first.
    pub fn order(&self, other: &Cell<'_>) -> Ordering {
        match (self.number(), other.number()) {
            (Some(one), Some(two)) => one.cmp(&two),
            _ => match (self, other) {
                (Cell::Text(one), Cell::Text(two)) => one.cmp(two),
                (Cell::Nothing, Cell::Nothing) => Ordering::Equal,
                (Cell::Nothing, _) => Ordering::Less,
                (_, Cell::Nothing) => Ordering::Greater,
                (Cell::Text(_), _) => Ordering::Greater,
                (_, Cell::Text(_)) => Ordering::Less,
                _ => Ordering::Equal,
            },
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Cell::Number(number) | Cell::Span(number) | Cell::At(number) => Some(*number),
            Cell::Nothing | Cell::Text(_) => None,
        }
    }
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(text: Option<&'a str>) -> Cell<'a> {
        text.map_or(Cell::Nothing, Cell::text)
    }
}

impl From<Option<u64>> for Cell<'_> {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Cell::Nothing, Cell::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_sort_by_size_and_what_is_missing_is_least() {
        let mut cells = [Cell::Span(1000), Cell::Nothing, Cell::Span(9), Cell::Span(200)];
        cells.sort_by(Cell::order);
        assert_eq!(cells, [Cell::Nothing, Cell::Span(9), Cell::Span(200), Cell::Span(1000)]);
        assert_eq!(Cell::text("a").order(&Cell::text("b")), Ordering::Less);
    }

    #[test]
    fn programs_get_numbers_and_people_units() {
        let cell = Cell::Span(41_200);
        assert_eq!((cell.shown(false).as_ref(), cell.plain().as_ref()), ("41.2s", "41200"));
        assert_eq!((Cell::Nothing.shown(false).as_ref(), Cell::Nothing.plain().as_ref()), ("-", ""));
    }
}
