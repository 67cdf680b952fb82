//! Segment files after kills, power cuts, damage and leftovers: no file that holds acknowledged commits is given away,
//! and no missing one is passed over in silence.
//!
//! Each commit logs a page that hardly compresses, so that two of them fill a segment.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use graphite_store::clock::SimClock;
use graphite_store::disk::{Disk, OpKind, Outcome, SimDisk};
use graphite_store::{Error, Lsn, PageKind, PageWriter, Store, StoreOptions};
use support::{COUNTER, PATH, open, options, value};

/// Makes commit `k` durable, with some 6 KB of log.
fn commit_big(store: &Store, k: u64) {
    let lsn = commit_pages(store, k, 1);
    store.wait_visible(lsn).unwrap();
}

/// Commit `k`, with some 6 KB of log for each of its pages.
fn commit_pages(store: &Store, k: u64, pages: u64) -> Lsn {
    let mut turn = store.turn().unwrap();
    for _ in 0..pages {
        let page = turn.allocate(PageKind::Record).unwrap();
        let body = turn.page_mut(page).unwrap().body_mut();
        for (i, byte) in body[..6000].iter_mut().enumerate() {
            *byte = (i as u64 * 31 + k * 7) as u8 | 1;
        }
    }
    turn.set_state(COUNTER, k).unwrap();
    turn.commit().unwrap()
}

/// The half-made next segment of a killed life is a spare under its own name. When older spares come on top of it, it
/// must not stay one while its name becomes a live segment's.
#[test]
fn a_segment_left_half_made_is_not_recycled_once_it_is_live() {
    let disk = SimDisk::new();
    disk.keep_history();
    let store = open(&disk).unwrap();
    (1..=14).for_each(|k| commit_big(&store, k));
    drop(store);
    let create = disk.trace().into_iter().rev().find(|op| op.kind == OpKind::Create).unwrap();
    let disk = disk.after_op(create.index + 1).unwrap();
    let store = open(&disk).unwrap();
    let found = value(&store);
    // Frees older segments before the half-made one is used.
    store.checkpoint().unwrap();
    (found + 1..=found + 14).for_each(|k| commit_big(&store, k));
    drop(store);
    assert_eq!(value(&open(&disk.process_crash()).unwrap()), found + 14);
}

/// A large commit has several segments made ready, and the process dies before a byte of it is written. The next one lets
/// them go, and in the midst of that the power may be cut.
#[test]
fn segments_that_a_killed_life_left_unused_go_without_a_gap() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    (1..=3).for_each(|k| commit_big(&store, k));
    commit_pages(&store, 4, 6);
    let prepared = segments(&disk).len();
    drop(store);
    let disk = disk.process_crash();
    disk.keep_history();
    assert_eq!(value(&open(&disk).unwrap()), 3);
    assert!(segments(&disk).len() + 2 <= prepared, "several went");
    let named =
        [Outcome::LoseAll, Outcome::KeepAll, Outcome::LoseAllButLast, Outcome::KeepAllButLast].into_iter();
    for outcome in named.chain((0..8).map(Outcome::Random)) {
        for op in 0..disk.ops() {
            let left = disk.after_op(op).unwrap().power_cut(outcome);
            let store = open(&left).unwrap_or_else(|e| panic!("after operation {op}, {outcome:?}: {e}"));
            assert_eq!(value(&store), 3);
        }
    }
}

/// A checkpoint lets more segments go than are kept for reuse, so some are removed; in the midst of it the power is cut.
#[test]
fn no_segment_goes_while_the_superblock_needs_it() {
    let disk = SimDisk::new();
    disk.keep_history();
    let store = open(&disk).unwrap();
    (1..=14).for_each(|k| commit_big(&store, k));
    let before = disk.ops();
    store.checkpoint().unwrap();
    drop(store);
    let removed = disk.trace().iter().filter(|op| op.index >= before && op.kind == OpKind::Remove).count();
    assert!(removed > 0);
    for op in before..disk.ops() {
        for outcome in [Outcome::LoseAll, Outcome::KeepAll, Outcome::Random(op)] {
            let left = disk.after_op(op).unwrap().power_cut(outcome);
            let store = open(&left).unwrap_or_else(|e| panic!("after operation {op}, {outcome:?}: {e}"));
            assert_eq!(value(&store), 14);
        }
    }
}

