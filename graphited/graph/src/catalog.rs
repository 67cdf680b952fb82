//! Dictionaries: the numbers of labels, edge types, property keys and label sets.
//!
//! On disk a B+tree, append-only. A key is a kind byte, the number as u32 and a piece number as u16, both big
//! endian; its value is a piece of the name, of at most `PIECE_BYTES_MAX`. All pieces but the last are full,
//! and the last is not, so a name whose length is a multiple ends in an empty piece. Of a label set the "name"
//! is its label numbers, u32 little endian, rising.
//!
//! | kind | what |
//! |---|---|
//! | 1 | label |
//! | 2 | edge type |
//! | 3 | property key |
//! | 4 | label set |
//!
//! Invariants:
//! 1. The numbers of a kind are dense from 0, or from 1 for label sets: set 0 is the empty one and never stored.
//! 2. No two numbers of a kind stand for the same thing; no name is empty.
//! 3. A label set names labels that exist.
//!
//! In memory a [`Catalog`] is a value: whoever holds one sees it unchanged while others add to theirs. A clone
//! shares the dictionaries, and adding copies the one that it adds to if it is shared.

mod dictionary;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use graphite_store::btree::BTree;
use graphite_store::{PageNo, PageReader, PageWriter, STATE_PAGE};

use crate::{Error, KeyId, LabelId, LabelSetId, Result, TypeId, state};
use dictionary::Dictionary;

/// The empty label set: there from the start, never stored.
pub const NO_LABELS: LabelSetId = LabelSetId(0);
/// Longest name of a label, type or key, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 65_535;
/// Most edge types: their numbers have 16 bits on disk.
pub const TYPES_MAX: u32 = 65_535;
/// Most labels, property keys and label sets, of each.
pub const NAMES_MAX: u32 = 1 << 24;
/// Most labels in a set.
pub const SET_LABELS_MAX: usize = 4096;

/// Longest piece of a name in the tree.
const PIECE_BYTES_MAX: usize = 1024;
const _: () = assert!(PIECE_BYTES_MAX <= graphite_store::btree::VALUE_BYTES_MAX);
const KEY_BYTES: usize = 7;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Kind {
    Label = 1,
    Type = 2,
    Key = 3,
    LabelSet = 4,
}

impl Kind {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Kind::Label => ("a label", "labels"),
            Kind::Type => ("an edge type", "edge types"),
            Kind::Key => ("a property key", "property keys"),
            Kind::LabelSet => ("a label set", "label sets"),
        }
    }

    fn max(self) -> u32 {
        if self == Kind::Type { TYPES_MAX } else { NAMES_MAX }
    }
}

/// All names of a database, as they were at some moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalog {
    labels: Arc<Dictionary<str>>,
    types: Arc<Dictionary<str>>,
    keys: Arc<Dictionary<str>>,
    label_sets: Arc<Dictionary<[LabelId]>>,
}

impl Default for Catalog {
    /// That of a new database.
    fn default() -> Catalog {
        let mut label_sets = Dictionary::default();
        label_sets.add(Arc::from([]));
        Catalog {
            labels: Arc::default(),
            types: Arc::default(),
            keys: Arc::default(),
            label_sets: Arc::new(label_sets),
        }
    }
}

impl Catalog {
    /// Reads all dictionaries.
    ///
    /// # Errors
    /// What the store says; [`Error::Corrupt`] if an invariant is broken.
    pub fn load<R: PageReader>(r: &R) -> Result<Catalog> {
        let mut catalog = Catalog::default();
        catalog.fill(r).map(|()| catalog)
    }

    /// The names up to the first that cannot be read, and why there are no more.
    pub fn load_readable<R: PageReader>(r: &R) -> (Catalog, Option<Error>) {
        let mut catalog = Catalog::default();
        let read = catalog.fill(r);
        (catalog, read.err())
    }

    fn fill<R: PageReader>(&mut self, r: &R) -> Result<()> {
        let tree = read_root(r)?;
        let page = tree.root().unwrap_or(STATE_PAGE);
        let (mut name, mut problem) = (Vec::new(), None);
        tree.cursor_at_start().scan(r, |key, piece| match self.add_piece(key, piece, &mut name) {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => {
                problem = Some(why);
                ControlFlow::Break(())
            }
        })?;
        if problem.is_none() && !name.is_empty() {
            problem = Some("the last name of the catalog is cut off");
        }
        problem.map_or(Ok(()), |why| Err(Error::Corrupt { page, why }))
    }

