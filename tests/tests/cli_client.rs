//! The client library against a real daemon: each method once, and what must hold around them.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use graphite_client::{
    Client, Comparison, Direction, EntityRef, Error, ErrorCode, Expansion, NodeId, Plan, Step, Traversal,
    Value, props,
};
use graphite_tests::{Daemon, Scratch};

struct Fixture {
    daemon: Daemon,
    // Dropped after the daemon.
    _scratch: Scratch,
}

fn fixture() -> Fixture {
    let scratch = Scratch::new();
    Fixture { daemon: Daemon::start(&scratch.path("db"), &[]), _scratch: scratch }
}

fn code(error: &Error) -> &ErrorCode {
    error.code().unwrap_or_else(|| panic!("{error} is not the daemon's"))
}

#[test]
fn nodes_and_edges_are_made_read_changed_and_deleted() {
    let fixture = fixture();
    let mut client = fixture.daemon.client();
    let ada = client.create_node(["Person", "Author"], props! { "name" => "Ada", "born" => 1815 }).unwrap();
    let bob = client.create_node(["Person"], ()).unwrap();
    let knows = client.create_edge(ada, bob, "KNOWS", props! { "since" => 1833 }).unwrap();

    let node = client.node(ada).unwrap().unwrap();
    assert_eq!((node.labels.len(), node.get("name")), (2, Some(&"Ada".into())));
    let edge = client.edge(knows).unwrap().unwrap();
    assert_eq!((edge.edge_type.as_str(), edge.start, edge.end), ("KNOWS", ada.0, bob.0));

    client.set_properties(ada, props! { "born" => Value::Nil, "x" => 1.5 }).unwrap();
    client.remove_properties(ada, &["name", "never"]).unwrap();
    client.add_labels(ada, &["Countess"]).unwrap();
    client.remove_labels(ada, &["Author", "Never"]).unwrap();
    let node = client.node(ada).unwrap().unwrap();
    assert_eq!(node.properties, [("x".to_owned(), 1.5.into())]);
    let mut labels = node.labels;
    labels.sort_unstable();
    assert_eq!(labels, ["Countess", "Person"]);
    client.set_properties(knows, props! { "w" => 1 }).unwrap();
    client.replace_properties(knows, props! { "z" => true }).unwrap();
    assert_eq!(client.edge(knows).unwrap().unwrap().properties, [("z".to_owned(), true.into())]);

    assert_eq!(*code(&client.delete_node(ada, false).unwrap_err()), ErrorCode::NodeHasEdges);
    client.delete_edge(knows).unwrap();
    assert_eq!(client.edge(knows).unwrap(), None);
    assert_eq!(*code(&client.delete_edge(knows).unwrap_err()), ErrorCode::EdgeNotFound);
    client.create_edge(bob, ada, "KNOWS", ()).unwrap();
    client.delete_node(ada, true).unwrap();
    assert_eq!(client.node(ada).unwrap(), None);
    assert_eq!(client.degree(bob, Direction::Both, &[]).unwrap(), 0);
    for error in [
        client.set_properties(ada, props! { "a" => 1 }).unwrap_err(),
        client.add_labels(ada, &["A"]).unwrap_err(),
        client.delete_node(ada, true).unwrap_err(),
        client.create_edge(ada, bob, "KNOWS", ()).unwrap_err(),
        client.degree(ada, Direction::Both, &[]).unwrap_err(),
        client.neighbors(ada, Direction::Both, &[]).unwrap_err(),
    ] {
        assert_eq!(*code(&error), ErrorCode::NodeNotFound);
        assert!(!error.is_retryable());
    }
    let map = Value::Map(vec![("a".to_owned(), 1.into())]);
    let error = client.create_node(["A"], props! { "m" => map }).unwrap_err();
    assert!(matches!(code(&error), ErrorCode::InvalidValue | ErrorCode::BadRequest), "{error}");
}

