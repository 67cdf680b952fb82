//! The superblock: where everything starts. Two copies, in the places of pages 0 and 1.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 16 | magic `"Graphite db\r\n\x1a\n\0"` |
//! | 16 | 4 | format version |
//! | 20 | 4 | bytes in a log segment |
//! | 24 | 8 | database id |
//! | 32 | 8 | generation: raised by one with every write of the superblock |
//! | 40 | 8 | epoch: raised with every life, before anything is appended to the log |
//! | 48 | 8 | redo point: LSN of the checkpoint's group in the log |
//! | 56 | 4 | checksum of the group that ends at the redo point |
//! | 60 | 4 | checksum of the group that ends at the clean end |
//! | 64 | 8 | clean end: where the log ended at a clean shutdown, plus one; 0 while open or after a crash |
//! | 72 | 8 | LSN of the state below |
//! | 80 | 1024 | body of the state page: roots and counters |
//! | 8188 | 4 | CRC-32 of bytes 0..8188 |
//!
//! Invariants:
//! 1. The copies are written one after the other, each synced, the one that was not read first: it may be torn since
//!    an earlier crash, and the other is then the only whole one. So at least one is whole at any moment.
//! 2. Nothing that the older copy needs (log segments) goes before both are written.
//! 3. Of two whole copies the one with the higher generation counts.

use std::path::Path;

use crate::disk::DiskFile;
use crate::page::{DatabaseId, Lsn, PAGE_BYTES, Page, PageKind, PageNo};
use crate::pager::{STATE_PAGE, STATE_SLOTS};
use crate::{Error, Result};

/// Version of everything below: file, log and records.
pub const FORMAT_VERSION: u32 = 1;
/// The first bytes of every database. The line ends catch a file that was mangled as text.
pub(crate) const MAGIC: &[u8; 16] = b"Graphite db\r\n\x1a\n\0";
/// Number of copies, in the places of the first pages.
pub(crate) const COPIES: u64 = 2;

const VERSION: usize = 16;
const SEGMENT_BYTES: usize = VERSION + 4;
const DATABASE: usize = SEGMENT_BYTES + 4;
const GENERATION: usize = DATABASE + 8;
const EPOCH: usize = GENERATION + 8;
const REDO: usize = EPOCH + 8;
const REDO_CHAIN: usize = REDO + 8;
const CLEAN_CHAIN: usize = REDO_CHAIN + 4;
const CLEAN_END: usize = CLEAN_CHAIN + 4;
const STATE_LSN: usize = CLEAN_END + 8;
const STATE: usize = STATE_LSN + 8;
const STATE_BYTES: usize = STATE_SLOTS * 8;
const CHECKSUM: usize = PAGE_BYTES - 4;
const _: () = assert!(STATE == 80 && STATE + STATE_BYTES <= CHECKSUM);

/// What a whole copy says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Superblock {
    pub(crate) database: DatabaseId,
    pub(crate) segment_bytes: u32,
    pub(crate) generation: u64,
    pub(crate) epoch: u64,
    pub(crate) redo: Lsn,
    pub(crate) redo_chain: u32,
    /// Where a clean shutdown left the log, with the checksum of its last group.
    pub(crate) clean_end: Option<(Lsn, u32)>,
    pub(crate) state: Page,
    /// The copy that this was read from: it is written last.
    pub(crate) copy: u64,
}

