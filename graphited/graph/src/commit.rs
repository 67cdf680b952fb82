//! The way of a commit: write sets wait in a queue, and whoever finds the applier free applies all that wait, as one
//! group.
//!
//! A hot page is then copied and logged once for many commits, and a thread whose write set was taken along by another
//! has nothing more to do. Nor does anybody have to wait: a commit may be left with a [`Continuation`], and its thread goes on
//! with something else. (To put a thread to sleep and to wake it costs more than to apply a small write set.)
//!
//! Invariants:
//! 1. At most one thread leads at a time. It takes write sets in the order in which they came, and every set that is taken
//!    gets a verdict, also if its leader panics. It leads for its own commit, or for those that waited when it came: who left
//!    a commit sees to it that somebody comes until it is applied ([`CommitQueue::apply_waiting`]).
//! 2. Sets of one group were prepared under locks that exclude each other, so whether one of them can be applied does
//!    not depend on the others. If a group is refused as a whole, its sets are applied one by one, and each has a verdict
//!    of its own.
//! 3. After a group is appended first leases are settled, then locks go, then the owners are told; whoever holds very
//!    many locks waits, and lets go of them itself. Nobody waits for a sync here, so a hot node is locked for as long as a group
//!    takes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use graphite_store::{Lsn, Turn};

use crate::db::GraphDb;
use crate::leases::Leases;
use crate::locks::TransactionLocks;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use crate::write_set::WriteSet;
use crate::{Error, Result, apply, tokens};

/// Write sets that one group takes, at most. The pages of many more are out of the processor's cache by the time that they
/// are compared with what they were: of write sets that share no page, 8 to 32 at a time went fastest, and 128 at little
/// more than half of that.
const GROUP_SETS_MAX: usize = 32;
/// Locks that a leader lets go of for another owner, at most: with about 100 ns for each, others wait for it so long. Who has
/// more waits, and does it itself.
pub(crate) const RELEASED_BY_LEADER_MAX: usize = 1000;

/// What a transaction holds of the database until its end. Whoever drops it lets go of everything.
pub(crate) struct Holdings {
    db: GraphDb,
    pub(crate) leases: Leases,
    pub(crate) locks: TransactionLocks,
}

impl Holdings {
    pub(crate) fn new(db: GraphDb, locks: TransactionLocks) -> Holdings {
        Holdings { db, leases: Leases::default(), locks }
    }

    /// Lets go of locks and leases.
    pub(crate) fn let_go(&mut self) {
        self.locks.release();
        self.db.pools().give_back(&mut self.leases);
    }
}

impl Drop for Holdings {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// A commit that is to be applied.
pub(crate) struct Work {
    pub(crate) changes: WriteSet,
    /// What the client may ask by later whether this happened.
    pub(crate) token: Option<Box<[u8]>>,
    pub(crate) holdings: Holdings,
}

/// How many commits were applied, and in how many groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitCounts {
    /// Write sets.
    pub sets: u64,
    /// Groups of the log that they were written as.
    pub groups: u64,
    /// Write sets that wait to be applied now.
    pub waiting: usize,
}

#[derive(Default)]
pub(crate) struct CommitQueue {
    queue: Mutex<Queue>,
    sets: AtomicU64,
    groups: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    is_led: bool,
}

impl Queue {
    fn add(&mut self, work: Work, owner: Owner) {
        self.waiting.push_back(Pending { work, promise: Promise(Some(owner)) });
    }

    /// Whether the caller leads from now on.
    fn try_to_lead(&mut self) -> bool {
        !std::mem::replace(&mut self.is_led, true)
    }
}

struct Pending {
    work: Work,
    promise: Promise,
}

/// What is to be done once it is known what came of a commit.
pub trait Continuation: Send + 'static {
    /// The commit is applied, or refused; the log is about to be synced. The thread that calls this applies
    /// commits, and others wait for it: no place to wait for a disk or a lock.
    fn applied(self: Box<Self>, outcome: Result<Lsn>);
}

