//! All that a graph holds, to be compared.

use graphite_graph::{Edge, GraphDb, KeyId, LabelId, Node, Result, TypeId, View};

/// Things that one look takes at most.
const BATCH: usize = 1 << 16;

/// The tokens that scripts commit with.
pub(crate) const TOKENS: [&[u8]; 4] = [b"first", b"second", b"third", b"fourth"];

/// A whole graph, with its names and the commits that it knows by a token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    names: [Vec<String>; 3],
    tokens: Vec<bool>,
}

impl Picture {
    /// What `view` shows of the graph in `db`, and which of [`TOKENS`] it knows.
    ///
    /// # Errors
    /// Of the store.
    pub fn of<V: View>(db: &GraphDb, view: &V) -> Result<Picture> {
        let mut picture = Picture { names: names(db), ..Picture::default() };
        let mut after = None;
        loop {
            let scan = view.scan_nodes(after, None, BATCH)?;
            for head in scan.found {
                picture.nodes.extend(view.node(head.id)?);
            }
            after = scan.resume;
            if after.is_none() {
                break;
            }
        }
        let mut after = None;
        loop {
            let scan = view.scan_edges(after, None, BATCH)?;
            for head in scan.found {
                picture.edges.extend(view.edge(head.id)?);
            }
            after = scan.resume;
            if after.is_none() {
                break;
            }
        }
        for token in TOKENS {
            picture.tokens.push(db.commit_status_applied(token)?.is_some());
        }
        Ok(picture)
    }
}

fn names(db: &GraphDb) -> [Vec<String>; 3] {
    let catalog = db.catalog();
    let all = |count: u32, name: &dyn Fn(u32) -> Option<String>| (0..count).filter_map(name).collect();
    [
        all(catalog.label_count(), &|id| catalog.label_name(LabelId(id)).map(str::to_owned)),
        all(catalog.type_count(), &|id| catalog.type_name(TypeId(id)).map(str::to_owned)),
        all(catalog.key_count(), &|id| catalog.key_name(KeyId(id)).map(str::to_owned)),
    ]
}
