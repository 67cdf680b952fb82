//! Batches: rows as they are gathered, and as they are sent.

use graphite_client::messages::{EdgeBatch, NodeBatch};
use graphite_client::{Bitmap, Column, ColumnData, Packed, StringColumn, Value};
use rustc_hash::FxHashMap;

use super::kind::{Field, FieldType, Kind};

/// Bytes of a batch at most: about what it takes on the wire, which has to fit into a frame.
pub(crate) const BATCH_BYTES_MAX: usize = 12 << 20;

/// What a value of a column without a packed form weighs.
const VALUE_WEIGHT: usize = 48;

/// Rows to be sent. Ends of edges are nodes by their number in the order of the files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rows {
    /// Nodes.
    Nodes(NodeBatch),
    /// Edges.
    Edges(EdgeBatch),
}

/// Cuts the nodes from `at` on off.
pub(crate) fn split_nodes(batch: &mut NodeBatch, at: usize) -> NodeBatch {
    NodeBatch {
        label_sets: batch.label_sets.clone(),
        labels: Packed(batch.labels.0.split_off(at)),
        columns: batch.columns.iter_mut().map(|column| split_column(column, at)).collect(),
    }
}

/// Cuts the edges from `at` on off.
pub(crate) fn split_edges(batch: &mut EdgeBatch, at: usize) -> EdgeBatch {
    EdgeBatch {
        types: batch.types.clone(),
        edge_types: Packed(batch.edge_types.0.split_off(at)),
        starts: Packed(batch.starts.0.split_off(at)),
        ends: Packed(batch.ends.0.split_off(at)),
        columns: batch.columns.iter_mut().map(|column| split_column(column, at)).collect(),
    }
}

fn split_column(column: &mut Column, at: usize) -> Column {
    let bits = |present: &mut Option<Bitmap>| {
        let all = present.take()?;
        *present = Some((0..at).map(|row| all.get(row)).collect());
        Some((at..all.len()).map(|row| all.get(row)).collect())
    };
    let data = match &mut column.data {
        ColumnData::Ints { values, present } => {
            ColumnData::Ints { values: Packed(values.0.split_off(at)), present: bits(present) }
        }
        ColumnData::Floats { values, present } => {
            ColumnData::Floats { values: Packed(values.0.split_off(at)), present: bits(present) }
        }
        ColumnData::Strings { values, present } => {
            let text = |range: std::ops::Range<usize>, values: &StringColumn| -> StringColumn {
                range.filter_map(|row| values.get(row)).collect()
            };
            let tail = text(at..values.len(), values);
            *values = text(0..at, values);
            ColumnData::Strings { values: tail, present: bits(present) }
        }
        ColumnData::Values(values) => ColumnData::Values(values.split_off(at)),
    };
    Column { key: column.key.clone(), data }
}

#[derive(Debug)]
enum Store {
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Strings(StringColumn),
    Values(Vec<Value>),
}

#[derive(Debug)]
struct ColumnBuilder {
    key: String,
    field_type: FieldType,
    store: Store,
    present: Bitmap,
    absent: usize,
}

impl ColumnBuilder {
    fn new(key: &str, field_type: FieldType) -> ColumnBuilder {
        let store = match (field_type.kind, field_type.list) {
            (Kind::Int, false) => Store::Ints(Vec::new()),
            (Kind::Float, false) => Store::Floats(Vec::new()),
            (Kind::String, false) => Store::Strings(StringColumn::default()),
            _ => Store::Values(Vec::new()),
        };
        ColumnBuilder { key: key.to_owned(), field_type, store, present: Bitmap::default(), absent: 0 }
    }

    /// Appends a field of the column's type; returns its weight.
    fn push(&mut self, field: Field<'_>) -> usize {
        let there = field != Field::Absent;
        self.present.push(there);
        self.absent += usize::from(!there);
        match &mut self.store {
            Store::Ints(values) => values.push(if let Field::Int(value) = field { value } else { 0 }),
            Store::Floats(values) => values.push(if let Field::Float(value) = field { value } else { 0.0 }),
            Store::Strings(values) => {
                let text = if let Field::Text(text) = field { text } else { "" };
                values.push(text);
                return 4 + text.len();
            }
            Store::Values(values) => {
                let value = match field {
                    Field::Absent => Value::Nil,
                    Field::Int(value) => value.into(),
                    Field::Float(value) => value.into(),
                    Field::Text(text) => text.into(),
                    Field::Value(value) => value,
                };
                let weight = weight(&value);
                values.push(value);
                return weight;
            }
        }
        8
    }

