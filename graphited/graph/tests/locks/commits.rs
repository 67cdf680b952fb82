//! What becomes of locks and write sets at a commit: groups, verdicts, and when others get on.

use std::sync::{Arc, mpsc};

use graphite_graph::Continuation;
use graphite_store::clock::SimClock;
use graphite_store::{Lsn, StoreOptions};

use super::hooked::{Doing, HookedDisk};
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

/// What its owner is told, by whichever thread.
struct Told(std::sync::mpsc::Sender<(usize, graphite_graph::Result<Lsn>)>, usize);

impl Continuation for Told {
    fn applied(self: Box<Self>, outcome: graphite_graph::Result<Lsn>) {
        self.0.send((self.1, outcome)).unwrap();
    }
}

fn change(db: &GraphDb, id: NodeId, value: i64) -> Transaction {
    let mut tx = db.begin().unwrap();
    put(&mut tx, id, value).unwrap();
    tx
}

#[test]
fn what_has_nothing_to_be_applied_is_not_left() {
    let (db, [a]) = nodes();
    let (told, heard) = mpsc::channel();
    let (_, outcome) = begin(&db).leave(None, Told(told.clone(), 0)).unwrap();
    assert!(outcome.is_ok());
    let (_, outcome) = change(&db, a, 7).leave(Some(&[1; 33]), Told(told, 1)).unwrap();
    assert!(matches!(outcome, Err(Error::TooLong { .. })));
    assert!(heard.try_recv().is_err());
    assert!(!db.apply_waiting());
    assert_eq!((value_of(&db, a), db.locks().picture().locks.len()), (0, 0));
}

/// What is left is applied as one group with what is handed in after it, in order, and the log is synced for all of it
/// though nobody asked for that: there is no log thread here.
#[test]
fn commits_that_are_left_are_applied_by_the_next_thread_that_comes() {
    let (db, [a, b, c]) = nodes();
    let (told, heard) = mpsc::channel();
    for (index, id) in [a, b].into_iter().enumerate() {
        assert!(change(&db, id, 1).leave(None, Told(told.clone(), index)).is_none());
    }
    let before = db.commit_counts();
    assert_eq!(before.waiting, 2);
    assert!(db.locks().picture().locks.iter().any(|lock| lock.granted), "what is not applied is locked");
    let committed = change(&db, c, 1).commit().unwrap();
    let all: Vec<usize> = heard.try_iter().map(|(index, told)| told.map(|_| index).unwrap()).collect();
    assert_eq!(all, [0, 1]);
    let after = db.commit_counts();
    assert_eq!((after.sets - before.sets, after.groups - before.groups, after.waiting), (3, 1, 0));
    assert_eq!(db.store().visible_lsn(), committed.lsn);

    assert!(change(&db, a, 2).leave(Some(b"a token"), Told(told, 3)).is_none());
    assert!(!db.apply_waiting());
    let (index, outcome) = heard.try_recv().unwrap();
    assert_eq!((index, outcome.unwrap()), (3, db.store().visible_lsn()));
    assert!(db.commit_status(b"a token").unwrap().is_some());
    assert_eq!([a, b, c].map(|id| value_of(&db, id)), [2, 1, 1]);
    assert_eq!(db.locks().picture().locks.len(), 0);
}

/// Locks of all are let go of before anybody is told: whoever is told first may need those of the last.
#[test]
fn nobody_is_told_before_the_locks_of_all_are_free() {
    struct Looks(GraphDb, mpsc::Sender<usize>);
    impl Continuation for Looks {
        fn applied(self: Box<Self>, _: graphite_graph::Result<Lsn>) {
            self.1.send(self.0.locks().picture().locks.len()).unwrap();
        }
    }
    let (db, ids) = nodes::<3>();
    let (told, heard) = mpsc::channel();
    for id in ids {
        assert!(change(&db, id, 1).leave(None, Looks(db.clone(), told.clone())).is_none());
    }
    db.apply_waiting();
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [0, 0, 0]);
}

/// Some wait for their commits, some leave them, and whoever leaves one comes until it is applied.
#[test]
fn nobody_is_forgotten_whether_he_waits_or_not() {
    let (db, ids) = nodes::<8>();
    let (told, heard) = mpsc::channel();
    std::thread::scope(|scope| {
        for (index, &id) in ids.iter().enumerate() {
            let (db, told) = (db.clone(), told.clone());
            scope.spawn(move || {
                for value in 1..=200 {
                    let tx = change(&db, id, value);
                    if (index + value as usize).is_multiple_of(2) {
                        told.send((index, tx.commit().map(|done| done.lsn))).unwrap();
                    } else {
                        assert!(tx.leave(None, Told(told.clone(), index)).is_none());
                        while db.apply_waiting() {
                            std::thread::yield_now();
                        }
                    }
                }
            });
        }
    });
    let mut told = [0; 8];
    for (index, outcome) in heard.try_iter() {
        outcome.unwrap();
        told[index] += 1;
    }
    assert_eq!(told, [200; 8]);
    assert_eq!(db.commit_counts().waiting, 0);
    settle(&db);
    assert_eq!(ids.map(|id| value_of(&db, id)), [200; 8]);
    assert_eq!(db.locks().picture().locks.len(), 0);
}

