//! What a power cut may leave, and what it may not.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const SEEDS: u64 = 400;

fn left(disk: &SimDisk, outcome: Outcome) -> Option<Vec<u8>> {
    disk.power_cut(outcome).read_file(A).ok()
}

#[test]
fn bytes_and_names_are_durable_apart() {
    for (sync, sync_directory, lost) in [
        (true, true, Some(vec![7; 3])),
        (true, false, None),
        (false, true, Some(vec![])),
        (false, false, None),
    ] {
        let disk = disk();
        let a = create(&disk, A);
        a.write_at(&[7; 3], 0).unwrap();
        if sync {
            a.sync().unwrap();
        }
        if sync_directory {
            sync_dir(&disk);
        }
        assert_eq!(left(&disk, Outcome::LoseAll), lost, "{sync} {sync_directory}");
        assert_eq!(left(&disk, Outcome::KeepAll), Some(vec![7; 3]));
    }
}

#[test]
fn a_sync_is_for_all_handles_of_the_file_and_for_no_other_file() {
    let disk = disk();
    disk.write_file(A, b"a").unwrap();
    disk.write_file(B, b"b").unwrap();
    let (a, b) = (open(&disk, A), open(&disk, B));
    a.write_at(b"A", 0).unwrap();
    b.write_at(b"B", 0).unwrap();
    open(&disk, A).sync().unwrap();
    let disk = disk.power_cut(Outcome::LoseAll);
    assert_eq!(disk.read_file(A).unwrap(), b"A");
    assert_eq!(disk.read_file(B).unwrap(), b"b");
}

/// As a file opened with `O_DSYNC` does it: what others wrote to the file before is as unsynced as it was.
#[test]
fn a_synced_write_makes_nothing_else_durable() {
    let disk = disk();
    disk.write_file(A, &[1; 3 * 4096]).unwrap();
    let a = open(&disk, A);
    let left = |outcome| disk.fork().power_cut(outcome).read_file(A);
    a.write_at(&[2; 4096], 0).unwrap();
    a.set_len(2 * 4096 + 1).unwrap();
    a.set_len(3 * 4096).unwrap();
    a.write_synced(&[3; 4096], 4096).unwrap();
    let lost = left(Outcome::LoseAll).unwrap();
    assert_eq!((&lost[..4096], &lost[4096..2 * 4096]), (&[1; 4096][..], &[3; 4096][..]));
    assert_eq!(
        lost[2 * 4096..],
        [[1; 1].as_slice(), &[0; 4095]].concat(),
        "the length is, as often as it changed"
    );
    let kept = left(Outcome::KeepAll).unwrap();
    assert_eq!((&kept[..4096], &kept[4096..2 * 4096]), (&[2; 4096][..], &[3; 4096][..]));
    a.sync().unwrap();
    assert_eq!(left(Outcome::LoseAll).unwrap(), kept);
}

/// A growing write of three sectors over an old byte: over many seeds every way to lose it is seen.
#[test]
fn bytes_tear_at_sectors_and_lengths_are_lost_apart() {
    let disk = disk();
    disk.write_file(A, &[1; 512]).unwrap();
    open(&disk, A).write_at(&[2; 1024], 256).unwrap();
    let seen: BTreeSet<Vec<(u8, usize)>> = (0..SEEDS)
        .map(|seed| {
            let bytes = left(&disk, Outcome::Random(seed)).unwrap();
            bytes.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
        })
        .collect();
    let first_sector = [vec![(1, 512)], vec![(1, 256), (2, 256)]];
    let longer = [vec![(0, 768)], vec![(0, 512), (2, 256)], vec![(2, 512), (0, 256)], vec![(2, 768)]];
    let mut expected = BTreeSet::from(first_sector.clone());
    for first in &first_sector {
        for rest in &longer {
            let mut runs = first.clone();
            runs.extend(rest);
            if first.len() == 2 && rest[0].0 == 2 {
                // The runs of the write's first and second sector are one.
                runs = vec![(1, 256), (2, 256 + rest[0].1)];
                runs.extend(&rest[1..]);
            }
            expected.insert(runs);
        }
    }
    assert_eq!(seen, expected);
}

