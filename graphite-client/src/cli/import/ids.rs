//! The ids of the files: which node each of them became. All that an import keeps in memory for its whole length.

use rustc_hash::FxHashMap;

/// Ids of nodes in the files, by group, with the node's number in the order of the files.
#[derive(Debug, Default)]
pub(crate) struct IdMap {
    groups: Vec<(String, Group)>,
}

/// Most files have numbers for ids, and most of those leave few of them out: then an id is found at its place,
/// without a search.
#[derive(Debug, Default)]
struct Group {
    /// By the id itself; [`NOBODY`] where there is none.
    dense: Vec<u64>,
    /// Numbers past the end of `dense` when they came.
    numbers: FxHashMap<u64, u64>,
    texts: FxHashMap<Box<str>, u64>,
    len: usize,
}

const NOBODY: u64 = u64::MAX;

/// How many places `dense` may have for each id, and how many in any case.
const PLACES_PER_ID: usize = 4;
const PLACES_MIN: usize = 1024;

impl Group {
    fn get(&self, text: &str) -> Option<u64> {
        let Some(number) = number(text) else {
            return self.texts.get(text).copied();
        };
        let dense = usize::try_from(number).ok().and_then(|place| self.dense.get(place)).copied();
        dense.filter(|node| *node != NOBODY).or_else(|| self.numbers.get(&number).copied())
    }

    fn insert(&mut self, text: &str, node: u64) {
        self.len += 1;
        let Some(number) = number(text) else {
            self.texts.insert(text.into(), node);
            return;
        };
        let places = self.len.saturating_mul(PLACES_PER_ID).max(PLACES_MIN);
        match usize::try_from(number).ok().filter(|place| *place < places) {
            Some(place) => {
                if place >= self.dense.len() {
                    self.dense.resize(place + 1, NOBODY);
                }
                if let Some(slot) = self.dense.get_mut(place) {
                    *slot = node;
                }
            }
            None => {
                self.numbers.insert(number, node);
            }
        }
    }
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
        self.groups.get(group.0)?.1.get(text)
    }

    /// Notes a node; the id is a new one.
    pub(crate) fn insert(&mut self, group: GroupIndex, text: &str, node: u64) {
        if let Some((_, group)) = self.groups.get_mut(group.0) {
            group.insert(text, node);
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
        let follows =
            self.runs.last().is_some_and(|(node, id)| id.checked_add(self.len - node) == Some(first));
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
        /// Ids in any order, near each other and far apart, against a map.
        #[test]
        fn every_id_is_found_and_no_other(
            texts in proptest::collection::hash_set(
                prop_oneof![(0u64..3000).prop_map(|n| n.to_string()), any::<u64>().prop_map(|n| n.to_string()), "[0-9a]{0,3}"],
                0..200,
            ),
            others in proptest::collection::vec("[0-9]{1,4}", 0..50),
        ) {
            let mut ids = IdMap::default();
            let group = ids.group("");
            let model: std::collections::HashMap<&String, u64> = texts.iter().zip(0..).collect();
            for (text, node) in &model {
                ids.insert(group, text, *node);
            }
            for text in texts.iter().chain(&others) {
                prop_assert_eq!(ids.get(group, text), model.get(text).copied(), "{}", text);
            }
        }

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
