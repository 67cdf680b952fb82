//! `graphite check`: damage of each kind is made in the bytes of a small database, and has to be found, named, and
//! survived by a salvage. The database has pages of every kind; it is made in this process and left clean, so that what
//! the test changes is all that is wrong.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graphite_graph::import::{Column, EdgeBatch, NodeBatch};
use graphite_graph::{GraphDb, LabelSetId, NodeId, NodeSlot, Value};
use graphite_store::clock::RealClock;
use graphite_store::disk::RealDisk;
use graphite_store::{DatabaseId, PAGE_BYTES, Page, PageKind, PageNo, RawPage, StoreOptions, wal_dir};
use graphite_tests::{Contents, Daemon, Ran, Scratch, bare_graphite, contents, graphite, run};
use serde_json::Value as Json;

const NODES: usize = 600;
const EDGES: usize = 3000;
/// Edges of one node: more than a leaf of its adjacency holds.
const HUB_EDGES: usize = 1500;
/// Which node has a long value.
const LONG: usize = 77;

fn open(path: &Path) -> GraphDb {
    let options = StoreOptions { create: true, wal_bytes: 8 << 20, ..StoreOptions::default() };
    GraphDb::open(Arc::new(RealDisk), Arc::new(RealClock::default()), path, options).unwrap()
}

fn fill(db: &GraphDb) {
    let keys = ["name", "text", "since"].map(|key| db.key_id_or_create(key).unwrap());
    let label = db.label_id_or_create("Person").unwrap();
    let set = db.label_set_or_create(&[label]).unwrap();
    let types = ["knows", "likes"].map(|name| db.type_id_or_create(name).unwrap());
    let text = |row: usize| if row == LONG { Value::from("long ".repeat(4000)) } else { Value::Null };
    let nodes = NodeBatch {
        label_sets: (0..NODES).map(|row| if row % 3 == 0 { LabelSetId(0) } else { set }).collect(),
        columns: vec![
            Column {
                key: keys[0],
                values: (0..NODES).map(|row| Value::from(format!("node {row}"))).collect(),
            },
            Column { key: keys[1], values: (0..NODES).map(text).collect() },
        ],
    };
    let id = |row: usize| NodeId::new(NodeSlot(row as u64), 0);
    let edges = EdgeBatch {
        starts: (0..EDGES).map(|row| if row < HUB_EDGES { id(5) } else { id(row * 7 % NODES) }).collect(),
        ends: (0..EDGES).map(|row| id(row * 13 % NODES)).collect(),
        types: (0..EDGES).map(|row| types[row % 2]).collect(),
        columns: vec![Column {
            key: keys[2],
            values: (0..EDGES).map(|row| Value::Int(row as i64)).collect(),
        }],
    };
    db.import().nodes(b"n", 0, nodes).unwrap();
    db.import().edges(b"e", 0, edges).unwrap();
    db.store().flush().unwrap();
}

/// A sound database that nobody has open.
fn made(scratch: &Scratch) -> PathBuf {
    let path = scratch.path("db");
    let db = open(&path);
    fill(&db);
    db.store().close().unwrap();
    path
}

