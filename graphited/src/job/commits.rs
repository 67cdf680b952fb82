//! How a job commits: its transaction is handed in, and whoever applies it brings the job to its end.
//!
//! A worker need not wait for that: it goes on with the next job, and whoever applies the commit sends the state home and
//! parks the answer. So no thread is put to sleep and woken for a commit, and with many clients that is most of what a
//! commit costs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use graphite_graph::{Continuation, Transaction};
use graphite_protocol::messages::CommitReply;
use graphite_store::Lsn;

use super::{Answer, Job, Unsent};
use crate::plans::Prepared;
use crate::resting::Share;
use crate::rows::Rows;
use crate::shared::Shared;
use crate::state::Source;
use crate::tokens::UnderWay;
use crate::workers::is_settled_after;

/// A transaction that is to be committed, and what is answered then.
pub(super) struct ToCommit {
    transaction: Box<Transaction>,
    reply: Reply,
}

/// What is answered when the commit is durable.
enum Reply {
    /// The answer of a statement that was a transaction of its own, and the rows that stay for a cursor.
    Statement(Vec<u8>, Option<Rest>),
    /// That the transaction is committed.
    Commit {
        is_unchanged: bool,
        /// Until it is applied, or refused.
        under_way: Option<UnderWay>,
    },
}

/// Rows that are left, and their share of the memory for cursors.
pub(super) struct Rest {
    pub(super) rows: Rows,
    pub(super) share: Share,
    pub(super) prepared: Arc<Prepared>,
}

impl ToCommit {
    /// A statement has run that is a transaction of its own.
    pub(super) fn statement(transaction: Box<Transaction>, frame: Vec<u8>, rest: Option<Rest>) -> ToCommit {
        ToCommit { transaction, reply: Reply::Statement(frame, rest) }
    }

    /// The client has asked for it, perhaps under a name by which can be asked for it.
    pub(super) fn transaction(transaction: Box<Transaction>, under_way: Option<UnderWay>) -> ToCommit {
        let is_unchanged = transaction.is_unchanged();
        ToCommit { transaction, reply: Reply::Commit { is_unchanged, under_way } }
    }
}

/// A job whose transaction is being committed.
struct Committing {
    job: Box<Job>,
    reply: Reply,
    shared: Arc<Shared>,
}

impl Committing {
    /// What is answered, once its place among those who may write is passed on.
    fn conclude(&mut self, outcome: graphite_graph::Result<Lsn>) -> Answer {
        let Committing { job, reply, shared } = self;
        let answer = match outcome {
            Ok(lsn) => Answer { frame: job.committed(reply, lsn, shared), after: lsn, committed: Some(lsn) },
            Err(error) => {
                shared.counters.aborts.fetch_add(1, Ordering::Relaxed);
                job.seen = shared.db.store().applied_lsn();
                let error = job.explain(error.into(), shared);
                job.refusal(&error, shared)
            }
        };
        if let Reply::Commit { under_way, .. } = reply {
            // Whoever asks what became of it is told from now on.
            *under_way = None;
        }
        shared.leave_admission(job.connection.session);
        answer
    }
}

impl Continuation for Committing {
    fn applied(mut self: Box<Self>, outcome: graphite_graph::Result<Lsn>) {
        let answer = self.conclude(outcome);
        let Committing { job, shared, .. } = *self;
        job.leave(answer, &shared);
    }
}

impl Job {
    /// Commits. `None` if the thread that applies it sees to the rest.
    pub(super) fn hand_in(self: Box<Self>, commit: ToCommit, shared: &Arc<Shared>) -> Option<Unsent> {
        let ToCommit { transaction, reply } = commit;
        let token = match &reply {
            Reply::Commit { under_way: Some(under_way), .. } => Some(under_way.token.clone()),
            _ => None,
        };
        let token = token.as_ref().map(|token| token.as_bytes());
        let mut then = Committing { job: self, reply, shared: shared.clone() };
        let outcome;
        if is_settled_after() {
            (then, outcome) = transaction.leave(token, then)?;
        } else {
            let committed = match token {
                Some(token) => transaction.commit_with_token(token),
                None => transaction.commit(),
            };
            outcome = committed.map(|committed| committed.lsn);
        }
        let answer = then.conclude(outcome);
        Some(then.job.finish(answer, shared))
    }

    fn committed(&mut self, reply: &mut Reply, lsn: Lsn, shared: &Shared) -> Vec<u8> {
        match reply {
            Reply::Statement(frame, rest) => {
                if let Some(Rest { rows, share, prepared }) = rest.take() {
                    self.state.keep(rows, Source::Complete, prepared, share);
                }
                std::mem::take(frame)
            }
            Reply::Commit { is_unchanged, under_way } => {
                let lsn = if *is_unchanged && under_way.is_none() { 0 } else { lsn.0 };
                self.reply(&CommitReply { lsn }, shared)
            }
        }
    }
}
