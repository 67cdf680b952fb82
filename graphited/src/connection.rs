//! One client's socket, shared by the reactor and whichever worker answers.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;

use crate::events::{Event, Events};
use crate::outbox::{Outbox, Sent, Slot};

/// Who is at the other end, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

impl Peer {
    /// Whether it may touch sessions of other users: the daemon's own user, and root, who could do so anyway.
    pub(crate) fn is_admin(self) -> bool {
        self.uid == 0 || self.uid == Uid::effective().as_raw()
    }
}

/// A connection. Closed when the last holder drops it.
#[derive(Debug)]
pub(crate) struct Connection {
    // Constant after construction.
    /// The session's number.
    pub session: u64,
    /// The socket, in nonblocking mode.
    pub stream: UnixStream,
    // Synchronise themselves.
    /// What waits for the client.
    pub outbox: Outbox,
    /// Whether the reactor wants to know when a commit of this session has become visible.
    awaits_visible: AtomicBool,
    /// One more than the slot whose reply is sent by who parked it; 0 if there is none.
    attended: AtomicU64,
    /// Whether the reactor has something to do as soon as the session's state is back.
    is_awaited: AtomicBool,
    /// Requests that overtake and are not answered yet.
    overtaking: AtomicUsize,
    /// Tells what was begun for such a request that nobody will read the answer.
    is_over: Arc<AtomicBool>,
}

impl Connection {
    /// A connection that was accepted.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new(session: u64, stream: UnixStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection {
            session,
            stream,
            outbox: Outbox::default(),
            awaits_visible: AtomicBool::new(false),
            attended: AtomicU64::new(0),
            is_awaited: AtomicBool::new(false),
            overtaking: AtomicUsize::new(0),
            is_over: Arc::default(),
        })
    }

    /// Who is at the other end.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn peer(&self) -> io::Result<Peer> {
        let found = getsockopt(&self.stream, PeerCredentials)?;
        Ok(Peer { pid: u32::try_from(found.pid()).unwrap_or(0), uid: found.uid() })
    }

    /// Whether nobody is at the other end any more.
    pub(crate) fn is_hung_up(&self) -> bool {
        let mut polled = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let hung_up = PollFlags::POLLHUP | PollFlags::POLLERR;
        poll(&mut polled, PollTimeout::ZERO).is_ok()
            && polled[0].revents().is_some_and(|found| found.intersects(hung_up))
    }

    /// Sends what waits, and tells the reactor if the client has stopped reading, if the socket has failed, or if somebody
    /// has asked for what this thread was about to do.
    pub(crate) fn send(&self, events: &Events) {
        match self.outbox.send(&self.stream) {
            Sent::BlockedNow => events.post(Event::Blocked { session: self.session }),
            Sent::ForReactor | Sent::Gone => events.post(Event::Sent { session: self.session }),
            Sent::All | Sent::Blocked => {}
        }
    }

    /// The reply in this slot is sent by the caller, if it is there when it calls [`Connection::send_attended`].
    pub(crate) fn attend(&self, slot: Slot) {
        self.attended.store(slot.number() + 1, Ordering::SeqCst);
    }

    /// Sends what waits, and leaves what is filled from now on to the reactor.
    pub(crate) fn send_attended(&self, events: &Events) {
        self.attended.store(0, Ordering::SeqCst);
        // Looked at only now: whoever filled the slot before has left it to us.
        if self.outbox.has_to_send() {
            self.send(events);
        }
    }

    /// Adds a parked reply. It is sent by who parked it, if that one attends to it still; else on the reactor, so that
    /// whoever led a sync for many goes on with the next.
    pub(crate) fn answer_parked(self: &Arc<Self>, slot: Slot, frame: Vec<u8>, events: &Events) {
        self.outbox.fill(slot, frame);
        if self.awaits_visible.swap(false, Ordering::SeqCst) {
            events.post(Event::Visible { session: self.session });
        }
        if self.attended.load(Ordering::SeqCst) != slot.number() + 1 {
            events.post(Event::Send { connection: self.clone() });
        }
    }

    /// Whether the reactor wants to be woken when the session's state is back.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::SeqCst)
    }

    /// The reactor wants to be woken when the session's state is back, or does not any more. It has to look for events
    /// after it asked and before it sleeps.
    pub(crate) fn await_done(&self, on: bool) {
        if self.is_awaited.load(Ordering::Relaxed) != on {
            self.is_awaited.store(on, Ordering::SeqCst);
        }
    }

    /// From now on the reactor is told when a commit of this session has become visible, once.
    pub(crate) fn await_visible(&self) {
        self.awaits_visible.store(true, Ordering::SeqCst);
    }

    /// Requests that overtake and are not answered yet.
    pub(crate) fn overtaking(&self) -> usize {
        self.overtaking.load(Ordering::SeqCst)
    }

    /// A request that overtakes has come.
    pub(crate) fn overtaken(&self) {
        self.overtaking.fetch_add(1, Ordering::SeqCst);
    }

    /// Its answer is in the outbox.
    pub(crate) fn overtaken_is_answered(&self) {
        let before = self.overtaking.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "each is answered once");
    }

    /// Raised when what was begun for requests that overtake is to stop.
    pub(crate) fn is_over(&self) -> &Arc<AtomicBool> {
        &self.is_over
    }
}
