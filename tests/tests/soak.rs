//! Sixteen clients that read and write as they like, while some are killed, stopped, cancelled and ended by an
//! administrator, and all timeouts are short.
//!
//! All the while others get on, also while a client stands still with whatever it holds; and whoever waits for a lock
//! waits for somebody. In the end no lock, no transaction and no session is left, and memory, threads and descriptors
//! are where they were after a short run of the same. What is moved between accounts is never more or less.
//! `GRAPHITE_SOAK_SECONDS` says how long it runs, and `GRAPHITE_SEED` repeats a run's choices, as far as a clock can.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use graphite_client::messages::{Cancel, Check, Kill, Locks, Sessions};
use graphite_client::{Client, ErrorCode};
use graphite_tests::proc_files::{Usage, usage};
use graphite_tests::soak::{expected, make_accounts, total};
use graphite_tests::workers::Worker;
use graphite_tests::{Daemon, Random, Scratch, seed, wait_until};
use nix::sys::signal::Signal;

const CLIENTS: usize = 16;
const ACCOUNTS: usize = 24;
/// How long it runs if nobody says otherwise.
const SECONDS: u64 = 60;
/// The run after which memory, threads and descriptors are taken as the base.
const WARM_UP: Duration = Duration::from_secs(3);
/// Longest time between two interferences.
const PEACE_MAX: Duration = Duration::from_millis(300);
/// Pictures of the locks in a row in which a waiter may wait for nobody: each is taken while locks come and go.
const PICTURES_MAX: u32 = 20;
const SETTINGS: [&str; 16] = [
    "--cache-bytes",
    "8M",
    "--wal-bytes",
    "16M",
    "--old-versions-bytes",
    "8M",
    "--lock-timeout-ms",
    "200",
    "--statement-timeout-ms",
    "1000",
    "--idle-in-transaction-timeout-ms",
    "250",
    "--cursor-timeout-ms",
    "500",
    // It warns of each session that is ended.
    "--log",
    "error",
];
/// What memory, threads and descriptors may differ by from the base: freed memory that is kept for the next use, and
/// a thread that is about to end.
const ROOM: Usage = Usage { memory_bytes: 24 << 20, threads: 4, descriptors: 2 };
/// What the daemon may take in all: its cache and as much as it may take besides.
const MEMORY_MAX: u64 = (8 << 20) + 64_000_000;

struct Soak {
    daemon: Daemon,
    monitor: Client,
    random: Random,
    workers: Vec<Worker>,
    started: u32,
    /// For each waiter and what it waits for, in how many pictures in a row nobody held it up.
    unexplained: HashMap<(u64, u64, String), u32>,
    deeds: HashMap<&'static str, u32>,
}

impl Soak {
    fn start_worker(&mut self) {
        self.started += 1;
        let socket = self.daemon.socket();
        let (number, seed) = (self.started.to_string(), self.random.next_u64().to_string());
        let socket = socket.to_str().unwrap();
        let arguments = ["soak", "--socket", socket, "--number", &number, "--seed", &seed];
        self.workers.push(Worker::start(arguments));
    }

    /// Lets the clients work for a while, interfering.
    fn run(&mut self, time: Duration) {
        while self.workers.len() < CLIENTS {
            self.start_worker();
        }
        let end = Instant::now() + time;
        while Instant::now() < end {
            let peace = Instant::now() + self.random.duration(PEACE_MAX);
            while Instant::now() < peace {
                self.look_at_locks();
                std::thread::sleep(Duration::from_millis(10));
            }
            self.interfere();
        }
        let mut done = 0;
        for mut worker in std::mem::take(&mut self.workers) {
            worker.enough();
            let said = worker.finish();
            let of = |line: &String| line.strip_prefix("done ").and_then(|number| number.parse::<u64>().ok());
            done += said.iter().find_map(of).unwrap();
        }
        assert!(done > 0, "nobody got anything done");
    }

    fn interfere(&mut self) {
        let place = usize::try_from(self.random.below(CLIENTS as u64)).unwrap();
        let deed = match self.random.below(100) {
            0..35 => {
                self.workers.swap_remove(place).kill();
                self.start_worker();
                "killed"
            }
            35..70 => {
                self.stop_for_a_while(place);
                "stopped"
            }
            70..85 => {
                self.cancel();
                "cancelled"
            }
            _ => {
                self.end_session();
                "ended"
            }
        };
        *self.deeds.entry(deed).or_default() += 1;
    }

    /// A client stands still, whatever it holds; others get on before it goes on.
    fn stop_for_a_while(&mut self, place: usize) {
        self.workers[place].signal(Signal::SIGSTOP);
        let before = self.monitor.status().unwrap().commits;
        wait_until("others commit while a client stands still", || {
            self.look_at_locks();
            self.monitor.status().unwrap().commits >= before + CLIENTS as u64
        });
        self.workers[place].signal(Signal::SIGCONT);
    }

