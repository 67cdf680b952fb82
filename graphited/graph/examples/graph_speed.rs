//! Prints what processor time imports, traversals and commits cost on a real file, next to an in-memory CSR (Linux):
//! `cargo run --release -p graphite-graph --example graph_speed [ROWS_PER_BATCH]`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use graphite_graph::import::{Column, EdgeBatch, NodeBatch};
use graphite_graph::traverse::{Follow, khop_count, shortest_path, walk_end_count};
use graphite_graph::{Direction, GraphDb, LabelSetId, NodeId, NodeSlot, Result, Value, View};
use graphite_store::StoreOptions;
use graphite_store::clock::RealClock;
use graphite_store::disk::RealDisk;

const SCALE: u32 = 17;
const EDGES: usize = 1_860_000;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// R-MAT with 0.57, 0.19, 0.19, its nodes shuffled.
fn power_law_edges(random: &mut Random) -> Vec<(usize, usize)> {
    let mut shuffled: Vec<usize> = (0..1 << SCALE).collect();
    for at in (1..shuffled.len()).rev() {
        shuffled.swap(at, random.below(at + 1));
    }
    (0..EDGES)
        .map(|_| {
            let (mut from, mut to) = (0, 0);
            for _ in 0..SCALE {
                let draw = random.below(100);
                from = from << 1 | usize::from(draw >= 76);
                to = to << 1 | usize::from((57..76).contains(&draw) || draw >= 95);
            }
            (shuffled[from], shuffled[to])
        })
        .collect()
}

struct Csr {
    offsets: Vec<usize>,
    targets: Vec<u32>,
}

impl Csr {
    fn new(edges: &[(usize, usize)]) -> Csr {
        let mut sorted = edges.to_vec();
        sorted.sort_unstable();
        let offsets = (0..=1 << SCALE).map(|node| sorted.partition_point(|edge| edge.0 < node)).collect();
        Csr { offsets, targets: sorted.iter().map(|edge| edge.1 as u32).collect() }
    }

