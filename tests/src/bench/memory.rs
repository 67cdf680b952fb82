//! Memory of a daemon whose database is five times as large as its cache, while it is imported and while it is read.

use graphite_client::{Direction, EntityRef, Traversal, props};

use super::daemon::Daemon;
use super::import::import;
use super::random::Random;
use super::report::{Gate, Line, Report, Series, Unit};
use super::{Bench, Result, proc_files};

const CACHE_BYTES: u64 = 16 << 20;
/// How much larger than the cache the file is at least.
const FILE_TIMES: u64 = 5;
const BESIDES_CACHE_BYTES: u64 = 64_000_000;
/// The graph is imported again until the file is large enough, at most so often.
const IMPORTS_MAX: u32 = 20;
const ROUNDS_MAX: u32 = 2;
const READS: usize = 100;

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    eprintln!("memory");
    let cache = format!("cache of {} MiB", CACHE_BYTES >> 20);
    let mut seconds = Series::new(format!("import with a {cache}"), Unit::Seconds);
    let mut file = Series::new(format!("file, with a {cache}"), Unit::Bytes);
    let mut importing = Series::new(format!("peak memory while importing, {cache}"), Unit::Bytes);
    let mut reading = Series::new(format!("peak memory with scan and 3-hops, {cache}"), Unit::Bytes);
    for round in 0..bench.rounds_of(ROUNDS_MAX) {
        let db = bench.database(&format!("memory-{round}"))?;
        let cache_bytes = CACHE_BYTES.to_string();
        let daemon = Daemon::start(&bench.programs, &db, &["--cache-bytes", &cache_bytes])?;
        let mut imports = 0;
        while daemon.file_bytes()? < FILE_TIMES * CACHE_BYTES {
            if imports == IMPORTS_MAX {
                return Err(format!("after {imports} imports the file is still too small").into());
            }
            let result = import(bench, &daemon);
            let peak = Unit::Bytes.show(proc_files::memory(daemon.pid())?.peak as f64);
            seconds
                .push(result.map_err(|error| format!("with a {cache}, {peak} of memory so far: {error}"))?);
            imports += 1;
        }
        let status = daemon.status()?;
        if status.cache_bytes_max > CACHE_BYTES {
            return Err(format!("the daemon has a cache of {} bytes", status.cache_bytes_max).into());
        }
        file.push(daemon.file_bytes()? as f64);
        importing.push(proc_files::memory(daemon.pid())?.peak as f64);
        daemon.stop()?;

        let daemon = Daemon::start(&bench.programs, &db, &["--cache-bytes", &cache_bytes])?;
        read(bench, &daemon)?;
        reading.push(proc_files::memory(daemon.pid())?.peak as f64);
        daemon.stop()?;
        bench.remove(&db)?;
    }
    let most = (CACHE_BYTES + BESIDES_CACHE_BYTES) as f64;
    report.add(Line::new(importing).gate(Gate::AtMost(most)));
    report.add(Line::new(reading).gate(Gate::AtMost(most)));
    report.add(Line::new(file));
    report.add(Line::new(seconds));
    Ok(())
}

/// Reads all nodes and edges, and walks from some nodes.
fn read(bench: &Bench, daemon: &Daemon) -> Result<()> {
    let mut client = daemon.connect()?;
    let mut nodes = Vec::new();
    let mut rows = client.rows(Traversal::nodes().ids(), ())?;
    for row in &mut rows {
        nodes.extend(row?.first().and_then(graphite_client::NodeId::from_value));
    }
    drop(rows);
    if nodes.len() < bench.graph.nodes {
        return Err(format!("a scan brought {} nodes of {}", nodes.len(), bench.graph.nodes).into());
    }
    let mut edges = 0;
    for row in client.rows(Traversal::edges(), ())? {
        row?;
        edges += 1;
    }
    if edges < bench.graph.edges.len() {
        return Err(format!("a scan brought {edges} edges of {}", bench.graph.edges.len()).into());
    }
    let mut random = Random::new(10);
    let start = Traversal::node(EntityRef::Param("start".to_owned()));
    let walk = (0..3).fold(start, |walk, _| walk.expand(Direction::Out, [""; 0]));
    let plan = walk.distinct().count().plan();
    for _ in 0..READS {
        let id = nodes[random.below(nodes.len())];
        client.value(plan.clone(), props! { "start" => id })?;
    }
    Ok(())
}
