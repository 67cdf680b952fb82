//! Imports through the facade: leases the slots of a batch, runs it in a bulk turn, and knows what arrived before.

use std::fmt;

use graphite_store::Lsn;

use crate::db::GraphDb;
use crate::import::{self, ChangesMax, EdgeBatch, Imported, NodeBatch};
use crate::ledger;
use crate::writer::WriterTurn;
use crate::{Error, Result};

/// Entries of the import ledger that are looked up at once to be forgotten.
const FORGET_MAX: usize = 10_000;

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
        if let Some(before) = self.arrived(import, batch)? {
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
        if let Some(before) = self.arrived(import, batch)? {
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

    fn arrived(&self, import: &[u8], batch: u64) -> Result<Option<(Imported, Lsn)>> {
        let pin = self.db.store().pin();
        Ok(ledger::status(&pin, import, batch)?.map(|imported| (imported, pin.lsn())))
    }

    /// What a batch was given, if it has arrived.
    ///
    /// # Errors
    /// Of the store.
    pub fn status(&self, import: &[u8], batch: u64) -> Result<Option<Imported>> {
        ledger::status(&self.db.store().pin(), import, batch)
    }

    /// Forgets the ledger of an import that is over: all of it in one turn. Of an import that is half forgotten nobody
    /// could tell that it was over, and to go on with it would load everything again. Pages that become empty take no
    /// room in the turn.
    ///
    /// # Errors
    /// Of the store.
    pub fn end(&self, import: &[u8]) -> Result<Lsn> {
        let mut turn = self.db.store().turn()?;
        while ledger::forget(&mut turn, import, FORGET_MAX)? == FORGET_MAX {}
        Ok(turn.commit()?)
    }
}
