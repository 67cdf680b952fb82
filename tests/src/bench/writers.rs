//! Clients that commit edges, one alone or many together, slice by slice.
//!
//! A disk may be fast in one second and slow in the next. So one client's commits and the writes that they are held
//! against alternate within milliseconds, and the slices of one client and of many within a second. All clients
//! are connected, with a thread each, for the whole round; those that have no part in a slice sleep.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use graphite_client::{Client, NodeId, StatusReply, props};

use super::Result;
use super::latency::Latencies;
use super::limits::SyncedFile;
use super::loaded::Loaded;
use super::placement::Placement;
use super::random::Random;

/// How many clients commit in a slice.
pub(crate) const CLIENTS: [usize; 3] = [1, 8, 32];
const CLIENTS_MAX: usize = CLIENTS[CLIENTS.len() - 1];
/// Slices of a round, for each number of clients.
const SLICES: usize = 8;
const SLICE: Duration = Duration::from_millis(250);
/// Commits of one client, and then as many writes.
const ALTERNATELY: usize = 8;
/// Type of the edges that are created; those of the graph have another.
const EDGE_TYPE: &str = "BENCH";

/// What was done in the slices of a round that had the same number of clients.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) commits: u64,
    pub(crate) seconds: f64,
    /// How far the log grew.
    pub(crate) log_bytes: u64,
    pub(crate) syncs: u64,
}

impl Turn {
    pub(crate) fn rate(&self) -> f64 {
        self.commits as f64 / self.seconds
    }

    pub(crate) fn log_bytes_per_commit(&self) -> f64 {
        self.log_bytes as f64 / self.commits as f64
    }
}

/// What was done in a round.
#[derive(Debug)]
pub(crate) struct Round {
    /// For each of [`CLIENTS`].
    pub(crate) turns: [Turn; CLIENTS.len()],
    /// The commits of one client.
    pub(crate) commits: Latencies,
    /// The writes that they are held against.
    pub(crate) writes: Latencies,
    /// Commits that were refused as retryable and made again.
    pub(crate) again: u64,
}

/// What the threads of a round share.
struct Shared<'a> {
    ids: &'a [NodeId],
    start: Barrier,
    finish: Barrier,
    commits: AtomicU64,
    again: AtomicU64,
}

impl Shared<'_> {
    fn commit(&self, client: &mut Client, random: &mut Random) -> Result<()> {
        let mut pick = || self.ids[random.below(self.ids.len())];
        let (from, to) = (pick(), pick());
        loop {
            match client.create_edge(from, to, EDGE_TYPE, props! { "since" => 2026 }) {
                Ok(_) => break,
                Err(error) if error.is_retryable() => self.again.fetch_add(1, Ordering::Relaxed),
                Err(error) => return Err(error.into()),
            };
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn commit_for_a_slice(&self, client: &mut Client, random: &mut Random) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < SLICE {
            self.commit(client, random)?;
        }
        Ok(())
    }

    /// Takes part in a round. After an error it does nothing more, but keeps step with the others.
    fn help(&self, index: usize, mut client: Client, mut random: Random) -> Result<()> {
        let mut result = Ok(());
        for clients in schedule() {
            self.start.wait();
            if index < clients && result.is_ok() {
                result = self.commit_for_a_slice(&mut client, &mut random);
            }
            self.finish.wait();
        }
        result
    }
}

fn schedule() -> impl Iterator<Item = usize> {
    (0..SLICES).flat_map(|_| CLIENTS)
}

