//! The engine: commits that share syncs, publication, checkpoints over a log that is recycled, eviction, shutdown.
//!
//! Every commit raises a counter in the state page and writes its number into all pages of the workload. So any reader can
//! tell whether what it sees is one commit's work, and which one's. The disk is the simulated one, and lets others go on
//! before each write and sync; at each acknowledgement the power may go, on a copy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use graphite_store::clock::SimClock;
use graphite_store::disk::{Outcome, SimDisk};
use graphite_store::{Error, Lsn, PageKind, PageNo, PageReader, PageWriter, Result, Store, StoreOptions};
use shuttle::rand::Rng;
use shuttle::thread;

use super::support::hooked::{Doing, HookedDisk};
use super::support::{COUNTER, PATH, fill};
use super::{Seen, check_random};

/// A database with a few pages, and what was acknowledged of it.
#[derive(Clone)]
struct Bench {
    disk: SimDisk,
    store: Store,
    pages: Arc<[PageNo]>,
    acknowledged: Arc<Acknowledged>,
}

#[derive(Default)]
struct Acknowledged {
    /// The greatest number of a commit that was said to be durable.
    last: AtomicU64,
    /// How many were.
    count: AtomicU64,
    /// What a power cut would have left right then.
    left: Mutex<Vec<(u64, SimDisk)>>,
}

fn small() -> StoreOptions {
    StoreOptions {
        create: true,
        cache_bytes: 256 << 10,
        wal_bytes: 256 << 10,
        old_versions_bytes_max: 256 << 10,
        durable: true,
    }
}

fn open(disk: &SimDisk, options: StoreOptions) -> Store {
    let hooked = HookedDisk::new(disk.clone());
    hooked.ask(|_, doing| {
        // A sync takes as long as whole commits do.
        let steps = if doing == Doing::Sync { 40 } else { 1 };
        (0..steps).for_each(|_| thread::yield_now());
        Ok(())
    });
    Store::open(Arc::new(hooked), Arc::new(SimClock::default()), PATH.as_ref(), options).unwrap()
}

impl Bench {
    fn new(pages: usize, options: StoreOptions) -> Bench {
        let disk = SimDisk::new();
        let store = open(&disk, options);
        let mut numbers = Vec::new();
        while numbers.len() < pages {
            let mut turn = store.turn().unwrap();
            let some: Vec<PageNo> =
                (0..pages.min(5)).map(|_| turn.allocate(PageKind::Record).unwrap()).collect();
            write_all(&mut turn, &some, 0).unwrap();
            let lsn = turn.commit().unwrap();
            store.wait_visible(lsn).unwrap();
            numbers.extend(some);
        }
        Bench { disk, store, pages: numbers.into(), acknowledged: Arc::default() }
    }

    /// One commit; returns its number and LSN.
    fn commit(&self) -> Result<(u64, Lsn)> {
        let mut turn = self.store.turn()?;
        let number = turn.state(COUNTER)? + 1;
        write_all(&mut turn, &self.pages, number)?;
        Ok((number, turn.commit()?))
    }

    /// One commit, whose acknowledgement is noted when it comes.
    fn commit_and_park(&self) -> Result<(u64, Lsn)> {
        let (number, lsn) = self.commit()?;
        let (disk, acknowledged) = (self.disk.clone(), self.acknowledged.clone());
        let store = self.store.clone();
        self.store.when_visible(lsn, move |reply| {
            reply.unwrap();
            assert!(store.visible_lsn() >= lsn, "it was told too early");
            acknowledged.note(number, &disk);
        });
        Ok((number, lsn))
    }

    fn commit_and_wait(&self) -> Result<(u64, Lsn)> {
        let (number, lsn) = self.commit()?;
        self.store.wait_visible(lsn)?;
        assert!(self.store.visible_lsn() >= lsn);
        self.acknowledged.note(number, &self.disk);
        Ok((number, lsn))
    }

    /// The power went at each acknowledgement, and all that was acknowledged by then is there.
    fn verify_power_cuts(&self) {
        for (acknowledged, left) in self.acknowledged.left.lock().unwrap().drain(..) {
            let store = reopen(&left);
            let found = number_at(&store.snapshot().unwrap(), &self.pages);
            assert!(
                found >= acknowledged,
                "commit {acknowledged} was acknowledged, and {found} is the last there"
            );
        }
    }
}

impl Acknowledged {
    fn note(&self, number: u64, disk: &SimDisk) {
        let left = disk.fork().power_cut(Outcome::LoseAll);
        self.left.lock().unwrap().push((number, left));
        self.last.fetch_max(number, Ordering::SeqCst);
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }
}

fn reopen(disk: &SimDisk) -> Store {
    let clock = Arc::new(SimClock::default());
    Store::open(Arc::new(disk.clone()), clock, PATH.as_ref(), small()).unwrap()
}

