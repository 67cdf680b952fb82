//! `Client::transaction` and `Client::snapshot` against a real daemon: what is done, undone and done again.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use graphite_client::{
    Client, Error, ErrorCode, NodeId, Pairs, Result, RetryPolicy, Traversal, Value, props,
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

fn passing() -> Error {
    let message = "as a deadlock would end it".to_owned();
    Error::Server { code: ErrorCode::Deadlock, message, retryable: true, details: Pairs::default() }
}

fn nodes(client: &mut Client, label: &str) -> usize {
    client.run(Traversal::nodes_with(label), ()).unwrap().rows.len()
}

fn number(client: &mut Client, id: NodeId) -> Result<i64> {
    let node = client.node(id)?.ok_or_else(|| Error::other("the node is gone"))?;
    Ok(node.get("n").and_then(Value::as_int).unwrap_or(0))
}

#[test]
fn what_is_tried_again_is_done_once() {
    let fixture = fixture();
    let mut client = fixture.daemon.client();
    let mut tries = 0;
    let made = client.transaction(|tx| {
        tries += 1;
        let made = tx.create_node(["A"], props! { "try" => tries })?;
        if tries < 4 { Err(passing()) } else { Ok(made) }
    });
    assert_eq!(tries, 4);
    let mut other = fixture.daemon.client();
    assert_eq!(nodes(&mut other, "A"), 1);
    assert_eq!(other.node(made.unwrap()).unwrap().unwrap().get("try"), Some(&Value::Int(4)));

    let failed: Result<()> = client.transaction_with(&RetryPolicy::never(), |tx| {
        tx.create_node(["B"], ())?;
        Err(passing())
    });
    assert_eq!(failed.unwrap_err().code(), Some(&ErrorCode::Deadlock));
    assert_eq!(nodes(&mut other, "B"), 0);
}

#[test]
fn an_error_or_a_panic_inside_rolls_back_and_the_client_goes_on() {
    #[derive(Debug)]
    struct NotEnough(u32);
    impl std::fmt::Display for NotEnough {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "only {} left", self.0)
        }
    }
    impl std::error::Error for NotEnough {}

    let fixture = fixture();
    let (mut client, mut other) = (fixture.daemon.client(), fixture.daemon.client());
    let failed: Result<()> = client.transaction(|tx| {
        tx.create_node(["A"], ())?;
        Err(Error::other(NotEnough(3)))
    });
    match failed.unwrap_err() {
        Error::Other(error) => assert_eq!(error.downcast_ref::<NotEnough>().unwrap().0, 3),
        other => panic!("{other}"),
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        client.transaction::<()>(|tx| {
            tx.create_node(["A"], ())?;
            panic!("as planned");
        })
    }));
    assert!(panicked.is_err());
    // Whoever was locked out by it is not any more; and the client has no transaction open.
    let made = other.transaction(|tx| tx.create_node(["B"], ())).unwrap();
    assert!(client.node(made).unwrap().is_some());
    client.transaction(|tx| tx.create_node(["B"], ())).unwrap();
    assert_eq!((nodes(&mut other, "A"), nodes(&mut other, "B")), (0, 2));

    let nested = client.transaction(|tx| tx.transaction(|inner| inner.create_node(["C"], ())));
    assert_eq!(nested.unwrap_err().code(), Some(&ErrorCode::TransactionOpen));
    assert_eq!(nodes(&mut other, "C"), 0);
}

/// Each moves from one to the other in the order that is the worst for the other: whoever is chosen as the victim of
/// a deadlock comes again.
#[test]
fn transactions_that_stand_in_each_others_way_are_all_done() {
    const ROUNDS: i64 = 40;
    let fixture = fixture();
    let mut client = fixture.daemon.client();
    let ids = [0, 1].map(|_| client.create_node(["Account"], props! { "n" => 1000 }).unwrap());
    std::thread::scope(|scope| {
        for (from, to) in [(ids[0], ids[1]), (ids[1], ids[0])] {
            let mut client = fixture.daemon.client();
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let moved = client.transaction(|tx| {
                        let left = number(tx, from)?;
                        tx.set_properties(from, props! { "n" => left - 1 })?;
                        let right = number(tx, to)?;
                        tx.set_properties(to, props! { "n" => right + 1 })
                    });
                    moved.unwrap();
                }
            });
        }
    });
    assert_eq!(ids.map(|id| number(&mut client, id).unwrap()), [1000, 1000]);
}

#[test]
fn a_snapshot_is_one_moment_and_not_before_the_own_commit() {
    let fixture = fixture();
    let (mut client, mut other) = (fixture.daemon.client(), fixture.daemon.client());
    let id = client.transaction(|tx| tx.create_node(["A"], props! { "n" => 1 })).unwrap();
    let seen = client
        .snapshot(|s| {
            let before = number(s, id)?;
            other.transaction(|tx| tx.set_properties(id, props! { "n" => 2 }))?;
            Ok((before, number(s, id)?))
        })
        .unwrap();
    assert_eq!(seen, (1, 1));
    assert_eq!(client.snapshot(|s| number(s, id)).unwrap(), 2);
    let refused = client.snapshot(|s| s.set_properties(id, props! { "n" => 3 }));
    assert_eq!(refused.unwrap_err().code(), Some(&ErrorCode::ReadOnlyTransaction));
    for n in 3..50 {
        client.transaction(|tx| tx.set_properties(id, props! { "n" => n })).unwrap();
        assert_eq!(client.snapshot(|s| number(s, id)).unwrap(), n);
    }
}

/// In the first try others write more than is kept for the snapshot, between two looks at it.
#[test]
fn what_is_read_of_a_snapshot_that_grew_too_old_is_read_again_of_a_new_one() {
    const NODES: usize = 400;
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch.path("db"), &["--old-versions-bytes", "1M"]);
    let (mut client, mut other) = (daemon.client(), daemon.client());
    // No more than two have room on a page.
    let text = "x".repeat(3000);
    let make = |_| other.create_node(["A"], props! { "n" => 0, "text" => text.as_str() }).unwrap();
    let ids: Vec<NodeId> = (0..NODES).map(make).collect();
    let mut tries = 0;
    let seen = client.snapshot(|s| {
        tries += 1;
        let first = number(s, ids[0])?;
        if tries == 1 {
            assert_eq!(first, 0);
            ids.iter().for_each(|id| other.set_properties(*id, props! { "n" => 1 }).unwrap());
        }
        Ok((first, number(s, ids[NODES - 1])?))
    });
    assert_eq!((seen.unwrap(), tries), ((1, 1), 2));
}
