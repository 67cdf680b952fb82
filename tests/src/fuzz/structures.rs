//! Structures of several pages: adjacency and B+trees. Each is changed beside a plain set or map; then bytes of its pages
//! are changed, and whatever its check lets pass has to be read to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use graphite_graph::adjacency::{self, Entry, Key, Owner, Side};
use graphite_graph::location::Location;
use graphite_graph::space::SpaceMap;
use graphite_graph::{EdgeSlot, NodeSlot, TypeId};
use graphite_store::btree::BTree;
use graphite_store::{MemPager, PageKind, PageNo, PageReader, PageWriter, record};

use super::input::Input;

const OWNER: Owner = Owner { slot: NodeSlot(77), side: Side::Out };
const OPERATIONS_MAX: usize = 24;

/// Lays edits over the bodies of pages, the first of which is the state page.
fn damage(w: &mut MemPager, input: &mut Input<'_>) {
    let mut pages: Vec<PageNo> = w.page_numbers().collect();
    pages.sort_unstable();
    for _ in 0..8 {
        let Some(edit) = input.edit() else { break };
        let page = pages[usize::from(edit.place) % pages.len()];
        edit.lay_over(w.page_mut(page).expect("it is there").body_mut());
    }
}

/// Entries come and go by runs, until a node is a hub; see above.
pub fn adjacency(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mut w, mut space, mut location) = (MemPager::default(), SpaceMap::adjacency(), None);
    let mut model: BTreeSet<Key> = BTreeSet::new();
    for _ in 0..usize::from(input.byte()) % OPERATIONS_MAX {
        let (removed, added) = toggled(&model, &run_of_keys(&mut input));
        location = adjacency::apply(&mut w, &mut space, OWNER, location, &removed, &added)
            .expect("what is added was not there, and what is removed was");
        model.retain(|key| removed.binary_search(key).is_err());
        model.extend(added);
        match location {
            Some(location) => {
                assert!(read_all(&w, location, model.len() as u64).is_ok_and(|all| all.iter().eq(&model)))
            }
            None => assert!(model.is_empty()),
        }
    }
    let Some(location) = location else { return };
    if input.is_empty() {
        return;
    }
    damage(&mut w, &mut input);
    let checked = adjacency::check(&w, OWNER, location);
    match checked {
        Ok(count) => {
            let all = read_all(&w, location, count).expect("it was checked");
            let known: BTreeSet<Key> = all.into_iter().collect();
            assert_eq!(known.len() as u64, count);
            let (removed, added) = toggled(&known, &run_of_keys(&mut input));
            // Neither the map of pages with room nor what else is in a page of blocks was checked.
            let is_whole = w.page_numbers().all(|number| {
                w.page(number)
                    .is_ok_and(|page| page.kind() != PageKind::Adjacency || record::check(page).is_ok())
            });
            let applied = adjacency::apply(&mut w, &mut space, OWNER, Some(location), &removed, &added);
            if is_whole && let Ok(Some(location)) = applied {
                let left = known.len() + added.len() - removed.len();
                assert_eq!(adjacency::check(&w, OWNER, location).ok(), Some(left as u64));
            }
        }
        Err(_) => {
            // Whatever they say, they come to an end.
            let _ = read_some(&w, location);
            let (removed, added) = toggled(&model, &run_of_keys(&mut input));
            let _ = adjacency::apply(&mut w, &mut space, OWNER, Some(location), &removed, &added);
            let _ = adjacency::destroy(&mut w, &mut space, OWNER, location);
        }
    }
}

/// A run of keys with a step between them.
fn run_of_keys(input: &mut Input<'_>) -> Vec<Key> {
    let (type_, first, edge) = (input.byte() % 5, input.short() as u64, u64::from(input.byte()));
    let (count, step) = (input.byte(), u64::from(input.byte() % 8));
    let count = if count < 128 { u64::from(count % 8) } else { u64::from(count - 128) * 8 };
    let type_ = TypeId([0, 1, 2, 300, 65_535][usize::from(type_)]);
    let keys = (0..count).map(|number| {
        let entry = Entry { neighbour: NodeSlot(first + number * step), edge: EdgeSlot(edge + number) };
        (type_, entry)
    });
    keys.collect()
}

/// Those that are there, to be removed, and those that are not.
fn toggled(model: &BTreeSet<Key>, keys: &[Key]) -> (Vec<Key>, Vec<Key>) {
    let keys: BTreeSet<Key> = keys.iter().copied().collect();
    keys.into_iter().partition(|key| model.contains(key))
}

