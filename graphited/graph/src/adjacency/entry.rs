//! One adjacency entry, runs of entries, and the word that says whose they are.
//!
//! An entry is 12 bytes, little endian: neighbour slot (6), edge slot (6). So the neighbour is the low 48 bits of
//! the 8 bytes at 0, and the edge the high 48 bits of the 8 bytes at 4: two plain loads, no loop, and none reaches
//! outside of the entry.
//!
//! An owner word is 8 bytes, little endian: bits 0..48 node slot, bits 48..63 a number that belongs to the block or
//! page that the word begins, bit 63 the side (1: incoming edges).

use std::iter::FusedIterator;

use crate::ids::{Direction, EdgeSlot, NodeSlot, SLOT_MAX, TypeId};

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 12;
/// Bytes of an owner word.
pub(super) const OWNER_BYTES: usize = 8;

const SLOT_BITS: u32 = 48;
/// Largest number that an owner word can carry besides the owner.
pub(super) const OWNER_NUMBER_MAX: u16 = 0x7fff;
const INCOMING: u64 = 1 << 63;
const NUMBER_MASK: u64 = (OWNER_NUMBER_MAX as u64) << SLOT_BITS;

/// One edge as seen from one of its ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Entry {
    /// The node at the other end; for a loop the node itself.
    pub neighbour: NodeSlot,
    /// The edge. It tells parallel edges apart.
    pub edge: EdgeSlot,
}

/// What adjacency is sorted by: type, neighbour, edge.
pub type Key = (TypeId, Entry);

impl Entry {
    pub(super) const MIN: Entry = Entry { neighbour: NodeSlot(0), edge: EdgeSlot(0) };

    /// The bytes on disk.
    #[inline]
    pub fn encode(self) -> [u8; ENTRY_BYTES] {
        debug_assert!(self.neighbour.0 <= SLOT_MAX && self.edge.0 <= SLOT_MAX);
        let mut raw = [0; ENTRY_BYTES];
        raw[..8].copy_from_slice(&(self.neighbour.0 | self.edge.0 << SLOT_BITS).to_le_bytes());
        raw[4..].copy_from_slice(&(self.edge.0 << 16 | self.neighbour.0 >> 32).to_le_bytes());
        raw
    }

    /// The inverse of [`Entry::encode`].
    #[inline]
    pub fn decode(raw: &[u8; ENTRY_BYTES]) -> Entry {
        Entry { neighbour: neighbour(raw), edge: edge(raw) }
    }
}

#[inline]
fn neighbour(raw: &[u8; ENTRY_BYTES]) -> NodeSlot {
    let [a, b, c, d, e, f, g, h, ..] = *raw;
    NodeSlot(u64::from_le_bytes([a, b, c, d, e, f, g, h]) & SLOT_MAX)
}

#[inline]
fn edge(raw: &[u8; ENTRY_BYTES]) -> EdgeSlot {
    let [.., a, b, c, d, e, f, g, h] = *raw;
    EdgeSlot(u64::from_le_bytes([a, b, c, d, e, f, g, h]) >> 16)
}

/// A run of entries of one type as it lies in its page: sorted by neighbour, then edge. Copying it copies no entry.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    raw: &'a [[u8; ENTRY_BYTES]],
}

impl<'a> Entries<'a> {
    #[inline]
    pub(crate) fn new(raw: &'a [[u8; ENTRY_BYTES]]) -> Entries<'a> {
        Entries { raw }
    }

    /// How many.
    #[inline]
    pub fn len(self) -> usize {
        self.raw.len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// Entry `index`, if there are that many.
    #[inline]
    pub fn get(self, index: usize) -> Option<Entry> {
        self.raw.get(index).map(Entry::decode)
    }

    /// The first.
    #[inline]
    pub fn first(self) -> Option<Entry> {
        self.raw.first().map(Entry::decode)
    }

    /// The last.
    #[inline]
    pub fn last(self) -> Option<Entry> {
        self.raw.last().map(Entry::decode)
    }

    /// All of them, in order.
    #[inline]
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Entry> + ExactSizeIterator + FusedIterator + 'a {
        self.raw.iter().map(Entry::decode)
    }

    /// The neighbours alone, in order; one that several edges lead to comes several times.
    #[inline]
    pub fn neighbours(
        self,
    ) -> impl DoubleEndedIterator<Item = NodeSlot> + ExactSizeIterator + FusedIterator + 'a {
        self.raw.iter().map(neighbour)
    }

