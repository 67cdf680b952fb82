//! Which transaction has to come before which, and why.
//!
//! Only committed transactions take part. A list's elements are in the order of their appends, so an edge between
//! neighbours says all that there is to say; of a set each element speaks for itself. Moments, such as that between two
//! groups of commits, are nodes as well, so that there are not as many edges as pairs.

use std::collections::{BTreeMap, HashSet};

use super::direct::Versions;
use super::{History, Object, Outcome};

/// Why one comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// It wrote what the other wrote upon.
    Wrote = 1,
    /// The other read what it wrote.
    WasRead = 2,
    /// It read, and missed what the other wrote.
    Missed = 4,
    /// Its commit comes before the other's, as the daemon says.
    CommittedBefore = 8,
    /// It was over before the other began.
    EndedBefore = 16,
}

impl Why {
    pub(super) fn bit(self) -> u8 {
        self as u8
    }

    pub(super) fn in_words(self) -> &'static str {
        match self {
            Why::Wrote => "and upon that wrote",
            Why::WasRead => "which was read by",
            Why::Missed => "which missed what was written by",
            Why::CommittedBefore => "whose commit comes before that of",
            Why::EndedBefore => "which was over before the beginning of",
        }
    }
}

/// An edge between two nodes. The first nodes are the transactions; the others stand for moments and have no meaning
/// of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) why: Why,
}

/// All edges, and how many nodes there are.
#[derive(Debug)]
pub(super) struct Edges {
    pub(super) nodes: usize,
    pub(super) edges: Vec<Edge>,
}

impl Edges {
    fn add(&mut self, from: usize, to: usize, why: Why) {
        if from != to {
            let node = |index: usize| {
                u32::try_from(index).expect("a history has fewer than four thousand million nodes")
            };
            self.edges.push(Edge { from: node(from), to: node(to), why });
        }
    }

    fn new_node(&mut self) -> usize {
        self.nodes += 1;
        self.nodes - 1
    }
}

pub(super) fn infer(history: &History<'_>, versions: &Versions) -> Edges {
    let mut edges = Edges { nodes: history.transactions.len(), edges: Vec::new() };
    lists(history, versions, &mut edges);
    sets(history, &mut edges);
    commit_order(history, &mut edges);
    real_time(history, &mut edges);
    edges
}

fn lists(history: &History<'_>, versions: &Versions, edges: &mut Edges) {
    for (object, version) in versions {
        let writers: Vec<Option<usize>> =
            version.iter().map(|element| history.writer(*object, *element)).collect();
        for pair in writers.windows(2) {
            if let [Some(one), Some(next)] = *pair {
                edges.add(one, next, Why::Wrote);
            }
        }
    }
    for (reader, transaction) in history.committed() {
        for (object, elements) in transaction.reads().filter(|(object, _)| object.is_ordered()) {
            let version = &versions[&object];
            // What it wrote itself is at the end, and is no news.
            let foreign =
                |element: &&u64| history.writer(object, **element).is_some_and(|writer| writer != reader);
            if let Some(writer) =
                elements.iter().rfind(foreign).and_then(|last| history.writer(object, *last))
            {
                edges.add(writer, reader, Why::WasRead);
            }
            let next = version.get(elements.len()..).unwrap_or_default().iter().find(foreign);
            if let Some(writer) = next.and_then(|next| history.writer(object, *next)) {
                edges.add(reader, writer, Why::Missed);
            }
        }
    }
}

fn sets(history: &History<'_>, edges: &mut Edges) {
    let mut members: BTreeMap<Object, Vec<(u64, usize)>> = BTreeMap::new();
    for (writer, _) in history.committed() {
        for (object, elements) in history.puts[writer].iter().filter(|(object, _)| !object.is_ordered()) {
            members.entry(*object).or_default().extend(elements.iter().map(|element| (*element, writer)));
        }
    }
    for (reader, transaction) in history.committed() {
        for (object, elements) in transaction.reads().filter(|(object, _)| !object.is_ordered()) {
            let seen: HashSet<u64> = elements.iter().copied().collect();
            for &(element, writer) in members.get(&object).into_iter().flatten() {
                if seen.contains(&element) {
                    edges.add(writer, reader, Why::WasRead);
                } else {
                    // What it puts in afterwards by itself it does not miss: an edge from itself to itself is none.
                    edges.add(reader, writer, Why::Missed);
                }
            }
        }
    }
}

/// Commits of one group have one position; all of them come before all of the next group, which a node between the
/// two says with few edges.
fn commit_order(history: &History<'_>, edges: &mut Edges) {
    let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, transaction) in history.committed() {
        if let Outcome::Committed { lsn: lsn @ 1.. } = transaction.outcome {
            groups.entry(lsn).or_default().push(index);
        }
    }
    let mut before: Option<usize> = None;
    for group in groups.values() {
        let after = edges.new_node();
        for &index in group {
            if let Some(before) = before {
                edges.add(before, index, Why::CommittedBefore);
            }
            edges.add(index, after, Why::CommittedBefore);
        }
        before = Some(after);
    }
}

/// A transaction whose outcome the client never knew may take effect long after the client gave up, so it is not
/// before anybody.
fn real_time(history: &History<'_>, edges: &mut Edges) {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Event {
        // At the same instant nothing is before anything.
        Begin,
        End,
    }
    let mut events: Vec<(u64, Event, usize)> = Vec::new();
    for (index, transaction) in history.committed() {
        events.push((transaction.began, Event::Begin, index));
        if matches!(transaction.outcome, Outcome::Committed { .. }) {
            events.push((transaction.ended, Event::End, index));
        }
    }
    events.sort_unstable();
    // The last node of a chain of moments: whatever ended so far comes before it.
    let mut now: Option<usize> = None;
    let mut ended: Vec<usize> = Vec::new();
    for (_, event, index) in events {
        match event {
            Event::End => ended.push(index),
            Event::Begin => {
                if !ended.is_empty() {
                    let next = edges.new_node();
                    for index in now.into_iter().chain(ended.drain(..)) {
                        edges.add(index, next, Why::EndedBefore);
                    }
                    now = Some(next);
                }
                if let Some(now) = now {
                    edges.add(now, index, Why::EndedBefore);
                }
            }
        }
    }
}
