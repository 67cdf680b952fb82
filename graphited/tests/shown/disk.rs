//! A simulated disk whose log takes its time, as a real one does, and may lie.
//!
//! 1. Each write of the log takes a while, before it is done. So there is always something that is applied and not yet
//!    durable, which others read and build upon; and mostly something when the power goes.
//! 2. From an operation on it may say that files are synced when they are not, so that what is durable stands still. For
//!    the daemon that is as if it answered before what it answers is durable, so it is for tests of the test. It lies
//!    about all files alike: a page that is durable before the log that tells of it would be damage, and not an old state.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use graphite_store::disk::{Disk, DiskFile, OpenMode, SimDisk};

use crate::random::Random;

/// A write of the log takes up to so long.
const LOG_WRITE_US_MAX: u64 = 300;
/// So many of a hundred take up to ten times as long.
const SLOW_PERCENT: u64 = 10;

/// See the module's head.
#[derive(Clone, Debug)]
pub(crate) struct SlowDisk {
    pub(crate) sim: SimDisk,
    /// Drawn from by whoever writes; the order of the threads is not to be repeated anyway.
    chance: Arc<AtomicU64>,
    /// The first operation from which on syncs are a lie.
    lies_from: Arc<AtomicU64>,
}

impl SlowDisk {
    pub(crate) fn new(sim: SimDisk, seed: u64) -> SlowDisk {
        SlowDisk {
            sim,
            chance: Arc::new(AtomicU64::new(seed)),
            lies_from: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// From operation `op` of its life on it lies.
    pub(crate) fn lie_from(&self, op: u64) {
        self.lies_from.store(op, Ordering::SeqCst);
    }

    fn lies(&self) -> bool {
        self.sim.ops() >= self.lies_from.load(Ordering::SeqCst)
    }

    fn take_time(&self) {
        let mut random = Random(self.chance.fetch_add(1, Ordering::SeqCst));
        let most = if random.percent(SLOW_PERCENT) { 10 * LOG_WRITE_US_MAX } else { LOG_WRITE_US_MAX };
        std::thread::sleep(Duration::from_micros(random.below(most)));
    }
}

impl Disk for SlowDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(SlowFile { disk: self.clone(), file: self.sim.open(path, mode)? }))
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.sim.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.sim.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.sim.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.sim.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.sim.sync_dir(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.sim.exists(path)
    }
}

#[derive(Debug)]
struct SlowFile {
    disk: SlowDisk,
    file: Arc<dyn DiskFile>,
}

impl DiskFile for SlowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        if self.disk.lies() { Ok(()) } else { self.file.sync() }
    }
    fn write_synced(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.take_time();
        if self.disk.lies() {
            return self.file.write_at(bytes, offset);
        }
        self.file.write_synced(bytes, offset)
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
