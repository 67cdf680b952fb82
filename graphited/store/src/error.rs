//! What can go wrong below the graph, in one enum.

use std::io;
use std::path::PathBuf;

use crate::page::{CorruptPage, Lsn, PageNo};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the store. Cloneable, because a poisoned database gives its first error to everyone.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused.
    #[error("{doing} {path}: {message}", path = path.display())]
    Io {
        /// What was being done: "read", "write", "sync", "open", ...
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The kind of the system's error.
        kind: io::ErrorKind,
        /// The system's own words.
        message: String,
    },
    /// There is no room for a change; nothing was changed.
    #[error(
        "no space left for {what}; nothing was changed. Free some space on the disk, or raise the limit of what may be used of it, and try again"
    )]
    DiskFull {
        /// What needed the room: "the database file", "the log".
        what: &'static str,
    },
    /// A page's bytes cannot be trusted.
    #[error("{page} is damaged: {why}. `graphite check` looks at the whole file")]
    CorruptPage {
        /// Which page.
        page: PageNo,
        /// How that was seen.
        why: CorruptPage,
    },
    /// The log is damaged below what it had itself marked as durable.
    #[error("the log is damaged at {lsn}: {why}")]
    CorruptLog {
        /// Where.
        lsn: Lsn,
        /// How that was seen.
        why: String,
    },
    /// Both superblock copies are unusable, or contradict the log.
    #[error("the superblock of {path} is damaged: {why}", path = path.display())]
    CorruptSuperblock {
        /// The database file.
        path: PathBuf,
        /// How that was seen.
        why: String,
    },
    /// The file is something else.
    #[error("{path} is not a Graphite database: expected {expected}, found {found}. It was left untouched", path = path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What a database starts with.
        expected: String,
        /// What this one starts with.
        found: String,
    },
    /// The file was written by another version of the format.
    #[error("{path} has format version {found}, and this program reads version {expected}. It was left untouched", path = path.display())]
    FormatVersion {
        /// The file.
        path: PathBuf,
        /// Read from the file.
        found: u32,
        /// Of this program.
        expected: u32,
    },
    /// Another process owns the file.
    #[error("{path} is in use by process {pid}", path = path.display(), pid = pid.map_or("(unknown)".to_owned(), |p| p.to_string()))]
    InUse {
        /// The file.
        path: PathBuf,
        /// Who owns it, if it could be told.
        pid: Option<u32>,
    },
    /// The file has more than one name, so a second owner could come by another one and find another log.
    #[error("{path} has hard links, so its log cannot be found for certain. Copy it, or remove the other names", path = path.display())]
    HardLinked {
        /// The file.
        path: PathBuf,
    },
    /// A change is larger than one log group may be.
    #[error("the transaction would write {bytes} bytes to the log, and the limit is {max}; split it")]
    TooLarge {
        /// Worst case of what it would write.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A key or value is longer than a B+tree takes.
    #[error("a {what} of {bytes} bytes is longer than an index takes, which is {max}")]
    EntryTooLarge {
        /// "key" or "value".
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Entries to build a B+tree from were not in order.
    #[error("the entries to build an index from are not in strictly rising order of their keys")]
    NotAscending,
    /// A write or sync failed earlier: the database is read-only until it is opened anew.
    #[error(
        "the database is read-only since an earlier failure ({first}); restart the daemon once that is mended"
    )]
    Poisoned {
        /// The words of that failure.
        first: String,
    },
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
    /// A page is not in memory, and the reader must not wait for a disk.
    #[error("a page is not in memory")]
    NotCached,
    /// The snapshot held old versions for so long that they were dropped.
    #[error(
        "the snapshot is too old: what it reads was dropped to stay within the memory limit. Begin a new one"
    )]
    SnapshotTooOld,
}

impl Error {
    /// An [`Error::Io`] from the system's error; a full disk becomes [`Error::DiskFull`].
    pub fn io(doing: &'static str, path: impl Into<PathBuf>, error: &io::Error) -> Error {
        Error::Io { doing, path: path.into(), kind: error.kind(), message: error.to_string() }
    }

    /// Whether the error is the disk saying that it is full, or the system that the user or the process may have no
    /// more of it.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Error::DiskFull { .. })
            || matches!(
                self,
                Error::Io {
                    kind: io::ErrorKind::StorageFull
                        | io::ErrorKind::QuotaExceeded
                        | io::ErrorKind::FileTooLarge,
                    ..
                }
            )
    }

    /// A damaged page body.
    pub fn body(page: PageNo, why: &'static str) -> Error {
        Error::CorruptPage { page, why: CorruptPage::Body(why) }
    }
}
