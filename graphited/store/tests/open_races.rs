//! Two processes that open or make one database at the same instant. A disk stands between the store and the real one,
//! and lets the other process do its work just before or after a chosen file is opened.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use graphite_store::clock::RealClock;
use graphite_store::disk::{Disk, DiskFile, OpenMode, RealDisk};
use graphite_store::{Error, Store, StoreOptions};

/// When the other process is at work: before or after this file is opened in this mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before(OpenMode),
    After(OpenMode),
}

type Work = Box<dyn FnOnce() + Send>;

struct Crowded {
    at: (When, PathBuf),
    work: Mutex<Option<Work>>,
}

impl std::fmt::Debug for Crowded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Crowded").field(&self.at).finish()
    }
}

impl Crowded {
    fn at(&self, when: When, path: &Path) {
        if self.at.0 == when && self.at.1 == path {
            let work = self.work.lock().unwrap().take();
            work.into_iter().for_each(|work| work());
        }
    }
}

impl Disk for Crowded {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.at(When::Before(mode), path);
        let file = RealDisk.open(path, mode)?;
        self.at(When::After(mode), path);
        Ok(file)
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

fn open_on(disk: Arc<dyn Disk>, path: &Path) -> Result<Store, Error> {
    let options = StoreOptions { create: true, ..StoreOptions::default() };
    Store::open(disk, Arc::new(RealClock::default()), path, options)
}

/// The other process makes the database and is gone.
fn make(path: &Path) {
    open_on(Arc::new(RealDisk), path).unwrap().close().unwrap();
}

fn open_crowded(
    path: &Path,
    at: (When, PathBuf),
    work: impl FnOnce() + Send + 'static,
) -> Result<Store, Error> {
    let disk = Arc::new(Crowded { at, work: Mutex::new(Some(Box::new(work))) });
    let opened = open_on(disk.clone(), path);
    assert!(disk.work.lock().unwrap().is_none(), "the other process was at work");
    opened
}

#[test]
fn a_database_that_another_process_finishes_meanwhile_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (path, unfinished) = (dir.path().join("db"), dir.path().join("db.new"));
    std::fs::write(&unfinished, "").unwrap();
    let work = {
        let (path, unfinished) = (path.clone(), unfinished.clone());
        move || {
            std::fs::remove_file(unfinished).unwrap();
            make(&path);
        }
    };
    open_crowded(&path, (When::Before(OpenMode::Existing), unfinished), work).unwrap().close().unwrap();
}

#[test]
fn whoever_comes_second_leaves_no_unfinished_database_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (path, unfinished) = (dir.path().join("db"), dir.path().join("db.new"));
    let work = {
        let path = path.clone();
        move || make(&path)
    };
    let at = (When::Before(OpenMode::CreateNew), unfinished.clone());
    open_crowded(&path, at, work).unwrap().close().unwrap();
    assert!(!unfinished.exists());
}

#[test]
fn a_lock_on_a_file_that_was_replaced_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    make(&path);
    let owner = Arc::new(Mutex::new(None));
    let work = {
        let (path, owner) = (path.clone(), owner.clone());
        move || {
            let copy = path.with_extension("copy");
            std::fs::copy(&path, &copy).unwrap();
            std::fs::rename(copy, &path).unwrap();
            *owner.lock().unwrap() = Some(open_on(Arc::new(RealDisk), &path).unwrap());
        }
    };
    let opened = open_crowded(&path, (When::After(OpenMode::Existing), path.clone()), work);
    assert!(matches!(opened, Err(Error::InUse { .. })), "two would own one log");
    owner.lock().unwrap().take().unwrap().close().unwrap();
}

#[test]
fn a_database_that_is_removed_meanwhile_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    make(&path);
    let work = {
        let path = path.clone();
        move || {
            std::fs::remove_file(&path).unwrap();
            std::fs::remove_dir_all(graphite_store::wal_dir(&path)).unwrap();
        }
    };
    let at = (When::After(OpenMode::Existing), path.clone());
    open_crowded(&path, at, work).unwrap().close().unwrap();
    assert!(path.exists());
}
