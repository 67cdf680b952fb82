//! `graphite demo`: the world's air routes in a new database, a few questions worth reading, and what to type next.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use graphite_client::messages::ImportBegin;
use graphite_client::{Client, Comparison, Direction, NodeId, Token, Traversal, Value};

use super::Target;
use super::export::shell_word;
use super::failure::{Failure, Outcome};
use super::import::header::FileKind;
use super::import::source::InputFile;
use super::import::{Job, Loaded};
use super::output::{RowSet, Screen, table};
use super::show::{cell, count, elapsed, number};

/// The database that the demo makes where it is called.
const DEFAULT_PATH: &str = "air-routes.graphite";

/// Name of the demo's import, so that one that was interrupted goes on.
const IMPORT: &str = "demo-air-routes-1";

/// Columns of the demo where the terminal does not say.
const WIDTH: u16 = 80;

const NODES: &[u8] = include_bytes!("../../fixtures/air-routes/air-routes-latest-nodes.csv");
const EDGES: &[u8] = include_bytes!("../../fixtures/air-routes/air-routes-latest-edges.csv");

/// Flags of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The database to make [default: air-routes.graphite]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
}

/// Where the demo's database is.
fn database(target: &Target, args: &DemoArgs) -> Outcome<Target> {
    match (&args.path, target.is_given()) {
        (Some(path), _) => Ok(Target::file(path.clone())),
        (None, true) => Ok(target.clone()),
        (None, false) => {
            let here = Path::new(DEFAULT_PATH);
            let writable = nix::unistd::access(".", nix::unistd::AccessFlags::W_OK).is_ok();
            if writable || here.exists() {
                return Ok(Target::file(here.to_owned()));
            }
            let dir = std::env::temp_dir().join(format!("graphite-demo-{}", nix::unistd::getuid()));
            std::fs::create_dir_all(&dir)
                .map_err(|error| Failure::Failed(format!("{}: {error}", dir.display())))?;
            Ok(Target::file(dir.join(DEFAULT_PATH)))
        }
    }
}

/// What was found at the demo's path.
enum Found {
    /// Nothing, or an import that was interrupted and is to be resumed.
    Unfinished { resume: bool },
    /// The air routes.
    Routes,
    /// Something else.
    Another,
}

fn look(client: &mut Client) -> Outcome<Found> {
    let import = token()?;
    let begun = client.call(&ImportBegin { import, resume: true })?;
    // What an import left that has ended may have been deleted since.
    let resume = begun.ended.is_none();
    if resume && begun.next > 0 || client.status()?.nodes == 0 {
        return Ok(Found::Unfinished { resume });
    }
    let ends = ["AUS", "AGR"].map(|code| airport(client, code));
    Ok(if ends.iter().all(|end| matches!(end, Ok(Some(_)))) { Found::Routes } else { Found::Another })
}

fn token() -> Outcome<Token> {
    Token::new(IMPORT).map_err(|error| Failure::Failed(error.to_string()))
}

fn airport(client: &mut Client, code: &str) -> Outcome<Option<NodeId>> {
    let plan = Traversal::nodes_with("airport").filter("code", Comparison::Eq, code).ids();
    Ok(client.value(plan, ())?.as_ref().and_then(NodeId::from_value))
}

fn load(client: &mut Client, target: &Target, resume: bool) -> Outcome<Loaded> {
    let files = vec![
        InputFile::built("air-routes-nodes.csv", FileKind::Nodes, NODES),
        InputFile::built("air-routes-edges.csv", FileKind::Edges, EDGES),
    ];
    Job { resume, ..Job::new(files, token()?) }.load(client, || target.connect(false))
}

/// `graphite demo`
pub(crate) fn run(target: &Target, args: &DemoArgs, out: &mut impl Write) -> Outcome {
    let target = database(target, args)?;
    let mut client = target.connect(true)?;
    let path = client.server().database.clone();
    let screen = Screen::of_stdout();
    let screen = Screen { width: screen.width.or(Some(WIDTH)).map(|width| width.min(WIDTH)), ..screen };
    let mut demo = Demo { client: &mut client, out, screen };

    demo.line("Graphite demo: the airports of the world, and who flies where")?;
    demo.line("")?;
    match look(demo.client)? {
        Found::Another => {
            return Err(Failure::Failed(format!(
                "{path} holds another graph, which the demo leaves alone; give it a path of its own: graphite demo PATH"
            )));
        }
        Found::Routes => demo.line("The air routes are there from an earlier run.")?,
        Found::Unfinished { resume } => {
            let loaded = load(demo.client, &target, resume)?;
            let rows = format!("{} and {}", count(loaded.nodes, "node"), count(loaded.edges, "edge"));
            demo.line(&format!("Loaded {rows} in {}.", elapsed(loaded.time)))?;
        }
    }
    demo.busiest()?;
    demo.fewest_stops()?;
    demo.reach()?;
    demo.next(&path, target.socket.as_deref())
}

struct Demo<'a, W> {
    client: &'a mut Client,
    out: &'a mut W,
    screen: Screen,
}

