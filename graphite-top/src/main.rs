//! `graphite-top`: the command line, and the loop that waits for events and draws.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use graphite_client::text::harmless;
use graphite_client::{Client, Error, ErrorCode, database_path, socket_path};
use graphite_top::connection::{self, Order, Target};
use graphite_top::event::Event;
use graphite_top::input::{self, Outcome};
use graphite_top::once::{self, Format};
use graphite_top::record::{RecordError, Recorder, Replay};
use graphite_top::scene::Scene;
use graphite_top::screen;
use graphite_top::state::State;
use graphite_top::table::Sort;
use graphite_top::terminal::{self, Screen};
use graphite_top::theme::{Background, Theme};
use graphite_top::views::View;

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_NO_CONNECTION: u8 = 3;
/// A recording is damaged, or is none.
const EXIT_DATA: u8 = 65;
/// A recording cannot be opened.
const EXIT_NO_INPUT: u8 = 66;
/// Terminal or file cannot be written.
const EXIT_IO: u8 = 74;
/// Who answers is no daemon of ours, or speaks another version.
const EXIT_PROTOCOL: u8 = 76;
/// The daemon refuses for lack of rights.
const EXIT_NO_PERMISSION: u8 = 77;

/// Events that wait for the screen, at most; whoever has more waits with them.
const EVENTS_MAX: usize = 4;
/// The longest pause between two pictures of a recording.
const REPLAY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long the screen may take to leave when a signal asks it to.
const LEAVES_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Parser)]
#[command(version, about = "Shows what the daemon of a Graphite database is doing")]
#[command(
    after_help = "Exit codes: 0 fine, 1 the daemon refused, 2 usage, 3 no connection, 65 damaged recording, 66 no \
    such recording, 70 internal error, 74 output failed, 76 no Graphite daemon or another protocol version, 77 no \
    rights, 128 + N ended by signal N"
)]
struct Cli {
    /// The database file, whose daemon has to run
    #[arg(long, value_name = "PATH", env = "GRAPHITE_DB", default_value = "graph.graphite")]
    db: PathBuf,
    /// The daemon's socket, if it is not beside the database
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Seconds between pictures, 0.1 to 60
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    interval: f64,
    /// The view to begin with, or to write as CSV
    #[arg(long, value_enum, default_value_t = View::Sessions)]
    view: View,
    /// Show only these rows: user=bob and wait>1s
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Sort by this column, largest first
    #[arg(long, value_name = "COLUMN")]
    sort: Option<String>,
    /// Cancel and kill nobody
    #[arg(long)]
    read_only: bool,
    /// Write one picture and leave
    #[arg(long)]
    once: bool,
    /// The form of that picture
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Record what is watched
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Show a recording
    #[arg(long, value_name = "FILE", conflicts_with_all = ["record", "once"])]
    replay: Option<PathBuf>,
    /// Draw ASCII only
    #[arg(long)]
    ascii: bool,
    /// For which background colours are chosen
    #[arg(long, value_enum, default_value_t = Background::Auto)]
    theme: Background,
}

/// Why the program ends otherwise than by its user: a line and an exit code.
struct Failure(u8, String);

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match &error {
            Error::Version { .. } | Error::Protocol(_) => EXIT_PROTOCOL,
            Error::Server { code: ErrorCode::NotAuthorised, .. } => EXIT_NO_PERMISSION,
            Error::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                EXIT_NO_PERMISSION
            }
            error if error.is_no_connection() => EXIT_NO_CONNECTION,
            _ => EXIT_FAILED,
        };
        Failure(code, error.to_string())
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Failure {
        let code = if matches!(error, RecordError::Io(_)) { EXIT_NO_INPUT } else { EXIT_DATA };
        Failure(code, format!("cannot read the recording: {error}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure(EXIT_IO, format!("cannot write the output: {error}"))
    }
}

fn main() -> ExitCode {
    let ended = start(&Cli::parse());
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(Failure(code, why)) => {
            eprintln!("graphite-top: {}", harmless(&why));
            ExitCode::from(code)
        }
    }
}

