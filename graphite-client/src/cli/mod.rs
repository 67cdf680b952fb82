//! The command `graphite`.

mod check;
mod commands;
mod csv;
mod demo;
mod export;
mod failure;
mod import;
mod node_arg;
mod output;
mod show;
mod tagged;
mod watching;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use graphite_client::{Client, Error, OpenOptions};

use failure::{Failure, Outcome};
#[doc(hidden)]
pub use import::{CsvOptions, CsvRead, copy_csv, read_csv};

/// The database when neither flag nor environment names one.
const DEFAULT_DB: &str = "graph.graphite";

/// The environment's word for the database.
const DB_VARIABLE: &str = "GRAPHITE_DB";

/// Name and version that the daemon's monitors show.
const CLIENT: &str = concat!("graphite/", env!("CARGO_PKG_VERSION"));

const EXIT_CODES: &str = "\
Exit codes: 0 fine, 1 the statement failed or a check found problems, 2 usage, 3 no connection,
4 a check could not look at the database";

#[derive(Debug, Parser)]
#[command(name = "graphite", version, about = "A graph database that several processes share", after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

/// Which database.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// The database file, whose daemon is started if none runs [default: $GRAPHITE_DB, or graph.graphite]
    #[arg(long, global = true, value_name = "PATH")]
    db: Option<PathBuf>,
    /// The socket of a running daemon, instead of a database file
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Target {
    /// A database file.
    pub(crate) fn file(path: PathBuf) -> Target {
        Target { db: Some(path), socket: None }
    }

    /// Puts the environment's word in where no flag says anything.
    fn completed(self) -> Outcome<Target> {
        if self.db.is_some() && self.socket.is_some() {
            return Err(Failure::Usage("--db and --socket exclude each other".to_owned()));
        }
        let from_environment =
            || std::env::var_os(DB_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let db = if self.socket.is_some() { None } else { self.db.or_else(from_environment) };
        Ok(Target { db, ..self })
    }

    fn db(&self) -> &Path {
        self.db.as_deref().unwrap_or(Path::new(DEFAULT_DB))
    }

    /// Whether the user said which.
    pub(crate) fn is_given(&self) -> bool {
        self.db.is_some() || self.socket.is_some()
    }

    /// Connects; a missing database is made only if `create` is set.
    pub(crate) fn connect(&self, create: bool) -> Outcome<Client> {
        if let Some(socket) = &self.socket {
            return Ok(Client::connect_as(socket, CLIENT)?);
        }
        let options = OpenOptions { client: CLIENT.to_owned(), create, ..OpenOptions::default() };
        Client::open_with(self.db(), &options).map_err(|error| match error {
            Error::Start { database, .. } if !create && !database.exists() => {
                let why = "there is no such file; `graphite demo` makes one, and so does `graphite import`";
                Error::Start { database, why: why.to_owned() }.into()
            }
            error => error.into(),
        })
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load the world's air routes into a database and ask it a few questions
    Demo(demo::DemoArgs),
    /// Show what the daemon of the database is doing
    Status(commands::StatusArgs),
    /// Show who is connected, and who waits for whom
    Sessions(watching::SessionsArgs),
    /// Show who holds and awaits which lock, or the last deadlocks
    Locks(watching::LocksArgs),
    /// End the statement that a session runs or waits in
    Cancel(watching::CancelArgs),
    /// End a session and roll its transaction back
    Kill(watching::KillArgs),
    /// Show a node: ID, key=value or Label:key=value
    Node(commands::NodeArgs),
    /// Show the nodes that a node is connected to
    Neighbors(commands::NeighborsArgs),
    /// Show a path with the fewest edges between two nodes
    Path(commands::PathArgs),
    /// Load CSV files
    Import(Box<import::ImportArgs>),
    /// Write the graph as CSV files
    Export(export::ExportArgs),
    /// Look for damage in all of the database, or copy what can be read of a damaged one
    Check(check::CheckArgs),
    /// Write what is committed from the log into the file
    Checkpoint(commands::CheckpointArgs),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    // Flags that make no sense end the program here, with exit code 2.
    let cli = Cli::parse();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let result = run(cli, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // What was written before the failure is worth reading; if it cannot be, so it is.
            let _ = out.flush();
            failure.report()
        }
    }
}

fn run(cli: Cli, out: &mut dyn Write) -> Outcome {
    let flags = match &cli.command {
        Command::Check(args) => args.target(cli.target)?,
        _ => cli.target,
    };
    let target = &flags.completed()?;
    let mut out = out;
    match cli.command {
        Command::Demo(args) => demo::run(target, &args, &mut out),
        Command::Status(args) => commands::status(target, &args, &mut out),
        Command::Sessions(args) => watching::sessions(target, &args, &mut out),
        Command::Locks(args) => watching::locks(target, &args, &mut out),
        Command::Cancel(args) => watching::cancel(target, &args, &mut out),
        Command::Kill(args) => watching::kill(target, &args, &mut out),
        Command::Node(args) => commands::node(target, &args, &mut out),
        Command::Neighbors(args) => commands::neighbors(target, &args, &mut out),
        Command::Path(args) => commands::path(target, &args, &mut out),
        Command::Import(args) => import::run(target, &args, &mut out),
        Command::Export(args) => export::run(target, &args, &mut out),
        Command::Check(args) => check::run(target, &args, &mut out),
        Command::Checkpoint(args) => commands::checkpoint(target, &args, &mut out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_makes_sense_to_clap() {
        Cli::command().debug_assert();
    }

    #[test]
    fn database_and_socket_exclude_each_other() {
        let target =
            |args: &[&str]| Cli::try_parse_from([&["graphite"], args].concat()).unwrap().target.completed();
        // Wherever they stand.
        for both in [&["--db", "a", "--socket", "b", "status"][..], &["--db", "a", "status", "--socket", "b"]]
        {
            assert!(matches!(target(both), Err(Failure::Usage(_))), "{both:?}");
        }
        assert_eq!(target(&["status", "--db", "a"]).unwrap().db(), Path::new("a"));
        assert!(target(&["--socket", "b", "status"]).unwrap().is_given());
    }
}
