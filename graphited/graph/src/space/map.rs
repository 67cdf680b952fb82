//! The pages of a free-space map: one byte for every page of the file, in a radix tree.
//!
//! A byte is a *class*: 0 for a page that is not of this map, else one plus the page's room in units of
//! [`CLASS_BYTES`], rounded down. Body of a map page (offsets, little endian):
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | level; 0: classes |
//! | 1 | 3 | zero |
//! | 4 | 4 | first file page below it |
//! | 8 | 8160 | level 0: classes; above: page numbers of the map pages below, u32, 0 for none |
//!
//! The state slot of the root has the root's page number in its lower 32 bits, and the height above them. Map
//! pages are made as needed and never freed.

use graphite_store::{PAGE_BODY_BYTES, Page, PageKind, PageNo, PageReader, PageWriter, STATE_PAGE, record};

use crate::{Error, Result};

/// Bytes of room by which one class differs from the next.
pub(super) const CLASS_BYTES: usize = 512;

const LEVEL: usize = 0;
const FIRST: usize = 4;
const ENTRIES: usize = 8;
/// File pages that a leaf describes.
pub(super) const LEAF_PAGES: usize = PAGE_BODY_BYTES - ENTRIES;
const _: () = assert!(LEAF_PAGES == 8160);
const FANOUT: usize = LEAF_PAGES / 4;
const HEIGHT_MAX: usize = 3;
const _: () = assert!(reach(HEIGHT_MAX) > u32::MAX as u64);

/// File pages that a map of so many levels reaches.
const fn reach(height: usize) -> u64 {
    LEAF_PAGES as u64 * (FANOUT as u64).pow(height as u32 - 1)
}

/// The class of a page with so much room.
pub(super) fn class_of_room(room: usize) -> u8 {
    u8::try_from(1 + room / CLASS_BYTES).expect("a page's room has few units")
}

/// The least class whose pages all have room for `bytes`.
pub(super) fn class_for(bytes: usize) -> u8 {
    u8::try_from(1 + bytes.div_ceil(CLASS_BYTES)).expect("a record has few units")
}

fn read_root<R: PageReader>(r: &R, root: usize) -> Result<Option<(PageNo, usize)>> {
    let raw = r.state(root)?;
    let page = PageNo((raw & 0xffff_ffff) as u32);
    match usize::try_from(raw >> 32) {
        Ok(0) if page.0 == 0 => Ok(None),
        Ok(height @ 1..=HEIGHT_MAX) if page.0 != 0 => Ok(Some((page, height))),
        _ => Err(Error::Corrupt { page: STATE_PAGE, why: "the root of a free-space map makes no sense" }),
    }
}

fn write_root<W: PageWriter>(w: &mut W, root: usize, page: PageNo, height: usize) -> Result<()> {
    Ok(w.set_state(root, (height as u64) << 32 | u64::from(page.0))?)
}

fn u32_at(page: &Page, at: usize) -> u32 {
    let body = page.body();
    u32::from_le_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]])
}

fn put_u32(page: &mut Page, at: usize, value: u32) {
    page.range_mut(at..at + 4).copy_from_slice(&value.to_le_bytes());
}

/// Where in its parent of `level` the entry for a file page is.
fn entry_at(page: PageNo, level: usize) -> usize {
    ENTRIES + (u64::from(page.0) / reach(level) % FANOUT as u64) as usize * 4
}

fn class_at(page: PageNo) -> usize {
    ENTRIES + page.0 as usize % LEAF_PAGES
}

/// A map page that is what its parent says.
fn map_page<R: PageReader>(r: &R, number: PageNo, level: usize, of: PageNo) -> Result<R::Ref<'_>> {
    let page = r.page_of(number, PageKind::SpaceMap)?;
    let span = reach(level + 1);
    let first = u64::from(of.0) / span * span;
    if usize::from(page.body()[LEVEL]) != level || u64::from(u32_at(&page, FIRST)) != first {
        return Err(Error::Corrupt { page: number, why: "a free-space page is not where it belongs" });
    }
    Ok(page)
}

/// The leaf that describes a file page, if it was made.
fn leaf_number<R: PageReader>(r: &R, root: usize, of: PageNo) -> Result<Option<PageNo>> {
    let Some((mut number, height)) = read_root(r, root)? else { return Ok(None) };
    if u64::from(of.0) >= reach(height) {
        return Ok(None);
    }
    for level in (1..height).rev() {
        match u32_at(&*map_page(r, number, level, of)?, entry_at(of, level)) {
            0 => return Ok(None),
            child => number = PageNo(child),
        }
    }
    Ok(Some(number))
}

/// The class of a page; 0 if the map does not know it.
pub(super) fn class<R: PageReader>(r: &R, root: usize, of: PageNo) -> Result<u8> {
    Ok(match leaf_number(r, root, of)? {
        Some(leaf) => map_page(r, leaf, 0, of)?.body()[class_at(of)],
        None => 0,
    })
}

