//! Operators that look at each row alone.

use graphite_graph::{KeyId, LabelId, LabelSetId, Value, View};

use super::source::{read_edge_keys, read_keys};
use super::{Context, Stage, pull};
use crate::compare::passes;
use crate::error::{At, Located, Result};
use crate::plan::Comparison;
use crate::rows::{BATCH_ROWS, Column, Rows, value_bytes};

/// Passes rows whose entity's property compares so.
pub(super) struct Filter {
    key: Option<KeyId>,
    comparison: Comparison,
    operand: Value,
    has_asked: bool,
}

impl Filter {
    pub(super) fn new(key: Option<KeyId>, comparison: Comparison, operand: Value) -> Filter {
        Filter { key, comparison, operand, has_asked: false }
    }

    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        at: At,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        // Nothing has a property whose key nobody ever used.
        let Some(key) = self.key else { return ask_once(&mut self.has_asked, before, context) };
        let view = context.view;
        pass_rows(before, context, |rows, keep| {
            let is_passed = |value: Option<Value>| {
                value.is_some_and(|value| passes(self.comparison, &value, &self.operand))
            };
            match rows.columns.get(rows.current) {
                Some(Column::Nodes(slots)) => {
                    for &slot in slots {
                        keep.push(is_passed(view.property(slot, key).at(at)?));
                    }
                }
                Some(Column::Edges(slots)) => {
                    for &slot in slots {
                        keep.push(is_passed(view.edge_property(slot, key).at(at)?));
                    }
                }
                _ => keep.resize(rows.len, false),
            }
            Ok(())
        })
    }
}

/// Passes rows whose node has the label.
pub(super) struct HasLabel {
    label: Option<LabelId>,
    /// The last answer.
    last: Option<(LabelSetId, bool)>,
    has_asked: bool,
}

impl HasLabel {
    pub(super) fn new(label: Option<LabelId>) -> HasLabel {
        HasLabel { label, last: None, has_asked: false }
    }

    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        at: At,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        let Some(label) = self.label else { return ask_once(&mut self.has_asked, before, context) };
        let (view, last) = (context.view, &mut self.last);
        pass_rows(before, context, |rows, keep| {
            for &slot in rows.nodes() {
                let Some(head) = view.node_head(slot).at(at)? else {
                    keep.push(false);
                    continue;
                };
                let answer = match *last {
                    Some((set, answer)) if set == head.label_set => answer,
                    _ => view.labels_of(head).at(at)?.contains(&label),
                };
                *last = Some((head.label_set, answer));
                keep.push(answer);
            }
            Ok(())
        })
    }
}

/// Passes nothing, whatever comes before. That is asked once all the same, for it may fail because something that is
/// required does not exist.
fn ask_once<V: View>(
    has_asked: &mut bool,
    before: &mut [Stage],
    context: &mut Context<'_, V>,
) -> Result<Option<Rows>> {
    if !std::mem::replace(has_asked, true) {
        pull(before, 1, context)?;
    }
    Ok(None)
}

/// The next rows of which something is passed; `judge` says for each row whether it is.
fn pass_rows<V: View>(
    before: &mut [Stage],
    context: &mut Context<'_, V>,
    mut judge: impl FnMut(&Rows, &mut Vec<bool>) -> Result<()>,
) -> Result<Option<Rows>> {
    let mut keep = Vec::new();
    while let Some(mut rows) = pull(before, BATCH_ROWS, context)? {
        context.step(rows.len)?;
        keep.clear();
        judge(&rows, &mut keep)?;
        rows.retain(&keep);
        if rows.len > 0 {
            return Ok(Some(rows));
        }
    }
    Ok(None)
}

/// Replaces the current column by properties.
pub(super) struct Properties {
    keys: Vec<Option<KeyId>>,
    /// Rows whose properties are still to be read, since those of the rows before them were long.
    rest: Option<Rows>,
}

impl Properties {
    pub(super) fn new(keys: Vec<Option<KeyId>>) -> Properties {
        Properties { keys, rest: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_none()
    }

    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        at: At,
        want: usize,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        let rows = match self.rest.take() {
            Some(rest) => Some(rest),
            None => pull(before, want, context)?,
        };
        let Some(mut rows) = rows else { return Ok(None) };
        context.step(rows.len)?;
        let (view, keys, mut bytes) = (context.view, self.keys.as_slice(), 0);
        let mut values: Vec<Vec<Value>> = keys.iter().map(|_| Vec::with_capacity(rows.len)).collect();
        for row in 0..rows.len {
            let mut columns = values.iter_mut();
            let put = |value| {
                bytes += value_bytes(&value);
                if let Some(column) = columns.next() {
                    column.push(value);
                }
            };
            let found = match &rows.columns[rows.current] {
                Column::Nodes(slots) => read_keys(keys, view, slots[row], put).at(at)?,
                Column::Edges(slots) => read_edge_keys(keys, view, slots[row], put).at(at)?,
                _ => false,
            };
            if !found {
                // An entity that is gone has no properties any more.
                values.iter_mut().for_each(|column| column.push(Value::Null));
            }
            if bytes >= context.budget.shown_bytes_max() && row + 1 < rows.len {
                let mut rest = rows.clone();
                rest.drop_first(row + 1);
                self.rest = Some(rest);
                rows.truncate(row + 1);
                break;
            }
        }
        rows.columns.splice(rows.current..=rows.current, values.into_iter().map(Column::Values));
        Ok(Some(rows))
    }
}

/// Replaces entities by their ids.
pub(super) fn ids<V: View>(
    before: &mut [Stage],
    at: At,
    want: usize,
    context: &mut Context<'_, V>,
) -> Result<Option<Rows>> {
    let Some(mut rows) = pull(before, want, context)? else { return Ok(None) };
    context.step(rows.len)?;
    let view = context.view;
    let value = |id: Option<u64>| id.map_or(Value::Null, |id| Value::Int(id.cast_signed()));
    for column in &mut rows.columns {
        let ids: Result<Vec<Value>> = match column {
            Column::Nodes(slots) => {
                slots.iter().map(|slot| Ok(value(view.node_by_slot(*slot).at(at)?.map(|id| id.0)))).collect()
            }
            Column::Edges(slots) => {
                slots.iter().map(|slot| Ok(value(view.edge_by_slot(*slot).at(at)?.map(|id| id.0)))).collect()
            }
            _ => continue,
        };
        *column = Column::Values(ids?);
    }
    Ok(Some(rows))
}

/// Passes the first rows.
pub(super) struct Limit {
    left: u64,
    has_asked: bool,
}

impl Limit {
    pub(super) fn new(n: u64) -> Limit {
        Limit { left: n, has_asked: false }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.left == 0
    }

    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        want: usize,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        if self.left == 0 {
            return ask_once(&mut self.has_asked, before, context);
        }
        self.has_asked = true;
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let Some(mut rows) = pull(before, want.min(left), context)? else { return Ok(None) };
        rows.truncate(left);
        self.left -= rows.len as u64;
        Ok(Some(rows))
    }
}

/// Passes all but the first rows.
pub(super) struct Skip {
    left: u64,
}

impl Skip {
    pub(super) fn new(n: u64) -> Skip {
        Skip { left: n }
    }

    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        while let Some(mut rows) = pull(before, BATCH_ROWS, context)? {
            let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(rows.len);
            rows.drop_first(count);
            self.left -= count as u64;
            if rows.len > 0 {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }
}
