//! `graphite import`: CSV files into a database.
//!
//! The files are read by a thread of their own, in memory of a few batches and one entry for each id, while the
//! daemon applies the batch before. Each batch is one transaction, whole or absent whatever happens; a crashed
//! import is resumed by the same command with `--resume`.

mod batch;
pub(crate) mod header;
mod ids;
mod infer;
pub(crate) mod kind;
mod load;
mod parse;
mod progress;
pub(crate) mod source;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use clap::Args;
use graphite_client::{Client, Token};

use super::Target;
use super::csv::{Dialect, Reader, Record};
use super::failure::{Failure, Outcome};
use super::show::{count, elapsed, number};
use batch::Rows;
use header::{ColumnFlags, FileKind, parse_header};
use kind::FieldType;
use load::Loader;
use parse::{Event, ParseOptions, PreparedFile, parse};
use progress::{BadLines, Progress};
use source::InputFile;

/// Rows of a batch, unless they are heavy.
const BATCH_ROWS: usize = 512 << 10;

/// Batches that were read and not sent yet.
const READ_AHEAD: usize = 1;

/// Flags of `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Headers: name:ID, :LABEL, :START_ID, :END_ID, :TYPE and name:int, or ~id, ~label, ~from, ~to and name:int, or any
others with the flags that say which column is what. A column is named by its title, or by its number: #1.
Types: string, int, long, short, byte, float, double, boolean, char, date, localtime, time, localdatetime, datetime,
duration, bytes, any; each also with [] behind it.

  graphite import --nodes people.csv --edges knows.csv
  graphite import --nodes Person=people.csv --edges KNOWS=knows.csv --id-column id \\
      --start-column from --end-column to --infer")]
pub(crate) struct ImportArgs {
    /// Files of nodes; in LABEL=FILE all nodes get the label, or several with colons between them
    #[arg(long, value_name = "[LABEL=]FILE", num_args = 1..)]
    nodes: Vec<String>,
    /// Files of edges; in TYPE=FILE all edges get the type
    #[arg(long, visible_alias = "relationships", value_name = "[TYPE=]FILE", num_args = 1..)]
    edges: Vec<String>,
    /// Between fields: one character, or `tab`
    #[arg(long, default_value = ",", value_name = "CHAR", value_parser = delimiter)]
    delimiter: u8,
    /// Between the elements of a list, and between labels [default: ; or | if that is the delimiter]
    #[arg(long, value_name = "CHAR")]
    array_delimiter: Option<char>,
    /// Around fields: one character, or `none`
    #[arg(long, default_value = "\"", value_name = "CHAR", value_parser = quote)]
    quote: Quote,
    /// The header, for files that have none
    #[arg(long, value_name = "HEADER")]
    header: Option<String>,
    /// The header of files of nodes that have none
    #[arg(long, value_name = "HEADER")]
    node_header: Option<String>,
    /// The header of files of edges that have none
    #[arg(long, value_name = "HEADER")]
    edge_header: Option<String>,
    /// The column with the ids of nodes
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// Keep the ids of the files as this property
    #[arg(long, value_name = "KEY")]
    id_property: Option<String>,
    /// A label for all nodes; may be given several times
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// The column with the labels of nodes
    #[arg(long, value_name = "COLUMN")]
    label_column: Option<String>,
    /// The column with the ids of the nodes where edges start
    #[arg(long, value_name = "COLUMN")]
    start_column: Option<String>,
    /// The column with the ids of the nodes where edges end
    #[arg(long, value_name = "COLUMN")]
    end_column: Option<String>,
    /// The type of edges that have no other
    #[arg(long = "type", value_name = "TYPE")]
    edge_type: Option<String>,
    /// The column with the types of edges
    #[arg(long, value_name = "COLUMN")]
    type_column: Option<String>,
    /// The type of a column; may be given several times
    #[arg(long = "column", value_name = "COLUMN:TYPE", value_parser = column_type)]
    columns: Vec<(String, FieldType)>,
    /// Find types for columns that have none, by reading the files twice; else they are strings
    #[arg(long)]
    infer: bool,
    /// Rows of a batch, each of which is one transaction
    #[arg(long, default_value_t = BATCH_ROWS, value_name = "N", value_parser = batch_rows)]
    batch_rows: usize,
    /// Go on with an import that did not end
    #[arg(long, conflicts_with = "dry_run")]
    resume: bool,
    /// A name for the import, 1 to 32 bytes [default: made of the files' names and sizes and the flags]
    #[arg(long, value_name = "NAME", value_parser = token)]
    import_id: Option<Token>,
    /// Read the files, report every bad line, and load nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave bad lines out, at most N if given
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true)]
    skip_bad: Option<Option<u64>>,
    /// Write bad lines to this file, as CSV, instead of standard error
    #[arg(long, value_name = "FILE")]
    bad_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug)]
