//! The one door to the file system.
//!
//! Everything that the store does to files goes through [`Disk`] and [`DiskFile`], so that a test can stand
//! behind the door and decide what a crash leaves behind. The real one is `RealDisk`; the one that loses, tears
//! and reorders what was not synced is `SimDisk`.
//!
//! What is durable when:
//! - bytes written to a file: after [`DiskFile::sync`] on it;
//! - the file's length: likewise (`sync` is `fdatasync`, which covers a changed length);
//! - a created, renamed or removed name: after [`Disk::sync_dir`] of its directory.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use read_only::ReadOnlyDisk;
pub use real::RealDisk;
pub use sim::{Counters, Fault, LastOp, Op, OpKind, Outcome, SIMULATED_CRASH, SimDisk};

/// Bytes of the blocks that [`DiskFile::write_synced`] writes: as large as those of any common device.
pub const BLOCK_BYTES: usize = 4096;

/// How [`Disk::open`] treats a file that is or is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It has to exist; open for reading and writing.
    Existing,
    /// It has to exist; open for reading only.
    ReadOnly,
    /// It must not exist; create it, owner-only, for reading and writing.
    CreateNew,
}

/// A file system, or a simulated one.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a directory (its parent has to exist); fine if it is there already.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// The files in a directory, by full path, sorted. A missing directory is an error of kind `NotFound`.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Renames a file; an existing target is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether there is such a file or directory.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// A number drawn by chance, which tells a new database from all others.
    fn draw(&self) -> u64 {
        drawn_by_chance()
    }
}

fn drawn_by_chance() -> u64 {
    // The hasher's keys are drawn from the system's randomness.
    RandomState::new().build_hasher().finish()
}

/// An open file. Closed when dropped.
pub trait DiskFile: Send + Sync + Debug {
    /// Fills `buffer` from `offset`. Reading past the end is an error of kind `UnexpectedEof`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Has the system forget what it has of `offset..offset + len` in memory, so that the next read asks the disk. A hint:
    /// what is not on the disk yet stays, and a system that has no such call does nothing.
    fn forget_cached(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }
    /// Writes all of `bytes` at `offset`; the file grows if need be.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all writes so far, and the length, durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Writes all of `bytes` at `offset` and makes them durable, as a log's end moves on: whoever writes behind what was
    /// written last has it cheapest. What follows `bytes` in their last block of [`BLOCK_BYTES`] may be zeros afterwards.
    ///
    /// Whoever writes to a file so, writes to that part of it only so, and one at a time. After an error it is unknown what
    /// is durable of the bytes, and of those written before and not synced.
    fn write_synced(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)?;
        self.sync()
    }
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the length is zero.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros, sparse) to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes sure that `offset..offset + len` has room on disk, growing the file with zeros if it ends before
    /// that; a full disk is an error of kind `StorageFull` and changes no byte that was there.
    fn reserve(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Takes the exclusive lock of the file's inode, held until the file is closed. `false` if another holds it.
    fn try_lock(&self) -> io::Result<bool>;
    /// Number of names (hard links) that the file has.
    fn links(&self) -> io::Result<u64>;
    /// Whether `path` names this very file, and not another one that took its place, or none.
    fn is_at(&self, path: &Path) -> io::Result<bool>;
}

mod direct;
mod read_only;
mod real;
mod sim;
