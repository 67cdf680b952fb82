//! Graphite's questions: plans and the operators that run them.
//!
//! A [`Plan`] says what is wanted; a planner decides once which operators answer it; the operators read through
//! [`graphite_graph::View`], which a snapshot and a transaction both implement. Reading goes through a [`Cursor`],
//! batch by batch; a plan that changes the graph goes through [`run_write`], as one statement of a transaction.
//!
//! This crate never sees a page, and knows no wire form.
#![warn(missing_docs)]

mod budget;
mod cell;
mod check;
mod compare;
mod cursor;
mod error;
mod operators;
mod plan;
mod planner;
mod rows;
mod write;

pub use budget::{Budget, MEMORY_BYTES_MAX_DEFAULT, STEPS_PER_LOOK};
pub use cell::{Batch, Cell};
pub use check::{ColumnKind, columns};
pub use cursor::{Cursor, Progress};
pub use error::{At, Error, Result};
pub use plan::{
    Comparison, EntityRef, Expansion, NewEdge, NewNode, Operand, OrderBy, Params, Pipeline, Plan, Properties,
    Step,
};
pub use write::{Outcome, run_write};
