//! Types of columns, and values from their fields.

use graphite_client::Value;
use graphite_client::text::{parse_date, parse_date_time};

use crate::cli::tagged;

/// The longest piece of a field that an error repeats.
const QUOTED_CHARS_MAX: usize = 40;

/// What a field is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// JSON with tags.
    Any,
    /// `true` or `false`.
    Bool,
    /// An integer of 64 signed bits.
    Int,
    /// A float of 64 bits.
    Float,
    /// Text as it is.
    String,
    /// Hexadecimal digits.
    Bytes,
    /// One of the temporal types, by the name of its tag.
    Temporal(&'static str),
    /// A date, or a date and time: what Neptune calls a date.
    DateOrDateTime,
}

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldType {
    /// Of the value, or of each element.
    pub kind: Kind,
    /// Whether a field holds several, with the array delimiter between them.
    pub list: bool,
}

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field<'a> {
    /// There is none.
    Absent,
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Text(&'a str),
    /// Anything else.
    Value(Value),
}

/// Words of the types, in the order in which an error lists them.
const WORDS: [(&str, Kind); 18] = [
    ("string", Kind::String),
    ("int", Kind::Int),
    ("long", Kind::Int),
    ("short", Kind::Int),
    ("byte", Kind::Int),
    ("float", Kind::Float),
    ("double", Kind::Float),
    ("boolean", Kind::Bool),
    ("bool", Kind::Bool),
    ("char", Kind::String),
    ("date", Kind::Temporal("date")),
    ("localtime", Kind::Temporal("localtime")),
    ("time", Kind::Temporal("time")),
    ("localdatetime", Kind::Temporal("localdatetime")),
    ("datetime", Kind::Temporal("datetime")),
    ("duration", Kind::Temporal("duration")),
    ("bytes", Kind::Bytes),
    ("any", Kind::Any),
];

impl FieldType {
    /// Text as it is: what a column without a type has.
    pub(crate) const STRING: FieldType = FieldType { kind: Kind::String, list: false };

    /// One value of a kind.
    pub(crate) const fn one(kind: Kind) -> FieldType {
        FieldType { kind, list: false }
    }

    /// Reads a type's word: `int`, `string[]`. Case does not count.
    pub(crate) fn parse(word: &str) -> Option<FieldType> {
        let word = word.trim();
        let (word, list) = word.strip_suffix("[]").map_or((word, false), |word| (word, true));
        let found = WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        found.map(|(_, kind)| FieldType { kind: *kind, list })
    }

    /// All words, for an error.
    pub(crate) fn words() -> String {
        let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
        format!("{}, each also with [] behind it", words.join(", "))
    }

    /// The type's word.
    pub(crate) fn word(self) -> String {
        let word = WORDS.iter().find(|(_, kind)| *kind == self.kind).map_or("date", |(word, _)| word);
        if self.list { format!("{word}[]") } else { word.to_owned() }
    }

    /// Reads a field. Nothing between two delimiters is no value; an empty text in quotes is an empty string or
    /// list, and for other types no value either.
    ///
    /// # Errors
    /// Why it is no such value.
    pub(crate) fn read<'a>(
        self,
        text: &'a str,
        quoted: bool,
        array_delimiter: char,
    ) -> Result<Field<'a>, String> {
        if text.is_empty() && !(quoted && (self.list || self.kind == Kind::String)) {
            return Ok(Field::Absent);
        }
        if !self.list {
            return self.kind.read(text);
        }
        if text.is_empty() {
            return Ok(Field::Value(Value::List(Vec::new())));
        }
        let items: Result<Vec<Value>, String> = text
            .split(array_delimiter)
            .map(|item| match self.kind.read(item)? {
                Field::Absent => Ok(Value::Nil),
                Field::Int(value) => Ok(value.into()),
                Field::Float(value) => Ok(value.into()),
                Field::Text(text) => Ok(text.into()),
                Field::Value(value) => Ok(value),
            })
            .collect();
        Ok(Field::Value(Value::List(items?)))
    }
}

