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
//! 3. A long value that a change leaves as it was keeps its chain, unread if the change does not name it. So changing
//!    a small property next to it costs no more than the small one.

mod change;
mod overflow;
#[cfg(test)]
mod tests;

use graphite_store::{Page, PageKind, PageNo, PageReader, record};

pub use self::change::{Others, change_properties, check_value, delete_properties, write_properties};
use self::overflow::Chain;
use crate::location::Location;
use crate::value_codec::{self, BadValue, Seen, put_varint, take_byte, take_varint};
use crate::{EdgeSlot, Error, KeyId, NodeSlot, Result, Value};

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

const KEYS_DO_NOT_RISE: &str = "the keys of a property record do not rise";

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

impl Stored<'_> {
    fn chain(&self) -> Option<Chain> {
        match self {
            Stored::Inline(_) => None,
            Stored::Chain(chain) => Some(*chain),
        }
    }
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

/// Shows all properties of the record at `at`, by rising key, until `show` says stop (false). Returns whether it did
/// not.
///
/// # Errors
/// As [`read_properties`].
pub fn show_properties<R: PageReader>(
    r: &R,
    at: Location,
    mut show: impl FnMut(KeyId, Seen<'_>) -> bool,
) -> Result<bool> {
    let mut is_whole = true;
    each_pair(r, at, |key, stored| {
        is_whole = match stored {
            Stored::Inline(mut bytes) => {
                show(key, value_codec::look(&mut bytes).map_err(|bad| corrupt(at, bad))?)
            }
            chain @ Stored::Chain(_) => show(key, Seen::Value(load(r, at, chain)?)),
        };
        Ok(is_whole)
    })?;
    Ok(is_whole)
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
    let page = r.page_of(at.page, PageKind::Record)?;
    let mut bytes = record_at(&page, at)?;
    let (found, in_chain) = Owner::take(&mut bytes).map_err(|bad| corrupt(at, bad))?;
    if found != owner {
        return Err(Error::Corrupt { page: at.page, why: "a property record is another's" });
    }
    if !in_chain {
        return check_pairs(r, at, bytes, owned);
    }
    let chain = take_chain(&mut bytes).map_err(|bad| corrupt(at, bad))?;
    check_pairs(r, at, &read_owned(r, chain, owned)?, owned)
}

/// Proves the pairs of a record. Most are small, and nothing is made of these.
fn check_pairs<R: PageReader>(
    r: &R,
    at: Location,
    mut pairs: &[u8],
    owned: &mut dyn FnMut(PageNo),
) -> Result<()> {
    let (mut before, mut in_order) = (None, !pairs.is_empty());
    while !pairs.is_empty() {
        let (key, stored) = take_pair(&mut pairs).map_err(|bad| corrupt(at, bad))?;
        let long;
        let mut bytes = match stored {
            Stored::Inline(bytes) => bytes,
            Stored::Chain(chain) => {
                long = read_owned(r, chain, owned)?;
                &long
            }
        };
        let seen = value_codec::look(&mut bytes).map_err(|bad| corrupt(at, bad))?;
        in_order &= before < Some(key) && !matches!(seen, Seen::Value(Value::Null));
        before = Some(key);
    }
    if in_order { Ok(()) } else { Err(Error::Corrupt { page: at.page, why: KEYS_DO_NOT_RISE }) }
}

/// The bytes of a chain, whose pages are told to `owned`.
fn read_owned<R: PageReader>(r: &R, chain: Chain, owned: &mut dyn FnMut(PageNo)) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    overflow::walk(r, chain, |page, chunk| {
        owned(page);
        bytes.extend_from_slice(chunk);
        Ok(())
    })?;
    Ok(bytes)
}

/// The properties of `owner`'s record at `at` that can be read. What is damaged is told to `lost`, with its key if that is
/// known.
///
/// # Errors
/// What is no damage.
pub fn readable_properties<R: PageReader>(
    r: &R,
    at: Location,
    owner: Owner,
    lost: &mut dyn FnMut(Option<KeyId>, Error),
) -> Result<Vec<(KeyId, Value)>> {
    let mut properties = Vec::new();
    let read = read_owner(r, at).and_then(|found| {
        if found != owner {
            return Err(Error::Corrupt { page: at.page, why: "a property record is another's" });
        }
        each_pair(r, at, |key, stored| {
            match load(r, at, stored) {
                Ok(value) => properties.push((key, value)),
                Err(error) if error.is_damage() => lost(Some(key), error),
                Err(error) => return Err(error),
            }
            Ok(true)
        })
    });
    match read {
        Err(error) if error.is_damage() => lost(None, error),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    Ok(properties)
}

fn corrupt(at: Location, bad: BadValue) -> Error {
    Error::Corrupt { page: at.page, why: bad.0 }
}

fn record_at(page: &Page, at: Location) -> Result<&[u8]> {
    record::get(page, at.slot)
        .ok_or(Error::Corrupt { page: at.page, why: "a property record that is pointed at is not there" })
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

/// Calls `look` with the stored pairs of a record, and the chain that they are in, if any.
fn with_pairs<R: PageReader, T>(
    r: &R,
    at: Location,
    look: impl FnOnce(&[u8], Option<Chain>) -> Result<T>,
) -> Result<T> {
    let page = r.page_of(at.page, PageKind::Record)?;
    let mut bytes = record_at(&page, at)?;
    let (_, in_chain) = Owner::take(&mut bytes).map_err(|bad| corrupt(at, bad))?;
    if !in_chain {
        return look(bytes, None);
    }
    let chain = take_chain(&mut bytes).map_err(|bad| corrupt(at, bad))?;
    look(&overflow::read(r, chain)?, Some(chain))
}

/// Shows the pairs of a record until `visit` says stop (false). Gives the chain that they are in, if any.
fn each_pair<R: PageReader>(
    r: &R,
    at: Location,
    mut visit: impl FnMut(KeyId, Stored<'_>) -> Result<bool>,
) -> Result<Option<Chain>> {
    with_pairs(r, at, |mut bytes, chain| {
        while !bytes.is_empty() {
            let (key, stored) = take_pair(&mut bytes).map_err(|bad| corrupt(at, bad))?;
            if !visit(key, stored)? {
                break;
            }
        }
        Ok(chain)
    })
}

/// A copy of the stored pairs of a record, and the chain that they are in, if any.
fn stored_pairs<R: PageReader>(r: &R, at: Location) -> Result<(Vec<u8>, Option<Chain>)> {
    with_pairs(r, at, |bytes, chain| Ok((bytes.to_vec(), chain)))
}

/// All chains of a record: those of its long values, and that of the pairs.
fn stored_chains<R: PageReader>(r: &R, at: Location) -> Result<Vec<Chain>> {
    let mut chains = Vec::new();
    let of_pairs = each_pair(r, at, |_, stored| {
        chains.extend(stored.chain());
        Ok(true)
    })?;
    chains.extend(of_pairs);
    Ok(chains)
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
