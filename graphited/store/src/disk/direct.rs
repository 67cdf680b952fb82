//! Synced writes past the system's page cache: what a log's moving end is written by.
//!
//! A write and an `fdatasync` copy the bytes into the page cache, look for what is dirty there, and hand it to the
//! device. A file opened with `O_DIRECT` and `O_DSYNC` is written by one call, which hands over the blocks themselves;
//! it returns when they are durable, after the same flush of the device. What is saved is 15 to 20 us of a sync.
//!
//! 1. Such a write is of whole blocks, in file and memory. The bytes before it in its first block are those of the write
//!    before, which are kept here, or are read; those behind it in its last block become zeros. So a block that holds
//!    what is durable is written again with the same bytes, as the page cache does too.
//! 2. Whether a file system takes such writes is seen by trying. If not, nothing was changed.
//! 3. A file whose last byte was written is closed here: a log goes on in another one, and does not come back.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::fcntl::OFlag;

use super::BLOCK_BYTES;

/// Longer writes go through the page cache: they would only need more memory here.
const DIRECT_BYTES_MAX: usize = 256 << 10;

/// The way past the page cache to one file.
#[derive(Debug, Default)]
pub(super) enum DirectWriter {
    /// Not looked for yet, or not needed any more.
    #[default]
    Untried,
    /// There is none.
    Unavailable,
    /// Here.
    Open(Open),
}

#[derive(Debug)]
pub(super) struct Open {
    file: File,
    /// Length of the file when it was opened. No write goes past it.
    len: u64,
    /// Blocks from the first aligned byte on; see [`blocks`].
    memory: Vec<u8>,
    /// Where in the file the block is that lies first in `memory`.
    kept: Option<u64>,
}

impl DirectWriter {
    /// Writes all of `bytes` at `offset` of `file` and makes them durable; `false` if it has to be done another way.
    pub(super) fn write_synced(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<bool> {
        if bytes.is_empty() {
            return Ok(false);
        }
        if matches!(self, DirectWriter::Untried) {
            *self = Open::new(file).map_or(DirectWriter::Unavailable, DirectWriter::Open);
        }
        let DirectWriter::Open(open) = self else { return Ok(false) };
        let is_last = offset.checked_add(bytes.len() as u64) == Some(open.len);
        match open.write(file, bytes, offset) {
            Err(error) if matches!(error.raw_os_error(), Some(nix::libc::EINVAL | nix::libc::EOPNOTSUPP)) => {
                *self = DirectWriter::Unavailable;
                Ok(false)
            }
            result => {
                if is_last {
                    *self = DirectWriter::Untried;
                }
                result
            }
        }
    }
}

/// The part of `memory` that is aligned, as long as asked for; grows it if need be, which forgets what was in it.
fn blocks(memory: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if memory.len() < len + BLOCK_BYTES {
        // More than is asked for, so that a write that is a little longer does not need other memory again.
        *memory = vec![0; len.next_power_of_two() + BLOCK_BYTES];
    }
    let skip = memory.as_ptr().addr().wrapping_neg() % BLOCK_BYTES;
    &mut memory[skip..skip + len]
}

impl Open {
    /// Opens the inode of `file` anew, whatever its name is by now.
    fn new(file: &File) -> io::Result<Open> {
        let flags = OFlag::O_DIRECT | OFlag::O_DSYNC;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let direct = OpenOptions::new().write(true).custom_flags(flags.bits()).open(path)?;
        Ok(Open { file: direct, len: file.metadata()?.len(), memory: Vec::new(), kept: None })
    }

