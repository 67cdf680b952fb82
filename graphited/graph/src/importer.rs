//! Imports through the facade: leases the slots of a batch, runs it in a bulk turn, and knows what arrived before.

use std::fmt;

use graphite_store::Lsn;

use crate::db::GraphDb;
use crate::import::{self, ChangesMax, EdgeBatch, Imported, NodeBatch};
use crate::ledger::{self, Ended};
use crate::writer::WriterTurn;
use crate::{Error, Result};

/// Imports batches, in the writer's turn.
pub struct Importer {
    db: GraphDb,
    _turn: WriterTurn,
}

impl fmt::Debug for Importer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Importer").field("db", &self.db).finish_non_exhaustive()
    }
}

impl Importer {
    pub(crate) fn new(db: GraphDb, turn: WriterTurn) -> Importer {
        Importer { db, _turn: turn }
    }

    /// Imports a batch of nodes under the name of the import and the batch's number, unless that batch has arrived
    /// before. Returns what it was given, and the LSN to wait for.
    ///
    /// # Errors
    /// Of the store, and the limits of values and names; nothing of the batch is kept then.
    pub fn nodes(&self, import: &[u8], batch: u64, rows: NodeBatch) -> Result<(Imported, Lsn)> {
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
        let first = self.db.lease_node_range(count)?;
        let imported = Imported::Nodes { first, count };
        let done = self.db.bulk(|turn, spaces| {
            import::add_nodes(turn, spaces, first, rows)?;
            ledger::record(turn, import, batch, imported)
        });
        self.db.end_node_range(first);
        Ok((imported, done?))
    }

    /// Imports a batch of edges, as [`Importer::nodes`] does nodes.
    ///
    /// # Errors
    /// As [`Importer::nodes`], and `NodeNotFound` for an end that does not exist.
    pub fn edges(&self, import: &[u8], batch: u64, rows: EdgeBatch) -> Result<(Imported, Lsn)> {
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
        let first = self.db.lease_edge_range(count)?;
        let imported = Imported::Edges { first, count };
        let done = self.db.bulk(|turn, spaces| {
            let changes_max = ChangesMax { pages: turn.bulk_changes_max(), bytes: turn.bytes_max() };
            import::add_edges(turn, spaces, first, rows, changes_max)?;
            ledger::record(turn, import, batch, imported)
        });
        self.db.end_edge_range(first);
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
    /// Of the store.
    pub fn end(&self, import: &[u8]) -> Result<Option<(Ended, Lsn)>> {
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
    /// any writer's turn. Returns the LSN to wait for.
    ///
    /// # Errors
    /// Of the store.
    pub fn forget_ended_import(&self, import: &[u8]) -> Result<Lsn> {
        let mut turn = self.store().turn()?;
        ledger::forget_end(&mut turn, import)?;
        Ok(turn.commit()?)
    }
}
