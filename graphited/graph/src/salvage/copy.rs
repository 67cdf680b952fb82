//! Copying nodes and edges, a batch at a time.

use std::collections::BTreeMap;

use graphite_store::PageReader;

use super::source::Source;
use super::{SalvageReport, tell};
use crate::catalog::{Catalog, NO_LABELS};
use crate::check::{CheckReport, Problem, Progress};
use crate::edges::{EdgeRecord, Edges};
use crate::import::{Column, EdgeBatch, Imported, NodeBatch};
use crate::location::Location;
use crate::nodes::{NodeRecord, Nodes};
use crate::properties::{Owner, readable_properties};
use crate::table::{Table, visit_table_page};
use crate::{EdgeSlot, GraphDb, KeyId, LabelId, LabelSetId, NodeId, NodeSlot, Result, TypeId, Value};

/// Rows of a batch.
const BATCH_ROWS: usize = 16 << 10;
/// Bytes of values at which a batch ends before that.
const BATCH_BYTES: usize = 16 << 20;
/// Names of the two imports in the new database; both are forgotten at the end.
const IMPORTS: [&[u8]; 2] = [b"salvage nodes", b"salvage edges"];

/// Values of a batch, by key. Rows without one are filled up with nulls.
#[derive(Default)]
struct Columns {
    by_key: BTreeMap<KeyId, Vec<Value>>,
    bytes: usize,
}

impl Columns {
    fn add(&mut self, row: usize, properties: Vec<(KeyId, Value)>) {
        for (key, value) in properties {
            self.bytes += value_bytes(&value);
            let values = self.by_key.entry(key).or_default();
            values.resize(row, Value::Null);
            values.push(value);
        }
    }

    fn take(&mut self, rows: usize) -> Vec<Column> {
        self.bytes = 0;
        let columns = std::mem::take(&mut self.by_key).into_iter();
        columns
            .map(|(key, mut values)| {
                values.resize(rows, Value::Null);
                Column { key, values }
            })
            .collect()
    }
}

/// About what a value takes.
fn value_bytes(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(values) => values.iter().map(value_bytes).sum(),
            _ => 0,
        }
}

