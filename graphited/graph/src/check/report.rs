//! What a check found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use graphite_store::{CorruptPage, LogProblem, Lsn, PageNo};

use crate::Error;

/// Problems past this number are counted and not described.
pub const PROBLEMS_MAX: usize = 1000;

/// Where a problem lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In the database file.
    #[default]
    Database,
    /// In its log.
    Log,
}

/// One contradiction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// In which file.
    pub place: Place,
    /// The page where it was seen, if it was seen in one.
    pub page: Option<PageNo>,
    /// The record or part that is concerned, if it is one: "node slot 3", "properties of edge slot 7", "catalog".
    pub record: Option<String>,
    /// Where in the log, if it is in the log and that is known.
    pub lsn: Option<Lsn>,
    /// In words, with the record that is concerned.
    pub why: String,
}

impl Problem {
    /// Of a page.
    pub fn of_page(page: PageNo, why: impl fmt::Display) -> Problem {
        Problem { page: Some(page), why: why.to_string(), ..Problem::default() }
    }

    /// Of a page that is not what was written there.
    pub fn of_bytes(page: PageNo, why: &CorruptPage) -> Problem {
        match why {
            CorruptPage::AboveLog { .. } | CorruptPage::Unreadable(_) => Problem::of_page(page, why),
            _ => Problem::of_page(page, format!("its bytes are damaged: {why}")),
        }
    }

    /// Of a record, which the words name too.
    pub fn of_record(record: impl fmt::Display, why: impl fmt::Display) -> Problem {
        Problem { record: Some(record.to_string()), why: why.to_string(), ..Problem::default() }
    }

    /// Of no one place or record.
    pub fn of_graph(why: impl fmt::Display) -> Problem {
        Problem { why: why.to_string(), ..Problem::default() }
    }

    /// Of the log.
    pub fn of_log(LogProblem { page, lsn, why }: LogProblem) -> Problem {
        Problem { place: Place::Log, page, record: None, lsn, why }
    }

    /// What an error says, and `what` it was met in.
    pub fn of_error(what: &str, error: &Error) -> Problem {
        let (page, why) = match error {
            Error::Corrupt { page, why } => (Some(*page), (*why).to_owned()),
            Error::Store(graphite_store::Error::CorruptPage { page, why }) => (Some(*page), why.to_string()),
            other => (None, other.to_string()),
        };
        if what.is_empty() {
            return Problem { page, why, ..Problem::default() };
        }
        Problem { page, ..Problem::of_record(what, format!("{what}: {why}")) }
    }
}

/// Pages that nobody gets at: whoever comes by one of them would say the same.
///
/// A dying disk may have millions of them, so only as many have their words as a report lists.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    told: BTreeMap<PageNo, Problem>,
    more: BTreeSet<PageNo>,
}

impl Hidden {
    /// Notes such a page, if `error` says that it is one.
    pub(super) fn note(&mut self, error: &Error) -> bool {
        let Error::Store(graphite_store::Error::CorruptPage { page, why }) = error else { return false };
        if why.hides_page() {
            self.put(*page, || Problem::of_bytes(*page, why));
        }
        why.hides_page()
    }

    fn put(&mut self, page: PageNo, problem: impl FnOnce() -> Problem) {
        if self.told.contains_key(&page) {
            return;
        }
        if self.told.len() < PROBLEMS_MAX {
            self.more.remove(&page);
            self.told.insert(page, problem());
        } else {
            self.more.insert(page);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Notes those of another part too.
    pub(super) fn append(&mut self, other: Hidden) {
        for (page, problem) in other.told {
            self.put(page, || problem);
        }
        self.more.extend(other.more.into_iter().filter(|page| !self.told.contains_key(page)));
    }

    /// Tells all of them, in the order of their pages.
    pub(super) fn tell(self, report: &mut CheckReport) {
        self.told.into_values().for_each(|problem| report.add(problem));
        report.problems_not_listed += self.more.len() as u64;
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.page {
            Some(page) => write!(f, "{page}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Nodes that were looked at.
    pub nodes: u64,
    /// Edges that were looked at.
    pub edges: u64,
    /// Property records that were looked at.
    pub property_records: u64,
    /// Entries of adjacency that were looked at, of both sides.
    pub adjacency_entries: u64,
    /// Pages that were ever used, free ones among them.
    pub pages_total: u64,
    /// Pages that the bitmaps call used.
    pub pages_used: u64,
    /// Bytes that were read from the file.
    pub bytes_read: u64,
    /// How long it took.
    pub took: Duration,
    /// Every contradiction; at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub problems_not_listed: u64,
    /// Every page that the graph owns, sorted.
    pub pages: Vec<PageNo>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// Pages that the bitmaps call free.
    pub fn pages_free(&self) -> u64 {
        self.pages_total - self.pages_used
    }

    /// Notes the problems of another part, behind those that are here.
    pub(super) fn append(&mut self, other: CheckReport) {
        self.problems_not_listed += other.problems_not_listed;
        other.problems.into_iter().for_each(|problem| self.add(problem));
    }

    /// Notes a problem.
    pub fn add(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.problems_not_listed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_pages(pages: std::ops::Range<u32>) -> Hidden {
        let mut hidden = Hidden::default();
        for page in pages.map(PageNo) {
            let why = CorruptPage::Unreadable("a bad place".to_owned());
            assert!(hidden.note(&graphite_store::Error::CorruptPage { page, why }.into()));
        }
        hidden
    }

    /// Two parts that met some of the same pages.
    #[test]
    fn of_many_hidden_pages_each_is_counted_once_and_few_keep_their_words() {
        let max = PROBLEMS_MAX as u32;
        for (one, other, pages) in [
            (0..3 * max, max..4 * max, 4 * u64::from(max)),
            (0..10, 5..2 * max, 2 * u64::from(max)),
            (0..2 * max, max..2 * max, 2 * u64::from(max)),
            (0..10, 5..15, 15),
        ] {
            let mut hidden = of_pages(one);
            hidden.append(of_pages(other));
            assert!(hidden.told.len() <= PROBLEMS_MAX);
            let mut report = CheckReport::default();
            hidden.tell(&mut report);
            assert_eq!(report.problems.len() as u64 + report.problems_not_listed, pages);
            assert!(report.problems.is_sorted_by_key(|problem| problem.page));
        }
    }
}
