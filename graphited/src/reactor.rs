//! The reactor: one thread that accepts, reads, frames, answers what is cheap, and keeps the time.
//!
//! 1. It never waits for a disk, a lock that is held for long, or a client. What may take longer goes to a worker.
//! 2. It alone knows who is connected. Workers tell it by [`Event`]s what has become of the sessions' state.
//! 3. A session's requests are executed one after another, in order. Only `ping` and what looks after the daemon
//!    overtakes.
//! 4. Without events, deadlines or sessions in the list to be looked at, it sleeps: idle costs nothing.
//! 5. It moves from thread to thread between two looks at the poll; see [`crate::crew`].

mod accept;
mod answer;
mod deadlines;
mod leave;
mod overtake;
mod requests;
mod session;
mod transactions;
mod watch;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use graphite_protocol::FrameError;
use graphite_protocol::{ErrorCode, WireError};
use mio::unix::SourceFd;
use mio::{Interest, Poll, Registry, Token};
use rustc_hash::FxHashMap;

use crate::crew::Left;
use crate::events::Event;
use crate::interrupt::Reason;
use crate::job::Job;
use crate::shared::{Shared, to_usize};
use crate::timers::Timers;

use leave::Phase;
use session::Session;

/// Token of the listening socket.
const LISTENER: Token = Token(0);
/// Token of the waker.
pub(crate) const WAKER: Token = Token(1);
/// Token of the pipe that signals come through.
const SIGNALS: Token = Token(2);
/// The first session's number. Tokens of sessions are their numbers.
const FIRST_SESSION: u64 = 16;

/// Frames that one session may have handled before the others are looked at.
const FRAMES_PER_LOOK: u32 = 256;
/// How long jobs wait for the reactor to have read everything, at most.
const UNCALLED_MAX: Duration = Duration::from_micros(100);
/// Bytes of requests that wait for an earlier one of their session, past which no more are read.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// A read of less than this emptied the socket.
const READ_BYTES: usize = 16 << 10;

/// The reactor and everybody who is connected.
pub(crate) struct Reactor {
    poll: Poll,
    sessions: FxHashMap<u64, Box<Session>>,
    core: Core,
    events: Vec<Event>,
    polled: mio::Events,
}

/// What the reactor has beside the sessions, so that both can be held at once.
struct Core {
    shared: Arc<Shared>,
    registry: Registry,
    timers: Timers,
    /// Sessions to be looked at.
    ready: VecDeque<u64>,
    /// Asked of other sessions by the one that is being handled.
    deferred: Vec<overtake::Deferred>,
    /// Answers are made here; its memory is used again and again.
    scratch: Vec<u8>,
    listener: Option<UnixListener>,
    socket: PathBuf,
    /// What wakes the reactor when a signal has come: a byte for each.
    signals: UnixStream,
    phase: Phase,
    last_session: u64,
    out_of_descriptors: bool,
    /// Whether the place that is kept for a monitor is taken.
    is_reserve_taken: bool,
    /// Whether a picture for those who watch is on its way.
    picture_under_way: Arc<AtomicBool>,
    /// Threads that wait for the reactor to be left to them.
    followers: Arc<AtomicUsize>,
    /// What this thread does itself, once it has left the reactor to a follower.
    own_job: Option<Box<Job>>,
    /// Since when jobs wait in the pool for writes which it was not called for.
    uncalled_since: Option<Instant>,
}

