//! The simulated disk against the machine's: the same calls, side by side, get the same answers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::disk::RealDisk;

#[derive(Clone, Debug)]
enum Call {
    Open { name: usize, slot: usize, mode: OpenMode },
    Close { slot: usize },
    CreateDir { name: usize },
    List { name: usize },
    Rename { from: usize, to: usize },
    Remove { name: usize },
    SyncDir { name: usize },
    Exists { name: usize },
    Read { slot: usize, offset: u64, len: usize },
    Write { slot: usize, offset: u64, len: usize, byte: u8 },
    Sync { slot: usize },
    SetLen { slot: usize, len: u64 },
    Reserve { slot: usize, offset: u64, len: u64 },
    TryLock { slot: usize },
    Describe { slot: usize },
}

const NAMES: [&str; 6] = ["a", "b", "dir", "dir/a", "dir/b", "missing/a"];
const SLOTS: usize = 3;

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let name = 0..NAMES.len();
    let slot = 0..SLOTS;
    let offset = prop_oneof![5 => 0..10_000_u64, 1 => Just(u64::MAX - 5), 1 => Just(i64::MAX as u64 - 5)];
    let mode = prop_oneof![Just(OpenMode::Existing), Just(OpenMode::ReadOnly), Just(OpenMode::CreateNew)];
    let call = prop_oneof![
        6 => (name.clone(), slot.clone(), mode).prop_map(|(name, slot, mode)| Call::Open { name, slot, mode }),
        1 => slot.clone().prop_map(|slot| Call::Close { slot }),
        1 => name.clone().prop_map(|name| Call::CreateDir { name }),
        1 => name.clone().prop_map(|name| Call::List { name }),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Call::Rename { from, to }),
        2 => name.clone().prop_map(|name| Call::Remove { name }),
        1 => name.clone().prop_map(|name| Call::SyncDir { name }),
        1 => name.prop_map(|name| Call::Exists { name }),
        4 => (slot.clone(), offset.clone(), 0..9_000_usize)
            .prop_map(|(slot, offset, len)| Call::Read { slot, offset, len }),
        4 => (slot.clone(), offset, prop_oneof![1 => Just(0), 9 => 1..9_000_usize], 0..4_u8)
            .prop_map(|(slot, offset, len, byte)| Call::Write { slot, offset, len, byte }),
        1 => slot.clone().prop_map(|slot| Call::Sync { slot }),
        2 => (slot.clone(), 0..12_000_u64).prop_map(|(slot, len)| Call::SetLen { slot, len }),
        1 => (slot.clone(), 0..9_000_u64, prop_oneof![1 => Just(0), 9 => 1..9_000_u64])
            .prop_map(|(slot, offset, len)| Call::Reserve { slot, offset, len }),
        2 => slot.clone().prop_map(|slot| Call::TryLock { slot }),
        2 => slot.prop_map(|slot| Call::Describe { slot }),
    ];
    proptest::collection::vec(call, 1..60)
}

/// What a call gave, in a form that two disks can be compared by.
#[derive(Debug, PartialEq)]
enum Answer {
    Failed(ErrorKind),
    /// The kernel's error for a call on a file that is open only for reading has no kind of its own.
    Refused,
    Done,
    Is(bool),
    Bytes(Vec<u8>),
    Names(Vec<PathBuf>),
    Numbers(u64, u64),
    NotOpen,
}

struct Machine<'a> {
    disk: &'a dyn Disk,
    root: &'a Path,
    open: BTreeMap<usize, (OpenMode, Arc<dyn DiskFile>)>,
}

