//! Expanding a frontier: the neighbours of many nodes, one node after another.
//!
//! A node on the way costs several looks, each at memory that is not near and that only the look before knows of: its
//! slot, the page of its edges, the edges. So nodes are read [`AHEAD_NODES`] at a time, and for all of them the memory of
//! the next look is asked for before the first look at it: to wait for one is then to wait for all.

use std::ops::ControlFlow;

use graphite_store::PageReader;

use crate::adjacency::{self, Entries, Owner, Side};
use crate::nodes::{NodeReader, NodeRecord};
use crate::page_view::side_of;
use crate::{Direction, NodeSlot, Result, TypeId};

/// Nodes that are read before the first of them is expanded.
const AHEAD_NODES: usize = 16;

/// Visits the nodes of `from` with their position in it and what is in their slots: none, if there is no node. That they
/// will be expanded in `direction` is prepared for. `Break` ends the visit.
pub(crate) fn for_each_node<R: PageReader>(
    r: &R,
    from: &[NodeSlot],
    direction: Direction,
    mut visit: impl FnMut(usize, NodeSlot, Option<NodeRecord>) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    let mut reader = NodeReader::new(r);
    for (chunk, slots) in from.chunks(AHEAD_NODES).enumerate() {
        let records = read_ahead(r, &mut reader, slots, direction)?;
        for (place, (&slot, record)) in slots.iter().zip(records).enumerate() {
            let flow = visit(chunk * AHEAD_NODES + place, slot, record)?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Reads nodes that will be expanded next, and asks for the memory of their adjacency.
fn read_ahead<R: PageReader>(
    r: &R,
    reader: &mut NodeReader<'_, R>,
    slots: &[NodeSlot],
    direction: Direction,
) -> Result<[Option<NodeRecord>; AHEAD_NODES]> {
    slots.iter().try_for_each(|slot| reader.prefetch(*slot))?;
    let mut records = [None; AHEAD_NODES];
    for (record, &slot) in records.iter_mut().zip(slots) {
        *record = reader.read(slot)?;
        for &side in Side::of(direction) {
            if let Some((Some(location), _)) = record.as_ref().map(|record| side_of(record, side)) {
                adjacency::prefetch(r, location);
            }
        }
    }
    Ok(records)
}

/// Visits the neighbours of one node run by run, in the order of [`View::neighbours`](crate::View::neighbours).
#[inline]
pub(crate) fn expand<R: PageReader>(
    r: &R,
    slot: NodeSlot,
    record: &NodeRecord,
    direction: Direction,
    types: Option<&[TypeId]>,
    mut visit: impl FnMut(Entries<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    if direction != Direction::In
        && let Some(out) = record.out
    {
        let owner = Owner { slot, side: Side::Out };
        let flow = adjacency::for_each_group(r, owner, out, types, |_, entries| visit(entries))?;
        if flow.is_break() {
            return Ok(flow);
        }
    }
    if direction != Direction::Out
        && let Some(in_) = record.in_
    {
        let owner = Owner { slot, side: Side::In };
        return adjacency::for_each_group(r, owner, in_, types, |_, entries| {
            if direction == Direction::In {
                return visit(entries);
            }
            // Loops were shown as outgoing already.
            let (before, after) = entries.without(slot);
            [before, after].into_iter().filter(|run| !run.is_empty()).try_for_each(&mut visit)
        });
    }
    Ok(ControlFlow::Continue(()))
}
