//! What other threads tell the reactor.

use std::sync::{Arc, Mutex, PoisonError};

use graphite_protocol::WireError;
use graphite_store::Lsn;

use crate::connection::Connection;
use crate::plans::DecodedRun;
use crate::state::{SessionState, TransactionInfo};

/// Something that the reactor has to know.
#[derive(Debug)]
pub(crate) enum Event {
    /// A job is done; its answer is in the outbox.
    Done(Box<Done>),
    /// A long request is decoded.
    Decoded {
        /// Whose.
        session: u64,
        /// Which request.
        msgid: u32,
        /// What it asks.
        run: Result<DecodedRun, WireError>,
    },
    /// A commit of the session has become visible, or never will.
    Visible {
        /// Whose.
        session: u64,
    },
    /// Parked replies may leave.
    Send {
        /// Whose.
        connection: Arc<Connection>,
    },
    /// A client has stopped reading.
    Blocked {
        /// Which.
        session: u64,
    },
}

/// The end of a job.
#[derive(Debug)]
pub(crate) struct Done {
    /// Whose.
    pub session: u64,
    /// The session's state comes home.
    pub state: SessionState,
    /// The transaction that is open now.
    pub transaction: Option<TransactionInfo>,
    /// What the job committed, if it did.
    pub committed: Option<Lsn>,
}

/// The way to the reactor.
#[derive(Debug)]
pub(crate) struct Events {
    queue: Mutex<Vec<Event>>,
    waker: mio::Waker,
}

impl Events {
    /// Wakes by `waker`.
    pub(crate) fn new(waker: mio::Waker) -> Events {
        Events { queue: Mutex::default(), waker }
    }

    /// Tells the reactor.
    pub(crate) fn post(&self, event: Event) {
        let was_empty = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push(event);
            queue.len() == 1
        };
        // Whoever finds others waiting was preceded by their wake.
        if was_empty && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the reactor cannot be woken");
        }
    }

    /// Everything that was posted, in order; `into` is empty and swapped in.
    pub(crate) fn take(&self, into: &mut Vec<Event>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner), into);
    }
}
