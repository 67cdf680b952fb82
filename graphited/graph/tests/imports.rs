//! Imports: batches against the model, the ledger that makes them resumable, and what a refused batch leaves.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{
    CACHE_BYTES, Model, ModelEdge, ModelNode, TINY_CACHE_BYTES, assert_shows, open, settle, try_open_with,
};
use graphite_graph::import::{Column, EdgeBatch, FRESH_GENERATION, Imported, NodeBatch};
use graphite_graph::ledger::{ENDED_MAX, Ended};
use graphite_graph::traverse::{Follow, walk_end_count};
use graphite_graph::{
    Error, GraphDb, Importer, KeyId, LabelId, LabelSetId, NodeId, NodeSlot, TypeId, Value, View,
};
use graphite_store::disk::{Fault, LastOp, OpKind, Outcome, SimDisk};
use proptest::prelude::*;

fn importer(db: &GraphDb) -> Importer {
    db.import()
}

fn names(db: &GraphDb) -> [LabelSetId; 2] {
    for number in 0..4 {
        db.label_id_or_create(&format!("L{number}")).unwrap();
        db.key_id_or_create(&format!("k{number}")).unwrap();
        db.type_id_or_create(&format!("T{number}")).unwrap();
    }
    [db.label_set_or_create(&[]).unwrap(), db.label_set_or_create(&[LabelId(1), LabelId(3)]).unwrap()]
}

fn some_nodes(sets: [LabelSetId; 2], count: usize) -> NodeBatch {
    let numbers = (0..count).map(|row| Value::Int(row as i64)).collect();
    let texts =
        (0..count).map(|row| if row % 3 == 0 { Value::String(format!("n{row}")) } else { Value::Null });
    NodeBatch {
        label_sets: (0..count).map(|row| sets[row % 2]).collect(),
        // In no order of keys: a batch may come as it likes.
        columns: vec![
            Column { key: KeyId(2), values: texts.collect() },
            Column { key: KeyId(0), values: numbers },
        ],
    }
}

fn add_nodes_to_model(
    model: &mut Model,
    imported: Imported,
    batch: &NodeBatch,
    sets: [LabelSetId; 2],
) -> Vec<NodeId> {
    let mut ids = Vec::new();
    for (row, set) in batch.label_sets.iter().enumerate() {
        let id = imported.node(row as u64).unwrap();
        let labels = if *set == sets[1] { [LabelId(1), LabelId(3)].into() } else { [].into() };
        model.nodes.insert(id, ModelNode { labels, properties: row_of(&batch.columns, row) });
        ids.push(id);
    }
    assert_eq!(imported.node(batch.label_sets.len() as u64), None);
    ids
}

fn row_of(columns: &[Column], row: usize) -> BTreeMap<KeyId, Value> {
    let values = columns.iter().map(|column| (column.key, column.values[row].clone()));
    values.filter(|(_, value)| !value.is_null()).collect()
}

