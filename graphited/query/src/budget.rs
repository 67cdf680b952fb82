//! What a statement may take: time, memory, steps.
//!
//! A [`Budget`] is given by whoever runs the statement, and says what is allowed; a [`Meter`] belongs to the
//! statement, rests with its cursor, and says what was used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{At, Error, Result};

/// Steps between two looks at the flag. A step is a row or an edge looked at.
pub const STEPS_PER_LOOK: u64 = 4096;
/// Memory of a statement, if nobody says otherwise, in bytes.
pub const MEMORY_BYTES_MAX_DEFAULT: u64 = 256 << 20;

/// Values that are read into one batch of rows, in bytes: the row with which it is passed is the last.
pub(crate) const SHOWN_BYTES_MAX: u64 = 1 << 20;

/// What a statement may take.
#[derive(Clone, Debug)]
pub struct Budget {
    cancelled: Arc<AtomicBool>,
    memory_bytes_max: u64,
    steps_max: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::new(Arc::new(AtomicBool::new(false)))
    }
}

impl Budget {
    /// Ends with [`Error::Cancelled`] soon after the flag is set.
    pub fn new(cancelled: Arc<AtomicBool>) -> Budget {
        Budget { cancelled, memory_bytes_max: MEMORY_BYTES_MAX_DEFAULT, steps_max: u64::MAX }
    }

    /// With another limit for what `distinct`, `order`, searches and kept rows hold together, in bytes.
    #[must_use]
    pub fn memory_bytes_max(self, memory_bytes_max: u64) -> Budget {
        Budget { memory_bytes_max, ..self }
    }

    /// With a limit for rows and edges looked at in one call; it is noticed [`STEPS_PER_LOOK`] steps late at most.
    #[must_use]
    pub fn steps_max(self, steps_max: u64) -> Budget {
        Budget { steps_max, ..self }
    }

    /// How much of an answer is shown at a time, in bytes, past which a batch has no more rows.
    pub(crate) fn shown_bytes_max(&self) -> u64 {
        SHOWN_BYTES_MAX.min(self.memory_bytes_max)
    }

    /// Whether the flag is set.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// What a statement has used.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    memory_bytes: u64,
    steps: u64,
    steps_at_look: u64,
}

impl Meter {
    /// A new call begins: its steps are counted from 0.
    pub(crate) fn begin_call(&mut self, budget: &Budget) -> Result<()> {
        self.steps = 0;
        self.look(budget)
    }

    /// Counts steps, and looks at the flag now and then.
    #[inline]
    pub(crate) fn step(&mut self, budget: &Budget, steps: u64) -> Result<()> {
        self.steps += steps;
        if self.steps - self.steps_at_look >= STEPS_PER_LOOK { self.look(budget) } else { Ok(()) }
    }

    #[cold]
    fn look(&mut self, budget: &Budget) -> Result<()> {
        self.steps_at_look = self.steps;
        if budget.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if self.steps > budget.steps_max {
            return Err(Error::StepLimit { steps_max: budget.steps_max });
        }
        Ok(())
    }

    /// Counts bytes that stay in memory.
    pub(crate) fn keep(&mut self, budget: &Budget, at: At, bytes: u64) -> Result<()> {
        self.memory_bytes = self.memory_bytes.saturating_add(bytes);
        self.fits(budget, at, 0)
    }

    /// Whether `bytes` more would fit.
    pub(crate) fn fits(&self, budget: &Budget, at: At, bytes: u64) -> Result<()> {
        let bytes_max = budget.memory_bytes_max;
        if self.memory_bytes.saturating_add(bytes) > bytes_max {
            return Err(Error::MemoryLimit { at, bytes_max });
        }
        Ok(())
    }

    /// Bytes that are in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Gives back what was kept.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.memory_bytes = self.memory_bytes.saturating_sub(bytes);
    }
}
