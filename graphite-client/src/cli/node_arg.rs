//! How a node is named on the command line: by its id, or by a property.

use std::convert::Infallible;
use std::str::FromStr;

use graphite_client::{Client, Comparison, Node, NodeId, Traversal, Value};

use super::failure::{Failure, Outcome};
use super::show;

/// Nodes that an error lists.
const LISTED_MAX: u64 = 5;

/// `17`, `code=AUS` or `airport:code=AUS`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NodeArg {
    /// By its id.
    Id(NodeId),
    /// By a property.
    Key {
        /// The label that it has.
        label: Option<String>,
        /// Name of the property.
        key: String,
        /// The property's value, as it was typed.
        value: String,
    },
    /// Neither.
    Unclear(String),
}

impl FromStr for NodeArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<NodeArg, Infallible> {
        if let Ok(id) = text.parse() {
            return Ok(NodeArg::Id(id));
        }
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Ok(NodeArg::Unclear(text.to_owned()));
        };
        let (label, key) = match name.split_once(':') {
            Some((label, key)) if !label.is_empty() && !key.is_empty() => (Some(label.to_owned()), key),
            _ => (None, name),
        };
        Ok(NodeArg::Key { label, key: key.to_owned(), value: value.to_owned() })
    }
}

impl std::fmt::Display for NodeArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NodeArg::Id(id) => write!(f, "{id}"),
            NodeArg::Key { label: Some(label), key, value } => write!(f, "{label}:{key}={value}"),
            NodeArg::Key { label: None, key, value } => write!(f, "{key}={value}"),
            NodeArg::Unclear(text) => f.write_str(text),
        }
    }
}

/// What a typed value may mean, likeliest first. In double quotes it is a string, whatever it looks like.
fn meanings(text: &str) -> Vec<Value> {
    if let Some(quoted) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return vec![quoted.into()];
    }
    let other: Option<Value> = if let Ok(int) = text.parse::<i64>() {
        Some(int.into())
    } else if let Some(float) = text.parse::<f64>().ok().filter(|float| float.is_finite()) {
        Some(float.into())
    } else {
        text.parse::<bool>().ok().map(Value::from)
    };
    other.into_iter().chain([text.into()]).collect()
}

impl NodeArg {
    /// Nodes that are meant, at most `limit`.
    pub(crate) fn find(&self, client: &mut Client, limit: u64) -> Outcome<Vec<Node>> {
        match self {
            NodeArg::Id(id) => Ok(client.node(*id)?.into_iter().collect()),
            NodeArg::Key { label, key, value } => {
                for value in meanings(value) {
                    let source = label.clone().map_or_else(Traversal::nodes, Traversal::nodes_with);
                    let plan = source.filter(key, Comparison::Eq, value).limit(limit);
                    let rows = client.run(plan, ())?.rows;
                    if !rows.is_empty() {
                        return Ok(rows.into_iter().flatten().filter_map(|v| v.as_node().cloned()).collect());
                    }
                }
                Ok(Vec::new())
            }
            NodeArg::Unclear(text) => Err(Failure::Usage(format!(
                "{text:?} names no node: give an id, key=value or Label:key=value"
            ))),
        }
    }

    /// The one node that is meant.
    pub(crate) fn find_one(&self, client: &mut Client) -> Outcome<Node> {
        let mut nodes = self.find(client, LISTED_MAX)?;
        if nodes.len() > 1 {
            let more = nodes.len() as u64 == LISTED_MAX;
            let ids: Vec<String> = nodes.iter().map(|node| node.id.to_string()).collect();
            let ids = ids.join(", ");
            let which = if more { format!("{ids} and perhaps more") } else { ids };
            return Err(Failure::Failed(format!(
                "{self} is not one node but several ({which}); give an id, or Label:key=value"
            )));
        }
        nodes.pop().ok_or_else(|| self.not_found())
    }

    /// The error when no node is meant.
    pub(crate) fn not_found(&self) -> Failure {
        Failure::Failed(match self {
            NodeArg::Id(id) => format!("there is no node {id}"),
            other => format!("there is no node with {}", show::cell(&other.to_string().into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arg(text: &str) -> NodeArg {
        text.parse().unwrap()
    }

    #[test]
    fn names_of_nodes() {
        let key = |label: Option<&str>, key: &str, value: &str| NodeArg::Key {
            label: label.map(str::to_owned),
            key: key.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(arg("17"), NodeArg::Id(NodeId(17)));
        assert_eq!(arg("code=AUS"), key(None, "code", "AUS"));
        assert_eq!(arg("airport:code=AUS"), key(Some("airport"), "code", "AUS"));
        assert_eq!(arg("url=http://x/?a=b"), key(None, "url", "http://x/?a=b"));
        assert_eq!(arg(":a=b"), key(None, ":a", "b"));
        assert_eq!(arg("code="), key(None, "code", ""));
        for unclear in ["AUS", "-1", "=x", ""] {
            assert_eq!(arg(unclear), NodeArg::Unclear(unclear.to_owned()));
        }
    }

    #[test]
    fn meanings_of_values() {
        assert_eq!(meanings("5"), [Value::Int(5), "5".into()]);
        assert_eq!(meanings("1.0"), [Value::Float(1.0), "1.0".into()]);
        assert_eq!(meanings("true"), [Value::Bool(true), "true".into()]);
        assert_eq!(meanings("\"5\""), ["5".into()]);
        assert_eq!(meanings("nan"), ["nan".into()]);
        assert_eq!(meanings("AUS"), ["AUS".into()]);
    }
}
