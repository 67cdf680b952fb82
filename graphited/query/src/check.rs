//! What a plan will answer, told without running it: its columns. What makes no sense on any graph is refused here,
//! so that whoever runs a plan need not look for it.

use crate::error::{At, Error, Result};
use crate::plan::{Comparison, EntityRef, Expansion, OrderBy, Pipeline, Plan, Step};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Nodes.
    Node,
    /// Edges.
    Edge,
    /// Paths.
    Path,
    /// Other values.
    Value,
}

/// What the rows are like at some place in a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Shape<'p> {
    /// Names and kinds of the columns.
    pub(crate) columns: Vec<(&'p str, ColumnKind)>,
    /// Which column is current, if one is.
    pub(crate) current: Option<usize>,
}

impl Plan {
    /// Refuses a plan that makes no sense on any graph.
    ///
    /// # Errors
    /// [`Error::InvalidStep`], [`Error::EmptyPlan`], [`Error::EmptyPipeline`].
    pub fn check(&self) -> Result<()> {
        shapes(self).map(|_| ())
    }

    /// The first step that changes the graph.
    pub(crate) fn first_write(&self) -> Option<At> {
        self.pipelines.iter().enumerate().find_map(|(index, pipeline)| {
            let step = pipeline.iter().position(Step::is_write)?;
            Some(at(index, step, &pipeline[step]))
        })
    }
}

/// The columns of a plan's answer: names and kinds.
///
/// # Errors
/// As [`Plan::check`].
pub(crate) fn columns(plan: &Plan) -> Result<Vec<(String, ColumnKind)>> {
    let shape = shapes(plan)?.pop().unwrap_or_default();
    Ok(shape.columns.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect())
}

/// Where a step is.
pub(crate) fn at(pipeline: usize, index: usize, step: &Step) -> At {
    At { pipeline, step: index, op: step.op() }
}

/// The shape of each pipeline's rows at its end.
fn shapes(plan: &Plan) -> Result<Vec<Shape<'_>>> {
    if plan.pipelines.is_empty() {
        return Err(Error::EmptyPlan);
    }
    let mut shapes = Vec::with_capacity(plan.pipelines.len());
    for (index, pipeline) in plan.pipelines.iter().enumerate() {
        let shape = pipeline_shape(index, pipeline, &shapes)?;
        shapes.push(shape);
    }
    Ok(shapes)
}