fn write_all(turn: &mut impl PageWriter, pages: &[PageNo], number: u64) -> Result<()> {
    turn.set_state(COUNTER, number)?;
    pages.iter().try_for_each(|&page| {
        let body = turn.page_mut(page)?.body_mut();
        // Most of the page, so that the log moves on.
        body[100..7000].fill(number as u8);
        fill(body, page, number);
        Ok(())
    })
}

/// The number of the commit that a reader stands at. All pages have to be that one's work.
fn number_at(reader: &impl PageReader, pages: &[PageNo]) -> u64 {
    let number = reader.state(COUNTER).unwrap();
    for &page in pages {
        let found = reader.page_of(page, PageKind::Record).unwrap();
        let body = found.body();
        assert_eq!(body[..8], number.to_le_bytes(), "{page} is not of commit {number}");
        assert_eq!(body[8160..8168], (number ^ 0xffff).to_le_bytes(), "{page} is not whole");
    }
    number
}

/// Lets the others go on for a while, seldom for long.
fn linger() {
    let most = [10, 100, 1000, 4000][shuttle::rand::thread_rng().gen_range(0..4)];
    (0..shuttle::rand::thread_rng().gen_range(0..most)).for_each(|_| thread::yield_now());
}

/// Committers that park, and one that waits, with nobody else to lead syncs. Each is acknowledged once, when it is durable and
/// not before; none is forgotten; the order of numbers is the order of the log.
#[test]
fn each_commit_is_acknowledged_once_it_is_durable_and_none_is_forgotten() {
    let shared = Seen::default();
    let seen = shared.clone();
    check_random(250, move || {
        let bench = Bench::new(1, small());
        let syncs = bench.store.status().log_syncs;
        let committers = [true, true, false].map(|parks| {
            let bench = bench.clone();
            thread::spawn(move || {
                let way = if parks { Bench::commit_and_park } else { Bench::commit_and_wait };
                [way(&bench).unwrap(), way(&bench).unwrap()]
            })
        });
        let mut commits: Vec<(u64, Lsn)> =
            committers.into_iter().flat_map(|committer| committer.join().unwrap()).collect();
        commits.sort_unstable();
        assert!(commits.iter().map(|(number, _)| *number).eq(1..=6));
        assert!(commits.is_sorted_by(|(_, a), (_, b)| a < b), "the log has another order: {commits:?}");
        assert_eq!(bench.acknowledged.count(), 6, "a reply was forgotten");
        if bench.store.status().log_syncs - syncs < 6 {
            seen.once();
        }
        bench.verify_power_cuts();
    });
    shared.assert_some("a sync that was shared");
}

