//! Running an import: one thread reads, this one sends.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use graphite_client::messages::{ImportEnd, ImportEndReply};
use graphite_client::{Client, Error, Token};

use super::batch::{BATCH_BYTES_MAX, Rows};
use super::header::{ColumnFlags, FileKind, parse_header};
use super::infer;
use super::load::Loader;
use super::parse::{Event, ParseOptions, PreparedFile, parse};
use super::progress::{BadLines, Progress};
use super::source::InputFile;
use crate::cli::csv::{Dialect, Reader, Record};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::show::{count, elapsed, number};

/// Rows of a batch, unless they are heavy.
pub(super) const BATCH_ROWS: usize = 512 << 10;

/// Batches that were read and not sent yet.
const READ_AHEAD: usize = 1;

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
    /// The header of files of nodes that have none.
    pub node_header: Option<String>,
    /// The header of files of edges that have none.
    pub edge_header: Option<String>,
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
    /// Whether it had ended before, so that nothing was to be done.
    pub was_complete: bool,
}

impl Job {
    /// An import of files that need no flags.
    pub(crate) fn new(files: Vec<InputFile>, import: Token) -> Job {
        Job {
            files,
            dialect: Dialect::default(),
            array_delimiter: ';',
            flags: ColumnFlags::default(),
            node_header: None,
            edge_header: None,
            infer: false,
            batch_rows: BATCH_ROWS,
            bad_max: 0,
            import,
            resume: false,
            progress: false,
            bad_file: None,
        }
    }

    /// Reads the headers, and with `--infer` the whole files.
    pub(super) fn prepare(&self) -> Outcome<Vec<PreparedFile>> {
        self.files.iter().map(|file| self.prepare_file(file)).collect()
    }

