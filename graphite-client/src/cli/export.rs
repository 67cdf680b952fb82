//! `graphite export`: the graph as `nodes.csv` and `edges.csv`, which `graphite import` reads back.
//!
//! 1. Both files are of one snapshot, and memory is that of a few batches: the graph is read twice, once to find
//!    the properties and their types for the headers, and once for the rows.
//! 2. An import of the files gives the same graph, but for the ids, which are the daemon's to give. A property
//!    whose values have no type in common, or not all a form in it, has the type `any`: JSON with tags.
//! 3. The files appear when they are whole: they are written under other names, synced and renamed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use graphite_client::{Error, Transaction, Traversal, Value};

use super::Target;
use super::csv::{Dialect, write_bare, write_end, write_field};
use super::failure::{Failure, Outcome};
use super::show::{self, count, elapsed};
use super::tagged::{show_tagged, temporal_name};

/// Between labels, and between elements of a list. The first that no label holds is taken.
const ARRAY_DELIMITERS: [char; 12] = [';', '|', '!', '^', '~', '+', '&', '%', '$', '#', '@', '*'];

/// Flags of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The directory for nodes.csv and edges.csv; made if it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Replace the files if they are there
    #[arg(long)]
    force: bool,
}

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExportType {
    /// One value of the type of that word.
    One(&'static str),
    /// Several; `None` while all lists were empty.
    List(Option<&'static str>),
    /// Values of several types.
    Any,
}

impl ExportType {
    fn merge(self, other: ExportType) -> ExportType {
        match (self, other) {
            (a, b) if a == b => a,
            (ExportType::List(None), ExportType::List(word))
            | (ExportType::List(word), ExportType::List(None)) => ExportType::List(word),
            _ => ExportType::Any,
        }
    }

    fn word(self) -> String {
        match self {
            ExportType::One(word) => word.to_owned(),
            ExportType::List(word) => format!("{}[]", word.unwrap_or("string")),
            ExportType::Any => "any".to_owned(),
        }
    }
}

fn scalar_word(value: &Value) -> Option<&'static str> {
    match value {
        Value::Bool(_) => Some("boolean"),
        Value::Int(_) => Some("int"),
        Value::Float(_) => Some("float"),
        Value::String(_) => Some("string"),
        Value::Bytes(_) => Some("bytes"),
        other => temporal_name(other),
    }
}

fn scalar_text(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => show::float(*value),
        Value::String(text) => text.clone(),
        Value::Bytes(bytes) => show::hex(bytes),
        other => show::temporal(other).unwrap_or_default(),
    }
}

/// The narrowest type that a value has a form in.
fn type_of(value: &Value, array_delimiter: char) -> ExportType {
    match value {
        // Empty in quotes would be read as no value.
        Value::Bytes(bytes) if bytes.is_empty() => ExportType::Any,
        Value::List(items) => {
            let Some(first) = items.first() else {
                return ExportType::List(None);
            };
            let Some(word) = scalar_word(first) else {
                return ExportType::Any;
            };
            let same = items.iter().all(|item| scalar_word(item) == Some(word));
            let texts: Vec<String> = items.iter().map(scalar_text).collect();
            let apart = !texts.iter().any(|text| text.contains(array_delimiter));
            // A list of one empty text looks like an empty list.
            let there = texts.iter().any(|text| !text.is_empty()) || texts.len() > 1;
            if same && apart && there { ExportType::List(Some(word)) } else { ExportType::Any }
        }
        other => scalar_word(other).map_or(ExportType::Any, ExportType::One),
    }
}

/// Properties of all nodes or all edges, with their types, in the order of their names.
#[derive(Debug, Default)]
struct Columns(BTreeMap<String, ExportType>);

impl Columns {
    fn note(&mut self, properties: &[(String, Value)], array_delimiter: char) {
        for (key, value) in properties {
            let found = type_of(value, array_delimiter);
            match self.0.get_mut(key) {
                Some(known) => *known = known.merge(found),
                None => {
                    self.0.insert(key.clone(), found);
                }
            }
        }
    }
}

/// What the first reading finds.
#[derive(Debug)]
struct Survey {
    nodes: Columns,
    edges: Columns,
    array_delimiter: char,
}

fn survey(tx: &mut Transaction<'_>) -> Outcome<Survey> {
    let mut array_delimiter = ARRAY_DELIMITERS[0];
    loop {
        let mut nodes = Columns::default();
        let mut labels = BTreeSet::new();
        for row in tx.rows(Traversal::nodes(), ())? {
            let row = row?;
            let node = row.first().and_then(Value::as_node).ok_or_else(|| unexpected("a node"))?;
            nodes.note(&node.properties, array_delimiter);
            for label in &node.labels {
                if !labels.contains(label) {
                    labels.insert(label.clone());
                }
            }
        }
        let free = |delimiter: &char| !labels.iter().any(|label| label.contains(*delimiter));
        if !free(&array_delimiter) {
            // Rare: labels with punctuation. With another delimiter other lists have a form.
            array_delimiter = ARRAY_DELIMITERS.into_iter().find(free).ok_or_else(|| {
                Failure::Failed("the labels hold all characters that could stand between them".to_owned())
            })?;
            continue;
        }
        let mut edges = Columns::default();
        for row in tx.rows(Traversal::edges(), ())? {
            let row = row?;
            let edge = row.first().and_then(Value::as_edge).ok_or_else(|| unexpected("an edge"))?;
            edges.note(&edge.properties, array_delimiter);
        }
        return Ok(Survey { nodes, edges, array_delimiter });
    }
}

