//! The check and the salvage of a file on a disk that does not show all of it: one bad place must hide no other, and what
//! only could not be looked at must not count as damage.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use common::{open, try_open};
use graphite_graph::check::{CheckReport, PROBLEMS_MAX, Problem, Progress, check_file};
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
/// Of the graph whose process was killed.
const KILLED_NODES: u64 = 400;
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
        // Beside the page itself, each record in it that is lost.
        let told = named(&saved.lost, page).into_iter().filter(|problem| problem.record.is_none()).count();
        assert_eq!(told, usize::from(is_in_use), "page {page}: {:?}", saved.lost);
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

/// A graph whose process was killed: half of its nodes are in the file, and the others in the log alone.
fn killed() -> SimDisk {
    let disk = SimDisk::new();
    let db = open(&disk);
    for number in 1..=KILLED_NODES {
        let mut tx = db.begin().unwrap();
        tx.create_node(&[], &[]).unwrap();
        tx.commit().unwrap();
        if number == KILLED_NODES / 2 {
            db.store().checkpoint().unwrap();
        }
    }
    db.store().flush().unwrap();
    let disk = disk.process_crash();
    assert_eq!(checked(&disk).unwrap().nodes, KILLED_NODES);
    disk
}

/// Of a log, one bad block: in its unused end, in the header of its file, and in the commits themselves. What can be
/// read up to there is salvaged; whoever opens the database, or checks it, is told that it cannot be read.
#[test]
fn one_bad_place_in_the_log_does_not_cost_the_whole_log() {
    let whole = killed();
    let is_of_log = |path: &std::path::PathBuf| path.starts_with(wal_dir(Path::new(PATH)));
    let segment = whole.files().into_iter().find(is_of_log).unwrap();
    let bytes = whole.read_file(&segment).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let (block, end) = (4096, bytes.len() as u64);
    assert!(end - used > 2 * block && used > 5 * block, "{used} of {end} bytes are used");
    let (half, all) = (used - 2 * block, KILLED_NODES..=KILLED_NODES);
    let some = KILLED_NODES / 2 + 1..=KILLED_NODES - 1;
    for (place, nodes) in [(end - block..end, all.clone()), (0..1, all), (half..half + 1, some)] {
        let disk = whole.fork();
        disk.inject(Fault::on(OpKind::Read).at_path(&segment).within(place.clone()).forever());
        let saved = salvaged(&disk, "/saved").unwrap();
        assert!(nodes.contains(&saved.nodes), "{place:?}: {saved:?}");
        assert!(saved.lost[0].why.contains("injected fault"), "{place:?}: {:?}", saved.lost);
        assert!(saved.lost[0].why.contains("up to LSN"), "{place:?}: {:?}", saved.lost);
        for error in [checked(&disk).map(drop), try_open(&disk).map(drop)] {
            let error = error.expect_err("it cannot be read");
            assert!(error.to_string().contains("injected fault") && !error.is_damage(), "{error}");
        }
    }
}

/// A read that fails once is no loss.
#[test]
fn a_log_that_can_be_read_at_the_second_try_is_whole() {
    let disk = killed();
    let is_of_log = |path: &std::path::PathBuf| path.starts_with(wal_dir(Path::new(PATH)));
    let segment = disk.files().into_iter().find(is_of_log).unwrap();
    disk.inject(Fault::on(OpKind::Read).at_path(&segment));
    let report = checked(&disk).unwrap();
    assert!(report.is_sound() && report.nodes == KILLED_NODES, "{report:?}");
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

/// More pages than are told of in words.
#[test]
fn of_many_unreadable_pages_each_is_counted() {
    let disk = SimDisk::new();
    let db = open(&disk);
    let key = db.key_id_or_create("bytes").unwrap();
    for batch in 0..14 {
        let values = vec![Value::Bytes(vec![7; 3500]); 200];
        let nodes = NodeBatch { label_sets: vec![LabelSetId(0); 200], columns: vec![Column { key, values }] };
        db.import().nodes(b"nodes", batch, nodes).unwrap();
    }
    db.store().flush().unwrap();
    db.store().close().unwrap();
    drop(db);
    let disk = disk.process_crash();
    let pages = checked(&disk).unwrap().pages_total;
    let bad = 1150;
    unreadable(&disk, (pages - bad) as usize..pages as usize);
    let report = checked(&disk).unwrap();
    assert_eq!(report.problems.len(), PROBLEMS_MAX);
    // And one for what follows.
    assert_eq!(report.problems_not_listed, bad + 1 - PROBLEMS_MAX as u64);
    assert!(report.problems.iter().all(|problem| problem.why.contains("injected fault")));
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
        let problems = [
            checked(&failing()).map(|report| report.problems),
            salvaged(&failing(), "/saved").map(|report| report.lost),
        ];
        for found in problems {
            match found {
                Ok(problems) => assert_eq!(problems, [], "after {reads} reads"),
                Err(error) => {
                    assert!(error.to_string().contains("injected fault") && !error.is_damage(), "{error}");
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 4, "{failed} met the fault");
}

/// Neither does one that does not answer when all pages are in memory, and only the superblock is asked for.
#[test]
fn a_dead_disk_below_a_database_in_memory_is_no_damage() {
    let disk = SimDisk::new();
    drop(open(&disk));
    // Opened by its own name, which it was not made under.
    let disk = disk.process_crash();
    let db = open(&disk);
    let mut tx = db.begin().unwrap();
    tx.create_node(&[], &[]).unwrap();
    tx.commit().unwrap();
    db.store().wait_visible(db.store().applied_lsn()).unwrap();
    assert!(db.check().unwrap().is_sound());
    disk.inject(Fault::on(OpKind::Read).at_path(PATH).forever());
    let error = db.check().expect_err("the disk is dead");
    assert!(error.to_string().contains("injected fault") && !error.is_damage(), "{error}");
}

/// Under a damaged bitmap every page may be in use, those of freed tables too, whose bytes are as they were. The directory
/// says that they are none of the table's.
#[test]
fn a_damaged_bitmap_brings_no_deleted_node_back() {
    let disk = SimDisk::new();
    let db = open(&disk);
    // Three pages of the table.
    let nodes = 3 * 254;
    let mut tx = db.begin().unwrap();
    let ids: Vec<NodeId> = (0..nodes).map(|_| tx.create_node(&[], &[]).unwrap()).collect();
    tx.commit().unwrap();
    db.store().checkpoint().unwrap();
    let mut tx = db.begin().unwrap();
    for id in &ids[254..508] {
        tx.delete_node(*id, true).unwrap();
    }
    tx.commit().unwrap();
    db.store().checkpoint().unwrap();
    db.store().close().unwrap();
    drop(db);
    let disk = disk.process_crash();
    assert_eq!(checked(&disk).unwrap().nodes, 508);
    let mut bytes = disk.read_file(PATH).unwrap();
    bytes[2 * PAGE_BYTES + 5000] ^= 1;
    disk.write_file(PATH, &bytes).unwrap();
    let saved = salvaged(&disk, "/saved").unwrap();
    assert_eq!(saved.nodes, 508, "{saved:?}");
    assert_eq!(named(&saved.lost, 2).len(), 1, "{:?}", saved.lost);
    assert_eq!(saved.lost.len(), 1, "{:?}", saved.lost);
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
