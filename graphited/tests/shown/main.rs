//! Nothing that was ever shown to anybody disappears after a power cut.
//!
//! The daemon, as a library, over a simulated disk; only its socket is a real one. Several clients work on a few hot
//! nodes, so that each reads what others have committed a moment ago and what is not durable yet, for locks go before
//! that; and the log takes its time. At a random operation of the disk the power is cut. A daemon over what is left
//! recovers, and what every client was told must be so:
//!
//! - a commit that was acknowledged is there, all of it; one that was rolled back is not; one whose answer was lost is
//!   there as a whole or not at all, and its name tells which;
//! - what anybody was shown (a snapshot, a write transaction that committed, failed or was rolled back, an error) is
//!   there, or was overwritten by something that is there.
//!
//! Each database lives several times, and what was found after one power cut is what was shown before the next.
//!
//! | file | holds |
//! |---|---|
//! | `disk` | the simulated disk whose log takes its time |
//! | `field` | what clients work on |
//! | `visitor` | a client |
//! | `notes` | what clients were told, and whether it is so |
//!
//! | variable | what |
//! |---|---|
//! | `GRAPHITE_SEED` | repeats a run's choices, as far as threads can |
//! | `GRAPHITE_TRANSACTIONS` | how many transactions, 200000 for a thorough run |
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod field;
mod notes;
mod random;
mod visitor;

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{Client, PATIENCE};
use disk::SlowDisk;
use field::Field;
use graphite_protocol::messages::Check;
use graphite_store::disk::{LastOp, Outcome as Left, SimDisk};
use graphited::config::Config;
use graphited::daemon::{self, Failure};
use graphited::ready::Ready;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use notes::{Anomaly, Kind, Notes, Outcome, Who};
use random::{Random, seed};
use visitor::Visitor;

/// Transactions of a run, if nobody says otherwise.
const TRANSACTIONS: usize = 12_000;
const CLIENTS: u64 = 6;
/// Power cuts of one database.
const CUTS: u32 = 4;
/// Operations of the disk between the beginning of the work and the power cut, at most.
const OPERATIONS_MAX: u64 = 200;
/// Databases whose daemons may be about to leave.
const LEAVING_MAX: usize = 4;
/// Databases of the test that looks whether lies are found.
const LIARS: u32 = 12;
/// Operations of the disk between the first lie and the power cut, at most.
const LIES_MAX: u64 = 40;

/// A daemon in this process.
struct Daemon {
    socket: PathBuf,
    /// It would leave if nobody were there.
    observer: Client,
    served: JoinHandle<Result<(), Failure>>,
}

