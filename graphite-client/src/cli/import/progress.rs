//! What an import says while it runs, all of it on standard error.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use graphite_client::text::harmless;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::parse::BadLine;
use crate::cli::csv::{Dialect, write_end, write_field};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::show::{bytes, number};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How far an import is.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: Shown,
    bytes: u64,
}

#[derive(Debug)]
enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Progress {
    /// For files of so many bytes: a bar on a terminal, else a line now and then.
    pub(crate) fn new(bytes: u64) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress { shown: Shown::Lines { last: Instant::now() }, bytes };
        }
        let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}  {elapsed}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("██░"));
        Progress { shown: Shown::Bar(bar), bytes }
    }

    /// Says nothing.
    pub(crate) fn silent() -> Progress {
        Progress { shown: Shown::Nothing, bytes: 0 }
    }

    /// So many bytes were read, and so many rows acknowledged.
    pub(crate) fn set(&mut self, at: u64, rows: u64) {
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                bar.set_message(format!("{} rows", number(rows)));
                bar.set_position(at);
            }
            Shown::Lines { last } => {
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    eprintln!("{} of {} read, {} rows loaded", bytes(at), bytes(self.bytes), number(rows));
                }
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

/// Lines that are left out.
#[derive(Debug)]
pub(crate) struct BadLines {
    file: Option<BufWriter<File>>,
    count: u64,
    last: Option<BadLine>,
}

fn cannot_write(error: std::io::Error) -> Failure {
    Failure::Failed(format!("cannot write the bad lines: {error}"))
}

impl BadLines {
    /// Written to a file, or else to standard error.
    pub(crate) fn new(path: Option<&Path>) -> Outcome<BadLines> {
        let mut file = path.map(File::create).transpose().map_err(cannot_write)?.map(BufWriter::new);
        if let Some(file) = &mut file {
            file.write_all(b"file,line,column,reason\n").map_err(cannot_write)?;
        }
        Ok(BadLines { file, count: 0, last: None })
    }

    /// Notes a line. One past `max` is kept for the error, and written to a file only.
    pub(crate) fn note(&mut self, line: BadLine, max: u64) -> Outcome {
        self.count += 1;
        match &mut self.file {
            Some(file) => {
                let mut record = Vec::new();
                let number = line.line.to_string();
                let column = line.column.as_deref().unwrap_or_default();
                let fields = [line.file.as_str(), &number, column, &line.why];
                for (index, field) in fields.into_iter().enumerate() {
                    write_field(&mut record, Dialect::default(), index, field);
                }
                write_end(&mut record);
                file.write_all(&record).map_err(cannot_write)?;
            }
            None if self.count <= max => eprintln!("{}", harmless(&line.to_string())),
            None => {}
        }
        self.last = Some(line);
        Ok(())
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The last one.
    pub(crate) fn last(&self) -> Option<&BadLine> {
        self.last.as_ref()
    }

    /// Writes out what waits in a buffer.
    pub(crate) fn finish(&mut self) -> Outcome {
        self.file.as_mut().map_or(Ok(()), |file| file.flush().map_err(cannot_write))
    }
}
