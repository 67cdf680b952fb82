//! What people call a lock: "node 17 :Person", "page 812, node slots 40,640-40,893", "label Person".

use std::fmt::Write;

use graphite_store::locks::{LockName, SpaceId};

use crate::db::{GraphDb, Snapshot};
use crate::edges::{self, EDGES_PER_PAGE};
use crate::locks::{EDGE_SPACE, LABEL_SPACES, NODE_SPACE, TYPE_SPACES};
use crate::nodes::{self, NODES_PER_PAGE};
use crate::view::View;
use crate::{EdgeSlot, LabelId, NodeSlot, TypeId};

/// Pages that one name may look at, all of them in memory: a monitor does not wait for a disk.
const PAGES_MAX: u32 = 8;

impl GraphDb {
    /// What people call a lock, by the newest state of the graph, as far as that is in memory.
    pub fn lock_words(&self, name: LockName) -> String {
        match name {
            LockName::Database => "the database".to_owned(),
            LockName::Space(space) => self.space_words(space),
            LockName::Page { space, page } => self.page_words(space, page),
            LockName::Slot { space: NODE_SPACE, slot, .. } => self.node_words(NodeSlot(slot)),
            LockName::Slot { space: EDGE_SPACE, slot, .. } => self.edge_words(EdgeSlot(slot)),
            LockName::Slot { space, slot, .. } => format!("slot {slot} of {}", self.space_words(space)),
            LockName::Key { space, hash, .. } => format!("key {hash:016x} of {}", self.space_words(space)),
            LockName::End { space } => format!("the end of {}", self.space_words(space)),
        }
    }

    /// The newest durable state, as far as it is in memory: nobody is shown what a crash could take back.
    fn resident(&self) -> Option<Snapshot> {
        let view = self.snapshot().ok()?;
        view.reader().limit_to_cache(Some(PAGES_MAX));
        Some(view)
    }

    fn space_words(&self, space: SpaceId) -> String {
        let catalog = self.catalog();
        match space {
            NODE_SPACE => "the node table".to_owned(),
            EDGE_SPACE => "the edge table".to_owned(),
            SpaceId(number) if number >= TYPE_SPACES => {
                let type_ = number - TYPE_SPACES;
                catalog
                    .type_name(TypeId(type_))
                    .map_or(format!("type {type_}"), |name| format!("type {name}"))
            }
            SpaceId(number) if number >= LABEL_SPACES => {
                let label = number - LABEL_SPACES;
                let name = catalog.label_name(LabelId(label));
                name.map_or(format!("label {label}"), |name| format!("label {name}"))
            }
            SpaceId(number) => format!("space {number}"),
        }
    }

    fn page_words(&self, space: SpaceId, page: u64) -> String {
        let view = self.resident();
        let reader = view.as_ref().map(|view| view.reader());
        let (table, per_page, place) = match space {
            NODE_SPACE => ("node", NODES_PER_PAGE, reader.map(|r| nodes::place_of_page(r, page))),
            EDGE_SPACE => ("edge", EDGES_PER_PAGE, reader.map(|r| edges::place_of_page(r, page))),
            _ => return format!("page {page} of {}", self.space_words(space)),
        };
        let first = page.saturating_mul(per_page as u64);
        let slots = format!(
            "{table} slots {}-{}",
            grouped(first),
            grouped(first.saturating_add(per_page as u64 - 1))
        );
        match place {
            Some(Ok(Some(place))) => format!("page {}, {slots}", place.0),
            _ => slots,
        }
    }

    fn node_words(&self, slot: NodeSlot) -> String {
        let unknown = || format!("node slot {}", grouped(slot.0));
        let Some(view) = self.resident() else { return unknown() };
        let Ok(Some(head)) = view.node_head(slot) else { return unknown() };
        let mut words = format!("node {}", head.id);
        for (place, label) in view.labels_of(head).unwrap_or_default().into_iter().enumerate() {
            let space = if place == 0 { " " } else { "" };
            let _ = write!(words, "{space}:{}", view.known().label_name(label).unwrap_or_default());
        }
        words
    }

    fn edge_words(&self, slot: EdgeSlot) -> String {
        let unknown = || format!("edge slot {}", grouped(slot.0));
        let Some(view) = self.resident() else { return unknown() };
        let Ok(Some(head)) = view.edge_head(slot) else { return unknown() };
        format!("edge {} :{}", head.id, view.known().type_name(head.type_).unwrap_or_default())
    }
}

/// A number with a comma after every thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (40_893, "40,893"), (1_234_567, "1,234,567")];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
    }
}
