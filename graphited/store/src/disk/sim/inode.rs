//! One simulated file, whatever its name: what is durable, what is not yet, and what reads see.
//!
//! Invariants:
//! 1. `cache` is `base` with all of `log` applied in order. Reads see `cache`, a power cut starts from `base`.
//! 2. A `Durable` entry stands in the log only behind one that is not: what is durable in front is in `base`.
//!
//! The bytes of a write and the length that it brings are two entries, because a disk may have one without
//! the other: bytes without their length are cut off, a length without its bytes reads as zeros. Within a
//! sector this is harsher than hardware (two writes to one sector may survive apart); what holds here holds there.

use std::io;
use std::sync::Arc;

use super::content::Content;
use super::outcome::{Chooser, Fate, Outcome, SECTOR_BYTES, Standing};

/// A file without its name.
#[derive(Clone, Default)]
pub(super) struct Inode {
    cache: Content,
    base: Content,
    log: Vec<Entry>,
    /// Number of names, if a test says so.
    pub(super) links: Option<u64>,
}

#[derive(Clone)]
struct Entry {
    sequence: u64,
    standing: Standing,
    change: Change,
}

#[derive(Clone)]
enum Change {
    Bytes { offset: u64, bytes: Arc<[u8]> },
    Grow { len: u64 },
    SetLen { len: u64 },
    Reserve { offset: u64, len: u64 },
}

impl Inode {
    /// A file with durable content.
    pub(super) fn durable(bytes: &[u8]) -> Inode {
        let mut content = Content::default();
        content.grow(bytes.len() as u64);
        content.write(bytes, 0);
        Inode { cache: content.clone(), base: content, log: Vec::new(), links: None }
    }

    /// What reads see.
    pub(super) fn cache(&self) -> &Content {
        &self.cache
    }

