//! The commands for whoever looks after the sessions: who is there, who waits for whom, and putting an end to it.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use graphite_client::messages::{Deadlock, Lock, Session, SessionState};
use graphite_client::{Client, Value};

use super::Target;
use super::commands::FormatArgs;
use super::failure::{Failure, Outcome};
use super::output::{Format, RowSet, Screen, write_rows, write_structs};
use super::show::{count, elapsed};

/// Flags of `sessions`.
#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// Flags of `locks`.
#[derive(Debug, Args)]
pub(crate) struct LocksArgs {
    /// Show the last deadlocks instead: who waited for what, and who was rolled back
    #[arg(long)]
    deadlocks: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Flags of `cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The session's number, as `sessions` shows it
    #[arg(value_name = "SESSION")]
    session: u64,
}

/// Flags of `kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// The session's number, as `sessions` shows it
    #[arg(value_name = "SESSION")]
    session: u64,
    /// Do nothing unless the session is in this transaction [default: whichever it is in]
    #[arg(long, value_name = "N")]
    transaction: Option<u64>,
}

/// `graphite sessions`
pub(crate) fn sessions(target: &Target, args: &SessionsArgs, out: &mut impl Write) -> Outcome {
    let mut client = target.connect(false)?;
    let (own, sessions) = (client.server().session, client.sessions()?);
    // Whoever asks wants to know of the others.
    let others: Vec<Session> = sessions.into_iter().filter(|row| row.session != own).collect();
    if args.format.format != Format::Table {
        return Ok(write_structs(out, &others, args.format.format, Screen::of_stdout())?);
    }
    // What there is to know of each session fits a screen of 80 columns; the other formats have all of it.
    let columns = ["session", "pid", "state", "for", "locks", "what it does"];
    let mut set = RowSet { amounts: &[3], whole: &[0, 1, 2, 3, 4], ..RowSet::new(&columns) };
    set.rows.extend(others.iter().map(session_row));
    write_rows(out, &set, Format::Table, Screen::of_stdout())?;
    let waiting = others.iter().filter(|row| row.waits_for.is_some()).count() as u64;
    writeln!(out, "{}, {waiting} waiting", count(others.len() as u64, "session"))?;
    Ok(())
}

fn session_row(row: &Session) -> Vec<Value> {
    let since = row.wait_ms.or(row.statement_ms).or(row.transaction_ms).unwrap_or(row.connected_ms);
    let statement = row.statement.as_deref().unwrap_or_default();
    let does = match &row.waits_for {
        Some(name) => {
            let blocked_by: Vec<String> = row.blocked_by.iter().map(u64::to_string).collect();
            format!("behind {}: {name}; {statement}", blocked_by.join(", "))
        }
        None => statement.to_owned(),
    };
    let state = match row.state {
        SessionState::IdleInTransaction => "in transaction",
        state => state.as_str(),
    };
    vec![
        int(row.session),
        int(u64::from(row.pid)),
        state.into(),
        elapsed(Duration::from_millis(since)).into(),
        int(row.locks),
        does.into(),
    ]
}

/// `graphite locks`
pub(crate) fn locks(target: &Target, args: &LocksArgs, out: &mut impl Write) -> Outcome {
    let reply = target.connect(false)?.locks()?;
    let (format, screen) = (args.format.format, Screen::of_stdout());
    match (args.deadlocks, format) {
        (true, Format::Table) => {
            let mut set = RowSet::new(&["ago", "session", "waited for", "statement", ""]);
            set.rows.extend(reply.deadlocks.iter().flat_map(deadlock_rows));
            write_rows(out, &set, format, screen)?;
            writeln!(out, "{}", count(reply.deadlocks.len() as u64, "deadlock"))?;
        }
        (false, Format::Table) => {
            let mut set = RowSet::new(&["lock", "mode", "state", "session", "transaction", "for"]);
            set.amounts = &[5];
            set.rows.extend(reply.locks.iter().map(lock_row));
            write_rows(out, &set, format, screen)?;
            let awaited = reply.locks.iter().filter(|lock| !lock.granted).count();
            let held = (reply.locks.len() - awaited) as u64;
            writeln!(out, "{} held, {awaited} awaited", count(held, "lock"))?;
        }
        (true, _) => write_structs(out, &reply.deadlocks, format, screen)?,
        (false, _) => write_structs(out, &reply.locks, format, screen)?,
    }
    Ok(())
}

fn lock_row(lock: &Lock) -> Vec<Value> {
    vec![
        lock.name.as_str().into(),
        lock.mode.as_str().into(),
        if lock.granted { "held" } else { "awaited" }.into(),
        int(lock.session),
        if lock.transaction == 0 { Value::Nil } else { int(lock.transaction) },
        elapsed(Duration::from_millis(lock.for_ms)).into(),
    ]
}

/// A row for each session that took part.
fn deadlock_rows(deadlock: &Deadlock) -> Vec<Vec<Value>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ago = elapsed(now.saturating_sub(Duration::from_millis(deadlock.at_ms)));
    let row = |(place, session): (usize, &u64)| {
        vec![
            if place == 0 { ago.as_str().into() } else { Value::Nil },
            int(*session),
            text(deadlock.waits_for.get(place)),
            text(deadlock.statements.get(place)),
            if *session == deadlock.victim { "rolled back".into() } else { Value::Nil },
        ]
    };
    deadlock.sessions.iter().enumerate().map(row).collect()
}

/// `graphite cancel`
pub(crate) fn cancel(target: &Target, args: &CancelArgs, out: &mut impl Write) -> Outcome {
    let session = args.session;
    if !target.connect(false)?.cancel(session)? {
        return Err(Failure::Failed(format!("session {session} runs no statement; nothing was done")));
    }
    writeln!(out, "the statement of session {session} was asked to stop")?;
    Ok(())
}

/// `graphite kill`
pub(crate) fn kill(target: &Target, args: &KillArgs, out: &mut impl Write) -> Outcome {
    let mut client = target.connect(false)?;
    let session = args.session;
    let transaction =
        args.transaction.map_or_else(|| transaction_of(&mut client, session), |n| Ok(Some(n)))?;
    client.kill(session, transaction)?;
    match transaction {
        Some(number) => writeln!(out, "session {session} was ended, and transaction {number} rolled back")?,
        None => writeln!(out, "session {session} was ended; no transaction was open")?,
    }
    Ok(())
}

/// The transaction that the session is in now. One that is gone is for the daemon to tell.
fn transaction_of(client: &mut Client, session: u64) -> Outcome<Option<u64>> {
    let found = client.sessions()?.into_iter().find(|row| row.session == session);
    Ok(found.and_then(|row| row.transaction))
}

fn int(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn text(of: Option<&String>) -> Value {
    of.map_or(Value::Nil, |of| of.as_str().into())
}
