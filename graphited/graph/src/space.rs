//! Where the next record goes: finds a slotted page with room, for property records or small adjacency blocks.
//!
//! What is known is in the file: a map with one byte for every page (`map`), which says whether the page
//! belongs to the map, and about how much room it has. In memory are only hints, which may be lost or wrong:
//! the few *open* pages that are being filled, and how much room the best page of each map leaf has.
//!
//! Invariants:
//! 1. A page has a class other than 0 exactly as long as it is a slotted page of this map. Class and page change
//!    in the same turn; so a hint is checked against the map before the page is touched, and a hint from a turn
//!    that was dropped does no harm.
//! 2. A class may be stale: it is set when a page is made, closed, or has changed by two classes. Room is always
//!    looked up in the page itself before it is promised.
//! 3. A page without records is freed.
//!
//! Policy: a record goes close to `near` if there is room; else into the first open page that has room, and
//! `SLACK_BYTES` to spare; else a page that is at least a quarter empty is opened, or a new one. So many
//! inserts, one after another, fill page after page, and holes too small for that are left to records that belong
//! near them, or grow.

mod map;
#[cfg(test)]
mod tests;

use graphite_store::{PAGE_BODY_BYTES, PageKind, PageNo, PageReader, PageWriter, record};

use crate::location::Location;
use crate::{Error, Result, state};

/// Pages that are filled at the same time: large records leave room at the end of a page that small ones take.
const OPEN_PAGES_MAX: usize = 4;
/// Room that is left in a page when it is filled, for records that grow later: without it, each of them would
/// have the page compacted, or move.
const SLACK_BYTES: usize = 256;
/// Room that a page must have to be opened again.
const REOPEN_BYTES_MIN: usize = PAGE_BODY_BYTES / 4;
const _: () = assert!(REOPEN_BYTES_MIN > SLACK_BYTES);
/// How far from `near` a page may be in the file to count as close, in pages.
const NEAR_PAGES_MAX: u32 = 16;
/// Map leaves that one search looks into, at most.
const SEARCH_LEAVES_MAX: u64 = 64;
/// The best class of a leaf that was not looked at yet.
const UNKNOWN: u8 = u8::MAX;

/// Finds slotted pages with room. All that it keeps in memory are hints.
#[derive(Debug)]
pub struct SpaceMap {
    kind: PageKind,
    /// State slot of the map's root.
    root: usize,
    /// Pages that are being filled, the oldest first, with the room that they had last.
    open: Vec<(PageNo, usize)>,
    /// No closed page of this map leaf is of a higher class; leaves past the end are unknown.
    best: Vec<u8>,
    /// The map leaf where the next search begins.
    hand: u64,
}

impl SpaceMap {
    /// For property records.
    pub fn records() -> SpaceMap {
        SpaceMap::new(PageKind::Record, state::RECORD_SPACE_ROOT)
    }

    /// For small adjacency blocks.
    pub fn adjacency() -> SpaceMap {
        SpaceMap::new(PageKind::Adjacency, state::ADJACENCY_SPACE_ROOT)
    }

    fn new(kind: PageKind, root: usize) -> SpaceMap {
        SpaceMap { kind, root, open: Vec::with_capacity(OPEN_PAGES_MAX), best: Vec::new(), hand: 0 }
    }

    /// Drops all hints, as after opening the database. Good to call when a turn was dropped; nothing breaks if
    /// it is not.
    pub fn forget(&mut self) {
        *self = SpaceMap::new(self.kind, self.root);
    }

