//! Segment files after kills, power cuts, damage and leftovers: no file that holds acknowledged commits is given away,
//! and no missing one is passed over in silence.
//!
//! Each commit logs a page that hardly compresses, so that two of them fill a segment.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use graphite_store::disk::{OpKind, SimDisk};
use graphite_store::{PageKind, PageReader, PageWriter, Store};
use support::{COUNTER, open};

/// Makes commit `k` durable, with some 6 KB of log.
fn commit_big(store: &Store, k: u64) {
    let mut turn = store.turn().unwrap();
    let page = turn.allocate(PageKind::Record).unwrap();
    let body = turn.page_mut(page).unwrap().body_mut();
    for (i, byte) in body[..6000].iter_mut().enumerate() {
        *byte = (i as u64 * 31 + k * 7) as u8 | 1;
    }
    turn.set_state(COUNTER, k).unwrap();
    let lsn = turn.commit().unwrap();
    store.wait_visible(lsn).unwrap();
}

fn value(store: &Store) -> u64 {
    store.snapshot().unwrap().state(COUNTER).unwrap()
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