    /// The label of that name.
    pub fn label_id(&self, name: &str) -> Option<LabelId> {
        self.labels.number(name).map(LabelId)
    }

    /// A label's name.
    pub fn label_name(&self, id: LabelId) -> Option<&str> {
        self.labels.get(id.0)
    }

    /// Number of labels; they are `0..count`.
    pub fn label_count(&self) -> u32 {
        self.labels.next()
    }

    /// The edge type of that name.
    pub fn type_id(&self, name: &str) -> Option<TypeId> {
        self.types.number(name).map(TypeId)
    }

    /// An edge type's name.
    pub fn type_name(&self, id: TypeId) -> Option<&str> {
        self.types.get(id.0)
    }

    /// Number of edge types; they are `0..count`.
    pub fn type_count(&self) -> u32 {
        self.types.next()
    }

    /// The property key of that name.
    pub fn key_id(&self, name: &str) -> Option<KeyId> {
        self.keys.number(name).map(KeyId)
    }

    /// A property key's name.
    pub fn key_name(&self, id: KeyId) -> Option<&str> {
        self.keys.get(id.0)
    }

    /// Number of property keys; they are `0..count`.
    pub fn key_count(&self) -> u32 {
        self.keys.next()
    }

    /// The set of these labels, which rise strictly.
    pub fn label_set(&self, labels: &[LabelId]) -> Option<LabelSetId> {
        self.label_sets.number(labels).map(LabelSetId)
    }

    /// The labels of a set, rising. None if there is no such set; what named it is damaged then.
    pub fn labels_of(&self, set: LabelSetId) -> Option<&[LabelId]> {
        self.label_sets.get(set.0)
    }

    /// Number of label sets, the empty one included; they are `0..count`.
    pub fn label_set_count(&self) -> u32 {
        self.label_sets.next()
    }

    /// The label of that name; made if there is none.
    ///
    /// # Errors
    /// What the store says; [`Error::EmptyName`], [`Error::TooLong`], [`Error::TooMany`].
    pub fn add_label<W: PageWriter>(&mut self, w: &mut W, name: &str) -> Result<LabelId> {
        add_name(w, Kind::Label, &mut self.labels, name).map(LabelId)
    }

    /// The edge type of that name; made if there is none.
    ///
    /// # Errors
    /// As [`Catalog::add_label`].
    pub fn add_type<W: PageWriter>(&mut self, w: &mut W, name: &str) -> Result<TypeId> {
        add_name(w, Kind::Type, &mut self.types, name).map(TypeId)
    }

    /// The property key of that name; made if there is none.
    ///
    /// # Errors
    /// As [`Catalog::add_label`].
    pub fn add_key<W: PageWriter>(&mut self, w: &mut W, name: &str) -> Result<KeyId> {
        add_name(w, Kind::Key, &mut self.keys, name).map(KeyId)
    }

    /// The set of these labels, which come in any order and may repeat; made if there is none.
    ///
    /// # Errors
    /// What the store says; [`Error::TooMany`].
    pub fn add_label_set<W: PageWriter>(&mut self, w: &mut W, labels: &[LabelId]) -> Result<LabelSetId> {
        let mut labels = labels.to_vec();
        labels.sort_unstable();
        labels.dedup();
        if let Some(number) = self.label_sets.number(&labels) {
            return Ok(LabelSetId(number));
        }
        assert!(labels.iter().all(|label| label.0 < self.label_count()), "a set is of labels that exist");
        if labels.len() > SET_LABELS_MAX {
            return Err(Error::TooMany { what: "labels on a node", max: SET_LABELS_MAX as u64 });
        }
        let bytes: Vec<u8> = labels.iter().flat_map(|label| label.0.to_le_bytes()).collect();
        let number = append(w, Kind::LabelSet, self.label_sets.next(), &bytes)?;
        Arc::make_mut(&mut self.label_sets).add(Arc::from(labels));
        Ok(LabelSetId(number))
    }

