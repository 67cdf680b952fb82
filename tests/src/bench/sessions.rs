//! What sessions do to each other: commits of many clients, with and without a transaction that stays open elsewhere,
//! beside the same on another database; and reads of snapshots, with and without writers beside them.
//!
//! With and without alternate every few seconds, and clients of each number within each of those, so that a disk that
//! becomes slower does so for all.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use graphite_client::messages::Run;
use graphite_client::{
    Client, EntityRef, NodeId, Operand, Pairs, Plan, Step, Ticket, Traversal, Value, props,
};

use super::loaded::Loaded;
use super::random::Random;
use super::report::{Gate, Line, Report, Series, Unit};
use super::writers::CLIENTS;
use super::{Bench, Result};

/// Commits beside an open transaction, to those without one.
const OPEN_RATIO_MIN: f64 = 0.9;
/// Commits of the most clients, to those of the other database.
const PEER_RATIO_MIN: f64 = 2.0;
/// How long the transaction stays open.
const OPEN: Duration = Duration::from_secs(10);
/// How often it does something, as somebody at a keyboard would.
const OPEN_PAUSE: Duration = Duration::from_millis(250);
/// Nodes at the beginning of the graph that the open transaction has for itself.
const OPEN_NODES: usize = 1_000;
/// Commits of one number of clients at a stretch.
const SLICE: Duration = Duration::from_millis(250);
/// Threads that drive the clients, at most: as many as the machine of the figures has processors, and as
/// `peers/postgres_commits.sh` has for the other database.
const THREADS_MAX: usize = 2;
/// Rounds: each takes twice as long as the transaction is open.
const ROUNDS_MAX: u32 = 3;
const EDGE_TYPE: &str = "SESSION";

/// What was committed by each number of clients.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    commits: u64,
    seconds: f64,
}

pub(crate) fn measure(bench: &Bench, report: &mut Report, loaded: &Loaded) -> Result<()> {
    eprintln!("sessions");
    let name = |clients: usize, how: &str| {
        let plural = if clients == 1 { "" } else { "s" };
        format!("durable one-edge commits{how}, {clients} client{plural}")
    };
    let mut quiet = CLIENTS.map(|clients| Series::new(name(clients, " alone"), Unit::PerSecond));
    let mut beside =
        CLIENTS.map(|clients| Series::new(name(clients, " beside an open transaction"), Unit::PerSecond));
    let mut theirs =
        CLIENTS.map(|clients| Series::new(name(clients, " of the other database"), Unit::PerSecond));
    let mut random = Random::new(10);
    commit_in_turns(loaded, &mut random, OPEN / 5)?;
    if let Some(command) = &bench.beside {
        // Nor does its first turn count, in which it may have had to load the graph.
        peer_rate(command, CLIENTS[CLIENTS.len() - 1])?;
    }
    for _ in 0..bench.rounds_of(ROUNDS_MAX) {
        push(&mut quiet, commit_in_turns(loaded, &mut random, OPEN)?);
        push(&mut beside, beside_an_open_transaction(loaded, &mut random)?);
        if let Some(command) = &bench.beside {
            for (series, clients) in theirs.iter_mut().zip(CLIENTS) {
                series.push(peer_rate(command, clients)?);
            }
        }
    }
    for (place, ((quiet, beside), theirs)) in quiet.iter().zip(beside).zip(theirs).enumerate() {
        report.add(Line::new(beside).limit(quiet).gate(Gate::RatioAtLeast(OPEN_RATIO_MIN)));
        if bench.beside.is_some() {
            let is_last = place + 1 == CLIENTS.len();
            let gate = if is_last { Gate::RatioAtLeast(PEER_RATIO_MIN) } else { Gate::None };
            report.add(Line::new(quiet.clone()).limit(&theirs).gate(gate));
        }
    }
    if let Some(command) = &bench.beside {
        report.note(format!("The other database's commits are those of `{}`.", command.display()));
    }
    Ok(())
}

fn push(series: &mut [Series], turns: [Turn; CLIENTS.len()]) {
    for (series, turn) in series.iter_mut().zip(turns) {
        series.push(turn.commits as f64 / turn.seconds);
    }
}

/// Commits with each number of clients in turn, and checks that every acknowledged edge is there.
fn commit_in_turns(loaded: &Loaded, random: &mut Random, time: Duration) -> Result<[Turn; CLIENTS.len()]> {
    let most = CLIENTS[CLIENTS.len() - 1];
    let mut clients: Vec<Client> = (0..most).map(|_| loaded.daemon.connect()).collect::<Result<_>>()?;
    let mut turns = [Turn::default(); CLIENTS.len()];
    let before = loaded.daemon.status()?.edges;
    let began = Instant::now();
    while began.elapsed() < time {
        for (turn, count) in turns.iter_mut().zip(CLIENTS) {
            let slice = Instant::now();
            turn.commits += commit_together(&loaded.ids[OPEN_NODES..], &mut clients[..count], random)?;
            turn.seconds += slice.elapsed().as_secs_f64();
        }
    }
    let (found, made) =
        (loaded.daemon.status()?.edges - before, turns.iter().map(|turn| turn.commits).sum::<u64>());
    if found < made {
        return Err(format!("{made} commits were acknowledged, and {found} edges are there").into());
    }
    Ok(turns)
}

