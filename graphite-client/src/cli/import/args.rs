//! The flags of `import`, and the job that they make.

use std::path::PathBuf;

use clap::Args;
use graphite_client::Token;

use super::header::{ColumnFlags, FileKind};
use super::job::{BATCH_ROWS, Job};
use super::kind::FieldType;
use super::source::InputFile;
use crate::cli::csv::Dialect;
use crate::cli::failure::{Failure, Outcome};

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
    pub(super) dry_run: bool,
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
    text.parse()
        .ok()
        .filter(|rows| (1..=1 << 20).contains(rows))
        .ok_or_else(|| "it has to be 1 to 1048576".to_owned())
}

fn token(text: &str) -> Result<Token, String> {
    Token::new(text.as_bytes()).map_err(|error| error.to_string())
}

impl Job {
    /// The job that the flags ask for.
    pub(super) fn from_args(args: &ImportArgs) -> Outcome<Job> {
        if args.nodes.is_empty() && args.edges.is_empty() {
            return Err(Failure::Usage(
                "say which files to load: --nodes FILE... --edges FILE...".to_owned(),
            ));
        }
        let array_delimiter = args.array_delimiter.unwrap_or(if args.delimiter == b';' { '|' } else { ';' });
        if array_delimiter == char::from(args.delimiter) || Some(args.delimiter) == args.quote.0 {
            return Err(Failure::Usage(
                "delimiter, array delimiter and quote have to be different".to_owned(),
            ));
        }
        let open = |args: &[String], kind| {
            args.iter()
                .map(|arg| InputFile::from_arg(arg, kind).map_err(Failure::Failed))
                .collect::<Outcome<Vec<_>>>()
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
            node_header: args.node_header.as_ref().or(args.header.as_ref()).cloned(),
            edge_header: args.edge_header.as_ref().or(args.header.as_ref()).cloned(),
            infer: args.infer,
            batch_rows: args.batch_rows,
            bad_max,
            resume: args.resume,
            progress: true,
            bad_file: args.bad_file.clone(),
            ..Job::new(files, import)
        })
    }
}

/// A name that the same command gives again: of the names and sizes of the files, and of what says how to read them.
fn import_id(args: &ImportArgs, files: &[InputFile]) -> Outcome<Token> {
    let files: Vec<_> = files.iter().map(|file| (&file.name, file.bytes, &file.fixed)).collect();
    let said = format!(
        "{files:?}{:?}",
        (
            (
                args.delimiter,
                args.array_delimiter,
                args.quote.0,
                &args.header,
                &args.node_header,
                &args.edge_header
            ),
            (&args.id_column, &args.id_property, &args.label_column, &args.start_column, &args.end_column),
            (&args.type_column, &args.columns, args.infer),
        )
    );
    // FNV-1a, which is the same on every machine.
    let hash = said.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Token::new(format!("import-{hash:016x}")).map_err(|error| Failure::Failed(error.to_string()))
}
