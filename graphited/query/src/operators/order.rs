//! `order`: takes all rows, and passes them on sorted.
//!
//! With a limit after it, it forgets the rows that cannot be among the first: whenever it has twice as many as are
//! wanted, it sorts and drops the rest.

use std::cmp::Ordering;

use graphite_graph::{KeyId, Value, View};

use super::{Context, Stage, pull};
use crate::error::{At, Located, Result};
use crate::rows::{BATCH_ROWS, Column, Rows, value_bytes};

/// What to order by.
pub(super) enum By {
    Column(usize),
    /// A property of the current entity; `None` is one that nobody has.
    Property(Option<KeyId>),
}

/// What a row is ordered by. All rows of an order have the same kind.
#[derive(Clone, Debug)]
enum Key {
    Value(Value),
    /// Entities, by id.
    Id(u64),
}

impl Key {
    fn cmp(&self, other: &Key) -> Ordering {
        match (self, other) {
            (Key::Value(a), Key::Value(b)) => a.total_cmp(b),
            (Key::Id(a), Key::Id(b)) => a.cmp(b),
            (Key::Id(_), Key::Value(_)) => Ordering::Less,
            (Key::Value(_), Key::Id(_)) => Ordering::Greater,
        }
    }

    fn bytes(&self) -> u64 {
        let own = std::mem::size_of::<Key>() as u64;
        match self {
            Key::Value(value) => own + value_bytes(value),
            Key::Id(_) => own,
        }
    }
}

/// Orders rows; equal ones keep their order.
pub(super) struct Order {
    by: By,
    desc: bool,
    /// Rows past this number are not wanted.
    keep: usize,
    state: State,
}

enum State {
    NotBegun,
    Sorted { rows: Rows, order: Vec<usize>, passed: usize, kept_bytes: u64 },
    AtEnd,
}

impl Order {
    pub(super) fn new(by: By, desc: bool, keep: Option<u64>) -> Order {
        let keep = keep.and_then(|keep| usize::try_from(keep).ok()).unwrap_or(usize::MAX);
        Order { by, desc, keep, state: State::NotBegun }
    }

    pub(super) fn is_at_end(&self) -> bool {
        matches!(self.state, State::AtEnd)
    }

    pub(super) fn next<V: View>(
        &mut self,
        before: &mut [Stage],
        at: At,
        want: usize,
        context: &mut Context<'_, V>,
    ) -> Result<Option<Rows>> {
        if let State::NotBegun = self.state {
            self.state = self.collect(before, at, context)?;
        }
        let State::Sorted { rows, order, passed, kept_bytes } = &mut self.state else { return Ok(None) };
        let end = order.len().min(*passed + want.clamp(1, BATCH_ROWS));
        let next = rows.take_in_order(&order[*passed..end]);
        *passed = end;
        if end == order.len() {
            context.meter.release(*kept_bytes);
            self.state = State::AtEnd;
        }
        Ok(Some(next))
    }

    fn collect<V: View>(&self, before: &mut [Stage], at: At, context: &mut Context<'_, V>) -> Result<State> {
        let mut kept: Option<Rows> = None;
        let mut keys: Vec<Key> = Vec::new();
        let mut kept_bytes = 0;
        let drop_at = self.keep.saturating_mul(2).max(self.keep.saturating_add(BATCH_ROWS));
        while let Some(rows) = pull(before, BATCH_ROWS, context)? {
            context.step(rows.len)?;
            let from = keys.len();
            self.add_keys(&rows, &mut keys, at, context.view)?;
            let bytes = rows.bytes() + keys[from..].iter().map(Key::bytes).sum::<u64>();
            context.keep(at, bytes)?;
            kept_bytes += bytes;
            match &mut kept {
                Some(kept) => kept.append(rows),
                none => *none = Some(rows),
            }
            if keys.len() >= drop_at
                && let Some(all) = &mut kept
            {
                let order = self.sorted(&keys);
                *all = all.take_in_order(&order);
                keys = order.iter().map(|&row| keys[row].clone()).collect();
                context.meter.release(kept_bytes);
                kept_bytes = all.bytes() + keys.iter().map(Key::bytes).sum::<u64>();
                context.keep(at, kept_bytes)?;
            }
        }
        let order = self.sorted(&keys);
        match kept {
            Some(rows) if !order.is_empty() => Ok(State::Sorted { rows, order, passed: 0, kept_bytes }),
            _ => {
                context.meter.release(kept_bytes);
                Ok(State::AtEnd)
            }
        }
    }

    fn add_keys<V: View>(&self, rows: &Rows, keys: &mut Vec<Key>, at: At, view: &V) -> Result<()> {
        let column = match self.by {
            By::Column(column) => column,
            By::Property(_) => rows.current,
        };
        match (&self.by, rows.columns.get(column)) {
            (By::Property(Some(key)), Some(Column::Nodes(slots))) => {
                for &slot in slots {
                    keys.push(Key::Value(view.property(slot, *key).at(at)?.unwrap_or_default()));
                }
            }
            (By::Property(Some(key)), Some(Column::Edges(slots))) => {
                for &slot in slots {
                    keys.push(Key::Value(view.edge_property(slot, *key).at(at)?.unwrap_or_default()));
                }
            }
            (By::Column(_), Some(Column::Nodes(slots))) => {
                for &slot in slots {
                    keys.push(Key::Id(view.node_by_slot(slot).at(at)?.map_or(u64::MAX, |id| id.0)));
                }
            }
            (By::Column(_), Some(Column::Edges(slots))) => {
                for &slot in slots {
                    keys.push(Key::Id(view.edge_by_slot(slot).at(at)?.map_or(u64::MAX, |id| id.0)));
                }
            }
            (By::Column(_), Some(Column::Values(values))) => {
                keys.extend(values.iter().cloned().map(Key::Value));
            }
            // A key that nobody has, and paths, of which there is never more than one.
            _ => keys.extend((0..rows.len).map(|_| Key::Value(Value::Null))),
        }
        Ok(())
    }

    /// The rows that are wanted, in order.
    fn sorted(&self, keys: &[Key]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..keys.len()).collect();
        if self.desc {
            order.sort_by(|&a, &b| keys[b].cmp(&keys[a]));
        } else {
            order.sort_by(|&a, &b| keys[a].cmp(&keys[b]));
        }
        order.truncate(self.keep);
        order
    }
}
