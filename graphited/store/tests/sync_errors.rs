//! A sync that fails, while another thread syncs the same file.
//!
//! A write that the system puts off fails behind one's back, and that is told to one sync of the open file only,
//! whoever's it is; the next one succeeds. So a checkpoint must not believe its own sync if a bulk turn's failed
//! meanwhile. The disk here is one that behaves so: the checkpoint's sync is held until the bulk turn's has failed, or
//! until it is clear that that one waits for its turn.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use graphite_store::clock::SimClock;
use graphite_store::disk::{Disk, DiskFile, OpenMode, SimDisk};
use graphite_store::{Error, PageKind, PageWriter, Store};
use support::{PATH, options};

/// How long the bulk turn gets to fail while the checkpoint syncs. Too short, and the test sees less; never more.
const HEAD_START: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Seen {
    armed: bool,
    syncs: u32,
    failed: bool,
    writes_after: u32,
}

#[derive(Clone, Debug)]
struct ToldOnce {
    disk: SimDisk,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl Disk for ToldOnce {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        let is_log = path.extension().is_some_and(|extension| extension == "wal");
        Ok(if is_log { file } else { Arc::new(File { file, seen: self.seen.clone() }) })
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
}

#[derive(Debug)]
struct File {
    file: Arc<dyn DiskFile>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut seen = self.seen.0.lock().unwrap();
        seen.writes_after += u32::from(seen.failed);
        drop(seen);
        self.file.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        let mut seen = self.seen.0.lock().unwrap();
        if seen.armed {
            seen.syncs += 1;
            self.seen.1.notify_all();
            if seen.syncs == 2 {
                seen.failed = true;
                return Err(io::Error::other("lost behind your back"));
            }
            drop(self.seen.1.wait_timeout_while(seen, HEAD_START, |seen| !seen.failed).unwrap());
        }
        self.file.sync()
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.reserve(offset, len)
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
    fn links(&self) -> io::Result<u64> {
        self.file.links()
    }
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.file.is_at(path)
    }
}

#[test]
fn nothing_is_written_after_a_sync_failed_whoever_was_told() {
    let disk = ToldOnce { disk: SimDisk::new(), seen: Arc::default() };
    let clock = Arc::new(SimClock::default());
    let store = Store::open(Arc::new(disk.clone()), clock, Path::new(PATH), options()).unwrap();
    let mut turn = store.turn().unwrap();
    turn.allocate(PageKind::Record).unwrap();
    turn.commit().unwrap();
    store.flush().unwrap();
    disk.seen.0.lock().unwrap().armed = true;
    std::thread::scope(|scope| {
        scope.spawn(|| store.checkpoint());
        let (seen, changed) = &*disk.seen;
        drop(changed.wait_while(seen.lock().unwrap(), |seen| seen.syncs == 0).unwrap());
        let mut turn = store.turn_bulk().unwrap();
        turn.allocate(PageKind::Record).unwrap();
        assert!(matches!(turn.commit(), Err(Error::Poisoned { .. })));
    });
    let seen = disk.seen.0.lock().unwrap();
    assert!(seen.failed);
    assert_eq!(seen.writes_after, 0, "a superblock that names what may be lost");
}
