//! Crashes of small workloads at every operation of a simulated disk, and what must be true afterwards.
//!
//! A [`Workload`] is a script of commits. It is run once, while the disk keeps every state that it went through; from each
//! of them the power is cut in many ways, the database is opened, and again the power is cut in the midst of that. What is
//! found must be exactly what stood after one of the commits, none older than the last one that was acknowledged: so every
//! acknowledged commit is there, every other is there whole or not at all, in their order, and nothing else is. Then the
//! whole graph is checked, and each page must belong to somebody or be free.
//!
//! To bring in another workload, add it to [`workloads::all`]; the rest follows.

mod damage;
mod explore;
mod faults;
mod picture;
mod recorder;
mod trail;
pub mod workloads;

use std::path::Path;
use std::sync::Arc;

use graphite_graph::check::Problem;
use graphite_graph::{GraphDb, Result};
use graphite_store::StoreOptions;
use graphite_store::clock::SimClock;
use graphite_store::disk::SimDisk;

pub use damage::{Harm, Places, State, harm};
pub use explore::{Explored, explore, replay};
pub use faults::{Failures, fail_everywhere};
pub use picture::Picture;
pub use recorder::{Recorder, Run, record};
pub use trail::Trail;
pub(crate) use workloads::SOME_OF_ALL;

/// Where the database is on its disk.
pub(crate) const PATH: &str = "/graph";

/// A script of commits, and how much room it has.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// For people, and to replay it by.
    pub name: &'static str,
    /// Bytes of the page cache.
    pub cache_bytes: usize,
    /// Bytes of the log.
    pub wal_bytes: u64,
    /// The script. The same each time it is run.
    pub script: fn(&mut Recorder) -> Result<()>,
}

impl Workload {
    /// Opens the database of this workload, or makes it.
    ///
    /// # Errors
    /// Whatever the store says of a disk.
    pub fn open(&self, disk: &SimDisk) -> Result<GraphDb> {
        let options = StoreOptions {
            create: true,
            cache_bytes: self.cache_bytes,
            wal_bytes: self.wal_bytes,
            ..StoreOptions::default()
        };
        GraphDb::open(Arc::new(disk.clone()), Arc::new(SimClock::default()), Path::new(PATH), options)
    }
}

/// What a check found, in a line.
pub(crate) fn words(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}

/// Whether the disk has the database's file.
pub(crate) fn exists(disk: &SimDisk) -> bool {
    disk.files().iter().any(|path| path.as_os_str() == PATH)
}
