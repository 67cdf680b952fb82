//! Where a write set has its values: in memory up to a budget, and past it in a file.
//!
//! Invariants:
//! 1. What was kept in memory since the beginning is never more than the budget, overwritten values included; so what
//!    is in memory at any moment is no more either.
//! 2. Only what a value has behind it (text, bytes, items) counts and is spilled: a number takes no more room than the
//!    place of a spilled value does.

use std::borrow::Cow;

use graphite_store::{Piece, Spill, Store};

use crate::{Result, Value, value_codec};

/// Bytes of values that a write set keeps in memory, unless it is told otherwise.
pub const WRITE_SET_MEMORY_BYTES: u64 = 4 << 20;

/// A value of a write set.
#[derive(Debug)]
pub(crate) enum Kept {
    /// In memory.
    Here(Value),
    /// In a file, as `value_codec` writes it.
    Spilled(Piece),
}

impl Kept {
    /// The value, read if need be.
    ///
    /// # Errors
    /// Of the store, if it cannot be read.
    pub(crate) fn value(&self) -> Result<Cow<'_, Value>> {
        Ok(match self {
            Kept::Here(value) => Cow::Borrowed(value),
            Kept::Spilled(piece) => {
                let bytes = piece.read()?;
                let value = value_codec::decode(&mut &bytes[..]);
                Cow::Owned(value.expect("what was spilled is a value, and a piece is read as it was written"))
            }
        })
    }
}

/// Keeps values.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// Bytes that were kept in memory so far.
    memory_bytes: u64,
    /// What they may be, and where the others go; without it all stay in memory.
    spill: Option<(u64, Spill)>,
}

impl Keeper {
    pub(super) fn spilling(store: &Store, memory_bytes_max: u64) -> Keeper {
        Keeper { memory_bytes: 0, spill: Some((memory_bytes_max, store.spill())) }
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Keeps a value; a borrowed one is copied only if it stays in memory.
    pub(super) fn keep(&mut self, value: Cow<'_, Value>) -> Result<Kept> {
        let bytes = bytes_behind(&value);
        if let Some((max, spill)) = &mut self.spill
            && bytes > 0
            && self.memory_bytes + bytes > *max
        {
            let mut encoded = Vec::new();
            value_codec::encode(&value, &mut encoded)?;
            return Ok(Kept::Spilled(spill.append(&encoded)?));
        }
        self.memory_bytes += bytes;
        Ok(Kept::Here(value.into_owned()))
    }
}

/// About how many bytes a value takes.
pub(super) fn value_bytes(value: &Value) -> u64 {
    std::mem::size_of::<Value>() as u64 + bytes_behind(value)
}

/// About how many bytes a value has elsewhere in memory.
fn bytes_behind(value: &Value) -> u64 {
    match value {
        Value::String(text) | Value::DateTime { zone: Some(text), .. } => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(items) => items.iter().map(value_bytes).sum(),
        _ => 0,
    }
}