fn add_edges_to_model(model: &mut Model, imported: Imported, batch: &EdgeBatch) {
    for row in 0..batch.starts.len() {
        let edge = ModelEdge {
            type_: batch.types[row],
            start: batch.starts[row],
            end: batch.ends[row],
            properties: row_of(&batch.columns, row),
        };
        model.edges.insert(imported.edge(row as u64).unwrap(), edge);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Batches of edges between imported nodes and nodes of a transaction, few enough nodes that they get parallel
    /// edges, loops and hubs. With a tiny cache adjacency moves in every batch, else it changes in place.
    #[test]
    fn imports_do_what_the_model_does(
        cache_bytes in prop_oneof![Just(CACHE_BYTES), Just(TINY_CACHE_BYTES)],
        batches in proptest::collection::vec(
            proptest::collection::vec((0usize..14, 0u32..3, 0usize..14, any::<Option<i64>>()), 0..500), 1..5),
    ) {
        let disk = SimDisk::new();
        let db = try_open_with(&disk, cache_bytes).unwrap();
        let sets = names(&db);
        let mut model = Model::default();
        let mut tx = db.begin().unwrap();
        let mut ids: Vec<NodeId> = (0..3).map(|_| tx.create_node(&[], &[]).unwrap()).collect();
        model.nodes.extend(ids.iter().map(|id| (*id, ModelNode::default())));
        tx.commit().unwrap();

        let rows = some_nodes(sets, 11);
        let (imported, _) = importer(&db).nodes(b"one", 0, rows.clone()).unwrap();
        ids.extend(add_nodes_to_model(&mut model, imported, &rows, sets));
        for (number, batch) in batches.iter().enumerate() {
            let batch = EdgeBatch {
                starts: batch.iter().map(|row| ids[row.0]).collect(),
                types: batch.iter().map(|row| TypeId(row.1)).collect(),
                ends: batch.iter().map(|row| ids[row.2]).collect(),
                columns: vec![Column {
                    key: KeyId(0),
                    values: batch.iter().map(|row| row.3.map_or(Value::Null, Value::Int)).collect(),
                }],
            };
            let (imported, _) = importer(&db).edges(b"one", number as u64 + 1, batch.clone()).unwrap();
            add_edges_to_model(&mut model, imported, &batch);
            settle(&db);
            assert_shows(&db.snapshot().unwrap(), &model, 4);
        }
        // What was imported is like anything else: it can be changed and deleted.
        let mut tx = db.begin().unwrap();
        tx.delete_node(ids[5], true).unwrap();
        model.delete_node(ids[5]);
        assert_shows(&tx, &model, 4);
        tx.commit().unwrap();
        let edge = {
            let mut tx = db.begin().unwrap();
            let edge = tx.create_edge(ids[0], TypeId(1), ids[4], &[]).unwrap();
            tx.commit().unwrap();
            edge
        };
        let (type_, start, end) = (TypeId(1), ids[0], ids[4]);
        model.edges.insert(edge, ModelEdge { type_, start, end, properties: BTreeMap::new() });
        settle(&db);
        assert_shows(&db.snapshot().unwrap(), &model, 4);
        assert_eq!(db.check().unwrap().problems, Vec::new());
    }
}

/// The power goes at every disk operation in turn. In the next life each batch has arrived whole or not at all; the
/// import is sent again from the start, and ends up as if nothing had happened.
#[test]
fn an_interrupted_import_resumes() {
    interrupt(CACHE_BYTES);
}

/// The same where every batch of edges moves the adjacency of those before it.
#[test]
fn an_interrupted_import_that_moves_adjacency_resumes() {
    interrupt(TINY_CACHE_BYTES);
}

fn interrupt(cache_bytes: usize) {
    let open = |disk: &SimDisk| try_open_with(disk, cache_bytes);
    fn run(db: &GraphDb, sets: [LabelSetId; 2]) -> Result<(Imported, Vec<Imported>), Error> {
        let importer = db.import();
        let (nodes, _) = importer.nodes("импорт".as_bytes(), 0, some_nodes(sets, 300))?;
        let mut all = Vec::new();
        for batch in 0..3u64 {
            let node = |row: u64| nodes.node(row % 300).unwrap();
            let rows = EdgeBatch {
                starts: (0..200).map(|row| node(row * (batch + 1))).collect(),
                ends: (0..200).map(|row| node(row * row)).collect(),
                types: vec![TypeId(0); 200],
                columns: Vec::new(),
            };
            let (edges, lsn) = importer.edges("импорт".as_bytes(), batch + 1, rows)?;
            db.store().wait_visible(lsn)?;
            all.push(edges);
        }
        Ok((nodes, all))
    }

    let prepared = SimDisk::new();
    let db = open(&prepared).unwrap();
    let sets = names(&db);
    settle(&db);
    drop(db);
    let whole = prepared.fork();
    let before = whole.ops();
    run(&open(&whole).unwrap(), sets).unwrap();
    let ops = whole.ops() - before;
    assert!(ops > 10, "{ops} operations");
    let (mut resumed, mut fresh) = (0, 0);
    for op in (0..ops).step_by((ops as usize / 25).max(1)) {
        let disk = prepared.fork();
        disk.crash_after(disk.ops() + op, LastOp::NotApplied);
        if let Ok(db) = open(&disk) {
            assert!(run(&db, sets).is_err() || !disk.is_dead());
        }
        let disk = disk.power_cut(Outcome::Random(op));
        let db = open(&disk).unwrap();
        let report = db.check().unwrap();
        assert_eq!(report.problems, Vec::new(), "after operation {op}");
        assert!(report.nodes == 0 || report.nodes == 300);
        assert_eq!(report.edges % 200, 0);
        if report.nodes > 0 {
            resumed += 1
        } else {
            fresh += 1
        }
        let (nodes, edges) = run(&db, sets).unwrap();
        assert_eq!((nodes.count(), edges.len()), (300, 3));
        let report = db.check().unwrap();
        assert_eq!((report.nodes, report.edges, report.problems), (300, 600, Vec::new()));
    }
    assert!(resumed > 0 && fresh > 0, "{resumed} resumed, {fresh} began anew");
}

#[test]
fn the_ledger_answers_until_the_import_ends() {
    let db = open(&SimDisk::new());
    let sets = names(&db);
    let importer = importer(&db);
    let (first, _) = importer.nodes(b"a", 7, some_nodes(sets, 10)).unwrap();
    let (again, _) = importer.nodes(b"a", 7, some_nodes(sets, 10)).unwrap();
    assert_eq!(first, again);
    let (other, _) = importer.nodes(b"ab", 7, some_nodes(sets, 10)).unwrap();
    assert_ne!(first, other);
    assert_eq!(importer.status(b"a", 7).unwrap(), Some(first));
    assert_eq!(importer.status(b"a", 8).unwrap(), None);
    importer.end(b"a").unwrap();
    assert_eq!(importer.status(b"a", 7).unwrap(), None);
    assert_eq!(
        importer.status(b"ab", 7).unwrap(),
        Some(other),
        "the end of one import is not that of another"
    );
    importer.end(b"ab").unwrap();
    assert!(matches!(importer.status(b"", 0), Err(Error::EmptyName { .. })));
    assert!(matches!(importer.status(&[b'x'; 65], 0), Err(Error::TooLong { .. })));
    settle(&db);
    assert_eq!(db.check().unwrap().nodes, 20);
}

#[test]
fn a_refused_batch_leaves_nothing() {
    let db = open(&SimDisk::new());
    let sets = names(&db);
    let importer = importer(&db);
    let (nodes, _) = importer.nodes(b"a", 0, some_nodes(sets, 10)).unwrap();
    let good = |row: u64| nodes.node(row).unwrap();
    let stale = NodeId::new(good(3).slot(), FRESH_GENERATION + 1);
    let never = NodeId::new(NodeSlot(1 << 40), 0);
    for bad in [stale, never] {
        for ends in [[good(1), bad], [bad, good(1)]] {
            let rows = EdgeBatch {
                starts: vec![good(0), ends[0]],
                ends: vec![good(2), ends[1]],
                types: vec![TypeId(0); 2],
                columns: vec![Column { key: KeyId(0), values: vec![Value::Int(1); 2] }],
            };
            let refused = importer.edges(b"a", 1, rows);
            assert!(matches!(refused, Err(Error::NodeNotFound(id)) if id == bad), "{refused:?}");
        }
    }
    let uneven = EdgeBatch { starts: vec![good(0)], ..EdgeBatch::default() };
    assert!(matches!(importer.edges(b"a", 1, uneven), Err(Error::UnevenBatch(_))));
    let mut twice = some_nodes(sets, 4);
    twice.columns[1].key = twice.columns[0].key;
    assert!(matches!(importer.nodes(b"a", 1, twice), Err(Error::UnevenBatch(_))));
    let unknown = NodeBatch { label_sets: vec![LabelSetId(99)], columns: Vec::new() };
    assert!(matches!(importer.nodes(b"a", 1, unknown), Err(Error::UnevenBatch(_))));
    let map = NodeBatch {
        label_sets: vec![sets[0]],
        columns: vec![Column { key: KeyId(0), values: vec![Value::Map(BTreeMap::new())] }],
    };
    assert!(matches!(importer.nodes(b"a", 1, map), Err(Error::UnsupportedValue(_))));
    assert_eq!(importer.status(b"a", 1).unwrap(), None);
    settle(&db);
    let report = db.check().unwrap();
    assert_eq!((report.nodes, report.edges, report.problems), (10, 0, Vec::new()));
    assert_eq!(db.snapshot().unwrap().degree(good(0), graphite_graph::Direction::Out, None).unwrap(), 0);
    let (empty, _) = importer.nodes(b"a", 2, NodeBatch::default()).unwrap();
    assert_eq!(empty.count(), 0);
}

/// A crash in the middle of the end of an import leaves all of its ledger or nothing.
#[test]
fn the_end_of_an_import_of_many_batches_is_one_commit() {
    let disk = SimDisk::new();
    let db = open(&disk);
    let imported = Imported::Nodes { first: NodeSlot(0), count: 0 };
    for part in 0..5 {
        let mut turn = db.store().turn().unwrap();
        (part * 5_000..(part + 1) * 5_000)
            .for_each(|batch| graphite_graph::ledger::record(&mut turn, b"long", batch, imported).unwrap());
        turn.commit().unwrap();
    }
    let importer = importer(&db);
    assert_eq!(importer.status(b"long", 24_999).unwrap(), Some(imported));
    let before = db.store().status().commits;
    let ended = Ended { batches: 25_000, nodes: 0, edges: 0 };
    assert_eq!(importer.end(b"long").unwrap().unwrap().0, ended);
    assert_eq!(db.store().status().commits, before + 1);
    assert_eq!(importer.end(b"long").unwrap().unwrap().0, ended, "the answer is the same again");
    assert_eq!(db.store().status().commits, before + 1);
    assert!((0..25_000).all(|batch| importer.status(b"long", batch).unwrap().is_none()));
}

/// Those that ended last are remembered, whatever their names, and no more of them than there is a limit for.
#[test]
fn the_oldest_end_of_an_import_is_forgotten_first() {
    let disk = SimDisk::new();
    let db = open(&disk);
    let importer = importer(&db);
    // The order of ends is not that of names.
    let name = |n: usize| format!("{:02}", n * 37 % 100).into_bytes();
    for n in 0..ENDED_MAX + 10 {
        for batch in 0..2 {
            importer.nodes(&name(n), batch, NodeBatch::default()).unwrap();
        }
        importer.end(&name(n)).unwrap().unwrap();
        let remembered = |n: usize| importer.end(&name(n)).unwrap().is_some();
        let first = (n + 1).saturating_sub(ENDED_MAX);
        assert!((first..=n).all(remembered), "after {n}");
        assert!(!(0..first).any(remembered), "after {n}");
    }
    let last = name(ENDED_MAX + 9);
    assert!(matches!(importer.nodes(&last, 0, NodeBatch::default()), Err(Error::UnevenBatch(_))));
    db.forget_ended_import(&last).unwrap();
    assert_eq!(importer.end(&last).unwrap(), None);
    importer.nodes(&last, 0, NodeBatch::default()).unwrap();
    assert_eq!(importer.end(&last).unwrap().unwrap().0.batches, 1);
}

/// Nodes of random degree, some of them hubs, and edges in random order: what touches most pages with every batch.
fn random_edges(nodes: Imported, rows: usize, seed: &mut u64) -> EdgeBatch {
    let mut next = move |below: u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % below
    };
    let mut node = || {
        let span = [nodes.count(), nodes.count(), nodes.count() / 16, 8][next(4) as usize];
        nodes.node(next(span)).unwrap()
    };
    EdgeBatch {
        starts: (0..rows).map(|_| node()).collect(),
        ends: (0..rows).map(|_| node()).collect(),
        types: vec![TypeId(0); rows],
        columns: vec![Column {
            key: KeyId(0),
            values: (0..rows).map(|row| Value::Int(row as i64)).collect(),
        }],
    }
}

