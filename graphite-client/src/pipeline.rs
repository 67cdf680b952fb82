//! Pipelines: many statements under way at once.

use std::collections::VecDeque;

use graphite_protocol::Plan;
use graphite_protocol::messages::{Close, Run};

use crate::client::{Client, Ticket};
use crate::error::{Error, Result};
use crate::props::Params;
use crate::rows::Answer;

/// Sends many statements before the first is answered, which saves the time that each would wait for its
/// answer. They are executed, and answered, in the order in which they were sent, each as a statement of its own.
///
/// ```no_run
/// # use graphite_client::{Client, NodeId, Traversal};
/// # fn main() -> graphite_client::Result<()> {
/// # let mut client = Client::open("social.graphite")?;
/// let mut pipeline = client.pipeline();
/// for id in 0..1000 {
///     pipeline.run(Traversal::node(NodeId(id)), ())?;
/// }
/// while let Some(answer) = pipeline.receive() {
///     println!("{:?}", answer?.rows);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Answers that are not received when the pipeline is dropped are given up; their statements are executed all
/// the same.
#[derive(Debug)]
pub struct Pipeline<'c> {
    client: &'c mut Client,
    tickets: VecDeque<Ticket<Run>>,
}

impl<'c> Pipeline<'c> {
    pub(crate) fn new(client: &'c mut Client) -> Pipeline<'c> {
        Pipeline { client, tickets: VecDeque::new() }
    }

    /// Sends a statement.
    ///
    /// # Errors
    /// That of the connection.
    pub fn run(&mut self, plan: impl Into<Plan>, params: impl Into<Params>) -> Result<()> {
        let request = self.client.run_request(plan.into(), params.into(), None);
        self.tickets.push_back(self.client.send(&request)?);
        Ok(())
    }

    /// How many answers are to come.
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Whether all answers were received.
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// The next answer; `None` after the last. A statement that failed is an [`Error::Server`] in its place,
    /// and the next ones have their answers.
    pub fn receive(&mut self) -> Option<Result<Answer>> {
        let ticket = self.tickets.pop_front()?;
        Some(self.client.receive(ticket).and_then(|reply| {
            if let Some(cursor) = reply.cursor {
                // The rest of the rows would come behind the answers to later statements.
                let _ = self.client.send(&Close { cursor })?;
                return Err(Error::Server {
                    code: graphite_protocol::ErrorCode::TooLarge,
                    message:
                        "the answer has more rows than come at once; run the statement outside a pipeline"
                            .to_owned(),
                    retryable: false,
                    details: graphite_protocol::Pairs::default(),
                });
            }
            Ok(Answer { columns: reply.columns, rows: reply.rows, summary: reply.summary })
        }))
    }
}

impl Drop for Pipeline<'_> {
    fn drop(&mut self) {
        // What was sent is executed; if this fails, so will the next request.
        let _ = self.client.flush();
    }
}
