//! `graphite check`: all of a database, and whether it is sound.
//!
//! If a daemon serves the database, it checks, on a snapshot and in nobody's way. If none does, none is started: the
//! daemon's program looks at the file in a mode of its own that changes nothing, and answers on its standard output as a
//! daemon would on its socket.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::{Args, ValueEnum};
use graphite_client::messages::{Check, CheckReply, Problem};
use graphite_client::text::harmless;
use graphite_client::{Client, Error, OpenOptions, database_path, socket_path};
use graphite_protocol::message::Message;
use graphite_protocol::messages::{CheckProgress, Notification, SalvageReply};
use graphite_protocol::{ErrorCode, FRAME_BYTES_MAX, FrameReader, Wire, WireError};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::failure::{Failure, Outcome};
use super::show::{bytes, count, elapsed, number};
use super::{CLIENT, Target};

/// How often a daemon is looked for that comes or goes just now, and how long between.
const TRIES_MAX: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// How a report is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people.
    #[default]
    Table,
    /// One object.
    Json,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The database, instead of --db
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// How the report is shown
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: ReportFormat,
    /// Copy what can be read to a new database, with no daemon on the damaged one, and list what could not
    #[arg(long, value_name = "OUT")]
    salvage: Option<PathBuf>,
}

impl CheckArgs {
    /// What is checked: what the flags name, or the path.
    pub(crate) fn target(&self, flags: Target) -> Outcome<Target> {
        match &self.path {
            // Of two names one would be passed over in silence, and the other one checked.
            Some(_) if flags.is_given() => {
                Err(Failure::Usage("name the database once: PATH, --db or --socket".to_owned()))
            }
            Some(path) => Ok(Target::file(path.clone())),
            None => Ok(flags),
        }
    }
}

/// `graphite check`
pub(crate) fn run(target: &Target, args: &CheckArgs, out: &mut impl Write) -> Outcome {
    let done = report(target, args, out);
    if args.format == ReportFormat::Json
        && let Err(failure @ (Failure::Client(_) | Failure::Failed(_) | Failure::NotChecked(_))) = &done
    {
        // Whoever reads an object would else have to read standard error for this case alone.
        let database = target.socket.as_deref().unwrap_or(target.db()).display().to_string();
        writeln!(out, "{}", serde_json::json!({ "database": database, "error": failure.message() }))?;
    }
    done
}

fn report(target: &Target, args: &CheckArgs, out: &mut impl Write) -> Outcome {
    if let Some(new) = &args.salvage {
        if target.socket.is_some() {
            return Err(Failure::Usage(
                "--salvage needs --db: no daemon may have the database open".to_owned(),
            ));
        }
        return salvage(target.db(), new, args.format, out);
    }
    let (database, is_online, reply) = check(target)?;
    match args.format {
        ReportFormat::Table => show_check(out, &database, is_online, &reply)?,
        ReportFormat::Json => {
            let mut report = to_json(&reply)?;
            report.insert("database".to_owned(), database.into());
            report.insert("mode".to_owned(), if is_online { "online" } else { "offline" }.into());
            report.insert("sound".to_owned(), reply.problems.is_empty().into());
            writeln!(out, "{}", serde_json::Value::Object(report))?;
        }
    }
    if reply.problems.is_empty() { Ok(()) } else { Err(Failure::Damaged) }
}

/// The database, whether a daemon has checked it, and what was found.
fn check(target: &Target) -> Outcome<(String, bool, CheckReply)> {
    if let Some(socket) = &target.socket {
        let reply = ask(Client::connect_as(socket, CLIENT)?)?;
        return Ok((socket.display().to_string(), true, reply));
    }
    let database = existing(target.db())?;
    let socket = socket_path(&database);
    let name = database.display().to_string();
    for _ in 0..TRIES_MAX {
        match Client::connect_as(&socket, CLIENT) {
            Ok(client) => return Ok((name, true, ask(client)?)),
            Err(Error::Connect { .. } | Error::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        match look::<CheckReply>(&database, &["--check".as_ref()])? {
            Ok(reply) => return Ok((name, false, reply)),
            // A daemon came meanwhile, or is about to leave.
            Err(error) if error.code == ErrorCode::Busy => std::thread::sleep(PAUSE),
            Err(error) => return Err(Failure::NotChecked(error.message)),
        }
    }
    Err(Failure::NotChecked(format!(
        "another process has {name} open, and nobody answers at {}. If its daemon listens elsewhere, say --socket",
        socket.display()
    )))
}

/// Has the daemon check, however long that takes.
fn ask(mut client: Client) -> Outcome<CheckReply> {
    let spinner = bar(None);
    spinner.enable_steady_tick(PAUSE);
    let reply = client.call(&Check {});
    spinner.finish_and_clear();
    reply.map_err(|error| match error {
        Error::Server { message, .. } => Failure::NotChecked(message),
        other => other.into(),
    })
}

fn existing(path: &Path) -> Outcome<PathBuf> {
    let cannot = |why: String| Failure::NotChecked(format!("{}: {why}", path.display()));
    let database = database_path(path).map_err(|error| cannot(error.to_string()))?;
    if database.exists() { Ok(database) } else { Err(cannot("there is no such file".to_owned())) }
}

fn bar(total: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = if total.is_some() { "{bar:30} {percent:>3}%  {elapsed}" } else { "{spinner} {elapsed}" };
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("██░"))
}

/// Runs the daemon's program in a mode that serves nobody, and gives its answer.
fn look<T: Wire>(database: &Path, mode: &[&std::ffi::OsStr]) -> Outcome<Result<T, WireError>> {
    let program = OpenOptions::default().daemon_program();
    let cannot = |why: String| Failure::NotChecked(format!("{}: {why}", program.display()));
    let mut command = Command::new(&program);
    command.arg("--db").arg(database).args(mode).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| cannot(error.to_string()))?;
    let answer = read_answer(&mut child).map_err(cannot);
    let ended = child.wait();
    match answer? {
        Some(answer) => Ok(answer),
        None => Err(cannot(match ended {
            Ok(status) => format!("it gave no answer ({status})"),
            Err(error) => error.to_string(),
        })),
    }
}