struct Quote(Option<u8>);

fn ascii(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => Err("it has to be one ASCII character, and no line break".to_owned()),
    }
}

fn delimiter(text: &str) -> Result<u8, String> {
    if matches!(text, "tab" | "\\t") { Ok(b'\t') } else { ascii(text) }
}

fn quote(text: &str) -> Result<Quote, String> {
    if text == "none" { Ok(Quote(None)) } else { ascii(text).map(|byte| Quote(Some(byte))) }
}

fn column_type(text: &str) -> Result<(String, FieldType), String> {
    let (name, word) = text.rsplit_once(':').ok_or("it has to be COLUMN:TYPE")?;
    let field_type = FieldType::parse(word)
        .ok_or_else(|| format!("there is no type {word:?} (types: {})", FieldType::words()))?;
    Ok((name.to_owned(), field_type))
}

fn batch_rows(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|rows| (1..=1 << 20).contains(rows)).ok_or_else(|| "it has to be 1 to 1048576".to_owned())
}

fn token(text: &str) -> Result<Token, String> {
    Token::new(text.as_bytes()).map_err(|error| error.to_string())
}

/// An import, ready to be run.
#[derive(Debug)]
pub(crate) struct Job {
    /// The files.
    pub files: Vec<InputFile>,
    /// How fields are told apart.
    pub dialect: Dialect,
    /// Between elements of a list, and between labels.
    pub array_delimiter: char,
    /// What flags say about columns.
    pub flags: ColumnFlags,
    /// Headers of files that have none.
    pub headers: BTreeMap<bool, String>,
    /// Whether to find types.
    pub infer: bool,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Bad lines that are left out.
    pub bad_max: u64,
    /// The import's name.
    pub import: Token,
    /// Whether to go on with one of that name.
    pub resume: bool,
    /// Whether to say how far it is.
    pub progress: bool,
    /// Where bad lines go.
    pub bad_file: Option<PathBuf>,
}

/// What was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Loaded {
    /// Nodes of the whole import.
    pub nodes: u64,
    /// Edges of the whole import.
    pub edges: u64,
    /// Rows that an earlier run had loaded.
    pub before: u64,
    /// Batches of the whole import.
    pub batches: u64,
    /// Lines that were left out.
    pub bad: u64,
    /// How long it took.
    pub time: Duration,
}

impl Job {
    /// An import of files that need no flags.
    pub(crate) fn new(files: Vec<InputFile>, import: Token) -> Job {
        Job {
            files,
            dialect: Dialect::default(),
            array_delimiter: ';',
            flags: ColumnFlags::default(),
            headers: BTreeMap::new(),
            infer: false,
            batch_rows: BATCH_ROWS,
            bad_max: 0,
            import,
            resume: false,
            progress: false,
            bad_file: None,
        }
    }