fn segment(number: u64) -> PathBuf {
    PathBuf::from(format!("{PATH}.wal/{number:010}.wal"))
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "wal")).collect()
}

/// A disk with twelve commits, killed after the last.
fn twelve_commits() -> SimDisk {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    (1..=12).for_each(|k| commit_big(&store, k));
    drop(store);
    assert!(segments(&disk).len() > 5);
    disk.process_crash()
}

#[track_caller]
fn assert_refused(disk: &SimDisk, what: &str) {
    let before: Vec<_> = segments(disk).iter().map(|path| disk.read_file(path).unwrap()).collect();
    match open(disk) {
        Err(Error::CorruptLog { .. }) => {}
        Ok(store) => panic!("{what}: 12 were acknowledged, and it opens with {}", value(&store)),
        Err(other) => panic!("{what}: {other}"),
    }
    let after: Vec<_> = segments(disk).iter().map(|path| disk.read_file(path).unwrap()).collect();
    assert_eq!(before, after, "{what}: the refusal changed something");
}

#[test]
fn a_bad_byte_in_any_segments_header_is_reported_and_not_taken_for_the_end_of_the_log() {
    let disk = twelve_commits();
    for path in segments(&disk) {
        for offset in [0, 8, 12, 17, 25, 35] {
            let disk = disk.fork();
            let flip = || disk.corrupt(&path, offset, 1, |bytes| bytes[0] ^= 1).unwrap();
            flip();
            assert_refused(&disk, &format!("byte {offset} of {}", path.display()));
            flip();
            assert_eq!(value(&open(&disk).unwrap()), 12);
        }
        // As a disk does that gives zeros for what it has lost.
        let disk = disk.fork();
        disk.corrupt(&path, 0, 512, |bytes| bytes.fill(0)).unwrap();
        assert_refused(&disk, &format!("the first sector of {}", path.display()));
    }
}

#[test]
fn a_missing_or_short_segment_is_reported_if_the_log_goes_on_behind_it() {
    let disk = twelve_commits();
    let all = segments(&disk);
    for path in &all[..all.len() - 1] {
        let disk = disk.fork();
        disk.remove(path).unwrap();
        assert_refused(&disk, &format!("without {}", path.display()));
    }
    for path in &all {
        let disk = disk.fork();
        let bytes = disk.read_file(path).unwrap();
        disk.write_file(path, &bytes[..bytes.len() - 1]).unwrap();
        assert_refused(&disk, &format!("{} is short", path.display()));
    }
}

/// The state of a segment that a crash interrupts the making of is none of that: the log ends before it.
#[test]
fn a_segment_left_unfinished_at_the_logs_end_is_made_anew() {
    let disk = twelve_commits();
    let next = segment(segments(&disk).len() as u64);
    let recycled = disk.read_file(segment(0)).unwrap();
    let len = recycled.len();
    for (what, bytes) in [
        ("empty", vec![]),
        ("in the middle of the zeros", vec![0; len / 2]),
        ("without a header", vec![0; len]),
        ("under a new name", recycled),
    ] {
        let disk = disk.fork();
        disk.write_file(&next, &bytes).unwrap();
        let store = open(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(value(&store), 12, "{what}");
        (13..=20).for_each(|k| commit_big(&store, k));
        drop(store);
        assert_eq!(value(&open(&disk.process_crash()).unwrap()), 20, "{what}");
    }
}

/// Also after a life that ended in order, and so left its segments to the next one: a crash between the new name of a
/// recycled file and its new header leaves such a file.
#[test]
fn a_segment_with_anothers_number_is_not_taken_for_ready() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    (1..=12).for_each(|k| commit_big(&store, k));
    store.close().unwrap();
    drop(store);
    let number = |path: &Path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    let last = segments(&disk).pop().unwrap();
    let recycled = disk.read_file(&last).unwrap();
    disk.write_file(segment(number(&last) + 1), &recycled).unwrap();
    let disk = disk.process_crash();
    let store = open(&disk).unwrap();
    (13..=20).for_each(|k| commit_big(&store, k));
    drop(store);
    for path in segments(&disk) {
        let header = disk.read_file(&path).unwrap();
        assert_eq!(header[24..32], number(&path).to_le_bytes(), "{}", path.display());
    }
}