/// All bytes of the database and its log.
fn bytes_of(db: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let log = fs::read_dir(wal_dir(db)).unwrap().map(|entry| entry.unwrap().path());
    log.chain([db.to_owned()]).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn put_back(bytes: &BTreeMap<PathBuf, Vec<u8>>) {
    bytes.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

fn page_of(bytes: &[u8], number: usize) -> Option<Page> {
    let id = DatabaseId(u64::from_le_bytes(*bytes[24..].first_chunk().unwrap()));
    let raw = bytes[number * PAGE_BYTES..][..PAGE_BYTES].to_vec();
    RawPage(raw.try_into().unwrap()).check(PageNo(u32::try_from(number).unwrap()), id).ok()
}

/// The first page of each kind, but for those that are free.
fn pages_by_kind(bytes: &[u8]) -> BTreeMap<u8, (PageKind, usize)> {
    let bitmap = page_of(bytes, 2).unwrap();
    let is_used = |page: usize| bitmap.body()[page / 8] & 1 << (page % 8) != 0;
    let used = (2..bytes.len() / PAGE_BYTES).filter(|page| is_used(*page));
    let mut found = BTreeMap::new();
    for page in used {
        let kind = page_of(bytes, page).unwrap().kind();
        found.entry(kind as u8).or_insert((kind, page));
    }
    found
}

fn checked(db: &Path) -> (i32, Json) {
    let Ran { code, out, err } = run(graphite(db), &["check", "--format", "json"]);
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

fn salvaged(db: &Path, out: &Path) -> (i32, Json, Contents) {
    let ran = run(graphite(db), &["check", "--format", "json", "--salvage", out.to_str().unwrap()]);
    let report =
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}{}", ran.out, ran.err));
    let (sound, found) = checked(out);
    assert_eq!(sound, 0, "what was salvaged is sound: {found}");
    let daemon = Daemon::start(out, &[]);
    let contents = contents(&mut daemon.client());
    daemon.stop();
    (ran.code, report, contents)
}

fn pages_named(report: &Json) -> Vec<u64> {
    report["problems"].as_array().unwrap().iter().filter_map(|problem| problem["page"].as_u64()).collect()
}

#[test]
fn a_sound_database_is_found_sound_and_no_byte_of_it_changes() {
    let scratch = Scratch::new();
    let db = made(&scratch);
    let before = bytes_of(&db);
    let (code, report) = checked(&db);
    assert_eq!(code, 0, "{report}");
    assert_eq!(bytes_of(&db), before);
    assert!(scratch.daemons().is_empty(), "a check starts no daemon");
    assert_eq!((&report["mode"], &report["sound"]), (&"offline".into(), &true.into()));
    for (field, expected) in [("nodes", NODES), ("edges", EDGES), ("adjacency_entries", 2 * EDGES)] {
        assert_eq!(report[field], expected, "{field}");
    }
    assert_eq!(report["property_records"], NODES + EDGES);
    // Superblock copies and the bitmap belong to nobody.
    assert_eq!(report["pages_used"].as_u64().unwrap(), report["pages"].as_u64().unwrap() + 3);
    let fields: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    for field in [
        "database",
        "pages_free",
        "bytes_read",
        "elapsed_ms",
        "log_bytes_replayed",
        "problems",
        "problems_not_listed",
    ] {
        assert!(fields.contains(&field), "{field} in {fields:?}");
    }
    let words = run(graphite(&db), &["check"]).out;
    assert!(words.contains("sound: no problem was found") && words.contains("offline"), "{words}");
}

/// As every other program that looks at a file takes it.
#[test]
fn the_path_may_stand_alone() {
    let scratch = Scratch::new();
    let db = made(&scratch);
    let path = db.to_str().unwrap();
    let mut command = bare_graphite();
    command.env("GRAPHITE_DB", scratch.path("another"));
    let ran = run(command, &["check", path, "--format", "json"]);
    let report: Json = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.err));
    assert_eq!((ran.code, &report["database"]), (0, &path.into()), "{report}");
    let out = scratch.path("salvaged");
    let ran = run(bare_graphite(), &["check", path, "--salvage", out.to_str().unwrap()]);
    assert_eq!((ran.code, out.exists()), (0, true), "{}", ran.err);
    let twice = run(graphite(&db), &["check", path]);
    assert_eq!(twice.code, 2, "{}", twice.err);
    assert!(twice.err.contains("name the database once"), "{}", twice.err);
}

/// The log of a database that was not closed is replayed in memory.
#[test]
fn a_database_that_was_killed_is_checked_as_it_would_recover() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    fill(&open(&db));
    let before = bytes_of(&db);
    let (code, report) = checked(&db);
    assert_eq!((code, report["nodes"].as_u64()), (0, Some(NODES as u64)), "{report}");
    assert!(report["log_bytes_replayed"].as_u64().unwrap() > 0);
    assert_eq!(bytes_of(&db), before);
}

#[test]
fn a_daemon_checks_its_own_database() {
    let scratch = Scratch::new();
    let db = made(&scratch);
    let daemon = Daemon::start(&db, &[]);
    let (code, report) = checked(&db);
    assert_eq!((code, &report["mode"], report["edges"].as_u64()), (0, &"online".into(), Some(EDGES as u64)));
    daemon.stop();
}

