//! The parts of `graphite-bench`: the limits, each area of Graphite's work, and the report.

mod commits;
mod csr;
mod daemon;
mod graph;
mod hops;
mod idle;
mod import;
mod latency;
mod limits;
mod loaded;
mod memory;
mod monitor;
mod placement;
mod point;
mod proc_files;
mod processes;
mod random;
mod recovery;
mod report;
mod screen;
mod sessions;
mod snapshot_reads;
mod writers;

use std::error::Error;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use daemon::Programs;
use graph::Graph;
use loaded::Loaded;
use processes::WorkDir;
use report::Report;

pub(crate) use limits::be_peer;

pub(crate) type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The hidden command of the other process of the socket's round trip.
pub(crate) const PEER_COMMAND: &str = "ping-pong-peer";

/// Says which file an error is about.
pub(crate) fn at<E: Display>(path: &Path) -> impl FnOnce(E) -> Box<dyn Error + Send + Sync> {
    move |error| format!("{}: {error}", path.display()).into()
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Area {
    /// The time of an import, and the bytes on disk after it
    Import,
    /// Distinct counts of two and three hops
    Hops,
    /// Reads of single nodes
    Point,
    /// Durable commits of one edge each
    Commits,
    /// What sessions do to each other: commits beside an open transaction, and snapshot reads beside writers
    Sessions,
    /// Memory while a graph is imported that is larger than the cache
    Memory,
    /// A daemon that has nothing to do
    Idle,
    /// The start after a crash with a full log, and a check
    Recovery,
    /// What a monitor costs the daemon: pictures, and commits beside it
    Monitor,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) graph: Option<PathBuf>,
    pub(crate) areas: Vec<Area>,
    pub(crate) rounds: u32,
    pub(crate) out: Option<PathBuf>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) beside: Option<PathBuf>,
}

/// What all areas need.
#[derive(Debug)]
pub(crate) struct Bench {
    programs: Programs,
    graph: Graph,
    work: WorkDir,
    rounds: u32,
    /// The command that says what another database commits.
    beside: Option<PathBuf>,
}

impl Bench {
    /// A new path for a database, in a directory of its own.
    fn database(&self, name: &str) -> Result<PathBuf> {
        let dir = self.work.path().join(name);
        std::fs::create_dir(&dir).map_err(at(&dir))?;
        Ok(dir.join("bench.graphite"))
    }

    /// Removes a database with all that is beside it.
    fn remove(&self, db: &Path) -> Result<()> {
        let dir = db.parent().ok_or("a database has a directory")?;
        std::fs::remove_dir_all(dir).map_err(at(dir))
    }

    /// How often to measure what takes long and varies little.
    fn rounds_of(&self, most: u32) -> u32 {
        self.rounds.min(most)
    }
}

/// Measures what was asked for, and shows it.
pub(crate) fn run(settings: Settings) -> Result<()> {
    let target = target_dir()?;
    let programs = Programs::find()?;
    processes::clean_up_on_signals()?;
    let work = WorkDir::make(settings.dir.as_deref().unwrap_or(&target.join("bench-work")))?;
    eprintln!("reading the graph");
    let graph = match &settings.graph {
        Some(dir) => Graph::read(dir)?,
        None => Graph::read_or_make(&target.join("bench-graph"))?,
    };
    let mut report = Report::default();
    describe_run(&mut report, &graph, work.path(), settings.rounds)?;
    let bench = Bench { programs, graph, work, rounds: settings.rounds, beside: settings.beside };
    let wanted = |area| settings.areas.is_empty() || settings.areas.contains(&area);

    measure(&bench, &mut report, wanted);
    report.note(format!("Load of the machine at the end, this run included: {:.1}.", proc_files::load()));
    let markdown = report.markdown();
    println!("{markdown}");
    if let Some(path) = settings.out {
        report::write(&path, &markdown)?;
    }
    match report.failures() {
        0 => Ok(()),
        failures => Err(format!("not all could be measured, {failures} errors are told above").into()),
    }
}

