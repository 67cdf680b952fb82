//! Sessions that stand in each other's way, and what is seen of them.

use graphite_protocol::messages::{Locks, LocksReply, Mode, RunReply, Session as Row, SessionState};
use graphite_protocol::{NewEdge, Operand, Pairs, Plan, Step, WireError};

use super::{Client, Daemon, int, until};

/// A client and the number of its session.
pub struct Peer {
    pub client: Client,
    pub session: u64,
}

impl std::ops::Deref for Peer {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

pub fn peer(daemon: &Daemon) -> Peer {
    let mut client = daemon.stranger();
    let session = client.hello().session;
    Peer { client, session }
}

pub fn peers<const N: usize>(daemon: &Daemon) -> [Peer; N] {
    std::array::from_fn(|_| peer(daemon))
}

/// A peer in a write transaction.
pub fn writer(daemon: &Daemon) -> Peer {
    let mut peer = peer(daemon);
    peer.begin(Mode::Write);
    peer
}

pub fn nodes(client: &mut Client, count: i64) -> Vec<u64> {
    (0..count).map(|n| client.create(n).unwrap()).collect()
}

/// Sets `n` of some nodes, one after another.
pub fn set(ids: &[u64], n: i64) -> Plan {
    let node = |id: &u64| {
        let properties = [("n", Operand::from(n))].into_iter().collect();
        vec![Step::Node { ids: vec![(*id).into()], required: true }, Step::Set { properties }]
    };
    Plan { pipelines: ids.iter().map(node).collect() }
}

pub fn link(start: u64, end: u64) -> Plan {
    let edge = NewEdge {
        start: start.into(),
        end: end.into(),
        edge_type: "KNOWS".into(),
        properties: Pairs::default(),
    };
    Plan::of([Step::CreateEdges { rows: vec![edge] }])
}

pub fn value(client: &mut Client, id: u64) -> i64 {
    let keys = vec!["n".to_owned()];
    let plan = Plan::of([Step::Node { ids: vec![id.into()], required: true }, Step::Properties { keys }]);
    int(&client.run(plan).unwrap().rows[0][0])
}

pub fn row(observer: &mut Client, session: u64) -> Row {
    observer.sessions().into_iter().find(|row| row.session == session).unwrap()
}

/// Waits until the session waits for a lock.
pub fn until_waits(observer: &mut Client, session: u64) -> Row {
    until(|| row(observer, session).state == SessionState::Waiting);
    row(observer, session)
}

pub fn locks(observer: &mut Client) -> LocksReply {
    observer.call(&Locks {}).unwrap()
}

pub fn wrote(result: Result<RunReply, WireError>) {
    assert_eq!(result.unwrap().summary.properties_set, 1);
}
