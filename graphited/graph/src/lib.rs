//! Graphite's meaning: nodes and edges with labels, types and properties, adjacency, transactions.
//!
//! The facade is `GraphDb`. This crate reads and changes pages through the store's `PageReader` and
//! `PageWriter` and never touches a file.
#![warn(missing_docs)]

pub mod adjacency;
pub mod catalog;
pub mod edges;
mod error;
pub mod ids;
pub mod location;
pub mod nodes;
pub mod pool;
pub mod properties;
pub mod space;
pub mod state;
mod table;
pub mod value;
pub mod value_codec;

pub use error::{Error, Result};
pub use ids::{Direction, EdgeId, EdgeSlot, KeyId, LabelId, LabelSetId, NodeId, NodeSlot, TypeId};
pub use value::Value;
