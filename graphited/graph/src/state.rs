//! Which value of the store's state page is what. The store keeps slots 0..8 for itself.
//!
//! A new database has zeros everywhere, and zero always means "nothing there yet".

/// Root of the node table's directory.
pub const NODE_TABLE_ROOT: usize = 8;
/// Number of node table pages ever made.
pub const NODE_TABLE_PAGES: usize = 9;
/// Root of the edge table's directory.
pub const EDGE_TABLE_ROOT: usize = 10;
/// Number of edge table pages ever made.
pub const EDGE_TABLE_PAGES: usize = 11;
/// Number of nodes.
pub const NODE_COUNT: usize = 12;
/// Number of edges.
pub const EDGE_COUNT: usize = 13;
/// Root of the catalog's tree.
pub const CATALOG_ROOT: usize = 14;
/// Root of the free-space map of property record pages.
pub const RECORD_SPACE_ROOT: usize = 15;
/// Root of the free-space map of adjacency pages.
pub const ADJACENCY_SPACE_ROOT: usize = 16;
/// Version of the graph's own layout.
pub const GRAPH_FORMAT: usize = 17;
/// Root of the tree of imports under way.
pub const IMPORT_ROOT: usize = 18;
/// Root of the tree of commit tokens.
pub const TOKEN_ROOT: usize = 19;
/// Number that the next commit token gets.
pub const TOKEN_NEXT: usize = 20;