/// Counts what each batch reads and writes: about each page once, however random the edges, while the cache holds a
/// small part of the graph.
#[test]
fn an_import_far_larger_than_the_cache_reads_and_writes_each_page_about_once_a_batch() {
    const NODES: usize = 20_000;
    const ROWS: usize = 10_000;
    const BATCHES: u64 = 8;
    let db = try_open_with(&SimDisk::new(), TINY_CACHE_BYTES).unwrap();
    let sets = names(&db);
    let importer = importer(&db);
    let (nodes, _) = importer.nodes(b"a", 0, some_nodes(sets, NODES)).unwrap();
    settle(&db);
    let mut seed = 1;
    for batch in 1..=BATCHES {
        let before = db.store().status();
        let (_, lsn) = importer.edges(b"a", batch, random_edges(nodes, ROWS, &mut seed)).unwrap();
        db.store().wait_visible(lsn).unwrap();
        let after = db.store().status();
        let used = u64::from(after.pages - after.pages_free);
        let (read, written) = (after.page_reads - before.page_reads, after.page_writes - before.page_writes);
        assert!(read <= used * 3 / 2, "batch {batch} read {read} pages of {used}");
        assert!(written <= used * 3 / 2, "batch {batch} wrote {written} pages of {used}");
        let logged = after.log_bytes - before.log_bytes;
        assert!(logged < TINY_CACHE_BYTES as u64 / 4, "batch {batch} logged {logged} bytes");
        let cached = after.cache_bytes as u64;
        assert!(cached <= TINY_CACHE_BYTES as u64 * 5 / 4, "{cached} bytes in the cache after batch {batch}");
    }
    let status = db.store().status();
    assert!(
        status.file_bytes > 8 * TINY_CACHE_BYTES as u64,
        "{} bytes are no large graph",
        status.file_bytes
    );
    // What moves leaves room that later batches use: no more than what moved last, and what moved before it.
    assert!(status.pages_free < status.pages / 2, "{} of {} pages are free", status.pages_free, status.pages);
    let report = db.check().unwrap();
    assert_eq!((report.nodes, report.edges), (NODES as u64, BATCHES * ROWS as u64));
    assert_eq!(report.problems, Vec::new());
    let lost = u64::from(status.pages) - u64::from(status.pages_free) - report.pages.len() as u64;
    assert!(lost < 8, "{lost} pages are used by nobody");
}

