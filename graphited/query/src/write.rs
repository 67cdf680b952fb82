//! Writing: a plan run in a transaction, as one statement.
//!
//! Pipelines run in order, and their segments too: what a write step takes is complete before its first change.
//! Only what is shown waits for the end.

use graphite_graph::catalog::Catalog;
use graphite_graph::{EdgeId, EdgeSlot, KeyId, LabelId, NodeId, NodeSlot, Summary, Transaction, Value, View};
use rustc_hash::FxHashSet;

use crate::budget::{Budget, Meter};
use crate::cell::Batch;
use crate::error::{At, Error, Located, Result};
use crate::operators::{Context, Made, bind, bind_properties, entity_id, pull};
use crate::params::Params;
use crate::plan::{NewEdge, NewNode, Operand, Step};
use crate::planner::Segment;
use crate::prepared::{Prepared, PreparedPipeline};
use crate::rows::{BATCH_ROWS, Column, Rows};

/// What a statement has done.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The answer: entities as they are at the end of the statement.
    pub rows: Batch,
    /// What was changed.
    pub summary: Summary,
}

/// Runs a plan in a transaction, as one statement. It may also be one that only reads.
///
/// After an error the changes of this statement are taken back, and the transaction can only be rolled back.
///
/// # Errors
/// Of the graph; what is wrong with plan or parameters; [`Error::Cancelled`], [`Error::MemoryLimit`],
/// [`Error::StepLimit`].
pub fn run_write(
    plan: &Prepared,
    params: &Params,
    transaction: &mut Transaction,
    budget: &Budget,
) -> Result<Outcome> {
    transaction.begin_statement().map_err(Error::Transaction)?;
    let mut run = Run {
        plan,
        params,
        transaction: &mut *transaction,
        budget,
        meter: Meter::default(),
        made: Vec::new(),
    };
    match run.all() {
        Ok(rows) => Ok(Outcome { rows, summary: transaction.statement_summary() }),
        Err(error) => {
            transaction.fail_statement();
            Err(error)
        }
    }
}

/// A statement that is being run.
struct Run<'a> {
    plan: &'a Prepared,
    params: &'a Params,
    transaction: &'a mut Transaction,
    budget: &'a Budget,
    meter: Meter,
    made: Vec<Made>,
}

