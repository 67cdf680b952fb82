//! Imports over the wire: batches, resumption, answers that are the same when a batch comes again.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::*;
use graphite_protocol::messages::{
    Check, EdgeBatch, ImportBegin, ImportEdges, ImportEnd, ImportNodes, ImportStatus, Mode, NodeBatch,
};
use graphite_protocol::{
    Bitmap, Column, ColumnData, ErrorCode, Packed, Plan, Step, StringColumn, Token, Value,
};

fn token() -> Token {
    Token::new("an import").unwrap()
}

fn begin(client: &mut Client, resume: bool) -> Result<u64, graphite_protocol::WireError> {
    client.call(&ImportBegin { import: token(), resume }).map(|reply| reply.next)
}

fn nodes(batch: u64, count: usize) -> ImportNodes {
    let mut names = StringColumn::default();
    let mut present = Bitmap::default();
    for row in 0..count {
        names.push(&if row % 2 == 0 { format!("n{row}") } else { String::new() });
        present.push(row % 2 == 0);
    }
    let ranks: Vec<i64> = (0..count as i64).collect();
    ImportNodes {
        import: token(),
        batch,
        nodes: NodeBatch {
            label_sets: vec![vec!["Person".into()], vec!["Person".into(), "Admin".into()], vec![]],
            labels: Packed((0..count as u32).map(|row| row % 3).collect()),
            columns: vec![
                Column {
                    key: "name".into(),
                    data: ColumnData::Strings { values: names, present: Some(present) },
                },
                Column {
                    key: "rank".into(),
                    data: ColumnData::Ints { values: Packed(ranks), present: None },
                },
            ],
        },
    }
}

fn ring(batch: u64, ids: &[u64]) -> ImportEdges {
    let mut ends = ids.to_vec();
    ends.rotate_left(1);
    ImportEdges {
        import: token(),
        batch,
        edges: EdgeBatch {
            types: vec!["NEXT".into()],
            edge_types: Packed(vec![0; ids.len()]),
            starts: Packed(ids.to_vec()),
            ends: Packed(ends),
            columns: vec![],
        },
    }
}

#[test]
fn an_import_is_resumed_and_no_batch_comes_twice() {
    let mut daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    assert_eq!(begin(&mut client, false).unwrap(), 0);
    let made = client.call(&nodes(0, 1000)).unwrap();
    let ids: Vec<u64> = made.ids.iter().flat_map(|range| range.ids()).collect();
    assert_eq!(ids.len(), 1000);
    assert_eq!(client.call(&nodes(0, 1000)).unwrap(), made, "the same batch gets the same answer");
    assert_eq!(code(client.call(&nodes(2, 10))), ErrorCode::BadRequest, "batch 1 has not come");
    assert_eq!(client.call(&ring(1, &ids)).unwrap().ids[0].count, 1000);
    for batch in 2..20 {
        client.call(&nodes(batch, 3)).unwrap();
    }
    assert_eq!(code(begin(&mut client, false)), ErrorCode::ImportExists);
    daemon.signal("KILL");
    daemon.wait();
    daemon.child = start_at(&daemon.db, &[]);
    let mut client = daemon.client();
    assert_eq!(begin(&mut client, true).unwrap(), 20);
    let status = client.call(&ImportStatus { import: token(), batch: 0 }).unwrap();
    assert_eq!((status.done, status.ids), (true, made.ids));
    assert!(!client.call(&ImportStatus { import: token(), batch: 20 }).unwrap().done);

    // What was imported is there as if it had been created one by one.
    let plan = Plan::of([Step::Nodes { label: Some("Admin".into()) }, Step::Count {}]);
    assert_eq!(int(&client.run(plan).unwrap().rows[0][0]), 333 + 18);
    let reply = client.run(by_id(ids[4])).unwrap();
    let node = reply.rows[0][0].as_node().unwrap();
    assert_eq!((node.get("name"), node.get("rank")), (Some(&Value::from("n4")), Some(&Value::Int(4))));
    let reply = client.run(by_id(ids[5])).unwrap();
    assert_eq!(reply.rows[0][0].as_node().unwrap().get("name"), None);
    let hop = Step::Expand {
        direction: graphite_protocol::Direction::Out,
        types: vec!["NEXT".into()],
        to: graphite_protocol::Expansion::Nodes,
    };
    let source = Step::Node { ids: vec![ids[999].into()], required: true };
    let reply = client.run(Plan::of([source, hop, Step::Ids {}])).unwrap();
    assert_eq!(int(&reply.rows[0][0]) as u64, ids[0]);

    let end = client.call(&ImportEnd { import: token() }).unwrap();
    assert_eq!((end.batches, end.nodes, end.edges), (20, 1000 + 18 * 3, 1000));
    assert_eq!(client.call(&Check {}).unwrap().problems, []);

    // Whoever did not get the answer asks again, and learns that all is there.
    daemon.signal("KILL");
    daemon.wait();
    daemon.child = start_at(&daemon.db, &[]);
    let mut client = daemon.client();
    assert_eq!(client.call(&ImportEnd { import: token() }).unwrap(), end);
    let begun = client.call(&ImportBegin { import: token(), resume: true }).unwrap();
    assert_eq!((begun.next, begun.ended), (20, Some(end)));
    assert_eq!(code(client.call(&nodes(0, 1000))), ErrorCode::BadRequest, "nothing is loaded again");
    assert_eq!(client.status().nodes, end.nodes);
    assert_eq!(begin(&mut client, false).unwrap(), 0, "its name is free again");
    let begun = client.call(&ImportBegin { import: token(), resume: true }).unwrap();
    assert_eq!((begun.next, begun.ended), (0, None));
    assert_eq!(code(client.call(&ImportEnd { import: token() })), ErrorCode::ImportNotFound);
    client.call(&nodes(0, 5)).unwrap();
    assert_eq!(client.call(&ImportEnd { import: token() }).unwrap().nodes, 5);
    assert_eq!(client.call(&Check {}).unwrap().problems, []);
    daemon.stop();
}

