//! Finds the end of the log after a crash, and tells a torn end from damage.
//!
//! The scan walks the chain from the checkpoint's redo point. Where a group does not fit, the log has ended, unless
//! a later group, of this life or an earlier one, says that the place was durable: a position below a durable mark
//! is never rewritten by a later life, so a bad group there is damage and is reported as such.

use super::group::{GROUP_ALIGN, GROUP_HEADER_BYTES, GroupHeader, GroupKind, MAGIC};
use super::log::LogEnd;
use super::segments::Segments;
use crate::page::Lsn;
use crate::superblock::Superblock;
use crate::{Error, Result};

/// Bytes read at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// Reads the log forward through a window.
pub(crate) struct LogReader<'a> {
    segments: &'a Segments,
    window: Vec<u8>,
    start: Lsn,
}

impl<'a> LogReader<'a> {
    pub(crate) fn new(segments: &'a Segments) -> LogReader<'a> {
        LogReader { segments, window: Vec::new(), start: Lsn(0) }
    }

    /// The `len` bytes at `lsn`, or fewer where the segments end.
    fn bytes(&mut self, lsn: Lsn, len: usize) -> Result<&[u8]> {
        let inside = lsn >= self.start && lsn.0 + len as u64 <= self.start.0 + self.window.len() as u64;
        if !inside {
            self.window.resize(len.max(WINDOW_BYTES), 0);
            let got = self.segments.read(lsn, &mut self.window)?;
            self.window.truncate(got);
            self.start = lsn;
        }
        let at = usize::try_from(lsn.0 - self.start.0).expect("inside the window");
        Ok(&self.window[at..(at + len).min(self.window.len())])
    }

    /// What the window holds from `lsn` on: a group's header at least, or what is left of the segments. For a search,
    /// which so reads every byte but once.
    fn rest(&mut self, lsn: Lsn) -> Result<&[u8]> {
        self.bytes(lsn, GROUP_HEADER_BYTES)?;
        let at = usize::try_from(lsn.0 - self.start.0).expect("inside the window");
        Ok(&self.window[at..])
    }

    /// The group at `lsn` if its own checksum and LSN fit; says nothing about the chain.
    pub(crate) fn group(&mut self, lsn: Lsn) -> Result<Option<(GroupHeader, &[u8])>> {
        let Some(header) = GroupHeader::decode(self.bytes(lsn, GROUP_HEADER_BYTES)?) else {
            return Ok(None);
        };
        let past = self.segments.prepared_end().unwrap_or_default();
        if header.start != lsn || header.end() > past {
            return Ok(None);
        }
        let group = self.bytes(lsn, header.length as usize)?;
        Ok(header.checksum_fits(group).then(|| (header, &group[GROUP_HEADER_BYTES..])))
    }
}

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) at: LogEnd,
    /// Everything below was marked durable by the log itself.
    pub(crate) marked: Lsn,
}

/// Walks the chain from the redo point of `superblock`.
///
/// # Errors
/// [`Error::CorruptLog`] where the log contradicts its own marks, the checkpoint or the clean shutdown.
pub(crate) fn scan(segments: &Segments, superblock: &Superblock) -> Result<Scan> {
    match read_as_far_as_it_goes(segments, superblock)? {
        (found, None) => Ok(found),
        (_, Some(damage)) => Err(damage),
    }
}

/// As [`scan`], and gives the damage beside what can be read up to there.
pub(crate) fn read_as_far_as_it_goes(
    segments: &Segments,
    superblock: &Superblock,
) -> Result<(Scan, Option<Error>)> {
    let mut reader = LogReader::new(segments);
    let mut at = LogEnd { end: superblock.redo, chain: superblock.redo_chain };
    let mut marked = superblock.redo;
    let mut epoch = 0;
    while let Some((header, _)) = reader.group(at.end)? {
        let first = at.end == superblock.redo;
        if first && header.kind != GroupKind::Checkpoint {
            break;
        }
        if header.previous != at.chain || header.epoch < epoch || header.epoch > superblock.epoch {
            break;
        }
        epoch = header.epoch;
        marked = marked.max(header.durable);
        at = LogEnd { end: header.end(), chain: header.checksum };
    }
    let damage = damage_at(&mut reader, segments, superblock, at)?;
    Ok((Scan { at, marked }, damage))
}

/// Whether the chain's end is none.
fn damage_at(
    reader: &mut LogReader<'_>,
    segments: &Segments,
    superblock: &Superblock,
    at: LogEnd,
) -> Result<Option<Error>> {
    let damage = |why| Ok(Some(Error::CorruptLog { lsn: at.end, why }));
    if at.end == superblock.redo {
        return damage("the checkpoint that the superblock names is not in the log".to_owned());
    }
    if let Some((clean_end, chain)) = superblock.clean_end
        && (at.end != clean_end || at.chain != chain)
    {
        return damage(format!("it was closed cleanly at {clean_end}, and what can be read ends here"));
    }
    match later_mark(reader, segments, at.end)? {
        Some(mark) => damage(format!(
            "the group here is bad, and a later one says that everything below {mark} was durable"
        )),
        None => Ok(None),
    }
}

/// Number of the whole groups above `bad`, and where the last one ends.
pub(crate) fn whole_groups_above(segments: &Segments, bad: Lsn) -> Result<Option<(u64, Lsn)>> {
    let (mut reader, mut from) = (LogReader::new(segments), bad);
    let mut found = None;
    while let Some(header) = next_group(&mut reader, segments, from, |_| true)? {
        from = header.end();
        found = Some((found.map_or(0, |(count, _)| count) + 1, from));
    }
    Ok(found)
}

