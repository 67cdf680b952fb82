//! Changing a table: slots, the pages that hold them, and the directory above.
//!
//! Everything here runs in a turn of its own: an error leaves things half done, and the turn is dropped.

use graphite_store::{Page, PageKind, PageNo, PageWriter};

use super::{
    Entry, FANOUT, FIRST, FULL_ENTRIES, GENERATION_RETIRED, HEIGHT_MAX, LEVEL, LOGICAL, RETIRED, Root,
    SlotState, Table, USED, check_table_page, directory_page, entry_of, index_at, page_count, put_u16,
    put_u32, reach, slot_bytes, slot_bytes_mut, split, too_many, u16_at,
};
use crate::{Error, Result};

/// The directory pages above a logical page, the lowest first.
struct Path {
    pages: [PageNo; HEIGHT_MAX],
    height: usize,
}

/// Writes records into consecutive slots, each free or holding the same node or edge. Pages are made as needed.
pub(crate) fn put_run<T: Table, W: PageWriter>(
    w: &mut W,
    first: T::Slot,
    records: &[T::Record],
) -> Result<()> {
    let mut rest = records;
    let mut number = T::number(first);
    while !rest.is_empty() {
        let (logical, index) = split::<T>(T::slot(number));
        let (here, later) = rest.split_at(rest.len().min(T::SLOTS - index));
        put_in_page::<T, W>(w, logical, index, here)?;
        number += here.len() as u64;
        rest = later;
    }
    Ok(())
}

fn put_in_page<T: Table, W: PageWriter>(
    w: &mut W,
    logical: u64,
    index: usize,
    records: &[T::Record],
) -> Result<()> {
    let entry = entry_of::<T, W>(w, logical)?;
    let number = match entry.page {
        Some(number) => number,
        None => make_page::<T, W>(w, logical, entry)?,
    };
    let page = w.page_mut(number)?;
    check_table_page::<T>(page, logical)?;
    let mut added = 0;
    for (index, record) in (index..).zip(records) {
        let raw = slot_bytes_mut::<T>(page, index);
        let generation = T::generation(record);
        match T::decode(raw) {
            SlotState::Used(old) if T::generation(&old) == generation => {}
            SlotState::Free { .. } if generation < GENERATION_RETIRED => added += 1,
            _ => {
                return Err(Error::Corrupt {
                    page: number,
                    why: "a slot is written that belongs to another",
                });
            }
        }
        T::encode(record, raw)?;
    }
    if added > 0 {
        put_u16(page, USED, u16_at(page, USED).saturating_add(added));
        if is_full::<T>(page) {
            set_entry::<T, W>(w, logical, Entry { page: Some(number), full: true, floor: entry.floor })?;
        }
    }
    Ok(())
}

/// Frees a used slot, and its page with the last of them.
pub(crate) fn free_slot<T: Table, W: PageWriter>(w: &mut W, slot: T::Slot) -> Result<()> {
    let (logical, index) = split::<T>(slot);
    let entry = entry_of::<T, W>(w, logical)?;
    let Some(number) = entry.page else {
        return Err(Error::Corrupt {
            page: graphite_store::STATE_PAGE,
            why: "a slot without a page is freed",
        });
    };
    let page = w.page_mut(number)?;
    check_table_page::<T>(page, logical)?;
    let raw = slot_bytes_mut::<T>(page, index);
    let SlotState::Used(old) = T::decode(raw) else {
        return Err(Error::Corrupt { page: number, why: "a free slot is freed again" });
    };
    let generation = T::generation(&old).saturating_add(1);
    T::encode_vacant(generation, raw);
    if generation >= GENERATION_RETIRED {
        put_u16(page, RETIRED, u16_at(page, RETIRED).saturating_add(1));
    }
    let used = u16_at(page, USED).saturating_sub(1);
    put_u16(page, USED, used);
    if is_to_be_freed::<T>(page) {
        let floor = highest_generation::<T>(page).max(entry.floor);
        w.free(number)?;
        return set_entry::<T, W>(w, logical, Entry { page: None, full: floor == GENERATION_RETIRED, floor });
    }
    let full = is_full::<T>(page);
    if full == entry.full { Ok(()) } else { set_entry::<T, W>(w, logical, Entry { full, ..entry }) }
}

/// Moves a logical page to a new page of the file, so that it can be changed without a change of the old one.
pub(crate) fn move_page<T: Table, W: PageWriter>(w: &mut W, logical: u64) -> Result<()> {
    let entry = entry_of::<T, W>(w, logical)?;
    let Some(old) = entry.page else { return Ok(()) };
    let body = {
        let page = w.page(old)?;
        check_table_page::<T>(&page, logical)?;
        *page.body()
    };
    let number = w.allocate(T::KIND)?;
    *w.page_mut(number)?.body_mut() = body;
    set_entry::<T, W>(w, logical, Entry { page: Some(number), ..entry })?;
    Ok(w.free(old)?)
}

