//! Processor time of reads on snapshots, alone and beside eight writers that commit.
//!
//! In this process and without the daemon, whose threads do now this and now that: here a thread reads and nothing
//! else, so the system tells what reading took. What a reader could pay for writers are versions of pages that it has to
//! go back over, and memory that others have written to.
//!
//! It also pays for the disk: the system counts an interrupt as the time of whoever is interrupted. How much that is
//! shows a thread that does nothing but write and sync, and shares nothing with the reader but the machine. So all is
//! measured twice: wherever the system puts the threads, and with the first processor for the reader, and another one for
//! all others. The reader is then spared the disk's interrupts if those do not come to the first one: the same line tells.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use graphite_graph::traverse::{Follow, walk_end_count};
use graphite_graph::{Direction, GraphDb, NodeId, View};
use graphite_store::StoreOptions;
use graphite_store::clock::RealClock;
use graphite_store::disk::RealDisk;
use nix::time::{ClockId, clock_gettime};

use super::latency::Latencies;
use super::limits::SyncedFile;
use super::placement::Placement;
use super::random::Random;
use super::report::{Gate, Line, Report, Series, Unit};
use super::{Bench, Result};

/// Processor time beside writers, to that alone.
const RATIO_MAX: f64 = 1.2;
const WRITERS: usize = 8;
/// Bytes of a synced write that has nothing to do with the database: the commits of a few writers.
const SYNCED_BYTES: usize = 1024;
/// Slices of a round, alone and beside others in turns.
const SLICES: usize = 8;
const SLICE: Duration = Duration::from_millis(250);
/// Reads of nodes between two looks at the clock, and counts of two hops.
const READS: usize = 500;
const COUNTS: usize = 10;
const EDGE_TYPE: &str = "BESIDE";

/// What is read.
#[derive(Clone, Copy, Debug)]
struct Reading {
    name: &'static str,
    at_once: usize,
    read: fn(&GraphDb, NodeId) -> graphite_graph::Result<u64>,
}

const ALL: [Reading; 2] = [
    Reading { name: "node with its properties", at_once: READS, read: node },
    Reading { name: "2-hop distinct count", at_once: COUNTS, read: two_hops },
];

/// Each read is on a snapshot of its own, as a statement outside a transaction is.
fn node(db: &GraphDb, id: NodeId) -> graphite_graph::Result<u64> {
    let snapshot = db.snapshot()?;
    let head = snapshot.node_head(id)?;
    let properties = snapshot.properties(id)?;
    Ok(u64::from(head.is_some()) + properties.map_or(0, |properties| properties.len() as u64))
}

fn two_hops(db: &GraphDb, id: NodeId) -> graphite_graph::Result<u64> {
    let follow = Follow { direction: Direction::Out, types: None };
    walk_end_count(&db.snapshot()?, &[id.slot()], follow, 2, &mut |_| true)
}

/// What goes on beside the reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nothing = 0,
    Writers,
    Syncs,
}

const TURNS: [Beside; 3] = [Beside::Nothing, Beside::Writers, Beside::Syncs];
const HOW: [&str; 3] = ["alone", "beside 8 writers", "beside synced writes that share nothing but the disk"];

/// What those beside the reader are told.
#[derive(Debug, Default)]
struct Orders {
    beside: AtomicUsize,
    is_over: AtomicBool,
}

impl Orders {
    fn set(&self, beside: Beside) {
        self.beside.store(beside as usize, Ordering::Relaxed);
    }

    /// Does the work again and again while it is its turn.
    fn follow(&self, turn: Beside, mut work: impl FnMut() -> Result<()>) -> Result<()> {
        while !self.is_over.load(Ordering::Relaxed) {
            if self.beside.load(Ordering::Relaxed) == turn as usize {
                work()?;
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

/// What was read, and the processor time that it took.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    reads: u64,
    seconds: f64,
}

impl Turn {
    fn each(self) -> f64 {
        self.seconds / self.reads as f64
    }
}

/// Opens the database of a daemon that has left. `ids` are nodes in it.
pub(crate) fn measure(bench: &Bench, report: &mut Report, path: &Path, ids: &[u64]) -> Result<()> {
    eprintln!("snapshot reads beside writers");
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock::default()));
    let db = GraphDb::open(disk, clock, path, StoreOptions::default())?;
    db.store().start_threads();
    let ids: Vec<NodeId> = ids.iter().map(|id| NodeId(*id)).collect();
    let result = beside_writers(bench, report, &db, &ids);
    db.store().close()?;
    result
}

fn beside_writers(bench: &Bench, report: &mut Report, db: &GraphDb, ids: &[NodeId]) -> Result<()> {
    let (orders, commits) = (Orders::default(), AtomicU64::new(0));
    let mut synced = SyncedFile::make(bench.work.path())?;
    let mut random = Random::new(11);
    std::thread::scope(|scope| {
        let mut others: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (random, orders, commits) = (Random::new(random.next()), &orders, &commits);
                scope.spawn(move || write(db, ids, random, orders, commits))
            })
            .collect();
        others.push(scope.spawn(|| {
            let mut times = Latencies::new();
            orders.follow(Beside::Syncs, || synced.write(SYNCED_BYTES, 1, &mut times))
        }));
        let result = read_in_turns(bench, report, (db, ids), random, &orders, &commits);
        orders.is_over.store(true, Ordering::Relaxed);
        let ended = others.into_iter().map(|other| other.join().map_err(|_| "a thread panicked")?);
        ended.fold(result, Result::and)
    })
}

