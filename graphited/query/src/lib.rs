//! Graphite's questions: plans and the operators that run them.
//!
//! A [`Plan`] says what is wanted; [`Prepared`] is that plan with the operators that answer it, which a planner chose
//! once; the operators read through [`graphite_graph::View`], which a snapshot and a transaction both implement.
//! Reading goes through a [`Cursor`], batch by batch; a plan that changes the graph goes through [`run_write`], as one
//! statement of a transaction.
//!
//! This crate never sees a page, and knows no wire form.
#![warn(missing_docs)]

mod budget;
mod cell;
mod check;
mod compare;
mod cursor;
mod error;
mod intent;
mod operators;
mod params;
mod plan;
mod planner;
mod prepared;
mod rows;
mod write;

pub use budget::{Budget, MEMORY_BYTES_MAX_DEFAULT, STEPS_PER_LOOK};
pub use cell::{Batch, Cell};
pub use check::ColumnKind;
pub use cursor::{Cursor, Progress};
pub use error::{At, Error, Result};
pub use params::Params;
pub use plan::{
    Comparison, EntityRef, Expansion, NewEdge, NewNode, Operand, OrderBy, Pipeline, Plan, Properties, Step,
};
pub use prepared::Prepared;
pub use write::{Outcome, run_write};
