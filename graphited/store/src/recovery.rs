//! Redo: what a life begins with.
//!
//! The scan has told where the log ends. Then, in this order:
//! 1. The names of the file and of the log's segments are synced, and the segments: a killed life may have left them in
//!    the system's cache only, and a commit of this life would count as durable in a file whose name is not. For the
//!    same reason the tail above the log's last mark is written anew and synced: what readers are shown next must
//!    survive a power cut. Segments that hold nothing yet are made anew when they are needed, unless the life before
//!    ended in order: a sync of theirs may have failed.
//! 2. All groups from the redo point on are replayed into the cache. Images are laid down whatever was there, for a
//!    page in the file may be torn or newer; a delta has to find exactly the version that it builds on.
//! 3. The epoch is raised in both superblock copies. Only then is anything appended.
//!
//! The crash argument: nothing is appended and no log byte changes its value before step 3 is done, and pages that
//! step 2 writes back (when they do not fit the cache) are laid down anew by their images next time. So a crash here
//! at any point leaves a recovery that does the same again.

use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::cache::{PageVersion, VERSION_BYTES};
use crate::checkpoint::Pace;
use crate::page::{Lsn, Page, PageKind, PageNo};
use crate::store::Inner;
use crate::superblock::Superblock;
use crate::sync::{Arc, Mutex};
use crate::wal::delta;
use crate::wal::group::{GroupKind, Record, next_record};
use crate::wal::scan::{LogReader, Scan};
use crate::wal::segments::Segments;
use crate::{Error, Result};

/// Records are replayed when so many bytes of them were taken, or a quarter of the cache, in which they are counted; or so
/// many of them.
const BATCH_BYTES_MAX: usize = 8 << 20;
const BATCH_RECORDS: usize = 1 << 17;
/// Fewer pages than this are not worth a thread.
const TASKS_ALONE_MAX: usize = 256;
const THREADS_MAX: usize = 8;
/// Pages that are changed between two looks at the room in the cache; else it is a quarter of the cache.
const PORTION_PAGES_MIN: usize = 64;
/// Bytes of the tail rewritten at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Step 1.
pub(crate) fn rewrite_tail(segments: &Segments, scan: &Scan) -> Result<()> {
    let left_at =
        |at: Lsn| usize::try_from(scan.at.end.0.saturating_sub(at.0)).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
    let mut buffer = vec![0; left_at(scan.marked)];
    let mut at = scan.marked;
    while at < scan.at.end {
        let len = left_at(at);
        let got = segments.read(at, &mut buffer[..len])?;
        assert_eq!(got, len, "the scan has read this");
        segments.write(at, &buffer[..len])?;
        at = Lsn(at.0 + len as u64);
    }
    segments.sync(scan.marked, scan.at.end)
}

impl Inner {
    /// Step 2. Runs before anybody else can see the store.
    pub(crate) fn replay(&self, superblock: &Superblock, end: Lsn) -> Result<()> {
        let mut reader = LogReader::new(&self.log.segments);
        let mut redo = Redo::new(self);
        let mut at = superblock.redo;
        while at < end {
            let Some((header, records)) = reader.group(at)? else {
                return Err(corrupt(at, "it changed while it was read"));
            };
            let lsn = header.end();
            if header.kind == GroupKind::Commit && !redo.take(records, lsn) {
                return Err(corrupt(at, "its group is whole, but a record in it contradicts itself"));
            }
            at = lsn;
            if redo.is_full() || at >= end {
                redo.run()?.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))?;
            }
        }
        redo.end();
        Ok(())
    }
}

/// A record that waits for its turn.
struct Waiting {
    page: PageNo,
    kind: PageKind,
    base: Option<Lsn>,
    lsn: Lsn,
    /// Where its ranges are among the bytes that were taken.
    ranges: Range<usize>,
}

/// What a batch does to one page.
struct Task<'a> {
    page: PageNo,
    version: Option<Arc<PageVersion>>,
    /// Whether there was an image of it.
    is_imaged: bool,
    /// Which of the records that wait, in the order of the log; each below its page's number.
    records: &'a [u64],
    failures: Vec<Error>,
}

