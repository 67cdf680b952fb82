//! The tree against a `BTreeMap`: after every few operations its invariants are proven, and the pages that it owns
//! are compared with those that the pager has given out. Then orders of insertion, limits, and damaged pages.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};

use proptest::prelude::*;

use super::node::{CAPACITY, NodeMut};
use super::*;
use crate::page::{CorruptPage, PAGE_BODY_BYTES, PageKind};
use crate::pager::{MemPager, STATE_PAGE};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Proves the tree's invariants and that it owns exactly the pages in use.
fn check(tree: &BTree, pager: &MemPager) -> Stats {
    let stats = tree.check(pager).unwrap();
    let mut owned = BTreeSet::from([STATE_PAGE]);
    tree.pages(pager, |page| assert!(owned.insert(page))).unwrap();
    assert_eq!(owned, pager.page_numbers().collect());
    assert_eq!(pager.pages_used(), stats.pages() + 1);
    stats
}

fn contents(tree: &BTree, pager: &MemPager) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    tree.cursor_at_start()
        .scan(pager, |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    entries
}

/// A sequence of pseudo-random numbers, the same in each run.
fn random(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((state ^ (state >> 29)) >> 8)
    })
}

/// `0..count` in a pseudo-random order.
fn shuffled(count: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..count).collect();
    for (i, random) in (1..numbers.len()).rev().zip(random(count)) {
        numbers.swap(i, usize::try_from(random % (i as u64 + 1)).unwrap());
    }
    numbers
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Vec<u8>, usize),
    Remove(Vec<u8>),
    /// Removes the entries from the n-th on, so many.
    RemoveRun(usize, usize),
    /// Reads both ways from a key.
    Range(Vec<u8>, usize),
}

/// Keys from a small alphabet, so that they meet again, share prefixes, and are prefixes of each other.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let letters = |len| prop::collection::vec(prop_oneof![Just(0u8), Just(7), Just(255)], len);
    let long = (letters(0..6), any::<u8>(), 0..=KEY_BYTES_MAX - 6).prop_map(|(mut key, byte, len)| {
        key.resize(key.len() + len, byte % 3);
        key
    });
    prop_oneof![4 => letters(0..8), 2 => long]
}

fn op() -> impl Strategy<Value = Op> {
    let value = prop_oneof![3 => 0usize..50, 1 => 0..=VALUE_BYTES_MAX];
    prop_oneof![
        8 => (key(), value).prop_map(|(key, len)| Op::Insert(key, len)),
        3 => key().prop_map(Op::Remove),
        1 => (any::<usize>(), 1usize..60).prop_map(|(from, count)| Op::RemoveRun(from, count)),
        1 => (key(), 0usize..40).prop_map(|(key, count)| Op::Range(key, count)),
    ]
}