impl Superblock {
    fn encode(&self) -> Box<[u8; PAGE_BYTES]> {
        let mut raw = Box::new([0; PAGE_BYTES]);
        let mut put = |at: usize, bytes: &[u8]| raw[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, MAGIC);
        put(VERSION, &FORMAT_VERSION.to_le_bytes());
        put(SEGMENT_BYTES, &self.segment_bytes.to_le_bytes());
        put(DATABASE, &self.database.0.to_le_bytes());
        put(GENERATION, &self.generation.to_le_bytes());
        put(EPOCH, &self.epoch.to_le_bytes());
        put(REDO, &self.redo.0.to_le_bytes());
        put(REDO_CHAIN, &self.redo_chain.to_le_bytes());
        if let Some((end, chain)) = self.clean_end {
            put(CLEAN_CHAIN, &chain.to_le_bytes());
            put(CLEAN_END, &(end.0 + 1).to_le_bytes());
        }
        put(STATE_LSN, &self.state.lsn().0.to_le_bytes());
        put(STATE, &self.state.body()[..STATE_BYTES]);
        let sum = crc32fast::hash(&raw[..CHECKSUM]);
        raw[CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
        raw
    }

    fn decode(raw: &[u8; PAGE_BYTES], copy: u64) -> Option<Superblock> {
        let u32_at = |at: usize| u32::from_le_bytes(*raw[at..].first_chunk().expect("inside the copy"));
        let u64_at = |at: usize| u64::from_le_bytes(*raw[at..].first_chunk().expect("inside the copy"));
        if &raw[..16] != MAGIC || u32_at(VERSION) != FORMAT_VERSION {
            return None;
        }
        if u32_at(CHECKSUM) != crc32fast::hash(&raw[..CHECKSUM]) {
            return None;
        }
        let database = DatabaseId(u64_at(DATABASE));
        let mut state = Page::new(STATE_PAGE, PageKind::State, database);
        state.set_lsn(Lsn(u64_at(STATE_LSN)));
        state.body_mut()[..STATE_BYTES].copy_from_slice(&raw[STATE..STATE + STATE_BYTES]);
        Some(Superblock {
            database,
            segment_bytes: u32_at(SEGMENT_BYTES),
            generation: u64_at(GENERATION),
            epoch: u64_at(EPOCH),
            redo: Lsn(u64_at(REDO)),
            redo_chain: u32_at(REDO_CHAIN),
            clean_end: u64_at(CLEAN_END).checked_sub(1).map(|end| (Lsn(end), u32_at(CLEAN_CHAIN))),
            state,
            copy,
        })
    }

    /// Writes both copies, each synced, under the next generation.
    ///
    /// # Errors
    /// The disk's; what is on disk is then one of the two, and the caller has to stop writing.
    pub(crate) fn write(&mut self, file: &dyn DiskFile, path: &Path, sync: bool) -> Result<()> {
        self.generation += 1;
        let raw = self.encode();
        for copy in [1 - self.copy, self.copy] {
            file.write_at(&raw[..], copy * PAGE_BYTES as u64).map_err(|e| Error::io("write", path, &e))?;
            if sync {
                file.sync().map_err(|e| Error::io("sync", path, &e))?;
            }
        }
        Ok(())
    }

    /// Writes the copy that was read once more as it was, and syncs it: whoever wrote it may have been killed before its sync,
    /// or its sync failed, and then no later one makes it durable. Were the power to go while the other copy is written,
    /// neither would be whole.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn write_again(&self, file: &dyn DiskFile, path: &Path) -> Result<()> {
        let raw = self.encode();
        file.write_at(&raw[..], self.copy * PAGE_BYTES as u64).map_err(|e| Error::io("write", path, &e))?;
        file.sync().map_err(|e| Error::io("sync", path, &e))
    }

    /// Reads the copy that counts, and refuses what is no database of this format.
    ///
    /// # Errors
    /// [`Error::NotADatabase`], [`Error::FormatVersion`], [`Error::CorruptSuperblock`], or the disk's.
    pub(crate) fn read(file: &dyn DiskFile, path: &Path) -> Result<Superblock> {
        let (best, unread) = Superblock::read_either(file, path)?;
        unread.map_or(Ok(best), Err)
    }

    /// As [`Superblock::read`], and takes the one copy if the disk does not give back the other, of which it gives the
    /// error.
    pub(crate) fn read_either(file: &dyn DiskFile, path: &Path) -> Result<(Superblock, Option<Error>)> {
        let len = file.len().map_err(|e| Error::io("read", path, &e))?;
        if len < COPIES * PAGE_BYTES as u64 {
            let mut head = vec![0; usize::try_from(len.min(16 + 4)).expect("at most 20")];
            file.read_at(&mut head, 0).map_err(|e| Error::io("read", path, &e))?;
            if head.starts_with(MAGIC) {
                let whole = COPIES * PAGE_BYTES as u64;
                let why = format!(
                    "the file was cut off after {len} bytes, and a database has {whole} at least. Put a copy in its place"
                );
                return Err(Error::CorruptSuperblock { path: path.into(), why });
            }
            return Err(Error::NotADatabase {
                path: path.into(),
                expected: format!(
                    "at least {} bytes that start with {}",
                    COPIES * PAGE_BYTES as u64,
                    show(MAGIC)
                ),
                found: format!(
                    "{len} bytes{}",
                    if head.is_empty() { String::new() } else { format!(" that start with {}", show(&head)) }
                ),
            });
        }
        let (mut copies, mut unread) = (Vec::new(), None);
        for copy in 0..COPIES {
            let mut raw = Box::new([0; PAGE_BYTES]);
            match file.read_at(&mut raw[..], copy * PAGE_BYTES as u64) {
                Ok(()) => copies.push((raw, copy)),
                Err(error) => unread = Some(Error::io("read", path, &error)),
            }
        }
        let whole = copies.iter().filter_map(|(raw, copy)| Superblock::decode(raw, *copy));
        match (whole.max_by_key(|s| s.generation), unread) {
            (Some(best), unread) if best.segment_bytes_fit() => Ok((best, unread)),
            (Some(best), _) => Err(best.bad_segment_bytes(path)),
            (None, Some(unread)) => Err(unread),
            (None, None) => Err(Superblock::refusal(&copies, path)),
        }
    }

