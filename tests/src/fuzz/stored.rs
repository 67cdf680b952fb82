//! A database whose files were changed, with their checksums made anew: by a mistake of ours, or on purpose.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use graphite_graph::check::Progress;
use graphite_graph::salvage::salvage;
use graphite_graph::{GraphDb, KeyId, LabelId, Node, NodeId, Result, TypeId, Value, View};
use graphite_store::clock::{Clock, SimClock};
use graphite_store::disk::{Disk, SimDisk};
use graphite_store::{PAGE_BYTES, StoreOptions};

use super::input::Input;
use crate::crash::{PATH, Picture, Recorder, SOME_OF_ALL, State, Workload};

/// All of its log is in the first segment.
const WORKLOAD: Workload = Workload { wal_bytes: 8 << 20, ..SOME_OF_ALL };
/// What a file may grow by.
const DISK_BYTES: u64 = 64 << 20;
const EDITS_MAX: usize = 8;

/// Where the log begins in a segment file.
const LOG: usize = 4096;
/// Fields of a group: see `docs/format.md`.
const GROUP_BYTES: usize = 48;
const GROUP_LENGTH: usize = 8;
const GROUP_PREVIOUS: usize = 40;
/// Where the checksum of a superblock is.
const SUPERBLOCK_CHECKSUM: usize = PAGE_BYTES - 4;

/// The disk of a small database with a page of each kind.
fn disk(state: State) -> SimDisk {
    static DISKS: [OnceLock<SimDisk>; 2] = [OnceLock::new(), OnceLock::new()];
    let make = || {
        let disk = SimDisk::new();
        let mut recorder = Recorder::open(&WORKLOAD, 0, &disk).expect("the disk does what it is told");
        (WORKLOAD.script)(&mut recorder).expect("the script runs");
        if state == State::Closed {
            recorder.db().store().close().expect("it is closed");
        }
        drop(recorder);
        disk.process_crash()
    };
    let disk = DISKS[usize::from(state == State::Killed)].get_or_init(make).fork();
    disk.set_capacity(Some(DISK_BYTES));
    disk
}

fn change(disk: &SimDisk, path: &Path, change: impl FnOnce(&mut [u8])) {
    let mut bytes = disk.read_file(path).expect("it is there");
    change(&mut bytes);
    disk.write_file(path, &bytes).expect("it was there");
}

