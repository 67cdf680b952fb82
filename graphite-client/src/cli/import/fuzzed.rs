//! An import's way from bytes to batches, for fuzz targets: what a file may hold is decided here and not by the daemon.

use std::sync::mpsc::sync_channel;

use graphite_client::Token;
use graphite_client::messages::{EdgeBatch, NodeBatch};

use super::batch::Rows;
use super::header::FileKind;
use super::job::Job;
use super::parse::{Event, parse};
use super::source::{Content, InputFile};
use crate::cli::csv::{CsvError, Dialect, Reader, Record, write_bare, write_end, write_field};
use crate::cli::failure::Failure;

/// How files are read.
#[derive(Clone, Copy, Debug)]
pub struct CsvOptions {
    /// Between two fields.
    pub delimiter: u8,
    /// Around a field.
    pub quote: Option<u8>,
    /// Between elements of a list, and between labels.
    pub array_delimiter: char,
    /// Whether to find types.
    pub infer: bool,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Bytes that are read at a time.
    pub read_bytes: usize,
}

/// What an import would send and say.
#[derive(Debug, Default, PartialEq)]
pub struct CsvRead {
    /// Batches of nodes.
    pub nodes: Vec<NodeBatch>,
    /// Batches of edges, whose ends are nodes by their number.
    pub edges: Vec<EdgeBatch>,
    /// Lines that are left out, in words.
    pub bad: Vec<String>,
    /// Why reading ended early.
    pub failed: Option<String>,
}

/// Reads a file of nodes and one of edges, each with its header, as an import does.
pub fn read_csv(nodes: &[u8], edges: &[u8], options: &CsvOptions) -> CsvRead {
    let file = |name: &str, kind, bytes: &[u8]| InputFile {
        name: name.to_owned(),
        kind,
        fixed: Vec::new(),
        content: Content::Memory(bytes.into(), options.read_bytes),
        bytes: bytes.len() as u64,
    };
    let mut files = vec![file("nodes", FileKind::Nodes, nodes)];
    if !edges.is_empty() {
        files.push(file("edges", FileKind::Edges, edges));
    }
    let import = Token::new(*b"fuzz").expect("a short name");
    let job = Job {
        dialect: Dialect { delimiter: options.delimiter, quote: options.quote },
        array_delimiter: options.array_delimiter,
        infer: options.infer,
        batch_rows: options.batch_rows,
        bad_max: u64::MAX,
        ..Job::new(files, import)
    };
    let mut read = CsvRead::default();
    let prepared = match job.prepare() {
        Ok(prepared) => prepared,
        Err(Failure::Failed(why)) => {
            read.failed = Some(why);
            return read;
        }
        Err(other) => panic!("reading a header only fails in words: {other:?}"),
    };
    let (sender, events) = sync_channel(1);
    let parse_options = job.parse_options(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| parse(&prepared, &parse_options, sender));
        for event in events {
            match event {
                Event::Batch { rows: Rows::Nodes(batch), .. } => read.nodes.push(batch),
                Event::Batch { rows: Rows::Edges(batch), .. } => read.edges.push(batch),
                Event::Known { .. } => panic!("no batch is known"),
                Event::Bad(line) => read.bad.push(line.to_string()),
                Event::Failed(why) => read.failed = Some(why),
            }
        }
    });
    read
}

/// Reads records and writes them as an export does: no value as nothing, all others as text. What breaks the rules is
/// left out; `None` if a record has no end.
pub fn copy_csv(bytes: &[u8], delimiter: u8, quote: Option<u8>, read_bytes: usize) -> Option<Vec<u8>> {
    let dialect = Dialect { delimiter, quote };
    let mut reader = Reader::new(std::io::BufReader::with_capacity(read_bytes, bytes), dialect);
    let (mut record, mut out) = (Record::default(), Vec::new());
    loop {
        match reader.read(&mut record) {
            Ok(true) => {}
            Ok(false) => return Some(out),
            Err(CsvError::Bad { .. }) => continue,
            Err(_) => return None,
        }
        for index in 0..record.len() {
            let field = String::from_utf8_lossy(record.field(index));
            if field.is_empty() && !record.is_quoted(index) {
                write_bare(&mut out, dialect, index, "");
            } else {
                write_field(&mut out, dialect, index, &field);
            }
        }
        write_end(&mut out);
    }
}
