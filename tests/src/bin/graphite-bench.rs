//! `graphite-bench`: what Graphite's work costs, next to what the machine allows, both measured in one run.
//!
//! `docs/benchmarks.md` says how to run it and what each line means. What must hold:
//!
//! 1. A figure and the limit that it is compared with are measured in turns, many times within one run, so that a
//!    machine that grows slower or faster meanwhile does so for both.
//! 2. What Graphite does is done by the real daemon on a real file system with default settings, commits synced;
//!    where a setting differs, the line says so.
//! 3. No answer counts that was not checked: counts are those of the CSR, imports have all nodes and edges.
//! 4. Every process that was started is ended, and every directory removed, however the run ends.

#[path = "../bench/mod.rs"]
mod bench;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use bench::Area;

/// Measures Graphite next to the limits of the machine.
#[derive(Parser, Debug)]
#[command(name = "graphite-bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Directory with nodes.csv (id,name,age) and edges.csv (src,dst,since), ids counted from 0; made if left out
    #[arg(long, value_name = "DIR")]
    graph: Option<PathBuf>,
    /// What to measure; all if left out
    #[arg(long, value_name = "NAME", value_enum, value_delimiter = ',')]
    only: Vec<Area>,
    /// How often each figure is measured; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Writes the tables to this file as well: between its marks if it has them, else all of it
    #[arg(long, value_name = "FILE.md")]
    out: Option<PathBuf>,
    /// Where the databases are made, on a real disk; beside the programs if left out
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// For the area sessions: a command that takes a number of clients and of seconds, and prints how often another
    /// database commits a second, as tests/peers/postgres_commits.sh does
    #[arg(long, value_name = "COMMAND")]
    beside: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand, Debug)]
enum Part {
    /// The other process of the socket's round trip: sends back what it reads from standard input
    #[command(name = bench::PEER_COMMAND, hide = true)]
    Peer,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.part {
        Some(Part::Peer) => bench::be_peer(),
        None => bench::run(bench::Settings {
            graph: arguments.graph,
            areas: arguments.only,
            rounds: arguments.rounds,
            out: arguments.out,
            dir: arguments.dir,
            beside: arguments.beside,
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("graphite-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
