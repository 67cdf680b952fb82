//! Opening a database to look at it, however damaged it is.
//!
//! The file is locked as by any owner, and no byte is changed: see `disk/read_only.rs`. Where an opening for use would
//! refuse, this one notes what is wrong and goes on with what is there.
//!
//! 1. Of the superblock one whole copy is needed.
//! 2. The log is replayed as far as its chain goes. What lies above a damaged place is lost: nothing tells what the
//!    changes in between were.
//! 3. A change that does not fit the page that it is for is left out.
//! 4. A log that the system does not let us read, or a place in it, may be sound: that is told apart from damage, and
//!    whoever looks has to say what it means to him. A bad place counts as zeros, and hides nothing but itself.
//! 5. If the log is damaged or cannot be read, pages in the file may be newer than what could be replayed. The snapshots
//!    of such a store show the newest of each page, though they were never there together.

use std::io::ErrorKind;
use std::path::Path;

use crate::clock::Clock;
use crate::disk::{Disk, ReadOnlyDisk};
use crate::open::{build, open_and_lock};
use crate::page::{Lsn, PageNo};
use crate::recovery::Redo;
use crate::store::{Inner, Store, StoreOptions};
use crate::superblock::Superblock;
use crate::sync::Arc;
use crate::wal::group::GroupKind;
use crate::wal::log::LogEnd;
use crate::wal::scan::{LogReader, read_as_far_as_it_goes, whole_groups_above};
use crate::wal::segments::Segments;
use crate::{Error, Result, wal_dir};

/// Problems of the log that are told one by one.
const PROBLEMS_MAX: usize = 100;
/// Newer than any version.
const NEWEST: Lsn = Lsn(u64::MAX >> 1);

/// A database that was opened to be looked at.
#[derive(Debug)]
pub struct Looked {
    /// Its pages. Nothing can be written.
    pub store: Store,
    /// What is wrong with its log.
    pub problems: Vec<LogProblem>,
    /// Why the log, or the first bad place in it, could not be looked at, if that says nothing about the database.
    pub log_unread: Option<Error>,
    /// Up to where the log was replayed.
    pub log_end: Lsn,
    /// Bytes of log that were replayed, in memory only.
    pub log_bytes: u64,
    /// Where the log is damaged, and where the last whole group ends that is lost for it.
    pub lost: Option<(Lsn, Lsn)>,
}

/// Something that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogProblem {
    /// The page that is concerned, if one is.
    pub page: Option<PageNo>,
    /// Where in the log, if that is known.
    pub lsn: Option<Lsn>,
    /// How.
    pub why: String,
}

impl LogProblem {
    fn new(page: Option<PageNo>, error: &Error, why: String) -> LogProblem {
        let lsn = if let Error::CorruptLog { lsn, .. } = error { Some(*lsn) } else { None };
        LogProblem { page, lsn, why }
    }
}

impl Store {
    /// Opens the database at `path` to look at it, without a change to any file.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::NotADatabase`], [`Error::FormatVersion`]; [`Error::CorruptSuperblock`] if no copy of it
    /// is whole; the disk's.
    pub fn look(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        path: &Path,
        cache_bytes: usize,
    ) -> Result<Looked> {
        let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk(disk));
        let in_use = || Error::InUse { path: path.into(), pid: None };
        let file = open_and_lock(&*disk, path)?.ok_or_else(in_use)?;
        // A copy that the disk does not give back is told by whoever looks at the pages.
        let (superblock, _) = Superblock::read_either(&*file, path)?;
        let (id, segment_bytes) = (superblock.database, superblock.segment_bytes);
        let segments = Segments::to_look_at(disk.clone(), wal_dir(path), id, segment_bytes);
        let (mut problems, mut log_unread) = (Vec::new(), None);
        let (at, lost) = match find_end(&segments, &superblock) {
            Ok((at, None)) => (at, None),
            Ok((at, Some((damage, lost)))) => {
                problems.push(damage);
                (at, lost)
            }
            Err(error) => {
                if is_of_database(&error) {
                    problems.push(LogProblem::new(None, &error, error.to_string()));
                } else {
                    log_unread = Some(error);
                }
                (LogEnd { end: superblock.redo, chain: superblock.redo_chain }, None)
            }
        };
        let log_unread = log_unread.or_else(|| segments.unread());
        let options = StoreOptions { cache_bytes, durable: false, ..StoreOptions::default() };
        let shown = if problems.is_empty() && log_unread.is_none() { at.end } else { NEWEST };
        let redo = superblock.redo;
        let end = LogEnd { end: shown, chain: at.chain };
        let inner = build(clock, path, options, file, superblock, segments, end);
        inner.log.segments.try_again();
        let replayed = inner.replay_what_fits(redo, at.end, &mut problems)?;
        // What could be read to find the end may be gone since.
        let log_unread = log_unread.or_else(|| inner.log.segments.unread());
        let (store, log_end) = (Store { inner }, replayed);
        Ok(Looked { store, problems, log_unread, log_end, log_bytes: log_end.0 - redo.0, lost })
    }
}