    fn from_args(args: &ImportArgs) -> Outcome<Job> {
        if args.nodes.is_empty() && args.edges.is_empty() {
            return Err(Failure::Usage("say which files to load: --nodes FILE... --edges FILE...".to_owned()));
        }
        let array_delimiter = args.array_delimiter.unwrap_or(if args.delimiter == b';' { '|' } else { ';' });
        if array_delimiter == char::from(args.delimiter) || Some(args.delimiter) == args.quote.0 {
            return Err(Failure::Usage("delimiter, array delimiter and quote have to be different".to_owned()));
        }
        let open = |args: &[String], kind| {
            args.iter().map(|arg| InputFile::from_arg(arg, kind).map_err(Failure::Failed)).collect::<Outcome<Vec<_>>>()
        };
        let mut files = open(&args.nodes, FileKind::Nodes)?;
        files.extend(open(&args.edges, FileKind::Edges)?);
        for file in &mut files {
            match file.kind {
                FileKind::Nodes => file.fixed.extend(args.labels.iter().cloned()),
                FileKind::Edges if file.fixed.is_empty() => file.fixed.extend(args.edge_type.clone()),
                FileKind::Edges => {}
            }
        }
        let mut headers = BTreeMap::new();
        for (nodes, own) in [(true, &args.node_header), (false, &args.edge_header)] {
            if let Some(header) = own.as_ref().or(args.header.as_ref()) {
                headers.insert(nodes, header.clone());
            }
        }
        let bad_max = match (args.dry_run, args.skip_bad) {
            (true, _) | (false, Some(None)) => u64::MAX,
            (false, Some(Some(max))) => max,
            (false, None) => 0,
        };
        let import = match &args.import_id {
            Some(token) => token.clone(),
            None => import_id(args, &files)?,
        };
        Ok(Job {
            dialect: Dialect { delimiter: args.delimiter, quote: args.quote.0 },
            array_delimiter,
            flags: ColumnFlags {
                id: args.id_column.clone(),
                label: args.label_column.clone(),
                start: args.start_column.clone(),
                end: args.end_column.clone(),
                edge_type: args.type_column.clone(),
                types: args.columns.clone(),
                id_property: args.id_property.clone(),
            },
            headers,
            infer: args.infer,
            batch_rows: args.batch_rows,
            bad_max,
            resume: args.resume,
            progress: true,
            bad_file: args.bad_file.clone(),
            ..Job::new(files, import)
        })
    }

    /// Reads the headers, and with `--infer` the whole files.
    fn prepare(&self) -> Outcome<Vec<PreparedFile>> {
        self.files.iter().map(|file| self.prepare_file(file)).collect()
    }

    fn prepare_file(&self, input: &InputFile) -> Outcome<PreparedFile> {
        let failed = |why: String| Failure::Failed(format!("{}: {why}", input.name));
        let source = input.open().map_err(|error| failed(error.to_string()))?;
        let mut reader = Reader::new(source, self.dialect);
        let mut record = Record::default();
        let given = self.headers.get(&(input.kind == FileKind::Nodes));
        let read = match given {
            Some(text) => Reader::new(text.as_bytes(), self.dialect).read(&mut record),
            None => reader.read(&mut record),
        };
        if !read.map_err(|error| failed(error.to_string()))? {
            return Err(failed("it is empty, and a header was expected".to_owned()));
        }
        let titles: Vec<String> =
            (0..record.len()).map(|index| String::from_utf8_lossy(record.field(index)).into_owned()).collect();
        let mut columns = parse_header(&titles, input.kind, &self.flags, !input.fixed.is_empty()).map_err(|error| {
            let column = error.column.map(|column| format!("column {column:?}: ")).unwrap_or_default();
            failed(format!("line 1: {column}{}", error.why))
        })?;
        if self.infer {
            let open = infer::infer(&mut columns, &mut reader).map_err(|error| failed(error.to_string()))?;
            if !open.is_empty() {
                eprintln!("{}: {}", input.name, infer::decided(&columns, &open));
            }
        }
        Ok(PreparedFile { input: input.clone(), columns, has_header: given.is_none() })
    }

