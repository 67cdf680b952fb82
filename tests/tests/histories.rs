//! Random histories: several processes run transactions of several steps over few objects, while daemon and processes
//! are killed, and a checker looks for what no serializable database could have produced (`graphite_tests::history`).
//!
//! In rounds, each on a database of its own. In a round processes are killed and replaced all along, and the daemon is
//! killed, or asked to leave, and started again. When the round is over everything is read once more and checked:
//! serializability, that an acknowledged element is never lost and one that was rolled back never seen, that snapshots
//! are prefixes of the commit order, and that nobody reads what is older than what any client was told.
//!
//! | variable | what |
//! |---|---|
//! | `GRAPHITE_SEED` | repeats a run's choices, as far as a clock can |
//! | `GRAPHITE_TRANSACTIONS` | how many transactions, 1000000 for a thorough run |
//! | `GRAPHITE_HISTORY` | a directory of a run that failed: its history is checked again, and nothing is run |
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use graphite_client::messages::Check;
use graphite_client::{Client, Result};
use graphite_tests::history::{
    Anomaly, Object, Objects, Outcome, Step, Transaction, check, parse, write_outcome, write_transaction,
};
use graphite_tests::workers::Worker;
use graphite_tests::{Daemon, PATIENCE, Random, Scratch, seed};
use nix::sys::signal::Signal;

/// Transactions of a run, if nobody says otherwise.
const TRANSACTIONS: u64 = 50_000;
/// Transactions of a round.
const ROUND: u64 = 25_000;
/// Processes at the same time.
const PROCESSES: usize = 8;
/// Transactions of a process, unless it is killed.
const OF_PROCESS: u64 = 400;
/// Keys that are made for a round: more than its transactions can fill.
const KEYS: usize = 3_000;
/// Longest time between two kills.
const PEACE_MAX: Duration = Duration::from_millis(1_500);
/// So many of a hundred kills concern the daemon.
const KILLS_OF_DAEMON: u64 = 40;
/// Small, so that checkpoints and evictions go on beside it.
const SETTINGS: [&str; 4] = ["--cache-bytes", "8M", "--wal-bytes", "16M"];
/// The last read of a round, by a client whose number no process has.
const LAST: &str = "last.history";
const LAST_CLIENT: u32 = u32::MAX;

/// What happened besides the transactions.
#[derive(Debug, Default)]
struct Kills {
    processes: u32,
    daemons: u32,
    stops: u32,
}

impl Kills {
    fn are_of_both_sorts(&self) -> bool {
        self.processes > 0 && self.daemons + self.stops > 0
    }
}

struct Round {
    random: Random,
    dir: PathBuf,
    db: PathBuf,
    daemon: Option<Daemon>,
    running: Vec<(u32, Worker)>,
    processes: u32,
    /// Transactions of processes that have ended.
    done: u64,
    kills: Kills,
}

fn file_of(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number}.history"))
}

impl Round {
    fn begin(random: Random, dir: PathBuf, db: PathBuf) -> Round {
        fs::create_dir_all(&dir).unwrap();
        let daemon = Daemon::start(&db, &SETTINGS);
        Objects::make(&mut daemon.client(), KEYS).unwrap();
        let (running, kills) = (Vec::new(), Kills::default());
        Round { random, dir, db, daemon: Some(daemon), running, processes: 0, done: 0, kills }
    }

    fn start_process(&mut self) {
        self.processes += 1;
        let [number, seed, count] =
            [self.processes.into(), self.random.next_u64(), OF_PROCESS].map(|number: u64| number.to_string());
        let socket = self.daemon.as_ref().unwrap().socket();
        let arguments: [&std::ffi::OsStr; 9] = [
            "history".as_ref(),
            "--socket".as_ref(),
            socket.as_ref(),
            "--number".as_ref(),
            number.as_ref(),
            "--seed".as_ref(),
            seed.as_ref(),
            self.dir.as_ref(),
            count.as_ref(),
        ];
        self.running.push((self.processes, Worker::start(arguments)));
    }

