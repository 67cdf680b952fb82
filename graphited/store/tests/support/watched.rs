//! A simulated disk that calls a test at each write to a file, so that something can happen in the midst of what the
//! store does there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use graphite_store::disk::{Disk, DiskFile, OpenMode, SimDisk};

type Watcher = Arc<dyn Fn(&Path, u64) + Send + Sync>;

/// See the module's head.
#[derive(Clone)]
pub struct WatchedDisk {
    pub inner: SimDisk,
    watcher: Arc<Mutex<Option<Watcher>>>,
}

impl WatchedDisk {
    pub fn new(inner: SimDisk) -> WatchedDisk {
        WatchedDisk { inner, watcher: Arc::default() }
    }

    /// From now on `watcher` is told of the path and offset of each write, before it is done. What `watcher` itself
    /// writes it is told of as well.
    pub fn watch(&self, watcher: impl Fn(&Path, u64) + Send + Sync + 'static) {
        *self.watcher.lock().unwrap() = Some(Arc::new(watcher));
    }

    /// The end of that.
    pub fn look_away(&self) {
        *self.watcher.lock().unwrap() = None;
    }
}

impl std::fmt::Debug for WatchedDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Disk for WatchedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let (disk, file) = (self.clone(), self.inner.open(path, mode)?);
        Ok(Arc::new(WatchedFile { disk, file, path: path.into() }))
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }
}

#[derive(Debug)]
struct WatchedFile {
    disk: WatchedDisk,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
}

impl DiskFile for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let watcher = self.disk.watcher.lock().unwrap().clone();
        if let Some(watcher) = watcher {
            watcher(&self.path, offset);
        }
        self.file.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
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
