//! Segment files: where the bytes of the log live.
//!
//! Segment `n` holds the LSNs `n * payload .. (n + 1) * payload` behind a header (see `header`), in the file
//! `NNNNNNNNNN.wal`. Files of other names are never touched.
//!
//! Invariants:
//! 1. A segment is *prepared* (full length written with zeros or recycled, header written, file synced, directory
//!    synced) before a byte of the log goes into it. So a sync while committing never has to change a file's length,
//!    which on common file systems halves its cost.
//! 2. Recycling renames a segment that nothing needs any more. A crash at any point of it leaves a file whose header
//!    does not fit its name; it counts as a spare, never as log. Old groups inside are no danger: their LSNs are not
//!    where they stand.
//! 3. Segments are prepared in order, one after the other. So a crash leaves at most one that is unfinished, it is behind
//!    all others, and no group in it stands where its LSN says. Whatever else is found where the log may go on is damage
//!    and is reported: were it taken for the log's end, what is behind it would be overwritten.
//! 4. No live segment's path is among the spares: what is given out to be overwritten holds nothing that is needed.
//! 5. After the first failed write or sync no segment is prepared any more: the next sync would say yes to bytes or to a
//!    name that the failed one has dropped. Only a full disk, told before anything is synced, may be tried again.
//! 6. What the disk does not give back is an error to whoever opens the log for use. Whoever only looks has it for zeros, a
//!    block at a time, and is told the first of these errors: one bad place must not hide the rest of the log. Zeros are no
//!    group, so the chain ends there at the latest.

mod prepare;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use self::prepare::Unprepared;
use super::group::{GROUP_ALIGN, GROUP_HEADER_BYTES, GroupHeader};
use super::header::{self, HEADER_USED, Header, SEGMENT_HEADER_BYTES};
use crate::disk::{BLOCK_BYTES, Disk, DiskFile, OpenMode};
use crate::page::{DatabaseId, Lsn};
use crate::sync::{Arc, Mutex};
use crate::{Error, Result};

/// Zeros are written in pieces of this size.
const ZERO_CHUNK_BYTES: usize = 1 << 20;
/// Bad blocks that are met, again or anew, until a read that fails is not tried a block at a time any more but taken for
/// zeros as a whole: each may take a dying disk seconds.
const BAD_BLOCKS_MAX: u64 = 1024;

/// Whether a read failed for the place that was read, and not for what the reader may do or how long the file is.
fn is_bad_place(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::UnexpectedEof)
}

#[derive(Debug)]
pub(crate) struct Segments {
    // Constant after construction.
    pub(crate) disk: Arc<dyn Disk>,
    dir: PathBuf,
    database: DatabaseId,
    segment_bytes: u64,
    sync: bool,
    // Synchronises itself; held for map changes only, never during I/O.
    files: Mutex<Files>,
    // Held while a segment is being prepared, so that two threads do not prepare the same. The first failure.
    preparing: Mutex<Option<Error>>,
    // By invariant 6, of whoever only looks.
    unread: Option<Mutex<Unread>>,
}

/// What the disk did not give back.
#[derive(Debug, Default)]
struct Unread {
    first: Option<Error>,
    bad_blocks: u64,
}

#[derive(Debug, Default)]
struct Files {
    /// Prepared segments by number, without gaps.
    live: BTreeMap<u64, Arc<dyn DiskFile>>,
    /// Files that may be renamed into the next segment; never the path of a live one.
    spare: Vec<PathBuf>,
}

/// What a file under a segment's name is.
enum Found {
    Prepared,
    /// A crash cut its making short, or it is to be recycled; or it was cut itself.
    Unfinished,
    /// It was not made by us, or not left like this. Says why.
    Bad(&'static str),
}

impl Segments {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        database: DatabaseId,
        segment_bytes: u32,
        sync: bool,
    ) -> Segments {
        let segment_bytes = u64::from(segment_bytes);
        Segments {
            disk,
            dir,
            database,
            segment_bytes,
            sync,
            files: Mutex::default(),
            preparing: Mutex::default(),
            unread: None,
        }
    }

    /// Those of a log that is only looked at: see invariant 6.
    pub(crate) fn to_look_at(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        database: DatabaseId,
        segment_bytes: u32,
    ) -> Segments {
        let unread = Some(Mutex::default());
        Segments { unread, ..Segments::new(disk, dir, database, segment_bytes, false) }
    }

    /// Bad places that were met so far do not count against those to come ([`BAD_BLOCKS_MAX`]).
    pub(crate) fn try_again(&self) {
        if let Some(unread) = &self.unread {
            unread.lock().bad_blocks = 0;
        }
    }

