//! Random transactions over few objects, each written down with what it read, what it wrote and how it ended.
//!
//! 1. What a transaction did is in the file before its commit is sent, so it is known even if this process is killed then.
//! 2. A transaction counts as rolled back only if its commit was not sent, or the daemon refused it.
//! 3. When the daemon is gone it is waited for; what was under way ends as rule 2 says.
//!
//! All processes work on the same few keys at a time. One that is found full is left behind; how far the foremost has
//! come stands in a file, so that one that is started late need not find that out.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use graphite_client::messages::{Begin, Commit, Mode, Rollback};
use graphite_client::{Client, Error, ErrorCode, Result};
use graphite_tests::history::{Element, Object, Objects, Outcome, Step, write_outcome, write_transaction};
use graphite_tests::{PATIENCE, Random};
use nix::time::{ClockId, clock_gettime};

use crate::Common;

/// Keys that are worked on at the same time.
const KEYS_AT_ONCE: u32 = 9;
/// Elements after which a key is left behind.
const ELEMENTS_MAX: usize = 24;
/// Steps of a transaction.
const STEPS_MAX: u64 = 5;
/// Elements of a process.
const ELEMENTS_OF_PROCESS_MAX: u64 = 1_000_000;
/// How far the foremost has come.
const PROGRESS: &str = "progress";
/// Transactions after which a process looks how far that is.
const LOOK_EVERY: u64 = 20;

/// A transaction under way.
struct Running {
    began: u64,
    steps: Vec<Step>,
}

struct Process {
    socket: PathBuf,
    client: Client,
    objects: Objects,
    random: Random,
    number: u32,
    file: File,
    progress: PathBuf,
    first_key: u32,
    elements: u64,
}

pub(crate) fn run(common: &Common, dir: &Path, count: u64) -> Result<()> {
    let mut client = connect(&common.socket)?;
    let objects = find(&mut client, &common.socket)?;
    let file = File::create_new(dir.join(format!("{}.history", common.number))).map_err(Error::other)?;
    let mut process = Process {
        socket: common.socket.clone(),
        client,
        objects,
        random: Random::new(common.seed),
        number: common.number,
        file,
        progress: dir.join(PROGRESS),
        first_key: 0,
        elements: 0,
    };
    for transaction in 0..count {
        if transaction.is_multiple_of(LOOK_EVERY) {
            process.look();
        }
        process.transaction()?;
    }
    Ok(())
}