/// Bytes may survive where the length that they brought does not: they are gone for good then, also for
/// whoever makes the file longer again.
#[test]
fn bytes_past_a_lost_length_do_not_come_back() {
    let disk = disk();
    disk.write_file(A, &[1; 512]).unwrap();
    open(&disk, A).write_at(&[2; 5000], 512).unwrap();
    let mut short = 0;
    for seed in 0..SEEDS {
        let disk = disk.power_cut(Outcome::Random(seed));
        let a = open(&disk, A);
        if a.len().unwrap() == 512 {
            short += 1;
            a.set_len(5512).unwrap();
            let bytes = disk.read_file(A).unwrap();
            assert!(bytes[512..].iter().all(|&byte| byte == 0), "seed {seed}");
            assert_eq!(disk.used(), 4096, "nor do they take room");
        }
    }
    assert!(short > 0);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let make = || {
        let disk = disk();
        let a = create(&disk, A);
        for round in 0..20 {
            a.write_at(&[round + 1; 700], u64::from(round) * 300).unwrap();
        }
        sync_dir(&disk);
        disk
    };
    let all: Vec<_> = (0..50).map(|seed| left(&make(), Outcome::Random(seed))).collect();
    let again: Vec<_> = (0..50).map(|seed| left(&make(), Outcome::Random(seed))).collect();
    assert_eq!(all, again);
    assert!(BTreeSet::from_iter(all).len() > 40, "seeds differ");
}

#[test]
fn the_last_change_alone_survives_or_is_lost() {
    let disk = disk();
    disk.write_file(A, b"....").unwrap();
    disk.write_file(B, b"....").unwrap();
    let (a, b) = (open(&disk, A), open(&disk, B));
    a.write_at(b"1", 0).unwrap();
    b.write_at(b"2", 0).unwrap();
    a.write_at(b"3", 5).unwrap();
    let all_but = disk.power_cut(Outcome::KeepAllButLast);
    assert_eq!(all_but.read_file(A).unwrap(), b"1...");
    assert_eq!(all_but.read_file(B).unwrap(), b"2...");
    let only = disk.power_cut(Outcome::LoseAllButLast);
    assert_eq!(only.read_file(A).unwrap(), b"....\x003", "a length may come without the bytes below it");
    assert_eq!(only.read_file(B).unwrap(), b"....");
}

#[test]
fn a_last_change_can_be_a_name_and_is_never_what_was_synced() {
    let disk = disk();
    let a = create(&disk, A);
    create(&disk, B);
    assert_eq!(disk.power_cut(Outcome::LoseAllButLast).files(), [Path::new(B)]);
    assert_eq!(disk.power_cut(Outcome::KeepAllButLast).files(), [Path::new(A)]);
    drop(a);

    let disk = super::disk();
    create(&disk, A);
    create(&disk, B).sync().unwrap();
    sync_dir(&disk);
    assert_eq!(disk.power_cut(Outcome::KeepAllButLast).files().len(), 2);
}

#[test]
fn a_rename_happens_wholly_or_not_at_all() {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        let disk = disk();
        disk.write_file(A, b"old").unwrap();
        let new = create(&disk, B);
        new.write_at(b"new", 0).unwrap();
        new.sync().unwrap();
        sync_dir(&disk);
        disk.rename(Path::new(B), Path::new(A)).unwrap();
        let disk = disk.power_cut(Outcome::Random(seed));
        seen.insert((disk.read_file(A).ok(), disk.read_file(B).ok()));
    }
    let before = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    let after = (Some(b"new".to_vec()), None);
    assert_eq!(seen, BTreeSet::from([before, after]));
}

