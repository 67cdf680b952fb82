//! Comma-separated values, read and written. Unlike most readers this one tells a quoted field from a bare one:
//! `""` is an empty string, and nothing between two delimiters is no value at all.

mod reader;
mod writer;

pub(crate) use reader::{CsvError, Reader, Record};
pub(crate) use writer::{write_bare, write_end, write_field};

/// How fields are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Between two fields.
    pub delimiter: u8,
    /// Around a field that holds a delimiter, a quote or a line break; twice, it stands for itself. `None` if
    /// no character does this.
    pub quote: Option<u8>,
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect { delimiter: b',', quote: Some(b'"') }
    }
}
