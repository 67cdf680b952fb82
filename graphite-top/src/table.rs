//! Tables: columns that know their values, and which of them fit a width.

use std::cmp::Ordering;

use crate::cell::Cell;
use crate::filter::Filter;
use crate::scene::Scene;

/// A column of a view. Rows are places in the picture's list that the view shows.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in filters, `--sort` and CSV.
    pub name: &'static str,
    /// What stands above it.
    pub heading: &'static str,
    /// Its width; 0 for the one that takes what is left.
    pub width: u16,
    /// Whether it stands at the right of its width.
    pub right: bool,
    /// Those with small numbers are there on the narrowest screens.
    pub rank: u8,
    /// Its value.
    pub value: for<'a> fn(&'a Scene, u32) -> Cell<'a>,
}

/// Least width of the column that takes what is left.
const REST_WIDTH_MIN: u16 = 14;

/// By which column rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Its place among the view's columns.
    pub column: usize,
    /// Whether the largest come first.
    pub descending: bool,
}

impl Sort {
    /// How two rows stand to each other.
    pub fn order(self, columns: &[Column], scene: &Scene, one: u32, two: u32) -> Ordering {
        let Some(column) = columns.get(self.column) else { return one.cmp(&two) };
        let order = (column.value)(scene, one).order(&(column.value)(scene, two));
        let order = if self.descending { order.reverse() } else { order };
        order.then(one.cmp(&two))
    }
}

/// The rows that a filter leaves, sorted.
pub fn rows(
    columns: &[Column],
    scene: &Scene,
    count: usize,
    filter: Option<&Filter>,
    sort: Option<Sort>,
) -> Vec<u32> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let mut rows: Vec<u32> = match filter {
        Some(filter) => (0..count).filter(|row| filter.matches(columns, scene, *row)).collect(),
        None => (0..count).collect(),
    };
    if let Some(sort) = sort {
        rows.sort_by(|one, two| sort.order(columns, scene, *one, *two));
    }
    rows
}

/// A column's place on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which column.
    pub column: usize,
    /// Columns of the screen before it.
    pub x: u16,
    /// Columns of the screen that it takes.
    pub width: u16,
}

/// Which columns fit, in their order: those of low rank first; `extra` is added to the width of the first.
pub fn places(columns: &[Column], width: u16, extra: u16) -> Vec<Place> {
    let wide = |place: usize| match columns[place].width {
        0 => REST_WIDTH_MIN,
        fixed if place == 0 => fixed + extra + 1,
        fixed => fixed + 1,
    };
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|place| columns[*place].rank);
    let mut chosen = Vec::new();
    let mut taken = 0;
    for place in by_rank {
        if taken + wide(place) <= width {
            taken += wide(place);
            chosen.push(place);
        }
    }
    chosen.sort_unstable();
    let rest = width.saturating_sub(taken);
    let mut x = 0;
    let place = |column: usize| {
        let total = if columns[column].width == 0 { REST_WIDTH_MIN + rest } else { wide(column) };
        let shown = if columns[column].width == 0 { total } else { total - 1 };
        let place = Place { column, x, width: shown };
        x += total;
        place
    };
    chosen.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::views::View;

    #[test]
    fn narrow_screens_leave_out_what_matters_least_and_none_overlap() {
        for view in View::ALL {
            let columns = view.columns();
            let mut before = 0;
            for width in [60, 80, 120, 200] {
                let places = places(columns, width, 0);
                assert!(places.len() >= before, "{view:?} at {width}");
                before = places.len();
                for pair in places.windows(2) {
                    assert!(pair[0].x + pair[0].width < pair[1].x + 1, "{view:?} at {width}");
                }
                assert!(places.last().is_none_or(|last| last.x + last.width <= width));
            }
        }
    }

    #[test]
    fn any_column_sorts_both_ways() {
        let scene = samples::chain();
        for view in View::ALL {
            let columns = view.columns();
            let count = view.count(&scene);
            for column in 0..columns.len() {
                let up = rows(columns, &scene, count, None, Some(Sort { column, descending: false }));
                let value = |row: u32| (columns[column].value)(&scene, row);
                assert!(up.windows(2).all(|pair| value(pair[0]).order(&value(pair[1])).is_le()));
                let down = rows(columns, &scene, count, None, Some(Sort { column, descending: true }));
                assert!(down.windows(2).all(|pair| value(pair[0]).order(&value(pair[1])).is_ge()));
            }
        }
    }
}
