//! A disk in memory that loses, tears and reorders what was not synced.
//!
//! What it models:
//! - Reads see all that was written (the kernel's cache). What is durable is kept apart: a file's bytes and its
//!   length by [`DiskFile::sync`], one write and the length by [`DiskFile::write_synced`], a name by
//!   [`Disk::sync_dir`], and each by nothing else.
//! - A crash of the process ([`SimDisk::process_crash`]) leaves the cache as it is: what was not synced is still
//!   there to be read, and still to be lost. A power cut ([`SimDisk::power_cut`]) leaves of every unsynced change
//!   what the [`Outcome`] says: all of it, nothing, or, of a write, any set of its 512-byte sectors; a later
//!   change may survive an earlier one.
//! - Either ends the *life* of the disk: its handles answer with errors, its locks are free, and a fresh
//!   `SimDisk` is what the next process finds.
//!
//! How a test drives it: run the code once and read [`SimDisk::ops`]; then for each operation run it again with
//! [`SimDisk::crash_after`], or look at [`SimDisk::after_op`], which needs no second run; then give what is left to
//! recovery. Nothing depends on time or addresses, and on chance only what [`Disk::draw`] gives, unless
//! [`SimDisk::draw_from`] says what: the same calls and the same seed give the same bytes.
//!
//! Invariants:
//! 1. Every call on a disk or file is atomic: one mutex, held for the whole call.
//! 2. A disk made out of another shares only bytes that neither changes: what one does, the other never sees.

mod content;
mod fault;
mod file;
mod inode;
mod life;
mod names;
mod outcome;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::content::CHUNK_BYTES;
pub use self::fault::{Counters, Fault, LastOp, Op, OpKind, SIMULATED_CRASH};
use self::file::SimFile;
use self::inode::{Inode, end_of};
use self::life::{Life, State};
use self::names::Node;
pub use self::outcome::Outcome;
use super::{Disk, DiskFile, OpenMode, drawn_by_chance};

/// A simulated disk. A clone is the same disk; for another one with the same content see [`SimDisk::fork`].
#[derive(Clone, Default)]
pub struct SimDisk {
    life: Arc<Mutex<Life>>,
}

