//! Commits of one edge each, every one synced, next to writing and syncing as many bytes.
//!
//! The bytes are those that Graphite logs: after each turn of one client it is asked how far its log has grown,
//! and the next turn of the limit writes as many for each commit. Full images of pages after a checkpoint are among
//! them. Graphite's turn and the limit's have the same length, and there are several of each in a round.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use graphite_client::{Client, props};

use super::latency::Latencies;
use super::limits::SyncedFile;
use super::loaded::Loaded;
use super::random::Random;
use super::report::{Gate, Line, Report, Series, Unit};
use super::{Bench, Result};

const ONE_CLIENT_RATIO_MIN: f64 = 0.8;
const MANY_CLIENTS_RATIO_MIN: f64 = 8.0;
/// Many clients can gain so much over one only while a sync takes longer than this.
const SLOW_SYNC_SECONDS: f64 = 1e-3;
const CLIENTS: [usize; 3] = [1, 8, 32];
const SLICES: usize = 4;
const SLICE: Duration = Duration::from_millis(500);
const WARM_UP: Duration = Duration::from_secs(2);
/// Type of the edges that are created; others count walks along the graph's.
const EDGE_TYPE: &str = "BENCH";

/// What clients got done together.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    commits: u64,
    /// Commits that failed and were made again.
    again: u64,
    seconds: f64,
    log_bytes: u64,
    syncs: u64,
}

impl Turn {
    fn add(&mut self, other: Turn) {
        self.commits += other.commits;
        self.again += other.again;
        self.seconds += other.seconds;
        self.log_bytes += other.log_bytes;
        self.syncs += other.syncs;
    }

    fn rate(&self) -> f64 {
        self.commits as f64 / self.seconds
    }

    fn bytes_per_commit(&self) -> f64 {
        self.log_bytes as f64 / self.commits as f64
    }
}

pub(crate) fn measure(bench: &Bench, report: &mut Report, loaded: &Loaded) -> Result<()> {
    eprintln!("commits");
    let mut random = Random::new(9);
    let mut synced = SyncedFile::make(bench.work.path())?;
    let mut limit = Series::new("write of as many bytes and fdatasync", Unit::PerSecond);
    let mut sync = Series::new("write of as many bytes and fdatasync, p50", Unit::Seconds);
    let mut rates = CLIENTS.map(|clients| {
        let plural = if clients == 1 { "" } else { "s" };
        Series::new(format!("durable one-edge commits, {clients} client{plural}"), Unit::PerSecond)
    });
    let mut bytes = Series::new("log bytes of a commit, 1 client", Unit::Bytes);
    let mut shared = Series::new("commits a sync, 32 clients", Unit::Number);
    let mut again = 0;
    report.note(format!("Durability of the commits: {}.", loaded.durability()?));
    turn(loaded, 1, WARM_UP, &mut random)?;
    for _ in 0..bench.rounds {
        let mut turns = [Turn::default(); CLIENTS.len()];
        let mut writes = Latencies::new();
        for _ in 0..SLICES {
            for (clients, sum) in CLIENTS.into_iter().zip(&mut turns) {
                let turn = turn(loaded, clients, SLICE, &mut random)?;
                sum.add(turn);
                if clients == 1 {
                    let bytes = turn.bytes_per_commit().ceil() as usize;
                    synced.run(bytes, SLICE, &mut writes)?;
                }
            }
        }
        limit.push(writes.rate());
        sync.push(writes.percentile(50.0));
        bytes.push(turns[0].bytes_per_commit());
        shared.push(turns[CLIENTS.len() - 1].commits as f64 / turns[CLIENTS.len() - 1].syncs.max(1) as f64);
        for (series, turn) in rates.iter_mut().zip(&turns) {
            series.push(turn.rate());
            again += turn.again;
        }
    }
    let sync_seconds = sync.median();
    let [one, eight, many] = rates;
    report.add(Line::new(one.clone()).limit(&limit).gate(Gate::RatioAtLeast(ONE_CLIENT_RATIO_MIN)));
    report.add(Line::new(eight).limit(&one));
    let gate = if sync_seconds > SLOW_SYNC_SECONDS {
        Gate::RatioAtLeast(MANY_CLIENTS_RATIO_MIN)
    } else {
        Gate::Waived(format!("a sync takes {}, not over 1 ms", Unit::Seconds.show(sync_seconds)))
    };
    report.add(Line::new(many).limit(&one).gate(gate));
    report.add(Line::new(bytes));
    report.add(Line::new(shared));
    report.add(Line::new(sync));
    report.note(format!("Commits that were refused as retryable and made again: {again}."));
    Ok(())
}

/// Lets so many clients commit for so long, each waiting for its answer before it goes on.
fn turn(loaded: &Loaded, clients: usize, how_long: Duration, random: &mut Random) -> Result<Turn> {
    let connections: Vec<Client> = (0..clients).map(|_| loaded.daemon.connect()).collect::<Result<_>>()?;
    let before = loaded.daemon.status()?;
    let start = Barrier::new(clients);
    let turns: Result<Vec<Turn>> = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .map(|client| {
                let (start, random) = (&start, Random::new(random.next()));
                scope.spawn(move || commit_for(client, loaded, random, start, how_long))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a writer panicked")?).collect()
    });
    let after = loaded.daemon.status()?;
    let mut sum = Turn::default();
    let mut longest = 0.0_f64;
    for turn in turns? {
        sum.add(turn);
        longest = longest.max(turn.seconds);
    }
    if after.edges - before.edges != sum.commits {
        let found = after.edges - before.edges;
        return Err(format!("{} commits were acknowledged, and {found} edges are there", sum.commits).into());
    }
    Ok(Turn {
        seconds: longest,
        log_bytes: after.applied_lsn - before.applied_lsn,
        syncs: after.syncs - before.syncs,
        ..sum
    })
}

fn commit_for(
    mut client: Client,
    loaded: &Loaded,
    mut random: Random,
    start: &Barrier,
    how_long: Duration,
) -> Result<Turn> {
    let mut turn = Turn::default();
    start.wait();
    let began = Instant::now();
    while began.elapsed() < how_long {
        let (from, to) = (loaded.random_id(&mut random), loaded.random_id(&mut random));
        match client.create_edge(from, to, EDGE_TYPE, props! { "since" => 2026 }) {
            Ok(_) => turn.commits += 1,
            Err(error) if error.is_retryable() => turn.again += 1,
            Err(error) => return Err(error.into()),
        }
    }
    turn.seconds = began.elapsed().as_secs_f64();
    Ok(turn)
}