    /// How many are below `entry`. Logarithmic.
    #[inline]
    pub fn rank(self, entry: Entry) -> usize {
        self.raw.partition_point(|raw| Entry::decode(raw) < entry)
    }

    /// The first `count` (all, if there are fewer), and the rest.
    #[inline]
    pub fn split_at(self, count: usize) -> (Entries<'a>, Entries<'a>) {
        let (left, right) = self.raw.split_at(count.min(self.raw.len()));
        (Entries { raw: left }, Entries { raw: right })
    }

    /// Those before and those after the entries that lead to `neighbour`.
    #[inline]
    pub fn without(self, neighbour: NodeSlot) -> (Entries<'a>, Entries<'a>) {
        let (before, rest) = self.split_at(self.rank(Entry { neighbour, edge: EdgeSlot(0) }));
        let count = rest.neighbours().take_while(|found| *found == neighbour).count();
        (before, rest.split_at(count).1)
    }

    /// The bytes.
    #[inline]
    pub(super) fn as_bytes(self) -> &'a [u8] {
        self.raw.as_flattened()
    }
}

/// Which of the two ends of its edges a block belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Side {
    /// The node's outgoing edges.
    Out,
    /// The node's incoming edges.
    In,
}

impl Side {
    /// The sides that a direction asks for.
    pub fn of(direction: Direction) -> &'static [Side] {
        match direction {
            Direction::Out => &[Side::Out],
            Direction::In => &[Side::In],
            Direction::Both => &[Side::Out, Side::In],
        }
    }
}

/// Whose adjacency it is. Every block and every page of a hub's tree carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Owner {
    /// The node.
    pub slot: NodeSlot,
    /// Its outgoing or its incoming edges.
    pub side: Side,
}

impl Owner {
    /// The word that begins a block or a page of this owner.
    #[inline]
    pub(super) fn word(self, number: u16) -> [u8; OWNER_BYTES] {
        debug_assert!(number <= OWNER_NUMBER_MAX && self.slot.0 <= SLOT_MAX);
        (self.bits() | u64::from(number) << SLOT_BITS).to_le_bytes()
    }

    /// The number in the word, if the word is this owner's.
    #[inline]
    pub(super) fn number_in(self, word: [u8; OWNER_BYTES]) -> Option<u16> {
        let word = u64::from_le_bytes(word);
        (word & !NUMBER_MASK == self.bits()).then_some((word >> SLOT_BITS) as u16 & OWNER_NUMBER_MAX)
    }

    #[inline]
    fn bits(self) -> u64 {
        match self.side {
            Side::Out => self.slot.0,
            Side::In => self.slot.0 | INCOMING,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_entry() {
        let entry = Entry { neighbour: NodeSlot(0x0605_0403_0201), edge: EdgeSlot(0x0c0b_0a09_0807) };
        assert_eq!(entry.encode(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(Entry::decode(&entry.encode()), entry);
        let top = Entry { neighbour: NodeSlot(SLOT_MAX), edge: EdgeSlot(0) };
        assert_eq!(top.encode(), [255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Entry::decode(&top.encode()), top);
    }

    #[test]
    fn golden_owner_word() {
        let owner = Owner { slot: NodeSlot(0x0605_0403_0201), side: Side::In };
        assert_eq!(owner.word(0x0102), [1, 2, 3, 4, 5, 6, 0x02, 0x81]);
        assert_eq!(owner.number_in(owner.word(0x7fff)), Some(0x7fff));
        assert_eq!(Owner { side: Side::Out, ..owner }.number_in(owner.word(1)), None);
        assert_eq!(Owner { slot: NodeSlot(0), ..owner }.number_in(owner.word(1)), None);
    }
}
