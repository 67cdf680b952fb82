//! `kill -9` of the daemon, fifty times in one import: what was acknowledged is there, whole, and nothing else.
//!
//! One import of small batches of nodes and edges, several under way at once, with a log and a cache so small that
//! checkpoints and evictions go on beside it. In each of fifty lives the daemon is killed at a moment that a printed
//! seed decides: while it starts and recovers, at the import's begin, between and inside batches, beside a checkpoint
//! that was asked for, at the import's end. `GRAPHITE_SEED` repeats a run's choices, as far as a clock can.
//!
//! After each kill a new daemon is asked. How the test would see
//! - *a lost batch*: answers that were still in the socket when the daemon died are read, and count as acknowledged;
//!   the batch to send next is at or above what was acknowledged, and no more than was sent;
//! - *a half batch, or one without its entry in the ledger*: nodes and edges, counted by reading them and by the
//!   daemon's counters, are exactly those of the batches below the next one; the half of a batch changes both;
//! - *a batch whose rows are not what was sent*: all rows since the last kill, and of some batches before, are
//!   read by the ids that the ledger has, and compared with all labels, ends and properties;
//! - *adjacency, bitmap or tree that do not fit together*: the daemon's own check of the whole file finds no problem.
//!
//! When the import is over the whole graph is compared, after a clean end of the daemon.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use graphite_client::messages::{
    Check, Checkpoint, EdgeBatch, ImportBegin, ImportEdges, ImportEnd, ImportNodes, ImportReply,
    ImportStatus, NodeBatch,
};
use graphite_client::{
    Bitmap, Client, Column, ColumnData, Edge, Error, Node, Packed, Plan, Result, Step, StringColumn, Ticket,
    Token, Traversal, Value,
};
use graphite_tests::{Contents, Daemon, Scratch, contents, properties};

const KILLS: usize = 50;
const BATCHES: u64 = 600;
const NODES: u64 = 90;
const EDGES: u64 = 170;
/// Batches under way at once.
const WINDOW: u64 = 4;
const SETTINGS: [&str; 4] = ["--cache-bytes", "6M", "--wal-bytes", "8M"];

/// The generator "splitmix64": so that a seed gives the same moments whatever library is at hand.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pause(&mut self, below: Duration) {
        std::thread::sleep(Duration::from_nanos(self.below(below.as_nanos() as u64)));
    }
}

/// Every third batch has nodes, so that edges find new ones all along.
fn has_nodes(batch: u64) -> bool {
    batch.is_multiple_of(3)
}

fn rows(batch: u64) -> u64 {
    if has_nodes(batch) { NODES } else { EDGES }
}

/// Nodes and edges of the batches below one.
fn rows_below(batch: u64) -> (u64, u64) {
    let with_nodes = batch.div_ceil(3);
    (with_nodes * NODES, (batch - with_nodes) * EDGES)
}

fn label_sets() -> Vec<Vec<String>> {
    vec![vec!["Person".into()], vec!["Admin".into(), "Person".into()], vec![]]
}

const TYPES: [&str; 2] = ["KNOWS", "LIKES"];

/// Properties of the `n`th node, sorted.
fn node_properties(n: u64) -> Vec<(String, Value)> {
    let mut properties = vec![("rank".to_owned(), Value::Int(n as i64 - 1000))];
    if !n.is_multiple_of(4) {
        let name = format!("node {n} {}", "x".repeat((n % 40) as usize));
        properties.insert(0, ("name".to_owned(), Value::from(name)));
    }
    properties
}

/// Properties of the `e`th edge, sorted.
fn edge_properties(e: u64) -> Vec<(String, Value)> {
    let mut properties = vec![("weight".to_owned(), Value::Float(e as f64 / 8.0))];
    if e.is_multiple_of(5) {
        let list = Value::List(vec![Value::Int(e as i64), Value::from("since")]);
        properties.insert(0, ("tags".to_owned(), list));
    }
    properties
}

/// The `e`th edge of a batch leads between nodes of batches that were acknowledged before it is sent.
fn ends(batch: u64, e: u64) -> (u64, u64) {
    let known = rows_below(batch.saturating_sub(WINDOW).max(1)).0;
    // The first node becomes a hub.
    let start = if e.is_multiple_of(7) { 0 } else { e * 31 % known };
    (start, e * 17 % known)
}

fn edge_type(e: u64) -> usize {
    usize::from(e.is_multiple_of(3))
}

fn strings(of: impl Iterator<Item = Option<String>>) -> ColumnData {
    let (mut values, mut present) = (StringColumn::default(), Bitmap::default());
    for value in of {
        present.push(value.is_some());
        values.push(value.as_deref().unwrap_or_default());
    }
    ColumnData::Strings { values, present: Some(present) }
}

