//! The ids of the files: which node each of them became. All that an import keeps in memory for its whole length.

use rustc_hash::FxHashMap;

/// Ids of nodes in the files, by group, with the node's number in the order of the files.
#[derive(Debug, Default)]
pub(crate) struct IdMap {
    groups: Vec<(String, Group)>,
}

/// Most files have numbers for ids, which take a third of the memory of texts.
#[derive(Debug, Default)]
struct Group {
    numbers: FxHashMap<u64, u64>,
    texts: FxHashMap<Box<str>, u64>,
}

/// A group's place in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupIndex(usize);

/// The number that a text is the only way to write: "7" and "007" are different ids.
fn number(text: &str) -> Option<u64> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    if plain { text.parse().ok() } else { None }
}

impl IdMap {
    /// The group of that name; made if it is missing.
    pub(crate) fn group(&mut self, name: &str) -> GroupIndex {
        let found = self.groups.iter().position(|(known, _)| known == name);
        GroupIndex(found.unwrap_or_else(|| {
            self.groups.push((name.to_owned(), Group::default()));
            self.groups.len() - 1
        }))
    }

    /// The group's name.
    pub(crate) fn name(&self, group: GroupIndex) -> &str {
        self.groups.get(group.0).map_or("", |(name, _)| name)
    }

    /// The node with that id.
    pub(crate) fn get(&self, group: GroupIndex, text: &str) -> Option<u64> {
        let (_, group) = self.groups.get(group.0)?;
        match number(text) {
            Some(number) => group.numbers.get(&number).copied(),
            None => group.texts.get(text).copied(),
        }
    }

    /// Notes a node; the id is a new one.
    pub(crate) fn insert(&mut self, group: GroupIndex, text: &str, node: u64) {
        if let Some((_, group)) = self.groups.get_mut(group.0) {
            match number(text) {
                Some(number) => group.numbers.insert(number, node),
                None => group.texts.insert(text.into(), node),
            };
        }
    }
}

/// The daemon's ids of nodes, by the node's number: runs of ids that follow each other.
#[derive(Debug, Default)]
pub(crate) struct NodeIds {
    /// Number of the first node and its id, in order.
    runs: Vec<(u64, u64)>,
    len: u64,
}

impl NodeIds {
    /// Appends nodes with ids that follow each other.
    pub(crate) fn push(&mut self, first: u64, count: u64) {
        let follows = self.runs.last().is_some_and(|(node, id)| id.checked_add(self.len - node) == Some(first));
        if count > 0 && !follows {
            self.runs.push((self.len, first));
        }
        self.len += count;
    }

    /// A node's id.
    pub(crate) fn get(&self, node: u64) -> Option<u64> {
        if node >= self.len {
            return None;
        }
        let run = self.runs.partition_point(|(first, _)| *first <= node).checked_sub(1)?;
        let (first, id) = self.runs.get(run)?;
        Some(id + (node - first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_texts_even_if_they_look_like_numbers() {
        let mut ids = IdMap::default();
        let group = ids.group("");
        for (node, text) in (0..).zip(["7", "007", "+7", "0", "00", "", "18446744073709551616", "x", "-1"]) {
            assert_eq!(ids.get(group, text), None, "{text}");
            ids.insert(group, text, node);
            assert_eq!(ids.get(group, text), Some(node), "{text}");
        }
        assert_eq!(ids.get(group, "7"), Some(0));
        let other = ids.group("Forum");
        assert_eq!(ids.get(other, "7"), None);
        assert_eq!((ids.group("Forum"), ids.name(other)), (other, "Forum"));
    }

    proptest! {
        #[test]
        fn node_ids_are_as_they_came(runs in proptest::collection::vec((0u64..50, 0u64..5), 0..20)) {
            let mut ids = NodeIds::default();
            let mut model = Vec::new();
            for (first, count) in runs {
                ids.push(first, count);
                model.extend(first..first + count);
            }
            prop_assert_eq!(ids.len, model.len() as u64);
            for (node, id) in (0..).zip(&model) {
                prop_assert_eq!(ids.get(node), Some(*id));
            }
            prop_assert_eq!(ids.get(ids.len), None);
        }
    }
}
