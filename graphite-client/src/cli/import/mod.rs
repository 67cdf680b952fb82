//! `graphite import`: CSV files into a database.
//!
//! The files are read by a thread of their own, in memory of a few batches and one entry for each id, while the
//! daemon applies the batch before. Each batch is one transaction, whole or absent whatever happens; a crashed
//! import is resumed by the same command with `--resume`.

mod args;
mod batch;
mod fuzzed;
pub(crate) mod header;
mod ids;
mod infer;
mod job;
pub(crate) mod kind;
mod load;
mod parse;
mod progress;
pub(crate) mod source;

use std::io::Write;

pub(crate) use args::ImportArgs;
pub use fuzzed::{CsvOptions, CsvRead, copy_csv, read_csv};
pub(crate) use job::{Job, Loaded};

use super::Target;
use super::failure::Outcome;

/// `graphite import`
pub(crate) fn run(target: &Target, args: &ImportArgs, out: &mut impl Write) -> Outcome {
    let job = Job::from_args(args)?;
    if args.dry_run {
        return job.dry_run(out);
    }
    // A header that makes no sense is told before a database is made.
    let quiet = Job { infer: false, ..Job::from_args(args)? };
    quiet.prepare()?;
    let mut client = target.connect(true)?;
    let loaded = job.load(&mut client, || target.connect(false))?;
    writeln!(out, "{}", job::summary(&loaded))?;
    Ok(())
}
