//! Lines of figures, what is asked of them, and the tables that they become.

use std::fmt::{Display, Write as _};
use std::path::Path;

use super::{Result, at};

const BEGIN: &str = "<!-- graphite-bench: begin -->";
const END: &str = "<!-- graphite-bench: end -->";
/// A limit that differs by more than this factor between rounds says that the machine was not quiet.
const QUIET_FACTOR_MAX: f64 = 1.5;

/// What a figure counts. Values are in the base unit, and shown in one that suits them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    PerSecond,
    BytesPerSecond,
    Bytes,
    Number,
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        let (scaled, name) = match self {
            Unit::Seconds if value < 1e-3 => (value * 1e6, " µs"),
            Unit::Seconds if value < 1.0 => (value * 1e3, " ms"),
            Unit::Seconds => (value, " s"),
            Unit::PerSecond if value >= 1e5 => (value / 1e3, " k/s"),
            Unit::PerSecond => (value, "/s"),
            Unit::BytesPerSecond => (value / 1e6, " MB/s"),
            Unit::Bytes if value < 1e4 => (value, " B"),
            Unit::Bytes => (value / 1e6, " MB"),
            Unit::Number => (value, ""),
        };
        let digits = match scaled {
            _ if scaled.fract() == 0.0 => 0,
            _ if scaled >= 100.0 => 0,
            _ if scaled >= 10.0 => 1,
            _ => 2,
        };
        format!("{scaled:.digits$}{name}")
    }
}

/// The same thing measured once in every round.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) rounds: Vec<f64>,
}

impl Series {
    pub(crate) fn new(name: impl Into<String>, unit: Unit) -> Series {
        Series { name: name.into(), unit, rounds: Vec::new() }
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.rounds.push(value);
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let half = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => sorted[half],
            _ => (sorted[half - 1] + sorted[half]) / 2.0,
        }
    }

    fn least_and_most(&self) -> (f64, f64) {
        let least = self.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        (least, self.rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    fn shown(&self) -> String {
        self.unit.show(self.median())
    }
}

/// What is asked of a figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Gate {
    /// Nothing; it is there to be known.
    None,
    /// This value or less.
    AtMost(f64),
    /// This value or more.
    AtLeast(f64),
    /// A ratio to the limit of so much or less.
    RatioAtMost(f64),
    /// A ratio to the limit of so much or more.
    RatioAtLeast(f64),
    /// Nothing on this machine, and why.
    Waived(String),
}

/// A figure with the limit that it is held against.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    series: Series,
    limit: Option<Series>,
    ratio: Option<f64>,
    gate: Gate,
}

impl Line {
    pub(crate) fn new(series: Series) -> Line {
        Line { series, limit: None, ratio: None, gate: Gate::None }
    }

    /// The limit; the ratio is that of the medians.
    pub(crate) fn limit(mut self, limit: &Series) -> Line {
        self.ratio = Some(self.series.median() / limit.median());
        self.limit = Some(limit.clone());
        self
    }

    /// The limit, and a round trip that is no part of the work: the ratio is that of the rest.
    pub(crate) fn limit_and_round_trip(mut self, limit: &Series, round_trip: &Series) -> Line {
        self.ratio = Some((self.series.median() - round_trip.median()) / limit.median());
        self.limit = Some(limit.clone());
        self
    }

    pub(crate) fn gate(mut self, gate: Gate) -> Line {
        self.gate = gate;
        self
    }

    /// Whether it is as asked; `None` if nothing is.
    fn passes(&self) -> Option<bool> {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        // A figure that is not a number passes nothing.
        match self.gate {
            Gate::None | Gate::Waived(_) => None,
            Gate::AtMost(most) => Some(self.series.median() <= most),
            Gate::AtLeast(least) => Some(self.series.median() >= least),
            Gate::RatioAtMost(most) => Some(ratio <= most),
            Gate::RatioAtLeast(least) => Some(ratio >= least),
        }
    }

