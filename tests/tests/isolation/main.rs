//! Isolation: what serializable transactions must never let anybody see.
//!
//! | file | how |
//! |---|---|
//! | `ldbc` | the twelve anomaly tests of the LDBC ACID suite, each with several processes that write and read at once |
//! | `hermitage` | the list of Hermitage, each a given order of the steps of two or three sessions |
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod hermitage;
mod interleave;
mod ldbc;
mod serial;
