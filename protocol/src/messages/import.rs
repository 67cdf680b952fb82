//! Methods of a resumable import: a sequence of batches, numbered from 0, each applied as one transaction.
//!
//! 1. A batch's number, and the ids that it made, become durable together with what it made. So after a crash of
//!    either side the client asks which batch is next and goes on there, and nothing is there twice.
//! 2. Batches of one import are applied in the order of their numbers. A client may send several before the
//!    first is answered.
//! 3. A batch that was applied before is not applied again; it gets the answer that it got then. One of the same number
//!    with another kind or count of rows is refused.
//! 4. The daemon remembers the last imports that ended, so a client that did not get the answer to `import_end` learns
//!    from `import_begin`, or a second `import_end`, that all is there.

use super::request;
use crate::columns::{Column, Packed};
use crate::decode::Decoder;
use crate::decode_error::DecodeError;
use crate::encode::Encoder;
use crate::wire::{Token, Wire, message};

request! { "import_begin" -> ImportBeginReply,
    /// Begins an import, or goes on with one.
    #[derive(Eq)]
    pub struct ImportBegin {
        /// The client's name for it.
        pub import: Token,
        /// Whether to go on if there is one of this name; else that fails with `import-exists`.
        pub resume: bool = false,
    }
}

message! { reply "the reply of import_begin",
    /// Where the import stands.
    #[derive(Copy, Eq)]
    pub struct ImportBeginReply {
        /// The batch to send next: those below it are done.
        pub next: u64,
        /// What it made, if it was to be resumed and has ended: no batch is taken any more.
        pub ended: Option<ImportEndReply>,
        /// Bytes of packed columns that a batch should not pass, for the daemon has memory for no more; 0: it does
        /// not care. Longer ones are taken as long as their frame is.
        pub batch_bytes: u64 = 0,
    }
}

request! { "import_nodes" -> ImportReply,
    /// A batch of nodes.
    pub struct ImportNodes {
        /// The import.
        pub import: Token,
        /// The batch's number.
        pub batch: u64,
        /// The nodes.
        pub nodes: NodeBatch,
    }
}

message! { request "a batch of nodes",
    /// Nodes, column by column. All columns are of the same length.
    pub struct NodeBatch {
        /// Sets of labels that occur in the batch.
        pub label_sets: Vec<Vec<String>>,
        /// For each node its place in `label_sets`.
        pub labels: Packed<u32>,
        /// Properties.
        pub columns: Vec<Column>,
    }
}

request! { "import_edges" -> ImportReply,
    /// A batch of edges.
    pub struct ImportEdges {
        /// The import.
        pub import: Token,
        /// The batch's number.
        pub batch: u64,
        /// The edges.
        pub edges: EdgeBatch,
    }
}

message! { request "a batch of edges",
    /// Edges, column by column. All columns are of the same length.
    pub struct EdgeBatch {
        /// Types that occur in the batch.
        pub types: Vec<String>,
        /// For each edge its place in `types`.
        pub edge_types as "type": Packed<u32>,
        /// For each edge the id of the node where it starts.
        pub starts: Packed<u64>,
        /// For each edge the id of the node where it ends.
        pub ends: Packed<u64>,
        /// Properties.
        pub columns: Vec<Column>,
    }
}

impl NodeBatch {
    /// How many nodes.
    pub fn len(&self) -> usize {
        self.labels.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.0.is_empty()
    }

    /// Checks that all columns have the same length, and that all places are in their lists. Decoding does
    /// not, for a client checks nothing twice; the daemon calls it before it relies on either.
    pub fn check(&self) -> Result<(), DecodeError> {
        check_places(&self.labels, self.label_sets.len())?;
        check_columns(&self.columns, self.len())
    }
}

impl EdgeBatch {
    /// How many edges.
    pub fn len(&self) -> usize {
        self.edge_types.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.edge_types.0.is_empty()
    }

    /// Checks that all columns have the same length, and that all places are in their lists. Decoding does
    /// not, for a client checks nothing twice; the daemon calls it before it relies on either.
    pub fn check(&self) -> Result<(), DecodeError> {
        check_places(&self.edge_types, self.types.len())?;
        if self.starts.0.len() != self.len() || self.ends.0.len() != self.len() {
            return Err(DecodeError::invalid("starts and ends must be as many as there are edges"));
        }
        check_columns(&self.columns, self.len())
    }
}

fn check_places(places: &Packed<u32>, len: usize) -> Result<(), DecodeError> {
    if places.0.iter().any(|&place| place as usize >= len) {
        return Err(DecodeError::invalid("a row names a label set or type past the end of the list"));
    }
    Ok(())
}

fn check_columns(columns: &[Column], rows: usize) -> Result<(), DecodeError> {
    for (index, column) in columns.iter().enumerate() {
        if column.data.len() != rows {
            return Err(
                DecodeError::invalid("a column must have as many values as there are rows").at_index(index)
            );
        }
        if columns[..index].iter().any(|earlier| earlier.key == column.key) {
            return Err(DecodeError::invalid("two columns have the same key").at_index(index));
        }
    }
    Ok(())
}

/// Ids that follow each other: on the wire `[first, count]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first id.
    pub first: u64,
    /// How many there are.
    pub count: u64,
}

impl IdRange {
    /// The ids.
    pub fn ids(self) -> impl Iterator<Item = u64> {
        self.first..self.first.saturating_add(self.count)
    }
}

impl Wire for IdRange {
    fn write(&self, out: &mut Encoder<'_>) {
        out.list(2);
        out.uint(self.first);
        out.uint(self.count);
    }

    fn read(from: &mut Decoder<'_>) -> Result<IdRange, DecodeError> {
        from.list_of(2, "a range of ids: [first, count]")?;
        let range = IdRange { first: from.u64()?, count: from.u64()? };
        from.leave();
        Ok(range)
    }
}

message! { reply "the reply of import_nodes and import_edges",
    /// What a batch made.
    #[derive(Eq)]
    pub struct ImportReply {
        /// Ids of the nodes or edges, in the order of the batch.
        pub ids: Vec<IdRange>,
    }
}

request! { "import_status" -> ImportStatusReply,
    /// Asks what became of a batch.
    #[derive(Eq)]
    pub struct ImportStatus {
        /// The import.
        pub import: Token,
        /// The batch's number.
        pub batch: u64,
    }
}

message! { reply "the reply of import_status",
    /// What became of a batch.
    #[derive(Eq)]
    pub struct ImportStatusReply {
        /// Whether it was applied.
        pub done: bool,
        /// Ids of the nodes or edges that it made, in the order of the batch.
        pub ids: Vec<IdRange> = Vec::new(),
    }
}

request! { "import_end" -> ImportEndReply,
    /// Ends an import: the daemon forgets its batches, and keeps what they made. A second end gets the first answer,
    /// as long as the daemon remembers it.
    #[derive(Eq)]
    pub struct ImportEnd {
        /// The import.
        pub import: Token,
    }
}

message! { reply "the reply of import_end",
    /// What the import made.
    #[derive(Copy, Eq)]
    pub struct ImportEndReply {
        /// Batches that were applied.
        pub batches: u64,
        /// Nodes that they made.
        pub nodes: u64,
        /// Edges that they made.
        pub edges: u64,
    }
}
