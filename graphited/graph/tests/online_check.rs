//! A check on a snapshot while others write, pages are evicted and the log is recycled: what is sound is called so, and as
//! large as it was at that moment.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use graphite_graph::{Error, GraphDb, LabelId, NodeId, Result, Value};
use graphite_store::StoreOptions;
use graphite_store::clock::RealClock;
use graphite_store::disk::SimDisk;

const WRITERS: usize = 3;
/// Commits of all of them, during which one check follows the other.
const COMMITS: u64 = 3_000;

/// A node of its own, a long value, two edges with the node that all share; after a while they go again.
fn one_change(db: &GraphDb, hub: NodeId, mine: &mut Vec<NodeId>, number: usize) -> Result<()> {
    let (type_, key) = (db.type_id_or_create("LINKS")?, db.key_id_or_create("text")?);
    let mut tx = db.begin()?;
    let text = Value::String("x".repeat(number * 37 % 12_000));
    let node = tx.create_node(&[LabelId(0)], &[(key, text)])?;
    tx.create_edge(node, type_, hub, &[])?;
    tx.create_edge(hub, type_, node, &[(key, Value::Int(7))])?;
    if mine.len() > 60 {
        tx.delete_node(mine[0], true)?;
    }
    let committed = tx.commit()?;
    db.store().wait_visible(committed.lsn)?;
    if mine.len() > 60 {
        mine.remove(0);
    }
    mine.push(node);
    Ok(())
}

fn write(db: &GraphDb, hub: NodeId, commits: &AtomicU64, is_over: &AtomicBool) {
    let (mut mine, mut number) = (Vec::new(), 0);
    while commits.load(Ordering::Relaxed) < COMMITS && !is_over.load(Ordering::Relaxed) {
        number += 1;
        match one_change(db, hub, &mut mine, number) {
            Ok(()) => _ = commits.fetch_add(1, Ordering::Relaxed),
            // They are in each other's way at the node that they share.
            Err(Error::Lock(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_check_beside_writers_finds_nothing_wrong() {
    let (disk, clock) = (Arc::new(SimDisk::new()), Arc::new(RealClock::default()));
    let options = StoreOptions {
        create: true,
        cache_bytes: 1 << 20,
        wal_bytes: 1 << 20,
        old_versions_bytes_max: 64 << 20,
        ..StoreOptions::default()
    };
    let db = GraphDb::open(disk, clock, Path::new("/graph"), options).unwrap();
    db.store().start_threads();
    db.label_id_or_create("Node").unwrap();
    let mut tx = db.begin().unwrap();
    let hub = tx.create_node(&[], &[]).unwrap();
    tx.commit().unwrap();
    db.store().flush().unwrap();
    let (commits, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let mut sizes = Vec::new();
    let mut problems = Vec::new();
    std::thread::scope(|scope| {
        let writers = [(); WRITERS].map(|()| scope.spawn(|| write(&db, hub, &commits, &is_over)));
        while problems.is_empty() && !writers.iter().all(|writer| writer.is_finished()) {
            match db.check() {
                Ok(report) => {
                    sizes.push(report.nodes);
                    problems.extend(report.problems.iter().map(ToString::to_string));
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(problems.is_empty(), "check {}: {}", sizes.len(), problems.join("; "));
    sizes.dedup();
    assert!(sizes.len() > 3, "the checks saw {} states: nobody wrote meanwhile", sizes.len());
    assert!(db.store().status().checkpoints > 0 && db.store().status().page_reads > 0);
    assert!(db.check().unwrap().is_sound());
    db.store().close().unwrap();
}
