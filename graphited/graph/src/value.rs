//! (being written)

/// (being written)
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Null.
    Null,
}