/// Runs a round. `bytes` is what a commit logs: it says how much the limit's writes write, and is measured anew.
pub(crate) fn round(
    loaded: &Loaded,
    random: &mut Random,
    synced: &mut SyncedFile,
    bytes: &mut usize,
) -> Result<Round> {
    let shared = Shared {
        ids: &loaded.ids,
        start: Barrier::new(CLIENTS_MAX),
        finish: Barrier::new(CLIENTS_MAX),
        commits: AtomicU64::new(0),
        again: AtomicU64::new(0),
    };
    let clients: Vec<Client> = (0..CLIENTS_MAX).map(|_| loaded.daemon.connect()).collect::<Result<_>>()?;
    let mut leader = Leader {
        shared: &shared,
        daemon: loaded.daemon.pid(),
        watch: loaded.daemon.connect()?,
        synced,
        bytes,
        round: Round::new(),
    };
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut clients = clients.into_iter().enumerate();
        let first = clients.next();
        for (index, client) in clients {
            let (shared, random) = (&shared, Random::new(random.next()));
            threads.push(scope.spawn(move || shared.help(index, client, random)));
        }
        let (_, mut client) = first.expect("there is a client at least");
        let mut result = leader.lead(&mut client, random);
        for thread in threads {
            let helped = thread.join().map_err(|_| "a writer panicked".into());
            result = result.and(helped.and_then(|helped| helped));
        }
        result
    })?;
    Ok(Round { again: shared.again.load(Ordering::Relaxed), ..leader.round })
}

/// The first of the clients, which keeps the books as well.
struct Leader<'a> {
    shared: &'a Shared<'a>,
    /// The daemon's process.
    daemon: u32,
    watch: Client,
    synced: &'a mut SyncedFile,
    bytes: &'a mut usize,
    round: Round,
}

impl Leader<'_> {
    fn lead(&mut self, client: &mut Client, random: &mut Random) -> Result<()> {
        let mut result = Ok(());
        for (slice, clients) in schedule().enumerate() {
            let before = self.watch.status();
            self.shared.start.wait();
            let began = Instant::now();
            let mut own = Ok(());
            if result.is_ok() {
                own = match clients {
                    1 => self.alternate(client, random),
                    _ => self.shared.commit_for_a_slice(client, random),
                };
            }
            self.shared.finish.wait();
            let seconds = began.elapsed().as_secs_f64();
            let after = self.watch.status();
            // Kept for later, as the others wait at the next slice for this thread, too.
            result =
                result.and(own).and_then(|()| self.note(slice % CLIENTS.len(), seconds, (before?, after?)));
        }
        result
    }

    /// Commits and writes in turns, each for the time of a slice about, on one processor as the writes are.
    fn alternate(&mut self, client: &mut Client, random: &mut Random) -> Result<()> {
        let _placed = Placement::One.take(&[self.daemon])?;
        let began = Instant::now();
        while began.elapsed() < 2 * SLICE {
            for _ in 0..ALTERNATELY {
                self.round.commits.time(|| self.shared.commit(client, random))?;
            }
            self.synced.write(*self.bytes, ALTERNATELY, &mut self.round.writes)?;
        }
        Ok(())
    }

    fn note(&mut self, turn: usize, seconds: f64, (before, after): (StatusReply, StatusReply)) -> Result<()> {
        let commits = self.shared.commits.swap(0, Ordering::Relaxed);
        let found = after.edges - before.edges;
        if found != commits || commits == 0 {
            return Err(format!("{commits} commits were acknowledged, and {found} edges are there").into());
        }
        let log_bytes = after.applied_lsn - before.applied_lsn;
        let sum = &mut self.round.turns[turn];
        sum.commits += commits;
        sum.log_bytes += log_bytes;
        sum.syncs += after.syncs - before.syncs;
        if CLIENTS[turn] == 1 {
            // The time of the writes between them is not theirs.
            sum.seconds = self.round.commits.seconds();
            *self.bytes = usize::try_from(log_bytes.div_ceil(commits))?;
        } else {
            sum.seconds += seconds;
        }
        Ok(())
    }
}

impl Round {
    fn new() -> Round {
        let turns = [Turn::default(); CLIENTS.len()];
        Round { turns, commits: Latencies::new(), writes: Latencies::new(), again: 0 }
    }
}
