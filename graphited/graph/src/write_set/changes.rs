//! What a write set says about one node, one edge, their properties and their adjacency.

use std::collections::{BTreeMap, BTreeSet};

use super::kept::Kept;
use crate::adjacency::Entry;
use crate::{EdgeId, KeyId, LabelSetId, NodeId, Result, TypeId, Value};

/// What becomes of a node or an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It did not exist before.
    Created,
    /// It existed and stays.
    Changed,
    /// It existed and goes. Its other changes no longer mean anything.
    Deleted,
}

/// Changes of properties.
#[derive(Debug, Default)]
pub(crate) struct PropertyChanges {
    /// Whether what was there before is gone.
    pub(crate) cleared: bool,
    /// New values; null removes.
    pub(crate) values: BTreeMap<KeyId, Kept>,
}

impl PropertyChanges {
    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        !self.cleared && self.values.is_empty()
    }

    /// The value of one key; `before` is asked only if it still shows.
    pub(crate) fn value_over(
        &self,
        key: KeyId,
        before: impl FnOnce() -> Result<Option<Value>>,
    ) -> Result<Value> {
        match self.values.get(&key) {
            Some(kept) => Ok(kept.value()?.into_owned()),
            None if self.cleared => Ok(Value::Null),
            None => Ok(before()?.unwrap_or(Value::Null)),
        }
    }

    /// The properties that result from `before`, sorted by key and without nulls.
    pub(crate) fn over(&self, before: Vec<(KeyId, Value)>) -> Result<Vec<(KeyId, Value)>> {
        let mut all: BTreeMap<KeyId, Value> =
            if self.cleared { BTreeMap::new() } else { before.into_iter().collect() };
        for (&key, kept) in &self.values {
            all.insert(key, kept.value()?.into_owned());
        }
        Ok(all.into_iter().filter(|(_, value)| !value.is_null()).collect())
    }
}

/// Changes of one side of a node's adjacency.
#[derive(Debug, Default)]
pub(crate) struct AdjacencyChange {
    pub(crate) added: BTreeSet<(TypeId, Entry)>,
    pub(crate) removed: BTreeSet<(TypeId, Entry)>,
}

impl AdjacencyChange {
    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    pub(super) fn link(&mut self, type_: TypeId, entry: Entry) {
        let is_new = self.added.insert((type_, entry));
        debug_assert!(is_new, "an edge is created once in a write set");
    }

    pub(super) fn unlink(&mut self, type_: TypeId, entry: Entry) {
        if !self.added.remove(&(type_, entry)) {
            self.removed.insert((type_, entry));
        }
    }
}

/// Changes of one node.
#[derive(Debug)]
pub(crate) struct NodeChange {
    pub(crate) id: NodeId,
    pub(crate) fate: Fate,
    pub(crate) label_set: Option<LabelSetId>,
    pub(crate) properties: PropertyChanges,
    pub(crate) out: AdjacencyChange,
    pub(crate) in_: AdjacencyChange,
}

impl NodeChange {
    pub(super) fn is_empty(&self) -> bool {
        self.fate == Fate::Changed
            && self.label_set.is_none()
            && self.properties.is_empty()
            && self.out.is_empty()
            && self.in_.is_empty()
    }
}

/// Changes of one edge. Type and ends never change.
#[derive(Debug)]
pub(crate) struct EdgeChange {
    pub(crate) id: EdgeId,
    pub(crate) fate: Fate,
    pub(crate) type_: TypeId,
    pub(crate) start: NodeId,
    pub(crate) end: NodeId,
    pub(crate) properties: PropertyChanges,
}

/// An edge as it stood when it was first changed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeEnds {
    /// Its name.
    pub id: EdgeId,
    /// Its type.
    pub type_: TypeId,
    /// Where it starts.
    pub start: NodeId,
    /// Where it ends.
    pub end: NodeId,
}
