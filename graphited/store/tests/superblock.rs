//! Whatever becomes of a life that writes the copies of the superblock, one of them is whole.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;

use graphite_store::PAGE_BYTES;
use graphite_store::disk::{Fault, Op, OpKind, Outcome, SimDisk};
use support::{PATH, open, set_durable, value};

/// The process ends when it has written one copy of the superblock and not synced it. The next one reads that copy, writes the
/// other, and the power goes: of the one that was read there has to be something.
#[test]
fn a_copy_of_the_superblock_that_a_killed_life_wrote_is_synced_before_the_other_is_written() {
    let disk = SimDisk::new();
    set_durable(&open(&disk).unwrap(), 1);
    let killed = after_each_copy(&disk.process_crash()).map(|disk| disk.process_crash());
    killed.iter().for_each(one_copy_outlives_a_power_cut);
}

/// A failed sync drops what was written, and a later one that succeeds says nothing about it.
#[test]
fn a_copy_of_the_superblock_whose_sync_failed_is_written_again() {
    let disk = SimDisk::new();
    set_durable(&open(&disk).unwrap(), 1);
    for syncs in 0..3 {
        let disk = disk.process_crash();
        disk.inject(Fault::on(OpKind::Sync).at_path(PATH).after(syncs));
        assert!(open(&disk).is_err());
        disk.clear_faults();
        one_copy_outlives_a_power_cut(&disk.process_crash());
    }
}

/// The disk as it is after each write of a copy of the superblock in a life that begins on it.
fn after_each_copy(disk: &SimDisk) -> [SimDisk; 3] {
    let disk = disk.fork();
    disk.keep_history();
    drop(open(&disk).unwrap());
    let is_copy = |op: &Op| {
        op.kind == OpKind::Write && *op.path == *Path::new(PATH) && op.offset < 2 * PAGE_BYTES as u64
    };
    let written = disk.trace().into_iter().filter(is_copy).map(|op| disk.after_op(op.index).unwrap());
    written.collect::<Vec<_>>().try_into().expect("the one that was read, and both of the new life")
}

fn one_copy_outlives_a_power_cut(disk: &SimDisk) {
    for next in after_each_copy(disk) {
        for seed in 0..200 {
            let left = next.power_cut(Outcome::Random(seed));
            let store = open(&left).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(value(&store), 1);
        }
    }
}
