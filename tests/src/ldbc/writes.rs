//! Writes that others write over: dirty writes, lost updates, write skew.

use graphite_client::{Client, Direction, EdgeId, Error, NodeId, Result, Traversal, props};

use super::{KNOWS, PERSON, Process, Test, count, list, list_value, nothing_to_check, number, persons};

pub(super) const G0: Test =
    Test { name: "g0", load: load_pairs, write: append_thrice, read: None, check: check_histories };
pub(super) const LU: Test = Test {
    name: "lu",
    load: load_counters,
    write: count_one_more,
    read: Some(read_counter),
    check: check_counters,
};
pub(super) const WS: Test = Test {
    name: "ws",
    load: load_values,
    write: take_if_enough,
    read: Some(read_values),
    check: nothing_to_check,
};

const PAIRS: i64 = 3;
const HISTORY: &str = "versions";

fn load_pairs(client: &mut Client) -> Result<()> {
    client.transaction(|tx| {
        for _ in 0..PAIRS {
            let one = tx.create_node([PERSON], ())?;
            let other = tx.create_node([PERSON], ())?;
            tx.create_edge(one, other, KNOWS, ())?;
        }
        Ok(())
    })
}

fn edge_between(client: &mut Client, pair: &[NodeId]) -> Result<(EdgeId, Vec<i64>)> {
    let edges = client.edges(pair[0], Direction::Out, &[KNOWS])?;
    let edge = edges.into_iter().find(|edge| edge.end == pair[1].0);
    let edge = edge.ok_or_else(|| Error::other("the edge of a pair is gone"))?;
    Ok((EdgeId(edge.id), list(edge.get(HISTORY))))
}

/// Appends to the histories of a pair and of the edge between them, in any order.
fn append_thrice(process: &mut Process) -> Result<()> {
    let (pair, own, first) = (process.group(2), process.transaction(), process.random.below(3));
    process.client.transaction(|tx| {
        for turn in 0..3 {
            match usize::try_from((first + turn) % 3).unwrap_or(0) {
                2 => {
                    let (edge, mut history) = edge_between(tx, &pair)?;
                    history.push(own);
                    tx.set_properties(edge, props! { HISTORY => list_value(&history) })?;
                }
                person => {
                    let node = tx.node(pair[person])?;
                    let mut history = node.map(|node| list(node.get(HISTORY))).unwrap_or_default();
                    history.push(own);
                    tx.set_properties(pair[person], props! { HISTORY => list_value(&history) })?;
                }
            }
        }
        Ok(())
    })?;
    process.notes.push(own.to_string());
    Ok(())
}

fn check_histories(client: &mut Client, notes: &[String]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut all = Vec::new();
    for pair in persons(client)?.chunks_exact(2) {
        let mut histories = vec![edge_between(client, pair)?.1];
        for &person in pair {
            histories.push(client.node(person)?.map(|node| list(node.get(HISTORY))).unwrap_or_default());
        }
        if histories.iter().any(|history| *history != histories[0]) {
            wrong.push(format!("the histories of a pair and its edge differ: {histories:?}"));
        }
        all.extend(histories.swap_remove(0));
    }
    let mut noted: Vec<i64> = notes.iter().filter_map(|note| note.parse().ok()).collect();
    noted.sort_unstable();
    all.sort_unstable();
    if all != noted {
        wrong.push(format!(
            "{} transactions are in the histories, and {} were committed",
            all.len(),
            noted.len()
        ));
    }
    Ok(wrong)
}

const COUNTED: &str = "friends";

fn load_counters(client: &mut Client) -> Result<()> {
    client.transaction(|tx| {
        (0..PAIRS).try_for_each(|_| tx.create_node([PERSON], props! { COUNTED => 0 }).map(|_| ()))
    })
}

fn count_one_more(process: &mut Process) -> Result<()> {
    let person = process.person();
    process.client.transaction(|tx| {
        let before = number(tx, person, COUNTED)?;
        let friend = tx.create_node(["Friend"], ())?;
        tx.create_edge(person, friend, KNOWS, ())?;
        tx.set_properties(person, props! { COUNTED => before + 1 })
    })?;
    process.notes.push(person.to_string());
    Ok(())
}

fn read_counter(process: &mut Process) -> Result<Option<String>> {
    let person = process.person();
    let (counter, edges) = process.read(|tx| {
        let counter = number(tx, person, COUNTED)?;
        Ok((counter, tx.degree(person, Direction::Out, &[KNOWS])?))
    })?;
    let same = u64::try_from(counter) == Ok(edges);
    Ok((!same).then(|| format!("a counter is {counter} beside {edges} edges")))
}

fn check_counters(client: &mut Client, notes: &[String]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for person in persons(client)? {
        let counter = number(client, person, COUNTED)?;
        let edges = count(client, Traversal::required_node(person).expand(Direction::Out, [KNOWS]))?;
        let noted = notes.iter().filter(|note| **note == person.to_string()).count();
        if counter != edges || usize::try_from(counter) != Ok(noted) {
            wrong.push(format!("a counter is {counter} beside {edges} edges and {noted} commits"));
        }
    }
    Ok(wrong)
}

const VALUE: &str = "value";
const AT_FIRST: [i64; 2] = [70, 80];
const TAKEN: i64 = 100;

fn load_values(client: &mut Client) -> Result<()> {
    client.transaction(|tx| {
        for value in (0..PAIRS).flat_map(|_| AT_FIRST) {
            tx.create_node([PERSON], props! { VALUE => value })?;
        }
        Ok(())
    })
}

fn values(client: &mut Client, pair: &[NodeId]) -> Result<[i64; 2]> {
    Ok([number(client, pair[0], VALUE)?, number(client, pair[1], VALUE)?])
}

/// Takes from one of a pair if both together have enough; if not, both get what they had at first.
fn take_if_enough(process: &mut Process) -> Result<()> {
    let (pair, from) = (process.group(2), usize::from(process.random.percent(50)));
    process.client.transaction(|tx| {
        let found = values(tx, &pair)?;
        if found[0] + found[1] >= TAKEN {
            return tx.set_properties(pair[from], props! { VALUE => found[from] - TAKEN });
        }
        (0..2).try_for_each(|which| tx.set_properties(pair[which], props! { VALUE => AT_FIRST[which] }))
    })
}

fn read_values(process: &mut Process) -> Result<Option<String>> {
    let pair = process.group(2);
    let found = process.read(|tx| values(tx, &pair))?;
    Ok((found[0] + found[1] <= 0).then(|| format!("a pair has {found:?}")))
}
