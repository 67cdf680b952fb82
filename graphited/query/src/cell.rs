//! What a plan answers: rows of cells.

use graphite_graph::{Edge, KeyId, Node, Value};

use crate::rows::value_bytes;

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

impl Cell {
    /// About how many bytes it takes.
    fn bytes(&self) -> u64 {
        let of = |properties: &[(KeyId, Value)]| -> u64 {
            let own = std::mem::size_of_val(properties) as u64;
            own + properties.iter().map(|(_, value)| value_bytes(value)).sum::<u64>()
        };
        let own = size_of::<Cell>() as u64;
        own + match self {
            Cell::Value(value) => value_bytes(value),
            Cell::Node(node) => of(&node.properties),
            Cell::Edge(edge) => of(&edge.properties),
            Cell::Path { nodes, edges } => {
                let nodes = nodes.iter().map(|node| size_of::<Node>() as u64 + of(&node.properties));
                let edges = edges.iter().map(|edge| size_of::<Edge>() as u64 + of(&edge.properties));
                nodes.sum::<u64>() + edges.sum::<u64>()
            }
        }
    }
}

/// Some rows of an answer. Can be filled again and again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    width: usize,
    len: usize,
    cells: Vec<Cell>,
    /// About how many bytes the cells take.
    bytes: u64,
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

    /// Forgets the rows.
    pub fn clear(&mut self) {
        *self = Batch { cells: std::mem::take(&mut self.cells), ..Batch::default() };
        self.cells.clear();
    }

    /// About how many bytes the rows take.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Begins a row.
    pub(crate) fn push(&mut self, cell: Cell) {
        self.bytes += cell.bytes();
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
        let dropped = self.cells.drain(self.len * self.width..);
        self.bytes -= dropped.map(|cell| cell.bytes()).sum::<u64>();
    }
}
