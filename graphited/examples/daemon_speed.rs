//! How fast the daemon answers, beside what the machine can do: socket ping-pong, and a write and sync of a file.
//!
//! `cargo run --release -p graphited --example daemon_speed -- PATH-TO-GRAPHITED DIRECTORY`
#![allow(clippy::unwrap_used, reason = "a measurement that fails panics")]

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use graphite_protocol::message::{Message, write_request};
use graphite_protocol::messages::{Hello, Ping, Request, Run, RunReply};
use graphite_protocol::{
    Decoder, EntityRef, FRAME_BYTES_MAX, FrameReader, NewNode, Pairs, Plan, Step, Value, Wire, socket,
};

const ROUNDS: u32 = 20_000;
const COMMITS: u32 = 1_000;
const NODES: usize = 10_000;

struct Client {
    stream: UnixStream,
    reader: FrameReader,
    out: Vec<u8>,
}

impl Client {
    fn new(path: &Path) -> Client {
        let stream = socket::connect(path).unwrap();
        let mut client = Client { stream, reader: FrameReader::new(FRAME_BYTES_MAX), out: Vec::new() };
        client.call(&Hello { protocol: 1, client: "speed/1".into(), monitor: None }, |_| ());
        client
    }

    fn call<R: Request, T>(&mut self, request: &R, read: impl FnOnce(&[u8]) -> T) -> T {
        self.out.clear();
        write_request(&mut self.out, 1, request, FRAME_BYTES_MAX).unwrap();
        self.stream.write_all(&self.out).unwrap();
        self.next(read)
    }

    fn next<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> T {
        loop {
            if let Some(frame) = self.reader.next_frame().unwrap() {
                let Message::Response { result, .. } = Message::read(frame).unwrap() else { panic!() };
                return read(result.unwrap().bytes());
            }
            assert!(self.reader.read_from(&mut self.stream).unwrap() > 0);
        }
    }
}

fn rate(what: &str, count: u32, took: Duration) {
    let each = took.as_secs_f64() * 1e6 / f64::from(count);
    println!("{what:42} {each:9.2} us each {:10.0} a second", f64::from(count) / took.as_secs_f64());
}

fn ping_pong() {
    let (mut a, mut b) = UnixStream::pair().unwrap();
    let echo = std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while b.read_exact(&mut buffer).is_ok() {
            b.write_all(&buffer).unwrap();
        }
    });
    let mut buffer = [0; 64];
    let start = Instant::now();
    for _ in 0..ROUNDS {
        a.write_all(&buffer).unwrap();
        a.read_exact(&mut buffer).unwrap();
    }
    rate("limit: socket ping-pong of 64 bytes", ROUNDS, start.elapsed());
    drop(a);
    echo.join().unwrap();
}

fn write_and_sync(dir: &Path) {
    let file = std::fs::File::create(dir.join("raw")).unwrap();
    file.write_all_at(&vec![0; 16 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let start = Instant::now();
    for round in 0..COMMITS {
        file.write_all_at(&[1; 400], u64::from(round) * 400).unwrap();
        file.sync_data().unwrap();
    }
    rate("limit: write of 400 bytes and fdatasync", COMMITS, start.elapsed());
}

fn run(plan: Plan, params: Pairs<Value>) -> Run {
    Run { plan, params, fetch: None, timeout_ms: None }
}

fn create_one() -> Run {
    run(
        Plan::of([Step::CreateNode { labels: vec!["N".into()], properties: Pairs::default() }]),
        Pairs::default(),
    )
}

fn commits(path: &Path, clients: u32, each: u32) {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = Client::new(path);
                let create = create_one();
                (0..each).for_each(|_| client.call(&create, |_| ()));
            });
        }
    });
    rate(&format!("commits, {clients} clients"), clients * each, start.elapsed());
}

/// Processor time that the daemon has used: of its own, and of the system for it.
fn processor_time(pid: u32) -> (f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() / 100.0, fields[12].parse::<f64>().unwrap() / 100.0)
}

fn reads(path: &Path, pid: u32, ids: &[i64]) {
    let mut client = Client::new(path);
    let who = EntityRef::Param("id".into());
    let plan = Plan::of([Step::Node { ids: vec![who], required: true }]);
    let read = |round: u32| {
        let id = ids[(round as usize * 7919) % ids.len()];
        run(plan.clone(), [("id", Value::Int(id))].into_iter().collect())
    };
    let start = Instant::now();
    (0..ROUNDS).for_each(|_| client.call(&Ping {}, |_| ()));
    rate("ping, 1 client", ROUNDS, start.elapsed());
    let start = Instant::now();
    for round in 0..ROUNDS {
        client.call(&read(round), |_| ());
    }
    rate("point reads, 1 client", ROUNDS, start.elapsed());
    let (start, before) = (Instant::now(), processor_time(pid));
    const BATCH: u32 = 100;
    for batch in 0..ROUNDS * 5 / BATCH {
        client.out.clear();
        for round in 0..BATCH {
            write_request(&mut client.out, round, &read(batch + round), FRAME_BYTES_MAX).unwrap();
        }
        client.stream.write_all(&client.out).unwrap();
        (0..BATCH).for_each(|_| client.next(|_| ()));
    }
    rate("point reads, 1 client, 100 on their way", ROUNDS * 5, start.elapsed());
    let (user, system) = processor_time(pid);
    let each = |seconds: f64| seconds * 1e6 / f64::from(ROUNDS * 5);
    println!(
        "  of the daemon {:.2} us each, of the system for it {:.2}",
        each(user - before.0),
        each(system - before.1)
    );
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::new(path);
                (0..ROUNDS / 4).for_each(|round| client.call(&read(round), |_| ()));
            });
        }
    });
    rate("point reads, 8 clients", ROUNDS * 2, start.elapsed());
}

fn start(program: &str, db: &Path) -> Child {
    let mut child = Command::new(program)
        .args(["--ready-fd", "1", "--log", "warn", "--db"])
        .arg(db)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    child.stdout.take().unwrap().read_to_string(&mut line).unwrap();
    assert_eq!(line, "READY\n");
    child
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (program, dir) = (args.next().unwrap(), args.next().unwrap());
    let dir = tempfile::tempdir_in(dir).unwrap();
    ping_pong();
    write_and_sync(dir.path());
    let db = dir.path().join("db");
    let mut daemon = start(&program, &db);
    let path = dir.path().join("db.sock");
    let mut client = Client::new(&path);
    let named = |n: usize| NewNode {
        labels: vec!["Person".into()],
        properties: [("name", format!("person {n}")), ("city", "Bern".to_owned())].into_iter().collect(),
    };
    let create = run(
        Plan::of([Step::CreateNodes { rows: (0..NODES).map(named).collect() }, Step::Ids {}]),
        Pairs::default(),
    );
    let ids = client.call(&create, |bytes| RunReply::read(&mut Decoder::new(bytes)).unwrap().rows);
    let ids: Vec<i64> = ids.iter().map(|row| row[0].as_int().unwrap()).collect();
    reads(&path, daemon.id(), &ids);
    commits(&path, 1, COMMITS);
    commits(&path, 8, COMMITS / 2);
    commits(&path, 32, COMMITS / 2);
    let memory = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    println!("{}", memory.lines().find(|line| line.starts_with("VmRSS")).unwrap());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}
