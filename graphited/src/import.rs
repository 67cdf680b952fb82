//! The import methods: batches that go into pages without a write set.
//!
//! A batch is decoded, its names are looked up, and the facade's importer writes it as one group. The importer keeps
//! what each batch was given under the import's name, so a batch that comes again gets the answer that it got before.

use graphite_graph::import::{self, Column, EdgeBatch, Imported, NodeBatch};
use graphite_graph::ledger::Ended;
use graphite_graph::{EdgeId, GraphDb, KeyId, LabelId, LabelSetId, NodeId, ledger};
use graphite_protocol as wire;
use graphite_protocol::message::{Body, write_response};
use graphite_protocol::messages::{
    IdRange, ImportBegin, ImportBeginReply, ImportEdges, ImportEnd, ImportEndReply, ImportNodes, ImportReply,
    ImportStatus, ImportStatusReply, Request,
};
use graphite_protocol::{ErrorCode, Token, Wire, WireError};
use graphite_store::{Lsn, PageReader};

use crate::interrupt::Interrupt;
use crate::rows::Failure;
use crate::shared::Shared;
use crate::{convert, errors};

/// Bytes of batches that are asked for.
const BATCH_BYTES_MIN: u64 = 3 << 20;
const BATCH_BYTES_MAX: u64 = 12 << 20;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum ImportWork {
    /// Begin one, or go on with it.
    Begin(ImportBegin),
    /// A batch of nodes; its params are not decoded yet, for that takes its time.
    Nodes(Vec<u8>),
    /// A batch of edges, likewise.
    Edges(Vec<u8>),
    /// What became of a batch.
    Status(ImportStatus),
    /// It is over.
    End(ImportEnd),
}

type Result<T, E = WireError> = std::result::Result<T, E>;

fn graph<T>(result: graphite_graph::Result<T>) -> Result<T> {
    result.map_err(|error| errors::of_graph(&error))
}

impl ImportWork {
    /// Whether it changes the graph, and has to be admitted to.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, ImportWork::Nodes(_) | ImportWork::Edges(_) | ImportWork::End(_))
    }

    /// Does it; returns the answer, and the state that it rests on. A batch waits until open transactions have ended, or
    /// the interrupt is raised; it holds nothing meanwhile, so it is never part of a deadlock.
    pub(crate) fn run(
        self,
        msgid: u32,
        session: u64,
        interrupt: &Interrupt,
        shared: &Shared,
    ) -> Result<(Vec<u8>, Lsn), Failure> {
        let db = &shared.db;
        // What is applied, and not only what is durable: a batch of this session that is on its way has arrived.
        let pin = db.store().pin();
        let bytes_max = shared.frame_bytes_max();
        let importer = |what: &str| {
            let mut importer = db.import_tagged(session);
            importer.set_lock_timeout(shared.lock_timeout());
            importer.set_statement(what.into());
            interrupt.tie(importer.canceller());
            importer
        };
        let frame = |reply: &dyn WriteReply| {
            let mut frame = Vec::new();
            reply.write_to(&mut frame, msgid, bytes_max);
            frame
        };
        Ok(match self {
            ImportWork::Begin(begin) => {
                let (next, ended) = begin_import(&pin, &begin)?;
                let batch_bytes = batch_bytes(shared.config.cache_bytes);
                let lsn = match ended {
                    // It begins anew, and must not be taken for complete if it breaks off.
                    Some(_) if !begin.resume => graph(db.forget_ended_import(begin.import.as_bytes()))?,
                    _ => pin.lsn(),
                };
                let ended = ended.filter(|_| begin.resume).map(end_reply);
                let next = ended.map_or(next, |ended| ended.batches);
                (frame(&ImportBeginReply { next, ended, batch_bytes }), lsn)
            }
            ImportWork::Status(status) => {
                let found = graph(ledger::status(&pin, status.import.as_bytes(), status.batch))?;
                let ids = found.map(ids).unwrap_or_default();
                (frame(&ImportStatusReply { done: found.is_some(), ids }), pin.lsn())
            }
            ImportWork::Nodes(params) => {
                let batch: ImportNodes = decode(&params)?;
                drop(params);
                batch.nodes.check().map_err(WireError::from)?;
                check_order(&pin, &batch.import, batch.batch)?;
                drop(pin);
                let rows = nodes(db, batch.nodes)?;
                let importer = importer("import nodes");
                let (imported, lsn) = importer.nodes(batch.import.as_bytes(), batch.batch, rows)?;
                (frame(&ImportReply { ids: ids(imported) }), lsn)
            }
            ImportWork::Edges(params) => {
                let batch: ImportEdges = decode(&params)?;
                drop(params);
                batch.edges.check().map_err(WireError::from)?;
                check_order(&pin, &batch.import, batch.batch)?;
                drop(pin);
                let rows = edges(db, batch.edges)?;
                let importer = importer("import edges");
                let (imported, lsn) = importer.edges(batch.import.as_bytes(), batch.batch, rows)?;
                (frame(&ImportReply { ids: ids(imported) }), lsn)
            }
            ImportWork::End(end) => {
                drop(pin);
                let Some((ended, lsn)) = importer("end an import").end(end.import.as_bytes())? else {
                    let message = "there is no import of this name";
                    return Err(WireError::new(ErrorCode::ImportNotFound, message).into());
                };
                (frame(&end_reply(ended)), lsn)
            }
        })
    }
}

