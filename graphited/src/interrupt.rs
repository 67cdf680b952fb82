//! How a running statement is told to stop: a flag that it looks at, and the reason for whoever asks why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use graphite_protocol::{ErrorCode, WireError};

/// Why a statement is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    /// Somebody cancelled it.
    Cancelled = 1,
    /// It took too long.
    Timeout = 2,
    /// An administrator ended the session.
    Killed = 3,
    /// The daemon leaves.
    ShuttingDown = 4,
    /// The client is gone.
    ClientGone = 5,
}

impl Reason {
    /// The error that the client gets.
    pub(crate) fn error(self) -> WireError {
        let (code, message) = match self {
            Reason::Cancelled => (ErrorCode::Cancelled, "the statement was cancelled, and undone"),
            Reason::Timeout => (ErrorCode::Timeout, "the statement ran longer than it may, and was undone"),
            Reason::Killed => {
                (ErrorCode::Killed, "an administrator ended the session; its transaction was rolled back")
            }
            Reason::ShuttingDown => (ErrorCode::ShuttingDown, "the daemon is leaving; connect anew"),
            Reason::ClientGone => (ErrorCode::Cancelled, "the client is gone"),
        };
        WireError::new(code, message)
    }
}

/// One for each session.
#[derive(Debug, Default)]
pub(crate) struct Interrupt {
    flag: Arc<AtomicBool>,
    reason: AtomicU8,
}

impl Interrupt {
    /// The flag that a statement looks at.
    pub(crate) fn flag(&self) -> &Arc<AtomicBool> {
        &self.flag
    }

    /// Asks the running statement to stop. The first reason stays.
    pub(crate) fn raise(&self, reason: Reason) {
        let _ = self.reason.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire);
        self.flag.store(true, Ordering::Release);
    }

    /// Forgets what was asked of an earlier statement. Only while none is running.
    pub(crate) fn reset(&self) {
        if self.flag.load(Ordering::Acquire) {
            self.reason.store(0, Ordering::Release);
            self.flag.store(false, Ordering::Release);
        }
    }

    /// Why the statement is to stop, if it is.
    pub(crate) fn reason(&self) -> Option<Reason> {
        if !self.flag.load(Ordering::Acquire) {
            return None;
        }
        Some(match self.reason.load(Ordering::Acquire) {
            2 => Reason::Timeout,
            3 => Reason::Killed,
            4 => Reason::ShuttingDown,
            5 => Reason::ClientGone,
            _ => Reason::Cancelled,
        })
    }
}