/// Invariant 3 of the table.
pub(super) fn is_to_be_freed<T: Table>(page: &Page) -> bool {
    u16_at(page, USED) == 0 && (u16_at(page, RETIRED) == 0 || is_full::<T>(page))
}

fn is_full<T: Table>(page: &Page) -> bool {
    usize::from(u16_at(page, USED)) + usize::from(u16_at(page, RETIRED)) >= T::SLOTS
}

/// Of the slots of a page without users.
fn highest_generation<T: Table>(page: &Page) -> u16 {
    let generations = (0..T::SLOTS).map(|index| match T::decode(slot_bytes::<T>(page, index)) {
        SlotState::Used(record) => T::generation(&record),
        SlotState::Free { generation } => generation,
        SlotState::Retired => GENERATION_RETIRED,
    });
    generations.max().unwrap_or(0)
}

/// Makes table page `logical`, all slots free at the floor's generation, and its directory entry.
fn make_page<T: Table, W: PageWriter>(w: &mut W, logical: u64, entry: Entry) -> Result<PageNo> {
    let short = u32::try_from(logical).map_err(|_| too_many::<T>())?;
    let number = w.allocate(T::KIND)?;
    let page = w.page_mut(number)?;
    put_u32(page, LOGICAL, short);
    if entry.floor > 0 {
        for index in 0..T::SLOTS {
            T::encode_vacant(entry.floor, slot_bytes_mut::<T>(page, index));
        }
    }
    set_entry::<T, W>(w, logical, Entry { page: Some(number), ..entry })?;
    if page_count::<T, W>(w)? <= logical {
        w.set_state(T::PAGES, logical + 1)?;
    }
    Ok(number)
}

/// Changes the entry of a table page, and above it what follows from its being full or not.
fn set_entry<T: Table, W: PageWriter>(w: &mut W, logical: u64, mut entry: Entry) -> Result<()> {
    let path = path_to::<T, W>(w, logical)?;
    for (level, number) in path.pages.into_iter().enumerate().take(path.height) {
        let index = index_at(logical, level);
        let directory = w.page_mut(number)?;
        let before = Entry::read(directory, index);
        entry.write(directory, index);
        if before.full == entry.full {
            return Ok(());
        }
        let full_before = u16_at(directory, FULL_ENTRIES);
        let full = if entry.full { full_before.saturating_add(1) } else { full_before.saturating_sub(1) };
        put_u16(directory, FULL_ENTRIES, full);
        let limit = FANOUT as u16;
        if (full_before >= limit) == (full >= limit) {
            return Ok(());
        }
        entry = Entry { page: Some(number), full: full >= limit, floor: 0 };
    }
    Ok(())
}

/// The directory pages above `logical`; the missing ones are made, and the tree grows in height as needed.
fn path_to<T: Table, W: PageWriter>(w: &mut W, logical: u64) -> Result<Path> {
    let mut root = match Root::read::<T, W>(w)? {
        Some(root) => root,
        None => {
            let root = Root { page: make_directory(w, 0, 0)?, height: 1 };
            root.write::<T, W>(w)?;
            root
        }
    };
    while logical >= reach(root.height) {
        let page = make_directory(w, root.height, 0)?;
        let old = directory_page(w, root.page, root.height - 1, 0)?;
        let full = usize::from(u16_at(&old, FULL_ENTRIES)) >= FANOUT;
        drop(old);
        let directory = w.page_mut(page)?;
        Entry { page: Some(root.page), full, floor: 0 }.write(directory, 0);
        put_u16(directory, FULL_ENTRIES, u16::from(full));
        root = Root { page, height: root.height + 1 };
        root.write::<T, W>(w)?;
    }
    let mut path = Path { pages: [PageNo(0); HEIGHT_MAX], height: root.height };
    let mut number = root.page;
    for level in (0..root.height).rev() {
        path.pages[level] = number;
        let index = index_at(logical, level);
        let entry = Entry::read(&*directory_page(w, number, level, logical)?, index);
        if level == 0 {
            break;
        }
        number = match entry.page {
            Some(child) => child,
            None => {
                let child = make_directory(w, level - 1, logical)?;
                Entry { page: Some(child), ..entry }.write(w.page_mut(number)?, index);
                child
            }
        };
    }
    Ok(path)
}

fn make_directory<W: PageWriter>(w: &mut W, level: usize, logical: u64) -> Result<PageNo> {
    let number = w.allocate(PageKind::Directory)?;
    let page = w.page_mut(number)?;
    page.range_mut(LEVEL..LEVEL + 1)[0] = u8::try_from(level).expect("a directory has at most four levels");
    let first = logical / reach(level + 1) * reach(level + 1);
    put_u32(page, FIRST, u32::try_from(first).expect("logical pages have 32 bits"));
    Ok(number)
}
