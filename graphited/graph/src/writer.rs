//! The writer's turn: one write transaction or import at a time. Who waits for it, and in which order, is for those
//! above to know.
//!
//! Invariant: at most one [`WriterTurn`] of a database exists.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// Whether somebody writes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    is_busy: Arc<AtomicBool>,
}

/// The right to write. Free again when dropped.
#[derive(Debug)]
pub struct WriterTurn {
    is_busy: Arc<AtomicBool>,
}

impl Writer {
    /// The turn, if nobody has it.
    pub(crate) fn try_take(&self) -> Result<WriterTurn> {
        if self.is_busy.swap(true, Ordering::Acquire) {
            return Err(Error::Busy);
        }
        Ok(WriterTurn { is_busy: self.is_busy.clone() })
    }
}

impl Drop for WriterTurn {
    fn drop(&mut self) {
        // Whoever takes the turn next sees everything that was done in this one.
        self.is_busy.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let writer = Writer::default();
        let turn = writer.try_take().unwrap();
        assert!(matches!(writer.try_take(), Err(Error::Busy)));
        assert!(matches!(writer.try_take(), Err(Error::Busy)), "who was refused did not free it");
        std::thread::spawn(move || drop(turn)).join().unwrap();
        assert!(writer.try_take().is_ok());
    }
}
