//! What can go wrong with a plan, in one enum; every error says at which step.

use std::fmt;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Which pipeline, from 0.
    pub pipeline: usize,
    /// Which step of it, from 0.
    pub step: usize,
    /// The step's name.
    pub op: &'static str,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({}) of pipeline {}", self.step, self.op, self.pipeline)
    }
}

/// An error of a plan.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A plan without pipelines.
    #[error("a plan has at least one pipeline")]
    EmptyPlan,
    /// A pipeline without steps.
    #[error("pipeline {pipeline} has no steps; it starts with a source")]
    EmptyPipeline {
        /// Which.
        pipeline: usize,
    },
    /// A step that makes no sense on any graph.
    #[error("{at} makes no sense: {why}")]
    InvalidStep {
        /// Which.
        at: At,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A plan that changes the graph was opened for reading.
    #[error("{at} changes the graph, and the plan was opened to read")]
    NotARead {
        /// The first such step.
        at: At,
    },
    /// A parameter that was not given.
    #[error("{at} needs the parameter {name:?}, which was not given")]
    ParameterMissing {
        /// Where.
        at: At,
        /// Its name.
        name: String,
    },
    /// A parameter of the wrong kind.
    #[error("{at} needs {expected}, and the parameter {name:?} holds {found}")]
    ParameterKind {
        /// Where.
        at: At,
        /// Its name.
        name: String,
        /// What is needed.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A reference to a row that an earlier pipeline did not make.
    #[error("{at} refers to row {row} of pipeline {pipeline}, which made only {rows}")]
    RowNotFound {
        /// Where.
        at: At,
        /// The pipeline referred to.
        pipeline: u32,
        /// The row referred to.
        row: u32,
        /// How many there are.
        rows: usize,
    },
    /// Whoever asked for it said stop.
    #[error("the statement was cancelled")]
    Cancelled,
    /// It did more than it may.
    #[error("the statement took more than {steps_max} steps")]
    StepLimit {
        /// How many it may take.
        steps_max: u64,
    },
    /// It would keep more in memory than it may.
    #[error("{at} would keep more than {bytes_max} bytes in memory; narrow it down, or raise the limit")]
    MemoryLimit {
        /// Where.
        at: At,
        /// How much all steps together may keep.
        bytes_max: u64,
    },
    /// From the graph.
    #[error("{at}: {source}")]
    Graph {
        /// Where.
        at: At,
        /// What.
        source: graphite_graph::Error,
    },
    /// The transaction refused the statement as a whole.
    #[error(transparent)]
    Transaction(graphite_graph::Error),
}

impl Error {
    /// What the graph said, if it was the graph.
    pub fn graph(&self) -> Option<&graphite_graph::Error> {
        match self {
            Error::Graph { source, .. } | Error::Transaction(source) => Some(source),
            _ => None,
        }
    }
}

/// Says at which step the graph refused.
pub(crate) trait Located<T> {
    /// With the step.
    fn at(self, at: At) -> Result<T>;
}

impl<T> Located<T> for graphite_graph::Result<T> {
    #[inline]
    fn at(self, at: At) -> Result<T> {
        self.map_err(|source| Error::Graph { at, source })
    }
}
