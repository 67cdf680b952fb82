//! What a check found.

use std::collections::BTreeMap;
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

/// Pages that nobody gets at, each with its problem: whoever comes by one of them would say the same.
#[derive(Debug, Default)]
pub(super) struct Hidden(BTreeMap<PageNo, Problem>);

impl Hidden {
    /// Notes such a page, if `error` says that it is one.
    pub(super) fn note(&mut self, error: &Error) -> bool {
        let Error::Store(graphite_store::Error::CorruptPage { page, why }) = error else { return false };
        if why.hides_page() {
            self.0.entry(*page).or_insert_with(|| Problem::of_bytes(*page, why));
        }
        why.hides_page()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes those of another part too.
    pub(super) fn append(&mut self, other: Hidden) {
        for (page, problem) in other.0 {
            self.0.entry(page).or_insert(problem);
        }
    }

    pub(super) fn into_problems(self) -> impl Iterator<Item = Problem> {
        self.0.into_values()
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
