//! Bytes that change by themselves, and files that end too early.
//!
//! A small database is harmed in one place at a time, opened, read and checked. A change must be found and named, or it must
//! have hit what belongs to nobody; what is read is then the whole truth. Only one thing cannot be told from a write that was
//! torn, and is allowed: that the last group of the log is gone.

use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use graphite_graph::{Error, Result};
use graphite_store::PAGE_BYTES;
use graphite_store::disk::SimDisk;

use super::explore::FIXED_PAGES;
use super::picture::Picture;
use super::recorder::{Recorder, Run, new_disk};
use super::{PATH, Workload, words, workloads};

/// Before the log in a segment's file.
const SEGMENT_HEADER_BYTES: u64 = 4096;

/// What harm was done, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Harm {
    /// Places that were harmed, one at a time.
    pub places: u64,
    /// The database was not opened, and it was said why.
    pub refused: u64,
    /// It was opened, and reading or checking it named the damage.
    pub found: u64,
    /// Nothing of the graph was touched.
    pub harmless: u64,
    /// The last group of the log was taken for one that was never written whole.
    pub shortened: u64,
}

/// Where a database has its content when it is harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In its pages: it was closed.
    Closed,
    /// In its log: the process ended.
    Killed,
}

/// Which places are harmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// Every byte, and every length.
    All,
    /// The headers of pages and groups, and some of the rest.
    Some,
    /// The one that a failure named.
    One(String),
}

/// A database that waits to be harmed.
struct Victim {
    run: Run,
    state: State,
    /// Pages of the file that say something about the graph.
    owned: Vec<u32>,
}

impl Victim {
    fn new(state: State) -> Result<Victim> {
        let (workload, disk) = (workloads::SOME_OF_ALL, new_disk());
        let mut recorder = Recorder::open(&workload, 0, &disk)?;
        (workload.script)(&mut recorder)?;
        let mut owned: Vec<u32> = recorder.db().check()?.pages.iter().map(|page| page.0).collect();
        owned.extend(2..FIXED_PAGES as u32);
        if state == State::Closed {
            recorder.db().store().close()?;
        }
        let mut run = recorder.into_run(workload, 0);
        run.disk = disk.process_crash();
        Ok(Victim { run, state, owned })
    }

    /// Harms a copy: `len` bytes of `path`, or all that follows `at` is cut off.
    fn harm(&self, path: &Path, at: u64, is_cut: bool) -> SimDisk {
        let disk = self.run.disk.fork();
        if is_cut {
            let mut bytes = disk.read_file(path).expect("it is there");
            bytes.truncate(usize::try_from(at).expect("files are small"));
            disk.write_file(path, &bytes).expect("the name is a file's");
        } else {
            let mask = [0x01, 0x80, 0xff, 0x10][(at % 4) as usize];
            disk.corrupt(path, at, 1, |byte| byte[0] ^= mask).expect("the file is as long");
        }
        disk
    }

    /// Whether a byte of the database file belongs to somebody.
    fn is_owned(&self, at: u64) -> bool {
        self.state == State::Closed
            && self.owned.contains(&u32::try_from(at / PAGE_BYTES as u64).unwrap_or(0))
    }
}

/// What a harmed database says.
enum Said {
    Refused(Error),
    Found(String),
    Shows(usize),
    WrongAnswer,
}

fn ask(workload: &Workload, run: &Run, disk: &SimDisk) -> Said {
    let db = match workload.open(disk) {
        Ok(db) => db,
        Err(error) => return Said::Refused(error),
    };
    let picture = match db.snapshot().and_then(|snapshot| Picture::of(&db, &snapshot)) {
        Ok(picture) => picture,
        Err(error) => return Said::Found(error.to_string()),
    };
    match db.check() {
        Ok(report) if report.is_sound() => {}
        Ok(report) => return Said::Found(words(&report.problems)),
        Err(error) => return Said::Found(error.to_string()),
    }
    run.pictures.iter().rposition(|one| *one == picture).map_or(Said::WrongAnswer, Said::Shows)
}

fn is_damage(error: &Error) -> bool {
    use graphite_store::Error::{CorruptLog, CorruptSuperblock, FormatVersion, NotADatabase};
    let Error::Store(
        CorruptLog { .. } | CorruptSuperblock { .. } | FormatVersion { .. } | NotADatabase { .. },
    ) = error
    else {
        return error.is_damage();
    };
    true
}

