//! The check of a whole database: reads every page, walks everything that is reachable, and reports every contradiction.
//!
//! What is proved: every page in use has the bytes that were written there; every table slot can be read; labels, types
//! and keys have names; every property record and every adjacency belongs to the one that points at it and is sound, and
//! none is there that nobody points at; each edge is in the adjacency of both its ends and each entry is an edge; degrees
//! and counters are right; and each page has one owner or is free.
//!
//! Invariant: only what contradicts something, or a page that the disk does not give back, is a problem. A snapshot that
//! is too old, and a disk that shows neither copy of the superblock, or not all of the log, prove nothing, so they end the
//! check with their error.

mod mirror;
mod pages;
mod report;
mod walk;

use std::cell::Cell;
use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use graphite_store::clock::Clock;
use graphite_store::disk::Disk;
use graphite_store::{PageNo, PageReader, PageUse, Snapshot, Store, Sweep, SweptFile};

use self::report::Hidden;
pub use self::report::{CheckReport, PROBLEMS_MAX, Place, Problem};
use self::walk::Walk;
use crate::catalog::Catalog;
use crate::{Error, GRAPH_FORMAT, Result, edges, nodes, state};

/// Steps between two calls of whoever wants to know how far it is.
const STEPS_TOLD: u64 = 256;
/// The bytes of fewer pages than this are not worth a thread beside the walk.
const PAGES_ALONE_MAX: u32 = 1024;

/// Whom to tell how far it is, in pages done and to do; those of the tables count twice.
pub struct Progress<'a> {
    tell: &'a dyn Fn(u64, u64),
    /// Also counted up by who must not tell.
    done: AtomicU64,
    total: Cell<u64>,
}

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.done.load(Ordering::Relaxed), self.total.get())
    }
}

impl<'a> Progress<'a> {
    /// Tells `tell`, from time to time.
    pub fn new(tell: &'a dyn Fn(u64, u64)) -> Progress<'a> {
        Progress { tell, done: AtomicU64::new(0), total: Cell::new(0) }
    }

    /// How much there is to do.
    pub(crate) fn set_total(&self, total: u64) {
        self.total.set(total);
    }

    pub(crate) fn step(&self, steps: u64) {
        let before = self.done.fetch_add(steps, Ordering::Relaxed);
        let done = before + steps;
        if before / STEPS_TOLD != done / STEPS_TOLD {
            (self.tell)(done, self.total.get().max(done));
        }
    }
}

/// Pages that cannot be read any more once `stop` is raised, so that a walk of whatever part ends soon.
struct Until<'a, R> {
    r: &'a R,
    stop: &'a AtomicBool,
}

impl<R: PageReader> PageReader for Until<'_, R> {
    type Ref<'b>
        = R::Ref<'b>
    where
        Self: 'b;

    fn page(&self, number: PageNo) -> graphite_store::Result<R::Ref<'_>> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(graphite_store::Error::Closed);
        }
        self.r.page(number)
    }
}

/// Checks the database that `pages` are of, until somebody raises `stop`.
///
/// # Errors
/// `Interrupted`, if somebody did. What kept it from looking at everything, as a snapshot that is too old.
pub fn check(
    pages: &Snapshot,
    catalog: &Catalog,
    stop: &AtomicBool,
    progress: &Progress<'_>,
) -> Result<CheckReport> {
    let started = Instant::now();
    let sweep = Sweep::new(pages);
    let report = look(&sweep, catalog, stop, progress);
    // What is amiss may be that nothing could be read any more.
    if stop.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let mut report = report?;
    report.bytes_read += sweep.bytes_read();
    report.took = started.elapsed();
    Ok(report)
}

/// Checks the database at `path`, which nobody has open, without a change to any file. The log is replayed in memory.
///
/// # Errors
/// As [`check`], and of `Store::look`.
pub fn check_file(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    path: &Path,
    cache_bytes: usize,
    progress: &Progress<'_>,
) -> Result<FileReport> {
    let looked = Store::look(disk, clock, path, cache_bytes)?;
    if let Some(error) = looked.log_unread {
        return Err(error.into());
    }
    let snapshot = looked.store.snapshot()?;
    is_known_format(&looked.store, &snapshot)?;
    // What cannot be read of it is a problem that the walk meets again.
    let (catalog, _) = Catalog::load_readable(&Sweep::new(&snapshot));
    let mut found = check(&snapshot, &catalog, &AtomicBool::new(false), progress)?;
    let of_log = looked.problems.into_iter().map(Problem::of_log);
    let of_pages = std::mem::take(&mut found.problems);
    of_log.chain(of_pages).for_each(|problem| found.add(problem));
    Ok(FileReport { found, log_bytes: looked.log_bytes })
}

