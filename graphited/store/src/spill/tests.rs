//! Spills on a simulated disk that fills up, fails and loses power; and one on the real disk, for its names.

use super::*;
use crate::StoreOptions;
use crate::clock::SimClock;
use crate::disk::{Fault, OpKind, Outcome, RealDisk, SimDisk};

const DATABASE: &str = "/graph";

fn open_at(disk: Arc<dyn Disk>, path: &Path) -> Store {
    let options = StoreOptions { create: true, wal_bytes: 1 << 20, ..StoreOptions::default() };
    Store::open(disk, Arc::new(SimClock::default()), path, options).unwrap()
}

fn open(disk: &SimDisk) -> Store {
    open_at(Arc::new(disk.clone()), Path::new(DATABASE))
}

fn name() -> PathBuf {
    wal_dir(Path::new(DATABASE)).join(NAME)
}

#[test]
fn pieces_are_read_as_they_were_written_and_leave_nothing() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let (names, used) = (disk.list(&wal_dir(store.path())).unwrap(), disk.used());
    let (mut one, mut other) = (store.spill(), store.spill());
    assert_eq!(disk.used(), used, "nothing is made before it is needed");
    let pieces: Vec<(Vec<u8>, Piece, Piece)> = (0..300)
        .map(|number: usize| {
            let bytes = vec![number as u8; number * 7];
            let reversed: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
            let pieces = (one.append(&bytes).unwrap(), other.append(&reversed).unwrap());
            (bytes, pieces.0, pieces.1)
        })
        .collect();
    assert_eq!(disk.list(&wal_dir(store.path())).unwrap(), names, "a file of no name");
    drop((one, other));
    for (bytes, one, other) in pieces.iter().rev() {
        assert_eq!(one.read().unwrap(), *bytes);
        assert!(other.read().unwrap().iter().eq(bytes.iter().map(|byte| !byte).collect::<Vec<_>>().iter()));
    }
    assert!(disk.used() > used);
    drop(pieces);
    assert_eq!(disk.used(), used);
}

#[test]
fn the_real_disk_shows_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_at(Arc::new(RealDisk), &folder.path().join("graph"));
    let names = RealDisk.list(&wal_dir(store.path())).unwrap();
    let mut spill = store.spill();
    let piece = spill.append(b"away").unwrap();
    assert_eq!(RealDisk.list(&wal_dir(store.path())).unwrap(), names);
    assert_eq!(piece.read().unwrap(), b"away");
}

/// Whatever fails is tried again and succeeds, what was there stays, and the database knows nothing of it.
#[test]
fn a_failure_is_told_and_poisons_nothing() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let mut spill = store.spill();
    let names = disk.list(&wal_dir(store.path())).unwrap();

    disk.set_capacity(Some(disk.used()));
    assert!(matches!(spill.append(b"first"), Err(Error::DiskFull { .. })), "no room for the file");
    disk.set_capacity(None);
    for kind in [OpKind::Create, OpKind::Remove, OpKind::Write] {
        disk.inject(Fault::on(kind).at_path(name()));
        assert!(matches!(spill.append(b"first"), Err(Error::Io { .. })), "{kind:?}");
    }
    let first = spill.append(b"first").unwrap();
    disk.set_capacity(Some(disk.used()));
    assert!(matches!(spill.append(&[7; 9000]), Err(Error::DiskFull { .. })), "no room for the bytes");
    disk.set_capacity(None);
    let second = spill.append(&[7; 9000]).unwrap();

    disk.inject(Fault::on(OpKind::Read).at_path(name()));
    assert!(matches!(first.read(), Err(Error::Io { .. })));
    assert_eq!(first.read().unwrap(), b"first");
    assert_eq!(second.read().unwrap(), [7; 9000]);
    assert_eq!(disk.list(&wal_dir(store.path())).unwrap(), names);
    assert_eq!(store.status().poisoned, None);
}

#[test]
fn bytes_that_are_not_what_was_written_are_an_error() {
    let store = open(&SimDisk::new());
    let mut spill = store.spill();
    let piece = spill.append(b"bytes").unwrap();
    piece.file.file.write_at(b"B", 0).unwrap();
    assert!(matches!(piece.read(), Err(Error::Io { kind: ErrorKind::InvalidData, .. })));
}

/// A power cut may take back that the name was removed, and a kill come before it: the next opening removes it.
#[test]
fn a_name_that_is_left_over_goes_when_the_database_is_opened() {
    let disk = SimDisk::new();
    let store = open(&disk);
    store.spill().append(&[1; 5000]).unwrap();
    let mut left_over = 0;
    for seed in 0..40 {
        let later = disk.power_cut(Outcome::Random(seed));
        left_over += usize::from(later.exists(&name()).unwrap());
        drop(open(&later));
        assert!(!later.exists(&name()).unwrap());
    }
    assert!(left_over > 0, "the name never came back: the test proves nothing");
}

/// The same while the database is open: nobody's bytes are mistaken for another's.
#[test]
fn a_spill_takes_the_place_of_a_name_that_is_left_over() {
    let disk = SimDisk::new();
    let store = open(&disk);
    let other = disk.open(&name(), OpenMode::CreateNew).unwrap();
    other.write_at(b"other", 0).unwrap();
    let mut spill = store.spill();
    let piece = spill.append(b"bytes").unwrap();
    assert_eq!(piece.read().unwrap(), b"bytes");
    let mut found = [0; 5];
    other.read_at(&mut found, 0).unwrap();
    assert_eq!(&found, b"other");
    assert!(!disk.exists(&name()).unwrap());
}