fn unexpected(what: &str) -> Failure {
    Failure::Client(Error::Protocol(format!("{what} was expected")))
}

/// Writes records into a file that appears when it is whole.
struct Records {
    out: BufWriter<File>,
    line: Vec<u8>,
    index: usize,
    temporary: PathBuf,
    path: PathBuf,
    rows: u64,
}

impl Records {
    fn create(dir: &Path, name: &str) -> io::Result<Records> {
        let temporary = dir.join(format!(".{name}.part"));
        let out = BufWriter::with_capacity(1 << 18, File::create(&temporary)?);
        Ok(Records { out, line: Vec::new(), index: 0, temporary, path: dir.join(name), rows: 0 })
    }

    fn bare(&mut self, text: &str) {
        write_bare(&mut self.line, Dialect::default(), self.index, text);
        self.index += 1;
    }

    fn text(&mut self, text: &str) {
        write_field(&mut self.line, Dialect::default(), self.index, text);
        self.index += 1;
    }

    fn header(&mut self, special: &[&str], columns: &Columns) -> io::Result<()> {
        special.iter().for_each(|title| self.text(title));
        for (key, field_type) in &columns.0 {
            self.text(&format!("{key}:{}", field_type.word()));
        }
        self.end()
    }

    fn properties(
        &mut self,
        properties: &[(String, Value)],
        columns: &Columns,
        array_delimiter: char,
    ) -> Outcome {
        for (key, field_type) in &columns.0 {
            match properties.iter().find(|(name, _)| name == key).map(|(_, value)| value) {
                None | Some(Value::Nil) => self.bare(""),
                Some(value) => self.value(value, *field_type, array_delimiter)?,
            }
        }
        Ok(())
    }

    fn value(&mut self, value: &Value, field_type: ExportType, array_delimiter: char) -> Outcome {
        match (field_type, value) {
            (ExportType::Any, value) => {
                let text = show_tagged(value).ok_or_else(|| unexpected("a value that a property holds"))?;
                self.text(&text);
            }
            (_, Value::List(items)) => {
                let texts: Vec<String> = items.iter().map(scalar_text).collect();
                self.text(&texts.join(&array_delimiter.to_string()));
            }
            (_, Value::String(text)) => self.text(text),
            (_, value) => self.text(&scalar_text(value)),
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        write_end(&mut self.line);
        self.out.write_all(&self.line)?;
        self.line.clear();
        self.index = 0;
        Ok(())
    }

    fn finish(self) -> io::Result<u64> {
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        Ok(self.rows)
    }
}

fn write_nodes(tx: &mut Transaction<'_>, survey: &Survey, records: &mut Records, path: &Path) -> Outcome {
    let cannot = |error: io::Error| cannot_write(path, &error);
    records.header(&[":ID", ":LABEL"], &survey.nodes).map_err(cannot)?;
    let delimiter = survey.array_delimiter.to_string();
    for row in tx.rows(Traversal::nodes(), ())? {
        let row = row?;
        let node = row.first().and_then(Value::as_node).ok_or_else(|| unexpected("a node"))?;
        records.bare(&node.id.to_string());
        match node.labels.as_slice() {
            [] => records.bare(""),
            labels => records.text(&labels.join(&delimiter)),
        }
        records.properties(&node.properties, &survey.nodes, survey.array_delimiter)?;
        records.end().map_err(cannot)?;
        records.rows += 1;
    }
    Ok(())
}

fn write_edges(tx: &mut Transaction<'_>, survey: &Survey, records: &mut Records, path: &Path) -> Outcome {
    let cannot = |error: io::Error| cannot_write(path, &error);
    records.header(&[":START_ID", ":END_ID", ":TYPE"], &survey.edges).map_err(cannot)?;
    for row in tx.rows(Traversal::edges(), ())? {
        let row = row?;
        let edge = row.first().and_then(Value::as_edge).ok_or_else(|| unexpected("an edge"))?;
        records.bare(&edge.start.to_string());
        records.bare(&edge.end.to_string());
        records.text(&edge.edge_type);
        records.properties(&edge.properties, &survey.edges, survey.array_delimiter)?;
        records.end().map_err(cannot)?;
        records.rows += 1;
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("cannot write {}: {error}", path.display()))
}

/// `graphite export`
pub(crate) fn run(target: &Target, args: &ExportArgs, out: &mut impl Write) -> Outcome {
    let dir = &args.dir;
    let mut client = target.connect(false)?;
    fs::create_dir_all(dir).map_err(|error| cannot_write(dir, &error))?;
    for name in ["nodes.csv", "edges.csv"] {
        if !args.force && dir.join(name).exists() {
            let path = dir.join(name);
            return Err(Failure::Failed(format!("{} is there already; --force replaces it", path.display())));
        }
    }
    let started = Instant::now();
    let mut tx = client.begin_read()?;
    let survey = survey(&mut tx)?;
    let cannot = |error: io::Error| cannot_write(dir, &error);
    let mut nodes = Records::create(dir, "nodes.csv").map_err(cannot)?;
    let mut edges = Records::create(dir, "edges.csv").map_err(cannot)?;
    let written = write_nodes(&mut tx, &survey, &mut nodes, dir)
        .and_then(|()| write_edges(&mut tx, &survey, &mut edges, dir));
    if let Err(failure) = written {
        // What is left over would only puzzle whoever finds it.
        let _ = (fs::remove_file(&nodes.temporary), fs::remove_file(&edges.temporary));
        return Err(failure);
    }
    let (nodes, edges) = (nodes.finish().map_err(cannot)?, edges.finish().map_err(cannot)?);
    drop(tx);

    let time = elapsed(started.elapsed());
    writeln!(out, "{} and {} in {time}; to load them:", count(nodes, "node"), count(edges, "edge"))?;
    let file = |name| shell_word(&dir.join(name).to_string_lossy());
    write!(
        out,
        "  graphite --db NEW.graphite import --nodes {} --edges {}",
        file("nodes.csv"),
        file("edges.csv")
    )?;
    if survey.array_delimiter != ARRAY_DELIMITERS[0] {
        write!(out, " --array-delimiter '{}'", survey.array_delimiter)?;
    }
    writeln!(out)?;
    Ok(())
}

/// A word as a shell takes it.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::kind::{Field, FieldType};
    use crate::cli::tagged::tests::{any_value, same};
    use proptest::prelude::*;

