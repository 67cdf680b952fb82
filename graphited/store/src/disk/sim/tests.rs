//! The simulated disk against what its head promises.

mod lives;
mod power_cut;
mod same_as_real;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::*;

const DIR: &str = "/db";
const A: &str = "/db/a";
const B: &str = "/db/b";

/// A disk with an empty directory, which is durable.
fn disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir(Path::new(DIR)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.fork()
}

fn create(disk: &SimDisk, path: &str) -> Arc<dyn DiskFile> {
    disk.open(Path::new(path), OpenMode::CreateNew).unwrap()
}

fn open(disk: &SimDisk, path: &str) -> Arc<dyn DiskFile> {
    disk.open(Path::new(path), OpenMode::Existing).unwrap()
}

fn sync_dir(disk: &SimDisk) {
    disk.sync_dir(Path::new(DIR)).unwrap();
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("it has to fail").kind()
}

#[test]
fn a_fault_strikes_the_operation_it_names_and_no_other() {
    let disk = disk();
    let (a, b) = (create(&disk, A), create(&disk, B));
    disk.inject(Fault::on(OpKind::Write).at_path(B).after(1).with(ErrorKind::StorageFull));
    a.write_at(&[1], 0).unwrap();
    b.write_at(&[1], 0).unwrap();
    a.write_at(&[2], 0).unwrap();
    assert_eq!(kind(b.write_at(&[2], 1)), ErrorKind::StorageFull);
    b.sync().unwrap();
    assert_eq!(disk.read_file(B).unwrap(), [1], "a write that failed makes no file longer");
    b.write_at(&[3], 0).unwrap();
    assert_eq!(disk.read_file(B).unwrap(), [3], "the fault was for once");
}

#[test]
fn a_write_that_fails_may_leave_any_of_its_sectors() {
    const SECTORS: usize = 3;
    let disk = disk();
    let a = create(&disk, A);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        a.write_at(&[0; SECTORS * 512], 0).unwrap();
        disk.inject(Fault::on(OpKind::Write));
        a.write_at(&[7; SECTORS * 512], 0).unwrap_err();
        let bytes = disk.read_file(A).unwrap();
        let sectors: Vec<&[u8]> = bytes.chunks(512).collect();
        assert!(sectors.iter().all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        seen.insert(sectors.iter().map(|sector| sector[0] == 7).collect::<Vec<bool>>());
    }
    assert_eq!(seen.len(), 1 << SECTORS, "each of them may be there or not");
}

#[test]
fn what_is_looked_at_fails_only_if_it_is_meant() {
    let disk = disk();
    let a = create(&disk, A);
    disk.inject(Fault::on_any_change());
    assert_eq!((a.len().unwrap(), a.try_lock().unwrap(), a.links().unwrap()), (0, true, 1));
    disk.clear_faults();
    let before = disk.counters().looks;
    disk.inject(Fault::on(OpKind::Look).after(3));
    assert!(disk.exists(Path::new(A)).unwrap() && a.is_at(Path::new(A)).unwrap());
    assert_eq!(disk.list(Path::new("/db")).unwrap(), [Path::new(A)]);
    assert_eq!(kind(disk.open(Path::new(A), OpenMode::Existing)), ErrorKind::Other);
    assert_eq!(disk.counters().looks, before + 4);
}

#[test]
fn a_fault_forever_goes_when_it_is_cleared() {
    let disk = disk();
    let a = create(&disk, A);
    a.write_at(&[1; 4], 0).unwrap();
    disk.inject(Fault::on(OpKind::Read).forever().with(ErrorKind::TimedOut));
    let mut buffer = [0; 4];
    for _ in 0..3 {
        assert_eq!(kind(a.read_at(&mut buffer, 0)), ErrorKind::TimedOut);
    }
    disk.clear_faults();
    a.read_at(&mut buffer, 0).unwrap();
    assert_eq!(buffer, [1; 4]);
}

