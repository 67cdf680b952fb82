//! An open file of a simulated disk.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use super::fault::OpKind;
use super::inode::{Inode, end_of};
use super::life::Life;
use super::lock;
use crate::disk::{BLOCK_BYTES, DiskFile};

/// A handle on one inode; dead with the life in which it was opened.
pub(super) struct SimFile {
    pub(super) life: Arc<Mutex<Life>>,
    pub(super) path: Arc<Path>,
    pub(super) inode: u64,
    pub(super) handle: u64,
    pub(super) writable: bool,
}

impl SimFile {
    fn look(&self) -> io::Result<MutexGuard<'_, Life>> {
        let mut life = lock(&self.life);
        life.look(&self.path)?;
        Ok(life)
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, Life>> {
        let life = lock(&self.life);
        life.alive()?;
        Ok(life)
    }

    fn writable(&self) -> io::Result<MutexGuard<'_, Life>> {
        if self.writable { self.alive() } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    /// Writes bytes, of which there are some; returns the change's sequence number.
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<u64> {
        let mut life = self.writable()?;
        let len = bytes.len() as u64;
        end_of(offset, len)?;
        let write = |life: &mut Life, sequence| {
            life.claim(life.state.inode(self.inode).cache().lacks(offset, len))?;
            life.state.inode_mut(self.inode).write(sequence, bytes, offset);
            Ok(sequence)
        };
        let failed = |life: &mut Life| {
            let sequence = life.state.sequence();
            life.state.inode_mut(self.inode).write_some(sequence, bytes, offset);
        };
        life.change((OpKind::Write, &self.path, offset, len), write, failed)
    }

    /// Makes what `which` says durable, as one sync.
    fn sync_by(&self, which: impl FnOnce(&mut Inode)) -> io::Result<()> {
        let mut life = self.alive()?;
        let sync = |life: &mut Life, _| {
            which(life.state.inode_mut(self.inode));
            Ok(())
        };
        let failed = |life: &mut Life| life.state.inode_mut(self.inode).drop_dirty();
        life.change((OpKind::Sync, &self.path, 0, 0), sync, failed)
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut life = self.alive()?;
        life.counters.count(OpKind::Read, buffer.len() as u64);
        match life.faults.strike(OpKind::Read, &self.path, offset, buffer.len() as u64) {
            None => life.state.inode(self.inode).read(buffer, offset),
            Some(error) => Err(error),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if bytes.is_empty() {
            // As with a real file, this never gets as far as the kernel.
            return self.alive().map(drop);
        }
        self.write(bytes, offset).map(drop)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_by(Inode::sync)
    }

    /// Whole blocks, if the file is long enough, as the real one writes them at worst; and these alone become durable.
    fn write_synced(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let head = (offset % BLOCK_BYTES as u64) as usize;
        let start = offset - head as u64;
        let mut blocks = vec![0; (head + bytes.len()).next_multiple_of(BLOCK_BYTES)];
        let len = self.alive()?.state.inode(self.inode).cache().len();
        let is_inside = start.checked_add(blocks.len() as u64).is_some_and(|end| end <= len);
        if bytes.is_empty() || !is_inside {
            self.write_at(bytes, offset)?;
            return self.sync();
        }
        self.alive()?.state.inode(self.inode).read(&mut blocks[..head], start)?;
        blocks[head..head + bytes.len()].copy_from_slice(bytes);
        let sequence = self.write(&blocks, start)?;
        self.sync_by(|inode| inode.sync_write(sequence))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.look()?.state.inode(self.inode).cache().len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut life = self.writable()?;
        end_of(0, len)?;
        let set_len = |life: &mut Life, sequence| {
            life.state.inode_mut(self.inode).set_len(sequence, len);
            Ok(())
        };
        life.change((OpKind::SetLen, &self.path, 0, len), set_len, |_| {})
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return self.alive().map(drop);
        }
        let mut life = self.writable()?;
        end_of(offset, len)?;
        let reserve = |life: &mut Life, sequence| {
            life.claim(life.state.inode(self.inode).cache().lacks(offset, len))?;
            life.state.inode_mut(self.inode).reserve(sequence, offset, len);
            Ok(())
        };
        life.change((OpKind::Reserve, &self.path, offset, len), reserve, |_| {})
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut life = self.look()?;
        let holder = *life.locks.entry(self.inode).or_insert(self.handle);
        Ok(holder == self.handle)
    }

    fn links(&self) -> io::Result<u64> {
        let life = self.look()?;
        let named = life.state.names.files().any(|(_, inode)| inode == self.inode);
        Ok(life.state.inode(self.inode).links.unwrap_or(u64::from(named)))
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let life = self.look()?;
        Ok(life.state.names.files().any(|(name, inode)| inode == self.inode && *name == *path))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        lock(&self.life).close(self.inode, self.handle);
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile")
            .field("path", &self.path)
            .field("inode", &self.inode)
            .finish_non_exhaustive()
    }
}