/// Replays records in batches, each page by page: so a page comes to the processor once for a batch, several threads may
/// share the work, and pages are changed where they are, without a copy. Meanwhile they are taken out of the cache.
pub(crate) struct Redo<'a> {
    inner: &'a Inner,
    /// Nobody else holds them.
    pages: FxHashMap<PageNo, Arc<PageVersion>>,
    /// Pages of which there was an image.
    imaged: FxHashSet<PageNo>,
    /// Up to where a log that is damaged can be replayed: what the file holds of a page may be newer.
    readable_to: Option<Lsn>,
    /// Pages that are left as they are in the file, which is newer.
    left_alone: FxHashSet<PageNo>,
    bytes: Vec<u8>,
    waiting: Vec<Waiting>,
}

impl<'a> Redo<'a> {
    pub(crate) fn new(inner: &'a Inner) -> Redo<'a> {
        Redo {
            inner,
            pages: FxHashMap::default(),
            imaged: FxHashSet::default(),
            readable_to: None,
            left_alone: FxHashSet::default(),
            bytes: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// As [`Redo::new`], of a log that cannot be read past `end`: of each page the newest counts, in the log or in the file.
    pub(crate) fn of_damaged_log(inner: &'a Inner, end: Lsn) -> Redo<'a> {
        Redo { readable_to: Some(end), ..Redo::new(inner) }
    }

    /// Takes the records of a group; `false` if one contradicts itself, and it and what follows are left out.
    pub(crate) fn take(&mut self, mut records: &[u8], lsn: Lsn) -> bool {
        self.bytes.reserve_exact(records.len());
        while !records.is_empty() {
            let Some((Record { page, kind, base, ranges }, rest)) = next_record(records) else {
                return false;
            };
            let start = self.bytes.len();
            self.bytes.extend_from_slice(ranges);
            self.waiting.push(Waiting { page, kind, base, lsn, ranges: start..self.bytes.len() });
            records = rest;
        }
        true
    }

    fn batch_bytes(&self) -> usize {
        BATCH_BYTES_MAX.min(self.inner.cache.bytes_max() / 4)
    }

    /// Whether it is time to run what was taken.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() > self.batch_bytes() || self.waiting.len() > BATCH_RECORDS
    }

    /// Runs what was taken, in portions that leave room in the cache. What does not fit changes nothing and is told, with its
    /// page, in the order of the log. Pages that do not fit the cache are written back.
    ///
    /// # Errors
    /// Of the writes.
    pub(crate) fn run(&mut self) -> Result<Vec<(PageNo, Error)>> {
        let (mut waiting, mut bytes) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.bytes));
        let by_page = |(at, record): (usize, &Waiting)| (u64::from(record.page.0) << 32) | at as u64;
        let mut order: Vec<u64> = waiting.iter().enumerate().map(by_page).collect();
        order.sort_unstable();
        let mut of_pages = order.chunk_by(|one, next| one >> 32 == next >> 32).peekable();
        let portion = (self.inner.cache.bytes_max() / VERSION_BYTES / 4).max(PORTION_PAGES_MIN);
        let _counted = self.inner.cache.reserve(bytes.len());
        let mut failures = Vec::new();
        while of_pages.peek().is_some() {
            let mut tasks: Vec<Task<'_>> =
                of_pages.by_ref().take(portion).map(|records| self.task(&waiting, records)).collect();
            run_all(&mut tasks, self.inner, &waiting, &bytes);
            for task in tasks {
                failures.extend(task.failures.into_iter().map(|error| (task.page, error)));
                if task.is_imaged {
                    self.imaged.insert(task.page);
                }
                task.version.map(|version| self.pages.insert(task.page, version));
            }
            self.make_room()?;
        }
        failures
            .sort_by_key(|(_, error)| if let Error::CorruptLog { lsn, .. } = error { *lsn } else { Lsn(0) });
        waiting.clear();
        bytes.clear();
        bytes.shrink_to(self.batch_bytes());
        (self.waiting, self.bytes) = (waiting, bytes);
        Ok(failures)
    }

    fn task<'w>(&mut self, waiting: &[Waiting], records: &'w [u64]) -> Task<'w> {
        let first = &waiting[place(records[0])];
        let page = first.page;
        let mut task = Task {
            page,
            version: self.pages.remove(&page),
            is_imaged: self.imaged.contains(&page),
            records,
            failures: Vec::new(),
        };
        if task.version.is_some() {
            return task;
        }
        if self.is_left_alone(first) {
            task.records = &[];
            return task;
        }
        // An image is laid down whatever was there.
        if task.is_imaged && first.base.is_some() {
            match self.inner.newest(page) {
                // Held, for a full cache may have let it go again already.
                Ok(found) => task.version = Some(found.version().clone()),
                Err(error) => task.failures.push(error),
            }
        }
        let in_cell = self.inner.cache.take_out(page);
        task.version = task.version.or(in_cell);
        task
    }

    /// Asked at a page's first image, when nothing of the replay has been written over what the file holds.
    fn is_left_alone(&mut self, first: &Waiting) -> bool {
        let Some(end) = self.readable_to else { return false };
        let page = first.page;
        if first.base.is_none()
            && !self.imaged.contains(&page)
            && self.inner.read_page(page).is_ok_and(|in_file| in_file.lsn() > end)
        {
            self.left_alone.insert(page);
        }
        self.left_alone.contains(&page)
    }

    fn make_room(&mut self) -> Result<()> {
        let cache = &self.inner.cache;
        if cache.resident_bytes() <= cache.bytes_max() {
            return Ok(());
        }
        cache.put_back(std::mem::take(&mut self.pages));
        self.inner.write_back(Pace::Fast)?;
        cache.evict_all_that_can_go();
        Ok(())
    }

    /// Everything was run: gives the pages back.
    pub(crate) fn end(self) {
        debug_assert!(self.waiting.is_empty());
        self.inner.cache.put_back(self.pages);
    }
}