/// A disk that does not answer proves nothing about what is on it.
#[test]
fn a_check_that_cannot_read_ends_and_reports_no_damage() {
    let disk = SimDisk::new();
    let db = try_open_with(&disk, TINY_CACHE_BYTES).unwrap();
    let sets = names(&db);
    let importer = importer(&db);
    let (nodes, _) = importer.nodes(b"a", 0, some_nodes(sets, 10_000)).unwrap();
    importer.edges(b"a", 1, random_edges(nodes, 10_000, &mut 1)).unwrap();
    settle(&db);
    let mut failed = 0;
    for reads in [0, 1, 5, 20, 60, 100, 200] {
        disk.inject(Fault::on(OpKind::Read).after(reads).forever());
        match db.check() {
            Ok(report) => assert_eq!(report.problems, Vec::new()),
            Err(Error::Store(graphite_store::Error::Io { doing: "read", .. })) => failed += 1,
            Err(error) => panic!("{error}"),
        }
        disk.clear_faults();
    }
    assert!(failed > 3, "{failed} checks met the fault");
    assert_eq!(db.check().unwrap().problems, Vec::new());
}

/// One node of a frontier may have any number of edges, so the budget is asked among them too.
#[test]
fn a_walk_from_a_hub_asks_its_budget_on_the_way() {
    const EDGES: usize = 100_000;
    let db = open(&SimDisk::new());
    let sets = names(&db);
    let importer = importer(&db);
    let (nodes, _) = importer.nodes(b"a", 0, some_nodes(sets, 1000)).unwrap();
    let hub = nodes.node(0).unwrap();
    let ends = (0..EDGES as u64).map(|edge| nodes.node(1 + edge % 999).unwrap()).collect();
    let star =
        EdgeBatch { starts: vec![hub; EDGES], ends, types: vec![TypeId(0); EDGES], columns: Vec::new() };
    importer.edges(b"a", 1, star).unwrap();
    settle(&db);
    let view = db.snapshot().unwrap();
    let follow = Follow { direction: graphite_graph::Direction::Out, types: None };
    let mut told = Vec::new();
    let mut all = |edges| {
        told.push(edges);
        true
    };
    assert_eq!(walk_end_count(&view, &[hub.slot()], follow, 1, &mut all).unwrap(), 999);
    assert!(told.len() > 4 && told.iter().all(|edges| *edges < EDGES as u64 / 4), "{told:?}");
    // The first is asked before anything is looked at.
    let mut asked = 0;
    let mut third = |_| {
        asked += 1;
        asked < 3
    };
    let walked = walk_end_count(&view, &[hub.slot()], follow, 1, &mut third);
    assert!(matches!(walked, Err(Error::Interrupted)), "{walked:?}");
}