    /// A slotted page of this map with room for a record of `bytes` (at most `record::RECORD_BYTES_MAX`), made
    /// if need be; close to `near` if there is room.
    ///
    /// # Errors
    /// What the store says; [`Error::Corrupt`] if the map contradicts itself.
    pub fn find<W: PageWriter>(&mut self, w: &mut W, bytes: usize, near: Option<PageNo>) -> Result<PageNo> {
        assert!(bytes <= record::RECORD_BYTES_MAX, "a record of {bytes} bytes fits no page");
        // A page without room for another record at all says 0, so a record of no bytes asks for one.
        let bytes = bytes.max(1);
        if let Some(near) = near
            && let Some(page) = self.find_near(w, bytes, near)?
        {
            return Ok(page);
        }
        if let Some(page) = self.find_open(w, bytes + SLACK_BYTES)? {
            return Ok(page);
        }
        if self.open.len() == OPEN_PAGES_MAX {
            self.close_fullest(w)?;
        }
        let page = match self.search(w, (bytes + SLACK_BYTES).max(REOPEN_BYTES_MIN))? {
            Some(page) => page,
            None => self.make_page(w)?,
        };
        let room = record::room(&*w.page(page)?);
        self.open.push((page, room));
        Ok(page)
    }

    /// Has to be called after records of `page` were changed or removed, and once more than one was added to
    /// what [`SpaceMap::find`] gave. Frees the page if it has no record left.
    ///
    /// # Errors
    /// What the store says; [`Error::Corrupt`] if the page is not one of this map.
    pub fn note<W: PageWriter>(&mut self, w: &mut W, page: PageNo) -> Result<()> {
        let body = w.page_of(page, self.kind)?;
        let (empty, room) = (record::is_empty(&body), record::room(&body));
        drop(body);
        if empty {
            self.open.retain(|(open, _)| *open != page);
            map::set_class(w, self.root, page, 0)?;
            return Ok(w.free(page)?);
        }
        if let Some((_, hint)) = self.open.iter_mut().find(|(open, _)| *open == page) {
            *hint = room;
            return Ok(());
        }
        let before = map::class(w, self.root, page)?;
        if before == 0 {
            return Err(Error::Corrupt {
                page,
                why: "it is a slotted page that its free-space map does not know",
            });
        }
        if before.abs_diff(map::class_of_room(room)) >= 2 {
            self.set_class(w, page, map::class_of_room(room))?;
        }
        Ok(())
    }

    /// Adds a record: [`SpaceMap::find`] and the insert in one.
    ///
    /// # Errors
    /// As [`SpaceMap::find`].
    pub fn insert<W: PageWriter>(
        &mut self,
        w: &mut W,
        bytes: &[u8],
        near: Option<PageNo>,
    ) -> Result<Location> {
        let page = self.find(w, bytes.len(), near)?;
        let body = w.page_mut(page)?;
        let slot = record::insert(body, bytes)
            .ok_or(Error::Corrupt { page, why: "a slotted page has less room than it says" })?;
        let room = record::room(body);
        if let Some((_, hint)) = self.open.iter_mut().find(|(open, _)| *open == page) {
            *hint = room;
        }
        Ok(Location { page, slot })
    }

    /// Adds a record to `last`, or to a new page that then is `last`: so that of the pages that were there before
    /// none changes. The last one is to be closed by [`SpaceMap::end_append`].
    ///
    /// # Errors
    /// As [`SpaceMap::find`].
    pub fn append<W: PageWriter>(
        &mut self,
        w: &mut W,
        bytes: &[u8],
        last: &mut Option<PageNo>,
    ) -> Result<Location> {
        if let Some(page) = *last
            && let Some(slot) = record::insert(w.page_mut(page)?, bytes)
        {
            return Ok(Location { page, slot });
        }
        self.end_append(w, last)?;
        let page = self.make_page(w)?;
        *last = Some(page);
        let slot = record::insert(w.page_mut(page)?, bytes)
            .ok_or(Error::Corrupt { page, why: "a record fits no page" })?;
        Ok(Location { page, slot })
    }

    /// Lets the map know how much room the page has that was filled last.
    ///
    /// # Errors
    /// What the store says.
    pub fn end_append<W: PageWriter>(&mut self, w: &mut W, last: &mut Option<PageNo>) -> Result<()> {
        let Some(page) = last.take() else { return Ok(()) };
        let room = record::room(&*w.page_of(page, self.kind)?);
        self.set_class(w, page, map::class_of_room(room))
    }

