//! Opening a database, and making a new one.
//!
//! A database is made under the name `PATH.new`, complete and synced, and then renamed: so `PATH` is either no file
//! or a whole database. Its lock is on the inode and survives the rename.
//!
//! Between a look at a name and the lock, another process may give the name to another file or to none. So after the
//! lock it is looked again whether the name is still that of the file that is locked; if not, all begins anew.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::allocator::{Allocator, STATE_PAGE_COUNT, bit_of};
use crate::cache::Cache;
use crate::checkpoint::Progress;
use crate::clock::Clock;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::page::{DatabaseId, Lsn, PAGE_BYTES, Page, PageKind, PageNo};
use crate::pager::STATE_PAGE;
use crate::readers::Readers;
use crate::recovery::rewrite_tail;
use crate::snapshot::Snapshot;
use crate::store::{Applier, Counters, Inner, SEGMENTS, Store, StoreOptions};
use crate::superblock::Superblock;
use crate::sync::{Arc, AtomicBool, AtomicU64, Condvar, Mutex, OnceLock, Ordering};
use crate::threads::Threads;
use crate::wal::group::{GroupBuilder, GroupKind};
use crate::wal::log::{Log, LogEnd};
use crate::wal::scan::scan;
use crate::wal::segments::Segments;
use crate::{Error, Result, spill};

/// Least bytes of a log segment.
const SEGMENT_BYTES_MIN: u64 = 16 << 10;
/// How often a database is looked for that others keep replacing.
const ATTEMPTS_MAX: u32 = 100;
/// The first bitmap's place; superblock copies and it are the first pages of every database.
const FIRST_BITMAP: PageNo = PageNo(2);

/// `PATH` with something appended to its last name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory that `PATH` is a name in.
fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The directory of a database's log.
pub fn wal_dir(path: &Path) -> PathBuf {
    beside(path, ".wal")
}

impl Store {
    /// Opens the database at `path`, which this process owns from then on, and recovers what a crash left.
    ///
    /// # Errors
    /// [`Error::InUse`]; [`Error::NotADatabase`], [`Error::FormatVersion`]; [`Error::CorruptSuperblock`],
    /// [`Error::CorruptLog`], [`Error::CorruptPage`]; the disk's. The file is left untouched by the first four.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        path: &Path,
        options: StoreOptions,
    ) -> Result<Store> {
        let file = own(&disk, path, &options)?;
        let superblock = Superblock::read(&*file, path)?;
        let segments = Segments::new(
            disk.clone(),
            wal_dir(path),
            superblock.database,
            superblock.segment_bytes,
            options.durable,
        );
        segments.open(superblock.redo)?;
        let found = scan(&segments, &superblock)?;
        spill::remove_left_over(&*disk, path)?;
        if options.durable {
            // A life killed right after its rename in `create` left this to us.
            disk.sync_dir(dir_of(path)).map_err(|e| Error::io("sync", dir_of(path), &e))?;
        }
        segments.settle(found.at.end, superblock.clean_end.is_some())?;
        rewrite_tail(&segments, &found)?;
        let inner = build(clock, path, options, file, superblock, segments, found.at);
        let superblock = inner.checkpointing.lock().clone();
        // Before the replay, which may write behind the file's end and leave holes there: those are no room.
        let len = inner.file.len().map_err(|e| Error::io("read", path, &e))?;
        inner.replay(&superblock, found.at.end)?;
        inner.begin_life(len)?;
        Ok(Store { inner })
    }
}

/// Opens or makes the database and locks it.
fn own(disk: &Arc<dyn Disk>, path: &Path, options: &StoreOptions) -> Result<Arc<dyn DiskFile>> {
    for _ in 0..ATTEMPTS_MAX {
        let exists = disk.exists(path).map_err(|e| Error::io("open", path, &e))?;
        if !exists && !options.create {
            return Err(Error::io("open", path, &ErrorKind::NotFound.into()));
        }
        let file = if exists { open_and_lock(&**disk, path)? } else { create(disk, path, options)? };
        if let Some(file) = file {
            return Ok(file);
        }
    }
    // Whoever keeps replacing it is at work on it.
    Err(Error::InUse { path: path.into(), pid: None })
}

/// `None` if there is another file by now, or none.
pub(crate) fn open_and_lock(disk: &dyn Disk, path: &Path) -> Result<Option<Arc<dyn DiskFile>>> {
    let io = |e: std::io::Error| Error::io("open", path, &e);
    let file = match disk.open(path, OpenMode::Existing) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(io)?,
    };
    if file.links().map_err(io)? > 1 {
        return Err(Error::HardLinked { path: path.into() });
    }
    if !file.try_lock().map_err(io)? {
        return Err(Error::InUse { path: path.into(), pid: None });
    }
    Ok(file.is_at(path).map_err(io)?.then_some(file))
}

pub(crate) fn build(
    clock: Arc<dyn Clock>,
    path: &Path,
    options: StoreOptions,
    file: Arc<dyn DiskFile>,
    superblock: Superblock,
    segments: Segments,
    at: LogEnd,
) -> Arc<Inner> {
    let cache = Cache::new(options.cache_bytes);
    let state = cache.make_version(superblock.state.clone());
    state.in_file.store(true, Ordering::Release);
    cache.install(state, None);
    let applier = Applier { allocator: Allocator::default(), redo: superblock.redo, buffer: Vec::new() };
    Arc::new(Inner {
        path: path.into(),
        database: superblock.database,
        log: Log::new(segments, superblock.epoch + 1, at).timed_by(clock.clone()),
        clock,
        file,
        cache,
        readers: Readers::new(at.end),
        poison: OnceLock::new(),
        counters: Counters::default(),
        pages_seen: Mutex::new((applier.allocator.page_count(), applier.allocator.free_count())),
        applier: Mutex::new(applier),
        redo: AtomicU64::new(superblock.redo.0),
        checkpointing: Mutex::new(superblock),
        parked: Mutex::default(),
        syncing: Mutex::default(),
        visible_changed: Condvar::new(),
        threads: Threads::default(),
        last_checkpoint: Mutex::default(),
        checkpoint_progress: Progress::default(),
        closed: AtomicBool::new(false),
        options,
    })
}