    /// A session that is not this one's own.
    fn somebody(&mut self) -> Option<(u64, Option<u64>)> {
        let own = self.monitor.server().session;
        let mut sessions = self.monitor.call(&Sessions {}).unwrap().sessions;
        sessions.retain(|session| session.session != own);
        (!sessions.is_empty()).then(|| {
            let session = self.random.pick(&sessions);
            (session.session, session.transaction)
        })
    }

    fn cancel(&mut self) {
        let Some((session, _)) = self.somebody() else { return };
        if let Err(error) = self.monitor.call(&Cancel { session, ..Default::default() }) {
            assert_eq!(error.code(), Some(&ErrorCode::SessionNotFound), "{error}");
        }
    }

    fn end_session(&mut self) {
        let Some((session, transaction)) = self.somebody() else { return };
        if let Err(error) = self.monitor.call(&Kill { session, transaction }) {
            // It has gone, or gone on to another transaction.
            let code = error.code().map(ErrorCode::as_str);
            assert!(matches!(code, Some("session-not-found" | "transaction-not-found")), "{error}");
        }
    }

    /// Whoever waits for a lock waits for somebody else who has it, or who asked before.
    fn look_at_locks(&mut self) {
        let locks = self.monitor.call(&Locks {}).unwrap().locks;
        let mut unexplained = HashMap::new();
        for lock in locks.iter().filter(|lock| !lock.granted) {
            let others = |other: &&graphite_client::messages::Lock| {
                other.name == lock.name && other.session != lock.session
            };
            if locks.iter().any(|other| others(&other)) {
                continue;
            }
            let waiter = (lock.session, lock.transaction, lock.name.clone());
            let pictures = self.unexplained.get(&waiter).copied().unwrap_or(0) + 1;
            assert!(pictures < PICTURES_MAX, "nobody keeps {waiter:?} waiting: {locks:#?}");
            unexplained.insert(waiter, pictures);
        }
        self.unexplained = unexplained;
    }

    /// Nothing of the clients is left.
    fn is_quiet(&mut self) {
        wait_until("the daemon has forgotten its clients", || {
            let status = self.monitor.status().unwrap();
            status.sessions == 1 && status.transactions == 0
        });
        wait_until("all locks are let go of", || self.monitor.call(&Locks {}).unwrap().locks.is_empty());
        let sessions = self.monitor.call(&Sessions {}).unwrap().sessions;
        assert_eq!(sessions.len(), 1, "{sessions:#?}");
        assert_eq!((sessions[0].locks, sessions[0].transaction), (0, None));
        assert_eq!(total(&mut self.monitor).unwrap(), expected(ACCOUNTS));
    }

    fn usage(&self) -> Usage {
        usage(self.daemon.pid())
    }
}

#[test]
fn sixteen_clients_some_of_which_die_leave_nothing_behind() {
    let seconds = std::env::var("GRAPHITE_SOAK_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let seed = seed();
    println!("GRAPHITE_SEED={seed} GRAPHITE_SOAK_SECONDS={seconds} cargo test -p graphite-tests --test soak");
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch.path("db"), &SETTINGS);
    let mut monitor = daemon.client();
    make_accounts(&mut monitor, ACCOUNTS).unwrap();
    let (random, workers) = (Random::new(seed), Vec::new());
    let (unexplained, deeds) = (HashMap::new(), HashMap::new());
    let mut soak = Soak { daemon, monitor, random, workers, started: 0, unexplained, deeds };

    soak.run(WARM_UP);
    soak.is_quiet();
    let base = soak.usage();
    soak.run(Duration::from_secs(seconds));
    soak.is_quiet();
    let status = soak.monitor.status().unwrap();
    println!(
        "{:?}, {} commits, {} rolled back, {} deadlocks",
        soak.deeds, status.commits, status.aborts, status.deadlocks
    );
    println!("before {base:?}, after {:?}", soak.usage());
    wait_until("threads and descriptors are back where they were", || {
        let now = soak.usage();
        now.threads <= base.threads + ROOM.threads && now.descriptors <= base.descriptors + ROOM.descriptors
    });
    let memory = soak.usage().memory_bytes;
    assert!(memory <= base.memory_bytes + ROOM.memory_bytes, "{memory} bytes, {base:?} before");
    assert!(memory <= MEMORY_MAX, "{memory} bytes");
    assert_eq!(soak.monitor.call(&Check {}).unwrap().problems, []);
    drop(soak.monitor);
    assert!(soak.daemon.stop().success());
}
