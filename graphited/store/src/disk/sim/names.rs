//! The names of a simulated disk: which are durable, which are not yet, and which are seen.
//!
//! Invariants:
//! 1. `seen` is `base` with all of `log` applied in order.
//! 2. Each change of the log is atomic: a rename has both its names changed, or none.
//! 3. A `Durable` entry stands in the log only behind one that is not: what is durable in front is in `base`.
//!
//! A name is durable only after its directory was synced, also a directory's own name in its parent. A rename
//! from one directory to another waits for both. Real file systems often do better (syncing a new file
//! brings its name along); the store must not count on that.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::outcome::{Chooser, Standing};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A file, by its inode number.
    File(u64),
    Directory,
}

type Map = BTreeMap<PathBuf, Node>;

/// All names of a disk.
#[derive(Clone)]
pub(super) struct Names {
    seen: Arc<Map>,
    base: Arc<Map>,
    log: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    sequence: u64,
    standing: Standing,
    /// Directories that have yet to be synced.
    awaits: Vec<PathBuf>,
    sets: Arc<[(PathBuf, Option<Node>)]>,
}

impl Default for Names {
    /// The two roots: of absolute and of relative paths.
    fn default() -> Self {
        let roots = [(PathBuf::from("/"), Node::Directory), (PathBuf::new(), Node::Directory)];
        let roots = Arc::new(Map::from(roots));
        Names { seen: Arc::clone(&roots), base: roots, log: Vec::new() }
    }
}

impl Names {
    /// What a path stands for.
    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        self.seen.get(path).copied()
    }

    /// Fails if a file of this path cannot be, for its directory is not there.
    pub(super) fn check_parent(&self, path: &Path) -> io::Result<()> {
        match path.ancestors().skip(1).find_map(|ancestor| Some((ancestor, self.get(ancestor)?))) {
            Some((_, Node::File(_))) => Err(io::ErrorKind::NotADirectory.into()),
            Some((nearest, Node::Directory)) if path.parent() == Some(nearest) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Fails if there is no such directory.
    pub(super) fn check_directory(&self, path: &Path) -> io::Result<()> {
        match self.get(path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(self.missing(path)),
        }
    }

    /// The inode of the file of this name.
    pub(super) fn file(&self, path: &Path) -> io::Result<u64> {
        match self.get(path) {
            Some(Node::File(inode)) => Ok(inode),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(self.missing(path)),
        }
    }

    /// The error for a path that stands for nothing.
    fn missing(&self, path: &Path) -> io::Error {
        self.check_parent(path).err().unwrap_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// All files, sorted by path.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.seen.iter().filter_map(|(path, node)| match node {
            Node::File(inode) => Some((path.as_path(), *inode)),
            Node::Directory => None,
        })
    }

    /// Makes or replaces a name.
    pub(super) fn link(&mut self, sequence: u64, path: &Path, node: Node) {
        self.enter(sequence, vec![(path.to_owned(), Some(node))]);
    }

    /// Removes a name.
    pub(super) fn unlink(&mut self, sequence: u64, path: &Path) {
        self.enter(sequence, vec![(path.to_owned(), None)]);
    }

    /// Moves a node to another name, atomically.
    pub(super) fn rename(&mut self, sequence: u64, from: &Path, to: &Path, node: Node) {
        self.enter(sequence, vec![(from.to_owned(), None), (to.to_owned(), Some(node))]);
    }

    /// Makes a name durable at once, and its directories.
    pub(super) fn plant(&mut self, sequence: u64, path: &Path, node: Node) {
        let missing = path.ancestors().skip(1).filter(|&ancestor| self.get(ancestor).is_none());
        let mut sets: Vec<_> = missing.map(|path| (path.to_owned(), Some(Node::Directory))).collect();
        sets.push((path.to_owned(), Some(node)));
        apply(Arc::make_mut(&mut self.seen), &sets);
        self.log.push(Entry { sequence, standing: Standing::Durable, awaits: Vec::new(), sets: sets.into() });
        self.fold();
    }

    /// Makes the names of a directory durable, unless they were dropped.
    pub(super) fn sync(&mut self, directory: &Path) {
        for entry in &mut self.log {
            entry.awaits.retain(|awaited| awaited != directory);
            if entry.standing == Standing::Dirty && entry.awaits.is_empty() {
                entry.standing = Standing::Durable;
            }
        }
        self.fold();
    }

    /// A sync that failed: no later one will make these names durable.
    pub(super) fn drop_dirty(&mut self, directory: &Path) {
        for entry in &mut self.log {
            if entry.standing == Standing::Dirty && entry.awaits.iter().any(|awaited| awaited == directory) {
                entry.standing = Standing::Dropped;
            }
        }
    }

    /// Sequence number of the newest change that a power cut may lose.
    pub(super) fn last_unsynced(&self) -> Option<u64> {
        self.log.iter().filter(|entry| entry.standing != Standing::Durable).map(|entry| entry.sequence).max()
    }

    /// What is left when the power is back. Whatever was in a directory that is lost is lost with it.
    pub(super) fn after_power_cut(&self, chooser: &mut Chooser) -> Names {
        let mut left = Map::clone(&self.base);
        for entry in &self.log {
            if chooser.keeps(entry.standing, entry.sequence) {
                apply(&mut left, &entry.sets);
            }
        }
        let orphans: Vec<PathBuf> = left
            .keys()
            .filter(|path| {
                path.ancestors().skip(1).any(|ancestor| left.get(ancestor) != Some(&Node::Directory))
            })
            .cloned()
            .collect();
        for orphan in orphans {
            left.remove(&orphan);
        }
        let left = Arc::new(left);
        Names { seen: Arc::clone(&left), base: left, log: Vec::new() }
    }

    /// The inodes that some name leads to, or led to and may again after a power cut.
    pub(super) fn reachable(&self) -> BTreeSet<u64> {
        let logged = self.log.iter().flat_map(|entry| entry.sets.iter()).filter_map(|(_, node)| *node);
        let nodes = self.seen.values().chain(self.base.values()).copied().chain(logged);
        nodes.filter_map(|node| if let Node::File(inode) = node { Some(inode) } else { None }).collect()
    }

    fn enter(&mut self, sequence: u64, sets: Vec<(PathBuf, Option<Node>)>) {
        apply(Arc::make_mut(&mut self.seen), &sets);
        let mut awaits: Vec<PathBuf> =
            sets.iter().filter_map(|(path, _)| path.parent().map(Path::to_owned)).collect();
        awaits.dedup();
        self.log.push(Entry { sequence, standing: Standing::Dirty, awaits, sets: sets.into() });
    }

    /// Moves what is durable at the front of the log into `base`.
    fn fold(&mut self) {
        let unsure = self.log.iter().position(|entry| entry.standing != Standing::Durable);
        match unsure {
            None => {
                self.base = Arc::clone(&self.seen);
                self.log.clear();
            }
            Some(0) => {}
            Some(unsure) => {
                let base = Arc::make_mut(&mut self.base);
                for entry in self.log.drain(..unsure) {
                    apply(base, &entry.sets);
                }
            }
        }
    }
}

fn apply(map: &mut Map, sets: &[(PathBuf, Option<Node>)]) {
    for (path, node) in sets {
        match node {
            Some(node) => map.insert(path.clone(), *node),
            None => map.remove(path),
        };
    }
}
