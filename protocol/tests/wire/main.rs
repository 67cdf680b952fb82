//! Tests of the wire, from the outside: one program, for each takes its time to link.

// All of it is tests, helpers too.
#![allow(clippy::unwrap_used)]

mod arbitrary;
mod columns;
mod documented;
mod frames;
mod golden;
mod hostile;
mod plans;
mod round_trip;
