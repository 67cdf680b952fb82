//! Property records: all properties of one node or edge, in a slotted page.
//!
//! A record (little endian; varints and values as in `value_codec`):
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | owner: 0 a node, 1 an edge; plus 128 if the pairs are in a chain |
//! | 1 | 6 | owner's slot |
//! | 7 | ... | the pairs, or length (varint) and first page (u32) of the chain that they are in |
//!
//! A pair is a key (varint) and a value. In place of a value longer than [`INLINE_VALUE_BYTES_MAX`] there is tag
//! 14, its length (varint) and the first page (u32) of the chain that it is in.
//!
//! Invariants:
//! 1. Keys rise strictly; no value is null: a null property is one that is not there. No record is without pairs.
//! 2. A record has one owner, which points at it and which it names; a chain is pointed at by one record.
//! 3. A long value that a write leaves as it was keeps its chain, so changing a small property next to it costs
//!    no more than the small one.

mod overflow;
#[cfg(test)]
mod tests;

use graphite_store::{Page, PageKind, PageNo, PageReader, PageWriter, record};

use crate::location::Location;
use crate::space::SpaceMap;
use crate::value_codec::{self, BadValue, put_varint, take_byte, take_varint};
use crate::{EdgeSlot, Error, KeyId, NodeSlot, Result, Value};
use overflow::Chain;

/// Longest value that a property may hold, in its stored form; and the longest chain.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// Longest value that is kept in the record. Half a page: longer ones waste no more in a page of their own than
/// they would in a slotted one.
pub const INLINE_VALUE_BYTES_MAX: usize = 4000;

const OWNER_BYTES: usize = 7;
const EDGE: u8 = 1;
const IN_CHAIN: u8 = 0x80;
/// In place of a value: it is in a chain.
const LONG_VALUE: u8 = 14;

/// Whose properties a record holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A node's.
    Node(NodeSlot),
    /// An edge's.
    Edge(EdgeSlot),
}

impl Owner {
    fn encode(self, flags: u8, into: &mut Vec<u8>) {
        let (kind, slot) = match self {
            Owner::Node(slot) => (0, slot.0),
            Owner::Edge(slot) => (EDGE, slot.0),
        };
        into.push(kind | flags);
        into.extend_from_slice(&slot.to_le_bytes()[..OWNER_BYTES - 1]);
    }

    /// The owner, and whether the pairs are in a chain.
    fn take(bytes: &mut &[u8]) -> Result<(Owner, bool), BadValue> {
        const BAD: BadValue = BadValue("a property record names no owner");
        let raw: &[u8; OWNER_BYTES] = bytes.split_off(..OWNER_BYTES).and_then(<[u8]>::as_array).ok_or(BAD)?;
        let slot = u64::from_le_bytes([raw[1], raw[2], raw[3], raw[4], raw[5], raw[6], 0, 0]);
        let owner = match raw[0] & !IN_CHAIN {
            0 => Owner::Node(NodeSlot(slot)),
            EDGE => Owner::Edge(EdgeSlot(slot)),
            _ => return Err(BAD),
        };
        Ok((owner, raw[0] & IN_CHAIN != 0))
    }
}

/// A value as its pair has it.
enum Stored<'a> {
    Inline(&'a [u8]),
    Chain(Chain),
}

/// All properties of the record at `at`, by rising key.
///
/// # Errors
/// What the store says; [`Error::Corrupt`] if the record contradicts itself.
pub fn read_properties<R: PageReader>(r: &R, at: Location) -> Result<Vec<(KeyId, Value)>> {
    let mut properties = Vec::new();
    each_pair(r, at, |key, stored| {
        properties.push((key, load(r, at, stored)?));
        Ok(true)
    })?;
    Ok(properties)
}

/// Property `key` of the record at `at`; no other is decoded.
///
/// # Errors
/// As [`read_properties`].
pub fn read_property<R: PageReader>(r: &R, at: Location, key: KeyId) -> Result<Option<Value>> {
    let mut value = None;
    each_pair(r, at, |found, stored| {
        if found == key {
            value = Some(load(r, at, stored)?);
        }
        Ok(found < key)
    })?;
    Ok(value)
}

