//! What the operator is asked before anybody is cancelled or killed: what it costs, and what it frees.
//!
//! The order names session, transaction and statement as they were seen, so that whoever came after is not touched.

use graphite_client::messages::{Cancel, Kill, Mode};

use crate::connection::{Act, Order};
use crate::format::{counted, span};
use crate::scene::Scene;

/// What an order would do, waiting for the operator's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What it costs and frees.
    pub lines: Vec<String>,
    /// What is sent if the answer is yes.
    pub order: Order,
}

/// Asks whether to kill a session, or to cancel its statement, through the connection of a number.
pub fn question(scene: &Scene, place: u32, kill: bool, link: u64) -> Question {
    let row = &scene.picture.sessions[place as usize];
    let who = format!(
        "session {} ({}, pid {}, \"{}\")",
        row.session,
        row.user.as_deref().unwrap_or("?"),
        row.pid,
        row.client
    );
    let age = span(row.transaction_ms.unwrap_or(0));
    let behind = match scene.behind(place) {
        0 => "nobody waits behind it".to_owned(),
        count => format!(
            "{} behind it go on: {}",
            counted(count, "session"),
            crate::views::sessions::names(scene, place)
        ),
    };
    let frees = format!("frees: {}; {behind}", counted(row.locks, "lock"));
    let statement = row.statement.as_deref().unwrap_or("none");
    let (lines, act) = if kill {
        let cost = match row.transaction {
            Some(number) => {
                format!("costs: its connection, and transaction {number} is rolled back ({age} of work)")
            }
            None => "costs: its connection; no transaction is open".to_owned(),
        };
        let kill = Kill { session: row.session, transaction: row.transaction };
        (vec![format!("Kill {who}?"), cost, frees, format!("statement: {statement}")], Act::Kill(kill))
    } else {
        let ran = span(row.statement_ms.unwrap_or(0));
        let (cost, then) = match (row.transaction, row.mode) {
            // A statement that fails takes its transaction with it.
            (Some(number), Some(Mode::Write)) => (
                format!(
                    "costs: its statement ({ran}), and transaction {number} is rolled back ({age} of work)"
                ),
                frees,
            ),
            (Some(_), _) => (
                format!("costs: its statement ({ran}); the client gets an error"),
                format!("keeps: its connection and its transaction, which only reads; {behind}"),
            ),
            (None, _) => {
                (format!("costs: its statement ({ran}), which is undone; the client gets an error"), frees)
            }
        };
        let cancel = Cancel {
            session: row.session,
            transaction: Some(row.transaction.unwrap_or(0)),
            statement: Some(row.statement_number),
        };
        (
            vec![format!("Cancel the statement of {who}?"), cost, then, format!("statement: {statement}")],
            Act::Cancel(cancel),
        )
    };
    Question { lines, order: Order::Act(link, act) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use graphite_client::messages::SessionState;

    #[test]
    fn the_question_says_what_becomes_of_a_transaction() {
        let mut scene = samples::quiet();
        let mut ask = |mode, transaction| {
            let mut row = samples::session(17, "alice", "etl", SessionState::Active, &[]);
            (row.mode, row.transaction) = (mode, transaction);
            scene.picture.sessions = vec![row];
            question(&scene, 0, false, 1).lines.join("; ")
        };
        let write = ask(Some(Mode::Write), Some(9));
        assert!(write.contains("transaction 9 is rolled back") && !write.contains("keeps"), "{write}");
        let read = ask(Some(Mode::Read), Some(9));
        assert!(
            read.contains("keeps: its connection and its transaction") && !read.contains("rolled"),
            "{read}"
        );
        let alone = ask(None, None);
        assert!(alone.contains("which is undone") && !alone.contains("transaction"), "{alone}");
    }
}
