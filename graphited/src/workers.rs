//! Threads that do what the reactor must not wait for.
//!
//! Four pools, so that none starves another: reads (as many as there are processors), writes, administration, and
//! maintenance that was asked for; the threads of the last two live only as long as there is work, and a moment longer.
//!
//! 1. A task that was taken is done, or dropped by [`Pool::clear`]. So one is taken only if there is a thread: the
//!    first of reads and writes is there from the start, and administration is refused if the system has none to give.
//! 2. A task of writes may wait for what another one does, as for a lock that its transaction holds. So whoever may have
//!    one has a thread reserved ([`Pool::reserve`]), and there are never fewer threads than reservations.
//! 3. Of the threads for writes only so many are awake as are useful at a time: more than there are processors would but
//!    push each other aside. Not counted are those that wait ([`aside`]), and those whose task runs for longer than a tick
//!    or two while others are due; so nobody waits for one that may be for long.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// Stack of a worker, in bytes: nothing in the daemon recurses deeper than a value nests.
const STACK_BYTES: usize = 1 << 20;

/// A thread that may leave does so when it had nothing to do for so long.
const THREAD_IDLE: Duration = Duration::from_secs(10);
/// The same of a pool that needs none while there is nothing to do: longer than a monitor takes from one picture to the
/// next, for a thread that comes anew has all its memory to fetch.
const FLEETING_IDLE: Duration = Duration::from_secs(2);

/// Tasks wait for so long or twice as long for others that run, until those do not count any more; and what is to be done
/// after tasks waits for so long at most.
const TICK: Duration = Duration::from_millis(1);

/// Tasks that wait for one thread that is awake, before another one is woken.
const BACKLOG_MAX: usize = 4;
/// Tasks after which what is to be done after tasks is done, though there are more.
const UNSETTLED_MAX: u32 = 16;

type Task = Box<dyn FnOnce() + Send>;

/// What a thread does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// It stays.
    Stays,
    /// It leaves after a while, unless it is the only one or reserved.
    Lingers,
    /// It leaves after a moment.
    Leaves,
}

/// Why a thread woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woke {
    /// There may be something to do.
    Told,
    /// A tick has passed.
    Ticked,
    /// There was nothing to do for long.
    Bored,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    threads: usize,
    /// Threads that sleep and were not told to wake. The last has slept for the shortest time, and its caches are the
    /// warmest; so it is the first to be told.
    idle: Vec<Thread>,
    /// Threads that were told to wake and have not yet.
    told: usize,
    /// Tasks that run, or would if they did not wait: those begun in the last two ticks, the earlier tick first.
    young: [usize; 2],
    /// Moves on while something waits.
    tick: u64,
    /// A thread sees to it that the tick moves on.
    is_watched: bool,
    /// Tasks after which is not done yet what is to be done after tasks.
    unsettled: u32,
    /// Threads that have to be there.
    reserved: usize,
    is_closed: bool,
}

impl Queue {
    /// Whether a thread more than is needed is there.
    fn may_be_fewer(&self) -> bool {
        self.threads > self.reserved.max(1)
    }

    /// Whether something waits that must not wait for long.
    fn has_to_be_watched(&self) -> bool {
        !self.tasks.is_empty() || self.unsettled > 0
    }

    /// Threads that count as awake.
    fn awake(&self) -> usize {
        self.young[0] + self.young[1] + self.told
    }

    /// A task begins to run, or goes on after a wait; what it says is for [`Queue::rests`].
    fn runs(&mut self) -> u64 {
        self.young[1] += 1;
        self.tick
    }

    /// A task ends, or begins to wait.
    fn rests(&mut self, since: u64) {
        match self.tick - since {
            0 => self.young[1] -= 1,
            1 => self.young[0] -= 1,
            _ => {}
        }
    }

    fn move_on(&mut self) {
        self.tick += 1;
        self.young = [self.young[1], 0];
    }
}

#[derive(Default)]
struct Shared {
    awake_max: usize,
    /// Tasks for which no thread is woken, for each that is awake.
    backlog_max: usize,
    queue: Mutex<Queue>,
    /// What has to be done soon after a task, once for many; it tells whether it has to be done again.
    after_tasks: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
}

thread_local! {
    /// The pool whose task this thread runs, and since which tick.
    static RUNNING: RefCell<Option<(Arc<Shared>, u64)>> = const { RefCell::new(None) };
}

