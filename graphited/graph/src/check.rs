//! The check of a whole graph: walks everything that is reachable and reports every contradiction.
//!
//! What is proved: every table slot can be read; labels, types and keys have names; every property record and every
//! adjacency belongs to the one that points at it and is sound; each edge is in the adjacency of both its ends and
//! each entry is an edge; degrees and counters are right; and no page has two owners.
//!
//! Invariant: only what contradicts something is a problem. A snapshot that is too old and a disk that does not answer
//! prove nothing, so they end the check with their error.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use graphite_store::{PageNo, PageReader};
use rustc_hash::FxHashSet;

use crate::adjacency::{self, Owner, Side};
use crate::apply::Spaces;
use crate::catalog::{Catalog, visit_catalog_pages};
use crate::edges::{self, EdgeReader, EdgeRecord};

use crate::nodes::{self, NodeReader, NodeRecord};
use crate::page_view::side_of;
use crate::properties::{self, check_properties};
use crate::state;
use crate::{EdgeSlot, Error, NodeSlot, Result, ledger, tokens};

/// Problems past this number are counted and not described.
pub const PROBLEMS_MAX: usize = 1000;

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Nodes that were looked at.
    pub nodes: u64,
    /// Edges that were looked at.
    pub edges: u64,
    /// Every contradiction, in words; at most [`PROBLEMS_MAX`].
    pub problems: Vec<String>,
    /// How many more there are.
    pub problems_not_listed: u64,
    /// Every page that the graph owns, sorted: what is used and not in here is lost.
    pub pages: Vec<PageNo>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Collects problems and owners while the graph is walked.
struct Walk<'a, R: PageReader> {
    r: &'a R,
    catalog: &'a Catalog,
    report: CheckReport,
    owned: FxHashSet<PageNo>,
    /// Edges met in outgoing and in incoming adjacency.
    met: [u64; 2],
    /// Why no more can be proved.
    stopped: Option<Error>,
}

impl<'a, R: PageReader> Walk<'a, R> {
    fn problem(&mut self, what: impl std::fmt::Display) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(what.to_string());
        } else {
            self.report.problems_not_listed += 1;
        }
    }

    /// Notes an error that came from `what`: a problem if it says so, else the end of the check.
    fn error(&mut self, what: &str, error: Error) {
        if !error.is_damage() {
            self.stopped.get_or_insert(error);
        } else if what.is_empty() {
            self.problem(error);
        } else {
            self.problem(format!("{what}: {error}"));
        }
    }

    fn own(&mut self, page: PageNo) {
        if !self.owned.insert(page) {
            self.problem(format!("{page} has two owners"));
        }
    }

    /// Runs one part, whose pages and error are noted.
    fn part(&mut self, what: &str, walk: impl FnOnce(&'a R, &mut dyn FnMut(PageNo)) -> Result<()>) {
        let mut pages = Vec::new();
        let done = walk(self.r, &mut |page| pages.push(page));
        pages.into_iter().for_each(|page| self.own(page));
        if let Err(error) = done {
            self.error(what, error);
        }
    }

    fn tables(&mut self) {
        let (mut pages, mut problems) = (Vec::new(), Vec::new());
        let in_table = [
            nodes::check_nodes(self.r, &mut |page| pages.push(page), &mut |error| problems.push(error)),
            edges::check_edges(self.r, &mut |page| pages.push(page), &mut |error| problems.push(error)),
        ];
        pages.into_iter().for_each(|page| self.own(page));
        problems.into_iter().for_each(|error| self.error("", error));
        for (what, slot, found) in
            [("nodes", state::NODE_COUNT, in_table[0]), ("edges", state::EDGE_COUNT, in_table[1])]
        {
            match self.r.state(slot) {
                Ok(count) if count == found => {}
                Ok(count) => {
                    self.problem(format!("there are {found} {what}, and their counter says {count}"))
                }
                Err(error) => self.error("", error.into()),
            }
        }
    }

    fn node(&mut self, edges: &mut EdgeReader<'a, R>, slot: NodeSlot, record: &NodeRecord) {
        self.report.nodes += 1;
        if self.catalog.labels_of(record.label_set).is_none() {
            self.problem(format!("{slot:?} has a set of labels that is not in the catalog"));
        }
        if let Some(at) = record.properties {
            let what = format!("properties of {slot:?}");
            self.part(&what, |r, own| check_properties(r, at, properties::Owner::Node(slot), own));
        }
        for side in [Side::Out, Side::In] {
            self.side(edges, record, Owner { slot, side });
        }
    }

    fn side(&mut self, edges: &mut EdgeReader<'a, R>, record: &NodeRecord, owner: Owner) {
        let (location, degree) = side_of(record, owner.side);
        let what = format!("adjacency ({:?}) of {:?}", owner.side, owner.slot);
        let Some(location) = location else {
            if degree != 0 {
                self.problem(format!("{what}: the degree is {degree}, and there is none"));
            }
            return;
        };
        match adjacency::check(self.r, owner, location) {
            Ok(count) if count == u64::from(degree) => {}
            Ok(count) => self.problem(format!("{what}: {count} entries, and the degree is {degree}")),
            Err(error) => return self.error(&what, error),
        }
        self.part(&what, |r, own| adjacency::for_each_page(r, owner, location, own));
        let mut entries = Vec::new();
        let visited = adjacency::for_each_group(self.r, owner, location, None, |type_, group| {
            entries.extend(group.iter().map(|entry| (type_, entry)));
            ControlFlow::<()>::Continue(())
        });
        if let Err(error) = visited {
            return self.error(&what, error);
        }
        self.met[usize::from(owner.side == Side::In)] += entries.len() as u64;
        for (type_, entry) in entries {
            let (start, end) = match owner.side {
                Side::Out => (owner.slot, entry.neighbour),
                Side::In => (entry.neighbour, owner.slot),
            };
            match edges.read(entry.edge) {
                Ok(Some(edge)) if (edge.start, edge.end, edge.type_) == (start, end, type_) => {}
                Ok(_) => self.problem(format!("{what}: its entry for {:?} is no such edge", entry.edge)),
                Err(error) => self.error(&what, error),
            }
        }
    }

    fn edge(&mut self, nodes: &mut NodeReader<'a, R>, slot: EdgeSlot, record: &EdgeRecord) {
        self.report.edges += 1;
        if self.catalog.type_name(record.type_).is_none() {
            self.problem(format!("{slot:?} has a type that is not in the catalog"));
        }
        for end in [record.start, record.end] {
            match nodes.read(end) {
                Ok(Some(_)) => {}
                Ok(None) => self.problem(format!("{slot:?} ends at {end:?}, which is free")),
                Err(error) => self.error("", error),
            }
        }
        if let Some(at) = record.properties {
            let what = format!("properties of {slot:?}");
            self.part(&what, |r, own| check_properties(r, at, properties::Owner::Edge(slot), own));
        }
    }

    fn all_nodes(&mut self) -> Result<()> {
        let mut reader = EdgeReader::new(self.r);
        for page in 0..nodes::node_pages(self.r)? {
            let mut found = Vec::new();
            let visited = nodes::visit_nodes_in_page(self.r, page, |slot, record| {
                found.push((slot, record));
                Ok(())
            });
            if let Err(error) = visited {
                self.error("", error);
            }
            if self.stopped.is_some() {
                break;
            }
            found.iter().for_each(|(slot, record)| self.node(&mut reader, *slot, record));
        }
        Ok(())
    }

    fn all_edges(&mut self) -> Result<()> {
        let mut reader = NodeReader::new(self.r);
        for page in 0..edges::edge_pages(self.r)? {
            let mut found = Vec::new();
            let visited = edges::visit_edges_in_page(self.r, page, |slot, record| {
                found.push((slot, record));
                Ok(())
            });
            if let Err(error) = visited {
                self.error("", error);
            }
            if self.stopped.is_some() {
                break;
            }
            found.iter().for_each(|(slot, record)| self.edge(&mut reader, *slot, record));
        }
        Ok(())
    }
}

