//! What memory allows: distinct counts on adjacency in two plain arrays, with a bit for each node.

/// Compressed sparse rows: the targets of node `n` are `targets[offsets[n]..offsets[n + 1]]`.
#[derive(Debug)]
pub(crate) struct Csr {
    offsets: Vec<u32>,
    targets: Vec<u32>,
    seen: Vec<u64>,
    frontier: Vec<u32>,
    next: Vec<u32>,
}

impl Csr {
    pub(crate) fn new(nodes: usize, edges: &[(u32, u32)]) -> Csr {
        let mut offsets = vec![0_u32; nodes + 1];
        for &(start, _) in edges {
            offsets[start as usize + 1] += 1;
        }
        for node in 0..nodes {
            offsets[node + 1] += offsets[node];
        }
        let mut places = offsets.clone();
        let mut targets = vec![0; edges.len()];
        for &(start, end) in edges {
            let place = &mut places[start as usize];
            targets[*place as usize] = end;
            *place += 1;
        }
        let seen = vec![0; nodes.div_ceil(64)];
        Csr { offsets, targets, seen, frontier: Vec::with_capacity(nodes), next: Vec::with_capacity(nodes) }
    }

    /// How many nodes are ends of walks of length 2.
    pub(crate) fn two_hops(&mut self, start: u32) -> u64 {
        self.seen.fill(0);
        let mut count = 0;
        for &middle in row(&self.offsets, &self.targets, start) {
            for &end in row(&self.offsets, &self.targets, middle) {
                count += u64::from(is_new(&mut self.seen, end));
            }
        }
        count
    }

    /// How many nodes are ends of walks of length 3: level by level, as each node of a level counts once.
    pub(crate) fn three_hops(&mut self, start: u32) -> u64 {
        self.frontier.clear();
        self.frontier.push(start);
        for _ in 0..3 {
            self.seen.fill(0);
            self.next.clear();
            for &node in &self.frontier {
                for &end in row(&self.offsets, &self.targets, node) {
                    if is_new(&mut self.seen, end) {
                        self.next.push(end);
                    }
                }
            }
            std::mem::swap(&mut self.frontier, &mut self.next);
        }
        self.frontier.len() as u64
    }
}

fn row<'a>(offsets: &[u32], targets: &'a [u32], node: u32) -> &'a [u32] {
    let node = node as usize;
    &targets[offsets[node] as usize..offsets[node + 1] as usize]
}

fn is_new(seen: &mut [u64], node: u32) -> bool {
    let word = &mut seen[node as usize / 64];
    let bit = 1 << (node % 64);
    let new = *word & bit == 0;
    *word |= bit;
    new
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::random::Random;

    /// Against walks that are gathered in a set.
    #[test]
    fn counts_are_those_of_all_walks() {
        let mut random = Random::new(1);
        for nodes in [1_usize, 2, 5, 64, 65, 200] {
            let mut draw = || random.below(nodes) as u32;
            let edges: Vec<(u32, u32)> = (0..nodes * 3).map(|_| (draw(), draw())).collect();
            let mut csr = Csr::new(nodes, &edges);
            let step = |from: &BTreeSet<u32>| -> BTreeSet<u32> {
                edges.iter().filter(|(start, _)| from.contains(start)).map(|&(_, end)| end).collect()
            };
            for start in 0..nodes as u32 {
                let two = step(&step(&BTreeSet::from([start])));
                assert_eq!(csr.two_hops(start), two.len() as u64);
                assert_eq!(csr.three_hops(start), step(&two).len() as u64);
            }
        }
    }
}
