//! What a plan will answer, told without running it: its columns, and whether it changes anything. What makes no
//! sense on any graph is refused here, so that whoever runs a plan need not look for it.

use crate::decode::Result;
use crate::decode_error::DecodeError;
use crate::plan::{Comparison, EntityRef, Expansion, NewEdge, OrderBy, Pipeline, Plan, Step};

/// What a column of a plan's answer holds.
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

/// A column of a plan's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// What the rows of a pipeline are like.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Shape {
    /// Their columns; none after `delete`.
    pub columns: Vec<OutColumn>,
    /// Which column is current, if one is.
    pub current: Option<usize>,
    /// Whether the graph may be changed.
    pub writes: bool,
}

impl Plan {
    /// The shape of the answer: that of the last pipeline, and whether any pipeline changes the graph.
    ///
    /// # Errors
    /// A plan that makes no sense on any graph, with the step that makes none: a transform without a source, a
    /// column that is not there, a reference to a later pipeline.
    pub fn shape(&self) -> Result<Shape> {
        if self.pipelines.is_empty() {
            return Err(DecodeError::invalid("a plan has at least one pipeline"));
        }
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.pipelines.len());
        for (index, pipeline) in self.pipelines.iter().enumerate() {
            let shape =
                pipeline_shape(pipeline, &shapes).map_err(|e| e.at_index(index).within("pipelines"))?;
            shapes.push(shape);
        }
        let writes = shapes.iter().any(|shape| shape.writes);
        Ok(Shape { writes, ..shapes.pop().unwrap_or_default() })
    }
}

fn pipeline_shape(pipeline: &Pipeline, earlier: &[Shape]) -> Result<Shape> {
    let (source, transforms) =
        pipeline.split_first().ok_or_else(|| DecodeError::invalid("a pipeline has at least one step"))?;
    let mut shape = source_shape(source, earlier).map_err(|e| e.at_index(0))?;
    for (index, step) in transforms.iter().enumerate() {
        let last = index + 1 == transforms.len();
        shape.apply(step, last).map_err(|e| e.at_index(index + 1))?;
    }
    Ok(shape)
}

fn source_shape(step: &Step, earlier: &[Shape]) -> Result<Shape> {
    use ColumnKind::{Edge, Node, Path};
    let refer = |entity: &EntityRef, kind| check_ref(entity, kind, earlier);
    let ends = |edge: &NewEdge| refer(&edge.start, Node).and(refer(&edge.end, Node));
    match step {
        Step::Node { ids, .. } => ids.iter().try_for_each(|id| refer(id, Node))?,
        Step::Edge { ids, .. } => ids.iter().try_for_each(|id| refer(id, Edge))?,
        Step::CreateEdge { start, end, .. } => refer(start, Node).and(refer(end, Node))?,
        Step::CreateEdges { rows } => rows.iter().try_for_each(ends)?,
        Step::ShortestPath { from, to, .. } => refer(from, Node).and(refer(to, Node))?,
        _ => {}
    }
    let (name, kind, writes) = match step {
        Step::Node { .. } | Step::Nodes { .. } => ("node", Node, false),
        Step::Edge { .. } | Step::Edges { .. } => ("edge", Edge, false),
        Step::CreateNode { .. } | Step::CreateNodes { .. } => ("node", Node, true),
        Step::CreateEdge { .. } | Step::CreateEdges { .. } => ("edge", Edge, true),
        Step::ShortestPath { .. } => ("path", Path, false),
        _ => {
            return Err(DecodeError::invalid(
                "a pipeline starts with a source, and this step is a transform",
            ));
        }
    };
    let current = (kind != Path).then_some(0);
    Ok(Shape { columns: vec![column(name, kind)], current, writes })
}

/// A reference must point at the first column of an earlier pipeline, and that must hold what is needed.
fn check_ref(entity: &EntityRef, kind: ColumnKind, earlier: &[Shape]) -> Result<()> {
    let EntityRef::Row { pipeline, .. } = entity else {
        return Ok(());
    };
    let shape = earlier.get(*pipeline as usize).ok_or_else(|| {
        DecodeError::invalid("a reference names a pipeline that does not come before this one")
    })?;
    if shape.columns.first().is_none_or(|column| column.kind != kind) {
        return Err(DecodeError::invalid(
            "a reference names a pipeline whose first column holds something else",
        ));
    }
    Ok(())
}

