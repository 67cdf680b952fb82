//! Prints what plans cost on a power-law graph in memory, next to the same work done by hand:
//! `cargo run --release -p graphite-query --example query_speed`.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use graphite_graph::import::{Column, EdgeBatch, NodeBatch};
use graphite_graph::traverse::{Follow, walk_end_count};
use graphite_graph::{Direction, GraphDb, LabelSetId, NodeId, Snapshot, Value, View};
use graphite_query::{
    Batch, Budget, Comparison, Cursor, EntityRef, Error, Expansion, Operand, OrderBy, Plan, Prepared,
    Progress, Step,
};
use graphite_store::StoreOptions;
use graphite_store::clock::SimClock;
use graphite_store::disk::SimDisk;

const SCALE: u32 = 17;
const NODES: u64 = 1 << SCALE;
const EDGES: usize = 1_860_000;

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// One end of each edge of an R-MAT with 0.57, 0.19, 0.19.
    fn edge(&mut self) -> (u64, u64) {
        let (mut from, mut to) = (0, 0);
        for _ in 0..SCALE {
            let draw = self.below(100);
            from = from << 1 | u64::from(draw >= 76);
            to = to << 1 | u64::from((57..76).contains(&draw) || draw >= 95);
        }
        // An odd factor shuffles, so that hubs are not neighbours in the table.
        let shuffle = |node: u64| node.wrapping_mul(0x9e37_79b1) % NODES;
        (shuffle(from), shuffle(to))
    }
}

fn build() -> Result<(Snapshot, Vec<NodeId>), Box<dyn std::error::Error>> {
    let options =
        StoreOptions { create: true, cache_bytes: 1 << 30, wal_bytes: 256 << 20, ..StoreOptions::default() };
    let clock = Arc::new(SimClock::default());
    let db = GraphDb::open(Arc::new(SimDisk::new()), clock, Path::new("/graph"), options)?;
    let (name, type_) = (db.key_id_or_create("name")?, db.type_id_or_create("KNOWS")?);
    let importer = db.import();
    let columns =
        vec![Column { key: name, values: (0..NODES as i64).map(|index| Value::Int(index % 1000)).collect() }];
    let nodes = NodeBatch { label_sets: vec![LabelSetId(0); NODES as usize], columns };
    let (imported, _) = importer.nodes(b"speed", 0, nodes)?;
    let ids: Vec<NodeId> = (0..NODES).filter_map(|row| imported.node(row)).collect();
    let mut random = Random(1);
    let edges: Vec<(u64, u64)> = (0..EDGES).map(|_| random.edge()).collect();
    for (batch, rows) in edges.chunks(100_000).enumerate() {
        let starts = rows.iter().map(|(from, _)| ids[*from as usize]).collect();
        let ends = rows.iter().map(|(_, to)| ids[*to as usize]).collect();
        let rows = EdgeBatch { starts, ends, types: vec![type_; rows.len()], columns: Vec::new() };
        importer.edges(b"speed", batch as u64 + 1, rows)?;
    }
    db.store().wait_visible(db.store().applied_lsn())?;
    Ok((db.snapshot()?, ids))
}

/// Mean nanoseconds of a plan, over some starts.
fn time(what: &str, starts: &[NodeId], mut work: impl FnMut(NodeId) -> u64) {
    let mut rows = 0;
    for &id in &starts[..starts.len() / 10] {
        black_box(work(id));
    }
    let begin = Instant::now();
    for &id in starts {
        rows += black_box(work(id));
    }
    let each = begin.elapsed().as_nanos() as u64 / starts.len() as u64;
    println!("{what:44} {each:>12} ns   {:>10} rows or counted", rows / starts.len() as u64);
}

fn run(view: &Snapshot, plan: Plan, batch: &mut Batch) -> Result<u64, Error> {
    let mut cursor = Cursor::open(Arc::new(Prepared::new(plan)?), Arc::default())?;
    let (budget, mut rows) = (Budget::default(), 0);
    loop {
        let progress = cursor.next_batch(view, 1000, batch, &budget)?;
        rows += batch.len() as u64;
        if progress == Progress::Done {
            return Ok(rows);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (view, ids) = build()?;
    let mut random = Random(9);
    let mut starts =
        |count: usize| -> Vec<NodeId> { (0..count).map(|_| ids[random.below(NODES) as usize]).collect() };
    let node = |id: NodeId| Step::Node { ids: vec![EntityRef::Id(id.0)], required: false };
    let out = || Step::Expand { direction: Direction::Out, types: vec![], to: Expansion::Nodes };
    let keys = || Step::Properties { keys: vec!["name".into()] };
    let mut batch = Batch::default();
    let mut plan = |steps: Vec<Step>| run(&view, Plan::of(steps), &mut batch).unwrap_or_default();

    let many = starts(100_000);
    time("view.node by hand", &many, |id| view.node(id).map_or(0, |node| u64::from(node.is_some())));
    time("node", &many, |id| plan(vec![node(id)]));
    time("node, properties", &many, |id| plan(vec![node(id), keys()]));
    time("node, expand, count", &many, |id| plan(vec![node(id), out(), Step::Count]));
    time("node, expand, ids", &many, |id| plan(vec![node(id), out(), Step::Ids]));
    let some = starts(1_000);
    let follow = Follow { direction: Direction::Out, types: None };
    time("2-hop distinct count by hand", &some, |id| {
        walk_end_count(&view, &[id.slot()], follow, 2, &mut |_| true).unwrap_or_default()
    });
    time("node, expand x2, distinct, count", &some, |id| {
        plan(vec![node(id), out(), out(), Step::Distinct, Step::Count])
    });
    time("node, expand x2, distinct, ids", &some, |id| {
        plan(vec![node(id), out(), out(), Step::Distinct, Step::Ids])
    });
    time("node, expand x2, filter, count", &some, |id| {
        let value = Some(Operand::from(7));
        let filter = Step::Filter { key: "name".into(), comparison: Comparison::Eq, value };
        plan(vec![node(id), out(), out(), filter, Step::Count])
    });
    let few = starts(50);
    time("3-hop distinct count by hand", &few, |id| {
        walk_end_count(&view, &[id.slot()], follow, 3, &mut |_| true).unwrap_or_default()
    });
    time("node, expand x3, distinct, count", &few, |id| {
        plan(vec![node(id), out(), out(), out(), Step::Distinct, Step::Count])
    });
    let khop = || Step::KHop { direction: Direction::Out, types: vec![], min: 1, max: 3 };
    time("node, khop 1..3, count", &few, |id| plan(vec![node(id), khop(), Step::Count]));
    time("node, khop 1..3, ids", &few, |id| plan(vec![node(id), khop(), Step::Ids]));
    let once = starts(3);
    let by = || OrderBy::Key("name".into());
    time("nodes, order, limit 10, properties", &once, |_| {
        let order = Step::Order { by: by(), desc: true };
        plan(vec![Step::Nodes { label: None }, order, Step::Limit { n: 10 }, keys()])
    });
    Ok(())
}