/// Copies one database into another.
pub(super) struct Copier<'a> {
    source: &'a Source<'a>,
    catalog: &'a Catalog,
    db: &'a GraphDb,
    lost: CheckReport,
    report: SalvageReport,
    progress: &'a Progress<'a>,
    /// Slots of nodes that were copied, rising, and who they are now.
    slots: Vec<u64>,
    ids: Vec<NodeId>,
    columns: Columns,
    batch: u64,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        source: &'a Source<'a>,
        catalog: &'a Catalog,
        db: &'a GraphDb,
        lost: CheckReport,
        progress: &'a Progress<'a>,
    ) -> Copier<'a> {
        let (report, columns) = (SalvageReport::default(), Columns::default());
        let (slots, ids) = (Vec::new(), Vec::new());
        Copier { source, catalog, db, lost, report, progress, slots, ids, columns, batch: 0 }
    }

    pub(super) fn report(self) -> SalvageReport {
        let (lost, lost_not_listed) = (self.lost.problems, self.lost.problems_not_listed);
        SalvageReport { lost, lost_not_listed, ..self.report }
    }

    pub(super) fn copy(&mut self) -> Result<()> {
        self.nodes()?;
        self.batch = 0;
        self.edges()?;
        for import in IMPORTS {
            self.db.import().end(import)?;
            self.db.forget_ended_import(import)?;
        }
        Ok(())
    }

    /// The used slots of a table page; what contradicts itself is told.
    fn slots_in<T: Table>(
        &mut self,
        logical: u64,
        place: graphite_store::PageNo,
    ) -> Result<Vec<(T::Slot, T::Record)>> {
        self.progress.step(1);
        let mut found = Vec::new();
        let read = self.source.pages.page(place).map_err(crate::Error::from).and_then(|page| {
            visit_table_page::<T>(&page, logical, |slot, record| {
                found.push((slot, record));
                Ok(())
            })
        });
        match read {
            Ok(()) => Ok(found),
            Err(error) => tell(&mut self.lost, T::NAME, error).map(|()| found),
        }
    }

    fn nodes(&mut self) -> Result<()> {
        let source = self.source;
        let mut label_sets = Vec::new();
        for (&logical, &place) in &source.nodes {
            for (slot, record) in self.slots_in::<Nodes>(logical, place)? {
                let (label_set, is_named) = self.labels(slot, &record)?;
                let is_whole = self.properties(record.properties, Owner::Node(slot), label_sets.len())?;
                self.report.nodes_incomplete += u64::from(!(is_named && is_whole));
                label_sets.push(label_set);
                self.slots.push(slot.0);
                if label_sets.len() == BATCH_ROWS || self.columns.bytes >= BATCH_BYTES {
                    self.flush_nodes(&mut label_sets)?;
                }
            }
        }
        self.flush_nodes(&mut label_sets)
    }

    fn flush_nodes(&mut self, label_sets: &mut Vec<LabelSetId>) -> Result<()> {
        if label_sets.is_empty() {
            return Ok(());
        }
        let (rows, columns) = (label_sets.len(), self.columns.take(label_sets.len()));
        let rows_of = NodeBatch { label_sets: std::mem::take(label_sets), columns };
        let (imported, _) = self.db.import().nodes(IMPORTS[0], self.batch, rows_of)?;
        self.batch += 1;
        self.report.nodes += rows as u64;
        self.ids.extend((0..rows as u64).filter_map(|row| Imported::node(imported, row)));
        Ok(())
    }

    fn edges(&mut self) -> Result<()> {
        let source = self.source;
        let mut rows = EdgeBatch::default();
        for (&logical, &place) in &source.edges {
            for (slot, record) in self.slots_in::<Edges>(logical, place)? {
                let Some((start, end)) = self.ends(slot, &record) else { continue };
                let (type_, is_named) = self.type_of(slot, record.type_)?;
                let is_whole = self.properties(record.properties, Owner::Edge(slot), rows.starts.len())?;
                self.report.edges_incomplete += u64::from(!(is_named && is_whole));
                rows.starts.push(start);
                rows.ends.push(end);
                rows.types.push(type_);
                if rows.starts.len() == BATCH_ROWS || self.columns.bytes >= BATCH_BYTES {
                    self.flush_edges(&mut rows)?;
                }
            }
        }
        self.flush_edges(&mut rows)
    }

    fn flush_edges(&mut self, rows: &mut EdgeBatch) -> Result<()> {
        let count = rows.starts.len();
        if count == 0 {
            return Ok(());
        }
        rows.columns = self.columns.take(count);
        self.db.import().edges(IMPORTS[1], self.batch, std::mem::take(rows))?;
        self.batch += 1;
        self.report.edges += count as u64;
        Ok(())
    }

    fn ends(&mut self, slot: EdgeSlot, record: &EdgeRecord) -> Option<(NodeId, NodeId)> {
        let new_id = |end: NodeSlot| self.slots.binary_search(&end.0).ok().map(|at| self.ids[at]);
        let ends = (new_id(record.start), new_id(record.end));
        if let (Some(start), Some(end)) = ends {
            return Some((start, end));
        }
        self.report.edges_without_end += 1;
        let gone = if ends.0.is_none() { record.start } else { record.end };
        let why = format!("{slot:?}: its end {gone:?} cannot be read or does not exist");
        self.lost.add(Problem::of_record(format!("{slot:?}"), why));
        None
    }

    /// The labels in the new database, and whether they are those of the node.
    fn labels(&mut self, slot: NodeSlot, record: &NodeRecord) -> Result<(LabelSetId, bool)> {
        let Some(labels) = self.catalog.labels_of(record.label_set) else {
            let why = format!("{slot:?}: its labels cannot be read");
            self.lost.add(Problem::of_record(format!("{slot:?}"), why));
            return Ok((NO_LABELS, false));
        };
        let names = labels.iter().filter_map(|label| self.catalog.label_name(*label));
        let mut new: Vec<LabelId> =
            names.map(|name| self.db.label_id_or_create(name)).collect::<Result<_>>()?;
        new.sort_unstable();
        Ok((self.db.label_set_or_create(&new)?, true))
    }

    /// The type in the new database. One whose name is lost is called by its number.
    fn type_of(&mut self, slot: EdgeSlot, type_: TypeId) -> Result<(TypeId, bool)> {
        if let Some(name) = self.catalog.type_name(type_) {
            return Ok((self.db.type_id_or_create(name)?, true));
        }
        let name = format!("lost_type_{}", type_.0);
        let why = format!("{slot:?}: the name of its type cannot be read; it is {name}");
        self.lost.add(Problem::of_record(format!("{slot:?}"), why));
        Ok((self.db.type_id_or_create(&name)?, false))
    }

    /// Adds the properties to the batch; false if they are not all there are.
    fn properties(&mut self, at: Option<Location>, owner: Owner, row: usize) -> Result<bool> {
        let Some(at) = at else { return Ok(true) };
        let (catalog, lost) = (self.catalog, &mut self.lost);
        let who = || match owner {
            Owner::Node(slot) => format!("{slot:?}"),
            Owner::Edge(slot) => format!("{slot:?}"),
        };
        let mut is_whole = true;
        let found = readable_properties(self.source.pages, at, owner, &mut |key, error| {
            is_whole = false;
            let what = match key.and_then(|key| catalog.key_name(key)) {
                Some(name) => format!("{}: property {name:?}", who()),
                None => format!("{}: its properties", who()),
            };
            lost.add(Problem { record: Some(who()), ..Problem::of_error(&what, &error) });
        })?;
        let mut named = Vec::with_capacity(found.len());
        for (key, value) in found {
            let key = match catalog.key_name(key) {
                Some(name) => self.db.key_id_or_create(name)?,
                None => {
                    is_whole = false;
                    let name = format!("lost_key_{}", key.0);
                    let why = format!("{}: the name of a property cannot be read; it is {name}", who());
                    lost.add(Problem::of_record(who(), why));
                    self.db.key_id_or_create(&name)?
                }
            };
            named.push((key, value));
        }
        self.columns.add(row, named);
        Ok(is_whole)
    }
}
