//! Sending batches, while the thread that reads goes on.
//!
//! 1. Up to [`WINDOW`] batches are under way: one that the daemon applies, and one that waits there. Their numbers
//!    follow each other without a gap.
//! 2. Edges are sent when all nodes are acknowledged, for only then their ends have ids.
//! 3. A batch that the daemon refused for its size is sent again in halves, one that it refused for the moment
//!    after a pause, and those behind it, which it refused because that one was missing, after it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use graphite_client::messages::{
    IdRange, ImportBegin, ImportEdges, ImportEnd, ImportEndReply, ImportNodes, ImportReply, ImportStatus,
};
use graphite_client::{Client, Error, ErrorCode, Ticket, Token};

use super::batch::{Rows, split_edges, split_nodes};
use super::ids::NodeIds;
use crate::cli::failure::{Failure, Outcome};

/// Batches under way.
const WINDOW: usize = 2;

/// How long a daemon that cannot take a batch for the moment is asked again.
const BUSY_MAX: Duration = Duration::from_secs(120);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A batch as it is sent.
enum Request {
    Nodes(ImportNodes),
    Edges(ImportEdges),
}

enum Waiting {
    Nodes(Ticket<ImportNodes>),
    Edges(Ticket<ImportEdges>),
}

/// Sends an import's batches.
pub(crate) struct Loader<'c> {
    client: &'c mut Client,
    import: Token,
    /// Number of the batch that is acknowledged next.
    next: u64,
    /// Batches under way, from that number on.
    waiting: VecDeque<(Request, Waiting)>,
    /// What the daemon made of the nodes.
    node_ids: NodeIds,
    /// Ids of nodes of batches that were there before, by batch.
    known: VecDeque<Vec<IdRange>>,
    /// Rows that were acknowledged, of nodes and edges.
    loaded: (u64, u64),
    /// Set when a batch was too large: batches of no more rows fit.
    rows_max: Option<usize>,
}

impl<'c> Loader<'c> {
    /// Begins an import, or goes on with it. Returns also the number of rows of each batch that is there.
    pub(crate) fn begin(client: &'c mut Client, import: Token, resume: bool) -> Outcome<(Loader<'c>, Vec<u64>)> {
        let begun = client.call(&ImportBegin { import: import.clone(), resume }).map_err(|error| {
            if error.code() == Some(&ErrorCode::ImportExists) {
                return Failure::Failed(
                    "this import was begun before and did not end; the same command with --resume goes on with it"
                        .to_owned(),
                );
            }
            error.into()
        })?;
        let mut tickets = VecDeque::new();
        let mut known = VecDeque::new();
        for batch in 0..begun.next {
            tickets.push_back(client.send(&ImportStatus { import: import.clone(), batch })?);
        }
        while let Some(ticket) = tickets.pop_front() {
            let status = client.receive(ticket)?;
            if !status.done {
                return Err(Failure::Failed("the daemon lost a batch of the import".to_owned()));
            }
            known.push_back(status.ids);
        }
        let rows = known.iter().map(|ids: &Vec<IdRange>| ids.iter().map(|range| range.count).sum()).collect();
        let loader = Loader {
            client,
            import,
            next: begun.next,
            waiting: VecDeque::new(),
            node_ids: NodeIds::default(),
            known,
            loaded: (0, 0),
            rows_max: None,
        };
        Ok((loader, rows))
    }

    /// Rows that were loaded by this run: nodes and edges.
    pub(crate) fn loaded(&self) -> (u64, u64) {
        self.loaded
    }

    /// Batches that the database has.
    pub(crate) fn batches(&self) -> u64 {
        self.next
    }

    /// What batches should not exceed from now on, if one was too large.
    pub(crate) fn rows_max(&self) -> Option<usize> {
        self.rows_max
    }

    /// Passes over the next batch of those that are there.
    pub(crate) fn skip_known(&mut self, nodes: bool) {
        let ids = self.known.pop_front().unwrap_or_default();
        if nodes {
            ids.iter().for_each(|range| self.node_ids.push(range.first, range.count));
        }
    }

    /// Sends a batch; may wait for earlier ones.
    pub(crate) fn push(&mut self, rows: Rows) -> Outcome {
        if matches!(rows, Rows::Edges(_)) {
            // The first edges wait for the last nodes; later ones find none.
            while matches!(self.waiting.front(), Some((Request::Nodes(_), _))) {
                self.settle()?;
            }
        }
        while self.waiting.len() >= WINDOW {
            self.settle()?;
        }
        let request = self.request(rows)?;
        self.send(request)
    }

    /// Waits for all that is under way.
    pub(crate) fn flush(&mut self) -> Outcome {
        while !self.waiting.is_empty() {
            self.settle()?;
        }
        Ok(())
    }

    /// Ends the import: the daemon forgets its name.
    pub(crate) fn end(mut self) -> Outcome<ImportEndReply> {
        self.flush()?;
        if self.next == 0 {
            return Ok(ImportEndReply { batches: 0, nodes: 0, edges: 0 });
        }
        Ok(self.client.call(&ImportEnd { import: self.import })?)
    }

