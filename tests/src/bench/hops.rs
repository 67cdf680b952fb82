//! How many nodes are ends of walks of two and of three edges, next to the same in memory.

use graphite_client::{Client, Direction, EntityRef, NodeId, Plan, Traversal, Value, props};

use super::csr::Csr;
use super::latency::Latencies;
use super::limits::PingPong;
use super::loaded::Loaded;
use super::placement::Placement;
use super::random::Random;
use super::report::{Gate, Line, Report, Series, Unit};
use super::{Bench, Result};

/// Times of the CSR's that two hops may take besides the round trip.
const TWO_HOPS_RATIO_MAX: f64 = 4.0;
/// The starts are gone through in so many slices, by the CSR and by Graphite in turns.
const SLICES: usize = 10;
/// Round trips made in each slice.
const PINGS: usize = 500;

/// What is counted.
#[derive(Clone, Copy, Debug)]
struct Hops {
    name: &'static str,
    hops: usize,
    starts: usize,
    /// Times of the CSR's, if it is judged.
    ratio_max: Option<f64>,
    in_memory: fn(&mut Csr, u32) -> u64,
}

const ALL: [Hops; 2] = [
    Hops {
        name: "2-hop",
        hops: 2,
        starts: 300,
        ratio_max: Some(TWO_HOPS_RATIO_MAX),
        in_memory: Csr::two_hops,
    },
    Hops { name: "3-hop", hops: 3, starts: 50, ratio_max: None, in_memory: Csr::three_hops },
];

impl Hops {
    fn plan(&self) -> Plan {
        let start = Traversal::node(EntityRef::Param("start".to_owned()));
        let walk = (0..self.hops).fold(start, |walk, _| walk.expand(Direction::Out, [""; 0]));
        walk.distinct().count().plan()
    }

    fn gate(&self) -> Gate {
        self.ratio_max.map_or(Gate::None, Gate::RatioAtMost)
    }
}

pub(crate) fn measure(bench: &Bench, report: &mut Report, loaded: &Loaded) -> Result<()> {
    let mut csr = Csr::new(bench.graph.nodes, &bench.graph.edges);
    let mut random = Random::new(7);
    let mut ping_pong = PingPong::start()?;
    let _placed = Placement::One.take(&[ping_pong.peer_pid(), loaded.daemon.pid()])?;
    for hops in ALL {
        eprintln!("{}", hops.name);
        let starts: Vec<u32> = (0..hops.starts).map(|_| random.below(bench.graph.nodes) as u32).collect();
        let mut client = loaded.daemon.connect()?;
        check(&hops, &starts, &mut csr, &mut client, loaded)?;

        let mut value = Series::new(format!("{} distinct count, mean", hops.name), Unit::Seconds);
        let mut middle = Series::new(format!("{} distinct count, p50", hops.name), Unit::Seconds);
        let mut slow = Series::new(format!("{} distinct count, p99", hops.name), Unit::Seconds);
        let mut limit = Series::new(format!("{} on the CSR, mean", hops.name), Unit::Seconds);
        let mut trip = Series::new("socket round trip, p50", Unit::Seconds);
        for _ in 0..bench.rounds {
            let (mut theirs, mut ours, mut trips) = (Latencies::new(), Latencies::new(), Latencies::new());
            let plan = hops.plan();
            for slice in starts.chunks(starts.len().div_ceil(SLICES)) {
                for &start in slice {
                    std::hint::black_box(theirs.time(|| (hops.in_memory)(&mut csr, start)));
                }
                ping_pong.run(PINGS, &mut trips)?;
                for &start in slice {
                    let id = loaded.ids[start as usize];
                    ours.time(|| count(&mut client, &plan, id))?;
                }
            }
            value.push(ours.mean());
            middle.push(ours.percentile(50.0));
            slow.push(ours.percentile(99.0));
            limit.push(theirs.mean());
            trip.push(trips.percentile(50.0));
        }
        report.add(Line::new(value).limit_and_round_trip(&limit, &trip).gate(hops.gate()));
        report.add(Line::new(middle));
        report.add(Line::new(slow));
    }
    report.note("Hops are counted on one processor, as on the CSR. Ratios of hops are those of the time without the socket's round trip to the CSR's.");
    Ok(())
}

fn count(client: &mut Client, plan: &Plan, start: NodeId) -> Result<u64> {
    match client.value(plan.clone(), props! { "start" => start })? {
        Some(Value::Int(count)) => Ok(u64::try_from(count)?),
        other => Err(format!("a count was expected, not {other:?}").into()),
    }
}

/// Every count of Graphite's is that of the CSR. It warms up both sides, too.
fn check(hops: &Hops, starts: &[u32], csr: &mut Csr, client: &mut Client, loaded: &Loaded) -> Result<()> {
    let plan = hops.plan();
    for &start in starts {
        let wanted = (hops.in_memory)(csr, start);
        let found = count(client, &plan, loaded.ids[start as usize])?;
        if found != wanted {
            let name = hops.name;
            return Err(format!("{name} from node {start}: Graphite counts {found}, the CSR {wanted}").into());
        }
    }
    Ok(())
}