#[test]
fn a_rename_between_directories_waits_for_both() {
    for synced in [[true, false], [false, true], [true, true]] {
        let disk = disk();
        disk.write_file(A, b"moves").unwrap();
        disk.write_file("/other/x", b"").unwrap();
        disk.rename(Path::new(A), Path::new("/other/a")).unwrap();
        for (sync, directory) in synced.into_iter().zip([DIR, "/other"]) {
            if sync {
                disk.sync_dir(Path::new(directory)).unwrap();
            }
        }
        let disk = disk.power_cut(Outcome::LoseAll);
        assert_eq!(disk.exists(Path::new("/other/a")).unwrap(), synced == [true, true]);
        assert_eq!(disk.exists(Path::new(A)).unwrap(), synced != [true, true]);
    }
}

#[test]
fn a_removed_file_may_come_back_until_its_directory_is_synced() {
    let disk = disk();
    disk.write_file(A, b"still").unwrap();
    disk.remove(Path::new(A)).unwrap();
    let recreated = create(&disk, A);
    recreated.write_at(b"other", 0).unwrap();
    recreated.sync().unwrap();
    assert_eq!(left(&disk, Outcome::LoseAll), Some(b"still".to_vec()));
    assert_eq!(left(&disk, Outcome::KeepAll), Some(b"other".to_vec()));
    assert_eq!(left(&disk, Outcome::KeepAllButLast), None);
}

#[test]
fn a_lost_directory_takes_its_files_along() {
    let disk = disk();
    disk.create_dir(Path::new("/db/wal")).unwrap();
    create(&disk, "/db/wal/1").sync().unwrap();
    disk.sync_dir(Path::new("/db/wal")).unwrap();
    let lost = disk.power_cut(Outcome::LoseAll);
    assert!(!lost.exists(Path::new("/db/wal")).unwrap());
    assert_eq!(lost.files(), [] as [&Path; 0]);
}

/// After a failed sync Linux takes the pages for clean: a second sync succeeds and has written nothing.
#[test]
fn a_failed_sync_drops_what_was_dirty() {
    let disk = disk();
    disk.write_file(A, b"old...").unwrap();
    let a = open(&disk, A);
    a.write_at(b"lost", 0).unwrap();
    disk.inject(Fault::on(OpKind::Sync));
    assert_eq!(kind(a.sync()), ErrorKind::Other);
    a.sync().unwrap();
    assert_eq!(disk.read_file(A).unwrap(), b"lost..", "the cache shows it");
    a.write_at(b"new", 2).unwrap();
    a.sync().unwrap();
    assert_eq!(disk.process_crash().read_file(A).unwrap(), b"lonew.");
    assert_eq!(left(&disk, Outcome::LoseAll).unwrap(), b"olnew.");
    assert_eq!(left(&disk, Outcome::KeepAll).unwrap(), b"lonew.", "older bytes never win over newer ones");
}

#[test]
fn a_failed_sync_of_a_directory_drops_names() {
    let disk = disk();
    create(&disk, A);
    disk.inject(Fault::on(OpKind::SyncDir));
    assert_eq!(kind(disk.sync_dir(Path::new(DIR))), ErrorKind::Other);
    create(&disk, B);
    sync_dir(&disk);
    assert_eq!(disk.files().len(), 2);
    assert_eq!(disk.power_cut(Outcome::LoseAll).files(), [Path::new(B)]);
}

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, len: usize },
    SetLen(u64),
    Reserve { offset: u64, len: u64 },
    Sync,
    FailedSync,
}

fn steps(failures: bool) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..6000_u64, 0..2000_usize).prop_map(|(offset, len)| Step::Write { offset, len }),
        2 => (0..8000_u64).prop_map(Step::SetLen),
        1 => (0..6000_u64, 0..2000_u64).prop_map(|(offset, len)| Step::Reserve { offset, len }),
        2 => Just(Step::Sync),
        u32::from(failures) => Just(Step::FailedSync),
    ];
    proptest::collection::vec(step, 1..25)
}