    fn request(&self, rows: Rows) -> Outcome<Request> {
        let (import, batch) = (self.import.clone(), 0);
        Ok(match rows {
            Rows::Nodes(nodes) => Request::Nodes(ImportNodes { import, batch, nodes }),
            Rows::Edges(mut edges) => {
                for ends in [&mut edges.starts.0, &mut edges.ends.0] {
                    for end in ends {
                        *end = self.node_ids.get(*end).ok_or_else(|| {
                            Failure::Failed("the daemon told ids of fewer nodes than it was sent".to_owned())
                        })?;
                    }
                }
                Request::Edges(ImportEdges { import, batch, edges })
            }
        })
    }

    fn send(&mut self, mut request: Request) -> Outcome {
        let number = self.next + self.waiting.len() as u64;
        let sent = match &mut request {
            Request::Nodes(nodes) => {
                nodes.batch = number;
                self.client.send(nodes).map(Waiting::Nodes)
            }
            Request::Edges(edges) => {
                edges.batch = number;
                self.client.send(edges).map(Waiting::Edges)
            }
        };
        match sent {
            Ok(ticket) => {
                self.waiting.push_back((request, ticket));
                Ok(self.client.flush()?)
            }
            Err(Error::RequestTooLong { bytes, max }) => {
                self.flush()?;
                let why = format!("a row of {bytes} bytes does not fit into a request of {max}");
                self.halves(request, &why)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn receive(&mut self, ticket: Waiting) -> Result<ImportReply, Error> {
        match ticket {
            Waiting::Nodes(ticket) => self.client.receive(ticket),
            Waiting::Edges(ticket) => self.client.receive(ticket),
        }
    }

    /// Waits for the oldest batch under way.
    fn settle(&mut self) -> Outcome {
        let Some((request, ticket)) = self.waiting.pop_front() else {
            return Ok(());
        };
        let error = match self.receive(ticket) {
            Ok(reply) => return self.note(&request, &reply),
            Err(error) => error,
        };
        let too_large = error.code() == Some(&ErrorCode::TooLarge);
        if !too_large && !error.is_retryable() {
            return Err(error.into());
        }
        let mut behind = Vec::new();
        while let Some((request, ticket)) = self.waiting.pop_front() {
            // Refused too, for the one before it is missing.
            if let Err(error) = self.receive(ticket).map(|_| ()) && error.code().is_none() {
                return Err(error.into());
            }
            behind.push(request);
        }
        if too_large {
            self.halves(request, &error.to_string())?;
        } else {
            self.again(request, error)?;
        }
        behind.into_iter().try_for_each(|request| {
            self.send(request)?;
            self.flush()
        })
    }

    /// Sends a batch that is too large in two.
    fn halves(&mut self, request: Request, why: &str) -> Outcome {
        let mut head = request;
        let rows = match &head {
            Request::Nodes(nodes) => nodes.nodes.len(),
            Request::Edges(edges) => edges.edges.len(),
        };
        if rows < 2 {
            return Err(Failure::Failed(why.to_owned()));
        }
        self.rows_max = Some(rows / 2);
        let import = self.import.clone();
        let tail = match &mut head {
            Request::Nodes(nodes) => {
                let rest = split_nodes(&mut nodes.nodes, rows / 2);
                Request::Nodes(ImportNodes { import, batch: 0, nodes: rest })
            }
            Request::Edges(edges) => {
                let rest = split_edges(&mut edges.edges, rows / 2);
                Request::Edges(ImportEdges { import, batch: 0, edges: rest })
            }
        };
        for part in [head, tail] {
            self.send(part)?;
            self.flush()?;
        }
        Ok(())
    }

    /// Sends a batch again until the daemon takes it.
    fn again(&mut self, request: Request, mut error: Error) -> Outcome {
        let since = Instant::now();
        let mut pause = PAUSE_MIN;
        let mut request = request;
        while since.elapsed() < BUSY_MAX {
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
            self.send(request)?;
            let Some((sent, ticket)) = self.waiting.pop_front() else {
                // It was too long, and went in halves.
                return Ok(());
            };
            match self.receive(ticket) {
                Ok(reply) => return self.note(&sent, &reply),
                Err(again) if again.code() == Some(&ErrorCode::TooLarge) => {
                    return self.halves(sent, &again.to_string());
                }
                Err(again) if again.is_retryable() => error = again,
                Err(again) => return Err(again.into()),
            }
            request = sent;
        }
        Err(error.into())
    }

    fn note(&mut self, request: &Request, reply: &ImportReply) -> Outcome {
        let made: u64 = reply.ids.iter().map(|range| range.count).sum();
        let (sent, nodes) = match request {
            Request::Nodes(nodes) => (nodes.nodes.len(), true),
            Request::Edges(edges) => (edges.edges.len(), false),
        };
        if made != sent as u64 {
            return Err(Failure::Failed(format!("the daemon made {made} of {sent} rows of a batch")));
        }
        self.next += 1;
        if nodes {
            reply.ids.iter().for_each(|range| self.node_ids.push(range.first, range.count));
            self.loaded.0 += made;
        } else {
            self.loaded.1 += made;
        }
        Ok(())
    }
}
