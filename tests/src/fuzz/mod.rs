//! Bodies of the fuzz targets: each takes bytes that may be anything, and panics if something does not hold.
//!
//! The targets themselves are in `tests/fuzz`, a workspace of its own; the corpora that they found lie beside them, and
//! are replayed by `tests/tests/fuzz_corpora.rs` on every run of the tests.
//!
//! Where bytes have a checksum, a target makes it anew behind what it changed: else nothing behind the checksum would ever
//! be reached.

mod csv;
mod filter;
mod input;
mod plans;
mod records;
pub mod seeds;
mod stored;
mod structures;
mod wire;

pub use csv::csv_import;
pub use filter::monitor_filter;
pub use plans::plans;
pub use records::{records, values};
pub use stored::{pages, wal};
pub use structures::{adjacency, trees};
pub use wire::{frames, messages};

/// A target's name, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets. Each has a file of its name in `tests/fuzz/fuzz_targets`, and a corpus in `tests/fuzz/corpus`.
pub const TARGETS: [Target; 11] = [
    ("adjacency", adjacency),
    ("csv_import", csv_import),
    ("frames", frames),
    ("messages", messages),
    ("monitor_filter", monitor_filter),
    ("pages", pages),
    ("plans", plans),
    ("records", records),
    ("trees", trees),
    ("values", values),
    ("wal", wal),
];
