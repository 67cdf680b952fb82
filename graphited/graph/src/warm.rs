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
        if let Some(location) = location.filter(|_| !changed.is_empty()) {
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;
    use std::sync::Arc;

    use graphite_store::clock::SimClock;
    use graphite_store::disk::SimDisk;
    use graphite_store::{PageNo, Snapshot, StoreOptions};

    use super::*;
    use crate::write_set::EdgeEnds;
    use crate::{EdgeId, GraphDb, NodeId};

    /// Keeps which pages are looked at.
    struct Seen<'a>(&'a Snapshot, RefCell<Vec<PageNo>>);

    impl PageReader for Seen<'_> {
        type Ref<'r>
            = <Snapshot as PageReader>::Ref<'r>
        where
            Self: 'r;

        fn page(&self, number: PageNo) -> graphite_store::Result<Self::Ref<'_>> {
            self.1.borrow_mut().push(number);
            self.0.page(number)
        }
    }

    /// On a cold cache each page costs a read of the file.
    #[test]
    fn a_side_that_does_not_change_is_not_looked_at() {
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let (disk, clock) = (Arc::new(SimDisk::new()), Arc::new(SimClock::default()));
        let db = GraphDb::open(disk, clock, Path::new("/graph"), options).unwrap();
        let type_ = db.type_id_or_create("T").unwrap();
        let mut tx = db.begin().unwrap();
        let [busy, others] = [8, 150]
            .map(|count| (0..count).map(|_| tx.create_node(&[], &[]).unwrap()).collect::<Vec<NodeId>>());
        tx.commit().unwrap();
        // Blocks that are made together share pages: so one side of all first, and then the other.
        let link = |edge: fn(NodeId, NodeId) -> (NodeId, NodeId)| {
            let mut tx = db.begin().unwrap();
            let pairs = busy.iter().flat_map(|busy| others.iter().map(|other| edge(*busy, *other)));
            for (start, end) in pairs {
                tx.create_edge(start, type_, end, &[]).unwrap();
            }
            tx.commit().unwrap()
        };
        link(|busy, other| (busy, other));
        let committed = link(|busy, other| (other, busy));
        db.store().wait_visible(committed.lsn).unwrap();
        let snapshot = db.snapshot().unwrap();
        let pages = |node: NodeId| {
            let record = nodes::read_node(snapshot.reader(), node.slot()).unwrap().unwrap();
            [record.out, record.in_].map(|location| location.filter(|at| !at.is_tree()).unwrap().page)
        };
        // Nodes whose two sides are in different pages, and not in one with those of the other node.
        let apart = busy.iter().flat_map(|a| busy.iter().map(move |b| (*a, *b)));
        let mut apart = apart.filter(|(from, to)| {
            let mut all = [pages(*from), pages(*to)].concat();
            all.sort_unstable();
            all.dedup();
            all.len() == 4
        });
        let (start, end) = apart.next().expect("a page has room for a few such blocks");
        let mut set = WriteSet::default();
        let id = EdgeId::new(EdgeSlot(1_000_000), 0);
        set.create_edge(EdgeEnds { id, type_, start, end }, &[]).unwrap();
        let seen = Seen(snapshot.reader(), RefCell::default());
        warm(&seen, &set).unwrap();
        let seen = seen.1.into_inner();
        let [[start_out, start_in], [end_out, end_in]] = [start, end].map(pages);
        assert!(seen.contains(&start_out) && seen.contains(&end_in), "{seen:?}");
        assert!(!seen.contains(&start_in) && !seen.contains(&end_out), "{seen:?}");
    }
}
