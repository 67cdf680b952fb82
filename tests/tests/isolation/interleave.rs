//! Steps of several sessions in a given order.
//!
//! Each session is a thread with a connection, which does what it is given one after another. A step is *settled* when
//! it was answered, or when its session waits for somebody: then the next step is given out, to whomever it belongs.
//! What is given to a session that waits, it does once it goes on. So the order is that which was written down,
//! whatever the daemon makes wait, and however fast the machine is.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use graphite_client::messages::{Begin, Commit, Mode, Rollback, SessionState, Sessions};
use graphite_client::{
    Client, Comparison, Direction, EdgeId, Entity, Error, NodeId, Result, Traversal, Value, props,
};
use graphite_tests::{Daemon, PATIENCE, Scratch};

use crate::serial::{Answer, Played, Rows, Step, explain, is_committed};

/// A session that neither answers nor is said to wait is left to itself after this.
const UNSETTLED_MAX: Duration = Duration::from_secs(5);
const LABEL: &str = "Test";
const EDGE_TYPE: &str = "TEST";

/// What the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// Nodes with a label; a scan reads the label.
    Nodes,
    /// Edges of a hub; a scan reads the hub's edges.
    Edges,
}

/// Where the rows are in the graph.
#[derive(Clone, Debug)]
struct Table {
    world: World,
    hub: NodeId,
    /// The rows that were there at the beginning.
    rows: Vec<(u64, Entity)>,
}

impl Table {
    fn make(world: World, client: &mut Client, rows: &Rows) -> Result<Table> {
        client.transaction(|tx| {
            let mut table = Table { world, hub: tx.create_node(["Hub"], ())?, rows: Vec::new() };
            for (key, value) in rows {
                let entity = table.insert(tx, *key, *value)?;
                table.rows.push((*key, entity));
            }
            Ok(table)
        })
    }

    fn insert(&self, client: &mut Client, key: u64, value: i64) -> Result<Entity> {
        let properties = props! { "k" => i64::try_from(key).unwrap(), "v" => value };
        match self.world {
            World::Nodes => client.create_node([LABEL], properties).map(Entity::from),
            World::Edges => client.create_edge(self.hub, self.hub, EDGE_TYPE, properties).map(Entity::from),
        }
    }

    fn entity(&self, key: u64) -> Entity {
        self.rows.iter().find(|(known, _)| *known == key).unwrap().1
    }

    fn all(&self) -> Traversal {
        match self.world {
            World::Nodes => Traversal::nodes_with(LABEL),
            World::Edges => Traversal::required_node(self.hub).expand_edges(Direction::Out, [EDGE_TYPE]),
        }
    }

    fn rows(client: &mut Client, traversal: Traversal) -> Result<Rows> {
        let answer = client.run(traversal.properties(["k", "v"]), ())?;
        let number = |value: &Value| value.as_int().unwrap();
        Ok(answer.rows.iter().map(|row| (u64::try_from(number(&row[0])).unwrap(), number(&row[1]))).collect())
    }

    fn perform(&self, client: &mut Client, step: Step) -> Result<Answer> {
        match step {
            Step::Begin(mode) => client.call(&Begin { mode }).map(|_| ()),
            Step::Commit => client.call(&Commit::default()).map(|_| ()),
            Step::Rollback => client.call(&Rollback {}).map(|_| ()),
            Step::Get(key) => {
                return match self.entity(key) {
                    Entity::Node(NodeId(id)) => Table::rows(client, Traversal::node(id)),
                    Entity::Edge(EdgeId(id)) => Table::rows(client, Traversal::edge(id)),
                };
            }
            Step::Scan(from, to) => {
                let within = self.all().filter("v", Comparison::Ge, from).filter("v", Comparison::Lt, to);
                return Table::rows(client, within);
            }
            Step::Set(key, value) => client.set_properties(self.entity(key), props! { "v" => value }),
            Step::Insert(key, value) => self.insert(client, key, value).map(|_| ()),
            Step::DeleteWhere(value) => {
                client.run(self.all().filter("v", Comparison::Eq, value).delete(true), ()).map(|_| ())
            }
        }?;
        Ok(Answer::new())
    }
}

/// A thread with a connection.
struct Session {
    number: u64,
    steps: Sender<Step>,
    answers: Receiver<(Step, Result<Answer>)>,
    given: usize,
    played: Vec<(Step, Result<Answer>)>,
    thread: JoinHandle<()>,
}

impl Session {
    fn start(socket: &Path, table: &Table) -> Session {
        let mut client = Client::connect(socket).unwrap();
        let number = client.server().session;
        let (steps, to_do) = channel::<Step>();
        let (done, answers) = channel();
        let table = table.clone();
        let thread = std::thread::spawn(move || {
            for step in to_do {
                let answer = table.perform(&mut client, step);
                done.send((step, answer)).unwrap();
            }
        });
        Session { number, steps, answers, given: 0, played: Vec::new(), thread }
    }

    fn give(&mut self, step: Step) {
        self.given += 1;
        self.steps.send(step).unwrap();
    }