impl Reactor {
    /// Serves on `listener`, bound at `socket`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new(
        poll: Poll,
        shared: Arc<Shared>,
        listener: UnixListener,
        socket: PathBuf,
        signals: UnixStream,
    ) -> io::Result<Reactor> {
        listener.set_nonblocking(true)?;
        signals.set_nonblocking(true)?;
        let registry = poll.registry().try_clone()?;
        registry.register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
        registry.register(&mut SourceFd(&signals.as_raw_fd()), SIGNALS, Interest::READABLE)?;
        let core = Core {
            shared,
            registry,
            timers: Timers::default(),
            ready: VecDeque::new(),
            deferred: Vec::new(),
            scratch: Vec::new(),
            listener: Some(listener),
            socket,
            signals,
            phase: Phase::Serving,
            last_session: FIRST_SESSION - 1,
            out_of_descriptors: false,
            is_reserve_taken: false,
            picture_under_way: Arc::default(),
            followers: Arc::default(),
            own_job: None,
            uncalled_since: None,
        };
        let polled = mio::Events::with_capacity(256);
        let mut reactor = Reactor { poll, sessions: FxHashMap::default(), core, events: Vec::new(), polled };
        reactor.note_idle();
        Ok(reactor)
    }

    /// Serves until the daemon is asked to leave, or has been idle for long enough, or until this thread has a job of
    /// its own and another one has to go on here.
    ///
    /// # Errors
    /// The system's: the reactor cannot go on.
    pub(crate) fn run(&mut self) -> io::Result<Left> {
        loop {
            // What came to pass while nobody was here is done before anybody is asked for more.
            self.take_events();
            self.take_deadlines();
            self.look_at_ready();
            self.go_on_leaving();
            self.core.call_writes();
            if let Some(job) = self.core.own_job.take() {
                return Ok(Left::ForJob(job));
            }
            if self.core.phase == Phase::Left {
                return Ok(Left::ForGood);
            }
            let timeout = self.timeout();
            match self.poll.poll(&mut self.polled, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            let polled = std::mem::replace(&mut self.polled, mio::Events::with_capacity(0));
            for event in &polled {
                match event.token() {
                    LISTENER => self.accept(),
                    WAKER => {}
                    SIGNALS => self.take_signals(),
                    Token(token) => self.socket_moved(token as u64, event),
                }
            }
            self.polled = polled;
        }
    }

    /// So many threads wait for the reactor to be left to them, as the counter says.
    pub(crate) fn has_followers(&mut self, waiting: Arc<AtomicUsize>) {
        self.core.followers = waiting;
    }

    /// What tells whether there is something to do, beside what [`Reactor::has_to_do`] says.
    pub(crate) fn poll_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Whether there is something to do that the poll does not tell of.
    pub(crate) fn has_to_do(&self) -> bool {
        // A session's state may have come home quietly just before somebody asked for it.
        !self.core.ready.is_empty() || self.core.shared.events.is_any()
    }

    /// When there is something to do though nothing comes.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.core.timers.next()
    }

    fn timeout(&self) -> Option<Duration> {
        if self.has_to_do() {
            return Some(Duration::ZERO);
        }
        let next = self.core.timers.next()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn socket_moved(&mut self, id: u64, event: &mio::event::Event) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if event.is_error() || event.is_write_closed() {
            // Both ways are closed: nobody would read an answer.
            self.client_gone(id);
            return;
        }
        session.read_closed |= event.is_read_closed();
        session.readable |= event.is_readable() || session.read_closed;
        self.core.schedule(session);
    }

    /// Everything that workers told.
    fn take_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        self.core.shared.events.take(&mut events);
        for event in events.drain(..) {
            match event {
                Event::Done(done) => {
                    let Some(session) = self.sessions.get_mut(&done.session) else { continue };
                    let id = session.id();
                    self.core.job_done(session, *done);
                    if session.gone {
                        self.remove(id);
                    }
                }
                Event::Decoded { session, msgid, run } => {
                    if let Some(session) = self.sessions.get_mut(&session) {
                        self.core.decoded(session, msgid, run);
                    }
                }
                Event::Visible { session } => {
                    if let Some(session) = self.sessions.get_mut(&session) {
                        self.core.own_commit_visible(session);
                    }
                }
                Event::Send { connection } => {
                    connection.send(&self.core.shared.events);
                    if let Some(session) = self.sessions.get_mut(&connection.session) {
                        self.core.schedule(session);
                    }
                }
                Event::Sent { session } => {
                    if let Some(session) = self.sessions.get_mut(&session) {
                        self.core.schedule(session);
                    }
                }
                Event::Blocked { session } => {
                    if let Some(session) = self.sessions.get_mut(&session) {
                        self.core.client_stalls(session);
                    }
                }
            }
        }
        self.events = events;
    }

    /// Lets each session in the list do something. As soon as this thread has a job of its own, the others are left to
    /// whoever runs the reactor next: the job may hold what others wait for, and everybody would wait for all of them.
    fn look_at_ready(&mut self) {
        for _ in 0..self.core.ready.len() {
            if self.core.own_job.is_some() {
                return;
            }
            let Some(id) = self.core.ready.pop_front() else { return };
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            session.scheduled = false;
            self.core.pump(session);
            // Before it is seen whether the session is through: the answers may be its own.
            self.do_deferred();
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let is_over = (session.closing || session.at_end) && !session.scheduled && session.is_quiet();
            if session.gone || is_over {
                self.client_gone(id);
            }
        }
    }

    /// The client is gone, or is to be: nothing is sent any more, its transaction is rolled back, its locks are let go.
    fn client_gone(&mut self, id: u64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if !session.gone {
            session.gone = true;
            session.connection.outbox.close();
            session.connection.is_over().store(true, Ordering::Release);
            session.waiting.clear();
            let _ = self.core.registry.deregister(&mut SourceFd(&session.connection.stream.as_raw_fd()));
            let _ = session.connection.stream.shutdown(std::net::Shutdown::Both);
            self.core.stop_statement(session, Reason::ClientGone);
        }
        if session.state.is_some() {
            self.remove(id);
        } else {
            session.connection.await_done(true);
        }
    }

    /// Forgets a session whose state is here.
    fn remove(&mut self, id: u64) {
        let Some(mut session) = self.sessions.remove(&id) else { return };
        self.core.timers.clear_all(id);
        if let Some(state) = session.state.take() {
            self.core.dispose(id, state);
        }
        self.core.shared.people.went(id);
        self.core.is_reserve_taken &= !session.is_reserved;
        tracing::debug!(sid = id, "session ended");
        drop(session);
        // There may be a descriptor for somebody who could not be let in before.
        if self.core.out_of_descriptors {
            self.accept();
        }
        self.note_idle();
    }
}