    #[test]
    fn types_of_values_and_of_columns() {
        let one = ExportType::One;
        let strings = |items: &[&str]| Value::List(items.iter().map(|&item| item.into()).collect());
        assert_eq!(type_of(&1.into(), ';'), one("int"));
        assert_eq!(type_of(&strings(&["a", "b"]), ';'), ExportType::List(Some("string")));
        assert_eq!(type_of(&strings(&["a;b"]), ';'), ExportType::Any);
        assert_eq!(type_of(&strings(&["a;b"]), '|'), ExportType::List(Some("string")));
        assert_eq!(type_of(&strings(&[""]), ';'), ExportType::Any);
        assert_eq!(type_of(&strings(&["", ""]), ';'), ExportType::List(Some("string")));
        assert_eq!(type_of(&strings(&[]), ';'), ExportType::List(None));
        assert_eq!(type_of(&vec![Value::from(1), "a".into()].into(), ';'), ExportType::Any);
        assert_eq!(type_of(&vec![strings(&["a"])].into(), ';'), ExportType::Any);
        assert_eq!(type_of(&Vec::<u8>::new().into(), ';'), ExportType::Any);
        assert_eq!(one("int").merge(one("int")), one("int"));
        assert_eq!(one("int").merge(one("float")), ExportType::Any);
        let list = ExportType::List(None).merge(ExportType::List(Some("int")));
        assert_eq!((list, list.word()), (ExportType::List(Some("int")), "int[]".to_owned()));
        assert_eq!(ExportType::List(None).word(), "string[]");
    }

    #[test]
    fn words_for_a_shell() {
        assert_eq!(shell_word("a/b-c.csv"), "a/b-c.csv");
        assert_eq!(shell_word("it's here"), "'it'\\''s here'");
        assert_eq!(shell_word(""), "''");
    }

    proptest! {
        /// A value that is written in its own type, or in that of its column, is read back by the importer.
        #[test]
        fn what_is_exported_is_imported(values in proptest::collection::vec(any_value(), 1..4)) {
            let column = values.iter().map(|value| type_of(value, ';')).reduce(ExportType::merge).unwrap();
            let field_type = FieldType::parse(&column.word()).unwrap();
            for value in &values {
                let dir = tempfile::tempdir().unwrap();
                let mut records = Records::create(dir.path(), "x.csv").unwrap();
                records.value(value, column, ';').unwrap();
                records.end().unwrap();
                let line = { records.finish().unwrap(); fs::read(dir.path().join("x.csv")).unwrap() };
                let mut reader = crate::cli::csv::Reader::new(&line[..], Dialect::default());
                let mut record = crate::cli::csv::Record::default();
                prop_assert!(reader.read(&mut record).unwrap());
                prop_assert_eq!(record.len(), 1);
                let text = std::str::from_utf8(record.field(0)).unwrap();
                let read = match field_type.read(text, record.is_quoted(0), ';') {
                    Ok(Field::Int(value)) => value.into(),
                    Ok(Field::Float(value)) => value.into(),
                    Ok(Field::Text(text)) => text.into(),
                    Ok(Field::Value(value)) => value,
                    other => return Err(TestCaseError::fail(format!("{value:?} as {column:?} became {other:?}"))),
                };
                prop_assert!(same(&read, value), "{value:?} as {column:?} became {read:?}");
            }
        }
    }
}