fn read_answer<T: Wire>(child: &mut Child) -> Result<Option<Result<T, WireError>>, String> {
    let Some(mut answers) = child.stdout.take() else { return Ok(None) };
    let mut frames = FrameReader::new(FRAME_BYTES_MAX);
    let mut shown: Option<ProgressBar> = None;
    loop {
        while let Some(frame) = frames.next_frame().map_err(|error| error.to_string())? {
            match Message::read(frame).map_err(|error| error.to_string())? {
                Message::Response { result, .. } => {
                    shown.inspect(ProgressBar::finish_and_clear);
                    let read = |result: graphite_protocol::message::Body<'_>| result.read::<T>();
                    return match result {
                        Ok(result) => {
                            read(result).map(|reply| Some(Ok(reply))).map_err(|error| error.to_string())
                        }
                        Err(error) => Ok(Some(Err(error))),
                    };
                }
                Message::Notification { method, params } if method == CheckProgress::METHOD => {
                    if let Ok(at) = params.read::<CheckProgress>() {
                        let bar = shown.get_or_insert_with(|| bar(Some(at.total)));
                        bar.set_length(at.total);
                        bar.set_position(at.done);
                    }
                }
                _ => {}
            }
        }
        if frames.read_from(&mut answers).map_err(|error| error.to_string())? == 0 {
            return Ok(None);
        }
    }
}

fn to_json(reply: &impl serde::Serialize) -> Outcome<serde_json::Map<String, serde_json::Value>> {
    match serde_json::to_value(reply) {
        Ok(serde_json::Value::Object(fields)) => Ok(fields),
        _ => Err(Failure::Failed("the report cannot be written as JSON".to_owned())),
    }
}

fn show_problems(out: &mut impl Write, problems: &[Problem], not_listed: u64) -> Outcome {
    for problem in problems {
        let why = harmless(&problem.why);
        match problem.page {
            Some(page) => writeln!(out, "  page {page}: {why}")?,
            None => writeln!(out, "  {why}")?,
        }
    }
    if not_listed > 0 {
        writeln!(out, "  ... and {} more", number(not_listed))?;
    }
    Ok(())
}

fn show_check(out: &mut impl Write, database: &str, is_online: bool, reply: &CheckReply) -> Outcome {
    let how = if is_online { "online, on a snapshot" } else { "offline, and no file was changed" };
    let took = elapsed(Duration::from_millis(reply.elapsed_ms));
    writeln!(out, "{}: checked {how}; {} read in {took}", harmless(database), bytes(reply.bytes_read))?;
    writeln!(out, "pages       {} used, {} free", number(reply.pages_used), number(reply.pages_free))?;
    let records = count(reply.property_records, "property record");
    writeln!(out, "nodes       {}", number(reply.nodes))?;
    writeln!(out, "edges       {}", number(reply.edges))?;
    writeln!(out, "records     {records}")?;
    writeln!(out, "adjacency   {} entries", number(reply.adjacency_entries))?;
    if let Some(log) = reply.log_bytes_replayed {
        writeln!(out, "log         {} replayed in memory", bytes(log))?;
    }
    if reply.problems.is_empty() {
        writeln!(out, "sound: no problem was found")?;
        return Ok(());
    }
    let found = reply.problems.len() as u64 + reply.problems_not_listed;
    writeln!(out, "DAMAGED: {} found", count(found, "problem"))?;
    show_problems(out, &reply.problems, reply.problems_not_listed)?;
    writeln!(out, "`graphite check --salvage OUT` copies what can be read to a new database")?;
    Ok(())
}

/// `graphite check --salvage`
fn salvage(path: &Path, new: &Path, format: ReportFormat, out: &mut impl Write) -> Outcome {
    let database = existing(path)?;
    let reply = match look::<SalvageReply>(&database, &["--salvage".as_ref(), new.as_os_str()])? {
        Ok(reply) => reply,
        Err(error) => return Err(Failure::NotChecked(error.message)),
    };
    if format == ReportFormat::Json {
        let mut report = to_json(&reply)?;
        report.insert("database".to_owned(), database.display().to_string().into());
        report.insert("salvaged_to".to_owned(), new.display().to_string().into());
        writeln!(out, "{}", serde_json::Value::Object(report))?;
    } else {
        let new = new.display().to_string();
        writeln!(out, "{}: {}, {}", harmless(&new), count(reply.nodes, "node"), count(reply.edges, "edge"))?;
        let (nodes, edges) = (count(reply.nodes_incomplete, "node"), count(reply.edges_incomplete, "edge"));
        writeln!(out, "incomplete: {nodes}, {edges}")?;
        writeln!(out, "left out for want of an end: {}", count(reply.edges_without_end, "edge"))?;
        if reply.lost.is_empty() {
            writeln!(out, "everything could be read")?;
        } else {
            writeln!(out, "could not be read:")?;
            show_problems(out, &reply.lost, reply.lost_not_listed)?;
        }
    }
    if reply.lost.is_empty() { Ok(()) } else { Err(Failure::Damaged) }
}
