//! Transactions that span several statements.

use std::ops::{Deref, DerefMut};

use graphite_protocol::Token;
use graphite_protocol::messages::{Commit, CommitReply, Rollback};

use crate::client::Client;
use crate::error::Result;

/// An open transaction: all that a [`Client`] does belongs to it until it is committed or rolled back. Dropped
/// without either, it is rolled back.
///
/// When a statement of it fails, what came before is not lost by that alone, but the daemon takes nothing but
/// `rollback` any more.
#[derive(Debug)]
pub struct Transaction<'c> {
    client: &'c mut Client,
    open: bool,
}

impl<'c> Transaction<'c> {
    pub(crate) fn new(client: &'c mut Client) -> Transaction<'c> {
        Transaction { client, open: true }
    }

    /// Makes the changes durable and visible.
    ///
    /// # Errors
    /// The daemon's, or that of the connection. After `commit-unknown`, or when the connection failed, it is
    /// not known whether the changes were made; a daemon that supports [`Transaction::commit_as`] can be asked.
    pub fn commit(self) -> Result<CommitReply> {
        self.finish(None)
    }

    /// As [`Transaction::commit`], under a name by which `commit_status` can be asked for the outcome.
    ///
    /// # Errors
    /// As [`Transaction::commit`]; `unsupported` if the daemon keeps no such names; the changes are undone.
    pub fn commit_as(self, token: Token) -> Result<CommitReply> {
        self.finish(Some(token))
    }

    fn finish(mut self, token: Option<Token>) -> Result<CommitReply> {
        let result = self.client.call(&Commit { token });
        // A commit that failed leaves the transaction to be rolled back; then there is one to drop.
        self.open = result.is_err();
        result
    }

    /// Undoes the changes.
    ///
    /// # Errors
    /// That of the connection, in which case the daemon undoes them by itself.
    pub fn rollback(mut self) -> Result<()> {
        self.open = false;
        self.client.call(&Rollback {}).map(|_| ())
    }
}

impl Deref for Transaction<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.client
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open {
            // An error means that there is no transaction any more, or no connection; both end it.
            let _ = self.client.call(&Rollback {});
        }
    }
}