    fn prepare_file(&self, input: &InputFile) -> Outcome<PreparedFile> {
        let failed = |why: String| Failure::Failed(format!("{}: {why}", input.name));
        let source = input.open().map_err(|error| failed(error.to_string()))?;
        let mut reader = Reader::new(source, self.dialect);
        let mut record = Record::default();
        let given = match input.kind {
            FileKind::Nodes => &self.node_header,
            FileKind::Edges => &self.edge_header,
        };
        let read = match given {
            Some(text) => Reader::new(text.as_bytes(), self.dialect).read(&mut record),
            None => reader.read(&mut record),
        };
        if !read.map_err(|error| failed(error.to_string()))? {
            return Err(failed("it is empty, and a header was expected".to_owned()));
        }
        let titles: Vec<String> = (0..record.len())
            .map(|index| String::from_utf8_lossy(record.field(index)).into_owned())
            .collect();
        let mut columns =
            parse_header(&titles, input.kind, &self.flags, !input.fixed.is_empty()).map_err(|error| {
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

    pub(super) fn parse_options(&self, known: Vec<u64>) -> ParseOptions {
        ParseOptions {
            dialect: self.dialect,
            array_delimiter: self.array_delimiter,
            batch_rows: AtomicUsize::new(self.batch_rows),
            batch_bytes: BATCH_BYTES_MAX,
            bad_max: self.bad_max,
            known,
        }
    }

    fn progress(&self) -> Progress {
        let bytes = self.files.iter().map(|file| file.bytes).sum();
        if self.progress { Progress::new(bytes) } else { Progress::silent() }
    }

    /// Loads the files. `connect` makes another connection, if this one is lost at the very end.
    pub(crate) fn load(&self, client: &mut Client, connect: impl Fn() -> Outcome<Client>) -> Outcome<Loaded> {
        let files = self.prepare()?;
        let started = Instant::now();
        let (mut loader, known) = Loader::begin(client, self.import.clone(), self.resume)?;
        if let Some(ended) = loader.ended() {
            let (nodes, edges, batches) = (ended.nodes, ended.edges, ended.batches);
            let before = nodes + edges;
            let time = started.elapsed();
            return Ok(Loaded { nodes, edges, before, batches, bad: 0, time, was_complete: true });
        }
        let before = known.iter().sum();
        let options = ParseOptions { batch_bytes: loader.batch_bytes_max(), ..self.parse_options(known) };
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
        let flushed = loader.flush();
        let result = result.and(flushed);
        progress.clear();
        bad.finish()?;
        let batches = loader.batches();
        let ended = result.and_then(|()| match loader.end() {
            Err(Failure::Client(lost)) if lost.is_no_connection() => self.end_again(lost, connect),
            ended => ended,
        });
        let ended = ended.map_err(|failure| self.with_hint(failure, batches))?;
        Ok(Loaded {
            nodes: ended.nodes,
            edges: ended.edges,
            before,
            batches: ended.batches,
            bad: bad.count(),
            time: started.elapsed(),
            was_complete: false,
        })
    }

    /// Nobody knows whether an import has ended whose answer was lost. To end it again tells, and changes nothing: to
    /// run the command again would load everything twice.
    fn end_again(&self, lost: Error, connect: impl Fn() -> Outcome<Client>) -> Outcome<ImportEndReply> {
        let again = connect().and_then(|mut client| {
            let end = ImportEnd { import: self.import.clone() };
            Ok(client.call(&end)?)
        });
        again.map_err(|_| lost.into())
    }

    fn take(
        &self,
        event: Event,
        loader: &mut Loader<'_>,
        progress: &mut Progress,
        bad: &mut BadLines,
    ) -> Outcome {
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
    pub(super) fn dry_run(&self, out: &mut impl Write) -> Outcome {
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
            lines => Err(Failure::Failed(format!(
                "{}; {rows} are fine; nothing was loaded",
                count(lines, "bad line")
            ))),
        }
    }
}

/// What was loaded, in one line.
pub(crate) fn summary(loaded: &Loaded) -> String {
    if loaded.was_complete {
        let rows = format!("{} and {}", count(loaded.nodes, "node"), count(loaded.edges, "edge"));
        return format!("{rows} are there: the import was complete already, and nothing was loaded");
    }
    let rows = (loaded.nodes + loaded.edges).saturating_sub(loaded.before);
    let per_second = rows as f64 / loaded.time.as_secs_f64().max(1e-6);
    let mut text = format!(
        "{} and {} in {}, {}: {} rows/s",
        count(loaded.nodes, "node"),
        count(loaded.edges, "edge"),
        if loaded.batches == 1 {
            "1 batch".to_owned()
        } else {
            format!("{} batches", number(loaded.batches))
        },
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

#[cfg(test)]
mod tests {
    use super::super::load::tests::{Fake, with_fake};
    use super::*;

    fn job() -> Job {
        let nodes = InputFile::built("nodes.csv", FileKind::Nodes, b":ID,name\na,Ada\nb,Ben\n");
        Job::new(vec![nodes], Token::new("test").unwrap())
    }

    #[test]
    fn an_end_whose_answer_is_lost_is_asked_for_again() {
        let fake = with_fake(Fake::losing_ends(1), |client, connect| {
            let loaded = job().load(client, connect).unwrap();
            assert_eq!((loaded.nodes, loaded.edges, loaded.batches, loaded.before), (2, 0, 1, 0));
        });
        assert_eq!((fake.batches.len(), fake.ends), (1, 2));
    }

    #[test]
    fn an_end_whose_answer_stays_lost_fails_as_it_did_first() {
        let fake = with_fake(Fake::losing_ends(1), |client, _| {
            let nobody = || Err(Failure::Failed("nobody is there".to_owned()));
            let failure = job().load(client, nobody).unwrap_err();
            assert!(matches!(&failure, Failure::Client(error) if error.is_no_connection()), "{failure:?}");
        });
        assert_eq!((fake.batches.len(), fake.ends), (1, 1));
    }
}
