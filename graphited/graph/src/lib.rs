//! Graphite's meaning: nodes and edges with labels, types and properties, adjacency, transactions.
//!
//! The facade is `GraphDb`. This crate reads and changes pages through the store's `PageReader` and
//! `PageWriter` and never touches a file.
#![warn(missing_docs)]

pub mod adjacency;
pub mod apply;
pub mod catalog;
pub mod check;
mod commit;
mod db;
pub mod edges;
mod error;
mod expand;
pub mod ids;
pub mod import;
mod importer;
mod leases;
pub mod ledger;
pub mod location;
mod lock_words;
pub mod locks;
pub mod nodes;
mod overlay;
mod page_view;
pub mod pool;
pub mod properties;
pub mod salvage;
pub mod space;
pub mod state;
mod sync;
mod table;
pub mod tokens;
mod transaction;
pub mod traverse;
pub mod value;
pub mod value_codec;
pub mod view;
mod warm;
mod write_set;

pub use commit::{CommitCounts, Continuation};
pub use db::{GRAPH_FORMAT, GraphDb, GraphStatus, Snapshot};
pub use error::{Error, Result};
pub use ids::{Direction, EdgeId, EdgeSlot, KeyId, LabelId, LabelSetId, NodeId, NodeSlot, TypeId};
pub use importer::Importer;
pub use locks::ReadIntent;
pub use overlay::Overlay;
pub use page_view::{PageView, ShowNode};
pub use transaction::{CommitResult, Summary, Transaction};
pub use value::Value;
pub use view::{Edge, EdgeHead, EdgeName, Neighbour, Node, NodeHead, NodeName, Scan, View};
pub use write_set::{EdgeEnds, PropertiesIn, WRITE_SET_MEMORY_BYTES, WriteSet};
