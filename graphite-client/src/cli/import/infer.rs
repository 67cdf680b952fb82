//! `--infer`: types for columns that have none, by reading the whole file first.

use std::io::BufRead;

use super::header::{ColumnSpec, Role};
use super::kind::{Field, FieldType, Kind};
use crate::cli::csv::{CsvError, Reader, Record};

/// What a column may be, in the order of preference; text is what is always left.
const CANDIDATES: [Kind; 6] = [
    Kind::Int,
    Kind::Float,
    Kind::Bool,
    Kind::Temporal("date"),
    Kind::Temporal("localdatetime"),
    Kind::Temporal("datetime"),
];

/// Whether a text is read as `kind` and nothing of it is lost. A number with zeros in front, or a plus, is more
/// likely a code, such as a postal one.
fn fits(kind: Kind, text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let code =
        digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.") || text.starts_with('+');
    let word = digits.starts_with(|c: char| c.is_ascii_alphabetic());
    match kind {
        Kind::Int if code => false,
        // `nan` and `infinity` are words first.
        Kind::Float if code || word => false,
        kind => FieldType::one(kind).read(text, false, ';').is_ok_and(|field| field != Field::Absent),
    }
}

/// Reads all records, and gives each untyped property the first type that all of its fields fit. Bad records
/// are left to the import itself.
///
/// # Errors
/// The system's, and that of a record without an end.
pub(crate) fn infer<R: BufRead>(
    columns: &mut [ColumnSpec],
    reader: &mut Reader<R>,
) -> Result<Vec<usize>, CsvError> {
    let untyped = |column: &ColumnSpec| column.property.is_some() && !column.typed;
    let open: Vec<usize> =
        (0..columns.len()).filter(|index| columns.get(*index).is_some_and(untyped)).collect();
    let mut left: Vec<(Vec<Kind>, bool)> = vec![(CANDIDATES.to_vec(), false); open.len()];
    let mut record = Record::default();
    loop {
        match reader.read(&mut record) {
            Ok(true) if record.len() == columns.len() => {}
            Ok(true) | Err(CsvError::Bad { .. }) => continue,
            Ok(false) => break,
            Err(error) => return Err(error),
        }
        for (index, (kinds, seen)) in open.iter().zip(&mut left) {
            let Ok(text) = std::str::from_utf8(record.field(*index)) else { continue };
            if text.is_empty() && !record.is_quoted(*index) {
                continue;
            }
            *seen = true;
            if !kinds.is_empty() {
                kinds.retain(|kind| fits(*kind, text));
            }
        }
    }
    for (index, (kinds, seen)) in open.iter().zip(left) {
        let kind = kinds.first().copied().filter(|_| seen).unwrap_or(Kind::String);
        if let Some(column) = columns.get_mut(*index) {
            column.field_type = FieldType::one(kind);
        }
    }
    Ok(open)
}

/// What was decided, for people: "age is int, name is string".
pub(crate) fn decided(columns: &[ColumnSpec], open: &[usize]) -> String {
    let say = |index: &usize| {
        let column = columns.get(*index)?;
        let id = if matches!(column.role, Role::Id { .. }) { " (the id)" } else { "" };
        Some(format!("{}{id} is {}", column.property.as_deref()?, column.field_type.word()))
    };
    open.iter().filter_map(say).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::csv::Dialect;
    use crate::cli::import::header::{ColumnFlags, FileKind, parse_header};

    #[test]
    fn types_fit_all_fields() {
        let text = "id:ID,i,f,b,d,t,zip,word,none,mixed,given:string\n\
                    1,5,5,true,2024-01-01,2024-01-01T00:00:00Z,01234,nan,,1,1\n\
                    2,-7,1.5,False,1970-12-31,1970-12-31T12:00:00+01:00,99999,inf,,x,2\n\
                    3,,,,,,,,,\"\",3\n\
                    too,few\n";
        let mut reader = Reader::new(text.as_bytes(), Dialect::default());
        let mut record = Record::default();
        assert!(reader.read(&mut record).unwrap());
        let titles: Vec<String> = text.lines().next().unwrap().split(',').map(str::to_owned).collect();
        let mut columns = parse_header(&titles, FileKind::Nodes, &ColumnFlags::default(), false).unwrap();
        let open = infer(&mut columns, &mut reader).unwrap();
        assert_eq!(
            decided(&columns, &open),
            "id (the id) is int, i is int, f is float, b is boolean, d is date, t is datetime, zip is string, \
             word is string, none is string, mixed is string"
        );
    }
}
