//! The log: an endless sequence of bytes, addressed by LSN, kept in segment files that are reused.
//!
//! - `delta`: what a record says about a page's body;
//! - `group`: the unit that counts whole or not at all, and what makes it provable;
//! - `header`: what tells a segment file from others, and its place in the log;
//! - `segments`: where LSNs live in files, how files are prepared, recycled and read;
//! - `log`: the buffer that the applier appends to, and the flush that makes it durable;
//! - `scan`: finds the end of the log after a crash, and tells a torn end from damage.

pub(crate) mod delta;
pub(crate) mod group;
pub(crate) mod header;
pub(crate) mod log;
pub(crate) mod scan;
pub(crate) mod segments;
