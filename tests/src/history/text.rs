//! Histories as text, a line for each thing that a client knows, so that what a client knew survives its end.
//!
//! `t CLIENT BEGAN STEP...` is written before a commit is sent, with all that was done: `l3+17` put element 17 into list
//! 3, `e3=1,2` read the edges of node 3, `n3=` read nothing from label 3. `o ENDED OUTCOME` follows when the client knows
//! how it ended: `c` and the commit's position, `a` if it was rolled back, `u` if that is not known. A transaction without
//! an outcome is one whose client was ended; a last line without an end was being written at that moment, before the
//! commit was sent, and says nothing.

use std::fmt::Write;

use super::{Object, Outcome, Step, Transaction};

/// When a transaction ended whose client did not live to see it.
const NEVER: u64 = u64::MAX;

/// Writes a transaction's line.
pub fn write_transaction(out: &mut String, client: u32, began: u64, steps: &[Step]) {
    let _ = write!(out, "t {client} {began}");
    for step in steps {
        match step {
            Step::Put(object, element) => {
                let _ = write!(out, " {object}+{element}");
            }
            Step::Read(object, elements) => {
                let _ = write!(out, " {object}=");
                for (place, element) in elements.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    let _ = write!(out, "{comma}{element}");
                }
            }
        }
    }
    out.push('\n');
}

/// Writes how the transaction of the line before ended.
pub fn write_outcome(out: &mut String, ended: u64, outcome: Outcome) {
    let _ = match outcome {
        Outcome::Committed { lsn } => writeln!(out, "o {ended} c{lsn}"),
        Outcome::Aborted => writeln!(out, "o {ended} a"),
        Outcome::Unknown => writeln!(out, "o {ended} u"),
    };
}

/// Reads the lines of one client.
///
/// # Errors
/// The line that makes no sense.
pub fn parse(text: &str) -> Result<Vec<Transaction>, String> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut transactions: Vec<Transaction> = Vec::new();
    for line in whole.lines() {
        let understood = match line.split_once(' ') {
            Some(("t", rest)) => transaction(rest).map(|transaction| transactions.push(transaction)),
            Some(("o", rest)) => transactions.last_mut().and_then(|transaction| {
                (transaction.ended, transaction.outcome) = outcome(rest)?;
                Some(())
            }),
            _ => None,
        };
        understood.ok_or_else(|| format!("no line of a history: {line:?}"))?;
    }
    Ok(transactions)
}

fn transaction(line: &str) -> Option<Transaction> {
    let mut words = line.split(' ');
    let client = words.next()?.parse().ok()?;
    let began = words.next()?.parse().ok()?;
    let steps = words.map(step).collect::<Option<_>>()?;
    Some(Transaction { client, began, ended: NEVER, steps, outcome: Outcome::Unknown })
}

fn step(word: &str) -> Option<Step> {
    if let Some((name, element)) = word.split_once('+') {
        return Some(Step::Put(object(name)?, element.parse().ok()?));
    }
    let (name, elements) = word.split_once('=')?;
    let elements = elements.split(',').filter(|element| !element.is_empty());
    Some(Step::Read(object(name)?, elements.map(|element| element.parse().ok()).collect::<Option<_>>()?))
}

fn object(name: &str) -> Option<Object> {
    let (sort, number) = name.split_at_checked(1)?;
    let number = number.parse().ok()?;
    match sort {
        "l" => Some(Object::List(number)),
        "e" => Some(Object::Edges(number)),
        "n" => Some(Object::Label(number)),
        _ => None,
    }
}

fn outcome(line: &str) -> Option<(u64, Outcome)> {
    let (ended, outcome) = line.split_once(' ')?;
    let outcome = match outcome.split_at_checked(1)? {
        ("c", lsn) => Outcome::Committed { lsn: lsn.parse().ok()? },
        ("a", "") => Outcome::Aborted,
        ("u", "") => Outcome::Unknown,
        _ => return None,
    };
    Some((ended.parse().ok()?, outcome))
}
