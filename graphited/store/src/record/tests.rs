//! The slotted page against a map of what it should hold, its bytes pinned, and pages of nonsense.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::page::{DatabaseId, PageKind, PageNo};

fn new_page() -> Page {
    Page::new(PageNo(3), PageKind::Record, DatabaseId(1))
}

#[test]
fn golden_bytes() {
    let mut page = new_page();
    assert_eq!(insert(&mut page, b"abc"), Some(0));
    assert_eq!(insert(&mut page, b"defgh"), Some(1));
    assert_eq!(insert(&mut page, b"i"), Some(2));
    assert!(remove(&mut page, 1));
    assert_eq!(check(&page), Ok(()));
    let body = page.body();
    // 3 slots, 1 of them free, a heap of 9 bytes with 5 of holes, no free slot below 1.
    assert_eq!(body[..10], [3, 0, 1, 0, 9, 0, 5, 0, 1, 0]);
    // The end of the body is at 8168 = 0x1fe8.
    assert_eq!(body[10..22], [0xe5, 0x1f, 3, 0, 0, 0, 0, 0, 0xdf, 0x1f, 1, 0]);
    assert_eq!(body[PAGE_BODY_BYTES - 9..], *b"i\0\0\0\0\0abc");
    assert!(body[22..PAGE_BODY_BYTES - 9].iter().all(|byte| *byte == 0));
}

#[test]
fn an_emptied_page_is_a_fresh_one() {
    let mut page = new_page();
    let fresh = page.clone();
    for i in 0..50u8 {
        insert(&mut page, &[i + 1; 100]).unwrap();
    }
    for i in (0..50).step_by(2).chain((1..50).step_by(2)) {
        assert!(remove(&mut page, i));
        assert!(!remove(&mut page, i));
    }
    assert!(page == fresh);
    assert!(is_empty(&page));
}

#[test]
fn the_limits_are_exact() {
    let mut page = new_page();
    assert_eq!(room(&page), RECORD_BYTES_MAX);
    assert_eq!(insert(&mut page, &[1; RECORD_BYTES_MAX + 1]), None);
    assert_eq!(insert(&mut page, &[1; RECORD_BYTES_MAX]), Some(0));
    assert_eq!(room(&page), 0);
    assert_eq!(insert(&mut page, &[]), None);
    assert!(remove(&mut page, 0));
    for slot in 0..SLOTS_MAX {
        assert_eq!(insert(&mut page, &[]).map(usize::from), Some(slot));
    }
    assert_eq!(insert(&mut page, &[]), None);
    assert_eq!(check(&page), Ok(()));
    assert_eq!(slots(&page).count(), SLOTS_MAX);
    assert_eq!(get(&page, 0xffff), None);
}

#[test]
fn scattered_room_is_gathered() {
    let mut page = new_page();
    while insert(&mut page, &[7; 500]).is_some() {}
    let held = slots(&page).count();
    for slot in (0..held).step_by(2) {
        assert!(remove(&mut page, u16::try_from(slot).unwrap()));
    }
    assert!(fragmented(&page) > 3000);
    let large = room(&page);
    assert!(large > 3000);
    assert_eq!(insert(&mut page, &vec![9; large]), Some(0));
    assert_eq!(fragmented(&page), 0);
    assert_eq!(get(&page, 0), Some(&vec![9; large][..]));
    assert_eq!(get(&page, 1), Some(&[7; 500][..]));
    assert_eq!(check(&page), Ok(()));
}

#[derive(Clone, Debug)]
enum Op {
    Insert(usize),
    Update(usize, usize),
    Fill(usize, u8),
    Remove(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![6 => 0usize..40, 2 => 0usize..900, 1 => 0usize..9000];
    prop_oneof![
        4 => len.clone().prop_map(Op::Insert),
        3 => (any::<usize>(), len).prop_map(|(at, len)| Op::Update(at, len)),
        1 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Op::Fill(at, byte)),
        3 => any::<usize>().prop_map(Op::Remove),
    ]
}