/// What a check of a file found that nobody has open.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// As of any check.
    pub found: CheckReport,
    /// Bytes of log that were replayed in memory.
    pub log_bytes: u64,
}

/// Refuses a graph of another layout. Without one, nothing was written yet.
pub(crate) fn is_known_format(store: &Store, pages: &impl PageReader) -> Result<()> {
    let found = pages.state(state::GRAPH_FORMAT)?;
    if found == 0 || found == GRAPH_FORMAT {
        return Ok(());
    }
    let (found, expected) = (u32::try_from(found).unwrap_or(u32::MAX), GRAPH_FORMAT as u32);
    Err(graphite_store::Error::FormatVersion { path: store.path().to_owned(), found, expected }.into())
}

fn look(
    sweep: &Sweep<'_>,
    catalog: &Catalog,
    stop: &AtomicBool,
    progress: &Progress<'_>,
) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    sweep.superblocks(&mut |page, why| report.add(Problem::of_page(page, why)));
    let mut hidden = Hidden::default();
    let use_ = sweep.page_use(&mut |error| {
        let error = error.into();
        if !hidden.note(&error) {
            report.add(Problem::of_error("", &error));
        }
    })?;
    report.pages_total = u64::from(use_.count());
    report.pages_used = use_.used();
    progress.set_total(report.pages_used + nodes::node_pages(sweep)? + edges::edge_pages(sweep)?);
    let until = Until { r: sweep, stop };
    let mut walk = Walk::new(&until, catalog, use_.count(), progress);
    let (file, use_pages, done) = (sweep.file(), &use_, &progress.done);
    let bytes = move || look_at_bytes(file, use_pages, stop, done);
    let (of_bytes, bytes_read) = side_by_side(use_.count() > PAGES_ALONE_MAX, bytes, || {
        walk.frame();
        walk.graph();
    })?;
    report.bytes_read = bytes_read;
    if let Some(error) = walk.stopped {
        return Err(error);
    }
    let without_owner = walk.owners.compare(&use_, walk.all_met, &mut walk.report);
    walk.say_what_is_hidden(without_owner);
    hidden.append(of_bytes);
    hidden.append(std::mem::take(&mut walk.hidden));
    // What is amiss so far is what the disk did not give back, or gave back changed.
    if !hidden.is_empty() || !report.is_sound() {
        sweep.disk_answers()?;
    }
    hidden.tell(&mut report);
    let found = std::mem::take(&mut walk.report);
    report.nodes = found.nodes;
    report.edges = found.edges;
    report.property_records = found.property_records;
    report.adjacency_entries = found.adjacency_entries;
    report.append(found);
    report.pages = walk.owners.pages();
    Ok(report)
}

/// Runs both, if it is worth it at a time; returns what the first one does.
fn side_by_side<T: Send>(
    is_worth_a_thread: bool,
    one: impl Fn() -> T + Send + Copy,
    other: impl FnOnce(),
) -> T {
    if !is_worth_a_thread {
        let result = one();
        other();
        return result;
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("check".to_owned()).spawn_scoped(scope, one);
        other();
        match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // The system has no thread to give.
            Err(_) => one(),
        }
    })
}

/// The pages that have not the bytes that were written there, and how many bytes were read for it.
fn look_at_bytes(
    file: SweptFile<'_>,
    use_: &PageUse,
    stop: &AtomicBool,
    done: &AtomicU64,
) -> Result<(Hidden, u64)> {
    let mut hidden = Hidden::default();
    let bytes_read = file.each_page(use_, |page, found| {
        done.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = found {
            hidden.note(&graphite_store::Error::CorruptPage { page, why }.into());
        }
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok((hidden, bytes_read))
}