/// Commits edges while it may, each one synced.
fn write(
    db: &GraphDb,
    ids: &[NodeId],
    mut random: Random,
    orders: &Orders,
    commits: &AtomicU64,
) -> Result<()> {
    let type_ = db.type_id_or_create(EDGE_TYPE)?;
    orders.follow(Beside::Writers, || {
        let (from, to) = (ids[random.below(ids.len())], ids[random.below(ids.len())]);
        let mut tx = db.begin()?;
        // Two writers may be in each other's way; one of them tries another pair.
        if let Err(graphite_graph::Error::Lock(_)) = tx.create_edge(from, type_, to, &[]) {
            return Ok(());
        }
        let committed = tx.commit()?;
        db.store().wait_visible(committed.lsn)?;
        commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    })
}

fn read_in_turns(
    bench: &Bench,
    report: &mut Report,
    (db, ids): (&GraphDb, &[NodeId]),
    mut random: Random,
    orders: &Orders,
    commits: &AtomicU64,
) -> Result<()> {
    for reading in ALL {
        // Brings into memory what is read.
        read_for_a_slice(&reading, db, ids, &mut random)?;
        for (place, placement) in places()? {
            let _placed = placement.map(|placement| placement.take(&[std::process::id()])).transpose()?;
            let mut series = HOW.map(|how| {
                Series::new(format!("{}{place}, {how}, processor time", reading.name), Unit::Seconds)
            });
            let mut rate =
                Series::new(format!("commits beside it ({}{place})", reading.name), Unit::PerSecond);
            for _ in 0..bench.rounds {
                let mut turns = [Turn::default(); TURNS.len()];
                let before = commits.load(Ordering::Relaxed);
                for _ in 0..SLICES {
                    for (turn, beside) in turns.iter_mut().zip(TURNS) {
                        orders.set(beside);
                        let read = read_for_a_slice(&reading, db, ids, &mut random)?;
                        turn.reads += read.reads;
                        turn.seconds += read.seconds;
                    }
                }
                orders.set(Beside::Nothing);
                let made = commits.load(Ordering::Relaxed) - before;
                rate.push(made as f64 / (SLICE * SLICES as u32).as_secs_f64());
                series.iter_mut().zip(turns).for_each(|(series, turn)| series.push(turn.each()));
            }
            let [quiet, beside, synced] = series;
            report.add(Line::new(beside).limit(&quiet).gate(Gate::RatioAtMost(RATIO_MAX)));
            report.add(Line::new(synced).limit(&quiet));
            report.add(Line::new(rate));
        }
    }
    Ok(())
}

/// Where the reader and all others run, and how a figure's name says it.
fn places() -> Result<Vec<(&'static str, Option<Placement>)>> {
    let mut places = vec![("", None)];
    if Placement::all()?.contains(&Placement::Two) {
        places.push((" on a processor of its own", Some(Placement::Two)));
    }
    Ok(places)
}

fn read_for_a_slice(reading: &Reading, db: &GraphDb, ids: &[NodeId], random: &mut Random) -> Result<Turn> {
    let began = Instant::now();
    let mut turn = Turn::default();
    while began.elapsed() < SLICE {
        let picked: Vec<NodeId> = (0..reading.at_once).map(|_| ids[random.below(ids.len())]).collect();
        let before = processor_time()?;
        for id in &picked {
            std::hint::black_box((reading.read)(db, *id)?);
        }
        turn.seconds += (processor_time()? - before).as_secs_f64();
        turn.reads += picked.len() as u64;
    }
    Ok(turn)
}

/// How long this thread has had a processor.
fn processor_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
