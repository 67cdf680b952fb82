//! A client of the soak: moves money between accounts that all share, makes and deletes nodes of its own, reads in all
//! ways, dawdles now and then inside a transaction, and goes on after whatever a client may meet.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use graphite_client::{
    Client, Direction, Error, ErrorCode, NodeId, Result, RetryPolicy, Traversal, Value, props,
};
use graphite_tests::soak::{ACCOUNT, BALANCE, total};
use graphite_tests::{PATIENCE, Random, workers};

use crate::Common;

/// Nodes of its own that a client keeps at most.
const OWN_MAX: usize = 20;
/// A short pause inside a transaction, and one that the daemon may find too long.
const PAUSE_MAX: Duration = Duration::from_millis(20);
const DAWDLE_MAX: Duration = Duration::from_millis(800);

struct Process {
    client: Client,
    random: Random,
    accounts: Vec<NodeId>,
    own: Vec<NodeId>,
    policy: RetryPolicy,
}

pub(crate) fn run(common: &Common) -> Result<()> {
    let mut random = Random::new(common.seed);
    let (mut done, mut gave_up) = (0_u64, 0_u64);
    let enough = workers::enough();
    let mut process: Option<Process> = None;
    while !enough.load(Ordering::Relaxed) {
        let Some(connected) = &mut process else {
            process = connect(&common.socket, &mut random)?;
            continue;
        };
        match connected.act() {
            Ok(()) => done += 1,
            Err(error) if error.is_no_connection() => process = None,
            Err(error) if is_met_by_everybody(&error) => gave_up += 1,
            Err(error) => return Err(error),
        }
    }
    println!("done {done}");
    println!("gave-up {gave_up}");
    Ok(())
}

/// A new session, or none if it was ended at once.
fn connect(socket: &Path, random: &mut Random) -> Result<Option<Process>> {
    let began = Instant::now();
    loop {
        let opened = Client::connect(socket).and_then(|mut client| {
            let rows = client.run(Traversal::nodes_with(ACCOUNT).ids(), ())?.rows;
            Ok((client, rows))
        });
        match opened {
            Ok((client, rows)) => {
                let accounts = rows.iter().filter_map(|row| NodeId::from_value(&row[0])).collect();
                let policy = RetryPolicy { tries_max: 4, ..RetryPolicy::default() };
                let random = Random::new(random.next_u64());
                return Ok(Some(Process { client, random, accounts, own: Vec::new(), policy }));
            }
            Err(error) if error.is_no_connection() && began.elapsed() < PATIENCE => return Ok(None),
            Err(error) if is_met_by_everybody(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a client may meet among others, some of whom cancel and kill.
fn is_met_by_everybody(error: &Error) -> bool {
    use ErrorCode::{Cancelled, Timeout, TransactionFailed};
    error.is_retryable() || matches!(error.code(), Some(Cancelled | Timeout | TransactionFailed))
}

fn balance(client: &mut Client, account: NodeId) -> Result<i64> {
    let node = client.node(account)?.ok_or_else(|| Error::other("an account is gone"))?;
    node.get(BALANCE).and_then(Value::as_int).ok_or_else(|| Error::other("an account has no balance"))
}

fn has_all(found: i64, expected: i64) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::other(format!("{found} are there, not {expected}"))) }
}

impl Process {
    fn act(&mut self) -> Result<()> {
        match self.random.below(100) {
            0..30 => self.transfer(),
            30..45 => self.sum_on_snapshot(),
            45..50 => self.sum_in_transaction(),
            50..65 => self.make(),
            65..75 => self.delete(),
            75..85 => self.walk(),
            85..95 => self.change_alone(),
            _ => self.leave_a_cursor(),
        }
    }

    fn account(&mut self) -> NodeId {
        *self.random.pick(&self.accounts)
    }

    fn transfer(&mut self) -> Result<()> {
        let (from, to, amount) = (self.account(), self.account(), i64::from(self.random.percent(50)) + 1);
        let pause = match self.random.below(100) {
            0..2 => self.random.duration(DAWDLE_MAX),
            2..12 => self.random.duration(PAUSE_MAX),
            _ => Duration::ZERO,
        };
        self.client.transaction_with(&self.policy, |tx| {
            let left = balance(tx, from)?;
            tx.set_properties(from, props! { BALANCE => left - amount })?;
            std::thread::sleep(pause);
            let right = balance(tx, to)?;
            tx.set_properties(to, props! { BALANCE => right + amount })
        })
    }

    fn sum_on_snapshot(&mut self) -> Result<()> {
        let expected = self.expected();
        has_all(self.client.snapshot(|s| total(s))?, expected)
    }

    fn sum_in_transaction(&mut self) -> Result<()> {
        let expected = self.expected();
        has_all(self.client.transaction_with(&self.policy, |tx| total(tx))?, expected)
    }

    fn expected(&self) -> i64 {
        graphite_tests::soak::expected(self.accounts.len())
    }

    fn make(&mut self) -> Result<()> {
        if self.own.len() >= OWN_MAX {
            return self.delete();
        }
        let account = self.account();
        let made = self.client.transaction_with(&self.policy, |tx| {
            let made = tx.create_node(["Own"], props! { "text" => "x".repeat(200) })?;
            tx.create_edge(made, account, "OF", ())?;
            Ok(made)
        })?;
        self.own.push(made);
        Ok(())
    }

    fn delete(&mut self) -> Result<()> {
        let Some(own) = self.own.pop() else { return Ok(()) };
        self.client.transaction_with(&self.policy, |tx| tx.delete_node(own, true)).inspect_err(|_| {
            self.own.push(own);
        })
    }

    fn walk(&mut self) -> Result<()> {
        let account = self.account();
        self.client.khop_count(account, Direction::Both, &[], 2).map(|_| ())
    }

    fn change_alone(&mut self) -> Result<()> {
        let Some(&own) = self.own.last() else { return Ok(()) };
        self.client.set_properties(own, props! { "text" => "y".repeat(100) })
    }

    /// Reads a row of many, and then something else.
    fn leave_a_cursor(&mut self) -> Result<()> {
        let first = self.client.rows_by(Traversal::nodes(), (), Some(1))?.next();
        first.transpose().map(|_| ())
    }
}