    fn parse_options(&self, known: Vec<u64>) -> ParseOptions {
        ParseOptions {
            dialect: self.dialect,
            array_delimiter: self.array_delimiter,
            batch_rows: AtomicUsize::new(self.batch_rows),
            bad_max: self.bad_max,
            known,
        }
    }

    fn progress(&self) -> Progress {
        let bytes = self.files.iter().map(|file| file.bytes).sum();
        if self.progress { Progress::new(bytes) } else { Progress::silent() }
    }

    /// Loads the files.
    pub(crate) fn load(&self, client: &mut Client) -> Outcome<Loaded> {
        let files = self.prepare()?;
        let started = Instant::now();
        let (mut loader, known) = Loader::begin(client, self.import.clone(), self.resume)?;
        let before = known.iter().sum();
        let options = self.parse_options(known);
        let mut progress = self.progress();
        let mut bad = BadLines::new(self.bad_file.as_deref())?;
        let (sender, events) = sync_channel(READ_AHEAD);
        let result = std::thread::scope(|scope| {
            let (files, options) = (&files, &options);
            scope.spawn(move || parse(files, options, sender));
            let result = events.iter().try_for_each(|event| {
                self.take(event, &mut loader, &mut progress, &mut bad)?;
                if let Some(rows) = loader.rows_max() {
                    options.batch_rows.fetch_min(rows.max(1), Ordering::Relaxed);
                }
                Ok(())
            });
            // Without a listener the thread ends, and the scope with it.
            drop(events);
            let excess = if bad.count() > self.bad_max { Err(self.too_many(&bad)) } else { Ok(()) };
            result.and(excess)
        });
        // What is under way is finished, so that it is known what is there.
        let result = result.and_then(|()| loader.flush());
        progress.clear();
        bad.finish()?;
        if let Err(failure) = result {
            let batches = loader.batches();
            return Err(self.with_hint(failure, batches));
        }
        let ended = loader.end()?;
        Ok(Loaded {
            nodes: ended.nodes,
            edges: ended.edges,
            before,
            batches: ended.batches,
            bad: bad.count(),
            time: started.elapsed(),
        })
    }

    fn take(&self, event: Event, loader: &mut Loader<'_>, progress: &mut Progress, bad: &mut BadLines) -> Outcome {
        match event {
            Event::Batch { rows, bytes } => {
                loader.push(rows)?;
                let (nodes, edges) = loader.loaded();
                progress.set(bytes, nodes + edges);
            }
            Event::Known { nodes, bytes } => {
                loader.skip_known(nodes);
                progress.set(bytes, 0);
            }
            // The one that ends it is told by the error itself.
            Event::Bad(line) => bad.note(line, self.bad_max)?,
            Event::Failed(why) => return Err(Failure::Failed(why)),
        }
        Ok(())
    }

    fn too_many(&self, bad: &BadLines) -> Failure {
        let last = bad.last().map(ToString::to_string).unwrap_or_default();
        if self.bad_max == 0 {
            return Failure::Failed(last);
        }
        Failure::Failed(format!("{last}\nthat is one more bad line than --skip-bad={} allows", self.bad_max))
    }

    /// Says how to go on, if there is something to go on from.
    fn with_hint(&self, failure: Failure, batches: u64) -> Failure {
        if batches == 0 {
            return failure;
        }
        let name = String::from_utf8_lossy(self.import.as_bytes()).into_owned();
        let hint = format!(
            "{} in the database; to go on: the same command with --resume --import-id {name}",
            if batches == 1 { "1 batch is".to_owned() } else { format!("{} batches are", number(batches)) }
        );
        match failure {
            Failure::Failed(why) => Failure::Failed(format!("{why}\n{hint}")),
            other => {
                eprintln!("graphite: {hint}");
                other
            }
        }
    }