/// Pages of a closed database. Each edit names a page, a place in it and bytes for it; the page's checksum is made anew.
/// What is then found, read, changed or salvaged is told by typed errors; and if the check finds nothing, then all of the
/// graph can be read and changed, and is whole afterwards.
pub fn pages(bytes: &[u8]) {
    let disk = disk(State::Closed);
    let mut input = Input::new(bytes);
    change(&disk, Path::new(PATH), |file| {
        let pages = file.len() / PAGE_BYTES;
        for _ in 0..EDITS_MAX {
            let Some(edit) = input.edit() else { break };
            // Both copies of the superblock are the same place.
            let places = match usize::from(edit.place) % pages {
                0 | 1 => 0..2,
                page => page..page + 1,
            };
            for page in places {
                let page_bytes = &mut file[page * PAGE_BYTES..][..PAGE_BYTES];
                if page < 2 {
                    edit.lay_over(&mut page_bytes[..SUPERBLOCK_CHECKSUM]);
                    let sum = crc32fast::hash(&page_bytes[..SUPERBLOCK_CHECKSUM]);
                    page_bytes[SUPERBLOCK_CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
                } else {
                    edit.lay_over(&mut page_bytes[4..]);
                    let sum = crc32fast::hash(&page_bytes[4..]);
                    page_bytes[..4].copy_from_slice(&sum.to_le_bytes());
                }
            }
        }
    });
    examine(&disk);
}

/// The log of a killed database. The first byte says whether checksums are made anew, and so the chain; each edit then names
/// a place in the log. What is recovered is recovered again to the same; the rest is as with [`pages`].
pub fn wal(bytes: &[u8]) {
    let disk = disk(State::Killed);
    let mut input = Input::new(bytes);
    let reseals = !input.byte().is_multiple_of(4);
    let segment = first_segment(&disk);
    change(&disk, &segment, |file| {
        let log = &mut file[LOG..];
        let used = log.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let groups = groups(log);
        for _ in 0..EDITS_MAX {
            let Some(edit) = input.edit() else { break };
            // A place is within one of the groups, or anywhere.
            match groups.get(usize::from(edit.place)) {
                Some(&(start, len)) => edit.lay_over(&mut log[start..start + len]),
                None => edit.lay_over(&mut log[..used]),
            }
        }
        if reseals {
            reseal(log);
        }
    });
    let first = disk.fork();
    let found = examine(&disk.fork());
    // Once more, after a crash in the life that recovered.
    drop(open(&first));
    let again = examine(&first.process_crash());
    assert_eq!(again, found, "recovery gives the same the second time");
}

fn first_segment(disk: &SimDisk) -> PathBuf {
    let holds_log = |path: &&PathBuf| {
        path.as_path() != Path::new(PATH)
            && disk.read_file(path).is_ok_and(|bytes| bytes.get(LOG..LOG + 4) == Some(b"GRUP"))
    };
    disk.files().iter().find(holds_log).cloned().expect("a log has a group")
}

/// Where groups are in the log, and how long.
fn groups(log: &[u8]) -> Vec<(usize, usize)> {
    let (mut groups, mut at) = (Vec::new(), 0);
    while let Some(header) = log.get(at..at + GROUP_BYTES)
        && header.starts_with(b"GRUP")
    {
        let len = u32::from_le_bytes(*header[GROUP_LENGTH..].first_chunk().expect("inside")) as usize;
        if len < GROUP_BYTES || len > log.len() - at {
            break;
        }
        groups.push((at, len));
        at = (at + len).next_multiple_of(8);
    }
    groups
}

/// Makes the checksum of each group anew, and what the next one says of it.
fn reseal(log: &mut [u8]) {
    let mut previous = None;
    for (at, len) in groups(log) {
        let group = &mut log[at..at + len];
        if let Some(previous) = previous {
            group[GROUP_PREVIOUS..GROUP_PREVIOUS + 4].copy_from_slice(&u32::to_le_bytes(previous));
        }
        let sum = crc32fast::hash(&group[GROUP_LENGTH..]);
        group[4..GROUP_LENGTH].copy_from_slice(&sum.to_le_bytes());
        previous = Some(sum);
    }
}

fn open(disk: &SimDisk) -> Result<GraphDb> {
    WORKLOAD.open(disk)
}

/// Opens, reads, checks, changes, salvages. Says what was found, in words that are the same the next time.
fn examine(disk: &SimDisk) -> String {
    let untouched = disk.fork();
    let db = match open(disk) {
        Ok(db) => db,
        Err(error) => {
            salvage_from(&untouched);
            return format!("refused: {error}");
        }
    };
    let picture = db.snapshot().and_then(|snapshot| Picture::of(&db, &snapshot));
    let report = db.check();
    let is_sound = report.as_ref().is_ok_and(|report| report.is_sound());
    let changed = change_graph(&db);
    if !is_sound {
        let _ = db.store().checkpoint();
        salvage_from(&untouched);
        let problems = report.map(|report| report.problems);
        return format!("damaged: {problems:?}");
    }
    let picture = picture.expect("a check that finds nothing is right: all can be read");
    changed.expect("a check that finds nothing is right: all can be changed");
    let after = db.check().expect("it can be read");
    assert!(after.is_sound(), "what was sound was changed, and is no more: {:?}", after.problems);
    format!("{picture:?}")
}

/// A few changes that bring all kinds of pages to the applier.
fn change_graph(db: &GraphDb) -> Result<()> {
    let (label, key, type_) =
        (db.label_id_or_create("Fuzzed")?, db.key_id_or_create("fuzzed")?, db.type_id_or_create("FUZZED")?);
    let mut transaction = db.begin()?;
    let nodes = transaction.scan_nodes(None, None, 64)?.found;
    let ids: Vec<NodeId> = nodes.iter().map(|head| head.id).collect();
    let made = transaction.create_node(&[label, LabelId(0)], &[(key, Value::Int(1))])?;
    for id in &ids {
        transaction.set_node_property(*id, KeyId(0), Value::from("changed"))?;
        transaction.create_edge(made, type_, *id, &[(key, Value::Bool(true))])?;
        transaction.create_edge(*id, TypeId(0), made, &[])?;
    }
    transaction.commit()?;
    let mut transaction = db.begin()?;
    if let Some(id) = ids.first() {
        transaction.delete_node(*id, true)?;
    }
    transaction.commit()?;
    let transaction = db.begin()?;
    let _: Option<Node> = transaction.node(made)?;
    db.store().checkpoint()?;
    Ok(())
}

/// What can be salvaged is a database that is whole.
fn salvage_from(disk: &SimDisk) {
    let out = Path::new("/salvaged");
    let options =
        StoreOptions { create: true, wal_bytes: 1 << 20, cache_bytes: 8 << 20, ..StoreOptions::default() };
    let (on, clock): (Arc<dyn Disk>, Arc<dyn Clock>) =
        (Arc::new(disk.clone()), Arc::new(SimClock::default()));
    let tell = |_, _| ();
    if salvage(&on, &clock, Path::new(PATH), out, options.clone(), &Progress::new(&tell)).is_err() {
        return;
    }
    let db = GraphDb::open(on, clock, out, options).expect("what was salvaged is opened");
    let report = db.check().expect("what was salvaged is read");
    assert!(report.is_sound(), "what was salvaged is whole: {:?}", report.problems);
}
