//! A client: one connection, one session.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use graphite_protocol::PROTOCOL_VERSION;
use graphite_protocol::messages::{
    Cancel, Checkpoint, CheckpointReply, CommitState, CommitStatus, Hello, HelloReply, Kill, Locks,
    LocksReply, Picture, Ping, Request, Run, Session, Sessions, Status, StatusReply, TakePicture,
};
use graphite_protocol::{Plan, Token, Value, socket};

use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::open::{OpenOptions, open};
use crate::pipeline::Pipeline;
use crate::props::Params;
use crate::rows::{Answer, Rows};

/// Name and version that a client shows to monitors unless it is given another.
pub const CLIENT_NAME: &str = concat!("graphite_client/", env!("CARGO_PKG_VERSION"));

/// How long `hello` may take.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a picture may take, and what ends others' statements: nobody's statements hold that up.
pub(crate) const ADMINISTRATION_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    pub(crate) connection: Connection,
    server: HelloReply,
    pub(crate) statement_timeout_ms: Option<u64>,
}

/// A request that was sent and whose answer is to be received.
#[must_use = "the answer is received by `Client::receive`"]
#[derive(Debug)]
pub struct Ticket<R> {
    pub(crate) msgid: u32,
    request: PhantomData<fn() -> R>,
}

impl Client {
    /// Connects to the daemon that listens on a socket.
    ///
    /// # Errors
    /// [`Error::Connect`] if nobody listens, [`Error::Version`] if the daemon speaks another version of the
    /// protocol, [`Error::Server`] if it has no room for another session.
    pub fn connect(socket: impl AsRef<Path>) -> Result<Client> {
        Client::connect_as(socket, CLIENT_NAME)
    }