/// Does the step to a plain vector, as the kernel's cache would.
fn apply(step: &Step, byte: u8, bytes: &mut Vec<u8>) {
    match *step {
        Step::Write { offset, len } if len > 0 => {
            let range = offset as usize..offset as usize + len;
            bytes.resize(bytes.len().max(range.end), 0);
            bytes[range].fill(byte);
        }
        Step::SetLen(len) => bytes.resize(len as usize, 0),
        Step::Reserve { offset, len } if len > 0 => bytes.resize(bytes.len().max((offset + len) as usize), 0),
        _ => {}
    }
}

fn perform(disk: &SimDisk, file: &dyn DiskFile, step: &Step, byte: u8) {
    match *step {
        Step::Write { offset, len } => file.write_at(&vec![byte; len], offset).unwrap(),
        Step::SetLen(len) => file.set_len(len).unwrap(),
        Step::Reserve { offset, len } => file.reserve(offset, len).unwrap(),
        Step::Sync => file.sync().unwrap(),
        Step::FailedSync => {
            disk.inject(Fault::on(OpKind::Sync));
            assert!(file.sync().is_err());
        }
    }
}

proptest! {
    /// Each write has a byte of its own, so that every byte that is left tells where it came from: from one of
    /// the states since the last sync, or it is a zero where one of those states had ended already.
    #[test]
    fn every_byte_that_is_left_was_there_since_the_last_sync(steps in steps(false), seed: u64) {
        let disk = disk();
        let file = create(&disk, A);
        sync_dir(&disk);
        let mut states = vec![Vec::new()];
        let mut lengths = BTreeSet::from([0]);
        for (byte, step) in (1..).zip(&steps) {
            perform(&disk, &*file, step, byte);
            let mut now = states[states.len() - 1].clone();
            apply(step, byte, &mut now);
            if matches!(step, Step::Sync) {
                states.clear();
                lengths.clear();
            }
            if let Step::Write { offset, len } = step {
                lengths.insert(*offset as usize + len);
            }
            if let Step::Reserve { offset, len } = step {
                lengths.insert((*offset + len) as usize);
            }
            lengths.insert(now.len());
            states.push(now);
        }
        prop_assert!(left(&disk, Outcome::LoseAll).as_ref() == states.first());
        prop_assert!(left(&disk, Outcome::KeepAll).as_ref() == states.last());
        for seed in [seed, seed ^ 1, seed ^ 2, seed ^ 3] {
            let found = left(&disk, Outcome::Random(seed)).unwrap();
            prop_assert!(lengths.contains(&found.len()), "length {}", found.len());
            for (at, byte) in found.iter().enumerate() {
                let known = states.iter().any(|state| state.get(at).unwrap_or(&0) == byte);
                prop_assert!(known, "byte {} at {}", byte, at);
            }
        }
    }

    /// With syncs that fail: what is durable at least is what was written between a sync and the next good one.
    #[test]
    fn a_good_sync_covers_what_no_failed_one_dropped(steps in steps(true)) {
        let disk = disk();
        let file = create(&disk, A);
        sync_dir(&disk);
        let mut seen = Vec::new();
        let mut durable = Vec::new();
        let mut dirty = Vec::new();
        for (byte, step) in (1..).zip(&steps) {
            perform(&disk, &*file, step, byte);
            apply(step, byte, &mut seen);
            match step {
                Step::Sync => {
                    for (step, byte) in dirty.drain(..) {
                        apply(step, byte, &mut durable);
                    }
                }
                Step::FailedSync => dirty.clear(),
                _ => dirty.push((step, byte)),
            }
        }
        prop_assert!(disk.read_file(A).unwrap() == seen);
        prop_assert!(disk.process_crash().read_file(A).unwrap() == seen);
        prop_assert!(left(&disk, Outcome::LoseAll) == Some(durable));
        prop_assert!(left(&disk, Outcome::KeepAll) == Some(seen));
    }
}
