//! Looking at a database that nobody serves: `graphited --check` and `graphited --salvage OUT`, which `graphite check` runs.
//!
//! The answer goes to standard output, in the frames of the protocol: notifications of how far it is, and one response.
//! The database is locked meanwhile as by any owner, and no file of it is changed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use graphite_graph::check::{CheckReport, Place, Progress, check_file};
use graphite_graph::salvage;
use graphite_protocol::message::{write_error, write_notification, write_response};
use graphite_protocol::messages::{CheckProgress, CheckReply, Problem, SalvageReply};
use graphite_protocol::{ErrorCode, FRAME_BYTES_MAX, Wire, WireError};
use graphite_store::clock::RealClock;
use graphite_store::disk::RealDisk;
use graphite_store::{StoreOptions, wal_dir};

use crate::config::Config;
use crate::shared::to_usize;
use crate::{errors, ownership};

/// How often it is told how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(100);
/// The number of the one response.
const MSGID: u32 = 0;

/// Checks the database that `config` names.
///
/// # Errors
/// Standard output takes no more.
pub fn check(config: &Config) -> io::Result<()> {
    answer(|tell| {
        let path = database(config)?;
        let cache_bytes = to_usize(config.cache_bytes);
        let clock = Arc::new(RealClock::default());
        let checked = check_file(Arc::new(RealDisk), clock, &path, cache_bytes, &Progress::new(tell));
        let report = checked.map_err(|error| refusal(&path, &error))?;
        Ok(check_reply(report.found, Some(report.log_bytes)))
    })
}

/// Copies what can be read of the database that `config` names to a new one at `out`.
///
/// # Errors
/// Standard output takes no more.
pub fn salvage(config: &Config, out: &Path) -> io::Result<()> {
    answer(|tell| {
        let path = database(config)?;
        let out = ownership::resolve(out)
            .map_err(|error| WireError::new(ErrorCode::Internal, format!("{}: {error}", out.display())))?;
        if out.exists() || wal_dir(&out).exists() {
            let message = format!("{} or its log is there already; nothing was done", out.display());
            return Err(WireError::new(ErrorCode::Internal, message));
        }
        let options = StoreOptions {
            create: true,
            cache_bytes: to_usize(config.cache_bytes),
            wal_bytes: config.wal_bytes,
            ..StoreOptions::default()
        };
        let salvaged = salvage::salvage(
            &(Arc::new(RealDisk) as _),
            &(Arc::new(RealClock::default()) as _),
            &path,
            &out,
            options,
            &Progress::new(tell),
        );
        salvaged.map(salvage_reply).map_err(|error| {
            let mut refusal = refusal(&path, &error);
            if out.exists() {
                refusal.message.push_str(&format!(". {} is not whole; remove it", out.display()));
            }
            refusal
        })
    })
}

fn database(config: &Config) -> Result<PathBuf, WireError> {
    let Some(given) = &config.db else {
        return Err(WireError::new(ErrorCode::Internal, "which database? Say --db PATH"));
    };
    ownership::resolve(given)
        .map_err(|error| WireError::new(ErrorCode::Internal, format!("{}: {error}", given.display())))
}

/// Whoever asked finds the daemon that has the database by `busy`.
fn refusal(path: &Path, error: &graphite_graph::Error) -> WireError {
    match error {
        graphite_graph::Error::Store(graphite_store::Error::InUse { .. }) => {
            let error = graphite_store::Error::InUse { path: path.into(), pid: ownership::owner_of(path) };
            WireError::new(ErrorCode::Busy, error.to_string())
        }
        other => errors::of_graph(other),
    }
}

fn answer<T: Wire>(work: impl FnOnce(&dyn Fn(u64, u64)) -> Result<T, WireError>) -> io::Result<()> {
    let told = std::cell::Cell::new(Instant::now());
    let tell = |done, total| {
        if told.get().elapsed() >= TOLD_EVERY {
            told.set(Instant::now());
            let mut frame = Vec::new();
            // What nobody reads any more is met again at the answer.
            let _ = write_notification(&mut frame, &CheckProgress { done, total }, FRAME_BYTES_MAX);
            let _ = send(&frame);
        }
    };
    let mut frame = Vec::new();
    match work(&tell) {
        Ok(reply) => write_response(&mut frame, MSGID, &reply, FRAME_BYTES_MAX),
        Err(error) => write_error(&mut frame, MSGID, &error, FRAME_BYTES_MAX),
    }
    send(&frame)
}

fn send(frame: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(frame)?;
    out.flush()
}

fn problems(found: Vec<graphite_graph::check::Problem>) -> Vec<Problem> {
    let of_page = |page: graphite_store::PageNo| u64::from(page.0);
    let problem = |found: graphite_graph::check::Problem| Problem {
        page: found.page.map(of_page),
        why: found.why,
        file: Some(if found.place == Place::Log { "log" } else { "database" }.to_owned()),
        record: found.record,
        lsn: found.lsn.map(|lsn| lsn.0),
    };
    found.into_iter().map(problem).collect()
}

/// What a check found, as it crosses the wire.
pub(crate) fn check_reply(report: CheckReport, log_bytes_replayed: Option<u64>) -> CheckReply {
    CheckReply {
        pages: report.pages.len() as u64,
        nodes: report.nodes,
        edges: report.edges,
        pages_used: report.pages_used,
        pages_free: report.pages_free(),
        property_records: report.property_records,
        adjacency_entries: report.adjacency_entries,
        bytes_read: report.bytes_read,
        elapsed_ms: u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        log_bytes_replayed,
        problems_not_listed: report.problems_not_listed,
        problems: problems(report.problems),
    }
}

fn salvage_reply(report: salvage::SalvageReport) -> SalvageReply {
    SalvageReply {
        nodes: report.nodes,
        edges: report.edges,
        nodes_incomplete: report.nodes_incomplete,
        edges_incomplete: report.edges_incomplete,
        edges_without_end: report.edges_without_end,
        lost_not_listed: report.lost_not_listed,
        lost: problems(report.lost),
    }
}
