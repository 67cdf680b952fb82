//! Importing: batches of nodes and edges that go into pages without a write set.
//!
//! A batch gets a contiguous range of fresh slots, so that its records, its properties and its ledger entry are
//! written in order; adjacency is sorted and merged once for each node that the batch touches (`link`). One batch is one turn, hence one atomic group, which also holds its entry in the ledger (`ledger.rs`).
//!
//! Invariants:
//! 1. Nothing of a batch is kept unless all of it is: whoever owns the turn drops it after an error.
//! 2. Slots of a batch are fresh, so their generation is [`FRESH_GENERATION`], and ids follow from the first slot.

mod link;

use graphite_store::PageWriter;

use crate::apply::{Spaces, add_to_counter, new_node};
use crate::edges::{self, EDGES_PER_PAGE, EdgeRecord};
use crate::nodes::{self, NODES_PER_PAGE, NodeRecord};
use crate::properties::{self, write_properties};
use crate::state;
use crate::{EdgeId, EdgeSlot, Error, KeyId, LabelSetId, NodeId, NodeSlot, Result, TypeId, Value};

/// Generation of slots that were never used.
pub const FRESH_GENERATION: u16 = 0;
/// Rows of the largest batch.
pub const BATCH_ROWS_MAX: usize = 1 << 24;

/// One property of every row of a batch; null where a row has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The property.
    pub key: KeyId,
    /// One value for each row.
    pub values: Vec<Value>,
}

/// A batch of nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeBatch {
    /// The labels of each row.
    pub label_sets: Vec<LabelSetId>,
    /// The properties; each as long as `label_sets`, and no key twice.
    pub columns: Vec<Column>,
}

/// A batch of edges.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EdgeBatch {
    /// Where each row starts.
    pub starts: Vec<NodeId>,
    /// Where each row ends.
    pub ends: Vec<NodeId>,
    /// The type of each row.
    pub types: Vec<TypeId>,
    /// The properties; each as long as `starts`, and no key twice.
    pub columns: Vec<Column>,
}

/// What a batch was given: its rows have consecutive slots, of [`FRESH_GENERATION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// Nodes.
    Nodes {
        /// Slot of the first row.
        first: NodeSlot,
        /// Number of rows.
        count: u64,
    },
    /// Edges.
    Edges {
        /// Slot of the first row.
        first: EdgeSlot,
        /// Number of rows.
        count: u64,
    },
}

impl Imported {
    /// Number of rows.
    pub fn count(self) -> u64 {
        match self {
            Imported::Nodes { count, .. } | Imported::Edges { count, .. } => count,
        }
    }

    /// The id of a row of a batch of nodes.
    pub fn node(self, row: u64) -> Option<NodeId> {
        match self {
            Imported::Nodes { first, count } if row < count => {
                Some(NodeId::new(NodeSlot(first.0 + row), FRESH_GENERATION))
            }
            _ => None,
        }
    }

    /// The id of a row of a batch of edges.
    pub fn edge(self, row: u64) -> Option<EdgeId> {
        match self {
            Imported::Edges { first, count } if row < count => {
                Some(EdgeId::new(EdgeSlot(first.0 + row), FRESH_GENERATION))
            }
            _ => None,
        }
    }
}

fn check_columns(columns: &mut [Column], rows: usize) -> Result<()> {
    if rows > BATCH_ROWS_MAX {
        return Err(Error::TooMany { what: "rows in a batch", max: BATCH_ROWS_MAX as u64 });
    }
    columns.sort_by_key(|column| column.key);
    if columns.windows(2).any(|pair| pair[0].key == pair[1].key) {
        return Err(Error::UnevenBatch("a property key comes twice"));
    }
    if columns.iter().any(|column| column.values.len() != rows) {
        return Err(Error::UnevenBatch("its columns differ in length"));
    }
    Ok(())
}

