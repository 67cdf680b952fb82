//! Plans from a stranger: decoded, prepared and run.

use std::sync::{Arc, OnceLock};

use graphite_graph::{GraphDb, Result, Value};
use graphite_protocol::message::Body;
use graphite_protocol::messages::Run;
use graphite_query::{Batch, Budget, Cursor, Params, Prepared, Progress, run_write};
use graphite_store::disk::SimDisk;

use crate::crash::{Recorder, SOME_OF_ALL, Workload};

const WORKLOAD: Workload = Workload { name: "for plans", script, ..SOME_OF_ALL };
const ROWS_MAX: usize = 2_000;

/// A small graph with loops, parallel edges, and values of several kinds.
fn script(r: &mut Recorder) -> Result<()> {
    let labels =
        [r.change(|db| db.label_id_or_create("Person"))?, r.change(|db| db.label_id_or_create("City"))?];
    let types = [r.change(|db| db.type_id_or_create("KNOWS"))?, r.change(|db| db.type_id_or_create("IN"))?];
    let keys = [r.change(|db| db.key_id_or_create("name"))?, r.change(|db| db.key_id_or_create("age"))?];
    let values = [
        Value::Int(3),
        Value::from("ada"),
        Value::Float(0.5),
        Value::Bool(true),
        Value::List(vec![Value::Int(1)]),
        Value::Float(f64::NAN),
    ];
    r.commit(|tx| {
        let mut nodes = Vec::new();
        for number in 0..12_usize {
            let both = [(keys[0], values[number % 6].clone()), (keys[1], Value::Int(number as i64))];
            nodes.push(tx.create_node(&labels[..number % 3], &both[..number % 3])?);
        }
        for number in 0..30_usize {
            let (start, end) = (nodes[number * 5 % 12], nodes[number * 7 % 11]);
            let age = [(keys[1], Value::Int(number as i64))];
            tx.create_edge(start, types[number % 2], end, &age[..number % 2])?;
        }
        Ok(())
    })?;
    r.sync()
}

fn disk() -> SimDisk {
    static DISK: OnceLock<SimDisk> = OnceLock::new();
    let make = || {
        let disk = SimDisk::new();
        let mut recorder = Recorder::open(&WORKLOAD, 0, &disk).expect("the disk does what it is told");
        script(&mut recorder).expect("the script runs");
        recorder.db().store().close().expect("it is closed");
        drop(recorder);
        disk.process_crash()
    };
    DISK.get_or_init(make).fork()
}

/// The params of `run`. Whatever the daemon takes the client library's types take too, and they say the same of its
/// columns. A plan that reads gives the same rows in batches of one as in batches of a hundred; one that writes does
/// all of what its summary says, or nothing, and leaves a graph that is whole.
pub fn plans(bytes: &[u8]) {
    let typed = Body::of(bytes).read::<Run>();
    let Ok((plan, params)) = graphited::fuzzed::decode_run(bytes) else { return };
    let typed = typed.expect("what the daemon takes is a `run`");
    let shape = typed.plan.shape().expect("what was prepared makes sense");
    assert_eq!(shape.writes, plan.is_write());
    let names: Vec<&str> = plan.columns().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(shape.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), names);
    if plan.is_write() {
        write(&plan, &params);
    } else {
        read(&plan, &params);
    }
}

fn budget() -> Budget {
    Budget::default().memory_bytes_max(1 << 20).steps_max(100_000)
}

fn read(plan: &Arc<Prepared>, params: &Arc<Params>) {
    static DB: OnceLock<GraphDb> = OnceLock::new();
    let db = DB.get_or_init(|| WORKLOAD.open(&disk()).expect("nobody harmed it"));
    let snapshot = db.snapshot().expect("nobody harmed it");
    let rows = |batch_rows: usize| -> graphite_query::Result<Vec<String>> {
        let mut cursor = Cursor::open(plan.clone(), params.clone())?;
        let (mut batch, mut all) = (Batch::default(), Vec::new());
        loop {
            let progress = cursor.next_batch(&snapshot, batch_rows, &mut batch, &budget())?;
            assert!(batch.len() <= batch_rows);
            assert!(batch.rows().all(|row| row.len() == plan.columns().len()));
            all.extend(batch.rows().map(|row| format!("{row:?}")));
            if progress == Progress::Done {
                return Ok(all);
            }
            assert!(!batch.is_empty(), "a batch that is not the last has a row");
            if all.len() >= ROWS_MAX {
                all.truncate(ROWS_MAX);
                return Ok(all);
            }
        }
    };
    if let (Ok(many), Ok(one)) = (rows(100), rows(1)) {
        let both = many.len().min(one.len());
        assert!(both == ROWS_MAX || many.len() == one.len());
        assert_eq!(many[..both], one[..both]);
    }
}

fn write(plan: &Prepared, params: &Params) {
    let db = WORKLOAD.open(&disk()).expect("nobody harmed it");
    let before = db.status().expect("nobody harmed it");
    let mut transaction = db.begin().expect("nobody is there");
    let done = run_write(plan, params, &mut transaction, &budget());
    let (nodes, edges) = match done {
        Ok(outcome) => {
            let sum = outcome.summary;
            let committed = transaction.commit();
            if committed.is_err() {
                (before.nodes, before.edges)
            } else {
                let nodes = before.nodes + sum.nodes_created - sum.nodes_deleted;
                (nodes, before.edges + sum.edges_created - sum.edges_deleted)
            }
        }
        Err(_) => {
            drop(transaction);
            (before.nodes, before.edges)
        }
    };
    db.store().wait_visible(db.store().applied_lsn()).expect("the disk does what it is told");
    let after = db.status().expect("nobody harmed it");
    assert_eq!((after.nodes, after.edges), (nodes, edges));
    let report = db.check().expect("it is read");
    assert!(report.is_sound(), "{:?}", report.problems);
}
