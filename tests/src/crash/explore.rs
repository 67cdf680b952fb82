//! From every state that a script went through to all that a power cut may leave of it.
//!
//! In rounds, each with other choices of the scripts. Every operation is tried with the outcomes that have a name and some
//! by chance; then, in the first round, every operation of the recovery that follows, and later one of them, and one of
//! the recovery of that, at which either the power is cut again or the process alone ends. Some of the recovered databases go on with commits of their own, at each operation of which the
//! power is cut again. The round alone decides, so a trail leads to the same state on every machine. A disk whose bytes
//! were seen before is not opened again: what is found on it is known.

use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use graphite_graph::GraphDb;
use graphite_store::disk::{Outcome, SimDisk};
use rustc_hash::FxHasher;

use super::picture::Picture;
use super::recorder::{Run, record, record_on};
use super::trail::{End, Trail};
use super::{Workload, exists, words, workloads};

/// Pages that belong to nobody and are never free: the two copies of the superblock, and the first bitmap.
pub(super) const FIXED_PAGES: u64 = 3;

/// Outcomes by chance that each operation is tried with.
const SEEDS: u64 = 3;
/// In later rounds the process alone ends at one of so many operations.
const KILLS_EVERY: u64 = 4;
/// A recovery is ended by the end of the process at one of so many operations, and else by a power cut.
const RECOVERY_KILLS_EVERY: u64 = 16;
/// A recovered database goes on after one of so many operations.
const FURTHER_EVERY: u64 = 32;
/// Crashes in a row: the first in the script's life, the others in those that recover.
const LIVES_MAX: usize = 3;

/// Whoever asks for more disks is told how far it is.
const PROGRESS_FROM: u64 = 1_000_000;

const NAMED: [Outcome; 4] =
    [Outcome::LoseAll, Outcome::KeepAll, Outcome::LoseAllButLast, Outcome::KeepAllButLast];

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// Crashes.
    pub crashes: u64,
    /// How many disks with different bytes they left.
    pub states: u64,
    /// Ends of the process alone, after each of which the next one showed what it found before the power went.
    pub kills: u64,
    /// The same in the midst of a recovery.
    pub recovery_kills: u64,
    /// Databases that went on with commits after they were recovered, and had the power cut at each operation of that.
    pub further: u64,
    /// Operations of the scripts at which the power was cut.
    pub operations: u64,
    /// Rounds.
    pub rounds: u64,
}