    /// The first error of a place that was taken for zeros.
    pub(crate) fn unread(&self) -> Option<Error> {
        self.unread.as_ref()?.lock().first.clone()
    }

    /// Bytes of a segment file.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Bytes of log in a segment.
    pub(crate) fn payload(&self) -> u64 {
        self.segment_bytes - SEGMENT_HEADER_BYTES
    }

    /// The segment that holds the byte at `lsn`.
    pub(crate) fn number_of(&self, lsn: Lsn) -> u64 {
        lsn.0 / self.payload()
    }

    fn path_of(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:010}.wal"))
    }

    /// The number of the segment that a path is for.
    fn number_in(&self, path: &Path) -> Option<u64> {
        let number = path.file_stem()?.to_str()?.parse().ok()?;
        (path == self.path_of(number)).then_some(number)
    }

    fn segment_bytes_u32(&self) -> u32 {
        u32::try_from(self.segment_bytes).expect("made from a u32")
    }

    fn header(&self, number: u64) -> [u8; HEADER_USED] {
        header::encode(self.database, self.segment_bytes_u32(), number)
    }

    /// The paths in the log's directory that are for segments, with their numbers.
    fn list(&self) -> Result<Vec<(u64, PathBuf)>> {
        let listed = self.disk.list(&self.dir).map_err(|e| Error::io("list", &self.dir, &e))?;
        Ok(listed.into_iter().filter_map(|path| Some((self.number_in(&path)?, path))).collect())
    }

    /// Removes all segments, whose ever they are: those of a database that is gone, or of one whose making failed. A new
    /// log among them would take their groups for its own, or overwrite its own for theirs.
    pub(crate) fn remove_all(&self) -> Result<()> {
        for (_, path) in self.list()? {
            self.disk.remove(&path).map_err(|e| Error::io("remove", &path, &e))?;
        }
        Ok(())
    }

    /// Finds the segment files from the one of `first` on, as a recovery begins. What is ours and below, or was never
    /// finished, becomes a spare; what is not ours and below is left alone.
    ///
    /// # Errors
    /// [`Error::CorruptLog`] by invariant 3; nothing was changed.
    pub(crate) fn open(&self, first: Lsn) -> Result<()> {
        self.find(first)?.map_or(Ok(()), Err)
    }

    /// As [`Segments::open`], and gives the damage: up to there the segments can be read.
    pub(crate) fn find(&self, first: Lsn) -> Result<Option<Error>> {
        let first = self.number_of(first);
        let mut prepared = BTreeMap::new();
        let mut unfinished = BTreeMap::new();
        let mut bad = BTreeMap::new();
        let mut spare = Vec::new();
        for (number, path) in self.list()? {
            let file = self.disk.open(&path, OpenMode::Existing).map_err(|e| Error::io("open", &path, &e))?;
            let what = self.look(&*file, number, &path)?;
            match what {
                Found::Prepared if number >= first => drop(prepared.insert(number, file)),
                Found::Prepared => spare.push(path),
                Found::Unfinished => {
                    unfinished.insert(number, file);
                    spare.push(path);
                }
                Found::Bad(why) if number >= first => drop(bad.insert(number, why)),
                Found::Bad(_) => {}
            }
        }
        let mut live = BTreeMap::new();
        let mut next = first;
        while let Some(file) = prepared.remove(&next) {
            live.insert(next, file);
            next += 1;
        }
        let why = if let Some((number, why)) = bad.pop_first() {
            Some(format!("{} {why}", self.path_of(number).display()))
        } else if let Some(number) = prepared.keys().next() {
            Some(format!("segment {next} is missing or was cut short, and segment {number} is there"))
        } else {
            match unfinished.get(&next) {
                Some(file) if self.holds_log(&**file, next)? => {
                    Some(format!("{} has lost its header or its end", self.path_of(next).display()))
                }
                _ => None,
            }
        };
        *self.files.lock() = Files { live, spare };
        Ok(why.map(|why| Error::CorruptLog { lsn: Lsn(next * self.payload()), why }))
    }

    fn look(&self, file: &dyn DiskFile, number: u64, path: &Path) -> Result<Found> {
        let len = file.len().map_err(|e| Error::io("read", path, &e))?;
        let mut raw = [0; HEADER_USED];
        let raw = &mut raw[..usize::try_from(len).unwrap_or(HEADER_USED).min(HEADER_USED)];
        if !self.read_file(file, path, raw, 0)? && len == self.segment_bytes {
            // Its groups can tell: by invariant 2 none of them stands where its LSN says if it is another segment.
            return Ok(Found::Prepared);
        }
        Ok(match header::decode(raw, self.database, self.segment_bytes_u32()) {
            Header::Ours(found) if found == number && len == self.segment_bytes => Found::Prepared,
            Header::Ours(_) | Header::Blank => Found::Unfinished,
            Header::Foreign => Found::Bad("belongs to another database: move it away"),
            Header::Damaged => Found::Bad("has a damaged header"),
        })
    }

    /// Whether a group in a file stands where its LSN says if the file is segment `number`. Then the file was that
    /// segment, and in use.
    fn holds_log(&self, file: &dyn DiskFile, number: u64) -> Result<bool> {
        let path = self.path_of(number);
        let len = file.len().map_err(|e| Error::io("read", &path, &e))?.min(self.segment_bytes);
        let mut window = Vec::new();
        let mut at = SEGMENT_HEADER_BYTES;
        while at + GROUP_HEADER_BYTES as u64 <= len {
            let left = usize::try_from(len - at).expect("made from a u32");
            window.resize(left.min(ZERO_CHUNK_BYTES), 0);
            self.read_file(file, &path, &mut window, at)?;
            let first = number * self.payload() + (at - SEGMENT_HEADER_BYTES);
            let stands = |(raw, lsn)| GroupHeader::decode(raw).is_some_and(|group| group.start == Lsn(lsn));
            let places = (first..).step_by(GROUP_ALIGN as usize);
            if window.windows(GROUP_HEADER_BYTES).step_by(GROUP_ALIGN as usize).zip(places).any(stands) {
                return Ok(true);
            }
            // The next window begins with the first place whose header did not fit into this one.
            at += ((window.len() - GROUP_HEADER_BYTES) as u64 / GROUP_ALIGN + 1) * GROUP_ALIGN;
        }
        Ok(false)
    }

    /// Makes durable, for invariant 1, what an earlier life left of the segments in the system's cache only: it may have
    /// been killed between a segment's header and its sync, or that of the directory, and may have had no sync at all.
    ///
    /// The log ends at `end`. Segments that hold nothing of it go, unless the earlier life ended in order: one of their
    /// syncs, or that of their names, may have failed, and then the next one says yes without making them durable.
    pub(crate) fn settle(&self, end: Lsn, was_clean: bool) -> Result<()> {
        if !self.sync {
            return Ok(());
        }
        let sync_dir = || self.disk.sync_dir(&self.dir).map_err(|e| Error::io("sync", &self.dir, &e));
        while !was_clean && let Some(number) = self.last_if_unused(end) {
            let path = self.path_of(number);
            self.disk.remove(&path).map_err(|e| Error::io("remove", &path, &e))?;
            // Before the one in front of it goes: a power cut must not leave a gap.
            sync_dir()?;
            self.files.lock().live.remove(&number);
        }
        let live = self.files.lock().live.clone();
        for (number, file) in live {
            file.sync().map_err(|e| Error::io("sync", self.path_of(number), &e))?;
        }
        sync_dir()
    }

    /// The last live segment, if it begins at or above `end`.
    fn last_if_unused(&self, end: Lsn) -> Option<u64> {
        let files = self.files.lock();
        let (&number, _) = files.live.last_key_value()?;
        (number * self.payload() >= end.0).then_some(number)
    }

    /// LSN up to which segments are prepared (exclusive); `None` if there is no segment at all.
    pub(crate) fn prepared_end(&self) -> Option<Lsn> {
        let files = self.files.lock();
        files.live.last_key_value().map(|(number, _)| Lsn((number + 1) * self.payload()))
    }

    /// LSN from which segments are kept.
    pub(crate) fn kept_from(&self) -> Option<Lsn> {
        self.files.lock().live.first_key_value().map(|(number, _)| Lsn(number * self.payload()))
    }

    /// Bytes of all segment files, spares included.
    pub(crate) fn bytes_on_disk(&self) -> u64 {
        let files = self.files.lock();
        (files.live.len() + files.spare.len()) as u64 * self.segment_bytes
    }

    /// Lets go of the segments that hold only LSNs below `redo`. At most `spares_max` files are kept for reuse.
    pub(crate) fn recycle_below(&self, redo: Lsn, spares_max: usize) -> Result<()> {
        let first = self.number_of(redo);
        let mut surplus = Vec::new();
        {
            let mut files = self.files.lock();
            let kept = files.live.split_off(&first);
            let gone = std::mem::replace(&mut files.live, kept);
            files.spare.extend(gone.into_keys().map(|number| self.path_of(number)));
            while files.spare.len() > spares_max {
                surplus.extend(files.spare.pop());
            }
        }
        for path in surplus {
            self.disk.remove(&path).map_err(|e| Error::io("remove", &path, &e))?;
        }
        Ok(())
    }

    /// Writes log bytes that start at `lsn`; the segments are prepared.
    pub(crate) fn write(&self, lsn: Lsn, bytes: &[u8]) -> Result<()> {
        self.in_pieces(lsn, bytes.len(), |file, path, offset, range| {
            file.write_at(&bytes[range], offset).map_err(|e| Error::io("write", path, &e))
        })
    }

    /// As [`Segments::write`], and makes it durable, as this log is.
    ///
    /// The log ends there: what follows in the last block may be zeros afterwards.
    pub(crate) fn write_synced(&self, lsn: Lsn, bytes: &[u8]) -> Result<()> {
        if !self.sync {
            return self.write(lsn, bytes);
        }
        self.in_pieces(lsn, bytes.len(), |file, path, offset, range| {
            file.write_synced(&bytes[range], offset).map_err(|e| Error::io("write and sync", path, &e))
        })
    }

    /// Makes what was written to `start..end` durable.
    pub(crate) fn sync(&self, start: Lsn, end: Lsn) -> Result<()> {
        if !self.sync || start >= end {
            return Ok(());
        }
        for number in self.number_of(start)..=self.number_of(Lsn(end.0 - 1)) {
            let file = self.live(number).expect("what was written is in a live segment");
            file.sync().map_err(|e| Error::io("sync", self.path_of(number), &e))?;
        }
        Ok(())
    }

    /// Reads up to `buffer.len()` log bytes from `lsn`; fewer where the segments end.
    pub(crate) fn read(&self, lsn: Lsn, buffer: &mut [u8]) -> Result<usize> {
        let end = self.prepared_end().unwrap_or_default();
        let len = usize::try_from(end.0.saturating_sub(lsn.0)).unwrap_or(usize::MAX).min(buffer.len());
        if self.kept_from().is_none_or(|kept| lsn < kept) {
            return Ok(0);
        }
        self.in_pieces(lsn, len, |file, path, offset, range| {
            self.read_file(file, path, &mut buffer[range], offset).map(drop)
        })?;
        Ok(len)
    }

    /// Fills `buffer` from a file, by invariant 6. Whether the disk gave back all of it.
    fn read_file(&self, file: &dyn DiskFile, path: &Path, buffer: &mut [u8], offset: u64) -> Result<bool> {
        let Err(error) = file.read_at(buffer, offset) else { return Ok(true) };
        let Some(unread) = self.unread.as_ref().filter(|_| is_bad_place(&error)) else {
            return Err(Error::io("read", path, &error));
        };
        let mut unread = unread.lock();
        let mut done = 0;
        let mut is_whole = true;
        while done < buffer.len() {
            if unread.bad_blocks == BAD_BLOCKS_MAX {
                buffer[done..].fill(0);
                return Ok(false);
            }
            let at = offset + done as u64;
            let to_border = BLOCK_BYTES - (at % BLOCK_BYTES as u64) as usize;
            let end = buffer.len().min(done + to_border);
            let block = &mut buffer[done..end];
            done = end;
            let Err(error) = file.read_at(block, at) else { continue };
            let io = Error::io("read", path, &error);
            if !is_bad_place(&error) {
                return Err(io);
            }
            block.fill(0);
            is_whole = false;
            unread.bad_blocks += 1;
            unread.first.get_or_insert(io);
        }
        Ok(is_whole)
    }

    fn live(&self, number: u64) -> Option<Arc<dyn DiskFile>> {
        self.files.lock().live.get(&number).cloned()
    }

    /// Cuts `len` bytes from `lsn` on at the segments' borders.
    fn in_pieces(
        &self,
        lsn: Lsn,
        len: usize,
        mut piece: impl FnMut(&dyn DiskFile, &Path, u64, std::ops::Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        while done < len {
            let at = lsn.0 + done as u64;
            let number = at / self.payload();
            let inside = at % self.payload();
            let left = usize::try_from(self.payload() - inside).expect("made from a u32");
            let piece_len = left.min(len - done);
            let file = self.live(number).expect("the caller stays inside prepared segments");
            piece(&*file, &self.path_of(number), SEGMENT_HEADER_BYTES + inside, done..done + piece_len)?;
            done += piece_len;
        }
        Ok(())
    }
}
