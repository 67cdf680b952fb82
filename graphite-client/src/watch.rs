//! Pictures that a daemon sends by itself, again and again.

use std::time::Duration;

use graphite_protocol::messages::{Picture, Watch as Interval};

use crate::client::{ADMINISTRATION_TIMEOUT, Client};
use crate::error::Result;

/// The daemon's pictures, one each interval, until this is dropped. Made by [`Client::watch`].
#[derive(Debug)]
pub struct Watch<'a> {
    client: &'a mut Client,
    interval: Duration,
}

impl Client {
    /// Has the daemon send its picture each interval, of 100 ms to a minute, the first at once.
    ///
    /// # Errors
    /// `bad-request` for an interval that is too short or too long; that of the connection.
    pub fn watch(&mut self, interval: Duration) -> Result<Watch<'_>> {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.administer(&Interval { interval_ms })?;
        Ok(Watch { client: self, interval })
    }
}

impl Watch<'_> {
    /// Waits for the next picture. Whoever is slower than the interval misses some, and gets none that is old.
    ///
    /// # Errors
    /// That of the connection; it is over if nothing came for ten seconds longer than the interval.
    pub fn next_picture(&mut self) -> Result<Picture> {
        self.client.connection.notified_within(self.interval + ADMINISTRATION_TIMEOUT)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // A connection that is over says so to whoever uses it next; the answer is read over.
        if self.client.connection.enqueue(&Interval { interval_ms: 0 }).is_ok() {
            let _ = self.client.connection.flush();
        }
    }
}