/// Whose record it is.
///
/// # Errors
/// As [`read_properties`].
pub fn read_owner<R: PageReader>(r: &R, at: Location) -> Result<Owner> {
    let page = r.page_of(at.page, PageKind::Record)?;
    let (owner, _) = Owner::take(&mut record_at(&page, at)?).map_err(|bad| corrupt(at, bad))?;
    Ok(owner)
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
    assert!(properties.is_sorted_by(|(a, _), (b, _)| a < b), "property keys rise strictly");
    let mut chains = match old {
        Some(at) => Chains::of(w, at)?,
        None => Chains::default(),
    };
    let mut pairs = Vec::new();
    let mut long = Vec::new();
    for (key, value) in properties.iter().filter(|(_, value)| !value.is_null()) {
        put_varint(&mut pairs, u64::from(key.0));
        let start = pairs.len();
        encode_value(value, &mut pairs)?;
        if pairs.len() - start > INLINE_VALUE_BYTES_MAX {
            long.clear();
            long.extend(pairs.drain(start..));
            let chain = chains.keep_or_write(w, Some(*key), &long)?;
            pairs.push(LONG_VALUE);
            put_chain(&mut pairs, chain);
        }
    }
    let at = if pairs.is_empty() {
        if let Some(at) = old {
            space.remove(w, at)?;
        }
        None
    } else {
        let record = finish_record(w, &mut chains, owner, &pairs)?;
        Some(match old {
            Some(at) => space.replace(w, at, &record)?,
            None => space.insert(w, &record, None)?,
        })
    };
    chains.free(w)?;
    Ok(at)
}

/// Removes the record at `at` and its overflow pages.
///
/// # Errors
/// As [`read_properties`].
pub fn delete_properties<W: PageWriter>(w: &mut W, space: &mut SpaceMap, at: Location) -> Result<()> {
    Chains::of(w, at)?.free(w)?;
    space.remove(w, at)
}

/// Proves the record at `at`: that it is `owner`'s, and that every value can be read. Tells `owned` the overflow
/// pages that it owns.
///
/// # Errors
/// The first contradiction.
pub fn check_properties<R: PageReader>(
    r: &R,
    at: Location,
    owner: Owner,
    owned: &mut dyn FnMut(PageNo),
) -> Result<()> {
    if read_owner(r, at)? != owner {
        return Err(Error::Corrupt { page: at.page, why: "a property record is another's" });
    }
    let chains = Chains::of(r, at)?;
    for (_, chain) in &chains.0 {
        overflow::walk(r, *chain, |page, _| {
            owned(page);
            Ok(())
        })?;
    }
    let properties = read_properties(r, at)?;
    let rising = properties.is_sorted_by(|(a, _), (b, _)| a < b);
    if properties.is_empty() || !rising || properties.iter().any(|(_, value)| value.is_null()) {
        return Err(Error::Corrupt { page: at.page, why: "the keys of a property record do not rise" });
    }
    Ok(())
}

fn corrupt(at: Location, bad: BadValue) -> Error {
    Error::Corrupt { page: at.page, why: bad.0 }
}

fn record_at(page: &Page, at: Location) -> Result<&[u8]> {
    record::get(page, at.slot)
        .ok_or(Error::Corrupt { page: at.page, why: "a property record that is pointed at is not there" })
}

fn encode_value(value: &Value, into: &mut Vec<u8>) -> Result<()> {
    let start = into.len();
    value_codec::encode(value, into)?;
    check_len("a property value", into.len() - start)
}

fn check_len(what: &'static str, bytes: usize) -> Result<()> {
    if bytes > VALUE_BYTES_MAX { Err(Error::TooLong { what, bytes, max: VALUE_BYTES_MAX }) } else { Ok(()) }
}

fn load<R: PageReader>(r: &R, at: Location, stored: Stored<'_>) -> Result<Value> {
    let long;
    let mut bytes = match stored {
        Stored::Inline(bytes) => bytes,
        Stored::Chain(chain) => {
            long = overflow::read(r, chain)?;
            &long
        }
    };
    value_codec::decode(&mut bytes).map_err(|bad| corrupt(at, bad))
}

