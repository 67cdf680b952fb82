//! Making segments ready for the log: by recycling a spare, or anew.
//!
//! What must hold is told in the head of `segments`: invariants 1 to 3 and 5 are kept here.

use std::io;
use std::path::{Path, PathBuf};

use super::{Files, Segments, ZERO_CHUNK_BYTES};
use crate::disk::{DiskFile, OpenMode};
use crate::page::Lsn;
use crate::sync::Arc;
use crate::{Error, Result};

/// Why no segment was made ready.
#[derive(Clone, Debug)]
pub(crate) enum Unprepared {
    /// There is no room, or a file could not be opened: it may be tried again, and nothing is in doubt.
    Refused(Error),
    /// A write or sync failed: what is on the disk is not known, and nothing may be built on it.
    Failed(Error),
}

impl Unprepared {
    /// What a change of bytes or names says; a full disk made no change.
    fn by_change(doing: &'static str, path: &Path, error: &io::Error) -> Unprepared {
        match Unprepared::by_look(doing, path, error) {
            Unprepared::Refused(error) if !error.is_disk_full() => Unprepared::Failed(error),
            full => full,
        }
    }

    /// What a sync says, a full disk too: it has dropped what it could not write, whatever the reason.
    fn by_sync(path: &Path, error: &io::Error) -> Unprepared {
        Unprepared::Failed(Error::io("sync", path, error))
    }

    /// What the opening of a file says, and a look at it.
    fn by_look(doing: &'static str, path: &Path, error: &io::Error) -> Unprepared {
        let error = Error::io(doing, path, error);
        Unprepared::Refused(if error.is_disk_full() { Error::DiskFull { what: "the log" } } else { error })
    }
}

impl From<Unprepared> for Error {
    fn from(unprepared: Unprepared) -> Error {
        let (Unprepared::Refused(error) | Unprepared::Failed(error)) = unprepared;
        error
    }
}

impl Files {
    /// A spare to be made into the segment at `path`. If a killed life left that one half made, it is a spare under this
    /// very path, and has to be the one: with another renamed over it, its entry would name a live segment.
    fn take_spare_for(&mut self, path: &Path) -> Option<PathBuf> {
        match self.spare.iter().position(|spare| spare == path) {
            Some(at) => Some(self.spare.remove(at)),
            None => self.spare.pop(),
        }
    }
}

impl Segments {
    /// Makes sure that all LSNs below `end` are in prepared segments, from the segment of `from` on.
    ///
    /// # Errors
    /// [`Unprepared::Refused`]: nothing is lost by that. [`Unprepared::Failed`], from then on at each call that needs a
    /// segment: the caller has to poison the database.
    pub(crate) fn prepare(&self, from: Lsn, end: Lsn) -> Result<(), Unprepared> {
        if self.prepared_end().is_some_and(|prepared| end <= prepared) {
            return Ok(());
        }
        let mut failed = self.preparing.lock();
        loop {
            let prepared = self.prepared_end();
            if prepared.is_some_and(|prepared| end <= prepared) {
                return Ok(());
            }
            if let Some(error) = &*failed {
                return Err(Unprepared::Failed(error.clone()));
            }
            let next = self.number_of(prepared.unwrap_or(from));
            let spare = self.files.lock().take_spare_for(&self.path_of(next));
            let made = match &spare {
                Some(spare) => self.recycle(spare, next),
                None => self.create(next),
            };
            match made {
                Ok(file) => drop(self.files.lock().live.insert(next, file)),
                // A half-made segment has no valid header, so it can be tried again.
                Err(unprepared) => {
                    if let Unprepared::Failed(error) = &unprepared {
                        *failed = Some(error.clone());
                    }
                    return Err(unprepared);
                }
            }
        }
    }

    fn create(&self, number: u64) -> Result<Arc<dyn DiskFile>, Unprepared> {
        let path = self.path_of(number);
        let file = match self.disk.open(&path, OpenMode::CreateNew) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.disk.open(&path, OpenMode::Existing),
            other => other,
        }
        .map_err(|e| Unprepared::by_look("create", &path, &e))?;
        let zeros =
            vec![0; ZERO_CHUNK_BYTES.min(usize::try_from(self.segment_bytes).expect("made from a u32"))];
        let mut at = 0;
        while at < self.segment_bytes {
            let len = (self.segment_bytes - at).min(zeros.len() as u64);
            let chunk = &zeros[..usize::try_from(len).expect("at most a chunk")];
            if let Err(error) = file.write_at(chunk, at) {
                // Give the room back: others may need it to get out of the same plight.
                let _ = self.disk.remove(&path);
                return Err(Unprepared::by_change("write", &path, &error));
            }
            at += len;
        }
        self.finish(file, number, &path)
    }

    fn recycle(&self, spare: &Path, number: u64) -> Result<Arc<dyn DiskFile>, Unprepared> {
        let path = self.path_of(number);
        if spare != path {
            self.disk.rename(spare, &path).map_err(|e| {
                self.files.lock().spare.push(spare.to_owned());
                Unprepared::by_change("rename", spare, &e)
            })?;
        }
        let look = |doing, e: io::Error| Unprepared::by_look(doing, &path, &e);
        let file = self.disk.open(&path, OpenMode::Existing).map_err(|e| look("open", e))?;
        let len = file.len().map_err(|e| look("read", e))?;
        if len != self.segment_bytes {
            drop(file);
            self.disk.remove(&path).map_err(|e| Unprepared::by_change("remove", &path, &e))?;
            return self.create(number);
        }
        self.finish(file, number, &path)
    }

    fn finish(
        &self,
        file: Arc<dyn DiskFile>,
        number: u64,
        path: &Path,
    ) -> Result<Arc<dyn DiskFile>, Unprepared> {
        let header = self.header(number);
        file.write_at(&header, 0).map_err(|e| Unprepared::by_change("write", path, &e))?;
        if self.sync {
            file.sync().map_err(|e| Unprepared::by_sync(path, &e))?;
            self.disk.sync_dir(&self.dir).map_err(|e| Unprepared::by_sync(&self.dir, &e))?;
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Fault, OpKind, SimDisk};
    use crate::page::DatabaseId;

    /// Whoever comes next may do so before anybody has poisoned the database, and its sync would say yes.
    #[test]
    fn after_a_failed_sync_no_segment_is_made_ready() {
        for kind in [OpKind::Sync, OpKind::SyncDir] {
            let disk = SimDisk::new();
            disk.create_dir(Path::new("/wal")).unwrap();
            let segments =
                Segments::new(Arc::new(disk.clone()), "/wal".into(), DatabaseId(1), 64 << 10, true);
            disk.inject(Fault::on(kind));
            for _ in 0..2 {
                assert!(matches!(segments.prepare(Lsn(0), Lsn(1)), Err(Unprepared::Failed(_))));
            }
            assert_eq!(segments.prepared_end(), None);
        }
    }
}
