//! How much room is left, and what the daemon is busy with: file, log, cache, checkpoint, compaction.

use graphite_client::messages::CheckpointPhase;

use crate::cell::Cell;
use crate::format::{bytes, clock, count, micros, percent, rate, span};
use crate::scene::Scene;
use crate::table::Column;

/// Lines of the view.
pub const COUNT: usize = 13;

/// Name, share of a whole if there is one, and words of a line.
pub type Fact = (&'static str, Option<u64>, String);

fn value(scene: &Scene, row: u32) -> Fact {
    fact(scene, row as usize)
}

/// The columns: names, shares, words.
#[rustfmt::skip]
pub const COLUMNS: &[Column] = &[
    Column { name: "what", heading: "WHAT", width: 14, right: false, rank: 0, value: |s, r| Cell::text(value(s, r).0) },
    Column { name: "percent", heading: "%", width: 4, right: true, rank: 0, value: |s, r| value(s, r).1.into() },
    Column { name: "value", heading: "VALUE", width: 0, right: false, rank: 0, value: |s, r| Cell::Text(value(s, r).2.into()) },
];

/// One line of the view.
pub fn fact(scene: &Scene, row: usize) -> Fact {
    let (picture, storage, rates) = (&scene.picture, &scene.picture.storage, &scene.rates);
    let of =
        |part: u64, whole: u64| (Some(percent(part, whole)), format!("{} of {}", bytes(part), bytes(whole)));
    let plain = |words: String| (None, words);
    let (name, (share, words)) = match row {
        0 => (
            "file",
            plain(format!(
                "{}, {} pages, {} free",
                bytes(storage.file_bytes),
                count(storage.pages),
                count(storage.pages_free)
            )),
        ),
        1 => (
            "graph",
            plain(format!("{} nodes, {} edges", count(picture.status.nodes), count(picture.status.edges))),
        ),
        2 => ("log", of(storage.wal_used_bytes, storage.wal_bytes_max.max(storage.wal_bytes))),
        3 => ("cache", of(storage.cache_bytes, storage.cache_bytes_max)),
        4 => ("old versions", of(storage.old_version_bytes, storage.old_version_bytes_max)),
        5 => ("oldest snap", plain(oldest(scene))),
        6 => (
            "dirty pages",
            plain(format!("{} of {} in memory", count(storage.pages_dirty), count(storage.pages_resident))),
        ),
        7 => ("checkpoint", checkpoint(scene)),
        8 => ("compaction", compaction(scene)),
        9 => ("syncs", plain(syncs(scene))),
        10 => (
            "page reads/s",
            plain(format!(
                "{} now, {} in all, {} written",
                rate(rates.page_reads),
                count(picture.counters.page_reads),
                count(picture.counters.page_writes)
            )),
        ),
        11 => (
            "locks",
            plain(format!(
                "{} held, {} awaited, {} waits, {} timeouts, {} escalations",
                count(picture.locks_held),
                count(picture.locks_awaited),
                count(picture.counters.lock_waits),
                count(picture.counters.lock_timeouts),
                count(picture.counters.lock_escalations)
            )),
        ),
        _ => ("picture", plain(format!("taken by the daemon in {}", micros(picture.took_us)))),
    };
    (name, share, words)
}

fn oldest(scene: &Scene) -> String {
    match scene.picture.storage.oldest_snapshot {
        Some(oldest) => format!("{} old, of session {}", span(oldest.age_ms), oldest.session),
        None => "none".to_owned(),
    }
}

/// Share and words of the checkpoint under way, or the last one.
pub fn checkpoint(scene: &Scene) -> (Option<u64>, String) {
    let state = scene.picture.storage.checkpoint;
    if state.phase == CheckpointPhase::Idle {
        let last = match (state.last_ended_at_ms, state.last_took_ms) {
            (Some(at), Some(took)) => format!("idle; last at {} took {}", clock(at), span(took)),
            _ => "idle; none yet".to_owned(),
        };
        return (None, last);
    }
    let words = format!(
        "{} {}/{} pages, {}",
        state.phase.as_str(),
        count(state.pages_done),
        count(state.pages_total),
        span(state.running_ms.unwrap_or(0))
    );
    (Some(percent(state.pages_done, state.pages_total)), words)
}

/// Share and words of compaction.
pub fn compaction(scene: &Scene) -> (Option<u64>, String) {
    match scene.picture.compaction {
        None => (None, "none yet".to_owned()),
        Some(state) if !state.running => {
            (None, format!("idle; {} runs, {} freed", count(state.compactions), bytes(state.bytes_freed)))
        }
        Some(state) => {
            let words = format!(
                "{}/{} pages  {}/s  freed {}",
                count(state.pages_done),
                count(state.pages_total),
                rate(scene.rates.compaction_bytes),
                bytes(state.bytes_freed)
            );
            (Some(percent(state.pages_done, state.pages_total)), words)
        }
    }
}

fn syncs(scene: &Scene) -> String {
    let all = &scene.picture.storage.sync_latency;
    let shown = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), micros);
    format!(
        "{} in all; p50 {}, p99 {}, longest {}; p99 now {}",
        count(all.count),
        shown(all.per_mille_us(500)),
        shown(all.per_mille_us(990)),
        micros(all.max_us),
        shown(scene.rates.sync_p99_us)
    )
}

/// The line in words.
pub fn detail(scene: &Scene, row: u32) -> (String, Vec<String>) {
    let (name, _, words) = value(scene, row);
    (name.to_owned(), vec![words])
}