/// Each client has one commit under way at a time. They are driven by a few threads, as `pgbench -j` does.
fn commit_together(ids: &[NodeId], clients: &mut [Client], random: &mut Random) -> Result<u64> {
    let each = clients.len().div_ceil(THREADS_MAX);
    let until = Instant::now() + SLICE;
    std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .chunks_mut(each)
            .map(|clients| {
                let random = Random::new(random.next());
                scope.spawn(move || commit_by_turns(ids, clients, random, until))
            })
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join().map_err(|_| "a writer panicked")?);
        ended.sum()
    })
}

/// The plan of [`Client::create_edge`].
fn one_edge() -> Plan {
    let [from, to] = ["from", "to"].map(|name| EntityRef::Param(name.to_owned()));
    let properties = Pairs(vec![("since".to_owned(), Operand::Param("since".to_owned()))]);
    let edge_type = EDGE_TYPE.to_owned();
    Traversal::from_step(Step::CreateEdge { start: from, end: to, edge_type, properties }).ids().into()
}

/// One thread's clients. Whoever has its answer asks for the next commit at once.
fn commit_by_turns(
    ids: &[NodeId],
    clients: &mut [Client],
    mut random: Random,
    until: Instant,
) -> Result<u64> {
    let plan = one_edge();
    let mut pick = || (ids[random.below(ids.len())], ids[random.below(ids.len())]);
    let mut begin = |client: &mut Client| -> Result<Ticket<Run>> {
        let (from, to) = pick();
        let params: [(&str, Value); 3] = [("from", from.into()), ("to", to.into()), ("since", 2026.into())];
        let params = Pairs(params.map(|(name, value)| (name.to_owned(), value)).to_vec());
        let ticket = client.send(&Run { plan: plan.clone(), params, fetch: None, timeout_ms: None })?;
        client.flush()?;
        Ok(ticket)
    };
    let mut under_way = clients.iter_mut().map(&mut begin).collect::<Result<VecDeque<_>>>()?;
    let (mut commits, count) = (0, clients.len());
    for turn in 0.. {
        let client = &mut clients[turn % count];
        let Some(ticket) = under_way.pop_front() else { break };
        match client.receive(ticket) {
            Ok(_) => commits += 1,
            Err(error) if error.is_retryable() => {}
            Err(error) => return Err(error.into()),
        }
        if Instant::now() < until {
            under_way.push_back(begin(client)?);
        }
    }
    Ok(commits)
}

/// The same while another client has a transaction open that has changed nodes of its own, and goes on doing so.
fn beside_an_open_transaction(loaded: &Loaded, random: &mut Random) -> Result<[Turn; CLIENTS.len()]> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (begun, is_open) = channel();
        let own = &loaded.ids[..OPEN_NODES];
        let is_over = &is_over;
        let open = scope.spawn(move || -> Result<()> {
            let mut client = loaded.daemon.connect()?;
            let mut tx = client.begin_write()?;
            let mut pairs = own.chunks_exact(2).cycle();
            for turn in 0.. {
                let Some([from, to]) = pairs.next() else { break };
                tx.create_edge(*from, *to, "OPEN", ())?;
                tx.set_properties(*from, props! { "turn" => turn })?;
                // At first it writes much, so that it has something to hold.
                if turn == 100 {
                    begun.send(())?;
                }
                if turn >= 100 {
                    std::thread::sleep(OPEN_PAUSE);
                }
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
            tx.commit()?;
            Ok(())
        });
        let turns = match is_open.recv() {
            Ok(()) => commit_in_turns(loaded, random, OPEN),
            // It has failed, and says why when it is joined.
            Err(_) => Ok([Turn::default(); CLIENTS.len()]),
        };
        is_over.store(true, Ordering::Relaxed);
        open.join().map_err(|_| "the open transaction panicked")??;
        turns
    })
}

/// Commits a second of another database, which a command says that takes the number of clients and the seconds.
fn peer_rate(command: &Path, clients: usize) -> Result<f64> {
    let seconds = (OPEN.as_secs() / CLIENTS.len() as u64).to_string();
    let output =
        Command::new(command).arg(clients.to_string()).arg(&seconds).output().map_err(super::at(command))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(rate) if output.status.success() => Ok(rate),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{} ended with {}: {text}{said}", command.display(), output.status).into())
        }
    }
}
