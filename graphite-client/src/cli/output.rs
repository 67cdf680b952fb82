//! Rows on standard output, in four formats.
//!
//! | format | for |
//! |---|---|
//! | `table` | people: sized to the terminal, inert whatever the data holds |
//! | `json` | programs: one array of objects |
//! | `jsonl` | programs: an object on each line |
//! | `csv` | spreadsheets: lists and maps as JSON in a field |

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{
    Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle,
};
use graphite_client::Value;
use graphite_client::text::harmless;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::csv::{Dialect, write_bare, write_end, write_field};
use super::show;

/// How rows are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One array of objects.
    Json,
    /// An object on each line.
    Jsonl,
    /// Comma-separated values.
    Csv,
}

/// Rows with names for their columns.
#[derive(Debug, Default)]
pub(crate) struct RowSet {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
    /// Whether a row of a table may take several lines. Else what does not fit is cut off.
    pub wrap: bool,
    /// Columns whose texts are amounts, and stand at the right.
    pub amounts: &'static [usize],
    /// Columns that are not cut off, however narrow the screen.
    pub whole: &'static [usize],
}

impl RowSet {
    /// No rows yet.
    pub(crate) fn new(columns: &[&str]) -> RowSet {
        RowSet {
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
            wrap: false,
            amounts: &[],
            whole: &[],
        }
    }
}

/// A line under the header, and no others.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// What the terminal is like, or that there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// Columns; `None` if nobody knows, and then lines are as long as they are.
    pub width: Option<u16>,
    /// Whether text may be bold.
    pub styled: bool,
    /// Whether a terminal reads it.
    pub terminal: bool,
}

impl Screen {
    /// Of standard output.
    pub(crate) fn of_stdout() -> Screen {
        let terminal = io::stdout().is_terminal();
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let size = || terminal.then(|| Table::new().width()).flatten();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Screen {
            width: size().or(columns).filter(|w| *w > 0),
            styled: terminal && !no_color && !dumb,
            terminal,
        }
    }
}

/// Writes rows in a format.
///
/// # Errors
/// The system's.
pub(crate) fn write_rows(
    out: &mut impl Write,
    set: &RowSet,
    format: Format,
    screen: Screen,
) -> io::Result<()> {
    match format {
        Format::Table => {
            let table = table(set, screen);
            for line in table.lines() {
                writeln!(out, "{}", line.trim_end())?;
            }
            Ok(())
        }
        Format::Json => {
            writeln!(out, "[")?;
            for (index, row) in set.rows.iter().enumerate() {
                let comma = if index + 1 < set.rows.len() { "," } else { "" };
                writeln!(out, "{}{comma}", object(&set.columns, row))?;
            }
            writeln!(out, "]")
        }
        Format::Jsonl => set.rows.iter().try_for_each(|row| writeln!(out, "{}", object(&set.columns, row))),
        Format::Csv => write_csv(out, set, screen),
    }
}

/// Writes structs without structs in them, one row for each: their fields are the columns.
///
/// # Errors
/// The system's.
pub(crate) fn write_structs<T: Serialize>(
    out: &mut impl Write,
    items: &[T],
    format: Format,
    screen: Screen,
) -> io::Result<()> {
    let mut set = RowSet::default();
    for item in items {
        let json = serde_json::to_value(item)?;
        let fields = json.as_object().into_iter().flatten();
        let (columns, row) = fields.map(|(name, value)| (name.clone(), from_json(value))).unzip();
        set.columns = columns;
        set.rows.push(row);
    }
    write_rows(out, &set, format, screen)
}

fn from_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(value) => value.as_i64().map_or_else(|| value.as_f64().into(), Value::Int),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect()),
        Json::Object(_) => value.to_string().into(),
    }
}

fn object(columns: &[String], row: &[Value]) -> String {
    let pairs = columns.iter().zip(row).map(|(name, value)| (name.clone(), show::to_json(value)));
    show::json_text(&Json::Object(pairs.collect::<Map<_, _>>()))
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_))
}