    /// Waits until everything that was given is answered, or the session waits for somebody. Returns whether it is said
    /// to wait.
    fn settle(&mut self, monitor: &mut Client) -> bool {
        let began = Instant::now();
        while self.played.len() < self.given {
            match self.answers.recv_timeout(Duration::from_millis(2)) {
                Ok(answer) => self.played.push(answer),
                Err(_) if self.waits(monitor) => return true,
                Err(_) if began.elapsed() > UNSETTLED_MAX => return false,
                Err(_) => {}
            }
        }
        false
    }

    fn waits(&self, monitor: &mut Client) -> bool {
        let sessions = monitor.call(&Sessions {}).unwrap().sessions;
        let own = sessions.iter().find(|session| session.session == self.number).unwrap();
        own.state == SessionState::Waiting
    }

    fn finish(mut self) -> Vec<(Step, Result<Answer>)> {
        while self.played.len() < self.given {
            self.played.push(self.answers.recv_timeout(PATIENCE).expect("every step is answered in the end"));
        }
        drop(self.steps);
        self.thread.join().unwrap();
        self.played
    }
}

/// A step of one of the sessions, counted from 0.
pub(crate) type Order<'a> = &'a [(usize, Step)];

/// What was played.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) sessions: Vec<Played>,
    pub(crate) after: Rows,
    /// Places in the order of the steps that had to wait.
    pub(crate) waited: Vec<usize>,
}

/// Plays the steps with sessions of the given modes, which begin in this order.
pub(crate) fn play(world: World, before: &Rows, modes: &[Mode], order: Order<'_>) -> Outcome {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch.path("db"), &[]);
    let mut monitor = daemon.client();
    let table = Table::make(world, &mut monitor, before).unwrap();
    let mut sessions: Vec<Session> = modes.iter().map(|_| Session::start(&daemon.socket(), &table)).collect();
    for (session, mode) in sessions.iter_mut().zip(modes) {
        session.give(Step::Begin(*mode));
        session.settle(&mut monitor);
    }
    let mut waited = Vec::new();
    for (place, (session, step)) in order.iter().enumerate() {
        sessions[*session].give(*step);
        if sessions[*session].settle(&mut monitor) {
            waited.push(place);
        }
    }
    let answered: Vec<Vec<(Step, Result<Answer>)>> = sessions.into_iter().map(Session::finish).collect();
    let after = Table::rows(&mut monitor, table.all()).unwrap();
    let sessions = answered.into_iter().map(|answers| answers.into_iter().map(judged).collect()).collect();
    Outcome { sessions, after, waited }
}

/// An answer without the error's words, which has to be one that tells the client to try again, or follows from one.
fn judged((step, answer): (Step, Result<Answer>)) -> (Step, Option<Answer>) {
    use graphite_client::ErrorCode::{EdgeNotFound, NoTransaction, NodeNotFound, TransactionFailed};
    match answer {
        Ok(answer) => (step, Some(answer)),
        Err(error) => {
            let follows =
                matches!(error.code(), Some(EdgeNotFound | NoTransaction | NodeNotFound | TransactionFailed));
            assert!(is_expected(&error) || follows, "{step:?} failed: {error}");
            (step, None)
        }
    }
}

fn is_expected(error: &Error) -> bool {
    error.is_retryable() && !error.is_no_connection()
}

/// Plays the steps in both worlds, and with those sessions that only read once in a write transaction and once on a
/// snapshot; each time some order of the committed ones has to explain what was answered and what is left.
pub(crate) fn is_prevented(name: &str, sessions: usize, order: Order<'_>) {
    is_prevented_from(&Rows::from([(1, 10), (2, 20)]), name, sessions, order);
}

/// As [`is_prevented`], with these rows at the beginning.
pub(crate) fn is_prevented_from(before: &Rows, name: &str, sessions: usize, order: Order<'_>) {
    let writes = |session: usize| order.iter().any(|(of, step)| *of == session && step.is_write());
    let readers: Vec<usize> = (0..sessions).filter(|session| !writes(*session)).collect();
    for world in [World::Nodes, World::Edges] {
        for choice in 0..1 << readers.len() {
            let reads = |session| readers.iter().position(|reader| *reader == session);
            let mode = |session| match reads(session) {
                Some(place) if choice >> place & 1 == 1 => Mode::Read,
                _ => Mode::Write,
            };
            let modes: Vec<Mode> = (0..sessions).map(mode).collect();
            let outcome = play(world, before, &modes, order);
            let story = format!("{name} with {world:?} and {modes:?}: {outcome:#?}");
            let explained = explain(before, &outcome.sessions, &outcome.after);
            assert!(explained.is_some(), "no order explains {story}");
            assert!(outcome.sessions.iter().any(is_committed), "nobody came through: {story}");
            for (session, mode) in modes.iter().enumerate() {
                if *mode == Mode::Read {
                    assert!(is_committed(&outcome.sessions[session]), "a snapshot was refused: {story}");
                    let own = |place: &&usize| order[**place].0 == session;
                    assert_eq!(outcome.waited.iter().find(own), None, "a snapshot had to wait: {story}");
                }
            }
        }
    }
}
