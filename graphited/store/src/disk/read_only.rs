//! A disk that nobody can change: what is written to a file stays in memory.
//!
//! A damaged database is looked at through it. Recovery may then replay the log as it always does, and write back what
//! does not fit its cache, and no byte of any file changes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, OpenMode};
use crate::page::PAGE_BYTES;
use crate::sync::Mutex;

/// Shows another disk as it is.
#[derive(Debug)]
pub(crate) struct ReadOnlyDisk(pub(crate) Arc<dyn Disk>);

#[derive(Debug)]
struct ReadOnlyFile {
    below: Arc<dyn DiskFile>,
    /// What was written, by its place in pages: more than the log had to say of the file is never written.
    written: Mutex<BTreeMap<u64, Box<[u8; PAGE_BYTES]>>>,
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadOnlyDisk {
    fn open(&self, path: &Path, _mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let below = self.0.open(path, OpenMode::ReadOnly)?;
        Ok(Arc::new(ReadOnlyFile { below, written: Mutex::default() }))
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.list(dir)
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        refused()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }
}

impl ReadOnlyFile {
    /// A page that was written is shown instead of the file's.
    fn read_page(&self, page: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.written.lock().get(&page) {
            Some(bytes) => buffer.copy_from_slice(&bytes[..buffer.len()]),
            None => self.below.read_at(buffer, page * PAGE_BYTES as u64)?,
        }
        Ok(())
    }
}

impl DiskFile for ReadOnlyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let first = offset / PAGE_BYTES as u64;
        let last = (offset + buffer.len() as u64).div_ceil(PAGE_BYTES as u64);
        let is_below = self.written.lock().range(first..last).next().is_none();
        if is_below || !offset.is_multiple_of(PAGE_BYTES as u64) {
            return self.below.read_at(buffer, offset);
        }
        (first..)
            .zip(buffer.chunks_mut(PAGE_BYTES))
            .try_for_each(|(page, buffer)| self.read_page(page, buffer))
    }

    fn forget_cached(&self, offset: u64, len: u64) {
        self.below.forget_cached(offset, len);
    }

    /// Whole pages, as the database file is written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (pages, rest) = bytes.as_chunks::<PAGE_BYTES>();
        if !rest.is_empty() || !offset.is_multiple_of(PAGE_BYTES as u64) {
            return refused();
        }
        let numbered = (offset / PAGE_BYTES as u64..).zip(pages.iter().map(|page| Box::new(*page)));
        self.written.lock().extend(numbered);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }

    fn len(&self) -> io::Result<u64> {
        let written =
            self.written.lock().last_key_value().map_or(0, |(page, _)| (page + 1) * PAGE_BYTES as u64);
        Ok(self.below.len()?.max(written))
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        refused()
    }

    fn reserve(&self, _offset: u64, _len: u64) -> io::Result<()> {
        refused()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.below.try_lock()
    }

    fn links(&self) -> io::Result<u64> {
        self.below.links()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.below.is_at(path)
    }
}
