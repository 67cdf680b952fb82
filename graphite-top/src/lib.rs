//! The live monitor of a Graphite daemon.
//!
//! Three threads wake the one that draws: the keyboard, the connection and the signals, each by an [`event::Event`].
//!
//! 1. Whatever is drawn comes from one [`scene::Scene`], hence from one picture that the daemon took in one go.
//! 2. Only rows that are seen are formatted, and nothing is drawn unless data, input or size changed.
//! 3. Text from strangers reaches the terminal through [`sanitise`] only.
//! 4. Whoever is cancelled or killed is named by session and transaction as they were seen.
#![warn(missing_docs)]

pub mod cell;
pub mod connection;
pub mod event;
pub mod filter;
pub mod format;
pub mod history;
pub mod input;
pub mod once;
pub mod player;
pub mod question;
pub mod record;
/// Public for fuzz targets and examples, which look at views of something.
#[doc(hidden)]
pub mod samples;
pub mod sanitise;
pub mod scene;
pub mod screen;
pub mod state;
pub mod table;
pub mod terminal;
pub mod theme;
pub mod tree;
pub mod views;
