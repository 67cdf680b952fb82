//! A small workload on the store, and what must be true of it after any crash.
//!
//! Every commit `k` writes `k` into a counter and changes a few pages in a way that is known from `k` alone. So
//! what recovery finds tells by itself which commit it stands at, and everything else must fit that.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use graphite_store::clock::SimClock;
use graphite_store::disk::SimDisk;
use graphite_store::{Lsn, PageKind, PageNo, PageReader, PageWriter, Result, Store, StoreOptions};

pub mod hooked;

pub const PATH: &str = "/db";
/// State slot in which each commit leaves its number.
pub const COUNTER: usize = 20;

/// Small enough that a workload of a few dozen commits recycles the log and overflows the cache.
pub fn options() -> StoreOptions {
    StoreOptions {
        create: true,
        cache_bytes: 512 << 10,
        wal_bytes: 256 << 10,
        old_versions_bytes_max: 256 << 10,
        durable: true,
    }
}

pub fn open(disk: &SimDisk) -> Result<Store> {
    Store::open(Arc::new(disk.clone()), Arc::new(SimClock::default()), Path::new(PATH), options())
}

/// Commits a number for the counter.
pub fn set(store: &Store, value: u64) -> Lsn {
    let mut turn = store.turn().unwrap();
    turn.set_state(COUNTER, value).unwrap();
    turn.commit().unwrap()
}

pub fn set_durable(store: &Store, value: u64) -> Lsn {
    let lsn = set(store, value);
    store.wait_visible(lsn).unwrap();
    lsn
}

pub fn value(store: &Store) -> u64 {
    store.snapshot().unwrap().state(COUNTER).unwrap()
}

/// What the pages should hold: page -> the commit that wrote it last.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Model {
    pub commit: u64,
    pub pages: BTreeMap<PageNo, u64>,
}

/// Content of a page written by commit `k`: several ranges, so that deltas have something to join.
pub fn fill(body: &mut [u8], page: PageNo, k: u64) {
    let at = 40 + (k as usize * 211) % 6000;
    body[..8].copy_from_slice(&k.to_le_bytes());
    body[8..12].copy_from_slice(&page.0.to_le_bytes());
    body[at..at + 60].fill(k as u8);
    body[8160..8168].copy_from_slice(&(k ^ 0xffff).to_le_bytes());
}

/// A deterministic choice.
pub fn pick(seed: u64, n: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) % n
}

/// Makes commit `k` and returns its LSN and the model after it.
pub fn commit(store: &Store, before: &Model, k: u64) -> Result<(Lsn, Model)> {
    let mut model = before.clone();
    let mut turn = if k % 11 == 7 { store.turn_bulk()? } else { store.turn()? };
    turn.set_state(COUNTER, k)?;
    model.commit = k;
    for i in 0..1 + pick(k, 2) {
        let page = turn.allocate(PageKind::Record)?;
        fill(turn.page_mut(page)?.body_mut(), page, k);
        assert_eq!(model.pages.insert(page, k), None, "a page in use was given out");
        if i == 1 && k.is_multiple_of(5) {
            turn.free(page)?;
            model.pages.remove(&page);
        }
    }
    if k % 33 == 29 {
        // A bulk turn with more new pages than it may hold.
        for _ in 0..20 {
            let page = turn.allocate(PageKind::Record)?;
            fill(turn.page_mut(page)?.body_mut(), page, k);
            assert_eq!(model.pages.insert(page, k), None, "a page in use was given out");
        }
    }
    if k % 33 == 10 {
        // So many, that the next such turn writes over pages that had an earlier life.
        let last: Vec<PageNo> = before.pages.keys().rev().take(20).copied().collect();
        for page in last {
            turn.free(page)?;
            model.pages.remove(&page);
        }
        return Ok((turn.commit()?, model));
    }
    let existing: Vec<PageNo> = before.pages.keys().copied().collect();
    if !existing.is_empty() {
        for i in 0..3 {
            let page = existing[pick(k * 7 + i, existing.len() as u64) as usize];
            fill(turn.page_mut(page)?.body_mut(), page, k);
            model.pages.insert(page, k);
        }
        if k.is_multiple_of(3) {
            let page = existing[pick(k * 13, existing.len() as u64) as usize];
            turn.free(page)?;
            model.pages.remove(&page);
        }
    }
    Ok((turn.commit()?, model))
}

