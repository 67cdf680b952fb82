//! Where a property record or an adjacency block is: the 6-byte pointer that its one owner keeps.

use graphite_store::PageNo;

/// Bytes of a location in a slot.
pub const LOCATION_BYTES: usize = 6;

/// A slot in a slotted page, or, with [`Location::TREE`], a whole tree of pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Location {
    /// The page; never page 0, so that six zero bytes can mean "nowhere".
    pub page: PageNo,
    /// The slot in it.
    pub slot: u16,
}

impl Location {
    /// In place of a slot: the page is the root of a hub's adjacency tree.
    pub const TREE: u16 = u16::MAX;

    /// Six bytes, little endian: page, slot. `None` is six zeros.
    pub fn encode(location: Option<Location>) -> [u8; LOCATION_BYTES] {
        let mut raw = [0; LOCATION_BYTES];
        if let Some(location) = location {
            debug_assert_ne!(location.page.0, 0);
            raw[..4].copy_from_slice(&location.page.0.to_le_bytes());
            raw[4..].copy_from_slice(&location.slot.to_le_bytes());
        }
        raw
    }

    /// The inverse of [`Location::encode`].
    #[inline]
    pub fn decode(raw: [u8; LOCATION_BYTES]) -> Option<Location> {
        let page = u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
        let slot = u16::from_le_bytes([raw[4], raw[5]]);
        (page != 0).then_some(Location { page: PageNo(page), slot })
    }

    /// Whether it points at a hub's tree.
    pub fn is_tree(self) -> bool {
        self.slot == Location::TREE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let location = Some(Location { page: PageNo(0x0102_0304), slot: 0x0506 });
        assert_eq!(Location::encode(location), [4, 3, 2, 1, 6, 5]);
        assert_eq!(Location::decode([4, 3, 2, 1, 6, 5]), location);
        assert_eq!(Location::decode([0; 6]), None);
    }
}