fn start(cli: &Cli) -> Result<u8, Failure> {
    let interval = Duration::try_from_secs_f64(cli.interval).unwrap_or_default();
    if interval < input::INTERVAL.0 || interval > input::INTERVAL.1 {
        return Err(Failure(EXIT_USAGE, "--interval is 0.1 to 60 seconds".to_owned()));
    }
    let theme = Theme::chosen(cli.theme, cli.ascii, |name| std::env::var(name).ok());
    let mut state = State::new(theme, cli.view, interval);
    state.read_only = cli.read_only;
    state
        .filter_by(cli.filter.as_deref().unwrap_or_default())
        .map_err(|error| Failure(EXIT_USAGE, error.to_string()))?;
    if let Some(name) = &cli.sort {
        let column = cli.view.columns().iter().position(|column| column.name == name);
        let column = column.ok_or_else(|| Failure(EXIT_USAGE, format!("no column `{name}` in this view")))?;
        state.sorts[cli.view.place()] = Some(Sort { column, descending: true });
    }
    // Of a database that is not there, the socket is not there either, and connecting says so.
    let beside = || socket_path(&database_path(&cli.db).unwrap_or_else(|_| cli.db.clone()));
    let target = Target { socket: cli.socket.clone().unwrap_or_else(beside), interval };
    if cli.once {
        return write_once(cli, &state, &target);
    }
    let (events, inbox) = mpsc::sync_channel(EVENTS_MAX);
    let (orders, orders_in) = mpsc::channel();
    if let Some(path) = &cli.replay {
        state.is_replay = true;
        let replay = Replay::open(path)?;
        need_terminal()?;
        spawn(&events, move |events| play(replay, events));
    } else {
        let client = first_connection(&target)?;
        need_terminal()?;
        if let Some(path) = &cli.record {
            let failed = |error| Failure(EXIT_IO, format!("cannot record to {}: {error}", path.display()));
            state.recorder = Some(Recorder::create(path).map_err(failed)?);
        }
        spawn(&events, move |events| connection::run(client, target, &orders_in, events));
    }
    signals(&events)?;
    let screen = Screen::take()?;
    spawn(&events, keyboard);
    watch(screen, &mut state, &inbox, &orders)
}

/// Whoever takes a connection and ends it before it said who it is, is no daemon of ours.
fn first_connection(target: &Target) -> Result<Client, Failure> {
    connection::connect(target).map_err(|error| match error {
        Error::Closed | Error::Io(_) => {
            let who = target.socket.display();
            Failure(
                EXIT_PROTOCOL,
                format!("whoever listens at {who} is no Graphite daemon, or one that ends: {error}"),
            )
        }
        error => error.into(),
    })
}

fn need_terminal() -> Result<(), Failure> {
    if io::stdout().is_terminal() && io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure(EXIT_USAGE, "this is no terminal; --once --format json writes one picture".to_owned()))
}

fn spawn(events: &SyncSender<Event>, work: impl FnOnce(&SyncSender<Event>) + Send + 'static) {
    let events = events.clone();
    // It ends with the program, or when the screen is gone.
    let _ = thread::spawn(move || work(&events));
}