/// Where an owner waits.
#[derive(Default)]
struct Ticket {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
enum State {
    /// Nothing has come to pass yet.
    #[default]
    Waiting,
    /// As before, and the owner sleeps. Only then is it worth a system call to wake it.
    Sleeping,
    /// The leader before has left; this one's turn is next.
    Leads,
    /// What came of it, and what it still holds.
    Done(Result<Lsn>, Option<Box<Holdings>>),
}

/// Who has to get a verdict.
struct Promise(Option<Owner>);

enum Owner {
    /// A thread that waits, and can lead.
    Waits(Arc<Ticket>),
    /// Nobody.
    Left(Box<dyn Continuation>),
}

impl Owner {
    fn tell(self, verdict: Result<Lsn>, held: Option<Box<Holdings>>) {
        match self {
            Owner::Waits(ticket) => ticket.become_(State::Done(verdict, held)),
            Owner::Left(continuation) => continuation.applied(verdict),
        }
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ticket {
    fn become_(&self, state: State) {
        let before = std::mem::replace(&mut *hold(&self.state), state);
        if matches!(before, State::Sleeping) {
            self.changed.notify_one();
        }
    }

    /// Waits for the verdict, or for the lead: then it is `None`.
    fn wait(&self) -> Option<Result<Lsn>> {
        let mut state = hold(&self.state);
        loop {
            match std::mem::take(&mut *state) {
                State::Waiting | State::Sleeping => {
                    *state = State::Sleeping;
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                State::Leads => return None,
                State::Done(verdict, held) => {
                    drop(state);
                    drop(held);
                    return Some(verdict);
                }
            }
        }
    }

    fn verdict(&self) -> Option<(Result<Lsn>, Option<Box<Holdings>>)> {
        match std::mem::take(&mut *hold(&self.state)) {
            State::Done(verdict, held) => Some((verdict, held)),
            _ => None,
        }
    }
}

impl Promise {
    /// Whether nobody waits for it.
    fn is_left(&self) -> bool {
        matches!(self.0, Some(Owner::Left(_)))
    }

    /// Lets go of what the transaction held, but for what its own thread has to let go of.
    fn release(&self, holdings: Holdings) -> Option<Box<Holdings>> {
        let is_much = holdings.locks.held() > RELEASED_BY_LEADER_MAX;
        (is_much && !self.is_left()).then(|| Box::new(holdings))
    }

    fn keep(mut self, verdict: Result<Lsn>, held: Option<Box<Holdings>>) {
        if let Some(owner) = self.0.take() {
            owner.tell(verdict, held);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(owner) = self.0.take() {
            let first = "the thread that applied commits panicked".to_owned();
            owner.tell(Err(graphite_store::Error::Poisoned { first }.into()), None);
        }
    }
}

/// The lead. Whoever drops it passes it on to the first that waits, if that has a thread which can lead.
struct Lead<'a>(&'a CommitQueue);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut queue = hold(&self.0.queue);
        match queue.waiting.front().map(|next| &next.promise.0) {
            Some(Some(Owner::Waits(ticket))) => ticket.become_(State::Leads),
            _ => queue.is_led = false,
        }
    }
}

impl CommitQueue {
    /// Applies a write set, alone or with others, and returns at once: whether it is durable is for the caller to wait
    /// for.
    ///
    /// # Errors
    /// What applying it says; nothing of it is kept then.
    pub(crate) fn commit(&self, db: &GraphDb, work: Work) -> Result<Lsn> {
        let ticket = Arc::new(Ticket::default());
        let leads = {
            let mut queue = hold(&self.queue);
            queue.add(work, Owner::Waits(ticket.clone()));
            queue.try_to_lead()
        };
        if !leads && let Some(verdict) = ticket.wait() {
            return verdict;
        }
        let lead = Lead(self);
        loop {
            self.apply_some(db);
            if let Some((verdict, held)) = ticket.verdict() {
                drop(lead);
                drop(held);
                return verdict;
            }
        }
    }

    /// Leaves a write set for whoever calls [`CommitQueue::apply_waiting`] or commits next. That one tells `then`.
    pub(crate) fn leave(&self, work: Work, then: Box<dyn Continuation>) {
        hold(&self.queue).add(work, Owner::Left(then));
    }

