//! Transactions that span several statements.

use std::ops::{Deref, DerefMut};

use graphite_protocol::Token;
use graphite_protocol::messages::{Begin, Commit, CommitReply, Mode, Rollback};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::retry::RetryPolicy;

/// An open transaction: all that a [`Client`] does belongs to it until it is committed or rolled back. Dropped
/// without either, it is rolled back.
///
/// When a statement of it fails, the daemon undoes all of the transaction and takes nothing but `rollback` any more.
#[derive(Debug)]
pub struct Transaction<'c> {
    client: &'c mut Client,
    open: bool,
}

impl Client {
    /// Opens a transaction that reads, all from one snapshot.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn begin_read(&mut self) -> Result<Transaction<'_>> {
        self.begin(Mode::Read)
    }

    /// Opens a transaction that reads and changes.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn begin_write(&mut self) -> Result<Transaction<'_>> {
        self.begin(Mode::Write)
    }

    fn begin(&mut self, mode: Mode) -> Result<Transaction<'_>> {
        self.call(&Begin { mode })?;
        Ok(Transaction { client: self, open: true })
    }

    /// Runs `work` in a transaction and commits it. If that fails for a reason that passes (a deadlock, a lock that
    /// did not come in time, a busy daemon), all of it is run again after a pause, as [`RetryPolicy::default`] says:
    /// so `work` should have no effects but those on the database.
    ///
    /// ```no_run
    /// # use graphite_client::{Client, Error, NodeId, Value, props};
    /// # fn main() -> graphite_client::Result<()> {
    /// # let mut client = Client::open("bank.graphite")?;
    /// # let (ada, charles) = (NodeId(1), NodeId(2));
    /// let left = client.transaction(|tx| {
    ///     let mut balance = |id| -> graphite_client::Result<i64> {
    ///         let account = tx.node(id)?.ok_or_else(|| Error::other("no such account"))?;
    ///         Ok(account.get("balance").and_then(Value::as_int).unwrap_or(0))
    ///     };
    ///     let (from, to) = (balance(ada)?, balance(charles)?);
    ///     if from < 10 {
    ///         return Err(Error::other("not enough")); // rolled back
    ///     }
    ///     tx.set_properties(ada, props! { "balance" => from - 10 })?;
    ///     tx.set_properties(charles, props! { "balance" => to + 10 })?;
    ///     Ok(from - 10)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// When `work` returns an error or panics, the transaction is rolled back.
    ///
    /// # Errors
    /// That of `work`, of the beginning or of the commit, in the last try. Nothing of the transaction was done then,
    /// unless [`Error::is_commit_unknown`]: such a commit is never tried again, for it may have been made.
    pub fn transaction<T>(&mut self, work: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        self.transaction_with(&RetryPolicy::default(), work)
    }

    /// As [`Client::transaction`], with a policy of one's own.
    ///
    /// # Errors
    /// As [`Client::transaction`].
    pub fn transaction_with<T>(
        &mut self,
        policy: &RetryPolicy,
        mut work: impl FnMut(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        policy.run(|| {
            let mut tx = self.begin_write()?;
            let value = work(&mut tx)?;
            tx.commit()?;
            Ok(value)
        })
    }

    /// The same as [`Client::transaction`].
    ///
    /// # Errors
    /// As [`Client::transaction`].
    pub fn write<T>(&mut self, work: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        self.transaction(work)
    }

    /// Runs `work` on one snapshot: all that it reads is of one moment, at or after this client's last commit. It
    /// waits for no writer and no writer waits for it. If the snapshot grows too old to be kept, all of it is run
    /// again on a new one.
    ///
    /// ```no_run
    /// # use graphite_client::{Client, Direction, NodeId};
    /// # fn main() -> graphite_client::Result<()> {
    /// # let mut client = Client::open("social.graphite")?;
    /// # let ada = NodeId(1);
    /// let (friends, fans) = client.snapshot(|s| {
    ///     Ok((s.degree(ada, Direction::Out, &["LIKES"])?, s.degree(ada, Direction::In, &["LIKES"])?))
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// That of `work`, in the last try; `read-only-transaction` for a change.
    pub fn snapshot<T>(&mut self, mut work: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
        // Dropped, the snapshot is given back.
        RetryPolicy::default().run(|| work(&mut self.begin_read()?))
    }
}

impl Transaction<'_> {
    /// Makes the changes durable and visible.
    ///
    /// # Errors
    /// The daemon's, or that of the connection. Unless [`Error::is_commit_unknown`], the changes are undone. Who
    /// wants to be able to ask then names the commit: [`Transaction::commit_as`].
    pub fn commit(self) -> Result<CommitReply> {
        self.finish(None)
    }

    /// As [`Transaction::commit`], under a name that was never used before, by which [`Client::commit_status`] can be
    /// asked for the outcome on another connection.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    pub fn commit_as(self, token: Token) -> Result<CommitReply> {
        self.finish(Some(token))
    }

    fn finish(mut self, token: Option<Token>) -> Result<CommitReply> {
        let ticket = self.client.send(&Commit { token })?;
        let result = self.client.receive(ticket);
        // A commit that was refused before it began (a daemon that leaves) leaves the transaction open.
        self.open = result.is_err();
        result.map_err(|error| match error {
            Error::Server { .. } => error,
            lost => Error::CommitUnknown(Box::new(lost)),
        })
    }

    /// Undoes the changes.
    ///
    /// # Errors
    /// That of the connection, in which case the daemon undoes them by itself.
    pub fn rollback(mut self) -> Result<()> {
        self.open = false;
        self.client.call(&Rollback {}).map(|_| ())
    }
}

