//! Reads of what never was, or of what was not at one moment.

use std::collections::HashMap;
use std::time::Duration;

use graphite_client::{Client, Comparison, Direction, Error, NodeId, Result, Traversal, props};

use super::{PERSON, Process, Read, Test, count, nothing_to_check, number};

const fn reading(name: &'static str, write: fn(&mut Process) -> Result<()>, read: Read) -> Test {
    Test { name, load: load_versions, write, read: Some(read), check: nothing_to_check }
}

pub(super) const G1A: Test = reading("g1a", write_and_roll_back, read_odd);
pub(super) const G1B: Test = reading("g1b", write_twice, read_odd);
pub(super) const G1C: Test =
    Test { name: "g1c", load: load_versions, write: write_one_read_other, read: None, check: check_circles };
pub(super) const IMP: Test = reading("imp", increase, read_item_twice);
pub(super) const PMP: Test = reading("pmp", like, count_likes_twice);
pub(super) const OTV: Test = reading("otv", increase_four, read_four_forwards);
pub(super) const FR: Test = reading("fr", increase_four, read_four_alike);

/// Persons at the beginning, some groups of four.
const PERSONS: i64 = 8;
const VERSION: &str = "version";
/// Between two reads of a transaction, so that others have the time to come in between.
const PAUSE_MAX: Duration = Duration::from_micros(500);

fn load_versions(client: &mut Client) -> Result<()> {
    client.transaction(|tx| {
        (0..PERSONS).try_for_each(|_| tx.create_node([PERSON], props! { VERSION => 1 }).map(|_| ()))
    })
}

fn set_version(client: &mut Client, person: NodeId, version: i64) -> Result<()> {
    client.set_properties(person, props! { VERSION => version })
}

/// An even version, which is rolled back.
fn write_and_roll_back(process: &mut Process) -> Result<()> {
    let (person, pause) = (process.person(), process.random.duration(PAUSE_MAX));
    let ended: Result<()> = process.client.transaction(|tx| {
        set_version(tx, person, 2)?;
        std::thread::sleep(pause);
        Err(Error::other("rolled back"))
    });
    match ended {
        Err(Error::Other(_)) => Ok(()),
        other => other,
    }
}

/// An even version, and an odd one over it.
fn write_twice(process: &mut Process) -> Result<()> {
    let (person, pause) = (process.person(), process.random.duration(PAUSE_MAX));
    let odd = 1 + 2 * i64::try_from(process.random.below(1000)).unwrap_or(0);
    process.client.transaction(|tx| {
        set_version(tx, person, 98)?;
        std::thread::sleep(pause);
        set_version(tx, person, odd)
    })
}

fn read_odd(process: &mut Process) -> Result<Option<String>> {
    let person = process.person();
    let version = process.read(|tx| number(tx, person, VERSION))?;
    Ok((version % 2 == 0).then(|| format!("version {version} was never committed")))
}

/// Writes one of a pair and reads the other.
fn write_one_read_other(process: &mut Process) -> Result<()> {
    let (mut pair, own) = (process.group(2), process.transaction());
    if process.random.percent(50) {
        pair.reverse();
    }
    let seen = process.client.transaction(|tx| {
        set_version(tx, pair[0], own)?;
        number(tx, pair[1], VERSION)
    })?;
    process.notes.push(format!("{own} {seen}"));
    Ok(())
}

fn check_circles(_: &mut Client, notes: &[String]) -> Result<Vec<String>> {
    let seen: HashMap<&str, &str> = notes.iter().filter_map(|note| note.split_once(' ')).collect();
    let circles = seen.iter().filter(|(own, other)| seen.get(**other) == Some(own));
    Ok(circles.map(|(own, other)| format!("{own} has read {other}, and {other} {own}")).collect())
}

fn increase(process: &mut Process) -> Result<()> {
    let person = process.person();
    process.client.transaction(|tx| {
        let version = number(tx, person, VERSION)?;
        set_version(tx, person, version + 1)
    })
}

/// Does the same read twice in a transaction.
fn twice<T>(process: &mut Process, mut read: impl FnMut(&mut Client) -> Result<T>) -> Result<(T, T)> {
    let pause = process.random.duration(PAUSE_MAX);
    process.read(|tx| {
        let first = read(tx)?;
        std::thread::sleep(pause);
        Ok((first, read(tx)?))
    })
}

fn read_item_twice(process: &mut Process) -> Result<Option<String>> {
    let person = process.person();
    let (first, second) = twice(process, |tx| number(tx, person, VERSION))?;
    Ok((first != second).then(|| format!("a version was {first}, and then {second}")))
}

/// Somebody likes a person: an edge, and a node that says so too.
fn like(process: &mut Process) -> Result<()> {
    let (person, fan) = (process.person(), process.person());
    process.client.transaction(|tx| {
        tx.create_edge(fan, person, "LIKES", ())?;
        tx.create_node(["Like"], props! { "of" => person }).map(|_| ())
    })
}

/// Counts who likes a person in two ways: along the edges, and by a property of all nodes of a label.
fn count_likes_twice(process: &mut Process) -> Result<Option<String>> {
    let person = process.person();
    let (first, second) = twice(process, |tx| {
        let edges = tx.degree(person, Direction::In, &["LIKES"])?;
        let nodes = Traversal::nodes_with("Like").filter("of", Comparison::Eq, person);
        Ok((edges, count(tx, nodes)?))
    })?;
    let same = first == second && u64::try_from(first.1) == Ok(first.0);
    Ok((!same).then(|| format!("edges and nodes were {first:?}, and then {second:?}")))
}

/// All four of a group, in turn from any one on.
fn increase_four(process: &mut Process) -> Result<()> {
    let (mut group, first) = (process.group(4), process.random.below(4));
    group.rotate_left(usize::try_from(first).unwrap_or(0));
    process.client.transaction(|tx| {
        for &person in &group {
            let version = number(tx, person, VERSION)?;
            set_version(tx, person, version + 1)?;
        }
        Ok(())
    })
}

fn read_four(process: &mut Process) -> Result<(Vec<i64>, Vec<i64>)> {
    let group = process.group(4);
    twice(process, |tx| group.iter().map(|&person| number(tx, person, VERSION)).collect())
}

/// What was seen once must not vanish: no version of the second read is older than one of the first.
fn read_four_forwards(process: &mut Process) -> Result<Option<String>> {
    let (first, second) = read_four(process)?;
    let vanished = first.iter().max() > second.iter().min();
    Ok(vanished.then(|| format!("versions were {first:?}, and then {second:?}")))
}

/// All four are changed together, so all have one version, in both reads.
fn read_four_alike(process: &mut Process) -> Result<Option<String>> {
    let (first, second) = read_four(process)?;
    let alike = first.iter().chain(&second).all(|version| *version == first[0]);
    Ok((!alike).then(|| format!("versions were {first:?}, and then {second:?}")))
}
