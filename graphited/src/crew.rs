//! The threads that take turns at the reactor: the leader runs it, the followers wait to.
//!
//! A request that is more than the reactor may do itself would have to be handed to another thread, which costs more
//! than most such requests take. So it is the reactor that is handed on: the leader leaves it to a follower, and goes
//! on with the request in its own caches (Schmidt and others, *Leader/Followers*, 2000).
//!
//! 1. At most one thread runs the reactor.
//! 2. The leader leaves it only if a follower waits; else the request goes to the pools of [`Shared`]. So there is
//!    always somebody who listens.
//! 3. The first to see the reactor end sends all others home.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::job::Job;
use crate::reactor::Reactor;
use crate::shared::Shared;

/// Threads beside the main one: one that listens while two statements run, or one runs and one leads a sync.
const FOLLOWERS: usize = 2;

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
}

/// The seat at the reactor, and who waits for it.
pub(crate) struct Crew {
    seat: Mutex<Seat>,
    vacant: Condvar,
    /// Threads that wait. Only a leader makes it fewer, by leaving; so what a leader sees stays true until then.
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
        let seat = Seat { reactor: Some(reactor), ended: None };
        let crew = Crew { seat: Mutex::new(seat), vacant: Condvar::new(), waiting };
        thread::scope(|scope| {
            for _ in 0..FOLLOWERS {
                let started = thread::Builder::new()
                    .name("reactor".to_owned())
                    .spawn_scoped(scope, || crew.take_turns(shared));
                if let Err(error) = started {
                    // One thread is enough to serve.
                    tracing::warn!(%error, "the system refused a thread");
                }
            }
            crew.take_turns(shared);
        });
        let ended = crew.lock().ended.take();
        ended.unwrap_or(Ok(()))
    }

    /// The seat is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_turns(&self, shared: &Arc<Shared>) {
        while let Some(mut reactor) = self.wait_for_seat() {
            let ended = match reactor.run() {
                Ok(Left::ForJob(job)) => {
                    self.lock().reactor = Some(reactor);
                    self.vacant.notify_one();
                    job.run(shared);
                    continue;
                }
                Ok(Left::ForGood) => Ok(()),
                Err(error) => Err(error),
            };
            // The sessions go with it, before the pools are closed.
            drop(reactor);
            self.lock().ended = Some(ended);
            self.vacant.notify_all();
        }
    }

    /// Waits until nobody runs the reactor; `None` if it has ended.
    fn wait_for_seat(&self) -> Option<Reactor> {
        let mut seat = self.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let reactor = loop {
            if seat.ended.is_some() {
                break None;
            }
            if let Some(reactor) = seat.reactor.take() {
                break Some(reactor);
            }
            seat = self.vacant.wait(seat).unwrap_or_else(PoisonError::into_inner);
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        reactor
    }
}
