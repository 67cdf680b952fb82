//! The file system of the machine.
//!
//! Invariants:
//! 1. Files are closed on exec and made for their owner only: whoever can read the database's files needs no
//!    daemon, and a child of the daemon must not hold its lock.
//! 2. The lock (`flock`) belongs to the open file, and so to its inode: another path to the same file meets the
//!    same lock, and it is gone when the handle is dropped or the process dies, however it dies.
//! 3. Every call is tried again when a signal interrupts it. The standard library does so in all that is used
//!    here but `flock`; `fallocate` is not of the standard library.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};

use super::direct::DirectWriter;
use super::{Disk, DiskFile, OpenMode};
use crate::sync::Mutex;

/// Bytes read and written at once where room is reserved by writing zeros.
const ZEROS_BYTES: usize = 64 * 1024;

/// The smallest block that a file system may have.
const SECTOR_BYTES: usize = 512;

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile {
    file: File,
    direct: Mutex<DirectWriter>,
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Existing => options.write(true),
            OpenMode::ReadOnly => &mut options,
            OpenMode::CreateNew => options.write(true).create_new(true).mode(0o600),
        };
        let file = options.open(path)?;
        // A directory can be opened for reading, and every call on it would then fail in words of its own.
        if mode == OpenMode::ReadOnly && file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Arc::new(RealFile { file, direct: Mutex::default() }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            result => result,
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(or_here(dir))? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                files.push(dir.join(entry.file_name()));
            }
        }
        files.sort();
        Ok(files)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let directory = File::open(or_here(dir))?;
        if !directory.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        directory.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match path.try_exists() {
            // A file on the way: there can be nothing below it.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            result => result,
        }
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn forget_cached(&self, offset: u64, len: u64) {
        if let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) {
            // Whoever hoped for it cannot do without either.
            let _ = posix_fadvise(&self.file, offset, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write_synced(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.direct.lock().write_synced(&self.file, bytes, offset)? {
            return Ok(());
        }
        self.write_at(bytes, offset)?;
        self.sync()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// If the disk is full, the file may have grown part of the way, by zeros: to cut it back here could cut off
    /// what somebody else wrote meanwhile.
    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let range = (offset.try_into().map_err(too_large)?, len.try_into().map_err(too_large)?);
        loop {
            return match fallocate(&self.file, FallocateFlags::empty(), range.0, range.1) {
                Ok(()) => Ok(()),
                Err(Errno::EINTR) => continue,
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => reserve_by_zeros(&self.file, offset, len),
                Err(error) => Err(error.into()),
            };
        }
    }

    fn try_lock(&self) -> io::Result<bool> {
        loop {
            return match self.file.try_lock() {
                Ok(()) => Ok(true),
                Err(TryLockError::WouldBlock) => Ok(false),
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(TryLockError::Error(error)) => Err(error),
            };
        }
    }

    fn links(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.nlink())
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The directory of a bare file name is the empty path, which the kernel does not know.
fn or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

/// Reserves room on a file system that cannot do so by itself: zeros are written where there are zeros or
/// nothing, so that holes get blocks. Whoever reserves must not be writing to the range at the same time; the
/// bytes could otherwise come between the look and the zeros.
fn reserve_by_zeros(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
    let zeros = vec![0; ZEROS_BYTES];
    let mut found = vec![0; ZEROS_BYTES];
    let mut at = offset;
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
        let read = match file.read_at(&mut found[..left], at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        };
        // A read may be short anywhere; only one of no bytes says that the file ends here.
        let bytes = if read == 0 { left } else { read };
        if read == 0 || found[..read] == zeros[..read] {
            file.write_all_at(&zeros[..bytes], at)?;
        } else {
            fill_zero_sectors(file, &found[..read], at)?;
        }
        at += bytes as u64;
    }
    Ok(())
}

/// Of what was found at `offset`, writes those sectors again that are zeros: no block is smaller than a sector,
/// so one with any other byte in it has its block.
fn fill_zero_sectors(file: &File, found: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < found.len() {
        let at = offset + done as u64;
        let to_border = SECTOR_BYTES - (at % SECTOR_BYTES as u64) as usize;
        let sector = &found[done..(done + to_border).min(found.len())];
        if sector.iter().all(|&byte| byte == 0) {
            file.write_all_at(sector, at)?;
        }
        done += sector.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn create(path: &Path) -> Arc<dyn DiskFile> {
        RealDisk.open(path, OpenMode::CreateNew).unwrap()
    }

    fn kind<T>(result: io::Result<T>) -> ErrorKind {
        result.err().expect("it has to fail").kind()
    }

    #[test]
    fn files_and_directories_are_made_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        create(&path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let dir = folder.path().join("wal");
        RealDisk.create_dir(&dir).unwrap();
        RealDisk.create_dir(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(kind(RealDisk.create_dir(&path)), ErrorKind::AlreadyExists);
        assert_eq!(kind(RealDisk.create_dir(&folder.path().join("x/y"))), ErrorKind::NotFound);
    }

    #[test]
    fn files_are_closed_on_exec() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = create(&path);
        // Of all descriptors of this process, the one of our file; the kernel shows its flags in octal.
        let of_ours = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
            let entry = entry.unwrap();
            let ours = fs::read_link(entry.path()).is_ok_and(|target| target.ends_with(&path));
            ours.then(|| entry.file_name())
        });
        let ours: Vec<_> = of_ours.collect();
        assert_eq!(ours.len(), 1);
        let info = fs::read_to_string(Path::new("/proc/self/fdinfo").join(&ours[0])).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap();
        assert_ne!(flags & nix::fcntl::OFlag::O_CLOEXEC.bits().cast_unsigned(), 0);
        drop(file);
    }

    #[test]
    fn the_lock_is_of_the_inode_and_ends_with_the_handle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let link = folder.path().join("link");
        let first = create(&path);
        fs::hard_link(&path, &link).unwrap();
        let second = RealDisk.open(&link, OpenMode::Existing).unwrap();
        assert_eq!(second.links().unwrap(), 2);
        assert!(first.try_lock().unwrap());
        assert!(first.try_lock().unwrap());
        assert!(!second.try_lock().unwrap());
        drop(first);
        assert!(second.try_lock().unwrap());
    }

    #[test]
    fn what_is_forgotten_is_read_again_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = create(&folder.path().join("a"));
        file.write_at(&[7; 10_000], 0).unwrap();
        for (offset, len) in [(0, 10_000), (5000, 1), (0, u64::MAX), (u64::MAX, 1)] {
            file.forget_cached(offset, len);
        }
        file.sync().unwrap();
        file.forget_cached(0, 10_000);
        let mut bytes = [0; 10_000];
        file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [7; 10_000]);
    }

    #[test]
    fn reserved_room_is_on_the_disk_and_changes_no_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = create(&path);
        file.write_at(&[7; 100], 0).unwrap();
        file.reserve(50, 1 << 20).unwrap();
        assert_eq!(file.len().unwrap(), 50 + (1 << 20));
        assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20);
        let mut bytes = [0; 150];
        file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes[..100], [7; 100]);
        assert_eq!(bytes[100..], [0; 50]);
        assert_eq!(kind(file.reserve(u64::MAX, 2)), ErrorKind::InvalidInput);
    }

    /// The way for file systems without `fallocate`, on any file system: holes get blocks, bytes stay.
    #[test]
    fn room_reserved_by_zeros_changes_no_byte_either() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let hole = 1 << 20;
        file.write_all_at(&[7; 100], hole).unwrap();
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < hole);
        reserve_by_zeros(&file, 10, hole + 200_000).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), hole + 200_010);
        assert!(metadata.blocks() * 512 >= hole + 200_000);
        let bytes = fs::read(&path).unwrap();
        let (before, after) = bytes.split_at(usize::try_from(hole).unwrap());
        assert!(before.iter().all(|&byte| byte == 0));
        assert_eq!(after[..100], [7; 100]);
        assert!(after[100..].iter().all(|&byte| byte == 0));
        reserve_by_zeros(&file, 0, 10).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), hole + 200_010, "room inside grows nothing");
        assert_eq!(kind(reserve_by_zeros(&file, u64::MAX, 2)), ErrorKind::InvalidInput);
    }

    /// `/dev/full` is the kernel's own full disk.
    #[test]
    fn a_full_disk_is_known_as_such() {
        let full = RealDisk.open(Path::new("/dev/full"), OpenMode::Existing).unwrap();
        assert_eq!(kind(full.write_at(&[1], 0)), ErrorKind::StorageFull);
        let full = File::options().read(true).write(true).open("/dev/full").unwrap();
        assert_eq!(kind(reserve_by_zeros(&full, 0, 100)), ErrorKind::StorageFull);
    }

    /// Without a power cut nobody sees a sync that is left out. But the system refuses to sync what has no disk behind it, so
    /// whoever is refused has asked it.
    #[test]
    fn each_sync_gets_as_far_as_the_system() {
        let null = RealDisk.open(Path::new("/dev/null"), OpenMode::Existing).unwrap();
        null.write_at(&[1], 0).unwrap();
        assert_eq!(kind(null.sync()), ErrorKind::InvalidInput);
        assert_eq!(kind(null.write_synced(&[1], 0)), ErrorKind::InvalidInput);
        assert_eq!(kind(RealDisk.sync_dir(Path::new("/proc/self"))), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_directory_is_synced_and_listed_and_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        create(&path);
        create(&folder.path().join("a"));
        RealDisk.create_dir(&folder.path().join("wal")).unwrap();
        let names = RealDisk.list(folder.path()).unwrap();
        assert_eq!(names, [folder.path().join("a"), path.clone()]);
        RealDisk.sync_dir(folder.path()).unwrap();
        RealDisk.sync_dir(Path::new("")).unwrap();
        assert_eq!(kind(RealDisk.sync_dir(&path)), ErrorKind::NotADirectory);
        assert_eq!(kind(RealDisk.list(&folder.path().join("missing"))), ErrorKind::NotFound);
        for mode in [OpenMode::Existing, OpenMode::ReadOnly] {
            assert_eq!(kind(RealDisk.open(folder.path(), mode)), ErrorKind::IsADirectory);
        }
    }
}
