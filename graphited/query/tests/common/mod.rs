//! What the tests share: a database on a simulated disk, the same graph as plain maps, and an evaluation of plans
//! over these maps that is too simple to be wrong.
#![allow(dead_code)]

pub(crate) mod naive;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use graphite_graph::{EdgeId, GraphDb, NodeId, Snapshot, Transaction, Value, View};
use graphite_query::{
    Batch, Budget, Cell, Cursor, EntityRef, Expansion, Params, Plan, Prepared, Progress, Step,
};
use graphite_store::StoreOptions;
use graphite_store::clock::SimClock;
use graphite_store::disk::SimDisk;

/// A node of the model: labels and properties by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ModelNode {
    pub(crate) labels: BTreeSet<String>,
    pub(crate) properties: BTreeMap<String, Value>,
}

/// An edge of the model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelEdge {
    pub(crate) edge_type: String,
    pub(crate) start: NodeId,
    pub(crate) end: NodeId,
    pub(crate) properties: BTreeMap<String, Value>,
}

/// A graph as two maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) nodes: BTreeMap<NodeId, ModelNode>,
    pub(crate) edges: BTreeMap<EdgeId, ModelEdge>,
}

pub(crate) const LABELS: [&str; 3] = ["Café", "Person", "Ort"];
pub(crate) const TYPES: [&str; 3] = ["KNOWS", "LIEGT_IN", "友"];
pub(crate) const KEYS: [&str; 3] = ["name", "größe", "x"];

/// A new database.
pub(crate) fn new_db() -> GraphDb {
    let options =
        StoreOptions { create: true, cache_bytes: 32 << 20, wal_bytes: 8 << 20, ..StoreOptions::default() };
    let disk = Arc::new(SimDisk::new());
    let db = GraphDb::open(disk, Arc::new(SimClock::default()), Path::new("/graph"), options).unwrap();
    // Numbers of types rise with the model's names, so that both sort neighbours alike.
    let mut types = TYPES;
    types.sort_unstable();
    for name in types {
        db.type_id_or_create(name).unwrap();
    }
    db
}

/// What was committed, once it is durable.
pub(crate) fn snapshot(db: &GraphDb) -> Snapshot {
    db.store().wait_visible(db.store().applied_lsn()).unwrap();
    db.snapshot().unwrap()
}

/// A small generator, so that graphs are the same in each run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn value(&mut self) -> Value {
        match self.below(12) {
            0..4 => Value::Int(self.below(4) as i64),
            4 => Value::Float(self.below(6) as f64 / 2.0),
            5 => Value::Float(f64::NAN),
            6..9 => Value::from(["", "z", "é", "Łódź", "𝄞𝄞"][self.below(5)]),
            9 => Value::Bool(self.below(2) == 0),
            10 => Value::List(vec![Value::Int(self.below(2) as i64), Value::from("a")]),
            _ => Value::Date { days: self.below(3) as i64 },
        }
    }

    fn properties(&mut self) -> BTreeMap<String, Value> {
        let mut properties = BTreeMap::new();
        for key in KEYS {
            if self.below(3) > 0 {
                properties.insert(key.to_owned(), self.value());
            }
        }
        properties
    }
}

/// Creates a node in a transaction and in the model.
pub(crate) fn add_node(tx: &mut Transaction, model: &mut Model, node: ModelNode) -> NodeId {
    let labels: Vec<_> = node.labels.iter().map(|name| tx.db().label_id_or_create(name).unwrap()).collect();
    let properties: Vec<_> = (node.properties.iter())
        .map(|(name, value)| (tx.db().key_id_or_create(name).unwrap(), value.clone()))
        .collect();
    let id = tx.create_node(&labels, &properties).unwrap();
    model.nodes.insert(id, node);
    id
}

/// Creates an edge in a transaction and in the model.
pub(crate) fn add_edge(tx: &mut Transaction, model: &mut Model, edge: ModelEdge) -> EdgeId {
    let type_ = tx.db().type_id_or_create(&edge.edge_type).unwrap();
    let properties: Vec<_> = (edge.properties.iter())
        .map(|(name, value)| (tx.db().key_id_or_create(name).unwrap(), value.clone()))
        .collect();
    let id = tx.create_edge(edge.start, type_, edge.end, &properties).unwrap();
    model.edges.insert(id, edge);
    id
}

/// A random graph with loops, parallel edges and slots that were used before.
pub(crate) fn random_graph(seed: u64, nodes: usize, edges: usize) -> (GraphDb, Model) {
    let (db, mut model, mut random) = (new_db(), Model::default(), Random(seed));
    let mut tx = db.begin().unwrap();
    let doomed: Vec<NodeId> = (0..3).map(|_| tx.create_node(&[], &[]).unwrap()).collect();
    let mut ids = Vec::new();
    for _ in 0..nodes {
        let labels = LABELS.iter().filter(|_| random.below(2) == 0).map(|name| (*name).to_owned()).collect();
        let node = ModelNode { labels, properties: random.properties() };
        ids.push(add_node(&mut tx, &mut model, node));
    }
    tx.commit().unwrap();
    let mut tx = db.begin().unwrap();
    doomed.into_iter().for_each(|id| tx.delete_node(id, false).unwrap());
    tx.commit().unwrap();
    let mut tx = db.begin().unwrap();
    ids.push(add_node(&mut tx, &mut model, ModelNode::default()));
    for _ in 0..edges {
        let edge = ModelEdge {
            edge_type: random.pick(&TYPES).to_owned(),
            start: ids[random.below(ids.len())],
            end: ids[random.below(ids.len())],
            properties: random.properties(),
        };
        add_edge(&mut tx, &mut model, edge);
    }
    tx.commit().unwrap();
    (db, model)
}

