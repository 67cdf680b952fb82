//! The judge of the interleavings: is there an order in which the committed transactions, one after another, would
//! have answered what they answered, and left what was left?

use std::collections::BTreeMap;

use graphite_client::messages::Mode;

/// Keys and values, as a table has them.
pub(crate) type Rows = BTreeMap<u64, i64>;

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Opens its transaction.
    Begin(Mode),
    /// Reads the value of a key.
    Get(u64),
    /// Gives a key another value.
    Set(u64, i64),
    /// Reads all rows whose values are at least the first and below the second.
    Scan(i64, i64),
    /// Makes a new row.
    Insert(u64, i64),
    /// Deletes all rows of this value.
    DeleteWhere(i64),
    /// Ends its transaction.
    Commit,
    /// Undoes its transaction.
    Rollback,
}

impl Step {
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Step::Set(..) | Step::Insert(..) | Step::DeleteWhere(_))
    }
}

/// What it was answered. A change answers nothing, a missing key no row.
pub(crate) type Answer = Rows;

/// What a session did and was answered; `None` if it was refused.
pub(crate) type Played = Vec<(Step, Option<Answer>)>;

/// Whether its changes are there, as far as it was told.
pub(crate) fn is_committed(played: &Played) -> bool {
    played.iter().all(|(_, answer)| answer.is_some()) && matches!(played.last(), Some((Step::Commit, _)))
}

/// What a step answers, and does to the rows.
fn apply(step: Step, rows: &mut Rows) -> Answer {
    match step {
        Step::Begin(_) | Step::Commit | Step::Rollback => {}
        Step::Get(key) => return rows.get(&key).map(|value| (key, *value)).into_iter().collect(),
        Step::Scan(from, to) => {
            return rows
                .iter()
                .filter(|row| (from..to).contains(row.1))
                .map(|(key, value)| (*key, *value))
                .collect();
        }
        Step::Set(key, value) | Step::Insert(key, value) => {
            rows.insert(key, value);
        }
        Step::DeleteWhere(value) => rows.retain(|_, other| *other != value),
    }
    Rows::new()
}

fn fits(transaction: &Played, rows: &mut Rows) -> bool {
    transaction.iter().all(|(step, answer)| answer.as_ref() == Some(&apply(*step, rows)))
}

/// An order of the committed transactions that explains everything.
pub(crate) fn explain(before: &Rows, played: &[Played], after: &Rows) -> Option<Vec<usize>> {
    let committed: Vec<usize> = (0..played.len()).filter(|index| is_committed(&played[*index])).collect();
    orders(&committed).into_iter().find(|order| {
        let mut rows = before.clone();
        order.iter().all(|index| fits(&played[*index], &mut rows)) && rows == *after
    })
}

fn orders(of: &[usize]) -> Vec<Vec<usize>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (place, first) in of.iter().enumerate() {
        let rest: Vec<usize> = of[..place].iter().chain(&of[place + 1..]).copied().collect();
        all.extend(orders(&rest).into_iter().map(|order| [vec![*first], order].concat()));
    }
    all
}

fn played(steps: &[(Step, &[(u64, i64)])]) -> Played {
    let row = |(step, rows): &(Step, &[(u64, i64)])| (*step, Some(rows.iter().copied().collect()));
    steps.iter().map(row).chain([(Step::Commit, Some(Rows::new()))]).collect()
}

/// The judge refuses what a database of weaker promises would answer.
#[test]
fn what_no_order_explains_is_refused() {
    let before = Rows::from([(1, 10), (2, 20)]);
    let judge = |sessions: &[Played], after: &[(u64, i64)]| {
        explain(&before, sessions, &after.iter().copied().collect())
    };
    // Write skew.
    let both: &[(u64, i64)] = &[(1, 10), (2, 20)];
    let one = played(&[(Step::Scan(0, 99), both), (Step::Set(1, 11), &[])]);
    let other = played(&[(Step::Scan(0, 99), both), (Step::Set(2, 21), &[])]);
    assert_eq!(judge(&[one.clone(), other.clone()], &[(1, 11), (2, 21)]), None);
    let after_one = played(&[(Step::Scan(0, 99), &[(1, 11), (2, 20)]), (Step::Set(2, 21), &[])]);
    assert_eq!(judge(&[after_one, one.clone()], &[(1, 11), (2, 21)]), Some(vec![1, 0]));
    // The other was refused, so what it would have done must not be there.
    let mut refused = other;
    refused.last_mut().unwrap().1 = None;
    assert_eq!(judge(&[one.clone(), refused.clone()], &[(1, 11), (2, 20)]), Some(vec![0]));
    assert_eq!(judge(&[one, refused], &[(1, 11), (2, 21)]), None);
    // A lost update.
    let update = |to| played(&[(Step::Get(1), &[(1, 10)]), (Step::Set(1, to), &[])]);
    assert_eq!(judge(&[update(11), update(12)], &[(1, 12), (2, 20)]), None);
    // A read skew.
    let writer = played(&[(Step::Set(1, 12), &[]), (Step::Set(2, 18), &[])]);
    let reader = |second| played(&[(Step::Get(1), &[(1, 10)]), (Step::Get(2), &[(2, second)])]);
    assert_eq!(judge(&[writer.clone(), reader(18)], &[(1, 12), (2, 18)]), None);
    assert_eq!(judge(&[writer, reader(20)], &[(1, 12), (2, 18)]), Some(vec![1, 0]));
    // A phantom.
    let insert = played(&[(Step::Insert(3, 30), &[])]);
    let twice = played(&[(Step::Scan(30, 99), &[]), (Step::Scan(30, 99), &[(3, 30)])]);
    assert_eq!(judge(&[insert, twice], &[(1, 10), (2, 20), (3, 30)]), None);
}
