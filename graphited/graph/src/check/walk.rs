//! The walk through everything that is reachable.

use std::ops::ControlFlow;

use graphite_store::{PageKind, PageNo, PageReader, record};

use super::Progress;
use super::mirror::Mirror;
use super::pages::{Owners, Part};
use super::report::{CheckReport, Hidden, Problem};
use crate::adjacency::{self, Owner, Side};
use crate::apply::Spaces;
use crate::catalog::{Catalog, visit_catalog_pages};
use crate::edges::{self, EdgeRecord, Edges};
use crate::nodes::{self, NodeRecord, Nodes};
use crate::page_view::side_of;
use crate::properties::{self, check_properties};
use crate::state;
use crate::table::{self, Table};
use crate::{EdgeSlot, Error, NodeSlot, Result, ledger, tokens};

/// Collects problems and owners while the graph is walked.
pub(super) struct Walk<'a, R: PageReader> {
    pub(super) r: &'a R,
    pub(super) catalog: &'a Catalog,
    pub(super) report: CheckReport,
    pub(super) owners: Owners,
    /// Whether everything could be read that may own pages.
    pub(super) all_met: bool,
    /// Records and adjacency blocks that are in slotted pages, and those that something points at.
    pub(super) in_pages: [u64; 2],
    pub(super) pointed_at: [u64; 2],
    pub(super) mirror: Mirror,
    /// Pages that nobody gets at.
    pub(super) hidden: Hidden,
    /// Parts that could not be looked at for that: how many, and the first of them.
    cut_short: (u64, String),
    /// What only follows from pages that nobody gets at, in words.
    follows: Vec<String>,
    /// Whether all names could be read, and nodes and edges whose names were not among them if not.
    all_named: bool,
    unnamed: u64,
    /// Why no more can be proved.
    pub(super) stopped: Option<Error>,
    pub(super) progress: &'a Progress<'a>,
}

const RECORDS: usize = 0;
const BLOCKS: usize = 1;