#[test]
fn walks() {
    let fixture = fixture();
    let mut client = fixture.daemon.client();
    // 0 -> 1 -> 2 -> 3, and 3 -> 0 by another type, and 0 -> 1 twice.
    let ids: Vec<NodeId> = (0..5).map(|n| client.create_node(["N"], props! { "n" => n }).unwrap()).collect();
    for (start, end, edge_type) in [(0, 1, "A"), (0, 1, "A"), (1, 2, "A"), (2, 3, "A"), (3, 0, "B")] {
        client.create_edge(ids[start], ids[end], edge_type, ()).unwrap();
    }
    assert_eq!(client.neighbors(ids[0], Direction::Out, &[]).unwrap(), [ids[1], ids[1]]);
    assert_eq!(client.neighbors(ids[0], Direction::In, &["A"]).unwrap(), []);
    assert_eq!(client.degree(ids[0], Direction::Both, &[]).unwrap(), 3);
    assert_eq!(client.degree(ids[0], Direction::Both, &["A"]).unwrap(), 2);
    assert_eq!(client.edges(ids[0], Direction::In, &[]).unwrap()[0].start, ids[3].0);
    assert_eq!(client.khop(ids[0], Direction::Out, &["A"], 2).unwrap(), [ids[1], ids[2]]);
    assert_eq!(client.khop_count(ids[0], Direction::Out, &[], 9).unwrap(), 3);
    let path = client.shortest_path(ids[0], ids[3], Direction::Out, &["A"], None).unwrap().unwrap();
    let nodes: Vec<u64> = path.nodes.iter().map(|node| node.id).collect();
    assert_eq!(nodes, [ids[0].0, ids[1].0, ids[2].0, ids[3].0]);
    assert_eq!(client.shortest_path(ids[0], ids[3], Direction::Out, &["A"], Some(2)).unwrap(), None);
    assert_eq!(
        client.shortest_path(ids[0], ids[3], Direction::Both, &[], None).unwrap().unwrap().edges.len(),
        1
    );
    assert_eq!(client.shortest_path(ids[0], ids[4], Direction::Both, &[], None).unwrap(), None);

    let large =
        Traversal::nodes_with("N").filter("n", Comparison::Ge, 2).order_by("n", true).properties(["n"]);
    assert_eq!(client.run(large, ()).unwrap().rows, [[Value::Int(4)], [Value::Int(3)], [Value::Int(2)]]);
    let by_param = Plan::of([
        Step::Node { ids: vec![EntityRef::Param("start".to_owned())], required: true },
        Step::Expand { direction: Direction::Out, types: vec![], to: Expansion::Nodes },
        Step::Count {},
    ]);
    assert_eq!(client.value(by_param.clone(), [("start", ids[0])]).unwrap(), Some(Value::Int(2)));
    let error = client.run(by_param, ()).unwrap_err();
    assert_eq!(*code(&error), ErrorCode::ParameterMissing);
}

#[test]
fn transactions_are_whole_or_nothing() {
    let fixture = fixture();
    let mut client = fixture.daemon.client();
    let mut other = fixture.daemon.client();
    let mut tx = client.begin_write().unwrap();
    let node = tx.create_node(["A"], ()).unwrap();
    assert!(tx.node(node).unwrap().is_some(), "it sees what it made");
    assert_eq!(other.node(node).unwrap(), None, "nobody else does");
    assert!(tx.commit().unwrap().lsn > 0);
    assert!(other.node(node).unwrap().is_some());

    let mut tx = client.begin_write().unwrap();
    tx.delete_node(node, true).unwrap();
    drop(tx);
    assert!(client.node(node).unwrap().is_some(), "dropped, it is rolled back");
    let mut tx = client.begin_write().unwrap();
    tx.delete_node(node, true).unwrap();
    tx.rollback().unwrap();
    assert!(client.node(node).unwrap().is_some());

    let mut tx = client.begin_write().unwrap();
    assert_eq!(*code(&tx.delete_node(NodeId(u64::MAX >> 20), true).unwrap_err()), ErrorCode::NodeNotFound);
    assert_eq!(*code(&tx.create_node(["B"], ()).unwrap_err()), ErrorCode::TransactionFailed);
    assert_eq!(*code(&tx.commit().unwrap_err()), ErrorCode::TransactionFailed);
    assert_eq!(client.run(Traversal::nodes_with("B"), ()).unwrap().rows.len(), 0);

    let mut tx = client.begin_read().unwrap();
    assert_eq!(tx.run(Traversal::nodes(), ()).unwrap().rows.len(), 1);
    other.create_node(["C"], ()).unwrap();
    assert_eq!(tx.run(Traversal::nodes(), ()).unwrap().rows.len(), 1, "a snapshot stays what it is");
    assert_eq!(*code(&tx.create_node(["D"], ()).unwrap_err()), ErrorCode::ReadOnlyTransaction);
    drop(tx);
    assert_eq!(client.run(Traversal::nodes(), ()).unwrap().rows.len(), 2);

    let mut tx = client.begin_write().unwrap();
    assert_eq!(*code(&tx.begin_write().unwrap_err()), ErrorCode::TransactionOpen);
    drop(tx);
    let made = client.write(|tx| tx.create_node(["E"], ())).unwrap();
    assert!(other.node(made).unwrap().is_some());
    let failed: Result<(), Error> = client.write(|tx| {
        tx.create_node(["F"], ())?;
        Err(Error::Broken)
    });
    assert!(matches!(failed, Err(Error::Broken)));
    assert_eq!(other.run(Traversal::nodes_with("F"), ()).unwrap().rows.len(), 0);
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let fixture = fixture();
    let mut client = fixture.daemon.client();
    let mut tx = client.begin_write().unwrap();
    tx.create_node(["A"], ()).unwrap();
    // As a process that is killed: no rollback is sent.
    std::mem::forget(tx);
    drop(client);
    let mut client = fixture.daemon.client();
    assert_eq!(client.write(|tx| Ok(tx.run(Traversal::nodes(), ())?.rows.len())).unwrap(), 0);
}