/// A panic of a test thread must not hide what the disk looked like: nothing here is left half done by one.
fn lock(life: &Mutex<Life>) -> MutexGuard<'_, Life> {
    life.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimDisk {
    /// An empty, endless disk. The directory `/` is there, and the empty path, in which relative ones are.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// From now on [`Disk::draw`] gives this number and those that follow it: so two runs of one script write the same bytes.
    pub fn draw_from(&self, first: u64) {
        self.life().state.next_draw = Some(first);
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        lock(&self.life)
    }

    fn of(state: State) -> SimDisk {
        SimDisk { life: Arc::new(Mutex::new(Life::of(state))) }
    }

    /// Ends this life by a power cut, and gives the disk as it is when the power is back, all of it durable.
    /// May be called again, on the dead disk, for another outcome of the same cut.
    #[must_use]
    pub fn power_cut(&self, outcome: Outcome) -> SimDisk {
        let mut life = self.life();
        life.dead = true;
        SimDisk::of(life.state.after_power_cut(outcome))
    }

    /// Ends this life by a crash of the process, and gives the disk as the next process finds it: everything
    /// that was written, and what was not synced still not synced.
    #[must_use]
    pub fn process_crash(&self) -> SimDisk {
        let mut life = self.life();
        life.dead = true;
        SimDisk::of(life.state.after_process_crash())
    }

    /// What [`SimDisk::process_crash`] would give, while this disk lives on.
    #[must_use]
    pub fn fork(&self) -> SimDisk {
        SimDisk::of(self.life().state.after_process_crash())
    }

    /// Number of operations in this life: calls of write, sync, set_len, reserve, sync_dir, and of create, rename
    /// and remove where they found what they need. Not counted: reads, empty writes, and what came after the crash.
    pub fn ops(&self) -> u64 {
        self.life().operations
    }

    /// Lets the disk die at operation `op` of this life (numbered as by [`SimDisk::ops`], the first is 0; if it is
    /// past, at the next): this one and all calls after it, reads too, get the error [`SIMULATED_CRASH`].
    /// Whether the operation itself is still done, `last` says.
    pub fn crash_after(&self, op: u64, last: LastOp) {
        self.life().crash = Some((op, last));
    }

    /// Whether this life is over.
    pub fn is_dead(&self) -> bool {
        self.life().dead
    }

    /// Keeps the state after each operation from now on, for [`SimDisk::after_op`]. It costs a few kilobytes for
    /// each operation on a file of a megabyte.
    pub fn keep_history(&self) {
        let mut life = self.life();
        let now = life.state.clone();
        let operations = usize::try_from(life.operations).expect("operations fit into memory");
        life.history = Some(vec![now; operations]);
    }

    /// The disk as it was right after operation `op`, as [`SimDisk::fork`] would have given it then.
    /// `None` if that operation has not been, or no history was kept. An operation that was before
    /// [`SimDisk::keep_history`] gives the state at that call.
    pub fn after_op(&self, op: u64) -> Option<SimDisk> {
        let life = self.life();
        let state = life.history.as_ref()?.get(usize::try_from(op).ok()?)?;
        Some(SimDisk::of(state.after_process_crash()))
    }

    /// The operations of this life, oldest first; the newest 65,536 of them.
    pub fn trace(&self) -> Vec<Op> {
        self.life().trace.iter().cloned().collect()
    }

    /// What was asked of the disk in this life.
    pub fn counters(&self) -> Counters {
        self.life().counters
    }

    /// Lets an operation to come fail.
    pub fn inject(&self, fault: Fault) {
        self.life().faults.inject(fault);
    }

    /// Takes back all faults that have not struck, and those that strike forever.
    pub fn clear_faults(&self) {
        self.life().faults.clear();
    }

    /// Gives the disk a size in bytes, also for its next lives; `None` is endless. Room is taken in units of
    /// 4096 bytes, by what was written or reserved, in files that have a name or an open handle.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.life().state.capacity = bytes;
    }

    /// Bytes of room taken, as [`SimDisk::set_capacity`] counts them.
    pub fn used(&self) -> u64 {
        self.life().used()
    }

    /// Lets a file claim to have so many names.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    pub fn set_links(&self, path: impl AsRef<Path>, links: u64) -> io::Result<()> {
        let mut life = self.life();
        let inode = life.state.names.file(path.as_ref())?;
        life.state.inode_mut(inode).links = Some(links);
        Ok(())
    }

    /// Changes bytes behind everyone's back, in the cache and durably at once: `change` gets the `len` bytes at
    /// `offset`. No operation, no crash point; works on a dead disk too.
    ///
    /// # Errors
    /// `NotFound`, or `UnexpectedEof` if the file ends before the range does.
    pub fn corrupt(
        &self,
        path: impl AsRef<Path>,
        offset: u64,
        len: usize,
        change: impl FnOnce(&mut [u8]),
    ) -> io::Result<()> {
        let mut life = self.life();
        let inode = life.state.names.file(path.as_ref())?;
        let mut bytes = vec![0; len];
        life.state.inode(inode).read(&mut bytes, offset)?;
        change(&mut bytes);
        let sequence = life.state.sequence();
        life.state.inode_mut(inode).damage(sequence, &bytes, offset);
        Ok(())
    }

    /// All bytes of a file, as reads see them; works on a dead disk too.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    pub fn read_file(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let life = self.life();
        let inode = life.state.inode(life.state.names.file(path.as_ref())?);
        let len = usize::try_from(inode.cache().len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; len];
        inode.read(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Puts a file in place, durably with its name and directories. It replaces one of that name, whose open
    /// handles go on seeing the old bytes. No operation, no crash point.
    ///
    /// # Errors
    /// If the name is a directory's.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let mut life = self.life();
        let path = path.as_ref();
        end_of(0, bytes.len() as u64)?;
        if life.state.names.get(path) == Some(Node::Directory) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let inode = life.state.add(Inode::durable(bytes));
        let sequence = life.state.sequence();
        life.state.names.plant(sequence, path, Node::File(inode));
        Ok(())
    }

    /// The paths of all files, sorted; works on a dead disk too.
    pub fn files(&self) -> Vec<PathBuf> {
        self.life().state.names.files().map(|(path, _)| path.to_owned()).collect()
    }

    /// Feeds a hasher the names and bytes of all files, as reads see them; works on a dead disk too.
    pub fn hash_files(&self, hasher: &mut impl Hasher) {
        let life = self.life();
        for (path, inode) in life.state.names.files() {
            hasher.write(path.as_os_str().as_encoded_bytes());
            life.state.inode(inode).cache().hash(hasher);
        }
    }

    fn handle(&self, life: &mut Life, path: &Path, inode: u64, writable: bool) -> Arc<dyn DiskFile> {
        let handle = life.open(inode);
        Arc::new(SimFile { life: Arc::clone(&self.life), path: path.into(), inode, handle, writable })
    }

    fn create(&self, life: &mut Life, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if life.state.names.get(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        life.state.names.check_parent(path)?;
        let create = |life: &mut Life, sequence| {
            // A file takes no room before it is written to, but a full disk has no room for its name either.
            life.claim(CHUNK_BYTES as u64)?;
            let inode = life.state.add(Inode::default());
            life.state.names.link(sequence, path, Node::File(inode));
            Ok(inode)
        };
        let inode = life.change((OpKind::Create, &path.into(), 0, 0), create, |_| {})?;
        Ok(self.handle(life, path, inode, true))
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut life = self.life();
        life.alive()?;
        if mode == OpenMode::CreateNew {
            return self.create(&mut life, path);
        }
        life.look(path)?;
        let inode = life.state.names.file(path)?;
        Ok(self.handle(&mut life, path, inode, mode == OpenMode::Existing))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut life = self.life();
        life.alive()?;
        match life.state.names.get(path) {
            Some(Node::Directory) => return Ok(()),
            Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            None => life.state.names.check_parent(path)?,
        }
        let create = |life: &mut Life, sequence| {
            life.claim(CHUNK_BYTES as u64)?;
            life.state.names.link(sequence, path, Node::Directory);
            Ok(())
        };
        life.change((OpKind::CreateDir, &path.into(), 0, 0), create, |_| {})
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut life = self.life();
        life.look(dir)?;
        life.state.names.check_directory(dir)?;
        let files = life.state.names.files().filter(|(path, _)| path.parent() == Some(dir));
        Ok(files.map(|(path, _)| path.to_owned()).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut life = self.life();
        life.alive()?;
        // As the kernel does: first both directories, then the names in them.
        life.state.names.check_parent(from)?;
        life.state.names.check_parent(to)?;
        let inode = life.state.names.file(from)?;
        if life.state.names.get(to) == Some(Node::Directory) {
            let above = from.starts_with(to);
            let error = if above { io::ErrorKind::DirectoryNotEmpty } else { io::ErrorKind::IsADirectory };
            return Err(error.into());
        }
        let rename = |life: &mut Life, sequence| {
            if from != to {
                life.state.names.rename(sequence, from, to, Node::File(inode));
            }
            Ok(())
        };
        life.change((OpKind::Rename, &from.into(), 0, 0), rename, |_| {})
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut life = self.life();
        life.alive()?;
        life.state.names.file(path)?;
        let remove = |life: &mut Life, sequence| {
            life.state.names.unlink(sequence, path);
            Ok(())
        };
        life.change((OpKind::Remove, &path.into(), 0, 0), remove, |_| {})
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut life = self.life();
        life.alive()?;
        life.state.names.check_directory(dir)?;
        let sync = |life: &mut Life, _| {
            life.state.names.sync(dir);
            life.forget_unreachable();
            Ok(())
        };
        life.change((OpKind::SyncDir, &dir.into(), 0, 0), sync, |life| life.state.names.drop_dirty(dir))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut life = self.life();
        life.look(path)?;
        Ok(life.state.names.get(path).is_some())
    }

    fn draw(&self) -> u64 {
        match &mut self.life().state.next_draw {
            Some(next) => {
                *next += 1;
                *next - 1
            }
            None => drawn_by_chance(),
        }
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let life = self.life();
        let files: Vec<(&Path, u64)> = life.state.names.files().collect();
        f.debug_struct("SimDisk")
            .field("dead", &life.dead)
            .field("ops", &life.operations)
            .field("files", &files)
            .finish_non_exhaustive()
    }
}
