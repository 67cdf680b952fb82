//! Sixteen clients that read and write as they like, while some are killed, stopped, cancelled and ended by an
//! administrator, and all timeouts are short.
//!
//! All the while others get on, also while a client stands still with whatever it holds; and who waits for a lock and is next
//! waits for somebody who holds what does not go with it. In the end no lock, no transaction and no session is left,
//! memory and descriptors are where they were after a short run of the same, and threads where they were before it. What
//! is moved between accounts is never more or less.
//! `GRAPHITE_SOAK_SECONDS` says how long it runs, and `GRAPHITE_SEED` repeats a run's choices, as far as a clock can.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use graphite_client::messages::{Cancel, Check, Kill, Lock, LockMode, Locks, Sessions};
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
/// The run after which memory and descriptors are taken as the base.
const WARM_UP: Duration = Duration::from_secs(3);
/// Longest time between two interferences.
const PEACE_MAX: Duration = Duration::from_millis(300);
/// Longest time that a client stands still: past the timeouts of locks, of idle transactions and of cursors.
const STILL_MAX: Duration = Duration::from_millis(700);
/// A run so long has met everything that it is to meet.
const SECONDS_ENOUGH: u64 = 30;
const SETTINGS: [&str; 18] = [
    "--cache-bytes",
    "8M",
    "--wal-bytes",
    "16M",
    "--old-versions-bytes",
    "8M",
    // As many as they are stay, once they were needed.
    "--read-workers",
    "2",
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
/// What memory and descriptors may differ by from the base, and threads from those before the first client: freed memory that
/// is kept for the next use, and workers that stay.
const ROOM: Usage = Usage { memory_bytes: 24 << 20, threads: 4, descriptors: 2 };
/// What the daemon may take in all: its cache and as much as it may take besides.
const MEMORY_MAX: u64 = (8 << 20) + 64_000_000;

struct Soak {
    daemon: Daemon,
    monitor: Client,
    random: Random,
    workers: Vec<Worker>,
    started: u32,
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
            70..85 if self.cancel() => "cancelled",
            85.. if self.end_session() => "ended",
            _ => "none",
        };
        *self.deeds.entry(deed).or_default() += 1;
    }

    /// A client stands still, whatever it holds; others get on before it goes on.
    fn stop_for_a_while(&mut self, place: usize) {
        self.workers[place].signal(Signal::SIGSTOP);
        let before = self.monitor.status().unwrap().commits;
        let until = Instant::now() + self.random.duration(STILL_MAX);
        wait_until("others commit while a client stands still", || {
            self.look_at_locks();
            Instant::now() >= until && self.monitor.status().unwrap().commits >= before + CLIENTS as u64
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

    /// Tells whether the session was still there, as the next does.
    fn cancel(&mut self) -> bool {
        let Some((session, _)) = self.somebody() else { return false };
        let answer = self.monitor.call(&Cancel { session, ..Default::default() });
        if let Err(error) = &answer {
            assert_eq!(error.code(), Some(&ErrorCode::SessionNotFound), "{error}");
        }
        answer.is_ok()
    }

    fn end_session(&mut self) -> bool {
        let Some((session, transaction)) = self.somebody() else { return false };
        let answer = self.monitor.call(&Kill { session, transaction });
        if let Err(error) = &answer {
            // It has gone, or gone on to another transaction.
            let code = error.code().map(ErrorCode::as_str);
            assert!(matches!(code, Some("session-not-found" | "transaction-not-found")), "{error}");
        }
        answer.is_ok()
    }

    /// Whoever is next for a lock waits for somebody.
    fn look_at_locks(&mut self) {
        let locks = self.monitor.call(&Locks {}).unwrap().locks;
        assert_eq!(forgotten(&locks), [], "{locks:#?}");
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

/// Names whose first waiter, of this session, asks for nothing that somebody else keeps from it. A name's waiters are told in
/// the order of its queue, and as they and its holders were at one moment; so there is never any.
fn forgotten(locks: &[Lock]) -> Vec<(&str, u64)> {
    let mut firsts: Vec<&Lock> = Vec::new();
    for lock in locks.iter().filter(|lock| !lock.granted) {
        if firsts.iter().all(|first| first.name != lock.name) {
            firsts.push(lock);
        }
    }
    let is_kept = |first: &Lock| {
        let others = locks.iter().filter(|lock| lock.granted && lock.name == first.name);
        others.into_iter().any(|held| held.session != first.session && !go_together(held.mode, first.mode))
    };
    firsts.into_iter().filter(|first| !is_kept(first)).map(|first| (&*first.name, first.session)).collect()
}

/// Whether two sessions may hold one name so at the same time.
fn go_together(one: LockMode, other: LockMode) -> bool {
    use LockMode::{IntentExclusive, IntentShared, Shared, SharedIntentExclusive, Update};
    matches!(
        (one, other),
        (IntentShared, IntentShared | IntentExclusive | Shared | SharedIntentExclusive | Update)
            | (IntentExclusive, IntentShared | IntentExclusive)
            | (Shared, IntentShared | Shared | Update)
            | (SharedIntentExclusive, IntentShared)
            | (Update, IntentShared | Shared)
    )
}

/// What the soak looks for is found: two that wait for each other's place in the queue explain nothing.
#[test]
fn who_waits_for_nobody_is_found() {
    use LockMode::{Exclusive, IntentShared, Shared, Update};
    let lock = |session, mode, granted| Lock {
        name: "node 1".to_owned(),
        mode,
        granted,
        session,
        transaction: session + 100,
        for_ms: 0,
    };
    let (held, awaited) =
        (|session, mode| lock(session, mode, true), |session, mode| lock(session, mode, false));
    let is_found = |locks: &[Lock], sessions: &[u64]| {
        let found: Vec<u64> = forgotten(locks).into_iter().map(|(_, session)| session).collect();
        assert_eq!(found, sessions, "{locks:#?}");
    };
    is_found(&[], &[]);
    is_found(&[held(1, Exclusive)], &[]);
    is_found(&[held(1, Exclusive), awaited(2, Shared)], &[]);
    is_found(&[held(1, Shared), awaited(2, Exclusive), awaited(3, Shared)], &[]);
    is_found(&[awaited(2, Exclusive), awaited(3, Exclusive)], &[2]);
    is_found(&[held(1, Shared), awaited(2, Shared), awaited(3, Exclusive)], &[2]);
    is_found(&[held(1, IntentShared), awaited(2, Update)], &[2]);
    // What it has itself keeps nobody from more.
    is_found(&[held(1, Shared), held(2, Shared), awaited(2, Exclusive)], &[]);
    is_found(&[held(2, Shared), awaited(2, Exclusive), awaited(1, Exclusive)], &[2]);
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
    let mut soak = Soak { daemon, monitor, random, workers, started: 0, deeds: HashMap::new() };

    let before = soak.usage();
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
    if seconds >= SECONDS_ENOUGH {
        let has_met = |deed: &&str| soak.deeds.contains_key(deed);
        assert!(["killed", "stopped", "cancelled", "ended"].iter().all(has_met), "{:?}", soak.deeds);
        assert!(status.aborts > 0 && status.deadlocks > 0, "{status:?}");
    }
    println!("before {before:?}, warm {base:?}, after {:?}", soak.usage());
    wait_until("threads and descriptors are back where they were", || {
        let now = soak.usage();
        now.threads <= before.threads + ROOM.threads && now.descriptors <= base.descriptors + ROOM.descriptors
    });
    let memory = soak.usage().memory_bytes;
    assert!(memory <= base.memory_bytes + ROOM.memory_bytes, "{memory} bytes, {base:?} before");
    assert!(memory <= MEMORY_MAX, "{memory} bytes");
    assert_eq!(soak.monitor.call(&Check {}).unwrap().problems, []);
    drop(soak.monitor);
    assert!(soak.daemon.stop().success());
}
