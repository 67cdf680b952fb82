//! The client of Graphite, the graph database that the processes of one machine share.
//!
//! ```no_run
//! use graphite_client::{Client, Direction, props};
//!
//! # fn main() -> graphite_client::Result<()> {
//! // Attaches to the daemon that owns the file, or starts one; the file is made if it is missing.
//! let mut client = Client::open("social.graphite")?;
//!
//! let ada = client.create_node(["Person"], props! { "name" => "Ada", "born" => 1815 })?;
//! let charles = client.create_node(["Person"], props! { "name" => "Charles" })?;
//! client.create_edge(ada, charles, "KNOWS", props! { "since" => 1833 })?;
//!
//! assert_eq!(client.neighbors(ada, Direction::Out, &["KNOWS"])?, [charles]);
//! # Ok(())
//! # }
//! ```
//!
//! Outside a transaction each call is one of its own, durable when it returns. Several that belong together:
//!
//! ```no_run
//! # use graphite_client::{Client, props};
//! # fn main() -> graphite_client::Result<()> {
//! # let mut client = Client::open("social.graphite")?;
//! let (author, post) = client.transaction(|tx| {
//!     let post = tx.create_node(["Post"], props! { "text" => "Hello" })?;
//!     let author = tx.create_node(["Person"], props! { "name" => "Mary" })?;
//!     tx.create_edge(author, post, "WROTE", ())?;
//!     Ok((author, post))
//! })?; // committed, durable and visible; after an error nothing of it was done
//! # Ok(())
//! # }
//! ```
//!
//! Transactions are serializable: whatever others do at the same time, it is as if they had run one after another. One
//! that stood in the way of another is run again by itself, see [`Client::transaction`]. Reads that belong together
//! are done on one snapshot by [`Client::snapshot`], which waits for nobody. Whoever wants each step in hand takes
//! [`Client::begin_write`].
//!
//! What has no method of its own is a [`Traversal`] or a [`Plan`]:
//!
//! ```no_run
//! # use graphite_client::{Client, Comparison, Direction, Traversal};
//! # fn main() -> graphite_client::Result<()> {
//! # let mut client = Client::open("social.graphite")?;
//! let friends = Traversal::nodes_with("Person")
//!     .filter("name", Comparison::Eq, "Ada")
//!     .expand(Direction::Both, ["KNOWS"])
//!     .distinct()
//!     .properties(["name", "born"]);
//! for row in client.rows(friends, ())? {
//!     println!("{:?}", row?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What must hold:
//!
//! 1. A [`Client`] is one connection, hence one session of the daemon: its requests are executed and answered in
//!    order. Threads that work side by side have a client each.
//! 2. After an error that is not [`Error::Server`] nothing is known of what was under way, and the connection is
//!    of no more use: every later call fails with [`Error::Broken`].
//! 3. No file descriptor that this crate opens is inherited by processes that the program starts.
#![warn(missing_docs)]

// The command's files name this library as every other program does.
#[cfg(feature = "cli")]
extern crate self as graphite_client;

/// The command `graphite`: in the library so that its readers of files can be fuzzed.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod client;
mod connection;
mod error;
mod graph;
mod ids;
mod lookup;
mod open;
mod pipeline;
mod props;
mod retry;
mod rows;
mod spawn;
pub mod text;
mod transaction;
mod traversal;
mod watch;

pub use client::{CLIENT_NAME, Client, Ticket};
pub use error::{Error, Result};
pub use ids::{EdgeId, Entity, NodeId};
pub use open::{OpenOptions, database_path, socket_path};
pub use pipeline::Pipeline;
pub use props::{Params, Props};
pub use retry::RetryPolicy;
pub use rows::{Answer, Row, Rows};
pub use transaction::Transaction;
pub use traversal::Traversal;
pub use watch::Watch;

pub use graphite_protocol::messages::{self, StatusReply, Summary};
pub use graphite_protocol::{
    Bitmap, Column, ColumnData, Comparison, Date, DateTime, Direction, Duration, Edge, EntityRef, ErrorCode,
    Expansion, FRAME_BYTES_MAX, LocalDateTime, LocalTime, NewEdge, NewNode, Node, Operand, OrderBy,
    PROTOCOL_VERSION, Packed, Pairs, Path, Plan, Step, StringColumn, Time, Token, Value,
};

/// The README's code has to compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
