//! Spilled bytes: what somebody has too much of to keep in memory, in a file that nobody else sees.
//!
//! A spill's file is made when the first piece comes, loses its name at once, and is gone with the last that looks at it,
//! also if the process dies. It lies with the log and not where the system keeps temporary files, which may be memory. Its
//! bytes are never synced, and no piece outlives the process; what is read is most often still in the system's page cache.
//!
//! Invariants:
//! 1. A piece never changes: the file is only appended to. What was written of a piece that failed is written over.
//! 2. What is read is what was written, or an error: each piece has its checksum, in memory.
//! 3. A failure concerns whoever spills and nobody else. The database is not poisoned: none of its bytes are here.
//!
//! The name is always the same one. A process that dies between making and removing it leaves it behind, and so may a
//! power cut, which can take the removal back. Whoever finds it, removes it: [`remove_left_over`] when the database is
//! opened, and the next spill if it comes across it. If two spills are begun at once one may remove the name of the
//! other, who wanted to do just that.

use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::sync::Arc;
use crate::{Error, Result, Store, wal_dir};

/// The name of a spill's file for as long as it has one, in the directory of the log.
const NAME: &str = "spilled.tmp";

/// Bytes that are appended, and read again in any order.
#[derive(Debug)]
pub struct Spill {
    store: Store,
    file: Option<Arc<File>>,
    end: u64,
}

#[derive(Debug)]
struct File {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
}

/// Some bytes in a file.
#[derive(Clone, Debug)]
pub struct Piece {
    file: Arc<File>,
    offset: u64,
    bytes: usize,
    checksum: u32,
}

impl Store {
    /// Begins to spill. Nothing is done before the first piece is appended.
    pub fn spill(&self) -> Spill {
        Spill { store: self.clone(), file: None, end: 0 }
    }
}

impl Spill {
    /// Writes some bytes to the file.
    ///
    /// # Errors
    /// [`Error::DiskFull`] and [`Error::Io`]; the pieces from before can still be read, and it may be tried again.
    pub fn append(&mut self, bytes: &[u8]) -> Result<Piece> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(create(&self.store)?),
        };
        file.file.write_at(bytes, self.end).map_err(|error| failed("write", &file.path, &error))?;
        let offset = self.end;
        self.end += bytes.len() as u64;
        Ok(Piece { file: file.clone(), offset, bytes: bytes.len(), checksum: crc32fast::hash(bytes) })
    }
}

impl Piece {
    /// Reads the bytes again.
    ///
    /// # Errors
    /// [`Error::Io`], also if they are not those that were written.
    pub fn read(&self) -> Result<Vec<u8>> {
        let failed = |error| failed("read", &self.file.path, &error);
        let mut bytes = vec![0; self.bytes];
        self.file.file.read_at(&mut bytes, self.offset).map_err(failed)?;
        if crc32fast::hash(&bytes) != self.checksum {
            let why = "the disk gives back something else than was written";
            return Err(failed(IoError::new(ErrorKind::InvalidData, why)));
        }
        Ok(bytes)
    }
}

fn create(store: &Store) -> Result<Arc<File>> {
    let disk = &*store.inner.log.segments.disk;
    let path = wal_dir(store.path()).join(NAME);
    let file = loop {
        match disk.open(&path, OpenMode::CreateNew) {
            // A name that is left over, or of a spill that is begun right now.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => remove(disk, &path)?,
            result => break result.map_err(|error| failed("create", &path, &error))?,
        }
    };
    remove(disk, &path)?;
    Ok(Arc::new(File { file, path }))
}

/// Removes what an earlier process may have left, in the log's directory of the database at `path`.
pub(crate) fn remove_left_over(disk: &dyn Disk, path: &Path) -> Result<()> {
    remove(disk, &wal_dir(path).join(NAME))
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.map_err(|error| failed("remove", path, &error)),
    }
}

fn failed(doing: &'static str, path: &Path, error: &IoError) -> Error {
    let error = Error::io(doing, path, error);
    if error.is_disk_full() { Error::DiskFull { what: "what a transaction changes" } } else { error }
}

#[cfg(test)]
mod tests;