#[test]
fn a_fault_on_any_change_counts_all_but_reads() {
    let disk = disk();
    let a = create(&disk, A);
    disk.inject(Fault::on_any_change().after(2));
    a.write_at(&[1], 0).unwrap();
    a.read_at(&mut [0], 0).unwrap();
    a.sync().unwrap();
    a.read_at(&mut [0], 0).unwrap();
    assert_eq!(kind(disk.remove(Path::new(A))), ErrorKind::Other);
    assert!(disk.exists(Path::new(A)).unwrap());
}

#[test]
fn a_full_disk_refuses_what_needs_room_and_nothing_else() {
    let disk = disk();
    let a = create(&disk, A);
    disk.set_capacity(Some(4 * 4096));
    a.set_len(1 << 30).unwrap();
    assert_eq!(disk.used(), 0, "a sparse file takes no room");
    a.reserve(0, 2 * 4096).unwrap();
    assert_eq!(disk.used(), 2 * 4096);
    a.write_at(&[1; 4096], 1 << 20).unwrap();
    a.write_at(&[1; 8192], 0).unwrap();
    assert_eq!(disk.used(), 3 * 4096, "what was reserved is there to be written");
    assert_eq!(kind(a.reserve(1 << 21, 4097)), ErrorKind::StorageFull);
    assert_eq!(kind(a.write_at(&[1; 4097], 1 << 21)), ErrorKind::StorageFull);
    let mut found = [9; 4097];
    a.read_at(&mut found, 1 << 21).unwrap();
    assert_eq!(found, [0; 4097], "what was refused changed nothing");
    a.write_at(&[1], 1 << 21).unwrap();
    assert_eq!(kind(disk.open(Path::new(B), OpenMode::CreateNew)), ErrorKind::StorageFull);
    assert!(!disk.exists(Path::new(B)).unwrap());
    a.write_at(&[2; 4096], 0).unwrap();

    disk.remove(Path::new(A)).unwrap();
    assert_eq!(disk.used(), 4 * 4096, "an open file keeps its room");
    drop(a);
    assert_eq!(disk.used(), 0);
    create(&disk, A).write_at(&[1; 4096], 0).unwrap();
    create(&disk, B).write_at(&[1; 3 * 4096], 0).unwrap();
    assert_eq!(disk.used(), 4 * 4096, "all files count");
    sync_dir(&disk);
    let disk = disk.power_cut(Outcome::KeepAll);
    assert_eq!(
        kind(open(&disk, B).write_at(&[1], 3 * 4096)),
        ErrorKind::StorageFull,
        "the size outlives a crash"
    );
}

#[test]
fn counters_and_trace_tell_what_was_asked() {
    let disk = disk();
    let a = create(&disk, A);
    a.write_at(&[1; 100], 50).unwrap();
    a.set_len(120).unwrap();
    a.reserve(4096, 10).unwrap();
    a.read_at(&mut [0; 3], 0).unwrap();
    a.sync().unwrap();
    disk.rename(Path::new(A), Path::new(B)).unwrap();
    disk.create_dir(Path::new("/db/wal")).unwrap();
    disk.create_dir(Path::new("/db/wal")).unwrap();
    disk.remove(Path::new(B)).unwrap();
    sync_dir(&disk);
    let counters = Counters { reads: 1, looks: 0, writes: 1, syncs: 1, sync_dirs: 1, bytes_written: 100 };
    assert_eq!(disk.counters(), counters);
    let expected = [
        (OpKind::Create, A, 0, 0),
        (OpKind::Write, A, 50, 100),
        (OpKind::SetLen, A, 0, 120),
        (OpKind::Reserve, A, 4096, 10),
        (OpKind::Sync, A, 0, 0),
        (OpKind::Rename, A, 0, 0),
        (OpKind::CreateDir, "/db/wal", 0, 0),
        (OpKind::Remove, B, 0, 0),
        (OpKind::SyncDir, DIR, 0, 0),
    ];
    let expected: Vec<Op> = (0..)
        .zip(expected)
        .map(|(index, (kind, path, offset, len))| Op {
            index,
            kind,
            path: Path::new(path).into(),
            offset,
            len,
        })
        .collect();
    assert_eq!(disk.trace(), expected);
    assert_eq!(disk.ops(), expected.len() as u64);
}