    fn walk_ends(&self, start: usize, steps: u32) -> u64 {
        let mut level = vec![start];
        let mut bits = Vec::new();
        for step in 1..=steps {
            bits = vec![0u64; (1 << SCALE) / 64];
            let mut next = Vec::new();
            for &from in &level {
                for &to in &self.targets[self.offsets[from]..self.offsets[from + 1]] {
                    let (word, bit) = (&mut bits[to as usize / 64], 1u64 << (to % 64));
                    if *word & bit == 0 {
                        *word |= bit;
                        if step < steps {
                            next.push(to as usize);
                        }
                    }
                }
            }
            level = next;
        }
        bits.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// Time that this thread had a processor; on a busy machine the only thing worth printing.
struct Instant(Duration);

impl Instant {
    fn now() -> Instant {
        let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let nanos = line.split(' ').next().and_then(|nanos| nanos.parse().ok());
        Instant(Duration::from_nanos(nanos.unwrap_or(0)))
    }

    fn elapsed(&self) -> Duration {
        Instant::now().0 - self.0
    }
}

fn report(what: &str, took: Duration, times: usize) {
    println!(
        "{what:44} {:10.1} us each, {:8.3} s in all",
        took.as_secs_f64() * 1e6 / times as f64,
        took.as_secs_f64()
    );
}

fn import(db: &GraphDb, edges: &[(usize, usize)], rows: usize) -> Result<Vec<NodeId>> {
    let key = db.key_id_or_create("since")?;
    let type_ = db.type_id_or_create("KNOWS")?;
    let importer = db.import();
    let begun = Instant::now();
    let nodes = 1 << SCALE;
    let ages = (0..nodes).map(|node| Value::Int(node % 100)).collect();
    let batch = NodeBatch {
        label_sets: vec![LabelSetId(0); nodes as usize],
        columns: vec![Column { key, values: ages }],
    };
    let (imported, _) = importer.nodes(b"speed", 0, batch)?;
    report("import of nodes, with a property", begun.elapsed(), nodes as usize);
    let ids: Vec<NodeId> = (0..nodes as u64).filter_map(|row| imported.node(row)).collect();
    let begun = Instant::now();
    for (number, part) in edges.chunks(rows).enumerate() {
        let batch = EdgeBatch {
            starts: part.iter().map(|edge| ids[edge.0]).collect(),
            ends: part.iter().map(|edge| ids[edge.1]).collect(),
            types: vec![type_; part.len()],
            columns: vec![Column { key, values: vec![Value::Int(1999); part.len()] }],
        };
        let (_, lsn) = importer.edges(b"speed", 1 + number as u64, batch)?;
        db.store().wait_visible(lsn)?;
    }
    report("import of edges, with a property", begun.elapsed(), edges.len());
    Ok(ids)
}

fn hops(db: &GraphDb, csr: &Csr, ids: &[NodeId], random: &mut Random) -> Result<()> {
    let view = db.snapshot()?;
    let follow = Follow { direction: Direction::Out, types: None };
    for (steps, times) in [(1, 20_000), (2, 2_000), (3, 50)] {
        let starts: Vec<usize> = (0..times).map(|_| random.below(ids.len())).collect();
        let begun = Instant::now();
        let expected: u64 = starts.iter().map(|start| csr.walk_ends(*start, steps)).sum();
        let of_csr = begun.elapsed();
        let begun = Instant::now();
        let mut found = 0;
        for start in &starts {
            found += walk_end_count(&view, &[ids[*start].slot()], follow, steps, &mut |_| true)?;
        }
        let ours = begun.elapsed();
        assert_eq!(found, expected);
        report(&format!("{steps} hops, CSR"), of_csr, times);
        report(&format!("{steps} hops"), ours, times);
        println!("{:44} {:10.2} x", "", ours.as_secs_f64() / of_csr.as_secs_f64());
    }
    let begun = Instant::now();
    for _ in 0..50 {
        let start = [ids[random.below(ids.len())].slot()];
        black_box(khop_count(&view, &start, follow, 1, 3, &mut |_| true)?);
    }
    report("neighbourhood of 1 to 3 hops", begun.elapsed(), 50);
    let begun = Instant::now();
    for _ in 0..500 {
        let (from, to) = (ids[random.below(ids.len())].slot(), ids[random.below(ids.len())].slot());
        black_box(shortest_path(&view, from, to, follow, 20, &mut |_| true)?);
    }
    report("shortest path", begun.elapsed(), 500);
    let begun = Instant::now();
    let mut after: Option<NodeSlot> = None;
    let mut sum = 0;
    loop {
        let scan = view.scan_nodes(after, None, 1024)?;
        for head in &scan.found {
            sum += view.degree(head.id, Direction::Out, None)?;
        }
        after = scan.resume;
        if after.is_none() {
            break;
        }
    }
    report("scan of nodes, with degree", begun.elapsed(), ids.len());
    assert_eq!(sum, EDGES as u64);
    Ok(())
}

fn commits(db: &GraphDb, ids: &[NodeId], random: &mut Random) -> Result<()> {
    let type_ = db.type_id_or_create("KNOWS")?;
    let times = 20_000;
    let begun = Instant::now();
    for number in 1..=times {
        let mut tx = db.begin()?;
        tx.create_edge(ids[random.below(ids.len())], type_, ids[random.below(ids.len())], &[])?;
        let lsn = tx.commit()?.lsn;
        if number % 100 == 0 {
            db.store().wait_visible(lsn)?;
        }
    }
    report("transaction with one edge, synced by 100", begun.elapsed(), times);
    let begun = Instant::now();
    let mut tx = db.begin()?;
    for _ in 0..times {
        tx.create_edge(ids[random.below(ids.len())], type_, ids[random.below(ids.len())], &[])?;
    }
    report("edge in a large transaction", begun.elapsed(), times);
    let begun = Instant::now();
    tx.commit()?;
    report("its commit", begun.elapsed(), times);
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let rows = std::env::args().nth(1).map_or(Ok(200_000), |rows| rows.parse())?;
    let dir = std::env::temp_dir().join(format!("graphite-speed-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let options = StoreOptions { create: true, cache_bytes: 512 << 20, ..StoreOptions::default() };
    let db = GraphDb::open(Arc::new(RealDisk), Arc::new(RealClock::default()), &dir.join("graph"), options)?;
    let mut random = Random(42);
    let edges = power_law_edges(&mut random);
    let csr = Csr::new(&edges);
    let done = import(&db, &edges, rows)
        .and_then(|ids| hops(&db, &csr, &ids, &mut random).map(|()| ids))
        .and_then(|ids| commits(&db, &ids, &mut random));
    if std::env::var_os("CHECK").is_some() {
        println!("{:?}", db.check()?.problems);
    }
    println!("{:?}", db.store().status());
    drop(db);
    std::fs::remove_dir_all(&dir)?;
    Ok(done?)
}
