//! `graphite-top`: what the daemon of a database is doing. For now one picture, drawn once.

mod view;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use graphite_client::text::harmless;
use graphite_client::{Client, StatusReply, database_path, socket_path};
use ratatui::backend::CrosstermBackend;
use ratatui::{Terminal, TerminalOptions, Viewport};

/// The daemon refused.
const EXIT_FAILED: u8 = 1;
/// There is no connection.
const EXIT_NO_CONNECTION: u8 = 3;

/// Name and version that the daemon shows.
const CLIENT: &str = concat!("graphite-top/", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Parser)]
#[command(version, about = "Shows what the daemon of a Graphite database is doing")]
#[command(after_help = "Exit codes: 0 fine, 1 the daemon refused, 2 usage, 3 no connection")]
struct Cli {
    /// The database file, whose daemon has to run
    #[arg(long, value_name = "PATH", env = "GRAPHITE_DB", default_value = "graph.graphite")]
    db: PathBuf,
    /// The daemon's socket, if it is not beside the database
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let status = match ask(&cli) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("graphite-top: {}", harmless(&error.to_string()));
            return ExitCode::from(if error.is_no_connection() { EXIT_NO_CONNECTION } else { EXIT_FAILED });
        }
    };
    match show(&status) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("graphite-top: cannot write the output: {error}");
            ExitCode::from(EXIT_FAILED)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// A monitor starts no daemon: it would show nothing but itself.
fn ask(cli: &Cli) -> graphite_client::Result<StatusReply> {
    let socket = match &cli.socket {
        Some(socket) => socket.clone(),
        None => socket_of(&cli.db),
    };
    Client::connect_as(socket, CLIENT)?.status()
}

/// Of a database that is not there, the socket is not there either, and connecting says so.
fn socket_of(db: &Path) -> PathBuf {
    socket_path(&database_path(db).unwrap_or_else(|_| db.to_owned()))
}

fn show(status: &StatusReply) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    if out.is_terminal() && draw(status).is_ok() {
        // The frame stays where it was drawn, and the prompt comes below it.
        return writeln!(out);
    }
    out.write_all(view::plain(status).as_bytes())?;
    out.flush()
}

/// Draws the frame below the cursor. A terminal that does not say where that is gets plain text instead.
fn draw(status: &StatusReply) -> std::io::Result<()> {
    let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let options = TerminalOptions { viewport: Viewport::Inline(view::HEIGHT) };
    let mut terminal = Terminal::with_options(CrosstermBackend::new(std::io::stdout()), options)?;
    terminal.draw(|frame| view::draw(frame, status, color))?;
    Ok(())
}