impl Inner {
    /// After the replay: the free pages are known, all pages in use have their room in the file again, and the epoch is
    /// raised. A reservation lasts only from the file's next sync on, and the log's pages may be newer than that: a
    /// checkpoint that found no room for them would poison the database. `file_bytes` is what the file was found with.
    fn begin_life(self: &Arc<Self>, file_bytes: u64) -> Result<()> {
        let everything = Snapshot::new(self.clone(), self.readers.register_applied());
        let file_pages = u32::try_from(file_bytes / PAGE_BYTES as u64).unwrap_or(u32::MAX);
        let mut allocator = Allocator::load(&everything, everything.lsn(), file_pages)?;
        self.reserve_pages(&mut allocator, 0)?;
        self.applier.lock().allocator = allocator;
        let mut superblock = self.checkpointing.lock();
        if self.options.durable {
            superblock.write_again(&*self.file, &self.path)?;
        }
        superblock.epoch += 1;
        superblock.clean_end = None;
        superblock.write(&*self.file, &self.path, self.options.durable)
    }
}

/// Makes a database and leaves it locked; `None` if another process was faster.
fn create(disk: &Arc<dyn Disk>, path: &Path, options: &StoreOptions) -> Result<Option<Arc<dyn DiskFile>>> {
    let unfinished = beside(path, ".new");
    let io = |e: std::io::Error| Error::io("create", path, &e);
    let file = match disk.open(&unfinished, OpenMode::CreateNew) {
        // Left behind by a crash, or at work in another process: its lock tells.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => match disk.open(&unfinished, OpenMode::Existing) {
            // It was at work, and has given its file the name.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other,
        },
        other => other,
    }
    .map_err(io)?;
    if !file.try_lock().map_err(io)? {
        return Err(Error::InUse { path: path.into(), pid: None });
    }
    if !file.is_at(&unfinished).map_err(io)? {
        return Ok(None);
    }
    if disk.exists(path).map_err(io)? {
        // Another process was faster, between our look and our lock. This file is ours alone, and nobody needs it.
        disk.remove(&unfinished).map_err(io)?;
        return Ok(None);
    }
    file.set_len(0).map_err(io)?;
    match fill(disk, &*file, path, options) {
        Ok(()) => {}
        Err(error) => {
            let _ = disk.remove(&unfinished);
            return Err(if error.is_disk_full() {
                Error::DiskFull { what: "a new database" }
            } else {
                error
            });
        }
    }
    let sync_dir = || if options.durable { disk.sync_dir(dir_of(path)).map_err(io) } else { Ok(()) };
    // The log's directory has to be there for good before the name that needs it is.
    sync_dir()?;
    disk.rename(&unfinished, path).map_err(io)?;
    sync_dir()?;
    Ok(Some(file))
}

fn fill(disk: &Arc<dyn Disk>, file: &dyn DiskFile, path: &Path, options: &StoreOptions) -> Result<()> {
    // Zero stands for "no database" in messages.
    let database = DatabaseId(disk.draw().max(1));
    let dir = wal_dir(path);
    disk.create_dir(&dir).map_err(|e| Error::io("create", &dir, &e))?;
    let segment_bytes = (options.wal_bytes / SEGMENTS).max(SEGMENT_BYTES_MIN).next_multiple_of(4096);
    let segment_bytes = u32::try_from(segment_bytes).unwrap_or(1 << 31);
    let segments = Segments::new(disk.clone(), dir, database, segment_bytes, options.durable);
    // Whoever removed `PATH` may have left its log. The new name comes only after the sync of that directory.
    segments.remove_all()?;
    segments.prepare(Lsn(0), Lsn(1))?;
    let log = Log::new(segments, 1, LogEnd { end: Lsn(0), chain: 0 });
    log.append(GroupBuilder::new(Vec::new()), GroupKind::Checkpoint, None);
    log.flush()?;

    let mut bitmap = Page::new(FIRST_BITMAP, PageKind::Bitmap, database);
    for page in 0..=FIRST_BITMAP.0 {
        let (_, byte, mask) = bit_of(PageNo(page));
        bitmap.body_mut()[byte] |= mask;
    }
    let mut state = Page::new(STATE_PAGE, PageKind::State, database);
    let page_count = u64::from(FIRST_BITMAP.0 + 1);
    state.body_mut()[STATE_PAGE_COUNT * 8..][..8].copy_from_slice(&page_count.to_le_bytes());
    file.reserve(0, page_count * PAGE_BYTES as u64).map_err(|e| Error::io("create", path, &e))?;
    file.write_at(bitmap.seal(), FIRST_BITMAP.offset()).map_err(|e| Error::io("write", path, &e))?;
    let mut superblock = Superblock {
        database,
        segment_bytes,
        generation: 0,
        epoch: 1,
        redo: Lsn(0),
        redo_chain: 0,
        clean_end: None,
        state,
        copy: 1,
    };
    superblock.write(file, path, options.durable)
}
