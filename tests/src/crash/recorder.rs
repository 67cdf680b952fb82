//! Running a script, and writing down what stood after each of its commits.

use graphite_graph::{GraphDb, Importer, Result, Transaction};
use graphite_store::disk::SimDisk;

use super::Workload;
use super::picture::Picture;
use crate::Random;

/// What a script works with. Every method is one commit at most, or none.
#[derive(Debug)]
pub struct Recorder {
    db: GraphDb,
    disk: SimDisk,
    pictures: Vec<Picture>,
    acknowledged_at: Vec<Option<u64>>,
    /// For choices of the script.
    pub random: Random,
}

impl Recorder {
    /// Opens the database of a workload, or makes it; what is there then is acknowledged.
    ///
    /// # Errors
    /// Whatever the store says of a disk.
    pub fn open(workload: &Workload, round: u64, disk: &SimDisk) -> Result<Recorder> {
        let db = workload.open(disk)?;
        let first = Picture::of(&db, &db.snapshot()?)?;
        let random = Random::new(round);
        let at = vec![Some(disk.ops())];
        Ok(Recorder { db, disk: disk.clone(), pictures: vec![first], acknowledged_at: at, random })
    }

    /// The database.
    pub fn db(&self) -> &GraphDb {
        &self.db
    }

    /// Each picture is another one: what stands at an older commit is not to be taken for a newer one.
    fn note(&mut self, picture: Picture) {
        assert!(
            !self.pictures.contains(&picture),
            "a commit that leaves what was there before shows nothing"
        );
        self.pictures.push(picture);
        self.acknowledged_at.push(None);
    }

    fn newest(&self) -> Result<Picture> {
        Picture::of(&self.db, &self.db.begin()?)
    }

    /// One transaction. If it leaves the graph as it was once before, its commit is known by a token.
    ///
    /// # Errors
    /// Of the store.
    pub fn commit<T>(&mut self, change: impl FnOnce(&mut Transaction) -> Result<T>) -> Result<T> {
        let mut transaction = self.db.begin()?;
        let made = change(&mut transaction)?;
        let after = Picture::of(&self.db, &transaction)?;
        if self.pictures.contains(&after) {
            transaction.commit_with_token(after.next_repeat().expect("few commits change nothing"))?;
        } else {
            transaction.commit()?;
        }
        self.note(self.newest()?);
        Ok(made)
    }

    /// One transaction, whose commit is known by a token.
    ///
    /// # Errors
    /// Of the store.
    pub fn commit_with_token(
        &mut self,
        token: &[u8],
        change: impl FnOnce(&mut Transaction) -> Result<()>,
    ) -> Result<()> {
        let mut transaction = self.db.begin()?;
        change(&mut transaction)?;
        transaction.commit_with_token(token)?;
        self.note(self.newest()?);
        Ok(())
    }

    /// One change of the catalog, or one batch of an import. What it leaves is no commit of its own if nothing of it is
    /// to be seen.
    ///
    /// # Errors
    /// Of the store.
    pub fn change<T>(&mut self, change: impl FnOnce(&GraphDb) -> Result<T>) -> Result<T> {
        let made = change(&self.db)?;
        let picture = self.newest()?;
        if self.pictures.last() != Some(&picture) {
            self.note(picture);
        }
        Ok(made)
    }

    /// One step of an import.
    ///
    /// # Errors
    /// Of the store.
    pub fn import<T>(&mut self, step: impl FnOnce(&Importer) -> Result<T>) -> Result<T> {
        self.change(|db| step(&db.import()))
    }

    /// Waits until everything so far is durable: from here on it is acknowledged.
    ///
    /// # Errors
    /// Of the store.
    pub fn sync(&mut self) -> Result<()> {
        self.db.store().wait_visible(self.db.store().applied_lsn())?;
        let now = self.disk.ops();
        self.acknowledged_at.iter_mut().for_each(|at| *at = at.or(Some(now)));
        Ok(())
    }

    /// As [`Recorder::sync`], now and then: so that groups of several lengths are at stake.
    ///
    /// # Errors
    /// Of the store.
    pub fn sync_sometimes(&mut self) -> Result<()> {
        if self.random.percent(60) { self.sync() } else { Ok(()) }
    }

    /// The newest commit that was acknowledged.
    pub(crate) fn acknowledged(&self) -> Option<usize> {
        self.acknowledged_at.iter().rposition(Option::is_some)
    }

    /// What came of it.
    pub(super) fn into_run(self, workload: Workload, round: u64) -> Run {
        let Recorder { disk, pictures, acknowledged_at, .. } = self;
        Run { workload, round, disk, pictures, acknowledged_at }
    }

    /// A checkpoint.
    ///
    /// # Errors
    /// Of the store.
    pub fn checkpoint(&mut self) -> Result<()> {
        Ok(self.db.store().checkpoint()?)
    }
}

/// A script that was run.
#[derive(Debug)]
pub struct Run {
    /// Which one.
    pub workload: Workload,
    /// What its choices began at.
    pub round: u64,
    /// With every state that it went through.
    pub disk: SimDisk,
    /// What stood after each commit, each another one; first what was there when it began.
    pub pictures: Vec<Picture>,
    /// After how many operations of the disk each was acknowledged, if it was.
    acknowledged_at: Vec<Option<u64>>,
}

impl Run {
    /// The newest commit that was acknowledged when operation `op` was over, if the database itself was.
    pub fn acknowledged(&self, op: u64) -> Option<usize> {
        self.acknowledged_at.iter().rposition(|at| at.is_some_and(|at| at <= op + 1))
    }

    /// Claims that each commit was acknowledged before the last operation that its acknowledgement waited for.
    #[cfg(test)]
    pub(super) fn acknowledge_early(&mut self) {
        self.acknowledged_at.iter_mut().flatten().for_each(|at| *at -= 1);
    }
}

/// Runs a script to its end on a disk that keeps its history.
///
/// # Errors
/// Of the store: the disk does what it is told, so there are none.
pub fn record(workload: Workload, round: u64) -> Result<Run> {
    record_on(new_disk(), workload, round)
}

/// A disk on which a script writes the same bytes each time.
pub(super) fn new_disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.draw_from(1);
    disk
}

/// As [`record`], on a disk that has the database already.
///
/// # Errors
/// Of the store.
pub(super) fn record_on(disk: SimDisk, workload: Workload, round: u64) -> Result<Run> {
    disk.keep_history();
    let mut recorder = Recorder::open(&workload, round, &disk)?;
    (workload.script)(&mut recorder)?;
    Ok(recorder.into_run(workload, round))
}
