//! Imports through the facade: locks the database, leases the slots of a batch, runs it in a bulk turn, and knows what
//! arrived before.
//!
//! A batch changes more than could be locked one by one, and is done at once: so it locks the whole database, for as long
//! as it takes and no longer. It waits for the transactions that are open, and those that come meanwhile wait for it.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use graphite_store::Lsn;
use graphite_store::locks::{LockCanceller, LockMode, LockName, LockOwner};

use crate::db::GraphDb;
use crate::import::{self, ChangesMax, EdgeBatch, Imported, NodeBatch};
use crate::ledger::{self, Ended};
use crate::{Error, Result};

/// Imports batches, each under a lock on the whole database.
pub struct Importer {
    db: GraphDb,
    owner: RefCell<LockOwner>,
}

impl fmt::Debug for Importer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Importer").field("db", &self.db).finish_non_exhaustive()
    }
}

impl Importer {
    pub(crate) fn new(db: GraphDb, owner: LockOwner) -> Importer {
        Importer { db, owner: RefCell::new(owner) }
    }

    /// The longest that a batch waits for open transactions; `None`: for ever.
    pub fn set_lock_timeout(&mut self, timeout: Option<Duration>) {
        self.owner.get_mut().set_timeout(timeout);
    }

    /// What reports of deadlocks and monitors call it.
    pub fn set_statement(&mut self, statement: Arc<str>) {
        self.owner.get_mut().set_statement(statement);
    }

    /// Ends a wait for open transactions, from any thread.
    pub fn canceller(&self) -> LockCanceller {
        self.owner.borrow().canceller()
    }

    /// Does something while nobody else has a transaction.
    fn alone<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut owner = self.owner.borrow_mut();
        let done = owner.lock(LockName::Database, LockMode::Exclusive).map_err(Error::from);
        let done = done.and_then(|_| work());
        owner.release_all();
        done
    }

    /// Imports a batch of nodes under the name of the import and the batch's number, unless that batch has arrived
    /// before. Returns what it was given, and the LSN to wait for.
    ///
    /// # Errors
    /// Of the store, and the limits of values and names, and [`Error::Lock`]; nothing of the batch is kept then.
    pub fn nodes(&self, import: &[u8], batch: u64, rows: NodeBatch) -> Result<(Imported, Lsn)> {
        self.alone(|| self.add_nodes(import, batch, rows))
    }

    fn add_nodes(&self, import: &[u8], batch: u64, rows: NodeBatch) -> Result<(Imported, Lsn)> {
        let alike =
            |before| matches!(before, Imported::Nodes { count, .. } if count == rows.label_sets.len() as u64);
        if let Some(before) = self.arrived(import, batch, alike)? {
            return Ok(before);
        }
        let catalog = self.db.catalog();
        if rows.label_sets.iter().any(|&set| catalog.labels_of(set).is_none()) {
            return Err(Error::UnevenBatch("a set of labels is not in the catalog"));
        }
        let count = rows.label_sets.len() as u64;
        let first = self.db.pools().node_range(self.db.store(), count)?;
        let imported = Imported::Nodes { first, count };
        let done = self.db.bulk(|turn, spaces| {
            import::add_nodes(turn, spaces, first, rows)?;
            ledger::record(turn, import, batch, imported)
        });
        self.db.pools().end_node_range(first);
        Ok((imported, done?))
    }

    /// Imports a batch of edges, as [`Importer::nodes`] does nodes.
    ///
    /// # Errors
    /// As [`Importer::nodes`], and `NodeNotFound` for an end that does not exist.
    pub fn edges(&self, import: &[u8], batch: u64, rows: EdgeBatch) -> Result<(Imported, Lsn)> {
        self.alone(|| self.add_edges(import, batch, rows))
    }

    fn add_edges(&self, import: &[u8], batch: u64, rows: EdgeBatch) -> Result<(Imported, Lsn)> {
        let alike =
            |before| matches!(before, Imported::Edges { count, .. } if count == rows.starts.len() as u64);
        if let Some(before) = self.arrived(import, batch, alike)? {
            return Ok(before);
        }
        let catalog = self.db.catalog();
        if rows.types.iter().any(|&type_| catalog.type_name(type_).is_none()) {
            return Err(Error::UnevenBatch("an edge type is not in the catalog"));
        }
        let count = rows.starts.len() as u64;
        let first = self.db.pools().edge_range(self.db.store(), count)?;
        let imported = Imported::Edges { first, count };
        let done = self.db.bulk(|turn, spaces| {
            let changes_max = ChangesMax { pages: turn.bulk_changes_max(), bytes: turn.bytes_max() };
            import::add_edges(turn, spaces, first, rows, changes_max)?;
            ledger::record(turn, import, batch, imported)
        });
        self.db.pools().end_edge_range(first);
        Ok((imported, done?))
    }

    /// What the batch was given before. A batch of that number with other rows comes from somebody who loads something
    /// else under the same name, and must not be taken for the one that is there.
    fn arrived(
        &self,
        import: &[u8],
        batch: u64,
        is_alike: impl FnOnce(Imported) -> bool,
    ) -> Result<Option<(Imported, Lsn)>> {
        let pin = self.db.store().pin();
        match ledger::status(&pin, import, batch)? {
            Some(before) if is_alike(before) => Ok(Some((before, pin.lsn()))),
            Some(_) => Err(Error::UnevenBatch(
                "one of the same number arrived before with other rows; somebody else loads under the same name",
            )),
            None if ledger::ended(&pin, import)?.is_some() => {
                Err(Error::UnevenBatch("the import has ended; begin it anew, or pick another name"))
            }
            None => Ok(None),
        }
    }

    /// What a batch was given, if it has arrived.
    ///
    /// # Errors
    /// Of the store.
    pub fn status(&self, import: &[u8], batch: u64) -> Result<Option<Imported>> {
        ledger::status(&self.db.store().pin(), import, batch)
    }

    /// Ends an import: what it made takes the place of its ledger, all in one turn. Of an import that is half forgotten
    /// nobody could tell that it was over, and to go on with it would load everything again. Pages that become empty
    /// take no room in the turn. An import that has ended before gets the same answer again; `None` if there is none of
    /// this name.
    ///
    /// # Errors
    /// Of the store, and [`Error::Lock`].
    pub fn end(&self, import: &[u8]) -> Result<Option<(Ended, Lsn)>> {
        self.alone(|| self.end_alone(import))
    }

    fn end_alone(&self, import: &[u8]) -> Result<Option<(Ended, Lsn)>> {
        let pin = self.db.store().pin();
        if let Some(ended) = ledger::ended(&pin, import)? {
            return Ok(Some((ended, pin.lsn())));
        }
        drop(pin);
        let mut turn = self.db.store().turn()?;
        let Some(ended) = ledger::end(&mut turn, import)? else { return Ok(None) };
        Ok(Some((ended, turn.commit()?)))
    }
}

impl GraphDb {
    /// Forgets that an import has ended, so that another of its name can begin: by a small commit of its own, beside
    /// any transaction. Returns the LSN to wait for.
    ///
    /// # Errors
    /// Of the store.
    pub fn forget_ended_import(&self, import: &[u8]) -> Result<Lsn> {
        let mut turn = self.store().turn()?;
        ledger::forget_end(&mut turn, import)?;
        Ok(turn.commit()?)
    }
}
