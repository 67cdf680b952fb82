//! All that a graph holds, to be compared.

use graphite_graph::{Edge, GraphDb, KeyId, LabelId, Node, Result, TypeId, View};

/// Things that one look takes at most.
const BATCH: usize = 1 << 16;

/// The tokens that scripts commit with.
pub(crate) const TOKENS: [&[u8]; 4] = [b"first", b"second", b"third", b"fourth"];

/// The tokens of commits that would else leave a graph as it was once before.
pub(crate) const REPEATS: [&[u8]; 8] = [b"r0", b"r1", b"r2", b"r3", b"r4", b"r5", b"r6", b"r7"];

/// A whole graph, with its names and the commits that it knows by a token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    names: [Vec<String>; 3],
    tokens: Vec<bool>,
}

impl Picture {
    /// What `view` shows of the graph in `db`, and which of [`TOKENS`] and [`REPEATS`] it knows.
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
        for token in TOKENS.into_iter().chain(REPEATS) {
            picture.tokens.push(db.commit_status_applied(token)?.is_some());
        }
        Ok(picture)
    }

    /// The first of [`REPEATS`] that it does not know.
    pub(super) fn next_repeat(&self) -> Option<&'static [u8]> {
        self.tokens.iter().skip(TOKENS.len()).position(|known| !known).map(|at| REPEATS[at])
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
