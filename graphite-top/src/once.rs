//! One picture for programs: `--once --format json|csv`. The forms are those of `docs/monitor.md`.

use std::io::{self, Write};

use graphite_client::messages::Picture;
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

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
