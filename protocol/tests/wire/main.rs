//! Tests of the wire, from the outside: one program, for each takes its time to link.

mod arbitrary;
mod columns;
mod frames;
mod golden;
mod hostile;
mod plans;
mod round_trip;
