//! What `graphite-worker` does, one file for each sort of test.

pub(crate) mod ldbc;