/// A record whose bytes differ from those of its neighbours.
fn bytes(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i * 7 + seed * 31) % 255).unwrap() + 1).collect()
}

/// The slot of the `at`-th record, going round.
fn pick(model: &BTreeMap<u16, Vec<u8>>, at: usize) -> Option<u16> {
    model.keys().nth(at % model.len().max(1)).copied()
}

fn lowest_free(model: &BTreeMap<u16, Vec<u8>>) -> u16 {
    (0..).find(|slot| !model.contains_key(slot)).unwrap()
}

fn apply(page: &mut Page, model: &mut BTreeMap<u16, Vec<u8>>, op: &Op, seed: usize) {
    match *op {
        Op::Insert(len) => {
            let record = bytes(len, seed);
            let room = room(page);
            match insert(page, &record) {
                Some(slot) => {
                    assert_eq!(slot, lowest_free(model));
                    assert!(len <= room);
                    model.insert(slot, record);
                }
                None => assert!(len > room || room == 0),
            }
        }
        Op::Update(at, len) => {
            let Some(slot) = pick(model, at) else { return };
            let record = bytes(len, seed);
            let before = page.clone();
            let free = {
                let used: usize = model.values().map(|record| record.len()).sum();
                let directory = usize::from(*model.keys().last().unwrap()) + 1;
                PAGE_BODY_BYTES - DIRECTORY - directory * ENTRY_BYTES - used
            };
            let fits = len <= free + model[&slot].len();
            assert_eq!(update(page, slot, &record), fits);
            if fits {
                model.insert(slot, record);
            } else {
                assert!(*page == before);
            }
        }
        Op::Fill(at, byte) => {
            let Some(slot) = pick(model, at) else { return };
            get_mut(page, slot).unwrap().fill(byte);
            model.get_mut(&slot).unwrap().fill(byte);
        }
        Op::Remove(at) => {
            let Some(slot) = pick(model, at) else { return };
            assert!(remove(page, slot));
            model.remove(&slot);
        }
    }
}

proptest! {
    /// Every operation, then the whole page, against a map; emptied at the end, it is a page of zeros.
    #[test]
    fn behaves_like_a_map(ops in prop::collection::vec(op(), 1..300)) {
        let mut page = new_page();
        let mut model = BTreeMap::new();
        for (seed, op) in ops.iter().enumerate() {
            apply(&mut page, &mut model, op, seed);
            prop_assert_eq!(check(&page), Ok(()));
            let held: Vec<_> = slots(&page).map(|(slot, record)| (slot, record.to_vec())).collect();
            prop_assert_eq!(held, model.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(is_empty(&page), model.is_empty());
        }
        for slot in model.keys() {
            prop_assert!(remove(&mut page, *slot));
        }
        prop_assert!(page == new_page());
    }

    /// Bytes that no operation would write: nothing panics, whatever is asked.
    #[test]
    fn nonsense_is_survived(
        ops in prop::collection::vec(op(), 0..40),
        wrong in prop::collection::vec((0usize..64, any::<u8>()), 1..12),
        asked in prop::collection::vec((any::<u16>(), 0usize..9000), 1..40),
    ) {
        let mut page = new_page();
        let mut model = BTreeMap::new();
        for (seed, op) in ops.iter().enumerate() {
            apply(&mut page, &mut model, op, seed);
        }
        for (at, byte) in wrong {
            page.body_mut()[at] = byte;
        }
        let _ = check(&page);
        for (i, (slot, len)) in asked.into_iter().enumerate() {
            let slot = if i % 3 == 0 { slot } else { slot % 16 };
            let _ = get(&page, slot);
            let _ = get_mut(&mut page, slot);
            let _ = update(&mut page, slot, &bytes(len, i));
            let _ = insert(&mut page, &bytes(len / 8, i));
            if i % 2 == 0 {
                let _ = remove(&mut page, slot);
            }
            let _ = (room(&page), fragmented(&page), is_empty(&page), slots(&page).count());
        }
    }
}