impl Deref for Transaction<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.client
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            // An error means that there is no transaction any more, or no connection; both end it.
            let _ = self.client.call(&Rollback {});
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graphite_protocol::message::{Message, write_error, write_response};
    use graphite_protocol::messages::{Empty, HelloReply, Request};
    use graphite_protocol::{ErrorCode, FRAME_BYTES_MAX, FrameReader, PROTOCOL_VERSION, WireError};
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// How a peer that plays the daemon answers a commit.
    #[derive(Clone, Copy)]
    enum Commits {
        Fail(ErrorCodeOf),
        Close,
        Succeed,
    }
    type ErrorCodeOf = fn() -> ErrorCode;

    fn play(mut stream: UnixStream, mut commits: impl Iterator<Item = Commits>, heard: &Mutex<Vec<String>>) {
        let mut reader = FrameReader::new(FRAME_BYTES_MAX);
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            reader.feed(&buffer[..count]);
            let mut out = Vec::new();
            while let Some(frame) = reader.next_frame().unwrap() {
                let Ok(Message::Request { msgid, method, .. }) = Message::read(frame) else {
                    panic!("a request")
                };
                heard.lock().unwrap().push(method.to_owned());
                let fail = |out: &mut Vec<u8>, code| {
                    write_error(out, msgid, &WireError::new(code, "as played"), FRAME_BYTES_MAX);
                };
                match method {
                    Commit::METHOD => match commits.next().expect("no more commits than were planned") {
                        Commits::Fail(code) => fail(&mut out, code()),
                        Commits::Close => return,
                        Commits::Succeed => {
                            write_response(&mut out, msgid, &CommitReply { lsn: 7 }, FRAME_BYTES_MAX);
                        }
                    },
                    "hello" => {
                        let reply = HelloReply {
                            protocol: PROTOCOL_VERSION,
                            server: "played".into(),
                            session: 1,
                            database: "db".into(),
                            pid: 1,
                            format_version: 1,
                        };
                        write_response(&mut out, msgid, &reply, FRAME_BYTES_MAX);
                    }
                    _ => write_response(&mut out, msgid, &Empty {}, FRAME_BYTES_MAX),
                }
            }
            stream.write_all(&out).unwrap();
        }
    }

    /// Runs a transaction against a peer whose commits end so; returns its result, how often its work was run, and
    /// which methods the peer heard.
    fn run(commits: &'static [Commits]) -> (Result<u32>, u32, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listening = heard.clone();
        let peer = std::thread::spawn(move || {
            play(listener.accept().unwrap().0, commits.iter().copied(), &listening);
        });
        let mut client = Client::connect(&socket).unwrap();
        let mut runs = 0;
        let policy = RetryPolicy { pause_max: Duration::from_micros(1), ..RetryPolicy::default() };
        let result = client.transaction_with(&policy, |_| {
            runs += 1;
            Ok(runs)
        });
        drop(client);
        peer.join().unwrap();
        let heard = heard.lock().unwrap().clone();
        (result, runs, heard)
    }

    #[test]
    fn a_commit_that_was_refused_for_a_passing_reason_is_tried_again() {
        let (result, runs, heard) = run(&[
            Commits::Fail(|| ErrorCode::Deadlock),
            Commits::Fail(|| ErrorCode::LockTimeout),
            Commits::Succeed,
        ]);
        assert_eq!((result.unwrap(), runs), (3, 3));
        let refused = ["begin", "commit", "rollback"];
        assert_eq!(heard, [&["hello"][..], &refused, &refused, &["begin", "commit"]].concat());
    }

    #[test]
    fn a_commit_that_may_have_been_made_is_never_tried_again() {
        let (result, runs, _) = run(&[Commits::Fail(|| ErrorCode::CommitUnknown)]);
        assert!(result.unwrap_err().is_commit_unknown());
        assert_eq!(runs, 1);
        let (result, runs, _) = run(&[Commits::Close]);
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::CommitUnknown(lost) if matches!(**lost, Error::Closed)), "{error:?}");
        assert_eq!(runs, 1);
    }

    #[test]
    fn a_commit_that_was_refused_for_good_is_not_tried_again() {
        let (result, runs, heard) = run(&[Commits::Fail(|| ErrorCode::DiskFull)]);
        assert_eq!((result.unwrap_err().code(), runs), (Some(&ErrorCode::DiskFull), 1));
        assert_eq!(heard.last().unwrap(), "rollback");
    }
}
