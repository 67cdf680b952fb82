//! Traversals over any [`View`]: neighbourhoods, ends of walks, shortest paths.
//!
//! All of them go level by level. A level is a `SlotSet`: it starts as a short list and becomes a bitmap over
//! the node table once a bitmap is cheaper to fill and to read in order than the list is to sort. Frontiers are
//! expanded in slot order, so that neighbouring slots share the page they are in.
//!
//! Invariants:
//! 1. A frontier is sorted and without duplicates.
//! 2. Memory is bounded by two bits per node slot and two copies of a level (shortest paths: one entry per node
//!    reached); the caller's [`Budget`] is asked before each [`CHUNK_NODES`] nodes of a frontier, and after every
//!    16,384 edges among them, or the page in which that many are reached.

mod slot_set;

use std::ops::ControlFlow;

use rustc_hash::FxHashMap;

use self::slot_set::SlotSet;
use crate::view::View;
use crate::{Direction, EdgeSlot, Error, NodeSlot, Result, TypeId};

/// Nodes of a frontier that are expanded between two looks at the budget.
pub const CHUNK_NODES: usize = 256;

/// How many neighbours a node of a frontier is taken to have before they are seen.
const DEGREE_GUESS: usize = 4;

/// Asked now and then with the number of edges looked at since the last time; `false` ends the traversal with
/// [`Error::Interrupted`].
pub type Budget<'a> = &'a mut dyn FnMut(u64) -> bool;

/// Which edges a traversal follows.
#[derive(Clone, Copy, Debug)]
pub struct Follow<'a> {
    /// Along them, against them, or either way.
    pub direction: Direction,
    /// Of these types; `None`: of all.
    pub types: Option<&'a [TypeId]>,
}

/// A way through the graph: one node more than edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The nodes, from start to end.
    pub nodes: Vec<NodeSlot>,
    /// The edges between them.
    pub edges: Vec<EdgeSlot>,
}

/// Edges that are looked at before the budget is asked again: one node may have millions of them.
const EDGES_PER_ASK: u64 = 1 << 14;