    /// Counts what an ended process did.
    fn count(&mut self, number: u32) {
        // One that was killed early may have none.
        let text = fs::read_to_string(file_of(&self.dir, number)).unwrap_or_default();
        self.done += text.lines().filter(|line| line.starts_with('t')).count() as u64;
    }

    /// Replaces processes that have done their part.
    fn tend(&mut self) {
        let mut place = 0;
        while place < self.running.len() {
            if self.running[place].1.is_over() {
                let (number, worker) = self.running.swap_remove(place);
                worker.finish();
                self.count(number);
            } else {
                place += 1;
            }
        }
        while self.running.len() < PROCESSES {
            self.start_process();
        }
    }

    fn kill_something(&mut self) {
        if !self.random.percent(KILLS_OF_DAEMON) {
            let place = self.random.below(self.running.len() as u64);
            let (number, worker) = self.running.swap_remove(usize::try_from(place).unwrap());
            worker.kill();
            self.count(number);
            self.kills.processes += 1;
            return;
        }
        let daemon = self.daemon.take().unwrap();
        if self.random.percent(25) {
            assert!(daemon.stop().success());
            self.kills.stops += 1;
        } else {
            daemon.kill();
            self.kills.daemons += 1;
        }
        self.daemon = Some(Daemon::start(&self.db, &SETTINGS));
    }

    /// Runs so many transactions at least, and until a process and a daemon were ended.
    fn run(&mut self, transactions: u64) {
        let mut progress = (0, Instant::now());
        while self.done < transactions || !self.kills.are_of_both_sorts() {
            let peace = Instant::now() + self.random.duration(PEACE_MAX);
            while Instant::now() < peace {
                self.tend();
                std::thread::sleep(Duration::from_millis(5));
            }
            self.kill_something();
            if self.done > progress.0 {
                progress = (self.done, Instant::now());
            }
            assert!(progress.1.elapsed() < PATIENCE, "no process gets anything done");
        }
        for (number, worker) in std::mem::take(&mut self.running) {
            worker.signal(Signal::SIGKILL);
            drop(worker);
            self.count(number);
        }
    }

    /// Reads everything, now that all others are over.
    fn read_last(&mut self) {
        let mut client = self.daemon.as_ref().unwrap().client();
        let transactions = read_histories(&self.dir);
        // Of a transaction whose outcome is not known nobody knows the end, but that it had begun by now.
        let known = |t: &Transaction| if t.ended < u64::MAX { t.ended.max(t.began) } else { t.began };
        let began = transactions.iter().map(known).max().unwrap_or(0);
        let steps = read_all(&mut client, &objects_of(&transactions)).unwrap();
        let mut text = String::new();
        write_transaction(&mut text, LAST_CLIENT, began + 1, &steps);
        write_outcome(&mut text, began + 2, Outcome::Committed { lsn: 0 });
        fs::write(self.dir.join(LAST), text).unwrap();
        assert_eq!(client.call(&Check {}).unwrap().problems, []);
    }

    fn end(mut self) -> Kills {
        self.read_last();
        assert!(self.daemon.take().unwrap().stop().success());
        self.kills
    }
}

fn objects_of(transactions: &[Transaction]) -> Vec<Object> {
    let steps = transactions.iter().flat_map(|transaction| &transaction.steps);
    let mut objects: Vec<Object> = steps
        .map(|step| match step {
            Step::Put(object, _) | Step::Read(object, _) => *object,
        })
        .collect();
    objects.sort_unstable();
    objects.dedup();
    objects
}

fn read_all(client: &mut Client, objects: &[Object]) -> Result<Vec<Step>> {
    let places = Objects::find(client)?;
    client.snapshot(|s| {
        objects.iter().map(|object| Ok(Step::Read(*object, places.read(s, *object)?))).collect()
    })
}

fn read_histories(dir: &Path) -> Vec<Transaction> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let histories = files.filter(|path| path.extension().is_some_and(|extension| extension == "history"));
    histories.flat_map(|path| parse(&fs::read_to_string(path).unwrap()).unwrap()).collect()
}