/// Waits, for a lock or a disk: meanwhile another thread of the pool that this is a task of may run instead.
pub(crate) fn aside<T>(wait: impl FnOnce() -> T) -> T {
    let running = RUNNING.take();
    if let Some((shared, since)) = &running {
        let mut queue = shared.lock();
        if queue.unsettled > 0 {
            // What it waits for may be what is left to be done.
            (queue, _) = shared.settle(queue);
        }
        queue.rests(*since);
        shared.call_one(queue);
    }
    let result = wait();
    if let Some((shared, _)) = running {
        // It may be one too many for a while.
        let since = shared.lock().runs();
        RUNNING.set(Some((shared, since)));
    }
    result
}

/// Whether this thread runs a task after which something is done soon ([`Pool::after_tasks`]).
pub(crate) fn is_settled_after() -> bool {
    let is_settled = |(shared, _): &(Arc<Shared>, u64)| shared.after_tasks.get().is_some();
    RUNNING.with_borrow(|running| running.as_ref().is_some_and(is_settled))
}

impl Shared {
    /// A task runs outside the lock, so a panic in one leaves the queue whole (and ends the process anyway).
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether as many threads are awake as the tasks that wait are worth. To wake one costs about as much as a small
    /// task takes.
    fn are_enough(&self, queue: &Queue) -> bool {
        let awake = queue.awake();
        awake >= self.awake_max || queue.tasks.len() <= awake * self.backlog_max
    }

    /// Wakes a thread for what waits: to do it, or if enough are awake, to see to it that it does not wait for long.
    fn call_one(&self, mut queue: MutexGuard<'_, Queue>) {
        let is_wanted = !queue.tasks.is_empty() && !self.are_enough(&queue)
            || !queue.is_watched && queue.has_to_be_watched();
        if is_wanted && let Some(thread) = queue.idle.pop() {
            queue.told += 1;
            drop(queue);
            thread.unpark();
        }
    }

    /// Does what is left to be done after tasks. Tells whether that was all.
    fn settle<'q>(&'q self, mut queue: MutexGuard<'q, Queue>) -> (MutexGuard<'q, Queue>, bool) {
        queue.unsettled = 0;
        let Some(after_tasks) = self.after_tasks.get() else { return (queue, true) };
        let since = queue.runs();
        drop(queue);
        let is_more = after_tasks();
        queue = self.lock();
        queue.rests(since);
        queue.unsettled += u32::from(is_more);
        (queue, !is_more)
    }

    fn run(self: &Arc<Self>, when_idle: Idle) {
        let (mut woke, mut is_left) = (Woke::Told, false);
        let mut queue = self.lock();
        loop {
            let is_due = queue.unsettled >= UNSETTLED_MAX || woke == Woke::Ticked;
            let is_quiet = queue.awake() == 0 && queue.tasks.is_empty();
            if queue.unsettled > 0 && (is_due || is_quiet && !is_left) {
                // If another thread is at it, it is looked at again after the next task, or tick.
                let is_done;
                (queue, is_done) = self.settle(queue);
                is_left = !is_done;
                woke = Woke::Told;
                continue;
            }
            if queue.awake() < self.awake_max
                && let Some(task) = queue.tasks.pop_front()
            {
                queue = self.perform(queue, task);
                (woke, is_left) = (Woke::Told, false);
                continue;
            }
            let may = woke == Woke::Bored && (when_idle == Idle::Leaves || queue.may_be_fewer());
            if queue.tasks.is_empty() && queue.unsettled == 0 && (queue.is_closed || may) {
                break;
            }
            (queue, woke) = self.wait(queue, when_idle);
        }
        queue.threads -= 1;
        if queue.is_closed {
            // Those who are too many to be awake leave, too.
            self.call_all(&queue);
        }
    }

    fn perform<'q>(
        self: &'q Arc<Self>,
        mut queue: MutexGuard<'q, Queue>,
        task: Task,
    ) -> MutexGuard<'q, Queue> {
        let since = queue.runs();
        // Those who wait behind it must not depend on how long it runs.
        self.call_one(queue);
        RUNNING.set(Some((self.clone(), since)));
        task();
        let running = RUNNING.take();
        queue = self.lock();
        queue.rests(running.map_or(since, |(_, since)| since));
        queue.unsettled += u32::from(self.after_tasks.get().is_some());
        queue
    }

    /// Waits for something to do.
    fn wait<'q>(
        &'q self,
        mut queue: MutexGuard<'q, Queue>,
        when_idle: Idle,
    ) -> (MutexGuard<'q, Queue>, Woke) {
        let watches = queue.has_to_be_watched() && !std::mem::replace(&mut queue.is_watched, true);
        let patience = match when_idle {
            _ if watches => Some(TICK),
            Idle::Leaves => Some(FLEETING_IDLE),
            // The last one does not wake in vain.
            Idle::Lingers if queue.threads > 1 => Some(THREAD_IDLE),
            Idle::Lingers | Idle::Stays => None,
        };
        let is_over;
        (queue, is_over) = self.sleep(queue, patience, watches);
        queue.is_watched &= !watches;
        let woke = match (is_over, watches) {
            (true, true) => Woke::Ticked,
            (true, false) => Woke::Bored,
            (false, _) => Woke::Told,
        };
        if woke == Woke::Ticked {
            queue.move_on();
        }
        (queue, woke)
    }
}

