//! Commits with a token, whose outcome can be asked for after the connection was lost.

#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use common::*;
use graphite_protocol::messages::{Commit, CommitState, CommitStatus, Mode};
use graphite_protocol::{ErrorCode, Token};

fn token(name: &str) -> Token {
    Token::new(name).unwrap()
}

fn commit(name: &str) -> Commit {
    Commit { token: Some(token(name)) }
}

fn state(client: &mut Client, name: &str) -> CommitState {
    client.call(&CommitStatus { token: token(name) }).unwrap().state
}

#[test]
fn a_commit_is_known_by_its_token_if_and_only_if_it_happened() {
    let mut daemon = Daemon::start(&[]);
    let (mut client, mut other) = (daemon.client(), daemon.client());
    assert_eq!(state(&mut other, "a"), CommitState::NotFound);
    client.begin(Mode::Write);
    client.create(1).unwrap();
    assert_eq!(state(&mut other, "a"), CommitState::NotFound);
    let lsn = client.call(&commit("a")).unwrap().lsn;
    let found = other.call(&CommitStatus { token: token("a") }).unwrap();
    assert_eq!(found.state, CommitState::Committed);
    assert!(found.lsn.unwrap() >= lsn && lsn > 0);

    // Rolled back; failed; none at all; one that only read.
    client.begin(Mode::Write);
    client.create(2).unwrap();
    client.rollback();
    client.begin(Mode::Write);
    client.run(by_id(4711)).unwrap_err();
    assert_eq!(code(client.call(&commit("b"))), ErrorCode::TransactionFailed);
    assert_eq!(code(client.call(&commit("b"))), ErrorCode::NoTransaction);
    client.begin(Mode::Read);
    assert_eq!(client.call(&commit("b")).unwrap().lsn, 0);
    assert_eq!(state(&mut other, "b"), CommitState::NotFound);

    // Without changes it is a commit all the same: whoever asks is told the truth.
    client.begin(Mode::Write);
    client.call(&commit("c")).unwrap();
    assert_eq!(state(&mut client, "c"), CommitState::Committed);

    daemon.signal("KILL");
    daemon.wait();
    daemon.child = start_at(&daemon.db, &[]);
    let mut client = daemon.client();
    for (name, expected) in
        [("a", CommitState::Committed), ("b", CommitState::NotFound), ("c", CommitState::Committed)]
    {
        assert_eq!(state(&mut client, name), expected, "{name}");
    }
    assert_eq!(client.count(), 1);
    daemon.stop();
}

/// The client vanishes as soon as it has sent its commit; whoever asks next is told what stays true, whether the commit
/// was read, is under way, or never came.
#[test]
fn what_is_told_of_a_commit_whose_client_is_gone_stays_true() {
    let daemon = Daemon::start(&[]);
    let mut other = daemon.client();
    let rounds = 100;
    let mut told = Vec::new();
    for round in 0..rounds {
        let name = format!("round {round}");
        let mut client = daemon.client();
        client.begin(Mode::Write);
        client.create(round).unwrap();
        client.send(&commit(&name));
        drop(client);
        told.push((state(&mut other, &name), name));
    }
    let mut committed = 0;
    for (told, name) in told {
        assert_eq!(state(&mut other, &name), told, "{name}");
        committed += i64::from(told == CommitState::Committed);
    }
    until(|| other.status().sessions == 1);
    assert_eq!(other.count(), committed);
    daemon.stop();
}
