//! Reading records, in memory of one record.
//!
//! 1. A line ends with LF or CRLF, the last one also without; blank lines are no records. A byte-order mark at
//!    the front is read over.
//! 2. A quote counts only at the front of a field; behind the one that closes it comes a delimiter or the line's
//!    end. What breaks this is reported with its line, and reading goes on at the next line.
//! 3. A record longer than [`RECORD_BYTES_MAX`] ends the reading: most likely a quote is not closed, and then
//!    nothing that follows can be told apart.

use std::io::{self, BufRead, Chain, Cursor, Read};

use super::Dialect;

/// Longer ones do not fit into a request.
pub(crate) const RECORD_BYTES_MAX: usize = graphite_client::FRAME_BYTES_MAX;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Fields of one record; its memory is used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Record {
    data: Vec<u8>,
    /// Where each field ends, and whether it was quoted.
    fields: Vec<(usize, bool)>,
    line: u64,
}

impl Record {
    /// How many fields it has.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// A field's bytes; empty past the end.
    pub(crate) fn field(&self, index: usize) -> &[u8] {
        let Some(&(end, _)) = self.fields.get(index) else {
            return &[];
        };
        let start =
            index.checked_sub(1).and_then(|before| self.fields.get(before)).map_or(0, |(end, _)| *end);
        self.data.get(start..end).unwrap_or_default()
    }

    /// Whether a field was quoted.
    pub(crate) fn is_quoted(&self, index: usize) -> bool {
        self.fields.get(index).is_some_and(|(_, quoted)| *quoted)
    }