fn column(key: &str, data: ColumnData) -> Column {
    Column { key: key.to_owned(), data }
}

fn find(properties: Vec<(String, Value)>, key: &str) -> Option<Value> {
    properties.into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn token() -> Token {
    Token::new("fifty kills").unwrap()
}

fn node_batch(batch: u64) -> ImportNodes {
    let numbers = row_numbers(batch);
    let names = numbers
        .clone()
        .map(|n| find(node_properties(n), "name").map(|name| name.as_str().unwrap().to_owned()));
    let ranks = numbers.clone().map(|n| n as i64 - 1000).collect();
    let nodes = NodeBatch {
        label_sets: label_sets(),
        labels: Packed(numbers.map(|n| (n % 3) as u32).collect()),
        columns: vec![
            column("name", strings(names)),
            column("rank", ColumnData::Ints { values: Packed(ranks), present: None }),
        ],
    };
    ImportNodes { import: token(), batch, nodes }
}

/// Numbers of a batch's rows, among all nodes or all edges.
fn row_numbers(batch: u64) -> Range<u64> {
    let (nodes, edges) = rows_below(batch);
    if has_nodes(batch) { nodes..nodes + NODES } else { edges..edges + EDGES }
}

/// What the test knows of the import.
struct Import {
    db: PathBuf,
    /// First id of each batch that is known to be there.
    first_ids: Vec<u64>,
    /// Batches whose answer arrived.
    acknowledged: u64,
    /// Batches that were ever sent.
    sent: u64,
}

enum Waiting {
    Nodes(Ticket<ImportNodes>),
    Edges(Ticket<ImportEdges>),
}

impl Import {
    fn node_id(&self, n: u64) -> u64 {
        self.first_ids[usize::try_from(n / NODES * 3).unwrap()] + n % NODES
    }

    fn edge_batch(&self, batch: u64) -> ImportEdges {
        let numbers = row_numbers(batch);
        let all_ends: Vec<_> = numbers.clone().map(|e| ends(batch, e)).collect();
        let ids = |which: fn(&(u64, u64)) -> u64| all_ends.iter().map(|e| self.node_id(which(e))).collect();
        let weights = numbers.clone().map(|e| e as f64 / 8.0).collect();
        let tags = numbers.clone().map(|e| find(edge_properties(e), "tags").unwrap_or(Value::Nil)).collect();
        let edges = EdgeBatch {
            types: TYPES.map(str::to_owned).to_vec(),
            edge_types: Packed(numbers.map(|e| edge_type(e) as u32).collect()),
            starts: Packed(ids(|e| e.0)),
            ends: Packed(ids(|e| e.1)),
            columns: vec![
                column("weight", ColumnData::Floats { values: Packed(weights), present: None }),
                column("tags", ColumnData::Values(tags)),
            ],
        };
        ImportEdges { import: token(), batch, edges }
    }

    fn send(&mut self, client: &mut Client, batch: u64) -> Result<Waiting> {
        self.sent = self.sent.max(batch + 1);
        let ticket = if has_nodes(batch) {
            Waiting::Nodes(client.send(&node_batch(batch))?)
        } else {
            Waiting::Edges(client.send(&self.edge_batch(batch))?)
        };
        client.flush()?;
        Ok(ticket)
    }

    /// Receives the answer to the batch that is to be acknowledged next.
    fn receive(&mut self, client: &mut Client, ticket: Waiting) -> Result<()> {
        let reply = match ticket {
            Waiting::Nodes(ticket) => client.receive(ticket),
            Waiting::Edges(ticket) => client.receive(ticket),
        }?;
        self.note(self.acknowledged, &reply);
        self.acknowledged += 1;
        Ok(())
    }

    fn note(&mut self, batch: u64, reply: &ImportReply) {
        let [range] = reply.ids[..] else { panic!("batch {batch} was given {:?}", reply.ids) };
        assert_eq!(range.count, rows(batch), "batch {batch} has other rows than were sent");
        match self.first_ids.get(usize::try_from(batch).unwrap()) {
            Some(known) => assert_eq!(*known, range.first, "batch {batch} has other ids than before"),
            None => self.first_ids.push(range.first),
        }
    }

    /// Asks a daemon that was just started what is there, and goes on from that. `end` if the import's end was asked
    /// for: its batches may have been forgotten by then, and what they made in all is told instead.
    fn look(&mut self, client: &mut Client, random: &mut Random, end: bool) {
        let before = self.acknowledged;
        let begun = client.call(&ImportBegin { import: token(), resume: true }).unwrap();
        let (is_forgotten, there) = (begun.ended.is_some(), begun.next);
        assert!(end || !is_forgotten, "nobody ended it");
        if let Some(ended) = begun.ended {
            assert_eq!((ended.batches, (ended.nodes, ended.edges)), (BATCHES, rows_below(BATCHES)));
        }
        assert!(there >= before, "{before} batches were acknowledged, and {there} are there");
        assert!(there <= self.sent, "{} batches were sent, and {there} are there", self.sent);

        let status = client.status().unwrap();
        let read = (count(client, Traversal::nodes()), count(client, Traversal::edges()));
        assert_eq!(read, rows_below(there), "with {there} batches");
        assert_eq!((status.nodes, status.edges), read, "the counters");
        let report = client.call(&Check {}).unwrap();
        assert_eq!(report.problems, [], "with {there} batches");
        assert_eq!((report.nodes, report.edges), read);

        if !is_forgotten {
            assert!(!client.call(&ImportStatus { import: token(), batch: there }).unwrap().done);
            for batch in 0..there {
                let status = client.call(&ImportStatus { import: token(), batch }).unwrap();
                assert!(status.done, "batch {batch} of {there} is missing");
                self.note(batch, &ImportReply { ids: status.ids });
            }
        }
        self.acknowledged = there;
        let old = (0..4).map(|_| random.below(before.max(1))).filter(|batch| *batch < before);
        old.chain(before..there).for_each(|batch| self.compare(client, batch));
    }

    /// Compares all rows of a batch with what was sent.
    fn compare(&self, client: &mut Client, batch: u64) {
        let first = self.first_ids[usize::try_from(batch).unwrap()];
        let ids = (first..first + rows(batch)).map(Into::into).collect();
        let step = if has_nodes(batch) {
            Step::Node { ids, required: true }
        } else {
            Step::Edge { ids, required: true }
        };
        let answer = client.run(Plan::of([step]), ()).unwrap();
        assert_eq!(answer.rows.len() as u64, rows(batch));
        for (row, number) in answer.rows.into_iter().zip(row_numbers(batch)) {
            if has_nodes(batch) {
                let mut node = row[0].as_node().unwrap().clone();
                node.labels.sort_unstable();
                node.properties.sort_by(|a, b| a.0.cmp(&b.0));
                let (labels, properties) = (node_labels(number), node_properties(number));
                assert_eq!(node, Node { id: node.id, labels, properties }, "node {number} of batch {batch}");
            } else {
                let mut edge = row[0].as_edge().unwrap().clone();
                edge.properties.sort_by(|a, b| a.0.cmp(&b.0));
                let (start, end) = ends(batch, number);
                let expected = Edge {
                    id: edge.id,
                    edge_type: TYPES[edge_type(number)].to_owned(),
                    start: self.node_id(start),
                    end: self.node_id(end),
                    properties: edge_properties(number),
                };
                assert_eq!(edge, expected, "edge {number} of batch {batch}");
            }
        }
    }

    /// Loads until so many batches were acknowledged in this life, and leaves the window full.
    fn load(&mut self, client: &mut Client, batches: u64) -> VecDeque<Waiting> {
        let (begun, mut waiting) = (self.acknowledged, VecDeque::new());
        loop {
            // The first batch has the nodes that the others' edges need.
            let window = if self.acknowledged == 0 { 1 } else { WINDOW };
            while (waiting.len() as u64) < window && self.acknowledged + (waiting.len() as u64) < BATCHES {
                let batch = self.acknowledged + waiting.len() as u64;
                waiting.push_back(self.send(client, batch).unwrap());
            }
            if self.acknowledged - begun >= batches || waiting.is_empty() {
                return waiting;
            }
            let oldest = waiting.pop_front().unwrap();
            self.receive(client, oldest).unwrap();
        }
    }
}

fn node_labels(n: u64) -> Vec<String> {
    label_sets()[(n % 3) as usize].clone()
}

fn count(client: &mut Client, of: Traversal) -> u64 {
    u64::try_from(client.value(of.count(), ()).unwrap().unwrap().as_int().unwrap()).unwrap()
}

/// The answer of a daemon that was killed meanwhile, if it came before.
fn answer<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(answer) => Some(answer),
        Err(error @ Error::Server { .. }) => panic!("{error}"),
        Err(_) => None,
    }
}