impl<'a, R: PageReader> Walk<'a, R> {
    pub(super) fn new(r: &'a R, catalog: &'a Catalog, pages: u32, progress: &'a Progress<'a>) -> Walk<'a, R> {
        Walk {
            r,
            catalog,
            report: CheckReport::default(),
            owners: Owners::new(pages),
            all_met: true,
            in_pages: [0; 2],
            pointed_at: [0; 2],
            mirror: Mirror::default(),
            hidden: Hidden::default(),
            cut_short: (0, String::new()),
            follows: Vec::new(),
            all_named: true,
            unnamed: 0,
            stopped: None,
            progress,
        }
    }

    /// Notes what is wrong with no one record.
    pub(super) fn problem(&mut self, why: impl std::fmt::Display) {
        self.report.add(Problem::of_graph(why));
    }

    /// Notes what is wrong with a record, which the words name too.
    pub(super) fn problem_of(&mut self, record: impl std::fmt::Display, why: impl std::fmt::Display) {
        self.report.add(Problem::of_record(record, why));
    }

    /// Notes an error that came from `what`: a problem if it says so, else the end of the check.
    pub(super) fn error(&mut self, what: &str, error: Error) {
        if error.is_damage() {
            self.all_met = false;
            if !self.hidden.note(&error) {
                self.report.add(Problem::of_error(what, &error));
            } else if !what.is_empty() {
                if self.cut_short.0 == 0 {
                    self.cut_short.1 = what.to_owned();
                }
                self.cut_short.0 += 1;
            }
        } else {
            self.stopped.get_or_insert(error);
        }
    }

    /// Notes a sum that is too small: a problem, unless it only follows from pages that nobody gets at.
    pub(super) fn too_few(&mut self, why: String) {
        if self.hidden.is_empty() { self.problem(why) } else { self.follows.push(why) }
    }

    /// Notes, in one problem, what only follows from pages that nobody gets at.
    pub(super) fn say_what_is_hidden(&mut self, pages_without_owner: u64) {
        if !self.all_met && pages_without_owner > 0 {
            self.too_few(format!(
                "{pages_without_owner} pages are marked as used, and nothing that could be read has them"
            ));
        }
        let (parts, first) = &self.cut_short;
        if *parts > 0 {
            let others = if *parts == 1 { String::new() } else { format!(" and {} more parts", parts - 1) };
            self.follows.insert(0, format!("{first}{others} could not be read"));
        }
        if self.unnamed > 0 {
            self.follows.push(format!("{} nodes and edges have names that could not be read", self.unnamed));
        }
        if !self.follows.is_empty() {
            let follows = self.follows.join("; ");
            self.problem(format!("what follows from damaged pages alone: {follows}"));
        }
    }

    fn own(&mut self, page: PageNo, part: Part, what: &str) {
        if let Some(before) = self.owners.own(page, part) {
            let what = if what.is_empty() { String::new() } else { format!(" ({what})") };
            let why = format!("it has two owners: {before} and {part}{what}");
            self.report.add(Problem::of_page(page, why));
        }
    }

    /// Runs one part, whose pages and error are noted; gives whether there was none.
    fn part(
        &mut self,
        part: Part,
        what: &dyn Fn() -> String,
        walk: impl FnOnce(&'a R, &mut dyn FnMut(PageNo)) -> Result<()>,
    ) -> bool {
        let mut pages = Vec::new();
        let done = walk(self.r, &mut |page| pages.push(page));
        pages.into_iter().for_each(|page| self.own(page, part, &what()));
        let is_done = done.is_ok();
        if let Err(error) = done {
            self.error(&what(), error);
        }
        is_done
    }

    /// Everything but the nodes and edges themselves.
    pub(super) fn frame(&mut self) {
        self.tables();
        self.all_named = self.part(Part::Catalog, &|| "catalog".to_owned(), |r, own| {
            visit_catalog_pages(r, own)?;
            Catalog::load(r).map(|_| ())
        });
        self.part(Part::Ledger, &|| "import ledger".to_owned(), |r, own| ledger::for_each_page(r, own));
        self.part(Part::Tokens, &|| "commit tokens".to_owned(), |r, own| tokens::for_each_page(r, own));
        let spaces = Spaces::default();
        for (of, map, part, space, kind) in [
            (RECORDS, Part::RecordSpace, Part::Records, &spaces.records, PageKind::Record),
            (BLOCKS, Part::AdjacencySpace, Part::Adjacency, &spaces.adjacency, PageKind::Adjacency),
        ] {
            let (mut known, mut problems) = (Vec::new(), Vec::new());
            self.part(map, &|| map.to_string(), |r, own| {
                space.visit(r, own, &mut |page| known.push(page), &mut |error| problems.push(error))
            });
            // The map was read all the same, and every page that it knows was met.
            problems.iter().for_each(|error| self.report.add(Problem::of_error("", error)));
            for page in known {
                self.own(page, part, "");
                self.slotted(of, page, kind);
            }
        }
    }

    fn slotted(&mut self, of: usize, number: PageNo, kind: PageKind) {
        match self.r.page_of(number, kind) {
            Ok(page) => {
                if let Err(why) = record::check(&page) {
                    self.error("", Error::Corrupt { page: number, why });
                }
                self.in_pages[of] += record::slots(&page).count() as u64;
            }
            Err(error) => self.error("", error.into()),
        }
    }

    fn tables(&mut self) {
        let (mut pages, mut problems) = (Vec::new(), Vec::new());
        let found =
            nodes::check_nodes(self.r, &mut |page| pages.push(page), &mut |error| problems.push(error));
        self.table(Part::NodeTable, "nodes", state::NODE_COUNT, found, &mut pages, &mut problems);
        let found =
            edges::check_edges(self.r, &mut |page| pages.push(page), &mut |error| problems.push(error));
        self.table(Part::EdgeTable, "edges", state::EDGE_COUNT, found, &mut pages, &mut problems);
    }

    fn table(
        &mut self,
        part: Part,
        what: &str,
        counter: usize,
        found: u64,
        pages: &mut Vec<PageNo>,
        problems: &mut Vec<Error>,
    ) {
        pages.drain(..).for_each(|page| self.own(page, part, ""));
        problems.drain(..).for_each(|error| self.error("", error));
        match self.r.state(counter) {
            Ok(count) if count == found => {}
            Ok(count) => {
                let why = format!("there are {found} {what}, and their counter says {count}");
                if count > found { self.too_few(why) } else { self.problem(why) }
            }
            Err(error) => self.error("", error.into()),
        }
    }

    fn node(&mut self, slot: NodeSlot, record: &NodeRecord) {
        self.report.nodes += 1;
        if self.catalog.labels_of(record.label_set).is_none() {
            let why = format!("{slot:?} has a set of labels that is not in the catalog");
            self.without_name(format!("{slot:?}"), why);
        }
        if let Some(at) = record.properties {
            self.report.property_records += 1;
            self.pointed_at[RECORDS] += 1;
            self.part(Part::Overflow, &|| format!("properties of {slot:?}"), |r, own| {
                check_properties(r, at, properties::Owner::Node(slot), own)
            });
        }
        for side in [Side::Out, Side::In] {
            self.side(record, Owner { slot, side });
        }
    }

    /// Notes that a node's or edge's names are not in the catalog.
    fn without_name(&mut self, record: String, why: String) {
        if self.all_named { self.problem_of(record, why) } else { self.unnamed += 1 }
    }

    fn side(&mut self, record: &NodeRecord, owner: Owner) {
        let (location, degree) = side_of(record, owner.side);
        let what = || side_in_words(owner);
        let Some(location) = location else {
            if degree != 0 {
                self.problem_of(what(), format!("{}: the degree is {degree}, and there is none", what()));
            }
            return;
        };
        self.pointed_at[BLOCKS] += u64::from(!location.is_tree());
        match adjacency::check(self.r, owner, location) {
            Ok(count) if count == u64::from(degree) => {}
            Ok(count) => {
                let why = format!("{}: {count} entries, and the degree is {degree}", what());
                self.report.add(Problem { page: Some(location.page), ..Problem::of_record(what(), why) });
            }
            Err(error) => return self.error(&what(), error),
        }
        if location.is_tree() {
            self.part(Part::Hub, &what, |r, own| adjacency::for_each_page(r, owner, location, own));
        }
        let mirror = &mut self.mirror;
        let visited = adjacency::for_each_group(self.r, owner, location, None, |type_, group| {
            mirror.group(owner, type_, group);
            ControlFlow::<()>::Continue(())
        });
        if let Err(error) = visited {
            self.error(&what(), error);
        }
    }

    fn edge(&mut self, slot: EdgeSlot, record: &EdgeRecord) {
        self.report.edges += 1;
        self.mirror.edge(slot, record);
        if self.catalog.type_name(record.type_).is_none() {
            let why = format!("{slot:?} has a type that is not in the catalog");
            self.without_name(format!("{slot:?}"), why);
        }
        if let Some(at) = record.properties {
            self.report.property_records += 1;
            self.pointed_at[RECORDS] += 1;
            self.part(Part::Overflow, &|| format!("properties of {slot:?}"), |r, own| {
                check_properties(r, at, properties::Owner::Edge(slot), own)
            });
        }
    }

    /// Shows all nodes, or all edges, a table page at a time, until something ends the check. What cannot be read is a
    /// problem if `tell` says so.
    pub(super) fn each<T: Table>(
        &mut self,
        tell: bool,
        mut visit: impl FnMut(&mut Self, T::Slot, &T::Record),
    ) -> Result<()> {
        for page in 0..table::page_count::<T, _>(self.r)? {
            let mut found = Vec::with_capacity(T::SLOTS);
            let visited = table::visit_page::<T, _>(self.r, page, |slot, record| {
                found.push((slot, record));
                Ok(())
            });
            self.after_page(visited, tell);
            if self.stopped.is_some() {
                break;
            }
            found.iter().for_each(|(slot, record)| visit(self, *slot, record));
        }
        Ok(())
    }

    fn after_page(&mut self, visited: Result<()>, tell: bool) {
        self.progress.step(1);
        match visited {
            Err(error) if tell || !error.is_damage() => self.error("", error),
            _ => {}
        }
    }

    /// All nodes and edges, and whether they mirror each other.
    pub(super) fn graph(&mut self) {
        let nodes = self.each::<Nodes>(true, |walk, slot, record| walk.node(slot, record));
        let edges = self.each::<Edges>(true, |walk, slot, record| walk.edge(slot, record));
        for done in [nodes, edges] {
            if let Err(error) = done {
                self.error("", error);
            }
        }
        let [out, in_] = self.mirror.entries();
        self.report.adjacency_entries = out + in_;
        if !self.mirror.is_even() && self.stopped.is_none() {
            self.name_what_is_uneven();
        }
        for (of, what) in [(RECORDS, "property records"), (BLOCKS, "adjacency blocks")] {
            let (found, met) = (self.in_pages[of], self.pointed_at[of]);
            if found != met && self.all_met {
                self.problem(format!("there are {found} {what}, and {met} are pointed at"));
            }
        }
    }
}

pub(super) fn side_in_words(owner: Owner) -> String {
    let side = if owner.side == Side::Out { "outgoing" } else { "incoming" };
    format!("{side} adjacency of {:?}", owner.slot)
}