/// Connects, as soon as there is a daemon.
fn connect(socket: &Path) -> Result<Client> {
    let began = Instant::now();
    loop {
        match Client::connect(socket) {
            Err(error) if error.is_no_connection() && began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

fn find(client: &mut Client, socket: &Path) -> Result<Objects> {
    loop {
        match Objects::find(client) {
            Err(error) if error.is_no_connection() => *client = connect(socket)?,
            result => return result,
        }
    }
}

/// Nanoseconds of a clock that all processes share and that never goes back.
fn now() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(Error::other)?;
    u64::try_from(Duration::from(now).as_nanos()).map_err(Error::other)
}

impl Process {
    fn look(&mut self) {
        let foremost = fs::read_to_string(&self.progress).ok().and_then(|text| text.parse().ok());
        self.first_key = self.first_key.max(foremost.unwrap_or(0));
    }

    /// A key is full: its neighbours will be too, so the whole window moves on by one.
    fn leave_behind(&mut self, key: u32) {
        if key < self.first_key {
            return;
        }
        self.first_key += 1;
        // Written beside and renamed, so that nobody reads half of it. Whoever comes later corrects what another one
        // has set back.
        let beside = self.progress.with_extension(self.number.to_string());
        let written =
            fs::write(&beside, self.first_key.to_string()).and_then(|()| fs::rename(&beside, &self.progress));
        debug_assert!(written.is_ok(), "the directory is the test's own: {written:?}");
    }

    fn object(&mut self) -> Object {
        let last = u32::try_from(self.objects.keys()).unwrap_or(u32::MAX) - 1;
        let key = self.first_key + u32::try_from(self.random.below(KEYS_AT_ONCE.into())).unwrap_or(0);
        Objects::object(key.min(last))
    }

    fn element(&mut self) -> Element {
        self.elements += 1;
        assert!(self.elements < ELEMENTS_OF_PROCESS_MAX, "elements of two processes would be the same");
        u64::from(self.number) * ELEMENTS_OF_PROCESS_MAX + self.elements
    }

    /// One transaction of some sort. An error is one that no transaction should have.
    fn transaction(&mut self) -> Result<()> {
        let mut running = Running { began: now()?, steps: Vec::new() };
        let outcome = match self.random.below(100) {
            0..35 => self.read_together(&mut running, Mode::Read),
            35..40 => self.read_together(&mut running, Mode::Write),
            40..45 => self.read_alone(&mut running),
            45..52 => self.put_alone(&mut running),
            _ => self.work(&mut running),
        }?;
        let mut line = String::new();
        write_outcome(&mut line, now()?, outcome);
        self.write(&line)
    }

    fn write(&mut self, line: &str) -> Result<()> {
        self.file.write_all(line.as_bytes()).map_err(Error::other)
    }

    /// Writes down what was done.
    fn note(&mut self, running: &Running) -> Result<()> {
        let mut line = String::new();
        write_transaction(&mut line, self.number, running.began, &running.steps);
        self.write(&line)
    }

    fn read(&mut self, running: &mut Running, object: Object) -> Result<()> {
        let elements = self.objects.read(&mut self.client, object)?;
        if elements.len() >= ELEMENTS_MAX {
            let (Object::List(key) | Object::Edges(key) | Object::Label(key)) = object;
            self.leave_behind(key);
        }
        running.steps.push(Step::Read(object, elements));
        Ok(())
    }

    fn put(&mut self, running: &mut Running, object: Object) -> Result<()> {
        let element = self.element();
        let before = self.objects.put(&mut self.client, &mut self.random, object, element)?;
        running.steps.extend(before.map(|elements| Step::Read(object, elements)));
        running.steps.push(Step::Put(object, element));
        Ok(())
    }

    fn read_together(&mut self, running: &mut Running, mode: Mode) -> Result<Outcome> {
        let steps = 1 + self.random.below(STEPS_MAX);
        self.together(running, mode, steps, |process, running| {
            let object = process.object();
            process.read(running, object)
        })
    }

    fn work(&mut self, running: &mut Running) -> Result<Outcome> {
        let steps = 1 + self.random.below(STEPS_MAX);
        self.together(running, Mode::Write, steps, |process, running| {
            let object = process.object();
            if process.random.percent(50) {
                process.put(running, object)
            } else {
                process.read(running, object)
            }
        })
    }

    /// A transaction of several steps.
    fn together(
        &mut self,
        running: &mut Running,
        mode: Mode,
        steps: u64,
        mut step: impl FnMut(&mut Process, &mut Running) -> Result<()>,
    ) -> Result<Outcome> {
        let begun = self.client.call(&Begin { mode }).map(|_| ());
        let done = begun.and_then(|()| (0..steps).try_for_each(|_| step(self, running)));
        self.note(running)?;
        if let Err(error) = done {
            return self.rolled_back(error);
        }
        if mode == Mode::Write && self.random.percent(5) {
            let undone = self.client.call(&Rollback {});
            return undone.map_or_else(|error| self.rolled_back(error), |_| Ok(Outcome::Aborted));
        }
        match self.client.call(&Commit::default()) {
            Ok(reply) => Ok(Outcome::Committed { lsn: reply.lsn }),
            // A snapshot has nothing that could be lost.
            Err(Error::Server { code, .. }) if code != ErrorCode::CommitUnknown => self.refused(&code),
            Err(error) => self.lost(error, mode == Mode::Write),
        }
    }

    /// A statement without a transaction that reads: a snapshot of its own.
    fn read_alone(&mut self, running: &mut Running) -> Result<Outcome> {
        let object = self.object();
        let done = self.read(running, object);
        self.note(running)?;
        match done {
            Ok(()) => Ok(Outcome::Committed { lsn: 0 }),
            Err(error) => self.rolled_back(error),
        }
    }

    /// A statement without a transaction that writes: its own commit.
    fn put_alone(&mut self, running: &mut Running) -> Result<Outcome> {
        let object = match self.object() {
            // A list takes two statements.
            Object::List(key) => Objects::object(key + 1),
            other => other,
        };
        let element = self.element();
        running.steps.push(Step::Put(object, element));
        self.note(running)?;
        match self.objects.put(&mut self.client, &mut self.random, object, element) {
            Ok(_) => Ok(Outcome::Committed { lsn: 0 }),
            Err(Error::Server { code, .. }) if code != ErrorCode::CommitUnknown => self.refused(&code),
            Err(error) => self.lost(error, true),
        }
    }

    /// A statement of a transaction failed, so all of it is undone.
    fn rolled_back(&mut self, error: Error) -> Result<Outcome> {
        match error {
            Error::Server { code, .. } => self.refused(&code),
            error => self.lost(error, false),
        }
    }

    /// The daemon refused, for a reason that a well-behaved client may meet.
    fn refused(&mut self, code: &ErrorCode) -> Result<Outcome> {
        if *code == ErrorCode::ShuttingDown {
            return self.lost(Error::Closed, false);
        }
        if !code.retryable() {
            return Err(Error::other(format!("a transaction was refused as {code}")));
        }
        match self.client.call(&Rollback {}) {
            Ok(_) => Ok(Outcome::Aborted),
            Err(Error::Server { code: ErrorCode::NoTransaction, .. }) => Ok(Outcome::Aborted),
            Err(Error::Server { code, .. }) if code != ErrorCode::ShuttingDown => {
                Err(Error::other(format!("a rollback was refused as {code}")))
            }
            Err(error) => self.lost(error, false),
        }
    }

    /// The connection is gone. What was to be committed then may be there or not.
    fn lost(&mut self, error: Error, committing: bool) -> Result<Outcome> {
        if !error.is_no_connection() && !error.is_commit_unknown() {
            return Err(error);
        }
        self.client = connect(&self.socket)?;
        Ok(if committing { Outcome::Unknown } else { Outcome::Aborted })
    }
}
