//! What a monitor costs the daemon: pictures of many sessions and locks, and a daemon that is watched.
//!
//! 1. The processor time of a picture is that of the daemon's whole process, divided by how many were asked for: reading
//!    the request, gathering, putting together, encoding and sending are all in it.
//! 2. Rates of commits differ from run to run by more than a monitor costs. So its share of the processor is told: that of an
//!    otherwise idle daemon of many sessions which shows its picture once a second, as to the program `graphite-top`.

use std::time::Duration;

use graphite_client::messages::{Begin, Mode};
use graphite_client::{Client, NewNode, NodeId, Operand, Pairs, Plan, Step, Value};

use super::daemon::Daemon;
use super::report::{Gate, Line, Report, Series, Unit};
use super::{Bench, Result, proc_files, screen};

/// A picture of so many sessions is to take less than a millisecond, encoded and sent.
const SESSIONS: usize = 1_000;
const PICTURE_SECONDS_MAX: f64 = 1e-3;
/// The largest scene that a monitor has to cope with: 50,000 locks, as those who hold them need some on pages, too.
const MANY_SESSIONS: usize = 5_000;
const MANY_NODES: usize = 36_000;
/// Transactions that hold these locks.
const HOLDERS: usize = 100;
/// Pictures of one round.
const PICTURES: u32 = 200;
/// Pictures of a daemon that is watched, and how often there is one.
const WATCHED: u32 = 5;
const EVERY: Duration = Duration::from_secs(1);
/// What watching at that interval may take of one processor.
const SHARE_MAX: f64 = 0.005;

pub(crate) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    eprintln!("monitor");
    let settings = ["--sessions-max", "6000", "--idle-in-transaction-timeout-ms", "0"];
    let daemon = Daemon::start(&bench.programs, &bench.database("monitor")?, &settings)?;
    screen::at_rest(bench, report, &daemon)?;
    let mut observer = daemon.connect()?;
    let ids = create_nodes(&mut observer, MANY_NODES)?;
    let mut clients = (0..SESSIONS).map(|_| daemon.connect()).collect::<Result<Vec<_>>>()?;
    cost(bench, report, &daemon, &mut observer, "1,000 sessions", Gate::AtMost(PICTURE_SECONDS_MAX))?;
    share(bench, report, &daemon, &mut observer)?;
    while clients.len() < MANY_SESSIONS {
        clients.push(daemon.connect()?);
    }
    for (holder, client) in clients.iter_mut().take(HOLDERS).enumerate() {
        client.call(&Begin { mode: Mode::Write })?;
        // Few of a page, so that its locks are not made one.
        let own = ids.iter().skip(holder).step_by(HOLDERS).map(|id| id.0.into()).collect();
        let properties = Pairs(vec![("n".to_owned(), Operand::from(1))]);
        client.run(Plan::of([Step::Node { ids: own, required: true }, Step::Set { properties }]), ())?;
    }
    let picture = observer.picture()?;
    report.note(format!(
        "The largest scene of the monitor has {} sessions and {} locks, of which {} are told.",
        picture.sessions.len(),
        picture.locks_held,
        picture.locks.len()
    ));
    cost(bench, report, &daemon, &mut observer, "5,000 sessions and 50,000 locks", Gate::None)?;
    screen::before_a_crowd(bench, report, &daemon)?;
    drop(clients);
    daemon.stop()
}

fn create_nodes(client: &mut Client, count: usize) -> Result<Vec<NodeId>> {
    let rows = vec![NewNode { labels: vec!["N".to_owned()], properties: Pairs::default() }; count];
    let answer = client.run(Plan::of([Step::CreateNodes { rows }, Step::Ids {}]), ())?;
    let id = |row: &Vec<Value>| row.first().and_then(Value::as_int).and_then(|id| u64::try_from(id).ok());
    let ids: Option<Vec<NodeId>> = answer.rows.iter().map(|row| id(row).map(NodeId)).collect();
    ids.ok_or_else(|| "a node that was created has no id".into())
}

/// What one picture takes, as the daemon says and by processor time.
fn cost(
    bench: &Bench,
    report: &mut Report,
    daemon: &Daemon,
    observer: &mut Client,
    of: &str,
    gate: Gate,
) -> Result<()> {
    let mut told = Series::new(format!("a picture of {of}: put together"), Unit::Seconds);
    let mut cpu = Series::new(format!("a picture of {of}: processor time, encoded and sent"), Unit::Seconds);
    for _ in 0..bench.rounds {
        let before = proc_files::cpu_seconds(daemon.pid())?;
        let mut took = Vec::new();
        for _ in 0..PICTURES {
            took.push(observer.picture()?.took_us);
        }
        cpu.push((proc_files::cpu_seconds(daemon.pid())? - before) / f64::from(PICTURES));
        took.sort_unstable();
        told.push(took[took.len() / 2] as f64 * 1e-6);
    }
    report.add(Line::new(told).gate(gate.clone()));
    report.add(Line::new(cpu).gate(gate));
    Ok(())
}

/// What a daemon that is looked at once a second takes of a processor.
fn share(bench: &Bench, report: &mut Report, daemon: &Daemon, observer: &mut Client) -> Result<()> {
    let mut share =
        Series::new("a picture of 1,000 sessions once a second: processor time for a second", Unit::Seconds);
    for _ in 0..bench.rounds {
        let before = proc_files::cpu_seconds(daemon.pid())?;
        for _ in 0..WATCHED {
            std::thread::sleep(EVERY);
            observer.picture()?;
        }
        share.push((proc_files::cpu_seconds(daemon.pid())? - before) / (EVERY * WATCHED).as_secs_f64());
    }
    report.add(Line::new(share).gate(Gate::AtMost(SHARE_MAX)));
    Ok(())
}