/// Readers of what is durable and readers of what is published, while commits go on and old versions are dropped. Each sees
/// one commit's work, never an older one than before, and never one from before what was acknowledged when it came.
#[test]
fn a_reader_sees_one_commit_whole_and_none_older_than_it_was_told_of() {
    const COMMITS: u64 = 3;
    let moved = Seen::default();
    let seen = moved.clone();
    check_random(250, move || {
        let bench = Bench::new(3, small());
        let readers = [true, false, true].map(|is_snapshot| {
            let (bench, seen) = (bench.clone(), seen.clone());
            thread::spawn(move || {
                let (mut last, mut told) = (0, 0);
                while told < COMMITS {
                    told = bench.acknowledged.last.load(Ordering::SeqCst);
                    let reader =
                        if is_snapshot { bench.store.snapshot().unwrap() } else { bench.store.pin() };
                    let number = number_at(&reader, &bench.pages);
                    assert!(number >= last.max(told), "{number} after {last}, when {told} was acknowledged");
                    if is_snapshot {
                        assert!(reader.lsn() <= bench.store.visible_lsn(), "a crash could take it back");
                    }
                    // It still stands there, whatever was committed and dropped meanwhile.
                    assert_eq!(number_at(&reader, &bench.pages), number);
                    if last > 0 && number > last {
                        seen.once();
                    }
                    last = number;
                }
            })
        });
        for _ in 0..COMMITS {
            bench.commit_and_wait().unwrap();
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert_eq!(bench.store.status().old_version_bytes, 0, "a version is kept for nobody");
    });
    moved.assert_some("a commit between two reads");
}

/// Committers fill a log of sixteen short segments several times over, while checkpoints set redo points, write pages, and
/// recycle segments under them. At each acknowledgement the power goes, on a copy.
#[test]
fn a_checkpoint_that_overlaps_commits_recycles_no_log_that_is_needed() {
    let recycled = Seen::default();
    let seen = recycled.clone();
    check_random(60, move || {
        let bench = Bench::new(2, small());
        let committers = [true, false].map(|parks| {
            let bench = bench.clone();
            thread::spawn(move || {
                for _ in 0..6 {
                    let way = if parks { Bench::commit_and_park } else { Bench::commit_and_wait };
                    way(&bench).unwrap();
                }
            })
        });
        let checkpointer = thread::spawn({
            let bench = bench.clone();
            move || (0..4).for_each(|_| bench.store.checkpoint().unwrap())
        });
        committers.into_iter().for_each(|committer| committer.join().unwrap());
        checkpointer.join().unwrap();
        if bench.disk.read_file("/db.wal/0000000000.wal").is_err() {
            seen.once();
        }
        assert_eq!(bench.acknowledged.count(), 12);
        bench.verify_power_cuts();
        let left = bench.disk.power_cut(Outcome::LoseAll);
        assert_eq!(number_at(&reopen(&left).snapshot().unwrap(), &bench.pages), 12);
    });
    recycled.assert_some("a recycled segment");
}

/// The cache holds less than half of the pages: readers load what others evict, while commits change it and pages are
/// written to make room.
#[test]
fn eviction_takes_nothing_that_a_reader_or_a_commit_still_needs() {
    const PAGES: usize = 40;
    let loaded = Seen::default();
    let seen = loaded.clone();
    check_random(40, move || {
        let options = StoreOptions { cache_bytes: 160 << 10, wal_bytes: 2 << 20, ..small() };
        let mut bench = Bench::new(PAGES, options);
        // A commit changes a few of them only, else it would be too large for such a cache.
        let all = bench.pages.clone();
        bench.store.checkpoint().unwrap();
        bench.pages = [all[0], all[13], all[39]].into();
        let reads_before = bench.store.status().page_reads;
        let readers = [0, 20].map(|from| {
            let (bench, all) = (bench.clone(), all.clone());
            thread::spawn(move || {
                let snapshot = bench.store.snapshot().unwrap();
                let number = number_at(&snapshot, &bench.pages);
                for &page in all.iter().cycle().skip(from).take(PAGES) {
                    let found = snapshot.page_of(page, PageKind::Record).unwrap();
                    let expected = if bench.pages.contains(&page) { number } else { 0 };
                    assert_eq!(found.body()[..8], expected.to_le_bytes(), "{page} at commit {number}");
                }
                assert_eq!(number_at(&snapshot, &bench.pages), number);
            })
        });
        for _ in 0..3 {
            bench.commit_and_wait().unwrap();
            // What was written may be evicted, and the next commit then meets readers that load it.
            bench.store.checkpoint().unwrap();
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        if bench.store.status().page_reads > reads_before + PAGES as u64 {
            seen.once();
        }
        bench.verify_power_cuts();
    });
    loaded.assert_some("a page that was loaded twice");
}

/// With the log thread and the checkpointer at work, the store is closed while others commit. They are told that it is
/// closed; what was committed before is acknowledged and there, cleanly; both threads end.
#[test]
fn a_close_while_others_commit_keeps_what_it_did_not_refuse() {
    let refused = Seen::default();
    let seen = refused.clone();
    check_random(120, move || {
        let bench = Bench::new(1, small());
        bench.store.start_threads();
        // One has its replies parked, the other waits.
        let committers = [Bench::commit_and_park, Bench::commit_and_wait].map(|commit| {
            let (bench, seen) = (bench.clone(), seen.clone());
            thread::spawn(move || {
                for done in 0..3 {
                    match commit(&bench) {
                        Ok(_) => {}
                        Err(Error::Closed) => {
                            seen.once();
                            return done;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                3
            })
        });
        // Soon, or when the others are done and the threads asleep without a timer.
        linger();
        bench.store.close().unwrap();
        let done: u64 = committers.into_iter().map(|committer| committer.join().unwrap()).sum();
        assert_eq!(bench.acknowledged.count(), done, "a reply was forgotten");
        assert!(matches!(bench.commit(), Err(Error::Closed)));
        bench.verify_power_cuts();
        let left = bench.disk.power_cut(Outcome::LoseAll);
        assert_eq!(number_at(&reopen(&left).snapshot().unwrap(), &bench.pages), done);
    });
    refused.assert_some("a commit that came too late");
}

/// The last hand on the store lets go while its threads are at work, and nobody closed it: they end all the same, and what
/// was acknowledged is there.
#[test]
fn threads_end_with_the_last_hand_on_the_store() {
    check_random(60, || {
        let Bench { disk, store, pages, acknowledged } = {
            let bench = Bench::new(1, small());
            bench.store.start_threads();
            bench.commit_and_wait().unwrap();
            bench.commit_and_park().unwrap();
            linger();
            bench
        };
        drop(store);
        let told = acknowledged.last.load(Ordering::SeqCst);
        // They may be at work still, and end with this test, or Shuttle says that they wait for ever.
        let left = disk.fork().power_cut(Outcome::LoseAll);
        assert!(number_at(&reopen(&left).snapshot().unwrap(), &pages) >= told);
    });
}
