//! A daemon whose database holds the graph, and which node of the graph has which id there.

use std::path::Path;

use graphite_client::messages::Durability;
use graphite_client::{NodeId, Traversal, Value};

use super::daemon::Daemon;
use super::graph::Graph;
use super::random::Random;
use super::{Bench, Result, import};

#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) daemon: Daemon,
    /// By the number of the node in the files.
    pub(crate) ids: Vec<NodeId>,
}

impl Loaded {
    /// Opens a database that holds the graph, or imports it into a new one.
    pub(crate) fn open(bench: &Bench, database: Option<&Path>) -> Result<Loaded> {
        let daemon = match database {
            Some(db) => Daemon::start(&bench.programs, db, &[])?,
            None => {
                eprintln!("importing the graph");
                let daemon = Daemon::start(&bench.programs, &bench.database("loaded")?, &[])?;
                import::import(bench, &daemon)?;
                daemon
            }
        };
        let ids = ids_by_name(&daemon, &bench.graph)?;
        Ok(Loaded { daemon, ids })
    }

    pub(crate) fn durability(&self) -> Result<&'static str> {
        Ok(match self.daemon.status()?.durability {
            Durability::On => "on, a commit is answered when it is synced",
            Durability::Off => "**off**, no figure of commits counts",
        })
    }

    pub(crate) fn random_id(&self, random: &mut Random) -> NodeId {
        self.ids[random.below(self.ids.len())]
    }
}

fn ids_by_name(daemon: &Daemon, graph: &Graph) -> Result<Vec<NodeId>> {
    let mut client = daemon.connect()?;
    let mut ids = vec![None; graph.nodes];
    for row in client.rows(Traversal::nodes(), ())? {
        let Some(Value::Node(node)) = row?.into_iter().next() else {
            return Err("a row of nodes holds no node".into());
        };
        let name = node.properties.iter().find_map(|(key, value)| (key == "name").then_some(value));
        let number: Option<usize> = match name {
            Some(Value::String(name)) => name.strip_prefix("user").and_then(|number| number.parse().ok()),
            _ => None,
        };
        let place = number.and_then(|number| ids.get_mut(number));
        *place.ok_or_else(|| format!("node {} has the name {name:?}", node.id))? = Some(NodeId(node.id));
    }
    let ids: Option<Vec<NodeId>> = ids.into_iter().collect();
    ids.ok_or_else(|| "a node of the graph is not in the database".into())
}
