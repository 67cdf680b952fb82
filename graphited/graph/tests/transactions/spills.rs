//! Values that a transaction has in a file: room, names, and what a failing disk does to it.

use std::path::{Path, PathBuf};

use graphite_store::disk::{Disk, Fault, OpKind};

use super::*;

/// A database whose transactions spill all that can be spilled, with something in it; and its disk.
fn spilling() -> (SimDisk, Pair) {
    let disk = SimDisk::new();
    let mut pair = Pair::new(&disk);
    pair.db.set_write_set_memory_bytes(0);
    let with = vec![(0, Value::from("there")), (1, Value::Bytes(vec![3; 6000]))];
    pair.transaction(&[Op::CreateNode(vec![1], with.clone()), Op::CreateEdge(0, 0, 0, with)], &End::Commit);
    (disk, pair)
}

fn log_names(disk: &SimDisk) -> Vec<PathBuf> {
    disk.list(Path::new("/graph.wal")).unwrap()
}

/// Room is taken while a transaction lasts, no name is ever seen, and all of it is given back, however it ends.
#[test]
fn what_a_transaction_spills_goes_with_it() {
    let (disk, pair) = spilling();
    let names = log_names(&disk);
    for end in [End::Commit, End::Rollback, End::FailStatement] {
        let used = disk.used();
        let mut tx = pair.db.begin().unwrap();
        for _ in 0..10 {
            // The same property over and over: the file keeps what was overwritten, the commit does not.
            tx.set_node_property(pair.nodes[0], KeyId(1), Value::Bytes(vec![9; 100_000])).unwrap();
        }
        assert!(disk.used() >= used + 1_000_000);
        assert_eq!(log_names(&disk), names);
        match end {
            End::Commit => drop(tx.commit().unwrap()),
            End::Rollback => drop(tx),
            End::FailStatement => tx.fail_statement(),
        }
        settle(&pair.db);
        assert!(disk.used() < used + 500_000, "{end:?}");
        assert_eq!(log_names(&disk), names);
    }
}

/// The disk refuses what is spilled, or what is read of it, at each operation of a transaction that does: the transaction
/// fails with an error of the disk, the database is as it was, and the next transaction goes well.
#[test]
fn a_failure_of_spilled_values_fails_one_transaction() {
    let (disk, pair) = spilling();
    let before = pair.model.clone();
    let run = |pair: &Pair| -> Result<(), Error> {
        let mut tx = pair.db.begin()?;
        let value = |byte: u8| Value::Bytes(vec![byte; 5000]);
        let node = tx.create_node(&[LabelId(0)], &[(KeyId(0), value(1)), (KeyId(1), value(2))])?;
        tx.set_node_property(pair.nodes[0], KeyId(0), value(3))?;
        let edge = tx.create_edge(node, TypeId(0), pair.nodes[0], &[(KeyId(2), value(4))])?;
        tx.set_edge_property(edge, KeyId(2), value(5))?;
        assert_eq!(tx.node_count()?, 2);
        assert_eq!(tx.properties(node)?, Some(vec![(KeyId(0), value(1)), (KeyId(1), value(2))]));
        assert_eq!(tx.edge_property(edge, KeyId(2))?, Some(value(5)));
        tx.commit().map(drop)
    };
    let spilled = Path::new("/graph.wal/spilled.tmp");
    for (kind, operations) in
        [(OpKind::Create, 1), (OpKind::Remove, 1), (OpKind::Write, 5), (OpKind::Read, 7)]
    {
        for error in [std::io::ErrorKind::Other, std::io::ErrorKind::StorageFull] {
            for nth in 0..operations {
                disk.inject(Fault::on(kind).at_path(spilled).after(nth).with(error));
                match run(&pair) {
                    Err(Error::Store(found)) => {
                        assert_eq!(found.is_disk_full(), error == std::io::ErrorKind::StorageFull, "{found}");
                    }
                    other => panic!("{kind:?} {nth}: {other:?}"),
                }
                settle(&pair.db);
                assert_shows(&pair.db.snapshot().unwrap(), &before, LABELS);
            }
        }
        assert!(!disk.exists(spilled).unwrap() || kind == OpKind::Remove);
    }
    pair.assert_sound();
    run(&pair).unwrap();
    settle(&pair.db);
    assert_eq!(pair.db.snapshot().unwrap().node_count().unwrap(), 2);
    assert!(pair.db.check().unwrap().is_sound());
    assert!(!disk.exists(spilled).unwrap());
}