impl Core {
    /// Puts a session into the list of those to be looked at.
    fn schedule(&mut self, session: &mut Session) {
        if !session.scheduled {
            session.scheduled = true;
            self.ready.push_back(session.id());
        }
    }

    /// Handles what a session has sent, until there is no more, it has to wait, or others are due.
    fn pump(&mut self, session: &mut Session) {
        let mut left = FRAMES_PER_LOOK;
        while !session.closing && !session.gone {
            if self.is_full(session) {
                // It goes on when the client has read, or a parked reply has left. Asked before the second look, for
                // whoever parked it sends it without a word.
                session.connection.await_visible();
                session.connection.send(&self.shared.events);
                if self.is_full(session) {
                    break;
                }
            }
            if left == 0 {
                self.schedule(session);
                break;
            }
            left -= 1;
            self.call_writes_if_late();
            if session.is_free()
                && let Some(frame) = session.waiting.pop_front()
            {
                session.waiting_bytes -= frame.len();
                self.handle(session, &frame);
                continue;
            }
            if self.has_enough_waiting(session) || !self.next_frame(session) {
                break;
            }
        }
        if (session.closing || session.at_end) && session.connection.outbox.parked() > 0 {
            // It goes when the last reply has left; likewise.
            session.connection.await_visible();
        }
        // Another thread that is sending is not disturbed, unless what it finds matters here.
        let matters = session.closing || session.at_end || session.awaits_room;
        let outbox = &session.connection.outbox;
        if outbox.has_to_send() || matters && outbox.waiting_bytes() > 0 {
            session.connection.send(&self.shared.events);
        }
        if session.connection.outbox.is_gone() {
            session.gone_soon();
        }
        let is_ending = session.closing || session.at_end && !session.scheduled && !self.is_full(session);
        if is_ending && session.is_free() && session.waiting.is_empty() {
            // Though its client may take long to read what waits for it: nobody is to wait for that.
            self.give_up(session);
        }
        if !session.is_free() {
            let is_over = session.at_end || session.read_closed || session.closing || session.gone;
            session.connection.await_done(is_over || !session.waiting.is_empty());
        }
        if session.awaits_room && !session.connection.outbox.is_blocked() && !session.gone {
            // Left as it is it only costs wakes.
            let _ = self.await_room(session, false);
        }
    }

