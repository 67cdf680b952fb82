//! `graphite-worker`: a process that works on a database for one of the tests.

#[path = "../worker/mod.rs"]
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use worker::{history, ldbc, soak, writer};

/// Works on a database for a test.
#[derive(Parser, Debug)]
#[command(name = "graphite-worker")]
struct Arguments {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand, Debug)]
enum Work {
    /// Writes, a number of times, for an anomaly test of the LDBC ACID suite
    LdbcWrite {
        #[command(flatten)]
        common: Common,
        /// Name of the test
        test: String,
        /// How many transactions
        count: u64,
    },
    /// Reads for such a test until standard input ends
    LdbcRead {
        #[command(flatten)]
        common: Common,
        /// Name of the test
        test: String,
    },
    /// Runs random transactions, and writes what they did to a file
    History {
        #[command(flatten)]
        common: Common,
        /// Directory of the histories
        dir: PathBuf,
        /// How many transactions
        count: u64,
    },
    /// Writes until its daemon is killed, and what was acknowledged to a file
    Writer {
        #[command(flatten)]
        common: Common,
        /// Directory of the logs
        dir: PathBuf,
    },
    /// Reads and writes as it likes until standard input ends
    Soak {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args, Debug)]
struct Common {
    /// Socket of the daemon
    #[arg(long)]
    socket: PathBuf,
    /// Number of this worker, from 1 on
    #[arg(long)]
    number: u32,
    /// Where its chance begins
    #[arg(long)]
    seed: u64,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().work {
        Work::LdbcWrite { common, test, count } => ldbc::write(&common, &test, count),
        Work::LdbcRead { common, test } => ldbc::read(&common, &test),
        Work::History { common, dir, count } => history::run(&common, &dir, count),
        Work::Soak { common } => soak::run(&common),
        Work::Writer { common, dir } => writer::run(&common, &dir),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("graphite-worker {}: {error}", std::process::id());
            ExitCode::FAILURE
        }
    }
}
