//! A client that runs random transactions, and notes what it did and all that it was shown.
//!
//! 1. What it reads it notes as soon as it has it, whatever becomes of its transaction.
//! 2. A transaction is undone unless its commit was sent; it is committed only if the daemon said so, and not known only if
//!    the daemon said that, or if the connection was gone by then. What is refused in any other way has not happened.
//! 3. It goes on until the disk is dead. Before that it gets no error but those that anybody may get.

use std::net::Shutdown;
use std::path::Path;

use graphite_protocol::messages::{
    Begin, Checkpoint, Commit, CommitState, CommitStatus, Fetch, Mode, Rollback, Run,
};
use graphite_protocol::{ErrorCode, Pairs, Plan, Token, Value, WireError};
use graphite_store::disk::SimDisk;

use crate::common::{Client, int};
use crate::field::{Field, delete_mortal, elements, look_at_mortal, make_mortal, one_of};
use crate::notes::{Attempt, Element, Fact, Notes, Object, Outcome, Who};
use crate::random::Random;

const STEPS_MAX: u64 = 4;

type Result<T> = std::result::Result<T, WireError>;

/// See the module's head.
pub(crate) struct Visitor<'a> {
    pub(crate) client: Client,
    pub(crate) random: Random,
    pub(crate) field: &'a Field,
    pub(crate) disk: &'a SimDisk,
    pub(crate) socket: &'a Path,
    pub(crate) notes: Notes,
}

