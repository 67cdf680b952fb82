//! The way to one crash state: a line of text that leads there again.

use std::fmt;
use std::str::FromStr;

use graphite_store::disk::Outcome;

/// How one life of the disk ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// After this operation.
    pub op: u64,
    /// By a power cut that leaves this; `None` is the end of the process alone.
    pub outcome: Option<Outcome>,
    /// Whether the next life does not only recover, but goes on with commits.
    pub goes_on: bool,
}

impl End {
    /// One after which the next life only recovers.
    pub(super) fn new(op: u64, outcome: Option<Outcome>) -> End {
        End { op, outcome, goes_on: false }
    }
}

/// The workload, and how its life and those after it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail {
    /// Name of the workload.
    pub workload: String,
    /// What the script's choices began at.
    pub round: u64,
    /// First the life of the script, then those that recovered.
    pub ends: Vec<End>,
}

impl Trail {
    /// The same, and one more end.
    pub(crate) fn then(&self, end: End) -> Trail {
        let mut trail = self.clone();
        trail.ends.push(end);
        trail
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.op)?;
        match self.outcome {
            None => write!(f, "kill"),
            Some(Outcome::LoseAll) => write!(f, "lose"),
            Some(Outcome::KeepAll) => write!(f, "keep"),
            Some(Outcome::LoseAllButLast) => write!(f, "last"),
            Some(Outcome::KeepAllButLast) => write!(f, "butlast"),
            Some(Outcome::Random(seed)) => write!(f, "{seed}"),
        }?;
        f.write_str(if self.goes_on { "+" } else { "" })
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.workload, self.round)?;
        self.ends.iter().try_for_each(|end| write!(f, "/{end}"))
    }
}

impl FromStr for Trail {
    type Err = String;

    fn from_str(text: &str) -> Result<Trail, String> {
        let no_trail =
            || format!("{text:?} is no trail: WORKLOAD.ROUND/OPERATION:OUTCOME/OPERATION:OUTCOME+");
        let mut parts = text.split('/');
        let start = parts.next().and_then(|start| start.split_once('.'));
        let (workload, round) = start.filter(|(name, _)| !name.is_empty()).ok_or_else(no_trail)?;
        let round = round.parse().map_err(|_| no_trail())?;
        let end = |part: &str| {
            let (part, goes_on) = part.strip_suffix('+').map_or((part, false), |part| (part, true));
            let (op, outcome) = part.split_once(':')?;
            let outcome = match outcome {
                "kill" => None,
                "lose" => Some(Outcome::LoseAll),
                "keep" => Some(Outcome::KeepAll),
                "last" => Some(Outcome::LoseAllButLast),
                "butlast" => Some(Outcome::KeepAllButLast),
                seed => Some(Outcome::Random(seed.parse().ok()?)),
            };
            Some(End { op: op.parse().ok()?, outcome, goes_on })
        };
        let ends = parts.map(|part| end(part).ok_or_else(no_trail)).collect::<Result<_, _>>()?;
        Ok(Trail { workload: workload.to_owned(), round, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_reads_as_it_is_written() {
        let text = "hub.4/17:kill/3:lose+/2:keep/5:last/6:butlast/0:42+";
        assert_eq!(text.parse::<Trail>().map(|trail| trail.to_string()), Ok(text.to_owned()));
        for nonsense in ["", ".0/1:kill", "hub/1:kill", "hub.0/1", "hub.0/x:kill", "hub.0/1:cut"] {
            assert!(nonsense.parse::<Trail>().is_err(), "{nonsense:?}");
        }
    }
}
