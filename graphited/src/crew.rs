//! The threads that take turns at the reactor: the leader runs it, the followers wait to.
//!
//! A request that is more than the reactor may do itself would have to be handed to another thread, which costs more
//! than most such requests take. So it is the reactor that is handed on: the leader leaves it to the followers, and goes
//! on with the request in its own caches (Schmidt and others, *Leader/Followers*, 2000).
//!
//! To wake a follower for each request would cost more than most of them take, too. So the leader only has one of them
//! *watch*: it sleeps on until there is something to do for the reactor. If nothing has come when the leader is done, as
//! with a single client that waits for its answer, it takes its seat again, and nobody was woken.
//!
//! 1. At most one thread runs the reactor.
//! 2. The leader leaves it only if a follower waits; else the request goes to the pools of [`Shared`]. So there is
//!    always somebody who listens.
//! 3. While the seat is empty, a follower watches the reactor's poll, or is on its way to the seat; and if the reactor
//!    has a deadline, that one sleeps no longer.
//! 4. The first to see the reactor end sends all others home.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Registry, Token, Waker};

use crate::job::Job;
use crate::reactor::Reactor;
use crate::shared::Shared;

/// Threads beside the main one: one that listens while two statements run, or one runs and one leads a sync.
const FOLLOWERS: usize = 2;

/// Token of the reactor's poll in that of a follower.
const REACTOR: Token = Token(0);
/// Token of what wakes a follower.
const WAKER: Token = Token(1);

/// Why the leader got up.
pub(crate) enum Left {
    /// To do this itself.
    ForJob(Box<Job>),
    /// The daemon leaves.
    ForGood,
}

#[derive(Default)]
struct Seat {
    /// Here while nobody runs it.
    reactor: Option<Reactor>,
    /// How it ended.
    ended: Option<io::Result<()>>,
    /// Those who wait. The last has waited for the shortest time, and its caches are the warmest; so it is the one to
    /// watch.
    waiting: Vec<Waiting>,
    /// The last of those who wait watches.
    is_watched: bool,
    /// The reactor's next deadline when it was left last.
    deadline: Option<Instant>,
}

/// A follower as the others see it.
struct Waiting {
    follower: Arc<Follower>,
    /// When it wakes by itself.
    until: Option<Instant>,
}

impl Waiting {
    fn is_of(&self, place: &Place) -> bool {
        Arc::ptr_eq(&self.follower, &place.follower)
    }
}

/// Where a thread sleeps while it follows.
struct Place {
    poll: Poll,
    events: mio::Events,
    follower: Arc<Follower>,
}

impl Place {
    fn new() -> io::Result<Place> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let registry = poll.registry().try_clone()?;
        let follower = Arc::new(Follower { registry, waker, is_registered: AtomicBool::new(false) });
        Ok(Place { poll, events: mio::Events::with_capacity(2), follower })
    }

    /// Sleeps until it is woken, or what it watches has something, or until then; or for no reason.
    fn sleep(&mut self, until: Option<Instant>) {
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        if let Err(error) = self.poll.poll(&mut self.events, timeout) {
            assert!(error.kind() == io::ErrorKind::Interrupted, "a poll of our own can be slept in: {error}");
        }
    }
}

/// How a follower is reached while it sleeps.
struct Follower {
    registry: Registry,
    waker: Waker,
    /// The reactor's poll was registered: not before it has to be, for that costs something with every event.
    is_registered: AtomicBool,
}

impl Follower {
    /// Has it wake as soon as there is something in the reactor's poll, which may be at once, or not any more.
    fn watch(&self, reactor: RawFd, on: bool) -> io::Result<()> {
        // Nothing is ever written to a poll, so that never comes; to take the poll out and in again would cost more.
        let interest = if on { Interest::READABLE } else { Interest::WRITABLE };
        if self.is_registered.load(Ordering::Relaxed) {
            return self.registry.reregister(&mut SourceFd(&reactor), REACTOR, interest);
        }
        self.registry.register(&mut SourceFd(&reactor), REACTOR, interest)?;
        self.is_registered.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a thread that waits for the reactor cannot be woken");
        }
    }
}

/// The seat at the reactor, and who waits for it.
pub(crate) struct Crew {
    seat: Mutex<Seat>,
    /// The reactor's poll.
    reactor: RawFd,
    /// Threads that wait. Only who takes the seat makes it fewer; so what a leader sees stays true until it leaves.
    waiting: Arc<AtomicUsize>,
}

