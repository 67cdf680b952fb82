//! Whether edges and adjacency mirror each other.
//!
//! Each edge has to be in the outgoing adjacency of its start and in the incoming one of its end, and nothing else may be
//! there. To look each of them up would be a random read for each; so first three sums are made, of the edges, of the
//! outgoing entries and of the incoming ones, in which each has the same share if it says the same. Damage that leaves
//! three sums of 64 mixed bits alike does not happen by chance. Only if they differ everything is looked up, to name it.
//!
//! That an edge's ends exist follows: only nodes that exist have adjacency.

use std::ops::ControlFlow;

use graphite_store::PageReader;

use super::walk::{Walk, side_in_words};
use crate::adjacency::{self, Entries, Owner, Side};
use crate::edges::{EdgeReader, EdgeRecord, Edges};
use crate::nodes::{NodeReader, NodeRecord, Nodes};
use crate::page_view::side_of;
use crate::{EdgeSlot, NodeSlot, Result, TypeId};

/// The three sums.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mirror {
    edges: Sum,
    out: Sum,
    in_: Sum,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    sum: u64,
}

impl Sum {
    #[inline]
    fn add(&mut self, edge: EdgeSlot, start: NodeSlot, end: NodeSlot, type_: TypeId) {
        self.count += 1;
        let parts = [start.0, end.0, u64::from(type_.0), edge.0];
        self.sum = self.sum.wrapping_add(parts.into_iter().fold(0, |mixed, part| mix(mixed ^ part)));
    }
}

/// The finish of SplitMix64: every bit of the result depends on every bit of the number.
#[inline]
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Mirror {
    pub(super) fn edge(&mut self, slot: EdgeSlot, record: &EdgeRecord) {
        self.edges.add(slot, record.start, record.end, record.type_);
    }

    pub(super) fn group(&mut self, owner: Owner, type_: TypeId, group: Entries<'_>) {
        match owner.side {
            Side::Out => {
                group.iter().for_each(|entry| self.out.add(entry.edge, owner.slot, entry.neighbour, type_));
            }
            Side::In => {
                group.iter().for_each(|entry| self.in_.add(entry.edge, entry.neighbour, owner.slot, type_));
            }
        }
    }

    /// Entries of the outgoing and the incoming side.
    pub(super) fn entries(&self) -> [u64; 2] {
        [self.out.count, self.in_.count]
    }

    pub(super) fn is_even(&self) -> bool {
        self.edges == self.out && self.edges == self.in_
    }
}

impl<'a, R: PageReader> Walk<'a, R> {
    /// Looks up every edge in the adjacency of its ends, and every entry in the table. What cannot be read has been told
    /// before.
    pub(super) fn name_what_is_uneven(&mut self) {
        let (edges, [out, in_]) = (self.report.edges, self.mirror.entries());
        if (out, in_) != (edges, edges) {
            self.too_few(format!("{edges} edges, {out} outgoing entries and {in_} incoming ones"));
        }
        let r: &'a R = self.r;
        let mut edge_reader = EdgeReader::new(r);
        let done = self.each::<Nodes>(false, |walk, slot, record| {
            for side in [Side::Out, Side::In] {
                walk.look_up_entries(&mut edge_reader, record, Owner { slot, side });
            }
        });
        let mut node_reader = NodeReader::new(r);
        let done = done.and_then(|()| {
            self.each::<Edges>(false, |walk, slot, record| {
                let ends = [(record.start, Side::Out, record.end), (record.end, Side::In, record.start)];
                for (end, side, other) in ends {
                    walk.look_up_edge(&mut node_reader, slot, record.type_, Owner { slot: end, side }, other);
                }
            })
        });
        if let Err(error) = done {
            self.error("", error);
        }
    }

    fn look_up_entries(&mut self, edges: &mut EdgeReader<'a, R>, record: &NodeRecord, owner: Owner) {
        let (Some(location), _) = side_of(record, owner.side) else { return };
        let mut entries = Vec::new();
        // What could be read before the damage counts.
        let _told = adjacency::for_each_group(self.r, owner, location, None, |type_, group| {
            entries.extend(group.iter().map(|entry| (type_, entry)));
            ControlFlow::<()>::Continue(())
        });
        for (type_, entry) in entries {
            let (start, end) = match owner.side {
                Side::Out => (owner.slot, entry.neighbour),
                Side::In => (entry.neighbour, owner.slot),
            };
            match edges.read(entry.edge) {
                Ok(Some(edge)) if (edge.start, edge.end, edge.type_) == (start, end, type_) => {}
                Ok(_) => {
                    let what = side_in_words(owner);
                    let why = format!("{what}: its entry for {:?} is no such edge", entry.edge);
                    self.problem_of(what, why);
                }
                Err(error) if error.is_damage() => {}
                Err(error) => self.error("", error),
            }
        }
    }

    fn look_up_edge(
        &mut self,
        nodes: &mut NodeReader<'a, R>,
        edge: EdgeSlot,
        type_: TypeId,
        owner: Owner,
        other: NodeSlot,
    ) {
        let found: Result<Option<bool>> = nodes.read(owner.slot).and_then(|record| {
            let Some(record) = record else { return Ok(None) };
            let (Some(location), _) = side_of(&record, owner.side) else { return Ok(Some(false)) };
            let found = adjacency::find(self.r, owner, location, Some(&[type_]), other, |_, found| {
                if found == edge { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            Ok(Some(found.is_break()))
        });
        match found {
            Ok(Some(true)) => {}
            Ok(Some(false)) => {
                let why = format!("{edge:?} is not in the {}", side_in_words(owner));
                self.problem_of(format!("{edge:?}"), why);
            }
            Ok(None) => {
                let why = format!("{edge:?} ends at {:?}, which is free", owner.slot);
                self.problem_of(format!("{edge:?}"), why);
            }
            Err(error) if error.is_damage() => {}
            Err(error) => self.error("", error),
        }
    }
}