#[test]
fn a_batch_that_comes_again_with_other_rows_is_refused() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    begin(&mut client, false).unwrap();
    let made = client.call(&nodes(0, 10)).unwrap();
    let ids: Vec<u64> = made.ids[0].ids().collect();
    for count in [0, 9, 11] {
        assert_eq!(code(client.call(&nodes(0, count))), ErrorCode::BadRequest);
    }
    assert_eq!(code(client.call(&ring(0, &ids))), ErrorCode::BadRequest, "edges are not those nodes");
    let edges = client.call(&ring(1, &ids)).unwrap();
    assert_eq!(code(client.call(&nodes(1, 10))), ErrorCode::BadRequest);
    assert_eq!(client.call(&nodes(0, 10)).unwrap(), made);
    assert_eq!(client.call(&ring(1, &ids)).unwrap(), edges);
    assert_eq!((client.status().nodes, client.status().edges), (10, 10));
    daemon.stop();
}

#[test]
fn batches_that_contradict_themselves_are_refused_whole() {
    let daemon = Daemon::start(&[]);
    let mut client = daemon.client();
    begin(&mut client, false).unwrap();
    let mut uneven = nodes(0, 10);
    uneven.nodes.labels.0.pop();
    assert_eq!(code(client.call(&uneven)), ErrorCode::BadRequest);
    let mut beyond = nodes(0, 10);
    beyond.nodes.labels.0[3] = 9;
    assert_eq!(code(client.call(&beyond)), ErrorCode::BadRequest);
    let ids: Vec<u64> = client.call(&nodes(0, 10)).unwrap().ids[0].ids().collect();
    let mut dangling = ring(1, &ids);
    dangling.edges.ends.0[5] = 1 << 40;
    assert_eq!(code(client.call(&dangling)), ErrorCode::NodeNotFound);
    assert_eq!(client.status().edges, 0);
    client.call(&ring(1, &ids)).unwrap();
    assert_eq!(client.status().edges, 10);
    client.begin(Mode::Write);
    assert_eq!(code(client.call(&nodes(2, 1))), ErrorCode::TransactionOpen);
    client.rollback();
    assert_eq!(client.call(&Check {}).unwrap().problems, []);
    daemon.stop();
}

/// Several batches on their way at once, between other writers' commits.
#[test]
fn batches_are_pipelined_beside_other_writers() {
    let daemon = Daemon::start(&[]);
    let (mut client, mut other) = (daemon.client(), daemon.client());
    begin(&mut client, false).unwrap();
    let sent: Vec<u32> = (0..30).map(|batch| client.send(&nodes(batch, 100))).collect();
    for n in 0..10 {
        other.create(n).unwrap();
    }
    for msgid in sent {
        assert_eq!(client.answer::<ImportNodes>(msgid).unwrap().ids[0].count, 100);
    }
    assert_eq!(client.count(), 3010);
    daemon.stop();
}
