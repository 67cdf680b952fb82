//! The thread that reads the files: lines in, batches out.
//!
//! 1. Nodes come before edges, so that every id is known when an edge names it.
//! 2. The same files give the same rows in the same order, so an import is resumed by reading again what was
//!    loaded before: batches that the daemon has are cut by their number of rows, and not sent again.
//! 3. A row is put into a batch when all of its fields were read, or not at all.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use super::batch::{BatchBuilder, RowHead, Rows};
use super::header::{ColumnSpec, FileKind, Role};
use super::ids::{GroupIndex, IdMap};
use super::kind::{Field, FieldType, short};
use super::source::InputFile;
use crate::cli::csv::{CsvError, Dialect, Reader, Record};
use crate::cli::show::count;

/// A file whose header was read.
#[derive(Debug)]
pub(crate) struct PreparedFile {
    /// The file.
    pub input: InputFile,
    /// Its columns.
    pub columns: Vec<ColumnSpec>,
    /// Whether its first record is the header.
    pub has_header: bool,
}

/// A line that is no node or edge.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BadLine {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The column, if it is one field that is wrong.
    pub column: Option<String>,
    /// What is wrong.
    pub why: String,
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(column) = &self.column {
            write!(f, "column {column:?}: ")?;
        }
        f.write_str(&self.why)
    }
}

/// What the thread tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// Rows to be sent, and how many bytes of all files lie before their end.
    Batch {
        /// The rows.
        rows: Rows,
        /// Bytes read so far.
        bytes: u64,
    },
    /// A batch that the daemon has already.
    Known {
        /// Whether it is of nodes.
        nodes: bool,
        /// Bytes read so far.
        bytes: u64,
    },
    /// A line that is left out.
    Bad(BadLine),
    /// Why nothing more comes, in words.
    Failed(String),
}

/// What a parser needs to know.
#[derive(Debug)]
pub(crate) struct ParseOptions {
    /// How fields are told apart.
    pub dialect: Dialect,
    /// Between elements of a list, and between labels.
    pub array_delimiter: char,
    /// Rows of a batch; may become less while it goes on.
    pub batch_rows: AtomicUsize,
    /// Bytes of a batch.
    pub batch_bytes: usize,
    /// How many bad lines are left out before it ends.
    pub bad_max: u64,
    /// Rows of the batches that the daemon has already, in order.
    pub known: Vec<u64>,
}

/// The thread's work is given up: nobody listens, or all was told.
struct Stop;

struct Parser<'a> {
    options: &'a ParseOptions,
    events: SyncSender<Event>,
    ids: IdMap,
    nodes: u64,
    known: VecDeque<u64>,
    bad: u64,
    bytes_before: u64,
}

/// Reads all files, and tells what is in them.
pub(crate) fn parse(files: &[PreparedFile], options: &ParseOptions, events: SyncSender<Event>) {
    let known = options.known.iter().copied().collect();
    let mut parser =
        Parser { options, events, ids: IdMap::default(), nodes: 0, known, bad: 0, bytes_before: 0 };
    // Whatever stopped it was told when it happened.
    let _ = parser.all(files);
}

/// The columns of a file, as a row is taken apart.
struct Layout {
    nodes: bool,
    id: Option<(usize, GroupIndex)>,
    name: Option<usize>,
    start: Option<(usize, GroupIndex)>,
    end: Option<(usize, GroupIndex)>,
    properties: Vec<(usize, FieldType)>,
    fixed_type: String,
}

/// What is wrong with a row, and in which column.
type RowResult<T> = Result<T, (Option<usize>, String)>;