impl Kind {
    fn read(self, text: &str) -> Result<Field<'_>, String> {
        let trimmed = text.trim();
        let (read, what) = match self {
            Kind::String => return Ok(Field::Text(text)),
            Kind::Int => (trimmed.parse().ok().map(Field::Int), "an integer of 64 bits"),
            Kind::Float => (trimmed.parse().ok().map(Field::Float), "a number"),
            Kind::Bool => {
                let is = |word: &str| trimmed.eq_ignore_ascii_case(word);
                let read = if is("true") {
                    Some(true)
                } else if is("false") {
                    Some(false)
                } else {
                    None
                };
                (read.map(|value| Field::Value(value.into())), "true or false")
            }
            Kind::Bytes => (tagged::parse_hex(trimmed).map(|b| Field::Value(b.into())), "hexadecimal digits"),
            Kind::Any => {
                (tagged::parse_tagged(text).map(Field::Value), "JSON of a value that a property holds")
            }
            Kind::DateOrDateTime => {
                let date = parse_date(trimmed).map(Value::from);
                let read = date.or_else(|| parse_date_time(trimmed).map(Value::from));
                (read.map(Field::Value), "a date, or a date and time")
            }
            Kind::Temporal(name) => {
                let what = match name {
                    "date" => "a date as 2024-02-29",
                    "localtime" => "a time as 12:30:00",
                    "time" => "a time as 12:30:00+01:00",
                    "localdatetime" => "a time as 2024-02-29T12:30:00",
                    "datetime" => "a time as 2024-02-29T12:30:00+01:00",
                    _ => "a duration as P1Y2M3DT4H5M6S",
                };
                (tagged::parse_temporal(name, trimmed).map(Field::Value), what)
            }
        };
        read.ok_or_else(|| format!("{} is not {what}", short(text)))
    }
}

/// A field's text for an error: quoted, and not all of it.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(word: &str, text: &str) -> Result<Value, String> {
        FieldType::parse(word).unwrap().read(text, false, ';').map(|field| match field {
            Field::Absent => Value::Nil,
            Field::Int(value) => value.into(),
            Field::Float(value) => value.into(),
            Field::Text(text) => text.into(),
            Field::Value(value) => value,
        })
    }

    #[test]
    fn fields_of_each_type() {
        for (word, text, value) in [
            ("int", " 42 ", Value::Int(42)),
            ("LONG", "-9223372036854775808", Value::Int(i64::MIN)),
            ("byte", "+7", Value::Int(7)),
            ("double", "1e-3", Value::Float(0.001)),
            ("float", "5", Value::Float(5.0)),
            ("boolean", "TRUE", Value::Bool(true)),
            ("Bool", "false", Value::Bool(false)),
            ("string", " a ", Value::from(" a ")),
            ("char", "x", Value::from("x")),
            ("date", "1970-01-02", graphite_client::Date { days: 1 }.into()),
            ("bytes", "00FF", vec![0u8, 255].into()),
            ("any", "[1, null]", vec![Value::Int(1), Value::Nil].into()),
            ("int[]", "1;2", vec![Value::Int(1), Value::Int(2)].into()),
            ("string[]", "a;;b", vec![Value::from("a"), "".into(), "b".into()].into()),
            ("int", "", Value::Nil),
        ] {
            assert_eq!(read(word, text), Ok(value), "{word} {text}");
        }
    }

    #[test]
    fn fields_of_the_wrong_type_are_quoted() {
        for (word, text) in [
            ("int", "1.5"),
            ("int", "9223372036854775808"),
            ("float", "x"),
            ("bool", "yes"),
            ("date", "29.2.2024"),
            ("datetime", "soon"),
            ("bytes", "0x00"),
            ("any", "{"),
            ("int[]", "1;;2x"),
            ("duration", "1 day"),
        ] {
            let error = read(word, text).unwrap_err();
            assert!(error.contains("is not"), "{error}");
        }
        let error = read("int", &"9".repeat(1000)).unwrap_err();
        assert!(error.len() < 100, "{error}");
    }

    #[test]
    fn empty_in_quotes_is_empty_and_bare_is_absent() {
        let quoted = |word: &str| FieldType::parse(word).unwrap().read("", true, ';');
        assert_eq!(quoted("string"), Ok(Field::Text("")));
        assert_eq!(quoted("string[]"), Ok(Field::Value(Value::List(vec![]))));
        assert_eq!(quoted("int"), Ok(Field::Absent));
        assert_eq!(FieldType::STRING.read("", false, ';'), Ok(Field::Absent));
    }

    #[test]
    fn words_and_types() {
        assert_eq!(FieldType::parse("point"), None);
        assert_eq!(FieldType::parse(""), None);
        for word in ["string", "int", "float", "boolean", "date", "any", "bytes", "duration", "string[]"] {
            assert_eq!(FieldType::parse(word).unwrap().word(), word);
        }
    }
}