    /// The column; `None` if no row has a value.
    fn finish(self) -> Option<Column> {
        if self.absent == self.present.len() {
            return None;
        }
        let present = Some(self.present).filter(|_| self.absent > 0);
        let data = match self.store {
            Store::Ints(values) => ColumnData::Ints { values: Packed(values), present },
            Store::Floats(values) => ColumnData::Floats { values: Packed(values), present },
            Store::Strings(values) => ColumnData::Strings { values, present },
            Store::Values(values) => ColumnData::Values(values),
        };
        Some(Column { key: self.key, data })
    }
}

fn weight(value: &Value) -> usize {
    VALUE_WEIGHT
        + match value {
            Value::String(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(items) => items.iter().map(weight).sum(),
            _ => 0,
        }
}

/// Names that occur in a batch, each once.
#[derive(Debug, Default)]
struct Names {
    /// What stood in the field, and the name's place.
    known: FxHashMap<Box<str>, u32>,
}

impl Names {
    /// The place of a name, and whether it is new.
    fn place(&mut self, text: &str) -> (u32, bool) {
        if let Some(place) = self.known.get(text) {
            return (*place, false);
        }
        let place = u32::try_from(self.known.len()).expect("a batch has fewer rows than that");
        self.known.insert(text.into(), place);
        (place, true)
    }
}

/// What a row is, apart from its properties.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RowHead<'a> {
    /// A node: its field of labels.
    Node(&'a str),
    /// An edge.
    Edge {
        /// Its type.
        edge_type: &'a str,
        /// Number of the node where it starts.
        start: u64,
        /// Number of the node where it ends.
        end: u64,
    },
}

/// Gathers rows of one file.
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    fixed: Vec<String>,
    array_delimiter: char,
    names: Names,
    name_lists: Vec<Vec<String>>,
    places: Vec<u32>,
    starts: Vec<u64>,
    ends: Vec<u64>,
    columns: Vec<ColumnBuilder>,
    weight: usize,
}

impl BatchBuilder {
    /// For rows with these properties, and labels that all of them have.
    pub(crate) fn new<'a>(
        properties: impl Iterator<Item = (&'a str, FieldType)>,
        fixed: &[String],
        array_delimiter: char,
    ) -> BatchBuilder {
        BatchBuilder {
            fixed: fixed.to_vec(),
            array_delimiter,
            names: Names::default(),
            name_lists: Vec::new(),
            places: Vec::new(),
            starts: Vec::new(),
            ends: Vec::new(),
            columns: properties.map(|(key, field_type)| ColumnBuilder::new(key, field_type)).collect(),
            weight: 0,
        }
    }

    /// Appends a row: a field for each property.
    pub(crate) fn push(&mut self, head: RowHead<'_>, fields: &mut Vec<Field<'_>>) {
        let name = match head {
            RowHead::Node(labels) => labels,
            RowHead::Edge { edge_type, start, end } => {
                self.starts.push(start);
                self.ends.push(end);
                self.weight += 16;
                edge_type
            }
        };
        let (place, new) = self.names.place(name);
        if new {
            let list = match head {
                RowHead::Node(_) => self.label_set(name),
                RowHead::Edge { .. } => vec![name.to_owned()],
            };
            self.weight += list.iter().map(|name| name.len() + 8).sum::<usize>();
            self.name_lists.push(list);
        }
        self.places.push(place);
        self.weight += 4;
        for (column, field) in self.columns.iter_mut().zip(fields.drain(..)) {
            self.weight += column.push(field);
        }
    }

    fn label_set(&self, text: &str) -> Vec<String> {
        let mut labels = self.fixed.clone();
        for label in text.split(self.array_delimiter).filter(|label| !label.is_empty()) {
            if !labels.iter().any(|known| known == label) {
                labels.push(label.to_owned());
            }
        }
        labels
    }