impl Parser<'_> {
    fn tell(&self, event: Event) -> Result<(), Stop> {
        self.events.send(event).map_err(|_| Stop)
    }

    fn fail(&self, why: String) -> Stop {
        // If nobody listens, nobody need know.
        let _ = self.events.send(Event::Failed(why));
        Stop
    }

    fn all(&mut self, files: &[PreparedFile]) -> Result<(), Stop> {
        for kind in [FileKind::Nodes, FileKind::Edges] {
            for file in files.iter().filter(|file| file.input.kind == kind) {
                self.file(file)?;
                self.bytes_before += file.input.bytes;
            }
        }
        if !self.known.is_empty() {
            return Err(self.fail(unlike("all files", "they end before what was loaded")));
        }
        Ok(())
    }

    fn layout(&mut self, file: &PreparedFile) -> Layout {
        let mut layout = Layout {
            nodes: file.input.kind == FileKind::Nodes,
            id: None,
            name: None,
            start: None,
            end: None,
            properties: Vec::new(),
            fixed_type: file.input.fixed.first().cloned().unwrap_or_default(),
        };
        for (index, column) in file.columns.iter().enumerate() {
            match &column.role {
                Role::Id { group } => layout.id = Some((index, self.ids.group(group))),
                Role::Start { group } => layout.start = Some((index, self.ids.group(group))),
                Role::End { group } => layout.end = Some((index, self.ids.group(group))),
                Role::Label | Role::Type => layout.name = Some(index),
                Role::Ignore | Role::Property => {}
            }
            if column.property.is_some() {
                layout.properties.push((index, column.field_type));
            }
        }
        layout
    }

    fn file(&mut self, file: &PreparedFile) -> Result<(), Stop> {
        let name = &file.input.name;
        let source = file.input.open().map_err(|error| self.fail(format!("{name}: {error}")))?;
        let mut reader = Reader::new(source, self.options.dialect);
        let mut record = Record::default();
        if file.has_header {
            reader.read(&mut record).map_err(|error| self.fail(format!("{name}: {error}")))?;
        }
        let layout = self.layout(file);
        let properties =
            file.columns.iter().filter_map(|c| c.property.as_deref().map(|key| (key, c.field_type)));
        let fixed = if layout.nodes { file.input.fixed.as_slice() } else { &[] };
        let mut batch = BatchBuilder::new(properties, fixed, self.options.array_delimiter);
        loop {
            match reader.read(&mut record) {
                Ok(false) => break,
                Ok(true) => {
                    if let Err((column, why)) = self.row(&layout, file, &record, &mut batch) {
                        let column = column.and_then(|index| file.columns.get(index));
                        let column = column.map(|column| column.title.clone());
                        self.bad(BadLine { file: name.clone(), line: record.line(), column, why })?;
                    }
                }
                Err(CsvError::Bad { line, why }) => {
                    self.bad(BadLine { file: name.clone(), line, column: None, why: why.to_owned() })?;
                }
                Err(error) => return Err(self.fail(format!("{name}: {error}"))),
            }
            let full = match self.known.front() {
                Some(rows) => batch.len() as u64 == *rows,
                None => {
                    batch.weight() >= self.options.batch_bytes
                        || batch.len() >= self.options.batch_rows.load(Ordering::Relaxed)
                }
            };
            if full {
                self.end_batch(&mut batch, layout.nodes, reader.bytes())?;
            }
        }
        if batch.len() > 0 {
            if self.known.front().is_some() {
                return Err(self.fail(unlike(name, "it ends within a batch that was loaded")));
            }
            self.end_batch(&mut batch, layout.nodes, reader.bytes())?;
        }
        Ok(())
    }

    fn end_batch(&mut self, batch: &mut BatchBuilder, nodes: bool, bytes: u64) -> Result<(), Stop> {
        let bytes = self.bytes_before + bytes;
        let rows = batch.finish(nodes);
        match self.known.pop_front() {
            Some(_) => self.tell(Event::Known { nodes, bytes }),
            None => self.tell(Event::Batch { rows, bytes }),
        }
    }

    fn bad(&mut self, line: BadLine) -> Result<(), Stop> {
        self.bad += 1;
        self.tell(Event::Bad(line))?;
        if self.bad > self.options.bad_max { Err(Stop) } else { Ok(()) }
    }

    fn row(
        &mut self,
        layout: &Layout,
        file: &PreparedFile,
        record: &Record,
        batch: &mut BatchBuilder,
    ) -> RowResult<()> {
        if record.len() != file.columns.len() {
            let (fields, columns) = (count(record.len() as u64, "field"), file.columns.len());
            return Err((None, format!("it has {fields}, and the header {columns}")));
        }
        let mut fields = Vec::with_capacity(layout.properties.len());
        for (index, field_type) in &layout.properties {
            let text = text(record, *index)?;
            let field = field_type.read(text, record.is_quoted(*index), self.options.array_delimiter);
            fields.push(field.map_err(|why| (Some(*index), why))?);
        }
        if layout.nodes {
            return self.node(layout, record, batch, &mut fields);
        }
        let start = self.end_of_edge(layout.start, record)?;
        let end = self.end_of_edge(layout.end, record)?;
        let edge_type = layout.name.map_or(Ok(""), |index| text(record, index))?;
        let edge_type = if edge_type.is_empty() { layout.fixed_type.as_str() } else { edge_type };
        if edge_type.is_empty() {
            return Err((layout.name, "the edge has no type".to_owned()));
        }
        batch.push(RowHead::Edge { edge_type, start, end }, &mut fields);
        Ok(())
    }

    fn node(
        &mut self,
        layout: &Layout,
        record: &Record,
        batch: &mut BatchBuilder,
        fields: &mut Vec<Field<'_>>,
    ) -> RowResult<()> {
        let labels = layout.name.map_or(Ok(""), |index| text(record, index))?;
        if let Some((index, group)) = layout.id {
            let id = text(record, index)?;
            // A node without an id is one that no edge names.
            if !id.is_empty() {
                if self.ids.get(group, id).is_some() {
                    return Err((
                        Some(index),
                        format!("there is a node with the id {} already", self.named(group, id)),
                    ));
                }
                self.ids.insert(group, id, self.nodes);
            }
        }
        batch.push(RowHead::Node(labels), fields);
        self.nodes += 1;
        Ok(())
    }

    fn end_of_edge(&self, place: Option<(usize, GroupIndex)>, record: &Record) -> RowResult<u64> {
        let (index, group) = place.ok_or((None, "the edge has no end".to_owned()))?;
        let id = text(record, index)?;
        self.ids
            .get(group, id)
            .ok_or_else(|| (Some(index), format!("there is no node with the id {}", self.named(group, id))))
    }

    fn named(&self, group: GroupIndex, id: &str) -> String {
        match self.ids.name(group) {
            "" => short(id),
            group => format!("{} in group {}", short(id), short(group)),
        }
    }
}