/// A cell without what the graph knows anyway; values compare by their order, so that NaN is NaN.
#[derive(Clone, Debug)]
pub(crate) enum Flat {
    Node(NodeId),
    Edge(EdgeId),
    Value(Value),
    Path(Vec<NodeId>, Vec<EdgeId>),
}

impl PartialEq for Flat {
    fn eq(&self, other: &Flat) -> bool {
        match (self, other) {
            (Flat::Node(a), Flat::Node(b)) => a == b,
            (Flat::Edge(a), Flat::Edge(b)) => a == b,
            (Flat::Value(a), Flat::Value(b)) => a.total_cmp(b).is_eq(),
            (Flat::Path(a, b), Flat::Path(c, d)) => (a, b) == (c, d),
            _ => false,
        }
    }
}

/// Checks what an answer shows of its entities against the model, and keeps their ids.
pub(crate) fn flatten(cell: &Cell, view: &impl View, model: &Model) -> Flat {
    match cell {
        Cell::Value(value) => Flat::Value(value.clone()),
        Cell::Node(node) => {
            let catalog = view.catalog();
            let shown = ModelNode {
                labels: node.labels.iter().map(|id| catalog.label_name(*id).unwrap().to_owned()).collect(),
                properties: (node.properties.iter())
                    .map(|(key, value)| (catalog.key_name(*key).unwrap().to_owned(), value.clone()))
                    .collect(),
            };
            assert_eq!(shown, model.nodes[&node.id]);
            Flat::Node(node.id)
        }
        Cell::Edge(edge) => {
            let catalog = view.catalog();
            let shown = ModelEdge {
                edge_type: catalog.type_name(edge.type_).unwrap().to_owned(),
                start: edge.start,
                end: edge.end,
                properties: (edge.properties.iter())
                    .map(|(key, value)| (catalog.key_name(*key).unwrap().to_owned(), value.clone()))
                    .collect(),
            };
            assert_eq!(shown, model.edges[&edge.id]);
            Flat::Edge(edge.id)
        }
        Cell::Path { nodes, edges } => {
            Flat::Path(nodes.iter().map(|node| node.id).collect(), edges.iter().map(|edge| edge.id).collect())
        }
    }
}

pub(crate) fn flatten_batch(batch: &Batch, view: &impl View, model: &Model) -> Vec<Vec<Flat>> {
    let row = |row: &[Cell]| row.iter().map(|cell| flatten(cell, view, model)).collect();
    batch.rows().map(row).collect()
}

/// Reads a plan to its end, in batches of some size.
pub(crate) fn read(
    plan: &Plan,
    params: &Params,
    view: &impl View,
    model: &Model,
    batch_rows: usize,
) -> graphite_query::Result<Vec<Vec<Flat>>> {
    let mut cursor = Cursor::open(Arc::new(Prepared::new(plan.clone())?), Arc::new(params.clone()))?;
    let (mut batch, budget, mut all) = (Batch::default(), Budget::default(), Vec::new());
    loop {
        let progress = cursor.next_batch(view, batch_rows, &mut batch, &budget)?;
        assert!(batch.len() <= batch_rows);
        all.extend(flatten_batch(&batch, view, model));
        if progress == Progress::Done {
            let again = cursor.next_batch(view, batch_rows, &mut batch, &budget)?;
            assert_eq!((again, batch.len()), (Progress::Done, 0), "after the end comes the end");
            return Ok(all);
        }
    }
}

/// A plan that makes sense, ready to run.
pub(crate) fn prepared(plan: &Plan) -> Arc<Prepared> {
    Arc::new(Prepared::new(plan.clone()).unwrap())
}

/// The cells of the plan's rows, without a model.
pub(crate) fn cells(plan: &Plan, view: &impl View) -> Vec<Vec<Cell>> {
    let mut cursor = Cursor::open(prepared(plan), Arc::default()).unwrap();
    let (mut batch, mut all) = (Batch::default(), Vec::new());
    while cursor.next_batch(view, 100, &mut batch, &Budget::default()).unwrap() == Progress::More {
        all.extend(batch.rows().map(<[Cell]>::to_vec));
    }
    all.extend(batch.rows().map(<[Cell]>::to_vec));
    all
}

/// The one integer that a plan answers.
pub(crate) fn count(plan: &Plan, view: &impl View) -> i64 {
    match cells(plan, view).as_slice() {
        [row] => match row.as_slice() {
            [Cell::Value(Value::Int(count))] => *count,
            other => panic!("a count: {other:?}"),
        },
        other => panic!("one row: {other:?}"),
    }
}

pub(crate) fn node(id: NodeId) -> Step {
    Step::Node { ids: vec![EntityRef::Id(id.0)], required: false }
}

pub(crate) fn expand(direction: graphite_graph::Direction, types: &[&str]) -> Step {
    let types = types.iter().map(|name| (*name).to_owned()).collect();
    Step::Expand { direction, types, to: Expansion::Nodes }
}
