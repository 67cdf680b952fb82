//! The ledger of imports: what makes them resumable.
//!
//! The group of a batch also records, under the import's name and the batch's number, what the batch was given.
//! Whoever is not sure whether a batch has arrived asks for it, or sends it again and gets the first answer.
//!
//! A B+tree; a key is the length of the name (1 byte), the name, the batch's number (8 bytes, big endian); a value is
//! kind (1 byte: 1 nodes, 2 edges), first slot (8), count (8), little endian.
//!
//! Invariant: a batch and its entry are there both or not at all.

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
    let why = "an entry of the import ledger is damaged";
    Imported::decode(&raw).map(Some).ok_or(Error::Corrupt { page: STATE_PAGE, why })
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

/// Forgets at most `max` entries of an import that is over. Returns how many there were.
///
/// # Errors
/// Of the store.
pub fn forget<W: PageWriter>(w: &mut W, import: &[u8], max: usize) -> Result<usize> {
    let prefix = ledger_key(import, None)?;
    let mut tree = ledger(w)?;
    let mut cursor = tree.cursor_before(&prefix);
    let mut keys = Vec::new();
    cursor.scan(w, |key, _| {
        if !key.starts_with(&prefix) || keys.len() == max {
            return ControlFlow::Break(());
        }
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    })?;
    for key in &keys {
        tree.remove(w, key)?;
    }
    store_ledger(w, &tree)?;
    Ok(keys.len())
}

/// The pages of the ledger: for the check of the whole file.
///
/// # Errors
/// Of the store.
pub fn for_each_page<R: PageReader>(r: &R, visit: impl FnMut(PageNo)) -> Result<()> {
    Ok(ledger(r)?.pages(r, visit)?)
}
