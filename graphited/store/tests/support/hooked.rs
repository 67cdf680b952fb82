//! A simulated disk that asks a test before each read, write and sync, so that one can be held, or fail, or something else
//! happen in the midst of it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use graphite_store::disk::{Disk, DiskFile, OpenMode, SimDisk};

/// Whether a file is one of the log's segments.
pub fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wal")
}

/// What is about to be done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// At this offset.
    Read(u64),
    /// At this offset.
    Write(u64),
    Sync,
    /// What the system has in memory, from this offset on.
    Forget(u64),
}

type Hook = Arc<dyn Fn(&Path, Doing) -> io::Result<()> + Send + Sync>;

/// See the module's head.
#[derive(Clone)]
pub struct HookedDisk {
    disk: SimDisk,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl HookedDisk {
    pub fn new(disk: SimDisk) -> HookedDisk {
        HookedDisk { disk, hook: Arc::default() }
    }

    /// From now on `hook` is asked, of what it does itself as well.
    pub fn ask(&self, hook: impl Fn(&Path, Doing) -> io::Result<()> + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    /// From now on nobody is asked.
    pub fn ask_nobody(&self) {
        *self.hook.lock().unwrap() = None;
    }

    fn about(&self, path: &Path, doing: Doing) -> io::Result<()> {
        let hook = self.hook.lock().unwrap().clone();
        hook.map_or(Ok(()), |hook| hook(path, doing))
    }
}

impl fmt::Debug for HookedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookedDisk").finish_non_exhaustive()
    }
}

impl Disk for HookedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(File { file, path: path.to_owned(), disk: self.clone() }))
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

struct File {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    disk: HookedDisk,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.about(&self.path, Doing::Read(offset))?;
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.about(&self.path, Doing::Write(offset))?;
        self.file.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.disk.about(&self.path, Doing::Sync)?;
        self.file.sync()
    }
    fn write_synced(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.about(&self.path, Doing::Write(offset))?;
        self.disk.about(&self.path, Doing::Sync)?;
        self.file.write_synced(bytes, offset)
    }
    fn forget_cached(&self, offset: u64, len: u64) {
        // A hint is not refused.
        let _ = self.disk.about(&self.path, Doing::Forget(offset));
        self.file.forget_cached(offset, len);
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
