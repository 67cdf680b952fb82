//! The ledger of imports: what makes them resumable.
//!
//! The group of a batch also records, under the import's name and the batch's number, what the batch was given.
//! Whoever is not sure whether a batch has arrived asks for it, or sends it again and gets the first answer.
//!
//! A B+tree; a key is the length of the name (1 byte), the name, the batch's number (8 bytes, big endian); a value is
//! kind (1 byte: 1 nodes, 2 edges), first slot (8), count (8), little endian.
//!
//! An import that has ended leaves one entry in place of those of its batches: what it made. So whoever did not get
//! the answer to the end is not told that there is nothing, and does not load everything again. Its key is a zero,
//! which is no length of a name, and the name; its value is the place in the order of ends (8), batches (8), nodes (8)
//! and edges (8), little endian.
//!
//! Invariants:
//! 1. A batch and its entry are there both or not at all.
//! 2. Of one name there are entries of batches, or that of its end, or none.
//! 3. Of ends there are [`ENDED_MAX`] at most; the oldest goes first.

use std::ops::ControlFlow;

use graphite_store::btree::BTree;
use graphite_store::{PageNo, PageReader, PageWriter, STATE_PAGE};

use crate::import::Imported;
use crate::state;
use crate::{EdgeSlot, Error, NodeSlot, Result};

/// Bytes of the longest name of an import.
pub const IMPORT_NAME_BYTES_MAX: usize = 64;

const NODES: u8 = 1;
const EDGES: u8 = 2;
/// How many imports that have ended are remembered.
pub const ENDED_MAX: usize = 64;

/// Entries of batches that are looked up at once to be forgotten.
const FORGET_MAX: usize = 10_000;

/// Where the length of a name would be in the key of an end.
const END: u8 = 0;
/// Place in the order of ends, batches, nodes, edges.
const END_BYTES: usize = 4 * 8;

/// Kind, first slot, count.
const RECORD_BYTES: usize = 1 + 8 + 8;

impl Imported {
    fn encode(self) -> [u8; RECORD_BYTES] {
        let (kind, first, count) = match self {
            Imported::Nodes { first, count } => (NODES, first.0, count),
            Imported::Edges { first, count } => (EDGES, first.0, count),
        };
        let mut raw = [0; RECORD_BYTES];
        raw[0] = kind;
        raw[1..9].copy_from_slice(&first.to_le_bytes());
        raw[9..].copy_from_slice(&count.to_le_bytes());
        raw
    }

    fn decode(raw: &[u8]) -> Option<Imported> {
        let (&kind, rest) = raw.split_first()?;
        let (first, count) = rest.split_first_chunk::<8>()?;
        let first = u64::from_le_bytes(*first);
        let count = u64::from_le_bytes(count.try_into().ok()?);
        match kind {
            NODES => Some(Imported::Nodes { first: NodeSlot(first), count }),
            EDGES => Some(Imported::Edges { first: EdgeSlot(first), count }),
            _ => None,
        }
    }
}

/// What an import that has ended made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Batches that were applied.
    pub batches: u64,
    /// Nodes that they made.
    pub nodes: u64,
    /// Edges that they made.
    pub edges: u64,
}

impl Ended {
    fn add(&mut self, batch: Imported) {
        self.batches += 1;
        match batch {
            Imported::Nodes { count, .. } => self.nodes = self.nodes.saturating_add(count),
            Imported::Edges { count, .. } => self.edges = self.edges.saturating_add(count),
        }
    }

    fn encode(self, place: u64) -> [u8; END_BYTES] {
        let mut raw = [0; END_BYTES];
        for (into, number) in
            raw.as_chunks_mut::<8>().0.iter_mut().zip([place, self.batches, self.nodes, self.edges])
        {
            *into = number.to_le_bytes();
        }
        raw
    }

    /// The place in the order of ends, and what was made.
    fn decode(raw: &[u8]) -> Result<(u64, Ended)> {
        let raw: &[u8; END_BYTES] = raw.as_array().ok_or(DAMAGED)?;
        let mut numbers = raw.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
        let mut next = || numbers.next().unwrap_or_default();
        Ok((next(), Ended { batches: next(), nodes: next(), edges: next() }))
    }
}

const DAMAGED: Error = Error::Corrupt { page: STATE_PAGE, why: "an entry of the import ledger is damaged" };

/// What a ledger entry is found under: the import's name with its length before it, then the batch's number.
fn ledger_key(import: &[u8], batch: Option<u64>) -> Result<Vec<u8>> {
    let what = "the name of an import";
    if import.is_empty() {
        return Err(Error::EmptyName { what });
    }
    let (bytes, max) = (import.len(), IMPORT_NAME_BYTES_MAX);
    let len = u8::try_from(bytes).ok().filter(|_| bytes <= max);
    let len = len.ok_or(Error::TooLong { what, bytes, max })?;
    let mut key = vec![len];
    key.extend_from_slice(import);
    if let Some(batch) = batch {
        key.extend_from_slice(&batch.to_be_bytes());
    }
    Ok(key)
}

