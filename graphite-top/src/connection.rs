//! The connection to the daemon, in a thread of its own: it asks for pictures, and sends what the operator orders.
//!
//! Pictures are asked for one at a time and not sent unasked, and the way to the screen is short; so nothing piles up when
//! the terminal is slow. When the connection is lost it is made again, at growing intervals; the screen says since when it shows what was.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use graphite_client::messages::{Cancel, Kill, Picture};
use graphite_client::{Client, Error};

use crate::event::Event;

/// Name and version that the daemon shows.
pub const CLIENT: &str = concat!("graphite-top/", env!("CARGO_PKG_VERSION"));
/// What is said of an order that nobody carries out.
const GONE: &str = "the connection that this was seen through is gone; nothing was done";
/// What is said of an order whose answer did not come.
const UNKNOWN: &str = "the connection failed before the daemon answered; whether it was done is not known";
/// First and longest pause between attempts to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// What the screen orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ask so often.
    Every(Duration),
    /// Show a recording at so many percent of its pace.
    Speed(u32),
    /// Stop showing a recording, or go on.
    Hold(bool),
    /// Do something to a session, as it was seen through the connection of this number; no other carries it out.
    Act(u64, Act),
}

/// What is done to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// End the statement that was seen.
    Cancel(Cancel),
    /// End the session that was seen.
    Kill(Kill),
}

/// How the connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is there.
    Up {
        /// Our own session.
        session: u64,
        /// Which connection it is, counted from 1.
        number: u64,
    },
    /// It is not, for a reason; it will be tried again.
    Down(String),
}

/// Whom to watch.
#[derive(Debug)]
pub struct Target {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// How often to ask.
    pub interval: Duration,
}

/// Connects.
///
/// # Errors
/// As [`Client::connect_monitor`].
pub fn connect(target: &Target) -> Result<Client, Error> {
    Client::connect_monitor(&target.socket, CLIENT)
}

/// Runs until the screen is gone. The first connection is made by the caller, whose errors end the program.
pub fn run(mut client: Client, mut target: Target, orders: &Receiver<Order>, events: &SyncSender<Event>) {
    for number in 1.. {
        let session = client.server().session;
        if events.send(Event::Link(Link::Up { session, number })).is_err() {
            return;
        }
        let Some(error) = watch(&mut client, number, &mut target, orders, events) else { return };
        if events.send(Event::Link(Link::Down(error.to_string()))).is_err() {
            return;
        }
        drop(client);
        let Some(again) = reconnect(&mut target, orders, events) else { return };
        client = again;
    }
}

/// Asks and orders until the connection fails, with the reason; `None` if the screen is gone.
fn watch(
    client: &mut Client,
    number: u64,
    target: &mut Target,
    orders: &Receiver<Order>,
    events: &SyncSender<Event>,
) -> Option<Error> {
    loop {
        let asked = Instant::now();
        match client.picture() {
            Ok(picture) => events.send(Event::Picture(Box::new(picture))).ok()?,
            Err(error) if error.is_no_connection() => return Some(error),
            Err(error) => events.send(Event::Done(error.to_string())).ok()?,
        }
        loop {
            let due = target.interval.saturating_sub(asked.elapsed());
            match orders.recv_timeout(due) {
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return None,
                Ok(Order::Every(interval)) => target.interval = interval,
                Ok(Order::Speed(_) | Order::Hold(_)) => {}
                // It was on its way when the connection was lost that it was meant for.
                Ok(Order::Act(of, _)) if of != number => {
                    events.send(Event::Done(GONE.to_owned())).ok()?;
                }
                Ok(Order::Act(_, act)) => {
                    let said = match carry_out(client, act) {
                        Ok(said) => said,
                        Err(error) if error.code().is_none() && error.is_no_connection() => {
                            events.send(Event::Done(UNKNOWN.to_owned())).ok()?;
                            return Some(error);
                        }
                        Err(error) => error.to_string(),
                    };
                    events.send(Event::Done(said)).ok()?;
                    break;
                }
            }
        }
    }
}

fn carry_out(client: &mut Client, act: Act) -> Result<String, Error> {
    match act {
        Act::Cancel(cancel) => {
            let was_running = client.cancel_seen(&cancel)?;
            let session = cancel.session;
            Ok(if was_running {
                format!("the statement of session {session} was asked to stop")
            } else {
                format!("session {session} runs no statement; nothing was done")
            })
        }
        Act::Kill(kill) => {
            client.kill(kill.session, kill.transaction)?;
            Ok(format!("session {} was ended", kill.session))
        }
    }
}

/// Tries again and again. Orders that come meanwhile are refused, for they were meant for what was seen.
fn reconnect(target: &mut Target, orders: &Receiver<Order>, events: &SyncSender<Event>) -> Option<Client> {
    let mut pause = BACKOFF.0;
    loop {
        let due = Instant::now() + pause;
        loop {
            match orders.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return None,
                Ok(Order::Every(interval)) => target.interval = interval,
                Ok(Order::Speed(_) | Order::Hold(_)) => {}
                Ok(Order::Act(..)) => events.send(Event::Done(GONE.to_owned())).ok()?,
            }
        }
        match connect(target) {
            Ok(client) => return Some(client),
            Err(error) => events.send(Event::Link(Link::Down(error.to_string()))).ok()?,
        }
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Two pictures, for `--once`, so that there are rates.
///
/// # Errors
/// The daemon's, or that of the connection.
pub fn two_pictures(client: &mut Client, interval: Duration) -> Result<(Picture, Picture), Error> {
    let first = client.picture()?;
    std::thread::sleep(interval.min(Duration::from_millis(200)));
    Ok((first, client.picture()?))
}