    /// Whether so much waits for the client that nothing more is begun for it.
    fn is_full(&self, session: &Session) -> bool {
        let outbox = &session.connection.outbox;
        outbox.waiting_bytes() >= to_usize(self.shared.config.outbox_bytes_max)
            || outbox.parked() >= to_usize(self.shared.config.requests_max)
    }

    /// Has a job run: by this thread, if nobody else asks for something and another one waits to run the reactor; else by a
    /// worker, and this one goes on to the next.
    fn start(&mut self, job: Box<Job>) {
        let store = self.shared.db.store();
        let is_alone = self.own_job.is_none()
            && self.ready.is_empty()
            && store.applied_lsn() <= store.visible_lsn()
            && self.shared.writes.is_quiet();
        if is_alone && self.followers.load(Ordering::SeqCst) > 0 {
            self.own_job = Some(job);
        } else if job.is_for_writers() {
            self.shared.start_soon(job);
            self.uncalled_since.get_or_insert_with(Instant::now);
        } else {
            self.shared.start(job);
        }
    }

    /// Calls the pool for writes if jobs wait in it.
    fn call_writes(&mut self) {
        if self.uncalled_since.take().is_some() {
            self.shared.writes.call();
        }
    }

    /// The same, if they have waited for long: much else may be there to be read.
    fn call_writes_if_late(&mut self) {
        if self.uncalled_since.is_some_and(|since| since.elapsed() > UNCALLED_MAX) {
            self.call_writes();
        }
    }

    /// Has the poll say when a full socket has room, or not any more. What is true already is said at once.
    fn await_room(&mut self, session: &mut Session, on: bool) -> io::Result<()> {
        if session.awaits_room == on {
            return Ok(());
        }
        let interest = if on { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let token = usize::try_from(session.id()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let fd = session.connection.stream.as_raw_fd();
        self.registry.reregister(&mut SourceFd(&fd), Token(token), interest)?;
        session.awaits_room = on;
        Ok(())
    }

    /// Whether no more requests are read before an earlier one is done.
    fn has_enough_waiting(&self, session: &Session) -> bool {
        !session.is_free()
            && (session.waiting.len() >= to_usize(self.shared.config.requests_max)
                || session.waiting_bytes >= WAITING_BYTES_MAX)
    }

    /// Handles the next frame; `false` if there is none yet.
    fn next_frame(&mut self, session: &mut Session) -> bool {
        // The frame is a slice of the reader, so the reader is out of the session while it is handled.
        let empty = graphite_protocol::FrameReader::new(self.shared.frame_bytes_max());
        let mut reader = std::mem::replace(&mut session.reader, empty);
        let found = loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    self.handle(session, frame);
                    break true;
                }
                Ok(None) if !session.readable => break false,
                Ok(None) => {}
                // The error comes behind the answers to what was asked before; the reader says it again then.
                Err(_) if !session.is_free() => {
                    session.at_end = true;
                    break false;
                }
                Err(error) => {
                    self.not_frames(session, error);
                    break false;
                }
            }
            match reader.read_from(&mut &session.connection.stream) {
                Ok(0) => {
                    session.at_end = true;
                    session.readable = false;
                }
                Ok(count) => {
                    session.last_active = Instant::now();
                    // The end may have been told together with the last bytes.
                    session.readable = count >= READ_BYTES || session.read_closed;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => session.readable = false,
                Err(_) => {
                    session.gone_soon();
                    break false;
                }
            }
        };
        session.reader = reader;
        found
    }