impl Daemon {
    /// The socket is one that no other daemon had: that of the life before leaves only after a while.
    ///
    /// # Errors
    /// Why it does not serve.
    fn start(disk: &SlowDisk, db: &Path, life: u32) -> Result<Daemon, String> {
        let socket = db.with_extension(format!("{life}.sock"));
        let mut config = Config::default();
        config.db = Some(db.to_owned());
        config.socket = Some(socket.clone());
        config.cache_bytes = 4 << 20;
        config.wal_bytes = 2 << 20;
        config.idle_exit = 1;
        let disk = Arc::new(disk.clone());
        let served = std::thread::spawn(move || daemon::run_on(disk, config, &mut Ready::default()));
        let began = Instant::now();
        loop {
            if let Some(mut observer) = Client::connect_or_none(&socket) {
                observer.hello();
                return Ok(Daemon { socket, observer, served });
            }
            if served.is_finished() {
                return Err(format!("the daemon does not serve: {:?}", served.join().unwrap()));
            }
            assert!(began.elapsed() < PATIENCE, "the daemon does not come");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn client(&self) -> Client {
        let mut client = Client::connect(&self.socket);
        client.hello();
        client
    }

    /// Clients work until the power is cut; returns what they were told.
    fn work(&self, disk: &SimDisk, field: &Field, random: &mut Random) -> Notes {
        let seeds: Vec<u64> = (0..CLIENTS).map(|_| random.next()).collect();
        std::thread::scope(|scope| {
            let visitors = seeds.into_iter().map(|seed| {
                let (client, random, socket) = (self.client(), Random(seed), self.socket.as_path());
                let visitor = Visitor { client, random, field, disk, socket, notes: Notes::default() };
                scope.spawn(move || visitor.work())
            });
            let visitors: Vec<_> = visitors.collect();
            let mut notes = Notes::default();
            visitors.into_iter().for_each(|visitor| notes.add(visitor.join().unwrap()));
            notes
        })
    }
}

/// What a run was made of.
#[derive(Debug, Default)]
struct Tally {
    cuts: u32,
    transactions: usize,
    committed: usize,
    undone: usize,
    unknown: usize,
    shown: usize,
}

impl Tally {
    fn count(&mut self, notes: &Notes) {
        let of = |outcome| notes.attempts.iter().filter(|attempt| attempt.outcome == outcome).count();
        self.cuts += 1;
        self.transactions += notes.attempts.len();
        self.committed += of(Outcome::Committed);
        self.undone += of(Outcome::Undone);
        self.unknown += of(Outcome::Unknown);
        self.shown += notes.shown.len();
    }
}

/// A database over several lives, and the daemons that have not left yet.
struct Database {
    dir: tempfile::TempDir,
    disk: SimDisk,
    lives: u32,
    notes: Notes,
    field: Option<Field>,
    leaving: Vec<JoinHandle<Result<(), Failure>>>,
}

impl Database {
    fn new() -> Database {
        let (dir, disk) = (tempfile::tempdir().unwrap(), SimDisk::new());
        let (notes, leaving) = (Notes::default(), Vec::new());
        let database = Database { dir, disk, lives: 0, notes, field: None, leaving };
        // So the directory is there on the simulated disk as well.
        database.disk.write_file(database.path().with_extension("here"), b"").unwrap();
        database
    }

    fn path(&self) -> PathBuf {
        std::fs::canonicalize(self.dir.path()).unwrap().join("db")
    }

    /// A daemon over what the last life left.
    ///
    /// # Errors
    /// What is not as it was told.
    fn recover(&mut self, seed: u64) -> Result<(SlowDisk, Daemon), Vec<Anomaly>> {
        let slow = SlowDisk::new(self.disk.clone(), seed);
        self.lives += 1;
        let started = Daemon::start(&slow, &self.path(), self.lives);
        let mut daemon = started.map_err(|what| vec![Anomaly { kind: Kind::Unreadable, what }])?;
        let Some(field) = &self.field else {
            self.field = Some(Field::make(&mut daemon.observer));
            return Ok((slow, daemon));
        };
        let found = field.look(&mut daemon.observer, &self.notes);
        let anomalies = self.notes.check(&found);
        assert_eq!(daemon.observer.call(&Check {}).unwrap().problems, []);
        if !anomalies.is_empty() {
            self.leave(daemon);
            return Err(anomalies);
        }
        self.notes.settle(found);
        Ok((slow, daemon))
    }

    /// The power is back, and this is what is left.
    fn cut(&mut self, daemon: Daemon, left: Left) {
        self.disk = self.disk.power_cut(left);
        self.leave(daemon);
    }

    /// Nobody is there any more, so the daemon leaves in a while.
    fn leave(&mut self, daemon: Daemon) {
        self.leaving.push(daemon.served);
    }

    /// Waits until all daemons have left, which they do whatever happened to their disk.
    fn end(self) {
        for served in self.leaving {
            let _ = served.join().unwrap();
        }
    }
}

fn random_left(random: &mut Random) -> Left {
    match random.below(8) {
        0 => Left::LoseAll,
        1 => Left::LoseAllButLast,
        2 => Left::KeepAllButLast,
        _ => Left::Random(random.next()),
    }
}

fn tell(anomalies: &[Anomaly]) -> String {
    anomalies.iter().map(|anomaly| format!("{anomaly}\n")).collect()
}

/// One database from its first life to its last.
fn live(mut random: Random, tally: &mut Tally) -> Result<Database, String> {
    let mut database = Database::new();
    for life in 0..=CUTS {
        let (slow, daemon) = database
            .recover(random.next())
            .map_err(|anomalies| format!("after power cut {life}:\n{}", tell(&anomalies)))?;
        if life == CUTS {
            database.leave(daemon);
            break;
        }
        let last = if random.percent(50) { LastOp::Applied } else { LastOp::NotApplied };
        slow.sim.crash_after(slow.sim.ops() + random.below(OPERATIONS_MAX), last);
        let field = database.field.as_ref().unwrap();
        let notes = daemon.work(&slow.sim, field, &mut random);
        tally.count(&notes);
        database.notes.add(notes);
        database.cut(daemon, random_left(&mut random));
    }
    Ok(database)
}

#[test]
fn nothing_that_was_shown_disappears_after_a_power_cut() {
    let total = std::env::var("GRAPHITE_TRANSACTIONS").map_or(TRANSACTIONS, |text| text.parse().unwrap());
    let seed = seed();
    let command = format!(
        "GRAPHITE_SEED={seed} GRAPHITE_TRANSACTIONS={total} cargo test -p graphited --test shown -- --nocapture"
    );
    println!("{command}");
    raise_descriptor_limit();
    let (mut random, mut tally, mut leaving) = (Random(seed), Tally::default(), VecDeque::new());
    while tally.transactions < total {
        let ran = live(Random(random.next()), &mut tally);
        leaving.push_back(ran.unwrap_or_else(|why| panic!("{why}To run it again: {command}")));
        if leaving.len() > LEAVING_MAX {
            leaving.pop_front().into_iter().for_each(Database::end);
        }
    }
    leaving.into_iter().for_each(Database::end);
    println!("{tally:?}");
    assert!(tally.unknown > 0 && tally.undone > 0 && tally.committed > tally.undone, "{tally:?}");
}

/// Each daemon that was in this process leaves the descriptors by which it heard of signals.
fn raise_descriptor_limit() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

/// If the disk says that the log is synced when it is not, the daemon answers too early, and every sort of answer is
/// found out: else the other test proves nothing.
#[test]
fn answers_that_come_too_early_are_found() {
    let seed = seed();
    let mut random = Random(seed);
    let (mut kinds, mut databases) = (HashSet::new(), Vec::new());
    for _ in 0..LIARS {
        let mut database = Database::new();
        let (slow, daemon) = database.recover(random.next()).unwrap();
        let first = slow.sim.ops() + random.below(OPERATIONS_MAX);
        slow.lie_from(first);
        slow.sim.crash_after(first + random.below(LIES_MAX), LastOp::Applied);
        let notes = daemon.work(&slow.sim, database.field.as_ref().unwrap(), &mut random);
        database.notes.add(notes);
        database.cut(daemon, Left::LoseAll);
        match database.recover(random.next()) {
            Ok((_, daemon)) => database.leave(daemon),
            Err(anomalies) => kinds.extend(anomalies.iter().map(|anomaly| anomaly.kind)),
        }
        databases.push(database);
    }
    databases.into_iter().for_each(Database::end);
    for kind in [Kind::Acknowledged, Kind::Shown(Who::Writer), Kind::Shown(Who::Snapshot)] {
        assert!(kinds.contains(&kind), "GRAPHITE_SEED={seed}: {kind:?} is not among {kinds:?}");
    }
}
