//! The check and the salvage of a file on a disk that does not show all of it: one bad place must hide no other, and what
//! only could not be looked at must not count as damage.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use common::open;
use graphite_graph::check::{CheckReport, Problem, Progress, check_file};
use graphite_graph::import::{Column, EdgeBatch, NodeBatch};
use graphite_graph::salvage::{SalvageReport, salvage};
use graphite_graph::{LabelSetId, NodeId, NodeSlot, Result, Value};
use graphite_store::clock::SimClock;
use graphite_store::disk::{Disk, Fault, OpKind, SimDisk};
use graphite_store::{PAGE_BYTES, PageNo, StoreOptions, wal_dir};

const PATH: &str = "/graph";
/// More than two pages of the node table have room for.
const NODES: usize = 600;
const EDGES: usize = 900;
const CACHE_BYTES: usize = 8 << 20;

/// A graph that was closed, with a name for each node.
fn closed() -> SimDisk {
    let disk = SimDisk::new();
    let db = open(&disk);
    let key = db.key_id_or_create("name").unwrap();
    let type_ = db.type_id_or_create("next").unwrap();
    let id = |number: usize| NodeId::new(NodeSlot((number % NODES) as u64), 0);
    let values = (0..NODES).map(|row| Value::from(format!("node {row}"))).collect();
    let nodes = NodeBatch { label_sets: vec![LabelSetId(0); NODES], columns: vec![Column { key, values }] };
    let edges = EdgeBatch {
        starts: (0..EDGES).map(id).collect(),
        ends: (0..EDGES).map(|row| id(row * 7 + 1)).collect(),
        types: vec![type_; EDGES],
        columns: Vec::new(),
    };
    db.import().nodes(b"nodes", 0, nodes).unwrap();
    db.import().edges(b"edges", 0, edges).unwrap();
    db.store().flush().unwrap();
    db.store().close().unwrap();
    drop(db);
    disk.process_crash()
}

fn checked(disk: &SimDisk) -> Result<CheckReport> {
    let clock = Arc::new(SimClock::default());
    let progress = Progress::new(&|_, _| {});
    let report = check_file(Arc::new(disk.clone()), clock, Path::new(PATH), CACHE_BYTES, &progress)?;
    Ok(report.found)
}

fn salvaged(disk: &SimDisk, out: &str) -> Result<SalvageReport> {
    let (disk, clock): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), Arc::new(SimClock::default()) as _);
    let options = StoreOptions {
        create: true,
        cache_bytes: CACHE_BYTES,
        wal_bytes: 8 << 20,
        ..StoreOptions::default()
    };
    let progress = Progress::new(&|_, _| {});
    salvage(&disk, &clock, Path::new(PATH), Path::new(out), options, &progress)
}

/// Every read of these pages fails from now on.
fn unreadable(disk: &SimDisk, pages: std::ops::Range<usize>) {
    let bytes = (pages.start * PAGE_BYTES) as u64..(pages.end * PAGE_BYTES) as u64;
    disk.inject(Fault::on(OpKind::Read).at_path(PATH).within(bytes).forever());
}

fn named(problems: &[Problem], page: usize) -> Vec<&Problem> {
    problems.iter().filter(|problem| problem.page == Some(PageNo(page as u32))).collect()
}

/// A sector that the disk gives back no more, in each page of the file in turn.
#[test]
fn an_unreadable_page_is_named_and_the_rest_is_checked_and_salvaged() {
    let whole = closed();
    let sound = checked(&whole).unwrap();
    assert!(sound.is_sound() && sound.nodes == NODES as u64 && sound.edges == EDGES as u64);
    let pages = whole.read_file(PATH).unwrap().len() / PAGE_BYTES;
    for page in 0..pages {
        let disk = whole.fork();
        unreadable(&disk, page..page + 1);
        let report = checked(&disk).unwrap_or_else(|error| panic!("page {page}: {error}"));
        let is_in_use = page < 3 || sound.pages.contains(&PageNo(page as u32));
        let told = named(&report.problems, page);
        assert_eq!(told.len(), usize::from(is_in_use), "page {page}: {:?}", report.problems);
        assert!(report.problems.len() <= 2, "page {page}, and what follows: {:?}", report.problems);
        assert!(told.iter().all(|problem| problem.why.contains("injected fault")), "{told:?}");
        let saved = salvaged(&disk, "/saved").unwrap_or_else(|error| panic!("page {page}: {error}"));
        assert_eq!(!named(&saved.lost, page).is_empty(), is_in_use, "page {page}: {:?}", saved.lost);
        assert!(saved.nodes >= NODES as u64 - 254, "page {page}: {saved:?}");
    }
}