    /// Frees a page all of whose `records` are elsewhere by now, without a look at them one by one.
    ///
    /// # Errors
    /// What the store says; [`Error::Corrupt`] if the page has another number of records.
    pub fn drop_page<W: PageWriter>(&mut self, w: &mut W, page: PageNo, records: usize) -> Result<()> {
        let found = record::slots(&*w.page_of(page, self.kind)?).count();
        if found != records || map::class(w, self.root, page)? == 0 {
            return Err(Error::Corrupt { page, why: "it is left while there are records in it" });
        }
        self.open.retain(|(open, _)| *open != page);
        map::set_class(w, self.root, page, 0)?;
        Ok(w.free(page)?)
    }

    /// Replaces a record: where it is if there is room, else it moves, not far if possible. Notes what is to be
    /// noted.
    ///
    /// # Errors
    /// As [`SpaceMap::find`]; [`Error::Corrupt`] if there is no record.
    pub fn replace<W: PageWriter>(&mut self, w: &mut W, at: Location, bytes: &[u8]) -> Result<Location> {
        drop(w.page_of(at.page, self.kind)?);
        let page = w.page_mut(at.page)?;
        let len = record::get(page, at.slot).map(<[u8]>::len);
        if record::update(page, at.slot, bytes) {
            if len != Some(bytes.len()) {
                self.note(w, at.page)?;
            }
            return Ok(at);
        }
        let moved = self.insert(w, bytes, Some(at.page))?;
        self.remove(w, at)?;
        Ok(moved)
    }

    /// Removes a record. Notes what is to be noted.
    ///
    /// # Errors
    /// What the store says; [`Error::Corrupt`] if there is no record.
    pub fn remove<W: PageWriter>(&mut self, w: &mut W, at: Location) -> Result<()> {
        drop(w.page_of(at.page, self.kind)?);
        if !record::remove(w.page_mut(at.page)?, at.slot) {
            return Err(Error::Corrupt { page: at.page, why: "a record that is pointed at is not there" });
        }
        self.note(w, at.page)
    }

    /// Shows the pages of the map itself and the slotted pages that it knows: for the check of a whole file, and
    /// for compaction. `problem` hears of classes that no page can have. Whether a class is right cannot be told, as
    /// it may be stale.
    ///
    /// # Errors
    /// What the store says; [`Error::Corrupt`] if the map contradicts itself.
    pub fn visit<R: PageReader>(
        &self,
        r: &R,
        own: &mut dyn FnMut(PageNo),
        known: &mut dyn FnMut(PageNo),
        problem: &mut dyn FnMut(Error),
    ) -> Result<()> {
        map::visit(r, self.root, &mut map::Visit { own, known, problem })
    }

    /// The room of a page that may or may not be one of this map any more; none if it is not.
    fn room_of<W: PageWriter>(&mut self, w: &mut W, page: PageNo) -> Result<Option<usize>> {
        if map::class(w, self.root, page)? == 0 {
            return Ok(None);
        }
        Ok(Some(record::room(&*w.page_of(page, self.kind)?)))
    }

    /// `near` itself or the closest page around it.
    fn find_near<W: PageWriter>(&mut self, w: &mut W, bytes: usize, near: PageNo) -> Result<Option<PageNo>> {
        if self.room_of(w, near)?.is_some_and(|room| room >= bytes) {
            return Ok(Some(near));
        }
        let (least, leaf) = (map::class_for(bytes), u64::from(near.0) / map::LEAF_PAGES as u64);
        let mut closest: Option<PageNo> = None;
        let first = near.0.saturating_sub(NEAR_PAGES_MAX);
        map::visit_leaf(w, self.root, leaf, first, |page, class| {
            let nearer = closest.is_none_or(|best| page.0.abs_diff(near.0) < best.0.abs_diff(near.0));
            if class >= least && nearer && page != near {
                closest = Some(page);
            }
            page.0 < near.0.saturating_add(NEAR_PAGES_MAX)
        })?;
        let Some(page) = closest.filter(|page| page.0.abs_diff(near.0) <= NEAR_PAGES_MAX) else {
            return Ok(None);
        };
        let room = record::room(&*w.page_of(page, self.kind)?);
        if room >= bytes {
            return Ok(Some(page));
        }
        if !self.is_open(page) {
            self.set_class(w, page, map::class_of_room(room))?;
        }
        Ok(None)
    }

