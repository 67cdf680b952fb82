//! Rows on their way between operators: column by column, entities by slot.
//!
//! Invariants:
//! 1. All columns have `len` elements.
//! 2. Slots come from the view that the statement runs over, and mean something there only.

use graphite_graph::traverse::Path;
use graphite_graph::{EdgeSlot, NodeSlot, Value, View};

use crate::cell::{Batch, Cell};

/// Most rows that operators ask for at a time.
pub(crate) const BATCH_ROWS: usize = 1024;

/// One column of some rows.
#[derive(Clone, Debug)]
pub(crate) enum Column {
    Nodes(Vec<NodeSlot>),
    Edges(Vec<EdgeSlot>),
    Values(Vec<Value>),
    Paths(Vec<Path>),
    /// What needs no look into the graph any more.
    Cells(Vec<Cell>),
}

/// Applies one expression to the vector of whatever column.
macro_rules! each {
    ($column:expr, $items:ident => $result:expr) => {
        match $column {
            Column::Nodes($items) => $result,
            Column::Edges($items) => $result,
            Column::Values($items) => $result,
            Column::Paths($items) => $result,
            Column::Cells($items) => $result,
        }
    };
}

impl Column {
    fn len(&self) -> usize {
        each!(self, items => items.len())
    }

    fn truncate(&mut self, len: usize) {
        each!(self, items => items.truncate(len));
    }

    fn drop_first(&mut self, count: usize) {
        each!(self, items => drop(items.drain(..count)));
    }

    fn retain(&mut self, keep: &[bool]) {
        let mut flags = keep.iter();
        each!(self, items => items.retain(|_| flags.next() == Some(&true)));
    }

    /// Takes the elements out in this order; each is named at most once.
    fn take_in_order(&mut self, order: &[usize]) -> Column {
        fn pick<T>(items: &mut [T], order: &[usize], take: impl Fn(&mut T) -> T) -> Vec<T> {
            order.iter().map(|&at| take(&mut items[at])).collect()
        }
        match self {
            Column::Nodes(items) => Column::Nodes(pick(items, order, |item| *item)),
            Column::Edges(items) => Column::Edges(pick(items, order, |item| *item)),
            Column::Values(items) => Column::Values(pick(items, order, std::mem::take)),
            Column::Paths(items) => Column::Paths(pick(items, order, |item| item.clone())),
            Column::Cells(items) => Column::Cells(pick(items, order, |item| item.clone())),
        }
    }

    /// Adds the elements of a column of the same kind.
    fn append(&mut self, other: Column) {
        match (self, other) {
            (Column::Nodes(mine), Column::Nodes(theirs)) => mine.extend(theirs),
            (Column::Edges(mine), Column::Edges(theirs)) => mine.extend(theirs),
            (Column::Values(mine), Column::Values(theirs)) => mine.extend(theirs),
            (Column::Paths(mine), Column::Paths(theirs)) => mine.extend(theirs),
            (Column::Cells(mine), Column::Cells(theirs)) => mine.extend(theirs),
            _ => unreachable!("an operator makes rows of one shape only"),
        }
    }

    /// About how many bytes it takes.
    fn bytes(&self) -> u64 {
        let own = each!(self, items => size_of_items(items));
        own + match self {
            Column::Values(items) => items.iter().map(value_bytes).sum(),
            Column::Paths(items) => items.iter().map(|path| 16 * path.nodes.len() as u64).sum(),
            _ => 0,
        }
    }
}

fn size_of_items<T>(items: &[T]) -> u64 {
    std::mem::size_of_val(items) as u64
}

/// About how many bytes a value takes beyond its own size.
pub(crate) fn value_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(items) => size_of_items(items) + items.iter().map(value_bytes).sum::<u64>(),
        Value::Map(entries) => {
            let entry = |(name, item): (&String, &Value)| 64 + name.len() as u64 + value_bytes(item);
            entries.iter().map(entry).sum()
        }
        _ => 0,
    }
}

/// Some rows.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<Column>,
    /// Which column holds the current entity; means nothing when none does.
    pub(crate) current: usize,
    pub(crate) len: usize,
}

impl Rows {
    /// Rows of one column, which is current.
    pub(crate) fn of(column: Column) -> Rows {
        let len = column.len();
        Rows { columns: vec![column], current: 0, len }
    }

    /// Rows of one column, if there are any.
    pub(crate) fn some_of(column: Column) -> Option<Rows> {
        Some(Rows::of(column)).filter(|rows| rows.len > 0)
    }

    /// The current nodes; none if the current column holds no nodes.
    pub(crate) fn nodes(&self) -> &[NodeSlot] {
        match self.columns.get(self.current) {
            Some(Column::Nodes(nodes)) => nodes,
            _ => &[],
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.columns.iter_mut().for_each(|column| column.truncate(len));
            self.len = len;
        }
    }

    pub(crate) fn drop_first(&mut self, count: usize) {
        let count = count.min(self.len);
        self.columns.iter_mut().for_each(|column| column.drop_first(count));
        self.len -= count;
    }

    /// Keeps the rows whose flag is set.
    pub(crate) fn retain(&mut self, keep: &[bool]) {
        let kept = keep.iter().filter(|keep| **keep).count();
        if kept < self.len {
            self.columns.iter_mut().for_each(|column| column.retain(keep));
            self.len = kept;
        }
    }

    pub(crate) fn take_in_order(&mut self, order: &[usize]) -> Rows {
        let columns = self.columns.iter_mut().map(|column| column.take_in_order(order)).collect();
        Rows { columns, current: self.current, len: order.len() }
    }

    pub(crate) fn append(&mut self, other: Rows) {
        self.len += other.len;
        for (mine, theirs) in self.columns.iter_mut().zip(other.columns) {
            mine.append(theirs);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.columns.iter().map(Column::bytes).sum()
    }

    /// Turns one row into cells. An entity that is gone since takes its row with it.
    pub(crate) fn show<V: View>(
        &mut self,
        row: usize,
        view: &V,
        batch: &mut Batch,
    ) -> graphite_graph::Result<()> {
        for column in &mut self.columns {
            let cell = match column {
                Column::Nodes(slots) => view.node(slots[row])?.map(Cell::Node),
                Column::Edges(slots) => view.edge(slots[row])?.map(Cell::Edge),
                Column::Values(values) => Some(Cell::Value(std::mem::take(&mut values[row]))),
                Column::Paths(paths) => show_path(&paths[row], view)?,
                Column::Cells(cells) => Some(std::mem::replace(&mut cells[row], Cell::Value(Value::Null))),
            };
            match cell {
                Some(cell) => batch.push(cell),
                None => {
                    batch.drop_row();
                    return Ok(());
                }
            }
        }
        batch.end_row(self.columns.len());
        Ok(())
    }
}

fn show_path<V: View>(path: &Path, view: &V) -> graphite_graph::Result<Option<Cell>> {
    let mut nodes = Vec::with_capacity(path.nodes.len());
    for &slot in &path.nodes {
        let Some(node) = view.node(slot)? else { return Ok(None) };
        nodes.push(node);
    }
    let mut edges = Vec::with_capacity(path.edges.len());
    for &slot in &path.edges {
        let Some(edge) = view.edge(slot)? else { return Ok(None) };
        edges.push(edge);
    }
    Ok(Some(Cell::Path { nodes, edges }))
}
