//! Commits of one edge each, every one synced, next to writing and syncing as many bytes.
//!
//! The bytes are those that Graphite logs: after each slice of one client it is asked how far its log has grown, and
//! the next slice of the limit writes as many for each commit. Full images of pages after a checkpoint are among
//! them.

use super::limits::SyncedFile;
use super::loaded::Loaded;
use super::random::Random;
use super::report::{Gate, Line, Report, Series, Unit};
use super::writers::{self, CLIENTS};
use super::{Bench, Result};

const ONE_CLIENT_RATIO_MIN: f64 = 0.8;
const MANY_CLIENTS_RATIO_MIN: f64 = 8.0;
/// Many clients can gain so much over one only while a sync takes longer than this.
const SLOW_SYNC_SECONDS: f64 = 1e-3;
/// What the first commits are held against, until it is known what a commit logs.
const FIRST_BYTES: usize = 1024;

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
    let mut latency = Series::new("durable one-edge commit, 1 client, p50", Unit::Seconds);
    let mut log = Series::new("log bytes of a commit, 1 client", Unit::Bytes);
    let mut shared = Series::new("commits a sync, 32 clients", Unit::Number);
    let mut again = 0;
    let mut bytes = FIRST_BYTES;
    report.note(format!("Durability of the commits: {}.", loaded.durability()?));
    // The first round warms up, and tells what a commit logs.
    writers::round(loaded, &mut random, &mut synced, &mut bytes)?;
    for _ in 0..bench.rounds {
        let round = writers::round(loaded, &mut random, &mut synced, &mut bytes)?;
        let [one, .., most] = round.turns;
        limit.push(round.writes.rate());
        sync.push(round.writes.percentile(50.0));
        latency.push(round.commits.percentile(50.0));
        log.push(one.log_bytes_per_commit());
        shared.push(most.commits as f64 / most.syncs.max(1) as f64);
        for (series, turn) in rates.iter_mut().zip(&round.turns) {
            series.push(turn.rate());
        }
        again += round.again;
    }
    let [one, eight, most] = rates;
    let sync_seconds = sync.median();
    let gate = if sync_seconds > SLOW_SYNC_SECONDS {
        Gate::RatioAtLeast(MANY_CLIENTS_RATIO_MIN)
    } else {
        Gate::Waived(format!("a sync takes {}, not over 1 ms", Unit::Seconds.show(sync_seconds)))
    };
    report.add(Line::new(one.clone()).limit(&limit).gate(Gate::RatioAtLeast(ONE_CLIENT_RATIO_MIN)));
    report.add(Line::new(latency).limit(&sync));
    report.add(Line::new(eight).limit(&one));
    report.add(Line::new(most).limit(&one).gate(gate));
    report.add(Line::new(log));
    report.add(Line::new(shared));
    report.note(format!("Commits that were refused as retryable and made again: {again}."));
    Ok(())
}