#[test]
fn pipelines_answer_in_order_and_one_failure_is_one_answer() {
    let fixture = fixture();
    let mut client = fixture.daemon.client();
    let ids: Vec<NodeId> =
        (0..100).map(|n| client.create_node(["N"], props! { "n" => n }).unwrap()).collect();
    let mut pipeline = client.pipeline();
    for id in &ids {
        pipeline.run(Traversal::node(*id).properties(["n"]), ()).unwrap();
        pipeline.run(Traversal::required_node(NodeId(u64::MAX >> 20)), ()).unwrap();
    }
    assert_eq!(pipeline.len(), 200);
    for n in 0..100 {
        assert_eq!(pipeline.receive().unwrap().unwrap().rows, [[Value::Int(n)]]);
        assert_eq!(*code(&pipeline.receive().unwrap().unwrap_err()), ErrorCode::NodeNotFound);
    }
    assert!(pipeline.receive().is_none() && pipeline.is_empty());
    drop(pipeline);

    // Far more than fits into the buffers of a socket, either way.
    let mut pipeline = client.pipeline();
    for round in 0..20_000 {
        pipeline.run(Traversal::node(ids[round % 100]), ()).unwrap();
    }
    let mut answers = 0;
    while let Some(answer) = pipeline.receive() {
        assert_eq!(answer.unwrap().rows.len(), 1);
        answers += 1;
    }
    assert_eq!(answers, 20_000);
    drop(pipeline);

    let mut pipeline = client.pipeline();
    pipeline.run(Traversal::nodes(), ()).unwrap();
    pipeline.run(Traversal::nodes(), ()).unwrap();
    drop(pipeline);
    assert_eq!(client.run(Traversal::nodes().count(), ()).unwrap().rows, [[Value::Int(100)]]);
}

#[test]
fn rows_come_in_batches_of_one_moment() {
    let fixture = fixture();
    let mut client = fixture.daemon.client();
    let mut other = fixture.daemon.client();
    let mut pipeline = client.pipeline();
    let text = "x".repeat(1000);
    for n in 0..3000 {
        let properties = [("n", Value::from(n)), ("text", text.as_str().into())].into_iter().collect();
        let step = Step::CreateNode { labels: vec!["N".to_owned()], properties };
        pipeline.run(Traversal::from_step(step).count(), ()).unwrap();
    }
    while let Some(answer) = pipeline.receive() {
        answer.unwrap();
    }
    drop(pipeline);
    // 3 MB of rows do not come at once.
    let mut rows = client.rows(Traversal::nodes(), ()).unwrap();
    assert_eq!(rows.columns(), ["node"]);
    let first = rows.next_batch().unwrap().len();
    assert!(first > 0 && first < 3000, "{first}");
    other.run(Traversal::nodes().delete(true), ()).unwrap();
    let rest = rows.filter(Result::is_ok).count();
    assert_eq!(first + rest, 3000, "all rows are of the moment of the question");
    assert_eq!(client.run(Traversal::nodes(), ()).unwrap().rows.len(), 0);

    for n in 0..10 {
        client.create_node(["N"], props! { "n" => n }).unwrap();
    }
    let plan = || Traversal::nodes().properties(["n"]);
    let mut rows = client.rows_by(plan(), (), Some(3)).unwrap();
    assert_eq!(rows.next().unwrap().unwrap(), [Value::Int(0)]);
    drop(rows);
    let all: Vec<Value> =
        client.rows_by(plan(), (), Some(3)).unwrap().map(|row| row.unwrap().remove(0)).collect();
    assert_eq!(all, (0..10).map(Value::Int).collect::<Vec<_>>());
    assert_eq!(client.rows_by(plan(), (), Some(3)).unwrap().collect_all().unwrap().rows.len(), 10);
}

#[test]
fn a_daemon_that_is_killed_breaks_its_clients_for_good() {
    let fixture = fixture();
    let mut client = fixture.daemon.client();
    client.ping().unwrap();
    assert_eq!(client.server().pid, fixture.daemon.pid());
    let socket = fixture.daemon.socket();
    fixture.daemon.kill();
    let error = client.ping().unwrap_err();
    assert!(matches!(error, Error::Closed | Error::Io(_)), "{error:?}");
    assert!(error.is_no_connection() && !error.is_retryable());
    assert!(matches!(client.ping(), Err(Error::Broken)));
    assert!(matches!(Client::connect(socket), Err(Error::Connect { .. })));
}