    fn write(&mut self, cached: &File, bytes: &[u8], offset: u64) -> io::Result<bool> {
        let head = (offset % BLOCK_BYTES as u64) as usize;
        let start = offset - head as u64;
        let len = (head + bytes.len()).next_multiple_of(BLOCK_BYTES);
        let kept = self.kept.take();
        if len > DIRECT_BYTES_MAX || start.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Ok(false);
        }
        let is_kept = kept == Some(start) && self.memory.len() >= len + BLOCK_BYTES;
        let blocks = blocks(&mut self.memory, len);
        if head > 0 && !is_kept {
            cached.read_exact_at(&mut blocks[..head], start)?;
        }
        blocks[head..head + bytes.len()].copy_from_slice(bytes);
        blocks[head + bytes.len()..].fill(0);
        self.file.write_all_at(blocks, start)?;
        blocks.copy_within(len - BLOCK_BYTES.., 0);
        self.kept = Some(start + (len - BLOCK_BYTES) as u64);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn file_of_ones(dir: &Path, blocks: usize) -> File {
        let file = File::options().read(true).write(true).create_new(true).open(dir.join("log")).unwrap();
        file.write_all_at(&vec![1; blocks * BLOCK_BYTES], 0).unwrap();
        file
    }

    /// Writes behind each other, of lengths around those of a block, beside a copy in memory.
    #[test]
    fn writes_behind_each_other_leave_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_of_ones(dir.path(), 20);
        let mut writer = DirectWriter::default();
        let mut expected = vec![1; 20 * BLOCK_BYTES];
        let (mut at, mut written_past_the_cache) = (100, 0);
        for (round, len) in [1, 7, 4000, 5000, 4096, 300, 12_000, 1, 8192, 3].into_iter().enumerate() {
            if round == 6 {
                // Nothing is kept of the block where it goes on.
                writer = DirectWriter::default();
            }
            let bytes = vec![round as u8 + 2; len];
            expected[at..at + len].copy_from_slice(&bytes);
            if writer.write_synced(&file, &bytes, at as u64).unwrap() {
                expected[at + len..(at + len).next_multiple_of(BLOCK_BYTES)].fill(0);
                written_past_the_cache += 1;
            } else {
                file.write_all_at(&bytes, at as u64).unwrap();
            }
            at += len;
            let mut found = vec![0; expected.len()];
            file.read_exact_at(&mut found, 0).unwrap();
            assert!(found == expected, "after {written_past_the_cache} of {round}");
        }
        assert!(matches!(written_past_the_cache, 0 | 10), "all or none");
    }

    #[test]
    fn what_is_too_long_or_past_the_end_is_left_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_of_ones(dir.path(), 1);
        let mut writer = DirectWriter::default();
        assert!(!writer.write_synced(&file, &[2; 2], BLOCK_BYTES as u64 - 1).unwrap());
        assert!(!writer.write_synced(&file, &[2], u64::MAX).unwrap());
        assert!(!writer.write_synced(&file, &vec![2; DIRECT_BYTES_MAX + 1], 0).unwrap());
        assert_eq!(file.metadata().unwrap().len(), BLOCK_BYTES as u64);
    }

    #[test]
    fn a_file_that_is_full_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let file = file_of_ones(dir.path(), 2);
        for len in [BLOCK_BYTES, 2 * BLOCK_BYTES] {
            let mut writer = DirectWriter::default();
            writer.write_synced(&file, &[2], 0).unwrap();
            let is_taken = matches!(writer, DirectWriter::Open(_));
            let at = (2 * BLOCK_BYTES - len) as u64;
            assert_eq!(writer.write_synced(&file, &vec![2; len], at).unwrap(), is_taken);
            assert_eq!(matches!(writer, DirectWriter::Untried), is_taken);
        }
    }

    /// What no test without a power cut can see: that the device has flushed when the write returns.
    #[test]
    fn writes_past_the_page_cache_are_synced_by_the_system() {
        let dir = tempfile::tempdir().unwrap();
        let Ok(open) = Open::new(&file_of_ones(dir.path(), 1)) else {
            // This file system has no such writes.
            return;
        };
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", open.file.as_raw_fd())).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        for flag in [OFlag::O_DIRECT, OFlag::O_DSYNC] {
            assert_eq!(flags & flag.bits(), flag.bits(), "{flag:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_so_says_it_once() {
        let file = File::open("/proc/self/status").unwrap();
        let mut writer = DirectWriter::default();
        assert!(!writer.write_synced(&file, &[1], 0).unwrap());
        assert!(matches!(writer, DirectWriter::Unavailable));
    }
}