impl Shared {
    /// Sleeps until it is told to wake, for so long at most; the answer is whether it was not told. Who watches is the last
    /// to be told.
    fn sleep<'q>(
        &'q self,
        mut queue: MutexGuard<'q, Queue>,
        patience: Option<Duration>,
        watches: bool,
    ) -> (MutexGuard<'q, Queue>, bool) {
        let own = thread::current();
        let until = patience.map(|patience| Instant::now() + patience);
        let place = if watches { 0 } else { queue.idle.len() };
        queue.idle.insert(place, own.clone());
        loop {
            drop(queue);
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
            queue = self.lock();
            let Some(place) = queue.idle.iter().position(|idle| idle.id() == own.id()) else {
                queue.told -= 1;
                return (queue, false);
            };
            let is_over = until.is_some_and(|until| until <= Instant::now());
            if is_over || queue.is_closed {
                queue.idle.remove(place);
                return (queue, is_over);
            }
        }
    }

    /// Wakes all: the pool is closed.
    fn call_all(&self, queue: &Queue) {
        queue.idle.iter().for_each(Thread::unpark);
    }
}

/// Some threads and what they have to do.
pub(crate) struct Pool {
    name: &'static str,
    threads_max: usize,
    when_idle: Idle,
    stack_bytes: usize,
    shared: Arc<Shared>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool whose threads are started as they are needed, and stay.
    pub(crate) fn new(name: &'static str, threads_max: usize) -> Pool {
        let shared = Arc::new(Shared { awake_max: usize::MAX, ..Shared::default() });
        Pool {
            name,
            threads_max: threads_max.max(1),
            when_idle: Idle::Stays,
            stack_bytes: STACK_BYTES,
            shared,
            handles: Mutex::default(),
        }
    }

    /// A pool whose threads leave when there was nothing to do for a while, all but the first. Of those that are there only
    /// so many are awake at a time.
    pub(crate) fn lingering(name: &'static str, threads_max: usize, awake_max: usize) -> Pool {
        let shared =
            Arc::new(Shared { awake_max: awake_max.max(1), backlog_max: BACKLOG_MAX, ..Shared::default() });
        Pool { when_idle: Idle::Lingers, shared, ..Pool::new(name, threads_max) }
    }

    /// A pool whose threads leave when there was nothing to do for a moment.
    pub(crate) fn fleeting(name: &'static str, threads_max: usize) -> Pool {
        Pool { when_idle: Idle::Leaves, ..Pool::new(name, threads_max) }
    }

    /// From now on this is done soon after each task, once for many: as soon as no other one runs, and before any waits
    /// aside. With `true` it has to be done again soon.
    pub(crate) fn after_tasks(&self, work: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.shared.after_tasks.set(Box::new(work));
    }

    /// A pool that the system gives no threads.
    #[cfg(test)]
    pub(crate) fn without_threads(name: &'static str) -> Pool {
        // No address space has room for such a stack.
        Pool { stack_bytes: 1 << 60, ..Pool::fleeting(name, 1) }
    }

