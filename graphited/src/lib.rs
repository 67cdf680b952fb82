//! The daemon that owns a Graphite database and serves it over a Unix socket.
//!
//! | file | holds |
//! |---|---|
//! | `config`, `exit` | settings, exit codes |
//! | `daemon`, `ownership`, `listen`, `ready` | a life from start to end: whose database it is, where it listens |
//! | `reactor`, `crew` | what accepts, reads, answers what is cheap and keeps the time, and the threads that take turns at it |
//! | `job`, `import`, `rows`, `workers`, `admission` | what workers do, and how many may write at a time |
//! | `connection`, `outbox`, `events`, `state`, `interrupt`, `timers`, `tokens` | what they hand to each other |
//! | `picture`, `monitor`, `status`, `lock_words`, `statement_text`, `slow`, `people` | what is told to whoever watches |
//! | `plans`, `convert`, `encode`, `errors` | between the wire's types and the engine's |
#![warn(missing_docs)]

mod admission;
pub mod config;
mod connection;
mod convert;
mod crew;
pub mod daemon;
mod encode;
mod errors;
mod events;
pub mod exit;
#[doc(hidden)]
pub mod fuzzed;
mod import;
mod interrupt;
mod job;
mod listen;
mod lock_words;
mod lookup;
mod monitor;
pub mod offline;
mod outbox;
mod ownership;
mod people;
mod picture;
mod plans;
mod reactor;
pub mod ready;
mod resting;
mod rows;
mod shared;
mod slow;
mod state;
mod statement_text;
mod status;
mod timers;
mod tokens;
mod workers;