/// When a life ends.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Starting,
    Begin,
    Batches,
    Checkpoint,
    End,
}

fn moment(life: usize, random: &mut Random) -> Moment {
    match random.below(10) {
        _ if life == KILLS - 1 => Moment::End,
        0 => Moment::Starting,
        1 => Moment::Begin,
        2 | 3 => Moment::Checkpoint,
        _ => Moment::Batches,
    }
}

/// One life of the daemon, which ends by a kill.
fn live(import: &mut Import, moment: Moment, lives_left: u64, random: &mut Random) {
    let daemon = Daemon::spawn(&import.db, &SETTINGS);
    if let Moment::Starting = moment {
        random.pause(Duration::from_millis(30));
        return daemon.kill();
    }
    let daemon = daemon.wait_until_ready();
    let (mut client, mut other) = (daemon.client(), daemon.client());
    let begin = ImportBegin { import: token(), resume: true };
    if let Moment::Begin = moment {
        let ticket = client.send(&begin).unwrap();
        client.flush().unwrap();
        random.pause(Duration::from_micros(400));
        daemon.kill();
        if let Some(reply) = answer(client.receive(ticket)) {
            assert_eq!(reply.next, import.acknowledged);
        }
        return;
    }
    assert_eq!(client.call(&begin).unwrap().next, import.acknowledged);
    // What is left is shared among the lives that are left, so that the last ones find something to do.
    let left = (BATCHES - import.acknowledged).saturating_sub(WINDOW * (lives_left + 1));
    let batches = match moment {
        Moment::End => BATCHES,
        _ => random.below(2 * left / lives_left.max(1) + 1).min(left),
    };
    let waiting = import.load(&mut client, batches);
    let (mut checkpoint, mut end) = (None, None);
    match moment {
        Moment::Checkpoint => {
            checkpoint = Some(other.send(&Checkpoint {}).unwrap());
            other.flush().unwrap();
        }
        Moment::End => {
            end = Some(client.send(&ImportEnd { import: token() }).unwrap());
            client.flush().unwrap();
        }
        _ => {}
    }
    random.pause(Duration::from_millis(6));
    daemon.kill();
    for ticket in waiting {
        let received = import.receive(&mut client, ticket);
        if answer(received).is_none() {
            break;
        }
    }
    if let Some(ticket) = checkpoint {
        answer(other.receive(ticket));
    }
    if let Some(reply) = end.and_then(|ticket| answer(client.receive(ticket))) {
        assert_eq!((reply.batches, (reply.nodes, reply.edges)), (BATCHES, rows_below(BATCHES)));
    }
}