fn decode<R: Request>(params: &[u8]) -> Result<R> {
    Ok(Body::of(params).read::<R>().map_err(|error| error.within(R::METHOD))?)
}

/// A reply of whatever type.
trait WriteReply {
    fn write_to(&self, out: &mut Vec<u8>, msgid: u32, bytes_max: usize);
}

impl<T: Wire> WriteReply for T {
    fn write_to(&self, out: &mut Vec<u8>, msgid: u32, bytes_max: usize) {
        write_response(out, msgid, self, bytes_max);
    }
}

/// What the columns of a batch should not pass. While one is applied the next is received, and what is decoded and
/// sorted of the first takes about five times its bytes: that has to fit beside the cache. Longer ones are better, for
/// each may concern all adjacency, as long as the cache can hold what they change.
fn batch_bytes(cache_bytes: u64) -> u64 {
    (cache_bytes / 16).clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX)
}

/// The batch to send next, and what the import made if it has ended.
fn begin_import<R: PageReader>(pages: &R, begin: &ImportBegin) -> Result<(u64, Option<Ended>)> {
    let next = next_batch(pages, &begin.import)?;
    if next > 0 && !begin.resume {
        let message = "an import of this name has begun already; resume it, or pick another name";
        return Err(WireError::new(ErrorCode::ImportExists, message));
    }
    Ok((next, graph(ledger::ended(pages, begin.import.as_bytes()))?))
}

/// The first batch that has not arrived. They arrive in order, so it is found by halving.
fn next_batch<R: PageReader>(pages: &R, import: &Token) -> Result<u64> {
    let arrived =
        |batch: u64| Ok::<_, WireError>(graph(ledger::status(pages, import.as_bytes(), batch))?.is_some());
    let mut above = 1;
    while arrived(above - 1)? {
        above *= 2;
    }
    let mut below = above / 2;
    while below + 1 < above {
        let middle = below + (above - below) / 2;
        if arrived(middle - 1)? {
            below = middle;
        } else {
            above = middle;
        }
    }
    Ok(below)
}

/// Batches are applied in order, so that one number says how far an import came.
fn check_order<R: PageReader>(pages: &R, import: &Token, batch: u64) -> Result<()> {
    let Some(before) = batch.checked_sub(1) else { return Ok(()) };
    if graph(ledger::status(pages, import.as_bytes(), before))?.is_none() {
        let message = format!(
            "batch {batch} came before batch {before}; batches are numbered from 0 and come in order"
        );
        return Err(WireError::new(ErrorCode::BadRequest, message));
    }
    Ok(())
}

fn ids(imported: Imported) -> Vec<IdRange> {
    let first = match imported {
        Imported::Nodes { first, .. } => NodeId::new(first, import::FRESH_GENERATION).0,
        Imported::Edges { first, .. } => EdgeId::new(first, import::FRESH_GENERATION).0,
    };
    match imported.count() {
        0 => Vec::new(),
        count => vec![IdRange { first, count }],
    }
}

fn end_reply(ended: Ended) -> ImportEndReply {
    ImportEndReply { batches: ended.batches, nodes: ended.nodes, edges: ended.edges }
}

fn columns(db: &GraphDb, columns: Vec<wire::Column>) -> Result<Vec<Column>> {
    let names: Vec<&str> = columns.iter().map(|column| column.key.as_str()).collect();
    let keys = graph(db.key_ids_or_create(&names))?;
    let column =
        |(key, column): (KeyId, wire::Column)| Ok(Column { key, values: convert::column(column.data)? });
    keys.into_iter().zip(columns).map(column).collect()
}

/// The element of each place. Places were checked.
fn places<T: Copy>(of: &[T], places: &[u32]) -> Result<Vec<T>> {
    let at = |place: &u32| of.get(*place as usize).copied();
    let found: Option<Vec<T>> = places.iter().map(at).collect();
    found.ok_or_else(|| {
        WireError::new(ErrorCode::BadRequest, "a row names a label set or type that is not there")
    })
}

fn nodes(db: &GraphDb, batch: wire::messages::NodeBatch) -> Result<NodeBatch> {
    let names: Vec<&str> = batch.label_sets.iter().flatten().map(String::as_str).collect();
    let labels = graph(db.label_ids_or_create(&names))?;
    let (mut sets, mut labels): (Vec<LabelSetId>, &[LabelId]) = (Vec::new(), &labels);
    for names in &batch.label_sets {
        let (of_set, rest) = labels.split_at(names.len());
        labels = rest;
        let mut labels = of_set.to_vec();
        labels.sort_unstable();
        labels.dedup();
        sets.push(graph(db.label_set_or_create(&labels))?);
    }
    Ok(NodeBatch { label_sets: places(&sets, &batch.labels.0)?, columns: columns(db, batch.columns)? })
}

fn edges(db: &GraphDb, batch: wire::messages::EdgeBatch) -> Result<EdgeBatch> {
    let names: Vec<&str> = batch.types.iter().map(String::as_str).collect();
    let types = graph(db.type_ids_or_create(&names))?;
    let ids = |ids: Vec<u64>| ids.into_iter().map(NodeId).collect();
    Ok(EdgeBatch {
        starts: ids(batch.starts.0),
        ends: ids(batch.ends.0),
        types: places(&types, &batch.edge_types.0)?,
        columns: columns(db, batch.columns)?,
    })
}
