//! Rows straight into an output buffer, without a [`Value`](crate::Value) in between.
//!
//! The result of `run` and `query` is `{columns, rows, cursor?, summary}`, that of `fetch` is `{rows, cursor?}`.
//! A writer begins the response's map, hands out the encoder row by row, and ends the map; how many rows there
//! were is filled in at the end.

use crate::encode::{Encoder, ListMark};
use crate::messages::Summary;
use crate::wire::Wire;

/// Writes the result of `run` or `query`.
#[must_use = "end it with `finish`"]
#[derive(Debug)]
pub struct RowsWriter {
    columns: usize,
    rows: RowsPart,
}

/// Writes the result of `fetch`.
#[must_use = "end it with `finish`"]
#[derive(Debug)]
pub struct FetchWriter {
    columns: usize,
    rows: RowsPart,
}

#[derive(Debug)]
struct RowsPart {
    map_at: usize,
    mark: ListMark,
    count: usize,
}

impl RowsPart {
    fn begin(out: &mut Encoder<'_>, map_at: usize) -> RowsPart {
        out.str("rows");
        RowsPart { map_at, mark: out.list_begin(), count: 0 }
    }

    fn finish(self, out: &mut Encoder<'_>, cursor: Option<u64>) {
        out.list_end(self.mark, self.count);
        if let Some(cursor) = cursor {
            out.str("cursor");
            out.uint(cursor);
            // The map was begun one pair short, and both lengths have the one-byte form.
            out.one_more_pair(self.map_at);
        }
    }
}

impl RowsWriter {
    /// Begins the result.
    pub fn begin<S: AsRef<str>>(
        out: &mut Encoder<'_>,
        columns: impl ExactSizeIterator<Item = S>,
    ) -> RowsWriter {
        let map_at = out.position();
        out.map(3);
        out.str("columns");
        let width = columns.len();
        out.list(width);
        for column in columns {
            out.str(column.as_ref());
        }
        RowsWriter { columns: width, rows: RowsPart::begin(out, map_at) }
    }

    /// Begins a row; as many values as there are columns follow.
    pub fn row(&mut self, out: &mut Encoder<'_>) {
        self.rows.count += 1;
        out.list(self.columns);
    }

    /// Rows written so far.
    pub fn count(&self) -> usize {
        self.rows.count
    }

    /// Ends the result; `summary` is `None` for a read.
    pub fn finish(self, out: &mut Encoder<'_>, cursor: Option<u64>, summary: Option<&Summary>) {
        self.rows.finish(out, cursor);
        out.str("summary");
        match summary {
            Some(summary) => summary.write(out),
            None => out.map(0),
        }
    }
}

impl FetchWriter {
    /// Begins the result; its rows have `columns` values each.
    pub fn begin(out: &mut Encoder<'_>, columns: usize) -> FetchWriter {
        let map_at = out.position();
        out.map(1);
        FetchWriter { columns, rows: RowsPart::begin(out, map_at) }
    }

    /// Begins a row; as many values as there are columns follow.
    pub fn row(&mut self, out: &mut Encoder<'_>) {
        self.rows.count += 1;
        out.list(self.columns);
    }

    /// Rows written so far.
    pub fn count(&self) -> usize {
        self.rows.count
    }

    /// Ends the result; `cursor` is `None` after the last row.
    pub fn finish(self, out: &mut Encoder<'_>, cursor: Option<u64>) {
        self.rows.finish(out, cursor);
    }
}