fn ledger<R: PageReader>(r: &R) -> Result<BTree> {
    let root = r.state(state::IMPORT_ROOT)?;
    let root = u32::try_from(root).map_err(|_| Error::Corrupt {
        page: STATE_PAGE,
        why: "the root of the import ledger is no page number",
    })?;
    Ok(BTree::new((root != 0).then_some(PageNo(root))))
}

fn store_ledger<W: PageWriter>(w: &mut W, tree: &BTree) -> Result<()> {
    let root = tree.root().map_or(0, |page| u64::from(page.0));
    if w.state(state::IMPORT_ROOT)? != root {
        w.set_state(state::IMPORT_ROOT, root)?;
    }
    Ok(())
}

/// What the batch of that number of an import was given, if it has arrived.
///
/// # Errors
/// Of the store; `TooLong` for a name that no import has.
pub fn status<R: PageReader>(r: &R, import: &[u8], batch: u64) -> Result<Option<Imported>> {
    let key = ledger_key(import, Some(batch))?;
    let Some(raw) = ledger(r)?.get(r, &key)? else { return Ok(None) };
    Imported::decode(&raw).map(Some).ok_or(DAMAGED)
}

/// Notes what a batch was given: in the batch's own turn.
///
/// # Errors
/// Of the store.
pub fn record<W: PageWriter>(w: &mut W, import: &[u8], batch: u64, what: Imported) -> Result<()> {
    let key = ledger_key(import, Some(batch))?;
    let mut tree = ledger(w)?;
    tree.insert(w, &key, &what.encode())?;
    store_ledger(w, &tree)
}

fn end_key(import: &[u8]) -> Result<Vec<u8>> {
    let mut key = ledger_key(import, None)?;
    key[0] = END;
    Ok(key)
}

/// What an import made, if it has ended and is remembered.
///
/// # Errors
/// Of the store; `TooLong` for a name that no import has.
pub fn ended<R: PageReader>(r: &R, import: &[u8]) -> Result<Option<Ended>> {
    let Some(raw) = ledger(r)?.get(r, &end_key(import)?)? else { return Ok(None) };
    Ended::decode(&raw).map(|(_, ended)| Some(ended))
}

/// Ends an import: what it made takes the place of its batches. `None`, and nothing changed, if it has no batches.
///
/// # Errors
/// Of the store.
pub fn end<W: PageWriter>(w: &mut W, import: &[u8]) -> Result<Option<Ended>> {
    let mut made = Ended::default();
    while forget_batches(w, import, &mut made)? == FORGET_MAX {}
    if made.batches == 0 {
        return Ok(None);
    }
    let mut tree = ledger(w)?;
    let mut known = Vec::new();
    tree.cursor_before(&[END]).scan(w, |key, raw| {
        if key.first() != Some(&END) {
            return ControlFlow::Break(());
        }
        known.push((key.to_vec(), raw.to_vec()));
        ControlFlow::Continue(())
    })?;
    let mut places = Vec::with_capacity(known.len());
    for (key, raw) in known {
        places.push((Ended::decode(&raw)?.0, key));
    }
    places.sort_unstable();
    let place = places.last().map_or(0, |(last, _)| last.saturating_add(1));
    let too_many = (places.len() + 1).saturating_sub(ENDED_MAX);
    for (_, key) in &places[..too_many] {
        tree.remove(w, key)?;
    }
    tree.insert(w, &end_key(import)?, &made.encode(place))?;
    store_ledger(w, &tree)?;
    Ok(Some(made))
}

/// Forgets that an import has ended, so that another of its name may begin.
///
/// # Errors
/// Of the store.
pub fn forget_end<W: PageWriter>(w: &mut W, import: &[u8]) -> Result<()> {
    let mut tree = ledger(w)?;
    tree.remove(w, &end_key(import)?)?;
    store_ledger(w, &tree)
}

/// Forgets some batches of an import, and adds up what they made. Returns how many there were: [`FORGET_MAX`] if there
/// may be more.
fn forget_batches<W: PageWriter>(w: &mut W, import: &[u8], made: &mut Ended) -> Result<usize> {
    let prefix = ledger_key(import, None)?;
    let mut tree = ledger(w)?;
    let mut found = Vec::new();
    tree.cursor_before(&prefix).scan(w, |key, raw| {
        if !key.starts_with(&prefix) || found.len() == FORGET_MAX {
            return ControlFlow::Break(());
        }
        found.push((key.to_vec(), Imported::decode(raw)));
        ControlFlow::Continue(())
    })?;
    for (key, batch) in &found {
        made.add(batch.ok_or(DAMAGED)?);
        tree.remove(w, key)?;
    }
    store_ledger(w, &tree)?;
    Ok(found.len())
}

/// The pages of the ledger: for the check of the whole file.
///
/// # Errors
/// Of the store.
pub fn for_each_page<R: PageReader>(r: &R, visit: impl FnMut(PageNo)) -> Result<()> {
    Ok(ledger(r)?.pages(r, visit)?)
}