fn seed() -> u64 {
    let given = std::env::var("GRAPHITE_SEED").ok().map(|text| text.parse().unwrap());
    given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64)
}

fn expected() -> Contents {
    let mut expected = Contents::default();
    for batch in 0..BATCHES {
        for number in row_numbers(batch) {
            if has_nodes(batch) {
                let labels = node_labels(number);
                expected.nodes.push(format!("{labels:?} {}", properties(&node_properties(number))));
            } else {
                let (start, end) = ends(batch, number);
                let text = format!("{:?} {}", TYPES[edge_type(number)], properties(&edge_properties(number)));
                expected.edges.push((usize::try_from(start).unwrap(), usize::try_from(end).unwrap(), text));
            }
        }
    }
    expected.edges.sort_unstable();
    expected
}

#[test]
fn a_daemon_killed_fifty_times_in_an_import_loses_and_adds_nothing() {
    let seed = seed();
    println!("GRAPHITE_SEED={seed} cargo test -p graphite-tests --test import_kills -- --nocapture");
    let mut random = Random(seed);
    let scratch = Scratch::new();
    let mut import = Import { db: scratch.path("db"), first_ids: Vec::new(), acknowledged: 0, sent: 0 };
    for life in 0..KILLS {
        let moment = moment(life, &mut random);
        let before = import.acknowledged;
        live(&mut import, moment, (KILLS - life) as u64, &mut random);
        let acknowledged = import.acknowledged;
        let daemon = Daemon::start(&import.db, &SETTINGS);
        import.look(&mut daemon.client(), &mut random, matches!(moment, Moment::End));
        println!(
            "life {life}: {moment:?}, batches {before} to {acknowledged}, and {} without an answer",
            import.acknowledged - acknowledged
        );
        // The look is no life of its own: what it left behind is what a crash leaves.
        daemon.kill();
    }
    let daemon = Daemon::start(&import.db, &SETTINGS);
    let mut client = daemon.client();
    assert_eq!(import.acknowledged, BATCHES, "the last life loads all that is left");
    let reply = client.call(&ImportEnd { import: token() }).unwrap();
    assert_eq!((reply.batches, (reply.nodes, reply.edges)), (BATCHES, rows_below(BATCHES)));
    assert!(daemon.stop().success());
    let daemon = Daemon::start(&import.db, &SETTINGS);
    let mut client = daemon.client();
    assert_eq!(client.call(&Check {}).unwrap().problems, []);
    assert!(contents(&mut client) == expected(), "the graph is not what was sent");
    assert_eq!(client.call(&ImportEnd { import: token() }).unwrap(), reply);
    assert_eq!(client.call(&ImportBegin { import: token(), resume: true }).unwrap().ended, Some(reply));
    assert!(daemon.stop().success());
}