    /// The first open page with room for `bytes`.
    fn find_open<W: PageWriter>(&mut self, w: &mut W, bytes: usize) -> Result<Option<PageNo>> {
        let mut index = 0;
        while let Some(&(page, hint)) = self.open.get(index) {
            if hint >= bytes {
                match self.room_of(w, page)? {
                    Some(room) if room >= bytes => return Ok(Some(page)),
                    Some(room) => self.open[index].1 = room,
                    None => {
                        self.open.remove(index);
                        continue;
                    }
                }
            }
            index += 1;
        }
        Ok(None)
    }

    fn is_open(&self, page: PageNo) -> bool {
        self.open.iter().any(|(open, _)| *open == page)
    }

    /// Closes the open page with the least room: from now on the map knows how much it has.
    fn close_fullest<W: PageWriter>(&mut self, w: &mut W) -> Result<()> {
        let fullest = self.open.iter().enumerate().min_by_key(|(_, (_, room))| *room).map(|(index, _)| index);
        let Some(fullest) = fullest else { return Ok(()) };
        let (page, _) = self.open.remove(fullest);
        match self.room_of(w, page)? {
            Some(room) => self.set_class(w, page, map::class_of_room(room)),
            None => Ok(()),
        }
    }

    /// A page, not open, with room for `bytes`: looks into the leaves that may have one, and mends what is
    /// stale in them.
    fn search<W: PageWriter>(&mut self, w: &mut W, bytes: usize) -> Result<Option<PageNo>> {
        let (least, leaves) = (map::class_for(bytes), map::leaves(w, self.root)?);
        for _ in 0..leaves.min(SEARCH_LEAVES_MAX) {
            let leaf = self.hand % leaves;
            while self.best_of(leaf) >= least {
                let (mut best, mut found) = (0, None);
                map::visit_leaf(w, self.root, leaf, 0, |page, class| {
                    if !self.is_open(page) {
                        best = best.max(class);
                        found = (class >= least).then_some(page);
                    }
                    found.is_none()
                })?;
                let Some(page) = found else {
                    self.set_best(leaf, best);
                    break;
                };
                let room = record::room(&*w.page_of(page, self.kind)?);
                if room >= bytes {
                    return Ok(Some(page));
                }
                // The class was stale. It is lower now, so the loop ends.
                map::set_class(w, self.root, page, map::class_of_room(room))?;
            }
            self.hand = leaf + 1;
        }
        Ok(None)
    }

    fn make_page<W: PageWriter>(&mut self, w: &mut W) -> Result<PageNo> {
        let page = w.allocate(self.kind)?;
        record::init(w.page_mut(page)?);
        map::set_class(w, self.root, page, map::class_of_room(record::RECORD_BYTES_MAX))?;
        Ok(page)
    }

    /// Sets the class of a page that is not open.
    fn set_class<W: PageWriter>(&mut self, w: &mut W, page: PageNo, class: u8) -> Result<()> {
        let leaf = u64::from(page.0) / map::LEAF_PAGES as u64;
        self.set_best(leaf, self.best_of(leaf).max(class));
        map::set_class(w, self.root, page, class)
    }

    fn best_of(&self, leaf: u64) -> u8 {
        usize::try_from(leaf).ok().and_then(|leaf| self.best.get(leaf)).copied().unwrap_or(UNKNOWN)
    }

    fn set_best(&mut self, leaf: u64, class: u8) {
        let leaf = usize::try_from(leaf).expect("a map has few leaves");
        if leaf >= self.best.len() {
            self.best.resize(leaf + 1, UNKNOWN);
        }
        self.best[leaf] = class;
    }
}