impl Visitor<'_> {
    /// Works until the power is cut.
    pub(crate) fn work(mut self) -> Notes {
        while !self.disk.is_dead() {
            let result = match self.random.below(100) {
                0..20 => self.alone(),
                20..70 => self.together(),
                70..80 => self.read_alone(),
                80..92 => self.read_together(),
                92..99 => self.ask_for_another(),
                _ => self.client.call(&Checkpoint {}).map(drop),
            };
            if let Err(error) = result {
                self.expect_harmless(&error);
            }
        }
        self.notes
    }

    /// As long as the disk lives, nobody gets other errors than these.
    fn expect_harmless(&self, error: &WireError) {
        let is_harmless = error.retryable || error.code == ErrorCode::NodeNotFound;
        assert!(is_harmless || self.disk.is_dead(), "{error:?}");
    }

    /// All rows of a plan, perhaps by a cursor.
    fn rows(&mut self, plan: Plan) -> Result<Vec<Vec<Value>>> {
        let fetch = self.random.percent(20).then_some(2);
        let reply = self.client.call(&Run { plan, params: Pairs::default(), fetch, timeout_ms: None })?;
        let (mut rows, mut cursor) = (reply.rows, reply.cursor);
        while let Some(open) = cursor {
            let more = self.client.call(&Fetch { cursor: open, n: 2 })?;
            rows.extend(more.rows);
            cursor = more.cursor;
        }
        Ok(rows)
    }

    fn hot_place(&mut self) -> usize {
        self.random.place(self.field.hot.len())
    }

    fn object(&mut self) -> Object {
        let place = self.hot_place();
        if self.random.percent(50) { Object::List(place) } else { Object::Edges(place) }
    }

    /// A node that was there, and perhaps is not for much longer.
    fn mortal(&mut self) -> Option<u64> {
        let from = if self.random.percent(70) { &self.field.doomed } else { &self.field.mortals };
        one_of(from, |count| self.random.place(count))
    }

    /// A node that is to be deleted.
    fn doom(&mut self, attempt: &mut Attempt) -> Option<u64> {
        let id = one_of(&self.field.mortals, |count| self.random.place(count));
        let id = id.filter(|id| !attempt.deleted.contains(id))?;
        self.field.doomed.lock().unwrap().push(id);
        attempt.deleted.push(id);
        Some(id)
    }

    /// Reads an object; what `attempt` put into it itself is nothing that it was shown.
    fn read(&mut self, who: Who, object: Object, attempt: &Attempt) -> Result<Vec<Element>> {
        let all = elements(object, &self.rows(self.field.read(object))?);
        let of_others = |element: &Element| !attempt.put.contains(&(object, *element));
        self.notes.show(who, Fact::Holds(object, all.iter().copied().filter(of_others).collect()));
        Ok(all)
    }

    /// Looks at a node that may be deleted. That it is gone may be told by an error.
    fn look_at_mortal(&mut self, who: Who, id: u64) -> Result<()> {
        let required = who == Who::Writer || self.random.percent(50);
        let rows = self.rows(look_at_mortal(id, required));
        self.note_if_gone(who, id, &rows);
        if rows? == [] as [Vec<Value>; 0] {
            self.notes.show(who, Fact::Gone(id));
        }
        Ok(())
    }

    fn note_if_gone<T>(&mut self, who: Who, id: u64, result: &Result<T>) {
        if result.as_ref().is_err_and(|error| error.code == ErrorCode::NodeNotFound) {
            self.notes.show(who, Fact::Gone(id));
        }
    }

    /// A plan that puts a new element onto two hot nodes, which is noted.
    fn put_edges(&mut self, attempt: &mut Attempt) -> Plan {
        let one = self.hot_place();
        let other = (one + 1 + self.random.place(self.field.hot.len() - 1)) % self.field.hot.len();
        let new = self.field.number();
        attempt.put.extend([(Object::Edges(one), new), (Object::Edges(other), new)]);
        self.field.put_edges(one, other, new)
    }

    /// A statement that is a transaction of its own.
    fn alone(&mut self) -> Result<()> {
        let mut attempt = Attempt::default();
        let put = self.put_edges(&mut attempt);
        let result = match self.random.below(4) {
            0 => self.put_and_read(put, &attempt),
            1 => self.put_and_make(put, &mut attempt),
            2 => self.put_and_delete(put, &mut attempt),
            _ => self.client.run(put).map(drop),
        };
        attempt.outcome = outcome(&result);
        self.end(attempt);
        result
    }

    fn put_and_read(&mut self, put: Plan, attempt: &Attempt) -> Result<()> {
        let object = attempt.put[0].0;
        let read = self.field.read(object).pipelines.remove(0);
        // Without a cursor: that it was committed is told by the first answer.
        let mut shown = elements(object, &self.client.run(put.then(read))?.rows);
        shown.retain(|element| *element != attempt.put[0].1);
        self.notes.show(Who::Writer, Fact::Holds(object, shown));
        Ok(())
    }

    fn put_and_make(&mut self, put: Plan, attempt: &mut Attempt) -> Result<()> {
        let make = make_mortal(attempt.put[0].1).pipelines.remove(0);
        let reply = self.client.run(put.then(make))?;
        attempt.created.push(id_of(&reply.rows));
        Ok(())
    }

    fn put_and_delete(&mut self, put: Plan, attempt: &mut Attempt) -> Result<()> {
        let Some(id) = self.doom(attempt) else { return self.client.run(put).map(drop) };
        let result = self.client.run(put.then(delete_mortal(id).pipelines.remove(0))).map(drop);
        self.note_if_gone(Who::Writer, id, &result);
        result
    }

    /// The end of an attempt, whatever it was.
    fn end(&mut self, attempt: Attempt) {
        if attempt.outcome == Outcome::Committed {
            self.field.mortals.lock().unwrap().extend(&attempt.created);
        }
        self.notes.attempts.push(attempt);
    }

    /// A transaction of several statements.
    fn together(&mut self) -> Result<()> {
        let mut attempt = Attempt::default();
        let begun = self.client.call(&Begin { mode: Mode::Write });
        let steps = 1 + self.random.below(STEPS_MAX);
        let done = begun.and_then(|_| (0..steps).try_for_each(|_| self.step(&mut attempt)));
        let result = match done {
            Ok(()) if !self.random.percent(10) => self.commit(&mut attempt),
            done => {
                let rolled_back = self.client.call(&Rollback {}).map(drop);
                // One that failed at its beginning is not there to be rolled back.
                done.and(rolled_back)
            }
        };
        self.end(attempt);
        result
    }

    fn step(&mut self, attempt: &mut Attempt) -> Result<()> {
        match self.random.below(12) {
            0..3 => {
                let object = self.object();
                self.read(Who::Writer, object, attempt).map(drop)
            }
            3..6 => self.append(attempt),
            6..8 => {
                let put = self.put_edges(attempt);
                self.client.run(put).map(drop)
            }
            8 => {
                let made = self.client.run(make_mortal(self.field.number()))?;
                attempt.created.push(id_of(&made.rows));
                Ok(())
            }
            9 => self.delete(attempt),
            _ => match self.mortal().filter(|id| !attempt.deleted.contains(id)) {
                Some(id) => self.look_at_mortal(Who::Writer, id),
                None => Ok(()),
            },
        }
    }

    fn delete(&mut self, attempt: &mut Attempt) -> Result<()> {
        let Some(id) = self.doom(attempt) else { return Ok(()) };
        let put = self.put_edges(attempt);
        self.client.run(put)?;
        let result = self.client.run(delete_mortal(id)).map(drop);
        self.note_if_gone(Who::Writer, id, &result);
        result
    }

    /// Reads a list and writes it with one element more. Sometimes it is locked first, else two of these deadlock.
    fn append(&mut self, attempt: &mut Attempt) -> Result<()> {
        let place = self.hot_place();
        if self.random.percent(85) {
            self.client.run(self.field.touch(place))?;
        }
        let mut list = self.read(Who::Writer, Object::List(place), attempt)?;
        list.push(self.field.number());
        attempt.put.extend(list.last().map(|new| (Object::List(place), *new)));
        self.client.run(self.field.write_list(place, &list)).map(drop)
    }

    /// Commits, with a name or without; and sometimes does not stay for the answer.
    fn commit(&mut self, attempt: &mut Attempt) -> Result<()> {
        if self.random.percent(50) {
            let token = Token::new(format!("commit {}", self.field.number())).unwrap();
            self.field.tokens.lock().unwrap().push(token.clone());
            attempt.token = Some(token);
        }
        let commit = Commit { token: attempt.token.clone() };
        if self.random.percent(5) {
            self.client.send(&commit);
            return self.come_again(attempt);
        }
        let result = self.client.call(&commit).map(drop);
        attempt.outcome = outcome(&result);
        result
    }

    /// Loses the connection after a commit was sent, and asks what became of it.
    fn come_again(&mut self, attempt: &mut Attempt) -> Result<()> {
        attempt.outcome = Outcome::Unknown;
        self.client.stream.shutdown(Shutdown::Both).unwrap();
        self.client = Client::connect(self.socket);
        self.client.hello();
        let Some(token) = attempt.token.clone() else { return Ok(()) };
        let told = self.client.call(&CommitStatus { token })?;
        attempt.outcome = match told.state {
            CommitState::Committed => Outcome::Committed,
            CommitState::NotFound => Outcome::Undone,
        };
        Ok(())
    }

    /// Asks what became of the commit of somebody.
    fn ask_for_another(&mut self) -> Result<()> {
        let token = one_of(&self.field.tokens, |count| self.random.place(count));
        let Some(token) = token else { return Ok(()) };
        // One that is not there may still come, for it may not have been sent yet.
        if self.client.call(&CommitStatus { token: token.clone() })?.state == CommitState::Committed {
            self.notes.show(Who::Writer, Fact::Committed(token));
        }
        Ok(())
    }

    fn read_alone(&mut self) -> Result<()> {
        let mortal = self.mortal();
        self.read_snapshot(mortal)
    }

    fn read_snapshot(&mut self, mortal: Option<u64>) -> Result<()> {
        if let Some(id) = mortal.filter(|_| self.random.percent(20)) {
            return self.look_at_mortal(Who::Snapshot, id);
        }
        let object = self.object();
        self.read(Who::Snapshot, object, &Attempt::default()).map(drop)
    }

    fn read_together(&mut self) -> Result<()> {
        // One that is made later is not in the snapshot, and not gone.
        let mortal = self.mortal();
        self.client.call(&Begin { mode: Mode::Read })?;
        let steps = 1 + self.random.below(STEPS_MAX);
        let done = (0..steps).try_for_each(|_| self.read_snapshot(mortal));
        let ended = self.client.call(&Commit::default());
        done.and(ended.map(drop))
    }
}

/// How a commit ended, by its answer.
fn outcome(answer: &Result<()>) -> Outcome {
    match answer {
        Ok(()) => Outcome::Committed,
        Err(error) if error.code == ErrorCode::CommitUnknown => Outcome::Unknown,
        Err(_) => Outcome::Undone,
    }
}

fn id_of(rows: &[Vec<Value>]) -> u64 {
    int(&rows[0][0]).cast_unsigned()
}
