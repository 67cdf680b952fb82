//! The accounts of the soak: what is moved between them never becomes more or less.

use graphite_client::{Client, Error, Result, Traversal, Value, props};

/// Label of the accounts.
pub const ACCOUNT: &str = "Account";
/// The property that says how much an account has.
pub const BALANCE: &str = "balance";
/// What each has at first.
const AT_FIRST: i64 = 1_000;

/// Makes so many accounts.
///
/// # Errors
/// The daemon's.
pub fn make_accounts(client: &mut Client, count: usize) -> Result<()> {
    client.transaction(|tx| {
        (0..count).try_for_each(|_| tx.create_node([ACCOUNT], props! { BALANCE => AT_FIRST }).map(|_| ()))
    })
}

/// What so many accounts have together.
pub fn expected(accounts: usize) -> i64 {
    i64::try_from(accounts).unwrap_or(i64::MAX).saturating_mul(AT_FIRST)
}

/// What all accounts have together.
///
/// # Errors
/// The daemon's.
pub fn total(client: &mut Client) -> Result<i64> {
    let rows = client.run(Traversal::nodes_with(ACCOUNT).properties([BALANCE]), ())?.rows;
    let balances: Option<Vec<i64>> = rows.iter().map(|row| row.first().and_then(Value::as_int)).collect();
    balances.map(|balances| balances.iter().sum()).ok_or_else(|| Error::other("an account has no balance"))
}