    /// The stream holds no frames: whatever follows means nothing.
    fn not_frames(&mut self, session: &mut Session, error: FrameError) {
        let code = match error {
            FrameError::Empty => ErrorCode::BadRequest,
            FrameError::TooLong { .. } => ErrorCode::TooLarge,
        };
        tracing::info!(sid = session.id(), %error, "closing a connection that sends no frames");
        self.close_with(session, 0, &WireError::new(code, error.to_string()));
    }
}

impl Session {
    /// The socket failed; the session is over as soon as the reactor looks at it.
    fn gone_soon(&mut self) {
        self.closing = true;
        self.connection.outbox.close();
        self.waiting.clear();
    }
}

impl Reactor {
    fn take_signals(&mut self) {
        let mut bytes = [0; 16];
        while let Ok(count @ 1..) = (&self.core.signals).read(&mut bytes) {
            for _ in 0..count {
                self.asked_to_leave();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::events::Events;
    use crate::job::Work;
    use crate::state::SessionState;
    use graphite_graph::GraphDb;
    use graphite_store::Lsn;
    use graphite_store::StoreOptions;
    use graphite_store::clock::RealClock;
    use graphite_store::disk::RealDisk;

    /// A reactor in a directory, which nobody runs, and a client of it.
    pub(super) fn with_client(dir: &std::path::Path, set: impl FnOnce(&mut Shared)) -> (Reactor, UnixStream) {
        let (mut reactor, signalling) = reactor_with(dir, set);
        drop(signalling);
        let client = UnixStream::connect(dir.join("socket")).unwrap();
        reactor.accept();
        assert!(reactor.sessions.contains_key(&FIRST_SESSION));
        (reactor, client)
    }

    fn reactor(dir: &std::path::Path) -> (Reactor, UnixStream) {
        reactor_with(dir, |_| {})
    }

    fn reactor_with(dir: &std::path::Path, set: impl FnOnce(&mut Shared)) -> (Reactor, UnixStream) {
        let options = StoreOptions { create: true, ..StoreOptions::default() };
        let path = dir.join("db");
        let db = GraphDb::open(Arc::new(RealDisk), Arc::new(RealClock::default()), &path, options).unwrap();
        let poll = Poll::new().unwrap();
        let events = Events::new(mio::Waker::new(poll.registry(), WAKER).unwrap());
        let mut shared = Shared::new(Config::default(), path, db, events);
        set(&mut shared);
        let shared = Arc::new(shared);
        let listener = UnixListener::bind(dir.join("socket")).unwrap();
        let (signals, signalling) = UnixStream::pair().unwrap();
        (Reactor::new(poll, shared, listener, dir.join("socket"), signals).unwrap(), signalling)
    }

    #[test]
    fn a_thread_with_a_job_of_its_own_serves_nobody_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut reactor, _signalling) = reactor(dir.path());
        let _clients = [(); 3].map(|()| UnixStream::connect(dir.path().join("socket")).unwrap());
        reactor.accept();
        let session = &reactor.sessions[&FIRST_SESSION];
        let (connection, interrupt) = (session.connection.clone(), session.interrupt.clone());
        let (state, work) = (SessionState::default(), Work::Rollback);
        reactor.core.own_job = Some(Box::new(Job {
            connection,
            interrupt,
            state,
            msgid: 1,
            work,
            seen: Lsn(0),
            cost: crate::job::Cost::default(),
        }));
        reactor.look_at_ready();
        assert_eq!(reactor.core.ready.len(), 3);
        assert!(matches!(reactor.run(), Ok(Left::ForJob(_))));
        // Whoever runs it next does not sleep before it has looked at them.
        assert_eq!(reactor.timeout(), Some(Duration::ZERO));
        reactor.look_at_ready();
        assert_eq!(reactor.core.ready.len(), 0);
    }
}
