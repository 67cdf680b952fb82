//! Changing property records: what is new is merged with the pairs as they are stored.
//!
//! A pair that stays is copied byte for byte, so the chain of a long value that stays is neither read nor written.
//! That of a long value that is set anew is compared first, and kept if it holds the same bytes.
//!
//! Chains that nothing points at any more are freed last: after the record that does without them is written.

use graphite_store::{PageWriter, record};

use super::overflow::{self, Chain};
use super::{
    IN_CHAIN, INLINE_VALUE_BYTES_MAX, LONG_VALUE, OWNER_BYTES, Owner, VALUE_BYTES_MAX, corrupt, put_chain,
    stored_chains, stored_pairs, take_pair,
};
use crate::location::Location;
use crate::space::SpaceMap;
use crate::value_codec::{self, put_varint};
use crate::{Error, KeyId, Result, Value};

/// What becomes of the properties that a change does not name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Others {
    /// They stay as they are.
    Stay,
    /// They go.
    Go,
}

/// Refuses a value that no property can hold, before anything is written.
///
/// # Errors
/// [`Error::UnsupportedValue`], [`Error::TooLong`].
pub fn check_value(value: &Value) -> Result<()> {
    encode_value(value, &mut Vec::new())
}

/// Writes all properties (keys rising strictly; nulls are left out) of `owner`, in place of the record at `old`.
/// Gives where they are now: none if there are none.
///
/// # Errors
/// What the store says; [`Error::UnsupportedValue`], [`Error::TooLong`].
pub fn write_properties<W: PageWriter>(
    w: &mut W,
    space: &mut SpaceMap,
    owner: Owner,
    old: Option<Location>,
    properties: &[(KeyId, Value)],
) -> Result<Option<Location>> {
    let values = properties.iter().map(|(key, value)| (*key, value));
    change_properties(w, space, owner, old, Others::Go, values)
}

/// Sets some properties (keys rising strictly; null removes) of `owner`, whose record is at `old`. Gives where
/// the properties are now: none if there are none.
///
/// # Errors
/// What the store says; [`Error::Corrupt`] if the record contradicts itself; [`Error::UnsupportedValue`],
/// [`Error::TooLong`].
pub fn change_properties<'v, W: PageWriter>(
    w: &mut W,
    space: &mut SpaceMap,
    owner: Owner,
    old: Option<Location>,
    others: Others,
    values: impl IntoIterator<Item = (KeyId, &'v Value)>,
) -> Result<Option<Location>> {
    let mut values = values.into_iter().peekable();
    let mut new = NewPairs { w, last: None, bytes: Vec::new(), unused: Vec::new() };
    let mut chain_of_pairs = None;
    if let Some(at) = old {
        let (stored, chain) = stored_pairs(new.w, at)?;
        chain_of_pairs = chain;
        let (mut rest, mut last) = (&stored[..], None);
        while !rest.is_empty() {
            let pair = rest;
            let (key, value) = take_pair(&mut rest).map_err(|bad| corrupt(at, bad))?;
            if last.is_some_and(|last| last >= key) {
                return Err(Error::Corrupt { page: at.page, why: super::KEYS_DO_NOT_RISE });
            }
            last = Some(key);
            while let Some((key, value)) = values.next_if(|(new_key, _)| *new_key < key) {
                new.put(key, value, None)?;
            }
            match values.next_if(|(new_key, _)| *new_key == key) {
                Some((_, new_value)) => new.put(key, new_value, value.chain())?,
                None if others == Others::Stay => {
                    new.bytes.extend_from_slice(&pair[..pair.len() - rest.len()])
                }
                None => new.unused.extend(value.chain()),
            }
        }
    }
    for (key, value) in values {
        new.put(key, value, None)?;
    }
    new.finish(space, owner, old, chain_of_pairs)
}

