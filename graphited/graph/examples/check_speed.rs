//! Prints how fast a check is, on a generated graph in a real file (Linux):
//! `cargo run --release -p graphite-graph --example check_speed [NODES]`.
//!
//! The graph has 12 edges a node, two properties on each node and one on each edge. Its file is in the system's cache,
//! and the store's own cache is far smaller than the file.

use std::sync::Arc;

use graphite_graph::import::{Column, EdgeBatch, NodeBatch};
use graphite_graph::{GraphDb, LabelSetId, NodeId, NodeSlot, Result, Value};
use graphite_store::StoreOptions;
use graphite_store::clock::RealClock;
use graphite_store::disk::RealDisk;

const EDGES_PER_NODE: usize = 12;
const BATCH_ROWS: usize = 500_000;
const CACHE_BYTES: usize = 32 << 20;

fn random(number: usize) -> usize {
    let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20) as usize
}

fn load(db: &GraphDb, nodes: usize) -> Result<()> {
    let (name, age, since) =
        (db.key_id_or_create("name")?, db.key_id_or_create("age")?, db.key_id_or_create("since")?);
    let type_ = db.type_id_or_create("knows")?;
    let import = db.import();
    let ids = |row: usize| NodeId::new(NodeSlot(row as u64), 0);
    for (batch, first) in (0..nodes).step_by(BATCH_ROWS).enumerate() {
        let rows = first..nodes.min(first + BATCH_ROWS);
        let names = rows.clone().map(|row| Value::from(format!("somebody called {row}"))).collect();
        let ages = rows.clone().map(|row| Value::Int(random(row) as i64 % 100)).collect();
        let columns = vec![Column { key: name, values: names }, Column { key: age, values: ages }];
        import.nodes(
            b"nodes",
            batch as u64,
            NodeBatch { label_sets: vec![LabelSetId(0); rows.len()], columns },
        )?;
    }
    let edges = nodes * EDGES_PER_NODE;
    for (batch, first) in (0..edges).step_by(BATCH_ROWS).enumerate() {
        let rows = first..edges.min(first + BATCH_ROWS);
        let values = rows.clone().map(|row| Value::Int(row as i64 % 50)).collect();
        let edges = EdgeBatch {
            starts: rows.clone().map(|row| ids(random(row) % nodes)).collect(),
            ends: rows.clone().map(|row| ids(random(row + edges) % nodes)).collect(),
            types: vec![type_; rows.len()],
            columns: vec![Column { key: since, values }],
        };
        import.edges(b"edges", batch as u64, edges)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nodes = std::env::args().nth(1).map_or(Ok(250_000), |text| text.parse())?;
    let dir = std::env::temp_dir().join(format!("graphite-check-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let measured = measure(&dir.join("speed.graphite"), nodes);
    std::fs::remove_dir_all(&dir)?;
    Ok(measured?)
}

fn measure(path: &std::path::Path, nodes: usize) -> Result<()> {
    let options =
        StoreOptions { create: true, durable: false, cache_bytes: CACHE_BYTES, ..StoreOptions::default() };
    let db = GraphDb::open(Arc::new(RealDisk), Arc::new(RealClock::default()), path, options)?;
    load(&db, nodes)?;
    db.store().checkpoint()?;
    for _ in 0..3 {
        let resident = db.store().status().pages_resident;
        let report = db.check()?;
        let megabytes = report.pages_used as f64 * 8192.0 / 1e6;
        println!(
            "{} nodes, {} edges, {megabytes:.0} MB used: {:?}, {:.0} MB/s of file, {:.0} MB read; {} problems; resident {resident} -> {}",
            report.nodes,
            report.edges,
            report.took,
            megabytes / report.took.as_secs_f64(),
            report.bytes_read as f64 / 1e6,
            report.problems.len(),
            db.store().status().pages_resident,
        );
        report.problems.iter().take(5).for_each(|problem| println!("  {problem}"));
    }
    Ok(())
}