/// Checks what is in a directory. The last read comes at the end.
fn check_dir(dir: &Path) -> (Vec<Transaction>, Vec<Anomaly>) {
    let mut transactions = read_histories(dir);
    transactions.sort_by_key(|transaction| transaction.client == LAST_CLIENT);
    let last = transactions.len() - 1;
    assert_eq!(transactions[last].client, LAST_CLIENT, "a round ends with a read of everything");
    let found = check(&transactions, last);
    (transactions, found)
}

fn tell(found: &[Anomaly]) -> String {
    found.iter().map(|anomaly| format!("{anomaly}\n")).collect()
}

/// What the rounds had: a run in which nothing was ever killed or rolled back would show little.
#[derive(Debug, Default)]
struct Tally {
    committed: usize,
    rolled_back: usize,
    not_known: usize,
    kills: Kills,
}

impl Tally {
    fn add(&mut self, round: &Tally) {
        self.committed += round.committed;
        self.rolled_back += round.rolled_back;
        self.not_known += round.not_known;
        self.kills.processes += round.kills.processes;
        self.kills.daemons += round.kills.daemons;
        self.kills.stops += round.kills.stops;
    }
}

fn one_round(random: Random, transactions: u64) -> std::result::Result<Tally, String> {
    let scratch = Scratch::new();
    let (dir, began) = (scratch.path("histories"), Instant::now());
    let mut round = Round::begin(random, dir.clone(), scratch.path("db"));
    round.run(transactions);
    let (kills, ran) = (round.end(), began.elapsed());
    let (transactions, found) = check_dir(&dir);
    let of = |outcome: fn(&Outcome) -> bool| transactions.iter().filter(|t| outcome(&t.outcome)).count();
    let tally = Tally {
        committed: of(|outcome| matches!(outcome, Outcome::Committed { .. })),
        rolled_back: of(|outcome| *outcome == Outcome::Aborted),
        not_known: of(|outcome| *outcome == Outcome::Unknown),
        kills,
    };
    let (ran, checked) = (ran.as_secs_f64(), (began.elapsed() - ran).as_secs_f64());
    println!("{} transactions in {ran:.1} s, {tally:?}; checked in {checked:.1} s", transactions.len());
    if found.is_empty() {
        return Ok(tally);
    }
    let kept = keep(&dir);
    Err(format!(
        "{}To check this history again: GRAPHITE_HISTORY={} cargo test -p graphite-tests --test histories",
        tell(&found),
        kept.display()
    ))
}

/// Copies a history to where it is not removed.
fn keep(dir: &Path) -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{}", std::process::id()));
    fs::create_dir_all(&kept).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), kept.join(entry.file_name())).unwrap();
    }
    kept
}

#[test]
fn random_histories_are_serializable_whatever_is_killed() {
    if let Some(dir) = std::env::var_os("GRAPHITE_HISTORY") {
        let (transactions, found) = check_dir(Path::new(&dir));
        assert!(found.is_empty(), "{} transactions: {}", transactions.len(), tell(&found));
        return;
    }
    let total = std::env::var("GRAPHITE_TRANSACTIONS").map_or(TRANSACTIONS, |text| text.parse().unwrap());
    let seed = seed();
    let command = format!(
        "GRAPHITE_SEED={seed} GRAPHITE_TRANSACTIONS={total} cargo test -p graphite-tests --test histories -- --nocapture"
    );
    println!("{command}");
    let mut random = Random::new(seed);
    let (mut left, mut all) = (total, Tally::default());
    while left > 0 {
        let round = left.min(ROUND);
        match one_round(Random::new(random.next_u64()), round) {
            Ok(tally) => all.add(&tally),
            Err(error) => panic!("{error}\nTo run it again: {command}"),
        }
        left -= round;
    }
    println!("in all {all:?}");
    if total >= TRANSACTIONS {
        assert!(all.kills.are_of_both_sorts(), "{all:?}");
        assert!(all.committed as u64 > total / 2 && all.rolled_back > 0, "{all:?}");
    }
}