/// Removes the record at `at` and its overflow pages.
///
/// # Errors
/// What the store says; [`Error::Corrupt`] if the record contradicts itself.
pub fn delete_properties<W: PageWriter>(w: &mut W, space: &mut SpaceMap, at: Location) -> Result<()> {
    for chain in stored_chains(w, at)? {
        overflow::free(w, chain)?;
    }
    space.remove(w, at)
}

/// The pairs of a record that is being made.
struct NewPairs<'w, W> {
    w: &'w mut W,
    /// The key that was put last.
    last: Option<KeyId>,
    bytes: Vec<u8>,
    /// Chains of the old record that the new one does without.
    unused: Vec<Chain>,
}

impl<W: PageWriter> NewPairs<'_, W> {
    /// Adds a pair, unless the value is null; `old` is the chain that holds the key's old value.
    fn put(&mut self, key: KeyId, value: &Value, old: Option<Chain>) -> Result<()> {
        assert!(self.last < Some(key), "property keys rise strictly");
        self.last = Some(key);
        if !value.is_null() {
            put_varint(&mut self.bytes, u64::from(key.0));
            let start = self.bytes.len();
            encode_value(value, &mut self.bytes)?;
            if self.bytes.len() - start > INLINE_VALUE_BYTES_MAX {
                let long = self.bytes.split_off(start);
                let chain = self.keep_or_write(old, &long)?;
                self.bytes.push(LONG_VALUE);
                put_chain(&mut self.bytes, chain);
                return Ok(());
            }
        }
        self.unused.extend(old);
        Ok(())
    }

    /// The old chain if it holds these bytes already; else a new one.
    fn keep_or_write(&mut self, old: Option<Chain>, bytes: &[u8]) -> Result<Chain> {
        if let Some(old) = old {
            if overflow::equals(self.w, old, bytes)? {
                return Ok(old);
            }
            self.unused.push(old);
        }
        overflow::write(self.w, bytes)
    }

    /// Puts the record where it belongs, and frees what is no longer pointed at. `chain` is that of the old pairs.
    fn finish(
        mut self,
        space: &mut SpaceMap,
        owner: Owner,
        old: Option<Location>,
        chain: Option<Chain>,
    ) -> Result<Option<Location>> {
        let record = self.record(owner, chain)?;
        let at = match (record, old) {
            (Some(record), Some(at)) => Some(space.replace(self.w, at, &record)?),
            (Some(record), None) => Some(space.insert(self.w, &record, None)?),
            (None, Some(at)) => {
                space.remove(self.w, at)?;
                None
            }
            (None, None) => None,
        };
        self.unused.into_iter().try_for_each(|chain| overflow::free(self.w, chain))?;
        Ok(at)
    }

    /// The record's bytes, if there are any pairs; those that fit no page go to a chain.
    fn record(&mut self, owner: Owner, chain: Option<Chain>) -> Result<Option<Vec<u8>>> {
        let pairs = std::mem::take(&mut self.bytes);
        let mut record = Vec::with_capacity(record::RECORD_BYTES_MAX.min(OWNER_BYTES + pairs.len()));
        if OWNER_BYTES + pairs.len() <= record::RECORD_BYTES_MAX {
            self.unused.extend(chain);
            owner.encode(0, &mut record);
            record.extend_from_slice(&pairs);
        } else {
            check_len("the sum of the short properties of a node or edge", pairs.len())?;
            let chain = self.keep_or_write(chain, &pairs)?;
            owner.encode(IN_CHAIN, &mut record);
            put_chain(&mut record, chain);
        }
        Ok((!pairs.is_empty()).then_some(record))
    }
}

fn encode_value(value: &Value, into: &mut Vec<u8>) -> Result<()> {
    let start = into.len();
    value_codec::encode(value, into)?;
    check_len("a property value", into.len() - start)
}

fn check_len(what: &'static str, bytes: usize) -> Result<()> {
    if bytes > VALUE_BYTES_MAX { Err(Error::TooLong { what, bytes, max: VALUE_BYTES_MAX }) } else { Ok(()) }
}