impl Machine<'_> {
    fn path(&self, name: usize) -> PathBuf {
        self.root.join(NAMES[name])
    }

    fn answer(&mut self, call: &Call) -> Answer {
        let slot = match *call {
            Call::Read { slot, .. } | Call::Write { slot, .. } | Call::Reserve { slot, .. } => slot,
            Call::Sync { slot } | Call::TryLock { slot } | Call::Describe { slot } => slot,
            Call::SetLen { slot, .. } => slot,
            _ => return self.of_disk(call).unwrap_or_else(|error| Answer::Failed(error.kind())),
        };
        let Some((mode, file)) = self.open.get(&slot) else {
            return Answer::NotOpen;
        };
        let changes = matches!(call, Call::Write { .. } | Call::SetLen { .. } | Call::Reserve { .. });
        match Self::of_file(&**file, call) {
            Err(_) if changes && *mode == OpenMode::ReadOnly => Answer::Refused,
            result => result.unwrap_or_else(|error| Answer::Failed(error.kind())),
        }
    }

    fn of_disk(&mut self, call: &Call) -> io::Result<Answer> {
        match *call {
            Call::Open { name, slot, mode } => {
                let file = self.disk.open(&self.path(name), mode)?;
                self.open.insert(slot, (mode, file));
            }
            Call::Close { slot } => drop(self.open.remove(&slot)),
            Call::CreateDir { name } => self.disk.create_dir(&self.path(name))?,
            Call::List { name } => return self.names(&self.path(name)),
            Call::Rename { from, to } => {
                // Only files are renamed through this door.
                if self.disk.list(&self.path(from)).is_err() {
                    self.disk.rename(&self.path(from), &self.path(to))?;
                }
            }
            Call::Remove { name } => self.disk.remove(&self.path(name))?,
            Call::SyncDir { name } => self.disk.sync_dir(&self.path(name))?,
            Call::Exists { name } => return Ok(Answer::Is(self.disk.exists(&self.path(name))?)),
            _ => unreachable!("the other calls are of a file"),
        }
        Ok(Answer::Done)
    }

    fn of_file(file: &dyn DiskFile, call: &Call) -> io::Result<Answer> {
        match *call {
            Call::Read { offset, len, .. } => {
                let mut bytes = vec![9; len];
                file.read_at(&mut bytes, offset)?;
                return Ok(Answer::Bytes(bytes));
            }
            Call::Write { offset, len, byte, .. } => {
                // Files of exabytes are refused by each file system at a border of its own.
                if offset < 10_000 || offset > i64::MAX as u64 {
                    file.write_at(&vec![byte; len], offset)?;
                }
            }
            Call::Sync { .. } => file.sync()?,
            Call::SetLen { len, .. } => file.set_len(len)?,
            Call::Reserve { offset, len, .. } => file.reserve(offset, len)?,
            Call::TryLock { .. } => return Ok(Answer::Is(file.try_lock()?)),
            Call::Describe { .. } => return Ok(Answer::Numbers(file.len()?, file.links()?)),
            _ => unreachable!("the other calls are of the disk"),
        }
        Ok(Answer::Done)
    }

    fn names(&self, dir: &Path) -> io::Result<Answer> {
        let files = self.disk.list(dir)?;
        let inside = |path: PathBuf| path.strip_prefix(self.root).unwrap().to_owned();
        Ok(Answer::Names(files.into_iter().map(inside).collect()))
    }

    /// All that is there: names, and bytes of each.
    fn everything(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        for dir in [self.root.to_owned(), self.root.join("dir")] {
            for path in self.disk.list(&dir).unwrap_or_default() {
                let file = self.disk.open(&path, OpenMode::ReadOnly).unwrap();
                let mut bytes = vec![0; file.len().unwrap() as usize];
                file.read_at(&mut bytes, 0).unwrap();
                all.insert(path.strip_prefix(self.root).unwrap().to_owned(), bytes);
            }
        }
        all
    }
}

proptest! {
    #[test]
    fn the_same_calls_get_the_same_answers(calls in calls()) {
        let folder = tempfile::tempdir().unwrap();
        let sim_disk = disk();
        let mut real = Machine { disk: &RealDisk, root: folder.path(), open: BTreeMap::new() };
        let mut sim = Machine { disk: &sim_disk, root: Path::new(DIR), open: BTreeMap::new() };
        for call in &calls {
            prop_assert_eq!(sim.answer(call), real.answer(call), "{:?}", call);
        }
        prop_assert!(sim.everything() == real.everything());
    }
}
