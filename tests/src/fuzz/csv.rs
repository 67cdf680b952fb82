//! Files that are imported.

use graphite_client::cli::{CsvOptions, CsvRead, copy_csv, read_csv};
use graphite_client::{Column, ColumnData};

use super::input::Input;

/// Four choices, then a file of nodes, a zero byte, and a file of edges. Rows and complaints are the same however many bytes
/// are read at a time, and however many rows a batch has; every batch is whole; what an export writes is read as the same.
pub fn csv_import(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let options = CsvOptions {
        delimiter: b",;\t|"[usize::from(input.byte() % 4)],
        quote: [Some(b'"'), Some(b'\''), None][usize::from(input.byte() % 3)],
        array_delimiter: [';', '|', 'é'][usize::from(input.byte() % 3)],
        infer: input.rest().first().is_some_and(|byte| byte & 1 == 1),
        batch_rows: usize::from(input.byte() >> 1) + 1,
        read_bytes: 64 << 10,
    };
    let mut files = input.rest().splitn(2, |byte| *byte == 0);
    let (nodes, edges) = (files.next().unwrap_or_default(), files.next().unwrap_or_default());

    let read = read_csv(nodes, edges, &options);
    check(&read);
    let in_pieces = read_csv(nodes, edges, &CsvOptions { read_bytes: 7, ..options });
    assert_eq!(format!("{in_pieces:?}"), format!("{read:?}"), "seven bytes at a time");
    let at_once = read_csv(nodes, edges, &CsvOptions { batch_rows: 1 << 16, ..options });
    check(&at_once);
    assert_eq!((&at_once.bad, &at_once.failed, rows(&at_once)), (&read.bad, &read.failed, rows(&read)));

    if let Some(quote) = options.quote
        && let Some(copy) = copy_csv(nodes, options.delimiter, Some(quote), 64 << 10)
    {
        assert_eq!(copy_csv(nodes, options.delimiter, Some(quote), 3).as_ref(), Some(&copy));
        let again = copy_csv(&copy, options.delimiter, Some(quote), 64 << 10);
        assert_eq!(again, Some(copy), "what was written is read as it was");
    }
}

/// Rows of nodes and edges.
fn rows(read: &CsvRead) -> (usize, usize) {
    let nodes = read.nodes.iter().map(|batch| batch.labels.0.len()).sum();
    (nodes, read.edges.iter().map(|batch| batch.starts.0.len()).sum())
}

fn check(read: &CsvRead) {
    let nodes = rows(read).0 as u64;
    for batch in &read.nodes {
        let rows = batch.labels.0.len();
        assert!(rows > 0 && batch.labels.0.iter().all(|place| (*place as usize) < batch.label_sets.len()));
        check_columns(&batch.columns, rows);
    }
    for batch in &read.edges {
        let rows = batch.starts.0.len();
        assert!(rows > 0 && batch.ends.0.len() == rows && batch.edge_types.0.len() == rows);
        assert!(batch.edge_types.0.iter().all(|place| (*place as usize) < batch.types.len()));
        assert!(batch.starts.0.iter().chain(&batch.ends.0).all(|node| *node < nodes), "an end is a node");
        check_columns(&batch.columns, rows);
    }
}

fn check_columns(columns: &[Column], rows: usize) {
    for column in columns {
        assert_eq!(column.data.len(), rows, "{:?}", column.key);
        let present = match &column.data {
            ColumnData::Ints { present, .. }
            | ColumnData::Floats { present, .. }
            | ColumnData::Strings { present, .. } => present.as_ref(),
            ColumnData::Values(_) => None,
        };
        assert!(present.is_none_or(|present| present.len() == rows));
    }
}
