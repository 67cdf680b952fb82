//! What `graphite-worker` does, one file for each sort of test.

pub(crate) mod history;
pub(crate) mod ldbc;
pub(crate) mod soak;
pub(crate) mod writer;
