//! Reads of single nodes with their labels and properties, next to the round trip of the socket.

use std::time::{Duration, Instant};

use graphite_client::{Client, EntityRef, Plan, Traversal, Value, props};

use super::latency::Latencies;
use super::limits::PingPong;
use super::loaded::Loaded;
use super::placement::Placement;
use super::random::Random;
use super::report::{Gate, Line, Report, Series, Unit};
use super::{Bench, Result};

const RATIO_MAX: f64 = 1.7;
/// Slices of a round, in each of which everything has its turn.
const SLICES: usize = 8;
/// Round trips, and reads of each kind, in a slice.
const READS: usize = 2_500;
/// How long a slice of many reads at once takes.
const SLICE: Duration = Duration::from_millis(250);
/// Reads that a pipeline sends before it takes as many answers; twice as many are under way at most.
const PIPELINED: usize = 256;
const CLIENTS: usize = 8;

pub(crate) fn measure(bench: &Bench, report: &mut Report, loaded: &Loaded) -> Result<()> {
    eprintln!("point reads");
    let mut random = Random::new(8);
    let mut client = loaded.daemon.connect()?;
    let plan = read_plan();
    check(&mut client, &plan, loaded, &mut random)?;
    for placement in Placement::all()? {
        one_client(bench, report, loaded, placement, &mut random)?;
    }
    let mut pipelined = Series::new("point reads, 1 client, pipelined", Unit::PerSecond);
    let mut many = Series::new("point reads, 8 clients", Unit::PerSecond);
    for _ in 0..bench.rounds {
        let (mut piped, mut piped_time, mut together) = (0, Duration::ZERO, 0.0);
        for _ in 0..SLICES {
            let began = Instant::now();
            piped += pipeline(&mut client, &plan, loaded, &mut random)?;
            piped_time += began.elapsed();
            together += read_together(loaded, &mut random)? / SLICES as f64;
        }
        pipelined.push(piped as f64 / piped_time.as_secs_f64());
        many.push(together);
    }
    report.add(Line::new(pipelined));
    report.add(Line::new(many));
    Ok(())
}

/// Reads one after another, and round trips in the same place.
fn one_client(
    bench: &Bench,
    report: &mut Report,
    loaded: &Loaded,
    placement: Placement,
    random: &mut Random,
) -> Result<()> {
    let mut ping_pong = PingPong::start()?;
    let mut client = loaded.daemon.connect()?;
    let plan = read_plan();
    let _placed = placement.take(&[ping_pong.peer_pid(), loaded.daemon.pid()])?;
    let place = placement.name();
    let mut trip = Series::new(format!("socket round trip {place}, p50"), Unit::Seconds);
    let mut slow_trip = Series::new(format!("socket round trip {place}, p99"), Unit::Seconds);
    let mut middle = Series::new(format!("point read by id {place}, p50"), Unit::Seconds);
    let mut slow = Series::new(format!("point read by id {place}, p99"), Unit::Seconds);
    let mut planned = Series::new(format!("by a plan with a parameter {place}, p50"), Unit::Seconds);
    for _ in 0..bench.rounds {
        let mut trips = Latencies::new();
        let (mut reads, mut plans) = (Latencies::new(), Latencies::new());
        for _ in 0..SLICES {
            ping_pong.run(READS, &mut trips)?;
            for _ in 0..READS {
                let id = loaded.random_id(random);
                reads.time(|| client.node(id))?.ok_or("a node is gone")?;
            }
            for _ in 0..READS {
                let id = loaded.random_id(random);
                plans.time(|| client.value(plan.clone(), props! { "id" => id }))?.ok_or("a node is gone")?;
            }
        }
        trip.push(trips.percentile(50.0));
        slow_trip.push(trips.percentile(99.0));
        middle.push(reads.percentile(50.0));
        slow.push(reads.percentile(99.0));
        planned.push(plans.percentile(50.0));
    }
    report.add(Line::new(middle).limit(&trip).gate(Gate::RatioAtMost(RATIO_MAX)));
    report.add(Line::new(slow).limit(&slow_trip));
    report.add(Line::new(planned).limit(&trip));
    Ok(())
}

fn read_plan() -> Plan {
    Traversal::node(EntityRef::Param("id".to_owned())).plan()
}

/// Each answer is the node that was asked for. It warms up both sides, too.
fn check(client: &mut Client, plan: &Plan, loaded: &Loaded, random: &mut Random) -> Result<()> {
    for _ in 0..READS {
        let id = loaded.random_id(random);
        let planned = match client.value(plan.clone(), props! { "id" => id })? {
            Some(Value::Node(node)) => Some(*node),
            _ => None,
        };
        let read = client.node(id)?;
        if read != planned || read.is_none_or(|node| node.id != id.0 || node.properties.is_empty()) {
            return Err(format!("the read of node {id} brought something else").into());
        }
    }
    Ok(())
}

/// Keeps many reads under way for the time of a slice; returns how many were answered.
fn pipeline(client: &mut Client, plan: &Plan, loaded: &Loaded, random: &mut Random) -> Result<usize> {
    let began = Instant::now();
    let mut pipeline = client.pipeline();
    let mut answered = 0;
    while began.elapsed() < SLICE || !pipeline.is_empty() {
        if began.elapsed() < SLICE {
            for _ in 0..PIPELINED {
                pipeline.run(plan.clone(), props! { "id" => loaded.random_id(random) })?;
            }
        }
        // The first time as many are left as were answered: so the daemon has work while new reads are sent.
        for _ in 0..pipeline.len().saturating_sub(PIPELINED).max(PIPELINED / 2) {
            let Some(answer) = pipeline.receive() else { break };
            if answer?.rows.len() != 1 {
                return Err("a pipelined read brought no node".into());
            }
            answered += 1;
        }
    }
    Ok(answered)
}

/// Reads a second by clients that each wait for their answers, over the time of a slice.
fn read_together(loaded: &Loaded, random: &mut Random) -> Result<f64> {
    let clients: Vec<Client> = (0..CLIENTS).map(|_| loaded.daemon.connect()).collect::<Result<_>>()?;
    let began = Instant::now();
    let counts: Result<Vec<usize>> = std::thread::scope(|scope| {
        let read = |mut client: Client, mut random: Random| -> Result<usize> {
            let mut count = 0;
            while began.elapsed() < SLICE {
                client.node(loaded.random_id(&mut random))?.ok_or("a node is gone")?;
                count += 1;
            }
            Ok(count)
        };
        let threads: Vec<_> = clients
            .into_iter()
            .map(|client| {
                let random = Random::new(random.next());
                scope.spawn(move || read(client, random))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a reader panicked")?).collect()
    });
    Ok(counts?.into_iter().sum::<usize>() as f64 / began.elapsed().as_secs_f64())
}
