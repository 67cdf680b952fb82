//! Who owns which page.

use std::collections::HashMap;
use std::fmt;

use graphite_store::{PageNo, PageUse};

use super::report::{CheckReport, Problem};

/// What a page can belong to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Part {
    NodeTable = 1,
    EdgeTable,
    Catalog,
    Ledger,
    Tokens,
    RecordSpace,
    AdjacencySpace,
    Records,
    Adjacency,
    Overflow,
    Hub,
}

const PARTS: [Part; 11] = [
    Part::NodeTable,
    Part::EdgeTable,
    Part::Catalog,
    Part::Ledger,
    Part::Tokens,
    Part::RecordSpace,
    Part::AdjacencySpace,
    Part::Records,
    Part::Adjacency,
    Part::Overflow,
    Part::Hub,
];

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::NodeTable => "the node table",
            Part::EdgeTable => "the edge table",
            Part::Catalog => "the catalog",
            Part::Ledger => "the import ledger",
            Part::Tokens => "the commit tokens",
            Part::RecordSpace => "the free-space map of records",
            Part::AdjacencySpace => "the free-space map of adjacency",
            Part::Records => "the record pages",
            Part::Adjacency => "the adjacency pages",
            Part::Overflow => "a long value",
            Part::Hub => "the adjacency of a hub",
        })
    }
}

/// The owner of each page that has been met: a byte for each page of the file, and few for those that cannot be in it.
#[derive(Debug, Default)]
pub(super) struct Owners {
    parts: Vec<u8>,
    outside: HashMap<PageNo, Part>,
}

impl Owners {
    /// For a file of so many pages.
    pub(super) fn new(pages: u32) -> Owners {
        Owners { parts: vec![0; pages as usize], outside: HashMap::new() }
    }

    /// Notes an owner; gives the one that it had before.
    pub(super) fn own(&mut self, page: PageNo, part: Part) -> Option<Part> {
        match self.parts.get_mut(page.0 as usize) {
            None => self.outside.insert(page, part),
            Some(owner) => {
                PARTS.get(usize::from(std::mem::replace(owner, part as u8)).wrapping_sub(1)).copied()
            }
        }
    }

    fn part(&self, page: PageNo) -> Option<Part> {
        let owner = usize::from(*self.parts.get(page.0 as usize)?);
        PARTS.get(owner.wrapping_sub(1)).copied()
    }

    /// All that are owned, sorted.
    pub(super) fn pages(&self) -> Vec<PageNo> {
        let inside = (0_u32..).zip(&self.parts).filter(|(_, part)| **part != 0).map(|(page, _)| PageNo(page));
        let mut pages: Vec<PageNo> = inside.chain(self.outside.keys().copied()).collect();
        pages.sort_unstable();
        pages
    }

    /// Compares the owners with the bitmaps: every page is owned and used, or neither. With `all_met` false, something
    /// could not be read that may own pages, and then one without an owner proves nothing. Returns how many have none.
    pub(super) fn compare(&self, use_: &PageUse, all_met: bool, report: &mut CheckReport) -> u64 {
        let mut without_owner = 0;
        for page in (0..use_.count()).map(PageNo) {
            let Some(is_used) = use_.is_used(page) else { continue };
            match self.part(page) {
                Some(part) if use_.is_fixed(page) => report.add(Problem::of_page(
                    page,
                    format!("{part} has it, and it is one that is never given out"),
                )),
                Some(part) if !is_used => {
                    report.add(Problem::of_page(page, format!("it is marked as free, and {part} has it")));
                }
                None if use_.is_fixed(page) && !is_used => {
                    report.add(Problem::of_page(page, "it is marked as free, and must never be given out"));
                }
                None if is_used && !use_.is_fixed(page) => {
                    without_owner += 1;
                    if all_met {
                        report.add(Problem::of_page(page, "it is marked as used, and nothing has it"));
                    }
                }
                _ => {}
            }
        }
        for (page, part) in &self.outside {
            let why = format!("{part} has it, and the file has only {} pages", use_.count());
            report.add(Problem::of_page(*page, why));
        }
        use_.used_beyond().for_each(|page| {
            report.add(Problem::of_page(page, "it is marked as used, and was never used"));
        });
        without_owner
    }
}
