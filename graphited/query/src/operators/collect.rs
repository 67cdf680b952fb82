//! Operators that remember what came before: `distinct` and `count`.

use graphite_graph::View;
use rustc_hash::FxHashSet;

use super::seen::Seen;
use super::source::count_value;
use super::{Context, Stage, pull};
use crate::compare::write_key;
use crate::error::{At, Located, Result};
use crate::rows::{BATCH_ROWS, Column, Rows};

/// Bytes that a remembered row takes besides its key.
const ROW_BYTES: u64 = 48;

/// Passes the first of equal rows.
#[derive(Default)]
pub(super) struct Distinct {
    /// Rows of one column of entities.
    slots: Seen,
    /// All others: the keys of their columns, one after another.
    rows: FxHashSet<Box<[u8]>>,
    kept_bytes: u64,
    keep: Vec<bool>,
}

impl Distinct {
    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        at: At,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        while let Some(mut rows) = pull(before, BATCH_ROWS, context)? {
            context.step(rows.len)?;
            self.keep.clear();
            match rows.columns.as_slice() {
                [Column::Nodes(slots)] => {
                    let slots_end = context.view.node_slots_end().at(at)?;
                    let is_new = slots.iter().map(|slot| self.slots.insert(slot.0, slots_end));
                    self.keep.extend(is_new);
                    self.note_slots(at, context)?;
                }
                [Column::Edges(slots)] => {
                    // Nobody tells where edge slots end; as long as none is known, the set stays hashed.
                    self.keep.extend(slots.iter().map(|slot| self.slots.insert(slot.0, u64::MAX)));
                    self.note_slots(at, context)?;
                }
                _ => self.judge_rows(&rows, at, context)?,
            }
            rows.retain(&self.keep);
            if rows.len > 0 {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    fn note_slots<V: View>(&mut self, at: At, context: &mut Context<'_, V>) -> Result<()> {
        let bytes = self.slots.bytes();
        let more = bytes.saturating_sub(self.kept_bytes);
        self.kept_bytes = self.kept_bytes.max(bytes);
        context.keep(at, more)
    }

    fn judge_rows<V: View>(&mut self, rows: &Rows, at: At, context: &mut Context<'_, V>) -> Result<()> {
        let mut key = Vec::new();
        for row in 0..rows.len {
            key.clear();
            rows.columns.iter().for_each(|column| write_cell_key(column, row, &mut key));
            let is_new = !self.rows.contains(key.as_slice());
            if is_new {
                context.keep(at, ROW_BYTES + key.len() as u64)?;
                self.rows.insert(key.as_slice().into());
            }
            self.keep.push(is_new);
        }
        Ok(())
    }
}

fn write_cell_key(column: &Column, row: usize, key: &mut Vec<u8>) {
    match column {
        Column::Nodes(slots) => key.extend_from_slice(&slots[row].0.to_le_bytes()),
        Column::Edges(slots) => key.extend_from_slice(&slots[row].0.to_le_bytes()),
        Column::Values(values) => write_key(&values[row], key),
        Column::Paths(paths) => {
            let path = &paths[row];
            key.extend_from_slice(&path.edges.len().to_le_bytes());
            path.nodes.iter().for_each(|slot| key.extend_from_slice(&slot.0.to_le_bytes()));
            path.edges.iter().for_each(|slot| key.extend_from_slice(&slot.0.to_le_bytes()));
        }
        // Only a point read makes cells, and it stands alone.
        Column::Cells(_) => {}
    }
}

/// How many rows there are.
#[derive(Default)]
pub(super) struct Count {
    done: bool,
}

impl Count {
    pub(super) fn is_at_end(&self) -> bool {
        self.done
    }

    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        if self.done {
            return Ok(None);
        }
        let mut count = 0;
        while let Some(rows) = pull(before, BATCH_ROWS, context)? {
            count += rows.len as u64;
        }
        self.done = true;
        Ok(Some(Rows::of(Column::Values(vec![count_value(count)]))))
    }
}