/// Shows the pairs of a record until `visit` says stop (false). Gives the chain that they are in, if any.
fn each_pair<R: PageReader>(
    r: &R,
    at: Location,
    mut visit: impl FnMut(KeyId, Stored<'_>) -> Result<bool>,
) -> Result<Option<Chain>> {
    let page = r.page_of(at.page, PageKind::Record)?;
    let mut bytes = record_at(&page, at)?;
    let (_, in_chain) = Owner::take(&mut bytes).map_err(|bad| corrupt(at, bad))?;
    let mut chain = None;
    let long;
    if in_chain {
        let found = take_chain(&mut bytes).map_err(|bad| corrupt(at, bad))?;
        long = overflow::read(r, found)?;
        bytes = &long;
        chain = Some(found);
    }
    while !bytes.is_empty() {
        let (key, stored) = take_pair(&mut bytes).map_err(|bad| corrupt(at, bad))?;
        if !visit(key, stored)? {
            break;
        }
    }
    Ok(chain)
}

fn take_pair<'a>(bytes: &mut &'a [u8]) -> Result<(KeyId, Stored<'a>), BadValue> {
    let key = u32::try_from(take_varint(bytes)?).map_err(|_| BadValue("a property key is out of range"))?;
    if bytes.first() == Some(&LONG_VALUE) {
        take_byte(bytes)?;
        return Ok((KeyId(key), Stored::Chain(take_chain(bytes)?)));
    }
    let start = *bytes;
    value_codec::skip(bytes)?;
    Ok((KeyId(key), Stored::Inline(&start[..start.len() - bytes.len()])))
}

fn put_chain(into: &mut Vec<u8>, chain: Chain) {
    put_varint(into, chain.len as u64);
    into.extend_from_slice(&chain.first.0.to_le_bytes());
}

fn take_chain(bytes: &mut &[u8]) -> Result<Chain, BadValue> {
    const BAD: BadValue = BadValue("a pointer to overflow pages makes no sense");
    let len = usize::try_from(take_varint(bytes)?).map_err(|_| BAD)?;
    let raw: &[u8; 4] = bytes.split_off(..4).and_then(<[u8]>::as_array).ok_or(BAD)?;
    let first = PageNo(u32::from_le_bytes(*raw));
    if len == 0 || len > VALUE_BYTES_MAX || first.0 == 0 { Err(BAD) } else { Ok(Chain { first, len }) }
}

/// The record's bytes; pairs that fit no page go to a chain.
fn finish_record<W: PageWriter>(
    w: &mut W,
    chains: &mut Chains,
    owner: Owner,
    pairs: &[u8],
) -> Result<Vec<u8>> {
    let mut record = Vec::with_capacity(OWNER_BYTES + pairs.len());
    if OWNER_BYTES + pairs.len() <= record::RECORD_BYTES_MAX {
        owner.encode(0, &mut record);
        record.extend_from_slice(pairs);
    } else {
        check_len("the sum of the short properties of a node or edge", pairs.len())?;
        owner.encode(IN_CHAIN, &mut record);
        put_chain(&mut record, chains.keep_or_write(w, None, pairs)?);
    }
    Ok(record)
}

/// The chains of a record before it is written anew, by key; that of the pairs has none.
#[derive(Default)]
struct Chains(Vec<(Option<KeyId>, Chain)>);

impl Chains {
    fn of<R: PageReader>(r: &R, at: Location) -> Result<Chains> {
        let mut chains = Chains::default();
        let of_pairs = each_pair(r, at, |key, stored| {
            if let Stored::Chain(chain) = stored {
                chains.0.push((Some(key), chain));
            }
            Ok(true)
        })?;
        chains.0.extend(of_pairs.map(|chain| (None, chain)));
        Ok(chains)
    }

    /// The chain of `key` if it holds these bytes already; else a new one.
    fn keep_or_write<W: PageWriter>(&mut self, w: &mut W, key: Option<KeyId>, bytes: &[u8]) -> Result<Chain> {
        if let Some(index) = self.0.iter().position(|(old, _)| *old == key)
            && overflow::equals(w, self.0[index].1, bytes)?
        {
            return Ok(self.0.swap_remove(index).1);
        }
        overflow::write(w, bytes)
    }

    /// Frees those that were not kept.
    fn free<W: PageWriter>(self, w: &mut W) -> Result<()> {
        self.0.into_iter().try_for_each(|(_, chain)| overflow::free(w, chain))
    }
}