/// The table as text.
pub(crate) fn table(set: &RowSet, screen: Screen) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_truncation_indicator("…");
    if screen.styled {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    match screen.width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table.set_header(set.columns.iter().map(|name| Cell::new(harmless(name)).add_attribute(Attribute::Bold)));
    for row in &set.rows {
        let cells: Vec<Cell> = row.iter().map(|value| Cell::new(show::cell(value))).collect();
        let mut row = comfy_table::Row::from(cells);
        if !set.wrap {
            row.max_height(1);
        }
        table.add_row(row);
    }
    for &index in set.whole {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    for index in 0..set.columns.len() {
        let of_column = || set.rows.iter().filter_map(|row| row.get(index));
        let numbers =
            of_column().all(|value| is_number(value) || *value == Value::Nil) && of_column().any(is_number);
        if let Some(column) = table.column_mut(index).filter(|_| numbers || set.amounts.contains(&index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// For a terminal all is made inert; a file gets what is there.
fn write_csv(out: &mut impl Write, set: &RowSet, screen: Screen) -> io::Result<()> {
    let dialect = Dialect::default();
    let mut line = Vec::new();
    let field = |line: &mut Vec<u8>, index, text: &str| {
        if screen.terminal {
            write_field(line, dialect, index, &harmless(text));
        } else {
            write_field(line, dialect, index, text);
        }
    };
    for (index, name) in set.columns.iter().enumerate() {
        field(&mut line, index, name);
    }
    write_end(&mut line);
    for row in &set.rows {
        for (index, value) in row.iter().enumerate() {
            match value {
                Value::Nil => write_bare(&mut line, dialect, index, ""),
                Value::String(text) => field(&mut line, index, text),
                Value::Float(value) => field(&mut line, index, &show::float(*value)),
                other => match show::to_json(other) {
                    Json::String(text) => field(&mut line, index, &text),
                    json => field(&mut line, index, &show::json_text(&json)),
                },
            }
        }
        write_end(&mut line);
        out.write_all(&line)?;
        line.clear();
    }
    out.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Screen = Screen { width: None, styled: false, terminal: false };

    fn set() -> RowSet {
        let mut set = RowSet::new(&["code", "routes", "tags"]);
        set.rows.push(vec!["A,\x1bUS".into(), 12.into(), vec![Value::from("x"), 1.into()].into()]);
        set.rows.push(vec![Value::Nil, 7.into(), "".into()]);
        set
    }

    fn written(format: Format, screen: Screen) -> String {
        let mut out = Vec::new();
        write_rows(&mut out, &set(), format, screen).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn formats_for_programs() {
        let first = "{\"code\":\"A,\\u001bUS\",\"routes\":12,\"tags\":[\"x\",1]}";
        let second = "{\"code\":null,\"routes\":7,\"tags\":\"\"}";
        assert_eq!(written(Format::Jsonl, PLAIN), format!("{first}\n{second}\n"));
        assert_eq!(written(Format::Json, PLAIN), format!("[\n{first},\n{second}\n]\n"));
        let csv = "code,routes,tags\n\"A,\x1bUS\",12,\"[\"\"x\"\",1]\"\n,7,\"\"\n";
        assert_eq!(written(Format::Csv, PLAIN), csv);
        let screen = Screen { terminal: true, ..PLAIN };
        assert!(!written(Format::Csv, screen).contains('\x1b'));
    }

    #[test]
    fn tables_fit_their_width_and_have_no_escapes() {
        let plain = written(Format::Table, PLAIN);
        assert!(!plain.contains('\x1b'), "{plain}");
        assert!(plain.contains("A,\\u{1b}US"), "{plain}");
        let mut set = set();
        set.rows.push(vec!["long ".repeat(40).into(), 1.into(), "t".into()]);
        for width in [40, 80] {
            let text = table(&set, Screen { width: Some(width), ..PLAIN });
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{text}");
            assert_eq!(text.lines().filter(|line| line.contains("long")).count(), 1, "{text}");
        }
        let styled = table(&set, Screen { width: Some(80), styled: true, terminal: true });
        assert!(styled.contains("\x1b[1m"), "{styled}");
    }
}
