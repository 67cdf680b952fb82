//! How a running statement is told to stop: a flag that it looks at, the reason for whoever asks why, and what wakes it
//! where it cannot look.
//!
//! 1. Only the reactor raises and resets, one after the other; whoever runs the statement does neither.
//! 2. An interrupt that is raised cancels the waits for locks of the transaction that it is tied to, whichever of the
//!    two came first: the flag is raised before the tie is looked up, and looked up after the tie is made.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use graphite_protocol::{ErrorCode, WireError};
use graphite_store::locks::LockCanceller;

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
    /// What ends waits for locks of the session's transaction, or of the one that it had last.
    tied: Mutex<Option<LockCanceller>>,
    raised: Condvar,
}

impl Interrupt {
    /// The flag that a statement looks at.
    pub(crate) fn flag(&self) -> &Arc<AtomicBool> {
        &self.flag
    }

    /// What is in there is whole at every moment.
    fn tied(&self) -> MutexGuard<'_, Option<LockCanceller>> {
        self.tied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the running statement to stop. The first reason stays.
    pub(crate) fn raise(&self, reason: Reason) {
        let _ = self.reason.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire);
        self.flag.store(true, Ordering::Release);
        let tied = self.tied();
        self.raised.notify_all();
        if let Some(canceller) = &*tied {
            canceller.cancel();
        }
    }

    /// From now on it ends these waits for locks too, and those of no transaction before.
    pub(crate) fn tie(&self, canceller: LockCanceller) {
        let mut tied = self.tied();
        if self.flag.load(Ordering::Acquire) {
            canceller.cancel();
        }
        *tied = Some(canceller);
    }

    /// Does nothing for a while, or until it is raised.
    pub(crate) fn pause(&self, time: Duration) {
        let tied = self.tied();
        let waits = |_: &mut Option<LockCanceller>| !self.flag.load(Ordering::Acquire);
        drop(self.raised.wait_timeout_while(tied, time, waits));
    }

    /// Forgets what was asked of an earlier statement. Only while none is running.
    pub(crate) fn reset(&self) {
        if !self.flag.load(Ordering::Acquire) {
            return;
        }
        if let Some(canceller) = &*self.tied() {
            canceller.reset();
        }
        self.reason.store(0, Ordering::Release);
        self.flag.store(false, Ordering::Release);
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

#[cfg(test)]
mod tests {
    use super::*;
    use graphite_store::locks::{LockError, LockManager, LockMode, LockName, LockOptions, LockOwner};

    fn owners() -> (LockOwner, LockOwner) {
        let manager = LockManager::new(LockOptions::default());
        let mut holder = manager.owner(1);
        holder.lock(LockName::Database, LockMode::Exclusive).unwrap();
        (holder, manager.owner(2))
    }

    fn is_cancelled(owner: &mut LockOwner) -> bool {
        matches!(owner.lock(LockName::Database, LockMode::Shared), Err(LockError::Cancelled))
    }

    /// Raised before, and after, the owner is there; the third time while it waits, or just before.
    #[test]
    fn an_interrupt_ends_waits_for_locks_whichever_came_first() {
        let (_holder, mut owner) = owners();
        let interrupt = Interrupt::default();
        interrupt.raise(Reason::Cancelled);
        interrupt.tie(owner.canceller());
        assert!(is_cancelled(&mut owner));
        interrupt.reset();
        interrupt.raise(Reason::Timeout);
        assert!(is_cancelled(&mut owner));
        interrupt.reset();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| is_cancelled(&mut owner));
            interrupt.raise(Reason::Killed);
            assert!(waiting.join().unwrap());
        });
        assert_eq!(interrupt.reason(), Some(Reason::Killed));
    }

    #[test]
    fn who_was_reset_may_wait_again() {
        let (holder, mut owner) = owners();
        let interrupt = Interrupt::default();
        interrupt.tie(owner.canceller());
        interrupt.raise(Reason::Cancelled);
        interrupt.reset();
        std::thread::scope(|scope| {
            scope.spawn(|| drop(holder));
            owner.lock(LockName::Database, LockMode::Shared).unwrap();
        });
    }

    #[test]
    fn a_pause_ends_when_it_is_raised() {
        let interrupt = Interrupt::default();
        interrupt.pause(Duration::from_micros(1));
        std::thread::scope(|scope| {
            scope.spawn(|| interrupt.pause(Duration::from_secs(100_000)));
            interrupt.raise(Reason::ClientGone);
        });
    }
}
