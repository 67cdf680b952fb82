//! What other threads tell the reactor.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use graphite_protocol::WireError;
use graphite_store::Lsn;

use crate::connection::Connection;
use crate::plans::DecodedRun;
use crate::state::{SessionState, TransactionInfo};

/// Something that the reactor has to know.
#[derive(Debug)]
pub(crate) enum Event {
    /// A job is done; its answer is in the outbox, or parked on its way there.
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
    /// Another thread has sent what was asked for, leaves the rest to the reactor, or found that the socket has failed.
    Sent {
        /// Whose it was.
        session: u64,
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

impl Done {
    /// A session's state comes home.
    pub(crate) fn new(session: u64, state: SessionState, committed: Option<Lsn>) -> Done {
        Done { session, transaction: state.info, state, committed }
    }
}

/// The way to the reactor.
#[derive(Debug)]
pub(crate) struct Events {
    queue: Mutex<Queue>,
    waker: mio::Waker,
}

#[derive(Debug, Default)]
struct Queue {
    events: Vec<Event>,
    /// The reactor was woken for what is in here.
    is_woken: bool,
}

impl Events {
    /// Wakes by `waker`.
    pub(crate) fn new(waker: mio::Waker) -> Events {
        Events { queue: Mutex::default(), waker }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the reactor.
    pub(crate) fn post(&self, event: Event) {
        let was_woken = {
            let mut queue = self.lock();
            queue.events.push(event);
            std::mem::replace(&mut queue.is_woken, true)
        };
        if !was_woken {
            self.wake();
        }
    }

    /// Sends a session's state home. It wakes the reactor only if that has something to do then: else the state is
    /// found there as soon as the client asks for more, and a wake for each commit would cost more than the commit.
    pub(crate) fn post_done(&self, done: Done, connection: &Connection) {
        let has_more_to_do = done.transaction.is_some() || !done.state.cursors.is_empty();
        if has_more_to_do {
            return self.post(Event::Done(Box::new(done)));
        }
        self.lock().events.push(Event::Done(Box::new(done)));
        // The reactor asks first and looks into the queue then; so one of us sees the other.
        if connection.is_awaited() && !std::mem::replace(&mut self.lock().is_woken, true) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the reactor cannot be woken");
        }
    }

    /// Whether something waits.
    pub(crate) fn is_any(&self) -> bool {
        !self.lock().events.is_empty()
    }

    /// Everything that was posted, in order; `into` is empty and swapped in.
    pub(crate) fn take(&self, into: &mut Vec<Event>) {
        debug_assert!(into.is_empty());
        let mut queue = self.lock();
        std::mem::swap(&mut queue.events, into);
        queue.is_woken = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// The reactor is woken for a state that comes home only if it waits for it, whoever comes first.
    #[test]
    fn a_state_comes_home_quietly_unless_it_is_awaited() {
        let mut poll = mio::Poll::new().unwrap();
        let events = Events::new(mio::Waker::new(poll.registry(), mio::Token(1)).unwrap());
        let (stream, _other) = UnixStream::pair().unwrap();
        let connection = Connection::new(7, stream).unwrap();
        let done = || Done { session: 7, state: SessionState::default(), transaction: None, committed: None };
        let mut polled = mio::Events::with_capacity(4);
        let mut wakes = |polled: &mut mio::Events| {
            poll.poll(polled, Some(Duration::ZERO)).unwrap();
            polled.iter().count()
        };

        events.post_done(done(), &connection);
        assert_eq!(wakes(&mut polled), 0);
        assert!(events.is_any(), "whoever looks finds it");
        // What is urgent wakes, though something quiet was there before.
        events.post(Event::Blocked { session: 7 });
        assert_eq!(wakes(&mut polled), 1);
        let mut taken = Vec::new();
        events.take(&mut taken);
        assert!(matches!(taken[..], [Event::Done(_), Event::Blocked { session: 7 }]));

        connection.await_done(true);
        events.post_done(done(), &connection);
        assert_eq!(wakes(&mut polled), 1);
        events.take(&mut Vec::new());
        connection.await_done(false);
        events.post_done(done(), &connection);
        assert_eq!(wakes(&mut polled), 0);
    }
}