impl Task<'_> {
    fn run(&mut self, inner: &Inner, waiting: &[Waiting], bytes: &[u8]) {
        for record in self.records.iter().map(|record| &waiting[place(*record)]) {
            if let Err(error) = self.redo(inner, record, &bytes[record.ranges.clone()]) {
                self.failures.push(error);
            }
        }
    }

    /// Lays an image down, or changes the page that it builds on.
    fn redo(&mut self, inner: &Inner, record: &Waiting, ranges: &[u8]) -> Result<()> {
        let &Waiting { page: number, kind, base, lsn, .. } = record;
        let redo = |page: &mut Page| -> Result<()> {
            let outside = || corrupt(lsn, format!("it changes bytes outside of {number}"));
            delta::apply(ranges, page.body_mut()).ok_or_else(outside)?;
            page.set_kind(kind);
            page.set_lsn(lsn);
            Ok(())
        };
        let Some(base) = base else {
            let mut page = Page::new(number, kind, inner.database);
            redo(&mut page)?;
            self.is_imaged = true;
            self.version = Some(inner.cache.make_version(page));
            return Ok(());
        };
        if !self.is_imaged {
            return Err(corrupt(lsn, format!("it changes {number} of which it has no image")));
        }
        let Some(version) = &mut self.version else {
            assert!(!self.failures.is_empty(), "a page that could not be read was told");
            return Ok(());
        };
        if version.lsn != base {
            let found = version.lsn;
            return Err(corrupt(
                lsn,
                format!("it changes {number} as of {base}, and that page is as of {found}"),
            ));
        }
        let version = Arc::get_mut(version).expect("nobody else looks at pages yet");
        redo(&mut version.page)?;
        version.lsn = lsn;
        *version.in_file.get_mut() = false;
        Ok(())
    }
}

/// The place of a record that is known by page and place.
fn place(record: u64) -> usize {
    record as u32 as usize
}