fn signals(events: &SyncSender<Event>) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    spawn(events, move |events| {
        let Some(signal) = signals.forever().next() else { return };
        let deadline = Instant::now() + LEAVES_WITHIN;
        while let Err(TrySendError::Full(_)) = events.try_send(Event::Signal(signal)) {
            if Instant::now() >= deadline {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        // A terminal that takes nothing holds the screen up for ever.
        thread::sleep(deadline.saturating_duration_since(Instant::now()));
        terminal::abandon();
        std::process::exit(i32::from(ended_by(signal)));
    });
    Ok(())
}

/// The exit code of whoever a signal ends.
fn ended_by(signal: i32) -> u8 {
    128 + u8::try_from(signal).unwrap_or(0)
}

fn keyboard(events: &SyncSender<Event>) {
    loop {
        let event = match crossterm::event::read() {
            Ok(crossterm::event::Event::Key(key)) => Event::Key(key),
            Ok(crossterm::event::Event::Resize(..)) => Event::Resize,
            Ok(_) => continue,
            Err(error) => Event::InputLost(error.to_string()),
        };
        let ends = matches!(event, Event::InputLost(_));
        if events.send(event).is_err() || ends {
            return;
        }
    }
}

/// Shows what was recorded as fast as it was, but for pauses that are long.
fn play(mut replay: Replay, events: &SyncSender<Event>) {
    let mut before = None;
    loop {
        let event = match replay.next_picture() {
            Ok(Some(picture)) => Event::Picture(Box::new(picture)),
            Ok(None) => Event::End,
            Err(error) => Event::Done(error.to_string()),
        };
        let at_ms = if let Event::Picture(picture) = &event { Some(picture.at_ms) } else { None };
        if let Some((before, at_ms)) = before.zip(at_ms) {
            thread::sleep(Duration::from_millis(u64::saturating_sub(at_ms, before)).min(REPLAY_PAUSE_MAX));
        }
        before = at_ms;
        if events.send(event).is_err() || at_ms.is_none() {
            return;
        }
    }
}

fn watch(
    mut screen: Screen,
    state: &mut State,
    inbox: &Receiver<Event>,
    orders: &Sender<Order>,
) -> Result<u8, Failure> {
    loop {
        screen.terminal.draw(|frame| {
            screen::draw(state, frame);
        })?;
        // How old the picture is is all that changes by itself.
        let is_old = state.down.is_some() || state.overdue().is_some();
        let patience = if is_old { Duration::from_secs(1) } else { state.patience() };
        let mut wait = patience;
        for _ in 0..EVENTS_MAX {
            match inbox.recv_timeout(wait) {
                Ok(event) => {
                    if let Some(code) = happened(state, event, orders)? {
                        return Ok(code);
                    }
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
            // What came meanwhile is drawn in one go.
            wait = Duration::ZERO;
        }
    }
}

/// Takes an event in; an exit code if it ends the program.
fn happened(state: &mut State, event: Event, orders: &Sender<Order>) -> Result<Option<u8>, Failure> {
    match event {
        Event::Key(key) => match input::key(state, key) {
            Outcome::Quit => return Ok(Some(0)),
            Outcome::Order(order) => {
                // A connection that is gone says so by itself.
                let _ = orders.send(order);
            }
            Outcome::Nothing | Outcome::Changed => {}
        },
        Event::Resize => {}
        Event::Picture(picture) => state.take(*picture),
        Event::Link(link) => state.link(link),
        Event::Done(said) => state.message = Some(said),
        Event::End => {
            state.message = Some("the recording ends here; [ and ] step through it".to_owned());
            state.paused = true;
        }
        Event::Signal(signal) => return Ok(Some(ended_by(signal))),
        Event::InputLost(why) => return Err(Failure(EXIT_IO, format!("the terminal is gone: {why}"))),
    }
    Ok(None)
}

fn write_once(cli: &Cli, state: &State, target: &Target) -> Result<u8, Failure> {
    if cli.format == Format::Json && (cli.filter.is_some() || cli.sort.is_some()) {
        let why = "--filter and --sort choose among rows of a view, which --format csv writes; JSON has the whole picture";
        return Err(Failure(EXIT_USAGE, why.to_owned()));
    }
    let (before, picture) = connection::two_pictures(&mut first_connection(target)?, target.interval)?;
    let mut text = Vec::new();
    let written = match cli.format {
        Format::Json => once::json(&mut text, &picture),
        Format::Csv => {
            let scene = Scene::new(picture, Some(&before));
            once::csv(&mut text, &scene, cli.view, state.filter.as_ref(), state.sorts[cli.view.place()])
        }
    };
    let mut out = io::stdout().lock();
    match written
        .and_then(|()| once::put(&mut out, &text, io::stdout().is_terminal()))
        .and_then(|()| out.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(0),
    }
}