/// A byte in a page of each kind. What adjacency, maps and directories say is said elsewhere too, so that a salvage has
/// everything.
#[test]
fn a_byte_in_a_page_of_any_kind_is_named_and_survived() {
    let scratch = Scratch::new();
    let db = made(&scratch);
    let before = bytes_of(&db);
    let daemon = Daemon::start(&db, &[]);
    let whole = contents(&mut daemon.client());
    daemon.stop();
    put_back(&before);

    let kinds = pages_by_kind(&before[&db]);
    assert_eq!(kinds.len(), 11, "of every kind but the state and the never written: {kinds:?}");
    for (kind, page) in kinds.into_values() {
        flip(&db, page * PAGE_BYTES + 4000);
        let damaged = bytes_of(&db);
        let (code, report) = checked(&db);
        assert_eq!(code, 1, "{kind:?}: {report}");
        assert_eq!(pages_named(&report), [page as u64], "{kind:?}: named once: {report}");
        assert!(report["problems"].as_array().unwrap().len() <= 2, "and what follows, in one: {report}");
        let out = scratch.path(&format!("salvaged-{kind:?}"));
        let (code, report, saved) = salvaged(&db, &out);
        assert_eq!(code, 1, "{kind:?}: {report}");
        assert_eq!(bytes_of(&db), damaged, "{kind:?}: the source is left alone");
        let counts = (saved.nodes.len(), saved.edges.len());
        match kind {
            PageKind::Record => {
                assert_eq!(counts, (NODES, EDGES), "{kind:?}: {report}");
                let incomplete =
                    ["nodes_incomplete", "edges_incomplete"].map(|field| report[field].as_u64().unwrap());
                assert!(incomplete.iter().sum::<u64>() > 0);
            }
            PageKind::Overflow => {
                assert_eq!(saved.edges, whole.edges);
                let differ: Vec<usize> =
                    (0..NODES).filter(|row| saved.nodes[*row] != whole.nodes[*row]).collect();
                assert_eq!(differ, [LONG], "only the long value is lost");
                assert!(saved.nodes[LONG].contains("node 77"), "{}", saved.nodes[LONG]);
            }
            PageKind::Nodes => {
                assert!(counts.0 < NODES && counts.0 > 0, "{counts:?}");
                let without_end = report["edges_without_end"].as_u64().unwrap();
                assert_eq!(counts.1 as u64 + without_end, EDGES as u64);
                assert!(report["lost"].to_string().contains("nodes in slots 0 to 253"), "{report}");
            }
            PageKind::Edges => {
                assert_eq!(saved.nodes, whole.nodes);
                assert!(counts.1 < EDGES && saved.edges.iter().all(|edge| whole.edges.contains(edge)));
                assert!(report["lost"].to_string().contains("edges in slots 0 to 337"), "{report}");
            }
            // The catalog, or the trees beside it.
            PageKind::TreeLeaf => assert_eq!(counts, (NODES, EDGES)),
            _ => {
                assert_eq!((saved.nodes, saved.edges), (whole.nodes.clone(), whole.edges.clone()), "{kind:?}")
            }
        }
        put_back(&before);
    }
}

#[test]
fn one_damaged_copy_of_the_superblock_is_named_and_two_are_too_many() {
    let scratch = Scratch::new();
    let db = made(&scratch);
    let before = bytes_of(&db);
    for copy in 0..2 {
        flip(&db, copy * PAGE_BYTES + 100);
        let (code, report) = checked(&db);
        assert_eq!((code, pages_named(&report)), (1, vec![copy as u64]), "{report}");
        assert_eq!(report["problems"].as_array().unwrap().len(), 1);
        let (code, _, saved) = salvaged(&db, &scratch.path(&format!("salvaged-{copy}")));
        assert_eq!((code, saved.nodes.len(), saved.edges.len()), (1, NODES, EDGES));
        put_back(&before);
    }
    flip(&db, 100);
    flip(&db, PAGE_BYTES + 100);
    let ran = run(graphite(&db), &["check"]);
    assert_eq!(ran.code, 4, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("superblock"), "{}", ran.err);
}

/// The bytes of many pages are looked at beside the walk. They are told of first all the same, and each once.
#[test]
fn a_damaged_page_of_a_large_database_is_named() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    {
        let graph = open(&db);
        fill(&graph);
        let key = graph.key_id_or_create("bytes").unwrap();
        for _ in 0..10 {
            let mut tx = graph.begin().unwrap();
            tx.create_node(&[], &[(key, Value::Bytes(vec![7; 1 << 20]))]).unwrap();
            tx.commit().unwrap();
        }
        graph.store().close().unwrap();
    }
    let (code, report) = checked(&db);
    assert_eq!(code, 0, "{report}");
    let pages = report["pages_used"].as_u64().unwrap();
    assert!(pages > 1100, "{pages} pages are looked at by the walk's own thread");
    let bytes = fs::read(&db).unwrap();
    let overflow = pages_by_kind(&bytes)[&(PageKind::Overflow as u8)].1;
    flip(&db, overflow * PAGE_BYTES + 5000);
    let (code, report) = checked(&db);
    assert_eq!(code, 1, "{report}");
    let problems = report["problems"].as_array().unwrap();
    let named = problems.iter().filter(|problem| problem["page"] == overflow).count();
    assert!(problems[0]["why"].as_str().unwrap().starts_with("its bytes are damaged"), "{report}");
    assert_eq!((named, problems.len()), (1, 2), "and what hangs behind it has no owner: {report}");
}