    /// As [`Client::connect`], under a name of one's own, "importer/1.4", as monitors show it.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_as(socket: impl AsRef<Path>, name: &str) -> Result<Client> {
        Client::hello(socket.as_ref(), name, None)
    }

    /// As [`Client::connect_as`], to look only: a daemon that is full keeps one place for somebody of its own user who does.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_monitor(socket: impl AsRef<Path>, name: &str) -> Result<Client> {
        Client::hello(socket.as_ref(), name, Some(true))
    }

    fn hello(socket: &Path, name: &str, monitor: Option<bool>) -> Result<Client> {
        let stream =
            socket::connect(socket).map_err(|source| Error::Connect { socket: socket.to_owned(), source })?;
        let mut connection = Connection::new(stream);
        let hello = Hello { protocol: PROTOCOL_VERSION, client: name.to_owned(), monitor };
        let msgid = connection.enqueue(&hello)?;
        connection.flush()?;
        let server = connection.receive_within(msgid, HELLO_TIMEOUT)?;
        Ok(Client { connection, server, statement_timeout_ms: None })
    }

    /// Opens a database: attaches to the daemon that owns the file, or starts one. The file is made if it is
    /// missing. A daemon that was started so leaves by itself 30 seconds after its last client.
    ///
    /// The daemon is the program `graphited` beside the running program, or the one that the environment
    /// variable `GRAPHITED` names, or the first on `PATH`. What it has to say goes to `PATH.log`.
    ///
    /// # Errors
    /// As [`Client::connect`]; [`Error::Start`] if no daemon could be started, with what it said.
    pub fn open(database: impl AsRef<Path>) -> Result<Client> {
        open(database.as_ref(), &OpenOptions::default())
    }

    /// As [`Client::open`], with options.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub fn open_with(database: impl AsRef<Path>, options: &OpenOptions) -> Result<Client> {
        open(database.as_ref(), options)
    }

    /// Whom the client reached: version, session, database, process.
    pub fn server(&self) -> &HelloReply {
        &self.server
    }

    /// How long each of the following statements may run; as the daemon is configured if `None`.
    pub fn set_statement_timeout(&mut self, timeout: Option<Duration>) {
        self.statement_timeout_ms = timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
    }

    /// Sends a request and receives its answer.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn call<R: Request>(&mut self, request: &R) -> Result<R::Reply> {
        let ticket = self.send(request)?;
        self.receive(ticket)
    }

    /// Sends a request, and leaves its answer for later. It may wait in a buffer until an answer is received,
    /// or until [`Client::flush`].
    ///
    /// # Errors
    /// That of the connection; [`Error::RequestTooLong`], after which the connection goes on.
    pub fn send<R: Request>(&mut self, request: &R) -> Result<Ticket<R>> {
        Ok(Ticket { msgid: self.connection.enqueue(request)?, request: PhantomData })
    }

    /// Sends what waits in the buffer.
    ///
    /// # Errors
    /// That of the connection.
    pub fn flush(&mut self) -> Result<()> {
        self.connection.flush()
    }

    /// Receives the answer to a request. Answers come in the order of the requests: those to requests sent
    /// before this one, and not received yet, are given up.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn receive<R: Request>(&mut self, ticket: Ticket<R>) -> Result<R::Reply> {
        self.connection.flush()?;
        self.connection.receive(ticket.msgid)
    }

    pub(crate) fn run_request(&self, plan: Plan, params: Params, fetch: Option<u32>) -> Run {
        Run { plan, params: params.into_pairs(), fetch, timeout_ms: self.statement_timeout_ms }
    }

    /// Runs a plan, and gathers all of its rows.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn run(&mut self, plan: impl Into<Plan>, params: impl Into<Params>) -> Result<Answer> {
        self.rows(plan, params)?.collect_all()
    }

    /// Runs a plan for its rows, which come in batches as they are asked for, so that an answer of any length
    /// takes little memory.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn rows(&mut self, plan: impl Into<Plan>, params: impl Into<Params>) -> Result<Rows<'_>> {
        self.rows_by(plan, params, None)
    }

    /// As [`Client::rows`], with at most so many rows in a batch.
    ///
    /// # Errors
    /// As [`Client::rows`].
    pub fn rows_by(
        &mut self,
        plan: impl Into<Plan>,
        params: impl Into<Params>,
        batch_rows: Option<u32>,
    ) -> Result<Rows<'_>> {
        let request = self.run_request(plan.into(), params.into(), batch_rows);
        let reply = self.call(&request)?;
        Ok(Rows::new(self, reply, batch_rows))
    }

    /// Runs a plan for the one value of its first row, as a count or an id; `None` if there is no row.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn value(&mut self, plan: impl Into<Plan>, params: impl Into<Params>) -> Result<Option<Value>> {
        let answer = self.run(plan, params)?;
        Ok(answer.rows.into_iter().next().and_then(|row| row.into_iter().next()))
    }

    /// Sends many statements before the first is answered.
    pub fn pipeline(&mut self) -> Pipeline<'_> {
        Pipeline::new(self)
    }

    /// Asks whether the daemon is there; answered whatever else it is doing.
    ///
    /// # Errors
    /// That of the connection.
    pub fn ping(&mut self) -> Result<()> {
        self.call(&Ping {}).map(|_| ())
    }

    /// The daemon's state.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn status(&mut self) -> Result<StatusReply> {
        self.call(&Status {})
    }

    /// Who is connected, what each is doing, and who waits for whom.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn sessions(&mut self) -> Result<Vec<Session>> {
        self.call(&Sessions {}).map(|reply| reply.sessions)
    }

    /// Who holds and awaits which lock, and the last deadlocks.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn locks(&mut self) -> Result<LocksReply> {
        self.call(&Locks {})
    }

    /// What the daemon is doing, all in one picture. A daemon that does not send one within ten seconds hangs.
    ///
    /// # Errors
    /// The daemon's, or that of the connection, which is over if no answer came in time.
    pub fn picture(&mut self) -> Result<Picture> {
        self.administer(&TakePicture {})
    }

    /// As [`Client::call`], for what is answered at once or by no daemon that lives.
    pub(crate) fn administer<R: Request>(&mut self, request: &R) -> Result<R::Reply> {
        let ticket = self.send(request)?;
        self.connection.flush()?;
        self.connection.receive_within(ticket.msgid, ADMINISTRATION_TIMEOUT)
    }

    /// Ends the statement that a session runs, or waits in; returns whether there was one.
    ///
    /// # Errors
    /// As [`Client::cancel_seen`].
    pub fn cancel(&mut self, session: u64) -> Result<bool> {
        self.cancel_seen(&Cancel { session, ..Default::default() })
    }

    /// As [`Client::cancel`], if the session still does what it was seen to do.
    ///
    /// # Errors
    /// `session-not-found`, `transaction-not-found`, `statement-not-found`, `not-authorised`: nothing was done then; that
    /// of the connection, which is over if no answer came within ten seconds.
    pub fn cancel_seen(&mut self, cancel: &Cancel) -> Result<bool> {
        self.administer(cancel).map(|reply| reply.cancelled)
    }

    /// Ends a session, if it is still in the transaction that [`Client::sessions`] showed it in, and rolls that back.
    ///
    /// # Errors
    /// `session-not-found`, `transaction-not-found`, `not-authorised`: nothing was done then; that of the connection, which
    /// is over if no answer came within ten seconds.
    pub fn kill(&mut self, session: u64, transaction: Option<u64>) -> Result<()> {
        self.administer(&Kill { session, transaction }).map(|_| ())
    }

    /// What became of the commit that was given this name with [`Transaction::commit_as`](crate::Transaction::commit_as).
    /// To be asked after the connection on which it was sent is closed.
    ///
    /// # Errors
    /// `commit-unknown` if that will be known only when the daemon has started anew; `busy` if the commit is still under
    /// way; that of the connection.
    pub fn commit_status(&mut self, token: Token) -> Result<CommitState> {
        self.call(&CommitStatus { token }).map(|reply| reply.state)
    }

    /// Writes what is committed from the log into the file, and waits until that is done.
    ///
    /// # Errors
    /// The daemon's, or that of the connection.
    pub fn checkpoint(&mut self) -> Result<CheckpointReply> {
        self.call(&Checkpoint {})
    }
}