    /// Reads the files and reports every bad line.
    fn dry_run(&self, out: &mut impl Write) -> Outcome {
        let files = self.prepare()?;
        let options = self.parse_options(Vec::new());
        let mut progress = self.progress();
        let mut bad = BadLines::new(self.bad_file.as_deref())?;
        let (mut nodes, mut edges) = (0, 0);
        let (sender, events) = sync_channel(READ_AHEAD);
        std::thread::scope(|scope| {
            let (files, options) = (&files, &options);
            scope.spawn(move || parse(files, options, sender));
            // Consumed, so that the thread ends when nobody listens any more.
            events.into_iter().try_for_each(|event| {
                match event {
                    Event::Batch { rows, bytes } => {
                        match &rows {
                            Rows::Nodes(batch) => nodes += batch.len() as u64,
                            Rows::Edges(batch) => edges += batch.len() as u64,
                        }
                        progress.set(bytes, nodes + edges);
                    }
                    Event::Known { .. } => {}
                    Event::Bad(line) => bad.note(line, u64::MAX)?,
                    Event::Failed(why) => return Err(Failure::Failed(why)),
                }
                Ok(())
            })
        })?;
        progress.clear();
        bad.finish()?;
        let rows = format!("{} and {}", count(nodes, "node"), count(edges, "edge"));
        match bad.count() {
            0 => Ok(writeln!(out, "{rows} are fine; nothing was loaded")?),
            lines => Err(Failure::Failed(format!("{}; {rows} are fine; nothing was loaded", count(lines, "bad line")))),
        }
    }
}

/// A name that the same command gives again: of the names and sizes of the files, and of what says how to read them.
fn import_id(args: &ImportArgs, files: &[InputFile]) -> Outcome<Token> {
    let files: Vec<_> = files.iter().map(|file| (&file.name, file.bytes, &file.fixed)).collect();
    let said = format!(
        "{files:?}{:?}",
        (
            (args.delimiter, args.array_delimiter, args.quote.0, &args.header, &args.node_header, &args.edge_header),
            (&args.id_column, &args.id_property, &args.label_column, &args.start_column, &args.end_column),
            (&args.type_column, &args.columns, args.infer),
        )
    );
    // FNV-1a: the same on every machine and in every release.
    let hash = said.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Token::new(format!("import-{hash:016x}")).map_err(|error| Failure::Failed(error.to_string()))
}

/// `graphite import`
pub(crate) fn run(target: &Target, args: &ImportArgs, out: &mut impl Write) -> Outcome {
    let job = Job::from_args(args)?;
    if args.dry_run {
        return job.dry_run(out);
    }
    // A header that makes no sense is told before a database is made.
    let quiet = Job { infer: false, ..Job::from_args(args)? };
    quiet.prepare()?;
    let mut client = target.connect(true)?;
    let loaded = job.load(&mut client)?;
    writeln!(out, "{}", summary(&loaded))?;
    Ok(())
}

/// What was loaded, in one line.
pub(crate) fn summary(loaded: &Loaded) -> String {
    let rows = (loaded.nodes + loaded.edges).saturating_sub(loaded.before);
    let per_second = rows as f64 / loaded.time.as_secs_f64().max(1e-6);
    let mut text = format!(
        "{} and {} in {}, {}: {} rows/s",
        count(loaded.nodes, "node"),
        count(loaded.edges, "edge"),
        if loaded.batches == 1 { "1 batch".to_owned() } else { format!("{} batches", number(loaded.batches)) },
        elapsed(loaded.time),
        number(per_second as u64),
    );
    if loaded.before > 0 {
        text += &format!("; {} were there before", count(loaded.before, "row"));
    }
    if loaded.bad > 0 {
        text += &format!("; {} left out", count(loaded.bad, "bad line"));
    }
    text
}