#[test]
fn corruption_is_durable_at_once_and_alone() {
    let disk = disk();
    disk.write_file(A, &[1; 8]).unwrap();
    let a = open(&disk, A);
    a.write_at(&[2; 4], 0).unwrap();
    disk.corrupt(A, 2, 4, |bytes| bytes[1] ^= 0x80).unwrap();
    assert_eq!(disk.read_file(A).unwrap(), [2, 2, 2, 0x82, 1, 1, 1, 1]);
    let lost = disk.power_cut(Outcome::LoseAll);
    assert_eq!(lost.read_file(A).unwrap(), [1, 1, 2, 0x82, 1, 1, 1, 1]);
    assert_eq!(kind(disk.corrupt(A, 6, 3, |_| {})), ErrorKind::UnexpectedEof);
    assert_eq!(kind(disk.corrupt(B, 0, 1, |_| {})), ErrorKind::NotFound);
}

#[test]
fn helpers_put_and_find_files() {
    let disk = SimDisk::new();
    disk.write_file("/x/y/file", b"old").unwrap();
    let handle = open(&disk, "/x/y/file");
    disk.write_file("/x/y/file", b"newer").unwrap();
    assert_eq!(handle.len().unwrap(), 3);
    let disk = disk.power_cut(Outcome::LoseAll);
    assert_eq!(disk.files(), [Path::new("/x/y/file")]);
    assert_eq!(disk.read_file("/x/y/file").unwrap(), b"newer");
    assert_eq!(disk.list(Path::new("/x")).unwrap(), [] as [&Path; 0]);
    assert_eq!(disk.ops(), 0);
    assert_eq!(kind(disk.write_file("/x", b"")), ErrorKind::IsADirectory);
    assert_eq!(kind(disk.read_file("/x")), ErrorKind::IsADirectory);
}

#[test]
fn a_lock_is_exclusive_until_its_handle_is_dropped() {
    let disk = disk();
    let first = create(&disk, A);
    let second = open(&disk, A);
    assert!(first.try_lock().unwrap());
    assert!(first.try_lock().unwrap(), "the holder has it already");
    disk.rename(Path::new(A), Path::new(B)).unwrap();
    let third = open(&disk, B);
    assert!(!second.try_lock().unwrap());
    assert!(!third.try_lock().unwrap(), "the lock is of the file, whatever its name");
    drop(second);
    assert!(!third.try_lock().unwrap(), "only the holder's end frees it");
    drop(first);
    assert!(third.try_lock().unwrap());
}

#[test]
fn a_test_may_claim_hard_links() {
    let disk = disk();
    let a = create(&disk, A);
    assert_eq!(a.links().unwrap(), 1);
    disk.set_links(A, 2).unwrap();
    assert_eq!(a.links().unwrap(), 2);
    sync_dir(&disk);
    let disk = disk.power_cut(Outcome::LoseAll);
    assert_eq!(open(&disk, A).links().unwrap(), 2, "links are the file's, and outlive a crash");
    assert_eq!(kind(disk.set_links(B, 2)), ErrorKind::NotFound);
}

#[test]
fn a_removed_file_lives_as_long_as_a_handle() {
    let disk = disk();
    let a = create(&disk, A);
    a.write_at(b"spill", 0).unwrap();
    disk.remove(Path::new(A)).unwrap();
    sync_dir(&disk);
    let mut buffer = [0; 5];
    a.read_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"spill");
    a.write_at(b"more", 5).unwrap();
    assert_eq!(a.links().unwrap(), 0);
    let forked = disk.fork();
    assert_eq!(forked.files(), [] as [&Path; 0]);
    assert_eq!(forked.life().state.files_held(), 0, "no handle leads from one life to the next");
    assert_eq!(disk.life().state.files_held(), 1);
    drop(a);
    assert_eq!(disk.life().state.files_held(), 0);
    assert_eq!(disk.used(), 0);
}
