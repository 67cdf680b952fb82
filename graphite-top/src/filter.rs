//! What `/` takes: `user=bob and wait>1s`, `state=waiting or not client~etl`, `(sid=7)`, or just a word.
//!
//! A comparison names a column, an operator (`=`, `!=`, `<`, `<=`, `>`, `>=`, `~` contains, `!~`) and a value; a word
//! alone is looked for in all columns. `and` binds more than `or`. Texts are compared without regard to case. Spans take
//! `ms`, `s`, `m`, `h`, `d`, and seconds without a unit; numbers take `k` and `M`. The value `-` is "none".

use crate::cell::Cell;
use crate::scene::Scene;
use crate::table::Column;

/// Characters of a filter.
pub const FILTER_CHARS_MAX: usize = 200;
/// How deep parentheses and `not` may nest.
const DEPTH_MAX: u32 = 16;

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It ends too early.
    #[error("something is missing at the end")]
    Ends,
    /// A word that does not belong there.
    #[error("`{0}` was not expected")]
    Unexpected(String),
    /// A column that this view does not have.
    #[error("no column `{name}` here; there are {known}")]
    UnknownColumn {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A value that does not fit the column.
    #[error("`{0}` is neither a number nor a span as 1s, 200ms, 5m")]
    NotANumber(String),
    /// Too long or too deep.
    #[error("the filter is too long")]
    TooLong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Contains,
    ContainsNot,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression {
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Word(String),
    Compare { column: String, operator: Operator, value: String },
}

/// A filter that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    text: String,
    expression: Expression,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Operator(Operator),
    Open,
    Close,
}

fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let two = ["!=", "<=", ">=", "!~"].iter().position(|two| rest.starts_with(two));
        let (token, len) = match (two, first) {
            (Some(0), _) => (Token::Operator(Operator::NotEqual), 2),
            (Some(1), _) => (Token::Operator(Operator::LessEqual), 2),
            (Some(2), _) => (Token::Operator(Operator::GreaterEqual), 2),
            (Some(_), _) => (Token::Operator(Operator::ContainsNot), 2),
            (None, '=') => (Token::Operator(Operator::Equal), 1),
            (None, '<') => (Token::Operator(Operator::Less), 1),
            (None, '>') => (Token::Operator(Operator::Greater), 1),
            (None, '~') => (Token::Operator(Operator::Contains), 1),
            (None, '(') => (Token::Open, 1),
            (None, ')') => (Token::Close, 1),
            (None, '"') => {
                let end = rest[1..].find('"').ok_or(FilterError::Ends)?;
                (Token::Quoted(rest[1..=end].to_owned()), end + 2)
            }
            (None, _) => {
                let ends = |c: char| c.is_whitespace() || "=<>~()\"!".contains(c);
                let len = rest.find(ends).unwrap_or(rest.len()).max(first.len_utf8());
                (Token::Word(rest[..len].to_owned()), len)
            }
        };
        tokens.push(token);
        rest = rest[len..].trim_start();
    }
    Ok(tokens)
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    depth: u32,
}

