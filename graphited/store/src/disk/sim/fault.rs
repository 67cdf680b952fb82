//! What a test may ask of a simulated disk, and what the disk tells it: faults, crash points, trace, counters.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The words of the error that every call gives once the simulated process or machine is dead.
pub const SIMULATED_CRASH: &str = "simulated crash";

/// Number of operations that a disk remembers for [`super::SimDisk::trace`]; older ones are forgotten.
pub(super) const TRACE_OPERATIONS_MAX: usize = 1 << 16;

/// The kinds of operation. All but `Read` and `Look` change the disk and are counted as crash points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpKind {
    /// `DiskFile::read_at`; never a crash point, never in the trace.
    Read,
    /// What else is asked and changes nothing: `Disk::open` of a file that is there, `Disk::list`, `Disk::exists`,
    /// `DiskFile::len`, `try_lock`, `links` and `is_at`; never a crash point, never in the trace.
    Look,
    /// `DiskFile::write_at`.
    Write,
    /// `DiskFile::sync`.
    Sync,
    /// `DiskFile::set_len`.
    SetLen,
    /// `DiskFile::reserve`.
    Reserve,
    /// `Disk::open` of a new file.
    Create,
    /// `Disk::create_dir` of a directory that was not there.
    CreateDir,
    /// `Disk::rename`.
    Rename,
    /// `Disk::remove`.
    Remove,
    /// `Disk::sync_dir`.
    SyncDir,
}

/// One operation that changed the disk, or was about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its number in this life of the disk, from 0.
    pub index: u64,
    /// What was done.
    pub kind: OpKind,
    /// To what. Of a rename, the old name; of an open file, the name that it was opened by.
    pub path: Arc<Path>,
    /// Where in the file; 0 if that means nothing.
    pub offset: u64,
    /// How many bytes; of `SetLen`, the new length; 0 if that means nothing.
    pub len: u64,
}

/// Whether the operation at which the disk dies still happens. Its caller gets an error in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastOp {
    /// It is done, and only the answer is lost. A write is in the cache then, as unsynced as any other.
    Applied,
    /// It never happens.
    NotApplied,
}

/// An error for some operation to come: which one, which error, how often.
///
/// The operation is not done, but that of a write within the file some sectors may be there all the same: which, hangs on
/// the number of the operation. A failed sync also drops what was dirty, as Linux does: reads go on seeing it, but
/// no later sync makes it durable, and a power cut treats it as unsynced. A failed `sync_dir` likewise drops
/// names.
#[derive(Clone, Debug)]
pub struct Fault {
    on: Option<OpKind>,
    path: Option<PathBuf>,
    bytes: Option<Range<u64>>,
    skip: u64,
    forever: bool,
    error: io::ErrorKind,
}

impl Fault {
    /// The next operation of this kind fails, once, with an error of kind `Other`.
    pub fn on(kind: OpKind) -> Fault {
        Fault {
            on: Some(kind),
            path: None,
            bytes: None,
            skip: 0,
            forever: false,
            error: io::ErrorKind::Other,
        }
    }

    /// The next operation of any kind but `Read` and `Look` fails, once, with an error of kind `Other`.
    pub fn on_any_change() -> Fault {
        Fault { on: None, ..Fault::on(OpKind::Write) }
    }

    /// Only operations on this path count (for an open file, the name that it was opened by).
    #[must_use]
    pub fn at_path(self, path: impl Into<PathBuf>) -> Fault {
        Fault { path: Some(path.into()), ..self }
    }

    /// Only operations that concern some of these bytes of a file count.
    #[must_use]
    pub fn within(self, bytes: Range<u64>) -> Fault {
        Fault { bytes: Some(bytes), ..self }
    }

    /// Lets so many fitting operations pass first.
    #[must_use]
    pub fn after(self, operations: u64) -> Fault {
        Fault { skip: operations, ..self }
    }

    /// Every fitting operation from there on fails, and not only one.
    #[must_use]
    pub fn forever(self) -> Fault {
        Fault { forever: true, ..self }
    }

    /// The error's kind.
    #[must_use]
    pub fn with(self, error: io::ErrorKind) -> Fault {
        Fault { error, ..self }
    }

    fn fits(&self, kind: OpKind, path: &Path, bytes: &Range<u64>) -> bool {
        let changes = !matches!(kind, OpKind::Read | OpKind::Look);
        let kind_fits = self.on.map_or(changes, |on| on == kind);
        let overlaps = |only: &Range<u64>| only.start < bytes.end && bytes.start < only.end;
        kind_fits
            && self.path.as_ref().is_none_or(|only| only == path)
            && self.bytes.as_ref().is_none_or(overlaps)
    }
}

/// The faults that have yet to strike.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn inject(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts an operation against all faults, and gives the error of the first that it strikes.
    pub(super) fn strike(&mut self, kind: OpKind, path: &Path, offset: u64, len: u64) -> Option<io::Error> {
        let bytes = offset..offset.saturating_add(len);
        let mut error = None;
        self.0.retain_mut(|fault| {
            if !fault.fits(kind, path, &bytes) {
                return true;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return true;
            }
            error.get_or_insert(fault.error);
            fault.forever
        });
        error.map(|kind| io::Error::new(kind, "injected fault"))
    }
}

/// What was asked of a disk in this life, whether it succeeded or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of `read_at`.
    pub reads: u64,
    /// What counts as [`OpKind::Look`].
    pub looks: u64,
    /// Calls of `write_at`.
    pub writes: u64,
    /// Calls of `sync`.
    pub syncs: u64,
    /// Calls of `sync_dir`.
    pub sync_dirs: u64,
    /// Bytes given to `write_at`.
    pub bytes_written: u64,
}

impl Counters {
    pub(super) fn count(&mut self, kind: OpKind, len: u64) {
        match kind {
            OpKind::Read => self.reads += 1,
            OpKind::Look => self.looks += 1,
            OpKind::Write => {
                self.writes += 1;
                self.bytes_written += len;
            }
            OpKind::Sync => self.syncs += 1,
            OpKind::SyncDir => self.sync_dirs += 1,
            _ => {}
        }
    }
}

pub(super) fn crashed() -> io::Error {
    io::Error::other(SIMULATED_CRASH)
}