impl<W: Write> Demo<'_, W> {
    fn line(&mut self, text: &str) -> Outcome {
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// A question with the time that its answer took at the right edge.
    fn question(&mut self, text: &str, took: Duration) -> Outcome {
        let width = usize::from(self.screen.width.unwrap_or(WIDTH));
        let took = elapsed(took);
        let gap = width.saturating_sub(text.chars().count() + took.chars().count()).max(2);
        let (bold, plain) = if self.screen.styled { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        self.line("")?;
        self.line(&format!("{bold}{text}{plain}{}{took}", " ".repeat(gap)))
    }

    fn table(&mut self, set: &RowSet) -> Outcome {
        for line in table(set, self.screen).lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    fn busiest(&mut self) -> Outcome {
        let plan = Traversal::nodes_with("airport")
            .degree(Direction::Out, ["route"])
            .order_by_column("degree", true)
            .limit(7)
            .properties(["code", "city", "country", "desc"]);
        let started = Instant::now();
        let answer = self.client.run(plan, ())?;
        self.question("Which airports have the most routes?", started.elapsed())?;
        let mut set = RowSet::new(&["code", "city", "country", "airport", "routes"]);
        set.rows = answer.rows;
        self.table(&set)
    }

    fn fewest_stops(&mut self) -> Outcome {
        let missing = || Failure::Failed("the air routes lack Austin or Agra".to_owned());
        let from = airport(self.client, "AUS")?.ok_or_else(missing)?;
        let to = airport(self.client, "AGR")?.ok_or_else(missing)?;
        let started = Instant::now();
        let path = self.client.shortest_path(from, to, Direction::Out, &["route"], None)?;
        let took = started.elapsed();
        let path = path.ok_or_else(|| Failure::Failed("there is no way from Austin to Agra".to_owned()))?;
        self.question("How does one fly from Austin to Agra with the fewest stops?", took)?;
        let mut set = RowSet::new(&["", "code", "city", "country", "airport", "miles"]);
        for (hop, node) in path.nodes.iter().enumerate() {
            let edge = hop.checked_sub(1).and_then(|before| path.edges.get(before));
            let is_end = hop + 1 == path.nodes.len();
            let place = if hop == 0 {
                "from"
            } else if is_end {
                "to"
            } else {
                "via"
            };
            let text = |key| Value::from(node.get(key).map(cell));
            let miles = edge.and_then(|edge| edge.get("dist")).cloned().unwrap_or(Value::Nil);
            set.rows.push(vec![
                place.into(),
                text("code"),
                text("city"),
                text("country"),
                text("desc"),
                miles,
            ]);
        }
        self.table(&set)
    }

    fn reach(&mut self) -> Outcome {
        let missing = || Failure::Failed("the air routes lack Austin".to_owned());
        let from = airport(self.client, "AUS")?.ok_or_else(missing)?;
        let all = self.client.value(Traversal::nodes_with("airport").count(), ())?;
        let all = all.as_ref().and_then(Value::as_int).unwrap_or(0).max(1);
        let columns = ["flights", "airports", "of all", "took"];
        let mut set = RowSet { amounts: &[1, 2, 3], ..RowSet::new(&columns) };
        let started = Instant::now();
        for hops in 1..=4 {
            let hop_started = Instant::now();
            let reached = self.client.khop_count(from, Direction::Out, &["route"], hops)?;
            let took = elapsed(hop_started.elapsed());
            let share = format!("{:.1}%", reached as f64 * 100.0 / all as f64);
            let flights = if hops == 1 { "nonstop".to_owned() } else { format!("at most {hops}") };
            set.rows.push(vec![flights.into(), number(reached).into(), share.into(), took.into()]);
        }
        self.question("How much of the world can one reach from Austin?", started.elapsed())?;
        self.table(&set)
    }

    fn next(&mut self, path: &str, socket: Option<&Path>) -> Outcome {
        let command = command();
        let at = match socket {
            Some(socket) => format!("--socket {}", shell_word(&socket.to_string_lossy())),
            None => format!("--db {}", shell_word(&shortened(path))),
        };
        self.line("")?;
        self.line("What to type next:")?;
        for rest in [
            "node code=AGR",
            "neighbors code=AGR --direction out",
            "path code=LHR code=EZE --type route",
            "status",
        ] {
            self.line(&format!("  {command} {at} {rest}"))?;
        }
        self.line("")?;
        self.line("The daemon that was started for the database leaves 30 seconds after its last client.")
    }
}

/// The path as one would type it here.
fn shortened(path: &str) -> String {
    let here = std::env::current_dir().and_then(std::fs::canonicalize);
    let inside = here.ok().and_then(|here| Path::new(path).strip_prefix(here).ok().map(Path::to_path_buf));
    inside.map_or_else(|| path.to_owned(), |inside| inside.to_string_lossy().into_owned())
}

/// How this program can be called again: by its name alone, if that finds it.
fn command() -> String {
    let own = std::env::current_exe().and_then(std::fs::canonicalize).ok();
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|dir| dir.join("graphite")).find(|file| file.is_file())
    });
    if own.is_some() && found.and_then(|file| std::fs::canonicalize(file).ok()) == own {
        return "graphite".to_owned();
    }
    let called = std::env::args().next().filter(|name| name.contains('/') && Path::new(name).is_file());
    let own = own.map(|own| shortened(&own.to_string_lossy()));
    shell_word(&called.or(own).unwrap_or_else(|| "graphite".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_short_where_they_can_be() {
        let here = std::fs::canonicalize(std::env::current_dir().unwrap()).unwrap();
        assert_eq!(shortened(&here.join("a.graphite").to_string_lossy()), "a.graphite");
        assert_eq!(shortened("/elsewhere/a.graphite"), "/elsewhere/a.graphite");
    }

    #[test]
    fn the_licence_stands_beside_the_data() {
        assert!(include_str!("../../fixtures/air-routes/LICENSE").contains("Apache License"));
        assert!(NODES.starts_with(b"~id,~label") && EDGES.starts_with(b"~id,~from"));
    }
}
