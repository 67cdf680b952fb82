//! The daemon as a library, over the real disk with a door in front of it at which a test holds a sync, lets it fail,
//! or says that the disk is full: so it is known who waits for what.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use graphite_store::disk::{Disk, DiskFile, OpenMode, RealDisk};
use graphited::config::Config;
use graphited::daemon::{self, Failure};
use graphited::ready::Ready;

use super::{Client, Daemon, socket_of, until};

/// What the door does.
#[derive(Debug, Default)]
pub struct Orders {
    /// Syncs of the log wait until this is over.
    pub hold_log_syncs: bool,
    /// Syncs that wait.
    pub held: usize,
    /// Operations that fail.
    pub failing: Option<Failing>,
    /// Whether the owner's note was there when the database was closed.
    pub noted_at_close: Option<bool>,
    /// Nothing may grow.
    pub is_full: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    LogWrite,
    LogSync,
    FileWrite,
    FileSync,
}

/// The real disk, and a door in front of it.
#[derive(Clone, Debug, Default)]
pub struct Door {
    orders: Arc<(Mutex<Orders>, Condvar)>,
}

impl Door {
    pub fn order<T>(&self, change: impl FnOnce(&mut Orders) -> T) -> T {
        let result = change(&mut self.orders.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.orders.1.notify_all();
        result
    }

    fn pass(&self, failing: Failing) -> io::Result<()> {
        let mut orders = self.orders.0.lock().unwrap_or_else(PoisonError::into_inner);
        orders.held += 1;
        while failing == Failing::LogSync && orders.hold_log_syncs {
            orders = self.orders.1.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
        orders.held -= 1;
        if orders.failing == Some(failing) { Err(io::Error::other("the door is shut")) } else { Ok(()) }
    }

    fn grow(&self) -> io::Result<()> {
        if self.order(|orders| orders.is_full) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for Door {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode == OpenMode::CreateNew {
            self.grow()?;
        }
        let is_log = path.extension().is_some_and(|extension| extension == "wal");
        Ok(Arc::new(DoorFile {
            door: self.clone(),
            path: path.into(),
            file: RealDisk.open(path, mode)?,
            is_log,
        }))
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }
}

#[derive(Debug)]
struct DoorFile {
    door: Door,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    is_log: bool,
}

impl Drop for DoorFile {
    fn drop(&mut self) {
        // A new database has this name until it is whole.
        if self.path.extension().is_some_and(|extension| extension == "new") {
            let note = self.path.with_extension("wal").join("owner.pid");
            self.door.order(|orders| orders.noted_at_close = Some(note.exists()));
        }
    }
}

impl DiskFile for DoorFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.door.pass(if self.is_log { Failing::LogWrite } else { Failing::FileWrite })?;
        self.file.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.door.pass(if self.is_log { Failing::LogSync } else { Failing::FileSync })?;
        self.file.sync()
    }
    fn write_synced(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let [write, sync] = if self.is_log {
            [Failing::LogWrite, Failing::LogSync]
        } else {
            [Failing::FileWrite, Failing::FileSync]
        };
        self.door.pass(write)?;
        self.door.pass(sync)?;
        self.file.write_synced(bytes, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.door.grow()?;
        self.file.reserve(offset, len)
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
    fn links(&self) -> io::Result<u64> {
        self.file.links()
    }
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.file.is_at(path)
    }
}

/// A daemon in this process, behind a door.
pub struct Behind {
    pub door: Door,
    pub dir: tempfile::TempDir,
    pub db: PathBuf,
    served: JoinHandle<Result<(), Failure>>,
}

impl Behind {
    pub fn start() -> Behind {
        Behind::start_with(|_| {})
    }

    pub fn start_with(set: impl FnOnce(&mut Config)) -> Behind {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        let mut config = Config::default();
        config.db = Some(db.clone());
        config.cache_bytes = 4 << 20;
        config.wal_bytes = 4 << 20;
        config.idle_exit = 1;
        set(&mut config);
        let door = Door::default();
        let disk = Arc::new(door.clone());
        let served = std::thread::spawn(move || daemon::run_on(disk, config, &mut Ready::default()));
        until(|| Client::connect_or_none(&socket_of(&db)).is_some());
        Behind { door, dir, db, served }
    }

    pub fn client(&self) -> Client {
        let mut client = Client::connect(&socket_of(&self.db));
        client.hello();
        client
    }

    /// Waits until it has left, for want of clients.
    pub fn wait(self) -> Door {
        self.served.join().unwrap().unwrap();
        self.door
    }

    /// Waits until it has left, for want of clients, and starts the program on its database.
    pub fn restart(self) -> (Result<(), Failure>, Daemon) {
        let left = self.served.join().unwrap();
        (left, Daemon::start_at(self.dir, self.db, &[]))
    }
}