/// Whoever removes a database may well forget its log.
#[test]
fn a_new_database_has_nothing_of_an_older_one_whose_log_was_left_behind() {
    for commits in [1, 5, 10, 40] {
        for close in [false, true] {
            let disk = SimDisk::new();
            let store = open(&disk).unwrap();
            (1..=commits).for_each(|k| commit_big(&store, k));
            if close {
                store.close().unwrap();
            }
            drop(store);
            disk.remove(Path::new(PATH)).unwrap();
            let disk = disk.process_crash();
            let what = format!("{commits} commits left behind, closed: {close}");
            let store = open(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(value(&store), 0, "{what}");
            drop(store);
            let disk = disk.power_cut(Outcome::LoseAll);
            let store = open(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
            (1..=12).for_each(|k| commit_big(&store, k));
            drop(store);
            assert_eq!(value(&open(&disk.process_crash()).unwrap()), 12, "{what}");
        }
    }
}

#[test]
fn files_that_are_not_the_logs_own_are_never_touched() {
    let other = twelve_commits().read_file(segment(3)).unwrap();
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    (1..=12).for_each(|k| commit_big(&store, k));
    store.checkpoint().unwrap();
    drop(store);
    let disk = disk.process_crash();
    let kept =
        ["backup.wal", "3.wal", "0000000001.wal.old", "notes"].map(|name| format!("{PATH}.wal/{name}"));
    kept.iter().for_each(|path| disk.write_file(path, b"mine").unwrap());
    // The numbers below the redo point do not come again.
    disk.write_file(segment(1), &other).unwrap();
    let store = open(&disk).unwrap();
    (13..=80).for_each(|k| commit_big(&store, k));
    drop(store);
    let disk = disk.process_crash();
    assert_eq!(value(&open(&disk).unwrap()), 80);
    kept.iter().for_each(|path| assert_eq!(disk.read_file(path).unwrap(), b"mine"));
    assert_eq!(disk.read_file(segment(1)).unwrap(), other);
    // Where the log will come to, it would be overwritten.
    disk.write_file(segment(1000), &other).unwrap();
    assert_refused(&disk, "another database's segment ahead");
}

/// A recycled segment is full of groups of an earlier lap, each of which the search for a later mark looks at.
#[test]
fn opening_reads_a_recycled_log_once_and_not_once_for_each_old_group() {
    let options = StoreOptions { wal_bytes: 16 << 20, cache_bytes: 16 << 20, ..options() };
    let open = |disk: &SimDisk| {
        let clock = Arc::new(SimClock::default());
        Store::open(Arc::new(disk.clone()), clock, Path::new(PATH), options.clone()).unwrap()
    };
    let disk = SimDisk::new();
    let store = open(&disk);
    let mut k = 0;
    while store.applied_lsn().0 < 3 << 20 {
        k += 1;
        let mut turn = store.turn().unwrap();
        turn.set_state(COUNTER, k).unwrap();
        turn.commit().unwrap();
        if k.is_multiple_of(2000) {
            store.checkpoint().unwrap();
        }
    }
    store.flush().unwrap();
    drop(store);
    let disk = disk.process_crash();
    let store = open(&disk);
    assert_eq!(value(&store), k);
    let (reads, live) = (disk.counters().reads, store.status().wal_bytes >> 20);
    assert!(reads < 100, "{reads} reads to open a log of {live} MB with {k} groups");
}
