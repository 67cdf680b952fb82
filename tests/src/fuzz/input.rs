//! Choices that a target takes from the front of its input. What is missing at the end is zero, so every input is one.

/// What is left of an input.
#[derive(Debug)]
pub(super) struct Input<'a>(&'a [u8]);

/// Bytes that are laid over others.
#[derive(Debug)]
pub(super) struct Edit<'a> {
    pub(super) place: u8,
    pub(super) at: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    pub(super) fn short(&mut self) -> usize {
        usize::from(self.byte()) | usize::from(self.byte()) << 8
    }

    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        self.0.split_off(..len.min(self.0.len())).unwrap_or_default()
    }

    /// A place, an offset, a length, and so many bytes.
    pub(super) fn edit(&mut self) -> Option<Edit<'a>> {
        if self.is_empty() {
            return None;
        }
        let (place, at, len) = (self.byte(), self.short(), self.byte());
        Some(Edit { place, at, bytes: self.take(usize::from(len)) })
    }
}

impl Edit<'_> {
    /// Lays it over `bytes`, of which nothing grows; it begins anew at the end.
    pub(super) fn lay_over(&self, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = self.at % bytes.len();
        let len = self.bytes.len().min(bytes.len() - at);
        bytes[at..at + len].copy_from_slice(&self.bytes[..len]);
    }
}