/// Runs tasks on as many threads as there are processors, or as the system gives.
fn run_all(tasks: &mut [Task<'_>], inner: &Inner, waiting: &[Waiting], bytes: &[u8]) {
    let threads = if tasks.len() < TASKS_ALONE_MAX { 1 } else { threads() };
    if threads == 1 {
        return tasks.iter_mut().for_each(|task| task.run(inner, waiting, bytes));
    }
    let queue = Mutex::new(tasks.iter_mut());
    let work = || {
        loop {
            let Some(task) = queue.lock().next() else { break };
            task.run(inner, waiting, bytes);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // One that cannot be had leaves its work to the others.
            let _helper = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}

/// How many threads replay. Under the model checker there is one, for it knows no others.
fn threads() -> usize {
    if cfg!(shuttle) {
        1
    } else {
        std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
    }
}

fn corrupt(lsn: Lsn, why: impl Into<String>) -> Error {
    Error::CorruptLog { lsn, why: why.into() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::clock::SimClock;
    use crate::disk::{Fault, OpKind, SimDisk};
    use crate::page::PageKind;
    use crate::sync::Arc;
    use crate::{Store, StoreOptions};

    const PAGE: PageNo = PageNo(7);
    /// No range of a page.
    const NOTHING: &[u8] = &[0, 0];

    fn store() -> Store {
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let disk = Arc::new(SimDisk::new());
        Store::open(disk, Arc::new(SimClock::default()), Path::new("/db"), options).unwrap()
    }

    /// Runs one record that changes nothing; returns why it does not fit.
    fn redone(redo: &mut Redo<'_>, base: Option<Lsn>, lsn: Lsn) -> Option<String> {
        redo.bytes.extend_from_slice(NOTHING);
        redo.waiting.push(Waiting {
            page: PAGE,
            kind: PageKind::Record,
            base,
            lsn,
            ranges: 0..NOTHING.len(),
        });
        let why = |failures: Vec<(PageNo, Error)>| match failures.into_iter().next() {
            Some((PAGE, Error::CorruptLog { why, .. })) => Some(why),
            None => None,
            other => panic!("{other:?}"),
        };
        why(redo.run().unwrap())
    }

    /// The page in the file may be torn, so nothing is built on it.
    #[test]
    fn a_delta_to_a_page_without_an_image_is_damage() {
        let store = store();
        let mut redo = Redo::new(&store.inner);
        assert_eq!(redone(&mut redo, None, Lsn(800)), None);
        assert_eq!(redone(&mut redo, Some(Lsn(800)), Lsn(808)), None);
        redo.imaged.clear();
        let why = redone(&mut redo, Some(Lsn(808)), Lsn(816));
        assert!(why.is_some_and(|why| why.contains("no image")));
    }

    #[test]
    fn a_delta_to_another_version_than_is_there_is_damage() {
        let store = store();
        let mut redo = Redo::new(&store.inner);
        assert_eq!(redone(&mut redo, None, Lsn(800)), None);
        for other in [Lsn(792), Lsn(808)] {
            let why = redone(&mut redo, Some(other), Lsn(816));
            assert!(why.is_some_and(|why| why.contains("as of")));
        }
    }

    /// Else the batch of a log of a few large pages would take as many gigabytes as it has pages.
    #[test]
    fn a_batch_of_more_pages_than_the_cache_has_room_for_is_run_in_portions() {
        let options = StoreOptions { create: true, cache_bytes: 1 << 20, ..StoreOptions::default() };
        let disk = Arc::new(SimDisk::new());
        let open =
            || Store::open(disk.clone(), Arc::new(SimClock::default()), Path::new("/db"), options.clone());
        // Whoever makes a database has its file open by another name.
        drop(open().unwrap());
        let store = open().unwrap();
        let mut redo = Redo::new(&store.inner);
        redo.bytes.extend_from_slice(NOTHING);
        let image = |page| Waiting {
            page: PageNo(page),
            kind: PageKind::Record,
            base: None,
            // Nothing above what is visible is written back.
            lsn: store.inner.readers.visible(),
            ranges: 0..NOTHING.len(),
        };
        redo.waiting.extend((100..2100).map(image));
        // The first write is at the end of the first portion.
        disk.inject(Fault::on(OpKind::Write).at_path("/db"));
        assert!(redo.run().is_err());
        let resident = store.status().cache_bytes;
        assert!(resident > 0 && resident <= 2 << 20, "{resident} bytes at once, for a cache of {}", 1 << 20);
    }
}
