//! Preparing a commit: the pages that it will change are brought into memory before it has its turn.
//!
//! Whoever has the turn keeps all other commits from theirs, so it should not wait for a disk. What is looked at here is
//! where things are now; a page that is missed nevertheless, because it moved or was evicted, is read within the turn.

use graphite_store::PageReader;

use crate::adjacency::{self, Key, Owner, Side};
use crate::location::Location;
use crate::write_set::{AdjacencyChange, EdgeChange, Fate, NodeChange, WriteSet};
use crate::{EdgeSlot, NodeSlot, Result, edges, nodes};

/// Looks at what applying `set` will look at, as far as that is known in `r`.
///
/// # Errors
/// Of the store. There is nothing to be done about them: applying it will tell.
pub(crate) fn warm<R: PageReader>(r: &R, set: &WriteSet) -> Result<()> {
    set.edges.iter().try_for_each(|(&slot, change)| warm_edge(r, slot, change))?;
    set.nodes.iter().try_for_each(|(&slot, change)| warm_node(r, slot, change))
}

fn warm_edge<R: PageReader>(r: &R, slot: EdgeSlot, change: &EdgeChange) -> Result<()> {
    let record = edges::read_edge(r, slot)?;
    let touches =
        change.fate != Fate::Created && (change.fate == Fate::Deleted || !change.properties.is_empty());
    match record.and_then(|record| record.properties) {
        Some(at) if touches => look(r, at),
        _ => Ok(()),
    }
}

fn warm_node<R: PageReader>(r: &R, slot: NodeSlot, change: &NodeChange) -> Result<()> {
    let Some(record) = nodes::read_node(r, slot)?.filter(|_| change.fate != Fate::Created) else {
        return Ok(());
    };
    if let Some(at) = record.properties
        && (change.fate == Fate::Deleted || !change.properties.is_empty())
    {
        look(r, at)?;
    }
    for (side, location, changed) in
        [(Side::Out, record.out, &change.out), (Side::In, record.in_, &change.in_)]
    {
        if let Some(location) = location {
            warm_side(r, Owner { slot, side }, location, changed)?;
        }
    }
    Ok(())
}

/// The places of the entries that come and go: a small adjacency has one, a hub has many.
fn warm_side<R: PageReader>(
    r: &R,
    owner: Owner,
    location: Location,
    changed: &AdjacencyChange,
) -> Result<()> {
    if !location.is_tree() {
        return look(r, location);
    }
    let mut found = Vec::new();
    let mut place = |key: &Key| {
        found.clear();
        adjacency::scan_from(r, owner, location, None, Some(*key), 1, &mut found)
    };
    changed.added.iter().try_for_each(&mut place)?;
    changed.removed.iter().try_for_each(&mut place)
}

fn look<R: PageReader>(r: &R, at: Location) -> Result<()> {
    r.page(at.page)?;
    Ok(())
}