impl Parser {
    fn takes(&mut self, word: &str) -> bool {
        let is_it = |token: &Token| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word));
        self.tokens.next_if(is_it).is_some()
    }

    fn or(&mut self) -> Result<Expression, FilterError> {
        let mut left = self.and()?;
        while self.takes("or") {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, FilterError> {
        let mut left = self.one()?;
        while self.takes("and") {
            left = Expression::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Expression, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(FilterError::TooLong);
        }
        let found = self.one_within();
        self.depth -= 1;
        found
    }

    fn one_within(&mut self) -> Result<Expression, FilterError> {
        if self.takes("not") {
            return Ok(Expression::Not(Box::new(self.one()?)));
        }
        match self.tokens.next().ok_or(FilterError::Ends)? {
            Token::Open => {
                let inner = self.or()?;
                match self.tokens.next() {
                    Some(Token::Close) => Ok(inner),
                    Some(other) => Err(unexpected(&other)),
                    None => Err(FilterError::Ends),
                }
            }
            Token::Quoted(word) => Ok(Expression::Word(word.to_lowercase())),
            Token::Word(word) => {
                let operator = self.tokens.next_if(|token| matches!(token, Token::Operator(_)));
                let Some(Token::Operator(operator)) = operator else {
                    return Ok(Expression::Word(word.to_lowercase()));
                };
                let value = match self.tokens.next().ok_or(FilterError::Ends)? {
                    Token::Word(value) | Token::Quoted(value) => value.to_lowercase(),
                    other => return Err(unexpected(&other)),
                };
                Ok(Expression::Compare { column: word.to_lowercase(), operator, value })
            }
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(token: &Token) -> FilterError {
    let text = match token {
        Token::Word(word) | Token::Quoted(word) => word.clone(),
        Token::Open => "(".to_owned(),
        Token::Close => ")".to_owned(),
        Token::Operator(operator) => format!("{operator:?}").to_lowercase(),
    };
    FilterError::Unexpected(text)
}

impl Filter {
    /// Understands a text; `None` for one without a word.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Option<Filter>, FilterError> {
        if text.chars().count() > FILTER_CHARS_MAX {
            return Err(FilterError::TooLong);
        }
        let tokens = tokens(text)?;
        if tokens.is_empty() {
            return Ok(None);
        }
        let mut parser = Parser { tokens: tokens.into_iter().peekable(), depth: 0 };
        let expression = parser.or()?;
        match parser.tokens.next() {
            None => Ok(Some(Filter { text: text.trim().to_owned(), expression })),
            Some(token) => Err(unexpected(&token)),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether all of its columns are among these, and values are numbers where those of the column are.
    ///
    /// # Errors
    /// The first column that is not, with those that are.
    pub fn check(&self, columns: &[Column]) -> Result<(), FilterError> {
        check(&self.expression, columns)
    }

    /// Whether a row is to be shown.
    pub fn matches(&self, columns: &[Column], scene: &Scene, row: u32) -> bool {
        holds(&self.expression, columns, scene, row)
    }
}

fn check(expression: &Expression, columns: &[Column]) -> Result<(), FilterError> {
    match expression {
        Expression::And(one, two) | Expression::Or(one, two) => {
            check(one, columns).and_then(|()| check(two, columns))
        }
        Expression::Not(inner) => check(inner, columns),
        Expression::Word(_) => Ok(()),
        Expression::Compare { column, operator, value } => {
            if !columns.iter().any(|found| found.name == column) {
                let known: Vec<&str> = columns.iter().map(|column| column.name).collect();
                return Err(FilterError::UnknownColumn { name: column.clone(), known: known.join(", ") });
            }
            use Operator::{Greater, GreaterEqual, Less, LessEqual};
            let is_size = matches!(operator, Less | LessEqual | Greater | GreaterEqual);
            if is_size && number(value, 1).is_none() {
                return Err(FilterError::NotANumber(value.clone()));
            }
            Ok(())
        }
    }
}

fn holds(expression: &Expression, columns: &[Column], scene: &Scene, row: u32) -> bool {
    match expression {
        Expression::And(one, two) => holds(one, columns, scene, row) && holds(two, columns, scene, row),
        Expression::Or(one, two) => holds(one, columns, scene, row) || holds(two, columns, scene, row),
        Expression::Not(inner) => !holds(inner, columns, scene, row),
        Expression::Word(word) => columns.iter().any(|column| contains(&(column.value)(scene, row), word)),
        Expression::Compare { column, operator, value } => columns
            .iter()
            .find(|found| found.name == column)
            .is_some_and(|column| compares(&(column.value)(scene, row), *operator, value)),
    }
}

fn contains(cell: &Cell<'_>, word: &str) -> bool {
    match cell {
        Cell::Nothing => false,
        Cell::Text(text) => text.to_lowercase().contains(word),
        cell => cell.plain().contains(word),
    }
}

fn compares(cell: &Cell<'_>, operator: Operator, value: &str) -> bool {
    use Operator::{Contains, ContainsNot, Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
    let same = || match cell {
        Cell::Nothing => value == "-",
        Cell::Text(text) => text.to_lowercase() == value,
        Cell::Span(ms) => number(value, 1000) == Some(*ms),
        Cell::Number(n) | Cell::At(n) => number(value, 1) == Some(*n),
    };
    match operator {
        Equal => same(),
        NotEqual => !same(),
        Contains => contains(cell, value),
        ContainsNot => !contains(cell, value),
        Less | LessEqual | Greater | GreaterEqual => {
            let (of, limit) = match cell {
                Cell::Span(ms) => (*ms, number(value, 1000)),
                Cell::Number(n) | Cell::At(n) => (*n, number(value, 1)),
                Cell::Nothing | Cell::Text(_) => return false,
            };
            limit.is_some_and(|limit| match operator {
                Less => of < limit,
                LessEqual => of <= limit,
                Greater => of > limit,
                _ => of >= limit,
            })
        }
    }
}

/// A number with a unit; without one it is taken `bare` times.
fn number(text: &str, bare: u64) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let unit = match &text[end..] {
        "" => bare,
        "ms" => 1,
        "s" | "k" => 1000,
        "m" if bare == 1000 => 60_000,
        "m" => 1_000_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let number: f64 = text[..end].parse().ok()?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, as is wanted")]
    Some((number * unit as f64).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::views::View;

    /// Sessions of the sample that a filter leaves.
    fn left(text: &str) -> Vec<u64> {
        let scene = samples::chain();
        let filter = Filter::parse(text).unwrap().unwrap();
        let columns = View::Sessions.columns();
        filter.check(columns).unwrap();
        let rows = 0..u32::try_from(scene.picture.sessions.len()).unwrap();
        rows.filter(|row| filter.matches(columns, &scene, *row))
            .map(|row| scene.picture.sessions[row as usize].session)
            .collect()
    }

    #[test]
    fn comparisons_words_and_their_combinations() {
        for (text, sessions) in [
            ("user=bob and wait>1s", vec![31, 44]),
            ("user=BOB and wait>35", vec![31]),
            ("wait>3000ms and wait<=0.1m", vec![52]),
            ("sid=17 or user=dave", vec![17, 52]),
            ("sid=17 or user=dave and wait>1m", vec![17]),
            ("(sid=17 or user=dave) and wait>1s", vec![52]),
            ("not wait>0s and tx>1m", vec![17]),
            ("ETL", vec![17]),
            ("\"node 8812\"", vec![31, 52]),
            ("lock~name= or sid=1", vec![]),
            ("wait=- and state!=idle", vec![17, 61]),
            ("client!~api and blk>=1", vec![17]),
        ] {
            if text.starts_with("lock~") {
                assert!(Filter::parse(text).is_err());
            } else {
                assert_eq!(left(text), sessions, "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_filter_says_why() {
        for (text, why) in [
            ("user=", "something is missing at the end"),
            ("(user=bob", "something is missing at the end"),
            ("user=bob)", "`)` was not expected"),
            ("a b", "`b` was not expected"),
            ("=x", "`equal` was not expected"),
            ("\"open", "something is missing at the end"),
        ] {
            assert_eq!(Filter::parse(text).unwrap_err().to_string(), why, "{text}");
        }
        assert_eq!(Filter::parse("  ").unwrap(), None);
        assert_eq!(Filter::parse(&"(".repeat(100)).unwrap_err(), FilterError::TooLong);
        assert!(Filter::parse(&"x".repeat(1000)).is_err());
        let check = |text| Filter::parse(text).unwrap().unwrap().check(View::Sessions.columns());
        assert!(
            check("shoe>1s")
                .unwrap_err()
                .to_string()
                .starts_with("no column `shoe` here; there are sid, pid")
        );
        assert!(check("wait>soon").is_err());
    }
}