/// Pages that cannot be read any more once `stop` is raised, so that a walk of whatever part ends soon.
struct Until<'a, R> {
    r: &'a R,
    stop: &'a AtomicBool,
}

impl<R: PageReader> PageReader for Until<'_, R> {
    type Ref<'b>
        = R::Ref<'b>
    where
        Self: 'b;

    fn page(&self, number: PageNo) -> graphite_store::Result<R::Ref<'_>> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(graphite_store::Error::Closed);
        }
        self.r.page(number)
    }
}

/// Checks the graph in these pages, until somebody raises `stop`.
///
/// # Errors
/// `Interrupted`, if somebody did.
pub fn check_until<R: PageReader>(r: &R, catalog: &Catalog, stop: &AtomicBool) -> Result<CheckReport> {
    let report = check(&Until { r, stop }, catalog);
    // What is amiss may be that nothing could be read any more.
    if stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { report }
}

/// Checks the graph in these pages.
///
/// # Errors
/// What kept it from looking at everything: a snapshot that is too old, a disk that does not answer.
pub fn check<R: PageReader>(r: &R, catalog: &Catalog) -> Result<CheckReport> {
    let report = CheckReport::default();
    let mut walk = Walk { r, catalog, report, owned: FxHashSet::default(), met: [0; 2], stopped: None };
    walk.tables();
    walk.part("catalog", |r, own| visit_catalog_pages(r, own));
    walk.part("import ledger", |r, own| ledger::for_each_page(r, own));
    walk.part("commit tokens", |r, own| tokens::for_each_page(r, own));
    let spaces = Spaces::default();
    for (what, space) in
        [("free space of records", &spaces.records), ("free space of adjacency", &spaces.adjacency)]
    {
        let mut known = Vec::new();
        walk.part(what, |r, own| space.visit(r, own, &mut |page| known.push(page)));
        known.into_iter().for_each(|page| walk.own(page));
    }
    for done in [walk.all_nodes(), walk.all_edges()] {
        if let Err(error) = done {
            walk.error("", error);
        }
    }
    if let Some(error) = walk.stopped {
        return Err(error);
    }
    let (edges, [out, in_]) = (walk.report.edges, walk.met);
    if out != edges || in_ != edges {
        walk.problem(format!("{edges} edges, {out} outgoing entries and {in_} incoming ones"));
    }
    let mut report = walk.report;
    report.pages = walk.owned.into_iter().collect();
    report.pages.sort_unstable();
    Ok(report)
}
