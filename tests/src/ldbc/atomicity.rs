//! A transaction is there whole or not at all: whether committed, rolled back by its client, or failed.

use graphite_client::{Client, Error, NodeId, Result, Traversal, props};

use super::{KNOWS, PERSON, Process, Test, count, list, list_value, persons};

/// Persons at the beginning.
const PERSONS: i64 = 10;

pub(super) const COMMIT: Test =
    Test { name: "atomicity-c", load, write: write_commit, read: None, check: check_counts };
pub(super) const ROLLBACK: Test =
    Test { name: "atomicity-rb", load, write: write_or_roll_back, read: None, check: check_counts };

fn load(client: &mut Client) -> Result<()> {
    client.transaction(|tx| {
        for number in 0..PERSONS {
            tx.create_node([PERSON], props! { "name" => number, "emails" => list_value(&[number]) })?;
        }
        Ok(())
    })
}

/// A person gets another address, and knows somebody new.
fn meet(client: &mut Client, person: NodeId, number: i64) -> Result<()> {
    let mut emails = client.node(person)?.map(|node| list(node.get("emails"))).unwrap_or_default();
    emails.push(number);
    client.set_properties(person, props! { "emails" => list_value(&emails) })?;
    let new = client.create_node([PERSON], props! { "name" => number })?;
    client.create_edge(person, new, KNOWS, props! { "since" => number }).map(|_| ())
}

fn write_commit(process: &mut Process) -> Result<()> {
    let (person, number) = (process.person(), process.transaction());
    process.client.transaction(|tx| meet(tx, person, number))?;
    process.notes.push("committed".to_owned());
    Ok(())
}

/// Some are committed, some rolled back, some end by a statement that fails.
fn write_or_roll_back(process: &mut Process) -> Result<()> {
    let (person, number, choice) = (process.person(), process.transaction(), process.random.below(3));
    let ended = process.client.transaction(|tx| {
        meet(tx, person, number)?;
        match choice {
            0 => Ok(()),
            1 => Err(Error::other("rolled back")),
            // The person has edges, so it cannot be deleted alone.
            _ => tx.delete_node(person, false),
        }
    });
    match ended {
        Ok(()) => process.notes.push("committed".to_owned()),
        Err(Error::Other(_)) if choice == 1 => {}
        Err(Error::Server { code: graphite_client::ErrorCode::NodeHasEdges, .. }) if choice == 2 => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn check_counts(client: &mut Client, notes: &[String]) -> Result<Vec<String>> {
    let committed = i64::try_from(notes.len()).unwrap_or(i64::MAX);
    let mut emails = 0;
    for person in persons(client)? {
        let node = client.node(person)?;
        emails += node.map_or(0, |node| list(node.get("emails")).len());
    }
    let found = [
        ("persons", count(client, Traversal::nodes_with(PERSON))?, PERSONS + committed),
        ("names", count(client, Traversal::nodes_with(PERSON).has("name"))?, PERSONS + committed),
        ("addresses", i64::try_from(emails).unwrap_or(i64::MAX), PERSONS + committed),
        ("acquaintances", count(client, Traversal::edges_of(KNOWS))?, committed),
    ];
    let wrong = found.into_iter().filter(|(_, found, expected)| found != expected);
    Ok(wrong.map(|(what, found, expected)| format!("{found} {what} are there, not {expected}")).collect())
}