    /// Applies what waits, unless another thread is at it; not what comes meanwhile. Tells whether there is more.
    pub(crate) fn apply_waiting(&self, db: &GraphDb) -> bool {
        let mut left = {
            let mut queue = hold(&self.queue);
            if queue.waiting.is_empty() {
                return false;
            }
            if !queue.try_to_lead() {
                return true;
            }
            queue.waiting.len()
        };
        let lead = Lead(self);
        while left > 0 {
            left = left.saturating_sub(self.apply_some(db));
        }
        drop(lead);
        !hold(&self.queue).waiting.is_empty()
    }

    pub(crate) fn counts(&self) -> CommitCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let waiting = hold(&self.queue).waiting.len();
        CommitCounts { sets: count(&self.sets), groups: count(&self.groups), waiting }
    }

    /// One group; returns of how many. What comes while somebody else has the applier is still taken along.
    fn apply_some(&self, db: &GraphDb) -> usize {
        let turn = db.store().turn();
        let batch = self.take_batch(db.store().transaction_bytes_max());
        let count = batch.len();
        let applied = turn.map_err(Error::from).and_then(|turn| apply_group(db, turn, &batch));
        match applied {
            Ok(lsn) => self.settle(db, batch, lsn),
            Err(error) if count == 1 => refuse(db, batch, &error),
            Err(_) => batch.into_iter().for_each(|pending| self.apply_alone(db, pending)),
        }
        count
    }

    fn apply_alone(&self, db: &GraphDb, pending: Pending) {
        let batch = vec![pending];
        match db.store().turn().map_err(Error::from).and_then(|turn| apply_group(db, turn, &batch)) {
            Ok(lsn) => self.settle(db, batch, lsn),
            Err(error) => refuse(db, batch, &error),
        }
    }

    /// The first that waits, and those after it that fit into one group with it.
    fn take_batch(&self, bytes_max: u64) -> Vec<Pending> {
        let mut queue = hold(&self.queue);
        let mut bytes = 0;
        let fits = |pending: &&Pending| {
            bytes += pending.work.changes.images_bytes_max();
            bytes <= bytes_max
        };
        let count = queue.waiting.iter().take(GROUP_SETS_MAX).take_while(fits).count();
        let count = count.max(1).min(queue.waiting.len());
        queue.waiting.drain(..count).collect()
    }

    fn settle(&self, db: &GraphDb, mut batch: Vec<Pending>, lsn: Lsn) {
        self.sets.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.groups.fetch_add(1, Ordering::Relaxed);
        let works = batch.iter_mut().map(|pending| &mut pending.work);
        db.pools().settle(works.map(|work| (&work.changes, &mut work.holdings.leases)));
        tell(db, batch, || Ok(lsn));
    }
}

/// Applies some write sets as one group. If that fails, nothing is changed.
fn apply_group(db: &GraphDb, mut turn: Turn<'_>, batch: &[Pending]) -> Result<Lsn> {
    let mut spaces = db.spaces();
    let sets: Vec<&WriteSet> = batch.iter().map(|pending| &pending.work.changes).collect();
    let mut all = || {
        apply::apply_all(&mut turn, &mut spaces, &sets)?;
        let mut named = batch.iter().filter_map(|pending| pending.work.token.as_deref());
        named.try_for_each(|token| tokens::record(&mut turn, token))
    };
    let applied = all().and_then(|()| Ok(turn.commit()?));
    if applied.is_err() {
        spaces.forget();
    }
    applied
}

fn refuse(db: &GraphDb, batch: Vec<Pending>, error: &Error) {
    tell(db, batch, || Err(error.clone()));
}

/// Lets go of the locks of all, and tells all then.
fn tell(db: &GraphDb, batch: Vec<Pending>, verdict: impl Fn() -> Result<Lsn>) {
    if batch.iter().any(|pending| pending.promise.is_left()) {
        // Of what they are told nobody else sees to it that it becomes durable: what they saw, if they are refused. The sync
        // begins while they are told.
        db.store().sync_soon();
    }
    let released: Vec<_> = batch
        .into_iter()
        .map(|Pending { work, promise }| (promise.release(work.holdings), promise))
        .collect();
    for (held, promise) in released {
        promise.keep(verdict(), held);
    }
}
