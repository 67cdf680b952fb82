//! A daemon in a directory of its own, and a client that speaks raw frames.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod door;
pub mod peers;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use graphite_protocol::message::{Message, write_request};
use graphite_protocol::messages::{
    Begin, Commit, CommitReply, Fetch, Hello, HelloReply, Mode, Request, Rollback, Run, RunReply, Session,
    SessionState, Sessions, Status, StatusReply,
};
use graphite_protocol::{
    Comparison, Decoder, Direction, ErrorCode, Expansion, FRAME_BYTES_MAX, FrameReader, NewEdge, NewNode,
    Operand, Pairs, Plan, Step, Value, Wire, WireError, socket,
};

/// No answer within this is a failure of the test: long enough for the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One transaction may write at a time, so that a test can keep others waiting without a lock.
pub const ALONE: [&str; 2] = ["--write-transactions-max", "1"];

/// What every daemon is started with, unless a test has it otherwise.
const SMALL: [[&str; 2]; 2] = [["--cache-bytes", "4M"], ["--wal-bytes", "16M"]];

/// A running daemon, killed when dropped.
pub struct Daemon {
    pub dir: tempfile::TempDir,
    pub db: PathBuf,
    pub child: Child,
}

/// The daemon's program, with its environment emptied of settings.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_graphited"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GRAPHITED_"))
    {
        command.env_remove(name);
    }
    command
}

impl Daemon {
    pub fn start(args: &[&str]) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("db");
        Daemon::start_at(dir, db, args)
    }

    pub fn start_at(dir: tempfile::TempDir, db: PathBuf, args: &[&str]) -> Daemon {
        let child = start_at(&db, args);
        Daemon { dir, db, child }
    }

    pub fn socket(&self) -> PathBuf {
        socket_of(&self.db)
    }

    pub fn client(&self) -> Client {
        let mut client = self.stranger();
        client.hello();
        client
    }

    /// A client that has not said hello.
    pub fn stranger(&self) -> Client {
        Client::connect(&self.socket())
    }

    pub fn signal(&self, signal: &str) {
        send_signal(self.child.id(), signal);
    }

    /// Processor time that it has used, in hundredths of a second.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Waits until it has left by itself.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Asks it to leave and expects that it does, cleanly.
    pub fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.wait().code(), Some(0));
        assert!(!self.socket().exists(), "the socket is taken away");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn socket_of(db: &Path) -> PathBuf {
    let mut path = db.as_os_str().to_owned();
    path.push(".sock");
    path.into()
}

pub fn send_signal(pid: u32, signal: &str) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

pub fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "the daemon does not leave");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts a daemon and waits for what it says when it is ready.
pub fn start_at(db: &Path, args: &[&str]) -> Child {
    let (child, line) = try_start_at(db, args);
    assert_eq!(line, "READY\n");
    child
}

pub fn try_start_at(db: &Path, args: &[&str]) -> (Child, String) {
    let mut child = program()
        .args(SMALL.iter().filter(|[name, _]| !args.contains(name)).flatten())
        .args(["--ready-fd", "1", "--db"])
        .arg(db)
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    child.stdout.take().unwrap().read_to_string(&mut line).unwrap();
    (child, line)
}

/// Speaks frames.
pub struct Client {
    pub stream: UnixStream,
    reader: FrameReader,
    last_msgid: u32,
}

impl Client {
    pub fn connect(socket: &Path) -> Client {
        Client::connect_or_none(socket).expect("nobody listens")
    }

    /// `None` if nobody listens there.
    pub fn connect_or_none(socket: &Path) -> Option<Client> {
        let stream = socket::connect(socket).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Some(Client { stream, reader: FrameReader::new(FRAME_BYTES_MAX), last_msgid: 0 })
    }

    pub fn hello(&mut self) -> HelloReply {
        self.call(&Hello { protocol: 1, client: "test/1".into(), monitor: None }).unwrap()
    }

    /// Sends a request; returns its number.
    pub fn send<R: Request>(&mut self, request: &R) -> u32 {
        let (msgid, frame) = self.frame(request);
        self.stream.write_all(&frame).unwrap();
        msgid
    }

    pub fn frame<R: Request>(&mut self, request: &R) -> (u32, Vec<u8>) {
        self.last_msgid += 1;
        let mut frame = Vec::new();
        write_request(&mut frame, self.last_msgid, request, FRAME_BYTES_MAX).unwrap();
        (self.last_msgid, frame)
    }

    /// The next answer: its number, and the encoded result or the error.
    pub fn next(&mut self) -> (u32, Result<Vec<u8>, WireError>) {
        self.try_next().expect("the daemon closed the connection")
    }

    /// The next answer; `None` if the connection was closed.
    pub fn try_next(&mut self) -> Option<(u32, Result<Vec<u8>, WireError>)> {
        loop {
            if let Some(frame) = self.reader.next_frame().unwrap() {
                let Ok(Message::Response { msgid, result }) = Message::read(frame) else {
                    panic!("no response: {frame:?}");
                };
                return Some((msgid, result.map(|body| body.bytes().to_vec())));
            }
            match self.reader.read_from(&mut self.stream) {
                Ok(0) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                result => assert!(result.unwrap() > 0),
            }
        }
    }