fn pipeline_shape<'p>(index: usize, pipeline: &'p Pipeline, earlier: &[Shape<'_>]) -> Result<Shape<'p>> {
    let Some((source, _)) = pipeline.split_first() else {
        return Err(Error::EmptyPipeline { pipeline: index });
    };
    let mut shape = Shape::default();
    for (number, step) in pipeline.iter().enumerate() {
        let located = |why| Error::InvalidStep { at: at(index, number, step), why };
        if number == 0 {
            check_refs(source, earlier).map_err(located)?;
        }
        let last = number + 1 == pipeline.len();
        shape.apply(step, number == 0, last).map_err(located)?;
    }
    Ok(shape)
}

fn check_refs(source: &Step, earlier: &[Shape<'_>]) -> Result<(), &'static str> {
    use ColumnKind::{Edge, Node};
    let refer = |entity: &EntityRef, kind| check_ref(entity, kind, earlier);
    match source {
        Step::Node { ids, .. } => ids.iter().try_for_each(|id| refer(id, Node)),
        Step::Edge { ids, .. } => ids.iter().try_for_each(|id| refer(id, Edge)),
        Step::CreateEdges { rows } => {
            rows.iter().try_for_each(|edge| refer(&edge.start, Node).and(refer(&edge.end, Node)))
        }
        Step::ShortestPath { from, to, .. } => refer(from, Node).and(refer(to, Node)),
        _ => Ok(()),
    }
}

/// A reference must point at the first column of an earlier pipeline, and that must hold what is needed.
fn check_ref(entity: &EntityRef, kind: ColumnKind, earlier: &[Shape<'_>]) -> Result<(), &'static str> {
    let EntityRef::Row { pipeline, .. } = entity else { return Ok(()) };
    let shape = usize::try_from(*pipeline).ok().and_then(|index| earlier.get(index));
    let shape = shape.ok_or("it refers to a pipeline that does not come before this one")?;
    if shape.columns.first().is_none_or(|(_, found)| *found != kind) {
        return Err("it refers to a pipeline whose first column holds something else");
    }
    Ok(())
}

impl<'p> Shape<'p> {
    /// What a step makes of it.
    pub(crate) fn apply(&mut self, step: &'p Step, first: bool, last: bool) -> Result<(), &'static str> {
        use ColumnKind::{Edge, Node, Path, Value};
        match (step.is_source(), first) {
            (true, false) => return Err("a source is the first step of its pipeline"),
            (false, true) => return Err("a pipeline starts with a source, and this step is a transform"),
            _ => {}
        }
        match step {
            Step::Node { .. } | Step::Nodes { .. } | Step::CreateNodes { .. } => {
                self.become_entity("node", Node)
            }
            Step::Edge { .. } | Step::Edges { .. } | Step::CreateEdges { .. } => {
                self.become_entity("edge", Edge)
            }
            Step::ShortestPath { .. } => *self = Shape { columns: vec![("path", Path)], current: None },
            Step::Filter { comparison, value, .. } => {
                self.entity()?;
                if (*comparison == Comparison::Exists) != value.is_none() {
                    return Err("filter needs a value, and for the comparison exists none");
                }
            }
            Step::HasLabel { .. } => self.node()?,
            Step::Expand { to, .. } => {
                self.node()?;
                match to {
                    Expansion::Nodes => self.become_entity("node", Node),
                    Expansion::Edges => self.become_entity("edge", Edge),
                    Expansion::Both => {
                        *self = Shape { columns: vec![("edge", Edge), ("node", Node)], current: Some(1) };
                    }
                }
            }
            Step::KHop { min, max, .. } => {
                self.node()?;
                if min > max {
                    return Err("khop needs a min that is not above its max");
                }
                self.become_entity("node", Node);
            }
            Step::Degree { .. } => {
                self.node()?;
                self.columns.push(("degree", Value));
            }
            Step::Properties { keys } => self.project(keys)?,
            Step::Ids => {
                self.entity()?;
                for (_, kind) in &mut self.columns {
                    if matches!(kind, Node | Edge) {
                        *kind = Value;
                    }
                }
                self.current = None;
            }
            Step::Count => *self = Shape { columns: vec![("count", Value)], current: None },
            Step::Order { by: OrderBy::Key(_), .. } => self.entity()?,
            Step::Order { by: OrderBy::Column(name), .. } => {
                self.column(name).ok_or("order names a column that is not there")?;
            }
            Step::Distinct | Step::Limit { .. } | Step::Skip { .. } => {}
            Step::Set { .. } | Step::Replace { .. } => self.entity()?,
            Step::AddLabels { .. } | Step::RemoveLabels { .. } => self.node()?,
            Step::Delete { .. } => {
                self.entity()?;
                if !last {
                    return Err("delete makes no rows, so it is the last step of its pipeline");
                }
                *self = Shape::default();
            }
        }
        self.check_names()
    }

    /// Where the column of that name is.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(other, _)| *other == name)
    }

    fn become_entity(&mut self, name: &'static str, kind: ColumnKind) {
        self.columns.clear();
        self.columns.push((name, kind));
        self.current = Some(0);
    }

    fn entity(&self) -> Result<(), &'static str> {
        match self.current {
            Some(_) => Ok(()),
            None => Err("it needs a node or edge, and the rows have none that is current"),
        }
    }

    fn node(&self) -> Result<(), &'static str> {
        match self.current.and_then(|at| self.columns.get(at)) {
            Some((_, ColumnKind::Node)) => Ok(()),
            _ => Err("it needs a node, and the rows' current column holds none"),
        }
    }

    fn project(&mut self, keys: &'p [String]) -> Result<(), &'static str> {
        self.entity()?;
        if let Some(at) = self.current.take() {
            self.columns.splice(at..=at, keys.iter().map(|key| (key.as_str(), ColumnKind::Value)));
        }
        Ok(())
    }

    /// Few columns are compared each with each, many are sorted.
    fn check_names(&self) -> Result<(), &'static str> {
        const FEW: usize = 8;
        let repeats = if self.columns.len() <= FEW {
            self.columns.iter().enumerate().any(|(at, (name, _))| self.column(name) != Some(at))
        } else {
            let mut names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            names.windows(2).any(|pair| pair[0] == pair[1])
        };
        if repeats { Err("two columns would have the same name") } else { Ok(()) }
    }
}