#[test]
fn both_unreadable_copies_of_the_superblock_end_the_check_with_the_disk_s_words() {
    let disk = closed();
    unreadable(&disk, 0..2);
    let error = checked(&disk).unwrap_err();
    assert!(error.to_string().contains("injected fault") && !error.is_damage(), "{error}");
}

/// A log that nobody was let look at may be sound: that is an error and no problem of the database. A salvage goes on
/// without a log that the disk does not give back, and not where a permission is all that is missing.
#[test]
fn a_log_that_cannot_be_looked_at_is_no_damage() {
    let whole = closed();
    let segment = whole.files().into_iter().find(|path| path.starts_with(wal_dir(Path::new(PATH)))).unwrap();
    for (kind, is_salvaged) in [(ErrorKind::Other, true), (ErrorKind::PermissionDenied, false)] {
        let disk = whole.fork();
        disk.inject(Fault::on(OpKind::Read).at_path(&segment).with(kind).forever());
        let error = checked(&disk).unwrap_err();
        assert!(error.to_string().contains("injected fault") && !error.is_damage(), "{error}");
        let saved = salvaged(&disk, "/saved");
        assert_eq!(saved.is_ok(), is_salvaged, "{saved:?}");
        if let Ok(saved) = saved {
            assert_eq!((saved.nodes, saved.edges), (NODES as u64, EDGES as u64));
            assert!(saved.lost[0].why.contains("injected fault"), "{:?}", saved.lost);
        }
    }
    let disk = whole.fork();
    disk.remove(&segment).unwrap();
    let report = checked(&disk).unwrap();
    assert_eq!(report.problems.len(), 1, "a log that is gone is damage: {:?}", report.problems);
}

/// What the daemon would say, and not what follows from it.
#[test]
fn the_log_of_another_database_is_called_so() {
    let (disk, other) = (closed(), closed());
    for path in disk.files() {
        if path.starts_with(wal_dir(Path::new(PATH))) {
            disk.write_file(&path, &other.read_file(&path).unwrap()).unwrap();
        }
    }
    let report = checked(&disk).unwrap();
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    let why = &report.problems[0].why;
    assert!(why.contains("belongs to another database: move it away"), "{why}");
}

/// Each edge, and each entry of adjacency, leads to pages that are not there.
#[test]
fn half_a_file_is_read_about_once() {
    let disk = closed();
    let whole = disk.read_file(PATH).unwrap();
    let pages = checked(&disk).unwrap().pages_total;
    disk.write_file(PATH, &whole[..pages as usize / 2 * PAGE_BYTES]).unwrap();
    let before = disk.counters().reads;
    let report = checked(&disk).unwrap();
    let reads = disk.counters().reads - before;
    assert!(!report.is_sound());
    // Some for the log, and a few tries for each page whose bytes are wrong: a writer might be at it.
    assert!(reads < 16 * pages, "{reads} reads of {pages} pages");
    assert!(report.bytes_read < 2 * pages * PAGE_BYTES as u64, "{} bytes", report.bytes_read);
}

/// All of the disk, and not a place of it: no page of it is called damaged.
#[test]
fn a_disk_that_answers_no_more_proves_nothing() {
    let whole = closed();
    let mut failed = 0;
    for reads in [8, 12, 20, 40] {
        let failing = || {
            let disk = whole.fork();
            disk.inject(Fault::on(OpKind::Read).at_path(PATH).after(reads).forever());
            disk
        };
        for error in [checked(&failing()).err(), salvaged(&failing(), "/saved").err()].into_iter().flatten() {
            assert!(error.to_string().contains("injected fault") && !error.is_damage(), "{error}");
            failed += 1;
        }
    }
    assert!(failed > 4, "{failed} met the fault");
}

#[test]
fn a_daemon_names_an_unreadable_page_too() {
    let disk = closed();
    let page = checked(&disk).unwrap().pages.last().unwrap().0 as usize;
    let db = open(&disk);
    unreadable(&disk, page..page + 1);
    let report = db.check().unwrap();
    assert_eq!(named(&report.problems, page).len(), 1, "{:?}", report.problems);
}