impl Run<'_> {
    fn all(&mut self) -> Result<Batch> {
        self.meter.begin_call(self.budget)?;
        let plan = self.plan;
        let (mut answer, mut kept) = (Vec::new(), 0);
        for pipeline in plan.pipelines() {
            self.meter.release(kept);
            (answer, kept) = self.pipeline(pipeline)?;
            let mut made = Made::Nothing;
            for rows in &answer {
                made.add(rows, pipeline.needed, pipeline.first, self.transaction)?;
            }
            self.made.push(made);
        }
        match plan.pipelines().last() {
            Some(pipeline) => self.show(answer, pipeline.last),
            None => Ok(Batch::default()),
        }
    }

    fn show(&mut self, answer: Vec<Rows>, at: At) -> Result<Batch> {
        let mut batch = Batch::default();
        for mut rows in answer {
            for row in 0..rows.len {
                self.meter.step(self.budget, 1)?;
                let before = batch.bytes();
                rows.show(row, &*self.transaction, &mut batch).at(at)?;
                self.meter.keep(self.budget, at, batch.bytes() - before)?;
            }
        }
        Ok(batch)
    }

    /// Runs a pipeline; returns its rows, and the bytes that are kept for them.
    fn pipeline(&mut self, pipeline: &PreparedPipeline) -> Result<(Vec<Rows>, u64)> {
        let plan = self.plan;
        let (mut rows, mut kept) = (Vec::new(), 0);
        for segment in &pipeline.segments {
            rows = match segment {
                Segment::Read(operators) => self.with_context(|context| {
                    let kept_before = std::mem::take(&mut kept);
                    let mut stages = bind(operators, rows, context)?;
                    let at = operators.last().map(|planned| planned.at);
                    let mut all = Vec::new();
                    while let Some(rows) = pull(&mut stages, BATCH_ROWS, context)? {
                        if let Some(at) = at {
                            context.keep(at, rows.bytes())?;
                            kept += rows.bytes();
                        }
                        all.push(rows);
                    }
                    context.meter.release(kept_before);
                    Ok(all)
                })?,
                Segment::Write(at) => match plan.step(*at) {
                    Some(step) => self.write(*at, step, rows)?,
                    None => rows,
                },
            };
        }
        Ok((rows, kept))
    }

    fn with_context<T>(
        &mut self,
        read: impl FnOnce(&mut Context<'_, Transaction>) -> Result<T>,
    ) -> Result<T> {
        let catalog = self.transaction.catalog();
        let mut context = Context {
            view: &*self.transaction,
            catalog: &catalog,
            params: self.params,
            budget: self.budget,
            meter: &mut self.meter,
            made: &self.made,
        };
        read(&mut context)
    }

    /// Does one step that writes. Returns the rows that pass on.
    fn write(&mut self, at: At, step: &Step, rows: Vec<Rows>) -> Result<Vec<Rows>> {
        match step {
            Step::CreateNodes { rows } => return self.create_nodes(at, rows),
            Step::CreateEdges { rows } => return self.create_edges(at, rows),
            Step::Set { properties } => {
                let properties = self.properties(at, properties, false)?;
                self.for_each_entity(at, &rows, |transaction, entity| {
                    properties.iter().try_for_each(|(key, value)| match entity {
                        Entity::Node(id) => transaction.set_node_property(id, *key, value.clone()),
                        Entity::Edge(id) => transaction.set_edge_property(id, *key, value.clone()),
                    })
                })?;
            }
            Step::Replace { properties } => {
                let properties = self.properties(at, properties, true)?;
                self.for_each_entity(at, &rows, |transaction, entity| match entity {
                    Entity::Node(id) => transaction.replace_node_properties(id, &properties),
                    Entity::Edge(id) => transaction.replace_edge_properties(id, &properties),
                })?;
            }
            Step::AddLabels { labels } => {
                let labels = self.labels(at, labels)?;
                self.for_each_entity(at, &rows, |transaction, entity| match entity {
                    Entity::Node(id) => {
                        labels.iter().try_for_each(|label| transaction.add_label(id, *label).map(drop))
                    }
                    Entity::Edge(_) => Ok(()),
                })?;
            }
            Step::RemoveLabels { labels } => {
                // A label that nobody ever used is on no node.
                let catalog = self.transaction.catalog();
                let known: Vec<LabelId> = labels.iter().filter_map(|name| catalog.label_id(name)).collect();
                self.for_each_entity(at, &rows, |transaction, entity| match entity {
                    Entity::Node(id) => {
                        known.iter().try_for_each(|label| transaction.remove_label(id, *label).map(drop))
                    }
                    Entity::Edge(_) => Ok(()),
                })?;
            }
            Step::Delete { detach } => {
                self.for_each_entity(at, &rows, |transaction, entity| match entity {
                    Entity::Node(id) => transaction.delete_node(id, *detach),
                    Entity::Edge(id) => transaction.delete_edge(id),
                })?;
                return Ok(Vec::new());
            }
            _ => return Err(Error::InvalidStep { at, why: "it reads, and was planned as a write" }),
        }
        Ok(rows)
    }

    fn create_nodes(&mut self, at: At, nodes: &[NewNode]) -> Result<Vec<Rows>> {
        let mut slots = Vec::with_capacity(nodes.len());
        for node in nodes {
            self.meter.step(self.budget, 1)?;
            let labels = self.labels(at, &node.labels)?;
            let properties = self.properties(at, &node.properties, true)?;
            slots.push(self.transaction.create_node(&labels, &properties).at(at)?.slot());
        }
        Ok(Rows::some_of(Column::Nodes(slots)).into_iter().collect())
    }

    fn create_edges(&mut self, at: At, edges: &[NewEdge]) -> Result<Vec<Rows>> {
        let mut slots = Vec::with_capacity(edges.len());
        for edge in edges {
            self.meter.step(self.budget, 1)?;
            let (start, end) = self.with_context(|context| {
                Ok((entity_id(at, &edge.start, context)?, entity_id(at, &edge.end, context)?))
            })?;
            let type_ = self.catalog_or_db(
                at,
                |catalog| catalog.type_id(&edge.edge_type),
                |transaction| transaction.db().type_id_or_create(&edge.edge_type),
            )?;
            let properties = self.properties(at, &edge.properties, true)?;
            let id = self.transaction.create_edge(NodeId(start), type_, NodeId(end), &properties).at(at)?;
            slots.push(id.slot());
        }
        Ok(Rows::some_of(Column::Edges(slots)).into_iter().collect())
    }

    /// Changes each current entity once, in the order in which they come.
    fn for_each_entity(
        &mut self,
        at: At,
        rows: &[Rows],
        mut change: impl FnMut(&mut Transaction, Entity) -> graphite_graph::Result<()>,
    ) -> Result<()> {
        const ENTITY_BYTES: u64 = 32;
        let (mut nodes, mut edges, mut kept) = (Vec::new(), Vec::new(), 0);
        for rows in rows {
            self.meter.keep(self.budget, at, rows.len as u64 * ENTITY_BYTES)?;
            kept += rows.len as u64 * ENTITY_BYTES;
            match rows.columns.get(rows.current) {
                Some(Column::Nodes(slots)) => nodes.extend_from_slice(slots),
                Some(Column::Edges(slots)) => edges.extend_from_slice(slots),
                _ => {}
            }
        }
        let (mut seen_nodes, mut seen_edges) = (FxHashSet::default(), FxHashSet::default());
        nodes.retain(|slot: &NodeSlot| seen_nodes.insert(*slot));
        edges.retain(|slot: &EdgeSlot| seen_edges.insert(*slot));
        let transaction = &mut *self.transaction;
        for slot in nodes {
            self.meter.step(self.budget, 1)?;
            if let Some(id) = transaction.node_by_slot(slot).at(at)? {
                change(transaction, Entity::Node(id)).at(at)?;
            }
        }
        for slot in edges {
            self.meter.step(self.budget, 1)?;
            if let Some(id) = transaction.edge_by_slot(slot).at(at)? {
                change(transaction, Entity::Edge(id)).at(at)?;
            }
        }
        self.meter.release(kept);
        Ok(())
    }

    fn labels(&mut self, at: At, names: &[String]) -> Result<Vec<LabelId>> {
        let label = |name: &String| {
            self.catalog_or_db(
                at,
                |catalog| catalog.label_id(name),
                |transaction| transaction.db().label_id_or_create(name),
            )
        };
        names.iter().map(label).collect()
    }

    /// The properties to write, each key once. With `new`, nulls are left out; else they remove, and a key that
    /// nobody ever used needs no removing.
    fn properties(
        &mut self,
        at: At,
        properties: &[(String, Operand)],
        new: bool,
    ) -> Result<Vec<(KeyId, Value)>> {
        let mut bound: Vec<(KeyId, Value)> = Vec::with_capacity(properties.len());
        for (name, value) in bind_properties(at, properties, self.params)? {
            let key = if value.is_null() {
                self.transaction.catalog().key_id(name)
            } else {
                let create = |transaction: &Transaction| transaction.db().key_id_or_create(name);
                Some(self.catalog_or_db(at, |catalog| catalog.key_id(name), create)?)
            };
            let Some(key) = key else { continue };
            bound.retain(|(other, _)| *other != key);
            bound.push((key, value));
        }
        if new {
            bound.retain(|(_, value)| !value.is_null());
        }
        Ok(bound)
    }

    /// The number of a name, which is made by a small commit of its own if there is none.
    fn catalog_or_db<T>(
        &self,
        at: At,
        known: impl FnOnce(&Catalog) -> Option<T>,
        create: impl FnOnce(&Transaction) -> graphite_graph::Result<T>,
    ) -> Result<T> {
        match known(&self.transaction.catalog()) {
            Some(number) => Ok(number),
            None => create(self.transaction).at(at),
        }
    }
}

/// A node or an edge.
#[derive(Clone, Copy)]
enum Entity {
    Node(NodeId),
    Edge(EdgeId),
}
