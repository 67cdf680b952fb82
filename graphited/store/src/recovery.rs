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

use rustc_hash::FxHashSet;

use crate::checkpoint::Pace;
use crate::page::{Lsn, Page, PageNo};
use crate::store::Inner;
use crate::superblock::Superblock;
use crate::wal::delta;
use crate::wal::group::{GroupKind, Record, next_record};
use crate::wal::scan::{LogReader, Scan};
use crate::wal::segments::Segments;
use crate::{Error, Result};

/// Bytes of the tail rewritten at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Step 1.
pub(crate) fn rewrite_tail(segments: &Segments, scan: &Scan) -> Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = scan.marked;
    while at < scan.at.end {
        let len = usize::try_from(scan.at.end.0 - at.0).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
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
        let mut imaged = FxHashSet::default();
        let mut at = superblock.redo;
        while at < end {
            let Some((header, mut records)) = reader.group(at)? else {
                return Err(corrupt(at, "it changed while it was read"));
            };
            let lsn = header.end();
            if header.kind == GroupKind::Commit {
                while !records.is_empty() {
                    let Some((record, rest)) = next_record(records) else {
                        return Err(corrupt(at, "its group is whole, but a record in it contradicts itself"));
                    };
                    self.redo_record(&record, lsn, &mut imaged)?;
                    records = rest;
                }
            }
            at = lsn;
            if self.cache.resident_bytes() > self.cache.bytes_max() {
                self.write_back(Pace::Fast)?;
                self.cache.evict();
            }
        }
        Ok(())
    }

    /// Lays an image down, or changes the page that it builds on.
    pub(crate) fn redo_record(
        &self,
        record: &Record<'_>,
        lsn: Lsn,
        imaged: &mut FxHashSet<PageNo>,
    ) -> Result<()> {
        let mut page = match record.base {
            None => {
                imaged.insert(record.page);
                Page::new(record.page, record.kind, self.database)
            }
            Some(base) => {
                if !imaged.contains(&record.page) {
                    return Err(corrupt(lsn, format!("it changes {} of which it has no image", record.page)));
                }
                let before = self.newest(record.page)?;
                if before.lsn() != base {
                    let found = before.lsn();
                    let why =
                        format!("it changes {} as of {base}, and that page is as of {found}", record.page);
                    return Err(corrupt(lsn, why));
                }
                Page::clone(&before)
            }
        };
        if delta::apply(record.ranges, page.body_mut()).is_none() {
            return Err(corrupt(lsn, format!("it changes bytes outside of {}", record.page)));
        }
        page.set_kind(record.kind);
        page.set_lsn(lsn);
        self.cache.install(self.cache.make_version(page), None);
        Ok(())
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
    use crate::disk::SimDisk;
    use crate::page::PageKind;
    use crate::sync::Arc;
    use crate::{Store, StoreOptions};

    const PAGE: PageNo = PageNo(7);
    /// No range of a page.
    const NOTHING: &[u8] = &[0, 0];

    fn record(base: Option<Lsn>, ranges: &[u8]) -> Record<'_> {
        Record { page: PAGE, kind: PageKind::Record, base, ranges }
    }

    fn store() -> Store {
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let disk = Arc::new(SimDisk::new());
        Store::open(disk, Arc::new(SimClock::default()), Path::new("/db"), options).unwrap()
    }

    fn why(result: Result<()>) -> String {
        match result {
            Err(Error::CorruptLog { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    }

    /// The page in the file may be torn, so nothing is built on it.
    #[test]
    fn a_delta_to_a_page_without_an_image_is_damage() {
        let store = store();
        let mut imaged = FxHashSet::default();
        store.inner.redo_record(&record(None, NOTHING), Lsn(800), &mut imaged).unwrap();
        let delta = record(Some(Lsn(800)), NOTHING);
        store.inner.redo_record(&delta, Lsn(808), &mut imaged).unwrap();
        imaged.clear();
        let delta = record(Some(Lsn(808)), NOTHING);
        assert!(why(store.inner.redo_record(&delta, Lsn(816), &mut imaged)).contains("no image"));
    }

    #[test]
    fn a_delta_to_another_version_than_is_there_is_damage() {
        let store = store();
        let mut imaged = FxHashSet::default();
        store.inner.redo_record(&record(None, NOTHING), Lsn(800), &mut imaged).unwrap();
        for other in [Lsn(792), Lsn(808)] {
            let delta = record(Some(other), NOTHING);
            assert!(why(store.inner.redo_record(&delta, Lsn(816), &mut imaged)).contains("as of"));
        }
    }
}