    fn cells(&self) -> [String; 7] {
        let unit = self.series.unit;
        let limit =
            self.limit.as_ref().map_or(String::new(), |limit| format!("{}: {}", limit.name, limit.shown()));
        let gate = match &self.gate {
            Gate::None => String::new(),
            Gate::AtMost(most) => format!("at most {}", unit.show(*most)),
            Gate::AtLeast(least) => format!("at least {}", unit.show(*least)),
            Gate::RatioAtMost(most) => format!("ratio at most {most}"),
            Gate::RatioAtLeast(least) => format!("ratio at least {least}"),
            Gate::Waived(why) => format!("none: {why}"),
        };
        let verdict = match self.passes() {
            None => "",
            Some(true) => "pass",
            Some(false) => "**FAIL**",
        };
        let (least, most) = self.series.least_and_most();
        let rounds = format!("{}: {} to {}", self.series.rounds.len(), unit.show(least), unit.show(most));
        let ratio = self.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        [self.series.name.clone(), self.series.shown(), limit, ratio, gate, verdict.to_owned(), rounds]
    }
}

/// All lines of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    notes: Vec<String>,
    failures: Vec<String>,
}

impl Report {
    /// Adds a line, and shows it to whoever waits.
    pub(crate) fn add(&mut self, line: Line) {
        let [name, value, limit, ratio, _, verdict, _] = line.cells();
        eprintln!("  {name}: {value}  {limit}  {ratio}  {verdict}");
        self.lines.push(line);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Notes that something could not be measured, and why.
    pub(crate) fn fail(&mut self, what: &str, why: impl Display) {
        let why = why.to_string();
        eprintln!("  {what} could not be measured: {why}");
        // An item of a list is one line.
        let why: Vec<&str> = why.split_whitespace().collect();
        self.failures.push(format!("**Not measured: {what}.** {}", why.join(" ")));
    }

    pub(crate) fn failures(&self) -> usize {
        self.failures.len()
    }

    /// How many gates were passed, and the names of those that were not.
    fn verdict(&self) -> String {
        let failed: Vec<&str> = self
            .lines
            .iter()
            .filter(|line| line.passes() == Some(false))
            .map(|line| line.series.name.as_str())
            .collect();
        let passed = self.lines.iter().filter(|line| line.passes() == Some(true)).count();
        match failed.as_slice() {
            [] => format!("{passed} gates passed, none failed."),
            _ => format!("{passed} gates passed, {} failed: {}.", failed.len(), failed.join("; ")),
        }
    }

    /// Limits that did not stay what they were.
    fn unquiet(&self) -> Vec<String> {
        let mut told: Vec<String> = Vec::new();
        for limit in self.lines.iter().filter_map(|line| line.limit.as_ref()) {
            let (least, most) = limit.least_and_most();
            if most > least * QUIET_FACTOR_MAX {
                let (least, most) = (limit.unit.show(least), limit.unit.show(most));
                let text = format!(
                    "The machine was not quiet: {} went from {least} to {most} between rounds. Ratios to it need \
                     another run.",
                    limit.name
                );
                if !told.contains(&text) {
                    told.push(text);
                }
            }
        }
        told
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for note in self.notes.iter().chain(&self.unquiet()).chain(&self.failures) {
            text += &format!("- {note}\n");
        }
        let head = ["figure", "median", "limit, median", "ratio", "gate", "", "rounds"].map(str::to_owned);
        let rows: Vec<Vec<String>> = self.lines.iter().map(|line| line.cells().to_vec()).collect();
        text += &format!("\n{}\n{}\n", table(&head, &rows), self.verdict());

        text += "\nEvery round, the limits among them:\n\n";
        let mut all: Vec<&Series> = Vec::new();
        for series in self.lines.iter().flat_map(|line| line.limit.iter().chain([&line.series])) {
            if !all.iter().any(|known| known.name == series.name && known.rounds == series.rounds) {
                all.push(series);
            }
        }
        let rounds = all.iter().map(|series| series.rounds.len()).max().unwrap_or(0);
        let head: Vec<String> =
            [String::new()].into_iter().chain((1..=rounds).map(|round| round.to_string())).collect();
        let row = |series: &&Series| {
            let values = series.rounds.iter().map(|&value| series.unit.show(value));
            let blanks = std::iter::repeat_n(String::new(), rounds - series.rounds.len());
            [series.name.clone()].into_iter().chain(values).chain(blanks).collect()
        };
        text += &table(&head, &all.iter().map(row).collect::<Vec<_>>());
        text
    }
}

/// A table of Markdown whose columns are aligned, so that it can be read as it is.
fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&head[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let mut put = |cells: &[String]| {
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text += "|\n";
    };
    put(head);
    put(&widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>());
    rows.iter().for_each(|row| put(row));
    text
}

/// Writes the tables between the marks of a file that has them, and else as a file.
pub(crate) fn write(path: &Path, markdown: &str) -> Result<()> {
    let old = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        old => old.map_err(at(path))?,
    };
    std::fs::write(path, between_marks(&old, markdown)).map_err(at(path))
}