/// Tries crashes of all workloads, round after round, until so many disks with different bytes were seen.
///
/// # Panics
/// If something was lost, with the command that shows it again.
pub fn explore(states_min: u64) -> Explored {
    let seen = Seen::default();
    let (mut rounds, mut operations) = (0, 0);
    while seen.states() < states_min {
        let runs: Vec<Run> = workloads::all().into_iter().map(|workload| run(workload, rounds)).collect();
        let all = runs.iter().flat_map(|run| (0..run.disk.ops()).map(move |op| (run, op)));
        let places: Vec<(&Run, u64)> = all.collect();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(&(run, op)) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                Explorer::of(run, &seen).operation(op);
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        operations += places.len() as u64;
        rounds += 1;
        if states_min > PROGRESS_FROM {
            println!("round {rounds}: {} disks", seen.states());
        }
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Explored {
        crashes: count(&seen.crashes),
        states: seen.states(),
        kills: count(&seen.kills),
        recovery_kills: count(&seen.recovery_kills),
        further: count(&seen.further),
        operations,
        rounds,
    }
}

/// Goes one trail, as the command that a failure prints does.
///
/// # Panics
/// If something was lost on it.
///
/// # Errors
/// Words, if there is no such trail.
pub fn replay(trail: &str) -> Result<(), String> {
    let trail: Trail = trail.parse()?;
    let workload = workloads::all().into_iter().find(|workload| workload.name == trail.workload);
    let workload = workload.ok_or_else(|| format!("there is no workload {:?}", trail.workload))?;
    let mut run = run(workload, trail.round);
    let seen = Seen::default();
    let mut disk = run.disk.clone();
    let mut so_far = Explorer::of(&run, &seen).so_far;
    let (mut acknowledged, mut shown, mut is_recorded, mut is_durable) = (None, None, true, false);
    for end in trail.ends {
        if end.op > 0 && end.op >= disk.ops() {
            return Err(format!("{so_far}: it has no operation {}", end.op));
        }
        let explorer = Explorer { run: &run, seen: &seen, so_far: so_far.clone() };
        let (after, is_last) = (after_op(&disk, end.op), end.op + 1 >= disk.ops());
        if is_recorded {
            acknowledged = run.acknowledged(end.op);
        } else if is_last || is_durable {
            acknowledged = shown;
        }
        so_far = so_far.then(end);
        disk = explorer.end(&after, end);
        is_recorded = end.goes_on;
        if is_recorded {
            run = explorer.went_on(&so_far, &disk, acknowledged);
            disk = run.disk.clone();
        } else {
            disk.keep_history();
            is_durable = end.outcome.is_some();
            shown = explorer.open(&so_far, &disk);
            explorer.has_to_have(&so_far, shown, acknowledged);
        }
    }
    Ok(())
}

fn run(workload: Workload, round: u64) -> Run {
    record(workload, round).unwrap_or_else(|error| panic!("{}.{round}: {error}", workload.name))
}

/// The disk after an operation of its life; if that had none, as it is.
fn after_op(disk: &SimDisk, op: u64) -> SimDisk {
    disk.after_op(op).unwrap_or_else(|| disk.fork())
}

/// What was found already, in whatever thread.
#[derive(Default)]
struct Seen {
    crashes: AtomicU64,
    kills: AtomicU64,
    recovery_kills: AtomicU64,
    further: AtomicU64,
    disks: Mutex<Disks>,
}

#[derive(Default)]
struct Disks {
    /// By the script, the ends before it if it went on after them, and the bytes of the disk: at which commit it stands.
    found: HashMap<u64, Option<usize>>,
    /// The bytes alone: what several scripts have in common, as their beginnings, is one disk.
    bytes: HashSet<u64>,
}

impl Seen {
    fn disks<T>(&self, look: impl FnOnce(&mut Disks) -> T) -> T {
        look(&mut self.disks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn states(&self) -> u64 {
        self.disks(|disks| disks.bytes.len() as u64)
    }
}

/// Of the bytes of a disk, and of those and the way to the script whose disk it is.
fn fingerprints(so_far: &Trail, disk: &SimDisk) -> (u64, u64) {
    let mut hasher = FxHasher::default();
    disk.hash_files(&mut hasher);
    let bytes = hasher.finish();
    hasher.write(so_far.to_string().as_bytes());
    (bytes, hasher.finish())
}

/// What a disk came to.
struct Survived {
    /// The commit at which it stands; `None` if there is no database.
    found: Option<usize>,
    /// Its bytes were not seen before.
    is_new: bool,
}

struct Explorer<'a> {
    /// A script, or what went on after the ends of `so_far`.
    run: &'a Run,
    seen: &'a Seen,
    so_far: Trail,
}

impl<'a> Explorer<'a> {
    /// Of a script.
    fn of(run: &'a Run, seen: &'a Seen) -> Explorer<'a> {
        let so_far = Trail { workload: run.workload.name.to_owned(), round: run.round, ends: Vec::new() };
        Explorer { run, seen, so_far }
    }

    fn operation(&self, op: u64) {
        let acknowledged = self.run.acknowledged(op);
        let after = self.run.disk.after_op(op).expect("the run kept its history");
        let by_chance = (0..SEEDS).map(Outcome::Random);
        for outcome in NAMED.into_iter().chain(by_chance) {
            self.cut(&self.so_far, &after, End::new(op, Some(outcome)), acknowledged);
        }
        if (op + self.run.round).is_multiple_of(FURTHER_EVERY) {
            let outcome = (!op.is_multiple_of(3)).then_some(Outcome::Random(op));
            self.go_on(&after, End { op, outcome, goes_on: true }, acknowledged);
        }
        // The process ends, the next one shows what it finds, and then the power goes: what was shown stays. That the
        // bytes were seen before says nothing here, for they may not be synced.
        // In later rounds it is not tried everywhere, for each time the database is opened.
        if self.run.round > 0 && !(op + self.run.round).is_multiple_of(KILLS_EVERY) {
            return;
        }
        self.kill(&self.so_far, &after, op, acknowledged);
    }

    /// The process ends after operation `op`, the next one shows what it finds, and in the midst of that and after it the
    /// power goes.
    fn kill(&self, so_far: &Trail, after: &SimDisk, op: u64, acknowledged: Option<usize>) {
        let end = End::new(op, None);
        let trail = so_far.then(end);
        let disk = self.end(after, end);
        disk.keep_history();
        let shown = self.open(&trail, &disk);
        self.has_to_have(&trail, shown, acknowledged);
        let is_first = trail.ends.len() == self.so_far.ends.len() + 1;
        let kills = if is_first { &self.seen.kills } else { &self.seen.recovery_kills };
        kills.fetch_add(1, Ordering::Relaxed);
        let last = disk.ops().saturating_sub(1);
        let all = self.run.round == 0 && is_first;
        for op in (0..=last).filter(|at| all || *at == last || *at == op % (last + 1)) {
            let floor = if op == last { shown } else { acknowledged };
            for outcome in [Outcome::LoseAll, Outcome::Random(op)] {
                self.cut(&trail, &after_op(&disk, op), End::new(op, Some(outcome)), floor);
            }
        }
    }

    /// The power is cut; then, in the midst of what opens the database again, once more, and so on.
    fn cut(&self, so_far: &Trail, disk: &SimDisk, end: End, acknowledged: Option<usize>) {
        let trail = so_far.then(end);
        let disk = self.end(disk, end);
        disk.keep_history();
        let Survived { found, is_new } = self.survive(&trail, &disk, acknowledged);
        let ops = disk.ops();
        if !is_new || ops == 0 || trail.ends.len() > LIVES_MAX {
            return;
        }
        let chance = (end.op ^ self.run.round).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let places = if self.run.round == 0 && trail.ends.len() == 1 {
            0..ops
        } else {
            chance % ops..chance % ops + 1
        };
        for op in places {
            // A power cut leaves nothing that is not durable, so the next recovery begins where this one did, wherever
            // this one ends: what was found is found again.
            let after = after_op(&disk, op);
            if (chance + op).is_multiple_of(RECOVERY_KILLS_EVERY) {
                self.kill(&trail, &after, op, found);
            } else {
                self.cut(&trail, &after, End::new(op, Some(Outcome::Random(chance + op))), found);
            }
        }
    }

    /// The recovered database makes commits of its own, and at each operation of that the power is cut.
    fn go_on(&self, disk: &SimDisk, end: End, acknowledged: Option<usize>) {
        let so_far = self.so_far.then(end);
        let disk = self.end(disk, end);
        let run = self.went_on(&so_far, &disk, acknowledged);
        self.seen.further.fetch_add(1, Ordering::Relaxed);
        Explorer { run: &run, seen: self.seen, so_far }.cut_everywhere();
    }

    fn cut_everywhere(&self) {
        // What a cut in the midst of the recovery leaves is one of the pictures before, and was looked for elsewhere.
        for op in (0..self.run.disk.ops()).filter(|op| self.run.acknowledged(*op).is_some()) {
            for outcome in [Outcome::LoseAll, Outcome::KeepAllButLast, Outcome::Random(op)] {
                let end = End::new(op, Some(outcome));
                self.cut(&self.so_far, &after_op(&self.run.disk, op), end, self.run.acknowledged(op));
            }
        }
    }

    /// What a database does that goes on after `so_far`.
    fn went_on(&self, so_far: &Trail, disk: &SimDisk, acknowledged: Option<usize>) -> Run {
        let workload = Workload { script: workloads::further, ..self.run.workload };
        let run = record_on(disk.clone(), workload, self.run.round).unwrap_or_else(|error| {
            panic!("{}", self.complaint(so_far, &format!("it does not go on: {error}")))
        });
        let begins = &run.pictures[0];
        let found = self.run.pictures.iter().rposition(|one| one == begins);
        if found.is_none() {
            panic!("{}", self.complaint(so_far, "what it goes on with did not stand after any commit"));
        }
        self.has_to_have(so_far, found, acknowledged);
        run
    }

    fn end(&self, disk: &SimDisk, end: End) -> SimDisk {
        match end.outcome {
            Some(outcome) => disk.power_cut(outcome),
            None => disk.process_crash(),
        }
    }

    /// Finds out at which commit the disk stands, by opening it unless its bytes are known.
    fn survive(&self, trail: &Trail, disk: &SimDisk, acknowledged: Option<usize>) -> Survived {
        self.seen.crashes.fetch_add(1, Ordering::Relaxed);
        let (bytes, disk_of_script) = fingerprints(&self.so_far, disk);
        let known = self.seen.disks(|disks| disks.found.get(&disk_of_script).copied());
        let found = known.unwrap_or_else(|| self.open(trail, disk));
        self.has_to_have(trail, found, acknowledged);
        let is_new = self.seen.disks(|disks| {
            disks.bytes.insert(bytes);
            disks.found.insert(disk_of_script, found).is_none()
        });
        Survived { found, is_new }
    }

    fn has_to_have(&self, trail: &Trail, found: Option<usize>, acknowledged: Option<usize>) {
        if found < acknowledged {
            let what =
                format!("commit {acknowledged:?} was acknowledged or shown, and {found:?} is what is left");
            panic!("{}", self.complaint(trail, &what));
        }
    }

    fn open(&self, trail: &Trail, disk: &SimDisk) -> Option<usize> {
        if !exists(disk) {
            return None;
        }
        let looked = catch_unwind(AssertUnwindSafe(|| stands_at(self.run, disk)));
        match looked {
            Ok(Ok(found)) => Some(found),
            Ok(Err(what)) => panic!("{}", self.complaint(trail, &what)),
            Err(_) => panic!("{}", self.complaint(trail, "the code panicked, as said above")),
        }
    }

    fn complaint(&self, trail: &Trail, what: &str) -> String {
        let op = trail.ends.get(self.so_far.ends.len()).and_then(|end| {
            let trace = self.run.disk.trace();
            trace.into_iter().find(|op| op.index == end.op)
        });
        format!(
            "{trail}: {what}\n(the life that made commits ended after {op:?})\nTo see it again: GRAPHITE_CRASH_TRAIL='{trail}' \
             cargo test -p graphite-tests --test crash_states replay_of_one_trail"
        )
    }
}

/// Opens a disk, and finds out at which commit it stands; words, if it is not sound, or stands at none.
pub(super) fn stands_at(run: &Run, disk: &SimDisk) -> Result<usize, String> {
    let db = run.workload.open(disk).map_err(|error| format!("it does not open: {error}"))?;
    let read = || Picture::of(&db, &db.snapshot()?);
    let picture = read().map_err(|error| format!("it cannot be read: {error}"))?;
    let found = run.pictures.iter().rposition(|one| *one == picture);
    sound(&db)?;
    found.ok_or_else(|| "what is there is not what stood after any commit".to_owned())
}

/// The full check, and every page has an owner or is free.
fn sound(db: &GraphDb) -> Result<(), String> {
    let report = db.check().map_err(|error| format!("it cannot be checked: {error}"))?;
    if !report.is_sound() {
        return Err(format!("the check finds: {}", words(&report.problems)));
    }
    let status = db.store().status();
    let used = u64::from(status.pages) - u64::from(status.pages_free);
    let owned = report.pages.len() as u64 + FIXED_PAGES;
    if used != owned {
        return Err(format!("{used} pages are used, and {owned} have owners"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the explorer would prove nothing: one that says "it is durable" one operation of the disk too early is found
    /// out.
    #[test]
    fn who_acknowledges_before_the_sync_is_found_out() {
        for workload in workloads::all().into_iter().filter(|workload| workload.name != "creation") {
            let mut run = run(workload, 0);
            let seen = Seen::default();
            let explore_all = |run: &Run| {
                let explorer = Explorer::of(run, &seen);
                catch_unwind(AssertUnwindSafe(|| (0..run.disk.ops()).for_each(|op| explorer.operation(op))))
            };
            run.acknowledge_early();
            let complaint = explore_all(&run).expect_err(workload.name);
            let complaint = complaint.downcast_ref::<String>().expect("words");
            assert!(complaint.contains("was acknowledged"), "{complaint}");
        }
    }

    /// Else a trail would lead to another disk than the one that was found wanting.
    #[test]
    fn a_script_writes_the_same_bytes_each_time() {
        for workload in workloads::all() {
            let [one, other] = [(), ()].map(|()| {
                let run = run(workload, 1);
                let so_far = Trail { workload: String::new(), round: 0, ends: Vec::new() };
                let states = (0..run.disk.ops()).map(|op| fingerprints(&so_far, &after_op(&run.disk, op)).0);
                states.collect::<Vec<_>>()
            });
            assert_eq!(one, other, "{}", workload.name);
        }
    }

    /// The same of a database that was recovered and goes on.
    #[test]
    fn who_goes_on_and_acknowledges_before_the_sync_is_found_out() {
        let workload = workloads::all().into_iter().find(|workload| workload.name == "edges").expect("edges");
        let (run, seen) = (run(workload, 0), Seen::default());
        let explorer = Explorer::of(&run, &seen);
        let op = run.disk.ops() / 2;
        let end = End { op, outcome: Some(Outcome::LoseAll), goes_on: true };
        let so_far = explorer.so_far.then(end);
        let disk = explorer.end(&after_op(&run.disk, op), end);
        let mut further = explorer.went_on(&so_far, &disk, run.acknowledged(op));
        let cut_everywhere = |run: &Run| {
            let explorer = Explorer { run, seen: &seen, so_far: so_far.clone() };
            catch_unwind(AssertUnwindSafe(|| explorer.cut_everywhere()))
        };
        further.acknowledge_early();
        let complaint = cut_everywhere(&further).expect_err("a loss is found");
        let complaint = complaint.downcast_ref::<String>().expect("words");
        assert!(complaint.contains("was acknowledged"), "{complaint}");
    }
}
