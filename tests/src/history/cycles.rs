//! Cycles among the dependencies: what cannot have happened one after another.
//!
//! The sorts of edges are added step by step, and the search ends with the first step that finds something: a cycle of
//! writes alone is worse than one that needs a missed read.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;

use super::dependencies::{Edge, Edges, Why};
use super::{Anomaly, History, STORIES_MAX};

/// Places from which the shortest cycle of a tangle is looked for; any cycle proves it, a short one is understood.
const PLACES_MAX: usize = 400;

/// The edges that lead on from each node.
struct Graph<'a> {
    edges: Vec<&'a Edge>,
    /// Where those of each node begin in `edges`, and where those of the last one end.
    starts: Vec<usize>,
}

impl<'a> Graph<'a> {
    fn new(all: &'a Edges) -> Graph<'a> {
        let mut edges: Vec<&Edge> = all.edges.iter().collect();
        edges.sort_unstable_by_key(|edge| (edge.from, edge.to, edge.why));
        edges.dedup();
        let starts =
            (0..=all.nodes).map(|node| edges.partition_point(|edge| (edge.from as usize) < node)).collect();
        Graph { edges, starts }
    }

    fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    /// Edges of these sorts from a node.
    fn from(&self, node: usize, sorts: u8) -> impl Iterator<Item = &'a Edge> {
        let edges = &self.edges[self.starts[node]..self.starts[node + 1]];
        edges.iter().copied().filter(move |edge| edge.why.bit() & sorts != 0)
    }

    /// Sets of nodes each of which can be reached from each other one, by edges of these sorts; only those of more than
    /// one node. (Tarjan's algorithm, without recursion.)
    fn tangles(&self, sorts: u8) -> Vec<Vec<usize>> {
        const NEW: usize = usize::MAX;
        let mut number = vec![NEW; self.nodes()];
        let mut low = vec![0; self.nodes()];
        let mut is_open = vec![false; self.nodes()];
        let (mut open, mut tangles, mut next) = (Vec::new(), Vec::new(), 0);
        for root in 0..self.nodes() {
            if number[root] != NEW {
                continue;
            }
            // The way from the root to here, and which edge of each node is to be followed next.
            let mut way = vec![(root, self.starts[root])];
            while let Some((node, edge)) = way.last_mut() {
                let node = *node;
                if number[node] == NEW {
                    (number[node], low[node]) = (next, next);
                    next += 1;
                    open.push(node);
                    is_open[node] = true;
                }
                if *edge < self.starts[node + 1] {
                    let Edge { to, why, .. } = *self.edges[*edge];
                    *edge += 1;
                    let to = to as usize;
                    if why.bit() & sorts == 0 {
                        continue;
                    }
                    if number[to] == NEW {
                        way.push((to, self.starts[to]));
                    } else if is_open[to] {
                        low[node] = low[node].min(number[to]);
                    }
                    continue;
                }
                way.pop();
                if let Some((parent, _)) = way.last() {
                    low[*parent] = low[*parent].min(low[node]);
                }
                if low[node] == number[node] {
                    let begin = open
                        .iter()
                        .rposition(|other| *other == node)
                        .expect("a node is open until its tangle is");
                    let tangle = open.split_off(begin);
                    tangle.iter().for_each(|node| is_open[*node] = false);
                    if tangle.len() > 1 {
                        tangles.push(tangle);
                    }
                }
            }
        }
        tangles
    }

    /// The shortest way between two nodes, by edges of these sorts; at least one edge.
    fn way(&self, from: usize, to: usize, sorts: u8) -> Option<Vec<&'a Edge>> {
        let mut reached: HashMap<usize, &Edge> = HashMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            for edge in self.from(node, sorts) {
                let next = edge.to as usize;
                if reached.contains_key(&next) {
                    continue;
                }
                reached.insert(next, edge);
                if next == to {
                    let mut way = vec![edge];
                    while way[way.len() - 1].from as usize != from {
                        way.push(reached[&(way[way.len() - 1].from as usize)]);
                    }
                    way.reverse();
                    return Some(way);
                }
                queue.push_back(next);
            }
        }
        None
    }

    fn shortest_cycle(&self, tangle: &[usize], sorts: u8) -> Option<Vec<&'a Edge>> {
        let cycles = tangle.iter().take(PLACES_MAX).filter_map(|&node| self.way(node, node, sorts));
        cycles.min_by_key(Vec::len)
    }

    /// A cycle of one missed write and otherwise what was written and read.
    fn single(&self, tangle: &[usize]) -> Option<Vec<&'a Edge>> {
        let missed = tangle.iter().flat_map(|&node| self.from(node, Why::Missed.bit()));
        let cycles = missed.take(PLACES_MAX).filter_map(|edge| {
            let mut way =
                self.way(edge.to as usize, edge.from as usize, Why::Wrote.bit() | Why::WasRead.bit())?;
            way.insert(0, edge);
            Some(way)
        });
        cycles.min_by_key(Vec::len)
    }
}

pub(super) fn find(history: &History<'_>, edges: &Edges) -> Vec<Anomaly> {
    let graph = Graph::new(edges);
    let writes = Why::Wrote.bit();
    let reads = writes | Why::WasRead.bit();
    let data = reads | Why::Missed.bit();
    let committed = data | Why::CommittedBefore.bit();
    let all = committed | Why::EndedBefore.bit();
    for (name, sorts) in
        [("G0", writes), ("G1c", reads), ("G2", data), ("commit order", committed), ("real time", all)]
    {
        let tangles = graph.tangles(sorts);
        let found: Vec<Anomaly> = tangles
            .iter()
            .take(STORIES_MAX)
            .filter_map(|tangle| {
                let single = if name == "G2" { graph.single(tangle) } else { None };
                let name = if single.is_some() { "G-single" } else { name };
                let cycle = single.or_else(|| graph.shortest_cycle(tangle, sorts))?;
                Some(Anomaly { name, story: story(history, &cycle) })
            })
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// The cycle in words, each transaction on a line.
fn story(history: &History<'_>, cycle: &[&Edge]) -> String {
    let is_transaction = |node: u32| (node as usize) < history.transactions.len();
    // Moments have no words; so it begins with a transaction, and passes over them.
    let begin = cycle.iter().position(|edge| is_transaction(edge.from)).unwrap_or(0);
    let mut story = String::new();
    for edge in cycle[begin..].iter().chain(&cycle[..begin]) {
        if is_transaction(edge.from) {
            let transaction = &history.transactions[edge.from as usize];
            let _ = write!(story, "\n    {transaction}\n  {}", edge.why.in_words());
        }
    }
    story.push_str(" the first");
    story
}
