//! Reads of single nodes with their labels and properties, next to the round trip of the socket.

use std::time::{Duration, Instant};

use graphite_client::{Client, EntityRef, Plan, Traversal, Value, props};

use super::latency::Latencies;
use super::limits::PingPong;
use super::loaded::Loaded;
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
    let mut ping_pong = PingPong::start()?;
    let mut client = loaded.daemon.connect()?;
    let mut trip = Series::new("socket round trip, p50", Unit::Seconds);
    let mut slow_trip = Series::new("socket round trip, p99", Unit::Seconds);
    let mut middle = Series::new("point read by id, 1 client, p50", Unit::Seconds);
    let mut slow = Series::new("point read by id, 1 client, p99", Unit::Seconds);
    let mut planned = Series::new("the same by a plan with a parameter, p50", Unit::Seconds);
    let mut pipelined = Series::new("point reads, 1 client, pipelined", Unit::PerSecond);
    let mut many = Series::new("point reads, 8 clients", Unit::PerSecond);
    let plan = read_plan();
    check(&mut client, &plan, loaded, &mut random)?;
    for _ in 0..bench.rounds {
        let mut trips = Latencies::new();
        let (mut reads, mut plans) = (Latencies::new(), Latencies::new());
        let (mut piped, mut piped_time, mut together) = (0, Duration::ZERO, 0.0);
        for _ in 0..SLICES {
            ping_pong.run(READS, &mut trips)?;
            for _ in 0..READS {
                let id = loaded.random_id(&mut random);
                reads.time(|| client.node(id))?.ok_or("a node is gone")?;
            }
            for _ in 0..READS {
                let id = loaded.random_id(&mut random);
                plans.time(|| client.value(plan.clone(), props! { "id" => id }))?.ok_or("a node is gone")?;
            }
            let began = Instant::now();
            piped += pipeline(&mut client, &plan, loaded, &mut random)?;
            piped_time += began.elapsed();
            together += read_together(loaded, &mut random)? / SLICES as f64;
        }
        trip.push(trips.percentile(50.0));
        slow_trip.push(trips.percentile(99.0));
        middle.push(reads.percentile(50.0));
        slow.push(reads.percentile(99.0));
        planned.push(plans.percentile(50.0));
        pipelined.push(piped as f64 / piped_time.as_secs_f64());
        many.push(together);
    }
    report.add(Line::new(middle).limit(&trip).gate(Gate::RatioAtMost(RATIO_MAX)));
    report.add(Line::new(slow).limit(&slow_trip));
    report.add(Line::new(planned).limit(&trip));
    report.add(Line::new(pipelined));
    report.add(Line::new(many));
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