fn column(name: &str, kind: ColumnKind) -> OutColumn {
    OutColumn { name: name.to_owned(), kind }
}

impl Shape {
    fn apply(&mut self, step: &Step, last: bool) -> Result<()> {
        match step {
            Step::Filter { comparison, value, .. } => {
                self.entity()?;
                if (*comparison == Comparison::Exists) != value.is_none() {
                    return Err(DecodeError::invalid(
                        "filter needs a value, and for the comparison exists none",
                    ));
                }
            }
            Step::HasLabel { .. } => self.node()?,
            Step::Expand { to, .. } => {
                self.node()?;
                self.become_columns(match to {
                    Expansion::Nodes => &[("node", ColumnKind::Node)],
                    Expansion::Edges => &[("edge", ColumnKind::Edge)],
                    Expansion::Both => &[("edge", ColumnKind::Edge), ("node", ColumnKind::Node)],
                });
            }
            Step::KHop { min, max, .. } => {
                self.node()?;
                if min > max {
                    return Err(DecodeError::invalid("khop needs a min that is not above its max"));
                }
                self.become_columns(&[("node", ColumnKind::Node)]);
            }
            Step::Degree { .. } => {
                self.node()?;
                self.columns.push(column("degree", ColumnKind::Value));
            }
            Step::Properties { keys } => self.project(keys)?,
            Step::Ids {} => {
                self.entity()?;
                for column in &mut self.columns {
                    if matches!(column.kind, ColumnKind::Node | ColumnKind::Edge) {
                        column.kind = ColumnKind::Value;
                    }
                }
                self.current = None;
            }
            Step::Count {} => {
                self.columns = vec![column("count", ColumnKind::Value)];
                self.current = None;
            }
            Step::Order { by: OrderBy::Key(_), .. } => self.entity()?,
            Step::Order { by: OrderBy::Column(name), .. } => {
                if !self.columns.iter().any(|column| column.name == *name) {
                    return Err(DecodeError::invalid("order names a column that is not there"));
                }
            }
            Step::Distinct {} | Step::Limit { .. } | Step::Skip { .. } => {}
            Step::Set { .. } | Step::Replace { .. } => {
                self.entity()?;
                self.writes = true;
            }
            Step::AddLabels { .. } | Step::RemoveLabels { .. } => {
                self.node()?;
                self.writes = true;
            }
            Step::Delete { .. } => {
                self.entity()?;
                if !last {
                    return Err(DecodeError::invalid(
                        "delete makes no rows, so it is the last step of its pipeline",
                    ));
                }
                *self = Shape { writes: true, ..Shape::default() };
            }
            Step::Node { .. }
            | Step::Edge { .. }
            | Step::Nodes { .. }
            | Step::Edges { .. }
            | Step::CreateNode { .. }
            | Step::CreateEdge { .. }
            | Step::CreateNodes { .. }
            | Step::CreateEdges { .. }
            | Step::ShortestPath { .. } => {
                return Err(DecodeError::invalid("a source is the first step of its pipeline"));
            }
        }
        self.check_names()
    }

    fn current_kind(&self) -> Option<ColumnKind> {
        self.columns.get(self.current?).map(|column| column.kind)
    }

    fn entity(&self) -> Result<()> {
        self.current_kind().map(|_| ()).ok_or_else(|| {
            DecodeError::invalid("this step needs a node or edge, and the rows have none any more")
        })
    }

    fn node(&self) -> Result<()> {
        match self.current_kind() {
            Some(ColumnKind::Node) => Ok(()),
            _ => Err(DecodeError::invalid("this step needs a node, and the rows' current column holds none")),
        }
    }

    fn become_columns(&mut self, columns: &[(&str, ColumnKind)]) {
        self.columns = columns.iter().map(|(name, kind)| column(name, *kind)).collect();
        self.current = self.columns.len().checked_sub(1);
    }

    fn project(&mut self, keys: &[String]) -> Result<()> {
        self.entity()?;
        let at = self.current.take().ok_or_else(|| DecodeError::invalid("nothing is current"))?;
        self.columns.splice(at..=at, keys.iter().map(|key| column(key, ColumnKind::Value)));
        Ok(())
    }

    fn check_names(&self) -> Result<()> {
        let mut names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DecodeError::invalid("two columns would have the same name"));
        }
        Ok(())
    }
}
