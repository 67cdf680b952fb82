//! The monitor as a person sees it: in a real terminal (tmux), before a real daemon, with real sessions in each other's
//! way. Skipped, with a word, where tmux is not installed or the daemon was not built beside the monitor.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod keys;
mod recording;
mod refused;
mod stage;
mod storage;
mod terminal;
mod waits;
