//! Writing: a plan run in a transaction, as one statement.
//!
//! Pipelines run in order, and their segments too: what a write step takes is complete before its first change.
//! Only what is shown waits for the end.

use std::collections::hash_map::Entry;

use graphite_graph::catalog::Catalog;
use graphite_graph::{
    EdgeId, EdgeSlot, GraphDb, KeyId, LabelId, NodeId, NodeSlot, ReadIntent, Summary, Transaction, Value,
    View,
};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::budget::{Budget, Meter, STEPS_PER_LOOK};
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
/// After an error the whole transaction has failed: its changes are gone, and it can only be rolled back.
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
            if pipeline.intents.finds {
                self.transaction.intend(ReadIntent::Update);
            }
            for rows in &answer {
                made.add(rows, pipeline.needed, pipeline.first, self.transaction)?;
            }
            self.transaction.intend(ReadIntent::Share);
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
        for (segment, &updates_from) in pipeline.segments.iter().zip(&pipeline.intents.updates_from) {
            rows = match segment {
                Segment::Read(operators) => self.with_context(|context| {
                    let kept_before = std::mem::take(&mut kept);
                    let mut stages = bind(operators, updates_from, rows, context)?;
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
                // Also of what is removed: somebody may use a key for the first time on what is waited for here.
                self.make_keys(at, properties, true)?;
                let properties = self.properties(at, properties, false)?;
                self.for_each_entity(at, &rows, |transaction, entity| {
                    properties.iter().try_for_each(|(key, value)| match entity {
                        Entity::Node(id) => transaction.set_node_property(id, *key, value.clone()),
                        Entity::Edge(id) => transaction.set_edge_property(id, *key, value.clone()),
                    })
                })?;
            }
            Step::Replace { properties } => {
                self.make_keys(at, properties, false)?;
                let properties = self.properties(at, properties, true)?;
                self.for_each_entity(at, &rows, |transaction, entity| match entity {
                    Entity::Node(id) => transaction.replace_node_properties(id, &properties),
                    Entity::Edge(id) => transaction.replace_edge_properties(id, &properties),
                })?;
            }
            Step::AddLabels { labels } => {
                self.make_labels(at, labels)?;
                let labels = self.labels(at, labels)?;
                self.for_each_entity(at, &rows, |transaction, entity| match entity {
                    Entity::Node(id) => {
                        labels.iter().try_for_each(|label| transaction.add_label(id, *label).map(drop))
                    }
                    Entity::Edge(_) => Ok(()),
                })?;
            }
            Step::RemoveLabels { labels } => {
                // A label that nobody has used may be on a node by the time that this one has its lock.
                self.make_labels(at, labels)?;
                let labels = self.labels(at, labels)?;
                self.for_each_entity(at, &rows, |transaction, entity| match entity {
                    Entity::Node(id) => {
                        labels.iter().try_for_each(|label| transaction.remove_label(id, *label).map(drop))
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
        self.make_labels(at, nodes.iter().flat_map(|node| &node.labels))?;
        self.make_keys(at, nodes.iter().flat_map(|node| node.properties.iter()), false)?;
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
        let types = edges.iter().map(|edge| edge.edge_type.as_str());
        self.make_names(at, types, Catalog::type_id, |db, names| db.type_ids_or_create(names).map(drop))?;
        self.make_keys(at, edges.iter().flat_map(|edge| edge.properties.iter()), false)?;
        let mut slots = Vec::with_capacity(edges.len());
        for edge in edges {
            self.meter.step(self.budget, 1)?;
            let (start, end) = self.with_context(|context| {
                Ok((entity_id(at, &edge.start, context)?, entity_id(at, &edge.end, context)?))
            })?;
            let type_ = self.transaction.catalog().type_id(&edge.edge_type);
            let type_ = type_.ok_or(Error::InvalidStep { at, why: NOT_MADE })?;
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
        transaction.intend(ReadIntent::Update);
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
        transaction.intend(ReadIntent::Share);
        self.meter.release(kept);
        Ok(())
    }

    /// The labels, which were made before.
    fn labels(&mut self, at: At, names: &[String]) -> Result<Vec<LabelId>> {
        let catalog = self.transaction.catalog();
        self.meter.step(self.budget, names.len() as u64)?;
        let known = |name: &String| catalog.label_id(name);
        names.iter().map(known).collect::<Option<_>>().ok_or(Error::InvalidStep { at, why: NOT_MADE })
    }

    /// The properties to write, each key once, the last value of it. With `new`, nulls are left out; else they remove. The
    /// keys that are needed were made before.
    fn properties(
        &mut self,
        at: At,
        properties: &[(String, Operand)],
        new: bool,
    ) -> Result<Vec<(KeyId, Value)>> {
        let catalog = self.transaction.catalog();
        let mut bound: Vec<(KeyId, Value)> = Vec::with_capacity(properties.len());
        let mut places: FxHashMap<KeyId, usize> = FxHashMap::default();
        for (name, value) in bind_properties(at, properties, self.params)? {
            self.meter.step(self.budget, 1)?;
            let Some(key) = catalog.key_id(name) else {
                if value.is_null() {
                    continue;
                }
                return Err(Error::InvalidStep { at, why: NOT_MADE });
            };
            match places.entry(key) {
                Entry::Occupied(place) => bound[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    place.insert(bound.len());
                    bound.push((key, value));
                }
            }
        }
        if new {
            bound.retain(|(_, value)| !value.is_null());
        }
        Ok(bound)
    }

    fn make_labels<'n>(&mut self, at: At, names: impl IntoIterator<Item = &'n String>) -> Result<()> {
        let names = names.into_iter().map(String::as_str);
        self.make_names(at, names, Catalog::label_id, |db, names| db.label_ids_or_create(names).map(drop))
    }

    /// Makes the keys of properties, if need be also of those that are null.
    fn make_keys<'n>(
        &mut self,
        at: At,
        properties: impl IntoIterator<Item = &'n (String, Operand)>,
        nulls: bool,
    ) -> Result<()> {
        let params = self.params;
        let is_value = |operand: &Operand| match operand {
            Operand::Value(value) => !value.is_null(),
            Operand::Param(name) => params.get(name).is_some_and(|value| !value.is_null()),
        };
        let is_needed = |(_, operand): &&(String, Operand)| nulls || is_value(operand);
        let names = properties.into_iter().filter(is_needed).map(|(name, _)| name.as_str());
        self.make_names(at, names, Catalog::key_id, |db, names| db.key_ids_or_create(names).map(drop))
    }

    /// Makes the names that a step needs and that are not there, by commits of their own, before its first change:
    /// each commit copies what is known, so there are as few as possible.
    fn make_names<'n, T>(
        &mut self,
        at: At,
        names: impl Iterator<Item = &'n str>,
        known: impl Fn(&Catalog, &str) -> Option<T>,
        make: impl Fn(&GraphDb, &[&str]) -> graphite_graph::Result<()>,
    ) -> Result<()> {
        let catalog = self.transaction.catalog();
        let (mut seen, mut new) = (FxHashSet::default(), Vec::new());
        for name in names {
            self.meter.step(self.budget, 1)?;
            if known(&catalog, name).is_none() && seen.insert(name) {
                new.push(name);
            }
        }
        for some in new.chunks(NAMES_AT_ONCE) {
            // Making a name takes far longer than looking at a row.
            self.meter.step(self.budget, STEPS_PER_LOOK)?;
            make(self.transaction.db(), some).at(at)?;
        }
        Ok(())
    }
}

/// Names that are made between two looks at whether the statement is to go on.
const NAMES_AT_ONCE: usize = 1024;
const NOT_MADE: &str = "its names were not made";

/// A node or an edge.
#[derive(Clone, Copy)]
enum Entity {
    Node(NodeId),
    Edge(EdgeId),
}