/// The commit that a reader stands at; fails if anything does not fit that commit.
pub fn verify<R: PageReader>(reader: &R, models: &[Model]) -> u64 {
    let k = reader.state(COUNTER).expect("the state page can be read");
    let model = &models[usize::try_from(k).unwrap()];
    assert_eq!(model.commit, k);
    for (&page, &written) in &model.pages {
        let found = reader.page_of(page, PageKind::Record).unwrap_or_else(|e| panic!("at commit {k}: {e}"));
        let body = found.body();
        let mut expected = [0; 8];
        expected.copy_from_slice(&body[..8]);
        assert_eq!(u64::from_le_bytes(expected), written, "{page} at commit {k}");
        assert_eq!(body[8..12], page.0.to_le_bytes());
        let at = 40 + (written as usize * 211) % 6000;
        assert!(body[at..at + 60].iter().all(|&b| b == written as u8), "{page} at commit {k} is not whole");
        assert_eq!(body[8160..8168], (written ^ 0xffff).to_le_bytes());
    }
    k
}

/// The used pages, by the bitmaps, are exactly those of the model (and the fixed ones).
pub fn verify_ownership<R: PageReader>(reader: &R, model: &Model) {
    let count = u32::try_from(reader.state(0).unwrap()).unwrap();
    let bitmap = reader.page_of(PageNo(2), PageKind::Bitmap).unwrap();
    let used: BTreeSet<PageNo> = (0..count)
        .filter(|page| bitmap.body()[(page / 8) as usize] & (1 << (page % 8)) != 0)
        .map(PageNo)
        .collect();
    let expected: BTreeSet<PageNo> = model.pages.keys().copied().chain((0..3).map(PageNo)).collect();
    assert_eq!(used, expected);
}

/// A finished run: the models after each commit, and from which operation of the disk on each was acknowledged.
pub struct Run {
    pub disk: SimDisk,
    pub models: Vec<Model>,
    pub acknowledged_at: Vec<u64>,
}

/// Runs `commits` commits on a new database; a checkpoint now and then, a flush only for some.
pub fn run(commits: u64) -> Run {
    let disk = SimDisk::new();
    disk.keep_history();
    let store = open(&disk).expect("a new database opens");
    let mut run =
        Run { disk: disk.clone(), models: vec![Model::default()], acknowledged_at: vec![disk.ops()] };
    let mut waiting = Vec::new();
    for k in 1..=commits {
        let (lsn, model) =
            commit(&store, &run.models[k as usize - 1], k).unwrap_or_else(|e| panic!("commit {k}: {e}"));
        run.models.push(model);
        run.acknowledged_at.push(u64::MAX);
        waiting.push(k);
        if pick(k, 3) > 0 {
            store.wait_visible(lsn).unwrap();
            for k in waiting.drain(..) {
                run.acknowledged_at[k as usize] = disk.ops();
            }
        }
        if k.is_multiple_of(17) {
            store.checkpoint().unwrap();
        }
    }
    verify(&store.pin(), &run.models);
    run
}

impl Run {
    /// The last commit that was acknowledged before operation `op` was over.
    pub fn acknowledged(&self, op: u64) -> u64 {
        let known = |&(_, &at): &(usize, &u64)| at <= op + 1;
        self.acknowledged_at.iter().enumerate().filter(known).map(|(k, _)| k as u64).max().unwrap_or(0)
    }
}