/// Whether an error at the log says that something is wrong with the database: it is damaged, or not there.
fn is_of_database(error: &Error) -> bool {
    match error {
        Error::CorruptLog { .. } => true,
        Error::Io { kind, .. } => *kind == ErrorKind::NotFound,
        _ => false,
    }
}

type Damage = (LogProblem, Option<(Lsn, Lsn)>);

/// Where the log ends or is damaged, and how.
fn find_end(segments: &Segments, superblock: &Superblock) -> Result<(LogEnd, Option<Damage>)> {
    let of_files = segments.find(superblock.redo)?;
    segments.try_again();
    let (found, of_chain) = read_as_far_as_it_goes(segments, superblock)?;
    if of_chain.is_none() && of_files.is_none() {
        return Ok((found.at, None));
    }
    let bad = found.at.end;
    // With nothing more behind it the chain ends for what is wrong with the files, as an opening would say.
    let above = whole_groups_above(segments, bad)?;
    let error = if above.is_some() { of_chain.or(of_files) } else { of_files.or(of_chain) };
    let Some(error) = error else { return Ok((found.at, None)) };
    let Some((groups, end)) = above else {
        return Ok((found.at, Some((LogProblem::new(None, &error, error.to_string()), None))));
    };
    let why = format!("{error}. The commits of {groups} whole groups above it, up to {end}, are lost");
    Ok((found.at, Some((LogProblem::new(None, &error, why), Some((bad, end))))))
}

fn left_out((page, error): (PageNo, Error)) -> LogProblem {
    LogProblem::new(Some(page), &error, format!("a change in the log is left out: {error}"))
}

fn note(problems: &mut Vec<LogProblem>, more: impl IntoIterator<Item = LogProblem>) {
    let room = PROBLEMS_MAX.saturating_sub(problems.len());
    problems.extend(more.into_iter().take(room));
}

impl Inner {
    /// As [`Inner::replay`], and leaves out what does not fit. Returns how far it came.
    fn replay_what_fits(&self, from: Lsn, end: Lsn, problems: &mut Vec<LogProblem>) -> Result<Lsn> {
        let mut reader = LogReader::new(&self.log.segments);
        // What a whole log does is newer than the file.
        let is_whole = self.readers.applied() != NEWEST;
        let mut redo = if is_whole { Redo::new(self) } else { Redo::of_damaged_log(self, end) };
        let mut at = from;
        while at < end {
            let Some((header, records)) = reader.group(at)? else { break };
            at = header.end();
            if header.kind == GroupKind::Commit && !redo.take(records, at) {
                let why =
                    "is whole, but a record in it contradicts itself: it and what follows in it are left out";
                let why = format!("the log's group that ends at {at} {why}");
                note(problems, [LogProblem { page: None, lsn: Some(at), why }]);
            }
            if redo.is_full() {
                note(problems, redo.run()?.into_iter().map(left_out));
            }
        }
        note(problems, redo.run()?.into_iter().map(left_out));
        redo.end();
        Ok(at)
    }
}
