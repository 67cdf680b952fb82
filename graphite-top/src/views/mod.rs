//! The six views. Each says what its rows and columns are, and what there is to say of one row.

pub mod deadlocks;
pub mod locks;
pub mod sessions;
pub mod slow;
pub mod storage;
pub mod tree;

use crate::scene::Scene;
use crate::table::Column;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum View {
    /// Who is connected
    Sessions,
    /// Who holds and awaits what
    Locks,
    /// Who waits for whom
    Tree,
    /// The last deadlocks
    Deadlocks,
    /// File, log, cache, checkpoint, compaction
    Storage,
    /// Statements that took long
    Slow,
}

impl View {
    /// All, in the order of their keys.
    pub const ALL: [View; 6] =
        [View::Sessions, View::Locks, View::Tree, View::Deadlocks, View::Storage, View::Slow];

    /// Its name on the screen.
    pub fn title(self) -> &'static str {
        ["Sessions", "Locks", "Tree", "Deadlocks", "Storage", "Slow"][self.place()]
    }

    /// Its place among all.
    pub fn place(self) -> usize {
        View::ALL.iter().position(|view| *view == self).unwrap_or(0)
    }

    /// Its columns.
    pub fn columns(self) -> &'static [Column] {
        match self {
            View::Sessions | View::Tree => sessions::COLUMNS,
            View::Locks => locks::COLUMNS,
            View::Deadlocks => deadlocks::COLUMNS,
            View::Storage => storage::COLUMNS,
            View::Slow => slow::COLUMNS,
        }
    }

    /// Its rows before a filter.
    pub fn count(self, scene: &Scene) -> usize {
        match self {
            View::Sessions | View::Tree => scene.picture.sessions.len(),
            View::Locks => scene.picture.locks.len(),
            View::Deadlocks => scene.picture.deadlocks.len(),
            View::Storage => storage::COUNT,
            View::Slow => scene.picture.slow_statements.len(),
        }
    }

    /// What makes a row the same in the next picture.
    pub fn key(self, scene: &Scene, row: u32) -> u64 {
        let at = row as usize;
        match self {
            View::Sessions | View::Tree => scene.picture.sessions[at].session,
            View::Locks => locks::key(&scene.picture.locks[at]),
            View::Deadlocks => scene.picture.deadlocks[at].at_ms,
            View::Storage => u64::from(row),
            View::Slow => {
                let slow = &scene.picture.slow_statements[at];
                slow.at_ms.rotate_left(20) ^ slow.session
            }
        }
    }

    /// The session that a row is about.
    pub fn session(self, scene: &Scene, row: u32) -> Option<u64> {
        let at = row as usize;
        match self {
            View::Sessions | View::Tree => scene.picture.sessions.get(at).map(|row| row.session),
            View::Locks => scene.picture.locks.get(at).map(|lock| lock.session),
            View::Deadlocks | View::Storage | View::Slow => None,
        }
    }

    /// Title and lines of what there is to say of a row.
    pub fn detail(self, scene: &Scene, row: u32) -> (String, Vec<String>) {
        match self {
            View::Sessions | View::Tree => sessions::detail(scene, row),
            View::Locks => locks::detail(scene, row),
            View::Deadlocks => deadlocks::detail(scene, row),
            View::Storage => storage::detail(scene, row),
            View::Slow => slow::detail(scene, row),
        }
    }
}