/// A bit of the bitmap, under a checksum that fits: a page that is used and called free, and one that is not used.
#[test]
fn a_bit_of_the_bitmap_is_named_by_its_page() {
    let scratch = Scratch::new();
    let db = made(&scratch);
    let before = bytes_of(&db);
    let nodes = pages_by_kind(&before[&db])[&(PageKind::Nodes as u8)].1;
    let bitmap = page_of(&before[&db], 2).unwrap();
    let count = u64::from_le_bytes(*before[&db][80..].first_chunk().unwrap()) as usize;
    let free = (0..count).find(|page| bitmap.body()[page / 8] & 1 << (page % 8) == 0);
    let cases = [(Some(nodes), "it is marked as free, and the node table has it"), (free, "nothing has it")];
    for (page, why) in cases {
        let Some(page) = page else { continue };
        let mut changed = bitmap.clone();
        changed.body_mut()[page / 8] ^= 1 << (page % 8);
        let mut bytes = before[&db].clone();
        bytes[2 * PAGE_BYTES..3 * PAGE_BYTES].copy_from_slice(changed.seal());
        fs::write(&db, bytes).unwrap();
        let (code, report) = checked(&db);
        assert_eq!(code, 1, "{report}");
        let named =
            |problem: &Json| problem["page"] == page && problem["why"].as_str().unwrap().contains(why);
        assert!(report["problems"].as_array().unwrap().iter().any(named), "{report}");
        put_back(&before);
    }
}

/// A byte in the middle of a log that has marks behind it. What came before is there, and what is lost is told.
#[test]
fn a_damaged_log_is_named_and_what_came_before_it_is_salvaged() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    {
        let graph = open(&db);
        fill(&graph);
        graph.store().checkpoint().unwrap();
        for number in 0..20 {
            graph.label_id_or_create(&format!("Later{number}")).unwrap();
            graph.store().flush().unwrap();
        }
    }
    let log = bytes_of(&db).into_iter().find(|(path, _)| *path != db).unwrap();
    let name = b"Later9";
    let at = log.1.windows(name.len()).position(|bytes| bytes == name).unwrap();
    flip(&log.0, at);
    let (code, report) = checked(&db);
    assert_eq!(code, 1, "{report}");
    let why = report["problems"][0]["why"].as_str().unwrap();
    assert!(why.contains("the log is damaged at LSN") && why.contains("are lost"), "{why}");
    assert_eq!(report["problems"][0]["file"], "log");
    let lsn = report["problems"][0]["lsn"].as_u64().unwrap();
    assert!(why.contains(&format!("at LSN {lsn}:")), "{report}");
    let (code, report, saved) = salvaged(&db, &scratch.path("salvaged"));
    assert_eq!((code, saved.nodes.len(), saved.edges.len()), (1, NODES, EDGES));
    assert!(report["lost"][0]["why"].as_str().unwrap().contains("whole groups above it"), "{report}");
}

#[test]
fn the_exit_code_tells_why_nothing_was_checked() {
    let scratch = Scratch::new();
    let missing = run(graphite(&scratch.path("missing")), &["check"]);
    assert_eq!(missing.code, 4, "{}", missing.err);
    assert!(!scratch.path("missing").exists());
    let other = scratch.write("other", "x".repeat(20_000));
    let ran = run(graphite(Path::new(&other)), &["check"]);
    assert_eq!((ran.code, ran.err.contains("not a Graphite database")), (4, true), "{}", ran.err);
    // As JSON too, to whoever reads nothing else.
    let (code, report) = checked(Path::new(&other));
    assert_eq!((code, &report["database"]), (4, &other.as_str().into()), "{report}");
    assert!(report["error"].as_str().unwrap().contains("not a Graphite database"), "{report}");
    let socket = scratch.path("no.sock");
    let ran = run(bare_graphite(), &["--socket", socket.to_str().unwrap(), "check"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert_eq!(run(bare_graphite(), &["check", "--format", "xml"]).code, 2);

    let db = made(&scratch);
    let taken = scratch.write("taken", "something of somebody's");
    let ran = run(graphite(&db), &["check", "--salvage", &taken]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert_eq!(fs::read_to_string(&taken).unwrap(), "something of somebody's");
    let ran = run(graphite(&db), &["check", "--format", "json", "--salvage", &taken]);
    let report: Json = serde_json::from_str(&ran.out).unwrap();
    assert!(ran.code == 4 && report["error"].as_str().unwrap().contains("is there already"), "{report}");
}