fn text(record: &Record, index: usize) -> RowResult<&str> {
    let why = |_| (Some(index), "the text is not UTF-8".to_owned());
    std::str::from_utf8(record.field(index)).map_err(why)
}

/// Why an import cannot be resumed.
fn unlike(what: &str, why: &str) -> String {
    format!("{what}: {why}, so these are not the files and options of the import that is to be resumed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::header::{ColumnFlags, parse_header};
    use std::sync::mpsc::sync_channel;

    fn file(name: &str, kind: FileKind, text: &'static str) -> PreparedFile {
        let input = InputFile::built(name, kind, text.as_bytes());
        let header = text.lines().next().unwrap();
        let titles: Vec<String> = header.split(',').map(str::to_owned).collect();
        let columns = parse_header(&titles, kind, &ColumnFlags::default(), false).unwrap();
        PreparedFile { input, columns, has_header: true }
    }

    fn options(batch_rows: usize, bad_max: u64, known: &[u64]) -> ParseOptions {
        ParseOptions {
            dialect: Dialect::default(),
            array_delimiter: ';',
            batch_rows: AtomicUsize::new(batch_rows),
            batch_bytes: super::super::batch::BATCH_BYTES_MAX,
            bad_max,
            known: known.to_vec(),
        }
    }

    /// What the thread tells, in words.
    fn told(files: &[PreparedFile], options: &ParseOptions) -> Vec<String> {
        let (sender, events) = sync_channel(100);
        parse(files, options, sender);
        events
            .into_iter()
            .map(|event| match event {
                Event::Batch { rows: Rows::Nodes(batch), .. } => format!("{} nodes", batch.len()),
                Event::Batch { rows: Rows::Edges(batch), .. } => {
                    format!("edges {:?}", batch.starts.0.iter().zip(&batch.ends.0).collect::<Vec<_>>())
                }
                Event::Known { nodes, .. } => format!("known {}", if nodes { "nodes" } else { "edges" }),
                Event::Bad(line) => line.to_string(),
                Event::Failed(why) => format!("failed: {why}"),
            })
            .collect()
    }

    const NODES: &str = "p:ID(P),age:int,:LABEL\na,1,X\nb,,X;Y\n7,3,\n";
    const EDGES: &str = ":START_ID(P),:END_ID(P),:TYPE\na,b,T\n7,a,T\nb,b,U\n";

    fn files() -> Vec<PreparedFile> {
        // Edges are given first and read last.
        vec![file("e.csv", FileKind::Edges, EDGES), file("n.csv", FileKind::Nodes, NODES)]
    }

    #[test]
    fn files_become_batches() {
        assert_eq!(told(&files(), &options(100, 0, &[])), ["3 nodes", "edges [(0, 1), (2, 0), (1, 1)]"]);
        assert_eq!(
            told(&files(), &options(2, 0, &[])),
            ["2 nodes", "1 nodes", "edges [(0, 1), (2, 0)]", "edges [(1, 1)]"]
        );
    }

    #[test]
    fn what_is_loaded_is_read_over() {
        // The batches of before were of other sizes.
        let known = options(100, 0, &[1, 2, 2]);
        assert_eq!(told(&files(), &known), ["known nodes", "known nodes", "known edges", "edges [(1, 1)]"]);
        let all = options(100, 0, &[3, 3]);
        assert_eq!(told(&files(), &all), ["known nodes", "known edges"]);
        for unlike in [&[4][..], &[3, 4], &[3, 3, 1], &[2, 3]] {
            let told = told(&files(), &options(100, 0, unlike));
            assert!(told.last().unwrap().contains("to be resumed"), "{unlike:?}: {told:?}");
        }
    }

    #[test]
    fn every_bad_line_has_its_place_and_reason() {
        let nodes = "p:ID,age:int,:LABEL\na,1,X\na,2,X\nb,x,X\nc,1\n\"d\"d,1,X\ne,1,X,Y\nf,2,X\n";
        let edges = ":START_ID,:END_ID,:TYPE\na,f,T\na,b,T\nx,a,T\na,f,\n";
        let files = [file("n.csv", FileKind::Nodes, nodes), file("e.csv", FileKind::Edges, edges)];
        assert_eq!(
            told(&files, &options(100, 100, &[])),
            [
                "n.csv:3: column \"p:ID\": there is a node with the id \"a\" already",
                "n.csv:4: column \"age:int\": \"x\" is not an integer of 64 bits",
                "n.csv:5: it has 2 fields, and the header 3",
                "n.csv:6: there is text behind a closing quote",
                "n.csv:7: it has 4 fields, and the header 3",
                "2 nodes",
                "e.csv:3: column \":END_ID\": there is no node with the id \"b\"",
                "e.csv:4: column \":START_ID\": there is no node with the id \"x\"",
                "e.csv:5: column \":TYPE\": the edge has no type",
                "edges [(0, 1)]",
            ]
        );
    }

    #[test]
    fn too_many_bad_lines_end_it_and_their_batch_is_not_sent() {
        let nodes = "p:ID,age:int\na,1\nb,2\nc,x\nd,x\ne,1\n";
        let files = [file("n.csv", FileKind::Nodes, nodes)];
        assert_eq!(
            told(&files, &options(2, 0, &[])),
            ["2 nodes", "n.csv:4: column \"age:int\": \"x\" is not an integer of 64 bits"]
        );
        assert_eq!(told(&files, &options(100, 1, &[])).len(), 2);
        assert_eq!(told(&files, &options(100, 2, &[])).last().unwrap(), "3 nodes");
    }

    #[test]
    fn text_must_be_utf8_and_groups_keep_ids_apart() {
        static LATIN: &[u8] = b"p:ID,name:string\na,caf\xe9\nb,ok\n";
        let mut latin = file("n.csv", FileKind::Nodes, "p:ID,name:string");
        latin.input = InputFile::built("n.csv", FileKind::Nodes, LATIN);
        assert_eq!(
            told(&[latin], &options(9, 9, &[])),
            ["n.csv:2: column \"name:string\": the text is not UTF-8", "1 nodes"]
        );
        let groups = [
            file("a.csv", FileKind::Nodes, ":ID(A)\n1\n"),
            file("b.csv", FileKind::Nodes, ":ID(B)\n1\n2\n"),
            file("e.csv", FileKind::Edges, ":START_ID(A),:END_ID(B),:TYPE\n1,1,T\n2,1,T\n"),
        ];
        assert_eq!(
            told(&groups, &options(9, 9, &[])),
            [
                "1 nodes",
                "2 nodes",
                "e.csv:3: column \":START_ID(A)\": there is no node with the id \"2\" in group \"A\"",
                "edges [(0, 1)]"
            ]
        );
    }
}
