//! What a plan answers: rows of cells.

use graphite_graph::{Edge, Node, Value};

/// One field of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A value.
    Value(Value),
    /// A node with labels and properties.
    Node(Node),
    /// An edge with ends and properties.
    Edge(Edge),
    /// A path: one node more than edges, edges as stored.
    Path {
        /// Its nodes, from first to last.
        nodes: Vec<Node>,
        /// The edges between them.
        edges: Vec<Edge>,
    },
}

/// Some rows of an answer. Can be filled again and again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    width: usize,
    len: usize,
    cells: Vec<Cell>,
}

impl Batch {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of columns; 0 as long as there is no row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = &[Cell]> {
        // A row may have no columns, so `chunks` would not do.
        (0..self.len).map(|row| &self.cells[row * self.width..(row + 1) * self.width])
    }

    /// All cells, row by row, to keep.
    pub fn into_cells(self) -> Vec<Cell> {
        self.cells
    }

    /// Forgets the rows.
    pub fn clear(&mut self) {
        *self = Batch { width: 0, len: 0, cells: std::mem::take(&mut self.cells) };
        self.cells.clear();
    }

    /// Begins a row.
    pub(crate) fn push(&mut self, cell: Cell) {
        self.cells.push(cell);
    }

    /// Ends the row that was pushed since the last one.
    pub(crate) fn end_row(&mut self, width: usize) {
        debug_assert!(self.len == 0 || self.width == width);
        self.width = width;
        self.len += 1;
        debug_assert_eq!(self.cells.len(), self.len * self.width);
    }

    /// Takes back what was pushed since the last row.
    pub(crate) fn drop_row(&mut self) {
        self.cells.truncate(self.len * self.width);
    }
}
