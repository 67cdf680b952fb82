//! Writing records.

use super::Dialect;

/// Appends a field, quoted if it holds what would end it, or could be taken for no value.
pub(crate) fn write_field(out: &mut Vec<u8>, dialect: Dialect, index: usize, field: &str) {
    let quote = dialect.quote.unwrap_or(b'"');
    let special = |b: u8| b == dialect.delimiter || b == quote || b == b'\n' || b == b'\r';
    let bare =
        !field.is_empty() && !field.bytes().any(special) && !field.starts_with([' ', '\t', '\u{feff}']);
    if bare && !field.ends_with([' ', '\t']) {
        return write_bare(out, dialect, index, field);
    }
    write_bare(out, dialect, index, "");
    out.push(quote);
    for byte in field.bytes() {
        if byte == quote {
            out.push(quote);
        }
        out.push(byte);
    }
    out.push(quote);
}

/// Appends a field as it is: a number, or nothing for no value.
pub(crate) fn write_bare(out: &mut Vec<u8>, dialect: Dialect, index: usize, field: &str) {
    if index > 0 {
        out.push(dialect.delimiter);
    }
    out.extend_from_slice(field.as_bytes());
}

/// Ends a record.
pub(crate) fn write_end(out: &mut Vec<u8>) {
    out.push(b'\n');
}
