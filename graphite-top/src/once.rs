//! One picture for programs: `--once --format json|csv`. The forms are those of `docs/monitor.md`.

use std::io::{self, Write};

use graphite_client::messages::Picture;
use graphite_client::text::harmless;
use serde::Serialize;

use crate::filter::Filter;
use crate::scene::Scene;
use crate::table::{self, Sort};
use crate::views::View;

/// Version of the JSON form.
const SCHEMA: u32 = 1;

/// A form for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The whole picture
    Json,
    /// The rows of one view
    Csv,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    #[serde(flatten)]
    picture: &'a Picture,
}

/// The whole picture in a line.
///
/// # Errors
/// Of the output.
pub fn json(out: &mut impl Write, picture: &Picture) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Document { schema: SCHEMA, picture })?;
    writeln!(out)
}

/// The rows of a view, with all of its columns whatever the width.
///
/// # Errors
/// Of the output.
pub fn csv(
    out: &mut impl Write,
    scene: &Scene,
    view: View,
    filter: Option<&Filter>,
    sort: Option<Sort>,
) -> io::Result<()> {
    let columns = view.columns();
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    writeln!(out, "{}", names.join(","))?;
    for row in table::rows(columns, scene, view.count(scene), filter, sort) {
        let cells: Vec<String> =
            columns.iter().map(|column| quoted(&(column.value)(scene, row).plain())).collect();
        writeln!(out, "{}", cells.join(","))?;
    }
    Ok(())
}

/// Writes what is for programs. Where a person looks at it, text from strangers does nothing to the terminal.
///
/// # Errors
/// Of the output.
pub fn put(out: &mut impl Write, text: &[u8], is_terminal: bool) -> io::Result<()> {
    if !is_terminal {
        return out.write_all(text);
    }
    String::from_utf8_lossy(text).lines().try_for_each(|line| writeln!(out, "{}", harmless(line)))
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_all_bytes_and_terminals_nothing_that_acts() {
        let strange = "sid,client\n17,\u{1b}]52;\u{9b}x\u{202e}\n";
        let put = |is_terminal| {
            let mut out = Vec::new();
            put(&mut out, strange.as_bytes(), is_terminal).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(put(false), strange);
        let shown = put(true);
        assert_eq!(shown.lines().count(), 2);
        assert!(!shown.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{shown}");
    }
}