    /// Neither copy is whole: says which of the reasons it is.
    fn refusal(copies: &[(Box<[u8; PAGE_BYTES]>, u64)], path: &Path) -> Error {
        let ours = || copies.iter().filter(|(raw, _)| raw.starts_with(MAGIC));
        if ours().next().is_none() {
            let head = copies.first().map_or(&[][..], |(raw, _)| &raw[..MAGIC.len()]);
            let found = format!("a file that starts with {}", show(head));
            return Error::NotADatabase {
                path: path.into(),
                expected: format!("a file that starts with {}", show(MAGIC)),
                found,
            };
        }
        for (raw, _) in ours() {
            let found = u32::from_le_bytes(*raw[VERSION..].first_chunk().expect("inside the copy"));
            if found != FORMAT_VERSION {
                return Error::FormatVersion { path: path.into(), found, expected: FORMAT_VERSION };
            }
        }
        Error::CorruptSuperblock {
            path: path.into(),
            why: "neither copy has the checksum of its bytes".to_owned(),
        }
    }

    fn segment_bytes_fit(&self) -> bool {
        self.segment_bytes.is_multiple_of(4096) && self.segment_bytes >= 2 * 4096
    }

    fn bad_segment_bytes(&self, path: &Path) -> Error {
        Error::CorruptSuperblock {
            path: path.into(),
            why: format!("a log segment of {} bytes cannot be", self.segment_bytes),
        }
    }
}

/// The copies of which the bytes are wrong or cannot be read, by their place.
pub(crate) fn bad_copies(file: &dyn DiskFile) -> Vec<(PageNo, String)> {
    let mut bad = Vec::new();
    for copy in 0..COPIES {
        let mut raw = Box::new([0; PAGE_BYTES]);
        let which = if copy == 0 { "first" } else { "second" };
        let why = match file.read_at(&mut raw[..], copy * PAGE_BYTES as u64) {
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                format!("the {which} copy of the superblock cannot be read: {error}")
            }
            _ if Superblock::decode(&raw, copy).is_some() => continue,
            _ => format!("the {which} copy of the superblock is damaged"),
        };
        bad.push((PageNo(copy as u32), why));
    }
    bad
}

fn show(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, OpenMode, SimDisk};

    fn sample() -> Superblock {
        let mut state = Page::new(STATE_PAGE, PageKind::State, DatabaseId(5));
        state.set_lsn(Lsn(99));
        state.body_mut()[8] = 7;
        Superblock {
            database: DatabaseId(5),
            segment_bytes: 65536,
            generation: 3,
            epoch: 2,
            redo: Lsn(0x1234),
            redo_chain: 0xaabb,
            clean_end: Some((Lsn(0), 0xcc)),
            state,
            copy: 1,
        }
    }

    #[test]
    fn golden_bytes_and_round_trip() {
        let raw = sample().encode();
        assert_eq!(&raw[..16], b"Graphite db\r\n\x1a\n\0");
        assert_eq!(raw[16..24], [1, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(raw[48..64], [0x34, 0x12, 0, 0, 0, 0, 0, 0, 0xbb, 0xaa, 0, 0, 0xcc, 0, 0, 0]);
        assert_eq!(raw[64..72], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(raw[88], 7);
        assert_eq!(Superblock::decode(&raw, 1), Some(sample()));
    }

    #[test]
    fn of_two_whole_copies_the_newer_one_counts() {
        let raw = |generation| Superblock { generation, ..sample() }.encode();
        for newer in 0..COPIES {
            let generations = if newer == 0 { [4, 3] } else { [3, 4] };
            let disk = SimDisk::new();
            disk.write_file("/db", &generations.map(|generation| *raw(generation)).concat()).unwrap();
            let file = disk.open(Path::new("/db"), OpenMode::ReadOnly).unwrap();
            let read = Superblock::read(&*file, Path::new("/db")).unwrap();
            assert_eq!((read.generation, read.copy), (4, newer));
        }
    }

    /// A later program wrote it, and all else is as it should be.
    #[test]
    fn another_version_is_none_of_ours_whatever_its_checksum() {
        let mut raw = sample().encode();
        raw[VERSION..VERSION + 4].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
        let sum = crc32fast::hash(&raw[..CHECKSUM]);
        raw[CHECKSUM..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Superblock::decode(&raw, 0), None);
    }

    #[test]
    fn every_single_byte_change_is_found() {
        let raw = sample().encode();
        for at in 0..PAGE_BYTES {
            let mut bad = raw.clone();
            bad[at] ^= 0x10;
            assert_eq!(Superblock::decode(&bad, 0), None, "byte {at}");
        }
    }
}