fn apply(tree: &mut BTree, pager: &mut MemPager, model: &mut Model, op: &Op, seed: usize) {
    match op {
        Op::Insert(key, len) => {
            let value = vec![u8::try_from(seed % 251).unwrap(); *len];
            assert_eq!(tree.insert(pager, key, &value).unwrap(), model.insert(key.clone(), value));
        }
        Op::Remove(key) => {
            assert_eq!(tree.remove(pager, key).unwrap(), model.remove(key));
            assert_eq!(tree.get(pager, key).unwrap(), None);
        }
        Op::RemoveRun(from, count) => {
            let from = from % model.len().max(1);
            let keys: Vec<_> = model.keys().skip(from).take(*count).cloned().collect();
            for key in keys {
                assert_eq!(tree.remove(pager, &key).unwrap(), model.remove(&key));
            }
        }
        Op::Range(key, count) => {
            assert_eq!(tree.get(pager, key).unwrap().as_ref(), model.get(key));
            let mut cursor = tree.cursor_before(key);
            for (key, value) in model.range(key.clone()..).take(*count) {
                assert_eq!(cursor.next(pager).unwrap(), Some((key.clone(), value.clone())));
            }
            let mut cursor = tree.cursor_after(key);
            for (key, value) in model.range(..=key.clone()).rev().take(*count) {
                assert_eq!(cursor.prev(pager).unwrap(), Some((key.clone(), value.clone())));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn behaves_like_a_map(ops in prop::collection::vec(op(), 1..400)) {
        let mut pager = MemPager::default();
        let (mut tree, mut model) = (BTree::default(), Model::new());
        for (seed, op) in ops.iter().enumerate() {
            apply(&mut tree, &mut pager, &mut model, op, seed);
            if seed % 16 == 0 {
                prop_assert_eq!(check(&tree, &pager).entries, model.len());
            }
        }
        prop_assert_eq!(check(&tree, &pager).entries, model.len());
        prop_assert_eq!(contents(&tree, &pager), model.clone().into_iter().collect::<Vec<_>>());
        let ends = |entry: Option<(&Vec<u8>, &Vec<u8>)>| entry.map(|(k, v)| (k.clone(), v.clone()));
        prop_assert_eq!(tree.first(&pager).unwrap(), ends(model.first_key_value()));
        prop_assert_eq!(tree.last(&pager).unwrap(), ends(model.last_key_value()));
        tree.destroy(&mut pager).unwrap();
        prop_assert_eq!(pager.pages_used(), 1);
    }

    /// A cursor goes to and fro while the tree changes under it; the model of its place is a bound.
    #[test]
    fn a_cursor_finds_its_place_again(
        ops in prop::collection::vec(op(), 50..200),
        steps in prop::collection::vec((any::<bool>(), op()), 1..80),
        start in key(),
    ) {
        let mut pager = MemPager::default();
        let (mut tree, mut model) = (BTree::default(), Model::new());
        for (seed, op) in ops.iter().enumerate() {
            apply(&mut tree, &mut pager, &mut model, op, seed);
        }
        let mut cursor = tree.cursor_before(&start);
        // The cursor is before the first key above or, if the flag says so, at this one.
        let mut place = (start, true);
        for (seed, (forward, op)) in steps.iter().enumerate() {
            let (at, inclusive) = place.clone();
            let (above, below) = if inclusive {
                (Bound::Included(at.clone()), Bound::Excluded(at))
            } else {
                (Bound::Excluded(at.clone()), Bound::Included(at))
            };
            let (expected, found) = if *forward {
                (model.range((above, Bound::Unbounded)).next(), cursor.next(&pager).unwrap())
            } else {
                (model.range((Bound::Unbounded, below)).next_back(), cursor.prev(&pager).unwrap())
            };
            let expected = expected.map(|(key, value)| (key.clone(), value.clone()));
            prop_assert_eq!(&found, &expected);
            if let Some((key, _)) = expected {
                place = (key, !forward);
            }
            apply(&mut tree, &mut pager, &mut model, op, seed);
            cursor.rebase(&tree);
        }
    }

    #[test]
    fn a_built_tree_is_like_one_that_grew(
        model in prop::collection::btree_map(key(), prop::collection::vec(any::<u8>(), 0..60), 0..300),
        ops in prop::collection::vec(op(), 0..100),
    ) {
        let mut pager = MemPager::default();
        let mut model: Model = model;
        let mut tree = BTree::bulk_build(&mut pager, model.iter()).unwrap();
        prop_assert_eq!(check(&tree, &pager).entries, model.len());
        prop_assert_eq!(contents(&tree, &pager), model.clone().into_iter().collect::<Vec<_>>());
        for (seed, op) in ops.iter().enumerate() {
            apply(&mut tree, &mut pager, &mut model, op, seed);
        }
        prop_assert_eq!(check(&tree, &pager).entries, model.len());
    }

    /// Bytes that no operation would write: everything ends, and nothing panics.
    #[test]
    fn nonsense_is_survived(
        ops in prop::collection::vec(op(), 60..200),
        wrong in prop::collection::vec((any::<usize>(), any::<bool>(), any::<usize>(), any::<u8>()), 1..8),
        asked in prop::collection::vec(op(), 1..40),
    ) {
        let mut pager = MemPager::default();
        let (mut tree, mut model) = (BTree::default(), Model::new());
        for (seed, op) in ops.iter().enumerate() {
            apply(&mut tree, &mut pager, &mut model, op, seed);
        }
        let mut pages = Vec::new();
        tree.pages(&pager, |page| pages.push(page)).unwrap();
        prop_assume!(!pages.is_empty());
        for (page, in_head, at, byte) in wrong {
            let at = if in_head { at % 40 } else { at % PAGE_BODY_BYTES };
            pager.page_mut(pages[page % pages.len()]).unwrap().body_mut()[at] = byte;
        }
        let _ = tree.check(&pager);
        for op in asked {
            match op {
                Op::Insert(key, len) => drop(tree.insert(&mut pager, &key, &vec![1; len])),
                Op::Remove(key) => drop(tree.remove(&mut pager, &key)),
                Op::RemoveRun(..) => drop(tree.cursor_at_start().scan(&pager, |_, _| ControlFlow::Continue(()))),
                Op::Range(key, count) => {
                    let (mut up, mut down) = (tree.cursor_before(&key), tree.cursor_before(&key));
                    for _ in 0..count {
                        let _ = (up.next(&pager), down.prev(&pager));
                    }
                }
            }
        }
        let _ = tree.destroy(&mut pager);
    }
}

/// Inserts numbers as 8-byte keys with 8-byte values.
fn grown(numbers: impl IntoIterator<Item = u64>) -> (BTree, MemPager) {
    let mut pager = MemPager::default();
    let mut tree = BTree::default();
    for number in numbers {
        let old = tree.insert(&mut pager, &number.to_be_bytes(), &number.to_le_bytes()).unwrap();
        assert_eq!(old, None);
    }
    (tree, pager)
}

const MANY: u64 = 100_000;

#[test]
fn keys_in_order_fill_their_pages() {
    for (name, (tree, pager)) in [("up", grown(0..MANY)), ("down", grown((0..MANY).rev()))] {
        let stats = check(&tree, &pager);
        assert_eq!(stats.entries as u64, MANY);
        assert!(stats.leaf_fill() >= 0.99, "{name}: {stats:?}");
        assert!(stats.inner <= 2, "{name}: {stats:?}");
    }
}

#[test]
fn keys_in_order_within_groups_fill_their_pages() {
    let (tree, pager) = grown((0..MANY).map(|i| (i % 10) << 32 | i));
    let stats = check(&tree, &pager);
    assert!(stats.leaf_fill() >= 0.9, "{stats:?}");
}

#[test]
fn keys_at_random_fill_two_thirds() {
    let (tree, pager) = grown(shuffled(MANY));
    let stats = check(&tree, &pager);
    assert_eq!(stats.entries as u64, MANY);
    assert!(stats.leaf_fill() >= 0.62, "{stats:?}");
    let expected = (0..MANY).map(|i| (i.to_be_bytes().to_vec(), i.to_le_bytes().to_vec()));
    assert!(contents(&tree, &pager).into_iter().eq(expected));
}

#[test]
fn a_built_tree_is_full() {
    let mut pager = MemPager::default();
    let entries = (0..MANY).map(|i| (i.to_be_bytes(), i.to_le_bytes()));
    let tree = BTree::bulk_build(&mut pager, entries).unwrap();
    let stats = check(&tree, &pager);
    assert!(stats.leaf_fill() >= 0.92, "{stats:?}");
    assert_eq!(tree.get(&pager, &77_777u64.to_be_bytes()).unwrap(), Some(77_777u64.to_le_bytes().to_vec()));
}

#[test]
fn removing_everything_returns_every_page() {
    let orders = [(0..MANY).collect::<Vec<_>>(), (0..MANY).rev().collect(), shuffled(MANY)];
    for order in orders {
        let (mut tree, mut pager) = grown(shuffled(MANY));
        for (i, number) in order.iter().enumerate() {
            let old = tree.remove(&mut pager, &number.to_be_bytes()).unwrap();
            assert_eq!(old, Some(number.to_le_bytes().to_vec()));
            if i % 9973 == 0 {
                assert_eq!(check(&tree, &pager).entries, order.len() - i - 1);
            }
        }
        assert_eq!(tree.root(), None);
        assert_eq!(pager.pages_used(), 1);
    }
}

#[test]
fn removing_most_at_random_gives_pages_back() {
    let (mut tree, mut pager) = grown(0..MANY);
    let before = check(&tree, &pager);
    for number in &shuffled(MANY)[..MANY as usize / 10 * 9] {
        tree.remove(&mut pager, &number.to_be_bytes()).unwrap().unwrap();
    }
    let after = check(&tree, &pager);
    assert!(after.pages() * 4 <= before.pages(), "{before:?} {after:?}");
    assert!(after.leaf_fill() >= 0.4, "{after:?}");
}

/// Long keys make inner nodes of few children, so that the tree is deep and inner nodes split, merge and go.
#[test]
fn deep_trees_grow_and_shrink() {
    let key = |number: u64| {
        let mut key = vec![b'k'; KEY_BYTES_MAX - 8];
        key.extend_from_slice(&number.to_be_bytes());
        key
    };
    let mut pager = MemPager::default();
    let mut tree = BTree::default();
    for number in shuffled(5000) {
        tree.insert(&mut pager, &key(number), &[1; 900]).unwrap();
    }
    let stats = check(&tree, &pager);
    assert!(stats.levels >= 5, "{stats:?}");
    for (i, number) in random(4).map(|number| number % 5000).take(30_000).enumerate() {
        if i % 3 == 0 {
            tree.insert(&mut pager, &key(number), &vec![2; i % 500]).unwrap();
        } else {
            tree.remove(&mut pager, &key(number)).unwrap();
        }
        if i % 1000 == 0 {
            check(&tree, &pager);
        }
    }
    for number in 0..5000 {
        tree.remove(&mut pager, &key(number)).unwrap();
    }
    assert_eq!(pager.pages_used(), 1);
}

#[test]
fn separators_are_short() {
    let mut pager = MemPager::default();
    let keys = (0..2000u32).map(|i| [&i.to_be_bytes()[..], &[b'x'; 200]].concat());
    let tree = BTree::bulk_build(&mut pager, keys.map(|key| (key, b""))).unwrap();
    let stats = check(&tree, &pager);
    assert_eq!((stats.levels, stats.inner), (2, 1), "{stats:?}");
    assert!(Node::open(pager.page(tree.root().unwrap()).unwrap(), None).unwrap().used() <= stats.leaves * 14);
    assert_eq!(separator(b"abc", b"abd"), b"abd");
    assert_eq!(separator(b"ab", b"abcd"), b"abc");
    assert_eq!(separator(b"", b"xyz"), b"x");
}

#[test]
fn the_limits_are_exact() {
    let mut pager = MemPager::default();
    let mut tree = BTree::default();
    let (key, value) = (vec![1; KEY_BYTES_MAX], vec![2; VALUE_BYTES_MAX]);
    assert_eq!(tree.insert(&mut pager, &key, &value).unwrap(), None);
    assert_eq!(tree.get(&pager, &key).unwrap(), Some(value.clone()));
    let long = [&key[..], &[1]].concat();
    let error = tree.insert(&mut pager, &long, &value).unwrap_err();
    assert!(matches!(error, Error::EntryTooLarge { what: "key", bytes: 1025, max: 1024 }));
    let error = BTree::bulk_build(&mut pager, [(key, [&value[..], &[1]].concat())]).unwrap_err();
    assert!(matches!(error, Error::EntryTooLarge { what: "value", bytes: 2001, max: 2000 }));
    for entries in [[(b"a", b""), (b"a", b"")], [(b"b", b""), (b"a", b"")]] {
        assert!(matches!(BTree::bulk_build(&mut pager, entries), Err(Error::NotAscending)));
    }
}

#[test]
fn setting_the_same_value_changes_no_page() {
    let (mut tree, mut pager) = grown(0..10);
    let before = (*pager.page(tree.root().unwrap()).unwrap()).clone();
    pager.page_mut(tree.root().unwrap()).unwrap().set_kind(PageKind::Zero);
    assert!(tree.insert(&mut pager, &[0; 8], &[0; 8]).is_err());
    pager.page_mut(tree.root().unwrap()).unwrap().set_kind(PageKind::TreeLeaf);
    assert_eq!(tree.insert(&mut pager, &[0; 8], &[0; 8]).unwrap(), Some(vec![0; 8]));
    assert!(*pager.page(tree.root().unwrap()).unwrap() == before);
}

/// A tree of two levels, its root and its first leaf.
fn two_levels() -> (BTree, MemPager, PageNo, PageNo) {
    let (tree, pager) = grown(0..2000);
    let root = tree.root().unwrap();
    let leaf = Node::open(pager.page(root).unwrap(), Some(1)).unwrap().child(0).unwrap();
    (tree, pager, root, leaf)
}

/// Asserts that every kind of access to the first leaf gives a `CorruptPage`.
fn assert_refused(mut tree: BTree, mut pager: MemPager) {
    let corrupt = |error: Error| assert!(matches!(error, Error::CorruptPage { .. }), "{error}");
    corrupt(tree.check(&pager).unwrap_err());
    corrupt(tree.get(&pager, &[0; 8]).unwrap_err());
    corrupt(tree.first(&pager).unwrap_err());
    corrupt(tree.cursor_before(&[0; 8]).prev(&pager).unwrap_err());
    corrupt(tree.insert(&mut pager, &[0; 8], b"new").unwrap_err());
    corrupt(tree.remove(&mut pager, &[0; 8]).unwrap_err());
}

#[test]
fn a_cycle_is_refused() {
    let (tree, mut pager, root, _) = two_levels();
    NodeMut::open(pager.page_mut(root).unwrap()).unwrap().set_leftmost(root);
    assert_refused(tree, pager);
}

#[test]
fn a_page_of_another_kind_is_refused() {
    let (tree, mut pager, _, leaf) = two_levels();
    pager.page_mut(leaf).unwrap().set_kind(PageKind::Record);
    let error = tree.get(&pager, &[0; 8]).unwrap_err();
    let why = CorruptPage::WrongKind { found: PageKind::Record, expected: PageKind::TreeLeaf };
    assert!(matches!(error, Error::CorruptPage { page, why: found } if page == leaf && found == why));
    assert_refused(tree, pager);
}

#[test]
fn an_empty_leaf_is_refused() {
    let (tree, mut pager, _, leaf) = two_levels();
    NodeMut::open(pager.page_mut(leaf).unwrap()).unwrap().truncate(0).unwrap();
    assert_refused(tree, pager);
}

#[test]
fn keys_out_of_order_are_found() {
    let (tree, mut pager, _, leaf) = two_levels();
    let mut node = NodeMut::open(pager.page_mut(leaf).unwrap()).unwrap();
    node.remove(0).unwrap();
    assert!(node.insert(1, &[0; 8], b"").unwrap());
    let scanned = tree.cursor_at_start().scan(&pager, |_, _| ControlFlow::Continue(()));
    assert!(matches!(scanned, Err(Error::CorruptPage { page, .. }) if page == leaf));
    assert!(matches!(tree.check(&pager), Err(Error::CorruptPage { page, .. }) if page == leaf));
}

/// A key that belongs at the end, found at the beginning, would begin the walk anew.
#[test]
fn a_walk_backwards_over_keys_out_of_order_ends() {
    let (tree, mut pager, _, leaf) = two_levels();
    let mut node = NodeMut::open(pager.page_mut(leaf).unwrap()).unwrap();
    node.remove(0).unwrap();
    assert!(node.insert(0, &[0xff; 8], b"").unwrap());
    let mut cursor = tree.cursor_at_end();
    for _ in 1..2000 {
        assert!(cursor.prev(&pager).unwrap().is_some());
    }
    for _ in 0..2 {
        assert!(matches!(cursor.prev(&pager), Err(Error::CorruptPage { page, .. }) if page == leaf));
    }
}

#[test]
fn a_page_with_two_parents_is_found() {
    let (mut tree, mut pager, root, _) = two_levels();
    let second = Node::open(pager.page(root).unwrap(), None).unwrap().child(1).unwrap();
    NodeMut::open(pager.page_mut(root).unwrap()).unwrap().set_leftmost(second);
    assert!(matches!(tree.check(&pager), Err(Error::CorruptPage { page, .. }) if page == second));
    assert!(matches!(tree.pages(&pager, |_| ()), Err(Error::CorruptPage { page, .. }) if page == second));
    assert!(matches!(tree.destroy(&mut pager), Err(Error::CorruptPage { page, .. }) if page == second));
}

#[test]
fn a_node_holds_what_its_capacity_says() {
    let (tree, pager) = grown(0..10_000);
    let stats = check(&tree, &pager);
    assert_eq!(cell_bytes(8, 8), 22);
    assert_eq!(stats.leaves, 10_000usize.div_ceil(CAPACITY / 22));
    assert_eq!(stats.leaf_bytes, 10_000 * 22);
}