/// Harms a database in one place after another.
///
/// # Panics
/// If a change was not found, or was taken for the truth, or something panicked.
pub fn harm(state: State, places: Places) -> Harm {
    let victim = Victim::new(state).unwrap_or_else(|error| panic!("{error}"));
    let mut all = all_places(&victim, &places);
    if let Places::One(only) = &places {
        all.retain(|(path, at, is_cut)| name(&victim, path, *at, *is_cut) == *only);
    }
    let harm = Mutex::new(Harm::default());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((path, at, is_cut)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let one = harm_one(&victim, path, *at, *is_cut);
            let mut sum = harm.lock().unwrap_or_else(PoisonError::into_inner);
            sum.places += 1;
            sum.refused += one.refused;
            sum.found += one.found;
            sum.harmless += one.harmless;
            sum.shortened += one.shortened;
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    harm.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the words name this page, and not only one whose number begins with the same digits.
fn names_page(words: &str, number: u64) -> bool {
    let page = format!("page {number}");
    words.split(&page).skip(1).any(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

/// Up to which LSN a segment may be harmed: one that was cut is not believed in any of its bytes.
fn harmed_up_to(victim: &Victim, path: &Path, at: u64, is_cut: bool) -> u64 {
    let len = victim.run.disk.read_file(path).expect("it is there").len() as u64;
    let (payload, at) = (len - SEGMENT_HEADER_BYTES, if is_cut { len } else { at });
    let number = path.file_stem().and_then(OsStr::to_str).and_then(|number| number.parse::<u64>().ok());
    number.expect("a segment's name is its number") * payload + at.saturating_sub(SEGMENT_HEADER_BYTES)
}

/// Whether the words name the segment, or where what is damaged begins in the log: not behind `lsn`.
fn names_log(words: &str, path: &Path, lsn: u64) -> bool {
    let segment = path.file_name().and_then(OsStr::to_str).expect("a segment has a name");
    let named = words.split("damaged at LSN ").nth(1).and_then(|rest| rest.split(':').next());
    words.contains(segment)
        || named.and_then(|named| named.parse().ok()).is_some_and(|named: u64| named <= lsn)
}

/// What a place is called, to harm it again.
fn name(victim: &Victim, path: &Path, at: u64, is_cut: bool) -> String {
    format!("{:?}:{}:{at}{}", victim.state, path.display(), if is_cut { ":end" } else { "" })
}

fn harm_one(victim: &Victim, path: &Path, at: u64, is_cut: bool) -> Harm {
    let doing = if is_cut { "ends at" } else { "has another byte at" };
    let again = format!(
        "GRAPHITE_DAMAGE='{}' cargo test -p graphite-tests --test damage",
        name(victim, path, at, is_cut)
    );
    let what = format!("{:?}: {} {doing} {at} (again: {again})", victim.state, path.display());
    let disk = victim.harm(path, at, is_cut);
    let said = catch_unwind(AssertUnwindSafe(|| ask(&victim.run.workload, &victim.run, &disk)));
    let newest = victim.run.pictures.len() - 1;
    let mut harm = Harm::default();
    let names = |words: &str| match path == Path::new(PATH) {
        true if is_cut => words.contains("page ") || words.contains(&format!("{PATH} ")),
        true => names_page(words, at / PAGE_BYTES as u64),
        false => names_log(words, path, harmed_up_to(victim, path, at, is_cut)),
    };
    match said {
        Err(_) => panic!("{what}: the code panicked, as said above"),
        Ok(Said::WrongAnswer) => panic!("{what}: what is there was never there"),
        Ok(Said::Refused(error)) => {
            assert!(is_damage(&error), "{what}: it is refused for another reason: {error}");
            assert!(names(&error.to_string()), "{what}: it is refused, and the place is not named: {error}");
            harm.refused = 1;
        }
        Ok(Said::Found(words)) => {
            assert!(names(&words), "{what}: it is found, and the place is not named: {words}");
            harm.found = 1;
        }
        Ok(Said::Shows(found)) if found == newest => {
            let is_missed = path == Path::new(PATH) && !is_cut && victim.is_owned(at);
            assert!(!is_missed, "{what}: nobody found it");
            harm.harmless = 1;
        }
        Ok(Said::Shows(found)) => {
            assert!(victim.state == State::Killed, "{what}: commits were lost");
            assert!(found + 1 >= newest, "{what}: commit {found} is what is left of {newest}");
            harm.shortened = 1;
        }
    }
    harm
}

fn all_places(victim: &Victim, places: &Places) -> Vec<(PathBuf, u64, bool)> {
    let mut all = Vec::new();
    for path in victim.run.disk.files() {
        let len = victim.run.disk.read_file(&path).expect("it is there").len() as u64;
        let is_file = path == Path::new(PATH);
        // What was never written is zeros to the end.
        let used = victim.run.disk.read_file(&path).expect("it is there");
        let used = used.iter().rposition(|&byte| byte != 0).map_or(0, |at| at as u64 + 1);
        let page = |at: u64| at % PAGE_BYTES as u64;
        let is_tried = |at: &u64| match places {
            Places::All | Places::One(_) => true,
            Places::Some if is_file => {
                page(*at) < 24 || (page(*at) + at / PAGE_BYTES as u64).is_multiple_of(41)
            }
            Places::Some => at.is_multiple_of(5),
        };
        let bytes = (0..used).filter(is_tried).map(|at| (path.clone(), at, false));
        all.extend(
            bytes.filter(|(_, at, _)| !is_file || at / (PAGE_BYTES as u64) < 2 || victim.is_owned(*at)),
        );
        let step = match places {
            Places::All | Places::One(_) => 1,
            Places::Some => 509,
        };
        let ends = (0..len).step_by(step).chain((0..len).step_by(PAGE_BYTES));
        all.extend(ends.map(|at| (path.clone(), at, true)));
    }
    all
}
