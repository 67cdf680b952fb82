//! Where in a damaged database the tables' pages are.
//!
//! The directory of a table says so where it can be read. Where not, every page of the table's kind that is in use is
//! looked at: it says which one it is. Of two that say the same the newer one counts.
//!
//! Under a bitmap that cannot be read any page may be in use, and one that was freed still says what it was. So such a
//! page counts only where the directory cannot be read either: else what was deleted would come back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use graphite_store::{Error as StoreError, Lsn, PageKind, PageNo, PageReader, Sweep};

use super::tell;
use crate::Result;
use crate::check::{CheckReport, Problem, Progress};
use crate::edges::Edges;
use crate::nodes::Nodes;
use crate::table::{self, Table};

/// Pages of a table, by their number in it.
pub(super) type Places = BTreeMap<u64, PageNo>;

/// A damaged database.
pub(super) struct Source<'a> {
    pub(super) pages: &'a Sweep<'a>,
    pub(super) nodes: Places,
    pub(super) edges: Places,
}

impl<'a> Source<'a> {
    /// Reads every page, and tells which of them are damaged.
    pub(super) fn find(
        pages: &'a Sweep<'a>,
        lost: &mut CheckReport,
        progress: &Progress<'_>,
    ) -> Result<Source<'a>> {
        let mut found = Found::default();
        let mut told = BTreeSet::new();
        pages.superblocks(&mut |page, why| lost.add(Problem::of_page(page, why)));
        let use_ = pages.page_use(&mut |error| {
            if let StoreError::CorruptPage { page, .. } = &error {
                told.insert(*page);
            }
            lost.add(Problem::of_error("", &error.into()));
        })?;
        progress.set_total(use_.used());
        pages.file().each_page(&use_, |page, kind| {
            progress.step(1);
            match kind {
                Ok(kind @ (PageKind::Nodes | PageKind::Edges)) => found.in_use.push((page, kind)),
                Ok(_) => {}
                Err(_) if told.contains(&page) => {}
                Err(why) => lost.add(Problem::of_bytes(page, &why)),
            }
            ControlFlow::Continue(())
        })?;
        for page in (0..use_.count()).map(PageNo).filter(|page| use_.is_used(*page).is_none()) {
            if let Ok(page) = pages.page(page) {
                found.perhaps_in_use.push((page.number(), page.kind()));
            }
        }
        let nodes = places::<Nodes>(pages, &found, lost)?;
        let edges = places::<Edges>(pages, &found, lost)?;
        Ok(Source { pages, nodes, edges })
    }
}

/// Pages that may be a table's.
#[derive(Default)]
struct Found {
    in_use: Vec<(PageNo, PageKind)>,
    /// Those under a bitmap that cannot be read.
    perhaps_in_use: Vec<(PageNo, PageKind)>,
}

/// The newest of each of a table's pages, by what they say that they are.
fn newest<T: Table>(pages: &Sweep<'_>, found: &[(PageNo, PageKind)]) -> BTreeMap<u64, (Lsn, PageNo)> {
    let mut newest: BTreeMap<u64, (Lsn, PageNo)> = BTreeMap::new();
    for (number, _) in found.iter().filter(|(_, kind)| *kind == T::KIND) {
        let Ok(page) = pages.page(*number) else { continue };
        let place = newest.entry(table::logical_of(&page)).or_default();
        *place = (*place).max((page.lsn(), *number));
    }
    newest
}

fn places<T: Table>(pages: &Sweep<'_>, found: &Found, lost: &mut CheckReport) -> Result<Places> {
    let newest_in_use = newest::<T>(pages, &found.in_use);
    let perhaps = newest::<T>(pages, &found.perhaps_in_use);
    let mut places: Places = newest_in_use.iter().map(|(logical, (_, page))| (*logical, *page)).collect();
    let mut told = false;
    for logical in 0..table::page_count::<T, _>(pages)? {
        let is_known = match table::place_of_page::<T, _>(pages, logical) {
            Ok(None) => true,
            Ok(Some(place)) => {
                let is_it = pages.page(place).is_ok_and(|page| page.kind() == T::KIND);
                if is_it {
                    places.insert(logical, place);
                }
                is_it
            }
            Err(error) => {
                if !told {
                    tell(lost, &format!("directory of the {}", T::NAME), error)?;
                }
                told = true;
                let candidates = newest_in_use.get(&logical).max(perhaps.get(&logical));
                places.extend(candidates.map(|(_, page)| (logical, *page)));
                // That it is not among those that were found says that it is damaged, or was never made.
                places.contains_key(&logical)
            }
        };
        if !is_known && !places.contains_key(&logical) {
            let (first, last) = (logical * T::SLOTS as u64, (logical + 1) * T::SLOTS as u64 - 1);
            let record = format!("{} in slots {first} to {last}", T::NAME);
            let why = format!("{record} cannot be read");
            lost.add(Problem::of_record(record, why));
        }
    }
    Ok(places)
}