/// Asks whether to go on after so many edges, which are counted anew then.
#[cold]
fn go_on(budget: &mut dyn FnMut(u64) -> bool, edges: &mut u64) -> ControlFlow<()> {
    if budget(std::mem::take(edges)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// The nodes one step away from `frontier`.
fn level<V: View>(
    view: &V,
    frontier: &[NodeSlot],
    follow: Follow<'_>,
    slots_end: u64,
    budget: &mut dyn FnMut(u64) -> bool,
) -> Result<SlotSet> {
    let mut next = SlotSet::new(slots_end);
    next.expect(frontier.len() * DEGREE_GUESS);
    let mut edges = 0;
    for chunk in frontier.chunks(CHUNK_NODES) {
        if !budget(edges) {
            return Err(Error::Interrupted);
        }
        edges = next.add_neighbours(view, chunk, follow, budget)?;
    }
    next.finish();
    Ok(next)
}

fn start_set<V: View>(view: &V, starts: &[NodeSlot], slots_end: u64) -> Result<SlotSet> {
    let mut set = SlotSet::new(slots_end);
    for &slot in starts {
        if view.node_exists(slot)? {
            set.push(slot);
        }
    }
    set.finish();
    Ok(set)
}

fn neighbourhood<V: View>(
    view: &V,
    starts: &[NodeSlot],
    follow: Follow<'_>,
    (min, max): (u32, u32),
    budget: Budget<'_>,
) -> Result<SlotSet> {
    let slots_end = view.node_slots_end()?;
    let mut current = start_set(view, starts, slots_end)?;
    let mut seen = current.clone();
    let mut found = if min == 0 { current.clone() } else { SlotSet::new(slots_end) };
    for hop in 1..=max {
        let frontier = current.sorted();
        if frontier.is_empty() {
            break;
        }
        current = level(view, &frontier, follow, slots_end, budget)?;
        current.subtract(&seen);
        if hop < max {
            seen.unite(&current);
        }
        if hop >= min {
            found.unite(&current);
        }
    }
    Ok(found)
}

/// The nodes whose distance from the nearest of `starts` is `min..=max` hops, sorted. A start has distance 0.
///
/// # Errors
/// Of the store, and [`Error::Interrupted`].
pub fn khop<V: View>(
    view: &V,
    starts: &[NodeSlot],
    follow: Follow<'_>,
    min: u32,
    max: u32,
    budget: Budget<'_>,
) -> Result<Vec<NodeSlot>> {
    Ok(neighbourhood(view, starts, follow, (min, max), budget)?.sorted())
}

/// How many nodes [`khop`] finds.
///
/// # Errors
/// Of the store, and [`Error::Interrupted`].
pub fn khop_count<V: View>(
    view: &V,
    starts: &[NodeSlot],
    follow: Follow<'_>,
    min: u32,
    max: u32,
    budget: Budget<'_>,
) -> Result<u64> {
    Ok(neighbourhood(view, starts, follow, (min, max), budget)?.count())
}

fn walk<V: View>(
    view: &V,
    starts: &[NodeSlot],
    follow: Follow<'_>,
    steps: u32,
    budget: Budget<'_>,
) -> Result<SlotSet> {
    let slots_end = view.node_slots_end()?;
    let mut current = start_set(view, starts, slots_end)?;
    for _ in 0..steps {
        let frontier = current.sorted();
        if frontier.is_empty() {
            break;
        }
        current = level(view, &frontier, follow, slots_end, budget)?;
    }
    Ok(current)
}

/// The distinct nodes where walks of exactly `steps` steps from any of `starts` end, sorted. Walks may use an
/// edge again; a pattern of Cypher may not, so this answers one only where no edge can come twice (or the caller
/// takes care of loops and ways back).
///
/// # Errors
/// Of the store, and [`Error::Interrupted`].
pub fn walk_ends<V: View>(
    view: &V,
    starts: &[NodeSlot],
    follow: Follow<'_>,
    steps: u32,
    budget: Budget<'_>,
) -> Result<Vec<NodeSlot>> {
    Ok(walk(view, starts, follow, steps, budget)?.sorted())
}

/// How many nodes [`walk_ends`] finds.
///
/// # Errors
/// Of the store, and [`Error::Interrupted`].
pub fn walk_end_count<V: View>(
    view: &V,
    starts: &[NodeSlot],
    follow: Follow<'_>,
    steps: u32,
    budget: Budget<'_>,
) -> Result<u64> {
    Ok(walk(view, starts, follow, steps, budget)?.count())
}

/// One side of the search for a shortest path.
struct Wave<'a> {
    follow: Follow<'a>,
    /// Every node reached, with the node before it and the edge between; the origin has none.
    reached: FxHashMap<NodeSlot, Option<(NodeSlot, EdgeSlot)>>,
    frontier: Vec<NodeSlot>,
}

impl<'a> Wave<'a> {
    fn new(origin: NodeSlot, follow: Follow<'a>) -> Wave<'a> {
        Wave { follow, reached: FxHashMap::from_iter([(origin, None)]), frontier: vec![origin] }
    }

    /// Goes one level on. Returns a node that the other side has reached too, if there is one.
    fn advance<V: View>(
        &mut self,
        view: &V,
        other: &Wave<'_>,
        budget: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<NodeSlot>> {
        let mut next = Vec::new();
        let mut edges = 0;
        let mut met = None;
        for chunk in self.frontier.chunks(CHUNK_NODES) {
            if !budget(edges) {
                return Err(Error::Interrupted);
            }
            edges = 0;
            let reached = &mut self.reached;
            let flow = view.for_each_neighbour(
                chunk,
                self.follow.direction,
                self.follow.types,
                |index, node, edge| {
                    edges += 1;
                    if let std::collections::hash_map::Entry::Vacant(entry) = reached.entry(node) {
                        entry.insert(Some((chunk[index], edge)));
                        next.push(node);
                        if other.reached.contains_key(&node) {
                            met = Some(node);
                            return ControlFlow::Break(());
                        }
                    }
                    if edges < EDGES_PER_ASK {
                        return ControlFlow::Continue(());
                    }
                    go_on(budget, &mut edges)
                },
            )?;
            if met.is_some() {
                break;
            }
            if flow.is_break() {
                return Err(Error::Interrupted);
            }
        }
        next.sort_unstable();
        self.frontier = next;
        Ok(met)
    }

    /// The way from `node` back to the origin: the nodes before it and the edges.
    fn way_back(&self, node: NodeSlot) -> (Vec<NodeSlot>, Vec<EdgeSlot>) {
        let (mut nodes, mut edges) = (Vec::new(), Vec::new());
        let mut at = node;
        while let Some(&Some((before, edge))) = self.reached.get(&at) {
            nodes.push(before);
            edges.push(edge);
            at = before;
        }
        (nodes, edges)
    }
}

/// A shortest path of at most `max_hops` edges, or `None`. From a node to itself it is the path without edges.
///
/// Searches from both ends, level by level, always on from the smaller frontier. When the two sides have gone
/// `a` and `b` levels without meeting, no path has `a + b` edges or fewer, so the first meeting is a shortest path.
///
/// # Errors
/// Of the store, and [`Error::Interrupted`].
pub fn shortest_path<V: View>(
    view: &V,
    from: NodeSlot,
    to: NodeSlot,
    follow: Follow<'_>,
    max_hops: u32,
    budget: Budget<'_>,
) -> Result<Option<Path>> {
    if !view.node_exists(from)? || !view.node_exists(to)? {
        return Ok(None);
    }
    if from == to {
        return Ok(Some(Path { nodes: vec![from], edges: Vec::new() }));
    }
    let back = match follow.direction {
        Direction::Out => Direction::In,
        Direction::In => Direction::Out,
        Direction::Both => Direction::Both,
    };
    let mut ahead = Wave::new(from, follow);
    let mut behind = Wave::new(to, Follow { direction: back, ..follow });
    for _ in 0..max_hops {
        if ahead.frontier.is_empty() || behind.frontier.is_empty() {
            return Ok(None);
        }
        let met = if ahead.frontier.len() <= behind.frontier.len() {
            ahead.advance(view, &behind, budget)?
        } else {
            behind.advance(view, &ahead, budget)?
        };
        if let Some(middle) = met {
            let (mut nodes, mut edges) = ahead.way_back(middle);
            nodes.reverse();
            edges.reverse();
            nodes.push(middle);
            let (nodes_behind, edges_behind) = behind.way_back(middle);
            nodes.extend(nodes_behind);
            edges.extend(edges_behind);
            return Ok(Some(Path { nodes, edges }));
        }
    }
    Ok(None)
}