impl Crew {
    /// Runs the reactor until it ends.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn serve(mut reactor: Reactor, shared: &Arc<Shared>) -> io::Result<()> {
        let waiting = Arc::new(AtomicUsize::new(0));
        reactor.has_followers(waiting.clone());
        let fd = reactor.poll_fd();
        let seat = Seat { reactor: Some(reactor), ..Seat::default() };
        let crew = Crew { seat: Mutex::new(seat), reactor: fd, waiting };
        let place = Place::new()?;
        thread::scope(|scope| {
            for _ in 0..FOLLOWERS {
                let crew = &crew;
                let started = Place::new().and_then(|place| {
                    let thread = thread::Builder::new().name("reactor".to_owned());
                    thread.spawn_scoped(scope, move || crew.take_turns(place, shared))
                });
                if let Err(error) = started {
                    // One thread is enough to serve.
                    tracing::warn!(%error, "the system refused a thread");
                }
            }
            crew.take_turns(place, shared);
        });
        let ended = crew.lock().ended.take();
        ended.unwrap_or(Ok(()))
    }

    /// The seat is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leads and follows until the reactor has ended.
    fn take_turns(&self, mut place: Place, shared: &Arc<Shared>) {
        let mut seated = None;
        while let Some(mut reactor) = seated.take().or_else(|| self.wait_for_seat(&mut place)) {
            let ended = match reactor.run() {
                Ok(Left::ForJob(job)) => {
                    self.leave_seat(reactor);
                    let answer = job.run(shared);
                    // Before the client has its answer: else its next request would wake a follower.
                    seated = self.try_take_seat(&mut self.lock(), &place);
                    if let Some(answer) = answer {
                        answer.send(shared);
                    }
                    continue;
                }
                Ok(Left::ForGood) => Ok(()),
                Err(error) => Err(error),
            };
            // The sessions go with it, before the pools are closed.
            drop(reactor);
            let mut seat = self.lock();
            seat.ended = Some(ended);
            seat.waiting.iter().for_each(|waiting| waiting.follower.wake());
        }
    }

    /// Leaves the reactor to a follower: it watches from now on, or takes the seat at once if there is something to do
    /// already, or if it would sleep past the next deadline.
    fn leave_seat(&self, reactor: Reactor) {
        let mut seat = self.lock();
        let has_to_do = reactor.has_to_do();
        seat.deadline = reactor.next_deadline();
        seat.reactor = Some(reactor);
        let last = seat.waiting.last().expect("the reactor is left only if a follower waits");
        let wakes_in_time = seat.deadline.is_none_or(|at| last.until.is_some_and(|until| until <= at));
        let watches = !has_to_do && wakes_in_time && last.follower.watch(self.reactor, true).is_ok();
        if !watches {
            last.follower.wake();
        }
        seat.is_watched = watches;
    }

    /// Takes the seat if it is empty.
    fn try_take_seat(&self, seat: &mut Seat, place: &Place) -> Option<Reactor> {
        let reactor = seat.reactor.take()?;
        if std::mem::take(&mut seat.is_watched)
            && let Some(last) = seat.waiting.last()
        {
            // If it cannot be told it wakes in vain once more.
            let _ = last.follower.watch(self.reactor, false);
        }
        seat.waiting.retain(|waiting| !waiting.is_of(place));
        self.waiting.store(seat.waiting.len(), Ordering::SeqCst);
        Some(reactor)
    }

    /// Waits until nobody runs the reactor; `None` if it has ended.
    fn wait_for_seat(&self, place: &mut Place) -> Option<Reactor> {
        loop {
            let mut seat = self.lock();
            if seat.ended.is_some() {
                return None;
            }
            if let Some(reactor) = self.try_take_seat(&mut seat, place) {
                return Some(reactor);
            }
            let until = seat.deadline.filter(|deadline| *deadline > Instant::now());
            match seat.waiting.iter_mut().find(|waiting| waiting.is_of(place)) {
                Some(waiting) => waiting.until = until,
                None => seat.waiting.push(Waiting { follower: place.follower.clone(), until }),
            }
            self.waiting.store(seat.waiting.len(), Ordering::SeqCst);
            drop(seat);
            place.sleep(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    /// The poll that is watched has what a waker says. Whether the follower was woken is told by its events: a sleep that
    /// ends for lack of any has none.
    #[test]
    fn a_follower_wakes_with_what_it_watches_and_sleeps_else() {
        let mut reactor = Poll::new().unwrap();
        let waker = Waker::new(reactor.registry(), Token(7)).unwrap();
        let mut place = Place::new().unwrap();
        let woken = |place: &mut Place, patience_ms| {
            place.sleep(Some(Instant::now() + Duration::from_millis(patience_ms)));
            !place.events.is_empty()
        };
        let watched = reactor.as_raw_fd();
        let watch = |place: &Place, on| place.follower.watch(watched, on).unwrap();

        watch(&place, true);
        assert!(!woken(&mut place, 1));
        waker.wake().unwrap();
        assert!(woken(&mut place, 60_000));
        // What is in the poll already counts, too, each time that the watch begins.
        watch(&place, false);
        watch(&place, true);
        assert!(woken(&mut place, 60_000));
        watch(&place, false);
        assert!(!woken(&mut place, 1));
        reactor.poll(&mut mio::Events::with_capacity(1), None).unwrap();
        waker.wake().unwrap();
        assert!(!woken(&mut place, 1));
        place.follower.wake();
        assert!(woken(&mut place, 60_000));
    }
}
