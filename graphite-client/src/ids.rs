//! Ids, typed so that a node's is never taken for an edge's.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use graphite_protocol::{EntityRef, Value};

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;
            fn from_str(text: &str) -> Result<$name, ParseIntError> {
                text.parse().map($name)
            }
        }

        impl From<u64> for $name {
            fn from(id: u64) -> $name {
                $name(id)
            }
        }

        impl From<$name> for EntityRef {
            fn from(id: $name) -> EntityRef {
                EntityRef::Id(id.0)
            }
        }

        /// As a parameter: an integer of the same bits.
        impl From<$name> for Value {
            fn from(id: $name) -> Value {
                Value::Int(id.0.cast_signed())
            }
        }

        impl $name {
            /// Reads the id from a value: an integer of the same bits.
            pub fn from_value(value: &Value) -> Option<$name> {
                value.as_int().map(|bits| $name(bits.cast_unsigned()))
            }
        }
    };
}

id! {
    /// Id of a node. It is never given to another node, not even after this one was deleted.
    NodeId
}
id! {
    /// Id of an edge. It is never given to another edge, not even after this one was deleted.
    EdgeId
}

/// A node or an edge, for what can be done to either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// A node.
    Node(NodeId),
    /// An edge.
    Edge(EdgeId),
}

impl From<NodeId> for Entity {
    fn from(id: NodeId) -> Entity {
        Entity::Node(id)
    }
}

impl From<EdgeId> for Entity {
    fn from(id: EdgeId) -> Entity {
        Entity::Edge(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_all_their_bits_as_values() {
        for bits in [0, 1, u64::from(u32::MAX), i64::MAX.cast_unsigned(), 1 << 63, u64::MAX] {
            let id = NodeId(bits);
            assert_eq!(NodeId::from_value(&Value::from(id)), Some(id));
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(EdgeId::from_value(&Value::from("1")), None);
    }
}
