//! Prints how many one-edge write sets a second go through the applier, on a real file (Linux):
//! `cargo run --release -p graphite-graph --example commit_speed`.
//!
//! First the applier alone: write sets that are ready, many in a group, by the processor time of the one thread. Then
//! whole transactions with their locks and leases, by the clock: of one thread, and of several. `APPLIER=32` measures only
//! the applier, several times, with so many write sets in a group. To allocate as the daemon does on two processors, have
//! `MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=1048576 MALLOC_TRIM_THRESHOLD_=1048576` in the environment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use graphite_graph::apply::{Spaces, apply_all};
use graphite_graph::import::{EdgeBatch, NodeBatch};
use graphite_graph::{
    EdgeEnds, EdgeId, EdgeSlot, GraphDb, LabelSetId, NodeId, ReadIntent, Result, TypeId, Value, View,
    WriteSet,
};
use graphite_store::StoreOptions;
use graphite_store::clock::RealClock;
use graphite_store::disk::RealDisk;
use nix::time::{ClockId, clock_gettime};

const NODES: usize = 1 << 17;
const EDGES: usize = 500_000;
const SETS: usize = 200_000;
const GROUP_SIZES: [usize; 4] = [1, 8, 32, 128];
const THREADS: usize = 8;
const COMMITS_PER_THREAD: usize = 20_000;
/// Commits of a thread between two waits for the disk, so that the log keeps up.
const COMMITS_PER_SYNC: usize = 50;
/// The same for the applier alone: about what comes while a disk syncs.
const SETS_PER_SYNC: usize = 32;

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

/// Time that this thread had a processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock");
    time.into()
}

fn report(what: &str, count: usize, took: Duration) {
    println!("{what:52} {:8.0} k/s", count as f64 / took.as_secs_f64() / 1000.0);
}

fn load(db: &GraphDb, type_: TypeId, random: &mut Random) -> Result<Vec<NodeId>> {
    let importer = db.import();
    let rows = NodeBatch { label_sets: vec![LabelSetId(0); NODES], columns: Vec::new() };
    let (imported, _) = importer.nodes(b"speed", 0, rows)?;
    let ids: Vec<NodeId> = (0..NODES as u64).filter_map(|row| imported.node(row)).collect();
    let starts = (0..EDGES).map(|_| ids[random.below(NODES)]).collect();
    let ends = (0..EDGES).map(|_| ids[random.below(NODES)]).collect();
    let rows = EdgeBatch { starts, ends, types: vec![type_; EDGES], columns: Vec::new() };
    let (_, lsn) = importer.edges(b"speed", 1, rows)?;
    db.store().wait_visible(lsn)?;
    Ok(ids)
}

/// Write sets as they come, in groups of one size.
fn applier_alone(
    db: &GraphDb,
    type_: TypeId,
    ids: &[NodeId],
    random: &mut Random,
    first: EdgeSlot,
    size: usize,
) -> Result<()> {
    let set = |number: usize| {
        let mut set = WriteSet::default();
        let id = EdgeId::new(EdgeSlot(first.0 + number as u64), 0);
        let (start, end) = (ids[random.below(NODES)], ids[random.below(NODES)]);
        set.create_edge(EdgeEnds { id, type_, start, end }, &[]).expect("no value has to be kept");
        set
    };
    let sets: Vec<WriteSet> = (0..SETS).map(set).collect();
    let mut spaces = Spaces::default();
    let (mut turns, begun) = (Duration::ZERO, processor_time());
    for some in sets.chunks(size.max(SETS_PER_SYNC)) {
        let mut lsn = db.store().applied_lsn();
        let turns_begun = processor_time();
        for group in some.chunks(size) {
            let mut turn = db.store().turn()?;
            apply_all(&mut turn, &mut spaces, &group.iter().collect::<Vec<_>>())?;
            lsn = turn.commit()?;
        }
        turns += processor_time() - turns_begun;
        db.store().wait_visible(lsn)?;
    }
    report(&format!("applier alone, {size} one-edge write sets in a group"), SETS, turns);
    report("    with writing the log and dropping old versions", SETS, processor_time() - begun);
    Ok(())
}

/// Whole transactions that make an edge each.
fn transactions(db: &GraphDb, type_: TypeId, ids: &[NodeId], threads: usize) -> Result<()> {
    let before = db.commit_counts();
    let begun = Instant::now();
    let work = |thread: usize| -> Result<()> {
        let mut random = Random(thread as u64 + 77);
        for number in 1..=COMMITS_PER_THREAD {
            let mut tx = db.begin()?;
            tx.create_edge(ids[random.below(NODES)], type_, ids[random.below(NODES)], &[])?;
            let lsn = tx.commit()?.lsn;
            if number % COMMITS_PER_SYNC == 0 {
                db.store().wait_visible(lsn)?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        all.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })?;
    let took = begun.elapsed();
    let after = db.commit_counts();
    let (sets, groups) = (after.sets - before.sets, after.groups - before.groups);
    report(&format!("transactions with one edge, {threads} threads, by the clock"), sets as usize, took);
    println!("{:52} {:8.2}", "    write sets in a group", sets as f64 / groups as f64);
    Ok(())
}

/// One transaction that reads and changes many nodes, in one statement.
fn large_transaction(db: &GraphDb, ids: &[NodeId]) -> Result<()> {
    let key = db.key_id_or_create("seen")?;
    for (what, intent) in [("S", ReadIntent::Share), ("U", ReadIntent::Update)] {
        let mut tx = db.begin()?;
        tx.set_read_intent(intent);
        let begun = processor_time();
        for &id in ids.iter().step_by(7) {
            tx.property(id, key)?;
            tx.set_node_property(id, key, Value::Int(1))?;
        }
        report(
            &format!("reads in {what} and changes in one transaction"),
            NODES / 7,
            processor_time() - begun,
        );
    }
    Ok(())
}

fn measure(db: &GraphDb) -> Result<()> {
    let mut random = Random(42);
    let type_ = db.type_id_or_create("KNOWS")?;
    let ids = load(db, type_, &mut random)?;
    let mut first = EdgeSlot(EDGES as u64 * 2);
    let sizes = match std::env::var("APPLIER") {
        Ok(size) => vec![size.parse().unwrap_or(32); 5],
        Err(_) => GROUP_SIZES.to_vec(),
    };
    for size in sizes {
        applier_alone(db, type_, &ids, &mut random, first, size)?;
        first.0 += SETS as u64;
    }
    if std::env::var_os("APPLIER").is_some() {
        return Ok(());
    }
    for threads in [1, THREADS] {
        transactions(db, type_, &ids, threads)?;
    }
    large_transaction(db, &ids)?;
    let count = db.begin()?.edge_count()?;
    assert_eq!(count as usize, EDGES + GROUP_SIZES.len() * SETS + (1 + THREADS) * COMMITS_PER_THREAD);
    Ok(())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("graphite-speed-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    // What the disk takes for its syncs is not what is to be measured.
    let options =
        StoreOptions { create: true, cache_bytes: 512 << 20, durable: false, ..StoreOptions::default() };
    let db = GraphDb::open(Arc::new(RealDisk), Arc::new(RealClock::default()), &dir.join("graph"), options)?;
    let done = measure(&db);
    if done.is_ok() && std::env::var_os("CHECK").is_some() {
        println!("{:?}", db.check()?.problems);
    }
    drop(db);
    std::fs::remove_dir_all(&dir)?;
    Ok(done?)
}