    /// Starts the first thread of a pool whose threads stay, after which it takes every task.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn start(&self) -> io::Result<()> {
        self.start_thread(&mut self.shared.lock())
    }

    /// Sees to it that there is one thread more that a task can have whatever the others wait for, until
    /// [`Pool::release`].
    ///
    /// # Errors
    /// The system's, which has no thread to give: nothing is reserved.
    pub(crate) fn reserve(&self) -> io::Result<()> {
        let mut queue = self.shared.lock();
        debug_assert!(queue.reserved < self.threads_max, "no more can be reserved than there may be threads");
        if queue.threads <= queue.reserved {
            self.start_thread(&mut queue)?;
        }
        queue.reserved += 1;
        Ok(())
    }

    /// Takes a reservation back.
    pub(crate) fn release(&self) {
        let mut queue = self.shared.lock();
        debug_assert!(queue.reserved > 0, "each reservation is taken back once");
        queue.reserved = queue.reserved.saturating_sub(1);
    }

    /// Has a task done.
    pub(crate) fn give(&self, task: impl FnOnce() + Send + 'static) {
        if let Err(error) = self.try_give(task) {
            panic!("the system refused the only thread of the pool {}, which has one: {error}", self.name);
        }
    }

    /// Has a task done by a thread that is awake, or at the latest by one that [`Pool::call`] wakes, which has to come soon.
    /// Who gives several tasks is not pushed aside by a thread that wakes for the first of them. There has to be a thread.
    pub(crate) fn give_uncalled(&self, task: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.lock();
        debug_assert!(queue.threads > 0, "nobody would ever do it");
        queue.tasks.push_back(Box::new(task));
    }

    /// Wakes or starts a thread for what was given uncalled.
    pub(crate) fn call(&self) {
        let mut queue = self.shared.lock();
        if self.is_short(&queue) {
            // If it cannot be had, another thread does it later.
            let _told = self.start_thread(&mut queue);
        } else {
            self.shared.call_one(queue);
        }
    }

    /// Whether a thread more is worth to be started: those that are there wait aside, or are at work.
    fn is_short(&self, queue: &Queue) -> bool {
        let are_enough = queue.told >= queue.tasks.len() || self.shared.are_enough(queue);
        queue.idle.is_empty() && !are_enough && queue.threads < self.threads_max
    }

    /// Has a task done, or drops it if there is no thread that would ever do it.
    ///
    /// # Errors
    /// The system's, which has no thread to give.
    pub(crate) fn try_give(&self, task: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut queue = self.shared.lock();
        queue.tasks.push_back(Box::new(task));
        if self.is_short(&queue) {
            // Within the lock, so that the task is still the last if it has to be taken back.
            if let Err(error) = self.start_thread(&mut queue) {
                // With another thread the task is done later.
                if queue.threads == 0 {
                    let refused = queue.tasks.pop_back();
                    drop(queue);
                    drop(refused);
                    return Err(error);
                }
            }
        } else {
            self.shared.call_one(queue);
        }
        Ok(())
    }

    /// Whether nothing waits and nothing that is young runs.
    pub(crate) fn is_quiet(&self) -> bool {
        let queue = self.shared.lock();
        queue.tasks.is_empty() && queue.awake() == 0
    }

    fn start_thread(&self, queue: &mut Queue) -> io::Result<()> {
        let (shared, when_idle) = (self.shared.clone(), self.when_idle);
        let handle = thread::Builder::new()
            .name(self.name.to_owned())
            .stack_size(self.stack_bytes)
            .spawn(move || shared.run(when_idle))
            .inspect_err(|error| tracing::error!(pool = self.name, %error, "the system refused a thread"))?;
        queue.threads += 1;
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|handle| !handle.is_finished());
        handles.push(handle);
        Ok(())
    }

    /// Drops the tasks that are not begun.
    pub(crate) fn clear(&self) {
        let dropped = std::mem::take(&mut self.shared.lock().tasks);
        // Outside of the lock, for what they hold may be a long time in dropping.
        drop(dropped);
    }

    /// Ends the threads when all tasks are done, and waits for them.
    pub(crate) fn close(&self) {
        {
            let mut queue = self.shared.lock();
            queue.is_closed = true;
            self.shared.call_all(&queue);
        }
        let handles = std::mem::take(&mut *self.handles.lock().unwrap_or_else(PoisonError::into_inner));
        for handle in handles {
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_is_done_once_before_the_pool_is_closed() {
        for pool in [Pool::new("test", 3), Pool::fleeting("test", 2), Pool::lingering("test", 3, 2)] {
            let done = Arc::new(AtomicUsize::new(0));
            for _ in 0..1000 {
                let done = done.clone();
                pool.give(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
            pool.close();
            assert_eq!(done.load(Ordering::Relaxed), 1000);
            assert_eq!(pool.shared.lock().threads, 0);
        }
    }

    #[test]
    fn tasks_that_are_not_begun_can_be_dropped() {
        let pool = Pool::fleeting("test", 1);
        let done = Arc::new(AtomicUsize::new(0));
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let first = barrier.clone();
        pool.give(move || {
            first.wait();
            first.wait();
        });
        barrier.wait();
        for _ in 0..10 {
            let done = done.clone();
            pool.give(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        pool.clear();
        barrier.wait();
        pool.close();
        assert_eq!(done.load(Ordering::Relaxed), 0);
    }

    /// A task that waits for another one gets a thread beside it.
    #[test]
    fn tasks_run_beside_each_other() {
        let pool = Pool::new("test", 2);
        let barrier = Arc::new(std::sync::Barrier::new(2));
        for _ in 0..2 {
            let barrier = barrier.clone();
            pool.give(move || {
                barrier.wait();
            });
        }
        pool.close();
    }

    /// One call is enough for all.
    #[test]
    fn what_was_given_uncalled_is_done_after_a_call() {
        let pool = Pool::lingering("test", 2, 1);
        pool.start().unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        let (last, is_over) = std::sync::mpsc::channel();
        for number in 1..=10 {
            let (done, last) = (done.clone(), last.clone());
            pool.give_uncalled(move || {
                done.fetch_add(1, Ordering::Relaxed);
                if number == 10 {
                    last.send(()).unwrap();
                }
            });
        }
        pool.call();
        is_over.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 10);
        pool.close();
    }

    /// As for a sync, for which it has given its reservation back.
    #[test]
    fn a_call_starts_a_thread_if_the_only_one_is_aside() {
        let pool = Pool::lingering("test", 2, 1);
        pool.start().unwrap();
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let (told, hears) = std::sync::mpsc::channel();
        let is_aside = told.clone();
        pool.give(move || {
            aside(|| {
                is_aside.send("aside").unwrap();
                held.recv().unwrap();
            });
        });
        let patience = Duration::from_secs(60);
        assert_eq!(hears.recv_timeout(patience), Ok("aside"));
        pool.give_uncalled(move || told.send("done").unwrap());
        pool.call();
        assert_eq!(hears.recv_timeout(patience), Ok("done"));
        let_go.send(()).unwrap();
        pool.close();
    }

    /// Tasks that wait for the last one do not keep it from a thread, as long as each has one reserved.
    #[test]
    fn who_has_reserved_a_thread_has_one() {
        let pool = Pool::lingering("test", 8, 8);
        pool.start().unwrap();
        let barrier = Arc::new(std::sync::Barrier::new(8));
        (0..8).for_each(|_| pool.reserve().unwrap());
        assert_eq!(pool.shared.lock().threads, 8);
        for _ in 0..8 {
            let barrier = barrier.clone();
            pool.give(move || {
                barrier.wait();
            });
        }
        pool.close();
        (0..8).for_each(|_| pool.release());
        assert_eq!(pool.shared.lock().reserved, 0);
    }

    /// Eight tasks of which each needs all others to run, in a pool that has one thread awake at a time.
    fn all_meet(wait: impl Fn(&std::sync::Barrier) + Clone + Send + 'static) {
        let pool = Pool::lingering("test", 8, 1);
        pool.start().unwrap();
        let barrier = Arc::new(std::sync::Barrier::new(8));
        (0..8).for_each(|_| pool.reserve().unwrap());
        for _ in 0..8 {
            let (barrier, wait) = (barrier.clone(), wait.clone());
            pool.give(move || wait(&barrier));
        }
        pool.close();
    }

    #[test]
    fn who_waits_aside_does_not_count_as_awake() {
        all_meet(|barrier| {
            aside(|| barrier.wait());
        });
    }

    #[test]
    fn nobody_waits_for_tasks_that_run_for_long() {
        all_meet(|barrier| {
            barrier.wait();
        });
    }

    #[test]
    fn a_thread_more_is_woken_when_enough_waits_for_it() {
        let shared = Shared { awake_max: 2, backlog_max: 2, ..Shared::default() };
        let mut queue = Queue::default();
        let add = |queue: &mut Queue| queue.tasks.push_back(Box::new(|| {}));
        assert!(shared.are_enough(&queue), "nothing waits");
        add(&mut queue);
        assert!(!shared.are_enough(&queue));
        let since = queue.runs();
        add(&mut queue);
        assert!(shared.are_enough(&queue), "two are not worth a second one");
        add(&mut queue);
        assert!(!shared.are_enough(&queue));
        let _ = queue.runs();
        add(&mut queue);
        add(&mut queue);
        assert!(shared.are_enough(&queue), "no third one");
        // A tick and one more, and both have run for long.
        queue.move_on();
        assert_eq!(queue.awake(), 2);
        queue.move_on();
        assert_eq!(queue.awake(), 0);
        queue.rests(since);
        let since = queue.runs();
        queue.move_on();
        queue.rests(since);
        assert_eq!(queue.awake(), 0);
    }

    /// What is left to be done is done before somebody waits aside, and though somebody else runs for long: each of these
    /// two waits for it, once as it should and once as it should not.
    #[test]
    fn what_is_to_be_done_after_tasks_is_waited_for_by_none_in_vain() {
        for is_aside in [true, false] {
            let pool = Pool::lingering("test", 3, 2);
            pool.start().unwrap();
            (0..3).for_each(|_| pool.reserve().unwrap());
            let (left, done) =
                (Arc::new(AtomicUsize::new(0)), Arc::new((Mutex::new(0), std::sync::Condvar::new())));
            let (leaves, does) = (left.clone(), done.clone());
            pool.after_tasks(move || {
                *does.0.lock().unwrap() += leaves.swap(0, Ordering::SeqCst);
                does.1.notify_all();
                false
            });
            let begun = Arc::new(std::sync::Barrier::new(2));
            let (begins, waits) = (begun.clone(), done.clone());
            pool.give(move || {
                begins.wait();
                let wait = || drop(waits.1.wait_while(waits.0.lock().unwrap(), |done| *done == 0).unwrap());
                if is_aside { aside(wait) } else { wait() }
            });
            let leaves = left.clone();
            pool.give(move || {
                leaves.fetch_add(1, Ordering::SeqCst);
                begun.wait();
            });
            // Another long one, which the thread takes that has just left something.
            let waits = done.clone();
            pool.give(move || drop(waits.1.wait_while(waits.0.lock().unwrap(), |done| *done == 0).unwrap()));
            pool.close();
            assert_eq!((left.load(Ordering::SeqCst), *done.0.lock().unwrap()), (0, 1));
        }
    }

    #[test]
    fn what_is_to_be_done_after_tasks_is_done_before_the_pool_is_closed() {
        let pool = Pool::lingering("test", 2, 1);
        let (left, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (leaves, does, left_over) = (left.clone(), done.clone(), left.clone());
        pool.after_tasks(move || {
            does.fetch_add(leaves.swap(0, Ordering::SeqCst), Ordering::SeqCst);
            left_over.load(Ordering::SeqCst) > 0
        });
        for _ in 0..1000 {
            let left = left.clone();
            pool.give(move || {
                left.fetch_add(1, Ordering::SeqCst);
            });
        }
        pool.close();
        assert_eq!(done.load(Ordering::SeqCst), 1000);
    }

    #[test]
    fn a_reservation_that_the_system_refuses_is_none() {
        let mut pool = Pool::lingering("test", 2, 2);
        pool.start().unwrap();
        pool.reserve().unwrap();
        pool.stack_bytes = 1 << 60;
        assert!(pool.reserve().is_err());
        assert_eq!(pool.shared.lock().reserved, 1);
        pool.close();
    }

    #[test]
    fn threads_leave_while_there_are_more_than_are_reserved() {
        let queue = |threads, reserved| Queue { threads, reserved, ..Queue::default() };
        assert!(queue(2, 0).may_be_fewer() && queue(2, 1).may_be_fewer());
        assert!(!queue(1, 0).may_be_fewer(), "one stays");
        assert!(!queue(2, 2).may_be_fewer());
    }

    #[test]
    fn a_task_that_nobody_would_do_is_refused() {
        let pool = Pool::without_threads("test");
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let done = done.clone();
            let task = move || {
                done.fetch_add(1, Ordering::Relaxed);
            };
            assert!(pool.try_give(task).is_err());
        }
        assert!(pool.start().is_err());
        let queue = pool.shared.lock();
        assert_eq!((queue.tasks.len(), queue.threads), (0, 0));
        assert_eq!(Arc::strong_count(&done), 1, "what was refused is dropped");
    }

    /// One thread is enough, however many the pool may have.
    #[test]
    fn a_refused_thread_leaves_its_task_to_the_others() {
        let mut pool = Pool::new("test", 3);
        pool.start().unwrap();
        pool.stack_bytes = 1 << 60;
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let done = done.clone();
            pool.give(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        pool.close();
        assert_eq!(done.load(Ordering::Relaxed), 100);
    }
}