/// Number of leaves that the map could have at its height.
pub(super) fn leaves<R: PageReader>(r: &R, root: usize) -> Result<u64> {
    Ok(read_root(r, root)?.map_or(0, |(_, height)| reach(height) / LEAF_PAGES as u64))
}

/// Shows the known pages of leaf number `leaf`, from file page `from` on, with their classes, until `visit` says
/// stop (false).
pub(super) fn visit_leaf<R: PageReader>(
    r: &R,
    root: usize,
    leaf: u64,
    from: u32,
    mut visit: impl FnMut(PageNo, u8) -> bool,
) -> Result<()> {
    let Ok(first) = u32::try_from(leaf * LEAF_PAGES as u64) else { return Ok(()) };
    let Some(number) = leaf_number(r, root, PageNo(first))? else { return Ok(()) };
    let page = map_page(r, number, 0, PageNo(first))?;
    let skip = from.saturating_sub(first);
    let classes = page.body().get(ENTRIES + skip as usize..).unwrap_or_default();
    for (class, number) in classes.iter().zip(first + skip..) {
        if *class != 0 && !visit(PageNo(number), *class) {
            break;
        }
    }
    Ok(())
}

/// Sets the class of a page. The map grows as needed.
pub(super) fn set_class<W: PageWriter>(w: &mut W, root: usize, of: PageNo, class: u8) -> Result<()> {
    let leaf = match leaf_number(w, root, of)? {
        Some(leaf) => leaf,
        None => make_leaf(w, root, of)?,
    };
    map_page(w, leaf, 0, of)?;
    let at = class_at(of);
    w.page_mut(leaf)?.range_mut(at..at + 1)[0] = class;
    Ok(())
}

/// Makes the leaf that describes a file page, and what is missing above it.
fn make_leaf<W: PageWriter>(w: &mut W, root: usize, of: PageNo) -> Result<PageNo> {
    let (mut number, mut height) = match read_root(w, root)? {
        Some(found) => found,
        None => (make_page(w, 0, PageNo(0))?, 1),
    };
    while u64::from(of.0) >= reach(height) {
        let above = make_page(w, height, PageNo(0))?;
        put_u32(w.page_mut(above)?, ENTRIES, number.0);
        (number, height) = (above, height + 1);
    }
    write_root(w, root, number, height)?;
    for level in (1..height).rev() {
        let child = u32_at(&*map_page(w, number, level, of)?, entry_at(of, level));
        number = if child == 0 {
            let child = make_page(w, level - 1, of)?;
            put_u32(w.page_mut(number)?, entry_at(of, level), child.0);
            child
        } else {
            PageNo(child)
        };
    }
    Ok(number)
}

fn make_page<W: PageWriter>(w: &mut W, level: usize, of: PageNo) -> Result<PageNo> {
    let number = w.allocate(PageKind::SpaceMap)?;
    let page = w.page_mut(number)?;
    page.range_mut(LEVEL..LEVEL + 1)[0] = u8::try_from(level).expect("a map has at most three levels");
    let span = reach(level + 1);
    let first = u64::from(of.0) / span * span;
    put_u32(page, FIRST, u32::try_from(first).expect("page numbers have 32 bits"));
    Ok(number)
}

/// Whom to show a whole map.
pub(super) struct Visit<'a> {
    /// Every page of the map itself.
    pub(super) own: &'a mut dyn FnMut(PageNo),
    /// Every page that it knows.
    pub(super) known: &'a mut dyn FnMut(PageNo),
    /// Every page of the map with a class that no page can have.
    pub(super) problem: &'a mut dyn FnMut(Error),
}

/// Shows the whole map.
pub(super) fn visit<R: PageReader>(r: &R, root: usize, visit: &mut Visit<'_>) -> Result<()> {
    let Some((number, height)) = read_root(r, root)? else { return Ok(()) };
    visit_below(r, number, height - 1, PageNo(0), visit)
}

/// The depth is bounded by `level`, which each page has to confirm.
fn visit_below<R: PageReader>(
    r: &R,
    number: PageNo,
    level: usize,
    first: PageNo,
    visit: &mut Visit<'_>,
) -> Result<()> {
    (visit.own)(number);
    let page = map_page(r, number, level, first)?;
    if level == 0 {
        let mut highest = 0;
        for (class, number) in page.body()[ENTRIES..].iter().zip(first.0..) {
            if *class != 0 {
                (visit.known)(PageNo(number));
                highest = highest.max(*class);
            }
        }
        if highest > class_of_room(record::RECORD_BYTES_MAX) {
            (visit.problem)(Error::Corrupt { page: number, why: "a class of free space is out of range" });
        }
        return Ok(());
    }
    for index in 0..FANOUT {
        let child = u32_at(&page, ENTRIES + index * 4);
        let below = u64::from(first.0) + index as u64 * reach(level);
        match u32::try_from(below) {
            Ok(below) if child != 0 => visit_below(r, PageNo(child), level - 1, PageNo(below), visit)?,
            _ => {}
        }
    }
    Ok(())
}