    /// The line on which it begins, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    fn clear(&mut self, line: u64) {
        self.data.clear();
        self.fields.clear();
        self.line = line;
    }

    fn end_field(&mut self, quoted: bool) {
        self.fields.push((self.data.len(), quoted));
    }

    fn is_blank(&self) -> bool {
        self.fields == [(0, false)]
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CsvError {
    /// The system's.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A record that breaks the rules; the next one can be read.
    #[error("line {line}: {why}")]
    Bad {
        /// Where it begins.
        line: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A record without an end; nothing more can be read.
    #[error("line {line}: the record is longer than {RECORD_BYTES_MAX} bytes; is a quote not closed?")]
    TooLong {
        /// Where it begins.
        line: u64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the front of a field.
    Front,
    /// In a bare field.
    Bare,
    /// Within quotes.
    Quoted,
    /// Behind a quote within quotes: it closes the field, or the next one makes it stand for itself.
    Closed,
    /// Behind the carriage return behind a quoted field.
    ClosedReturn,
    /// In a line that broke the rules.
    Bad,
}

/// Reads records from a source.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    /// Behind the first bytes, which are read to be looked at.
    source: Chain<Cursor<Vec<u8>>, R>,
    dialect: Dialect,
    /// The line that is read next.
    line: u64,
    bytes: u64,
    at_front: bool,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(source: R, dialect: Dialect) -> Reader<R> {
        let source = Cursor::new(Vec::new()).chain(source);
        Reader { source, dialect, line: 1, bytes: 0, at_front: true }
    }

    /// Bytes that were read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the next record; false at the end.
    pub(crate) fn read(&mut self, record: &mut Record) -> Result<bool, CsvError> {
        if std::mem::take(&mut self.at_front) {
            self.read_over_byte_order_mark()?;
        }
        loop {
            record.clear(self.line);
            if !self.read_line(record)? {
                return Ok(false);
            }
            if !record.is_blank() {
                return Ok(true);
            }
        }
    }

    /// A pipe may give its bytes one at a time.
    fn read_over_byte_order_mark(&mut self) -> io::Result<()> {
        let (front, source) = self.source.get_mut();
        let front = front.get_mut();
        source.by_ref().take(BYTE_ORDER_MARK.len() as u64).read_to_end(front)?;
        if front == BYTE_ORDER_MARK {
            front.clear();
            self.bytes += BYTE_ORDER_MARK.len() as u64;
        }
        Ok(())
    }

    fn consume(&mut self, bytes: usize) {
        self.source.consume(bytes);
        self.bytes += bytes as u64;
    }

    fn read_line(&mut self, record: &mut Record) -> Result<bool, CsvError> {
        let mut state = State::Front;
        let mut begun = false;
        loop {
            let buffer = match self.source.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if buffer.is_empty() {
                return if begun { end_of_file(record, state).map(|()| true) } else { Ok(false) };
            }
            begun = true;
            let mut at = 0;
            let mut ended = false;
            while !ended && at < buffer.len() {
                (at, ended) = step(self.dialect, &mut state, record, buffer, at, &mut self.line);
            }
            self.consume(at);
            if record.data.len() > RECORD_BYTES_MAX {
                return Err(CsvError::TooLong { line: record.line });
            }
            if ended && state == State::Bad {
                return Err(bad(record));
            }
            if ended {
                return Ok(true);
            }
        }
    }
}

fn bad(record: &Record) -> CsvError {
    CsvError::Bad { line: record.line, why: "there is text behind a closing quote" }
}

/// Takes as many bytes from `at` on as the state allows for; returns where it stopped, and whether the line ended.
fn step(
    dialect: Dialect,
    state: &mut State,
    record: &mut Record,
    buffer: &[u8],
    at: usize,
    line: &mut u64,
) -> (usize, bool) {
    let rest = &buffer[at..];
    let byte = rest[0];
    match *state {
        State::Front if Some(byte) == dialect.quote => {
            *state = State::Quoted;
            (at + 1, false)
        }
        State::Front | State::Bare => {
            *state = State::Bare;
            let len = rest.iter().position(|b| *b == dialect.delimiter || *b == b'\n');
            record.data.extend_from_slice(&rest[..len.unwrap_or(rest.len())]);
            let Some(len) = len else {
                return (buffer.len(), false);
            };
            if rest[len] == dialect.delimiter {
                record.end_field(false);
                *state = State::Front;
                return (at + len + 1, false);
            }
            end_bare_line(record);
            *line += 1;
            (at + len + 1, true)
        }
        State::Quoted => {
            let len = rest.iter().position(|b| Some(*b) == dialect.quote).unwrap_or(rest.len());
            record.data.extend_from_slice(&rest[..len]);
            *line += rest[..len].iter().filter(|b| **b == b'\n').count() as u64;
            if len < rest.len() {
                *state = State::Closed;
            }
            ((at + len + 1).min(buffer.len()), false)
        }
        State::Closed if Some(byte) == dialect.quote => {
            record.data.push(byte);
            *state = State::Quoted;
            (at + 1, false)
        }
        State::Closed if byte == dialect.delimiter => {
            record.end_field(true);
            *state = State::Front;
            (at + 1, false)
        }
        State::Closed if byte == b'\r' => {
            *state = State::ClosedReturn;
            (at + 1, false)
        }
        State::Closed | State::ClosedReturn if byte == b'\n' => {
            record.end_field(true);
            *line += 1;
            (at + 1, true)
        }
        State::Closed | State::ClosedReturn | State::Bad => {
            *state = State::Bad;
            let len = rest.iter().position(|b| *b == b'\n');
            *line += u64::from(len.is_some());
            (at + len.map_or(rest.len(), |len| len + 1), len.is_some())
        }
    }
}

/// Ends a line's last field, without the CR of a CRLF.
fn end_bare_line(record: &mut Record) {
    let start = record.fields.last().map_or(0, |(end, _)| *end);
    if record.data.len() > start && record.data.last() == Some(&b'\r') {
        record.data.pop();
    }
    record.end_field(false);
}

fn end_of_file(record: &mut Record, state: State) -> Result<(), CsvError> {
    match state {
        State::Front => record.end_field(false),
        State::Bare => end_bare_line(record),
        State::Closed | State::ClosedReturn => record.end_field(true),
        State::Quoted => return Err(CsvError::Bad { line: record.line, why: "a quote is not closed" }),
        State::Bad => return Err(bad(record)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::csv::{write_end, write_field};
    use proptest::prelude::*;
    use std::io::BufReader;

    /// Reads all; a bad record is its line and reason. Quoted fields are shown in brackets.
    fn read_all(text: &[u8], dialect: Dialect, buffer: usize) -> Vec<(u64, Vec<String>)> {
        let mut reader = Reader::new(BufReader::with_capacity(buffer, text), dialect);
        let mut record = Record::default();
        let mut records = Vec::new();
        loop {
            match reader.read(&mut record) {
                Ok(false) => break,
                Ok(true) => {
                    let field = |index| {
                        let text = String::from_utf8_lossy(record.field(index)).into_owned();
                        if record.is_quoted(index) { format!("[{text}]") } else { text }
                    };
                    records.push((record.line(), (0..record.len()).map(field).collect()));
                }
                Err(CsvError::Bad { line, why }) => records.push((line, vec![format!("BAD {why}")])),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(reader.bytes(), text.len() as u64);
        records
    }

    fn check(text: &str, expected: &[(u64, &[&str])]) {
        let expected: Vec<(u64, Vec<String>)> = expected
            .iter()
            .map(|(line, fields)| (*line, fields.iter().map(|field| (*field).to_owned()).collect()))
            .collect();
        // With a buffer of a few bytes every state meets the end of a buffer.
        for buffer in [1, 2, 3, 4, 5, 7, 1 << 16] {
            assert_eq!(
                read_all(text.as_bytes(), Dialect::default(), buffer),
                expected,
                "{text:?} by {buffer}"
            );
        }
    }

    #[test]
    fn odd_files() {
        check("", &[]);
        check("\n\r\n\n", &[]);
        check("a,b\nc,d\n", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,b\nc,d", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,b\r\nc,d\r\n", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,b\r\nc,d\r", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,,\n,,\n", &[(1, &["a", "", ""]), (2, &["", "", ""])]);
        check("a,", &[(1, &["a", ""])]);
        check("\"\",x\n", &[(1, &["[]", "x"])]);
        check("\"\"\n\"\"", &[(1, &["[]"]), (2, &["[]"])]);
        check("\"a\"\"b\",\"c,d\"\n", &[(1, &["[a\"b]", "[c,d]"])]);
        check("\"a\nb\r\nc\",d\ne,f\n", &[(1, &["[a\nb\r\nc]", "d"]), (4, &["e", "f"])]);
        check("\"a\"\r\n\"b\"\r", &[(1, &["[a]"]), (2, &["[b]"])]);
        check("a\"b,c\"\n", &[(1, &["a\"b", "c\""])]);
        check("a\rb\n", &[(1, &["a\rb"])]);
        check(" a , b \n", &[(1, &[" a ", " b "])]);
        check("a\n\n\nb\n", &[(1, &["a"]), (4, &["b"])]);
        check("\u{feff}id,é\n東,🛫\n", &[(1, &["id", "é"]), (2, &["東", "🛫"])]);
        check("\u{feff}\"id\"\n", &[(1, &["[id]"])]);
        check("\u{feff}", &[]);
        check("\u{fefe}a,b\n", &[(1, &["\u{fefe}a", "b"])]);
    }

    #[test]
    fn what_breaks_the_rules_is_told_with_its_line_and_the_next_line_is_read() {
        const BEHIND: &str = "BAD there is text behind a closing quote";
        check("\"a\"b,c\nd\n", &[(1, &[BEHIND]), (2, &["d"])]);
        check("x\n\"a\nb\" c\nd\n", &[(1, &["x"]), (2, &[BEHIND]), (4, &["d"])]);
        check("\"a\"\rb\nc", &[(1, &[BEHIND]), (2, &["c"])]);
        check("\"a\"b", &[(1, &[BEHIND])]);
        check("a\n\"b\nc\n", &[(1, &["a"]), (2, &["BAD a quote is not closed"])]);
    }

    #[test]
    fn other_dialects() {
        let tabs = Dialect { delimiter: b'\t', quote: Some(b'\'') };
        assert_eq!(
            read_all(b"a\t'b\tc'\t\"d\"\n", tabs, 64),
            [(1, vec!["a".into(), "[b\tc]".into(), "\"d\"".into()])]
        );
        let bare = Dialect { delimiter: b'|', quote: None };
        assert_eq!(read_all(b"\"a|b\"\n", bare, 64), [(1, vec!["\"a".into(), "b\"".into()])]);
    }

    #[test]
    fn a_field_of_a_megabyte_is_read_and_an_endless_one_is_not() {
        let long = "x".repeat(1 << 20);
        let text = format!("a,\"{long}\",b\n{long}\n");
        let records = read_all(text.as_bytes(), Dialect::default(), 1 << 16);
        assert_eq!(records, [(1, vec!["a".into(), format!("[{long}]"), "b".into()]), (2, vec![long])]);

        let endless = io::Read::chain(&b"a\n\""[..], io::repeat(b'x'));
        let mut reader = Reader::new(BufReader::new(endless), Dialect::default());
        let mut record = Record::default();
        assert!(reader.read(&mut record).unwrap());
        assert!(matches!(reader.read(&mut record), Err(CsvError::TooLong { line: 2 })));
    }

    proptest! {
        /// Whatever is written is read as it was, quotes included.
        #[test]
        fn what_is_written_is_read(
            records in proptest::collection::vec(
                proptest::collection::vec("[a\",\n\r é;]{0,6}", 2..5), 0..6,
            ),
            buffer in 1usize..20,
        ) {
            let dialect = Dialect::default();
            let mut text = Vec::new();
            for record in &records {
                for (index, field) in record.iter().enumerate() {
                    write_field(&mut text, dialect, index, field);
                }
                write_end(&mut text);
            }
            let read: Vec<Vec<String>> = read_all(&text, dialect, buffer)
                .into_iter()
                .map(|(_, fields)| {
                    fields.into_iter().map(|f| f.strip_prefix('[').and_then(|f| f.strip_suffix(']')).map(str::to_owned).unwrap_or(f)).collect()
                })
                .collect();
            prop_assert_eq!(read, records);
        }
    }
}
