//! A daemon's life: take the database, listen, serve, leave it clean.
//!
//! 1. Signals are handled only once the database is open: a daemon that is killed while it recovers recovers again.
//! 2. The socket is taken away, and the note of the owner too, while the database's lock is still held, so that
//!    neither is ever a successor's.
//! 3. Whoever asks again has it leave at once, at whatever point of leaving it is.
//! 4. A panic in any thread ends the process. What it left half done is not trusted; recovery is.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use graphite_graph::GraphDb;
use graphite_store::clock::RealClock;
use graphite_store::disk::{Disk, RealDisk};
use graphite_store::{Error as StoreError, Store, StoreOptions};
use mio::{Poll, Waker};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use crate::config::{Config, Durability};
use crate::crew::Crew;
use crate::events::Events;
use crate::reactor::{Reactor, WAKER};
use crate::ready::Ready;
use crate::shared::{Shared, to_usize};
use crate::workers::Pool;
use crate::{exit, listen, ownership};

/// Why a daemon does not serve: the exit code, and one line for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// One of [`exit`]'s.
    pub code: u8,
    /// What happened, to what, and what to do.
    pub message: String,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    fn system(what: &str, error: impl std::fmt::Display) -> Failure {
        Failure::new(exit::SYSTEM, format!("{what}: {error}"))
    }
}

/// Serves the database that `config` names until it is asked to leave, or idle for long enough.
///
/// # Errors
/// Why it does not, or does not any more.
pub fn run(config: Config, ready: &mut Ready) -> Result<(), Failure> {
    die_on_panic();
    umask(Mode::from_bits_truncate(0o077));
    raise_descriptor_limit();
    // A file that may not grow any more is an error to be told, and no reason to be killed.
    signal_hook::flag::register(SIGXFSZ, Arc::default())
        .map_err(|error| Failure::system("signals", error))?;
    run_on(Arc::new(RealDisk), config, ready)
}

/// As [`run`], on a disk of the caller's: for tests of what a failing one does to clients. What concerns the whole
/// process, such as its end by a panic, is left as it is.
///
/// # Errors
/// As [`run`].
pub fn run_on(disk: Arc<dyn Disk>, config: Config, ready: &mut Ready) -> Result<(), Failure> {
    let Some(given) = &config.db else {
        return Err(Failure::new(exit::USAGE, "which database? Say --db PATH"));
    };
    let path = ownership::resolve(given)
        .map_err(|error| Failure::new(exit::CANNOT_CREATE, format!("{}: {error}", given.display())))?;
    ownership::check(&path).map_err(|why| Failure::new(exit::NOT_PERMITTED, why))?;
    let socket = config.socket.clone().unwrap_or_else(|| ownership::socket_of(&path));
    let socket = std::path::absolute(&socket)
        .map_err(|error| Failure::new(exit::CANNOT_CREATE, format!("{}: {error}", socket.display())))?;
    let db = open(disk, &path, &config)?;
    // The lock goes with the last holder of the store; the note has to go before.
    let locked = db.store().clone();
    let served = serve(config, &path, socket, db, ready);
    ownership::forget_owner(&path);
    drop(locked);
    served
}

fn open(disk: Arc<dyn Disk>, path: &Path, config: &Config) -> Result<GraphDb, Failure> {
    let options = StoreOptions {
        create: true,
        cache_bytes: to_usize(config.cache_bytes),
        wal_bytes: config.wal_bytes,
        old_versions_bytes_max: to_usize(config.old_versions_bytes),
        durable: config.durability == Durability::On,
    };
    let store = Store::open(disk, Arc::new(RealClock::default()), path, options).map_err(|error| {
        let error = match error {
            StoreError::InUse { path: used, pid: None } => {
                StoreError::InUse { path: used, pid: ownership::owner_of(path) }
            }
            other => other,
        };
        Failure::new(exit::of_store(&error), error.to_string())
    })?;
    if let Err(error) = ownership::note_owner(path) {
        tracing::warn!(%error, "others will not be told who owns the database");
    }
    let db = GraphDb::over(store).map_err(|error| {
        let code =
            if let graphite_graph::Error::Store(error) = &error { exit::of_store(error) } else { exit::DATA };
        Failure::new(code, error.to_string())
    })?;
    db.set_write_set_memory_bytes(config.transaction_memory_bytes);
    Ok(db)
}

fn serve(
    config: Config,
    path: &Path,
    socket: PathBuf,
    db: GraphDb,
    ready: &mut Ready,
) -> Result<(), Failure> {
    let store = db.store().clone();
    store.start_threads();
    let signals = signals().map_err(|error| Failure::system("signals", error))?;
    let poll = Poll::new().map_err(|error| Failure::system("epoll", error))?;
    let waker = Waker::new(poll.registry(), WAKER).map_err(|error| Failure::system("eventfd", error))?;
    if config.durability == Durability::Off {
        tracing::warn!("durability is off: a power cut, and perhaps a crash, loses commits");
    }
    let listener = listen::claim(&socket).map_err(|why| Failure::new(exit::CANNOT_CREATE, why))?;
    let shared = Arc::new(Shared::new(config, path.to_owned(), db, Events::new(waker)));
    let more_signals = signals.try_clone().map_err(|error| Failure::system("signals", error))?;
    // Whether the system has threads for us is better known now than at the first request.
    let started = [&shared.reads, &shared.writes].into_iter().try_for_each(Pool::start);
    let reactor =
        started.and_then(|()| Reactor::new(poll, shared.clone(), listener, socket.clone(), signals));
    let served = reactor.and_then(|reactor| {
        tracing::info!(database = ?path, ?socket, pid = std::process::id(), "serving");
        ready.serving();
        Crew::serve(reactor, &shared)
    });
    // What looks after the daemon was asked by clients that are gone.
    shared.clear_administration();
    if let Err(error) = more_signals.set_nonblocking(false) {
        tracing::warn!(%error, "signals are not looked at any more");
    }
    let closed = while_watching(&more_signals, &shared, &socket, || {
        shared.close_pools();
        listen::remove(&socket);
        store.close()
    });
    served.map_err(|error| Failure::system("the reactor stopped", error))?;
    closed.map_err(|error| {
        Failure::new(exit::of_store(&error), format!("the database could not be left clean: {error}"))
    })?;
    tracing::info!("left the database clean");
    Ok(())
}

/// Does what may take a while when the reactor has ended, and looks at the signals in its place.
fn while_watching<T>(signals: &UnixStream, shared: &Shared, socket: &Path, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let watching = std::thread::Builder::new().name("signals".to_owned()).spawn_scoped(scope, || {
            let mut asked = shared.asked_to_leave.load(Ordering::Acquire);
            let mut byte = [0];
            while let Ok(1) = (&*signals).read(&mut byte) {
                if asked {
                    exit::at_once(socket);
                }
                asked = true;
            }
        });
        if let Err(error) = watching {
            tracing::warn!(%error, "the system refused a thread");
        }
        let result = work();
        // The watcher reads the end.
        let _ = signals.shutdown(std::net::Shutdown::Both);
        result
    })
}

/// A stream that gets a byte for each signal that asks the daemon to leave. A terminal that goes away does not.
fn signals() -> std::io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGTERM, write.try_clone()?)?;
    signal_hook::low_level::pipe::register(SIGINT, write)?;
    signal_hook::flag::register(SIGHUP, Arc::default())?;
    Ok(read)
}

fn die_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        tracing::error!(%info, "a mistake in Graphite: ending the process; the next start recovers");
        std::process::abort();
    }));
}

/// As many descriptors as the system lets us have: each session takes one.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of descriptors stays as it is");
    }
}