/// All entries, read in each way that there is; `count` is what the check said.
fn read_all(w: &MemPager, location: Location, count: u64) -> graphite_graph::Result<Vec<Key>> {
    let mut all: Vec<Key> = Vec::new();
    adjacency::for_each_group(w, OWNER, location, None, |type_, entries| -> ControlFlow<()> {
        all.extend(entries.iter().map(|entry| (type_, entry)));
        ControlFlow::Continue(())
    })?
    .is_break();
    assert_eq!(all.len() as u64, count);
    assert_eq!(adjacency::count(w, OWNER, location, None)?, count);
    assert_eq!(adjacency::check(w, OWNER, location)?, count);
    let mut scanned: Vec<Key> = Vec::new();
    while let before = scanned.len()
        && let after = scanned.last().copied()
    {
        adjacency::scan_from(w, OWNER, location, None, after, 333, &mut scanned)?;
        if scanned.len() < before + 333 {
            break;
        }
    }
    assert!(scanned == all, "by groups and by steps");
    Ok(all)
}

/// Everything that reads, on pages that are known to be wrong.
fn read_some(w: &MemPager, location: Location) -> graphite_graph::Result<()> {
    let visit = |_: TypeId, _: adjacency::Entries<'_>| -> ControlFlow<()> { ControlFlow::Continue(()) };
    let _ = adjacency::for_each_group(w, OWNER, location, None, visit);
    let _ = adjacency::count(w, OWNER, location, Some(&[TypeId(0), TypeId(300)]));
    let find = |_, _| -> ControlFlow<()> { ControlFlow::Continue(()) };
    let _ = adjacency::find(w, OWNER, location, None, NodeSlot(3), find);
    let _ = adjacency::for_each_page(w, OWNER, location, drop);
    adjacency::scan_from(w, OWNER, location, None, None, 1000, &mut Vec::new())
}

/// Keys come and go in a B+tree; see above.
pub fn trees(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mut w, mut tree) = (MemPager::default(), BTree::new(None));
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for _ in 0..usize::from(input.byte()) % (2 * OPERATIONS_MAX) {
        change_tree(&mut w, &mut tree, &mut input, &mut Some(&mut model)).expect("no page is damaged");
    }
    assert_eq!(tree.check(&w).expect("no page is damaged").entries, model.len());
    assert!(entries(&w, &tree).expect("no page is damaged").into_iter().eq(model.clone()));
    if input.is_empty() || tree.root().is_none() {
        return;
    }
    damage(&mut w, &mut input);
    match tree.check(&w) {
        Ok(stats) => {
            let all = entries(&w, &tree).expect("it was checked");
            assert_eq!(all.len(), stats.entries);
            let mut known: BTreeMap<_, _> = all.into_iter().collect();
            assert_eq!(known.len(), stats.entries, "keys differ");
            for _ in 0..OPERATIONS_MAX {
                if change_tree(&mut w, &mut tree, &mut input, &mut Some(&mut known)).is_err() {
                    return;
                }
            }
            assert_eq!(tree.check(&w).expect("it was whole before").entries, known.len());
        }
        Err(_) => {
            // Whatever they say, they come to an end. Both ways need not say the same of pages that are wrong.
            let _ = tree.cursor_at_start().scan(&w, |_, _| ControlFlow::Continue(()));
            let mut back = tree.cursor_at_end();
            while let Ok(Some(_)) = back.prev(&w) {}
            let _ = tree.pages(&w, drop);
            for _ in 0..OPERATIONS_MAX {
                let _ = change_tree(&mut w, &mut tree, &mut input, &mut None);
            }
            let _ = tree.destroy(&mut w);
        }
    }
}

/// Inserts or removes a run of keys.
fn change_tree(
    w: &mut MemPager,
    tree: &mut BTree,
    input: &mut Input<'_>,
    model: &mut Option<&mut BTreeMap<Vec<u8>, Vec<u8>>>,
) -> graphite_store::Result<()> {
    if input.is_empty() {
        return Ok(());
    }
    let (what, first, count) = (input.byte(), input.short(), input.byte() % 32);
    let (key_len, value_len) = (usize::from(input.byte()) * 2, input.short() % 400);
    for number in 0..usize::from(count) {
        let mut key = (first + number * 7).to_be_bytes()[5..].to_vec();
        key.resize(3 + key_len, what);
        if what % 3 > 0 {
            let value = vec![what; value_len];
            let before = tree.insert(w, &key, &value)?;
            if let Some(model) = model {
                assert_eq!(before, model.insert(key.clone(), value));
            }
        } else {
            let before = tree.remove(w, &key)?;
            if let Some(model) = model {
                assert_eq!(before, model.remove(&key));
            }
        }
        let found = tree.get(w, &key)?;
        if let Some(model) = model {
            assert_eq!(found.as_ref(), model.get(&key));
        }
    }
    Ok(())
}

/// All entries, forwards and backwards.
fn entries(w: &impl PageReader, tree: &BTree) -> graphite_store::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all = Vec::new();
    tree.cursor_at_start().scan(w, |key, value| {
        all.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    let mut cursor = tree.cursor_at_end();
    for (key, _) in all.iter().rev() {
        assert_eq!(cursor.prev(w)?.map(|entry| entry.0).as_ref(), Some(key));
    }
    Ok(all)
}