    /// Fills `buffer` from `offset`.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if !buffer.is_empty() && end_of(offset, buffer.len() as u64)? > self.cache.len() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "read past the end of the file"));
        }
        self.cache.read(buffer, offset);
        Ok(())
    }

    /// Writes into the cache. The caller has checked the range, which is not empty.
    pub(super) fn write(&mut self, sequence: u64, bytes: &[u8], offset: u64) {
        self.enter(sequence, Standing::Dirty, Change::Bytes { offset, bytes: bytes.into() });
        self.grow(sequence, offset + bytes.len() as u64);
    }

    /// What a write that failed leaves: some of its sectors, and nothing if it would have made the file longer.
    pub(super) fn write_some(&mut self, sequence: u64, bytes: &[u8], offset: u64) {
        if offset + bytes.len() as u64 > self.cache.len() {
            return;
        }
        let mut torn = self.cache.clone();
        write_torn(&mut torn, bytes, offset, &mut Chooser::new(Outcome::Random(sequence), None));
        let mut left = vec![0; bytes.len()];
        torn.read(&mut left, offset);
        self.write(sequence, &left, offset);
    }

    /// Cuts or extends. The caller has checked the length.
    pub(super) fn set_len(&mut self, sequence: u64, len: u64) {
        if len != self.cache.len() || self.has_dropped() {
            self.enter(sequence, Standing::Dirty, Change::SetLen { len });
        }
    }

    /// Takes room. The caller has checked the range, which is not empty, and that there is room.
    pub(super) fn reserve(&mut self, sequence: u64, offset: u64, len: u64) {
        self.enter(sequence, Standing::Dirty, Change::Reserve { offset, len });
        self.grow(sequence, offset + len);
    }

    /// Changes bytes behind everyone's back, durably at once.
    pub(super) fn damage(&mut self, sequence: u64, bytes: &[u8], offset: u64) {
        self.enter(sequence, Standing::Durable, Change::Bytes { offset, bytes: bytes.into() });
        self.fold();
    }

    /// Makes everything that was not dropped durable.
    pub(super) fn sync(&mut self) {
        self.restate(Standing::Durable);
        self.fold();
    }

    /// Makes one write durable, with the file's length, and nothing else: so a write with `O_DSYNC` does it.
    pub(super) fn sync_write(&mut self, sequence: u64) {
        for entry in &mut self.log {
            let is_meant = entry.sequence == sequence || !matches!(entry.change, Change::Bytes { .. });
            if is_meant && entry.standing == Standing::Dirty {
                entry.standing = Standing::Durable;
            }
        }
        self.fold();
    }

    /// A sync that failed: what was dirty is taken for clean although nobody knows whether the disk has it.
    pub(super) fn drop_dirty(&mut self) {
        self.restate(Standing::Dropped);
    }

    /// Sequence number of the newest change that a power cut may lose.
    pub(super) fn last_unsynced(&self) -> Option<u64> {
        self.log.iter().filter(|entry| entry.standing != Standing::Durable).map(|entry| entry.sequence).max()
    }

    /// What is left of the file when the power is back.
    pub(super) fn after_power_cut(&self, chooser: &mut Chooser) -> Inode {
        let mut left = self.base.clone();
        for entry in &self.log {
            match &entry.change {
                Change::Bytes { offset, bytes } => match chooser.fate(entry.standing, entry.sequence) {
                    Fate::Kept => left.write(bytes, *offset),
                    Fate::Lost => {}
                    Fate::Torn => write_torn(&mut left, bytes, *offset, chooser),
                },
                change => {
                    if chooser.keeps(entry.standing, entry.sequence) {
                        change.apply(&mut left);
                    }
                }
            }
        }
        left.cut();
        Inode { cache: left.clone(), base: left, log: Vec::new(), links: self.links }
    }

    /// A change brings the length that it needs along wherever an earlier one, which may be lost, had brought it
    /// already: what was synced must not be cut off.
    fn grow(&mut self, sequence: u64, len: u64) {
        if len > self.cache.len().min(self.base.len()) || self.has_dropped() {
            self.enter(sequence, Standing::Dirty, Change::Grow { len });
        }
    }

    fn has_dropped(&self) -> bool {
        self.log.iter().any(|entry| entry.standing == Standing::Dropped)
    }

    fn enter(&mut self, sequence: u64, standing: Standing, change: Change) {
        change.apply(&mut self.cache);
        self.log.push(Entry { sequence, standing, change });
    }

    fn restate(&mut self, standing: Standing) {
        for entry in &mut self.log {
            if entry.standing == Standing::Dirty {
                entry.standing = standing;
            }
        }
    }

    /// Moves what is durable at the front of the log into `base`.
    fn fold(&mut self) {
        let unsure = self.log.iter().position(|entry| entry.standing != Standing::Durable);
        match unsure {
            None => {
                self.base = self.cache.clone();
                self.log.clear();
            }
            Some(unsure) => {
                for entry in self.log.drain(..unsure) {
                    entry.change.apply(&mut self.base);
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Content) {
        match self {
            Change::Bytes { offset, bytes } => content.write(bytes, *offset),
            Change::Grow { len } => content.grow(*len),
            Change::SetLen { len } => content.set_len(*len),
            Change::Reserve { offset, len } => content.reserve(*offset, *len),
        }
    }
}

/// The end of a range; one past all files is an error, as it is to the kernel.
pub(super) fn end_of(offset: u64, len: u64) -> io::Result<u64> {
    let end = offset.checked_add(len).filter(|&end| i64::try_from(end).is_ok());
    end.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the range ends past the largest file"))
}

/// Writes those sectors that the chooser keeps. Sectors are those of the file: file systems align to them.
fn write_torn(content: &mut Content, bytes: &[u8], offset: u64, chooser: &mut Chooser) {
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        let to_border = SECTOR_BYTES - (at % SECTOR_BYTES as u64) as usize;
        let end = (done + to_border).min(bytes.len());
        if chooser.keeps_sector() {
            content.write(&bytes[done..end], at);
        }
        done = end;
    }
}
