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

use super::batch::{BATCH_BYTES_MAX, Rows, split_edges, split_nodes};
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
    /// What the daemon wants no batch to pass; 0 if it does not care.
    batch_bytes: u64,
    /// What the import made, if it has ended already.
    ended: Option<ImportEndReply>,
}

impl<'c> Loader<'c> {
    /// Begins an import, or goes on with it. Returns also the number of rows of each batch that is there.
    pub(crate) fn begin(
        client: &'c mut Client,
        import: Token,
        resume: bool,
    ) -> Outcome<(Loader<'c>, Vec<u64>)> {
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
        let there = if begun.ended.is_some() { 0 } else { begun.next };
        for batch in 0..there {
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
            batch_bytes: begun.batch_bytes,
            ended: begun.ended,
        };
        Ok((loader, rows))
    }

    /// What the import made, if it had ended when it was to be resumed: there is nothing to load then.
    pub(crate) fn ended(&self) -> Option<ImportEndReply> {
        self.ended
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

    /// Bytes that a batch should not pass.
    pub(crate) fn batch_bytes_max(&self) -> usize {
        match usize::try_from(self.batch_bytes) {
            Ok(0) | Err(_) => BATCH_BYTES_MAX,
            Ok(bytes) => bytes.min(BATCH_BYTES_MAX),
        }
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
            if let Err(error) = self.receive(ticket).map(|_| ())
                && error.code().is_none()
            {
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use graphite_client::messages::{EdgeBatch, NodeBatch};
    use graphite_client::{FRAME_BYTES_MAX, Packed};
    use graphite_protocol::message::{Message, write_error, write_response};
    use graphite_protocol::messages::{Call, HelloReply, ImportBeginReply, ImportStatusReply};
    use graphite_protocol::{FrameReader, WireError};
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A daemon that knows nothing but imports, takes batches of few rows, and is busy now and then. It gives ids
    /// from 1,000 on.
    pub(in super::super) struct Fake {
        rows_max: usize,
        busy: u32,
        /// Rows of each batch, nodes and edges.
        pub(in super::super) batches: Vec<(usize, Vec<(u64, u64)>)>,
        next_id: u64,
        /// How often it was asked to end the import.
        pub(in super::super) ends: u32,
        /// So many of these are not answered: the connection is closed instead.
        ends_lost: u32,
    }

    impl Fake {
        /// One whose answer to the end of an import is lost so many times.
        pub(in super::super) fn losing_ends(ends_lost: u32) -> Fake {
            Fake { ends_lost, ..Fake::default() }
        }
    }

    impl Default for Fake {
        fn default() -> Fake {
            Fake { rows_max: 100, busy: 0, batches: vec![], next_id: 1000, ends: 0, ends_lost: 0 }
        }
    }

    impl Fake {
        fn apply(
            &mut self,
            batch: u64,
            nodes: usize,
            edges: Vec<(u64, u64)>,
        ) -> Result<ImportReply, WireError> {
            if batch != self.batches.len() as u64 {
                return Err(WireError::new(ErrorCode::BadRequest, "the batch before it is missing"));
            }
            let rows = nodes + edges.len();
            if rows > self.rows_max {
                return Err(WireError::new(ErrorCode::TooLarge, "too many rows"));
            }
            self.busy += 1;
            if self.busy.is_multiple_of(3) {
                return Err(WireError::new(ErrorCode::Busy, "not now"));
            }
            self.batches.push((nodes, edges));
            let first = self.next_id;
            // With a gap, as if somebody else made nodes too.
            self.next_id += rows as u64 + 5;
            Ok(ImportReply { ids: vec![IdRange { first, count: rows as u64 }] })
        }

        fn answer(&mut self, out: &mut Vec<u8>, msgid: u32, call: Call) {
            let reply = match call {
                Call::Hello(_) => {
                    let (server, database) = ("fake".to_owned(), "fake".to_owned());
                    let hello =
                        HelloReply { protocol: 1, server, session: 1, database, pid: 1, format_version: 1 };
                    return write_response(out, msgid, &hello, FRAME_BYTES_MAX);
                }
                Call::ImportBegin(_) => {
                    let next = self.batches.len() as u64;
                    return write_response(
                        out,
                        msgid,
                        &ImportBeginReply { next, ended: None, batch_bytes: 0 },
                        FRAME_BYTES_MAX,
                    );
                }
                Call::ImportStatus(_) => {
                    let status = ImportStatusReply { done: true, ids: vec![IdRange { first: 1, count: 4 }] };
                    return write_response(out, msgid, &status, FRAME_BYTES_MAX);
                }
                Call::ImportEnd(_) => {
                    self.ends += 1;
                    let nodes = self.batches.iter().map(|(nodes, _)| *nodes as u64).sum();
                    let edges = self.batches.iter().map(|(_, edges)| edges.len() as u64).sum();
                    let batches = self.batches.len() as u64;
                    return write_response(
                        out,
                        msgid,
                        &ImportEndReply { batches, nodes, edges },
                        FRAME_BYTES_MAX,
                    );
                }
                Call::ImportNodes(nodes) => self.apply(nodes.batch, nodes.nodes.len(), Vec::new()),
                Call::ImportEdges(edges) => {
                    let ends = edges.edges.starts.0.into_iter().zip(edges.edges.ends.0).collect();
                    self.apply(edges.batch, 0, ends)
                }
                other => panic!("{} was not expected", other.method()),
            };
            match reply {
                Ok(reply) => write_response(out, msgid, &reply, FRAME_BYTES_MAX),
                Err(error) => write_error(out, msgid, &error, FRAME_BYTES_MAX),
            }
        }

        fn serve(mut self, mut stream: UnixStream) -> Fake {
            let mut reader = FrameReader::new(FRAME_BYTES_MAX);
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                reader.feed(&buffer[..count]);
                let mut out = Vec::new();
                let ends = self.ends;
                while let Some(frame) = reader.next_frame().unwrap() {
                    let Message::Request { msgid, method, params } = Message::read(frame).unwrap() else {
                        panic!("a request was expected")
                    };
                    self.answer(&mut out, msgid, Call::read(method, params).unwrap());
                }
                if self.ends > ends && self.ends_lost > 0 {
                    self.ends_lost -= 1;
                    return self;
                }
                stream.write_all(&out).unwrap();
            }
            self
        }
    }

    /// Runs `work` against a fake daemon, and returns what that has afterwards. The daemon serves one connection after
    /// another; `work` gets one, and may make more.
    pub(in super::super) fn with_fake(
        mut fake: Fake,
        work: impl FnOnce(&mut Client, &dyn Fn() -> Outcome<Client>),
    ) -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let server = std::thread::spawn(move || {
            loop {
                let stream = listener.accept().unwrap().0;
                if seen.load(Ordering::SeqCst) {
                    return fake;
                }
                fake = fake.serve(stream);
            }
        });
        let mut client = Client::connect(&socket).unwrap();
        work(&mut client, &|| Ok(Client::connect(&socket)?));
        drop(client);
        is_over.store(true, Ordering::SeqCst);
        UnixStream::connect(&socket).unwrap();
        server.join().unwrap()
    }

    fn nodes(count: usize) -> Rows {
        let labels = Packed(vec![0; count]);
        Rows::Nodes(NodeBatch { label_sets: vec![vec![]], labels, columns: vec![] })
    }

    fn edges(ends: std::ops::Range<u64>) -> Rows {
        Rows::Edges(EdgeBatch {
            types: vec!["T".to_owned()],
            edge_types: Packed(ends.clone().map(|_| 0).collect()),
            starts: Packed(ends.clone().collect()),
            ends: Packed(ends.rev().collect()),
            columns: vec![],
        })
    }

    #[test]
    fn batches_too_large_or_too_early_arrive_whole_and_in_order() {
        for rows_max in [1, 3, 10, 100] {
            let fake = Fake { rows_max, ..Fake::default() };
            let token = Token::new("test").unwrap();
            let fake = with_fake(fake, |client, _| {
                let (mut loader, known) = Loader::begin(client, token, false).unwrap();
                assert_eq!(known, [0_u64; 0]);
                for count in [10, 7, 1] {
                    loader.push(nodes(count)).unwrap();
                }
                for ends in [0..9, 9..12, 12..18] {
                    loader.push(edges(ends)).unwrap();
                }
                loader.flush().unwrap();
                assert_eq!(loader.loaded(), (18, 18));
                assert_eq!(loader.rows_max().is_some(), rows_max < 10);
                let ended = loader.end().unwrap();
                assert_eq!((ended.nodes, ended.edges), (18, 18));
            });
            assert!(fake.batches.iter().all(|(nodes, edges)| nodes + edges.len() <= rows_max));
            // The id of each node, from the order in which the fake gave them.
            let mut ids = Vec::new();
            let mut next = 1000;
            for (count, _) in &fake.batches {
                ids.extend(next..next + *count as u64);
                next += *count as u64 + 5;
            }
            let expected: Vec<(u64, u64)> = [0..9u64, 9..12, 12..18]
                .into_iter()
                .flat_map(|ends| ends.clone().zip(ends.rev()))
                .map(|(start, end)| (ids[start as usize], ids[end as usize]))
                .collect();
            let sent: Vec<(u64, u64)> = fake.batches.into_iter().flat_map(|(_, edges)| edges).collect();
            assert_eq!(sent, expected);
        }
    }

    #[test]
    fn a_resumed_import_takes_ids_from_the_daemon() {
        let fake = Fake { batches: vec![(4, vec![])], ..Fake::default() };
        let fake = with_fake(fake, |client, _| {
            let (mut loader, known) = Loader::begin(client, Token::new("test").unwrap(), true).unwrap();
            assert_eq!(known, [4]);
            loader.skip_known(true);
            loader.push(nodes(2)).unwrap();
            loader.push(edges(3..5)).unwrap();
            loader.flush().unwrap();
        });
        assert_eq!(fake.batches[2].1, [(4, 1000), (1000, 4)]);
    }

    #[test]
    fn one_row_that_is_too_large_is_a_failure() {
        let fake = Fake { rows_max: 0, ..Fake::default() };
        with_fake(fake, |client, _| {
            let (mut loader, _) = Loader::begin(client, Token::new("test").unwrap(), false).unwrap();
            loader.push(nodes(5)).unwrap();
            let failure = loader.flush().unwrap_err();
            assert!(matches!(&failure, Failure::Failed(why) if why.contains("too many rows")), "{failure:?}");
        });
    }
}