    /// How many rows it has.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// About the bytes that it takes on the wire and decoded.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// The batch; the builder begins the next one.
    pub(crate) fn finish(&mut self, nodes: bool) -> Rows {
        let columns = self.columns.iter().map(|column| (column.key.as_str(), column.field_type));
        let next = BatchBuilder::new(columns, &self.fixed, self.array_delimiter);
        let done = std::mem::replace(self, next);
        let columns = done.columns.into_iter().filter_map(ColumnBuilder::finish).collect();
        if nodes {
            return Rows::Nodes(NodeBatch {
                label_sets: done.name_lists,
                labels: Packed(done.places),
                columns,
            });
        }
        Rows::Edges(EdgeBatch {
            types: done.name_lists.into_iter().flatten().collect(),
            edge_types: Packed(done.places),
            starts: Packed(done.starts),
            ends: Packed(done.ends),
            columns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> BatchBuilder {
        let columns = [
            ("n", FieldType::one(Kind::Int)),
            ("f", FieldType::one(Kind::Float)),
            ("s", FieldType::STRING),
            ("v", FieldType::one(Kind::Bool)),
            ("never", FieldType::STRING),
        ];
        BatchBuilder::new(columns.into_iter(), &["Fixed".to_owned()], ';')
    }

    fn push(builder: &mut BatchBuilder, labels: &str, row: i64) {
        let there = row % 2 == 0;
        let text = format!("row {row}");
        let mut fields = vec![
            Field::Int(row),
            if there { Field::Float(0.5) } else { Field::Absent },
            if there { Field::Text(&text) } else { Field::Absent },
            if there { Field::Value(true.into()) } else { Field::Absent },
            Field::Absent,
        ];
        builder.push(RowHead::Node(labels), &mut fields);
    }

    #[test]
    fn nodes_are_packed_by_column() {
        let mut builder = builder();
        push(&mut builder, "A;B", 0);
        push(&mut builder, "", 1);
        push(&mut builder, "A;B", 2);
        push(&mut builder, ";Fixed;A;", 3);
        assert_eq!(builder.len(), 4);
        let Rows::Nodes(batch) = builder.finish(true) else { panic!("nodes") };
        assert_eq!(batch.check(), Ok(()));
        assert_eq!(batch.label_sets, [vec!["Fixed", "A", "B"], vec!["Fixed"], vec!["Fixed", "A"]]);
        assert_eq!(batch.labels.0, [0, 1, 0, 2]);
        let keys: Vec<&str> = batch.columns.iter().map(|column| column.key.as_str()).collect();
        assert_eq!(keys, ["n", "f", "s", "v"], "a column without values is left out");
        let row = |row| batch.columns.iter().map(|column| column.data.get(row)).collect::<Vec<_>>();
        assert_eq!(row(2), [2.into(), 0.5.into(), "row 2".into(), true.into()]);
        assert_eq!(row(3), [3.into(), Value::Nil, Value::Nil, Value::Nil]);
        assert_eq!(builder.len(), 0);
        push(&mut builder, "C", 1);
        let Rows::Nodes(next) = builder.finish(true) else { panic!("nodes") };
        assert_eq!(next.label_sets, [vec!["Fixed", "C"]]);
    }

    #[test]
    fn a_split_loses_nothing() {
        let mut builder = builder();
        (0..11).for_each(|row| push(&mut builder, if row < 5 { "A" } else { "B" }, row));
        let Rows::Nodes(whole) = builder.finish(true) else { panic!("nodes") };
        for at in 0..=11 {
            let mut head = whole.clone();
            let tail = split_nodes(&mut head, at);
            assert_eq!((head.len(), tail.len()), (at, 11 - at));
            assert_eq!((head.check(), tail.check()), (Ok(()), Ok(())));
            for (index, column) in whole.columns.iter().enumerate() {
                for row in 0..11 {
                    let (part, row_of_part) = if row < at { (&head, row) } else { (&tail, row - at) };
                    assert_eq!(part.columns[index].data.get(row_of_part), column.data.get(row));
                }
            }
        }
    }

    #[test]
    fn edges_are_packed_by_column() {
        let mut builder = BatchBuilder::new([("w", FieldType::one(Kind::Int))].into_iter(), &[], ';');
        for (start, edge_type) in [(0, "A"), (1, "B;C"), (2, "A")] {
            let head = RowHead::Edge { edge_type, start, end: start + 1 };
            builder.push(head, &mut vec![Field::Int(7)]);
        }
        let Rows::Edges(mut batch) = builder.finish(false) else { panic!("edges") };
        assert_eq!(batch.check(), Ok(()));
        assert_eq!(batch.types, ["A", "B;C"]);
        assert_eq!(batch.edge_types.0, [0, 1, 0]);
        assert_eq!((&batch.starts.0[..], &batch.ends.0[..]), (&[0, 1, 2][..], &[1, 2, 3][..]));
        let tail = split_edges(&mut batch, 2);
        assert_eq!((tail.check(), tail.starts.0), (Ok(()), vec![2]));
    }
}