/// A transaction that needs the slot of a new node waits for a disk to tell where one is. Those that commit meanwhile need
/// the same pool.
#[test]
fn nobody_waits_for_a_disk_that_is_asked_for_free_slots() {
    let disk = HookedDisk::new(SimDisk::new());
    let open = || {
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let clock = Arc::new(SimClock::default());
        GraphDb::open(Arc::new(disk.clone()), clock, "/graph".as_ref(), options).unwrap()
    };
    let db = open();
    let key = db.key_id_or_create("key").unwrap();
    let mut tx = begin(&db);
    let nodes: Vec<NodeId> =
        (0..1000).map(|number| tx.create_node(&[], &[(key, Value::Int(number))]).unwrap()).collect();
    tx.commit().unwrap();
    db.store().close().unwrap();
    drop(db);

    let db = open();
    // What it needs is in memory, and of another page than that of the last node.
    let mut first = begin(&db);
    first.set_node_property(nodes[0], key, Value::Int(7)).unwrap();
    assert_eq!(get(&first, nodes[0]), 7);
    let _ = first.commit().unwrap();
    let mut first = begin(&db);
    first.set_node_property(nodes[0], key, Value::Int(8)).unwrap();
    let (asked, is_asked) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    disk.ask(move |_, doing| {
        if matches!(doing, Doing::Read(_)) {
            asked.send(()).unwrap();
            let _ = may_go_on.lock().unwrap().recv();
        }
        Ok(())
    });
    std::thread::scope(|scope| {
        let creates = scope.spawn(|| {
            let mut second = db.begin().unwrap();
            second.create_node(&[], &[]).unwrap();
            second.commit().unwrap();
        });
        is_asked.recv().unwrap();
        let (committed, is_committed) = mpsc::channel();
        scope.spawn(move || committed.send(first.commit().unwrap()));
        let commits = is_committed.recv_timeout(std::time::Duration::from_secs(60));
        disk.ask_nobody();
        drop(go_on);
        creates.join().unwrap();
        assert!(commits.is_ok(), "it waited for the other one's disk");
    });
    settle(&db);
    assert_eq!((value_of(&db, nodes[0]), db.status().unwrap().nodes), (8, 1001));
}

/// Those that are refused are told so, each by itself; and what they rest on becomes durable, though nothing of their own
/// does: a name that was made for them.
#[test]
fn a_commit_that_is_left_and_refused_is_told() {
    let disk = SimDisk::new();
    let db = open(&disk);
    let key = db.key_id_or_create("key").unwrap();
    let mut tx = begin(&db);
    let ids: Vec<NodeId> = (0..3).map(|_| tx.create_node(&[], &[(key, Value::Int(0))]).unwrap()).collect();
    tx.commit().unwrap();
    settle(&db);
    disk.set_capacity(Some(disk.used()));
    let (told, heard) = mpsc::channel();
    for (index, &id) in ids.iter().enumerate() {
        let mut tx = begin(&db);
        let value = if index == 1 { Value::String("y".repeat(700_000)) } else { Value::Int(1) };
        tx.set_node_property(id, key, value).unwrap();
        assert!(tx.leave(None, Told(told.clone(), index)).is_none());
    }
    db.apply_waiting();
    let mut verdicts: Vec<(usize, bool)> =
        heard.try_iter().map(|(index, outcome)| (index, outcome.is_ok())).collect();
    verdicts.sort_unstable();
    assert_eq!(verdicts, [(0, true), (1, false), (2, true)]);

    db.label_id_or_create("Made").unwrap();
    assert!(db.store().visible_lsn() < db.store().applied_lsn());
    let mut tx = begin(&db);
    tx.set_node_property(ids[1], key, Value::String("y".repeat(700_000))).unwrap();
    assert!(tx.leave(None, Told(told, 4)).is_none());
    db.apply_waiting();
    assert!(heard.try_recv().unwrap().1.is_err());
    assert_eq!(db.store().visible_lsn(), db.store().applied_lsn());
    disk.set_capacity(None);
    assert_eq!(db.locks().picture().locks.len(), 0);
}