    pub fn answer<R: Request>(&mut self, msgid: u32) -> Result<R::Reply, WireError> {
        let (answered, result) = self.next();
        assert_eq!(answered, msgid);
        result.map(|bytes| R::Reply::read(&mut Decoder::new(&bytes)).unwrap())
    }

    pub fn call<R: Request>(&mut self, request: &R) -> Result<R::Reply, WireError> {
        let msgid = self.send(request);
        self.answer::<R>(msgid)
    }

    pub fn run(&mut self, plan: Plan) -> Result<RunReply, WireError> {
        self.call(&run(plan))
    }

    /// Creates a node with the property `n`; returns its id.
    pub fn create(&mut self, n: i64) -> Result<u64, WireError> {
        let reply = self.run(create(n))?;
        assert_eq!(reply.summary.nodes_created, 1);
        Ok(reply.rows[0][0].as_node().unwrap().id)
    }

    pub fn begin(&mut self, mode: Mode) {
        self.call(&Begin { mode }).unwrap();
    }

    pub fn commit(&mut self) -> Result<CommitReply, WireError> {
        self.call(&Commit::default())
    }

    pub fn rollback(&mut self) {
        self.call(&Rollback {}).unwrap();
    }

    pub fn count(&mut self) -> i64 {
        let reply = self.run(count()).unwrap();
        reply.rows[0][0].as_int().unwrap()
    }

    pub fn sessions(&mut self) -> Vec<Session> {
        self.call(&Sessions {}).unwrap().sessions
    }

    /// How many sessions wait: to be admitted, or for a lock.
    pub fn waiting(&mut self) -> usize {
        self.sessions().iter().filter(|row| row.state == SessionState::Waiting).count()
    }

    pub fn status(&mut self) -> StatusReply {
        self.call(&Status {}).unwrap()
    }

    /// Expects that the daemon closes the connection, perhaps after some answers.
    pub fn is_closed(&mut self) -> Vec<(u32, Result<Vec<u8>, WireError>)> {
        std::iter::from_fn(|| self.try_next()).collect()
    }
}

pub fn run(plan: Plan) -> Run {
    Run { plan, params: Pairs::default(), fetch: None, timeout_ms: None }
}

pub fn create(n: i64) -> Plan {
    let properties = [("n", Operand::from(n))].into_iter().collect();
    Plan::of([Step::CreateNode { labels: vec!["N".into()], properties }])
}

pub fn count() -> Plan {
    Plan::of([Step::Nodes { label: None }, Step::Count {}])
}

pub fn by_id(id: u64) -> Plan {
    Plan::of([Step::Node { ids: vec![id.into()], required: true }])
}

/// Creates `count` nodes with n = 0..count; returns their ids.
pub fn fill(client: &mut Client, count: i64) -> Vec<u64> {
    let rows = (0..count)
        .map(|n| NewNode {
            labels: vec!["N".into()],
            properties: [("n", Operand::from(n))].into_iter().collect(),
        })
        .collect();
    let plan = Plan::of([Step::CreateNodes { rows }, Step::Ids {}]);
    let mut reply = client.run(plan).unwrap();
    let mut rows = std::mem::take(&mut reply.rows);
    while let Some(cursor) = reply.cursor {
        let more = client.call(&Fetch { cursor, n: 1000 }).unwrap();
        rows.extend(more.rows);
        reply.cursor = more.cursor;
    }
    rows.iter().map(|row| int(&row[0]) as u64).collect()
}

/// Makes a graph in which everybody knows everybody, so that walks of many hops are without number, and returns the steps
/// of a statement that counts them without end.
pub fn endless(client: &mut Client) -> Vec<Step> {
    let ids = fill(client, 30);
    let mut rows = Vec::new();
    for start in &ids {
        for end in &ids {
            rows.push(NewEdge {
                start: (*start).into(),
                end: (*end).into(),
                edge_type: "KNOWS".into(),
                properties: Pairs::default(),
            });
        }
    }
    let made = client.run(Plan::of([Step::CreateEdges { rows }, Step::Count {}])).unwrap();
    assert_eq!(made.summary.edges_created, 900);
    let mut steps = vec![Step::Nodes { label: None }];
    let hop = Step::Expand { direction: Direction::Out, types: vec![], to: Expansion::Both };
    steps.extend(std::iter::repeat_n(hop, 12));
    steps.push(Step::Filter { key: "n".into(), comparison: Comparison::Eq, value: Some(Operand::from(-1)) });
    steps
}

pub fn code<T: std::fmt::Debug>(result: Result<T, WireError>) -> ErrorCode {
    result.unwrap_err().code
}

pub fn int(value: &Value) -> i64 {
    value.as_int().unwrap()
}

/// Waits until something holds.
pub fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it never came to hold");
        std::thread::sleep(Duration::from_millis(2));
    }
}