fn between_marks(old: &str, markdown: &str) -> String {
    let marked = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = marked.unwrap_or(("", "\n"));
    format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", markdown.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, rounds: &[f64]) -> Series {
        Series { name: name.to_owned(), unit: Unit::Seconds, rounds: rounds.to_vec() }
    }

    #[test]
    fn medians_are_compared_and_gates_judge_them() {
        let limit = series("limit", &[3.0, 1.0, 2.0]);
        assert_eq!(limit.median(), 2.0);
        assert_eq!(series("even", &[1.0, 4.0, 2.0, 3.0]).median(), 2.5);
        let line = |gate| Line::new(series("x", &[7.0, 1.0, 6.0])).limit(&limit).gate(gate).passes();
        assert_eq!(line(Gate::None), None);
        assert_eq!(line(Gate::RatioAtMost(3.0)), Some(true));
        assert_eq!(line(Gate::RatioAtMost(2.9)), Some(false));
        assert_eq!(line(Gate::RatioAtLeast(3.0)), Some(true));
        assert_eq!(line(Gate::RatioAtLeast(3.1)), Some(false));
        assert_eq!(line(Gate::AtMost(6.0)), Some(true));
        assert_eq!(line(Gate::AtMost(5.9)), Some(false));
        assert_eq!(line(Gate::AtLeast(6.0)), Some(true));
        assert_eq!(line(Gate::AtLeast(6.1)), Some(false));
        let beyond = Line::new(series("x", &[9.0])).limit_and_round_trip(&limit, &series("trip", &[1.0]));
        assert_eq!(beyond.ratio, Some(4.0));
    }

    /// Without a measurement nothing passes.
    #[test]
    fn nothing_measured_is_not_passed() {
        for gate in [Gate::AtMost(1.0), Gate::AtLeast(1.0), Gate::RatioAtMost(1.0), Gate::RatioAtLeast(1.0)] {
            assert_eq!(Line::new(series("x", &[])).gate(gate).passes(), Some(false));
        }
    }

    #[test]
    fn a_report_tells_what_failed_and_what_was_unquiet() {
        let mut report = Report::default();
        report.add(
            Line::new(series("slow", &[9.0]))
                .limit(&series("limit", &[1.0, 2.0]))
                .gate(Gate::RatioAtMost(2.0)),
        );
        report.add(Line::new(series("fast", &[1e-6])).gate(Gate::AtMost(1.0)));
        let text = report.markdown();
        assert!(text.contains("1 gates passed, 1 failed: slow."), "{text}");
        assert!(text.contains("limit went from 1 s to 2 s"), "{text}");
        report.fail("that", "of this\nand this");
        assert!(report.markdown().contains("- **Not measured: that.** of this and this\n"));
        let widths: Vec<usize> =
            text.lines().filter(|line| line.starts_with('|')).map(|line| line.chars().count()).collect();
        assert!(widths.len() >= 8 && widths[..4].iter().all(|&width| width == widths[0]), "{text}");
    }

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let first = between_marks("", "one");
        assert_eq!(first, format!("{BEGIN}\n\none\n\n{END}\n"));
        let page = format!("before {first} after");
        assert_eq!(between_marks(&page, "two\n"), page.replace("one", "two"));
        assert_eq!(between_marks("no marks", "one"), first);
    }

    #[test]
    fn values_are_shown_in_units_that_suit_them() {
        assert_eq!(Unit::Seconds.show(0.000_012_34), "12.3 µs");
        assert_eq!(Unit::Seconds.show(0.001_5), "1.50 ms");
        assert_eq!(Unit::Seconds.show(4.0), "4 s");
        assert_eq!(Unit::PerSecond.show(512_345.0), "512 k/s");
        assert_eq!(Unit::Bytes.show(150e6), "150 MB");
        assert_eq!(Unit::Bytes.show(350.0), "350 B");
    }
}