/// Moves the values of one row out of the columns.
fn take_row(columns: &mut [Column], row: usize, into: &mut Vec<(KeyId, Value)>) {
    into.clear();
    for column in columns {
        let value = column.values.get_mut(row).map(std::mem::take).unwrap_or_default();
        if !value.is_null() {
            into.push((column.key, value));
        }
    }
}

/// Writes a batch of nodes into the fresh slots from `first` on.
///
/// # Errors
/// Of the store and the limits of values; the turn then has to be dropped.
pub fn add_nodes<W: PageWriter>(
    w: &mut W,
    spaces: &mut Spaces,
    first: NodeSlot,
    mut batch: NodeBatch,
) -> Result<()> {
    let rows = batch.label_sets.len();
    check_columns(&mut batch.columns, rows)?;
    let mut row_properties = Vec::new();
    let mut records: Vec<NodeRecord> = Vec::with_capacity(NODES_PER_PAGE);
    let mut at = first;
    for (row, &label_set) in batch.label_sets.iter().enumerate() {
        let slot = NodeSlot(first.0 + row as u64);
        take_row(&mut batch.columns, row, &mut row_properties);
        let mut record = NodeRecord { label_set, ..new_node(FRESH_GENERATION) };
        if !row_properties.is_empty() {
            let owner = properties::Owner::Node(slot);
            record.properties = write_properties(w, &mut spaces.records, owner, None, &row_properties)?;
        }
        records.push(record);
        if records.len() == NODES_PER_PAGE {
            nodes::put_nodes(w, at, &records)?;
            at = NodeSlot(at.0 + records.len() as u64);
            records.clear();
        }
    }
    nodes::put_nodes(w, at, &records)?;
    add_to_counter(w, state::NODE_COUNT, rows as i64)
}

/// What a batch may change of what is there already.
#[derive(Clone, Copy, Debug)]
pub struct ChangesMax {
    /// Pages.
    pub pages: usize,
    /// Bytes in these, which go into the log.
    pub bytes: u64,
}

/// Writes a batch of edges into the fresh slots from `first` on, and into the adjacency of their ends. If that would
/// change more than `changes_max`, adjacency moves to new pages.
///
/// # Errors
/// `NodeNotFound` for an end that does not exist; of the store, and the limits of values and degrees. The turn then
/// has to be dropped.
pub fn add_edges<W: PageWriter>(
    w: &mut W,
    spaces: &mut Spaces,
    first: EdgeSlot,
    mut batch: EdgeBatch,
    changes_max: ChangesMax,
) -> Result<()> {
    let rows = batch.starts.len();
    check_columns(&mut batch.columns, rows)?;
    if batch.ends.len() != rows || batch.types.len() != rows {
        return Err(Error::UnevenBatch("its columns differ in length"));
    }
    let mut row_properties = Vec::new();
    let mut records: Vec<EdgeRecord> = Vec::with_capacity(EDGES_PER_PAGE);
    let mut at = first;
    for row in 0..rows {
        let slot = EdgeSlot(first.0 + row as u64);
        take_row(&mut batch.columns, row, &mut row_properties);
        let (start, end) = (batch.starts[row].slot(), batch.ends[row].slot());
        let mut record = EdgeRecord {
            start,
            end,
            type_: batch.types[row],
            generation: FRESH_GENERATION,
            properties: None,
        };
        if !row_properties.is_empty() {
            let owner = properties::Owner::Edge(slot);
            record.properties = write_properties(w, &mut spaces.records, owner, None, &row_properties)?;
        }
        records.push(record);
        if records.len() == EDGES_PER_PAGE {
            edges::put_edges(w, at, &records)?;
            at = EdgeSlot(at.0 + records.len() as u64);
            records.clear();
        }
    }
    edges::put_edges(w, at, &records)?;
    // Nobody needs the values any more, and linking needs room.
    batch.columns = Vec::new();
    link::link(w, spaces, first, &batch, changes_max)?;
    add_to_counter(w, state::EDGE_COUNT, rows as i64)
}