/// What fails in one area leaves the others as they are.
fn measure(bench: &Bench, report: &mut Report, wanted: impl Fn(Area) -> bool) {
    // Most areas need a database with the graph in it: the last one that was imported.
    let mut database = None;
    if wanted(Area::Import) {
        match import::measure(bench, report) {
            Ok(db) => database = Some(db),
            Err(error) => report.fail("import", error),
        }
    }
    let database = database.as_deref();
    if wanted(Area::Idle) {
        idle::measure(bench, report, database).unwrap_or_else(|error| report.fail("idle", error));
    }
    if wanted(Area::Monitor) {
        monitor::measure(bench, report).unwrap_or_else(|error| report.fail("monitor", error));
    }
    if [Area::Hops, Area::Point, Area::Commits, Area::Sessions].into_iter().any(&wanted) {
        match Loaded::open(bench, database) {
            Ok(loaded) => measure_loaded(bench, report, loaded, &wanted),
            Err(error) => report.fail("hops, point, commits and sessions", error),
        }
    }
    if wanted(Area::Recovery) {
        recovery::measure(bench, report).unwrap_or_else(|error| report.fail("recovery", error));
    }
    if wanted(Area::Memory) {
        memory::measure(bench, report).unwrap_or_else(|error| report.fail("memory", error));
    }
}

fn measure_loaded(bench: &Bench, report: &mut Report, loaded: Loaded, wanted: impl Fn(Area) -> bool) {
    if wanted(Area::Point) {
        point::measure(bench, report, &loaded).unwrap_or_else(|error| report.fail("point", error));
    }
    if wanted(Area::Hops) {
        hops::measure(bench, report, &loaded).unwrap_or_else(|error| report.fail("hops", error));
    }
    // Last, as its changes make it another graph.
    if wanted(Area::Commits) {
        commits::measure(bench, report, &loaded).unwrap_or_else(|error| report.fail("commits", error));
    }
    if wanted(Area::Sessions) {
        sessions::measure(bench, report, &loaded).unwrap_or_else(|error| report.fail("sessions", error));
    }
    let (db, ids) = (loaded.daemon.database().to_owned(), loaded.ids);
    loaded.daemon.stop().unwrap_or_else(|error| report.fail("the end of the daemon", error));
    if wanted(Area::Sessions) {
        let ids: Vec<u64> = ids.iter().map(|id| id.0).collect();
        snapshot_reads::measure(bench, report, &db, &ids)
            .unwrap_or_else(|error| report.fail("snapshot reads beside writers", error));
    }
}

/// The directory that cargo builds into, which is not cleared between runs.
fn target_dir() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let dir = own.parent().and_then(Path::parent).ok_or("this program is not in a directory of cargo's")?;
    Ok(dir.to_owned())
}

/// What one has to know of the run to judge its figures.
fn describe_run(report: &mut Report, graph: &Graph, dir: &Path, rounds: u32) -> Result<()> {
    let (nodes, edges) = (graph.nodes, graph.edges.len());
    report.note(format!("Machine: {}.", proc_files::machine()));
    report
        .note(format!("Graph: {nodes} nodes, {edges} edges. Rounds: {rounds}, fewer where a line says so."));
    let load = proc_files::load();
    report.note(format!("Load of the machine before the run: {load:.1}."));
    if load > 0.5 {
        report.note("Others were using the machine when the run began; figures need another run.");
    }
    if cfg!(debug_assertions) {
        report.note("**This is a debug build: no figure counts.**");
    }
    let file_system = statfs(dir).map_err(at(dir))?.filesystem_type();
    if file_system == TMPFS_MAGIC {
        report.note("**The databases are in memory (tmpfs): no figure of commits or imports counts.**");
    }
    Ok(())
}
