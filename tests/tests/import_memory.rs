//! Memory of a daemon with a small cache, while a graph several times as large is imported.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;

use graphite_client::{Direction, EntityRef, Traversal, props};
use graphite_tests::{Daemon, Scratch, bare_graphite, contents, run_ok};

const CACHE_BYTES: u64 = 4 << 20;
/// What the daemon may take besides its cache.
const BESIDES_CACHE_BYTES: u64 = 64_000_000;
const NODES: u64 = 20_000;
const EDGES: u64 = 300_000;

/// The most memory that a process ever had, in bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn an_import_five_times_the_cache_stays_within_the_cache_and_64_mb() {
    let scratch = Scratch::new();
    let mut nodes = "id,name\n".to_owned();
    (0..NODES).for_each(|id| writeln!(nodes, "{id},a node with the name {id}").unwrap());
    let mut edges = "src,dst,weight\n".to_owned();
    let mut seed = 1u64;
    let mut next = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut expected = Vec::new();
    let mut out_degrees: HashMap<u64, i64> = HashMap::new();
    for row in 0..EDGES {
        // A quarter of them at a few hubs.
        let start = if row % 4 == 0 { next(20) } else { next(NODES) };
        let end = next(NODES);
        writeln!(edges, "{start},{end},{row}").unwrap();
        expected.push((start as usize, end as usize, row));
        *out_degrees.entry(start).or_default() += 1;
    }
    let (nodes, edges) = (scratch.write("nodes.csv", nodes), scratch.write("edges.csv", edges));

    let db = scratch.path("a.graphite");
    let cache = CACHE_BYTES.to_string();
    let daemon = Daemon::start(&db, &["--cache-bytes", &cache]);
    let mut command = bare_graphite();
    command.arg("--socket").arg(daemon.socket());
    let args = ["import", "--nodes", &nodes, "--edges", &edges, "--id-column", "id", "--start-column", "src"];
    let more = ["--end-column", "dst", "--label", "N", "--type", "E", "--column", "weight:int"];
    run_ok(command, &[&args[..], &more[..]].concat());
    let importing = peak(daemon.pid());
    println!("{importing} bytes while importing");
    let file_bytes = fs::metadata(&db).unwrap().len();
    assert!(file_bytes > 5 * CACHE_BYTES, "the file has only {file_bytes} bytes");
    assert!(importing < CACHE_BYTES + BESIDES_CACHE_BYTES, "it took {importing} bytes while importing");

    let mut client = daemon.client();
    let found = contents(&mut client);
    assert_eq!(found.nodes.len() as u64, NODES);
    let mut texts: Vec<_> = expected
        .iter()
        .map(|(start, end, row)| (*start, *end, format!("\"E\" \"weight\": Int({row})")))
        .collect();
    texts.sort_unstable();
    assert!(found.edges == texts, "the edges are not those of the file");
    // Adjacency, which the scan of edges does not look at.
    let ids: Vec<_> = client
        .rows(Traversal::nodes().ids(), ())
        .unwrap()
        .map(|row| graphite_client::NodeId::from_value(&row.unwrap()[0]).unwrap())
        .collect();
    let start = Traversal::node(EntityRef::Param("start".to_owned()));
    let degree = start.expand(Direction::Out, [""; 0]).count().plan();
    for place in (0..40).chain((40..NODES).step_by(500)) {
        let count = client.value(degree.clone(), props! { "start" => ids[place as usize] }).unwrap();
        let expected = out_degrees.get(&place).copied().unwrap_or(0);
        assert_eq!(count, Some(expected.into()), "of node {place}");
    }
    let reading = peak(daemon.pid());
    assert!(reading < CACHE_BYTES + BESIDES_CACHE_BYTES, "it took {reading} bytes in all");
}
