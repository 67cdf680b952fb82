//! The two threads that a daemon adds to the engine: one for the log, one for checkpoints.
//!
//! The log thread syncs for those who do not wait for it, goes on with syncs where a worker that led one leaves off, makes
//! the next segment ready before it is needed, and lets an idle log mark its end. The checkpointer works when woken. Both sleep without a timer while nothing happens.

use std::time::Duration;

use crate::checkpoint::Pace;
use crate::store::Inner;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Arc, AtomicBool, Condvar, Mutex, Ordering, wait_timeout};

/// A log that had nothing to do for this long marks its end.
const IDLE: Duration = Duration::from_millis(200);
/// A database that was changed is checkpointed at least this often.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicBool,
    /// The log thread sleeps without a timer and has to be told that something happens again.
    log_sleeps: AtomicBool,
    /// The log moved. Set before `log_sleeps` is looked at, and looked at after `log_sleeps` is set: so whichever of the
    /// two comes second sees the other, and no move is missed.
    log_moved: AtomicBool,
    wanted: Mutex<Wanted>,
    log_woken: Condvar,
    checkpointer_woken: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    flush: bool,
    activity: bool,
    prepare: bool,
    /// The log thread makes a segment ready, which may take long: it writes all of it.
    is_preparing: bool,
    checkpoint: bool,
    stop: bool,
}

impl Threads {
    /// Starts both, once.
    pub(crate) fn start(inner: &Arc<Inner>) {
        let threads = &inner.threads;
        let mut handles = threads.handles.lock();
        if threads.shared.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let spawn = |name: &str, body: fn(&Shared, &dyn Fn() -> Option<Arc<Inner>>)| {
            let shared = threads.shared.clone();
            let weak = Arc::downgrade(inner);
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || body(&shared, &|| weak.upgrade()))
                .expect("the system has room for two threads at start")
        };
        handles.push(spawn("log", log_thread));
        handles.push(spawn("checkpointer", checkpointer_thread));
    }

    pub(crate) fn running(&self) -> bool {
        self.shared.running.load(Ordering::Acquire)
    }

    /// Asks the log thread to go on with the syncing; `false` if there is none, or if it has something else to do.
    pub(crate) fn wake_log(&self) -> bool {
        if !self.running() {
            return false;
        }
        {
            let mut wanted = self.shared.wanted.lock();
            if wanted.is_preparing || wanted.stop {
                return false;
            }
            wanted.flush = true;
        }
        self.shared.log_woken.notify_one();
        true
    }

    /// Tells a log thread that sleeps without a timer that the log moved.
    pub(crate) fn log_moved(&self) {
        self.shared.log_moved.store(true, Ordering::SeqCst);
        if self.shared.log_sleeps.load(Ordering::SeqCst) {
            self.shared.wanted.lock().activity = true;
            self.shared.log_woken.notify_one();
        }
    }

    /// Asks the log thread to make the next segment ready.
    pub(crate) fn wake_to_prepare(&self) {
        let mut wanted = self.shared.wanted.lock();
        if !wanted.prepare {
            wanted.prepare = true;
            self.shared.log_woken.notify_one();
        }
    }

    pub(crate) fn wake_checkpointer(&self) {
        let mut wanted = self.shared.wanted.lock();
        if !wanted.checkpoint {
            wanted.checkpoint = true;
            self.shared.checkpointer_woken.notify_one();
        }
    }

    /// Ends both and waits for them.
    pub(crate) fn stop(&self) {
        self.shared.wanted.lock().stop = true;
        self.shared.running.store(false, Ordering::Release);
        self.shared.log_woken.notify_all();
        self.shared.checkpointer_woken.notify_all();
        for handle in self.handles.lock().drain(..) {
            // The last owner of the database may be one of the threads themselves.
            if handle.thread().id() != thread::current().id() {
                let _ = handle.join();
            }
        }
    }
}

fn log_thread(shared: &Shared, inner: &dyn Fn() -> Option<Arc<Inner>>) {
    let mut sleep_for = FOR_EVER;
    loop {
        let mut wanted = shared.wanted.lock();
        let for_ever = sleep_for == FOR_EVER;
        shared.log_sleeps.store(for_ever, Ordering::SeqCst);
        // What moved while there was a timer was seen when that ran out, or it is seen here.
        wanted.activity |= for_ever && shared.log_moved.swap(false, Ordering::SeqCst);
        if !(wanted.flush || wanted.activity || wanted.prepare || wanted.stop) {
            wanted = wait_timeout(&shared.log_woken, wanted, sleep_for);
        }
        // Whoever asked for syncs has left, and others wait for them.
        if wanted.stop && !wanted.flush {
            return;
        }
        let (flush, activity) = (std::mem::take(&mut wanted.flush), std::mem::take(&mut wanted.activity));
        let prepare = wanted.prepare;
        wanted.is_preparing = prepare;
        drop(wanted);
        let Some(inner) = inner() else { return };
        if flush {
            inner.lead_all_syncs();
        }
        if prepare {
            // A failed write or sync has poisoned the database by now, and everyone is told. If there is no room, the
            // commit that needs it will say so.
            if let Err(error) = inner.prepare_ahead() {
                tracing::debug!(%error, "the log's next segment is not ready yet");
            }
            let mut wanted = shared.wanted.lock();
            wanted.prepare = false;
            wanted.is_preparing = false;
        }
        if flush || prepare || activity || inner.log.moved_since_asked() {
            sleep_for = IDLE;
        } else {
            // A failure has poisoned the database by now, and everyone is told.
            let is_marked = inner.mark().unwrap_or(true);
            sleep_for = if is_marked { FOR_EVER } else { IDLE };
        }
    }
}

fn checkpointer_thread(shared: &Shared, inner: &dyn Fn() -> Option<Arc<Inner>>) {
    loop {
        let mut wanted = shared.wanted.lock();
        if !(wanted.checkpoint || wanted.stop) {
            wanted = wait_timeout(&shared.checkpointer_woken, wanted, CHECKPOINT_EVERY);
        }
        if wanted.stop {
            return;
        }
        let asked = std::mem::take(&mut wanted.checkpoint);
        drop(wanted);
        let Some(inner) = inner() else { return };
        if inner.cache.dirty_pages() == 0 {
            continue;
        }
        // Commits during a checkpoint ask for the next one, as it is only its end that makes it done.
        let is_enough = || asked && !inner.checkpoint_is_due();
        if let Err(error) = inner.checkpoint_unless(Pace::Gentle, is_enough) {
            tracing::error!(%error, "a checkpoint failed");
        }
    }
}