    /// Takes the next entry of the tree. `name` has the pieces of a name that is not complete yet.
    fn add_piece(&mut self, key: &[u8], piece: &[u8], name: &mut Vec<u8>) -> Result<(), &'static str> {
        let key: &[u8; KEY_BYTES] = key.as_array().ok_or("a key of the catalog has another length")?;
        let number = u32::from_be_bytes([key[1], key[2], key[3], key[4]]);
        let part = usize::from(u16::from_be_bytes([key[5], key[6]]));
        let next = match key[0] {
            1 => self.labels.next(),
            2 => self.types.next(),
            3 => self.keys.next(),
            4 => self.label_sets.next(),
            _ => return Err("the catalog has an entry of an unknown kind"),
        };
        if number != next || part * PIECE_BYTES_MAX != name.len() || piece.len() > PIECE_BYTES_MAX {
            return Err("the numbers of the catalog have a gap");
        }
        name.extend_from_slice(piece);
        if piece.len() == PIECE_BYTES_MAX {
            return Ok(());
        }
        let added = match key[0] {
            1 => Arc::make_mut(&mut self.labels).add(name_of(name)?),
            2 => Arc::make_mut(&mut self.types).add(name_of(name)?),
            3 => Arc::make_mut(&mut self.keys).add(name_of(name)?),
            _ => {
                let labels = labels_of(name, self.labels.next())?;
                Arc::make_mut(&mut self.label_sets).add(labels)
            }
        };
        name.clear();
        if added { Ok(()) } else { Err("the catalog has a name twice") }
    }
}

/// Shows the pages that the catalog owns.
///
/// # Errors
/// What the store says.
pub fn visit_catalog_pages<R: PageReader>(r: &R, owned: &mut dyn FnMut(PageNo)) -> Result<()> {
    Ok(read_root(r)?.pages(r, owned)?)
}

fn name_of(bytes: &[u8]) -> Result<Arc<str>, &'static str> {
    match std::str::from_utf8(bytes) {
        Ok(name) if !name.is_empty() => Ok(Arc::from(name)),
        _ => Err("a name in the catalog is empty or not UTF-8"),
    }
}

fn labels_of(bytes: &[u8], count: u32) -> Result<Arc<[LabelId]>, &'static str> {
    let (raw, rest) = bytes.as_chunks::<4>();
    let labels: Arc<[LabelId]> = raw.iter().map(|raw| LabelId(u32::from_le_bytes(*raw))).collect();
    let rising = labels.is_sorted_by(|a, b| a < b) && labels.last().is_some_and(|last| last.0 < count);
    if rest.is_empty() && rising { Ok(labels) } else { Err("a label set names labels that do not exist") }
}

fn read_root<R: PageReader>(r: &R) -> Result<BTree> {
    const WHY: &str = "the root of the catalog makes no sense";
    match u32::try_from(r.state(state::CATALOG_ROOT)?) {
        Ok(0) => Ok(BTree::new(None)),
        Ok(root) => Ok(BTree::new(Some(PageNo(root)))),
        Err(_) => Err(Error::Corrupt { page: STATE_PAGE, why: WHY }),
    }
}

fn add_name<W: PageWriter>(
    w: &mut W,
    kind: Kind,
    dictionary: &mut Arc<Dictionary<str>>,
    name: &str,
) -> Result<u32> {
    if let Some(number) = dictionary.number(name) {
        return Ok(number);
    }
    let (what, _) = kind.words();
    if name.is_empty() {
        return Err(Error::EmptyName { what });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::TooLong { what, bytes: name.len(), max: NAME_BYTES_MAX });
    }
    let number = append(w, kind, dictionary.next(), name.as_bytes())?;
    Arc::make_mut(dictionary).add(Arc::from(name));
    Ok(number)
}

/// Writes the pieces of a new entry into the tree.
fn append<W: PageWriter>(w: &mut W, kind: Kind, number: u32, bytes: &[u8]) -> Result<u32> {
    if number >= kind.max() {
        return Err(Error::TooMany { what: kind.words().1, max: u64::from(kind.max()) });
    }
    let mut tree = read_root(w)?;
    for part in 0..=bytes.len() / PIECE_BYTES_MAX {
        let from = part * PIECE_BYTES_MAX;
        let piece = &bytes[from..bytes.len().min(from + PIECE_BYTES_MAX)];
        let part = u16::try_from(part).expect("a name has few pieces");
        let mut key = [0; KEY_BYTES];
        key[0] = kind as u8;
        key[1..5].copy_from_slice(&number.to_be_bytes());
        key[5..].copy_from_slice(&part.to_be_bytes());
        tree.insert(w, &key, piece)?;
    }
    w.set_state(state::CATALOG_ROOT, u64::from(tree.root().map_or(0, |root| root.0)))?;
    Ok(number)
}