/// A durable LSN above `bad` that some whole group behind it carries.
fn later_mark(reader: &mut LogReader<'_>, segments: &Segments, bad: Lsn) -> Result<Option<Lsn>> {
    let found = next_group(reader, segments, bad, |header| header.durable > bad)?;
    Ok(found.map(|header| header.durable))
}

/// The first whole group from `from` on that is `wanted`.
fn next_group(
    reader: &mut LogReader<'_>,
    segments: &Segments,
    from: Lsn,
    wanted: impl Fn(&GroupHeader) -> bool,
) -> Result<Option<GroupHeader>> {
    let end = segments.prepared_end().unwrap_or_default();
    let mut at = from;
    while at < end {
        let window = reader.rest(at)?;
        let Some(found) = window.chunks(8).position(|chunk| chunk.starts_with(&MAGIC)) else {
            at = Lsn(at.0 + (window.len() as u64).next_multiple_of(GROUP_ALIGN));
            continue;
        };
        at = Lsn(at.0 + found as u64 * GROUP_ALIGN);
        if let Some((header, _)) = reader.group(at)?
            && wanted(&header)
        {
            return Ok(Some(header));
        }
        at = Lsn(at.0 + GROUP_ALIGN);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::{Disk, SimDisk};
    use crate::page::{DatabaseId, Page, PageKind};
    use crate::pager::STATE_PAGE;
    use crate::sync::Arc;
    use crate::wal::group::GroupBuilder;

    const DATABASE: DatabaseId = DatabaseId(1);
    /// That of the superblock.
    const EPOCH: u64 = 5;

    fn segments() -> Segments {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("/wal")).unwrap();
        let segments = Segments::new(Arc::new(disk), "/wal".into(), DATABASE, 64 << 10, true);
        segments.prepare(Lsn(0), Lsn(1)).unwrap();
        segments
    }

    fn superblock() -> Superblock {
        Superblock {
            database: DATABASE,
            segment_bytes: 64 << 10,
            generation: 1,
            epoch: EPOCH,
            redo: Lsn(0),
            redo_chain: 0,
            clean_end: None,
            state: Page::new(STATE_PAGE, PageKind::State, DATABASE),
            copy: 0,
        }
    }

    /// Writes a group without records at `at`, of whichever epoch and behind whichever group; returns where it ends.
    fn put(segments: &Segments, kind: GroupKind, at: LogEnd, epoch: u64) -> LogEnd {
        let (bytes, chain) = GroupBuilder::new(Vec::new()).finish(kind, at.end, epoch, Lsn(0), at.chain);
        segments.write(at.end, &bytes).unwrap();
        LogEnd { end: Lsn(at.end.0 + bytes.len() as u64), chain }
    }

    const START: LogEnd = LogEnd { end: Lsn(0), chain: 0 };

    /// Whose chain fits, which takes a checksum that fits by chance.
    #[test]
    fn an_epoch_neither_falls_nor_passes_the_superblock_s() {
        for (epoch, counts) in [(EPOCH - 2, false), (EPOCH - 1, true), (EPOCH, true), (EPOCH + 1, false)] {
            let segments = segments();
            let first = put(&segments, GroupKind::Checkpoint, START, EPOCH - 1);
            let second = put(&segments, GroupKind::Commit, first, epoch);
            let end = scan(&segments, &superblock()).unwrap().at.end;
            assert_eq!(end, if counts { second.end } else { first.end }, "epoch {epoch}");
        }
    }

    #[test]
    fn a_group_behind_another_than_it_names_ends_the_log() {
        let segments = segments();
        let first = put(&segments, GroupKind::Checkpoint, START, EPOCH);
        put(&segments, GroupKind::Commit, LogEnd { chain: first.chain ^ 1, ..first }, EPOCH);
        assert_eq!(scan(&segments, &superblock()).unwrap().at.end, first.end);
    }

    /// An older lap through the segment may have left it.
    #[test]
    fn a_group_of_another_place_ends_the_log() {
        let segments = segments();
        let first = put(&segments, GroupKind::Checkpoint, START, EPOCH);
        let elsewhere = LogEnd { end: Lsn(first.end.0 + 4096), ..first };
        let (bytes, _) = GroupBuilder::new(Vec::new()).finish(
            GroupKind::Commit,
            elsewhere.end,
            EPOCH,
            Lsn(0),
            first.chain,
        );
        segments.write(first.end, &bytes).unwrap();
        assert_eq!(scan(&segments, &superblock()).unwrap().at.end, first.end);
    }

    /// A group at the superblock's redo point that is no checkpoint's is not what the superblock means.
    #[test]
    fn a_redo_point_that_is_no_checkpoint_is_damage() {
        let segments = segments();
        put(&segments, GroupKind::Commit, START, EPOCH);
        assert!(matches!(scan(&segments, &superblock()), Err(Error::CorruptLog { lsn: Lsn(0), .. })));
    }

    #[test]
    fn an_end_that_is_not_the_clean_one_is_damage() {
        let segments = segments();
        let first = put(&segments, GroupKind::Checkpoint, START, EPOCH);
        let second = put(&segments, GroupKind::Commit, first, EPOCH);
        for (clean, is_sound) in [
            ((second.end, second.chain), true),
            ((second.end, second.chain ^ 1), false),
            ((Lsn(second.end.0 + 64), second.chain), false),
            ((first.end, first.chain), false),
        ] {
            let superblock = Superblock { clean_end: Some(clean), ..superblock() };
            assert_eq!(scan(&segments, &superblock).is_ok(), is_sound, "{clean:?}");
        }
    }
}
