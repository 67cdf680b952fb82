//! Why bytes were refused, and in which field.

use crate::{DECODED_BYTES_MAX, NESTING_MAX};

/// Why bytes were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The bytes end in the middle of a value.
    #[error("the bytes end in the middle of a value")]
    Truncated,
    /// There are bytes after the value.
    #[error("{bytes} bytes follow the end of the message")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// A value of another kind than the one that belongs here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What belongs here.
        expected: &'static str,
        /// What is here.
        found: &'static str,
    },
    /// An integer that does not fit.
    #[error("the integer does not fit into {into}")]
    IntegerRange {
        /// The type it should fit: "64 signed bits".
        into: &'static str,
    },
    /// A string that is not UTF-8.
    #[error("the string is not UTF-8")]
    Utf8,
    /// Lists, maps and extension values nest too deep.
    #[error("the message nests deeper than {NESTING_MAX} levels")]
    Nesting,
    /// The decoded form would take too much memory.
    #[error("the decoded message would take more than {DECODED_BYTES_MAX} bytes of memory; send it in parts")]
    TooLarge,
    /// A map names a key twice.
    #[error("the key {key:?} occurs twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A map has a field that its kind does not have.
    #[error("{of} has no field {field:?}")]
    UnknownField {
        /// Whose fields they are: "run", "step expand".
        of: &'static str,
        /// The field.
        field: String,
    },
    /// A map lacks a field that its kind must have.
    #[error("{of} needs the field {field:?}")]
    MissingField {
        /// Whose fields they are.
        of: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A word that is none of those that may stand here.
    #[error("{word:?} is not {what}")]
    UnknownWord {
        /// What may stand here: "a direction (out, in, both)".
        what: &'static str,
        /// The word.
        word: String,
    },
    /// A plan of another version.
    #[error("the plan has version {found}, and this side reads version {expected}")]
    PlanVersion {
        /// The plan's.
        found: u64,
        /// Ours.
        expected: u32,
    },
    /// A value that is well formed and still means nothing.
    #[error("{0}")]
    Invalid(&'static str),
}

/// Bytes that were refused: why, and in which field.
///
/// Boxed, so that the results of the many small reads that make up a message fit into registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(Box<Refusal>);

/// What a [`DecodeError`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub kind: DecodeErrorKind,
    /// The field, from the outermost inwards: `plan.pipelines[0][2].key`; empty at the top.
    pub path: String,
}

impl std::ops::Deref for DecodeError {
    type Target = Refusal;

    fn deref(&self) -> &Refusal {
        &self.0
    }
}

impl DecodeError {
    /// The same error, seen from the map or list that holds the value.
    #[cold]
    pub fn within(mut self, field: &str) -> DecodeError {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.0.path = format!("{field}{dot}{path}", path = self.path);
        self
    }

    /// The same error, seen from the list that holds the value at `index`.
    #[cold]
    pub fn at_index(self, index: usize) -> DecodeError {
        self.within(&format!("[{index}]"))
    }

    /// A value that is well formed and still means nothing.
    #[cold]
    pub fn invalid(why: &'static str) -> DecodeError {
        DecodeErrorKind::Invalid(why).into()
    }
}

impl From<DecodeErrorKind> for DecodeError {
    #[cold]
    fn from(kind: DecodeErrorKind) -> DecodeError {
        DecodeError(Box::new(Refusal { kind, path: String::new() }))
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        self.kind.fmt(f)
    }
}

impl std::error::Error for DecodeError {}
