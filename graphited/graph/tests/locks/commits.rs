//! What becomes of locks and write sets at a commit: groups, verdicts, and when others get on.

use super::*;

/// Locks go when the group is appended, not when it is durable.
#[test]
fn locks_are_released_before_anything_is_synced() {
    let (db, [a]) = nodes();
    settle(&db);
    let visible = db.store().visible_lsn();
    let mut first = begin(&db);
    put(&mut first, a, 1).unwrap();
    let applied = first.commit().unwrap().lsn;
    let mut second = begin(&db);
    assert_eq!(get(&second, a), 1);
    put(&mut second, a, 2).unwrap();
    second.commit().unwrap();
    let third = begin(&db);
    assert_eq!(get(&third, a), 2);
    assert!(third.seen_lsn() > applied, "whoever is told of it waits for more than that");
    assert_eq!(db.store().visible_lsn(), visible);
}

#[test]
fn what_commits_at_once_is_one_group() {
    let (db, ids) = nodes::<6>();
    let before = db.commit_counts();
    let all: Vec<(Transaction, Option<Vec<u8>>)> = ids
        .chunks(2)
        .map(|pair| {
            let mut tx = begin(&db);
            tx.create_edge(pair[0], KNOWS, pair[1], &[]).unwrap();
            put(&mut tx, pair[0], 9).unwrap();
            tx.create_node(&[CITY], &[]).unwrap();
            (tx, None)
        })
        .collect();
    // Names that were needed have been made by now, by commits of their own.
    let groups = db.store().status().commits;
    let verdicts = commit_together(&db, all).unwrap();
    let lsn = verdicts[0].as_ref().unwrap().lsn;
    assert!(verdicts.iter().all(|verdict| verdict.as_ref().unwrap().lsn == lsn), "{verdicts:?}");
    assert_eq!(db.store().status().commits, groups + 1);
    let after = db.commit_counts();
    assert_eq!((after.sets - before.sets, after.groups - before.groups, after.waiting), (3, 1, 0));
    settle(&db);
    let report = db.check().unwrap();
    assert_eq!((report.nodes, report.edges, report.is_sound()), (9, 3, true));
}

/// The disk is full for one of them: it alone is refused.
#[test]
fn one_that_cannot_be_applied_does_not_take_the_others_with_it() {
    let disk = SimDisk::new();
    let db = open(&disk);
    let key = db.key_id_or_create("key").unwrap();
    let mut tx = begin(&db);
    let ids: Vec<NodeId> = (0..4).map(|_| tx.create_node(&[], &[(key, Value::Int(0))]).unwrap()).collect();
    tx.commit().unwrap();
    settle(&db);
    disk.set_capacity(Some(disk.used()));
    let mut all = Vec::new();
    for &id in &ids {
        let mut tx = begin(&db);
        put(&mut tx, id, 1).unwrap();
        all.push((tx, None));
    }
    all[2].0.set_node_property(ids[2], key, Value::String("y".repeat(700_000))).unwrap();
    let verdicts = commit_together(&db, all).unwrap();
    for (place, verdict) in verdicts.into_iter().enumerate() {
        match verdict {
            Ok(_) => assert_ne!(place, 2),
            Err(Error::Store(error)) => assert!(place == 2 && error.is_disk_full(), "{place}: {error}"),
            Err(error) => panic!("{error}"),
        }
    }
    disk.set_capacity(None);
    let counts: Vec<i64> = ids.iter().map(|id| value_of(&db, *id)).collect();
    assert_eq!(counts, [1, 1, 0, 1]);
    settle(&db);
    assert!(db.check().unwrap().is_sound());
    assert_eq!(db.locks().picture().locks.len(), 0);
}
