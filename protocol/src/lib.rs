//! The wire between Graphite's daemon and its clients.
//!
//! Everything that crosses the socket is defined here and nowhere else: [`frame`]s hold [`message`]s, messages
//! hold the typed [`messages`] of each method, and those hold [`Value`]s, [`Plan`]s and [`WireError`]s. The
//! bytes are MessagePack; `docs/protocol.md` describes them for those who write a client in another language.
//!
//! How the two sides use it:
//!
//! - a client writes `message::write_request(&mut out, msgid, &Run { .. })`, feeds what it receives to a
//!   [`FrameReader`], and reads each frame with [`message::Message::read`];
//! - the daemon reads a frame the same way, gets the method's typed form from [`messages::Call::read`], and
//!   answers with [`message::write_response`], [`message::write_error`] or, for rows, straight into its output
//!   buffer with a [`RowsWriter`].
//!
//! What must hold for every byte that comes in:
//!
//! 1. Nothing panics, and nothing recurses deeper than [`NESTING_MAX`].
//! 2. Nothing is allocated before the bytes that need it have come, and decoding one frame allocates at most
//!    about [`DECODED_BYTES_MAX`].
//! 3. What is refused is refused with a typed error that says where and why.
#![warn(missing_docs)]

mod columns;
mod decode;
mod decode_error;
mod encode;
mod error;
pub mod frame;
mod harmless;
pub mod message;
pub mod messages;
mod plan;
mod plan_codec;
mod rows;
mod shape;
pub mod socket;
pub mod temporal;
mod value;
mod value_codec;
mod wire;

pub use columns::{Bitmap, Column, ColumnData, Packed, StringColumn};
pub use decode::{Decoder, Kind};
pub use decode_error::{DecodeError, DecodeErrorKind, Refusal};
pub use encode::{ENCODED_SHORT_PAIRS_MAX, Encoder, ExtMark, ListMark};
pub use error::{ErrorCode, WireError};
pub use frame::{FrameError, FrameReader};
pub use harmless::{harmless, is_harmless};
pub use plan::{
    Comparison, Direction, EntityRef, Expansion, NewEdge, NewNode, Operand, OrderBy, PLAN_VERSION, Pipeline,
    Plan, Properties, Step,
};
pub use rows::{FetchWriter, RowsWriter};
pub use shape::{ColumnKind, OutColumn, Shape};
pub use temporal::{Date, DateTime, Duration, LocalDateTime, LocalTime, Time};
pub use value::{Edge, Node, Path, Value};
pub use wire::{Pairs, Token, Wire};

/// The version of the protocol that this crate speaks; the first thing that both sides compare.
pub const PROTOCOL_VERSION: u32 = 1;

/// Most bytes that the body of a frame may have, unless a daemon sets less.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// How deep arrays, maps and extension values may nest in one frame; the envelope's array is the first level.
pub const NESTING_MAX: u32 = 32;

/// Most bytes of memory that decoding one frame may take. Without it ten million bytes that each say "nil"
/// would become hundreds of megabytes.
pub const DECODED_BYTES_MAX: usize = 96 << 20;

/// Most bytes of a [`Token`].
pub const TOKEN_BYTES_MAX: usize = 32;
